// Package capture stores file trees in a backup. It is for the engine.
//
// It promises that a tree is stored as it is (see package files for what of
// it); that what could not be captured is named in a warning; that no symbolic
// link leads it out of its folder, not even one put there while it runs; and
// that a file which has not changed since the backup before is not read again.
package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os/user"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// Options says how to capture. The zero value is usable.
type Options struct {
	// Contents takes the contents of regular files in place of the writer; nil: the
	// writer does.
	Contents core.TreeWriter
	Cache    *Cache        // of the previous backup, whose objects must still be in the repository; may be nil
	Progress core.Progress // nil: none
	Clock    core.Clock    // nil: the machine's
	Workers  int           // files read at the same time; 0: 4
	Log      *slog.Logger  // nil: none
}

// Result is a component's file trees, stored.
type Result struct {
	Entry    core.Entry     // the component's folder, with a folder for each place in it
	Extra    *core.Object   // COMPONENT.extra.jsonl; nil when there is nothing to say
	Trees    []core.Tree    // one for each place; counts include the place's own folder
	Owners   core.Owners    // of everything stored, as far as this machine knows names
	Warnings []core.Warning // what could not be captured as it is, by path; objects are absolute paths
	Notes    []string       // links that were followed, mount points that were crossed
	Cache    *Cache         // for the next backup of the same component, once this one is committed
}

const defaultWorkers = 4

// Files stores what sets, all of one component, name. Sets of one place make
// one tree. What is missing, unreadable or changing becomes a warning; a root
// or a path that must be there and is not is an error, and so is any error of w.
func Files(ctx context.Context, sets []core.FileSet, w core.TreeWriter, opt Options) (*Result, error) {
	if len(sets) == 0 {
		return nil, errors.New("capture files: no file sets")
	}
	c := &capture{
		writer: w, contents: w, component: sets[0].Component, progress: opt.Progress,
		clock: opt.Clock, log: opt.Log, links: map[openat.ID]*linkGroup{},
		fresh: after(opt.Cache), uids: map[uint32]bool{}, gids: map[uint32]bool{},
	}
	if opt.Contents != nil {
		c.contents = opt.Contents
	}
	if c.progress == nil {
		c.progress = core.NoProgress{}
	}
	if c.clock == nil {
		c.clock = core.SystemClock{}
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	workers := opt.Workers
	if workers <= 0 {
		workers = defaultWorkers
	}
	places, err := c.plan(sets)
	if err != nil {
		return nil, err
	}
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	defer c.cancel(nil)
	c.jobs = make(chan job, 4*workers)
	var pool sync.WaitGroup
	for range workers {
		pool.Go(func() { c.work() })
	}
	top := &folder{fd: -1, path: "", pending: 1}
	for _, p := range places {
		if err := c.walkPlace(p, top); err != nil {
			c.fail(err)
			break
		}
	}
	close(c.jobs)
	pool.Wait()
	c.done(top)
	c.warnOfLeftovers()
	err = c.closeExtra()
	if c.ctx.Err() != nil {
		return nil, context.Cause(c.ctx)
	}
	if err != nil {
		return nil, err
	}
	result := &Result{
		Entry: c.top, Extra: c.extra, Owners: c.owners(),
		Warnings: c.warnings.All(fmt.Sprintf(" of %s; each is in the log", c.component)),
		Notes:    c.notes, Cache: c.fresh,
	}
	sort.Strings(result.Notes)
	c.fresh.sort()
	for _, p := range places {
		if c.extra != nil {
			p.tree.Extra = files.ExtraName(c.component)
		}
		result.Trees = append(result.Trees, p.tree)
	}
	return result, nil
}

// capture is the state of one call of Files.
type capture struct {
	ctx       context.Context
	cancel    context.CancelCauseFunc
	writer    core.TreeWriter
	contents  core.TreeWriter // of regular files
	component core.Component
	progress  core.Progress
	clock     core.Clock
	log       *slog.Logger
	jobs      chan job
	links     map[openat.ID]*linkGroup // used by the walk only
	leftovers int                      // temporary files of a restore; used by the walk only
	leftover  visit                    // the first of them
	warnings  files.Warnings

	mu          sync.Mutex // for all below
	top         core.Entry
	fresh       *Cache
	notes       []string
	uids, gids  map[uint32]bool
	extraWriter core.FileWriter
	extra       *core.Object
}

// place is what sets take from below one root.
type place struct {
	name  string
	root  string
	sets  []core.FileSet
	scope files.Scope
	tree  core.Tree // counts are guarded by capture.mu
}

// folder is an open folder whose children are being result. It is stored
// when the walk and every job in it are done with it.
type folder struct {
	parent *folder
	place  *place
	fd     int
	entry  core.Entry  // its own attributes
	path   string      // in the component, as stored
	real   string      // on this machine
	extra  files.Extra // of the folder itself

	mu      sync.Mutex
	pending int
	entries []core.Entry
	extras  []files.Extra
}

// job is a file or symbolic link to be stored.
type job struct {
	in     *folder
	name   string // real
	stored string
	st     unix.Stat_t
	follow bool       // it is a link, and the file that it points to is stored
	group  *linkGroup // nil for a file with one name
}

// linkGroup is a file with several names. The first name stores it.
type linkGroup struct {
	done  chan struct{}
	st    unix.Stat_t
	path  string     // of the first name
	entry core.Entry // set when done is closed; an empty type says that it was not stored
	extra files.Extra
}

func (c *capture) plan(sets []core.FileSet) ([]*place, error) {
	var places []*place
	byName := map[string]*place{}
	for _, set := range sets {
		if set.Component != c.component {
			return nil, fmt.Errorf("capture files: sets of two components, %s and %s", c.component, set.Component)
		}
		if err := files.CheckName(set.Place); err != nil {
			return nil, fmt.Errorf("capture files: place: %w", err)
		}
		if !filepath.IsAbs(set.Root) {
			return nil, &core.Error{
				Code: core.CodeConfig, Op: "capture " + string(c.component), Message: fmt.Sprintf("the folder %q is not an absolute path", set.Root),
				Hint: "write the whole path, beginning with /",
			}
		}
		p := byName[set.Place]
		if p == nil {
			p = &place{name: set.Place, root: filepath.Clean(set.Root)}
			p.tree = core.Tree{Component: c.component, Place: set.Place, Root: p.root}
			byName[set.Place] = p
			places = append(places, p)
		}
		if filepath.Clean(set.Root) != p.root {
			return nil, fmt.Errorf("capture files: place %q has two roots, %s and %s", set.Place, p.root, set.Root)
		}
		p.sets = append(p.sets, set)
		for _, i := range set.Include {
			p.tree.Include = append(p.tree.Include, i.Path)
		}
		p.tree.Exclude = append(p.tree.Exclude, set.Exclude...)
	}
	sort.Slice(places, func(i, k int) bool { return places[i].name < places[k].name })
	for _, p := range places {
		var err error
		if p.scope, err = files.NewScope(p.sets...); err != nil {
			return nil, err
		}
		p.tree.Include = sortedSet(p.tree.Include)
		p.tree.Exclude = sortedSet(p.tree.Exclude)
	}
	return places, nil
}

func sortedSet(list []string) []string {
	slices.Sort(list)
	return slices.Compact(list)
}

// fail ends the capture; the first failure is the one that is reported.
func (c *capture) fail(err error) {
	if ctxErr := c.ctx.Err(); ctxErr == nil {
		c.cancel(err)
	}
}

// work stores files until there are no more. After a failure it only lets go
// of the folders, so that every one of them is closed.
func (c *capture) work() {
	r := &fileReader{c: c}
	for j := range c.jobs {
		if c.ctx.Err() == nil {
			if err := c.store(r, j); err != nil {
				c.fail(err)
			}
		}
		if j.group != nil {
			close(j.group.done)
		}
		c.done(j.in)
	}
}

// submit hands a job to the workers.
func (c *capture) submit(j job) {
	j.in.mu.Lock()
	j.in.pending++
	j.in.mu.Unlock()
	c.jobs <- j
}

// add puts a stored entry into a folder and counts it.
func (c *capture) add(in *folder, e core.Entry, x files.Extra) {
	in.mu.Lock()
	in.entries = append(in.entries, e)
	if !x.Empty() {
		x.Path = filepath.Join(in.path, e.Name)
		in.extras = append(in.extras, x)
	}
	in.mu.Unlock()
}

func (c *capture) count(p *place, f func(*core.Tree)) {
	c.mu.Lock()
	f(&p.tree)
	c.mu.Unlock()
}

// done lets go of a folder. Whoever is the last stores it, and then its parent
// if that was all that the parent waited for.
func (c *capture) done(f *folder) {
	for f != nil {
		f.mu.Lock()
		f.pending--
		last := f.pending == 0
		f.mu.Unlock()
		if !last {
			return
		}
		if f.fd >= 0 {
			if err := unix.Close(f.fd); err != nil {
				c.fail(fmt.Errorf("close %s: %w", files.Quote(f.real), err))
			}
		}
		if c.ctx.Err() == nil {
			if err := c.storeFolder(f); err != nil {
				c.fail(err)
			}
		}
		f = f.parent
	}
}

func (c *capture) storeFolder(f *folder) error {
	sort.Slice(f.entries, func(i, k int) bool { return f.entries[i].Name < f.entries[k].Name })
	e := f.entry
	if f.parent == nil {
		e = core.Entry{Name: string(c.component), Type: core.TypeDir, Mode: 0o755, ModTime: time.Unix(0, 0).UTC()}
		for _, child := range f.entries {
			if child.ModTime.After(e.ModTime) {
				e.ModTime = child.ModTime
			}
		}
	}
	var err error
	if e.Object, err = c.writer.WriteDir(c.ctx, f.entries); err != nil {
		return fmt.Errorf("store folder %s: %w", files.Quote(f.real), err)
	}
	for _, child := range f.entries {
		if child.Type == core.TypeDir {
			e.Files += child.Files
		} else if child.Type == core.TypeFile {
			e.Files++
		}
	}
	if err := c.writeExtras(f.extras); err != nil {
		return err
	}
	if f.parent == nil {
		c.top = e
		return nil
	}
	c.owns(e)
	c.count(f.place, func(t *core.Tree) { t.Dirs++ })
	c.add(f.parent, e, f.extra)
	return nil
}

// writeExtras appends lines to extra.jsonl, which is begun with the first of
// them. They are in order within a folder, so that an unchanged tree gives
// nearly the same bytes again.
func (c *capture) writeExtras(extras []files.Extra) error {
	if len(extras) == 0 {
		return nil
	}
	sort.Slice(extras, func(i, k int) bool { return extras[i].Path < extras[k].Path })
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.extraWriter == nil {
		w, err := c.writer.Create(c.ctx, files.ExtraName(c.component))
		if err != nil {
			return fmt.Errorf("store extra.jsonl: %w", err)
		}
		c.extraWriter = w
	}
	for i := range extras {
		line, err := extras[i].Encode()
		if err != nil {
			return err
		}
		if _, err := c.extraWriter.Write(line); err != nil {
			return fmt.Errorf("store extra.jsonl: %w", err)
		}
	}
	return nil
}

func (c *capture) closeExtra() error {
	if c.extraWriter == nil {
		return nil
	}
	if c.ctx.Err() != nil {
		return c.extraWriter.Close()
	}
	object, err := c.extraWriter.Finish()
	if cerr := c.extraWriter.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("store extra.jsonl: %w", err)
	}
	c.extra = &object
	return nil
}

// storeBytes stores a short text, such as the target of a link.
func (c *capture) storeBytes(hint, text string) (object core.Object, err error) {
	w, err := c.writer.Create(c.ctx, hint)
	if err != nil {
		return object, err
	}
	defer func() {
		if cerr := w.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := io.WriteString(w, text); err != nil {
		return object, err
	}
	return w.Finish()
}

func (c *capture) warn(code, path, message string) {
	c.log.Warn(message, "code", code, "path", path)
	c.warnings.Add(code, path, message)
}

func (c *capture) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notes = append(c.notes, fmt.Sprintf(format, args...))
}

// owns remembers whose entry was stored.
func (c *capture) owns(e core.Entry) {
	c.mu.Lock()
	c.uids[e.UID] = true
	c.gids[e.GID] = true
	c.mu.Unlock()
}

func (c *capture) owners() core.Owners {
	o := core.Owners{Users: map[string]string{}, Groups: map[string]string{}}
	for uid := range c.uids {
		id := strconv.FormatUint(uint64(uid), 10)
		if u, err := user.LookupId(id); err == nil {
			o.Users[id] = u.Username
		}
	}
	for gid := range c.gids {
		id := strconv.FormatUint(uint64(gid), 10)
		if g, err := user.LookupGroupId(id); err == nil {
			o.Groups[id] = g.Name
		}
	}
	return o
}

// entryOf fills in what stat says of a file.
func entryOf(name string, kind core.EntryType, st *unix.Stat_t) core.Entry {
	e := core.Entry{
		Name: name, Type: kind, Mode: modeOf(st), UID: st.Uid, GID: st.Gid,
		ModTime: time.Unix(st.Mtim.Unix()).UTC(),
	}
	if kind == core.TypeSymlink {
		e.Mode = fs.FileMode(0o777)
	}
	return e
}

// modeOf returns permission bits with setuid, setgid and sticky.
func modeOf(st *unix.Stat_t) fs.FileMode {
	m := fs.FileMode(st.Mode & 0o777)
	if st.Mode&unix.S_ISUID != 0 {
		m |= fs.ModeSetuid
	}
	if st.Mode&unix.S_ISGID != 0 {
		m |= fs.ModeSetgid
	}
	if st.Mode&unix.S_ISVTX != 0 {
		m |= fs.ModeSticky
	}
	return m
}
