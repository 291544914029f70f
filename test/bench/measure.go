package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// command is a process to measure.
type command struct {
	args []string
	env  []string // in addition to our own
	dir  string   // working folder; "" is ours
}

// shell makes the command of a pipeline, which fails when any part of it does.
// The script finds args as $1, $2, ….
func shell(script string, args ...string) command {
	return command{args: append([]string{"bash", "-c", "set -euo pipefail\n" + script, "bash"}, args...)}
}

// sample is what one run took. Times are in seconds, sizes in bytes.
type sample struct {
	wall, cpu float64
	serverCPU float64 // of the database server, meanwhile
	othersCPU float64 // of all other processes and of the kernel's own, meanwhile
	memory    float64 // peak resident memory of the largest process
	stored    float64
}

// killDelay is how long a killed process's children may hold on to its output.
const killDelay = 5 * time.Second

// measure runs a command to its end. server is a process whose time is taken
// too, 0 for none. A command that fails is an error with the end of its output.
func measure(ctx context.Context, c command, server int) (sample, error) {
	var s sample
	serverBefore, err := processCPU(server)
	if err != nil {
		return s, err
	}
	machineBefore, err := machineCPU()
	if err != nil {
		return s, err
	}
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = append(os.Environ(), c.env...)
	cmd.Dir = c.dir
	var output tail
	cmd.Stdout, cmd.Stderr = &output, &output
	// A group of its own, so that a pipeline ends as a whole.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = killDelay

	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return s, fmt.Errorf("start %s: %w", c.args[0], err)
	}
	watched := watchMemory(cmd.Process.Pid)
	err = cmd.Wait()
	s.wall = time.Since(begin).Seconds()
	peak := watched()
	if err != nil {
		return s, fmt.Errorf("%s: %w\n%s", strings.Join(c.args, " "), err, output.String())
	}
	s.cpu = (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	if s.memory, err = peakMemory(cmd.ProcessState, peak); err != nil {
		return s, err
	}
	serverAfter, err := processCPU(server)
	if err != nil {
		return s, err
	}
	machineAfter, err := machineCPU()
	if err != nil {
		return s, err
	}
	s.serverCPU = serverAfter - serverBefore
	s.othersCPU = max(0, machineAfter-machineBefore-s.cpu-s.serverCPU)
	return s, nil
}

// tail keeps the end of what is written to it.
type tail struct{ b []byte }

const tailBytes = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	if len(t.b) > 2*tailBytes {
		t.b = append(t.b[:0], t.b[len(t.b)-tailBytes:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	return string(bytes.TrimSpace(t.b[max(0, len(t.b)-tailBytes):]))
}

// peakMemory returns the peak of the largest of the processes. The kernel's
// figure is exact, but begins at our own size, since until a child's exec its
// memory is ours; a process smaller than that has the watched peak.
func peakMemory(state *os.ProcessState, watched int64) (float64, error) {
	own, err := highWater("self")
	if err != nil {
		return 0, err
	}
	usage, ok := state.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0, errors.New("this system does not tell how much memory a process took")
	}
	if peak := usage.Maxrss << 10; peak > own { // Linux gives kB
		return float64(peak), nil
	}
	return float64(watched), nil
}

const memoryInterval = 20 * time.Millisecond

// watchMemory looks at a process and its descendants until the returned
// function is called, which returns the peak of the largest.
func watchMemory(pid int) func() int64 {
	stop, done := make(chan struct{}), make(chan int64)
	go func() {
		tick := time.NewTicker(memoryInterval)
		defer tick.Stop()
		var peak int64
		for {
			for _, p := range withDescendants(strconv.Itoa(pid), nil) {
				if size, err := highWater(p); err == nil { // an error: it is gone
					peak = max(peak, size)
				}
			}
			select {
			case <-stop:
				done <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(stop)
		return <-done
	}
}

func withDescendants(pid string, all []string) []string {
	all = append(all, pid)
	lists, _ := filepath.Glob("/proc/" + pid + "/task/*/children") // the pattern is sound
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			continue // it is gone
		}
		for _, child := range strings.Fields(string(text)) {
			all = withDescendants(child, all)
		}
	}
	return all
}

// highWater returns the peak resident memory of a running process in bytes:
// proc(5), VmHWM. It is 0 before the process's exec is over.
func highWater(pid string) (int64, error) {
	text, err := os.ReadFile("/proc/" + pid + "/status")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if size, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(size), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, nil
}

// ticks is the unit of times in /proc: USER_HZ, which is 100 for all
// architectures that Go knows.
const ticks = 100

// processCPU returns the seconds of CPU that a running process has taken, 0 for
// process 0.
func processCPU(pid int) (float64, error) {
	if pid == 0 {
		return 0, nil
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("look at the database server's process: %w", err)
	}
	// The name, in parentheses, may hold anything; field 3 follows it.
	_, rest, _ := strings.Cut(string(text[bytes.LastIndexByte(text, ')'):]), " ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	return sumTicks(fields[11:13]) // utime, stime
}

// machineCPU returns the seconds in which any CPU of the machine was not idle.
func machineCPU() (float64, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(text), "\n")
	fields := strings.Fields(line) // cpu user nice system idle iowait irq softirq steal …
	if len(fields) < 9 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat begins with %q", line)
	}
	return sumTicks(append(fields[1:4:4], fields[6:9]...))
}

func sumTicks(fields []string) (float64, error) {
	var sum int64
	for _, field := range fields {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return float64(sum) / ticks, nil
}

// diskUse returns the sum of the sizes of all files at or below path, 0 when
// there is nothing.
func diskUse(path string) (float64, error) {
	var sum int64
	err := filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return nil
		}
		info, err := entry.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	return float64(sum), err
}
