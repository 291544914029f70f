// Package process runs one process of the service: politely, in a group of its
// own, with what it says in the log and bounded. It is for package daemon. It
// promises that a process can be asked to end and be killed at any moment, also
// while it is being started, and that neither ever reaches another process.
package process

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Process is a process of its own, in a process group of its own. Its methods
// are safe for concurrent use.
type Process struct {
	log   *slog.Logger
	out   io.Writer
	lines *Lines

	mu      sync.Mutex // guards what follows
	process *os.Process
	ended   bool   // it was waited for: its number may be somebody else's
	asked   string // why it was asked to end; "": it was not
	late    bool   // it was asked to because it took too long
}

// New returns a process that is yet to run. Its standard output goes to out, its
// standard error into log.
func New(log *slog.Logger, out io.Writer) *Process {
	return &Process{log: log, out: out, lines: NewLines(log)}
}

// Last returns the last line that it said, the error if there is one.
func (c *Process) Last() string { return c.lines.Last() }

// Command is how a process is run.
type Command struct {
	Path string
	// Spare is run when there is no program at Path that can be; "": nothing is.
	Spare string
	Args  []string
	Env   []string
	Nice  int
	IO    IOClass
	// Pipes is how long what a run left behind may keep its output open.
	Pipes time.Duration
}

// Run starts the process and waits for it. It must be called in a goroutine of
// its own, whose thread it keeps: the politeness of a process is its thread's
// when it is started, and a child gets its SIGTERM when the thread that started
// it ends. begun is told when the process runs, or could not be started.
func (c *Process) Run(how Command, polite func(nice int, io IOClass) error, begun func(error)) (exit int, signal syscall.Signal, err error) {
	// Never unlocked: a thread with another priority must do nothing else, so
	// it ends with this goroutine.
	runtime.LockOSThread()
	if err := polite(how.Nice, how.IO); err != nil {
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
		c.Kill()
	}
	err = cmd.Wait()
	c.mu.Lock()
	c.ended = true
	c.mu.Unlock()
	c.lines.Flush()
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
func (c *Process) begin(how Command) (*exec.Cmd, error) {
	start := func(path string) (*exec.Cmd, error) {
		cmd := exec.Command(path)
		cmd.Args = append([]string{"backstay"}, how.Args...)
		cmd.Env = how.Env
		cmd.Stdout, cmd.Stderr = c.out, c.lines
		cmd.WaitDelay = how.Pipes
		cmd.SysProcAttr = childAttributes()
		return cmd, cmd.Start()
	}
	cmd, err := start(how.Path)
	if err != nil && how.Spare != "" && noProgram(err) {
		c.log.Warn("the program was removed or is being replaced: the run uses the one that the service began with",
			"program", how.Path, "err", err, "hint", "when it is installed again, restart the service: systemctl restart backstay")
		cmd, err = start(how.Spare)
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

// Ask asks the process to end, which it does cleanly. why is for its record;
// late says that it took too long, which is a failure.
func (c *Process) Ask(why string, late bool) {
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
func (c *Process) terminate() {
	if err := c.process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.log.Warn("ask the run to end", "err", err)
	}
}

// Kill ends the process and those that it started.
func (c *Process) Kill() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil || c.ended {
		return
	}
	if err := unix.Kill(-c.process.Pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		c.log.Warn("kill the run", "err", err)
	}
}

// PID is the process's number, 0 when there was none.
func (c *Process) PID() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.process == nil {
		return 0
	}
	return c.process.Pid
}

// Asked says why it was asked to end, "" when it was not, and whether that was
// because it took too long.
func (c *Process) Asked() (why string, late bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked, c.late
}

// Limit ends a run that takes longer than most, and kills it when it does not
// end by itself. The returned function calls this off.
func (c *Process) Limit(most, grace time.Duration) func() {
	if most <= 0 {
		return func() {}
	}
	var kill *time.Timer
	var mu sync.Mutex
	ask := time.AfterFunc(most, func() {
		c.log.Error("the run takes too long and is ended", "limit", most)
		c.Ask(fmt.Sprintf("it took longer than %s", most), true)
		mu.Lock()
		defer mu.Unlock()
		kill = time.AfterFunc(grace, c.Kill)
	})
	return func() {
		ask.Stop()
		mu.Lock()
		defer mu.Unlock()
		if kill != nil {
			kill.Stop()
		}
	}
}
