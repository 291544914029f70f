package capture

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

const (
	// maxAttempts is how often a file that changes while it is read is read.
	maxAttempts = 3
	bufferSize  = 1 << 20
	// settled is how long before its capture a file must have changed last to
	// be trusted unread next time: a change soon after could leave the
	// times as they are, because they are as coarse as the kernel's tick or the file system.
	settled = 2 * time.Second
)

// fileReader is one worker's means of reading.
type fileReader struct {
	c    *capture
	buf  []byte
	zero []byte
}

// writeError marks an error of the TreeWriter, which ends the capture, among
// the errors of reading, which do not.
type writeError struct{ err error }

func (e *writeError) Error() string { return e.err.Error() }
func (e *writeError) Unwrap() error { return e.err }

// store captures a file or a link. An error ends the capture.
func (c *capture) store(r *fileReader, j job) error {
	real := j.in.real + "/" + j.name
	c.progress.Item(real)
	if openat.Kind(&j.st) == unix.S_IFLNK {
		return c.storeLink(j, real)
	}
	key := c.cacheKey(j)
	if hit, record, ok := c.fresh.old.lookup(key, &j.st); ok {
		c.count(j.in.place, func(t *core.Tree) { t.Reused++ })
		c.progress.Add(hit.object.Size)
		c.mu.Lock()
		c.fresh.keep(record)
		c.mu.Unlock()
		return c.storeFile(j, cacheKey{}, &j.st, hit, time.Time{})
	}
	var kept *reading
	for attempt := 1; ; attempt++ {
		now := c.clock.Now()
		got, err := r.read(j, real)
		if err == nil {
			kept = got
			if got.changed == "" {
				return c.storeFile(j, key, &got.st, got.content, now)
			}
			if attempt < maxAttempts {
				continue
			}
			c.warn("changed", real, fmt.Sprintf("%s while it was being read, %d times in a row; the last reading is stored", got.changed, maxAttempts))
			return c.storeFile(j, cacheKey{}, &got.st, got.content, now)
		}
		var we *writeError
		if errors.As(err, &we) {
			return fmt.Errorf("store %s: %w", files.Quote(real), we.err)
		}
		if ctxErr := c.ctx.Err(); ctxErr != nil {
			return ctxErr
		}
		if exhausted(err) {
			return fmt.Errorf("read %s: %w", files.Quote(real), err)
		}
		if kept != nil {
			// It was read before, and what was read is worth more than nothing.
			c.warn("changed", real, "it changed while it was being read and could not be read again ("+openat.Reason(err)+"); the first reading is stored")
			return c.storeFile(j, cacheKey{}, &kept.st, kept.content, now)
		}
		if !openat.IsErrno(err, unix.ENOENT, unix.ELOOP, unix.ESTALE, unix.ENXIO) && !errors.Is(err, errNoFile) {
			c.warn("unreadable", real, openat.Reason(err))
			return nil
		}
		// Gone or replaced: look again.
		st, lerr := j.stat()
		switch {
		case openat.IsErrno(lerr, unix.ENOENT):
			c.vanished(real)
			return nil
		case lerr != nil:
			c.warn("unreadable", real, openat.Reason(lerr))
			return nil
		case openat.Kind(&st) == unix.S_IFLNK:
			return c.storeLink(j, real)
		case openat.Kind(&st) != unix.S_IFREG || attempt == maxAttempts:
			c.warn("changed", real, "not stored: it was replaced by a "+kindName(openat.Kind(&st))+" while the backup ran")
			return nil
		}
	}
}

var errNoFile = errors.New("it is no longer a regular file")

// content is what is stored of a file beside its attributes.
type content struct {
	object core.Object
	sparse bool
	xattrs map[string][]byte
	// partial: not all of xattrs could be read. Such a file is read again next
	// time, so that the warning is not lost.
	partial bool
}

// reading is one attempt at a file.
type reading struct {
	content
	st      unix.Stat_t
	changed string // how it changed meanwhile; "" when it did not
}

// storeFile adds a file that was read, now or in a backup before.
func (c *capture) storeFile(j job, key cacheKey, st *unix.Stat_t, got content, read time.Time) error {
	e := entryOf(j.stored, core.TypeFile, st)
	e.Object = got.object
	x := files.Extra{Xattrs: got.xattrs, Sparse: got.sparse}
	if j.stored != j.name {
		x.Name = []byte(j.name)
	}
	c.owns(e)
	c.count(j.in.place, func(t *core.Tree) {
		t.Files++
		t.Bytes += e.Object.Size
	})
	if j.group != nil {
		j.group.entry, j.group.extra = e, files.Extra{Xattrs: got.xattrs, Sparse: got.sparse}
	}
	c.add(j.in, e, x)
	if key != (cacheKey{}) && !got.partial && st.Ctim.Nano()+settled.Nanoseconds() <= read.UnixNano() {
		c.mu.Lock()
		err := c.fresh.add(key, st, got)
		c.mu.Unlock()
		return err
	}
	return nil
}

func (c *capture) storeLink(j job, real string) error {
	target, err := openat.Readlink(j.in.fd, j.name)
	if openat.IsErrno(err, unix.ENOENT) {
		c.vanished(real)
		return nil
	}
	if err != nil {
		c.warn("unreadable", real, openat.Reason(err))
		return nil
	}
	st, err := openat.Lstat(j.in.fd, j.name)
	if err != nil || openat.Kind(&st) != unix.S_IFLNK {
		c.warn("changed", real, "not stored: it was replaced while the backup ran")
		return nil
	}
	e := entryOf(j.stored, core.TypeSymlink, &st)
	if e.Object, err = c.storeBytes(filepath.Join(j.in.path, j.stored), target); err != nil {
		return fmt.Errorf("store link %s: %w", files.Quote(real), err)
	}
	var x files.Extra
	if j.stored != j.name {
		x.Name = []byte(j.name)
	}
	c.owns(e)
	c.count(j.in.place, func(t *core.Tree) { t.Symlinks++ })
	c.add(j.in, e, x)
	return nil
}

// stat looks at what a job's name stands for now.
func (j *job) stat() (unix.Stat_t, error) {
	if !j.follow {
		return openat.Lstat(j.in.fd, j.name)
	}
	return openat.Stat(j.in.fd, j.name)
}

// read reads a file once, up to the size that it has when it is opened.
func (r *fileReader) read(j job, real string) (got *reading, err error) {
	// O_NONBLOCK: a FIFO put in the file's place must not hold us up.
	flags := unix.O_RDONLY | unix.O_NONBLOCK
	if !j.follow {
		flags |= unix.O_NOFOLLOW
	}
	fd, err := openat.Open(j.in.fd, j.name, flags|unix.O_NOATIME, 0)
	if openat.IsErrno(err, unix.EPERM) { // O_NOATIME is for the owner and root
		fd, err = openat.Open(j.in.fd, j.name, flags, 0)
	}
	if err != nil {
		return nil, err
	}
	got = &reading{}
	if got.st, err = openat.Fstat(fd); err == nil && openat.Kind(&got.st) != unix.S_IFREG {
		err = errNoFile
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	f := os.NewFile(uintptr(fd), j.name)
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	got.xattrs = xattr.Read(fd, func(name string, err error) {
		got.partial = true
		r.c.xattrFailed(real)(name, err)
	})
	w, err := r.c.contents.Create(r.c.ctx, filepath.Join(j.in.path, j.stored))
	if err != nil {
		return nil, &writeError{err}
	}
	defer func() {
		if cerr := w.Close(); err == nil && cerr != nil {
			err = &writeError{cerr}
		}
	}()
	n, err := r.copy(w, f, got)
	if err != nil {
		return nil, err
	}
	after, err := openat.Fstat(fd)
	if err != nil {
		return nil, err
	}
	got.changed = changeOf(&got.st, &after, n)
	named, err := j.stat()
	switch {
	case openat.IsErrno(err, unix.ENOENT):
		// Deleted after it was opened: all of it was read, at a moment when it
		// was there. The deletion itself changed the ctime.
		if n == got.st.Size && after.Size == got.st.Size && after.Mtim == got.st.Mtim {
			got.changed = ""
		}
	case err != nil:
		return nil, err
	case got.changed == "" && openat.IDOf(&named) != openat.IDOf(&got.st):
		got.changed = "it was replaced by another file"
	}
	if got.object, err = w.Finish(); err != nil {
		return nil, &writeError{err}
	}
	return got, nil
}

// copy writes size bytes of f to w. Holes are written as zeros without being read.
func (r *fileReader) copy(w io.Writer, f *os.File, got *reading) (int64, error) {
	size := got.st.Size
	if got.st.Blocks*512 >= size {
		return r.copyRange(w, f, 0, size)
	}
	for at := int64(0); at < size; {
		data, err := seek(f, at, unix.SEEK_DATA)
		if openat.IsErrno(err, unix.ENXIO) {
			data, err = size, nil // nothing but a hole up to the end
		}
		if err != nil { // the file system cannot tell
			return r.copyRange(w, f, at, size)
		}
		data = min(data, size)
		if data > at {
			got.sparse = true
			if err := r.writeZeros(w, data-at); err != nil {
				return at, err
			}
			at = data
			continue
		}
		hole, err := seek(f, at, unix.SEEK_HOLE)
		if err != nil || hole <= at {
			return r.copyRange(w, f, at, size)
		}
		hole = min(hole, size)
		if n, err := r.copyRange(w, f, at, hole); err != nil || n < hole {
			return n, err
		}
		at = hole
	}
	return size, nil
}

func seek(f *os.File, at int64, whence int) (pos int64, err error) {
	err = openat.Retry(func() (err error) {
		pos, err = unix.Seek(int(f.Fd()), at, whence)
		return err
	})
	return pos, err
}

// copyRange writes the bytes from at to end and returns how far it came: less
// than end when the file has become shorter.
func (r *fileReader) copyRange(w io.Writer, f *os.File, at, end int64) (int64, error) {
	if r.buf == nil {
		r.buf = make([]byte, bufferSize)
	}
	for at < end {
		if err := r.c.ctx.Err(); err != nil {
			return at, err
		}
		n, err := f.ReadAt(r.buf[:min(int64(len(r.buf)), end-at)], at)
		if n > 0 {
			if _, werr := w.Write(r.buf[:n]); werr != nil {
				return at, &writeError{werr}
			}
			r.c.progress.Add(int64(n))
			at += int64(n)
		}
		if err == io.EOF {
			return at, nil
		}
		if err != nil {
			return at, err
		}
	}
	return at, nil
}

func (r *fileReader) writeZeros(w io.Writer, n int64) error {
	if r.zero == nil {
		r.zero = make([]byte, bufferSize)
	}
	for n > 0 {
		if err := r.c.ctx.Err(); err != nil {
			return err
		}
		k := min(n, int64(len(r.zero)))
		if _, err := w.Write(r.zero[:k]); err != nil {
			return &writeError{err}
		}
		r.c.progress.Add(k)
		n -= k
	}
	return nil
}

// changeOf says how a file changed between two looks, of which n bytes were read.
func changeOf(before, after *unix.Stat_t, n int64) string {
	switch {
	case after.Size > before.Size:
		return "it grew"
	case after.Size < before.Size || n < before.Size:
		return "it became shorter"
	case after.Mtim != before.Mtim || after.Ctim != before.Ctim:
		return "it was written to"
	}
	return ""
}

// sameFile says whether two looks saw the same file unchanged.
func sameFile(a, b *unix.Stat_t) bool {
	return openat.IDOf(a) == openat.IDOf(b) && a.Size == b.Size && a.Mtim == b.Mtim && a.Ctim == b.Ctim && openat.Kind(a) == openat.Kind(b)
}

func (c *capture) xattrFailed(real string) func(string, error) {
	return func(name string, err error) {
		if name == "" {
			c.warn("unreadable", real, "its extended attributes could not be listed: "+openat.Reason(err))
			return
		}
		c.warn("unreadable", real, fmt.Sprintf("its extended attribute %q could not be read: %s", name, openat.Reason(err)))
	}
}
