package own

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// named is what manifest and index name: each file of it must be in the
// archive, and nothing else below database/.
type named struct {
	manifest *core.Manifest
	missing  map[string]int64 // files that did not come yet → size; -1: not said
	indexed  bool             // the database's index came
	came     map[string]bool  // what came of the root folder
}

// begin takes the manifest.
func (n *named) begin(m *core.Manifest) {
	n.manifest, n.missing, n.came = m, map[string]int64{}, map[string]bool{}
	for _, t := range m.Trees {
		if t.Extra != "" {
			n.missing[t.Extra] = -1
		}
	}
	if d := m.Database; d != nil {
		n.missing[d.Index] = -1
		if d.Evidence != "" {
			n.missing[d.Evidence] = -1
		}
	}
}

// take takes an entry after the manifest, and refuses what nothing names.
func (n *named) take(i item) error {
	dir, _ := split(i.path)
	if dir == "" {
		n.came[i.path] = true
	}
	if top(i.path) == databaseDir {
		switch {
		case n.manifest.Database == nil:
			return archive.Hostile(i.path, "the backup has no database")
		case i.path == databaseDir || i.path == indexName:
		case !n.indexed:
			return archive.Hostile(i.path, "it comes before "+indexName)
		case i.entry.Type == core.TypeDir: // a database without tables has empty ones
		default:
			size, ok := n.missing[i.path]
			if !ok {
				return archive.Hostile(i.path, "the database's index does not name it")
			}
			if size >= 0 && size != i.entry.Object.Size {
				return archive.Hostile(i.path, fmt.Sprintf("it has %d bytes, and the index says %d", i.entry.Object.Size, size))
			}
		}
	}
	delete(n.missing, i.path)
	return nil
}

// read takes the database's index.
func (n *named) read(b []byte, flaw func(where, format string, args ...any)) {
	n.indexed = true
	if sum := sha256.Sum256(b); hex.EncodeToString(sum[:]) != n.manifest.Database.Checksum {
		flaw(indexName, "its SHA-256 is not the one that the manifest has")
	}
	var index core.DatabaseIndex
	if err := json.Unmarshal(b, &index); err != nil {
		flaw(indexName, "it cannot be read: %s", err)
		return
	}
	for _, t := range index.Tables {
		n.missing[t.Schema] = -1
		for _, c := range t.Files() {
			n.missing[c.File] = c.Bytes
		}
	}
	for _, o := range index.Objects {
		n.missing[o.File] = -1
	}
}

// end says what did not come.
func (n *named) end(flaw func(where, format string, args ...any)) {
	for _, p := range slices.Sorted(maps.Keys(n.missing)) {
		flaw(p, "it is missing")
	}
	for _, t := range n.manifest.Trees {
		if t.Files+t.Symlinks > 0 && !n.came[string(t.Component)] {
			flaw(string(t.Component), "it is missing")
		}
	}
}

// top is the first element of a path.
func top(p string) string {
	for i := range len(p) {
		if p[i] == '/' {
			return p[:i]
		}
	}
	return p
}
