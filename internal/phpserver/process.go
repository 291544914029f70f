package phpserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const (
	addressSpace = 4 << 20 // KiB of each process of PHP: applications recurse without end
	workers      = 4       // where the kernel ends them all with the first
	startTime    = 60 * time.Second
	endTime      = 15 * time.Second
)

// process is PHP's first process, with those that it started.
type process struct {
	cmd      *exec.Cmd
	port     int
	ownWorld bool          // it is the first of a process namespace
	done     chan struct{} // closed when it ended and was waited for
	waitErr  error         // valid after done
}

// limited has a shell set the limits that bind PHP, which only a process itself
// can set for itself in time.
const limited = `ulimit -c 0 && ulimit -v "$0" && exec "$@"`

// start starts PHP in the room, as the user that o names.
func (r *room) start(program string, args []string, o Options, workers int, stdout, stderr io.Writer) (*process, error) {
	build := func(own bool) *exec.Cmd {
		cmd := exec.Command("/bin/sh", append([]string{"-c", limited, strconv.Itoa(addressSpace), program}, args...)...)
		if !own {
			workers = 1 // nothing would end the others when this process is killed
		}
		cmd.Dir, cmd.Env = o.DocumentRoot, o.environment(workers)
		cmd.Stdout, cmd.Stderr = stdout, stderr
		cmd.WaitDelay = 5 * time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: o.UID, Gid: o.GID}
		}
		return cmd
	}
	cmd, own, err := r.launch(build)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	p := &process{cmd: cmd, ownWorld: own, done: make(chan struct{})}
	go func() {
		p.waitErr = cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// serve starts PHP's built-in server at a port that nobody has.
func (r *room) serve(ctx context.Context, program string, o Options) (*process, *printed, error) {
	settings, err := o.settings(r.offNetwork())
	if err != nil {
		return nil, nil, err
	}
	for try := 1; ; try++ {
		port, err := r.port()
		if err != nil {
			return nil, nil, err
		}
		p, out, err := r.serveAt(ctx, port, program, settings, o)
		if err == nil {
			return p, out, nil
		}
		// Between the choice of a port and PHP's taking it, another may take it.
		if !errors.Is(err, errPortTaken) || try == 5 || ctx.Err() != nil {
			return nil, nil, err
		}
		o.Log.Debug("php's port was taken by another; one more is tried", "port", port)
	}
}

var errPortTaken = errors.New("the port was taken by another")

func (r *room) serveAt(ctx context.Context, port int, program string, settings []string, o Options) (*process, *printed, error) {
	const op = "start PHP's built-in server"
	out := newPrinted()
	args := append(settings[:len(settings):len(settings)], "-S", fmt.Sprintf("127.0.0.1:%d", port), "-t", o.DocumentRoot)
	p, err := r.start(program, args, o, workers, out, out)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", op, err)
	}
	p.port = port
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	select {
	case <-out.serves:
		conn, err := r.dial(ctx, port)
		if err == nil {
			err = conn.Close()
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("%s: it says that it serves, and cannot be reached: %w", op, err), p.end())
		}
		return p, out, nil
	case <-p.done:
		how, _ := p.ended()
		err := errors.Join(&core.Error{Code: core.CodeFailed, Op: op, Message: fmt.Sprintf("PHP ended at once (%s): %s", how, out.last())}, p.end())
		if strings.Contains(out.String(), "Address already in use") {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
		return nil, nil, err
	case <-ctx.Done():
		return nil, nil, errors.Join(fmt.Errorf("%s: %w: %s", op, ctx.Err(), out.last()), p.end())
	}
}

// ended says whether the process has ended, and how.
func (p *process) ended() (how string, ended bool) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.String(), true
	default:
		return "", false
	}
}

// end kills the process with all that it started, and waits for them.
func (p *process) end() error {
	pid := p.cmd.Process.Pid
	kill := func() error {
		// Those of the group; the kernel kills those of the namespace.
		if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) && !errors.Is(err, syscall.EPERM) {
			return fmt.Errorf("kill php's processes %d: %w", pid, err)
		}
		return nil
	}
	if err := kill(); err != nil {
		return err
	}
	limit := time.After(endTime)
	select {
	case <-p.done:
	case <-limit:
		return fmt.Errorf("php's process %d was killed and has not ended", pid)
	}
	if errors.Is(p.waitErr, exec.ErrWaitDelay) && p.ownWorld {
		return fmt.Errorf("wait for php's process %d: %w", pid, p.waitErr)
	}
	// Those of the group that were orphans are waited for by another.
	for wait := time.Millisecond; ; wait *= 2 {
		if err := syscall.Kill(-pid, syscall.SIGKILL); errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.EPERM) {
			return nil
		}
		select {
		case <-limit:
			return fmt.Errorf("of php's process group %d, not all were ended", pid)
		case <-time.After(min(wait, 100*time.Millisecond)):
		}
	}
}

// freePort is a port of this machine that nobody has now.
func freePort() (int, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port on loopback: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		return 0, fmt.Errorf("find a free port on loopback: %w", err)
	}
	return port, nil
}

// dialLoopback connects from where the calling thread is.
func dialLoopback(ctx context.Context, port int) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second}
	return d.DialContext(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}

func (r *room) asWhom(o Options) string {
	if os.Geteuid() == 0 {
		return fmt.Sprintf(" as user %d", o.UID)
	}
	return ""
}

// words say what keeps PHP off the world.
func (r *room) words(o Options, p *process) []string {
	list := r.means()
	if p.ownWorld {
		list = append(list, "process namespace: the kernel ends all of it with its first process, and that with this program")
	} else {
		list = append(list, "one process, which the kernel ends with this program where it can")
	}
	list = append(list,
		"PHP's functions for mail and for starting commands are switched off, and it opens no addresses as files",
		"PHP opens files in the copy and its temporary folder only")
	if os.Geteuid() == 0 {
		list = append(list, fmt.Sprintf("it runs as user %d, not as root", o.UID))
	}
	return list
}
