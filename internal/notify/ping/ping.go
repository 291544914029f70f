// Package ping tells a watchdog elsewhere that backups ran, and whether they
// were well: healthchecks.io, its like on one's own server, or anything with an
// address for each. Such a watchdog calls when it hears nothing, which is the
// only alarm for a machine that is gone. Package notify has it as a
// destination; package operation calls Ping around runs. It promises that an
// answer which does not take the ping is an error, and leaves it to the caller
// that no such error ends a backup.
package ping

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// Event is what a ping says.
type Event string

// The events.
const (
	Start   Event = "start"   // a run begins
	Success Event = "success" // it ended well
	Fail    Event = "fail"    // it did not
	Log     Event = "log"     // neither: it changes nothing, and is written down
)

// None, as a suffix, is for events that the other side has no address for: they
// are not sent.
const None = "none"

// Options say where to ping. A suffix that begins with "?" gives values of the
// address' query, in place of those with the same names in it; any other is put
// after its path.
type Options struct {
	URL     core.Secret      // the address for success; it holds what tells one check from another
	Suffix  map[Event]string // what is not in it: "/start", "", "/fail", "/log"
	CA      string           // PEM file with the authorities to trust; "": the system's
	Host    string           // of this machine, for the text; may be ""
	Timeout time.Duration    // of one ping; 0: wire.Timeout
	Client  *http.Client     // nil: one that trusts CA
}

type target struct {
	url   *url.URL
	runID bool // the other side may be told which run it is
}

// Pinger pings one check. It is safe for concurrent use.
type Pinger struct {
	opt     Options
	targets map[Event]*target // those that are sent
	veil    wire.Veil
}

var _ notify.Destination = (*Pinger)(nil)

// New returns a pinger. It connects to nobody. Errors are about options.
func New(opt Options) (*Pinger, error) {
	const op = "configure ping"
	base, err := wire.ParseURL(op, opt.URL)
	if err != nil {
		return nil, err
	}
	if opt.Client == nil {
		if opt.Client, err = wire.Client(opt.CA); err != nil {
			return nil, err
		}
	}
	suffixes := map[Event]string{Start: "/start", Success: "", Fail: "/fail", Log: "/log"}
	for event, suffix := range opt.Suffix {
		if _, ok := suffixes[event]; !ok {
			return nil, &core.Error{Code: core.CodeConfig, Op: op, Message: fmt.Sprintf("there is no event %q", event), Hint: "events are start, success, fail and log"}
		}
		suffixes[event] = suffix
	}
	targets := map[Event]*target{}
	for event, suffix := range suffixes {
		if suffix == None {
			continue
		}
		if targets[event], err = aim(base, suffix); err != nil {
			return nil, &core.Error{Code: core.CodeConfig, Op: op, Message: fmt.Sprintf("the suffix %q for %s does not fit an address", suffix, event), Hint: `suffixes are such as "/fail" and "?status=down"`}
		}
	}
	return &Pinger{opt: opt, targets: targets, veil: wire.VeilURL(opt.URL)}, nil
}

// aim returns base with a suffix.
func aim(base *url.URL, suffix string) (*target, error) {
	u := *base
	if strings.ContainsFunc(suffix, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }) {
		return nil, fmt.Errorf("%q is no suffix", suffix)
	}
	if text, ok := strings.CutPrefix(suffix, "?"); ok {
		given, err := url.ParseQuery(text)
		if err != nil {
			return nil, err
		}
		query := u.Query()
		for name, values := range given {
			query[name] = values
		}
		u.RawQuery = query.Encode()
		return &target{url: &u}, nil
	}
	if suffix == "" {
		return &target{&u, u.RawQuery == ""}, nil
	}
	joined, err := url.Parse(strings.TrimSuffix(u.EscapedPath(), "/") + "/" + strings.TrimPrefix(suffix, "/"))
	if err != nil {
		return nil, err
	}
	u.Path, u.RawPath = joined.Path, joined.RawPath
	return &target{&u, u.RawQuery == ""}, nil
}

// EventOf returns what to ping when a run ended so. A run that somebody stopped
// is written down and says nothing of backups.
func EventOf(o core.Outcome) Event {
	switch o {
	case core.OutcomeRunning:
		return Start
	case core.OutcomeOK, core.OutcomeWarnings:
		return Success
	case core.OutcomeCancelled:
		return Log
	default:
		return Fail
	}
}

// Ping says what became of a run, with a few lines about it. The pings of one
// run have the same id, where the other side can take one, so that it knows how
// long the run took. An event that has no address is not sent, and no error.
// Callers MUST go on after an error: it is no reason to end a run.
func (p *Pinger) Ping(ctx context.Context, event Event, run core.Run) error {
	return p.post(ctx, event, p.summary(run), runID(run))
}

// Deliver pings for an alarm: fail when it is opened or changes, success when
// it is over, log for a test. There is no ref. A check that several alarms ping
// is well again with the first that closes: give each app its own.
func (p *Pinger) Deliver(ctx context.Context, _ string, m notify.Message) (string, error) {
	event := Fail
	switch {
	case m.IsTest():
		event = Log
	case m.Part == core.AlarmClosed:
		event = Success
	}
	if p.targets[event] == nil {
		if event == Log { // nothing was proven
			return "", &core.Error{Code: core.CodeUnsupported, Op: "ping", Message: "there is no address for what changes nothing, and so none to test with", Hint: "give a suffix for log"}
		}
		return "", nil
	}
	return "", p.post(ctx, event, m.Subject+"\n\n"+m.Text, "")
}

func (p *Pinger) post(ctx context.Context, event Event, text, id string) error {
	to := p.targets[event]
	if to == nil {
		return nil
	}
	u := *to.url
	if to.runID && id != "" {
		u.RawQuery = "rid=" + id
	}
	answer, err := wire.Post(ctx, p.opt.Client, &u, http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, []byte(wire.Shorten(text, textLimit)), p.opt.Timeout, p.veil)
	if err != nil {
		return err
	}
	// healthchecks.io answers 200 to pings that it drops.
	if said := strings.ToLower(strings.TrimSpace(string(answer.Body))); said == "ok (not found)" || said == "ok (rate limited)" {
		e := &core.Error{Code: core.CodeFailed, Op: "post to " + u.Host, Message: "it knows of no such check", Hint: "look at the address: is the check still there?"}
		if strings.Contains(said, "rate") {
			e.Message, e.Hint = "it drops pings that come too often", "use a check of its own for each app"
		}
		return e
	}
	return nil
}

// textLimit is how many bytes of text such services keep.
const textLimit = 10_000

// summary says in a few lines what became of a run.
func (p *Pinger) summary(run core.Run) string {
	var b strings.Builder
	b.WriteString(run.Kind)
	if run.App != "" {
		b.WriteString(" of " + run.App)
	}
	if p.opt.Host != "" {
		b.WriteString(" on " + p.opt.Host)
	}
	b.WriteString(": " + string(run.Outcome) + "\n")
	line := func(name, value string) {
		if value != "" {
			b.WriteString(name + ": " + value + "\n")
		}
	}
	line("started", run.Started.UTC().Format(time.RFC3339))
	if run.Finished != nil {
		line("took", run.Finished.Sub(run.Started).Round(time.Second).String())
	}
	line("backup", run.Backup)
	if run.Warnings > 0 {
		line("warnings", fmt.Sprint(run.Warnings))
	}
	line("error", run.Message)
	line("hint", run.Hint)
	return b.String()
}

// runID returns a UUID (version 8 of RFC 9562) that all pings of a run share.
func runID(run core.Run) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %s %s", run.ID, run.App, run.Kind, run.Started.UTC().Format(time.RFC3339Nano)))
	id := sum[:16]
	id[6] = id[6]&0x0f | 0x80
	id[8] = id[8]&0x3f | 0x80
	h := hex.EncodeToString(id)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
