package operation

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
)

// tell opens, updates and closes alarms by what was found.
func (c *Caretaker) tell(ctx context.Context, report Report) error {
	ctx = context.WithoutCancel(ctx) // an alarm that is told by half would be told again
	unlock, err := c.lockAlarms(ctx)
	if err != nil {
		c.Log.Warn("alarms are told without a lock, and perhaps twice", "err", err)
	}
	defer unlock()
	scope := notify.Scope{}
	for _, app := range report.judged {
		scope.Add(app, core.TopicBackup, core.TopicContent, core.TopicProof)
	}
	scope.Add("", report.topics...)
	changes, err := c.desk().Reconcile(ctx, scope, report.Problems, safe(report))
	for _, f := range changes.Failed {
		c.Log.Warn("a destination could not be told of an alarm; it is tried again at the next check", "destination", f.Post, "alarm", f.Alarm.ID, "err", f.Err)
	}
	if err != nil {
		c.Log.Error("alarms could not be told everywhere", "err", err, "hint", core.HintOf(err))
	}
	return err
}

// desk tells the destinations of alarms.
func (c *Caretaker) desk() *notify.Desk {
	return &notify.Desk{Ledger: c.State, Clock: c.Engine.Clock, Log: c.Log, Host: c.Engine.Host, Location: time.Local, Posts: func(name string) []notify.Post {
		if a, ok := c.app(name); ok {
			return a.Posts()
		}
		return c.Posts()
	}}
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

// lockAlarms keeps two processes from opening the same ticket at once. A
// destination may be slow, and is given time; nobody waits for ever.
func (c *Caretaker) lockAlarms(ctx context.Context) (unlock func(), err error) {
	unlock = func() {}
	dir := filepath.Join(c.Engine.StateDir, "locks")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unlock, fmt.Errorf("lock alarms: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "alarms.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return unlock, fmt.Errorf("lock alarms: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, alarmsPatience)
	defer cancel()
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil // it ends the lock either way
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return unlock, errors.Join(fmt.Errorf("lock alarms: %w", err), f.Close())
		}
		select {
		case <-ctx.Done():
			return unlock, errors.Join(errors.New("lock alarms: another process has been telling of alarms for long"), f.Close())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// alarmsPatience is how long to wait for another process that tells of alarms.
const alarmsPatience = 5 * time.Minute

// TellService opens, updates and closes the alarm about backstay itself.
func (c *Caretaker) TellService(ctx context.Context, problems []core.Problem) error {
	return c.tell(ctx, Report{Problems: problems, topics: []core.Topic{core.TopicService}})
}

// safe says what can still be restored, for messages.
func safe(report Report) func(app string) string {
	return func(app string) string {
		b := report.LastGood[app]
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
