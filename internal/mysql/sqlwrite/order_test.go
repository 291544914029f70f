package sqlwrite

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func TestViewsComeAfterWhatTheyRead(t *testing.T) {
	view := func(name, charset, statement string) object {
		return object{core.SchemaObject{Kind: "view", Name: name, Charset: charset}, statement}
	}
	views := []object{
		view("a", "utf8mb4", "CREATE VIEW `a` AS select `f`(`t`.`z`) AS `z` from `t`"),
		view("b", "utf8mb4", "CREATE VIEW `b` AS select 'from `z`' AS `c` from (`c` join `t` on(`c`.`x` = `t`.`x`))"),
		view("c", "utf8mb4", "CREATE VIEW `c` AS select `b`.`x` AS `b` from `t` `b`"),
		view("d", "latin1", "CREATE VIEW `d` AS select 1 AS `1`"),
		view("z", "utf8mb4", "CREATE VIEW `z` AS select (select max(`x`.`x`) from `x`) AS `y` from `t`"),
		view("x", "utf8mb4", "CREATE VIEW `x` AS select 1 AS `x`"),
	}
	functions := []object{{core.SchemaObject{Kind: "function", Name: "f"}, "CREATE FUNCTION `f`(a INT) RETURNS INT RETURN (SELECT MAX(y) FROM z)"}}
	var got []string
	for _, v := range inOrder(views, functions) {
		got = append(got, v.Name)
	}
	if diff := cmp.Diff([]string{"x", "z", "a", "c", "b", "d"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestLiterals(t *testing.T) {
	for definition, want := range map[string]literal{
		" int(11) NOT NULL":                number,
		" decimal(10,2) unsigned zerofill": number,
		" year(4)":                         plainText,
		" double":                          plainText,
		" varchar(5)":                      binaryText,
		" varchar(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin":        plainText,
		" text COLLATE utf8mb3_bin DEFAULT ' character set latin1 '":   plainText,
		" text CHARACTER SET latin1 COMMENT ' CHARACTER SET utf8mb4 '": binaryText,
		" char(3) CHARACTER SET ascii":                                 binaryText,
		" enum('a',' collate utf8mb4_bin')":                            binaryText,
		" longblob":                                                    binaryText,
		" bit(3)":                                                      binaryText,
		" geometry NOT NULL /*!80003 SRID 4326 */":                     binaryText,
		" text /*M!100301 COMPRESSED*/ CHARACTER SET utf8mb4":          plainText,
		"": binaryText,
	} {
		if got := literalOf(definition, "latin1"); got != want {
			t.Errorf("%s: %d, want %d", definition, got, want)
		}
	}
	if literalOf(" text", "utf8mb4") != plainText {
		t.Error("the table's set was not taken")
	}
}

func TestLinesOfITFlowsImporter(t *testing.T) {
	for text, want := range map[string]bool{
		"CREATE TABLE `t` (\n  `a` int\n)":    true,
		"BEGIN\n\nEND":                        false,
		"BEGIN\n  -- x\nEND":                  false,
		"BEGIN\n# x\nEND":                     false,
		"CREATE TABLE `a;\nb` (\n `c` int\n)": false,
		"a\ndelimiter x":                      false,
	} {
		if passesLines(text, ";") != want {
			t.Errorf("%q: want %v", text, want)
		}
	}
	d := dump{opt: Options{Dialect: DialectITFlow}}
	if got, why := d.oneStatement("CREATE TABLE `t` (\n  `a` int COMMENT 'x\\n',\n\n  `b` int\n)"); why != "" || got != "CREATE TABLE `t` (   `a` int COMMENT 'x\\n',    `b` int )" {
		t.Errorf("%q %s", got, why)
	}
	if _, why := d.oneStatement("CREATE TABLE `a;\nb` (\n `c` int\n)"); why == "" {
		t.Error("a name that ends a line with a semicolon was taken")
	}
}

func TestClientReads(t *testing.T) {
	for text, want := range map[string]struct {
		quote byte
		ok    bool
	}{
		"SELECT 'a''b', \"c\", `d\\`, 'é\\'' -- it's": {0, true},
		"SELECT '\x83\x5c'":                           {'\'', true},
		"SELECT '\x83\x5c', 'x'":                      {'\'', true},
		"COMMENT '\x83\x5c' SELECT '\x83\x5c'":        {0, false},
		"SELECT /* ' */ 1 # '":                        {0, true},
		"SELECT /* '":                                 {0, false},
		"SELECT \\! 1":                                {0, false},
	} {
		quote, ok := clientReads(text, true)
		if ok != want.ok || ok && quote != want.quote {
			t.Errorf("%q: %q %v", text, quote, ok)
		}
	}
}
