package compare

import (
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// findExtra finds what a folder has and the backup has not.
func (c *Result) findExtra(f *Folder) error {
	if !f.owned.Whole() || !f.whole {
		return nil
	}
	names, err := openat.List(f.fd)
	if openat.IsErrno(err, unix.EACCES) {
		return nil // what this user may not see it cannot take away either
	}
	if err != nil {
		return files.Failed("list folder", f.Real, err)
	}
	for _, name := range names {
		if f.names[name] {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		x := extraPath{dir: f.Rel, name: name, real: f.Real + "/" + name}
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
	mark  openat.Mark
}

// extraFound is what of a path is extra.
type extraFound struct {
	whole bool        // all of it
	parts []extraPath // itself when it is whole, else the largest parts that are
}

// extra looks through a name that the backup does not have in an open folder of it.
func (c *Result) extra(f *Folder, dir int, owned files.Scope, x extraPath) (found extraFound, err error) {
	rel := filepath.Join(x.dir, x.name)
	here := owned.Child(x.name, rel)
	if c.kept[files.Quote(x.real)] || !here.Whole() {
		return extraFound{}, nil
	}
	st, err := openat.Lstat(dir, x.name)
	if err == nil && c.opt.Clean {
		x.mark, err = openat.MarkOf(dir, x.name)
	}
	if openat.IsErrno(err, unix.ENOENT) {
		return extraFound{}, nil
	}
	if err != nil {
		return extraFound{}, files.Failed("stat", x.real, err)
	}
	if c.opt.Clean {
		if _, message := c.pinned(f, dir, x.name, x.real, &st); message != "" {
			c.warn("kept", x.real, "it is not in the backup and was not taken away: "+message)
			return extraFound{}, nil
		}
	}
	if !openat.IsDir(&st) {
		if mounted, err := openat.IsMounted(dir, x.name, f.Mount); err != nil || mounted {
			if err != nil && !openat.IsErrno(err, unix.ENOENT) {
				return extraFound{}, files.Failed("stat", x.real, err)
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
		return extraFound{}, files.Failed("open folder", x.real, err)
	}
	defer func() {
		if cerr := unix.Close(fd); err == nil && cerr != nil {
			err = files.Failed("close", x.real, cerr)
		}
	}()
	if m, err := openat.MountOf(fd); err != nil || m != f.Mount {
		if err == nil && c.opt.Clean {
			c.warn("kept", x.real, "it is not in the backup, but another file system is mounted there; it was not taken away")
		}
		return extraFound{}, err
	}
	names, err := openat.List(fd)
	if err != nil {
		return extraFound{}, files.Failed("list folder", x.real, err)
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
	if found.whole && c.opt.Clean && c.layered(f.Mount, fd) {
		found.whole = false
		c.warn("kept", x.real, "it is not in the backup, but its file system cannot move folders: it stays, and what is in it is taken away")
	}
	if found.whole {
		found.parts = []extraPath{x}
	} else if c.opt.Clean && slices.ContainsFunc(found.parts, func(p extraPath) bool { return p.dir == rel }) {
		c.Partly = append(c.Partly, Partly{Place: f.Place, Rel: rel, Stat: st, Mark: x.mark})
	}
	return found, nil
}

// layered says whether a mount is one of those that cannot rename a folder which comes
// from a layer below (overlayfs, in containers).
func (c *Result) layered(on openat.Mount, fd int) bool {
	is, known := c.layers[on]
	if !known {
		var st unix.Statfs_t
		is = openat.Retry(func() error { return unix.Fstatfs(fd, &st) }) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC
		c.layers[on] = is
	}
	return is
}

// noteExtra notes a path that is extra: to stay, or to be taken away.
func (c *Result) noteExtra(f *Folder, x extraPath) {
	if c.opt.Clean {
		c.seq++
		c.note(&Change{Seq: c.seq, In: f, Dir: x.dir, Name: x.name, Take: true, Had: true, Was: x.mark, IsDir: x.isDir, Real: x.real, Entry: core.Entry{Files: x.files}})
		return
	}
	c.mu.Lock()
	c.Extra.add(f.show(x.real), x.isDir, x.files)
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
func (c *Result) count() {
	d := &c.Difference
	for _, ch := range c.Changes {
		n := int64(1)
		if ch.IsDir {
			n = ch.Entry.Files
		}
		switch {
		case ch.Take:
			d.Removed.add(ch.In.show(ch.Real), ch.IsDir, n)
			continue
		case ch.Had:
			d.Changed.add(ch.In.show(ch.Real), ch.IsDir, n)
		default:
			d.Added.add(ch.In.show(ch.Real), ch.IsDir, n)
		}
		d.Bytes += ch.Entry.Object.Size
	}
	for _, f := range c.Folders {
		if f.Meta {
			d.Metadata++
		}
	}
}

// measure asks the file systems how much room they have.
func (c *Result) measure() error {
	for _, s := range c.space {
		var st unix.Statfs_t
		if err := openat.Retry(func() error { return unix.Statfs(s.Path, &st) }); err != nil {
			return files.Failed("ask for the free space of", s.Path, err)
		}
		s.Free, s.FreeInodes = int64(st.Bavail)*st.Bsize, int64(st.Ffree)
		if st.Files == 0 {
			s.FreeInodes = -1
		}
		c.Space = append(c.Space, *s)
	}
	return nil
}
