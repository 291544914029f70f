package exchange

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/restore"
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
	c, err := newComparison(ctx, r, entry, extra, opt)
	if err != nil {
		return nil, err
	}
	b := &builder{c: c, file: opt.MovesFile, name: name, byFS: map[mount]*staging{}, slots: map[*change]string{}}
	c.makeRoot = b.makeRoot
	if b.w, err = createLines(opt.MovesFile); err != nil {
		return nil, failed("write", opt.MovesFile, err)
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
		return nil, failed("write", opt.MovesFile, err)
	}
	if err := h.at("begun"); err != nil {
		return nil, err
	}
	if err := c.run(ctx, entry); err != nil {
		return nil, err
	}
	if err := b.check(); err != nil {
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
func (b *builder) check() error {
	c := b.c
	if len(c.obstacles) > 0 {
		w := c.obstacles[0]
		more := ""
		if n := len(c.obstacles) - 1; n > 0 {
			more = fmt.Sprintf(", and %d more paths cannot be restored", n)
		}
		what, hint, _ := strings.Cut(w.Message, "; ")
		return &core.Error{Code: core.CodeFailed, Op: "restore " + w.Object, Message: what + more, Hint: hint}
	}
	if err := c.measure(); err != nil {
		return err
	}
	for _, s := range c.diff.Space {
		if s.Bytes > s.Free {
			return &core.Error{
				Code: core.CodeDisk, Op: "restore " + c.component,
				Message: fmt.Sprintf("the file system of %s has %d MB free, and what differs takes %d MB", files.Quote(s.Path), s.Free>>20, (s.Bytes+1<<20-1)>>20),
				Hint:    "free space there and restore again; nothing was changed",
			}
		}
	}
	// Who may not write to a folder cannot rename in it.
	for _, f := range c.folders {
		if !f.touched {
			continue
		}
		fd, err := openWay(f)
		if err != nil {
			return failed("open folder", f.real, err)
		}
		err = unix.Faccessat(fd, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS)
		if openat.IsErrno(err, unix.EACCES) && int(f.st.Uid) == os.Geteuid() {
			err = nil // it will be made writable meanwhile
		}
		if err := errors.Join(err, unix.Close(fd)); err != nil {
			return failed("write to", f.real, err)
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
	real := map[string]*change{} // by path in the tree made up
	targets := map[string]string{}
	for i, s := range b.stages {
		// By its descriptor, so that nobody can put another folder there.
		targets[placeOf(i)] = openat.Path(s.fd)
		for _, ch := range s.changes {
			real[placeOf(i)+"/"+b.slots[ch]] = ch
		}
	}
	var damaged *restore.Damaged
	if c.opt.Damaged != nil {
		damaged = &restore.Damaged{}
	}
	got, err := restore.Files(ctx, c.reader, tree, extra, restore.Options{
		Targets: targets, Owners: c.opt.Owners, Verify: true, KeepRoots: true, Damaged: damaged, Progress: quietStage{c.progress}, Workers: c.opt.Workers,
		Real: func(path string) string {
			if ch := real[path]; ch != nil {
				return ch.real
			}
			return ""
		},
		Denied: func(d restore.Denied) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.denied = append(c.denied, denied{path: d.Path, uid: d.UID, gid: d.GID, mode: d.Mode})
		},
	})
	if err != nil {
		return err
	}
	for _, w := range got.Warnings {
		c.warnings.Add(w.Code, w.Object, w.Message)
	}
	if damaged != nil {
		b.leaveOut(component, damaged, real)
	}
	return nil
}

// leaveOut takes note of what is damaged and was not staged.
func (b *builder) leaveOut(component string, damaged *restore.Damaged, real map[string]*change) {
	gone := map[*change]bool{}
	for _, path := range damaged.Paths {
		path = strings.TrimPrefix(path, component+"/")
		for slot, ch := range real {
			if slot == path || strings.HasPrefix(path, slot+"/") {
				gone[ch] = gone[ch] || slot == path
				b.c.opt.Damaged.Add(filepath.Join(component, ch.path, strings.TrimPrefix(path, slot)), 1)
			}
		}
	}
	for _, s := range b.stages {
		s.changes = slices.DeleteFunc(s.changes, func(ch *change) bool { return gone[ch] })
	}
}

// quietStage hears no stages: what is restored is a part of one.
type quietStage struct{ core.Progress }

func (quietStage) Stage(string, int64) {}

// finish writes down what Switch must know.
func (b *builder) finish(component string) (*Built, error) {
	c := b.c
	built := &Built{
		Component: component, Targets: c.opt.Targets, MovesFile: b.file, Made: b.made, Added: c.diff.Added, Changed: c.diff.Changed,
		Removed: c.diff.Removed, Extra: c.diff.Extra, Metadata: c.diff.Metadata, Unchanged: c.diff.Unchanged, Bytes: c.diff.Bytes,
	}
	owners := newOwnerTree(c)
	for i, s := range b.stages {
		built.Stages = append(built.Stages, Stage{Path: s.path})
		for _, ch := range s.changes {
			m := &move{
				placePath: placePath{ch.in.place, rawPath(ch.dir)}, Name: rawPath(ch.name), Stage: i, Slot: rawPath(b.slots[ch]),
				Take: ch.take, Had: ch.had, IsDir: ch.dirs,
			}
			if !ch.take {
				st, err := openat.Lstat(s.fd, b.slots[ch])
				if err != nil {
					return nil, failed("stat what was staged for", ch.real, err)
				}
				m.Inode = st.Ino
				owners.see(ch.real, &st)
				if openat.IsDir(&st) {
					if err := b.inside(owners, i, s.fd, b.slots[ch], b.slots[ch], ch.real); err != nil {
						return nil, failed("look through what was staged for", ch.real, err)
					}
				}
			}
			if err := b.w.put(line{Move: m}); err != nil {
				return nil, failed("write", b.file, err)
			}
		}
	}
	if err := b.folderLines(); err != nil {
		return nil, err
	}
	c.denyFolders()
	built.Warnings = c.warnings.All("")
	built.Commands = owners.commands(c.denied)
	if err := b.announce(line{Built: built}); err != nil {
		return nil, err
	}
	return built, nil
}

// inside writes down what was put into a staged folder.
func (b *builder) inside(owners *ownerTree, stage, dir int, name, slot, real string) (err error) {
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
		l.Names = append(l.Names, rawPath(n))
		st, err := openat.Lstat(fd, n)
		if err != nil {
			return err
		}
		owners.see(real+"/"+n, &st)
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
	put := func(l line) error { return failed("write", b.file, b.w.put(l)) }
	for _, f := range c.folders {
		at := placePath{f.place, rawPath(f.rel)}
		if f.parent == nil {
			if err := put(line{Root: &rootLine{Place: f.place, Path: rawPath(f.root), Inode: f.st.Ino}}); err != nil {
				return err
			}
		}
		if f.followed {
			if err := put(line{Follow: &at}); err != nil {
				return err
			}
		}
		if len(f.same) > 0 {
			s := &sameLine{placePath: at, Ctimes: f.ctimes}
			for _, n := range f.same {
				s.Names = append(s.Names, rawPath(n))
			}
			if err := put(line{Same: s}); err != nil {
				return err
			}
		}
		if !f.touched && !f.meta {
			continue
		}
		l := &folderLine{placePath: at, Set: f.set, Meta: f.meta, Old: attributesOf(&f.st)}
		l.Old.Xattrs = f.xattrs
		if f.set {
			uid, gid := c.owners.IDs(f.entry)
			t := f.entry.ModTime
			l.New = &attributes{Mode: files.UnixMode(f.entry.Mode), UID: uid, GID: gid, Time: [2]int64{t.Unix(), int64(t.Nanosecond())}, Xattrs: f.extra.Xattrs}
		}
		if err := put(line{Folder: l}); err != nil {
			return err
		}
	}
	for _, l := range c.partly {
		if err := put(line{Folder: l}); err != nil {
			return err
		}
	}
	return nil
}
