package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// EnvGuard tells backstay, when the command runs it, under which process's
// guard it runs (engine.Engine.Under).
const EnvGuard = "BACKSTAY_GUARD"

// Streams are what the command reads and writes. Files, and so terminals, are
// handed to it as they are.
type Streams struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Shield lets this process outlive its terminal and whoever reads its output,
// until stop is called: an update that was begun is to be seen to its end.
func Shield() (stop func()) {
	c := make(chan os.Signal, 1) // nobody reads it
	for _, s := range []os.Signal{unix.SIGHUP, unix.SIGPIPE} {
		if !signal.Ignored(s) { // as nohup has it, for the command too
			signal.Notify(c, s)
		}
	}
	return func() { signal.Stop(c) }
}

// backgroundGrace is how long output of what the command left in the background
// is waited for, where the command does not write to files.
const backgroundGrace = 2 * time.Second

// Run runs the command and waits for its end, whatever signals come: they are
// the command's. An error means that it did not begin.
func (g *Guard) Run(ctx context.Context, s Streams, clock core.Clock) error {
	cmd := &exec.Cmd{
		Path: g.path, Args: g.req.Command, Stdin: s.Stdin, Stdout: s.Stdout, Stderr: s.Stderr, WaitDelay: backgroundGrace,
		Env: append(append(os.Environ(), g.environment()...), EnvGuard+"="+strconv.Itoa(os.Getpid())),
	}
	// On a terminal the command stays in the group that the keyboard's signals go
	// to, so that Ctrl-C and Ctrl-Z mean what they mean without guard.
	alone := !onTerminal()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: alone}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGQUIT)
	if !signal.Ignored(unix.SIGHUP) {
		signal.Notify(signals, unix.SIGHUP)
	}
	defer signal.Stop(signals)
	if ctx.Err() != nil {
		return g.notRun(ctx.Err())
	}
	c := &g.Report.Command
	c.Started = clock.Now()
	if err := cmd.Start(); err != nil {
		return &core.Error{
			Code: core.CodeFailed, Op: "guard app " + g.app().Name, Message: fmt.Sprintf("%s could not be started, so nothing was changed; backup %s is there", c.Program, g.Report.Before.ID), Err: err,
			Hint: "a script needs a first line such as #!/bin/sh, or its interpreter as the command: -- sh SCRIPT",
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case got := <-signals:
			if sig, ok := got.(syscall.Signal); ok {
				forward(cmd.Process.Pid, sig, alone)
			}
		case err := <-ended:
			g.ended(cmd.ProcessState, err)
			c.DurationMS = clock.Now().Sub(c.Started).Milliseconds()
			return nil
		}
	}
}

// onTerminal says whether this process has a terminal whose keyboard sends
// signals.
func onTerminal() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	return f.Close() == nil
}

// forward hands a signal on, unless the terminal has sent it to the command
// too. A command that has just ended needs none.
func forward(pid int, sig syscall.Signal, alone bool) {
	switch {
	case alone: // and to all that it started
		_ = unix.Kill(-pid, sig)
	case sig == unix.SIGTERM:
		_ = unix.Kill(pid, sig)
	}
}

// ended notes how the command ended.
func (g *Guard) ended(state *os.ProcessState, err error) {
	c := &g.Report.Command
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		g.warn("output", c.Program, "what it printed could not all be passed on: %v", err)
	}
	c.Exit = -1
	if state == nil {
		return
	}
	c.Exit = state.ExitCode()
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		c.Signal = unix.SignalName(status.Signal())
		c.Exit = 128 + int(status.Signal())
	}
}
