package exchange

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// state looks which tree is live.
func state(p *plan) (side Side, err error) {
	if p.pass == nil {
		return Old, nil
	}
	if p.done {
		return p.pass.To, nil
	}
	x := &exchange{p: p, to: p.pass.To, sub: map[string]int{}, roots: map[string]int{}, moves: p.passMoves}
	defer func() { err = errors.Join(err, x.close()) }()
	if err := x.open(); err != nil {
		return "", err
	}
	for _, m := range x.moves {
		now, err := x.now(m)
		if err != nil {
			return "", err
		}
		dir, slot, err := x.slotDir(m.Stage, m.Slot)
		if err == nil {
			if aside, err := there(dir, slot+asideSuffix); err != nil || aside {
				return Mixed, err
			}
		}
		// Folders may not have their owners and times yet: until it says that it is
		// done, a pass is not.
		if now == p.pass.To && m.On != now {
			return Mixed, nil
		}
		if side == "" {
			side = now
		}
		if side != now {
			return Mixed, nil
		}
	}
	if side == "" || side == p.pass.To {
		return Mixed, nil
	}
	return side, nil
}

// abandon removes what a Build left, when the live tree is the old one.
func abandon(movesFile string) error {
	p, err := readPlan(movesFile, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	side, err := state(p)
	if err != nil {
		return err
	}
	if side != Old {
		return &core.Error{
			Code: core.CodeLocked, Op: "read " + files.Quote(movesFile), Message: "it is of a restore that was switched to, at least in part",
			Hint: "finish it with `backstay restore --resume APP`, undo it with `backstay undo APP`, or free what it keeps with `backstay undo APP --drop`",
		}
	}
	return p.remove(Old)
}

// drop removes all that a Build, Switch and Revert made and that is not live.
func drop(b *Built) error {
	p, err := readPlan(b.MovesFile, false)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	side, err := state(p)
	if err != nil {
		return err
	}
	if side == Mixed {
		return &core.Error{
			Code: core.CodeLocked, Op: "drop " + files.Quote(b.MovesFile), Message: "the restore stopped half-way, and what is there is needed",
			Hint: "finish it with `backstay restore --resume APP`, or undo it with `backstay undo APP`",
		}
	}
	return p.remove(side)
}

// remove removes the staging folders, and then the files that name them.
func (p *plan) remove(side Side) error {
	for i, s := range p.stages {
		is := p.stageIs[i]
		if p.built != nil && i < len(p.built.Stages) {
			is = p.built.Stages[i].Mark
		}
		if err := removeStage(s, is); err != nil {
			return files.Failed("remove", s, err)
		}
	}
	if side == Old {
		for _, made := range slices.Backward(p.made) {
			err := unix.Rmdir(made)
			if err != nil && !openat.IsErrno(err, unix.ENOENT, unix.ENOTEMPTY, unix.EEXIST, unix.ENOTDIR, unix.EBUSY) {
				return files.Failed("remove", made, err)
			}
		}
	}
	for _, path := range []string{passFile(p.file) + ".new", passFile(p.file), reserveFile(p.file), p.file} {
		if err := removeFile(path); err != nil {
			return files.Failed("remove", path, err)
		}
	}
	return files.Failed("remove", p.file, openat.SyncPath(filepath.Dir(p.file)))
}

// removeStage removes a staging folder, and nothing that somebody else put into its place. Nothing is in one
// that is not marked. The folder that it is in keeps its time.
func removeStage(path string, is openat.Mark) (err error) {
	name := filepath.Base(path)
	if !files.IsStagingName(name) {
		return errors.New("it is not the name of a staging folder")
	}
	in, err := openat.DirThroughLinks(unix.AT_FDCWD, filepath.Dir(path))
	if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unix.Close(in)) }()
	st, err := openat.Fstat(in)
	if err != nil {
		return err
	}
	on, err := openat.MountOf(in)
	if err != nil {
		return err
	}
	fd, err := openStage(in, name, path, is)
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	if is.Known() {
		err = removeIn(fd, on)
	}
	if err := errors.Join(err, unix.Close(fd)); err != nil {
		return err
	}
	// What is in its place by now is empty, or stays.
	if err := unix.Unlinkat(in, name, unix.AT_REMOVEDIR); err != nil && (is.Known() || !openat.IsErrno(err, unix.ENOTEMPTY, unix.EEXIST)) {
		return err
	}
	if err := openat.SetTime(in, openat.ModTime(&st)); err != nil && !openat.IsErrno(err, unix.EPERM) {
		return err
	}
	return openat.Sync(in)
}

// removeAll removes a name with all that is in it, and nothing that is mounted there.
func removeAll(dir int, name string, on openat.Mount) (err error) {
	err = unix.Unlinkat(dir, name, 0)
	if err == nil || openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	if !openat.IsErrno(err, unix.EISDIR, unix.EPERM) {
		return err
	}
	fd, derr := openat.Dir(dir, name)
	if openat.IsErrno(derr, unix.EACCES) {
		fd, derr = openLocked(dir, name)
	}
	if derr != nil {
		return err // it is no folder, and may not be removed
	}
	defer func() {
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
	}()
	m, err := openat.MountOf(fd)
	if err != nil {
		return err
	}
	if m != on {
		return fmt.Errorf("another file system is mounted at %s", files.Quote(name))
	}
	st, err := openat.Fstat(fd)
	if err != nil {
		return err
	}
	if st.Mode&0o700 != 0o700 && int(st.Uid) == os.Geteuid() {
		if err := unix.Fchmod(fd, 0o700); err != nil {
			return err
		}
	}
	if err := removeIn(fd, on); err != nil {
		return err
	}
	return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR)
}

// removeIn removes what is in an open folder.
func removeIn(fd int, on openat.Mount) error {
	names, err := openat.List(fd)
	if err != nil {
		return err
	}
	for _, n := range names {
		if err := removeAll(fd, n, on); err != nil {
			return fmt.Errorf("%s: %w", files.Quote(n), err)
		}
	}
	return nil
}

// openStage opens a staging folder, when it is the one that Build made.
func openStage(in int, name, path string, is openat.Mark) (int, error) {
	fd, err := openat.Dir(in, name)
	if openat.IsErrno(err, unix.ENOTDIR, unix.ELOOP, unix.EACCES) {
		return -1, anotherStage(path)
	}
	if err != nil {
		return -1, err
	}
	st, err := openat.Fstat(fd)
	mark := is
	if err == nil && is.Known() {
		mark, err = openat.MarkOf(fd, "")
	}
	if err == nil && (!mark.Is(is) || is.Birth == 0 && int(st.Uid) != os.Geteuid()) {
		err = anotherStage(path)
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// openLocked opens a folder whose owner has locked himself out.
func openLocked(dir int, name string) (int, error) {
	at, err := openat.Open(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return -1, err
	}
	// Not fchmodat, which can refuse links only since Linux 6.6.
	if err := errors.Join(unix.Chmod(openat.Path(at), 0o700), unix.Close(at)); err != nil {
		return -1, err
	}
	return openat.Dir(dir, name)
}

// keptBytes returns the space that the staging folders take.
func keptBytes(b *Built) (total int64, err error) {
	seen := map[openat.ID]bool{}
	for _, s := range b.Stages {
		n, err := spaceOf(unix.AT_FDCWD, s.Path, seen)
		if err != nil {
			return 0, files.Failed("measure", s.Path, err)
		}
		total += n
	}
	return total, nil
}

func spaceOf(dir int, name string, seen map[openat.ID]bool) (total int64, err error) {
	st, err := openat.Lstat(dir, name)
	if openat.IsErrno(err, unix.ENOENT) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if id := openat.IDOf(&st); st.Nlink > 1 && !openat.IsDir(&st) {
		if seen[id] {
			return 0, nil
		}
		seen[id] = true
	}
	total = st.Blocks * 512
	if !openat.IsDir(&st) {
		return total, nil
	}
	fd, err := openat.Dir(dir, name)
	if openat.IsErrno(err, unix.ENOENT, unix.EACCES) {
		return total, nil
	}
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, unix.Close(fd)) }()
	names, err := openat.List(fd)
	if err != nil {
		return 0, err
	}
	for _, n := range names {
		in, err := spaceOf(fd, n, seen)
		if err != nil {
			return 0, err
		}
		total += in
	}
	return total, nil
}

// changed names the files that are newer than what Build saw.
func changed(ctx context.Context, b *Built) (_ []core.Warning, err error) {
	p, err := readBuilt(b.MovesFile, true)
	if err != nil {
		return nil, err
	}
	x := &exchange{p: p, sub: map[string]int{}, roots: map[string]int{}}
	p.stages = nil // not needed
	defer func() { err = errors.Join(err, x.close()) }()
	if err := x.open(); err != nil {
		return nil, err
	}
	var warnings files.Warnings
	for _, s := range p.same {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		dir, err := x.folder(s.placePath)
		if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) {
			warnings.Add("newer", x.real(s.placePath, ""), "the folder was as in the backup and is not there any more; it was not restored")
			continue
		}
		if err != nil {
			return nil, files.Failed("open folder", x.real(s.placePath, ""), err)
		}
		for i, n := range s.Names {
			st, err := openat.Lstat(dir, string(n))
			if err == nil && openat.Kind(&st) == unix.S_IFLNK && st.Ctim.Nano() != s.Ctimes[i] {
				st, err = openat.Stat(dir, string(n)) // a link that was followed
			}
			switch {
			case openat.IsErrno(err, unix.ENOENT):
				warnings.Add("newer", x.real(s.placePath, n), "it was as in the backup and was removed since; it was not restored")
			case err != nil:
				return nil, files.Failed("stat", x.real(s.placePath, n), err)
			case st.Ctim.Nano() != s.Ctimes[i]:
				warnings.Add("newer", x.real(s.placePath, n), "it was as in the backup and was changed since; it stays as it is now")
			}
		}
	}
	return warnings.All(""), nil
}
