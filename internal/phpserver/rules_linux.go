package phpserver

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setRules has the kernel hold the calling thread, and what it starts, to rules
// that need no rights (landlock(7), seccomp(2)). A kernel without them is no
// error.
func (r *room) setRules(o Options, program string) error {
	// 2 is the first with which files can be renamed between folders, 4 the first
	// that knows of TCP.
	abi, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || abi < 2 {
		return nil
	}
	rules := unix.LandlockRulesetAttr{Handled_access_fs: writing(abi)}
	executables, err := executed(program)
	if err != nil {
		return err
	}
	if executables != nil {
		rules.Handled_access_fs |= unix.LANDLOCK_ACCESS_FS_EXECUTE
	}
	offNetwork := r.network == nil && abi >= 4 && architecture() != 0
	if offNetwork {
		rules.Handled_access_net = unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
		if abi >= 6 {
			rules.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
		}
	}
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&rules)), unsafe.Sizeof(rules), 0)
	if errno != 0 {
		return nil // who may not have rules goes on without
	}
	ruleset := os.NewFile(fd, "rules")
	defer func() { _ = ruleset.Close() }() // it names rules, and holds no data
	for _, dir := range append([]string{o.DocumentRoot, o.Temporary}, o.Within...) {
		if err := allow(ruleset, dir, writing(abi)); err != nil {
			return err
		}
	}
	if err := allow(ruleset, "/dev/null", unix.LANDLOCK_ACCESS_FS_WRITE_FILE); err != nil {
		return err
	}
	for _, file := range executables {
		if err := allow(ruleset, file, unix.LANDLOCK_ACCESS_FS_EXECUTE); err != nil {
			return err
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, ruleset.Fd(), 0, 0); errno != 0 {
		return nil
	}
	r.writes = executables != nil
	if offNetwork && filterCalls() == nil {
		r.kernel = true
	}
	return nil
}

// writing are the ways to change files that a kernel's Landlock knows.
func writing(abi uintptr) uint64 {
	w := uint64(unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_CHAR | unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_BLOCK | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER)
	if abi >= 3 {
		w |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	return w
}

// allow adds a rule for a folder with what is below it, or for a file.
func allow(ruleset *os.File, path string, access uint64) error {
	f, err := os.OpenFile(path, unix.O_PATH, 0)
	if err != nil {
		return fmt.Errorf("allow PHP a path: %w", err)
	}
	defer func() { _ = f.Close() }() // no data
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("allow PHP a path: %w", err)
	}
	if !info.IsDir() {
		access &= unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	rule := unix.LandlockPathBeneathAttr{Allowed_access: access, Parent_fd: int32(f.Fd())}
	if _, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, ruleset.Fd(), unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0); errno != 0 {
		return fmt.Errorf("allow PHP %s: %w", path, errno)
	}
	return nil
}

// executed are the files that are executed for PHP to run, with the loaders that
// they name. It is nil when one of them is no program itself.
func executed(program string) ([]string, error) {
	var list []string
	for _, path := range []string{"/bin/sh", program} {
		path, err := filepath.EvalSymlinks(path)
		if err != nil {
			return nil, fmt.Errorf("find what runs PHP: %w", err)
		}
		list = append(list, path)
		f, err := elf.Open(path)
		var format *elf.FormatError
		if errors.As(err, &format) {
			return nil, nil // a script
		}
		if err != nil {
			return nil, fmt.Errorf("read what runs PHP: %w", err)
		}
		loader, err := interpreter(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, fmt.Errorf("read what runs PHP: %w", err)
		}
		if loader != "" {
			list = append(list, loader)
		}
	}
	return list, nil
}

func interpreter(f *elf.File) (string, error) {
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(io.LimitReader(p.Open(), 4096))
			return strings.TrimRight(string(text), "\x00"), err
		}
	}
	return "", nil
}

// architecture is what seccomp calls the machine; 0: one whose calls are not
// known here.
func architecture() uint32 {
	switch runtime.GOARCH {
	case "amd64":
		return unix.AUDIT_ARCH_X86_64
	case "arm64":
		return unix.AUDIT_ARCH_AARCH64
	}
	return 0
}

// filterCalls refuses the calling thread, and what it starts, the sockets that
// Landlock does not know of: all but those of files, and of TCP, which PHP's
// server itself listens on.
func filterCalls() error {
	const (
		allowed = unix.SECCOMP_RET_ALLOW
		refused = unix.SECCOMP_RET_ERRNO | uint32(unix.EACCES)
		number  = 0 // offsets in struct seccomp_data
		arch    = 4
		args    = 16
	)
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	argument := func(n uint32) unix.SockFilter { return load(args + 8*n) } // little endian: the lower half
	jump := func(op uint16, k uint32, yes, no uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | op | unix.BPF_K, Jt: yes, Jf: no, K: k}
	}
	and := func(k uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: k}
	}
	result := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }

	filter := []unix.SockFilter{
		load(arch), jump(unix.BPF_JEQ, architecture(), 1, 0), result(refused),
		load(number),
		// x32's numbers of the same calls.
		jump(unix.BPF_JGE, 0x40000000, 0, 1), result(refused),
	}
	for _, call := range []uint32{unix.SYS_IO_URING_SETUP, unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD} {
		filter = append(filter, jump(unix.BPF_JEQ, call, 0, 1), result(refused))
	}
	// Data that is sent with a connection's first packet makes the connection.
	for call, flags := range map[uint32]uint32{unix.SYS_SENDTO: 3, unix.SYS_SENDMSG: 2, unix.SYS_SENDMMSG: 3} {
		filter = append(filter, jump(unix.BPF_JEQ, call, 0, 4),
			argument(flags), jump(unix.BPF_JSET, unix.MSG_FASTOPEN, 0, 1), result(refused), result(allowed))
	}
	filter = append(filter, jump(unix.BPF_JEQ, unix.SYS_SOCKET, 1, 0), result(allowed),
		argument(0), jump(unix.BPF_JEQ, unix.AF_UNIX, 0, 1), result(allowed),
		jump(unix.BPF_JEQ, unix.AF_INET, 2, 0), jump(unix.BPF_JEQ, unix.AF_INET6, 1, 0), result(refused),
		argument(1), and(0xf), jump(unix.BPF_JEQ, unix.SOCK_STREAM, 1, 0), result(refused),
		argument(2), jump(unix.BPF_JEQ, 0, 2, 0), jump(unix.BPF_JEQ, unix.IPPROTO_TCP, 1, 0), result(refused),
		result(allowed),
	)
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	// Of the calling thread alone.
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program))); errno != 0 {
		return errno
	}
	runtime.KeepAlive(filter)
	return nil
}
