package ddl

import (
	"testing"

	"github.com/backstay/backstay/internal/core"
)

func TestUnqualified(t *testing.T) {
	for from, want := range map[string]string{
		"DEFAULT nextval(`a`.`s`)":              "DEFAULT nextval(`s`)",
		"DEFAULT nextval(`b`.`s`)":              "DEFAULT nextval(`b`.`s`)",
		"select `a`.`t`.`c` AS `c` from `a`":    "select `t`.`c` AS `c` from `a`",
		"select `a`.`c` from `t` `a`":           "select `a`.`c` from `t` `a`",
		"select `a`.`f`(1), 'it''s `a`.`t`.`c`": "select `f`(1), 'it''s `a`.`t`.`c`",
		"'\\''` `a`.`t`.`c`'":                   "'\\''` `a`.`t`.`c`'",
		"`x``a`.`t`.`c`, `a`.`t`.`c`":           "`x``a`.`t`.`c`, `t`.`c`",
		"`a`.`a`.`a`":                           "`a`.`a`",
		"`a":                                    "`a",
	} {
		if got := Unqualified(from, "a", false); got != want {
			t.Errorf("%s becomes %s, want %s", from, got, want)
		}
	}
	if got := Unqualified("nextval(`A`.`s`)", "a", true); got != "nextval(`s`)" {
		t.Errorf("in another case: %s", got)
	}
}

func TestInOneSet(t *testing.T) {
	latin1 := func(text, _ string) (string, bool, error) {
		var out []byte
		for _, r := range text {
			if r > 0xff {
				return "", false, nil
			}
			out = append(out, byte(r))
		}
		return string(out), true, nil
	}
	const head = "CREATE DEFINER=`r`@`h` EVENT "
	for _, c := range []struct{ statement, want, comment, charset, mode string }{
		{"`é` COMMENT 'é' DO SELECT '\xe9 COMMENT é'", "`\xe9` COMMENT '\xe9' DO SELECT '\xe9 COMMENT é'", "é", "latin1", ""},
		{"`é` COMMENT 'é' DO", "`é` COMMENT 'é' DO", "é", "utf8mb4", ""},
		{"`é` COMMENT 'ж' DO", "`\xe9` COMMENT 'ж' DO", "ж", "latin1", ""},
		{"`é` COMMENT 'it''s \\\\ \\n' DO", "`é` COMMENT 'it''s \\ \n' DO", "it's \\ \n", "utf8mb4", "NO_BACKSLASH_ESCAPES"},
		{"`é` COMMENT 'it''s \\\\ \\n' DO", "`é` COMMENT 'it''s \\\\ \\n' DO", "it's \\ \n", "utf8mb4", ""},
	} {
		got, err := InOneSet(head+c.statement, core.SchemaObject{Kind: "event", Name: "é", Definer: "r@h", Charset: c.charset, SQLMode: c.mode}, c.comment, latin1)
		if err != nil || got != head+c.want {
			t.Errorf("%q becomes %q, want %q (%v)", c.statement, got, head+c.want, err)
		}
	}
}

func TestAmbiguous(t *testing.T) {
	for _, c := range []struct {
		dataType, columnType, value, text string
		ok                                bool
	}{
		{"enum", "enum('a','b')", "", "", false},
		{"enum", "enum('a','')", "0", "0", true},
		{"enum", "enum('0','','00')", "0", "000", true},
		{"set", "set('a','b')", "", "", false},
		{"set", "set('')", "1", "1", true},
		{"set", "set('a','it''s','','4')", "4", "04", true},
		{"set", "set('a','')", "2", "2", true},
	} {
		value, text, ok := Ambiguous(c.dataType, c.columnType)
		if value != c.value || text != c.text || ok != c.ok {
			t.Errorf("%s: %s %s %v", c.columnType, value, text, ok)
		}
	}
}
