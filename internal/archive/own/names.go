package own

import (
	"cmp"
	"fmt"
	"path"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// The entries of an archive that are no part of the backup's trees.
const (
	readmeName   = "README.txt"
	manifestName = "manifest.json"
	entriesName  = "ENTRIES"
	sumsName     = "SHA256SUMS"

	databaseDir = string(core.ComponentDatabase)
	indexName   = databaseDir + "/index.json"
)

// maxPath bounds a path in a backup. Captured trees may be deeper than what
// one system call takes.
const maxPath = 65535

// place is an entry of the archive's root folder.
type place struct {
	rank int
	kind core.EntryType
}

// places returns the archive's root folder in its order: what tells how to
// read an entry comes before it.
func places() map[string]place {
	order := []string{readmeName, manifestName, databaseDir}
	for _, c := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles} {
		order = append(order, files.ExtraName(c), string(c))
	}
	all := map[string]place{}
	for i, name := range append(order, entriesName, sumsName) {
		kind := core.TypeFile
		if name == databaseDir || isTree(name) {
			kind = core.TypeDir
		}
		all[name] = place{i, kind}
	}
	return all
}

func isTree(name string) bool {
	return name == string(core.ComponentCode) || name == string(core.ComponentConfig) || name == string(core.ComponentFiles)
}

// compare orders the names of a folder as the archive has them.
func (o *order) compare(dir, a, b string) int {
	switch dir {
	case "":
		return cmp.Compare(o.places[a].rank, o.places[b].rank)
	case databaseDir:
		index := path.Base(indexName)
		if a == index || b == index {
			return cmp.Compare(b2i(b == index), b2i(a == index))
		}
	}
	return cmp.Compare(a, b)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// order checks that entries come in the archive's order, which also says that
// none comes twice and that each lies in a folder that came before it.
type order struct {
	places map[string]place
	open   []openDir // from the root folder to the one that the last entry lies in, or is
}

type openDir struct {
	path string
	last string // the name of its last entry; "" none yet
}

func newOrder() *order {
	return &order{places: places(), open: []openDir{{}}}
}

// next takes the path of the next entry, or says what is wrong with it.
func (o *order) next(p string, kind core.EntryType) error {
	if err := o.check(p, kind); err != nil {
		return err
	}
	dir, name := split(p)
	for len(o.open) > 1 && o.open[len(o.open)-1].path != dir {
		o.open = o.open[:len(o.open)-1]
	}
	in := &o.open[len(o.open)-1]
	if in.path != dir {
		return archive.Hostile(p, "its folder is none, or ended before it")
	}
	switch {
	case in.last == name:
		return archive.Hostile(p, "it is there twice")
	case in.last != "" && o.compare(dir, in.last, name) > 0:
		return archive.Hostile(p, "it comes after "+in.last)
	}
	in.last = name
	if kind == core.TypeDir {
		o.open = append(o.open, openDir{path: p})
	}
	return nil
}

// check refuses what is no path of a backup's layout.
func (o *order) check(p string, kind core.EntryType) error {
	if len(p) > maxPath {
		return archive.Hostile(p, fmt.Sprintf("it is longer than %d bytes", maxPath))
	}
	if !utf8.ValidString(p) {
		return archive.Hostile(p, "it is not UTF-8")
	}
	depth := 0
	first, second := "", ""
	for element := range strings.SplitSeq(p, "/") {
		if err := files.CheckName(element); err != nil {
			return archive.Hostile(p, err.Error())
		}
		if len(element) > archive.MaxName {
			return archive.Hostile(p, fmt.Sprintf("an element is longer than %d bytes", archive.MaxName))
		}
		switch depth {
		case 0:
			first = element
		case 1:
			second = element
		}
		depth++
	}
	known, ok := o.places[first]
	switch {
	case !ok:
		return archive.Hostile(p, "a backup has no such entry")
	case depth == 1 && kind != known.kind:
		return archive.Hostile(p, "it is of the wrong kind")
	case depth == 2 && isTree(first) && (kind != core.TypeDir || second != "app" && second != "system"):
		return archive.Hostile(p, "a tree has the folders app and system and nothing else")
	case first == databaseDir && kind == core.TypeSymlink:
		return archive.Hostile(p, "a database has no links")
	}
	return nil
}

// split returns the folder, "" for the root, and the name.
func split(p string) (dir, name string) {
	if i := strings.LastIndexByte(p, '/'); i >= 0 {
		return p[:i], p[i+1:]
	}
	return "", p
}
