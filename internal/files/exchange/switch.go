package exchange

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/durable"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

// exchange is one Switch or Revert.
type exchange struct {
	p        *plan
	to       Side
	h        hooks
	moves    []*move
	lines    []*folderLine
	warnings files.Warnings
	stages   []int // open staging folders
	sub      map[string]int
	roots    map[string]int
	chain    []open // folders that are open, from a root down
	unlocked map[placePath]bool
	resumed  bool
	noSwap   bool // the kernel or file system has no RENAME_EXCHANGE
}

type open struct {
	at placePath
	fd int
}

// now returns on which side a path of a pass is, going by what lies in its slot.
func (x *exchange) now(m *move) (Side, error) {
	if m.On == x.p.pass.To || x.p.done || m.Left {
		return x.p.pass.To, nil
	}
	is, _, err := x.inSlot(m)
	if err != nil {
		return "", err
	}
	if !is.Is(m.Mark) {
		return x.p.pass.To, nil
	}
	return m.On, nil
}

// run brings the live tree to one side.
func run(ctx context.Context, b *Built, to Side, h hooks) (_ []core.Warning, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p, err := readBuilt(b.MovesFile, false)
	if err != nil {
		return nil, err
	}
	if p.pass == nil && to == Old || p.pass != nil && p.done && p.pass.To == to {
		return nil, nil
	}
	x := &exchange{
		p: p, to: to, h: h, sub: map[string]int{}, roots: map[string]int{},
		unlocked: map[placePath]bool{},
	}
	defer func() { err = errors.Join(err, x.close()) }()
	if err := x.open(); err != nil {
		return nil, err
	}
	if err := x.begin(); err != nil {
		return nil, err
	}
	if err := x.h.at("pass written"); err != nil {
		return nil, err
	}
	for _, m := range x.moves {
		if m.On == to {
			continue
		}
		if x.resumed {
			now, err := x.now(m)
			if err != nil {
				return nil, err
			}
			if now == to {
				continue
			}
		}
		if err := x.move(m); err != nil {
			return nil, err
		}
		if err := x.h.at("moved " + string(m.Slot)); err != nil {
			return nil, err
		}
	}
	if err := x.finish(); err != nil {
		return nil, err
	}
	if err := x.h.at("folders set"); err != nil {
		return nil, err
	}
	if to == Old {
		if err := removeFile(reserveFile(p.file)); err != nil {
			return nil, files.Failed("remove", reserveFile(p.file), err)
		}
	}
	if err := passDone(p.file); err != nil {
		return nil, err
	}
	return x.warnings.All(""), nil
}

// open opens the staging folders and the targets.
func (x *exchange) open() error {
	for i, s := range x.p.stages {
		if i >= len(x.p.built.Stages) {
			return anotherStage(s)
		}
		fd, err := openStage(unix.AT_FDCWD, s, s, x.p.built.Stages[i].Mark)
		if openat.IsErrno(err, unix.ENOENT) {
			return &core.Error{
				Code: core.CodeNotFound, Op: "open " + files.Quote(s), Message: "the staging folder is gone",
				Hint: "somebody removed or renamed it; what is live stays as it is",
			}
		}
		if err != nil {
			return files.Failed("open staging folder", s, err)
		}
		x.stages = append(x.stages, fd)
	}
	for place, r := range x.p.roots {
		fd, err := openat.DirThroughLinks(unix.AT_FDCWD, string(r.Path))
		if err != nil {
			return files.Failed("open folder", string(r.Path), err)
		}
		x.roots[place] = fd
		is, err := openat.MarkOf(fd, "")
		if err != nil {
			return files.Failed("stat", string(r.Path), err)
		}
		if !is.Is(r.Mark) {
			return &core.Error{
				Code: core.CodeFailed, Op: "open " + files.Quote(string(r.Path)), Message: "it is another folder than the one that the restore was built for",
				Hint: "put the folder back, or free what was built with `backstay undo APP --drop` and restore again",
			}
		}
	}
	return nil
}

func (x *exchange) close() error {
	var errs []error
	for _, fd := range x.stages {
		errs = append(errs, unix.Close(fd))
	}
	for _, fd := range x.sub {
		errs = append(errs, unix.Close(fd))
	}
	for _, fd := range x.roots {
		errs = append(errs, unix.Close(fd))
	}
	for _, o := range x.chain {
		errs = append(errs, unix.Close(o.fd))
	}
	return errors.Join(errs...)
}

// slotDir returns the open folder of a slot and the name there.
func (x *exchange) slotDir(stage int, slot rawPath) (int, string, error) {
	if stage >= len(x.stages) {
		return -1, "", fmt.Errorf("read %s: there is no staging folder %d", files.Quote(x.p.file), stage)
	}
	dir, name := filepath.Split(string(slot))
	if dir == "" {
		return x.stages[stage], name, nil
	}
	key := insideKey(stage, rawPath(dir))
	if fd, ok := x.sub[key]; ok {
		return fd, name, nil
	}
	above, base, err := x.slotDir(stage, rawPath(strings.TrimSuffix(dir, "/")))
	if err != nil {
		return -1, "", err
	}
	fd, err := openat.Dir(above, base)
	if err != nil {
		return -1, "", err
	}
	// They are many only where folders came to be on both sides since Build.
	if len(x.sub) > 200 {
		for k, fd := range x.sub {
			if err := unix.Close(fd); err != nil {
				return -1, "", err
			}
			delete(x.sub, k)
		}
	}
	x.sub[key] = fd
	return fd, name, nil
}

// inSlot looks what lies in a slot: not known when there is nothing.
func (x *exchange) inSlot(m *move) (is openat.Mark, isDir bool, err error) {
	dir, name, err := x.slotDir(m.Stage, m.Slot)
	if openat.IsErrno(err, unix.ENOENT) {
		return is, false, nil
	}
	if err != nil {
		return is, false, files.Failed("open staging folder of", string(m.Slot), err)
	}
	is, st, err := openat.StatMark(dir, name)
	if openat.IsErrno(err, unix.ENOENT) {
		return openat.Mark{}, false, nil
	}
	if err != nil {
		return is, false, files.Failed("stat staged", string(m.Slot), err)
	}
	return is, uint32(st.Mode)&unix.S_IFMT == unix.S_IFDIR, nil
}

// begin settles what is to be moved, and writes it down before anything is.
func (x *exchange) begin() error {
	p := x.p
	x.moves, x.lines = p.moves, p.folders
	if p.pass != nil {
		x.moves, x.lines = p.passMoves, p.passed
		if err := x.settle(); err != nil {
			return err
		}
	}
	if p.pass != nil && !p.done && p.pass.To == x.to {
		x.resumed = true
		return nil
	}
	var next []*move
	for _, m := range x.moves {
		now := Old
		if p.pass != nil {
			var err error
			if now, err = x.now(m); err != nil {
				return err
			}
		}
		moves, err := x.plan(m, now)
		if err != nil {
			return err
		}
		next = append(next, moves...)
	}
	x.moves = next
	wholly := p.pass == nil || p.done
	for _, l := range x.lines {
		fd, err := x.folder(l.placePath)
		if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) && (x.to == Old || !x.needed(l.placePath)) {
			continue
		}
		if err != nil {
			return files.Failed("open folder", x.real(l.placePath, ""), err)
		}
		st, err := openat.Fstat(fd)
		if err != nil {
			return files.Failed("stat", x.real(l.placePath, ""), err)
		}
		if x.to == New && wholly {
			// What Revert gives it back is what it has now, not what Build saw.
			xattrs := l.Old.Xattrs
			l.Old = attributesOf(&st)
			l.Old.Xattrs = xattrs
		}
	}
	head := passHead{To: x.to}
	for _, s := range p.stages {
		head.Stages = append(head.Stages, rawPath(s))
	}
	return writePass(p.file, head, x.moves, x.lines)
}

// needed says whether something is to be moved in a folder.
func (x *exchange) needed(at placePath) bool {
	return slices.ContainsFunc(x.moves, func(m *move) bool { return m.placePath == at && m.On != x.to })
}

// real names a live path.
func (x *exchange) real(at placePath, name rawPath) string {
	root := strings.TrimSuffix(string(x.p.roots[at.Place].Path), "/")
	if at.Dir == "" && name == "" {
		return root + "/"
	}
	return filepath.Join(root+"/", string(at.Dir), string(name))
}

// errReplaced says that a folder is not the one that was compared. It stands for a folder that is gone.
var errReplaced error = replacedError{}

type replacedError struct{}

func (replacedError) Error() string { return "another folder was put there after the restore looked" }
func (replacedError) Unwrap() error { return unix.ENOTDIR }

// folder opens a live folder, through no link but those that the backup followed, when it is
// the one that was compared: who owns the folder above can put another one there. It
// belongs to x, until another one is opened.
func (x *exchange) folder(at placePath) (int, error) {
	root, ok := x.roots[at.Place]
	if !ok {
		return -1, fmt.Errorf("read %s: there is no target for %q", files.Quote(x.p.file), at.Place)
	}
	keep := 0
	for keep < len(x.chain) && x.chain[keep].at.Place == at.Place && within(at.Dir, x.chain[keep].at.Dir) {
		keep++
	}
	for _, o := range x.chain[keep:] {
		if err := unix.Close(o.fd); err != nil {
			return -1, err
		}
	}
	x.chain = x.chain[:keep]
	fd, have := root, ""
	if keep > 0 {
		fd, have = x.chain[keep-1].fd, string(x.chain[keep-1].at.Dir)
	}
	for have != string(at.Dir) {
		rest := strings.TrimPrefix(string(at.Dir[len(have):]), "/")
		name, _, _ := strings.Cut(rest, "/")
		have = filepath.Join(have, name)
		down := placePath{at.Place, rawPath(have)}
		next, err := -1, error(nil)
		if x.p.followed[down] {
			next, err = openat.DirThroughLinks(fd, name)
		} else {
			next, err = openat.Dir(fd, name)
		}
		if err != nil {
			return -1, err
		}
		if known := x.p.known[down]; known.Known() {
			is, err := openat.MarkOf(next, "")
			if err == nil && !is.Is(known) {
				err = errReplaced
			}
			if err != nil {
				return -1, errors.Join(err, unix.Close(next))
			}
		}
		x.chain = append(x.chain, open{down, next})
		fd = next
	}
	return fd, nil
}

// within says whether a path is another one or below it.
func within(path, dir rawPath) bool {
	return path == dir || strings.HasPrefix(string(path), string(dir)+"/")
}

// finish sets the folders' owners, modes and times, and brings everything to disk.
func (x *exchange) finish() error {
	disks, err := durable.New()
	if err != nil {
		return err
	}
	lines := slices.Clone(x.lines)
	// Deepest first, so that a mode that forbids to look in comes last.
	slices.SortStableFunc(lines, func(a, b *folderLine) int {
		return strings.Count(string(b.Dir), "/") - strings.Count(string(a.Dir), "/")
	})
	together := len(lines) > durable.Singly
	for _, fd := range x.stages {
		together = together && disks.Trusted(fd)
	}
	for _, l := range lines {
		fd, err := x.folder(l.placePath)
		if errors.Is(err, errReplaced) {
			x.warnings.Add("newer", x.real(l.placePath, ""), "another folder was put there after the restore looked: it keeps its owner and mode")
		}
		if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) {
			continue // others took it away
		}
		if err != nil {
			return files.Failed("open folder", x.real(l.placePath, ""), err)
		}
		if err := x.set(fd, l); err != nil {
			return files.Failed("set times and mode of", x.real(l.placePath, ""), err)
		}
		if !together {
			if err := disks.Folder(fd); err != nil {
				return files.Failed("sync folder", x.real(l.placePath, ""), err)
			}
		}
	}
	for key, fd := range x.sub {
		if err := disks.Folder(fd); err != nil {
			return files.Failed("sync staging folder", key, err)
		}
	}
	for i, fd := range x.stages {
		if err := disks.Folder(fd); err != nil {
			return files.Failed("sync staging folder", x.p.stages[i], err)
		}
	}
	if together {
		for place, fd := range x.roots {
			if err := disks.Disk(fd); err != nil {
				return files.Failed("sync the file system of", string(x.p.roots[place].Path), err)
			}
		}
		for i, fd := range x.stages {
			if err := disks.Disk(fd); err != nil {
				return files.Failed("sync the file system of", x.p.stages[i], err)
			}
		}
	}
	return nil
}

// set gives a folder what it is to have on this side.
func (x *exchange) set(fd int, l *folderLine) error {
	want := l.Old
	if x.to == New && l.Set {
		want = *l.New
	}
	st, err := openat.Fstat(fd)
	if err != nil {
		return err
	}
	// Where a killed process had made it writable nobody remembers that.
	locked := x.unlocked[l.placePath] || x.resumed && st.Mode&0o7777 != want.Mode && st.Mode&0o7777 == want.Mode|0o300
	if l.Meta {
		if err := unix.Fchown(fd, int(want.UID), int(want.GID)); err != nil && !openat.IsErrno(err, unix.EPERM, unix.EINVAL) {
			return err
		}
		xattr.Write(fd, want.Xattrs, func(name string, err error) {
			x.warnings.Add("xattr", x.real(l.placePath, ""), fmt.Sprintf("its extended attribute %q could not be set: %s", name, openat.Reason(err)))
		})
	}
	if l.Meta || locked {
		if err := unix.Fchmod(fd, want.Mode); err != nil && !openat.IsErrno(err, unix.EPERM) {
			return err
		}
	}
	if err := openat.SetTime(fd, time.Unix(want.Time[0], want.Time[1])); err != nil && !openat.IsErrno(err, unix.EPERM) {
		return err
	}
	return nil
}
