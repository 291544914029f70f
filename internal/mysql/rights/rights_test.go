package rights

import "testing"

func TestGrantCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, database string
		want              bool
	}{
		{"`a`", "a", true}, {"`a`", "A", true}, {"`a`", "ab", false}, {"`a%`", "abc", true}, {"`a_c`", "abc", true}, {"`a\\_c`", "abc", false}, {"`a\\_c`", "a_c", true},
		{"`a``b`", "a`b", true}, {`"a""b"`, `a"b`, true}, {`"a"`, "a", true}, {"`a.b`", "axb", false}, {"`%`", "ünï", true}, {"`ü_`", "üx", true}, {"`(`", "(", true}, {"``", "", true}, {"", "", false}, {"`", "x", false},
	} {
		if got := covers(c.pattern, c.database); got != c.want {
			t.Errorf("%s covers %q: %v", c.pattern, c.database, got)
		}
	}
}
