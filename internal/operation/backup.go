package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/retention"
)

// Occasion says why a backup is made now.
type Occasion struct {
	Trigger  string // "manual", "schedule" or "catch-up"
	Schedule string
	Due      *time.Time
}

// Result is a backup and what was done around it.
type Result struct {
	Backup   core.Backup
	Problems []core.Problem       // of the app and the repository, as they are after it
	Pruned   []retention.Decision // the backups that retention removed
}

// Backup backs an app up, and looks after the result. The error is that of the
// backup; what else goes wrong is a problem or in the log.
func (c *Caretaker) Backup(ctx context.Context, a App, opt engine.BackupOptions, why Occasion) (Result, error) {
	run := core.Run{App: a.Name, Kind: core.RunBackup, Trigger: why.Trigger, Schedule: why.Schedule, Due: why.Due, Started: c.now(), Outcome: core.OutcomeRunning, By: c.By}
	c.begin(ctx, &run)
	c.ping(ctx, a, run)
	t, err := a.Target()
	var b core.Backup
	if err == nil {
		b, err = c.Engine.Backup(ctx, t, opt)
	}
	c.again()
	c.finish(ctx, a, &run, b, err)
	result := Result{Backup: b}
	if err != nil && (ctx.Err() != nil || core.CodeOf(err) == core.CodeLocked) {
		return result, err // somebody wanted it so, or somebody else is at it
	}
	if err == nil {
		c.keepLast(ctx, b)
	}
	report, terr := c.tell(ctx, c.look(ctx, []string{a.Name}, false))
	if terr != nil && ctx.Err() == nil { // it is tried again at the next check
		c.Log.Error("alarms could not be told everywhere", "err", terr, "hint", core.HintOf(terr))
	}
	if ctx.Err() != nil {
		return result, err // what was found after the end says nothing; the next check looks again
	}
	result.Problems = report.Problems
	if err == nil {
		result.Pruned = c.pruneAfter(ctx, a, report)
		c.dropExpired(ctx, t)
	}
	return result, err
}

// dropExpired makes room of what a restore kept for longer than was asked for.
// That it does not work takes nothing from the backup that was made.
func (c *Caretaker) dropExpired(ctx context.Context, t engine.Target) {
	dropped, err := switchover.DropExpired(ctx, c.Engine, t)
	switch {
	case err != nil:
		c.Log.Warn("what the last restore replaced could not be removed, though its time is over", "app", t.App.Name, "err", err, "hint", "backstay undo "+t.App.Name+" --drop")
	case dropped:
		c.Log.Info("what the last restore replaced is removed: its time is over", "app", t.App.Name)
	}
}

// begin records that a run begins.
func (c *Caretaker) begin(ctx context.Context, run *core.Run) {
	given := c.Adopt
	if c.Adopt = 0; given != 0 {
		c.takeOver(ctx, given, run)
	}
	if run.ID == 0 {
		id, err := c.State.BeginRun(ctx, *run)
		run.ID = id
		c.stateFailed(ctx, "record that a run begins", err)
	}
	if c.Began != nil {
		c.ended = c.Began(cmp.Or(run.ID, given))
	}
}

// takeOver makes the run that was recorded for this one its record.
func (c *Caretaker) takeOver(ctx context.Context, id int64, run *core.Run) {
	given, err := c.State.AdoptRun(ctx, id)
	switch {
	case core.CodeOf(err) == core.CodeNotFound: // the state was begun anew, or never had it
		c.Log.Debug("the run that was recorded for this one is not there", "run", id)
	case err != nil:
		c.stateFailed(ctx, "take over a run", err)
	case given.Kind == run.Kind && (given.App == "" || given.App == run.App):
		run.ID, run.Started, run.By = given.ID, given.Started, given.By
	}
}

// faultRepository says that the repository is to blame for a run's error.
const faultRepository = "repository"

// finish records how a run ended, also when ctx has.
func (c *Caretaker) finish(ctx context.Context, a App, run *core.Run, b core.Backup, err error) {
	stopped := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	now := c.now()
	run.Finished, run.Backup, run.Warnings = &now, b.ID, run.Warnings+len(b.Warnings)
	switch {
	case stopped && core.CodeOf(err) == core.CodeCancelled: // else nobody wanted it so
		run.Outcome = core.OutcomeCancelled
	case core.CodeOf(err) == core.CodeLocked && run.Kind != core.RunCheck: // a check locks nothing but the state
		run.Outcome = core.OutcomeMissed
	case err != nil:
		run.Outcome = core.OutcomeFailed
	case run.Warnings > 0:
		run.Outcome = core.OutcomeWarnings
	default:
		run.Outcome = core.OutcomeOK
	}
	if err != nil {
		run.Code, run.Message, run.Hint = core.CodeOf(err), err.Error(), core.HintOf(err)
		if errors.Is(err, repository.ErrStorage) {
			run.Fault = faultRepository
		}
	}
	c.record(ctx, run)
	if c.ended != nil {
		c.ended()
		c.ended = nil
	}
	c.ping(ctx, a, *run)
}

// record keeps a run that ended. One that State cannot keep is remembered for as
// long as this process lives: that a backup failed must be told all the same.
func (c *Caretaker) record(ctx context.Context, run *core.Run) {
	var err error
	if run.ID != 0 {
		err = c.State.FinishRun(ctx, *run)
	} else { // the state may be well again
		run.ID, err = c.State.AddRun(ctx, *run)
	}
	c.stateFailed(ctx, "record how a run ended", err)
	if run.Kind != core.RunBackup || run.Outcome == core.OutcomeMissed {
		return
	}
	if delete(c.unrecorded, run.App); err != nil {
		if c.unrecorded == nil {
			c.unrecorded = map[string]core.Run{}
		}
		c.unrecorded[run.App] = *run
	}
}

// pingTimeout bounds how long monitors may keep a backup waiting.
const pingTimeout = 10 * time.Second

// ping tells monitors of a run that begins or has ended. None of them can keep
// a backup from being made.
func (c *Caretaker) ping(ctx context.Context, a App, run core.Run) {
	if a.Pings == nil || run.Outcome == core.OutcomeMissed {
		return
	}
	var all sync.WaitGroup
	for _, p := range a.Pings() {
		all.Go(func() {
			if err := pingOne(ctx, p, run); err != nil {
				c.Log.Warn("a monitor could not be told of the run", "app", a.Name, "err", err)
			}
		})
	}
	all.Wait()
}

// pingOne returns in time, whatever the monitor does.
func pingOne(ctx context.Context, p Pinger, run core.Run) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("it stumbled over the run (%v); that is a bug", r)
			}
		}()
		done <- p.Ping(ctx, run)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("it did not answer in time: %w", ctx.Err())
	}
}

// keepLast keeps the newest backup where the service's metrics find it.
func (c *Caretaker) keepLast(ctx context.Context, b core.Backup) {
	ctx = context.WithoutCancel(ctx) // it was made
	b.Warnings = b.Warnings[:min(len(b.Warnings), 20)]
	c.stateFailed(ctx, "keep the newest backup's numbers", c.State.SetValue(ctx, "last-backup/"+b.App, b))
}
