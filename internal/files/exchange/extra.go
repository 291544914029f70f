package exchange

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// findExtra finds what a folder has and the backup has not.
func (c *comparison) findExtra(f *folder) error {
	if !f.owned.Whole() || !f.whole {
		return nil
	}
	names, err := openat.List(f.fd)
	if openat.IsErrno(err, unix.EACCES) {
		return nil // what this user may not see it cannot take away either
	}
	if err != nil {
		return failed("list folder", f.real, err)
	}
	for _, name := range names {
		if f.names[name] {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		x := extraPath{dir: f.rel, name: name, real: f.real + "/" + name}
		all, err := c.extra(f, f.fd, f.owned, x)
		if err != nil {
			return err
		}
		for _, x := range all.parts {
			c.noteExtra(f, x)
		}
	}
	return nil
}

// extraPath is a live path that the backup does not have.
type extraPath struct {
	dir   string // real path of its folder below the root
	name  string
	real  string
	isDir bool
	files int64 // files and links in it, or 1
}

// extraFound is what of a path is extra.
type extraFound struct {
	whole bool        // all of it
	parts []extraPath // itself when it is whole, else the largest parts that are
}

// extra looks through a name that the backup does not have in an open folder of it.
func (c *comparison) extra(f *folder, dir int, owned files.Scope, x extraPath) (found extraFound, err error) {
	rel := filepath.Join(x.dir, x.name)
	here := owned.Child(x.name, rel)
	if c.kept[files.Quote(x.real)] || !here.Whole() {
		return extraFound{}, nil
	}
	st, err := openat.Lstat(dir, x.name)
	if openat.IsErrno(err, unix.ENOENT) {
		return extraFound{}, nil
	}
	if err != nil {
		return extraFound{}, failed("stat", x.real, err)
	}
	if !openat.IsDir(&st) {
		if mounted, err := isMounted(dir, x.name, f.mount); err != nil || mounted {
			if err != nil && !openat.IsErrno(err, unix.ENOENT) {
				return extraFound{}, failed("stat", x.real, err)
			}
			return extraFound{}, nil
		}
		x.files = 1
		return extraFound{whole: true, parts: []extraPath{x}}, nil
	}
	if files.IsStagingName(x.name) {
		return extraFound{}, nil
	}
	x.isDir = true
	fd, err := openat.Dir(dir, x.name)
	if openat.IsErrno(err, unix.EACCES, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) {
		if c.opt.Clean {
			c.warn("kept", x.real, "it is not in the backup and was not taken away, because it could not be looked into: "+openat.Reason(err))
		}
		return extraFound{}, nil
	}
	if err != nil {
		return extraFound{}, failed("open folder", x.real, err)
	}
	defer func() {
		if cerr := unix.Close(fd); err == nil && cerr != nil {
			err = failed("close", x.real, cerr)
		}
	}()
	if m, err := mountOf(fd); err != nil || m != f.mount {
		if err == nil && c.opt.Clean {
			c.warn("kept", x.real, "it is not in the backup, but another file system is mounted there; it was not taken away")
		}
		return extraFound{}, err
	}
	names, err := openat.List(fd)
	if err != nil {
		return extraFound{}, failed("list folder", x.real, err)
	}
	found.whole = true
	for _, name := range names {
		if err := c.ctx.Err(); err != nil {
			return extraFound{}, err
		}
		in, err := c.extra(f, fd, here, extraPath{dir: rel, name: name, real: x.real + "/" + name})
		if err != nil {
			return extraFound{}, err
		}
		found.whole = found.whole && in.whole
		for _, p := range in.parts {
			x.files += p.files
		}
		found.parts = append(found.parts, in.parts...)
	}
	if found.whole {
		found.parts = []extraPath{x}
	} else if c.opt.Clean && slices.ContainsFunc(found.parts, func(p extraPath) bool { return p.dir == rel }) {
		c.partly = append(c.partly, &folderLine{placePath: placePath{f.place, rawPath(rel)}, Old: attributesOf(&st)})
	}
	return found, nil
}

// noteExtra notes a path that is extra: to stay, or to be taken away.
func (c *comparison) noteExtra(f *folder, x extraPath) {
	f.mu.Lock()
	f.extras = true
	f.mu.Unlock()
	if c.opt.Clean {
		c.seq++
		c.note(&change{seq: c.seq, in: f, dir: x.dir, name: x.name, take: true, had: true, dirs: x.isDir, real: x.real, entry: core.Entry{Files: x.files}})
		return
	}
	c.mu.Lock()
	c.diff.Extra.add(x.real, x.isDir, x.files)
	c.mu.Unlock()
}

// add counts a path.
func (l *List) add(real string, isDir bool, n int64) {
	l.Files += n
	if isDir {
		l.Folders++
		real += "/"
	}
	if len(l.Paths) < MaxListed {
		l.Paths = append(l.Paths, files.Quote(real))
	}
}

// count sums up what was found.
func (c *comparison) count() {
	d := &c.diff
	for _, ch := range c.changes {
		n := int64(1)
		if ch.dirs {
			n = ch.entry.Files
		}
		switch {
		case ch.take:
			d.Removed.add(ch.real, ch.dirs, n)
			continue
		case ch.had:
			d.Changed.add(ch.real, ch.dirs, n)
		default:
			d.Added.add(ch.real, ch.dirs, n)
		}
		d.Bytes += ch.entry.Object.Size
	}
	for _, f := range c.folders {
		if f.meta {
			d.Metadata++
		}
	}
	d.Obstacles = c.obstacles
}

// measure asks the file systems how much room they have.
func (c *comparison) measure() error {
	for _, s := range c.space {
		var st unix.Statfs_t
		if err := openat.Retry(func() error { return unix.Statfs(s.Path, &st) }); err != nil {
			return failed("ask for the free space of", s.Path, err)
		}
		s.Free, s.FreeInodes = int64(st.Bavail)*st.Bsize, int64(st.Ffree)
		if st.Files == 0 {
			s.FreeInodes = -1
		}
		c.diff.Space = append(c.diff.Space, *s)
	}
	return nil
}

// failed says what could not be done, and what to do about it.
func failed(op, real string, err error) error {
	if err == nil {
		return nil
	}
	var known *core.Error
	if errors.As(err, &known) {
		return err
	}
	e := &core.Error{Code: core.CodeFailed, Op: op + " " + files.Quote(real), Err: err}
	switch {
	case openat.IsErrno(err, unix.ENOSPC, unix.EDQUOT):
		e.Code, e.Hint = core.CodeDisk, "free space on the file system of "+files.Quote(real)
	case openat.IsErrno(err, unix.EROFS):
		e.Code, e.Hint = core.CodeDisk, "the file system is mounted read-only; mount it writable, or restore elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EIO):
		e.Code, e.Hint = core.CodeDisk, "the disk reports errors; restore to another one with --to-dir"
	case openat.IsErrno(err, unix.EBUSY):
		e.Hint = "something is mounted there; unmount it, or restore this path elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EPERM):
		e.Hint = "restore as root or as a user who may write there; if root may not either, the file system protects it: see lsattr"
	case openat.IsErrno(err, unix.EACCES):
		e.Hint = "restore as root or as a user who may write there, or elsewhere with --to-dir"
	default:
		return fmt.Errorf("%s %s: %w", op, files.Quote(real), err)
	}
	return e
}
