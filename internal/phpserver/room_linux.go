package phpserver

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// room is where PHP runs: a thread of this process that has left the network,
// and whose children are born where it is. The kernel kills them when the thread
// ends (prctl(2), PR_SET_PDEATHSIG), and so when this process does, however that
// happens.
type room struct {
	work   chan func() // for the thread
	closed sync.Once
	ended  chan struct{} // closed when the thread does nothing more

	network *os.File // the network namespace; nil: the machine's
	why     string   // there is none
	hidden  bool     // the sockets of the machine's services were
	kernel  bool     // the kernel refuses connections by Landlock and seccomp
	writes  bool     // the kernel refuses writing and executing elsewhere
	tryOwn  bool     // a process namespace is to be tried
}

func newRoom(o Options, program string, m means) (*room, error) {
	r := &room{work: make(chan func()), ended: make(chan struct{}), tryOwn: m.namespaces, why: "was not tried"}
	entered := make(chan error)
	onOwnThread(func() {
		defer close(r.ended)
		entered <- r.enter(o, program, m)
		for f := range r.work {
			f()
		}
	})
	if err := <-entered; err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// onOwnThread runs f on a thread that does nothing else and ends with it. It is
// not the process's main thread, which Go never ends: that would stay where f
// took it, and with it what /proc/self says of the whole process.
func onOwnThread(f func()) {
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with this function
		if unix.Gettid() != unix.Getpid() {
			f()
			return
		}
		elsewhere := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(elsewhere)
			f()
		}()
		<-elsewhere
		runtime.UnlockOSThread()
	}()
}

// enter takes the calling thread, and what it will start, off the world.
func (r *room) enter(o Options, program string, m means) error {
	// Of the thread alone, on Linux.
	if o.Nice > 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, 0, o.Nice); err != nil {
			return fmt.Errorf("lower the priority: %w", err)
		}
	}
	if m.namespaces {
		if err := r.leaveNetwork(o); err != nil {
			return err
		}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up gaining rights: %w", err)
	}
	if m.rules {
		return r.setRules(o, program)
	}
	return nil
}

// leaveNetwork makes namespaces of the thread's own. Not being allowed to is no
// error.
func (r *room) leaveNetwork(o Options) error {
	if os.Geteuid() != 0 {
		r.why = "needs root"
		return nil
	}
	var err error
	if err := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWIPC); err != nil {
		r.why = fmt.Sprintf("the system refuses it: %v", err)
		return nil
	}
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring loopback up in a network namespace: %w", err)
	}
	if r.network, err = os.Open("/proc/thread-self/ns/net"); err != nil {
		return fmt.Errorf("keep a network namespace: %w", err)
	}
	r.hidden, err = hideServices(o)
	return err
}

// hideServices hides the sockets of the machine's services from the thread: a
// network namespace does not keep from sockets of files, and the live database
// has one. Without the right to, it says that they are not hidden.
func hideServices(o Options) (hidden bool, err error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return false, nil
	}
	// Mounts of the machine's still come and go here, and none of these go there.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return false, fmt.Errorf("keep mounts to a mount namespace: %w", err)
	}
	hidden = true
	// Where most services have their sockets, now and when they start again.
	if !o.within("/run") {
		if err := unix.Mount("tmpfs", "/run", "tmpfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "size=4k,mode=755"); err != nil {
			hidden = false
		}
	}
	// Sockets that close while the kernel lists them make it pass over others.
	done := map[string]bool{}
	for unchanged := 0; unchanged < 3; unchanged++ {
		listening, err := sockets()
		if err != nil {
			return false, err
		}
		for _, path := range listening {
			if done[path] || o.needs(path) {
				continue
			}
			done[path], unchanged = true, 0
			if err := unix.Mount("/dev/null", path, "", unix.MS_BIND, ""); err != nil && !errors.Is(err, unix.ENOENT) {
				hidden = false
			}
		}
	}
	return hidden, nil
}

// within says whether something of the copy lies in a folder.
func (o Options) within(dir string) bool {
	for _, path := range append([]string{o.Socket, o.DocumentRoot, o.Temporary}, o.Within...) {
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
		}
		if path == dir || strings.HasPrefix(path, dir+"/") {
			return true
		}
	}
	return false
}

// needs says whether a socket is of the copy.
func (o Options) needs(path string) bool {
	own := o.Socket
	if real, err := filepath.EvalSymlinks(own); err == nil {
		own = real
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path == own
}

// sockets returns the paths of the machine's sockets.
func sockets() ([]string, error) {
	f, err := os.Open("/proc/net/unix") // of the main thread, which stays in the machine's network
	if err != nil {
		return nil, fmt.Errorf("list the sockets of services: %w", err)
	}
	defer func() { _ = f.Close() }() // read only
	var paths []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		// Num RefCount Protocol Flags Type St Inode Path; a path may hold spaces.
		fields := strings.SplitN(strings.Join(strings.Fields(s.Text()), " "), " ", 8)
		if len(fields) < 8 || !strings.HasPrefix(fields[7], "/") {
			continue
		}
		info, err := os.Lstat(fields[7])
		if err == nil && info.Mode().Type() == fs.ModeSocket {
			paths = append(paths, fields[7])
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("list the sockets of services: %w", err)
	}
	slices.Sort(paths)
	return slices.Compact(paths), nil
}

func loopbackUp() (err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(fd, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// offNetwork says whether the kernel keeps PHP off the network.
func (r *room) offNetwork() bool { return r.network != nil || r.kernel }

func (r *room) port() (int, error) {
	if r.network != nil {
		return 8080, nil // nobody else is there
	}
	return freePort()
}

// launch starts a command on the room's thread, if possible as the first of a
// process namespace, with which the kernel ends all of it.
func (r *room) launch(build func(own bool) *exec.Cmd) (cmd *exec.Cmd, own bool, err error) {
	started := make(chan struct{})
	r.work <- func() {
		defer close(started)
		if r.tryOwn {
			cmd = build(true)
			cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
			cmd.SysProcAttr.Cloneflags = unix.CLONE_NEWPID
			if os.Geteuid() != 0 {
				// Without a mapping it still is this user, whatever it takes itself for.
				cmd.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
			}
			if err = cmd.Start(); err == nil {
				own = true
				return
			}
			// Who may not make one goes on without, now and later.
			r.tryOwn = false
		}
		cmd = build(false)
		cmd.SysProcAttr.Pdeathsig = unix.SIGKILL
		err = cmd.Start()
	}
	<-started
	return cmd, own, err
}

// dial connects to a port of the room's.
func (r *room) dial(ctx context.Context, port int) (net.Conn, error) {
	if r.network == nil {
		return dialLoopback(ctx, port)
	}
	type dialled struct {
		conn net.Conn
		err  error
	}
	result := make(chan dialled, 1)
	onOwnThread(func() {
		// A socket is of the network in which it was made, wherever it is used.
		raw, err := r.network.SyscallConn()
		if err == nil {
			cerr := raw.Control(func(fd uintptr) { err = unix.Setns(int(fd), unix.CLONE_NEWNET) })
			err = errors.Join(err, cerr)
		}
		if err != nil {
			result <- dialled{nil, fmt.Errorf("enter the network namespace: %w", err)}
			return
		}
		conn, err := dialLoopback(ctx, port)
		result <- dialled{conn, err}
	})
	d := <-result
	return d.conn, d.err
}

// means say what the kernel does.
func (r *room) means() []string {
	var list []string
	switch {
	case r.network != nil:
		list = append(list, "network namespace: nothing but its own loopback")
		if r.hidden {
			list = append(list, "mount namespace: the sockets of other services of this machine are hidden")
		} else {
			list = append(list, "not all sockets of other services of this machine could be hidden")
		}
	case r.kernel:
		list = append(list, fmt.Sprintf("no network namespace (%s): the kernel refuses every connection by TCP, and all else but sockets of files (Landlock, seccomp)", r.why))
	default:
		list = append(list, fmt.Sprintf("no network namespace (%s): PHP's own functions for the network are switched off", r.why))
	}
	if r.writes {
		list = append(list, "the kernel lets it write to the copy and its temporary folder only, and execute nothing but PHP (Landlock)")
	}
	return list
}

// close ends the room's thread. What was started there dies with it.
func (r *room) close() error {
	var err error
	r.closed.Do(func() {
		close(r.work)
		<-r.ended
		if r.network != nil {
			err = r.network.Close()
		}
	})
	return err
}
