package localserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// process is a running server program.
type process struct {
	pid     int
	cmd     *exec.Cmd
	done    chan struct{} // closed when the process has ended and was waited for
	waitErr error         // how it ended; valid after done
}

// startProcess starts the server program with its output going to log.
//
// The kernel kills it when the thread that started it dies. So the thread is
// one that does nothing else and lives as long as the process does: Go may end
// any other thread while the program goes on.
func startProcess(path string, args []string, tmp string, log *os.File) (*process, error) {
	cmd := exec.Command(path, args...)
	cmd.Dir = "/"
	cmd.Env = environment(tmp)
	cmd.Stdout, cmd.Stderr = log, log
	// In a session of its own it does not get the terminal's Ctrl-C.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		p.waitErr = cmd.Wait()
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// kill ends the process at once and waits for it.
func (p *process) kill() error {
	err := p.cmd.Process.Kill()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill database server: %w", err)
	}
	<-p.done
	return nil
}

// terminate asks the process to end, and kills it when it does not.
func (p *process) terminate(ctx context.Context, limit time.Duration) error {
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Join(fmt.Errorf("ask it to end: %w", err), p.kill())
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.done:
		if p.waitErr != nil {
			return fmt.Errorf("it ended with %w", p.waitErr)
		}
		return nil
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("it was killed: %w", ctx.Err()), p.kill())
	case <-timer.C:
		return errors.Join(fmt.Errorf("it was killed, because it did not end in %s", limit), p.kill())
	}
}

// watchdogScript reads what its parent does: "watch PID", "forget", "done".
// When the input ends without "done" the parent is dead; then it ends the
// server and removes the folders that are its arguments. The process must
// still be the server, for its number may be another's by now.
const watchdogScript = `
trap '' HUP INT TERM
pid=
while read -r word argument; do
	case $word in
	watch) pid=$argument ;;
	forget) pid= ;;
	done) exit 0 ;;
	esac
done
if [ -n "$pid" ] && grep -qaF -e "$1" "/proc/$pid/cmdline" 2>/dev/null; then
	kill -9 "$pid"
fi
for folder in "$@"; do
	# A file system that somebody mounted in there is not ours to empty.
	if [ -e /proc/self/mountinfo ] && printf '%b' "$(awk '{print $5}' /proc/self/mountinfo | sed 's/\\\([0-7]\)/\\0\1/g')" | grep -qF -e "$folder/"; then
		exit 1
	fi
done
for attempt in 1 2 3 4 5 6 7 8 9 10; do
	rm -rf -- "$@" && exit 0
	sleep 0.1
done
`

// watchdog is a shell that outlives this process and cleans up after it. The
// kernel's own signal to the server (dieWithParent) does the killing in nearly
// every case; the watchdog is there for the cases when it does not, and for
// the folder.
type watchdog struct {
	cmd  *exec.Cmd
	pipe io.WriteCloser
}

func startWatchdog(f *folder) (*watchdog, error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", watchdogScript, "backstay-database-watchdog"}, f.paths()...)...)
	cmd.Dir = "/"
	cmd.Env = environment("/tmp")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start watchdog of the database server: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start watchdog of the database server: %w", err), pipe.Close())
	}
	return &watchdog{cmd: cmd, pipe: pipe}, nil
}

func (w *watchdog) say(line string) error {
	if _, err := io.WriteString(w.pipe, line+"\n"); err != nil {
		return fmt.Errorf("tell the database server's watchdog: %w", err)
	}
	return nil
}

func (w *watchdog) watch(pid int) error { return w.say("watch " + strconv.Itoa(pid)) }
func (w *watchdog) forget() error       { return w.say("forget") }

// dismiss ends the watchdog without its doing anything.
func (w *watchdog) dismiss() error {
	err := errors.Join(w.say("done"), w.pipe.Close())
	if waitErr := w.cmd.Wait(); waitErr != nil {
		err = errors.Join(err, fmt.Errorf("watchdog of the database server: %w", waitErr))
	}
	return err
}
