package exchange

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// maxAttempts is how often something that others put into the way, or took away, is looked at again.
const maxAttempts = 10

// asideSuffix is added to a slot's name while live and staged change places by two renames.
const asideSuffix = "~"

// move makes a slot and a live path change places, whatever is there.
func (x *exchange) move(m *move) error {
	real := x.real(m.placePath, m.Name)
	slotDir, slot, err := x.slotDir(m.Stage, m.Slot)
	if err != nil {
		return files.Failed("open staging folder for", real, err)
	}
	dir, err := x.folder(m.placePath)
	if openat.IsErrno(err, unix.ENOENT, unix.ENOTDIR, unix.ELOOP) && x.to == Old {
		x.warnings.Add("newer", real, "its folder is not there any more; what was here before stays in the staging folder")
		return nil
	}
	if err != nil {
		return files.Failed("open folder of", real, err)
	}
	if stays, err := x.blocked(dir, m); stays || err != nil {
		return files.Failed("look at", real, err)
	}
	err = x.change(slotDir, slot, dir, m)
	if openat.IsErrno(err, unix.EACCES) {
		err = x.unlock(dir, slotDir, slot, m, err)
	}
	if err == nil {
		err = x.giveBack(slotDir, slot, dir, m)
	}
	return files.Failed("replace", real, err)
}

// change does what move does. What comes in must be in the slot; what goes out need not be there.
func (x *exchange) change(slotDir int, slot string, dir int, m *move) error {
	comes := m.Take == (x.to == Old) // the slot's content is what this side is to have
	name := string(m.Name)
	full, err := there(slotDir, slot)
	if err != nil {
		return err
	}
	if comes && !full {
		return nil // it was not there when it was taken away
	}
	// Where nothing is expected a plain rename comes first: it is one system call, too.
	live := m.Had || !comes
	for range maxAttempts {
		var err error
		switch {
		case full && live:
			err = x.swap(slotDir, slot, dir, name)
			if openat.IsErrno(err, unix.ENOENT) {
				live = false
				continue
			}
		case full:
			err = x.rename(slotDir, slot, dir, name)
			if openat.IsErrno(err, unix.EEXIST) {
				live = true
				continue
			}
		default:
			err = x.rename(dir, name, slotDir, slot)
			if openat.IsErrno(err, unix.ENOENT) {
				return nil
			}
		}
		return err
	}
	return errors.New("somebody else keeps changing it")
}

func there(dir int, name string) (bool, error) {
	_, err := openat.Lstat(dir, name)
	if openat.IsErrno(err, unix.ENOENT) {
		return false, nil
	}
	return err == nil, err
}

func (x *exchange) renameat2(fromDir int, from string, toDir int, to string, flags uint) error {
	if x.h.rename != nil {
		return x.h.rename(fromDir, from, toDir, to, flags)
	}
	return openat.Retry(func() error { return unix.Renameat2(fromDir, from, toDir, to, flags) })
}

// rename moves to a name that must be free.
func (x *exchange) rename(fromDir int, from string, toDir int, to string) error {
	err := x.renameat2(fromDir, from, toDir, to, unix.RENAME_NOREPLACE)
	if !openat.IsErrno(err, unix.EINVAL, unix.ENOSYS, unix.ENOTSUP) {
		return err
	}
	if taken, err := there(toDir, to); err != nil || taken {
		return errors.Join(err, unix.EEXIST)
	}
	return x.renameat2(fromDir, from, toDir, to, 0)
}

// swap makes two names change places. Where the file system cannot do that at once, it
// takes two renames, and a third to tidy up, between which settle finds the way.
func (x *exchange) swap(slotDir int, slot string, dir int, name string) error {
	if !x.noSwap {
		err := x.renameat2(slotDir, slot, dir, name, unix.RENAME_EXCHANGE)
		if !openat.IsErrno(err, unix.EINVAL, unix.ENOSYS, unix.ENOTSUP) {
			return err
		}
		x.noSwap = true
	}
	if err := x.rename(dir, name, slotDir, slot+asideSuffix); err != nil {
		return err
	}
	if err := x.h.at("put aside " + name); err != nil {
		return err
	}
	if err := x.rename(slotDir, slot, dir, name); err != nil {
		return errors.Join(err, x.rename(slotDir, slot+asideSuffix, dir, name))
	}
	if err := x.h.at("put in " + name); err != nil {
		return err
	}
	return x.rename(slotDir, slot+asideSuffix, slotDir, slot)
}

// settle ends exchanges by two renames that a kill broke off: forward where the live
// path has its new content, else back.
func (x *exchange) settle() error {
	if x.p.done {
		return nil
	}
	for _, m := range x.moves {
		slotDir, slot, err := x.slotDir(m.Stage, m.Slot)
		if openat.IsErrno(err, unix.ENOENT) {
			continue
		}
		if err != nil {
			return files.Failed("open staging folder of", string(m.Slot), err)
		}
		aside, err := there(slotDir, slot+asideSuffix)
		if err != nil {
			return files.Failed("stat staged", string(m.Slot), err)
		}
		if !aside {
			continue
		}
		real := x.real(m.placePath, m.Name)
		full, err := there(slotDir, slot)
		if err != nil {
			return files.Failed("stat staged", string(m.Slot), err)
		}
		if !full {
			if err := x.rename(slotDir, slot+asideSuffix, slotDir, slot); err != nil {
				return files.Failed("keep", real, err)
			}
			continue
		}
		dir, err := x.folder(m.placePath)
		if err != nil {
			return files.Failed("open folder of", real, err)
		}
		err = x.rename(slotDir, slot+asideSuffix, dir, string(m.Name))
		if openat.IsErrno(err, unix.EEXIST) {
			// Somebody put something there in the meantime: both are kept.
			x.warnings.Add("newer", real, "it was put there while files changed places; what was there before is "+string(m.Slot)+asideSuffix+"-kept in the staging folder")
			err = x.rename(slotDir, slot+asideSuffix, slotDir, slot+asideSuffix+"-kept")
		}
		if err != nil {
			return files.Failed("put back", real, err)
		}
	}
	return nil
}

// unlock tries again what was not permitted, with the owner's right to write: to the
// folder, which gets its mode back at the end, and to folders that are moved, whose entry for
// the folder above changes.
func (x *exchange) unlock(dir, slotDir int, slot string, m *move, denied error) error {
	me := uint32(os.Geteuid())
	st, err := openat.Fstat(dir)
	if err != nil {
		return err
	}
	if st.Uid != me {
		return denied
	}
	if st.Mode&0o300 != 0o300 {
		x.unlocked[m.placePath] = true
		if err := unix.Fchmod(dir, st.Mode&0o7777|0o300); err != nil {
			return errors.Join(denied, err)
		}
	}
	var locked []int
	var modes []uint32
	defer func() {
		for _, fd := range locked {
			_ = unix.Close(fd) // it was opened for its mode only
		}
	}()
	for _, at := range []struct {
		dir  int
		name string
	}{{slotDir, slot}, {dir, string(m.Name)}} {
		st, err := openat.Lstat(at.dir, at.name)
		if err != nil || !openat.IsDir(&st) || st.Uid != me || st.Mode&0o200 != 0 {
			continue
		}
		fd, err := openat.Open(at.dir, at.name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err != nil {
			return errors.Join(denied, err)
		}
		locked, modes = append(locked, fd), append(modes, st.Mode&0o7777)
		if err := unix.Chmod(openat.Path(fd), st.Mode&0o7777|0o200); err != nil {
			return errors.Join(denied, err)
		}
	}
	err = x.change(slotDir, slot, dir, m)
	for i, fd := range locked {
		if cerr := unix.Chmod(openat.Path(fd), modes[i]); cerr != nil {
			err = errors.Join(err, fmt.Errorf("give a folder its mode back: %w", cerr))
		}
	}
	return err
}
