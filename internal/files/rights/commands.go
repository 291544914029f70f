// Package rights is about who may do what with restored files: the lines for a shell with which root sets
// owners that a restore could not set, and SELinux labels. It is for package exchange. It promises to follow no link.
package rights

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/compare"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/restore"
)

// DeniedFolders returns which live folders this user will not be able to change.
func DeniedFolders(c *compare.Result) (all []compare.Denied) {
	if c.AsRoot {
		return nil
	}
	for _, f := range c.Folders {
		if !f.Meta {
			continue
		}
		uid, gid := c.Owners.IDs(f.Entry)
		mode := files.UnixMode(f.Entry.Mode)
		mine := int(f.Stat.Uid) == os.Geteuid()
		d := compare.Denied{Denied: restore.Denied{Path: f.Real, UID: uid, GID: gid}, ModeOnly: f.Stat.Uid == uid && (mine || f.Stat.Gid == gid)}
		if f.Real == "" {
			d.Path = "/"
		}
		if !mine && f.Stat.Mode&0o7777 != mode {
			d.Mode = mode
		}
		if !d.ModeOnly || d.Mode != 0 {
			all = append(all, d)
		}
	}
	return all
}

// Tree is what was staged, with the owners that it has, in the order of a walk.
type Tree struct {
	wanted bool
	paths  []ownedPath
}

type ownedPath struct {
	path     string
	uid, gid uint32
	isDir    bool
	denied   bool
}

// NewTree returns an empty tree. One that is not wanted keeps nothing.
func NewTree(wanted bool) *Tree { return &Tree{wanted: wanted} }

// See adds a path.
func (t *Tree) See(path string, st *unix.Stat_t) {
	if t.wanted {
		t.paths = append(t.paths, ownedPath{path: path, uid: st.Uid, gid: st.Gid, isDir: openat.IsDir(st)})
	}
}

// commandBytes is how long a command line gets.
const commandBytes = 16 << 10

// Commands returns the lines that set what was denied: one for a whole folder where
// everything in it is to have the same owner.
func (t *Tree) Commands(all []compare.Denied) []string {
	if len(all) == 0 {
		return nil
	}
	byPath := make(map[string]compare.Denied, len(all))
	for _, d := range all {
		byPath[d.Path] = d
	}
	each, whole := map[[2]uint32][]string{}, map[[2]uint32][]string{}
	modes := map[uint32][]string{}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		if d := byPath[path]; d.Mode != 0 {
			modes[d.Mode] = append(modes[d.Mode], path)
		}
	}
	for i := range t.paths {
		p := &t.paths[i]
		if d, ok := byPath[p.path]; ok && !d.ModeOnly {
			p.uid, p.gid, p.denied = d.UID, d.GID, true
		}
		if p.denied {
			delete(byPath, p.path)
		}
	}
	emit := func(from, to int) {
		p := t.paths[from]
		if own := [2]uint32{p.uid, p.gid}; to-from > 1 {
			whole[own] = append(whole[own], p.path)
		} else {
			each[own] = append(each[own], p.path)
		}
	}
	for at := 0; at < len(t.paths); {
		end, uniform, any := t.group(at, emit)
		if uniform && any {
			emit(at, end)
		}
		at = end
	}
	for _, path := range slices.Sorted(maps.Keys(byPath)) {
		if d := byPath[path]; !d.ModeOnly {
			own := [2]uint32{d.UID, d.GID}
			each[own] = append(each[own], path)
		}
	}
	var out []string
	for _, own := range slices.SortedFunc(maps.Keys(whole), compareOwners) {
		out = append(out, commandLines(fmt.Sprintf("chown -hR %d:%d --", own[0], own[1]), whole[own])...)
	}
	for _, own := range slices.SortedFunc(maps.Keys(each), compareOwners) {
		out = append(out, commandLines(fmt.Sprintf("chown -h %d:%d --", own[0], own[1]), each[own])...)
	}
	for _, mode := range slices.Sorted(maps.Keys(modes)) {
		out = append(out, commandLines(fmt.Sprintf("chmod %04o --", mode), modes[mode])...)
	}
	return out
}

func compareOwners(a, b [2]uint32) int { return slices.Compare(a[:], b[:]) }

// group looks through the path at a position and all that is in it: where that ends,
// whether all of it has one owner, and whether any was denied. Where it has several, it
// emits the largest parts that have one.
func (t *Tree) group(at int, emit func(from, to int)) (end int, uniform, any bool) {
	p := t.paths[at]
	type part struct {
		from, to     int
		uniform, any bool
	}
	var parts []part
	uniform, any, end = true, p.denied, at+1
	for end < len(t.paths) && strings.HasPrefix(t.paths[end].path, p.path+"/") {
		next, one, some := t.group(end, emit)
		parts = append(parts, part{end, next, one, some})
		in := t.paths[end]
		uniform = uniform && one && in.uid == p.uid && in.gid == p.gid
		any = any || some
		end = next
	}
	if uniform {
		return end, true, any
	}
	for _, in := range parts {
		if in.uniform && in.any {
			emit(in.from, in.to)
		}
	}
	if p.denied {
		emit(at, at+1)
	}
	return end, false, any
}

// commandLines spreads paths over lines.
func commandLines(command string, paths []string) []string {
	var lines []string
	line := command
	for _, p := range paths {
		word := " " + shellWord(p)
		if len(line)+len(word) > commandBytes && line != command {
			lines = append(lines, line)
			line = command
		}
		line += word
	}
	return append(lines, line)
}

// shellWord quotes a path, also one that is not text and would not survive JSON.
func shellWord(path string) string {
	if utf8.ValidString(path) {
		return files.ShellQuote(path)
	}
	var b strings.Builder
	b.WriteString(`"$(printf '`)
	for i := range len(path) {
		if c := path[i]; c >= 0x80 || c < 0x20 || strings.IndexByte(`'"\%$`+"`", c) >= 0 {
			fmt.Fprintf(&b, `\%03o`, c)
		} else {
			b.WriteByte(c)
		}
	}
	b.WriteString(`')"`)
	return b.String()
}
