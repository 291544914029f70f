package assemble

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// Live says whose the files of an archive are that does not say so itself: as
// what lies there on this machine. It is used by one goroutine, and all that it
// looks at may change meanwhile: then what it says may be of before or after.
type Live struct {
	levels []level // the folders on the way to the last path that are there; the first is the root
	users  map[uint32]string
	groups map[uint32]string
}

// level is an open live folder.
type level struct {
	name  string // in the folder above
	fd    int
	st    unix.Stat_t
	scope files.Scope
}

// maxLevels bounds how many folders are open at the same time. What lies
// deeper is as the last of them.
const maxLevels = 128

// LikeLive looks below the folder root, which may be a link; where there is no
// such folder, or root is "", everything is this process's user's, with 0644
// and 0755. Links below it are followed only where sets, those of this root,
// say so. Close must be called.
func LikeLive(root string, sets []core.FileSet) (*Live, error) {
	scope, err := files.NewScope(sets...)
	if err != nil {
		return nil, err
	}
	l := &Live{users: map[uint32]string{}, groups: map[uint32]string{}}
	if root == "" {
		return l, nil
	}
	fd, err := openat.Open(unix.AT_FDCWD, root, unix.O_PATH|unix.O_DIRECTORY, 0)
	if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR) {
		return l, nil
	}
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeFailed, Op: "look whose the files in " + files.Quote(root) + " are", Err: err,
			Hint: "run backstay as root or as the web server's user",
		}
	}
	st, err := openat.Fstat(fd)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stat %s: %w", files.Quote(root), err), unix.Close(fd))
	}
	l.levels = []level{{fd: fd, st: st, scope: scope}}
	return l, nil
}

// Attributes returns those of the live file or folder at path, or else of the
// nearest folder above it: its owner, for a folder its mode, and for a file
// 0644. A file never gets setuid or setgid. ModTime is zero.
func (l *Live) Attributes(path string, kind core.EntryType) Attributes {
	if len(l.levels) == 0 {
		return l.of(uint32(os.Geteuid()), uint32(os.Getegid()), newMode(kind, 0o755))
	}
	way, name := path, ""
	if kind != core.TypeDir {
		way, name = "", path
		if i := strings.LastIndexByte(path, '/'); i >= 0 {
			way, name = path[:i], path[i+1:]
		}
	}
	arrived := l.enter(way)
	at := &l.levels[len(l.levels)-1]
	mode := newMode(kind, permissions(&at.st))
	if !arrived {
		mode &^= fs.ModeSticky // of the shared folder only
	}
	if !arrived || kind == core.TypeDir {
		return l.of(at.st.Uid, at.st.Gid, mode)
	}
	if st, ok := at.look(name, join(way, name)); ok {
		if kind == core.TypeFile && openat.Kind(&st) == unix.S_IFREG {
			return l.of(st.Uid, st.Gid, permissions(&st).Perm())
		}
		if kind == core.TypeSymlink && openat.Kind(&st) == unix.S_IFLNK {
			return l.of(st.Uid, st.Gid, mode)
		}
	}
	return l.of(at.st.Uid, at.st.Gid, mode)
}

// newMode is the mode of what is new in a folder.
func newMode(kind core.EntryType, folder fs.FileMode) fs.FileMode {
	switch kind {
	case core.TypeDir:
		return folder
	case core.TypeSymlink:
		return 0o777
	}
	return 0o644
}

func permissions(st *unix.Stat_t) fs.FileMode {
	m := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if st.Mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}

// look looks at a name in the folder: at what a link points to where links are
// followed. rel is its path below the root.
func (v *level) look(name, rel string) (st unix.Stat_t, ok bool) {
	st, err := openat.Lstat(v.fd, name)
	if err == nil && openat.Kind(&st) == unix.S_IFLNK && v.scope.Child(name, rel).Follow() {
		st, err = openat.Stat(v.fd, name)
	}
	return st, err == nil
}

// enter opens the live folders on the way as far as they are there, and says
// whether that was all of it.
func (l *Live) enter(way string) bool {
	elements := strings.Split(way, "/")
	if way == "" {
		elements = nil
	}
	same := 0
	for same < len(elements) && same+1 < len(l.levels) && l.levels[same+1].name == elements[same] {
		same++
	}
	l.leave(same + 1)
	rel := strings.Join(elements[:same], "/")
	for _, name := range elements[same:] {
		rel = join(rel, name)
		if len(l.levels) >= maxLevels || !l.open(name, rel) {
			return false
		}
	}
	return true
}

// open enters a folder in the last one that is open.
func (l *Live) open(name, rel string) bool {
	in := &l.levels[len(l.levels)-1]
	if files.CheckName(name) != nil {
		return false
	}
	scope := in.scope.Child(name, rel)
	flags := unix.O_PATH | unix.O_DIRECTORY
	if !scope.Follow() {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openat.Open(in.fd, name, flags, 0)
	if err != nil {
		return false
	}
	st, err := openat.Fstat(fd)
	if err != nil {
		l.closeFD(fd)
		return false
	}
	l.levels = append(l.levels, level{name: strings.Clone(name), fd: fd, st: st, scope: scope})
	return true
}

// leave closes all levels but the first n.
func (l *Live) leave(n int) {
	for len(l.levels) > n {
		last := len(l.levels) - 1
		l.closeFD(l.levels[last].fd)
		l.levels = l.levels[:last]
	}
}

// closeFD closes what was open as a path only: nothing can be lost.
func (l *Live) closeFD(fd int) { _ = unix.Close(fd) }

// of returns the attributes of ids, with the names that they have here.
func (l *Live) of(uid, gid uint32, mode fs.FileMode) Attributes {
	name, known := l.users[uid]
	if !known {
		if u, err := user.LookupId(strconv.FormatUint(uint64(uid), 10)); err == nil {
			name = u.Username
		}
		l.users[uid] = name
	}
	group, known := l.groups[gid]
	if !known {
		if g, err := user.LookupGroupId(strconv.FormatUint(uint64(gid), 10)); err == nil {
			group = g.Name
		}
		l.groups[gid] = group
	}
	return Attributes{Mode: mode, UID: uid, GID: gid, User: name, Group: group}
}

// Folder is Attributes of a folder, for Tree.Folder.
func (l *Live) Folder(path string) Attributes { return l.Attributes(path, core.TypeDir) }

// Close ends the use of the root.
func (l *Live) Close() { l.leave(0) }
