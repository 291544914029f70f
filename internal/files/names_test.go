package files

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestEscapeName(t *testing.T) {
	never := func(string) bool { return false }
	for name, want := range map[string]string{
		"plain":                           "plain",
		"%FF":                             "%FF",
		"~1":                              "~1",
		"a\xffb":                          "a%FFb",
		"\xe9t\xe9":                       "%E9t%E9",
		"\xf0\x9f\x8e":                    "%F0%9F%8E", // a character that is cut off
		"ü\xfc":                           "ü%FC",
		"\ufffd":                          "\ufffd", // the replacement character itself is valid
		strings.Repeat("\xff", 255):       strings.Repeat("%FF", 85),
		strings.Repeat("ü", 127):          strings.Repeat("ü", 127),
		strings.Repeat("ü", 126) + "\xff": strings.Repeat("ü", 126) + "%FF",
	} {
		if got := EscapeName(name, never); got != want {
			t.Errorf("EscapeName(%q) = %q, want %q", name, got, want)
		}
	}
	taken := map[string]bool{"a%FF": true, "a%FF~1": true}
	if got := EscapeName("a\xff", func(s string) bool { return taken[s] }); got != "a%FF~2" {
		t.Errorf("got %q", got)
	}
}

// Whatever names a folder has, the stored ones are distinct, valid and storable
// by hand, and valid names are stored as they are.
func FuzzEscapeNames(f *testing.F) {
	f.Add("a\xff/a%FF/a%FF~1")
	f.Add("\xff/\xfe/%FF/%FE")
	f.Add(strings.Repeat("\xff", 255) + "/" + strings.Repeat("\xff", 254) + "a/" + strings.Repeat("%FF", 85))
	f.Fuzz(func(t *testing.T, list string) {
		var names []string
		for n := range strings.SplitSeq(list, "/") {
			if CheckName(n) == nil && len(n) <= maxName {
				names = append(names, n)
			}
		}
		slices.Sort(names)
		names = slices.Compact(names)
		escaped := EscapeNames(names)
		seen := map[string]bool{}
		for _, n := range names {
			e, changed := escaped[n]
			if !changed {
				e = n
			}
			if changed == utf8.ValidString(n) {
				t.Errorf("%q: changed %v", n, changed)
			}
			if seen[e] {
				t.Errorf("%q is there twice", e)
			}
			seen[e] = true
			if !utf8.ValidString(e) || len(e) > maxName || CheckName(e) != nil {
				t.Errorf("%q became %q", n, e)
			}
		}
	})
}

func TestParseExtraRefusesHostileLines(t *testing.T) {
	for name, text := range map[string]string{
		"no JSON":         "x\n",
		"two objects":     `{"path":"a"} {"path":"b"}` + "\n",
		"no path":         `{"sparse":true}` + "\n",
		"twice":           `{"path":"a","sparse":true}` + "\n" + `{"path":"a"}` + "\n",
		"name with slash": `{"path":"a","name":"Ly//"}` + "\n",     // "/?\xff"
		"name dot dot":    `{"path":"a","name":"Li4="}` + "\n",     // ".."
		"name with NUL":   `{"path":"a","name":"AP8="}` + "\n",     // "\x00\xff"
		"empty name":      `{"path":"a","name":""}` + "\n",         // ""
		"valid name":      `{"path":"a","name":"YQ=="}` + "\n",     // "a": another path than the stored one
		"bad base64":      `{"path":"a","name":"!"}` + "\n",        //
		"xattr NUL":       `{"path":"a","xattrs":{"a\u0000b":""}}`, //
		"xattr selinux":   `{"path":"a","xattrs":{"security.selinux":""}}`,
	} {
		_, err := parseExtra(t.Context(), strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), "read extra.jsonl, line ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func FuzzExtra(f *testing.F) {
	f.Add([]byte(`{"path":"app/a","name":"/w==","xattrs":{"user.a":"AA=="},"link":"app/b","sparse":true}` + "\n"))
	f.Add([]byte(`{"path":"app/\u2028<>&"}` + "\n" + `{"path":"b","new":1}`))
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		extras, err := parseExtra(t.Context(), bytes.NewReader(text))
		if err != nil {
			return
		}
		var again bytes.Buffer
		for _, x := range extras {
			line, err := x.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Count(line, []byte("\n")) != 1 {
				t.Errorf("not one line: %q", line)
			}
			again.Write(line)
		}
		got, err := parseExtra(t.Context(), &again)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(extras) {
			t.Errorf("%d lines became %d", len(extras), len(got))
		}
		for path, x := range extras {
			y := got[path]
			if x.Link != y.Link || x.Sparse != y.Sparse || !bytes.Equal(x.Name, y.Name) || len(x.Xattrs) != len(y.Xattrs) {
				t.Errorf("%+v became %+v", x, y)
			}
			for n, v := range x.Xattrs {
				if !bytes.Equal(v, y.Xattrs[n]) {
					t.Errorf("%+v became %+v", x, y)
				}
			}
		}
	})
}
