package restore

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
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

// tempName returns the name under which a file is written before it takes its
// place. It depends on the name only, so that what a killed restore left is
// overwritten by the next one.
func tempName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return ".backstay-" + hex.EncodeToString(sum[:12]) + ".tmp"
}

// fileWriter is one worker's means of writing.
type fileWriter struct {
	o   *restore
	buf []byte
}

// write restores one file or link.
func (w *fileWriter) write(j writeJob) (err error) {
	real := j.in.real + "/" + j.name
	w.o.progress.Item(real)
	temp := tempName(j.name)
	if err := clearTemp(j.in.fd, temp); err != nil {
		return writeFailed("remove", j.in.real+"/"+temp, err)
	}
	defer func() {
		if err != nil {
			// The first error counts; what can be removed is removed.
			if rerr := clearTemp(j.in.fd, temp); rerr != nil {
				err = errors.Join(err, fmt.Errorf("remove %s: %w", files.Quote(j.in.real+"/"+temp), rerr))
			}
		}
	}()
	if j.entry.Type == core.TypeSymlink {
		err = w.makeLink(j, temp, real)
	} else {
		err = w.makeFile(j, temp, real)
	}
	if err != nil {
		return err
	}
	if err := w.o.replace(j.in, temp, j.name); err != nil {
		return err
	}
	w.o.mu.Lock()
	if j.entry.Type == core.TypeSymlink {
		w.o.result.Symlinks++
	} else {
		w.o.result.Files++
		w.o.result.Bytes += j.entry.Object.Size
	}
	w.o.mu.Unlock()
	if j.link != nil {
		j.link.ok = true
	}
	return nil
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

// makeFile writes a file under its temporary name, complete and on disk.
func (w *fileWriter) makeFile(j writeJob, temp, real string) (err error) {
	src, err := w.o.reader.Open(w.o.ctx, j.entry.Object.ID)
	if err != nil {
		return fmt.Errorf("restore %s: %w", files.Quote(real), err)
	}
	defer func() {
		if cerr := src.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("restore %s: %w", files.Quote(real), cerr)
		}
	}()
	fd, err := openat.Open(j.in.fd, temp, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return writeFailed("write", real, err)
	}
	f := os.NewFile(uintptr(fd), temp)
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = writeFailed("write", real, cerr)
		}
	}()
	var sum hash.Hash
	if w.o.opt.Verify {
		sum = sha256.New()
	}
	if err := w.copy(f, src, j, real, sum); err != nil {
		return err
	}
	if err := w.o.setAttributes(fd, j.entry, j.extra, real); err != nil {
		return err
	}
	if err := futimens(fd, j.entry); err != nil {
		return writeFailed("set times of", real, err)
	}
	if err := f.Sync(); err != nil {
		return writeFailed("sync", real, err)
	}
	if sum != nil {
		if err := w.verify(f, sum.Sum(nil), j.entry.Object.Size, real); err != nil {
			return err
		}
	}
	if j.link != nil {
		st, err := openat.Fstat(fd)
		if err != nil {
			return writeFailed("stat", real, err)
		}
		j.link.id = openat.IDOf(&st)
	}
	return nil
}

func (w *fileWriter) copy(f *os.File, src io.Reader, j writeJob, real string, sum hash.Hash) error {
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
	size := int64(0)
	for {
		if err := w.o.ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(src, w.buf)
		if n > 0 {
			part := w.buf[:n]
			if werr := writeAt(f, part, size, j.extra.Sparse); werr != nil {
				return writeFailed("write", real, werr)
			}
			if sum != nil {
				sum.Write(part)
			}
			size += int64(n)
			w.o.progress.Add(int64(n))
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			break
		}
		if err != nil {
			return fmt.Errorf("restore %s: %w", files.Quote(real), err)
		}
		if size > j.entry.Object.Size {
			break
		}
	}
	if size != j.entry.Object.Size {
		return files.Damage("restore "+files.Quote(real), fmt.Sprintf("the backup has %d bytes of it where there should be %d", size, j.entry.Object.Size))
	}
	if j.extra.Sparse {
		// The end may be a hole.
		if err := f.Truncate(size); err != nil {
			return writeFailed("write", real, err)
		}
	}
	return nil
}

// writeAt writes b, leaving out blocks of zeros where holes are wanted.
func writeAt(f *os.File, b []byte, at int64, sparse bool) error {
	if !sparse {
		_, err := f.WriteAt(b, at)
		return err
	}
	zero := make([]byte, sparseBlock)
	from := 0 // where what must be written begins
	flush := func(to int) error {
		if to == from {
			return nil
		}
		_, err := f.WriteAt(b[from:to], at+int64(from))
		return err
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
func (w *fileWriter) verify(f *os.File, want []byte, size int64, real string) error {
	// What is written and synced can leave the page cache, so that the disk
	// itself answers. It is advice: file systems may ignore it.
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil && !openat.IsErrno(err, unix.EINVAL, unix.ENOSYS) {
		return writeFailed("verify", real, err)
	}
	sum := sha256.New()
	n, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{io.NewSectionReader(f, 0, size+1)}, w.buf)
	if err != nil {
		return writeFailed("verify", real, err)
	}
	if n != size || !bytes.Equal(sum.Sum(nil), want) {
		return &core.Error{
			Code: core.CodeDamage, Op: "verify " + files.Quote(real), Message: "what is read back is not what was written",
			Hint: "the disk or the memory of this machine is at fault; restore to another one",
		}
	}
	return nil
}

// makeLink makes a symbolic link under its temporary name.
func (w *fileWriter) makeLink(j writeJob, temp, real string) error {
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
	if err := unix.Symlinkat(string(target), j.in.fd, temp); err != nil {
		return writeFailed("write", real, err)
	}
	st, err := openat.Lstat(j.in.fd, temp)
	if err != nil {
		return writeFailed("stat", real, err)
	}
	_, err = w.o.setOwner(&st, j.entry, real, func(uid, gid int) error {
		return unix.Fchownat(j.in.fd, temp, uid, gid, unix.AT_SYMLINK_NOFOLLOW)
	})
	if err != nil {
		return err
	}
	ts := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(j.entry)}
	if err := unix.UtimesNanoAt(j.in.fd, temp, ts, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return writeFailed("set times of", real, err)
	}
	return nil
}

// link makes another name of a restored file. It returns false when that is
// not possible here, so that the bytes must be written.
func (o *restore) link(t *linkTarget, j writeJob) (bool, error) {
	real := j.in.real + "/" + j.name
	dir, err := openBelow(t.root, t.in)
	if err != nil {
		return false, nil
	}
	temp := tempName(j.name)
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
