package portable

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var (
	onMariaDB = dialect{mariaDB: true, version: 101106}
	onMySQL   = dialect{version: 90700}
)

// brief shows tokens without space: names as [x], strings as {x}.
func brief(tokens []token) string {
	var out []string
	for _, t := range tokens {
		switch t.kind {
		case space:
		case comment:
			out = append(out, "<"+t.text+">")
		case name:
			out = append(out, "["+nameOf(t)+"]")
		case text:
			out = append(out, "{"+t.text+"}")
		default:
			out = append(out, t.text)
		}
	}
	return strings.Join(out, " ")
}

func TestTokens(t *testing.T) {
	ansi, plain := onMariaDB, onMariaDB
	ansi.ansiQuotes, plain.noBackslash = true, true
	sjis, gbk := onMariaDB, onMariaDB
	sjis.charset, gbk.charset = "sjis", "gbk"
	for _, c := range []struct {
		name string
		in   dialect
		sql  string
		want string
	}{
		{"names and strings", onMariaDB, "`a``b` 'it''s' \"x\\\"y\" 'a\\'b' x'00' N'n' _utf8mb4'u'", "[a`b] {'it''s'} {\"x\\\"y\"} {'a\\'b'} {x'00'} {N'n'} _utf8mb4 {'u'}"},
		{"ANSI_QUOTES", ansi, `"a""b" 'x'`, "[a\"b] {'x'}"},
		{"NO_BACKSLASH_ESCAPES", plain, `'a\' b`, `{'a\'} b`},
		{"keywords in strings and comments", onMariaDB, "'ENGINE=Aria' /* COLLATE x */ -- DEFINER\n# y\nz--1", "{'ENGINE=Aria'} </* COLLATE x */> <-- DEFINER> <# y> z - - 1"},
		{"numbers", onMariaDB, "1 1.5 .5 1e10 1.e-3 0xFF 0b1 1a a1 t.1", "1 1.5 .5 1e10 1.e-3 0xFF 0b1 1a a1 t .1"},
		{"operators", onMySQL, "a->'$.x' b->>'$.y' c-1", "a -> {'$.x'} b ->> {'$.y'} c - 1"},
		{"sjis with a backslash in a character", sjis, "'\x83\\' b", "{'\x83\\'} b"},
		{"gbk with a quote's byte in a name", gbk, "`\x81`` b", "[\x81`] b"},
		{"MySQL's comments on MySQL", onMySQL, "a /*!80023 INVISIBLE */ b /*!99999 c */ /*!110000 d */ /*M!100100 e */", "a INVISIBLE b </*!99999 c */> </*!110000 d */> </*M!100100 e */>"},
		{"MySQL's comments on MariaDB", onMariaDB, "a /*!80023 INVISIBLE */ /*!50100 b */ /*M!100301 COMPRESSED*/ /*M! c */ /*!100300 d */ /*M!120000 e*/", "a </*!80023 INVISIBLE */> b COMPRESSED c d </*M!120000 e*/>"},
		{"strings and comments in a versioned comment", onMySQL, "/*!50100 'a*/' /* x */ b */ c */", "{'a*/'} </* x */> b c * /"},
		{"what does not end", onMariaDB, "'abc", "{'abc}"},
		{"a comment that does not end", onMariaDB, "/*!50100 a 'b", "a {'b}"},
		{"a name that does not end", onMariaDB, "`", "[`]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			tokens := c.in.tokenize(c.sql)
			if diff := cmp.Diff(c.want, brief(tokens)); diff != "" {
				t.Error(diff)
			}
			whole(t, tokens, c.sql)
		})
	}
}

// whole checks that no byte is lost.
func whole(t *testing.T, tokens []token, sql string) {
	t.Helper()
	var b strings.Builder
	for _, token := range tokens {
		if token.text == "" {
			t.Error("an empty token")
		}
		b.WriteString(token.text)
	}
	if b.String() != sql {
		t.Errorf("the tokens together are %q, of %q", b.String(), sql)
	}
}

func TestUnquote(t *testing.T) {
	for literal, want := range map[string]string{
		`'it''s'`: "it's", `'a\'b\\c\n\0\Z'`: "a'b\\c\n\x00\x1a", `'50\%\_'`: `50\%\_`, `"x""y'"`: `x"y'`, `''`: "", `'\x'`: "x",
	} {
		if got := onMySQL.unquote(literal); got != want {
			t.Errorf("%s is %q, want %q", literal, got, want)
		}
	}
	plain := onMySQL
	plain.noBackslash = true
	if got := plain.unquote(`'a\nb'`); got != `a\nb` {
		t.Errorf("without escapes it is %q", got)
	}
}

// FuzzTokenize: whatever it is, its tokens are its bytes, and reading it as a
// table or an object ends.
func FuzzTokenize(f *testing.F) {
	for _, sql := range []string{
		"CREATE TABLE `t` (`a` int /*!80023 INVISIBLE */, KEY (`a`)) ENGINE=InnoDB /*!50100 PARTITION BY HASH (`a`) */",
		"CREATE DEFINER=`a`@`b` EVENT e ON SCHEDULE EVERY 1 DAY DISABLE ON SLAVE DO SELECT 'x'", "/*!", "/*M!", "'\\", "`", "\"", "x'", "--", "((((", "))))", "_utf8mb4'", "->>", "\x81",
	} {
		f.Add(sql, true, false, false)
		f.Add(sql, false, true, true)
	}
	f.Fuzz(func(t *testing.T, sql string, mariaDB, ansi, wide bool) {
		d := onMySQL
		if mariaDB {
			d = onMariaDB
		}
		d.ansiQuotes, d.noBackslash = ansi, ansi
		if wide {
			d.charset = "gbk"
		}
		whole(t, d.tokenize(sql), sql)
		for _, to := range []Target{targetMariaDB(), targetMySQL()} {
			translate(t, d, to, sql, "table")
			translate(t, d, to, sql, "view")
			translate(t, d, to, sql, "event")
		}
	})
}
