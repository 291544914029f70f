package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

// service is the running service. Its fields belong to the goroutine of run,
// but for those that say otherwise.
type service struct {
	o       Options
	wait    waits
	clock   core.Clock
	log     *slog.Logger
	path    string // of the program
	spare   string // the program that runs here, whatever has become of path; "": none
	env     []string
	polite  func(nice int, io IOClass) error
	manager *manager
	keeper  *keeper
	web     *web

	plan     Plan
	jobs     map[string]Job // by key; also those that are gone and still run
	agenda   *agenda.Agenda
	running  map[string]*child
	ran      map[string]*core.Run    // as in view; never changed but as a whole
	problems map[string]core.Problem // of the service itself, by name
	configAt time.Time               // when the plan was made
	stopping bool

	ended    chan ending
	loaded   chan loaded
	poke     chan struct{} // look again
	reported chan []core.Problem
	told     []core.Problem

	asks chan asking   // from Launcher.Cancel
	over chan struct{} // closed when the service has ended

	impolite sync.Once // says that priorities cannot be set

	view   atomic.Pointer[view] // what others may see
	turned atomic.Int64         // when the loop last turned, as monotonic
}

// view is what metrics and health are made of. It is never changed.
type view struct {
	states     []agenda.State
	problems   []core.Problem // of the service
	configAt   time.Time
	stopping   bool
	repository string
	runs       map[string]*core.Run // how the last backup of each app ended that this service ran
}

// Run is the service. It returns nil after ctx has ended and all runs have
// ended or been cancelled. Before it is ready, whatever keeps it from its work
// is an error: the configuration, the address, another service on the same
// state folder (core.CodeLocked). After that it goes on whatever happens.
func Run(ctx context.Context, o Options) error {
	return run(ctx, o, usualWaits(), process.Polite)
}

func newService(o Options, wait waits, polite func(int, IOClass) error) *service {
	if o.Clock == nil {
		o.Clock = core.SystemClock{}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &service{
		o: o, wait: wait, clock: o.Clock, log: o.Log, path: o.Executable, polite: polite, manager: newManager(o.Log),
		running: map[string]*child{}, ran: map[string]*core.Run{}, problems: map[string]core.Problem{},
		ended: make(chan ending), loaded: make(chan loaded), poke: make(chan struct{}, 1), reported: make(chan []core.Problem, 1),
		asks: make(chan asking), over: make(chan struct{}),
	}
	s.turned.Store(int64(monotonic()))
	return s
}

func run(ctx context.Context, o Options, wait waits, polite func(int, IOClass) error) (err error) {
	s := newService(o, wait, polite)
	o = s.o
	if s.path == "" {
		// Now, and not for each run: a program that was replaced by a newer one
		// is no longer at the path that the system gives.
		// It may also be removed, as an upgrade does with a folder per version.
		if s.path, err = os.Executable(); err != nil {
			return fmt.Errorf("find the program itself: %w", err)
		}
		s.path, s.spare = strings.TrimSuffix(s.path, " (deleted)"), ownImage
	}
	if s.env = o.Environment; s.env == nil {
		s.env = os.Environ()
	}
	s.env = forChildren(s.env)
	lock, err := lockService(o.StateDir, s.clock.Now())
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := lock.release(); err == nil {
			err = closeErr
		}
	}()

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, unix.SIGHUP)
	defer signal.Stop(hup)

	var wg sync.WaitGroup
	defer wg.Wait()
	inner, stop := context.WithCancel(context.WithoutCancel(ctx)) // outlives ctx: runs that end are still recorded
	defer stop()

	l := &loader{load: o.Load, log: o.Log, wait: wait, loaded: s.loaded, asked: make(chan string, 1), watcher: newWatcher(o.Log), dirs: map[string]bool{}}
	if l.watcher != nil {
		defer func() {
			if closeErr := l.watcher.Close(); closeErr != nil {
				s.log.Debug("stop watching files", "err", closeErr)
			}
		}()
	}
	if s.plan, err = l.first(ctx); err != nil {
		return err
	}
	s.web = newWeb(s)
	defer s.web.close()
	if err := s.web.listen(s.address(s.plan), s.plan.Service.TLS); err != nil {
		return err
	}

	s.keeper = newKeeper(o.StateDir, s.clock, s.log, wait, s.lookAgain)
	memory := s.keeper.begin(inner)
	wg.Go(func() { s.keeper.run(inner) })
	wg.Go(func() { s.report(inner) })
	loading, endLoading := context.WithCancel(inner)
	defer endLoading()
	wg.Go(func() { l.run(loading) })

	defer close(s.over)
	if err := o.Launcher.attach(s); err != nil {
		return err
	}
	defer o.Launcher.detach()
	s.settle(s.plan, memory)
	s.log.Info("the service runs", "jobs", len(s.plan.Jobs), "listen", s.web.address(), "version", o.Version)
	s.turn()
	s.manager.ready(s.status())
	if o.Ready != nil {
		o.Ready(s.web.address())
	}
	s.loop(ctx, l, hup)
	endLoading()
	o.Launcher.refuse()
	s.end(hup)
	s.keeper.end()
	s.log.Info("the service has ended")
	return nil
}

// settle begins with a plan.
func (s *service) settle(p Plan, memory map[string]agenda.Memory) {
	now := s.clock.Now()
	s.plan, s.jobs, s.configAt = p, jobsByKey(p.Jobs), now
	s.agenda = agenda.New(s.limits(), agendaJobs(p.Jobs), memory, now)
	s.schedulesChanged(nil, p.Jobs, now)
	// What went wrong while nothing ran is told now.
	for _, j := range p.Jobs {
		if j.Kind == core.RunCheck {
			s.agenda.Ask(j.Key, now)
		}
	}
}

// schedulesChanged says which schedules cannot be understood any more, or can be
// again, and has it looked at at once what that means.
func (s *service) schedulesChanged(before map[string]Job, jobs []Job, now time.Time) {
	after := jobsByKey(jobs)
	for _, j := range jobs {
		if j.Err == nil {
			continue
		}
		if was, known := before[j.Key]; known && was.Err != nil && was.Err.Error() == j.Err.Error() {
			continue
		}
		s.log.Error("a schedule cannot be understood: nothing runs by it", "app", j.App, "kind", j.Kind, "schedule", j.Name, "err", j.Err, "hint", core.HintOf(j.Err))
		s.agenda.Ask(j.Then, now)
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		was := before[key]
		configured := slices.ContainsFunc(jobs, func(j Job) bool { return j.App == was.App && j.Kind == was.Kind })
		if was.Err == nil || after[key].Err != nil || !configured {
			continue
		}
		s.log.Info("the schedule can be understood again", "app", was.App, "kind", was.Kind, "schedule", was.Name)
		s.agenda.Ask(was.Then, now)
	}
}

// address is where to listen.
func (s *service) address(p Plan) string {
	if s.o.Listen != "" {
		return s.o.Listen
	}
	return p.Service.Listen
}

func (s *service) limits() agenda.Limits {
	return agenda.Limits{Running: max(s.plan.Service.Parallel, 1), Grace: s.plan.Service.Grace}
}

func jobsByKey(jobs []Job) map[string]Job {
	out := make(map[string]Job, len(jobs))
	for _, j := range jobs {
		out[j.Key] = j
	}
	return out
}

func agendaJobs(jobs []Job) []agenda.Job {
	out := make([]agenda.Job, len(jobs))
	for i, j := range jobs {
		out[i] = j.Job
	}
	return out
}

// ownImage is the program of whoever opens it, also when its file was removed.
const ownImage = "/proc/self/exe"

// lookAgain has the loop turn. Any goroutine may call it.
func (s *service) lookAgain() {
	select {
	case s.poke <- struct{}{}:
	default: // it will turn anyway
	}
}

// loop keeps to the agenda until ctx ends.
func (s *service) loop(ctx context.Context, l *loader, hup <-chan os.Signal) {
	alive, endAlive := s.heartbeat()
	defer endAlive()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := s.clock.Now()
		// Never longer than a minute: a clock that jumps, and a machine that
		// slept, are noticed by then.
		timer.Reset(min(max(s.agenda.NextWake(now).Sub(now), time.Millisecond), s.wait.turn))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			s.turn()
		case <-s.poke:
			s.turn()
		case <-alive:
			s.manager.alive()
		case e := <-s.ended:
			s.finished(e)
			s.turn()
		case got := <-s.loaded:
			s.apply(got)
			s.turn()
		case <-hup:
			s.reload(l)
		case a := <-s.asks:
			s.askScheduled(a)
		}
	}
}

// heartbeat ticks when systemd's watchdog is to be told.
func (s *service) heartbeat() (<-chan time.Time, func()) {
	if s.manager.every <= 0 {
		return nil, func() {}
	}
	ticker := time.NewTicker(s.manager.every)
	return ticker.C, ticker.Stop
}

func (s *service) reload(l *loader) {
	s.log.Info("the configuration is read again", "because", "SIGHUP")
	s.manager.reloading()
	select {
	case l.asked <- whySignal:
	default: // it is being read, or about to
		s.manager.ready(s.status())
	}
}

// turn does what is due now.
func (s *service) turn() {
	now := s.clock.Now()
	starts, events := s.agenda.Tick(now)
	if changed := s.agenda.Changed(); changed != nil {
		// First this, then the run: a due time leads to one run at most.
		s.keeper.remember(changed)
	}
	for _, e := range events {
		s.happened(e, now)
	}
	for _, start := range starts {
		s.begin(start, now)
	}
	s.mind()
	s.show(now)
}

// happened records what the agenda noticed.
func (s *service) happened(e agenda.Event, now time.Time) {
	attrs := []any{"app", e.Job.App, "kind", e.Job.Kind, "schedule", e.Job.Name}
	switch e.Kind {
	case agenda.EventMissed:
		s.log.Warn(e.Message, append(attrs, "due", e.Due, "times", e.Count)...)
		due := e.Due
		s.keeper.record(core.Run{
			App: e.Job.App, Kind: e.Job.Kind, Trigger: "schedule", Schedule: e.Job.Name, Due: &due, Started: now, Finished: &now,
			Outcome: core.OutcomeMissed, Message: e.Message, By: "service",
		})
	case agenda.EventClock:
		s.log.Warn(e.Message, attrs...)
	default:
		s.log.Info(e.Message, attrs...)
	}
}

// apply puts a plan into effect, or says that there is none.
func (s *service) apply(got loaded) {
	now := s.clock.Now()
	if got.why == whySignal {
		defer func() { s.manager.ready(s.status()) }()
	}
	if got.err != nil {
		since := now
		if _, already := s.problems["config-broken"]; already {
			since = s.configAt
		}
		s.configAt = since
		s.problems["config-broken"] = brokenConfig(got.err, since)
		s.log.Error("the configuration cannot be used; the one before it stays in effect", "err", got.err, "hint", core.HintOf(got.err), "because", got.why)
		return
	}
	_, wasBroken := s.problems["config-broken"]
	delete(s.problems, "config-broken")
	if wasBroken {
		s.log.Info("the configuration can be used again")
	}
	s.configAt = now
	same := got.plan.Digest != "" && got.plan.Digest == s.plan.Digest
	before, sealed := s.address(s.plan), s.plan.Service.TLS
	if same { // and with it what Command knows
		s.plan.WatchFiles, s.plan.Problems, s.plan.Repository = got.plan.WatchFiles, got.plan.Problems, got.plan.Repository
		return
	}
	former := s.plan.Jobs
	s.plan = got.plan
	for key, c := range s.running {
		s.jobs[key] = c.job
	}
	jobs := jobsByKey(got.plan.Jobs)
	for key, c := range s.running {
		if _, ok := jobs[key]; !ok {
			jobs[key] = c.job
		}
	}
	s.jobs = jobs
	s.agenda.Replace(s.limits(), agendaJobs(got.plan.Jobs), now)
	s.schedulesChanged(jobsByKey(former), got.plan.Jobs, now)
	s.log.Info("a changed configuration is in effect", "jobs", len(got.plan.Jobs), "because", got.why)
	if address := s.address(got.plan); address != before || got.plan.Service.TLS != sealed || s.problems["listen"].Name != "" {
		s.listenAt(address)
	}
}

func (s *service) listenAt(address string) {
	if err := s.web.listen(address, s.plan.Service.TLS); err != nil {
		s.log.Error("metrics stay where they were", "err", err, "hint", core.HintOf(err))
		s.problems["listen"] = core.Problem{
			Topic: core.TopicService, Name: "listen", Object: address, Level: core.LevelAlarm, Message: oneLine(err.Error()), Hint: core.HintOf(err),
		}
		return
	}
	delete(s.problems, "listen")
	s.log.Info("metrics moved", "listen", s.web.address())
}

// mind notices what else is wrong with the service.
func (s *service) mind() {
	if err := s.keeper.trouble(); err != nil {
		s.problems["state-unusable"] = core.Problem{
			Topic: core.TopicService, Name: "state-unusable", Level: core.LevelAlarm, Hint: core.HintOf(err),
			Message: "backups run, but are not recorded: " + oneLine(err.Error()),
		}
	} else {
		delete(s.problems, "state-unusable")
	}
}

// show publishes how things stand.
func (s *service) show(now time.Time) {
	v := &view{
		states: s.agenda.Snapshot(), problems: s.ownProblems(), configAt: s.configAt, stopping: s.stopping, repository: s.plan.Repository, runs: s.ran,
	}
	s.view.Store(v)
	s.turned.Store(int64(monotonic()))
	all := append(slices.Clone(v.problems), s.plan.Problems...)
	if s.told != nil && slices.Equal(all, s.told) {
		return
	}
	s.told = append([]core.Problem{}, all...)
	s.manager.status(s.status())
	select { // what was not taken yet is overtaken
	case <-s.reported:
	default:
	}
	s.reported <- s.told
}

func (s *service) seen() view {
	if v := s.view.Load(); v != nil {
		return *v
	}
	return view{}
}

// stands says whether the loop has not turned for long.
func (s *service) stands() bool {
	return monotonic()-time.Duration(s.turned.Load()) > hangs
}

func (s *service) ownProblems() []core.Problem {
	var out []core.Problem
	for _, name := range slices.Sorted(maps.Keys(s.problems)) {
		out = append(out, s.problems[name])
	}
	return out
}

// report tells Options.Problems.
func (s *service) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case problems := <-s.reported:
			if s.o.Problems != nil {
				s.o.Problems(ctx, problems)
			}
		}
	}
}

// status is the line for systemctl status.
func (s *service) status() string {
	line := fmt.Sprintf("%d schedules, %d running", len(s.plan.Jobs), s.busy())
	var next agenda.State
	for _, state := range s.agenda.Snapshot() {
		if !state.Next.IsZero() && (next.Next.IsZero() || state.Next.Before(next.Next)) {
			next = state
		}
	}
	if !next.Next.IsZero() {
		what := next.Job.Kind
		if next.Job.App != "" {
			what += " of " + next.Job.App
		}
		line += fmt.Sprintf(", next: %s at %s", what, next.Next.Format("2006-01-02 15:04 MST"))
	}
	for _, p := range s.ownProblems() {
		line += "; " + p.Message
	}
	return line
}
