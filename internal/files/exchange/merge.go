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

// plan returns what a path of the last pass is in the next one: itself, or, where
// folders must be merged, what is in it.
func (x *exchange) plan(m *move, now Side) ([]*move, error) {
	is, isDir, err := x.inSlot(m)
	if err != nil {
		return nil, err
	}
	next := *m
	next.On, next.Mark = now, is
	if m.Left {
		next.On = x.to
	}
	if next.On == x.to {
		return []*move{&next}, nil
	}
	as, err := x.asStaged(m, is)
	if err != nil {
		return nil, err
	}
	if x.p.pass == nil && !m.Take && !as {
		return nil, &core.Error{
			Code: core.CodeFailed, Op: "restore " + files.Quote(x.real(m.placePath, m.Name)), Message: "what was staged for it is not there any more",
			Hint: "somebody changed " + files.Quote(x.p.stages[m.Stage]) + "; free it with `backstay undo APP --drop` and restore again",
		}
	}
	if m.Take && x.to == Old {
		return []*move{&next}, nil
	}
	dir, err := x.folder(m.placePath)
	if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) && (x.to == Old || m.Take) {
		return []*move{&next}, nil
	}
	if err != nil {
		return nil, files.Failed("open folder", x.real(m.placePath, ""), err)
	}
	st, err := openat.Lstat(dir, string(m.Name))
	if openat.IsErrno(err, unix.ENOENT) {
		return []*move{&next}, nil
	}
	if err != nil {
		return nil, files.Failed("stat", x.real(m.placePath, m.Name), err)
	}
	mine, err := x.expected(&next, dir)
	if openat.IsErrno(err, unix.ENOENT) {
		return []*move{&next}, nil
	}
	if err != nil {
		return nil, files.Failed("stat", x.real(m.placePath, m.Name), err)
	}
	if m.Take {
		if !mine {
			x.leave(&next)
		}
		return []*move{&next}, nil
	}
	if x.to == New {
		if isDir && openat.IsDir(&st) {
			here, err := openat.MarkOf(dir, string(m.Name))
			if err != nil {
				return nil, files.Failed("stat", x.real(m.placePath, m.Name), err)
			}
			restored := m.Staged.Known() && here.Is(m.Staged) // and taken back, but for what others added
			if err := x.mayMerge(&next, &st, restored); err != nil {
				return nil, err
			}
			return x.merge(&next)
		}
		if openat.IsDir(&st) && !mine {
			return nil, x.inTheWay(&next)
		}
		if !m.Had && x.p.pass == nil {
			x.warnings.Add("newer", x.real(m.placePath, m.Name), "it was put there after the restore looked, and is kept in the staging folder")
		}
		return []*move{&next}, nil
	}
	if openat.IsDir(&st) && !mine {
		x.leave(&next)
		return []*move{&next}, nil
	}
	if m.IsDir && openat.IsDir(&st) {
		return x.unmerge(&next, is.Known())
	}
	return []*move{&next}, nil
}

// merge plans to put what is in a staged folder into a live one that came to be since
// Build looked.
func (x *exchange) merge(m *move) (moves []*move, err error) {
	dir, name, err := x.slotDir(m.Stage, m.Slot)
	if err != nil {
		return nil, files.Failed("open staged", string(m.Slot), err)
	}
	fd, err := openat.Dir(dir, name)
	if err != nil {
		return nil, files.Failed("open staged", string(m.Slot), err)
	}
	names, err := openat.List(fd)
	at := placePath{m.Place, rawPath(filepath.Join(string(m.Dir), string(m.Name)))}
	var stats []unix.Stat_t
	var marks []openat.Mark
	for _, n := range names {
		st, serr := openat.Lstat(fd, n)
		mark, merr := openat.MarkOf(fd, n)
		err = errors.Join(err, serr, merr)
		stats, marks = append(stats, st), append(marks, mark)
	}
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return nil, files.Failed("list staged", string(m.Slot), err)
	}
	if err := x.alsoTouched(at); err != nil {
		return nil, err
	}
	for i, n := range names {
		in := &move{placePath: at, Name: rawPath(n), Stage: m.Stage, Slot: m.Slot + "/" + rawPath(n), IsDir: openat.IsDir(&stats[i])}
		in.Mark, in.Staged, in.Ctime, in.Size = marks[i], marks[i], stats[i].Ctim.Nano(), stats[i].Size
		part, err := x.plan(in, Old)
		if err != nil {
			return nil, err
		}
		moves = append(moves, part...)
	}
	return moves, nil
}

// alsoTouched notes a folder in which something moves that Build knew nothing of.
func (x *exchange) alsoTouched(at placePath) error {
	known := func(l *folderLine) bool { return l.placePath == at }
	if slices.ContainsFunc(x.lines, known) {
		return nil
	}
	fd, err := x.folder(at)
	if err != nil {
		return files.Failed("open folder", x.real(at, ""), err)
	}
	st, err := openat.Fstat(fd)
	if err != nil {
		return files.Failed("stat", x.real(at, ""), err)
	}
	is, err := openat.MarkOf(fd, "")
	if err != nil {
		return files.Failed("stat", x.real(at, ""), err)
	}
	x.p.known[at] = is
	x.lines = append(x.lines, &folderLine{placePath: at, Mark: is, Old: attributesOf(&st)})
	return nil
}

// unmerge plans to take a restored folder away. Where others have added to it since, it
// stays with what they added, unless something else is to come into its place.
func (x *exchange) unmerge(m *move, replaced bool) (moves []*move, err error) {
	added, err := x.additions(m)
	if err != nil {
		return nil, err
	}
	if len(added) == 0 {
		return []*move{m}, nil
	}
	if replaced {
		x.warnings.Add("newer", x.real(m.placePath, m.Name), fmt.Sprintf("%s was added here since, and is kept in the staging folder, because something else had this name before", core.Some(added, 3)))
		return []*move{m}, nil
	}
	dir, name, err := x.slotDir(m.Stage, m.Slot)
	if err == nil {
		err = unix.Mkdirat(dir, name, 0o700)
	}
	if err != nil && !openat.IsErrno(err, unix.EEXIST) {
		return nil, files.Failed("make folder", string(m.Slot), err)
	}
	x.warnings.Add("newer", x.real(m.placePath, m.Name), core.Some(added, 3)+" was added to this restored folder since, and stays there")
	at := placePath{m.Place, rawPath(filepath.Join(string(m.Dir), string(m.Name)))}
	if err := x.alsoTouched(at); err != nil {
		return nil, err
	}
	put := x.p.inside[insideKey(m.Stage, m.Slot)]
	for i, n := range put.Names {
		in := &move{placePath: at, Name: n, Stage: m.Stage, Slot: m.Slot + "/" + n, On: New, Staged: put.mark(i)}
		_, in.IsDir = x.p.inside[insideKey(in.Stage, in.Slot)]
		part, err := x.plan(in, New)
		if err != nil {
			return nil, err
		}
		moves = append(moves, part...)
	}
	return moves, nil
}

// additions lists what is in a restored folder and was not staged with it.
func (x *exchange) additions(m *move) ([]string, error) {
	dir, err := x.folder(m.placePath)
	if err != nil {
		return nil, files.Failed("open folder", x.real(m.placePath, ""), err)
	}
	return x.additionsIn(dir, m.Stage, m.Slot, string(m.Name), "")
}

func (x *exchange) additionsIn(dir, stage int, slot rawPath, name, rel string) (added []string, err error) {
	put, known := x.p.inside[insideKey(stage, slot)]
	if !known {
		return nil, nil
	}
	fd, err := openat.Dir(dir, name)
	if openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP, unix.ENOENT, unix.EACCES) {
		return nil, nil
	}
	if err != nil {
		return nil, files.Failed("open folder", name, err)
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	names, err := openat.List(fd)
	if err != nil {
		return nil, files.Failed("list folder", name, err)
	}
	ours := make(map[string]int, len(put.Names))
	for i, n := range put.Names {
		ours[string(n)] = i
	}
	for _, n := range names {
		at := filepath.Join(rel, n)
		i, known := ours[n]
		if mark := put.mark(i); known && mark.Known() {
			is, st, err := openat.StatMark(fd, n)
			if openat.IsErrno(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return nil, files.Failed("stat", at, err)
			}
			known = is.Is(mark) || uint32(st.Mode)&unix.S_IFMT != unix.S_IFDIR
		}
		if !known {
			added = append(added, files.Quote(at))
			continue
		}
		below, err := x.additionsIn(fd, stage, slot+"/"+rawPath(n), n, at)
		if err != nil {
			return nil, err
		}
		added = append(added, below...)
	}
	return added, nil
}
