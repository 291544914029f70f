package files

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxName is the longest name, in bytes, that Linux file systems take. Escaped
// names keep to it, so that a backup can be restored by hand as well.
const maxName = 255

// EscapeName returns the name under which a file whose name is not valid UTF-8
// is stored: each invalid byte becomes %XX, a name that grew too long is cut, and ~N is added
// where taken says that there is such a name already. Valid names are returned as they are.
func EscapeName(name string, taken func(string) bool) string {
	if utf8.ValidString(name) {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n == 1 {
			fmt.Fprintf(&b, "%%%02X", name[i])
		} else {
			b.WriteString(name[i : i+n])
		}
		i += n
	}
	escaped := cutName(b.String(), maxName)
	for n := 1; taken(escaped); n++ {
		suffix := "~" + strconv.Itoa(n)
		escaped = cutName(b.String(), maxName-len(suffix)) + suffix
	}
	return escaped
}

// cutName returns the longest beginning of s that has at most max bytes and
// ends with a whole character.
func cutName(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// EscapeNames returns the stored name of each of a folder's names. Only names
// that change are in the map.
func EscapeNames(names []string) map[string]string {
	var escaped map[string]string
	var used map[string]bool
	for _, name := range names {
		if utf8.ValidString(name) {
			continue
		}
		if used == nil {
			escaped = map[string]string{}
			used = make(map[string]bool, len(names))
			for _, n := range names {
				if utf8.ValidString(n) {
					used[n] = true
				}
			}
		}
		e := EscapeName(name, func(s string) bool { return used[s] })
		used[e] = true
		escaped[name] = e
	}
	return escaped
}

// CheckName refuses what cannot be one path element. Names that come out of a
// backup pass it before they reach the file system.
func CheckName(name string) error {
	switch {
	case name == "":
		return errors.New("a name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("%q is no name", name)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("the name %q holds a slash or NUL", name)
	}
	return nil
}

func printable(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	for _, r := range s {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	return true
}
