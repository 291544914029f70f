// Package configdiff shows how two versions of a configuration file differ. It
// is for the plan of a restore. It promises to show nothing that may be a secret.
package configdiff

import (
	"bytes"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Lines lists the lines that only one of two texts has, in their order:
// enough for settings, each of which has a line of its own.
func Lines(live, then []byte) []string {
	if bytes.Equal(live, then) || !utf8.Valid(live) || !utf8.Valid(then) {
		return nil
	}
	a, b := strings.Split(string(live), "\n"), strings.Split(string(then), "\n")
	return append(only("- ", a, b), only("+ ", b, a)...)
}

func only(mark string, in, other []string) []string {
	count := map[string]int{}
	for _, l := range other {
		count[strings.TrimSpace(l)]++
	}
	var out []string
	for _, l := range in {
		l = strings.TrimSpace(l)
		if count[l]--; count[l] < 0 && l != "" {
			out = append(out, mark+masked(l))
		}
	}
	return out
}

var (
	secretName = regexp.MustCompile(`(?i)pass|pwd|secret|key|token|salt|hash|credential|private|auth|dsn`)
	separator  = regexp.MustCompile(`=>|=|:|,`)
	inAddress  = regexp.MustCompile(`://[^/@\s'"]*@`)
	longWord   = regexp.MustCompile(`[A-Za-z0-9+/=_-]{24,}`)
)

// masked is a line of a configuration file without what may be a secret: the
// value of a setting whose name sounds like one, an account in an address, and
// every long word that could be a key.
func masked(line string) string {
	if secretName.MatchString(line) {
		at := separator.FindStringIndex(line)
		if at == nil {
			return "*****"
		}
		return line[:at[1]] + " *****"
	}
	return longWord.ReplaceAllString(inAddress.ReplaceAllString(line, "://*****@"), "*****")
}
