// Package pack reads pieces of packs, the files in which a repository keeps
// what is stored. It is for package kopia, which knows what the pieces are. It
// promises that a pack which is no longer there is not read, though it may be
// kept open.
package pack

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxOpen bounds how many packs are kept open. Backups are read nearly in
// the order in which they were written, by a few readers at a time.
const maxOpen = 16

// Files keeps packs open between reads: a backup of small files is read in
// pieces of a few kB, and to open a file for each costs more than to read it.
// The kernel also reads ahead only in a file that stays open. The zero value is
// usable, and safe for concurrent use.
type Files struct {
	mu     sync.Mutex
	byPath map[string]*file
	uses   uint64
	closed bool
	pieces sync.Pool // *[]byte of pieceSize
}

// pieceSize is the largest piece that is read at once, in bytes.
const pieceSize = 128 << 10

// file is an open pack. What is in it never changes.
type file struct {
	fd      int
	users   int
	last    uint64
	dropped bool // to be closed by its last user
}

// ErrShort says that a pack ends before what was to be read.
var ErrShort = errors.New("it ends early")

// Copy writes length bytes of the pack at path to w. An error is as of ReadAt,
// or w's.
func (p *Files) Copy(w io.Writer, path string, offset, length int64) error {
	piece, ok := p.pieces.Get().(*[]byte)
	if !ok {
		b := make([]byte, pieceSize)
		piece = &b
	}
	defer p.pieces.Put(piece)
	for length > 0 {
		b := (*piece)[:min(length, pieceSize)]
		if err := p.ReadAt(path, b, offset); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		offset, length = offset+int64(len(b)), length-int64(len(b))
	}
	return nil
}

// ReadAt fills b from the pack at path. An error is ErrShort or the system's,
// with the path.
func (p *Files) ReadAt(path string, b []byte, offset int64) error {
	f, err := p.acquire(path)
	if err != nil {
		return err
	}
	err = f.readAt(b, offset)
	if errors.Is(err, unix.ESTALE) { // somebody else on the server removed or replaced it
		p.drop(path, f)
	}
	if rerr := p.release(f); err == nil {
		err = rerr
	}
	switch {
	case errors.Is(err, ErrShort):
		return fmt.Errorf("read %s, %d bytes at %d: %w", path, len(b), offset, err)
	case err != nil:
		return &fs.PathError{Op: "read", Path: path, Err: err}
	}
	return nil
}

func (f *file) readAt(b []byte, offset int64) error {
	for len(b) > 0 {
		n, err := unix.Pread(f.fd, b, offset)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return ErrShort
		}
		b, offset = b[n:], offset+int64(n)
	}
	return nil
}

// acquire returns the file that is at path now, open.
func (p *Files) acquire(path string) (*file, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.byPath[path]; f != nil {
		// A pack that was removed meanwhile is lost, though it could still be read.
		var st unix.Stat_t
		if err := unix.Fstat(f.fd, &st); err == nil && st.Nlink > 0 {
			p.use(f)
			return f, nil
		}
		p.dropLocked(path, f)
	}
	var fd int
	for {
		var err error
		fd, err = unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			break
		}
		if err != unix.EINTR {
			return nil, &fs.PathError{Op: "open", Path: path, Err: err}
		}
	}
	f := &file{fd: fd}
	p.use(f)
	if p.closed {
		f.dropped = true
		return f, nil
	}
	if p.byPath == nil {
		p.byPath = map[string]*file{}
	}
	if len(p.byPath) >= maxOpen {
		oldest := ""
		for path, o := range p.byPath {
			if oldest == "" || o.last < p.byPath[oldest].last {
				oldest = path
			}
		}
		p.dropLocked(oldest, p.byPath[oldest])
	}
	p.byPath[path] = f
	return f, nil
}

func (p *Files) use(f *file) {
	f.users++
	p.uses++
	f.last = p.uses
}

func (p *Files) release(f *file) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	f.users--
	if f.dropped && f.users == 0 {
		return os.NewSyscallError("close", unix.Close(f.fd))
	}
	return nil
}

func (p *Files) drop(path string, f *file) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropLocked(path, f)
}

// dropLocked forgets an open file. It was only read from, so that to close it
// can lose nothing.
func (p *Files) dropLocked(path string, f *file) {
	if p.byPath[path] != f {
		return
	}
	delete(p.byPath, path)
	f.dropped = true
	if f.users == 0 {
		_ = unix.Close(f.fd)
	}
}

// Close closes the files. What is read after it is opened for each read.
func (p *Files) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for path, f := range p.byPath {
		p.dropLocked(path, f)
	}
}
