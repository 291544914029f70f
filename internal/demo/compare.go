package demo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// shown is how many examples a line of differences names.
const shown = 5

// Count counts what a fingerprint covers.
func (f Fingerprint) Count() (tables, rows, files int) {
	for _, r := range f.Tables {
		rows += len(r)
	}
	return len(f.Tables), rows, len(f.Files)
}

// Compare lists in words how b differs from a; nothing when they are equal.
func Compare(a, b Fingerprint) []string {
	var out []string
	for _, name := range sortedKeys(a.Definitions, b.Definitions) {
		before, had := a.Definitions[name]
		after, has := b.Definitions[name]
		switch {
		case !has:
			out = append(out, name+" is missing")
		case !had:
			out = append(out, name+" is new")
		case before != after:
			out = append(out, name+" has another definition")
		}
	}
	for _, name := range sortedKeys(a.Tables, b.Tables) {
		before, had := a.Tables[name]
		after, has := b.Tables[name]
		if !had || !has {
			continue // told by its definition
		}
		out = append(out, compareMaps("table "+name, "row", before, after, func(x, y [16]byte) string {
			if x != y {
				return "changed"
			}
			return ""
		})...)
	}
	return append(out, compareMaps("files", "entry", a.Files, b.Files, compareFiles)...)
}

// compareFiles says what is the matter with a file, the worst first.
func compareFiles(a, b File) string {
	switch {
	case a.Mode.Type() != b.Mode.Type():
		return "of another type"
	case a.Size != b.Size:
		return "of another size"
	case a.SHA256 != b.SHA256:
		return "changed inside, at the same size"
	case a.Target != b.Target:
		return "pointing elsewhere"
	case a.Mode != b.Mode:
		return "of another mode"
	case a.UID != b.UID || a.GID != b.GID:
		return "of another owner"
	case !a.Modified.Equal(b.Modified):
		return "of another time"
	}
	return ""
}

// compareMaps sums up the differences of two maps: a line for each kind of
// difference, with the first few keys.
func compareMaps[V any](what, one string, a, b map[string]V, differ func(V, V) string) []string {
	found := map[string][]string{}
	for key, before := range a {
		after, has := b[key]
		kind := "missing"
		if has {
			kind = differ(before, after)
		}
		if kind != "" {
			found[kind] = append(found[kind], key)
		}
	}
	for key := range b {
		if _, had := a[key]; !had {
			found["new"] = append(found["new"], key)
		}
	}
	var out []string
	for _, kind := range slices.Sorted(maps.Keys(found)) {
		keys := found[kind]
		slices.SortFunc(keys, compareKeys)
		out = append(out, fmt.Sprintf("%s: %s %s (%s)", what, plural(len(keys), one), kind, examples(keys)))
	}
	return out
}

// compareKeys orders numbers as numbers.
func compareKeys(a, b string) int {
	x, errA := strconv.ParseInt(a, 10, 64)
	y, errB := strconv.ParseInt(b, 10, 64)
	if errA == nil && errB == nil {
		return cmp.Compare(x, y)
	}
	return strings.Compare(a, b)
}

func examples(keys []string) string {
	if len(keys) <= shown {
		return strings.Join(keys, ", ")
	}
	return strings.Join(keys[:shown], ", ") + ", …"
}

func plural(n int, one string) string {
	switch {
	case n == 1:
		return "1 " + one
	case strings.HasSuffix(one, "y"):
		return strconv.Itoa(n) + " " + strings.TrimSuffix(one, "y") + "ies"
	default:
		return strconv.Itoa(n) + " " + one + "s"
	}
}

func sortedKeys[V any](a, b map[string]V) []string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]V{}
	}
	maps.Copy(all, b)
	return slices.Sorted(maps.Keys(all))
}
