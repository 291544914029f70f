package kit

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/backstay/backstay/internal/core"
)

const theKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func content() Content {
	return Content{
		Info:  Info{ID: "abcdefghijkl", Made: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC), Host: "web", Repository: "file:///r", RepositoryID: "aa", Keys: map[string]string{}, Place: "/P"},
		Files: map[string][]byte{KeyName: []byte(theKey + "\n"), "secrets/x": []byte("y"), ConfigName: []byte("a: /P/b")},
	}
}

// written writes a kit with a small program.
func written(t *testing.T, s Sealing) (path string, shares []Share) {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, []byte("#!/bin/true\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "kit.tar")
	shares, err := Write(path, program, content(), s)
	if err != nil {
		t.Fatal(err)
	}
	return path, shares
}

func pass(text string) Sealing { return Sealing{Passphrase: core.NewSecret(text)} }

const phrase = "a ship in a bottle"

func TestThereAndBack(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	byPhrase, _ := written(t, pass(phrase))
	byKey, _ := written(t, Sealing{Recipients: []string{identity.Recipient().String()}})
	split, shares := written(t, Sealing{Shares: Shares{2, 3}})
	for path, o := range map[string]Opening{
		byPhrase: {Passphrase: core.NewSecret(phrase)}, byKey: {Identities: core.NewSecret("# mine\n" + identity.String() + "\n")}, split: {Shares: []string{shares[2].ReadMe, shares[0].Text}},
	} {
		c, err := Open(path, o)
		if err != nil {
			t.Fatal(err)
		}
		if string(c.Files["secrets/x"]) != "y" || c.Info.ID != "abcdefghijkl" || len(c.Files) != 3 {
			t.Errorf("it came back as %+v", c)
		}
		into := filepath.Join(t.TempDir(), "into")
		if err := c.Unpack(into); err != nil {
			t.Fatal(err)
		}
		if err := c.Unpack(into); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("into a folder that is not empty: %v", err)
		}
		if info, err := os.Stat(filepath.Join(into, "secrets/x")); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info, err)
		}
	}
	if _, err := Write(byPhrase, "/proc/self/exe", content(), pass(phrase)); core.CodeOf(err) != core.CodeUsage {
		t.Errorf("over a kit that is there: %v", err)
	}
}

func TestWhatDoesNotOpen(t *testing.T) {
	path, _ := written(t, pass(phrase))
	split, shares := written(t, Sealing{Shares: Shares{2, 3}})
	_, others := written(t, Sealing{Shares: Shares{2, 3}})
	typo := []byte(shares[1].Text)
	typo[len(typo)-9] ^= 1
	if typo[len(typo)-9] < 'A' {
		typo[len(typo)-9] = 'B'
	}
	foreign := others[1]
	for name, c := range map[string]struct {
		path string
		o    Opening
		code core.Code
	}{
		"nothing":                               {path, Opening{}, core.CodeUsage},
		"another passphrase":                    {path, Opening{Passphrase: core.NewSecret(phrase + "!")}, core.CodeWrongKey},
		"too few shares":                        {split, Opening{Shares: []string{shares[0].Text}}, core.CodeUsage},
		"the same share, two":                   {split, Opening{Shares: []string{shares[0].Text, shares[0].ReadMe}}, core.CodeUsage},
		"a typo":                                {split, Opening{Shares: []string{shares[0].Text, string(typo)}}, core.CodeUsage},
		"a share of another kit of the same id": {split, Opening{Shares: []string{shares[0].Text, foreign.Text}}, core.CodeUsage},
		"no share at all":                       {split, Opening{Shares: []string{"hello"}}, core.CodeUsage},
		"no kit":                                {"/etc/passwd", Opening{Passphrase: core.NewSecret(phrase)}, core.CodeDamage},
		"not there":                             {"/nowhere", Opening{Passphrase: core.NewSecret(phrase)}, core.CodeNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Open(c.path, c.o); core.CodeOf(err) != c.code || core.HintOf(err) == "" {
				t.Errorf("got %v (%s)", err, core.HintOf(err))
			}
		})
	}
	for _, s := range []Sealing{{}, pass("too short"), {Recipients: []string{"ssh-rsa x"}}, {Shares: Shares{1, 3}}, {Shares: Shares{4, 3}}, {Passphrase: core.NewSecret(phrase), Shares: Shares{2, 3}}} {
		if _, err := Write(filepath.Join(t.TempDir(), "k"), "/proc/self/exe", content(), s); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// TestChanged: a byte that was changed anywhere, and an end that was cut off, are
// noticed.
func TestChanged(t *testing.T) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	path, _ := written(t, Sealing{Recipients: []string{identity.Recipient().String()}})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	r := tar.NewReader(bytes.NewReader(whole))
	var ranges [][2]int // of the program and the sealed part
	for at := bytes.Index; ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		text := make([]byte, h.Size)
		if _, err := r.Read(text); err != nil && h.Size == 0 {
			t.Fatal(err)
		}
		if h.Name != ReadMeName {
			start := at(whole, text[:min(len(text), 40)])
			ranges = append(ranges, [2]int{start, start + len(text)})
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.tar")
	try := func(what string, text []byte) {
		t.Helper()
		if err := os.WriteFile(bad, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(bad, Opening{Identities: core.NewSecret(identity.String())}); err == nil {
			t.Errorf("%s was not noticed", what)
		}
	}
	if len(ranges) != 2 {
		t.Fatalf("parts at %v", ranges)
	}
	for _, part := range ranges {
		for at := part[0]; at < part[1]; at += 1 + (part[1]-part[0])/150 {
			text := bytes.Clone(whole)
			text[at] ^= 4
			try("a changed byte", text)
		}
	}
	for at := 0; at < ranges[1][1]; at += 97 {
		try("a cut end", whole[:at])
	}
}

// TestHostile: a kit can come from anywhere.
func TestHostile(t *testing.T) {
	for name, files := range map[string][]tar.Header{
		"way out":    {{Name: "../x", Typeflag: tar.TypeReg}},
		"absolute":   {{Name: "/etc/x", Typeflag: tar.TypeReg}},
		"link":       {{Name: "x", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}},
		"folder":     {{Name: "x/", Typeflag: tar.TypeDir}},
		"twice":      {{Name: "x", Typeflag: tar.TypeReg}, {Name: "x", Typeflag: tar.TypeReg}},
		"hidden":     {{Name: ".x", Typeflag: tar.TypeReg}},
		"no listing": {{Name: "x", Typeflag: tar.TypeReg}},
	} {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range files {
			if err := w.WriteHeader(&h); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := readSealed(&b); core.CodeOf(err) != core.CodeDamage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadSealed(f *testing.F) {
	f.Add([]byte("kit.json"))
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := readSealed(bytes.NewReader(text))
		if err == nil {
			for name := range c.Files {
				if !ValidName(name) || strings.Contains(name, "..") {
					t.Errorf("it holds %q", name)
				}
			}
		}
	})
}

func TestWordsAndPage(t *testing.T) {
	key := core.NewSecret(theKey)
	words := Words(key)
	if len(words) != 24 {
		t.Fatalf("%d words", len(words))
	}
	back, err := FromWords("  " + strings.ToUpper(strings.Join(words, "\n")))
	if err != nil || back.Reveal() != theKey {
		t.Errorf("the words give %q (%v)", back.Reveal(), err)
	}
	words[3], words[4] = words[4], words[3]
	if _, err := FromWords(strings.Join(words, " ")); core.CodeOf(err) != core.CodeUsage {
		t.Errorf("words in another order: %v", err)
	}
	if Words(core.NewSecret("a password")) != nil {
		t.Error("a password has no words")
	}
	page, err := Page(Info{ID: "x", Repository: `file:///<script>"`, Apps: []App{{Name: "docs", Profile: "itflow"}}}, key)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"01234567 89abcdef", Checksum(key), "data:image/png;base64,", "&lt;script&gt;", "docs (itflow)"} {
		if !bytes.Contains(page, []byte(want)) {
			t.Errorf("the page has no %q", want)
		}
	}
	for _, never := range []string{"http:", "https:", "<script", "src=\"//"} {
		if bytes.Contains(page, []byte(never)) {
			t.Errorf("the page has %q", never)
		}
	}
}

func TestFingerprint(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range [][3]string{{"r", "n", "k"}, {"r", "n", "l"}, {"r", "m", "k"}, {"q", "n", "k"}} {
		f, err := Fingerprint(c[0], c[1], core.NewSecret(c[2]))
		if err != nil || seen[f] || len(f) != 32 {
			t.Errorf("%v: %q (%v)", c, f, err)
		}
		seen[f] = true
	}
}
