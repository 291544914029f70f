package restore

import (
	"fmt"
	"io/fs"
	"os/user"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

// ownerMap turns the ids of the machine of origin into this machine's, by name.
type ownerMap struct {
	names core.Owners
	mu    sync.Mutex
	users map[uint32]uint32
	group map[uint32]uint32
}

func newOwnerMap(names core.Owners) *ownerMap {
	return &ownerMap{names: names, users: map[uint32]uint32{}, group: map[uint32]uint32{}}
}

func (m *ownerMap) ids(e core.Entry) (uid, gid uint32) {
	m.mu.Lock()
	defer m.mu.Unlock()
	uid, ok := m.users[e.UID]
	if !ok {
		uid = e.UID
		if u, err := user.Lookup(m.names.Users[strconv.FormatUint(uint64(uid), 10)]); err == nil {
			uid = parseID(u.Uid, uid)
		}
		m.users[e.UID] = uid
	}
	gid, ok = m.group[e.GID]
	if !ok {
		gid = e.GID
		if g, err := user.LookupGroup(m.names.Groups[strconv.FormatUint(uint64(gid), 10)]); err == nil {
			gid = parseID(g.Gid, gid)
		}
		m.group[e.GID] = gid
	}
	return uid, gid
}

func parseID(s string, otherwise uint32) uint32 {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return otherwise
	}
	return uint32(n)
}

// setAttributes sets owner, extended attributes and mode of an open file or
// folder, in the order in which none undoes another: chown takes setuid and
// capabilities away, and a mode may forbid to set attributes.
//
// bare says that it is new and has inherited no extended attributes. What is
// returned is what it was before.
func (o *restore) setAttributes(fd int, e core.Entry, x files.Extra, real string, bare bool) (unix.Stat_t, error) {
	st, err := openat.Fstat(fd)
	if err != nil {
		return st, writeFailed("stat", real, err)
	}
	mode, err := o.setOwner(&st, e, real, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) })
	if err != nil {
		return st, err
	}
	if !bare || len(x.Xattrs) > 0 {
		xattr.Write(fd, x.Xattrs, func(name string, err error) {
			if name == "" {
				o.warn("xattr", real, "its extended attributes could not be set: "+openat.Reason(err))
				return
			}
			o.warn("xattr", real, fmt.Sprintf("its extended attribute %q could not be set: %s", name, openat.Reason(err)))
		})
	}
	err = unix.Fchmod(fd, unixMode(mode))
	if openat.IsErrno(err, unix.EPERM) {
		o.warn("mode", real, fmt.Sprintf("its mode could not be set to %#o, because it belongs to another user", unixMode(mode)))
		return st, nil
	}
	if err != nil {
		return st, writeFailed("change mode of", real, err)
	}
	return st, nil
}

// setOwner changes the owner if need be and returns the mode to set: without
// setuid or setgid when these would speak for somebody else than they did.
func (o *restore) setOwner(st *unix.Stat_t, e core.Entry, real string, chown func(uid, gid int) error) (fs.FileMode, error) {
	uid, gid := o.owners.ids(e)
	mode := e.Mode
	if st.Uid == uid && st.Gid == gid {
		return mode, nil
	}
	err := chown(int(uid), int(gid))
	if err == nil {
		return mode, nil
	}
	if !openat.IsErrno(err, unix.EPERM, unix.EINVAL) { // EINVAL: an id that this user namespace does not have
		return mode, writeFailed("change owner of", real, err)
	}
	if st.Uid != uid {
		mode &^= fs.ModeSetuid
	}
	if st.Gid != gid {
		// Members of a group may give it without being root.
		if err := chown(-1, int(gid)); err != nil {
			mode &^= fs.ModeSetgid
		} else if st.Uid == uid {
			return mode, nil
		}
	}
	o.mu.Lock()
	o.denied[[2]uint32{uid, gid}]++
	if o.deniedAt == "" || real < o.deniedAt {
		o.deniedAt = real
	}
	o.mu.Unlock()
	return mode, nil
}

// ownerWarning says in one warning that owners could not be set, and how to.
func (o *restore) ownerWarning() (core.Warning, bool) {
	if len(o.denied) == 0 {
		return core.Warning{}, false
	}
	total := 0
	var owners []string
	for ids, n := range o.denied {
		total += n
		owners = append(owners, fmt.Sprintf("%d:%d", ids[0], ids[1]))
	}
	sort.Strings(owners)
	message := fmt.Sprintf("the owner of %d files, links and folders could not be set, because only root may, the first being %s; ", total, files.Quote(o.deniedAt))
	var targets []string
	for _, t := range o.opt.Targets {
		targets = append(targets, shellQuote(t))
	}
	sort.Strings(targets)
	if len(owners) == 1 && len(targets) == 1 && len(o.paths) == 0 && targets[0] != "/" {
		message += fmt.Sprintf("as root, run: chown -hR %s %s", owners[0], targets[0])
	} else {
		if len(owners) > 10 {
			owners = append(owners[:10], "…")
		}
		message += fmt.Sprintf("restore again as root, or run as root, for each path: chown -h OWNER PATH, where OWNER is one of %s", strings.Join(owners, ", "))
	}
	return core.Warning{Code: "owner", Message: message}, true
}

func shellQuote(s string) string {
	if strings.IndexFunc(s, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./", r)
	}) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// unixMode returns permission bits with setuid, setgid and sticky.
func unixMode(m fs.FileMode) uint32 {
	u := uint32(m.Perm())
	if m&fs.ModeSetuid != 0 {
		u |= unix.S_ISUID
	}
	if m&fs.ModeSetgid != 0 {
		u |= unix.S_ISGID
	}
	if m&fs.ModeSticky != 0 {
		u |= unix.S_ISVTX
	}
	return u
}

func timespec(e core.Entry) unix.Timespec {
	return unix.Timespec{Sec: e.ModTime.Unix(), Nsec: int64(e.ModTime.Nanosecond())}
}

// futimens sets the modification time of an open file or folder and leaves the
// access time. It is the system call itself, because golang.org/x/sys knows only the form with a
// path, and for a folder "." would need the right to search it.
func futimens(fd int, e core.Entry) error {
	times := [2]unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(e)}
	_, _, errno := unix.Syscall6(unix.SYS_UTIMENSAT, uintptr(fd), 0, uintptr(unsafe.Pointer(&times)), 0, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// writeFailed says what could not be written, and what to do about it.
func writeFailed(op, real string, err error) error {
	e := &core.Error{Code: core.CodeFailed, Op: op + " " + files.Quote(real), Err: err}
	switch {
	case openat.IsErrno(err, unix.ENOSPC, unix.EDQUOT):
		e.Code, e.Hint = core.CodeDisk, "free space on the file system of "+files.Quote(real)+" and restore again; files that were not restored yet are as they were"
	case openat.IsErrno(err, unix.EROFS):
		e.Code, e.Hint = core.CodeDisk, "the file system is mounted read-only; mount it writable, or restore elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EIO):
		e.Code, e.Hint = core.CodeDisk, "the disk reports errors; restore to another one with --to-dir"
	case openat.IsErrno(err, unix.EACCES, unix.EPERM):
		e.Hint = "restore as root or as a user who may write there, or elsewhere with --to-dir"
	case openat.IsErrno(err, unix.ENAMETOOLONG):
		e.Hint = "the target's file system takes only shorter names; restore elsewhere with --to-dir"
	default:
		return fmt.Errorf("%s %s: %w", op, files.Quote(real), err)
	}
	return e
}
