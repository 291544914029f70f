package itop

import (
	"hash/maphash"
	"strings"

	"github.com/backstay/backstay/internal/archive"
)

// names knows the paths of one reading of an archive. It keeps a hash of each
// and not the path itself.
type names struct {
	seed  maphash.Seed
	known map[uint64]known
	meter *archive.Meter
}

type known struct {
	kind nameKind
	sum  uint64 // of the bytes of a file
}

type nameKind byte

const (
	unknownName nameKind = iota
	aFile
	aFolder
	impliedFolder // something lies below it
)

func newNames(m *archive.Meter) *names {
	return &names{seed: maphash.MakeSeed(), known: map[uint64]known{}, meter: m}
}

// add takes note of a path. again: it was there, as the same kind, and so was
// the folder whose content came before it.
func (n *names) add(path, name string, dir bool) (again bool, err error) {
	if err := n.meter.Entry(); err != nil {
		return false, err
	}
	at := maphash.String(n.seed, path)
	before := n.known[at].kind
	switch {
	case before == unknownName:
	case dir != (before != aFile):
		return false, archive.Hostile(name, "there is a file and a folder of this name")
	default:
		return true, nil
	}
	kind := aFile
	if dir {
		kind = aFolder
	}
	n.known[at] = known{kind: kind}
	for cut := strings.LastIndexByte(path, '/'); cut > 0; cut = strings.LastIndexByte(path[:cut], '/') {
		above := maphash.String(n.seed, path[:cut])
		switch n.known[above].kind {
		case aFile:
			return false, archive.Hostile(name, "it lies below a file")
		case aFolder, impliedFolder:
			return false, nil
		}
		if err := n.meter.Entry(); err != nil {
			return false, err
		}
		n.known[above] = known{kind: impliedFolder}
	}
	return false, nil
}

// content takes note of a file's bytes and says whether they are those that
// the path had before.
func (n *names) content(path string, sum uint64, again bool) (same bool) {
	at := maphash.String(n.seed, path)
	if again {
		return n.known[at].sum == sum
	}
	n.known[at] = known{kind: aFile, sum: sum}
	return true
}
