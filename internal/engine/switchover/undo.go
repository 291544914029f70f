package switchover

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/files/exchange"
	"github.com/backstay/backstay/internal/mysql"
)

// Earlier is a restore of a live app that is known here.
type Earlier struct {
	Journal *journal.Journal
	// KeptBytes is about how much room it takes that it can be undone.
	KeptBytes int64

	c *Change
}

// FindEarlier returns the last restore of the app. The error has
// core.CodeNotFound when none is known here.
func FindEarlier(ctx context.Context, e *engine.Engine, t engine.Target, force []string, wait bool) (*Earlier, error) {
	j, err := journal.Newest(e.StateDir, t.App.Name)
	if err != nil {
		return nil, err
	}
	if j == nil {
		return nil, &core.Error{
			Code: core.CodeNotFound, Op: "find the last restore of app " + t.App.Name, Message: "no restore of it is kept here, in " + e.StateDir,
			Hint: fmt.Sprintf("a backup of what was live before may be in the repository: backstay list %s", t.App.Name),
		}
	}
	p, err := e.Profiles.Get(j.Profile)
	if err != nil {
		return nil, err
	}
	c := &Change{E: e, Profile: p, Target: t, Force: force, Wait: wait, Journal: j, Out: newOutcome(j)}
	if app, err := p.Discover(ctx, t.App); err == nil {
		c.App = app
	} else if j.Database != nil && t.App.Database.Name == "" {
		return nil, &core.Error{
			Code: core.CodeApplication, Op: "find the database of app " + t.App.Name, Err: err,
			Hint: "give --database-host, --database-user, --database-name and a password (--database-password-file)",
		}
	}
	if c.App != nil && c.App.Database != nil {
		c.Config = mysql.ConfigOf(*c.App.Database)
	}
	if j.Database != nil {
		source := c.App
		if source == nil || source.Database == nil {
			d := t.App.Database
			source = &core.Application{Database: &core.DatabaseSource{Host: d.Host, Port: d.Port, Socket: d.Socket, User: d.User, Password: d.Password, Prefix: d.Prefix, TLS: d.TLS}}
		}
		c.Config = mysql.ConfigOf(*source.Database)
		c.Config.Database = j.Database.Live
	}
	return &Earlier{Journal: j, c: c, KeptBytes: c.keptBytes(ctx)}, nil
}

func newOutcome(j *journal.Journal) *Outcome {
	return &Outcome{App: j.App, Backup: j.Backup, Run: j.Run, Warnings: []core.Warning{}, Next: []string{}, Steps: []journal.Step{}}
}

// Trees says what changes places in the files; nothing where that is not known.
func (r *Earlier) Trees() []*exchange.Built {
	c := *r.c
	if c.load() != nil {
		return nil
	}
	return c.Trees
}

// under runs do as the only operation on the app, its locks held.
func (r *Earlier) under(ctx context.Context, doing string, do func(*Change) error) (_ *Outcome, err error) {
	c := r.c
	lock, err := c.E.LockApp(ctx, c.Journal.App, doing, c.Wait)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	now, err := journal.Newest(c.E.StateDir, c.Journal.App)
	if err != nil {
		return nil, err
	}
	if now == nil || now.Run != c.Journal.Run || now.Phase != c.Journal.Phase {
		return nil, &core.Error{Code: core.CodeLocked, Op: doing + " app " + c.Journal.App, Message: "another operation has changed the app meanwhile", Hint: "look again, then run the command again if it is still wanted"}
	}
	if err := c.Open(ctx); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.enter(ctx); err != nil {
		return nil, err
	}
	if err := do(c); err != nil {
		return nil, err
	}
	return c.Out, nil
}

// Resume brings a restore that was cut short to its end. One that had not
// begun to change the live app is removed, and Restored.Run is "".
func (r *Earlier) Resume(ctx context.Context) (*Outcome, error) {
	return r.under(ctx, "resume the restore of", func(c *Change) error {
		switch c.Journal.Phase {
		case journal.Building:
			c.Out.Run = ""
			return errors.Join(c.lift(ctx), c.discard(ctx))
		case journal.Reverting:
			if c.Journal.Undoing {
				return c.through(ctx, c.backward, journal.Reverted)
			}
			fallthrough
		case journal.Switching:
			return c.through(ctx, c.onward, journal.Switched)
		case journal.Switched, journal.Reverted:
			if err := c.load(); err != nil {
				return err
			}
			return errors.Join(c.lift(ctx), c.Finish(ctx))
		}
		return &core.Error{Code: core.CodeNotFound, Op: "resume the restore of app " + c.Journal.App, Message: "its last restore ended; nothing is left to do", Hint: "backstay undo " + c.Journal.App + " takes it back"}
	})
}

// Undo makes the live app what it was before the restore.
func (r *Earlier) Undo(ctx context.Context) (*Outcome, error) {
	return r.under(ctx, "undo the restore of", func(c *Change) error {
		switch c.Journal.Phase {
		case journal.Building:
			c.Out.Run = ""
			return errors.Join(c.lift(ctx), c.discard(ctx))
		case journal.Undone:
			return &core.Error{Code: core.CodeNotFound, Op: "undo the restore of app " + c.Journal.App, Message: "it is undone already", Hint: fmt.Sprintf("backstay undo %s --drop removes what undo took away", c.Journal.App)}
		case journal.Reverted:
			if err := c.load(); err != nil {
				return err
			}
			return errors.Join(c.lift(ctx), c.Finish(ctx))
		}
		c.Journal.Undoing = true
		return c.through(ctx, c.backward, journal.Reverted)
	})
}

// onward goes on with a switch that was cut short, or that took itself back
// and was cut short in that.
func (c *Change) onward(ctx context.Context) error {
	c.Journal.Phase, c.Journal.Settled = journal.Switching, false
	if err := c.Journal.Save(); err != nil {
		return err
	}
	return c.forward(ctx)
}

// Drop removes what is kept of the restore, for good.
func (r *Earlier) Drop(ctx context.Context) (*Outcome, error) {
	return r.under(ctx, "drop what is kept of", func(c *Change) error {
		if c.Journal.Phase == journal.Building {
			return errors.Join(c.lift(ctx), c.discard(ctx))
		}
		if c.Journal.Unfinished() {
			return &core.Error{
				Code: core.CodeUnfinished, Op: "drop what is kept of app " + c.Journal.App, Message: c.Journal.Describe() + " was cut short, so what is kept may be needed",
				Hint: fmt.Sprintf("backstay restore --resume %s finishes it, backstay undo %s takes it back", c.Journal.App, c.Journal.App),
			}
		}
		return c.drop(ctx)
	})
}

// lift ends a maintenance that a killed restore left.
func (c *Change) lift(ctx context.Context) error {
	if !c.Journal.Maintenance {
		return nil
	}
	if _, err := c.Profile.LiftMaintenance(ctx, c.Target.App); err != nil {
		return err
	}
	c.Journal.Maintenance = false
	return nil
}

// through goes all the way in one direction, from wherever the app is. From a
// whole state it goes back to that when it cannot get through.
func (c *Change) through(ctx context.Context, way func(context.Context) error, to journal.Phase) error {
	from := c.Journal.Phase
	if err := c.load(); err != nil {
		return c.still(from, err)
	}
	if err := c.keepUsersOut(ctx); err != nil {
		return c.still(from, errors.Join(err, c.letIn()))
	}
	began := c.E.Clock.Now()
	ctx = context.WithoutCancel(ctx)
	if err := way(ctx); err != nil {
		if from == journal.Done || from == journal.Switched {
			return c.forwardAgain(ctx, from, err)
		}
		return c.stuck(err)
	}
	c.Journal.Phase = to
	c.Out.UnavailableMS = c.E.Clock.Now().Sub(began).Milliseconds()
	if err := c.saveSwitched(); err != nil {
		return err
	}
	if err := c.Finish(ctx); err != nil {
		return err
	}
	c.Out.KeptBytes = c.keptBytes(ctx)
	return nil
}

// still says with an error that kept a change from beginning what the app is.
func (c *Change) still(from journal.Phase, err error) error {
	message := "nothing was changed by this; the app is wholly of backup " + c.Journal.Backup + ", as it was"
	if from == journal.Switching || from == journal.Reverting {
		message = "nothing was changed by this; the app may still be half restored"
	}
	return &core.Error{Code: core.CodeOf(err), Op: "app " + c.Journal.App, Message: message, Err: err, Hint: core.HintOf(err)}
}

// forwardAgain makes the app what it was before an undo that failed.
func (c *Change) forwardAgain(ctx context.Context, from journal.Phase, err error) error {
	c.Journal.Phase, c.Journal.Undoing = journal.Switching, false
	saved := c.Journal.Save() // on a full disk the journal still says that the app may be mixed
	if again := c.forward(ctx); again != nil {
		return c.stuck(errors.Join(err, again, saved))
	}
	err = errors.Join(err, c.letIn())
	if db := c.Journal.Database; db != nil {
		if _, serr := db.Settle(ctx, c.Config, c.Journal.Save); serr != nil {
			from = journal.Switched // resume settles it
			err = errors.Join(err, serr)
		}
	}
	c.Journal.Phase = from
	return c.still(from, errors.Join(err, c.Journal.Save()))
}

// stuck is the error of a change that ended half-way.
func (c *Change) stuck(err error) error {
	return &core.Error{
		Code: core.CodeUnfinished, Op: "app " + c.Journal.App, Message: "it could not be brought to one state: parts of it may be of the backup, others as they were",
		Err:  errors.Join(err, c.letIn(), c.Journal.Save()),
		Hint: fmt.Sprintf("when the cause is gone, run it again, or the other way: backstay undo %s takes the restore back, backstay restore --resume %s finishes it", c.Journal.App, c.Journal.App),
	}
}

// DropExpired removes what is kept of restores of the app for longer than was
// asked for.
func DropExpired(ctx context.Context, e *engine.Engine, t engine.Target) (dropped bool, err error) {
	j, err := journal.Newest(e.StateDir, t.App.Name)
	if err != nil || j == nil || j.Unfinished() || j.KeepTill.IsZero() || e.Clock.Now().Before(j.KeepTill) {
		return false, err
	}
	r, err := FindEarlier(ctx, e, t, nil, false)
	if err != nil {
		return false, err
	}
	_, err = r.Drop(ctx)
	return err == nil, err
}
