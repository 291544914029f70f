package guard

import (
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Failure says what failed, and what the app is now. back is the error of the
// way back, gone that of the repository; both may be nil.
func (g *Guard) Failure(back, gone error) error {
	r := g.Report
	what := "it does not work after " + r.Command.Program
	if r.Command.Exit != 0 {
		what = r.Command.Program + " failed"
	}
	e := &core.Error{Code: core.CodeFailed, Op: "guard app " + r.App, Message: what, Err: back}
	switch r.Outcome {
	case Unchanged:
		e.Message += "; the app is what it was before: nothing was changed"
	case Restored:
		e.Message += "; the app is what it was before"
	case Unfinished:
		e.Message += "; and the way back was cut short, so the app may be half restored"
		e.Hint = core.HintOf(back)
	case NotRestored:
		e.Message += "; the way back could not be gone, and the app is as the command left it"
		e.Hint = strings.TrimSpace(core.HintOf(back) + "\n" + g.wayBackHint(gone))
	default:
		e.Message += "; the app is as the command left it"
		e.Hint = g.wayBackHint(gone)
	}
	return e
}

// wayBackHint is the way back, and what stands in it.
func (g *Guard) wayBackHint(gone error) string {
	switch {
	case gone != nil:
		return "the repository cannot be opened any more; when it is there again, the way back is: " + g.Report.WayBack
	case g.Blocked != nil:
		return "before the command there was no way back, as the warnings say; when what stood in it is gone, or with another account (--database-user), it is: " + g.Report.WayBack
	}
	return "the way back: " + g.Report.WayBack
}
