package crash

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call of a traced process that names a file.
type call struct {
	nr   uint64
	path string // absolute; of a rename where it comes from
	to   string // of a rename
}

func (c call) String() string {
	name := map[uint64]string{
		unix.SYS_RENAME: "rename", unix.SYS_RENAMEAT: "rename", unix.SYS_RENAMEAT2: "rename", unix.SYS_UNLINKAT: "unlink", unix.SYS_UNLINK: "unlink",
		unix.SYS_RMDIR: "rmdir", unix.SYS_MKDIRAT: "mkdir", unix.SYS_FSYNC: "fsync", unix.SYS_OPENAT: "open",
	}[c.nr]
	if c.to != "" {
		return name + " " + c.path + " to " + c.to
	}
	return name + " " + c.path
}

// verdict says what becomes of a traced process at a call.
type verdict struct {
	kill bool       // as by kill -9, with the call not done
	fail unix.Errno // the call is not done and fails so
}

// traced runs a command of the site to its end. judge hears of each call that
// names a file, before it is done; one call at a time.
func (s *site) traced(judge func(call) verdict, args ...string) *ended {
	s.t.Helper()
	out, err := os.CreateTemp(s.t.TempDir(), "out")
	s.ok(err)
	cmd := s.command(args...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &unix.SysProcAttr{Ptrace: true, Pdeathsig: unix.SIGKILL, Setpgid: true}
	code := make(chan int, 1)
	failed := make(chan error, 1)
	go func() {
		// A process is traced by a thread, and waited for by that one alone.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			failed <- err
			return
		}
		t := &tracer{pid: cmd.Process.Pid, judge: judge, failing: map[int]unix.Errno{}}
		c, err := t.run()
		if err != nil {
			failed <- errors.Join(err, unix.Kill(t.pid, unix.SIGKILL))
			return
		}
		code <- c
	}()
	e := &ended{t: s.t, name: strings.Join(args, " ")}
	select {
	case err := <-failed:
		s.t.Fatalf("trace backstay: %v", err)
	case e.code = <-code:
	}
	text, err := os.ReadFile(out.Name())
	s.ok(errors.Join(err, out.Close()))
	e.output = string(text)
	return e
}

// tracer follows all threads of a process.
type tracer struct {
	pid     int
	judge   func(call) verdict
	failing map[int]unix.Errno // by thread
	killed  bool
}

const ptraceGetSyscallInfo = 0x420e

// syscallInfo is struct ptrace_syscall_info, ptrace(2).
type syscallInfo struct {
	op   uint8 // 1: entry, 2: exit
	_    [3]uint8
	_    uint32
	_    [2]uint64
	nr   uint64
	args [6]uint64
	_    uint64
}

func (t *tracer) run() (code int, err error) {
	var status unix.WaitStatus
	// The exec stops it first.
	if _, err := unix.Wait4(t.pid, &status, unix.WALL, nil); err != nil {
		return 0, err
	}
	const options = unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_EXITKILL
	if err := unix.PtraceSetOptions(t.pid, options); err != nil {
		return 0, err
	}
	if err := unix.PtraceSyscall(t.pid, 0); err != nil {
		return 0, err
	}
	for {
		// The group is the process's own: this thread may have other children.
		thread, err := unix.Wait4(-t.pid, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("wait for a thread: %w", err)
		}
		signal := 0
		switch {
		case status.Exited() || status.Signaled():
			if thread == t.pid {
				if status.Signaled() {
					return -1, nil
				}
				return status.ExitStatus(), nil
			}
			continue
		case !status.Stopped():
			continue
		case status.StopSignal() == unix.SIGTRAP|0x80:
			if err := t.atCall(thread); err != nil && !errors.Is(err, unix.ESRCH) {
				return 0, err
			}
		case status.StopSignal() == unix.SIGTRAP, status.StopSignal() == unix.SIGSTOP: // a new thread
		default:
			signal = int(status.StopSignal())
		}
		if t.killed {
			continue
		}
		if err := unix.PtraceSyscall(thread, signal); err != nil && !errors.Is(err, unix.ESRCH) {
			return 0, fmt.Errorf("let a thread go on: %w", err)
		}
	}
}

// atCall is called when a thread begins or ends a call.
func (t *tracer) atCall(thread int) error {
	var info syscallInfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, ptraceGetSyscallInfo, uintptr(thread), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 {
		return errno
	}
	if info.op == 2 {
		errno, ok := t.failing[thread]
		if !ok {
			return nil
		}
		delete(t.failing, thread)
		return t.set(thread, func(r *unix.PtraceRegs) { r.Rax = uint64(-int64(errno)) })
	}
	c, ok := t.read(info)
	if info.op != 1 || !ok || t.killed {
		return nil
	}
	v := t.judge(c)
	switch {
	case v.kill:
		t.killed = true
		return unix.Kill(t.pid, unix.SIGKILL)
	case v.fail != 0:
		t.failing[thread] = v.fail
		return t.set(thread, func(r *unix.PtraceRegs) { r.Orig_rax = ^uint64(0) }) // no call at all
	}
	return nil
}

func (t *tracer) set(thread int, change func(*unix.PtraceRegs)) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		return err
	}
	change(&regs)
	return unix.PtraceSetRegs(thread, &regs)
}

// read finds out which files a call is about.
func (t *tracer) read(info syscallInfo) (call, bool) {
	a := info.args
	switch info.nr {
	case unix.SYS_RENAME:
		return call{info.nr, t.at(unix.AT_FDCWD&0xffffffff, a[0]), t.at(unix.AT_FDCWD&0xffffffff, a[1])}, true
	case unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2:
		return call{info.nr, t.at(a[0], a[1]), t.at(a[2], a[3])}, true
	case unix.SYS_UNLINK, unix.SYS_RMDIR:
		return call{info.nr, t.at(unix.AT_FDCWD&0xffffffff, a[0]), ""}, true
	case unix.SYS_UNLINKAT, unix.SYS_MKDIRAT, unix.SYS_OPENAT:
		return call{info.nr, t.at(a[0], a[1]), ""}, true
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		return call{unix.SYS_FSYNC, t.open(a[0]), ""}, true
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE:
		return call{unix.SYS_WRITE, t.open(a[0]), ""}, true
	}
	return call{}, false
}

// at is a path relative to an open folder.
func (t *tracer) at(dir, address uint64) string {
	name := t.text(address)
	if filepath.IsAbs(name) {
		return name
	}
	if int32(dir) == unix.AT_FDCWD {
		cwd, err := os.Readlink(fmt.Sprintf("/proc/%d/cwd", t.pid))
		if err != nil {
			return name
		}
		return filepath.Join(cwd, name)
	}
	return filepath.Join(t.open(dir), name)
}

// open is the path of an open file; "" of what is none.
func (t *tracer) open(fd uint64) string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", t.pid, int32(fd)))
	if err != nil || !filepath.IsAbs(path) {
		return ""
	}
	return path
}

// text reads a string of the process, page by page: the next may not be there.
func (t *tracer) text(address uint64) string {
	var out []byte
	for len(out) < unix.PathMax {
		n := 4096 - int(address%4096)
		piece := make([]byte, n)
		local := []unix.Iovec{{Base: &piece[0]}}
		local[0].SetLen(n)
		got, err := unix.ProcessVMReadv(t.pid, local, []unix.RemoteIovec{{Base: uintptr(address), Len: n}}, 0)
		if err != nil || got == 0 {
			break
		}
		for i, b := range piece[:got] {
			if b == 0 {
				return string(append(out, piece[:i]...))
			}
		}
		out = append(out, piece[:got]...)
		address += uint64(got)
	}
	return string(out)
}
