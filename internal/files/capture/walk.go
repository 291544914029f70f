package capture

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

// walkPlace walks one root.
func (c *capture) walkPlace(p *place, top *folder) error {
	op := "capture " + string(c.component)
	// The root itself is what the configuration names: it may be a link.
	open := func() (int, error) { return openWay(unix.AT_FDCWD, p.root, 0) }
	if p.scope.Whole() {
		open = func() (int, error) { return openat.DirThroughLinks(unix.AT_FDCWD, p.root) }
	}
	fd, err := open()
	if err != nil {
		e := &core.Error{Code: core.CodeNotFound, Op: op, Err: fmt.Errorf("open folder %s: %w", files.Quote(p.root), err)}
		switch {
		case openat.IsErrno(err, unix.ENOENT):
			e.Hint = "check the app's root in backstay.yaml, and that the disk it is on is mounted"
		case openat.IsErrno(err, unix.ENOTDIR):
			e.Hint = "the app's root must be a folder"
		default:
			e.Code, e.Hint = core.CodeDisk, "run the backup as root or as a user who may read it"
		}
		return e
	}
	st, err := openat.Fstat(fd)
	if err != nil {
		return errors.Join(fmt.Errorf("stat %s: %w", files.Quote(p.root), err), unix.Close(fd))
	}
	real := p.root
	if real == "/" {
		real = "" // so that join makes "/etc", not "//etc"
	}
	f := &folder{place: p, fd: fd, path: p.name, real: real}
	return c.enter(f, top, p.name, &st, "", p.scope, nil)
}

// enter walks an open folder and lets go of it. rel is its path below the
// place's root; rawName is the real name where the stored one differs.
func (c *capture) enter(f, parent *folder, stored string, st *unix.Stat_t, rel string, sc files.Scope, rawName []byte) error {
	f.parent, f.pending = parent, 1
	parent.mu.Lock()
	parent.pending++
	parent.mu.Unlock()
	defer c.done(f)
	f.entry = entryOf(stored, core.TypeDir, st)
	f.extra.Name = rawName
	f.extra.Xattrs = xattr.Read(f.fd, c.xattrFailed(f.real))
	if err := c.ctx.Err(); err != nil {
		return err
	}
	names := sc.Named()
	if sc.Whole() {
		listed, err := openat.List(f.fd)
		if err != nil {
			if exhausted(err) {
				return fmt.Errorf("list folder %s: %w", files.Quote(f.real), err)
			}
			c.warn("unreadable", f.real, "the folder could not be listed: "+openat.Reason(err))
		}
		names = sortedSet(append(listed, names...))
	}
	escaped := files.EscapeNames(names)
	for _, name := range names {
		relName := filepath.Join(rel, name)
		child := sc.Child(name, relName)
		if len(child) == 0 {
			continue
		}
		if err := c.ctx.Err(); err != nil {
			return err
		}
		v := visit{in: f, name: name, stored: name, rel: relName, scope: child}
		if e, ok := escaped[name]; ok {
			v.stored, v.raw = e, []byte(name)
		}
		if err := c.visit(v); err != nil {
			return err
		}
	}
	return nil
}

// visit is one name that is taken, or on the way to what is taken.
type visit struct {
	in     *folder
	name   string
	stored string
	raw    []byte // the name's bytes where stored differs, else nil
	rel    string
	scope  files.Scope
}

func (v *visit) real() string { return v.in.real + "/" + v.name }

func (c *capture) visit(v visit) error {
	st, err := openat.Lstat(v.in.fd, v.name)
	if err != nil {
		return c.absent(v, err)
	}
	if openat.Kind(&st) == unix.S_IFLNK && v.scope.Follow() {
		return c.followLink(v)
	}
	if openat.IsDir(&st) {
		if files.IsStagingName(v.name) {
			c.note("%s is where a restore keeps what it replaced; it was not captured", files.Quote(v.real()))
			return nil
		}
		return c.visitDir(v, 0)
	}
	if err := c.checkWay(v, &st); err != nil {
		return err
	}
	if !v.scope.Whole() {
		return nil
	}
	kind := openat.Kind(&st)
	if files.IsTempName(v.name) && (kind == unix.S_IFREG || kind == unix.S_IFLNK) {
		if c.leftovers++; c.leftovers == 1 {
			c.leftover = v
		}
		return nil
	}
	switch kind {
	case unix.S_IFREG:
		return c.visitFile(v, st, false)
	case unix.S_IFLNK:
		c.submit(job{in: v.in, name: v.name, stored: v.stored, st: st})
		return nil
	}
	c.warn("skipped", v.real(), "not stored: it is a "+kindName(kind))
	return nil
}

// warnOfLeftovers says that temporary files of a restore were left out.
func (c *capture) warnOfLeftovers() {
	if c.leftovers > 0 {
		c.warn(files.CodeLeftover, c.leftover.in.real, fmt.Sprintf("not stored: temporary files that an interrupted restore left, %d in all, the first of them here: %s; a full restore or rm removes them",
			c.leftovers, c.leftover.name))
	}
}

// absent deals with a name that cannot be looked at.
func (c *capture) absent(v visit, err error) error {
	if exhausted(err) {
		return fmt.Errorf("stat %s: %w", files.Quote(v.real()), err)
	}
	if !openat.IsErrno(err, unix.ENOENT) {
		c.warn("unreadable", v.real(), openat.Reason(err))
		return nil
	}
	if must := v.scope.Below(v.rel, false); len(must) > 0 {
		return c.missing(v.in.place, must[0], "it is not there")
	}
	if len(v.scope.Below(v.rel, true)) == 0 {
		c.vanished(v.real())
	}
	return nil
}

func (c *capture) vanished(real string) {
	c.warn("vanished", real, "it was there when its folder was listed, and gone when it was to be read")
}

func (c *capture) missing(p *place, rel, why string) error {
	return &core.Error{
		Code: core.CodeNotFound, Op: "capture " + string(c.component),
		Message: fmt.Sprintf("%s: %s", files.Quote(filepath.Join(p.root, rel)), why),
		Hint:    "correct the path in backstay.yaml, or take it out when the application no longer has it",
	}
}

// checkWay complains when something that is not a folder stands where an
// included path goes through.
func (c *capture) checkWay(v visit, st *unix.Stat_t) error {
	obstacle := "is not a folder"
	if openat.Kind(st) == unix.S_IFLNK {
		obstacle = "is a symbolic link, and links are not followed here"
		if target, err := filepath.EvalSymlinks(v.real()); err == nil {
			obstacle += "; name the real folder, " + files.Quote(target)
		}
	}
	for _, optional := range []bool{false, true} {
		for _, path := range v.scope.Below(v.rel, optional) {
			if path == v.rel {
				continue
			}
			if !optional {
				return c.missing(v.in.place, path, files.Quote(v.real())+" "+obstacle)
			}
			// An optional path that is there behind the link would be lost without a word.
			full := filepath.Join(v.in.place.root, path)
			if _, err := os.Stat(full); err == nil {
				c.warn("skipped", full, files.Quote(v.real())+" "+obstacle)
			}
		}
	}
	return nil
}

// visitDir opens a folder and walks it.
func (c *capture) visitDir(v visit, attempt int) error {
	c.progress.Item(v.real() + "/")
	open := openat.Dir
	if !v.scope.Whole() {
		open = func(dir int, name string) (int, error) { return openWay(dir, name, unix.O_NOFOLLOW) }
	}
	fd, err := open(v.in.fd, v.name)
	if err != nil {
		return c.unopened(v, err, attempt)
	}
	return c.visitOpen(v, fd)
}

func (c *capture) visitOpen(v visit, fd int) error {
	st, err := openat.Fstat(fd)
	if err != nil {
		return errors.Join(fmt.Errorf("stat %s: %w", files.Quote(v.real()), err), unix.Close(fd))
	}
	in, err := openat.Fstat(v.in.fd)
	if err != nil {
		return errors.Join(fmt.Errorf("stat %s: %w", files.Quote(v.in.real), err), unix.Close(fd))
	}
	if st.Dev != in.Dev {
		c.note("%s is on another file system than %s; it was captured with it", files.Quote(v.real()), files.Quote(v.in.place.root))
	}
	f := &folder{place: v.in.place, fd: fd, path: filepath.Join(v.in.path, v.stored), real: v.real()}
	return c.enter(f, v.in, v.stored, &st, v.rel, v.scope, v.raw)
}

// unopened deals with a folder that could not be opened: gone, replaced since
// it was looked at, or closed to us.
func (c *capture) unopened(v visit, err error, attempt int) error {
	switch {
	case exhausted(err):
		return fmt.Errorf("open folder %s: %w", files.Quote(v.real()), err)
	case openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) && attempt < maxAttempts:
		st, again := openat.Lstat(v.in.fd, v.name)
		if again != nil {
			return c.absent(v, again)
		}
		if openat.IsDir(&st) {
			return c.visitDir(v, attempt+1)
		}
		return c.visit(v)
	case openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP):
		c.warn("changed", v.real(), "not stored: it kept changing between a folder and something else")
		return nil
	}
	st, serr := openat.Lstat(v.in.fd, v.name)
	if serr != nil || !openat.IsDir(&st) {
		return c.absent(v, err)
	}
	c.warn("unreadable", v.real(), "the folder is stored without what is in it: "+openat.Reason(err))
	f := &folder{place: v.in.place, fd: -1, path: filepath.Join(v.in.path, v.stored), real: v.real(), parent: v.in, pending: 1}
	f.entry = entryOf(v.stored, core.TypeDir, &st)
	f.extra.Name = v.raw
	v.in.mu.Lock()
	v.in.pending++
	v.in.mu.Unlock()
	c.done(f)
	return nil
}

// followLink captures what a link points to in the link's place, as the file
// set asks for.
func (c *capture) followLink(v visit) error {
	target, err := openat.Readlink(v.in.fd, v.name)
	if err != nil {
		return c.absent(v, err)
	}
	fd, err := openat.DirThroughLinks(v.in.fd, v.name)
	if openat.IsErrno(err, unix.ENOTDIR) {
		return c.followToFile(v, target)
	}
	if err != nil {
		if exhausted(err) {
			return fmt.Errorf("open folder %s: %w", files.Quote(v.real()), err)
		}
		return &core.Error{
			Code: core.CodeNotFound, Op: "capture " + string(c.component),
			Message: fmt.Sprintf("%s is a symbolic link to %s, which cannot be opened: %s", files.Quote(v.real()), files.Quote(target), openat.Reason(err)),
			Hint:    "mount or restore what it points to, or correct the link; what lies behind it would be missing from the backup",
		}
	}
	c.followed(v, target)
	return c.visitOpen(v, fd)
}

// followToFile captures a file in the place of a link to it.
func (c *capture) followToFile(v visit, target string) error {
	st, err := openat.Stat(v.in.fd, v.name)
	if err != nil {
		return c.absent(v, err)
	}
	if err := c.checkWay(v, &st); err != nil {
		return err
	}
	if !v.scope.Whole() {
		return nil
	}
	if openat.Kind(&st) != unix.S_IFREG {
		c.warn("skipped", v.real(), "not stored: it is a symbolic link to a "+kindName(openat.Kind(&st)))
		return nil
	}
	c.followed(v, target)
	return c.visitFile(v, st, true)
}

func (c *capture) followed(v visit, target string) {
	c.note("%s is a symbolic link to %s; what it points to was captured in its place", files.Quote(v.real()), files.Quote(target))
	c.count(v.in.place, func(t *core.Tree) { t.Followed = append(t.Followed, v.rel) })
}

// visitFile hands a file to the workers, unless it is another name of a file
// that they have had.
func (c *capture) visitFile(v visit, st unix.Stat_t, follow bool) error {
	j := job{in: v.in, name: v.name, stored: v.stored, st: st, follow: follow}
	if st.Nlink < 2 {
		c.submit(j)
		return nil
	}
	if g := c.links[openat.IDOf(&st)]; g != nil && sameFile(&g.st, &st) {
		// The walk waits here, the workers never wait for the walk.
		<-g.done
		if g.entry.Type != "" {
			e, x := g.entry, g.extra
			e.Name = v.stored
			x.Name, x.Link = v.raw, g.path
			c.add(v.in, e, x)
			c.count(v.in.place, func(t *core.Tree) {
				t.Files++
				t.Bytes += e.Object.Size
			})
			return nil
		}
	}
	g := &linkGroup{done: make(chan struct{}), st: st, path: filepath.Join(v.in.path, v.stored)}
	c.links[openat.IDOf(&st)] = g
	j.group = g
	c.submit(j)
	return nil
}

func kindName(kind uint32) string {
	switch kind {
	case unix.S_IFSOCK:
		return "socket"
	case unix.S_IFIFO:
		return "FIFO"
	case unix.S_IFBLK:
		return "block device"
	case unix.S_IFCHR:
		return "character device"
	case unix.S_IFDIR:
		return "folder"
	case unix.S_IFLNK:
		return "symbolic link"
	}
	return "file of an unknown kind"
}

// openWay opens a folder in which only known names are looked up, so that the right to
// search it is enough.
func openWay(dir int, name string, flags int) (int, error) {
	fd, err := openat.Open(dir, name, unix.O_RDONLY|unix.O_DIRECTORY|flags, 0)
	if openat.IsErrno(err, unix.EACCES) {
		fd, err = openat.Open(dir, name, unix.O_PATH|unix.O_DIRECTORY|flags, 0)
	}
	return fd, err
}

// exhausted says that the machine, not the file, is the reason for err: to go
// on would make a warning of every file that follows.
func exhausted(err error) bool {
	return openat.IsErrno(err, unix.EMFILE, unix.ENFILE, unix.ENOMEM)
}
