package assemble

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// record is an entry of a folder until that is stored: core.Entry, smaller,
// because there may be millions.
type record struct {
	name     string // as it came
	id       core.ObjectID
	size     int64
	seconds  int64
	folder   *folder // of a folder
	nanos    int32
	mode     fs.FileMode // with ModeDir or ModeSymlink
	uid, gid uint32
}

func (r *record) setTime(t time.Time) { r.seconds, r.nanos = t.Unix(), int32(t.Nanosecond()) }

// entry returns the record under the name that it is stored by.
func (r *record) entry(name string) core.Entry {
	e := core.Entry{
		Name: name, Type: core.TypeFile, Mode: modeBits(r.mode), UID: r.uid, GID: r.gid,
		ModTime: time.Unix(r.seconds, int64(r.nanos)).UTC(), Object: core.Object{ID: r.id, Size: r.size},
	}
	switch {
	case r.mode&fs.ModeDir != 0:
		e.Type = core.TypeDir
	case r.mode&fs.ModeSymlink != 0:
		e.Type = core.TypeSymlink
	}
	return e
}

// folder is a folder that grows.
type folder struct {
	self    record // name and attributes
	given   bool   // an entry gave them
	scope   files.Scope
	records []record
	index   map[string]int32 // by key; nil while there are few
}

// few is how many names are looked through one by one.
const few = 16

// find returns where in the folder a name is, or one that differs in case only.
func (d *folder) find(name string, foldCase bool) (int32, bool) {
	k := key(name, foldCase)
	if d.index != nil {
		at, ok := d.index[k]
		return at, ok
	}
	for i := range d.records {
		if key(d.records[i].name, foldCase) == k {
			return int32(i), true
		}
	}
	return 0, false
}

// append adds a record to a folder that has none of its name.
func (b *Builder) append(d *folder, r record) (int32, error) {
	if b.entries++; b.entries > b.opt.MaxEntries {
		return 0, &core.Error{
			Code: core.CodeUnsupported, Op: "store files", Message: fmt.Sprintf("there are more than %d files and folders", b.opt.MaxEntries),
			Hint: "if there are rightly so many, raise archives: {max_entries: …} in backstay.yaml",
		}
	}
	at := int32(len(d.records))
	b.mu.Lock()
	d.records = append(d.records, r)
	b.mu.Unlock()
	switch {
	case d.index != nil:
		d.index[key(r.name, b.opt.FoldCase)] = at
	case len(d.records) > few:
		d.index = make(map[string]int32, 4*few)
		for i := range d.records {
			d.index[key(d.records[i].name, b.opt.FoldCase)] = int32(i)
		}
	}
	return at, nil
}

// key is what names of a folder are told apart by.
func key(name string, foldCase bool) string {
	if !foldCase {
		return name
	}
	return fold(name)
}

// fold returns the name with each letter as the first of those that differ
// from it in case only; bytes that are no UTF-8 stay.
func fold(name string) string {
	changed := -1
	for i, r := range name {
		if folded(r) != r {
			changed = i
			break
		}
	}
	if changed < 0 {
		return name
	}
	var out strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n == 1 {
			out.WriteByte(name[i])
		} else {
			out.WriteRune(folded(r))
		}
		i += n
	}
	return out.String()
}

// folded returns the lower-case letter of the ASCII letters, and of others the
// first in Unicode's order.
func folded(r rune) rune {
	first := r
	for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
		first = min(first, next)
	}
	if 'A' <= first && first <= 'Z' {
		return first | 0x20
	}
	return first
}

// folderOf returns the folder that a path lies in, made where it was not
// there, and the path's last name.
func (b *Builder) folderOf(p *place, path string) (*folder, string, error) {
	way, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		way, name = path[:i], path[i+1:]
	}
	if p.last != nil && way == p.lastAt {
		return p.last, name, nil
	}
	d, at := p.root, 0
	for element := range strings.SplitSeq(way, "/") {
		if way == "" {
			break
		}
		at += len(element)
		var err error
		if d, err = b.subfolder(p, d, element, path[:at]); err != nil {
			return nil, "", err
		}
		at++
	}
	p.last, p.lastAt = d, strings.Clone(way)
	return d, name, nil
}

// subfolder returns the folder of a name in another, made where it was not
// there. path is where it lies.
func (b *Builder) subfolder(p *place, in *folder, name, path string) (*folder, error) {
	if at, ok := in.find(name, b.opt.FoldCase); ok {
		r := &in.records[at]
		if r.name != name || r.folder == nil {
			return nil, b.conflict(r.name, name, path)
		}
		return r.folder, nil
	}
	scope := in.scope.Child(name, path)
	if len(scope) == 0 {
		return nil, outside(p, path)
	}
	d := &folder{scope: scope, self: record{name: strings.Clone(name), mode: fs.ModeDir}}
	_, err := b.append(in, record{name: d.self.name, mode: fs.ModeDir, folder: d})
	return d, err
}

// join is filepath.Join of what is clean.
func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + string(filepath.Separator) + name
}
