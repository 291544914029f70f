package restore

import (
	"bytes"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

const (
	// sparseBlock is the unit in which holes are made.
	sparseBlock = 4096
	// maxLinkTarget is Linux's PATH_MAX.
	maxLinkTarget = 4096
)

// makeTarget makes a folder and those above it, durably, and says whether it did.
func makeTarget(path string) (bool, error) {
	if _, err := os.Stat(path); err == nil {
		return false, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return false, err
	}
	above := filepath.Dir(path)
	if _, err := makeTarget(above); err != nil {
		return false, err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return false, err
	}
	return true, openat.SyncPath(above)
}

// unlockDir lets the owner of a folder into it.
func unlockDir(dir int, name string) error {
	fd, err := openat.Open(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	// Not fchmodat, which can refuse links only since Linux 6.6.
	err = unix.Chmod(openat.Path(fd), 0o700)
	return errors.Join(err, unix.Close(fd))
}

// fileWriter is one worker's means of writing.
type fileWriter struct {
	o   *restore
	buf []byte
}

// write restores one link, or writes one file as far as is possible without
// waiting for the disk.
func (w *fileWriter) write(j writeJob) {
	real := w.o.real(j.in, j.name, j.path)
	w.o.progress.Item(real)
	f := written{job: j, real: real, temp: files.TempName(j.name), fd: -1}
	var err error
	if j.entry.Type == core.TypeSymlink {
		err = w.makeLink(f)
		if err == nil {
			err = w.o.replace(j.in, f.temp, j.name)
		}
	} else {
		err = w.makeFile(&f)
		if err == nil {
			w.keep(f)
			return
		}
	}
	switch {
	case w.o.leaveOut(err, filepath.Join(w.o.component, j.path), 1):
		if err := discard(j.in, f.temp, nil); err != nil {
			w.o.fail(err)
		}
	case err != nil:
		w.o.fail(discard(j.in, f.temp, err))
	default:
		w.o.mu.Lock()
		w.o.result.Symlinks++
		w.o.mu.Unlock()
	}
	w.o.finished(j)
}

func clearTemp(dir int, temp string) error {
	err := unix.Unlinkat(dir, temp, 0)
	if openat.IsErrno(err, unix.ENOENT) {
		return nil
	}
	return err
}

// replace moves a finished file to its name, whatever stands there.
func (o *restore) replace(in *openFolder, temp, name string) error {
	real := in.real + "/" + name
	for attempt := 1; ; attempt++ {
		err := unix.Renameat(in.fd, temp, in.fd, name)
		if err == nil {
			return nil
		}
		if !openat.IsErrno(err, unix.EISDIR, unix.ENOTEMPTY, unix.EEXIST) || attempt == maxAttempts {
			return writeFailed("write", real, err)
		}
		if !in.owned.Child(name, filepath.Join(in.rel, name)).Whole() {
			return &core.Error{
				Code: core.CodeFailed, Op: "write " + files.Quote(real), Message: "there is a folder of that name, which the backup does not own",
				Hint: "restore to another folder with --to-dir, or move the folder away",
			}
		}
		r := remover{o: o, force: true}
		if err := r.remove(in, name); err != nil {
			return err
		}
	}
}

// makeFile writes a file under its temporary name, with all its attributes,
// and leaves it open.
func (w *fileWriter) makeFile(f *written) (err error) {
	j := f.job
	src, err := w.o.reader.Open(w.o.ctx, j.entry.Object.ID)
	if err != nil {
		return fmt.Errorf("restore %s: %w", files.Quote(f.real), err)
	}
	defer func() {
		if cerr := src.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("restore %s: %w", files.Quote(f.real), cerr)
		}
		if err != nil && f.fd >= 0 {
			err = errors.Join(err, unix.Close(f.fd))
		}
	}()
	if f.fd, err = createTemp(j.in.fd, f.temp); err != nil {
		return writeFailed("write", f.real, err)
	}
	if err := w.copy(f, src); err != nil {
		return err
	}
	st, err := w.o.setAttributes(f.fd, j.entry, j.extra, f.real, j.in.bare)
	if err != nil {
		return err
	}
	if err := openat.SetTime(f.fd, j.entry.ModTime); err != nil {
		return writeFailed("set times of", f.real, err)
	}
	if j.link != nil {
		j.link.id = openat.IDOf(&st)
	}
	return nil
}

// createTemp makes a file, in the place of what a killed restore left there.
func createTemp(dir int, temp string) (int, error) {
	for attempt := 1; ; attempt++ {
		fd, err := openat.Open(dir, temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if !openat.IsErrno(err, unix.EEXIST) || attempt == maxAttempts {
			return fd, err
		}
		if err := clearTemp(dir, temp); err != nil {
			return -1, err
		}
	}
}

func (w *fileWriter) copy(f *written, src io.Reader) error {
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
	var sum maphash.Hash
	sum.SetSeed(w.o.seed)
	e, sparse := f.job.entry, f.job.extra.Sparse
	size := int64(0)
	for {
		if err := w.o.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(src, w.buf)
		if n > 0 {
			part := w.buf[:n]
			if werr := writeAt(f.fd, part, size, sparse); werr != nil {
				return writeFailed("write", f.real, werr)
			}
			if w.o.opt.Verify {
				sum.Write(part)
			}
			size += int64(n)
			w.o.progress.Add(int64(n))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", files.Quote(f.real), err)
		}
		if size > e.Object.Size {
			break
		}
	}
	if size != e.Object.Size {
		return files.Damage("restore "+files.Quote(f.real), fmt.Sprintf("the backup has %d bytes of it where there should be %d", size, e.Object.Size))
	}
	if sparse {
		// The end may be a hole.
		if err := openat.Retry(func() error { return unix.Ftruncate(f.fd, size) }); err != nil {
			return writeFailed("write", f.real, err)
		}
	}
	f.sum = sum.Sum64()
	return nil
}

// writeAt writes b, leaving out blocks of zeros where holes are wanted.
func writeAt(fd int, b []byte, at int64, sparse bool) error {
	if !sparse {
		return openat.WriteAt(fd, b, at)
	}
	zero := make([]byte, sparseBlock)
	from := 0 // where what must be written begins
	flush := func(to int) error {
		if to == from {
			return nil
		}
		return openat.WriteAt(fd, b[from:to], at+int64(from))
	}
	for i := 0; i < len(b); i += sparseBlock {
		end := min(i+sparseBlock, len(b))
		if bytes.Equal(b[i:end], zero[:end-i]) {
			if err := flush(i); err != nil {
				return err
			}
			from = end
		}
	}
	return flush(len(b))
}

// verify reads a file back from the disk.
func (w *fileWriter) verify(f written) error {
	// What is written and synced can leave the page cache, so that the disk
	// itself answers. It is advice: file systems may ignore it.
	if err := unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED); err != nil && !openat.IsErrno(err, unix.EINVAL, unix.ENOSYS) {
		return writeFailed("verify", f.real, err)
	}
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
	var sum maphash.Hash
	sum.SetSeed(w.o.seed)
	at, size := int64(0), f.job.entry.Object.Size
	for at <= size { // a byte too many is looked for
		n, err := openat.ReadAt(f.fd, w.buf[:min(int64(len(w.buf)), size+1-at)], at)
		if err != nil {
			return writeFailed("verify", f.real, err)
		}
		if n == 0 {
			break
		}
		sum.Write(w.buf[:n])
		at += int64(n)
	}
	if at != size || sum.Sum64() != f.sum {
		return &core.Error{
			Code: core.CodeDamage, Op: "verify " + files.Quote(f.real), Message: "what is read back is not what was written",
			Hint: "the disk or the memory of this machine is at fault; restore to another one",
		}
	}
	return nil
}

// makeLink makes a symbolic link under its temporary name.
func (w *fileWriter) makeLink(f written) error {
	j, real := f.job, f.real
	src, err := w.o.reader.Open(w.o.ctx, j.entry.Object.ID)
	if err != nil {
		return fmt.Errorf("restore %s: %w", files.Quote(real), err)
	}
	target, err := io.ReadAll(io.LimitReader(src, maxLinkTarget+1))
	if cerr := src.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("restore %s: %w", files.Quote(real), err)
	}
	if len(target) == 0 || len(target) > maxLinkTarget || bytes.IndexByte(target, 0) >= 0 {
		return files.Damage("restore "+files.Quote(real), "what is stored is not the target of a link")
	}
	if err := clearTemp(j.in.fd, f.temp); err != nil {
		return writeFailed("remove", j.in.real+"/"+f.temp, err)
	}
	if err := unix.Symlinkat(string(target), j.in.fd, f.temp); err != nil {
		return writeFailed("write", real, err)
	}
	st, err := openat.Lstat(j.in.fd, f.temp)
	if err != nil {
		return writeFailed("stat", real, err)
	}
	_, err = w.o.setOwner(&st, j.entry, real, func(uid, gid int) error {
		return unix.Fchownat(j.in.fd, f.temp, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return err
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(j.entry)}
	if err := unix.UtimesNanoAt(j.in.fd, f.temp, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return writeFailed("set times of", real, err)
	}
	return nil
}

// link makes another name of a restored file. It returns false when that is
// not possible here, so that the bytes must be written.
func (o *restore) link(t *linkTarget, j writeJob) (bool, error) {
	real := o.real(j.in, j.name, j.path)
	dir, err := openBelow(t.root, t.in)
	if err != nil {
		return false, nil
	}
	temp := files.TempName(j.name)
	err = clearTemp(j.in.fd, temp)
	if err == nil {
		err = unix.Linkat(dir, t.name, j.in.fd, temp, 0)
	}
	if cerr := unix.Close(dir); cerr != nil {
		return false, writeFailed("close folder of", real, cerr)
	}
	if err != nil {
		if openat.IsErrno(err, unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EIO) {
			return false, writeFailed("link", real, err)
		}
		o.warn("link", real, "it is restored as a file of its own, because it could not be linked: "+openat.Reason(err))
		return false, nil
	}
	st, err := openat.Lstat(j.in.fd, temp)
	if err != nil || openat.IDOf(&st) != t.id {
		// Somebody put another file in its place meanwhile.
		return false, clearTemp(j.in.fd, temp)
	}
	if err := o.replace(j.in, temp, j.name); err != nil {
		return false, errors.Join(err, clearTemp(j.in.fd, temp))
	}
	// Renaming a file to another name of its own does nothing at all.
	if err := clearTemp(j.in.fd, temp); err != nil {
		return false, writeFailed("remove", j.in.real+"/"+temp, err)
	}
	o.progress.Add(j.entry.Object.Size)
	o.mu.Lock()
	o.result.Files++
	o.result.Bytes += j.entry.Object.Size
	o.mu.Unlock()
	return true, nil
}

// openBelow opens a folder some levels below another, and never through a link.
func openBelow(root int, rel string) (int, error) {
	fd, err := openat.DirThroughLinks(root, ".")
	if err != nil {
		return -1, err
	}
	if rel == "" {
		return fd, nil
	}
	for name := range strings.SplitSeq(rel, "/") {
		next, err := openat.Dir(fd, name)
		if cerr := unix.Close(fd); err == nil && cerr != nil {
			err = errors.Join(cerr, unix.Close(next))
		}
		if err != nil {
			return -1, err
		}
		fd = next
	}
	return fd, nil
}
