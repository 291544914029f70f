package archivetest

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/archive"
)

// Forgery is a set of entries that no backup program writes.
type Forgery struct {
	Name    string
	Entries []Forged
	Limits  archive.Limits
}

// Forgeries are what every format with entries is given. Paths begin where the
// format has the application's own files.
func Forgeries() []Forgery {
	file := func(path string) Forged { return Forged{Path: path, Kind: KindFile, Body: []byte("body of " + path)} }
	one := func(name string, e Forged) Forgery { return Forgery{Name: name, Entries: []Forged{e}} }
	link := func(name string, k Kind, path, target string) Forgery {
		return one(name, Forged{Path: path, Kind: k, Link: target})
	}
	claim := func(name string, size int64) Forgery {
		e := file("sub/liar")
		e.Body = bytes.Repeat([]byte("lie"), 1000)
		e.Claim = size
		return one(name, e)
	}
	var many []Forged
	for n := range 300 {
		many = append(many, file(fmt.Sprintf("sub/%d", n)))
	}
	second := file("sub/twice")
	second.Body = []byte("another body")
	folder := Forged{Path: "sub/folder", Kind: KindDir, Body: []byte("a folder with a body"), Claim: 20}
	bomb := Forged{Path: "sub/bomb", Kind: KindFile, Body: make([]byte, 24<<20)}
	return []Forgery{
		one("plain", file("sub/plain.txt")),
		one("absolute path", file("/etc/cron.d/evil")),
		one("parent folder", file("../../evil")),
		one("parent folder inside", file("sub/../../../evil")),
		one("parent folder of its own", file("sub/../evil")),
		one("dot element", file("sub/./evil")),
		one("empty element", file("sub//evil")),
		one("parent folder as a folder", Forged{Path: "..", Kind: KindDir}),
		one("backslash", file(`sub\..\..\evil`)),
		one("drive letter", file("C:/evil")),
		one("empty name", file("")),
		one("NUL", file("sub/evil\x00.txt")),
		one("newline", file("sub/a\nb")),
		link("symlink out", KindSymlink, "sub/link", "../../../../etc"),
		link("symlink absolute", KindSymlink, "sub/link", "/etc/passwd"),
		link("symlink inside", KindSymlink, "sub/link", "plain.txt"),
		{Name: "file through a symlink", Entries: []Forged{
			{Path: "sub/link", Kind: KindSymlink, Link: "/etc"}, file("sub/link/evil"),
		}},
		link("hard link out", KindLink, "sub/link", "../../../../etc/passwd"),
		link("hard link absolute", KindLink, "sub/link", "/etc/passwd"),
		link("character device", KindChar, "sub/null", ""),
		link("block device", KindBlock, "sub/sda", ""),
		link("fifo", KindFIFO, "sub/fifo", ""),
		{Name: "duplicate name", Entries: []Forged{file("sub/twice"), second}},
		{Name: "same file twice", Entries: []Forged{file("sub/twice"), file("sub/twice")}},
		{Name: "file and folder", Entries: []Forged{file("sub/both"), file("sub/both/inner")}},
		{Name: "folder and file", Entries: []Forged{file("sub/both/inner"), file("sub/both")}},
		{Name: "names that differ in case", Entries: []Forged{file("sub/evil.txt"), file("sub/Evil.txt")}},
		one("name of 255 bytes", file("sub/"+strings.Repeat("n", 255))),
		one("name of 256 bytes", file("sub/"+strings.Repeat("n", 256))),
		one("name of 4 kB", file("sub/"+strings.Repeat("n", 4096))),
		one("path over 4 kB", file(strings.Repeat("sub/", 1100)+"leaf")),
		one("path of 1 MB", file(strings.Repeat("sub/", 1<<18)+"leaf")),
		one("invalid UTF-8", file("sub/\xff\xfe\x80.txt")),
		{Name: "special files in a sub-folder", Entries: []Forged{
			file("sub/itop-dump.sql"), file("sub/config-itop.php"), file("sub/delta.xml"), file("sub/production-modules"),
			file("sub/db.sql"), file("sub/version.txt"), file("sub/uploads.zip"), file("sub/manifest.json"),
		}},
		claim("claims a little more", 3001),
		claim("claims a block more", 3000+512),
		claim("claims a terabyte", 1<<40),
		claim("claims most there can be", 1<<62),
		claim("claims less", 1),
		claim("claims a negative size", -1),
		{Name: "folder with a body", Entries: []Forged{folder}},
		{Name: "bomb", Entries: []Forged{bomb}, Limits: archive.Limits{MaxBytes: 8 << 20}},
		{Name: "too many entries", Entries: many, Limits: archive.Limits{MaxEntries: 100}},
	}
}

func (c Case) accepts(name string) bool { return slices.Contains(c.Accepts, name) }

// verdict reads an archive and compares with what was to become of it.
func (c Case) verdict(t *testing.T, name string, data []byte, b sandbox, want Hostile) {
	t.Helper()
	opt := c.openOptions(b)
	opt.Limits = want.Limits
	_, refused, err := read(t.Context(), c.Format, store(t, c.fileName(), data), opt)
	switch {
	case err != nil:
		t.Errorf("%s: Check finds nothing, and then: %v", name, err)
	case want.Accept && refused != nil:
		t.Errorf("%s: refused: %s", name, refused)
	case !want.Accept && refused == nil:
		t.Errorf("%s: accepted", name)
	case refused != nil && !strings.Contains(refused.String(), want.Want):
		t.Errorf("%s: refused, but does not say %q: %s", name, want.Want, refused)
	}
}

func testForged(t *testing.T, c Case) {
	if c.Forge == nil {
		t.Skip("the format has no entries")
	}
	for _, f := range Forgeries() {
		t.Run(f.Name, func(t *testing.T) {
			data := c.Forge(t, f.Entries...)
			if data == nil {
				t.Skip("the format cannot express it")
			}
			b := newSandbox(t)
			c.verdict(t, "the archive", data, b, Hostile{Accept: c.accepts(f.Name), Limits: f.Limits})
			if !c.accepts(f.Name) {
				return
			}
			got := mustRead(t, c, store(t, c.fileName(), data), c.openOptions(b))
			bodies := map[[sha256.Size]byte]bool{}
			for _, sum := range got.Bodies {
				bodies[sum] = true
			}
			for _, e := range f.Entries {
				if e.Kind == KindFile && !bodies[sha256.Sum256(e.Body)] {
					t.Errorf("%q is accepted, and then not given", e.Path)
				}
			}
		})
	}
	if !c.accepts("plain") {
		t.Error("what Forge makes is refused even when nothing is wrong with it")
	}
}

func testHostile(t *testing.T, c Case) {
	for _, h := range c.Hostile {
		t.Run(h.Name, func(t *testing.T) {
			data := h.Build(t)
			c.verdict(t, "the archive", data, newSandbox(t), h)
		})
	}
}
