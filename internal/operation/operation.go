// Package operation does what has to be done around a backup for nobody to have
// to look after it: it records the run, checks the result, applies retention,
// and opens, updates and closes alarms. It is for the commands and the service,
// which share it. It promises that whatever fails around a backup takes nothing
// from the backup, and is reported.
package operation

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/state"
)

// Caretaker looks after the apps of one configuration. It is used by one
// goroutine.
type Caretaker struct {
	Engine *engine.Engine
	State  *state.DB // may be unusable: what it cannot keep is a problem, and the work goes on
	Apps   []App     // all of the configuration: their problems with the repository are one alarm
	// Posts are the destinations of what is no single app's.
	Posts  func() []notify.Post
	Limits check.Limits // of the repository
	// KitProof is how long ago somebody may have shown to hold a recovery kit;
	// 0 or less: nobody is reminded.
	KitProof time.Duration
	// Cover is in which time all of the repository is to be read back; 0: that is
	// not asked for.
	Cover  time.Duration
	Log    *slog.Logger
	By     string // who runs it, for the records
	Config string // the file of the configuration: two may share a state folder
	// ServiceRuns says that the service is there, which tells itself of what is
	// wrong with backstay.
	ServiceRuns bool
	// Unsaved has the alarms that State could not keep; nil: none is remembered.
	Unsaved *Unsaved

	// Adopt is the run that was recorded for the first that is done here, before
	// this process began; 0: there is none.
	Adopt int64
	// Began is told of each run that begins, and what it returns is called when
	// it is over; nil: nobody is told.
	Began func(run int64) (ended func())

	ended      func()                         // of the run under way
	records    []repository.Record            // of all apps, oldest first; read once
	byApp      map[string][]repository.Record // the same
	lost       error                          // what the repository cannot show any more
	listed     bool
	broken     error               // the first error of State
	unrecorded map[string]core.Run // by app: backups that ended, and that State could not keep
}

// App is an app with what is to be done for it.
type App struct {
	Name    string
	Profile string
	// Target finds out how the app is reached: it reads passwords, and so is
	// called only for an app that is worked on.
	Target    func() (engine.Target, error)
	Schedules []schedule.Spec
	Retention []retention.Policy
	Limits    check.Limits
	Drills    Drills
	// Posts and Pings are made when they are needed: they read passwords.
	Posts func() []notify.Post
	Pings func() []Pinger
}

// Pinger tells a monitor of runs that begin and end.
type Pinger interface {
	Ping(ctx context.Context, run core.Run) error
}

// app returns the app called name.
func (c *Caretaker) app(name string) (App, bool) {
	for _, a := range c.Apps {
		if a.Name == name {
			return a, true
		}
	}
	return App{}, false
}

// stateFailed remembers that the state could not be read or written. Nothing
// that must be done hangs on it. That ctx ended is not the state's fault.
func (c *Caretaker) stateFailed(ctx context.Context, what string, err error) {
	if err == nil || ctx.Err() != nil {
		return
	}
	if c.broken == nil {
		c.broken = err
		c.Log.Error("the state database cannot be used; backups go on without it", "while", what, "err", err, "hint", core.HintOf(err))
		return
	}
	c.Log.Debug("state", "while", what, "err", err)
}

// list reads the backups of all apps, once.
func (c *Caretaker) list(ctx context.Context) ([]repository.Record, error) {
	if c.listed {
		return c.records, nil
	}
	all, err := c.Engine.List(ctx, "")
	if core.CodeOf(err) == core.CodeDamage {
		c.lost, err = err, nil
	}
	if err != nil {
		return nil, err
	}
	c.Know(all, c.lost)
	return all, nil
}

// Know tells what backups there are, of all apps and the oldest first, and which
// the repository has lost, to a caretaker whose caller has just listed them.
func (c *Caretaker) Know(all []repository.Record, lost error) {
	c.records, c.lost, c.listed, c.byApp = all, lost, true, map[string][]repository.Record{}
	for _, r := range all {
		c.byApp[r.App] = append(c.byApp[r.App], r)
	}
}

// again has the next list read the repository.
func (c *Caretaker) again() { c.records, c.byApp, c.listed, c.lost = nil, nil, false, nil }

// usual returns an app's backups, oldest first, without those of states that
// somebody wanted to leave. There are none where list failed.
func (c *Caretaker) usual(app string) []repository.Record {
	return slices.DeleteFunc(slices.Clone(c.byApp[app]), func(r repository.Record) bool { return r.Aside() })
}

// backups are records as they are judged.
func backups(records []repository.Record) []core.Backup {
	out := make([]core.Backup, 0, len(records))
	for _, r := range records {
		out = append(out, r.Backup)
	}
	return out
}

// now is the time by the engine's clock.
func (c *Caretaker) now() time.Time { return c.Engine.Clock.Now() }
