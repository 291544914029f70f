package operation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
)

// tell opens, updates and closes alarms by what was found. Where something ran
// since, it looks again first, and returns what it told of. Nothing is told of
// what was found while ctx ended.
func (c *Caretaker) tell(ctx context.Context, report Report) (Report, error) {
	// Two processes that look at the same time must not open the same ticket, and
	// who looked first must not have the last word.
	unlock, err := c.alone(ctx)
	switch {
	case err == nil:
		defer unlock()
	case ctx.Err() == nil:
		c.Log.Warn("alarms are told without a lock: some may be told twice", "err", err)
	}
	if c.overtaken(ctx, report) {
		c.again()
		report = c.look(ctx, report.Apps, false)
	}
	if err := ctx.Err(); err != nil {
		return report, err
	}
	ctx = context.WithoutCancel(ctx) // an alarm that is told by half would be told again
	desk := c.desk()
	desk.Lock = nil // it is held
	changes, err := desk.Reconcile(ctx, report.scope, report.Problems, c.safe(ctx, report))
	for _, f := range changes.Failed {
		c.Log.Warn("a destination could not be told of an alarm; it is tried again at the next check", "destination", f.Post, "alarm", f.Alarm.ID, "err", f.Err)
	}
	return report, err
}

// overtaken says whether a backup ended since report looked.
func (c *Caretaker) overtaken(ctx context.Context, report Report) bool {
	for app, seen := range report.seen {
		run, err := c.State.LastRun(ctx, app, core.RunBackup)
		c.stateFailed(ctx, "read the last run", err)
		if err == nil && idOf(run) != seen {
			return true
		}
	}
	return false
}

func idOf(run *core.Run) int64 {
	if run == nil {
		return 0
	}
	return run.ID
}

// alarmsPatience is how long to wait for another process that tells of alarms.
const alarmsPatience = 5 * time.Minute

// alone keeps other processes from telling of alarms until unlock.
func (c *Caretaker) alone(ctx context.Context) (unlock func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, alarmsPatience)
	defer cancel()
	lock, err := c.Engine.LockApp(ctx, ".alarms", "telling of alarms", true)
	if err != nil {
		return nil, err
	}
	return func() { _ = lock.Release() }, nil // it ends with the process at the latest
}

// desk tells the destinations of alarms.
func (c *Caretaker) desk() *notify.Desk {
	made := map[string][]notify.Post{}
	return &notify.Desk{
		Ledger: c.ledger(), Clock: c.Engine.Clock, Log: c.Log, Host: c.Engine.Host, Location: time.Local,
		Posts: func(name string) []notify.Post {
			posts, known := made[name]
			if !known { // once: it reads passwords
				posts = c.posts(name)
				made[name] = posts
			}
			return posts
		},
		Known: c.known,
		Lock:  c.alone,
	}
}

// known says whether an app is one of this configuration, or of another one that
// keeps its state here: only the one that an app was taken out of ends its alarms.
func (c *Caretaker) known(name string) bool {
	if _, ok := c.app(name); ok || name == "" {
		return true
	}
	var of string
	_, err := c.State.Value(context.Background(), "configured-in/"+name, &of)
	return err != nil || of != c.Config
}

// claim remembers which configuration an app is of.
func (c *Caretaker) claim(ctx context.Context, app string) {
	var of string
	_, err := c.State.Value(ctx, "configured-in/"+app, &of)
	if err == nil && of != c.Config {
		err = c.State.SetValue(ctx, "configured-in/"+app, c.Config)
	}
	c.stateFailed(ctx, "remember which configuration an app is of", err)
}

// ledger is where alarms are kept.
func (c *Caretaker) ledger() notify.Ledger {
	if c.Unsaved == nil {
		return c.State
	}
	return unsavedLedger{c.State, c.Unsaved}
}

// posts returns the destinations of an app; of one that is not configured any
// more all there are, among them those that were told of its alarms.
func (c *Caretaker) posts(name string) []notify.Post {
	if name == "" {
		return c.Posts()
	}
	if a, ok := c.app(name); ok {
		return a.Posts()
	}
	all := c.Posts()
	for _, a := range c.Apps {
		for _, p := range a.Posts() {
			if !slices.ContainsFunc(all, func(known notify.Post) bool { return known.Name == p.Name }) {
				all = append(all, p)
			}
		}
	}
	return all
}

// Tried is what became of a test alarm at one destination.
type Tried struct {
	App         string `json:"app,omitempty"` // "": the machine's destinations
	Destination string `json:"destination"`
	Part        string `json:"part"` // "opened", "updated", "closed"
	Ref         string `json:"ref,omitempty"`
	TookMS      int64  `json:"took_ms"`
	Error       string `json:"error,omitempty"`
}

// TestAlarms opens, updates and closes a test alarm at every destination of the
// apps, and with machine at those of the machine's own alarms.
func (c *Caretaker) TestAlarms(ctx context.Context, apps []App, machine, leaveOpen bool) []Tried {
	var out []Tried
	try := func(app string, posts []notify.Post) {
		for _, t := range c.desk().Test(ctx, posts, leaveOpen) {
			tried := Tried{App: app, Destination: t.Post, Part: string(t.Part), Ref: t.Ref, TookMS: t.Took.Milliseconds()}
			if t.Err != nil {
				tried.Error = t.Err.Error()
			}
			out = append(out, tried)
		}
	}
	for _, a := range apps {
		try(a.Name, a.Posts())
	}
	if machine {
		try("", c.Posts())
	}
	return out
}

// TellService opens, updates and closes the alarm about backstay itself.
func (c *Caretaker) TellService(ctx context.Context, problems []core.Problem) error {
	scope := notify.Scope{}
	scope.Add("", core.TopicService)
	_, err := c.tell(context.WithoutCancel(ctx), Report{Problems: problems, scope: scope}) // it may be the end that is told of
	return err
}

// safe says what can still be restored, for messages.
func (c *Caretaker) safe(ctx context.Context, report Report) func(app string) string {
	return func(app string) string {
		b := report.LastGood[app]
		if _, looked := report.newest[app]; !looked && b != nil {
			if a, ok := c.app(app); ok { // an earlier alarm of it that is still to be told
				b = c.trusted(ctx, a, &report)
			}
		}
		if b == nil {
			return ""
		}
		text := fmt.Sprintf("backup %s of %s", b.ID, b.Time.UTC().Format("2006-01-02 15:04 MST"))
		if b.Verified != nil {
			return text + ", read back whole on " + b.Verified.UTC().Format("2006-01-02 15:04 MST")
		}
		return text + ", not yet read back"
	}
}
