package files

import (
	"context"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Selection is a choice of paths in a component, as stored, each with all that
// is below it. The zero value selects everything. It does not change.
type Selection struct {
	paths []string
}

// Select checks that each of the paths is in the component's folder, and that known
// knows its place. No paths, or the path "" among them, is everything.
func Select(ctx context.Context, r core.TreeReader, entry core.Entry, paths []string, known func(place string) error) (Selection, error) {
	var s Selection
	all := len(paths) == 0
	for _, p := range paths {
		p = strings.Trim(p, "/")
		if _, err := Lookup(ctx, r, entry, p); err != nil {
			return Selection{}, err
		}
		if p == "" {
			all = true
			continue
		}
		place, _, _ := strings.Cut(p, "/")
		if err := known(place); err != nil {
			return Selection{}, err
		}
		s.paths = append(s.paths, p)
	}
	if all {
		return Selection{}, nil
	}
	slices.Sort(s.paths)
	return s, nil
}

// All says whether everything is selected.
func (s Selection) All() bool { return len(s.paths) == 0 }

// At says whether the path is selected, with all that is below it, or is only a
// folder on the way to what is.
func (s Selection) At(path string) (whole, way bool) {
	if s.All() {
		return true, false
	}
	for end := 0; end < len(path); { // the path itself, or a folder that it is in
		if next := strings.IndexByte(path[end:], '/'); next < 0 {
			end = len(path)
		} else {
			end += next
		}
		if _, there := slices.BinarySearch(s.paths, path[:end]); there {
			return true, false
		}
		end++
	}
	below := path + "/"
	at, _ := slices.BinarySearch(s.paths, below)
	return false, at < len(s.paths) && strings.HasPrefix(s.paths[at], below)
}
