package phpconf

import (
	"errors"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// golden are sources that set $v, with the value that PHP 8.2 gives it
// (TestGoldenIsWhatPHPSays proves that, where there is PHP). Arrays are written
// as [][2]any, null as nil.
var golden = []struct {
	name string
	src  string
	want any
}{
	{"single quotes", `<?php $v = 'a\'b\\c\nd\"e\$f';`, "a'b\\c\\nd\\\"e\\$f"},
	{"single quotes ending in a backslash", `<?php $v = 'c:\\dir\\';`, `c:\dir\`},
	{"single quotes with newline", "<?php $v = 'a\nb\r\nc';", "a\nb\r\nc"},
	{"single quotes with everything in it", `<?php $v = 'a;b//c#d/*e?>f$g{$h}"i';`, `a;b//c#d/*e?>f$g{$h}"i`},
	{"addslashes keeps quotes and NUL escaped", `<?php $v = 'say \"hi\" \0';`, `say \"hi\" \0`},
	{"var_export of NUL", `<?php $v = '' . "\0" . 'a' . "\0" . 'b';`, "\x00a\x00b"},
	{"double quotes", `<?php $v = "a\tb\n\r\v\e\f\\\$\"\'";`, "a\tb\n\r\v\x1b\f\\$\"\\'"},
	{"double quotes, numeric escapes", `<?php $v = "\0\12\101\x41\X4a\xg\u{48}\u{1F510}\u\8\18";`, "\x00\nAAJ\\xgH\U0001F510\\u\\8\x018"},
	{"octal overflow", `<?php $v = "\400\777";`, "\x00\xff"},
	{"double quotes, lone dollars", `<?php $v = "a$ b$1 $";`, "a$ b$1 $"},
	{"double quotes, unset variable", `<?php $v = "pa$$word!";`, "pa$!"},
	{"double quotes, unknown escape", `<?php $v = "\q\ \z\-";`, `\q\ \z\-`},
	{"interpolation", `<?php $h = 'x'; $a = ['k' => 'y', 3 => 'z', -1 => 'w']; $v = "$h ${h} {$h} $a[k] $a[3] $a[-1] {$a['k']}s";`, "x x x y z w ys"},
	{"binary bytes", "<?php $v = '\xff\xfe\x00';", "\xff\xfe\x00"},
	{"unicode", `<?php $v = 'Pässwörd 🔐';`, "Pässwörd 🔐"},
	{"heredoc", "<?php $v = <<<EOT\na \"q\" \\\"r\\\" \\n\\x41 'b'\n\nc\nEOT;\n", "a \"q\" \\\"r\\\" \nA 'b'\n\nc"},
	{"heredoc, quoted label", "<?php $v = <<<\"EOT\"\na\nEOT;\n", "a"},
	{"heredoc, indented", "<?php $h='H'; $v = <<<EOT\n    a $h\n      b\n\n    EOTx\n    EOT . '!';\n", "a H\n  b\n\nEOTx!"},
	{"heredoc, windows lines", "<?php $v = <<<EOT\r\na\r\nb\r\nEOT;\r\n", "a\r\nb"},
	{"heredoc of one empty line", "<?php $v = <<<EOT\n\nEOT;\n", ""},
	{"nowdoc", "<?php $v = <<<'EOT'\n  a\\n$x{$y}\n  EOT;\n", "a\\n$x{$y}"},
	{"concatenation", `<?php $v = 'a' . 1 . 2.5 . true . false . null . -3;`, "a12.51-3"},
	{"floats as text", `<?php $v = 0.1 . '|' . 1e14 . '|' . 1e25 . '|' . 1e-5 . '|' . 0.0001 . '|' . 100.0 . '|' . -1.5 . '|' . 0.30000000000000004;`, "0.1|1.0E+14|1.0E+25|1.0E-5|0.0001|100|-1.5|0.3"},
	{"integers", `<?php $v = [0x1F, 017, 0o17, 0b101, 1_000, -5, +7, 9223372036854775807, -9223372036854775807];`,
		[][2]any{{"0", 31}, {"1", 15}, {"2", 15}, {"3", 5}, {"4", 1000}, {"5", -5}, {"6", 7}, {"7", math.MaxInt64}, {"8", -math.MaxInt64}}},
	{"integer overflow", `<?php $v = 9223372036854775808;`, 9223372036854775808.0},
	{"floats", `<?php $v = [.5, 1e3, 1.5E-3, 6.0];`, [][2]any{{"0", .5}, {"1", 1000.0}, {"2", .0015}, {"3", 6.0}}},
	{"booleans and null", `<?php $v = [TRUE, False, \null, NULL];`, [][2]any{{"0", true}, {"1", false}, {"2", nil}, {"3", nil}}},
	{"array keys", `<?php $v = array('a' => 1, 'b', '8' => 'c', 'd', '08' => 'e', true => 'f', null => 'g', 1.0 => 'h', '-5' => 'i', 'j',);`,
		[][2]any{{"a", 1}, {"0", "b"}, {"8", "c"}, {"9", "d"}, {"08", "e"}, {"1", "h"}, {"", "g"}, {"-5", "i"}, {"10", "j"}}},
	{"negative first key", `<?php $v = [3 => 'a', 'b', 3 => 'c'];`, [][2]any{{"3", "c"}, {"4", "b"}}},
	{"nested arrays", `<?php $v = ['x' => array('y' => ['z' => 'deep'])];`, [][2]any{{"x", [][2]any{{"y", [][2]any{{"z", "deep"}}}}}}},
	{"items set later", `<?php $v = ['a' => 1]; $v['b']['c'] = 2; $v[] = 3; $v['b'][] = 4; $v['a'] = 5;`,
		[][2]any{{"a", 5}, {"b", [][2]any{{"c", 2}, {"0", 4}}}, {"0", 3}}},
	{"arrays are values", `<?php $v = ['a' => ['b' => 1]]; $w = $v; $w['a']['b'] = 2; $w['c'] = 3;`, [][2]any{{"a", [][2]any{{"b", 1}}}}},
	{"arrays are values in a chain", `<?php $w = $v = [1]; $w[] = 2;`, [][2]any{{"0", 1}}},
	{"arrays are values in arrays", `<?php $i = ['x' => 1]; $v = [$i, $i]; $v[0]['x'] = 2;`, [][2]any{{"0", [][2]any{{"x", 2}}}, {"1", [][2]any{{"x", 1}}}}},
	{"last assignment wins", `<?php $v = 'a'; $v = 'b';`, "b"},
	{"chained assignment", `<?php $w = $v = 'a'; $w = 'b';`, "a"},
	{"append to a string", `<?php $v = 'a'; $v .= 'b'; $v .= 1;`, "ab1"},
	{"coalesce", `<?php $v ??= 'a'; $v ??= 'b';`, "a"},
	{"constants", `<?php define('A', 'x'); const B = 'y'; define('A', 'z'); $v = A . B . PHP_EOL;`, "xy\n"},
	{"item of an array", `<?php $c = ['db' => ['pw' => 'p']]; $v = $c['db']['pw'];`, "p"},
	{"missing item is null", `<?php $c = []; $v = $c['x'];`, nil},
	{"comments", "<?php /* $v = 'no'; */ $v /*x*/ = # y\n 'a' // z ?> <?php $v='b';", "b"},
	{"text outside tags", "#!/usr/bin/php\n<?php $v = 'a'; ?>\n\n<b>$v = 'c';</b>\n<?php $w = 1 ?>\n\n", "a"},
	{"byte order mark", "\xef\xbb\xbf<?php $v = 'a';", "a"},
	{"stops at return", `<?php $v = 'a'; return; $v = 'b';`, "a"},
	{"stops at exit", `<?php $v = 'a'; exit; $v = 'b';`, "a"},
	{"stops at halt", "<?php $v = 'a'; __halt_compiler(); $v = 'b' ' \"", "a"},
	{"functions do not run", `<?php $v = 'a'; function f() { $v = 'b'; return $v; } class C { public $v = 'c'; }`, "a"},
	{"connection in between", `<?php $v = 'a'; $m = mysqli_connect('h', $v) or die('no'); $w = 'b';`, "a"},
	{"parentheses", `<?php $v = ((('a') . ('b')));`, "ab"},
}

func show(v Value) any {
	switch v.Kind() {
	case Null:
		return nil
	case Bool:
		return v.Bool()
	case Int:
		n, _ := v.Int()
		return int(n)
	case Float:
		return v.float
	case String:
		return v.Text()
	case Array:
		out := [][2]any{}
		for _, item := range v.Items() {
			out = append(out, [2]any{item.Key, show(item.Value)})
		}
		return out
	}
	return "not literal: " + v.Why()
}

func TestGolden(t *testing.T) {
	for _, test := range golden {
		t.Run(test.name, func(t *testing.T) {
			f, err := Parse([]byte(test.src))
			if err != nil {
				t.Fatal(err)
			}
			v, ok := f.Variable("v")
			if !ok {
				t.Fatal("$v is not set")
			}
			if diff := cmp.Diff(test.want, show(v)); diff != "" {
				t.Errorf("%s\n%s", test.src, diff)
			}
		})
	}
}

func needPHP(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("there is no php program here to compare with")
	}
}

// ask writes src to a file that anyone may read and asks PHP for the variables.
func ask(t *testing.T, src string, q Question) (*File, error) {
	t.Helper()
	q.File = filepath.Join(openDir(t), "config.php")
	if err := os.WriteFile(q.File, []byte(src), 0o644); err != nil {
		t.Fatal(err)
	}
	return AskPHP(t.Context(), q)
}

// openDir is a temporary folder that other users can enter: PHP does not run as
// root.
func openDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; strings.Contains(d, "Test"); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestGoldenIsWhatPHPSays(t *testing.T) {
	needPHP(t)
	for _, test := range golden {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f, err := ask(t, test.src, Question{Variables: []string{"v"}})
			if err != nil {
				t.Fatal(err)
			}
			v, _ := f.Variable("v")
			if diff := cmp.Diff(test.want, show(v)); diff != "" {
				t.Errorf("%s\n%s", test.src, diff)
			}
		})
	}
}

func TestNotLiteral(t *testing.T) {
	for _, test := range []struct {
		src, variable, why, source string
		line                       int
	}{
		{"<?php\n$v = getenv('X');", "v", "it calls getenv()", "getenv('X')", 2},
		{"<?php\n\n$v = 'a' . file_get_contents('/x');", "v", "it calls file_get_contents()", "'a' . file_get_contents('/x')", 3},
		{"<?php $v = $_ENV['X'];", "v", "it uses $_ENV", "$_ENV['X']", 1},
		{"<?php $v = \"a{$_SERVER['X']}\";", "v", "it uses $_SERVER", `"a{$_SERVER['X']}"`, 1},
		{"<?php $v = APPROOT . 'x';", "v", "it uses the constant APPROOT", "APPROOT . 'x'", 1},
		{"<?php $v = __DIR__;", "v", "it uses __DIR__", "__DIR__", 1},
		{"<?php $v = $x ? 'a' : 'b';", "v", "it is an expression that only PHP can evaluate", "$x ? 'a' : 'b'", 1},
		{"<?php $v = 'a'; if ($x) { $v = 'b'; }", "v", "it depends on a condition or a loop", "$v = 'b'", 1},
		{"<?php $v = 'a'; foreach ([1] as $v) {}", "v", "it depends on a condition or a loop", "foreach ([1] as $v) {}", 1},
		{"<?php $v = 'a'; include 'b.php';", "v", "an included file may set it", "include 'b.php'", 1},
		{"<?php $v = 'a'; eval('x');", "v", "eval() may set it", "eval('x')", 1},
		{"<?php require 'b.php';", "v", "an included file may set it", "require 'b.php'", 1},
		{"<?php $v = 'a'; extract($x);", "v", "extract() may set it", "extract($x)", 1},
		{"<?php $v = 'a'; settype($v, 'int');", "v", "a function may change it", "settype($v, 'int')", 1},
		{"<?php $v = 'a'; $w = &$v; $w = 'b';", "v", "a reference to it is taken", "$w = &$v", 1},
		{"<?php $v = 'a'; function f() { global $v; $v = 'b'; } f();", "v", "a function may change it", "global $v;", 1},
		{"<?php $v = 'a'; $$x = 'b';", "v", "a larger expression sets it", "$$x = 'b'", 1},
		{"<?php $v = 'a'; $GLOBALS['v'] = 'b';", "v", "a larger expression sets it", "$GLOBALS['v'] = 'b'", 1},
		{"<?php [$v, $w] = ['a', 'b'];", "v", "a larger expression sets it", "[$v, $w] = ['a', 'b']", 1},
		{"<?php $v = 1; $v++;", "v", "a larger expression sets it", "$v++", 1},
		{"<?php $v = 'a'; $x = $y && ($v = 'b');", "v", "a larger expression sets it", "$v = 'b'", 1},
		{"<?php $v = [getenv('K') => 1];", "v", "one of its keys only PHP can evaluate", "[getenv('K') => 1]", 1},
		{"<?php $v = [...$w];", "v", "it spreads or refers to another array", "[...$w]", 1},
		{"<?php if (!defined('A')) { define('A', 'x'); } define('A', 'y'); $v = A;", "v", "it is defined under a condition", "define('A', 'x')", 1},
		{"<?php $v = 'x'; $v[0] = 'y';", "v", "part of it is set to what could not be evaluated", "$v[0] = 'y'", 1},
	} {
		t.Run(test.src, func(t *testing.T) {
			f, err := Parse([]byte(test.src))
			if err != nil {
				t.Fatal(err)
			}
			v, ok := f.Variable(test.variable)
			if !ok || v.IsLiteral() {
				t.Fatalf("got %v, %v; want a value that is not literal", show(v), ok)
			}
			if v.Text() != "" || v.Bool() {
				t.Error("a value that is not literal must not pass for one")
			}
			if v.Why() != test.why || v.Source() != test.source || v.Line() != test.line {
				t.Errorf("got why %q, source %q, line %d\nwant %q, %q, %d", v.Why(), v.Source(), v.Line(), test.why, test.source, test.line)
			}
		})
	}
}

func TestArrayKeepsLiteralItems(t *testing.T) {
	f, err := Parse([]byte("<?php $s = array(\n'db_user' => 'u',\n'db_pwd' => getenv('P'),\n'db_name' => 'n',\n);"))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := f.Variable("s")
	name, ok := s.Get("db_name")
	if !ok || name.Text() != "n" || name.Line() != 4 {
		t.Errorf("db_name: %v, line %d", show(name), name.Line())
	}
	pwd, ok := s.Get("db_pwd")
	if !ok || pwd.IsLiteral() || pwd.Line() != 3 || pwd.Source() != "getenv('P')" {
		t.Errorf("db_pwd: %v, line %d, source %q", show(pwd), pwd.Line(), pwd.Source())
	}
	if _, ok := s.Get("nothing"); ok {
		t.Error("a missing item was found")
	}
}

func TestConstantAndVariables(t *testing.T) {
	f, err := Parse([]byte(`<?php define("CONST_GET_IP_METHOD", "HTTP_X"); $b = 1; $a = 2; unset($b);`))
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := f.Constant("CONST_GET_IP_METHOD"); !ok || c.Text() != "HTTP_X" {
		t.Errorf("got %v, %v", show(c), ok)
	}
	if diff := cmp.Diff([]string{"a"}, f.Variables()); diff != "" {
		t.Error(diff)
	}
	if _, ok := f.Variable("b"); ok {
		t.Error("$b was unset")
	}
}

func TestConstantsBesideIncludes(t *testing.T) {
	f, err := Parse([]byte(`<?php define("A", "before"); include 'x.php'; define("A", "late"); define("B", "after"); $a = A; $b = B;`))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		v, _ := f.Variable(name)
		c, _ := f.Constant(strings.ToUpper(name))
		if known := name == "a"; v.IsLiteral() != known || c.IsLiteral() != known || (known && v.Text() != "before") {
			t.Errorf("%s: got %v and %v", name, show(v), show(c))
		}
	}
}

func TestHostileInput(t *testing.T) {
	for name, src := range map[string]string{
		"too large":           "<?php $v = '" + strings.Repeat("x", MaxSize) + "';",
		"deep arrays":         "<?php $v = " + strings.Repeat("[", 50000) + strings.Repeat("]", 50000) + ";",
		"deep negation":       "<?php $v = " + strings.Repeat("!", 200000) + "1;",
		"deep blocks":         "<?php " + strings.Repeat("{", 50000) + strings.Repeat("}", 50000),
		"syntax error":        "<?php $v = 'a' 'b';",
		"unterminated string": "<?php $v = 'a",
		"no PHP":              "db_host = localhost\n",
		"empty":               "",
		"ends in <":           "x<",
		"empty heredoc":       "<?php $v = <<<E\nE;\n",
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Parse([]byte(src))
			if err == nil {
				t.Fatalf("parsed: %v", f.Variables())
			}
			if core.CodeOf(err) != core.CodeApplication || core.HintOf(err) == "" {
				t.Errorf("got code %q and hint %q of %v", core.CodeOf(err), core.HintOf(err), err)
			}
		})
	}
}

func TestWorkIsBounded(t *testing.T) {
	doubling := "<?php $v = 'xxxxxxxxxx';" + strings.Repeat("$v = $v . $v;", 60)
	f, err := Parse([]byte(doubling))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.Variable("v"); v.IsLiteral() {
		t.Errorf("a string of %d bytes came out", len(v.Text()))
	}
	copies := "<?php $v = [];" + strings.Repeat("$v[] = 1; $w = $v;", 50000)
	f, err = Parse([]byte(copies))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.Variable("v"); v.IsLiteral() {
		t.Error("quadratic copying was not stopped")
	}
	chain := "<?php $v = 'a'" + strings.Repeat(" . 'a'", 100000) + ";"
	f, err = Parse([]byte(chain))
	if err != nil {
		t.Fatal(err)
	}
	if v, _ := f.Variable("v"); len(v.Text()) != 100001 {
		t.Errorf("a long chain of concatenations gave %d bytes", len(v.Text()))
	}
}

func TestReadFileErrors(t *testing.T) {
	dir := t.TempDir()
	broken := filepath.Join(dir, "broken.php")
	if err := os.WriteFile(broken, []byte("<?php\n\n$a = ;"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(dir, "fifo.php")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing.php"): "no such file",
		fifo:                              "not a regular file",
		dir:                               "not a regular file",
		broken:                            "line 3: PHP syntax error",
	} {
		_, err := ReadFile(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || core.HintOf(err) == "" {
			t.Errorf("%s: got %v, hint %q; want %q", path, err, core.HintOf(err), want)
		}
		var e *core.Error
		if !errors.As(err, &e) {
			t.Errorf("%s: not a core.Error: %v", path, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, test := range golden {
		f.Add([]byte(test.src))
	}
	f.Add([]byte("<?php $v = <<<E\nE;\n"))
	f.Add([]byte("a<"))
	f.Add([]byte("<?php $v = b'x'; include 'y'; $$z[1][] = &$a;"))
	f.Fuzz(func(t *testing.T, src []byte) {
		file, err := Parse(src)
		if err != nil {
			if core.HintOf(err) == "" {
				t.Errorf("no hint: %v", err)
			}
			return
		}
		for _, name := range file.Variables() {
			v, _ := file.Variable(name)
			if v.IsLiteral() == (v.Why() != "") {
				t.Errorf("$%s: literal %v, why %q", name, v.IsLiteral(), v.Why())
			}
		}
	})
}
