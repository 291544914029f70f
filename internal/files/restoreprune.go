package files

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// prune removes from a restored folder what the backup does not have there.
func (o *restore) prune(f *openFolder) error {
	if !f.owned.whole() {
		return nil
	}
	names, err := listDir(f.fd)
	if err != nil {
		return writeFailed("list folder", f.real, err)
	}
	r := remover{o: o}
	for _, name := range names {
		if f.names[name] || !f.owned.child(name, join(f.rel, name)).whole() {
			continue
		}
		if err := o.ctx.Err(); err != nil {
			return err
		}
		if err := r.remove(f, name); err != nil {
			return err
		}
	}
	return nil
}

// remover removes files and whole folders without following a link.
type remover struct {
	o *restore
	// force removes what stands in the way of a restored file, even what Trees
	// exclude. Without it that is kept, with the folders above it.
	force bool
}

// remove removes one name of an open folder.
func (r remover) remove(in *openFolder, name string) error {
	_, err := r.removeAt(in.fd, in.dev, in.owned, name, join(in.rel, name), in.real+"/"+name)
	return err
}

// removeAt returns whether the name is gone.
func (r remover) removeAt(dir int, dev uint64, owned scope, name, rel, real string) (bool, error) {
	if r.o.kept[quote(real)] && !r.force {
		return false, nil
	}
	here := owned.child(name, rel)
	if !here.whole() && !r.force {
		return false, nil
	}
	st, err := lstatAt(dir, name)
	if isErrno(err, unix.ENOENT) {
		return true, nil
	}
	if err != nil {
		return false, writeFailed("remove", real, err)
	}
	flags := 0
	if isDir(&st) {
		if uint64(st.Dev) != dev {
			if r.force {
				return false, fmt.Errorf("remove %s: another file system is mounted there, in the way of a file of the backup", quote(real))
			}
			r.o.warn("kept", real, "it is not in the backup, but another file system is mounted there; it was not removed")
			return false, nil
		}
		empty, err := r.empty(dir, dev, here, name, rel, real)
		if err != nil || !empty {
			return false, err
		}
		flags = unix.AT_REMOVEDIR
	}
	if err := unix.Unlinkat(dir, name, flags); err != nil && !isErrno(err, unix.ENOENT) {
		return false, writeFailed("remove", real, err)
	}
	if !r.force {
		r.o.mu.Lock()
		r.o.result.Removed++
		r.o.mu.Unlock()
	}
	return true, nil
}

// empty removes what is in a folder and says whether that was everything.
func (r remover) empty(dir int, dev uint64, here scope, name, rel, real string) (all bool, err error) {
	fd, err := openDirAt(dir, name)
	if err != nil {
		return false, writeFailed("remove", real, err)
	}
	defer func() {
		if cerr := unix.Close(fd); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	names, err := listDir(fd)
	if err != nil {
		return false, writeFailed("remove", real, err)
	}
	all = true
	for _, child := range names {
		if err := r.o.ctx.Err(); err != nil {
			return false, err
		}
		gone, err := r.removeAt(fd, dev, here, child, rel+"/"+child, real+"/"+child)
		if err != nil {
			return false, err
		}
		all = all && gone
	}
	return all, nil
}
