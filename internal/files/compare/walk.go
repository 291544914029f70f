package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

const defaultWorkers = 4

// Result is what was found, by a walk through the backup and the live tree side by side.
type Result struct {
	Difference
	Changes  []*Change // in the order of the walk
	Folders  []*Folder // that are on both sides, by path
	Partly   []Partly
	Denied   []Denied
	Warnings files.Warnings
	Reader   *Overlay               // to read what Changes have
	Extras   map[string]files.Extra // by path in the component, as stored
	Linked   map[string]bool        // paths that links point to
	Owners   *files.OwnerMap
	AsRoot   bool

	ctx       context.Context
	cancel    context.CancelCauseFunc
	component string
	opt       Options
	quick     bool // contents are not read, and nothing is made
	selection files.Selection
	kept      map[string]bool
	progress  core.Progress
	jobs      chan leaf
	seq       int
	layers    map[openat.Mount]bool
	groups    map[uint32]bool // that this user is in

	mu    sync.Mutex // for all that workers find
	same  []*sameLink
	space map[openat.Mount]*Space
}

// filling is what is known of a folder while what is in it is looked at.
type filling struct {
	fd      int // closed when all that is in it has been looked at
	owned   files.Scope
	whole   bool // all of it is selected
	mu      sync.Mutex
	pending int
	names   map[string]bool
}

// leaf is a file or link of the backup.
type leaf struct {
	Seq   int
	In    *Folder
	Name  string
	Path  string
	Entry core.Entry
	Extra files.Extra
}

func (l leaf) real() string { return l.In.Real + "/" + l.Name }

// sameLink is a file that is the same, and may have other names.
type sameLink struct {
	leaf
	id    openat.ID
	ctime int64
}

func start(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*Result, error) {
	if opt.Clean && len(opt.Trees) == 0 {
		return nil, errors.New("compare files: Clean without Trees")
	}
	if opt.Clean && opt.Damaged != nil {
		return nil, errors.New("compare files: Clean past damage")
	}
	for place, target := range opt.Targets {
		if !filepath.IsAbs(target) {
			return nil, fmt.Errorf("compare files: target %q for %q is not an absolute path", target, place)
		}
	}
	c := &Result{
		Reader: newOverlay(r), component: entry.Name, opt: opt, AsRoot: os.Geteuid() == 0,
		Linked: map[string]bool{}, kept: map[string]bool{}, Owners: files.NewOwnerMap(opt.Owners), progress: opt.Progress,
		space: map[openat.Mount]*Space{}, layers: map[openat.Mount]bool{}, groups: map[uint32]bool{},
	}
	groups, err := os.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("ask for this user's groups: %w", err)
	}
	for _, g := range append(groups, os.Getegid()) {
		c.groups[uint32(g)] = true
	}
	if c.progress == nil {
		c.progress = core.NoProgress{}
	}
	for _, w := range opt.Kept {
		if w.Code != files.CodeLeftover {
			c.kept[w.Object] = true
		}
	}
	c.selection, err = files.Select(ctx, r, entry, opt.Paths, func(place string) error {
		if opt.Targets[place] == "" {
			return fmt.Errorf("compare %s: there is no target folder for it", place)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.Extras, err = files.ReadExtra(ctx, r, extra)
	if c.leaveOut(err, files.ExtraName(core.Component(entry.Name)), 0) {
		c.Extras = nil
	} else if err != nil {
		return nil, err
	}
	for _, x := range c.Extras {
		if x.Link != "" {
			c.Linked[x.Link] = true
		}
	}
	return c, nil
}

// run compares everything. Without quick it leaves no folder open.
func (c *Result) run(ctx context.Context, entry core.Entry) error {
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	places, err := files.ReadDir(ctx, c.Reader, entry.Name, entry)
	if c.leaveOut(err, entry.Name, max(1, entry.Files)) {
		return nil
	}
	if err != nil {
		return err
	}
	workers := c.opt.Workers
	if workers <= 0 {
		workers = defaultWorkers
	}
	c.jobs = make(chan leaf, 16*workers)
	var pool sync.WaitGroup
	for range workers {
		pool.Go(func() {
			r := &contentReader{c: c}
			for l := range c.jobs {
				if c.ctx.Err() == nil {
					if err := r.look(l); err != nil {
						c.fail(err)
					}
				}
				c.done(l.In)
			}
		})
	}
	for _, p := range places {
		if err := c.place(p); err != nil {
			c.fail(err)
			break
		}
	}
	close(c.jobs)
	pool.Wait()
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	c.resolveLinks()
	slices.SortFunc(c.Changes, func(a, b *Change) int { return a.Seq - b.Seq })
	slices.SortFunc(c.Folders, func(a, b *Folder) int { return strings.Compare(a.Real, b.Real) })
	c.count()
	return c.measure()
}

func (c *Result) fail(err error) {
	if c.ctx.Err() == nil {
		c.cancel(err)
	}
}

// leaveOut says whether err is damage that is gone past, and notes the path.
func (c *Result) leaveOut(err error, path string, n int64) bool {
	if c.opt.Damaged == nil || core.CodeOf(err) != core.CodeDamage {
		return false
	}
	c.opt.Damaged.Add(path, n)
	return true
}

func (c *Result) warn(code, path, message string) { c.Warnings.Add(code, path, message) }

func (c *Result) obstacle(code, path, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Obstacles = append(c.Obstacles, core.Warning{Code: code, Object: files.Quote(path), Message: message})
}

// place compares one place with its target.
func (c *Result) place(e core.Entry) error {
	target := c.opt.Targets[e.Name]
	whole, way := c.selection.At(e.Name)
	if target == "" || (!whole && !way) {
		return nil
	}
	if e.Type != core.TypeDir {
		return files.Damage("restore "+e.Name, "it is not a folder")
	}
	target = filepath.Clean(target)
	owned, err := files.OwnedScope(c.opt.Trees, e.Name)
	if err != nil {
		return err
	}
	// The target itself is what the caller names: it may be a link.
	fd, err := openat.DirThroughLinks(unix.AT_FDCWD, target)
	made := openat.IsErrno(err, unix.ENOENT)
	if made && c.opt.MakeRoot == nil {
		return c.missingRoot(e, target)
	}
	if made {
		if err := c.opt.MakeRoot(target); err != nil {
			return files.Failed("make folder", target, err)
		}
		fd, err = openat.DirThroughLinks(unix.AT_FDCWD, target)
	}
	if openat.IsErrno(err, unix.ENOTDIR) {
		c.obstacle("no_folder", target, "it is not a folder; move it away, or restore elsewhere with --to-dir")
		return nil
	}
	if err != nil {
		return files.Failed("open folder", target, err)
	}
	f := &Folder{
		Place: e.Name, Root: target, Path: e.Name, Real: strings.TrimSuffix(target, "/"), Entry: e, Extra: c.Extras[e.Name],
		filling: &filling{fd: fd, owned: owned, whole: whole},
	}
	if err := c.lead(f, unix.AT_FDCWD, target, made); err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	// Of the folder that is given only the contents are named in the backup,
	// unless all of it was captured.
	f.Owned = owned.Whole()
	f.Set = made || (f.Owned && whole)
	return c.folder(f)
}

// missingRoot counts a place whose target is not there.
func (c *Result) missingRoot(e core.Entry, target string) error {
	above := target
	for {
		above = filepath.Dir(above)
		fd, err := openat.DirThroughLinks(unix.AT_FDCWD, above)
		if openat.IsErrno(err, unix.ENOENT) && above != "/" {
			continue
		}
		if err != nil {
			return files.Failed("open folder", above, err)
		}
		f := &Folder{Place: e.Name, Root: above, Real: strings.TrimSuffix(above, "/"), filling: &filling{fd: fd, whole: true}}
		f.Shown = f.Real
		f.Mount, err = openat.MountOf(fd)
		if err == nil {
			err = c.added(leaf{In: f, Name: strings.TrimPrefix(target, f.Real+"/"), Path: e.Name, Entry: e, Extra: c.Extras[e.Name]})
		}
		return errors.Join(err, unix.Close(fd))
	}
}

// folder compares what is in an open folder, and lets go of it.
func (c *Result) folder(f *Folder) (err error) {
	f.pending = 1
	if f.Parent != nil {
		f.Parent.mu.Lock()
		f.Parent.pending++
		f.Parent.mu.Unlock()
	}
	defer c.done(f)
	if f.Stat, err = openat.Fstat(f.fd); err != nil {
		return files.Failed("stat", f.Real, err)
	}
	if f.Mark, err = openat.MarkOf(f.fd, ""); err != nil {
		return files.Failed("stat", f.Real, err)
	}
	if f.Mount, err = openat.MountOf(f.fd); err != nil {
		return files.Failed("stat", f.Real, err)
	}
	c.progress.Item(f.Real + "/")
	entries, err := files.ReadDir(c.ctx, c.Reader, f.Path, f.Entry)
	if c.leaveOut(err, filepath.Join(c.component, f.Path), max(1, f.Entry.Files)) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.Set {
		c.compareFolder(f)
	}
	f.names = make(map[string]bool, len(entries))
	for _, e := range entries {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		c.seq++
		l := leaf{Seq: c.seq, In: f, Name: e.Name, Path: filepath.Join(f.Path, e.Name), Entry: e}
		l.Extra = c.Extras[l.Path]
		if l.Extra.Name != nil {
			l.Name = string(l.Extra.Name)
		}
		if f.names[l.Name] {
			return files.Damage("restore "+files.Quote(l.Path), fmt.Sprintf("two entries have the name %q", l.Name))
		}
		f.names[l.Name] = true
		whole, way := c.selection.At(l.Path)
		if !whole && !way {
			continue
		}
		if e.Type == core.TypeDir {
			err = c.subfolder(l, whole)
		} else if whole {
			f.mu.Lock()
			f.pending++
			f.mu.Unlock()
			c.jobs <- l
		}
		if err != nil {
			return err
		}
	}
	return c.findExtra(f)
}

// subfolder compares a folder of the backup with what is there.
func (c *Result) subfolder(l leaf, whole bool) error {
	in := l.In
	f := &Folder{
		Parent: in, Place: in.Place, Root: in.Root, Rel: filepath.Join(in.Rel, l.Name), Path: l.Path, Real: l.real(),
		Entry: l.Entry, Extra: l.Extra, filling: &filling{whole: whole},
	}
	f.owned = in.owned.Child(l.Name, f.Rel)
	f.Owned = f.owned.Whole()
	f.Set = f.Owned && whole
	fd, err := openat.Dir(in.fd, l.Name)
	if openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP) && slices.Contains(c.opt.Follow, l.Path) {
		fd, err = openat.DirThroughLinks(in.fd, l.Name)
		f.Followed = true
	}
	switch {
	case err == nil:
		f.fd, f.Shown = fd, f.shown()
		if f.Followed {
			if err := c.lead(f, in.fd, l.Name, false); err != nil {
				return errors.Join(err, unix.Close(fd))
			}
		}
		return c.folder(f)
	case openat.IsErrno(err, unix.ENOENT) && !f.Followed:
		return c.added(l)
	case openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP, unix.ENOENT):
		if !f.owned.Whole() {
			c.obstacle("no_folder", f.Real, "it is not a folder here, and the backup does not own it; put a folder there, or restore elsewhere with --to-dir")
			return nil
		}
		if target, err := openat.Readlink(in.fd, l.Name); err == nil {
			c.warn("replaced", f.Real, "it is a symbolic link to "+files.Quote(target)+" and will be the folder that was captured; nothing is restored to where the link leads")
		}
		return c.changed(l)
	case openat.IsErrno(err, unix.EACCES):
		if c.kept[files.Quote(f.Real)] { // it could not be captured for the same reason
			entries, err := files.ReadDir(c.ctx, c.Reader, l.Path, l.Entry)
			if err != nil || len(entries) == 0 {
				return err
			}
		}
		c.obstacle("denied", f.Real, "the folder may not be read; restore as root or as the user it belongs to")
		return nil
	}
	return files.Failed("open folder", f.Real, err)
}

// compareFolder compares owner, mode, time and attributes.
func (c *Result) compareFolder(f *Folder) {
	uid, gid := c.Owners.IDs(f.Entry)
	f.Meta = f.Stat.Mode&0o7777 != files.UnixMode(f.Entry.Mode) || f.Stat.Uid != uid || f.Stat.Gid != gid ||
		!f.Entry.ModTime.Equal(openat.ModTime(&f.Stat))
	c.giveAway(f, uid)
	if c.quick {
		return
	}
	f.Xattrs = xattr.Read(f.fd, func(string, error) {})
	f.Meta = f.Meta || !c.sameXattrs(f.Xattrs, f.Extra.Xattrs)
}

// done lets go of a folder; the last one closes it.
func (c *Result) done(f *Folder) {
	for f != nil {
		f.mu.Lock()
		f.pending--
		last := f.pending == 0
		f.mu.Unlock()
		if !last {
			return
		}
		if err := unix.Close(f.fd); err != nil {
			c.fail(files.Failed("close", f.Real, err))
		}
		c.mu.Lock()
		c.Folders = append(c.Folders, f)
		c.mu.Unlock()
		f = f.Parent
	}
}

// added notes something that the backup has and the live tree has not.
func (c *Result) added(l leaf) error { return c.change(l, false) }

// changed notes something that is on both sides and differs.
func (c *Result) changed(l leaf) error { return c.change(l, true) }

func (c *Result) change(l leaf, had bool) error {
	ch := &Change{Seq: l.Seq, In: l.In, Dir: l.In.Rel, Name: l.Name, Path: l.Path, Entry: l.Entry, Extra: l.Extra, Had: had, IsDir: l.Entry.Type == core.TypeDir, Real: l.real()}
	if had {
		if err := c.mayMove(ch); err != nil {
			return err
		}
	}
	if ch.IsDir {
		e, err := c.Reader.prune(c, l.Path, l.Entry)
		if c.leaveOut(err, filepath.Join(c.component, l.Path), max(1, l.Entry.Files)) {
			return nil
		}
		if err != nil {
			return err
		}
		ch.Entry = e
	}
	c.note(ch)
	return nil
}

func (c *Result) note(ch *Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Changes = append(c.Changes, ch)
	ch.In.mu.Lock()
	ch.In.Touched = true
	ch.In.mu.Unlock()
	if ch.Take {
		return
	}
	n := int64(1)
	if ch.IsDir {
		n += ch.Entry.Files
	}
	s := c.space[ch.In.Mount]
	if s == nil {
		s = &Space{Path: ch.In.Real}
		if s.Path == "" {
			s.Path = "/"
		}
		c.space[ch.In.Mount] = s
	}
	s.Inodes += n
	s.Bytes += ch.Entry.Object.Size + n*blockSize
}

// blockSize is by how much a file takes more space than it has bytes, at most.
const blockSize = 4096

// mayMove looks for what keeps a live path from being renamed.
func (c *Result) mayMove(ch *Change) error {
	mounted, err := openat.IsMounted(ch.In.fd, ch.Name, ch.In.Mount)
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return files.Failed("stat", ch.Real, err)
	}
	if mounted {
		c.obstacle("mounted", ch.Real, "another file system or a single file is mounted there, and it differs from the backup; unmount it, or restore this path elsewhere with --to-dir")
		return nil
	}
	st, err := openat.Lstat(ch.In.fd, ch.Name)
	if err == nil {
		ch.Was, err = openat.MarkOf(ch.In.fd, ch.Name)
	}
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return files.Failed("stat", ch.Real, err)
	}
	if openat.IsDir(&st) {
		if !ch.In.owned.Child(ch.Name, filepath.Join(ch.In.Rel, ch.Name)).Whole() {
			c.obstacle("not_owned", ch.Real, "it is a folder here, and the backup does not own it; move the folder away, or restore elsewhere with --to-dir")
			return nil
		}
		mounted, err := hasMount(c.ctx, ch.In.fd, ch.Name, ch.In.Mount)
		if err != nil {
			return files.Failed("look through", ch.Real, err)
		}
		if mounted {
			c.obstacle("mounted", ch.Real, "it is a folder here, with another file system mounted in it, and something else in the backup; unmount that")
		}
	}
	if code, message := c.pinned(ch.In, ch.In.fd, ch.Name, ch.Real, &st); code != "" {
		c.obstacle(code, ch.Real, message)
	}
	return nil
}

// pinned says what keeps this user from renaming something in a folder: "" for nothing.
func (c *Result) pinned(in *Folder, dir int, name, real string, st *unix.Stat_t) (code, message string) {
	var stx unix.Statx_t
	err := openat.Retry(func() error { return unix.Statx(dir, name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &stx) })
	if err == nil && stx.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 {
		return "immutable", "it is protected by an attribute of its file system; run: chattr -ia " + files.ShellQuote(real)
	}
	me := uint32(os.Geteuid())
	if c.AsRoot || st.Uid == me {
		return "", ""
	}
	if in.Stat.Mode&unix.S_ISVTX != 0 && in.Stat.Uid != me {
		return "denied", "it belongs to another user, in a folder where only that one may move it; restore as root or as that user"
	}
	// What is above a folder is written in the folder.
	if openat.IsDir(st) && unix.Faccessat(dir, name, unix.W_OK, unix.AT_EACCESS) != nil {
		return "denied", "it is a folder of another user, who alone may move it; restore as root or as that user"
	}
	return "", ""
}

// hasMount says whether something is mounted in a folder.
func hasMount(ctx context.Context, dir int, name string, on openat.Mount) (found bool, err error) {
	fd, err := openat.Dir(dir, name)
	if err != nil {
		if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EACCES) {
			return false, nil
		}
		return false, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	m, err := openat.MountOf(fd)
	if err != nil || m != on {
		return m != on, err
	}
	names, err := openat.List(fd)
	if err != nil {
		return false, err
	}
	for _, n := range names {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		mounted, err := openat.IsMounted(fd, n, on)
		if mounted || err != nil && !openat.IsErrno(err, unix.ENOENT) {
			return mounted, err
		}
		st, err := openat.Lstat(fd, n)
		if err == nil && openat.IsDir(&st) {
			if found, err := hasMount(ctx, fd, n, on); found || err != nil {
				return found, err
			}
		}
	}
	return false, nil
}
