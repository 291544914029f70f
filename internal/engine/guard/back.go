package guard

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/profile"
)

// Back says how to go back.
type Back struct {
	Force          []string      // names of findings that somebody agreed to
	NoSafetyBackup bool          // the app is not backed up once more before the switch
	Keep           time.Duration // how long what is taken away is kept for undo; 0: not at all
}

// Components lists what the backup before the command holds. All of it comes
// back, the code too, for it is what an update changes.
func (g *Guard) Components() []core.Component {
	var out []core.Component
	for _, c := range core.Components() {
		if _, ok := g.Report.Before.Components[c]; ok {
			out = append(out, c)
		}
	}
	return out
}

// LookAhead plans the way back before the command runs, when nothing differs
// yet. When it cannot be gone that is an error, after which the command must
// not be run, or, where the app is to stay as the command leaves it, a warning.
// It returns what a person should read first. Nothing is changed.
func (g *Guard) LookAhead(ctx context.Context, e *engine.Engine, how Back, keep bool) (notes []string, err error) {
	r, err := g.plan(ctx, e, how)
	if err == nil {
		notes, err = g.undecided(r, keep), r.Refused()
	}
	program := g.Report.Command.Program
	switch {
	case err == nil || core.CodeOf(err) == core.CodeDecision:
		return notes, nil
	case ctx.Err() != nil:
		return nil, g.notRun(ctx.Err())
	case keep:
		g.Blocked = err
		g.warn("no-way-back", g.app().Name, "there is no way back from %s: %v (%s)", program, err, core.HintOf(err))
		return append(notes, g.Report.Warnings[len(g.Report.Warnings)-1].Message), nil
	}
	return nil, &core.Error{
		Code: core.CodeOf(err), Op: "guard app " + g.app().Name, Message: fmt.Sprintf("%s was not run, because there would be no way back to backup %s", program, g.Report.Before.ID), Err: err,
		Hint: strings.TrimSpace(core.HintOf(err) + "\nguard goes back with the account of backstay.yaml (database: {user: …}); --on-failure keep runs the command without a way back"),
	}
}

// undecided says what somebody will have to agree to on the way back, and what
// was agreed to in vain.
func (g *Guard) undecided(r *restore.Restore, keep bool) (notes []string) {
	for _, f := range r.Plan.Findings {
		text := f.Message
		if f.Object != "" {
			text = f.Object + ": " + text
		}
		switch {
		case f.Name == restore.FindingUnusedForce:
			notes = append(notes, "the way back: "+text)
		case f.Kind == core.FindingDecision && slices.Contains(r.Plan.Undecided, f.Name):
			text = fmt.Sprintf("the way back needs a decision, or is refused: %s (agree to it with --force %s)", text, f.Name)
			notes = append(notes, text)
			if !keep {
				g.warn("way-back", g.app().Name, "%s", text)
			}
		}
	}
	return notes
}

// PlanBack plans the way back. A plan that cannot be carried out, or needs a
// decision, is an error. Nothing is changed.
func (g *Guard) PlanBack(ctx context.Context, e *engine.Engine, how Back) (*restore.Restore, error) {
	r, err := g.plan(ctx, e, how)
	if err != nil {
		return nil, err
	}
	return r, r.Refused()
}

func (g *Guard) plan(ctx context.Context, e *engine.Engine, how Back) (*restore.Restore, error) {
	rec, err := e.Find(ctx, g.Report.Before.ID)
	if err != nil {
		return nil, err
	}
	return restore.Make(ctx, e, restore.Request{
		Target: g.reachable(ctx, e), Record: rec, Only: g.Components(), Wait: g.req.Wait, Lock: g.lock, Force: how.Force,
		// What the command added must go, or old code finds new files and tables.
		Clean: true,
		// What cannot be backed up is kept for undo.
		NoSafetyBackup: how.NoSafetyBackup || g.Report.After == nil,
		Keep:           how.Keep,
		Estimates:      true,
	})
}

// reachable is the target, with the database named as it was reached before
// the command when the command left nothing that says where it is.
func (g *Guard) reachable(ctx context.Context, e *engine.Engine) engine.Target {
	t := g.req.Target
	p, err := e.Profiles.Get(t.Profile)
	if err != nil || g.database == nil {
		return t
	}
	if _, err := p.Discover(ctx, t.App); err == nil {
		return t
	}
	d := g.database
	t.App.Database = profile.Database{
		Host: d.Host, Port: d.Port, Socket: d.Socket, User: d.User, Password: d.Password, Name: d.Name, Prefix: d.Prefix, TLS: d.TLS,
	}
	return t
}

// GoBack makes the app what it was before the command, as planned.
func (g *Guard) GoBack(ctx context.Context, r *restore.Restore) error {
	done, err := r.Run(ctx)
	return g.WentBack(done, err)
}

// WentBack notes how the way back ended, also when it could not be planned.
func (g *Guard) WentBack(done *restore.Restored, err error) error {
	var cause *core.Error
	switch {
	case err == nil:
		g.Report.Outcome, g.Report.Restored, g.Report.WayBack = Restored, done, ""
		return nil
	case errors.As(err, &cause) && cause.Code == core.CodeUnfinished:
		g.Report.Outcome, g.Report.WayBack = Unfinished, "backstay restore --resume "+g.Report.App
	default:
		g.Report.Outcome = NotRestored
	}
	g.warn("way-back", g.Report.App, "%v (%s)", err, core.HintOf(err))
	return err
}
