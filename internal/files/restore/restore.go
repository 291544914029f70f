// Package restore puts captured file trees back. It is for the engine.
//
// It promises that a tree comes back as it was captured (see package files for
// what of it) and that what could not be set is named in a warning; that no
// symbolic link leads it out of its target, not even one put there while it
// runs; and that a file that is restored is either the old one or the whole
// new one.
package restore

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/durable"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

const (
	defaultWorkers = 4
	bufferSize     = 1 << 20
	// maxAttempts is how often something that others put into the way is cleared away.
	maxAttempts = 3
)

// Options says what to restore and where to.
type Options struct {
	// Targets gives the absolute folder for each place: "app" → /var/www/itop,
	// "system" → "/". It is made when it is missing. Places without one are left out.
	Targets map[string]string
	// Paths are the only paths to restore, in the component and as stored
	// ("app/uploads/x"), folders with all that is in them. Empty: everything.
	Paths []string
	// Owners are the manifest's: where this machine knows a name by another
	// number, that number is used.
	Owners core.Owners
	// Trees are the manifest's trees of the component. They say which folders
	// the backup owns and which lie only on the way to those: the latter are
	// left as they are when they are there, and never replaced.
	// Without Trees everything in the entry counts as owned.
	Trees []core.Tree
	// Delete removes from owned folders what the backup does not have, except
	// what Trees exclude and what Kept names. It needs Trees.
	Delete bool
	// Kept are the manifest's warnings: what could not be captured is not in
	// the backup and yet not superfluous.
	Kept []core.Warning
	// Follow are paths in the component, as stored, at which the target may have a
	// link to a folder, which is then filled instead of being replaced by a
	// folder. The caller vouches for where these links lead.
	Follow []string
	// Verify reads each file again from the disk before it takes its place.
	Verify bool
	// Damaged, when it is given, collects what is damaged in the backup and is
	// left out; everything else is restored. nil: damage ends the restore. It
	// excludes Delete.
	Damaged *Damaged

	// KeepRoots leaves owner, mode and time of the targets themselves as they are.
	KeepRoots bool
	// Real says for a path in the component under which path messages are to name
	// what is written there, with all below it, "" where that is its own. nil: each its own.
	// It is for trees that are written to one place and are to come to another.
	Real func(path string) string
	// Denied, when it is given, hears of what could not be set because only root
	// may, instead of a warning. It is called concurrently.
	Denied func(Denied)

	Progress core.Progress // nil: none
	Workers  int           // files written at the same time; 0: 4

	batch int // files brought to disk at once; 0: batchFiles. Tests make it small
}

// Denied is what only root could have set of a path.
type Denied struct {
	Path     string // absolute
	UID, GID uint32 // the owner that it should have
	Mode     uint32 // as chmod takes it, to be set after the owner; 0: it needs none
}

// Result counts what was restored. Everything counted is on disk.
type Result struct {
	Files, Dirs, Symlinks int64
	Bytes                 int64
	Removed               int64 // files, links and folders that were removed because of Delete
	Warnings              []core.Warning
}

// Files puts the trees of a component's folder back. extra is the object of
// the component's extra.jsonl, "" when it has none. Each file is written beside
// its place, brought to disk and then moved there: on an error, files that were
// restored before it stay, all others are as they were, and no temporary file is left.
// When it returns nil, everything is on disk (docs/adr/0006-durable-restores.md).
//
// Errors have core.CodeDamage when the backup is damaged, core.CodeDisk when the
// target is full or fails; both name the path.
func Files(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*Result, error) {
	s, err := durable.New()
	if err != nil {
		return nil, err
	}
	return restoreFiles(ctx, r, entry, extra, opt, s)
}

func restoreFiles(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options, disks durable.Syncer) (*Result, error) {
	if opt.Delete && len(opt.Trees) == 0 {
		return nil, errors.New("restore files: Delete without Trees")
	}
	if opt.Delete && opt.Damaged != nil {
		return nil, errors.New("restore files: Delete past damage")
	}
	o := &restore{
		component: entry.Name, reader: r, opt: opt, progress: opt.Progress, links: map[string]*linkTarget{}, sync: disks,
		disks: map[uint64]*disk{}, seed: maphash.MakeSeed(), kept: map[string]bool{}, owners: files.NewOwnerMap(opt.Owners), denied: map[[2]uint32]int{},
	}
	if o.progress == nil {
		o.progress = core.NoProgress{}
	}
	for _, w := range opt.Kept {
		if w.Code != files.CodeLeftover {
			o.kept[w.Object] = true
		}
	}
	workers := opt.Workers
	if workers <= 0 {
		workers = defaultWorkers
	}
	if o.batchFiles = opt.batch; o.batchFiles == 0 {
		o.batchFiles = batchLimit(workers)
	}
	places, err := files.ReadDir(ctx, r, entry.Name, entry)
	if o.leaveOut(err, entry.Name, max(1, entry.Files)) {
		return &o.result, nil
	}
	if err != nil {
		return nil, err
	}
	if err := o.prepare(ctx, entry); err != nil {
		return nil, err
	}
	if o.extras, err = files.ReadExtra(ctx, r, extra); o.leaveOut(err, files.ExtraName(core.Component(entry.Name)), 0) {
		o.extras = nil
	} else if err != nil {
		return nil, err
	}
	for _, x := range o.extras {
		if x.Link != "" {
			o.links[x.Link] = nil
		}
	}
	o.ctx, o.cancel = context.WithCancelCause(ctx)
	defer o.cancel(nil)
	o.jobs = make(chan writeJob, 4*workers)
	var pool sync.WaitGroup
	for range workers {
		pool.Go(o.work)
	}
	for _, p := range places {
		if err := o.restorePlace(p); err != nil {
			o.fail(err)
			break
		}
	}
	close(o.jobs)
	pool.Wait()
	(&fileWriter{o: o}).settle(o.batch)
	if err := o.closeDisks(); err != nil {
		o.fail(err)
	}
	for _, fd := range o.roots {
		if err := unix.Close(fd); err != nil {
			o.fail(fmt.Errorf("close target folder: %w", err))
		}
	}
	if o.ctx.Err() != nil {
		return nil, context.Cause(o.ctx)
	}
	o.result.Warnings = o.warnings.All("")
	if w, ok := o.ownerWarning(); ok {
		o.result.Warnings = append(o.result.Warnings, w)
	}
	return &o.result, nil
}

// restore is the state of one call of Files.
type restore struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	reader    core.TreeReader
	component string
	opt       Options
	selection files.Selection
	extras    map[string]files.Extra
	kept      map[string]bool
	progress  core.Progress
	jobs      chan writeJob
	roots     []int                  // the targets, open until the end for links
	links     map[string]*linkTarget // keys: all that links point to; used by the walk only
	disks     map[uint64]*disk       // by device; used by the walk only
	sync      durable.Syncer
	seed      maphash.Seed
	owners    *files.OwnerMap
	warnings  files.Warnings

	batchFiles int // how many files a batch takes

	mu       sync.Mutex // for all below
	result   Result
	denied   map[[2]uint32]int // owners that could not be set
	deniedAt string            // one of the paths
	batch    []written
	batched  int64 // bytes in batch
}

// openFolder is a folder of the target that is being filled. Its attributes
// are set when everything in it is done.
type openFolder struct {
	parent *openFolder
	root   int // the place's target, which stays open longer than fd
	fd     int
	dev    uint64
	disk   *disk
	bare   bool // what is made in it inherits no extended attributes
	entry  core.Entry
	path   string // in the component, as stored
	rel    string // real path below the place's root
	real   string // absolute
	extra  files.Extra
	owned  files.Scope // what the backup owns here; nil when nothing
	set    bool        // attributes are to be set: it is owned, or was made
	whole  bool        // all of it is restored, not only some paths in it
	mode   *uint32     // what the folder had, where it was made writable meanwhile

	mu      sync.Mutex
	pending int
	names   map[string]bool // real names that the backup has here
}

// writeJob is a file or symbolic link to be written.
type writeJob struct {
	in    *openFolder
	name  string // real
	path  string
	entry core.Entry
	extra files.Extra
	link  *linkTarget // other names of this file wait for it; may be nil
}

// linkTarget is a restored file that further names will be linked to.
type linkTarget struct {
	done chan struct{}
	in   string // real path of its folder below root
	root int
	name string
	id   openat.ID
	ok   bool
	of   core.ObjectID
}

// prepare checks Paths and Targets before anything is touched.
func (o *restore) prepare(ctx context.Context, entry core.Entry) error {
	var err error
	o.selection, err = files.Select(ctx, o.reader, entry, o.opt.Paths, func(place string) error {
		if o.opt.Targets[place] == "" {
			return fmt.Errorf("restore %s: there is no target folder for it", place)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for place, target := range o.opt.Targets {
		if !filepath.IsAbs(target) {
			return fmt.Errorf("restore files: target %q for %q is not an absolute path", target, place)
		}
	}
	return nil
}

func (o *restore) restorePlace(e core.Entry) error {
	target := o.opt.Targets[e.Name]
	whole, way := o.selection.At(e.Name)
	if target == "" || (!whole && !way) {
		return nil
	}
	if e.Type != core.TypeDir {
		return files.Damage("restore "+e.Name, "it is not a folder")
	}
	target = filepath.Clean(target)
	made, err := makeTarget(target)
	if err != nil {
		return writeFailed("make folder", target, err)
	}
	// The target itself is what the caller names: it may be a link.
	fd, err := openat.DirThroughLinks(unix.AT_FDCWD, target)
	if err != nil {
		return writeFailed("open folder", target, err)
	}
	owned, err := files.OwnedScope(o.opt.Trees, e.Name)
	if err != nil {
		return errors.Join(err, unix.Close(fd))
	}
	root, err := openat.DirThroughLinks(fd, ".")
	if err != nil {
		return errors.Join(writeFailed("open folder", target, err), unix.Close(fd))
	}
	o.roots = append(o.roots, root)
	f := &openFolder{root: root, fd: fd, entry: e, path: e.Name, real: strings.TrimSuffix(target, "/"), owned: owned, whole: whole}
	// Of the folder that is given only the contents are named in the backup,
	// unless all of it was captured.
	f.set = made || (owned.Whole() && whole && !o.opt.KeepRoots)
	return o.fill(f)
}

// fill restores what is in an open folder, and lets go of it.
func (o *restore) fill(f *openFolder) error {
	f.pending = 1
	if f.parent != nil {
		f.parent.mu.Lock()
		f.parent.pending++
		f.parent.mu.Unlock()
	}
	defer o.done(f)
	st, err := openat.Fstat(f.fd)
	if err != nil {
		return writeFailed("stat", f.real, err)
	}
	f.dev = uint64(st.Dev)
	if f.disk, err = o.diskOf(f); err != nil {
		return err
	}
	f.bare = !xattr.Inherited(f.fd)
	if f.set && st.Mode&0o700 != 0o700 {
		// A folder that its owner may not write to gets its mode back at the end.
		mode := st.Mode & 0o7777
		if err := unix.Fchmod(f.fd, mode|0o700); err != nil && !openat.IsErrno(err, unix.EPERM) {
			return writeFailed("change mode of", f.real, err)
		}
		f.mode = &mode
	}
	o.progress.Item(f.real + "/")
	entries, err := files.ReadDir(o.ctx, o.reader, f.path, f.entry)
	if o.leaveOut(err, filepath.Join(o.component, f.path), max(1, f.entry.Files)) {
		return nil
	}
	if err != nil {
		return err
	}
	f.names = make(map[string]bool, len(entries))
	for _, e := range entries {
		if err := o.ctx.Err(); err != nil {
			return err
		}
		path := filepath.Join(f.path, e.Name)
		x := o.extras[path]
		name := e.Name
		if x.Name != nil {
			name = string(x.Name)
		}
		if f.names[name] {
			return files.Damage("restore "+files.Quote(path), fmt.Sprintf("two entries have the name %q", name))
		}
		f.names[name] = true
		whole, way := o.selection.At(path)
		if !whole && !way {
			continue
		}
		if e.Type == core.TypeDir {
			err = o.folder(f, e, x, name, path, whole)
		} else if whole {
			err = o.leaf(writeJob{in: f, name: name, path: path, entry: e, extra: x})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// folder opens a folder of the target, or makes it.
func (o *restore) folder(in *openFolder, e core.Entry, x files.Extra, name, path string, whole bool) error {
	f := &openFolder{
		parent: in, root: in.root, entry: e, extra: x, path: path, rel: filepath.Join(in.rel, name),
		real: o.real(in, name, path), whole: whole,
	}
	f.owned = in.owned.Child(name, f.rel)
	f.set = f.owned.Whole() && whole
	for attempt := 1; ; attempt++ {
		fd, err := openat.Dir(in.fd, name)
		if openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP) && slices.Contains(o.opt.Follow, path) {
			fd, err = openat.DirThroughLinks(in.fd, name)
		}
		if err == nil {
			f.fd = fd
			return o.fill(f)
		}
		if attempt == maxAttempts {
			return writeFailed("open folder", f.real, err)
		}
		switch {
		case openat.IsErrno(err, unix.ENOENT):
		case openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP):
			if !f.owned.Whole() {
				return &core.Error{
					Code: core.CodeFailed, Op: "restore " + files.Quote(path),
					Message: fmt.Sprintf("%s is not a folder here, and the backup does not own it", files.Quote(f.real)),
					Hint:    "restore to another folder with --to-dir, or put a folder there",
				}
			}
			target, linkErr := openat.Readlink(in.fd, name)
			if err := unix.Unlinkat(in.fd, name, 0); err != nil && !openat.IsErrno(err, unix.ENOENT, unix.EISDIR) {
				return writeFailed("remove", f.real, err)
			}
			if linkErr == nil {
				o.warn("replaced", f.real, "it was a symbolic link to "+files.Quote(target)+" and is now the folder that was captured; nothing was restored to where the link led")
			}
		case openat.IsErrno(err, unix.EACCES) && f.set:
			if err := unlockDir(in.fd, name); err != nil {
				return writeFailed("open folder", f.real, err)
			}
			continue
		default:
			return writeFailed("open folder", f.real, err)
		}
		err = unix.Mkdirat(in.fd, name, 0o700)
		if err != nil && !openat.IsErrno(err, unix.EEXIST) {
			return writeFailed("make folder", f.real, err)
		}
		f.set = f.set || err == nil
	}
}

// leaf hands a file or link to the workers, or links it to a file that was
// restored under another name.
func (o *restore) leaf(j writeJob) error {
	if j.entry.Type == core.TypeFile && j.extra.Link != "" && j.extra.Link != j.path {
		if t := o.links[j.extra.Link]; t != nil && t.of == j.entry.Object.ID {
			// The walk waits here, the workers never wait for the walk.
			<-t.done
			if t.ok {
				linked, err := o.link(t, j)
				if linked || err != nil {
					return err
				}
			}
		}
	}
	if _, wanted := o.links[j.path]; wanted && j.entry.Type == core.TypeFile {
		t := &linkTarget{done: make(chan struct{}), in: j.in.rel, root: j.in.root, name: j.name, of: j.entry.Object.ID}
		o.links[j.path] = t
		j.link = t
	}
	j.in.mu.Lock()
	j.in.pending++
	j.in.mu.Unlock()
	o.jobs <- j
	return nil
}

func (o *restore) work() {
	w := &fileWriter{o: o}
	for j := range o.jobs {
		if o.ctx.Err() != nil {
			o.finished(j)
			continue
		}
		w.write(j)
	}
}

// finished lets go of a job, whether or not it succeeded.
func (o *restore) finished(j writeJob) {
	if j.link != nil {
		close(j.link.done)
	}
	o.done(j.in)
}

func (o *restore) fail(err error) {
	if o.ctx.Err() == nil {
		o.cancel(err)
	}
}

// done lets go of a folder; the last one finishes it.
func (o *restore) done(f *openFolder) {
	for f != nil {
		f.mu.Lock()
		f.pending--
		last := f.pending == 0
		f.mu.Unlock()
		if !last {
			return
		}
		if o.ctx.Err() == nil {
			if err := o.finish(f); err != nil {
				o.fail(err)
			}
		} else if f.mode != nil {
			if err := unix.Fchmod(f.fd, *f.mode); err != nil {
				o.fail(writeFailed("change mode of", f.real, err))
			}
		}
		if err := unix.Close(f.fd); err != nil {
			o.fail(writeFailed("close", f.real, err))
		}
		f = f.parent
	}
}

// finish removes what should not be in a folder, and sets its attributes.
func (o *restore) finish(f *openFolder) error {
	if o.opt.Delete && f.whole {
		if err := o.prune(f); err != nil {
			return err
		}
	}
	if f.set {
		if _, err := o.setAttributes(f.fd, f.entry, f.extra, f.real, false); err != nil {
			return err
		}
		if err := openat.SetTime(f.fd, f.entry.ModTime); err != nil {
			o.warn("times", f.real, "its modification time could not be set: "+openat.Reason(err))
		}
	}
	if err := o.folderToDisk(f); err != nil {
		return err
	}
	o.mu.Lock()
	o.result.Dirs++
	o.mu.Unlock()
	return nil
}

// real is how messages name what stands in a folder.
func (o *restore) real(in *openFolder, name, path string) string {
	if o.opt.Real != nil {
		if as := o.opt.Real(path); as != "" {
			return as
		}
	}
	return in.real + "/" + name
}

func (o *restore) warn(code, path, message string) { o.warnings.Add(code, path, message) }
