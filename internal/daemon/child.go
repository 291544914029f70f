package daemon

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

const (
	maxLine   = 8 << 10 // bytes of a line of a child's log
	maxLines  = 20_000  // of one run
	maxResult = 1 << 20 // bytes of a child's result
	keptLines = 20      // the last of a run that failed, for its message
)

// child is a run of a job: a process of its own, in a process group of its own.
type child struct {
	job   Job
	start agenda.Start
	began time.Time
	log   *slog.Logger
	out   limited
	lines *lineLog

	mu      sync.Mutex // guards what follows
	process *os.Process
	ended   bool   // it was waited for: its number may be somebody else's
	asked   string // why it was asked to end; "": it was not
	late    bool   // it was asked to because it took too long
}

// ending is how a run ended.
type ending struct {
	child  *child
	err    error // it could not be started, or not be watched
	exit   int   // -1: a signal ended it
	signal syscall.Signal
	asked  string // why the service ended it; "": it did not
	late   bool   // that was because it took too long
	at     time.Time
}

// command is how a child is run.
type command struct {
	path string
	// spare is run when there is no program at path that can be; "": nothing is.
	spare string
	args  []string
	env   []string
	nice  int
	io    IOClass
	// pipes is how long what a run left behind may keep its output open.
	pipes time.Duration
}

// run starts the process and waits for it. It must be called in a goroutine of
// its own, whose thread it keeps: the politeness of a process is its thread's
// when it is started, and a child gets its SIGTERM when the thread that started
// it ends. begun is told when the process runs, or could not be started.
func (c *child) run(how command, polite func(nice int, io IOClass) error, begun func(error)) (exit int, signal syscall.Signal, err error) {
	// Never unlocked: a thread with another priority must do nothing else, so
	// it ends with this goroutine.
	runtime.LockOSThread()
	if err := polite(how.nice, how.io); err != nil {
		c.log.Debug("run with the service's own priority", "err", err)
	}
	cmd, err := c.begin(how)
	begun(err)
	if err != nil {
		return -1, 0, err
	}
	expendable(cmd.Process.Pid)
	if endedBySignal(cmd.Process.Pid) {
		// It could not end what it had started, such as its hooks' processes.
		c.kill()
	}
	err = cmd.Wait()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.lines.flush()
	if errors.Is(err, exec.ErrWaitDelay) {
		c.log.Warn("a process that the run started is still there and was left alone")
		err = nil
	}
	if state := cmd.ProcessState; state != nil {
		if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
			return -1, status.Signal(), nil
		}
		return state.ExitCode(), 0, nil
	}
	return -1, 0, err
}

// begin starts the process.
func (c *child) begin(how command) (*exec.Cmd, error) {
	start := func(path string) (*exec.Cmd, error) {
		cmd := exec.Command(path)
		cmd.Args = append([]string{"backstay"}, how.args...)
		cmd.Env = how.env
		cmd.Stdout, cmd.Stderr = &c.out, c.lines
		cmd.WaitDelay = how.pipes
		cmd.SysProcAttr = childAttributes()
		return cmd, cmd.Start()
	}
	cmd, err := start(how.path)
	if err != nil && how.spare != "" && noProgram(err) {
		c.log.Warn("the program was removed or is being replaced: the run uses the one that the service began with",
			"program", how.path, "err", err, "hint", "when it is installed again, restart the service: systemctl restart backstay")
		cmd, err = start(how.spare)
	}
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.process = cmd.Process
	if c.asked != "" { // while it was started
		c.terminate()
	}
	return cmd, nil
}

// noProgram says whether a process could not be started because of its program.
func noProgram(err error) bool {
	for _, e := range []error{unix.ENOENT, unix.ENOTDIR, unix.EACCES, unix.ENOEXEC, unix.ETXTBSY} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// endedBySignal waits for the process and leaves it to be waited for: until then
// its number, and its group's, are nobody else's. False also says that it is not
// known.
func endedBySignal(pid int) bool {
	const killed, dumped = 2, 3 // CLD_KILLED and CLD_DUMPED of sigaction(2)
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err == nil && (info.Code == killed || info.Code == dumped)
		}
	}
}

// ask asks the process to end, which it does cleanly. why is for its record;
// late says that it took too long, which is a failure.
func (c *child) ask(why string, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == "" {
		c.asked, c.late = why, late
	}
	if c.process == nil || c.ended {
		return
	}
	c.terminate()
}

// terminate sends SIGTERM. c.mu is held.
func (c *child) terminate() {
	if err := c.process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.log.Warn("ask the run to end", "err", err)
	}
}

// kill ends the process and those that it started.
func (c *child) kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil || c.ended {
		return
	}
	if err := unix.Kill(-c.process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		c.log.Warn("kill the run", "err", err)
	}
}

// pid is the process's number, 0 when there was none.
func (c *child) pid() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.Pid
}

func (c *child) askedWhy() (why string, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.late
}

// outcome says how a run ended, in the terms of the record.
func (e ending) outcome() core.Outcome {
	switch {
	case e.err == nil && e.signal == 0 && e.exit == 0:
		return core.OutcomeOK
	case e.err == nil && e.exit == core.CodeWarnings.ExitCode(), e.exit == core.CodeDamage.ExitCode() && e.child.job.Kind == core.RunCheck:
		return core.OutcomeWarnings // a check that found something did its work
	case e.err == nil && e.exit == core.CodeLocked.ExitCode():
		return core.OutcomeMissed // something else works on the app
	case e.late:
		return core.OutcomeFailed
	case e.err == nil && (e.exit == core.CodeCancelled.ExitCode() || e.asked != ""):
		return core.OutcomeCancelled
	}
	return core.OutcomeFailed
}

// said is the error that a run ended with, as it printed it; nil when it
// printed none.
func (c *child) said() *core.Error {
	var out struct {
		Error *struct {
			Code    core.Code `json:"code"`
			Message string    `json:"message"`
			Hint    string    `json:"hint"`
		} `json:"error"`
	}
	if err := json.Unmarshal(c.out.result(), &out); err != nil || out.Error == nil || out.Error.Message == "" {
		return nil // a run that crashed, or something else, printed something else
	}
	return &core.Error{Code: out.Error.Code, Message: short(out.Error.Message), Hint: short(out.Error.Hint)}
}

// message says what happened, for the record of a run that wrote none itself.
func (e ending) message() string {
	said := e.child.said()
	if said != nil && e.err == nil && e.signal == 0 {
		return said.Message
	}
	tail := ""
	if last := e.child.lines.last(); last != "" {
		tail = "; the last it said: " + last
	}
	switch {
	case e.err != nil:
		return "the run could not be started: " + e.err.Error()
	case e.asked != "" && e.signal != 0:
		return fmt.Sprintf("%s, and the run did not end by itself (%s)%s", e.asked, signalName(e.signal), tail)
	case e.asked != "":
		return e.asked
	case e.signal != 0:
		return fmt.Sprintf("the run was ended by %s%s", signalName(e.signal), tail)
	}
	return fmt.Sprintf("the run ended with code %d%s", e.exit, tail)
}

// hint says what to do about it.
func (e ending) hint() string {
	said := e.child.said()
	switch {
	case said != nil && e.err == nil && e.signal == 0:
		return said.Hint
	case e.err != nil:
		return "see that backstay is installed and that the machine has memory and processes left; after an upgrade restart the service: systemctl restart backstay"
	case e.signal == unix.SIGKILL && e.asked == "":
		return "see whether the machine ran out of memory: journalctl -k -g 'out of memory'"
	case e.late:
		return "see what it waited for: journalctl -u backstay; or give it more time"
	case e.signal != 0 && e.asked == "":
		return "see what the run said: journalctl -u backstay"
	}
	return ""
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return s.String()
}

// limited keeps the first maxResult bytes.
type limited struct {
	mu   sync.Mutex
	kept bytes.Buffer
	cut  bool
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := maxResult - l.kept.Len(); room < len(p) {
		l.cut = true
		l.kept.Write(p[:max(room, 0)])
	} else {
		l.kept.Write(p)
	}
	return len(p), nil
}

// result returns what was written, nil when it was too much.
func (l *limited) result() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return nil
	}
	return l.kept.Bytes()
}

// lineLog puts what a child says into the log, line by line and bounded: it
// neither keeps a flood nor passes it on.
type lineLog struct {
	log *slog.Logger

	mu      sync.Mutex
	part    []byte // of a line that has not ended
	skip    bool   // the rest of a line that was too long
	lines   int
	dropped int
	recent  []string
}

func (l *lineLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte{'\n'})
		p = rest
		if !l.skip {
			l.part = append(l.part, line[:min(len(line), maxLine-len(l.part))]...)
			if len(l.part) == maxLine {
				l.say()
				l.skip = true
			}
		}
		if whole {
			if !l.skip {
				l.say()
			}
			l.skip = false
		}
	}
	return n, nil
}

// say logs the line that is complete.
func (l *lineLog) say() {
	text := strings.TrimRight(strings.ToValidUTF8(string(l.part), "�"), " \r")
	l.part = l.part[:0]
	if text == "" {
		return
	}
	if l.recent = append(l.recent, text); len(l.recent) > keptLines {
		l.recent = l.recent[1:]
	}
	if l.lines++; l.lines > maxLines {
		l.dropped++
		return
	}
	// The prefix is the service's own too.
	rest := strings.TrimPrefix(text, "backstay: ")
	switch {
	case strings.HasPrefix(rest, "error: "):
		l.log.Error(strings.TrimPrefix(rest, "error: "))
	case strings.HasPrefix(rest, "warning: "):
		l.log.Warn(strings.TrimPrefix(rest, "warning: "))
	default:
		l.log.Info(rest)
	}
}

func (l *lineLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.skip {
		l.say()
	}
	if l.dropped > 0 {
		l.log.Warn("the run said more than is kept", "lines", l.lines, "left_out", l.dropped)
		l.dropped = 0
	}
}

// last returns the last line, the error if there is one among the last.
func (l *lineLog) last() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.recent) - 1; i >= 0; i-- {
		if text, ok := strings.CutPrefix(l.recent[i], "backstay: error: "); ok {
			return short(text)
		}
	}
	if len(l.recent) == 0 {
		return ""
	}
	return short(l.recent[len(l.recent)-1])
}

// short cuts a line to what a message can hold.
func short(text string) string {
	const most = 500
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

var _ io.Writer = (*lineLog)(nil)
