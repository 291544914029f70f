package strict

import (
	"fmt"
	"strings"
)

// NearestHint suggests the one of valid that was probably meant by got, and
// lists them all when none is near.
func NearestHint(got string, valid []string, what string) string {
	if best := Nearest(got, valid); best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	if len(valid) == 0 {
		return "there are no " + what + " yet"
	}
	return fmt.Sprintf("%s are %s", what, strings.Join(valid, ", "))
}

// Nearest returns the entry of valid that takes the fewest edits to make out of
// got, or "" when even that one has little in common with it.
func Nearest(got string, valid []string) string {
	got = strings.ToLower(got)
	if len(got) > 64 {
		return ""
	}
	best, fewest := "", len(got)/3+2
	for _, v := range valid {
		limit := min(len(got), len(v))
		if d := distance(got, v); d < fewest && d < limit {
			best, fewest = v, d
		}
	}
	return best
}

// distance counts the insertions, deletions, substitutions and swaps of
// neighbours that turn a into b.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d := min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d = min(d, rows[i-2][j-2]+1)
			}
			rows[i][j] = d
		}
	}
	return rows[len(a)][len(b)]
}
