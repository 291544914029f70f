package phpconf

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// hostile are values that have to survive being written into PHP.
func hostile() []string {
	return []string{
		"", "plain", "it's", `'`, `''`, `\`, `\\`, `\'`, `ends in \`, "$x {$y} ${z}", "a?>b<?php c", "// # /* */", "line\nbreak\r\n", "\x00", "a\x00b\x00", "\xff\xfe\x80",
		"Pässwörd 🔐", `"quoted"`, "%env(HOME)%", "`ls`", "' . getenv('HOME') . '", "';\nsystem('x');//", "<<<EOT\nEOT;", strings.Repeat("x", 5000),
	}
}

func TestEdit(t *testing.T) {
	x := func(keys ...string) []Assignment {
		return []Assignment{{Variable: "x", Keys: keys, Value: Text("new")}}
	}
	for name, c := range map[string]struct {
		src  string
		do   []Assignment
		want string
	}{
		"variable":           {"<?php\n$a = 1; // one\n$x = 'old'; # two\n?>\nrest", x(), "<?php\n$a = 1; // one\n$x = 'new'; # two\n?>\nrest"},
		"double quotes":      {`<?php $x = "old$";`, x(), `<?php $x = 'new';`},
		"concatenation":      {`<?php $x = 'o' . "\0" . 'd';`, x(), `<?php $x = 'new';`},
		"brackets":           {`<?php $x = ( 'old' );`, x(), `<?php $x = 'new';`},
		"heredoc":            {"<?php $x = <<<A\nold\nA;\n$y=1;", x(), "<?php $x = 'new';\n$y=1;"},
		"the last counts":    {`<?php $x = 'a'; $x = 'b';`, x(), `<?php $x = 'a'; $x = 'new';`},
		"no semicolon":       {`<?php $x = 'a' ?>`, x(), `<?php $x = 'new' ?>`},
		"windows lines":      {"<?php\r\n$x = 'a';\r\n$y = 'b';\r\n", x(), "<?php\r\n$x = 'new';\r\n$y = 'b';\r\n"},
		"already so":         {`<?php $x = "new";`, x(), `<?php $x = "new";`},
		"missing":            {"<?php\n// note\n$y = 1;\n", x(), "<?php\n// note\n$x = 'new';\n$y = 1;\n"},
		"call elsewhere":     {`<?php $x = 'a'; $m = mysqli_connect($x) or die('no');`, x(), `<?php $x = 'new'; $m = mysqli_connect($x) or die('no');`},
		"an expression":      {`<?php $x = getenv('X');`, x(), `<?php $x = 'new';`},
		"item":               {"<?php\n$x = array(\n\t'a' => 'old',\n\t'b' => 2,\n);", x("a"), "<?php\n$x = array(\n\t'a' => 'new',\n\t'b' => 2,\n);"},
		"item, short syntax": {`<?php $x = ['a' => 'old', 'b' => 2];`, x("a"), `<?php $x = ['a' => 'new', 'b' => 2];`},
		"twice in one array": {`<?php $x = ['a' => 'old', 'a' => 2];`, x("a"), `<?php $x = ['a' => 'old', 'a' => 'new'];`},
		"item set later":     {`<?php $x = ['a' => 1]; $x['a'] = 'old';`, x("a"), `<?php $x = ['a' => 1]; $x['a'] = 'new';`},
		"deep":               {`<?php $x = ['a' => ['b' => ['c' => 1]], 'c' => 1];`, x("a", "b", "c"), `<?php $x = ['a' => ['b' => ['c' => 'new']], 'c' => 1];`},
		"deep, set in parts": {`<?php $x['a'] = ['b' => 1];`, x("a", "b"), `<?php $x['a'] = ['b' => 'new'];`},
		"number as key":      {`<?php $x = [7 => 'old'];`, x("7"), `<?php $x = [7 => 'new'];`},
		"missing item":       {"<?php\n$x = array(\n\t'b' => 2,\n);", x("a"), "<?php\n$x = array(\n\t'a' => 'new',\n\t'b' => 2,\n);"},
		"missing, one line":  {`<?php $x = ['b' => 2];`, x("a"), `<?php $x = ['a' => 'new', 'b' => 2];`},
		"missing, empty":     {`<?php $x = [];`, x("a"), `<?php $x = ['a' => 'new', ];`},
		"missing, deep":      {`<?php $x = ['m' => []];`, x("m", "a"), `<?php $x = ['m' => ['a' => 'new', ]];`},
		"several": {"<?php $x = ['a' => 1, 'b' => 'c']; $y = 'z';", []Assignment{
			{"y", nil, Text("Y")}, {"x", []string{"b"}, Truth(true)}, {"x", []string{"a"}, Number(-7)},
		}, "<?php $x = ['a' => -7, 'b' => true]; $y = 'Y';"},
	} {
		got, err := Edit([]byte(c.src), c.do)
		if diff := cmp.Diff(c.want, string(got)); err != nil || diff != "" {
			t.Errorf("%s: %v (hint %q) %s", name, err, core.HintOf(err), diff)
		}
	}
}

func TestEditRefuses(t *testing.T) {
	for name, src := range map[string]string{
		"a condition":           `<?php if ($y) { $x = 'old-secret'; }`,
		"a condition afterward": `<?php $x = 'old-secret'; if (getenv('A')) { $x = 'b'; }`,
		"another needs it":      `<?php $x = 'old-secret'; $y = $x . '!';`,
		"set in a chain":        `<?php $y = $x = 'old-secret';`,
		"set to two":            `<?php $x = $y = 'old-secret';`,
		"by reference":          `<?php $x = 'old-secret'; $y = &$x;`,
		"an include":            `<?php $x = 'old-secret'; include 'local.php';`,
		"in a list":             `<?php list($x) = ['old-secret'];`,
		"after the end":         `<?php $y = 1; return; $x = 'old-secret';`,
		"no assignment":         `<?php echo 1;`,
		"no PHP":                `text`,
		"broken":                `<?php $x = 'old-secret`,
	} {
		got, err := Edit([]byte(src), []Assignment{{Variable: "x", Value: Text("new-secret")}})
		if err == nil || got != nil {
			t.Errorf("%s: changed to %q", name, got)
			continue
		}
		if core.HintOf(err) == "" || strings.Contains(err.Error()+core.HintOf(err), "secret") {
			t.Errorf("%s: %v (hint %q)", name, err, core.HintOf(err))
		}
	}
	if got, err := Edit([]byte(`<?php $x = settings();`), []Assignment{{"x", []string{"a"}, Text("n")}}); err == nil {
		t.Errorf("an item of what is not known: %q", got)
	}
}

// TestEditHostileValues writes each value in place of each other, and has PHP
// read the result where there is PHP.
func TestEditHostileValues(t *testing.T) {
	for _, old := range hostile() {
		src := []byte("<?php\n$x = array(\n\t'p' => " + literal(Text(old)) + ",\n\t'q' => 1,\n);\n$y = 'stays';\n?>\n")
		for _, value := range hostile() {
			got, err := Edit(src, []Assignment{{"x", []string{"p"}, Text(value)}})
			if err != nil {
				t.Fatalf("%q for %q: %v", value, old, err)
			}
			if !bytes.HasPrefix(got, []byte("<?php\n$x = array(\n\t'p' => '")) || !bytes.HasSuffix(got, []byte("',\n\t'q' => 1,\n);\n$y = 'stays';\n?>\n")) {
				t.Fatalf("%q for %q: %q", value, old, got)
			}
		}
	}
	t.Run("as PHP reads it", func(t *testing.T) {
		needPHP(t)
		src := "<?php\n"
		var do []Assignment
		var names []string
		for i, value := range hostile() {
			name := "v" + string(rune('a'+i))
			src += "$" + name + " = 'old';\n"
			names = append(names, name)
			do = append(do, Assignment{Variable: name, Value: Text(value)})
		}
		got, err := Edit([]byte(src), do)
		if err != nil {
			t.Fatal(err)
		}
		asked, err := ask(t, string(got), Question{Variables: names})
		if err != nil {
			t.Fatal(err)
		}
		for i, value := range hostile() {
			if v, _ := asked.Variable(names[i]); v.Text() != value {
				t.Errorf("%q: PHP reads %q", value, v.Text())
			}
		}
	})
}

func FuzzEdit(f *testing.F) {
	seeds := 0
	for _, value := range hostile() {
		f.Add(`<?php $x = ['a' => 'old', 'b' => ['a' => 1]]; $y = "z";`, "a", value)
		seeds++
	}
	for _, g := range golden {
		f.Add(g.src, "a", "new")
		seeds++
	}
	if seeds < 50 {
		f.Fatalf("only %d seeds", seeds)
	}
	f.Fuzz(func(t *testing.T, src, key, value string) {
		for _, a := range []Assignment{{"x", []string{key}, Text(value)}, {"y", nil, Text(value)}} {
			out, err := Edit([]byte(src), []Assignment{a})
			if err != nil {
				continue
			}
			file, err := Parse(out)
			if err != nil {
				t.Fatalf("%q: %v", out, err)
			}
			if v, ok := file.at(a); !ok || !same(v, a.Value) {
				t.Fatalf("%q does not hold %q", out, value)
			}
			if again, err := Edit(out, []Assignment{a}); err != nil || !bytes.Equal(again, out) {
				t.Fatalf("a second time changes %q to %q: %v", out, again, err)
			}
		}
	})
}
