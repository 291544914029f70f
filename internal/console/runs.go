package console

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/progress"
	"github.com/backstay/backstay/internal/state"
)

const (
	maxResult  = 8 << 20
	watchEvery = 500 * time.Millisecond
)

// Runs lists runs, the newest first.
func (c *Console) Runs(ctx context.Context, q RunQuery) ([]core.Run, error) {
	f := state.RunFilter{App: q.App, Kind: q.Kind, Outcome: q.Outcome, Since: q.Since, Offset: max(q.Page.Offset, 0)}
	_, p := part[struct{}](nil, q.Page)
	f.Limit = p.Limit
	if !q.Plans && q.Kind != core.RunPlan {
		f.ExceptKinds = []string{core.RunPlan}
	}
	runs, err := c.o.State(ctx).Runs(ctx, f)
	if runs == nil {
		runs = []core.Run{}
	}
	return runs, err
}

// Run looks at one; CodeNotFound.
func (c *Console) Run(ctx context.Context, id int64) (Run, error) {
	found, err := c.o.State(ctx).Run(ctx, id)
	if (err != nil || found == nil) && id >= firstUnrecorded {
		if run, ok := c.unrecorded(id); ok {
			return run, nil
		}
	}
	if err != nil {
		return Run{}, err
	}
	if found == nil {
		return Run{}, &core.Error{Code: core.CodeNotFound, Op: "find run", Message: fmt.Sprintf("there is no run %d", id), Hint: "old runs are removed from the records by and by; the list shows those there are"}
	}
	run := Run{Run: *found}
	if run.Outcome == core.OutcomeRunning {
		if p, err := progress.Read(c.o.StateDir, id); err == nil {
			run.Progress = &p
		} else if !errors.Is(err, progress.ErrNone) {
			c.o.Log.Debug("read how far a run is", "run", id, "err", err)
		}
		return run, nil
	}
	c.awaitResult(ctx, run.Run)
	run.Result = c.result(id)
	if run.Kind == core.RunExport && run.Outcome != core.OutcomeFailed {
		if d, err := c.download(id); err == nil {
			run.Download = &d
		}
	}
	return run, nil
}

// resultDelay is how much later than its end a run's result is written at most.
const resultDelay = 2 * time.Second

// awaitResult waits for what a run that has just ended prints last: whoever
// watches looks in between.
func (c *Console) awaitResult(ctx context.Context, run core.Run) {
	if run.Finished == nil {
		return
	}
	late := time.NewTimer(resultDelay - c.o.Clock.Now().Sub(*run.Finished))
	defer late.Stop()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if info, err := os.Stat(c.resultPath(strconv.FormatInt(run.ID, 10))); err != nil || info.Size() > 0 {
			return
		}
		select {
		case <-late.C:
			return
		case <-ctx.Done():
			return
		case <-again.C:
		}
	}
}

// firstUnrecorded is the least id of the runs that the state database could not
// record when they began (daemon.Launcher).
const firstUnrecorded = 1 << 40

// unrecorded is what can be said of a run that is in no record: it must be
// possible to restore without a state database, and to see how that went.
func (c *Console) unrecorded(id int64) (Run, bool) {
	run := Run{Run: core.Run{ID: id, Trigger: "manual", Outcome: core.OutcomeRunning, Message: "it could not be recorded: the state database cannot be used"}}
	info, err := os.Stat(c.resultPath(strconv.FormatInt(id, 10)))
	if err != nil {
		return Run{}, false
	}
	run.Started = info.ModTime()
	if p, err := progress.Read(c.o.StateDir, id); err == nil {
		run.Progress = &p
		return run, true
	}
	if info.Size() == 0 {
		return run, true
	}
	ended := info.ModTime()
	run.Finished, run.Outcome, run.Result = &ended, core.OutcomeOK, c.result(id)
	var failed struct {
		Error *struct {
			Code          core.Code
			Message, Hint string
		}
	}
	if err := json.Unmarshal(run.Result, &failed); err != nil || failed.Error != nil {
		run.Outcome = core.OutcomeFailed
		if failed.Error != nil {
			run.Code, run.Message, run.Hint = failed.Error.Code, failed.Error.Message, failed.Error.Hint
		}
	}
	return run, true
}

// resultPath is the file of a run's result.
func (c *Console) resultPath(run string) string {
	return filepath.Join(c.o.StateDir, "console", "results", run+".json")
}

// result returns what the command of a run printed, nil where there is nothing
// that can be shown.
func (c *Console) result(id int64) json.RawMessage {
	f, err := os.Open(c.resultPath(strconv.FormatInt(id, 10)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it was started elsewhere
	}
	var text []byte
	if err == nil {
		text, err = io.ReadAll(io.LimitReader(f, maxResult+1))
		err = errors.Join(err, f.Close())
	}
	text = bytes.TrimSpace(text)
	if err != nil || len(text) > maxResult || !json.Valid(text) {
		c.o.Log.Warn("a run's result cannot be shown", "run", id, "bytes", len(text), "err", err)
		return nil
	}
	return text
}

// Watch calls see with the run, at once and each time that something has
// changed, until it is over, see returns an error, or ctx ends. The last call
// has the run that is over.
func (c *Console) Watch(ctx context.Context, id int64, see func(Run) error) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var last []byte
	for {
		run, err := c.Run(ctx, id)
		if err != nil {
			return err
		}
		now, err := json.Marshal(run)
		if err != nil {
			return fmt.Errorf("describe run %d: %w", id, err)
		}
		if !bytes.Equal(now, last) {
			last = now
			if err := see(run); err != nil {
				return err
			}
		}
		if run.Outcome != core.OutcomeRunning {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

// Cancel asks a run to end. CodeNotFound when it is not running.
func (c *Console) Cancel(ctx context.Context, id int64, w Who) error {
	return c.o.Launcher.Cancel(ctx, id, w.By)
}

// Audit lists entries, the newest first.
func (c *Console) Audit(ctx context.Context, q AuditQuery) ([]core.Audited, error) {
	_, p := part[struct{}](nil, q.Page)
	found, err := c.o.State(ctx).AuditLog(ctx, state.AuditFilter{Since: q.Since, Action: q.Action, Object: q.Object, Who: q.Who, Limit: p.Limit, Offset: max(q.Page.Offset, 0)})
	if found == nil {
		found = []core.Audited{}
	}
	return found, err
}

// VerifyAudit says whether the log is as it was written.
func (c *Console) VerifyAudit(ctx context.Context) (AuditReport, error) {
	return c.o.State(ctx).VerifyAudit(ctx)
}

// Note adds to the audit log.
func (c *Console) Note(ctx context.Context, a core.Audited) error {
	if a.Time.IsZero() {
		a.Time = c.o.Clock.Now()
	}
	return c.o.State(ctx).Audit(ctx, a)
}

// Alarms lists alarms, open and closed, the newest first.
func (c *Console) Alarms(ctx context.Context, limit int) ([]core.Alarm, error) {
	found, err := c.o.State(ctx).Alarms(ctx, limit)
	if found == nil {
		found = []core.Alarm{}
	}
	return found, err
}

// cleanResults removes the results of old runs.
func (c *Console) cleanResults() {
	folder := filepath.Dir(c.resultPath(""))
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.o.Log.Warn("remove old results of runs", "err", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err == nil && c.o.Clock.Now().Sub(info.ModTime()) > resultsKept {
			err = os.Remove(filepath.Join(folder, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			c.o.Log.Warn("remove an old result of a run", "err", err)
		}
	}
}
