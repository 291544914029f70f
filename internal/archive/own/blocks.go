package own

import (
	"bufio"
	"errors"
	"io"

	"github.com/zeebo/xxh3"
)

// A capture writes a chunk of rows in blocks, which end where the hash of a row
// says so, and stores only blocks that it has not yet. What comes out of an
// archive is cut in the same places, so that it shares its blocks with what was
// captured. The numbers are those of internal/mysql/layout; a test holds
// the two against each other.
const (
	blockMin  = 512 << 10
	blockMax  = 2 << 20
	blockMean = 512 << 10
	// wholeRow is the longest row that comes from a server in one piece. Longer
	// ones a capture cuts as they come over the wire, so that no rule finds its
	// ends again.
	wholeRow = 1 << 20
	piece    = 256 << 10
)

// copyRows copies a chunk, each Write a block.
func copyRows(w io.Writer, r io.Reader) error {
	in := bufio.NewReaderSize(r, wholeRow)
	buf := make([]byte, 0, blockMax)
	flush := func() error {
		if len(buf) == 0 {
			return nil
		}
		_, err := w.Write(buf)
		buf = buf[:0]
		return err
	}
	inLarge := false
	for {
		line, err := in.ReadSlice('\n')
		whole := err == nil && !inLarge
		large := errors.Is(err, bufio.ErrBufferFull)
		switch {
		case err != nil && err != io.EOF && !large:
			return err
		case whole:
			buf = append(buf, line...)
			if endsHere(len(buf), len(line), xxh3.Hash128(line).Lo&(1<<32-1)) {
				if err := flush(); err != nil {
					return err
				}
			}
			continue
		}
		if !inLarge && large {
			// What comes before a large row must not decide where that is cut.
			if err := flush(); err != nil {
				return err
			}
		}
		inLarge = large
		for len(line) > 0 {
			n := min(len(line), piece)
			buf = append(buf, line[:n]...)
			line = line[n:]
			if len(buf) >= blockMin+blockMean {
				if err := flush(); err != nil {
					return err
				}
			}
		}
		if err == io.EOF {
			return flush()
		}
	}
}

// endsHere says whether a row of this length and hash, 32 bits of it, ends the
// block that has size bytes with it.
func endsHere(size, row int, hash uint64) bool {
	switch {
	case size < blockMin:
		return false
	case size >= blockMax, row >= blockMean:
		return true
	}
	return hash < uint64(row)*(1<<32/blockMean)
}
