package switchover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/engine/smoke"
	"github.com/backstay/backstay/internal/files/exchange"
	"github.com/backstay/backstay/internal/profile"
)

// Finish does what is left after a switch or its way back: the application's
// own steps, letting users in, and looking whether it works. What does not
// work is a warning: the app is wholly what it is to be either way.
func (c *Change) Finish(ctx context.Context) error {
	began := c.E.Clock.Now()
	c.E.Progress.Stage("finish", 0)
	restored := c.restored()
	whole := true
	for _, s := range c.Profile.PostSteps(restored) {
		whole = ctx.Err() == nil && c.RunStep(ctx, s) && whole
	}
	c.Out.StepsMS = c.E.Clock.Now().Sub(began).Milliseconds()
	if err := c.letIn(); err != nil {
		c.warn("maintenance", c.Journal.App, "users could not be let in again: %v (%s)", err, core.HintOf(err))
		c.leave, whole = nil, false // the journal knows it, and resume tries again
	}
	c.E.Progress.Item("users are in")
	if ctx.Err() != nil {
		return c.interrupted(ctx)
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	c.E.Progress.Item("look")
	if c.Journal.Phase == journal.Switched {
		c.changedSince(ctx)
	}
	c.look(ctx, restored)
	c.Out.Run = c.Journal.Run
	c.Journal.Ended = c.E.Clock.Now()
	// A step that fails after the way back must not keep that from having ended.
	if whole || c.Journal.Phase == journal.Reverted {
		c.Journal.Phase = map[journal.Phase]journal.Phase{journal.Switched: journal.Done, journal.Reverted: journal.Undone}[c.Journal.Phase]
	} else {
		c.Out.Next = append(c.Out.Next, fmt.Sprintf("when what the warnings name is put right, run the steps again: backstay restore --resume %s; or go back: backstay undo %s", c.Journal.App, c.Journal.App))
	}
	return c.saveSwitched()
}

// interrupted is the error of a finish that somebody cancelled.
func (c *Change) interrupted(ctx context.Context) error {
	message := "the app is wholly of backup " + c.Journal.Backup
	if c.Journal.Phase == journal.Reverted {
		message = "the app is wholly what it was before the restore"
	}
	return &core.Error{
		Code: core.CodeUnfinished, Op: "restore app " + c.Journal.App, Message: message + "; it was interrupted before its last steps", Err: errors.Join(ctx.Err(), c.Journal.Save()),
		Hint: "backstay restore --resume " + c.Journal.App + " runs them",
	}
}

func (c *Change) warn(code, object, format string, args ...any) {
	c.Out.Warnings = append(c.Out.Warnings, core.Warning{Code: code, Object: object, Message: fmt.Sprintf(format, args...)})
}

func (c *Change) restored() profile.Restored {
	r := profile.Restored{
		App: c.Target.App, Root: c.Journal.Root, Code: c.Journal.Code, Files: c.Journal.Files, Database: c.Journal.Database != nil,
		Versions: c.Journal.Versions, Settings: c.Journal.Settings,
	}
	if c.Journal.Phase == journal.Reverted {
		r.Versions = nil // the backup's are those of what has gone
	}
	if c.App != nil && c.App.Database != nil {
		r.Prefix = c.App.Database.Prefix
	}
	return r
}

// RunStep runs one of the application's own steps; ok says whether nothing
// that the application needs is missing.
func (c *Change) RunStep(ctx context.Context, s profile.PostStep) (ok bool) {
	if why := s.CannotRun(); why != "" {
		c.Out.Next = append(c.Out.Next, s.ByHand())
		c.warn("post-step", s.Name, "it was not run (%s); %s: %s", why, s.Why, s.ByHand())
		return true // somebody else has to do it
	}
	c.E.Progress.Stage(s.Name, 0)
	step := journal.Step{Name: s.Name, Command: s.ByHand(), Started: c.E.Clock.Now()}
	got, err := profile.RunPostStep(ctx, s, c.querier(), io.Discard)
	step.DurationMS = c.E.Clock.Now().Sub(step.Started).Milliseconds()
	step.Exit, step.Output = got.Exit, got.Output
	if err != nil {
		step.Error = err.Error()
		c.warn("post-step", s.Name, "%v (%s)", err, core.HintOf(err))
	}
	c.Journal.Steps, c.Out.Steps = append(c.Journal.Steps, step), append(c.Out.Steps, step)
	return err == nil || !s.Required
}

// settle does what of the database may wait until users are in.
func (c *Change) settle(ctx context.Context) error {
	if c.Journal.Database == nil {
		return nil
	}
	warnings, err := c.Journal.Database.Settle(ctx, c.Config, c.Journal.Save)
	c.Out.Warnings = append(c.Out.Warnings, warnings...)
	if c.Journal.Settled = err == nil; err != nil {
		return &core.Error{
			Code: core.CodeUnfinished, Op: "restore app " + c.Journal.App, Message: "the app is switched and works, but its tables do not have all their final names of constraints yet", Err: errors.Join(err, c.Journal.Save()),
			Hint: "backstay restore --resume " + c.Journal.App,
		}
	}
	return nil
}

// changedSince warns of files that were as in the backup when the restore
// looked and have been written to since. They stay: they are newer.
func (c *Change) changedSince(ctx context.Context) {
	for _, t := range c.Trees {
		warnings, err := exchange.Changed(ctx, t)
		c.Out.Warnings = append(c.Out.Warnings, warnings...)
		if err != nil {
			c.warn("newer", t.Component, "it could not be looked whether files were changed during the restore: %v", err)
		}
	}
}

// patience is how long an application may answer with errors before that is a
// warning.
const patience = 10 * time.Second

// look sees whether the application works.
func (c *Change) look(ctx context.Context, restored profile.Restored) {
	app, err := c.Profile.Discover(ctx, c.Target.App)
	if err != nil {
		c.warn("smoke", c.Journal.App, "its configuration cannot be read: %v", err)
		return
	}
	if c.Journal.Phase == journal.Switched && c.Guard != nil {
		for _, f := range c.Profile.Check(ctx, c.querier(), app, restored) {
			if f.Kind == core.FindingFine {
				continue
			}
			object := f.Object
			if object == "" {
				object = c.Journal.App
			}
			c.warn("smoke", object, "%s", f.Message)
		}
	}
	if url := c.Profile.URL(c.Target.App, app); url != "" {
		err := smoke.AnswersWithin(ctx, url, patience)
		switch {
		case err != nil && c.App == nil: // a new machine, whose web server may not know it yet
			c.Out.Next = append(c.Out.Next, fmt.Sprintf("let the web server serve the application: it does not answer yet at %s (%v)", url, err))
		case err != nil:
			c.warn("smoke", url, "the application does not answer as it should: %v", err)
		}
	}
}

// Keep decides how long the way back stays open, and closes older ones.
func (c *Change) Keep(ctx context.Context, keep time.Duration, earlier []*journal.Journal) error {
	for _, j := range earlier {
		if j.Database != nil && j.Address != c.Config.Address() {
			c.warn("kept", j.App, "what an earlier restore had kept lies at the database server %s, which the app no longer uses; its tables and databases have %s in their names", j.Address, j.Run)
			continue
		}
		old := c.earlier(j)
		if err := old.drop(ctx); err != nil {
			c.warn("kept", j.App, "what an earlier restore had kept could not be removed: %v; the next restore tries again", err)
		}
	}
	if keep == 0 && !c.Journal.Unfinished() {
		if err := c.drop(ctx); err != nil {
			c.warn("kept", c.Journal.App, "what was replaced could not be removed: %v; backstay undo %s --drop tries again", err, c.Journal.App)
		}
		return nil
	}
	till := c.E.Clock.Now().Add(keep)
	c.Journal.KeepTill, c.Out.KeptTill = till, &till
	c.Out.KeptBytes = c.keptBytes(ctx)
	if err := c.Journal.Save(); err != nil {
		c.warn("kept", c.Journal.App, "until when what was replaced is kept could not be noted: %v; it stays until backstay undo %s --drop", err, c.Journal.App)
		c.Out.KeptTill = nil
	}
	return nil
}

// keptBytes is about how much room it takes that the way back is open.
func (c *Change) keptBytes(ctx context.Context) int64 {
	var total int64
	add := func(n int64, err error) {
		if err != nil {
			c.E.Log.Debug("measure what is kept", "err", err)
			return
		}
		total += n
	}
	for _, t := range c.Trees {
		add(exchange.KeptBytes(t))
	}
	switch db := c.Journal.Database; {
	case db == nil:
	case c.Journal.Phase == journal.Undone || c.Journal.Phase == journal.Reverted:
		add(db.NewBytes(ctx, c.Config))
	default:
		add(db.KeptBytes(ctx, c.Config))
	}
	return total
}

// drop removes what is kept, for good: the tables first, since the files are
// what tells that there is something to remove.
func (c *Change) drop(ctx context.Context) error {
	if db := c.Journal.Database; db != nil {
		if err := errors.Join(db.DropNew(ctx, c.Config), db.DropKept(ctx, c.Config)); err != nil {
			return err
		}
	}
	for _, t := range c.Journal.Trees {
		built, err := exchange.Load(t.MovesFile)
		if core.CodeOf(err) == core.CodeNotFound { // an earlier try has removed it
			continue
		}
		if err == nil {
			err = exchange.Drop(built)
		}
		if err != nil {
			return err
		}
	}
	return c.Journal.Remove()
}

// load reads back what was built of the files.
func (c *Change) load() error {
	c.Trees = nil
	for _, t := range c.Journal.Trees {
		built, err := exchange.Load(t.MovesFile)
		if err != nil {
			return err
		}
		c.Trees = append(c.Trees, built)
	}
	return nil
}
