package session

import (
	"cmp"
	"context"
	"errors"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/progress"
	"github.com/backstay/backstay/internal/repository"
)

// recorded is a command that is a run by itself. What looks after backups
// records its own (operation.Caretaker).
type recorded struct {
	run    core.Run
	begun  bool
	failed error // what an exit code without an error stands for
}

// Records has what the command does recorded as a run, of an app, "" for none or
// several. It is called before the configuration is read.
func (s *Session) Records(kind, app string) {
	if !core.ValidAppName(app) {
		app = ""
	}
	s.recorded = &recorded{run: core.Run{Kind: kind, App: app}}
}

// About says what the run is about, as soon as that is known. Without Records it
// does nothing, as the methods below.
func (s *Session) About(ctx context.Context, app, backup string) {
	r := s.recorded
	if r == nil {
		return
	}
	r.run.App, r.run.Backup = cmp.Or(r.run.App, app), cmp.Or(backup, r.run.Backup)
	if r.run.ID == 0 {
		return
	}
	if err := s.state.DescribeRun(ctx, r.run.ID, r.run.App, r.run.Backup); err != nil {
		s.Printer.Logger().Debug("record what the run is about", "err", err) // its end says it again
	}
}

// Warned says that the run ended with n warnings.
func (s *Session) Warned(n int) {
	if s.recorded != nil {
		s.recorded.run.Warnings = n
	}
}

// FailedWith says what the exit code stands for that the command ends with: its
// message has been printed in a way of its own.
func (s *Session) FailedWith(err error) {
	if s.recorded != nil {
		s.recorded.failed = err
	}
}

// Launched says whether somebody started this command elsewhere than in a shell,
// and waits for it.
func (s *Session) Launched() bool { return s.ByService() && s.Env.Getenv(daemon.EnvBy) != "" }

// Trigger says for a record why this runs.
func (s *Session) Trigger() string {
	if s.ByService() && !s.Launched() {
		return "schedule"
	}
	return "manual"
}

// adopt returns the id of the run that was recorded for this command before it
// began, the first time; 0: there is none.
func (s *Session) adopt() int64 {
	if !s.ByService() || s.adopted {
		return 0
	}
	s.adopted = true
	id, err := strconv.ParseInt(s.Env.Getenv(daemon.EnvRun), 10, 64)
	if err != nil || id < 0 {
		return 0
	}
	return id
}

// beginRun records that the command begins. Not being able to keeps nobody from
// a restore: that is said loudly.
func (s *Session) beginRun(ctx context.Context, stateDir string) {
	s.stateDir = stateDir
	r := s.recorded
	if r == nil || r.begun {
		return
	}
	r.begun = true
	run := &r.run
	run.Trigger, run.Started, run.Outcome, run.By = s.Trigger(), s.Env.Clock.Now(), core.OutcomeRunning, s.Who()
	db, id := s.State(ctx, stateDir), s.adopt()
	var err error
	if id != 0 {
		var given core.Run
		if given, err = db.AdoptRun(ctx, id); err == nil && given.Kind == run.Kind {
			run.ID, run.Started, run.By = given.ID, given.Started, given.By
			run.App, run.Backup = cmp.Or(given.App, run.App), given.Backup
		}
	}
	if run.ID == 0 {
		run.ID, err = db.BeginRun(ctx, *run)
	}
	if err != nil && ctx.Err() == nil {
		s.Printer.Logger().Error("this run is not recorded; it goes on", "err", err, "hint", core.HintOf(err))
	}
	s.progress.follow(s, cmp.Or(run.ID, id))
}

// endRun records how it ended.
func (s *Session) endRun(ctx context.Context, err error) {
	defer s.progress.leave()
	if s.recorded == nil || !s.recorded.begun {
		return
	}
	run := &s.recorded.run
	now := s.Env.Clock.Now()
	run.Finished = &now
	s.recorded.judge(err)
	ctx = context.WithoutCancel(ctx)
	if run.ID != 0 {
		err = s.State(ctx, s.stateDir).FinishRun(ctx, *run)
	} else { // the state may be well again
		_, err = s.State(ctx, s.stateDir).AddRun(ctx, *run)
	}
	if err != nil {
		s.Printer.Logger().Error("how this run ended is not recorded", "outcome", run.Outcome, "err", err, "hint", core.HintOf(err))
	}
}

// judge puts into the record how the command ended.
func (r *recorded) judge(err error) {
	run := &r.run
	var exit Outcome
	coded := errors.As(err, &exit)
	if coded {
		err = r.failed
	}
	run.Outcome = core.OutcomeOK
	switch {
	case coded && (exit == 0 || int(exit) == core.CodeWarnings.ExitCode()):
		if exit != 0 {
			run.Outcome = core.OutcomeWarnings
		}
	case coded && run.Kind == core.RunPlan: // that the plan says no is what was asked for
		run.Outcome = core.OutcomeWarnings
	case coded:
		run.Outcome, run.Code, run.Message = core.OutcomeFailed, core.CodeFailed, "it ended with exit code "+strconv.Itoa(int(exit))
	case core.CodeOf(err) == core.CodeCancelled:
		run.Outcome = core.OutcomeCancelled
	case err != nil:
		run.Outcome = core.OutcomeFailed
	case run.Warnings > 0:
		run.Outcome = core.OutcomeWarnings
	}
	if err == nil {
		return
	}
	run.Code, run.Message, run.Hint = core.CodeOf(err), strings.ReplaceAll(err.Error(), context.Canceled.Error(), "cancelled"), core.HintOf(err)
	if errors.Is(err, repository.ErrStorage) {
		run.Fault = "repository"
	}
}

// surviveService lets the command end cleanly, and record it, when the service
// that reads what it says is gone.
func (s *Session) surviveService() {
	if s.ByService() {
		signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // writes are errors then; nothing inherits that
	}
}

// shared hears of progress for whoever looks here, and, while a run is recorded,
// for everybody else.
type shared struct {
	mu   sync.RWMutex // guards what follows
	here core.Progress
	file *progress.Writer // nil: no run is recorded
}

var _ core.Progress = (*shared)(nil)

func (p *shared) show(here core.Progress) *shared {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.here = here
	return p
}

// follow writes the progress of a run from now on.
func (p *shared) follow(s *Session, run int64) {
	p.leave()
	if run == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.file = progress.NewWriter(s.stateDir, run, s.Env.Clock, s.Printer.Logger())
}

// leave ends that.
func (p *shared) leave() {
	p.mu.Lock()
	file := p.file
	p.file = nil
	p.mu.Unlock()
	if file != nil {
		file.Close()
	}
}

func (p *shared) each(do func(core.Progress)) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.here != nil {
		do(p.here)
	}
	if p.file != nil {
		do(p.file)
	}
}

// Stage begins a stage.
func (p *shared) Stage(name string, total int64) {
	p.each(func(to core.Progress) { to.Stage(name, total) })
}

// Item says what is being worked on.
func (p *shared) Item(name string) { p.each(func(to core.Progress) { to.Item(name) }) }

// Add says that n more bytes are done.
func (p *shared) Add(n int64) { p.each(func(to core.Progress) { to.Add(n) }) }
