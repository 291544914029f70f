package itop

import (
	"bufio"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"

	"github.com/backstay/backstay/internal/archive"
)

// gunzip unpacks gzip members up to the end of the file, and says so where
// anything else follows them.
type gunzip struct {
	src     *archive.Source
	packed  *bufio.Reader
	z       *gzip.Reader
	members int
	err     error
}

func newGunzip(src *archive.Source) (*gunzip, error) {
	g := &gunzip{src: src, packed: bufio.NewReaderSize(src, 256<<10)}
	z, err := gzip.NewReader(g.packed)
	if err != nil {
		return nil, g.problem(err)
	}
	z.Multistream(false)
	g.z, g.members = z, 1
	return g, nil
}

// problem tells errors of the file from damage in it.
func (g *gunzip) problem(err error) error {
	switch {
	case g.src.Failed() != nil:
		return g.src.Failed()
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return &flaw{Where: "the archive", Message: "its compressed data break off: it was cut short"}
	default:
		return &flaw{Where: "the archive", Message: "its compressed data are damaged: " + err.Error()}
	}
}

func (g *gunzip) Read(p []byte) (int, error) {
	if g.err != nil {
		return 0, g.err
	}
	n, err := g.z.Read(p)
	if err == io.EOF {
		err = g.nextMember()
	} else if err != nil {
		err = g.problem(err)
	}
	g.err = err
	if n > 0 {
		return n, nil
	}
	return 0, err
}

// nextMember goes on with what follows a member; io.EOF: nothing.
func (g *gunzip) nextMember() error {
	next, err := g.packed.Peek(2)
	switch {
	case len(next) == 0 && err == io.EOF:
		return io.EOF
	case err != nil && err != io.EOF:
		return g.problem(err)
	case len(next) < 2 || next[0] != 0x1f || next[1] != 0x8b:
		return &flaw{Where: "the archive", Message: "something follows the end of its compressed data"}
	}
	if err := g.z.Reset(g.packed); err != nil {
		return g.problem(err)
	}
	g.z.Multistream(false)
	g.members++
	return nil
}
