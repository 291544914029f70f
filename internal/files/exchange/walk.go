package exchange

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

// mount tells apart where a rename can go: one file system, and one mount of it.
type mount struct {
	dev uint64
	id  uint64
}

// mountOf returns where an open folder lies.
func mountOf(fd int) (mount, error) {
	m, _, err := lookMount(fd, "")
	return m, err
}

// isMounted says whether what has a name in a folder lies elsewhere than the folder.
func isMounted(dir int, name string, on mount) (bool, error) {
	m, kind, err := lookMount(dir, name)
	if kind != unix.S_IFDIR && m.id != 0 {
		m.dev = on.dev // overlayfs numbers files by the layer that they are in
	}
	return err == nil && m != on, err
}

func lookMount(dir int, name string) (mount, uint32, error) {
	var st unix.Statx_t
	err := openat.Retry(func() error {
		return unix.Statx(dir, name, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		return mount{}, 0, err
	}
	m := mount{dev: unix.Mkdev(st.Dev_major, st.Dev_minor)}
	if st.Mask&unix.STATX_MNT_ID != 0 {
		m.id = st.Mnt_id
	}
	return m, uint32(st.Mode) & unix.S_IFMT, nil
}

// comparison walks the backup and the live tree side by side.
type comparison struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	reader    *overlay
	component string
	opt       Options
	quick     bool // contents are not read, and nothing is made
	asRoot    bool
	selection files.Selection
	extras    map[string]files.Extra
	linked    map[string]bool // paths that links point to
	kept      map[string]bool
	owners    *files.OwnerMap
	progress  core.Progress
	jobs      chan leaf
	makeRoot  func(path string) error // makes a missing target
	seq       int

	mu        sync.Mutex // for all below
	changes   []*change
	folders   []*folder // with something to set or recheck
	same      []*sameLink
	diff      Difference
	space     map[mount]*Space
	warnings  files.Warnings
	obstacles []core.Warning
	denied    []denied
	partly    []*folderLine // folders that are extra, and of which only parts can be taken away
}

// folder is a folder that is on both sides.
type folder struct {
	parent   *folder
	place    string
	fd       int // closed when all that is in it has been looked at
	root     string
	rel      string // real path below the place's root, "" for the root itself
	path     string // in the component, as stored
	real     string // absolute
	followed bool   // it was reached through a link
	mount    mount
	entry    core.Entry
	extra    files.Extra
	owned    files.Scope
	set      bool // its owner, mode, time and attributes are the backup's
	whole    bool // all of it is selected
	st       unix.Stat_t
	xattrs   map[string][]byte
	meta     bool // they differ

	mu      sync.Mutex
	pending int
	names   map[string]bool
	same    []string // names of files and links that are the same
	ctimes  []int64
	touched bool // something in it will change places
	extras  bool // it has what the backup does not have
}

// change is a path at which staged and live are to change places.
type change struct {
	seq   int
	in    *folder
	dir   string // real path of its folder below the root; in.rel, or below it for what is taken away
	name  string // real
	path  string // in the component, as stored; "" for what is taken away
	entry core.Entry
	extra files.Extra
	take  bool // the backup does not have it
	had   bool // something is there
	dirs  bool // what comes is a folder
	real  string
}

// leaf is a file or link of the backup.
type leaf struct {
	seq   int
	in    *folder
	name  string
	path  string
	entry core.Entry
	extra files.Extra
}

func (l leaf) real() string { return l.in.real + "/" + l.name }

// sameLink is a file that is the same, and may have other names.
type sameLink struct {
	leaf
	id    openat.ID
	ctime int64
}

func newComparison(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*comparison, error) {
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
	c := &comparison{
		reader: newOverlay(r), component: entry.Name, opt: opt, asRoot: os.Geteuid() == 0,
		linked: map[string]bool{}, kept: map[string]bool{}, owners: files.NewOwnerMap(opt.Owners), progress: opt.Progress,
		space: map[mount]*Space{},
	}
	if c.progress == nil {
		c.progress = core.NoProgress{}
	}
	for _, w := range opt.Kept {
		if w.Code != files.CodeLeftover {
			c.kept[w.Object] = true
		}
	}
	var err error
	c.selection, err = files.Select(ctx, r, entry, opt.Paths, func(place string) error {
		if opt.Targets[place] == "" {
			return fmt.Errorf("compare %s: there is no target folder for it", place)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.extras, err = files.ReadExtra(ctx, r, extra)
	if c.leaveOut(err, files.ExtraName(core.Component(entry.Name)), 0) {
		c.extras = nil
	} else if err != nil {
		return nil, err
	}
	for _, x := range c.extras {
		if x.Link != "" {
			c.linked[x.Link] = true
		}
	}
	return c, nil
}

// run compares everything. Without quick it leaves no folder open.
func (c *comparison) run(ctx context.Context, entry core.Entry) error {
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	places, err := files.ReadDir(ctx, c.reader, entry.Name, entry)
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
				c.done(l.in)
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
	slices.SortFunc(c.changes, func(a, b *change) int { return a.seq - b.seq })
	slices.SortFunc(c.folders, func(a, b *folder) int { return strings.Compare(a.real, b.real) })
	c.count()
	return nil
}

func (c *comparison) fail(err error) {
	if c.ctx.Err() == nil {
		c.cancel(err)
	}
}

// leaveOut says whether err is damage that is gone past, and notes the path.
func (c *comparison) leaveOut(err error, path string, n int64) bool {
	if c.opt.Damaged == nil || core.CodeOf(err) != core.CodeDamage {
		return false
	}
	c.opt.Damaged.Add(path, n)
	return true
}

func (c *comparison) warn(code, path, message string) { c.warnings.Add(code, path, message) }

func (c *comparison) obstacle(code, path, message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.obstacles = append(c.obstacles, core.Warning{Code: code, Object: files.Quote(path), Message: message})
}

// place compares one place with its target.
func (c *comparison) place(e core.Entry) error {
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
	if made && c.quick {
		return c.missingRoot(e, target)
	}
	if made {
		if err := c.makeRoot(target); err != nil {
			return failed("make folder", target, err)
		}
		fd, err = openat.DirThroughLinks(unix.AT_FDCWD, target)
	}
	if openat.IsErrno(err, unix.ENOTDIR) {
		c.obstacle("no_folder", target, "it is not a folder; move it away, or restore elsewhere with --to-dir")
		return nil
	}
	if err != nil {
		return failed("open folder", target, err)
	}
	f := &folder{
		place: e.Name, fd: fd, root: target, path: e.Name, real: strings.TrimSuffix(target, "/"), entry: e, extra: c.extras[e.Name], owned: owned, whole: whole,
	}
	// Of the folder that is given only the contents are named in the backup,
	// unless all of it was captured.
	f.set = made || (owned.Whole() && whole)
	return c.folder(f)
}

// missingRoot counts a place whose target is not there.
func (c *comparison) missingRoot(e core.Entry, target string) error {
	above := target
	for {
		above = filepath.Dir(above)
		fd, err := openat.DirThroughLinks(unix.AT_FDCWD, above)
		if openat.IsErrno(err, unix.ENOENT) && above != "/" {
			continue
		}
		if err != nil {
			return failed("open folder", above, err)
		}
		f := &folder{place: e.Name, fd: fd, root: above, real: strings.TrimSuffix(above, "/"), whole: true}
		f.mount, err = mountOf(fd)
		if err == nil {
			err = c.added(leaf{in: f, name: strings.TrimPrefix(target, f.real+"/"), path: e.Name, entry: e, extra: c.extras[e.Name]})
		}
		return errors.Join(err, unix.Close(fd))
	}
}

// folder compares what is in an open folder, and lets go of it.
func (c *comparison) folder(f *folder) (err error) {
	f.pending = 1
	if f.parent != nil {
		f.parent.mu.Lock()
		f.parent.pending++
		f.parent.mu.Unlock()
	}
	defer c.done(f)
	if f.st, err = openat.Fstat(f.fd); err != nil {
		return failed("stat", f.real, err)
	}
	if f.mount, err = mountOf(f.fd); err != nil {
		return failed("stat", f.real, err)
	}
	c.progress.Item(f.real + "/")
	entries, err := files.ReadDir(c.ctx, c.reader, f.path, f.entry)
	if c.leaveOut(err, filepath.Join(c.component, f.path), max(1, f.entry.Files)) {
		return nil
	}
	if err != nil {
		return err
	}
	if f.set {
		c.compareFolder(f)
	}
	f.names = make(map[string]bool, len(entries))
	for _, e := range entries {
		if err := c.ctx.Err(); err != nil {
			return err
		}
		c.seq++
		l := leaf{seq: c.seq, in: f, name: e.Name, path: filepath.Join(f.path, e.Name), entry: e}
		l.extra = c.extras[l.path]
		if l.extra.Name != nil {
			l.name = string(l.extra.Name)
		}
		if f.names[l.name] {
			return files.Damage("restore "+files.Quote(l.path), fmt.Sprintf("two entries have the name %q", l.name))
		}
		f.names[l.name] = true
		whole, way := c.selection.At(l.path)
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
func (c *comparison) subfolder(l leaf, whole bool) error {
	in := l.in
	f := &folder{
		parent: in, place: in.place, root: in.root, rel: filepath.Join(in.rel, l.name), path: l.path, real: l.real(),
		entry: l.entry, extra: l.extra, whole: whole,
	}
	f.owned = in.owned.Child(l.name, f.rel)
	f.set = f.owned.Whole() && whole
	fd, err := openat.Dir(in.fd, l.name)
	if openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP) && slices.Contains(c.opt.Follow, l.path) {
		fd, err = openat.DirThroughLinks(in.fd, l.name)
		f.followed = true
	}
	switch {
	case err == nil:
		f.fd = fd
		return c.folder(f)
	case openat.IsErrno(err, unix.ENOENT) && !f.followed:
		return c.added(l)
	case openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP, unix.ENOENT):
		if !f.owned.Whole() {
			c.obstacle("no_folder", f.real, "it is not a folder here, and the backup does not own it; put a folder there, or restore elsewhere with --to-dir")
			return nil
		}
		if target, err := openat.Readlink(in.fd, l.name); err == nil {
			c.warn("replaced", f.real, "it is a symbolic link to "+files.Quote(target)+" and will be the folder that was captured; nothing is restored to where the link leads")
		}
		return c.changed(l)
	case openat.IsErrno(err, unix.EACCES):
		c.obstacle("denied", f.real, "the folder may not be read; restore as root or as the user it belongs to")
		return nil
	}
	return failed("open folder", f.real, err)
}

// compareFolder compares owner, mode, time and attributes.
func (c *comparison) compareFolder(f *folder) {
	uid, gid := c.owners.IDs(f.entry)
	f.meta = f.st.Mode&0o7777 != files.UnixMode(f.entry.Mode) || f.st.Uid != uid || f.st.Gid != gid ||
		!f.entry.ModTime.Equal(modTime(&f.st))
	if c.quick {
		return
	}
	f.xattrs = xattr.Read(f.fd, func(string, error) {})
	f.meta = f.meta || !c.sameXattrs(f.xattrs, f.extra.Xattrs)
}

// done lets go of a folder; the last one closes it.
func (c *comparison) done(f *folder) {
	for f != nil {
		f.mu.Lock()
		f.pending--
		last := f.pending == 0
		f.mu.Unlock()
		if !last {
			return
		}
		if err := unix.Close(f.fd); err != nil {
			c.fail(failed("close", f.real, err))
		}
		c.mu.Lock()
		c.folders = append(c.folders, f)
		c.mu.Unlock()
		f = f.parent
	}
}

// added notes something that the backup has and the live tree has not.
func (c *comparison) added(l leaf) error { return c.change(l, false) }

// changed notes something that is on both sides and differs.
func (c *comparison) changed(l leaf) error { return c.change(l, true) }

func (c *comparison) change(l leaf, had bool) error {
	ch := &change{seq: l.seq, in: l.in, dir: l.in.rel, name: l.name, path: l.path, entry: l.entry, extra: l.extra, had: had, dirs: l.entry.Type == core.TypeDir, real: l.real()}
	if had {
		if err := c.mayMove(ch); err != nil {
			return err
		}
	}
	if ch.dirs {
		e, err := c.reader.prune(c, l.path, l.entry)
		if c.leaveOut(err, filepath.Join(c.component, l.path), max(1, l.entry.Files)) {
			return nil
		}
		if err != nil {
			return err
		}
		ch.entry = e
	}
	c.note(ch)
	return nil
}

func (c *comparison) note(ch *change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changes = append(c.changes, ch)
	ch.in.mu.Lock()
	ch.in.touched = true
	ch.in.mu.Unlock()
	if ch.take {
		return
	}
	n := int64(1)
	if ch.dirs {
		n += ch.entry.Files
	}
	s := c.space[ch.in.mount]
	if s == nil {
		s = &Space{Path: ch.in.real}
		if s.Path == "" {
			s.Path = "/"
		}
		c.space[ch.in.mount] = s
	}
	s.Inodes += n
	s.Bytes += ch.entry.Object.Size + n*blockSize
}

// blockSize is by how much a file takes more space than it has bytes, at most.
const blockSize = 4096

// mayMove looks for what keeps a live path from being renamed.
func (c *comparison) mayMove(ch *change) error {
	mounted, err := isMounted(ch.in.fd, ch.name, ch.in.mount)
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return failed("stat", ch.real, err)
	}
	if mounted {
		c.obstacle("mounted", ch.real, "another file system or a single file is mounted there, and it differs from the backup; unmount it, or restore this path elsewhere with --to-dir")
		return nil
	}
	st, err := openat.Lstat(ch.in.fd, ch.name)
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return failed("stat", ch.real, err)
	}
	if openat.IsDir(&st) {
		if !ch.in.owned.Child(ch.name, filepath.Join(ch.in.rel, ch.name)).Whole() {
			c.obstacle("not_owned", ch.real, "it is a folder here, and the backup does not own it; move the folder away, or restore elsewhere with --to-dir")
			return nil
		}
		mounted, err := hasMount(c.ctx, ch.in.fd, ch.name, ch.in.mount)
		if err != nil {
			return failed("look through", ch.real, err)
		}
		if mounted {
			c.obstacle("mounted", ch.real, "it is a folder here, with another file system mounted in it, and something else in the backup; unmount that")
		}
	}
	var stx unix.Statx_t
	err = openat.Retry(func() error {
		return unix.Statx(ch.in.fd, ch.name, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_BASIC_STATS, &stx)
	})
	if err == nil && stx.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 {
		c.obstacle("immutable", ch.real, "it is protected by an attribute of its file system; run: chattr -ia "+files.ShellQuote(ch.real))
	}
	return nil
}

// hasMount says whether something is mounted in a folder.
func hasMount(ctx context.Context, dir int, name string, on mount) (found bool, err error) {
	fd, err := openat.Dir(dir, name)
	if err != nil {
		if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.EACCES) {
			return false, nil
		}
		return false, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	m, err := mountOf(fd)
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
		mounted, err := isMounted(fd, n, on)
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
