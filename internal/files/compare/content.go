package compare

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/files/xattr"
)

const (
	compareBuffer = 256 << 10
	// maxTransformed bounds a file that is changed on the way.
	maxTransformed = 64 << 20
	// maxLinkTarget is Linux's PATH_MAX.
	maxLinkTarget = 4096
	// maxReadings is how often a file is compared that is being written to.
	maxReadings = 3
)

// contentReader is one worker's means of comparing.
type contentReader struct {
	c            *Result
	stored, live []byte
}

// look compares a file or link of the backup with what is there.
func (r *contentReader) look(l leaf) error {
	c := r.c
	if change := c.opt.Transform[l.Path]; change != nil && l.Entry.Type == core.TypeFile {
		e, err := c.Reader.transform(c.ctx, l.Path, l.Entry, change)
		if c.leaveOut(err, filepath.Join(c.component, l.Path), 1) {
			return nil
		}
		if err != nil {
			return err
		}
		l.Entry = e
	}
	for n := 0; ; n++ {
		again, err := r.lookOnce(l, n == maxReadings-1)
		if c.leaveOut(err, filepath.Join(c.component, l.Path), 1) {
			return nil
		}
		if err != nil || !again {
			return err
		}
	}
}

// lookOnce returns true when the file changed meanwhile.
func (r *contentReader) lookOnce(l leaf, last bool) (again bool, err error) {
	c := r.c
	name := l.Name
	st, err := openat.Lstat(l.In.fd, name)
	if openat.IsErrno(err, unix.ENOENT) {
		return false, c.added(l)
	}
	if err != nil {
		return false, files.Failed("stat", l.real(), err)
	}
	through := false // a link to the same file may stay
	if openat.Kind(&st) == unix.S_IFLNK && l.Entry.Type == core.TypeFile && slices.Contains(c.opt.Follow, l.Path) {
		if to, err := openat.Stat(l.In.fd, name); err == nil {
			st, through = to, true
		}
	}
	ok := false
	switch {
	case l.Entry.Type == core.TypeSymlink && openat.Kind(&st) == unix.S_IFLNK:
		ok, err = r.sameSymlink(l, &st)
	case l.Entry.Type == core.TypeFile && openat.Kind(&st) == unix.S_IFREG:
		ok, again, err = r.sameFile(l, &st, through)
	}
	if err != nil || again && !last {
		return again, err
	}
	if !ok {
		return false, c.changed(l)
	}
	c.noteSame(l, &st)
	return false, nil
}

// noteSame notes a file or link that stays as it is.
func (c *Result) noteSame(l leaf, st *unix.Stat_t) {
	ctime := st.Ctim.Nano()
	if !c.quick && l.Entry.Type == core.TypeFile && (st.Nlink > 1 || l.Extra.Link != "" || c.Linked[l.Path]) {
		c.mu.Lock()
		c.same = append(c.same, &sameLink{leaf: l, id: openat.IDOf(st), ctime: ctime})
		c.mu.Unlock()
		return
	}
	c.keepSame(l, ctime)
}

func (c *Result) keepSame(l leaf, ctime int64) {
	c.mu.Lock()
	c.Unchanged++
	c.mu.Unlock()
	if c.quick {
		return
	}
	l.In.mu.Lock()
	l.In.Same = append(l.In.Same, l.Name)
	l.In.Ctimes = append(l.In.Ctimes, ctime)
	l.In.mu.Unlock()
}

// sameOwner compares owners. Where only root could change it, and nothing else differs, the live
// file stays, and what root would have to do is noted.
func (c *Result) sameOwner(l leaf, st *unix.Stat_t) (same, leave bool) {
	uid, gid := c.Owners.IDs(l.Entry)
	if st.Uid == uid && st.Gid == gid {
		return true, false
	}
	return false, !c.AsRoot && (st.Uid != uid || !c.groups[gid])
}

func (c *Result) deny(real string, e core.Entry) {
	uid, gid := c.Owners.IDs(e)
	d := Denied{Denied: restore.Denied{Path: real, UID: uid, GID: gid}}
	if m := files.UnixMode(e.Mode); m&(unix.S_ISUID|unix.S_ISGID) != 0 {
		d.Mode = m
	}
	c.mu.Lock()
	c.Denied = append(c.Denied, d)
	c.mu.Unlock()
}

func (r *contentReader) sameSymlink(l leaf, st *unix.Stat_t) (bool, error) {
	c := r.c
	owner, leave := c.sameOwner(l, st)
	if !owner && !leave || !l.Entry.ModTime.Equal(openat.ModTime(st)) || l.Entry.Object.Size != st.Size {
		return false, nil
	}
	if !c.quick {
		src, err := c.Reader.Open(c.ctx, l.Entry.Object.ID)
		if err != nil {
			return false, fmt.Errorf("restore %s: %w", files.Quote(l.real()), err)
		}
		want, err := io.ReadAll(io.LimitReader(src, maxLinkTarget+1))
		if cerr := src.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return false, fmt.Errorf("restore %s: %w", files.Quote(l.real()), err)
		}
		have, err := openat.Readlink(l.In.fd, l.Name)
		if err != nil || have != string(want) {
			return false, nil // or it is no link any more
		}
	}
	if leave {
		c.deny(l.real(), l.Entry)
	}
	return true, nil
}

// sameFile compares a file. again says that it was written to meanwhile.
func (r *contentReader) sameFile(l leaf, st *unix.Stat_t, through bool) (same, again bool, err error) {
	c := r.c
	owner, leave := c.sameOwner(l, st)
	mode := files.UnixMode(l.Entry.Mode)
	if !owner && !leave || st.Size != l.Entry.Object.Size || !l.Entry.ModTime.Equal(openat.ModTime(st)) {
		return false, false, nil
	}
	if st.Mode&0o7777 != mode && (!leave || st.Mode&0o7777 != mode&^(unix.S_ISUID|unix.S_ISGID)) {
		return false, false, nil
	}
	if !c.quick {
		same, again, err = r.sameBytes(l, st, through)
		if err != nil || !same {
			return false, again, err
		}
	}
	if leave {
		c.deny(l.real(), l.Entry)
	}
	return true, false, nil
}

func (r *contentReader) sameBytes(l leaf, st *unix.Stat_t, through bool) (same, again bool, err error) {
	c := r.c
	fd, err := openLive(l.In.fd, l.Name, through)
	if openat.IsErrno(err, unix.EMFILE, unix.ENFILE, unix.ENOMEM) {
		return false, false, files.Failed("open", l.real(), err)
	}
	if err != nil {
		// What cannot be read cannot be compared. It changes places like all else that differs.
		return false, openat.IsErrno(err, unix.ENOENT, unix.ELOOP), nil
	}
	defer func() {
		if cerr := unix.Close(fd); err == nil && cerr != nil {
			err = files.Failed("close", l.real(), cerr)
		}
	}()
	now, err := openat.Fstat(fd)
	if err != nil {
		return false, false, files.Failed("stat", l.real(), err)
	}
	if openat.IDOf(&now) != openat.IDOf(st) || now.Ctim != st.Ctim {
		return false, true, nil
	}
	unread := false
	have := xattr.Read(fd, func(string, error) { unread = true })
	if unread || !c.sameXattrs(have, l.Extra.Xattrs) {
		return false, false, nil
	}
	same, err = r.compareBytes(l, fd)
	if err != nil {
		return false, false, err
	}
	after, err := openat.Fstat(fd)
	if err != nil {
		return false, false, files.Failed("stat", l.real(), err)
	}
	return same, after.Ctim != st.Ctim, nil
}

// openLive opens a live file for reading, without a trace in its access time where that is allowed.
func openLive(dir int, name string, through bool) (int, error) {
	flags := unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY
	if !through {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openat.Open(dir, name, flags|unix.O_NOATIME, 0)
	if openat.IsErrno(err, unix.EPERM) {
		fd, err = openat.Open(dir, name, flags, 0)
	}
	return fd, err
}

// compareBytes reads the stored object to its end, and says whether the open file has
// the same bytes.
func (r *contentReader) compareBytes(l leaf, fd int) (same bool, err error) {
	c := r.c
	if r.stored == nil {
		r.stored, r.live = make([]byte, compareBuffer), make([]byte, compareBuffer)
	}
	src, err := c.Reader.Open(c.ctx, l.Entry.Object.ID)
	if err != nil {
		return false, fmt.Errorf("restore %s: %w", files.Quote(l.real()), err)
	}
	defer func() {
		if cerr := src.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("restore %s: %w", files.Quote(l.real()), cerr)
		}
	}()
	same = true
	size := int64(0)
	for {
		if err := c.ctx.Err(); err != nil {
			return false, err
		}
		n, err := io.ReadFull(src, r.stored)
		for at := 0; same && at < n; {
			k, rerr := openat.ReadAt(fd, r.live[at:n], size+int64(at))
			if rerr != nil || k == 0 {
				same = false // unreadable, or shorter
				break
			}
			at += k
		}
		same = same && bytes.Equal(r.stored[:n], r.live[:n])
		size += int64(n)
		c.progress.Add(int64(n))
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return false, fmt.Errorf("restore %s: %w", files.Quote(l.real()), err)
		}
		if size > l.Entry.Object.Size {
			break
		}
	}
	if size != l.Entry.Object.Size {
		return false, files.Damage("restore "+files.Quote(l.real()), fmt.Sprintf("the backup has %d bytes of it where there should be %d", size, l.Entry.Object.Size))
	}
	return same, nil
}

// sameXattrs compares extended attributes: those that this user can see.
func (c *Result) sameXattrs(have, want map[string][]byte) bool {
	if len(have) == 0 && len(want) == 0 {
		return true
	}
	if !c.AsRoot {
		want = maps.Clone(want)
		maps.DeleteFunc(want, func(name string, _ []byte) bool { return strings.HasPrefix(name, "trusted.") })
	}
	return maps.EqualFunc(have, want, bytes.Equal)
}

// resolveLinks finds files that are the same but for being, or not being, other names
// of one another. They count as changed, with all their other names.
func (c *Result) resolveLinks() {
	if len(c.same) == 0 {
		return
	}
	type group struct {
		at string // the path that others of it are links to
		on openat.Mount
	}
	groupOf := func(l leaf) group {
		if l.Extra.Link != "" {
			return group{l.Extra.Link, l.In.Mount}
		}
		return group{l.Path, l.In.Mount}
	}
	changes := map[string]*Change{}
	for _, ch := range c.Changes {
		changes[ch.Path] = ch
	}
	staged := map[group]bool{} // one of it will be written anew
	for path, x := range c.Extras {
		at := x.Link
		if c.Linked[path] {
			at = path
		}
		if at == "" {
			continue
		}
		if ch := covering(changes, path); ch != nil {
			staged[group{at, ch.In.Mount}] = true
		}
	}
	for path := range c.Linked { // which need not have a line of their own
		if ch := covering(changes, path); ch != nil {
			staged[group{path, ch.In.Mount}] = true
		}
	}
	first := map[openat.ID]group{}
	ids := map[group]openat.ID{}
	for _, s := range c.same {
		g := groupOf(s.leaf)
		if other, there := first[s.id]; there && other != g {
			staged[g], staged[other] = true, true
		} else {
			first[s.id] = g
		}
		if id, there := ids[g]; there && id != s.id {
			staged[g] = true
		} else {
			ids[g] = s.id
		}
	}
	for _, s := range c.same {
		if staged[groupOf(s.leaf)] {
			c.note(&Change{Seq: s.Seq, In: s.In, Dir: s.In.Rel, Name: s.Name, Path: s.Path, Entry: s.Entry, Extra: s.Extra, Had: true, Real: s.real()})
		} else {
			c.keepSame(s.leaf, s.ctime)
		}
	}
}

// covering returns the change at a path or at a folder that it is in.
func covering(changes map[string]*Change, path string) *Change {
	for {
		if ch := changes[path]; ch != nil {
			return ch
		}
		cut := strings.LastIndexByte(path, '/')
		if cut < 0 {
			return nil
		}
		path = path[:cut]
	}
}
