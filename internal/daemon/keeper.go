package daemon

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/progress"
	"github.com/backstay/backstay/internal/schedule/agenda"
	"github.com/backstay/backstay/internal/state"
)

// memoryKey is the value in the state database that holds the agenda's memory.
const memoryKey = "agenda"

const (
	maxWaiting = 500              // records that wait for a state database that cannot be used
	keepEvery  = time.Hour        // how often dead runs are looked for, and old records removed
	oneRecord  = 30 * time.Second // at most for one record
)

// keeper writes into the state database, in a goroutine of its own: the service
// waits for it a moment and then goes on. What could not be written is tried
// again.
type keeper struct {
	dir   string
	clock core.Clock
	log   *slog.Logger
	wait  waits
	poke  func() // called when trouble has begun or is over

	work chan struct{} // there is something to do
	done chan struct{} // closed when run has returned

	mu       sync.Mutex // guards what follows
	db       *state.DB
	warned   int   // how many of its warnings were said
	err      error // why the database cannot be used; nil: it can
	memory   map[string]agenda.Memory
	version  int // of memory
	saved    int // the version that was written
	records  []record
	lost     int        // records that were given up
	finished *sync.Cond // a round has ended, or was waited for long enough
	closing  bool
}

// record is something to write.
type record struct {
	what string
	do   func(ctx context.Context, db *state.DB) error
}

func newKeeper(dir string, clock core.Clock, log *slog.Logger, wait waits, poke func()) *keeper {
	k := &keeper{
		dir: dir, clock: clock, log: log, wait: wait, poke: poke,
		work: make(chan struct{}, 1), done: make(chan struct{}), memory: map[string]agenda.Memory{},
	}
	k.finished = sync.NewCond(&k.mu)
	return k
}

// begin returns what the agenda remembered, nil when it cannot be read now.
func (k *keeper) begin(ctx context.Context) map[string]agenda.Memory {
	memory := map[string]agenda.Memory{}
	db, err := k.open(ctx)
	if err == nil {
		_, err = db.Value(ctx, memoryKey, &memory)
	}
	k.judge(err)
	if err != nil {
		memory = nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.Copy(k.memory, memory)
	return memory
}

// open opens the database, once.
func (k *keeper) open(ctx context.Context) (*state.DB, error) {
	k.mu.Lock()
	db := k.db
	k.mu.Unlock()
	if db != nil {
		return db, nil
	}
	db, err := state.Open(ctx, k.dir, k.clock)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	if first := k.db; first != nil { // somebody who launches was here meanwhile
		k.mu.Unlock()
		return first, db.Close()
	}
	k.db = db
	k.mu.Unlock()
	k.warn()
	return db, nil
}

// warn says what the database did that somebody should know: it can put itself
// aside at each use.
func (k *keeper) warn() {
	k.mu.Lock()
	warnings := k.db.Warnings()
	fresh := warnings[min(k.warned, len(warnings)):]
	k.warned = len(warnings)
	k.mu.Unlock()
	for _, w := range fresh {
		k.log.Warn(w.Message, "what", w.Code, "object", w.Object)
	}
}

// usable returns the database, nil when there is none to ask.
func (k *keeper) usable() *state.DB {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.db
}

// judge remembers whether the database can be used, and says so when that
// changes.
func (k *keeper) judge(err error) {
	k.mu.Lock()
	before := k.err
	k.err = err
	k.mu.Unlock()
	switch {
	case err != nil && (before == nil || before.Error() != err.Error()):
		k.log.Error("the state database cannot be used; backups go on, and are recorded when it can", "err", err, "hint", core.HintOf(err))
	case err == nil && before != nil:
		k.log.Info("the state database can be used again")
	}
	if (err == nil) != (before == nil) {
		k.poke()
	}
}

// trouble says why the database cannot be used, nil when it can.
func (k *keeper) trouble() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.err
}

// remember writes what the agenda has to remember, and returns when that is
// done, has failed, or takes too long: what is due is not put off for it.
func (k *keeper) remember(changed map[string]agenda.Memory) {
	k.mu.Lock()
	for key, m := range changed {
		if m == (agenda.Memory{}) {
			delete(k.memory, key)
		} else {
			k.memory[key] = m
		}
	}
	k.version++
	version, broken := k.version, k.err != nil
	k.mu.Unlock()
	k.kick()
	if broken {
		return // it is tried, and not waited for again and again
	}
	patience, enough := context.WithTimeout(context.Background(), k.wait.store)
	defer enough()
	defer context.AfterFunc(patience, func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.finished.Broadcast()
	})()
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.saved < version && k.err == nil && patience.Err() == nil {
		k.finished.Wait()
	}
}

// record adds a run that never began.
func (k *keeper) record(r core.Run) {
	k.add(record{"record a run", func(ctx context.Context, db *state.DB) error {
		_, err := db.AddRun(ctx, r)
		return err
	}})
}

// settle sees to it that a run that has ended is recorded so, whether it could
// do that itself or not.
func (k *keeper) settle(e ending) {
	k.add(record{"record how a run ended", func(ctx context.Context, db *state.DB) error {
		if e.child.launched != nil {
			return settleLaunched(ctx, db, e)
		}
		if err := settle(ctx, db, e); err != nil || e.signal == 0 {
			return err
		}
		return cleanProgress(ctx, db, k.dir)
	}})
}

// cleanProgress removes what killed runs left.
func cleanProgress(ctx context.Context, db *state.DB, dir string) error {
	running, err := db.Runs(ctx, state.RunFilter{Outcome: core.OutcomeRunning})
	if err != nil {
		return err
	}
	return progress.Clean(dir, func(run int64) bool {
		return run >= firstUnrecorded || slices.ContainsFunc(running, func(r core.Run) bool { return r.ID == run })
	})
}

func settle(ctx context.Context, db *state.DB, e ending) error {
	c := e.child
	run := core.Run{App: c.job.App, Kind: c.job.Kind, Trigger: c.start.Trigger, Schedule: c.job.Name, Due: &c.start.Due, Started: c.began, By: "service"}
	e.tell(&run)
	if pid := c.PID(); pid > 0 && run.Message != "" {
		n, err := db.AbandonRun(ctx, pid, run.Outcome, run.Message, run.Hint)
		if err != nil || n > 0 {
			return err
		}
	}
	known, err := db.Runs(ctx, state.RunFilter{App: run.App, Kind: run.Kind, Limit: 20})
	if err != nil {
		return err
	}
	for _, k := range known {
		mine := (k.App == run.App || run.App == "") && (!k.Started.Before(c.began) || k.Due != nil && k.Due.Equal(c.start.Due) && k.Schedule == run.Schedule && k.Outcome != core.OutcomeMissed &&
			(k.Finished == nil || !k.Finished.Before(c.began))) // else it is that of a run that this one catches up
		if !mine {
			continue
		}
		if k.Outcome != core.OutcomeRunning && !state.Gone(k) {
			return nil
		}
		run.ID, run.Started, run.Trigger, run.Schedule, run.Due, run.By = k.ID, k.Started, k.Trigger, k.Schedule, k.Due, k.By
		return db.FinishRun(ctx, run)
	}
	_, err = db.AddRun(ctx, run)
	return err
}

// tell puts into a record how the run ended, as far as it is known here.
func (e ending) tell(run *core.Run) {
	run.Outcome, run.Finished = e.outcome(), &e.at
	switch run.Outcome {
	case core.OutcomeOK, core.OutcomeWarnings:
	case core.OutcomeCancelled:
		run.Code, run.Message, run.Hint = core.CodeCancelled, e.message(), e.hint()
	default:
		run.Code, run.Message, run.Hint = codeOf(e.exit), e.message(), e.hint()
		if said := e.child.said(); said != nil && e.signal == 0 {
			run.Code = said.Code
		}
	}
}

// codeOf is the code that leads to an exit code.
func codeOf(exit int) core.Code {
	for _, c := range []core.Code{core.CodeDamage, core.CodeNoRepository, core.CodeLocked, core.CodeWrongKey, core.CodeUsage} {
		if c.ExitCode() == exit {
			return c
		}
	}
	return core.CodeFailed
}

func (k *keeper) add(r record) {
	k.mu.Lock()
	if len(k.records) == maxWaiting {
		k.records = slices.Delete(k.records, 0, 1)
		k.lost++
	}
	k.records = append(k.records, r)
	k.mu.Unlock()
	k.kick()
}

func (k *keeper) kick() {
	select {
	case k.work <- struct{}{}:
	default:
	}
}

// run writes until end, or until ctx ends.
func (k *keeper) run(ctx context.Context) {
	defer close(k.done)
	k.clean()
	repair := time.NewTicker(k.wait.repair)
	defer repair.Stop()
	keep := time.NewTicker(keepEvery)
	defer keep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.work:
		case <-repair.C:
			if k.trouble() == nil {
				continue
			}
		case <-keep.C:
			k.add(record{"look for runs whose process is gone", func(ctx context.Context, db *state.DB) error {
				_, err := db.Sweep(ctx)
				return err
			}})
			k.clean()
			k.add(record{"remove old records", func(ctx context.Context, db *state.DB) error { return db.Trim(ctx, k.clock.Now()) }})
		}
		k.round(ctx)
		k.mu.Lock()
		ends := k.closing
		k.mu.Unlock()
		if ends {
			return
		}
	}
}

func (k *keeper) clean() {
	k.add(record{"remove progress of runs that are over", func(ctx context.Context, db *state.DB) error { return cleanProgress(ctx, db, k.dir) }})
}

// round writes all that waits, as far as it goes.
func (k *keeper) round(ctx context.Context) {
	err := k.write(ctx)
	k.warn()
	k.judge(err)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && k.lost > 0 {
		k.log.Error("records of runs were lost while the state database could not be used", "lost", k.lost)
		k.lost = 0
	}
	k.finished.Broadcast()
}

func (k *keeper) write(ctx context.Context) error {
	db, err := k.open(ctx)
	if err != nil {
		return err
	}
	if err := k.writeMemory(ctx, db); err != nil {
		return err
	}
	for {
		k.mu.Lock()
		if len(k.records) == 0 {
			k.mu.Unlock()
			return nil
		}
		r := k.records[0]
		k.mu.Unlock()
		err := within(ctx, db, r.do)
		if err != nil && unusable(err) {
			return err
		}
		if err != nil { // it would fail each time
			k.log.Error("a record could not be written and is left out", "record", r.what, "err", err)
		}
		k.mu.Lock()
		if len(k.records) > 0 {
			k.records = slices.Delete(k.records, 0, 1)
		}
		k.mu.Unlock()
	}
}

// writeMemory writes all of the agenda's memory as one value: also when a
// damaged database was begun anew, nothing of it is missing.
func (k *keeper) writeMemory(ctx context.Context, db *state.DB) error {
	k.mu.Lock()
	version, saved, all := k.version, k.saved, maps.Clone(k.memory)
	k.mu.Unlock()
	if version == saved {
		return nil
	}
	if err := within(ctx, db, func(ctx context.Context, db *state.DB) error { return db.SetValue(ctx, memoryKey, all) }); err != nil {
		return err
	}
	k.mu.Lock()
	k.saved = version
	k.mu.Unlock()
	return nil
}

func within(ctx context.Context, db *state.DB, do func(context.Context, *state.DB) error) error {
	ctx, cancel := context.WithTimeout(ctx, oneRecord)
	defer cancel()
	return do(ctx, db)
}

// unusable says whether err is the database's, and not the record's.
func unusable(err error) bool {
	code := core.CodeOf(err)
	return code == core.CodeLocked || code == core.CodeDisk || code == core.CodeUnsupported || errors.Is(err, context.DeadlineExceeded) || code == core.CodeCancelled
}

// end writes what waits and closes the database. It takes a moment at most.
func (k *keeper) end() {
	k.mu.Lock()
	k.closing = true
	k.mu.Unlock()
	k.kick()
	select {
	case <-k.done:
	case <-time.After(2 * k.wait.store):
		k.log.Error("the state database does not answer; what was to be recorded is lost")
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if n := len(k.records); n > 0 || k.saved < k.version {
		k.log.Error("the service ends, and the state database cannot be used: what was to be recorded is lost", "records", n)
	}
	if err := k.db.Close(); err != nil {
		k.log.Warn("close the state database", "err", err)
	}
}
