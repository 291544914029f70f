package restore

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// prune removes from a restored folder what the backup does not have there.
func (o *restore) prune(f *openFolder) error {
	if !f.owned.Whole() {
		return nil
	}
	names, err := openat.List(f.fd)
	if err != nil {
		return writeFailed("list folder", f.real, err)
	}
	r := remover{o: o}
	for _, name := range names {
		if f.names[name] || !f.owned.Child(name, filepath.Join(f.rel, name)).Whole() {
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
	_, err := r.removeAt(in.fd, in.dev, in.owned, name, filepath.Join(in.rel, name), in.real+"/"+name)
	return err
}

// removeAt returns whether the name is gone.
func (r remover) removeAt(dir int, dev uint64, owned files.Scope, name, rel, real string) (bool, error) {
	if (r.o.kept[files.Quote(real)] || files.IsStagingName(name)) && !r.force {
		return false, nil
	}
	here := owned.Child(name, rel)
	if !here.Whole() && !r.force {
		return false, nil
	}
	st, err := openat.Lstat(dir, name)
	if openat.IsErrno(err, unix.ENOENT) {
		return true, nil
	}
	if err != nil {
		return false, writeFailed("remove", real, err)
	}
	flags := 0
	if openat.IsDir(&st) {
		if uint64(st.Dev) != dev {
			if r.force {
				return false, fmt.Errorf("remove %s: another file system is mounted there, in the way of a file of the backup", files.Quote(real))
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
	if err := unix.Unlinkat(dir, name, flags); err != nil && !openat.IsErrno(err, unix.ENOENT) {
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
func (r remover) empty(dir int, dev uint64, here files.Scope, name, rel, real string) (all bool, err error) {
	fd, err := openat.Dir(dir, name)
	if err != nil {
		return false, writeFailed("remove", real, err)
	}
	defer func() {
		if cerr := unix.Close(fd); cerr != nil {
			err = errors.Join(err, cerr)
		}
	}()
	names, err := openat.List(fd)
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
