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
	"github.com/backstay/backstay/internal/files/compare"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/files/rights"
)

// hooks are where tests step in. Their zero value does nothing.
type hooks struct {
	step   func(what string) error // between two things that change the disk
	rename func(fromDir int, from string, toDir int, to string, flags uint) error
}

func (h hooks) at(what string) error {
	if h.step == nil {
		return nil
	}
	return h.step(what)
}

func build(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options, h hooks) (_ *Built, err error) {
	name := files.StagingName(opt.Name + "-" + entry.Name)
	if opt.Name == "" || !files.IsStagingName(name) {
		return nil, fmt.Errorf("build files: %q cannot be part of a folder's name here", opt.Name)
	}
	if !filepath.IsAbs(opt.MovesFile) {
		return nil, fmt.Errorf("build files: the moves file %q is not an absolute path", opt.MovesFile)
	}
	if err := Abandon(opt.MovesFile); err != nil {
		return nil, err
	}
	b := &builder{opt: opt, h: h, file: opt.MovesFile, name: name, stageOf: map[*compare.Folder]*staging{}, slots: map[*compare.Change]string{}}
	if b.w, err = createLines(opt.MovesFile); err != nil {
		return nil, files.Failed("write", opt.MovesFile, err)
	}
	defer func() {
		for _, s := range b.stages {
			err = errors.Join(err, unix.Close(s.fd))
		}
		err = errors.Join(err, b.w.f.Close())
		if err != nil {
			err = errors.Join(err, Abandon(opt.MovesFile))
		}
	}()
	if err := b.announce(line{Moves: &movesHead{Version: movesVersion, Component: entry.Name}}); err != nil {
		return nil, err
	}
	if err := openat.SyncPath(filepath.Dir(opt.MovesFile)); err != nil {
		return nil, files.Failed("write", opt.MovesFile, err)
	}
	if err := h.at("begun"); err != nil {
		return nil, err
	}
	how := opt.comparison()
	how.MakeRoot = b.makeRoot
	if b.c, err = compare.Contents(ctx, r, entry, extra, how); err != nil {
		return nil, err
	}
	if err := b.check(entry.Name); err != nil {
		return nil, err
	}
	if err := b.assign(); err != nil {
		return nil, err
	}
	if err := h.at("staging folders made"); err != nil {
		return nil, err
	}
	if err := b.fill(ctx, entry.Name); err != nil {
		return nil, err
	}
	if err := h.at("staged"); err != nil {
		return nil, err
	}
	return b.finish(entry.Name)
}

// check refuses what could not be switched, before anything is written.
func (b *builder) check(component string) error {
	c := b.c
	if len(c.Obstacles) > 0 {
		w := c.Obstacles[0]
		more := ""
		if n := len(c.Obstacles) - 1; n > 0 {
			more = fmt.Sprintf(", and %d more paths cannot be restored", n)
		}
		what, hint, _ := strings.Cut(w.Message, "; ")
		return &core.Error{Code: core.CodeFailed, Op: "restore " + w.Object, Message: what + more, Hint: hint}
	}
	if len(c.Decisions) > 0 && !b.opt.MovedTargets {
		d := c.Decisions[0]
		return &core.Error{
			Code: core.CodeDecision, Op: "restore " + d.Object, Message: d.Message,
			Hint: "if that is what you want, run it again with --force " + d.Code + "; nothing was changed",
		}
	}
	for _, s := range c.Space {
		if s.Bytes > s.Free {
			return &core.Error{
				Code: core.CodeDisk, Op: "restore " + component,
				Message: fmt.Sprintf("the file system of %s has %d MB free, and what differs takes %d MB", files.Quote(s.Path), s.Free>>20, (s.Bytes+1<<20-1)>>20),
				Hint:    "free space there and restore again; nothing was changed",
			}
		}
	}
	// Who may not write to a folder cannot rename in it.
	for _, f := range c.Folders {
		if !f.Touched {
			continue
		}
		fd, err := f.Open()
		if err != nil {
			return files.Failed("open folder", f.Real, err)
		}
		var stx unix.Statx_t
		err = openat.Retry(func() error { return unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_BASIC_STATS, &stx) })
		if err == nil && stx.Attributes&(unix.STATX_ATTR_IMMUTABLE|unix.STATX_ATTR_APPEND) != 0 {
			err = &core.Error{
				Code: core.CodeFailed, Op: "restore to " + files.Quote(f.Real), Message: "the folder is protected by an attribute of its file system",
				Hint: "run: chattr -ia " + files.ShellQuote(f.Real),
			}
		}
		if err == nil {
			err = unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		}
		if openat.IsErrno(err, unix.EACCES) && int(f.Stat.Uid) == os.Geteuid() {
			err = nil // it will be made writable meanwhile
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return files.Failed("write to", f.Real, err)
		}
	}
	return nil
}

// fill writes what differs to the staging folders.
func (b *builder) fill(ctx context.Context, component string) error {
	if len(b.stages) == 0 {
		return nil
	}
	c := b.c
	tree, extra, err := b.tree(ctx, component)
	if err != nil {
		return err
	}
	real := map[string]*compare.Change{} // by path in the tree made up
	targets := map[string]string{}
	for i, s := range b.stages {
		// By its descriptor, so that nobody can put another folder there.
		targets[placeOf(i)] = openat.Path(s.fd)
		for _, ch := range s.changes {
			real[placeOf(i)+"/"+b.slots[ch]] = ch
		}
	}
	var mu sync.Mutex
	progress := b.opt.Progress
	if progress == nil {
		progress = core.NoProgress{}
	}
	var damaged *restore.Damaged
	if b.opt.Damaged != nil {
		damaged = &restore.Damaged{}
	}
	got, err := restore.Files(ctx, c.Reader, tree, extra, restore.Options{
		Targets: targets, Owners: b.opt.Owners, Verify: true, KeepRoots: true, Damaged: damaged, Progress: quietStage{progress}, Workers: b.opt.Workers,
		Real: func(path string) string {
			if ch := real[path]; ch != nil {
				return ch.Real
			}
			return ""
		},
		Denied: func(d restore.Denied) {
			mu.Lock()
			defer mu.Unlock()
			c.Denied = append(c.Denied, compare.Denied{Denied: d})
		},
	})
	if err != nil {
		return err
	}
	for _, w := range got.Warnings {
		c.Warnings.Add(w.Code, w.Object, w.Message)
	}
	if damaged != nil {
		b.leaveOut(component, damaged, real)
	}
	return nil
}

// leaveOut takes note of what is damaged and was not staged.
func (b *builder) leaveOut(component string, damaged *restore.Damaged, real map[string]*compare.Change) {
	gone := map[*compare.Change]bool{}
	for _, path := range damaged.Paths {
		path = strings.TrimPrefix(path, component+"/")
		for slot, ch := range real {
			if slot == path || strings.HasPrefix(path, slot+"/") {
				gone[ch] = gone[ch] || slot == path
				b.opt.Damaged.Add(filepath.Join(component, ch.Path, strings.TrimPrefix(path, slot)), 1)
			}
		}
	}
	for _, s := range b.stages {
		s.changes = slices.DeleteFunc(s.changes, func(ch *compare.Change) bool { return gone[ch] })
	}
}

// quietStage hears no stages: what is restored is a part of one.
type quietStage struct{ core.Progress }

func (quietStage) Stage(string, int64) {}

// finish writes down what Switch must know.
func (b *builder) finish(component string) (*Built, error) {
	c := b.c
	built := &Built{
		Component: component, Targets: b.opt.Targets, MovesFile: b.file, Made: b.made, Added: c.Added, Changed: c.Changed,
		Removed: c.Removed, Extra: c.Extra, Metadata: c.Metadata, Unchanged: c.Unchanged, Bytes: c.Bytes,
	}
	labels := rights.Labels{}
	owners := rights.NewTree(len(c.Denied) > 0)
	for i, s := range b.stages {
		built.Stages = append(built.Stages, Stage{Path: s.path, Mark: s.mark})
		for _, ch := range s.changes {
			m := &move{
				placePath: placePath{ch.In.Place, rawPath(ch.Dir)}, Name: rawPath(ch.Name), Stage: i, Slot: rawPath(b.slots[ch]),
				Take: ch.Take, Had: ch.Had, IsDir: ch.IsDir, Was: ch.Was,
			}
			if !ch.Take {
				if err := labels.Give(s.fd, b.slots[ch], ch); err != nil {
					return nil, err
				}
				mark, err := openat.MarkOf(s.fd, b.slots[ch])
				if err != nil {
					return nil, files.Failed("stat what was staged for", ch.Real, err)
				}
				st, err := openat.Lstat(s.fd, b.slots[ch])
				if err != nil {
					return nil, files.Failed("stat what was staged for", ch.Real, err)
				}
				m.Mark, m.Staged, m.Ctime, m.Size = mark, mark, st.Ctim.Nano(), st.Size
				owners.See(ch.Real, &st)
				if openat.IsDir(&st) {
					if err := b.inside(owners, i, s.fd, b.slots[ch], b.slots[ch], ch.Real); err != nil {
						return nil, files.Failed("look through what was staged for", ch.Real, err)
					}
				}
			}
			if err := b.w.put(line{Move: m}); err != nil {
				return nil, files.Failed("write", b.file, err)
			}
		}
		if err := openat.Sync(s.fd); err != nil {
			return nil, files.Failed("sync", s.path, err)
		}
	}
	if err := b.folderLines(); err != nil {
		return nil, err
	}
	c.Denied = append(c.Denied, rights.DeniedFolders(c)...)
	built.Warnings = c.Warnings.All("")
	built.Commands = owners.Commands(c.Denied)
	if err := b.announce(line{Built: built}); err != nil {
		return nil, err
	}
	return built, nil
}

// inside writes down what was put into a staged folder.
func (b *builder) inside(owners *rights.Tree, stage, dir int, name, slot, real string) (err error) {
	fd, err := openat.Dir(dir, name)
	if openat.IsErrno(err, unix.EACCES) {
		return nil // its owner may not look into it either
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	names, err := openat.List(fd)
	if err != nil {
		return err
	}
	l := &insideLine{Stage: stage, Slot: rawPath(slot)}
	for _, n := range names {
		mark, err := openat.MarkOf(fd, n)
		if err != nil {
			return err
		}
		l.Names, l.Marks = append(l.Names, rawPath(n)), append(l.Marks, mark)
		st, err := openat.Lstat(fd, n)
		if err != nil {
			return err
		}
		owners.See(real+"/"+n, &st)
		if openat.IsDir(&st) {
			if err := b.inside(owners, stage, fd, n, slot+"/"+n, real+"/"+n); err != nil {
				return err
			}
		}
	}
	return b.w.put(line{Inside: l})
}

// folderLines writes down the folders in which something moves or stays, and what is
// to become of them.
func (b *builder) folderLines() error {
	c := b.c
	put := func(l line) error { return files.Failed("write", b.file, b.w.put(l)) }
	for _, f := range c.Folders {
		at := placePath{f.Place, rawPath(f.Rel)}
		if f.Parent == nil {
			if err := put(line{Root: &rootLine{Place: f.Place, Path: rawPath(f.Root), Mark: f.Mark}}); err != nil {
				return err
			}
		}
		if f.Followed {
			if err := put(line{Follow: &followLine{at, f.Mark}}); err != nil {
				return err
			}
		}
		if len(f.Same) > 0 {
			s := &sameLine{placePath: at, Ctimes: f.Ctimes}
			for _, n := range f.Same {
				s.Names = append(s.Names, rawPath(n))
			}
			if err := put(line{Same: s}); err != nil {
				return err
			}
		}
		if !f.Touched && !f.Meta {
			continue
		}
		l := &folderLine{placePath: at, Mark: f.Mark, Set: f.Set, Meta: f.Meta, Old: attributesOf(&f.Stat)}
		l.Old.Xattrs = f.Xattrs
		if f.Set {
			uid, gid := c.Owners.IDs(f.Entry)
			t := f.Entry.ModTime
			l.New = &attributes{Mode: files.UnixMode(f.Entry.Mode), UID: uid, GID: gid, Time: [2]int64{t.Unix(), int64(t.Nanosecond())}, Xattrs: f.Extra.Xattrs}
		}
		if err := put(line{Folder: l}); err != nil {
			return err
		}
	}
	for _, p := range c.Partly {
		if err := put(line{Folder: &folderLine{placePath: placePath{p.Place, rawPath(p.Rel)}, Mark: p.Mark, Old: attributesOf(&p.Stat)}}); err != nil {
			return err
		}
	}
	return nil
}
