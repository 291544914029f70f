package operation

import (
	"context"
	"errors"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/drill"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/repository"
)

// DrillRecord is what is remembered of an app's newest drill, for checks and
// lists: the value of DrillKey in the state database. The whole of it is the
// report.
type DrillRecord struct {
	ID     string    `json:"id"` // of the report
	Backup string    `json:"backup"`
	Time   time.Time `json:"time"` // when it ended
	Mode   string    `json:"mode"` // evidence.DrillFull or evidence.DrillSample
	Passed bool      `json:"passed"`
	// RTOMS and RPOMS were measured; their targets are 0 where none is set.
	RTOMS       int64    `json:"rto_ms"`
	RTOTargetMS int64    `json:"rto_target_ms"`
	RPOMS       int64    `json:"rpo_ms"`
	RPOTargetMS int64    `json:"rpo_target_ms"`
	Failed      []string `json:"failed,omitempty"` // the first items that failed, or why it could not go on
	// Passes is when a drill of the app last passed; nil: none has.
	Passes *time.Time `json:"passes"`
}

// DrillKey is the key of an app's DrillRecord.
func DrillKey(app string) string { return "drills/" + app }

// drillsLock is the lock that all drills of a machine take. No app is called so.
const drillsLock = "all.drills"

// maxFailed bounds how many failed items a record names.
const maxFailed = 10

// Drill drills a backup of an app, records how it went, writes and signs its
// report, and opens, updates or closes alarms. A drill that failed is in the
// result and is no error; the error is that it was cancelled, or could not be
// written down: a drill without a report is no evidence.
func (c *Caretaker) Drill(ctx context.Context, a App, req drill.Request, reports evidence.Store, why Occasion) (d evidence.Drill, err error) {
	run := core.Run{App: a.Name, Kind: core.RunDrill, Trigger: why.Trigger, Schedule: why.Schedule, Due: why.Due, Started: c.now(), Outcome: core.OutcomeRunning, By: c.By, Backup: req.Record.ID}
	c.begin(ctx, &run)
	req.Trigger = why.Trigger
	// One at a time: two would take twice the memory and the disk, and each longer
	// than a recovery does.
	lock, err := c.Engine.LockApp(ctx, drillsLock, "drill", true)
	if err == nil {
		d, err = drill.Run(ctx, c.Engine, req)
		err = errors.Join(err, lock.Release())
	}
	d.Run = run.ID
	failed := err
	if err == nil {
		if err = reports.Save(d); err != nil {
			failed = &core.Error{Code: core.CodeOf(err), Op: "write the drill's report", Err: err, Hint: core.HintOf(err)}
			err = failed
		} else {
			failed = Judge(d)
		}
	}
	if _, terr := reports.Trim(c.now()); terr != nil {
		c.Log.Warn("old reports of drills could not be removed", "err", terr, "hint", core.HintOf(terr))
	}
	if err == nil && d.Passed && d.Mode == evidence.DrillFull {
		at := d.Finished
		if merr := c.Engine.Store.Mark(ctx, d.Backup.ID, repository.Mark{Drilled: &at}); merr != nil && ctx.Err() == nil {
			c.Log.Warn("the drill could not be recorded in the repository", "backup", d.Backup.ID, "err", merr)
		}
	}
	if err == nil {
		c.remember(ctx, d)
	}
	run.Warnings = missed(d)
	c.finish(ctx, a, &run, core.Backup{ID: req.Record.ID}, failed)
	if ctx.Err() != nil {
		return d, err
	}
	c.again()
	if _, terr := c.tell(ctx, c.look(ctx, []string{a.Name}, false)); terr != nil && ctx.Err() == nil {
		c.Log.Error("alarms could not be told everywhere", "err", terr, "hint", core.HintOf(terr))
	}
	return d, err
}

// NoDrill records that no backup's turn it was to be drilled, and why.
func (c *Caretaker) NoDrill(ctx context.Context, a App, why Occasion, reason string) {
	run := core.Run{App: a.Name, Kind: core.RunDrill, Trigger: why.Trigger, Schedule: why.Schedule, Due: why.Due, Started: c.now(), Outcome: core.OutcomeRunning, By: c.By}
	c.begin(ctx, &run)
	run.Message = reason
	c.finish(ctx, a, &run, core.Backup{}, nil)
}

// Judge turns a drill that did not pass into an error, for records and exit
// codes: damage where something was not as captured, and what ended it where it
// could not be carried out.
func Judge(d evidence.Drill) error {
	if d.Passed {
		return nil
	}
	failed := d.Failed()
	e := &core.Error{Code: core.CodeDamage, Op: "drill app " + d.App, Hint: "backstay show " + d.Backup.ID + "; the report says what was looked at"}
	switch {
	case len(failed) > 0:
		e.Message = failed[0].Message
		if failed[0].Object != "" {
			e.Message = failed[0].Object + ": " + e.Message
		}
		if len(failed) > 1 {
			e.Message += " (" + core.Some(itemsOf(failed[1:]), 3) + ")"
		}
		if failed[0].Hint != "" {
			e.Hint = failed[0].Hint
		}
	default:
		e.Code, e.Message, e.Hint = core.CodeFailed, d.Failure, d.Hint
	}
	return e
}

func itemsOf(proofs []core.Proof) []string {
	items := make([]string, 0, len(proofs))
	for _, p := range proofs {
		item := p.Name
		if p.Object != "" {
			item = p.Object
		}
		items = append(items, item)
	}
	return items
}

// missed counts the targets that a drill that passed did not meet.
func missed(d evidence.Drill) (n int) {
	for _, o := range []evidence.Objective{d.RPO, d.RTO} {
		if o.Missed && d.Passed {
			n++
		}
	}
	return n
}

// remember keeps what checks and lists need of a drill.
func (c *Caretaker) remember(ctx context.Context, d evidence.Drill) {
	ctx = context.WithoutCancel(ctx) // it took place
	var before DrillRecord
	_, err := c.State.Value(ctx, DrillKey(d.App), &before)
	c.stateFailed(ctx, "read of the last drill", err)
	r := DrillRecord{
		ID: d.ID, Backup: d.Backup.ID, Time: d.Finished, Mode: d.Mode, Passed: d.Passed, Passes: before.Passes,
		RTOMS: d.RTO.MeasuredMS, RTOTargetMS: d.RTO.TargetMS, RPOMS: d.RPO.MeasuredMS, RPOTargetMS: d.RPO.TargetMS,
	}
	if d.Passed {
		r.Passes = &r.Time
	}
	failed := d.Failed()
	for _, p := range failed[:min(len(failed), maxFailed)] {
		text := p.Message
		if p.Object != "" {
			text = p.Object + ": " + text
		}
		r.Failed = append(r.Failed, text)
	}
	if d.Failure != "" && len(failed) == 0 {
		r.Failed = []string{d.Failure}
	}
	c.stateFailed(ctx, "keep how the drill went", c.State.SetValue(ctx, DrillKey(d.App), r))
}
