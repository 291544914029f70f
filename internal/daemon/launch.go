package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/progress"
	"github.com/backstay/backstay/internal/schedule/agenda"
	"github.com/backstay/backstay/internal/state"
)

// What a launched command is told by its environment: the id of its run, whose
// wish it is, and by which way that came.
const (
	EnvRun = "BACKSTAY_RUN"
	EnvBy  = "BACKSTAY_BY"
	EnvVia = "BACKSTAY_VIA"
)

const (
	maxLaunched = 8
	// maxQueue is how many may change one app: one that works, and two that wait.
	maxQueue = 3
	// firstUnrecorded is the least id of runs that the state database could not
	// record. They are good for their progress and for Cancel only.
	firstUnrecorded = 1 << 40
)

// Launch is a command to be run for somebody.
type Launch struct {
	Kind   string // one of core's RunKind constants
	App    string
	Backup string   // the id of the backup that it reads; ""
	Args   []string // of the command: "backup", "helpdesk"
	By     string   // who wants it
	Via    string   // "console" or "api"
	// Prepare is called with the run's id before the process starts, and returns
	// more arguments; nil: there are none.
	Prepare func(run int64) ([]string, error)
	// Result is the file that takes what it prints, made anew for its owner only,
	// with {run} for the run's id; "": that is not kept.
	Result string
	// Secret is given to the command in a file of its own, as the value of the
	// flag SecretFlag; empty: none.
	Secret     core.Secret
	SecretFlag string
	// Cleanup is called when the process has ended, and also when Launch returns
	// an error; nil: nothing is.
	Cleanup func()
}

// Launcher starts commands for people, as processes that are recorded as runs
// before they begin. It works while the service does that it was given to. Its
// methods are safe for concurrent use.
type Launcher struct {
	command func(args []string) []string

	mu      sync.Mutex // guards what follows
	s       *service   // nil: the service does not run
	refused bool       // it ends
	running []*launched
	next    int64 // the id of the next run that cannot be recorded
}

// launched is a run under way.
type launched struct {
	Launch
	run    core.Run // with its ID, which may be from firstUnrecorded on
	secret string   // the file of its secret; "": it has none
	child  *child   // nil: it is yet to be started
}

// NewLauncher returns a launcher for Options.Launcher. command makes the whole
// command line, without the program, of a command's own arguments.
func NewLauncher(command func(args []string) []string) *Launcher {
	return &Launcher{command: command}
}

func (l *Launcher) attach(s *service) error {
	if l == nil {
		return nil
	}
	dir := secretsDir(s.o.StateDir)
	if err := errors.Join(os.RemoveAll(dir), os.MkdirAll(dir, 0o700)); err != nil { // of a service that was killed
		return &core.Error{Code: core.CodeDisk, Op: "start the service", Err: err, Hint: "run as the user who owns state_dir, usually root"}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s, l.refused, l.next = s, false, firstUnrecorded+s.clock.Now().UnixMilli()
	return nil
}

func secretsDir(stateDir string) string { return filepath.Join(stateDir, "service", "secrets") }

// refuse has nothing launched any more.
func (l *Launcher) refuse() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = true
}

func (l *Launcher) detach() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s, l.running = nil, nil
}

func (l *Launcher) count() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.running)
}

func (l *Launcher) children() (all []*child) {
	if l == nil {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, x := range l.running {
		if x.child != nil {
			all = append(all, x.child)
		}
	}
	return all
}

// Launch records a run and starts its process. It returns as soon as the process
// runs, or could not be started. Without a usable state database it is started
// all the same. CodeLocked when too much goes on already, or the service ends.
func (l *Launcher) Launch(ctx context.Context, what Launch) (run int64, err error) {
	x := &launched{Launch: what}
	s, err := l.reserve(x)
	if err != nil {
		if what.Cleanup != nil {
			what.Cleanup()
		}
		return 0, err
	}
	// Whoever asked may go; what was recorded is started.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), oneRecord)
	defer cancel()
	l.record(ctx, s, x)
	log := s.log.With("app", x.App, "kind", x.Kind, "run", x.run.ID, "by", x.By)
	x.Result = strings.ReplaceAll(x.Result, "{run}", strconv.FormatInt(x.run.ID, 10))
	out, err := x.output(s.o.StateDir)
	args := slices.Clone(x.Args)
	if err == nil && x.Prepare != nil {
		var more []string
		more, err = x.Prepare(x.run.ID)
		args = append(args, more...)
	}
	x.prepare(s, log, out)
	if err != nil {
		l.ended(s, x, out, ending{child: x.child, err: err, exit: -1, at: s.clock.Now()})
		return 0, err
	}
	l.mu.Lock()
	if l.refused { // meanwhile
		x.child.Ask(whyEnd, false)
	}
	l.mu.Unlock()
	env := append(slices.Clone(s.env), EnvRun+"="+strconv.FormatInt(x.run.ID, 10), EnvBy+"="+x.By, EnvVia+"="+x.Via)
	if x.secret != "" {
		args = append(args, "--"+strings.TrimLeft(x.SecretFlag, "-")+"="+x.secret)
	}
	how := process.Command{Path: s.path, Spare: s.spare, Args: l.command(args), Env: env, Pipes: s.wait.pipes}
	log.Info("the run begins", "via", x.Via)
	begun, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		exit, signal, err := x.child.Run(how, func(int, IOClass) error { return nil }, func(err error) { begun <- err })
		asked, late := x.child.Asked()
		l.ended(s, x, out, ending{child: x.child, err: err, exit: exit, signal: signal, asked: asked, late: late, at: s.clock.Now()})
	}()
	if err := <-begun; err != nil {
		<-over // nothing is left of it when this returns
		return 0, fmt.Errorf("start %s: %w", x.Kind, err)
	}
	return x.run.ID, nil
}

// reserve finds a place among those that run.
func (l *Launcher) reserve(x *launched) (*service, error) {
	// It becomes a variable of the environment, and a line of the log.
	x.By = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, x.By)
	refuse := func(hint, format string, args ...any) error {
		return &core.Error{Code: core.CodeLocked, Op: "start " + x.Kind, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.s == nil || l.refused:
		return nil, refuse("try again when it runs again", "the service ends, or is just starting")
	case len(l.running) >= maxLaunched:
		return nil, refuse("wait until one of them has ended, or cancel one", "%d runs that were started here go on already", len(l.running))
	}
	queue := 0
	for _, other := range l.running {
		if other.App == x.App && other.queues() {
			queue++
		}
	}
	if x.queues() && queue >= maxQueue {
		return nil, refuse("wait until one of them has ended, or cancel one", "%d runs of app %s go on or wait for one another already", queue, x.App)
	}
	x.run = core.Run{App: x.App, Kind: x.Kind, Trigger: "manual", Backup: x.Backup, Started: l.s.clock.Now(), Outcome: core.OutcomeRunning, By: x.By}
	l.running = append(l.running, x)
	return l.s, nil
}

// queues says whether the run has its app for itself.
func (x *launched) queues() bool {
	return x.App != "" && slices.Contains([]string{core.RunBackup, core.RunRestore, core.RunUndo, core.RunPrune, core.RunImport}, x.Kind)
}

// record records the run; what cannot be recorded is run all the same.
func (l *Launcher) record(ctx context.Context, s *service, x *launched) {
	db, err := s.keeper.open(ctx)
	var id int64
	if err == nil {
		id, err = db.BeginRunFor(ctx, x.run, os.Getpid())
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		id = l.next
		l.next++
		s.log.Error("a run cannot be recorded; it begins all the same", "kind", x.Kind, "app", x.App, "run", id, "err", err, "hint", core.HintOf(err))
	}
	x.run.ID = id
}

// prepare makes the process that is to be started.
func (x *launched) prepare(s *service, log *slog.Logger, out *os.File) {
	var kept io.Writer = out
	result := func() []byte { return readResult(x.Result) }
	if out == nil {
		limited := &process.Limited{}
		kept, result = limited, limited.Result
	}
	child := &child{
		Process: process.New(log, kept), job: Job{Job: agenda.Job{App: x.App, Kind: x.Kind}}, start: agenda.Start{Trigger: x.run.Trigger},
		began: x.run.Started, log: log, result: result, launched: x,
	}
	s.o.Launcher.mu.Lock()
	defer s.o.Launcher.mu.Unlock()
	x.child = child
}

// output makes the files of the result and of the secret. The process writes
// into the file itself, so that nothing is lost when the service is killed.
func (x *launched) output(stateDir string) (out *os.File, err error) {
	failed := func(err error) error {
		return &core.Error{Code: core.CodeDisk, Op: "start " + x.Kind, Err: err, Hint: "see that state_dir can be written and has room: df " + stateDir}
	}
	if !x.Secret.Empty() {
		f, err := os.CreateTemp(secretsDir(stateDir), "secret-") // 0600
		if err != nil {
			return nil, failed(err)
		}
		x.secret = f.Name()
		_, err = f.WriteString(x.Secret.Reveal())
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, failed(err)
		}
	}
	if x.Result == "" {
		return nil, nil
	}
	if err := os.MkdirAll(filepath.Dir(x.Result), 0o700); err != nil {
		return nil, failed(err)
	}
	if err := os.Remove(x.Result); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, failed(err)
	}
	if out, err = os.OpenFile(x.Result, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, failed(err)
	}
	return out, nil
}

// readResult returns what a run printed, nil when it is not known or too much.
func readResult(path string) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }() // it was only read
	b, err := io.ReadAll(io.LimitReader(f, process.MaxResult+1))
	if err != nil || len(b) > process.MaxResult {
		return nil
	}
	return b
}

// ended settles a run that is over.
func (l *Launcher) ended(s *service, x *launched, out *os.File, e ending) {
	log := e.child.log
	if out != nil {
		if err := out.Close(); err != nil {
			log.Warn("close the result of the run", "err", err)
		}
	}
	for _, err := range []error{removeIfThere(x.secret), progress.Remove(s.o.StateDir, x.run.ID)} {
		if err != nil {
			log.Warn("tidy up after the run", "err", err)
		}
	}
	attrs := []any{"outcome", e.outcome(), "exit", e.exit, "took", e.at.Sub(e.child.began).Round(time.Millisecond).String()}
	switch {
	case e.err != nil:
		log.Error("the run could not be started", "err", e.err)
	case e.outcome() == core.OutcomeFailed:
		log.Error("the run failed: "+e.message(), append(attrs, "hint", e.hint())...)
	default:
		log.Info("the run has ended", attrs...)
	}
	s.keeper.settle(e)
	if x.Cleanup != nil {
		x.Cleanup()
	}
	l.mu.Lock()
	l.running = slices.DeleteFunc(l.running, func(other *launched) bool { return other == x })
	l.mu.Unlock()
	s.lookAgain()
}

func removeIfThere(path string) error {
	if path == "" {
		return nil
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

// settleLaunched records how a launched run ended, unless it did so itself.
func settleLaunched(ctx context.Context, db *state.DB, e ending) error {
	run := e.child.launched.run
	e.tell(&run)
	if pid := e.child.PID(); pid > 0 && run.Message != "" {
		if _, err := db.AbandonRun(ctx, pid, run.Outcome, run.Message, run.Hint); err != nil {
			return err
		}
	}
	if run.ID < firstUnrecorded {
		known, err := db.Run(ctx, run.ID)
		if err != nil {
			return err
		}
		if known != nil && known.Kind == run.Kind && known.Started.Equal(run.Started) {
			if known.Outcome != core.OutcomeRunning && !state.Gone(*known) { // another process may have looked for the dead just now
				return nil
			}
			run.App, run.Backup = known.App, known.Backup
			return db.FinishRun(ctx, run)
		}
	}
	run.ID = 0 // it is not one of the database's
	// It may have recorded itself when it could not be recorded here.
	known, err := db.Runs(ctx, state.RunFilter{App: run.App, Kind: run.Kind, Since: run.Started, Limit: 20})
	if err != nil || slices.ContainsFunc(known, func(k core.Run) bool { return k.By == run.By && k.Outcome != core.OutcomeRunning }) {
		return err
	}
	_, err = db.AddRun(ctx, run)
	return err
}

// asking asks the run of a schedule to end.
type asking struct {
	pid   int
	why   string
	found chan bool
}

// askScheduled asks the run with a process's number, if it is a schedule's.
func (s *service) askScheduled(a asking) {
	for _, c := range s.running {
		if c.PID() == a.pid {
			c.log.Info("the run is asked to end", "why", a.why)
			c.Ask(a.why, false)
			a.found <- true
			return
		}
	}
	a.found <- false
}

// Cancel asks the process of a run, whoever started it, to end, which it does
// cleanly. The record says who wanted it. CodeNotFound when no such run goes on.
func (l *Launcher) Cancel(ctx context.Context, run int64, by string) error {
	why := "cancelled by " + by
	l.mu.Lock()
	s := l.s
	var own *launched
	for _, x := range l.running {
		if x.run.ID == run && x.child != nil {
			own = x
		}
	}
	l.mu.Unlock()
	if s == nil {
		return &core.Error{Code: core.CodeLocked, Op: fmt.Sprintf("cancel run %d", run), Message: "the service ends, or is just starting", Hint: "try again when it runs again"}
	}
	db, err := s.keeper.open(ctx)
	if own != nil {
		if err == nil && run < firstUnrecorded {
			err = db.AskRun(ctx, run, why)
		}
		if err != nil && core.CodeOf(err) != core.CodeNotFound {
			s.log.Warn("it is not recorded who cancels a run", "run", run, "by", by, "err", err)
		}
		own.child.log.Info("the run is asked to end", "why", why)
		own.child.Ask(why, false)
		return nil
	}
	if err != nil {
		return err
	}
	return s.cancelOther(ctx, db, run, why)
}

// cancelOther asks a run to end that the launcher did not start.
func (s *service) cancelOther(ctx context.Context, db *state.DB, run int64, why string) (err error) {
	pid, err := db.Process(ctx, run)
	if err != nil {
		return err
	}
	op := fmt.Sprintf("cancel run %d", run)
	if pid == os.Getpid() {
		return &core.Error{Code: core.CodeLocked, Op: op, Message: "it is just beginning", Hint: "try again in a moment"}
	}
	// From here on the number is that of the process that is held, or nobody's.
	held, err := os.FindProcess(pid)
	if err != nil {
		return fmt.Errorf("%s: %w", op, err)
	}
	defer func() { err = errors.Join(err, held.Release()) }()
	if _, err := db.Process(ctx, run); err != nil {
		return err
	}
	if err := held.Signal(unix.Signal(0)); errors.Is(err, unix.EPERM) {
		return &core.Error{Code: core.CodeFailed, Op: op, Message: fmt.Sprintf("the service may not end process %d, which another account runs", pid), Hint: fmt.Sprintf("as root, or as that account: kill -TERM %d", pid)}
	}
	if err := db.AskRun(ctx, run, why); err != nil {
		return err
	}
	a := asking{pid: pid, why: why, found: make(chan bool, 1)}
	select {
	case s.asks <- a:
		if <-a.found {
			return nil
		}
	case <-s.over:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.log.Info("a run that the service did not start is asked to end", "run", run, "process", pid, "why", why)
	if err := held.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("%s: %w", op, err)
	}
	return nil
}
