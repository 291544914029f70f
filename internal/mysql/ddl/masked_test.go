package ddl_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql/ddl"
)

func TestMasked(t *testing.T) {
	const create = "CREATE TABLE `t?` (\n" +
		"  `a` enum('x','?','it''s ?','(,') CHARACTER SET utf16 COLLATE utf16_bin NOT NULL DEFAULT '?' COMMENT ' DEFAULT ''?''',\n" +
		"  `b``?` set('?') COLLATE utf32_bin DEFAULT NULL COMMENT '?',\n" +
		"  `c` varchar(9) CHARACTER SET utf16le DEFAULT 'a?\\\\',\n" +
		"  `d` varchar(9) DEFAULT '?',\n" +
		"  `e` enum('a','?') DEFAULT '?',\n" +
		"  `f` enum('?') CHARACTER SET latin1 DEFAULT '?',\n" +
		"  `g` varchar(9) CHARACTER SET utf16 DEFAULT concat('?'),\n" +
		"  KEY `?` (`a`)\n) DEFAULT CHARSET=utf8mb4 COMMENT=' CHARSET=utf16 ?'"
	want := []ddl.Masked{
		{Name: "a", Members: []int{1, 2}, Default: true}, {Name: "b`?", Set: true, Members: []int{0}}, {Name: "c", Default: true}, {Name: "d", Default: true}, {Name: "e", Members: []int{1}, Default: true},
	}
	if diff := cmp.Diff(want, ddl.FindMasked(create)); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	value := `'😀\`
	got := create
	got = ddl.Unmask(got, "a", map[int]string{1: "😀", 2: `it's 🔐\`}, &value)
	got = ddl.Unmask(got, "b`?", map[int]string{0: "💾"}, nil)
	got = ddl.Unmask(got, "none", map[int]string{0: "💾"}, &value)
	const mended = "CREATE TABLE `t?` (\n" +
		"  `a` enum('x','😀','it''s 🔐\\\\','(,') CHARACTER SET utf16 COLLATE utf16_bin NOT NULL DEFAULT '''😀\\\\' COMMENT ' DEFAULT ''?''',\n" +
		"  `b``?` set('💾') COLLATE utf32_bin DEFAULT NULL COMMENT '?',\n"
	if diff := cmp.Diff(mended+create[len(create)-len(got)+len(mended):], got); diff != "" {
		t.Errorf("mended (-want +got):\n%s", diff)
	}
	for _, odd := range []string{"", "?", "CREATE TABLE `t` (`a` enum('?", "CREATE TABLE `t` (`a` enum(?) CHARACTER SET utf16)", "CREATE TABLE `t` (`a` enum('?',) CHARACTER SET utf16)"} {
		for _, m := range ddl.FindMasked(odd) {
			t.Errorf("%s: %+v", odd, m)
		}
		if got := ddl.Unmask(odd, "a", map[int]string{0: "b"}, &value); got != odd {
			t.Errorf("%s became %s", odd, got)
		}
	}
}
