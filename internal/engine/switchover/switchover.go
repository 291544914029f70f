// Package switchover brings a live app from one state to another at once, and
// back: what lies built beside it changes places with what is live, under the
// app's own maintenance mode, by a journal. It is for package restore, and for
// undoing and resuming what that began. It promises that an error leaves the
// app as it was, or has core.CodeUnfinished and says how to go on; that what
// was killed at any point can be finished or taken back; and that users are
// let in again on every way out.
package switchover

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/files/exchange"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/shadow"
	"github.com/backstay/backstay/internal/profile"
)

// Change is a live app on its way from one state to another: a restore, its
// resumption, or an undo. It is not safe for concurrent use.
type Change struct {
	E       *engine.Engine
	Profile profile.Profile
	Target  engine.Target
	App     *core.Application // nil: there is no live app whose users could be kept out
	Config  mysql.Config      // of the live database; without a name where there is none
	Fills   bool              // the database is part of it
	Force   []string          // decisions that were made
	Wait    bool

	Journal *journal.Journal
	Trees   []*exchange.Built // as in Journal, in the order of the switch
	Guard   *mysql.Conn       // holds the locks on the live database; Open makes it, Close ends it
	Out     *Outcome

	leave func() error // lets users in again; nil: they are in
}

// Outcome is how a restore, or its undoing, ended.
type Outcome struct {
	App      string         `json:"app"`
	Backup   string         `json:"backup"`
	Tables   int            `json:"tables"`
	Rows     int64          `json:"rows"`
	Files    int64          `json:"files"`
	Bytes    int64          `json:"bytes"`
	Warnings []core.Warning `json:"warnings"`
	Notes    []string       `json:"notes,omitempty"` // good to know
	Next     []string       `json:"next"`            // what is left to do by hand

	Run           string         `json:"run,omitempty"`           // of a live app: what undo goes by
	Safety        string         `json:"safety_backup,omitempty"` // id of the backup made before the switch
	UnavailableMS int64          `json:"unavailable_ms"`          // from when users were kept out, or the switch began, to its end
	StepsMS       int64          `json:"steps_ms"`                // of it or after it: the application's own steps
	KeptBytes     int64          `json:"kept_bytes"`              // room that what was replaced takes
	KeptTill      *time.Time     `json:"kept_till"`               // null: it is not kept
	Steps         []journal.Step `json:"steps"`
}

// NewRun names a run in names of tables and folders.
func NewRun() string { return strings.ToLower(rand.Text()[:10]) }

// ClearEarlier sees to earlier runs: one that was cut short in its switch must
// be finished first; what one left that was cut short before it is removed. It
// returns those that are kept.
func (c *Change) ClearEarlier(ctx context.Context) (kept []*journal.Journal, err error) {
	all, err := journal.All(c.E.StateDir, c.Journal.App)
	if err != nil {
		return nil, err
	}
	for _, j := range all {
		switch {
		case j.Mixed():
			return nil, &core.Error{
				Code: core.CodeUnfinished, Op: "restore app " + j.App, Message: j.Describe() + " was cut short, so the app may be half restored",
				Hint: fmt.Sprintf("backstay restore --resume %s finishes it, backstay undo %s takes it back", j.App, j.App),
			}
		case j.Phase == journal.Building:
			old := c.earlier(j)
			if err := old.discard(ctx); err != nil {
				return nil, fmt.Errorf("remove what an earlier restore left: %w", err)
			}
		default:
			kept = append(kept, j)
		}
	}
	return kept, nil
}

// Open takes the lock on the live database. Where nothing of the database is
// to change, one that cannot be reached is no error: its application cannot
// work on it either.
func (c *Change) Open(ctx context.Context) (err error) {
	if c.Config.Database == "" {
		return nil
	}
	server := c.Config
	server.Database = "" // it may not be there yet
	guard, err := mysql.Connect(ctx, server)
	if err != nil {
		if !c.Fills && c.Journal.Database == nil && ctx.Err() == nil {
			c.Out.Notes = append(c.Out.Notes, fmt.Sprintf("the application's locks in its database were not taken: %v", err))
			return nil
		}
		return err
	}
	wait := engine.LockGrace
	if c.Wait {
		wait = 600
	}
	if err := engine.TakeDatabaseLock(ctx, guard, c.Config.Database, wait); err != nil {
		return errors.Join(err, guard.Close())
	}
	c.Guard = guard
	return nil
}

// Close lets users in, and go of the locks.
func (c *Change) Close() error {
	err := c.letIn()
	if c.Guard != nil {
		err = errors.Join(err, c.Guard.Close())
	}
	return err
}

func (c *Change) querier() profile.Querier {
	if c.Guard == nil {
		return nil
	}
	return engine.Querier(c.Guard)
}

// enter has the connection with the locks look at the live database, which is
// there by now.
func (c *Change) enter(ctx context.Context) error {
	if c.Guard == nil {
		return nil
	}
	_, err := c.Guard.Exec(ctx, "USE "+mysql.QuoteName(c.Config.Database))
	if err != nil && mysql.Number(err) != 0 && !c.Fills && c.Journal.Database == nil {
		return nil // there is none, and there is to be none
	}
	return err
}

// earlier is an earlier run of the same app.
func (c *Change) earlier(j *journal.Journal) *Change {
	old := &Change{E: c.E, Journal: j, Config: c.Config}
	if j.Database != nil {
		old.Config.Database = j.Database.Live
	}
	return old
}

// keepUsersOut puts the app into its maintenance mode.
func (c *Change) keepUsersOut(ctx context.Context) error {
	if c.App == nil {
		return nil
	}
	c.Journal.Maintenance = true
	if err := c.Journal.Save(); err != nil {
		return err
	}
	warned, noted := len(c.App.Warnings), len(c.App.Notes)
	leave, err := c.Profile.Maintenance(ctx, c.querier(), c.Target.App, c.App, profile.MaintenanceOptions{
		WithoutCron: slices.Contains(c.Force, profile.FindingCronRunning),
	})
	c.leave = leave
	c.Out.Warnings = append(c.Out.Warnings, c.App.Warnings[warned:]...)
	c.Out.Notes = append(c.Out.Notes, c.App.Notes[noted:]...)
	if err != nil && core.CodeOf(err) == core.CodeLocked {
		return &core.Error{
			Code: core.CodeLocked, Op: "keep users out for the switch", Err: err,
			Hint: "try again when the application's job has ended, or switch while it runs: --force " + profile.FindingCronRunning,
		}
	}
	return err
}

// letIn ends the maintenance mode, on every way out.
func (c *Change) letIn() error {
	if c.leave == nil {
		return nil
	}
	err := c.leave()
	if err == nil {
		c.leave, c.Journal.Maintenance = nil, false
	}
	return err
}

// SwitchOver makes what was built the live app. On an error the app is what it
// was before, unless the error has core.CodeUnfinished.
func (c *Change) SwitchOver(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return c.Abandon(ctx, err)
	}
	c.E.Progress.Stage("keep users out", 0)
	if err := c.enter(ctx); err != nil {
		return c.Abandon(ctx, err)
	}
	if err := c.keepUsersOut(ctx); err != nil { // may wait long, and be cancelled
		return c.Abandon(ctx, errors.Join(err, c.letIn()))
	}
	began := c.E.Clock.Now()
	ctx = context.WithoutCancel(ctx)
	c.E.Progress.Stage("switch", 0)
	c.E.Progress.Item("users are out")
	c.Journal.Phase, c.Journal.Settled = journal.Switching, false
	if err := c.Journal.Save(); err != nil {
		c.Journal.Phase = journal.Building
		return c.Abandon(ctx, errors.Join(err, c.letIn()))
	}
	if err := c.forward(ctx); err != nil {
		back := c.backward(ctx)
		err = errors.Join(err, c.letIn())
		if back != nil {
			return c.halfway(err, back)
		}
		c.settleBack(ctx)
		return c.Abandon(ctx, err)
	}
	c.Journal.Phase, c.Journal.Switched = journal.Switched, c.E.Clock.Now()
	c.Out.UnavailableMS = c.E.Clock.Now().Sub(began).Milliseconds()
	return c.saveSwitched()
}

// saveSwitched saves the journal of an app that is wholly new or wholly old.
func (c *Change) saveSwitched() error {
	if err := c.Journal.Save(); err != nil {
		return &core.Error{
			Code: core.CodeUnfinished, Op: "restore app " + c.Journal.App, Message: "the app is switched, which could not be noted", Err: errors.Join(err, c.letIn()),
			Hint: "make room in state_dir, then backstay restore --resume " + c.Journal.App,
		}
	}
	return nil
}

// forward switches everything, whatever was switched before.
func (c *Change) forward(ctx context.Context) error {
	if db := c.Journal.Database; db != nil {
		c.E.Progress.Item("database")
		warnings, err := db.Switch(ctx, c.Config, c.Journal.Save)
		c.Out.Warnings = append(c.Out.Warnings, warnings...)
		if err != nil {
			return err
		}
	}
	for _, t := range c.Trees {
		c.E.Progress.Item(t.Component)
		warnings, err := exchange.Switch(ctx, t)
		c.Out.Warnings = append(c.Out.Warnings, warnings...)
		if err != nil {
			return fmt.Errorf("switch %s: %w", t.Component, err)
		}
	}
	c.E.Progress.Item("prove")
	if db := c.Journal.Database; db != nil {
		return db.Prove(ctx, c.Config)
	}
	return nil
}

// backward takes everything back, whatever was switched before.
func (c *Change) backward(ctx context.Context) error {
	c.Journal.Phase, c.Journal.Settled = journal.Reverting, false
	// On a full disk the journal still says that the app may be mixed.
	saved := c.Journal.Save()
	for _, t := range slices.Backward(c.Trees) {
		c.E.Progress.Item(t.Component)
		warnings, err := exchange.Revert(ctx, t)
		c.Out.Warnings = append(c.Out.Warnings, warnings...)
		if err != nil {
			return errors.Join(fmt.Errorf("take %s back: %w", t.Component, err), saved)
		}
	}
	if db := c.Journal.Database; db != nil {
		c.E.Progress.Item("database")
		warnings, err := db.Revert(ctx, c.Config, c.Journal.Save)
		c.Out.Warnings = append(c.Out.Warnings, warnings...)
		if err != nil {
			return errors.Join(err, saved)
		}
	}
	c.Journal.Phase = journal.Building
	return nil
}

// settleBack is what is left to do when a switch was taken back: the words of
// the tables' triggers may be others, and what was built may still be there
// when this process ends. The app works without either.
func (c *Change) settleBack(ctx context.Context) {
	var err error
	if db := c.Journal.Database; db != nil {
		_, err = db.Settle(ctx, c.Config, c.Journal.Save)
	}
	if err = errors.Join(err, c.Journal.Save()); err != nil {
		c.E.Log.Warn("the app is as it was, but for the names of constraints and the words of triggers", "err", err)
	}
}

// halfway is the error of a switch that could be neither finished nor taken
// back.
func (c *Change) halfway(err, back error) error {
	return &core.Error{
		Code: core.CodeUnfinished, Op: "restore app " + c.Journal.App,
		Message: "the switch failed and could not be taken back: parts of the app may be of the backup, others as they were", Err: errors.Join(err, back),
		Hint: fmt.Sprintf("when the cause is gone: backstay undo %s takes it back, backstay restore --resume %s finishes it", c.Journal.App, c.Journal.App),
	}
}

// Abandon removes what was built, and says with the error that the live app is
// as it was.
func (c *Change) Abandon(ctx context.Context, err error) error {
	c.E.Progress.Stage("remove what was built", 0)
	clean := c.discard(context.WithoutCancel(ctx))
	if clean != nil {
		c.E.Log.Warn("what the restore built could not be removed; the next restore tries again", "err", clean)
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return fmt.Errorf("the live app is wholly as it was: %w", err)
	}
	message := "the live app is wholly as it was; nothing of it was changed"
	if errors.Is(err, shadow.ErrDefiners) {
		message = "rows and files of the live app are as they were, and some of its routines, triggers or events belong to the restoring account now"
	}
	return &core.Error{Code: core.CodeOf(err), Op: "restore app " + c.Journal.App, Message: message, Err: err, Hint: core.HintOf(err)}
}

// discard removes what was built and is not live, and forgets the run.
func (c *Change) discard(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, discardLimit)
	defer cancel()
	for _, t := range c.Journal.Trees {
		if err := exchange.Abandon(t.MovesFile); err != nil {
			return err
		}
	}
	if db := c.Journal.Database; db != nil {
		if err := db.DropNew(ctx, c.Config); err != nil {
			return err
		}
	}
	if c.Journal.Dir() == "" { // it did not begin
		return nil
	}
	return c.Journal.Remove()
}

// discardLimit is how long removing what was built may take after an error.
const discardLimit = 10 * time.Minute
