package itop

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
)

func open(t *testing.T, data []byte, opt archive.OpenOptions) (archive.Archive, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return New().Open(t.Context(), f, opt)
}

// paths are what Files gives.
func paths(t *testing.T, a archive.Archive) ([]string, error) {
	t.Helper()
	var names []string
	err := a.Files(t.Context(), func(e archive.Entry, body io.Reader) error {
		if body != nil {
			if _, err := io.Copy(io.Discard, body); err != nil {
				return err
			}
		}
		names = append(names, string(e.Component)+":"+e.Path)
		return nil
	})
	return names, err
}

// TestOtherEnvironment: iTop's restore has the name of production's modules
// fixed, so that those of another environment must come as extra files.
func TestOtherEnvironment(t *testing.T) {
	content := archivetest.Sample(t, "itop")
	var b bytes.Buffer
	if _, err := New().Write(t.Context(), &b, content, archive.WriteOptions{Environment: "test"}); err != nil {
		t.Fatal(err)
	}
	var names []string
	tr := newTarReader(bytes.NewReader(gunzipped(t, b.Bytes())))
	for {
		h, err := tr.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.name)
	}
	if !slices.Contains(names, "data/production-modules/sample/main.php") || !slices.Contains(names, "data/production.delta.xml") {
		t.Errorf("production's modules and delta are not extra files: %q", names)
	}
	if names[0] != configName || names[1] != deltaName || names[len(names)-1] != dumpName {
		t.Errorf("order: %q", names)
	}
	a, err := open(t, b.Bytes(), archive.OpenOptions{Environment: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(flaws, err)
	}
	got, err := paths(t, a)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"config:conf/test/config-itop.php", "files:data/test.delta.xml", "files:data/production.delta.xml", "files:data/production-modules/sample/main.php"} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is missing", want)
		}
	}
}

// TestModulesOfAnEnvironment: iTop's backup names modules after its
// environment, iTop's restore expects production's name.
func TestModulesOfAnEnvironment(t *testing.T) {
	for _, top := range []string{"test-modules", modulesName} {
		tar := makeTar(t, entryOf{name: configName, body: "<?php\n"}, entryOf{name: top, kind: typeDir}, entryOf{name: top + "/m/a.php", body: "<?php\n"}, entryOf{name: dumpName, body: "--\n"})
		a, err := open(t, gzipped(t, tar), archive.OpenOptions{Environment: "test"})
		if err != nil {
			t.Fatal(err)
		}
		got, err := paths(t, a)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{"config:conf/test/config-itop.php", "files:data/test-modules", "files:data/test-modules/m/a.php"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", top, diff)
		}
	}
}

func TestWriteRefuses(t *testing.T) {
	content := archivetest.Sample(t, "itop")
	for name, change := range map[string]func(*archive.Content, *archive.WriteOptions){
		"no database":          func(c *archive.Content, _ *archive.WriteOptions) { c.Dump, c.DumpSize = nil, nil },
		"no such environment":  func(_ *archive.Content, o *archive.WriteOptions) { o.Environment = "staging" },
		"an environment of ..": func(_ *archive.Content, o *archive.WriteOptions) { o.Environment = "../.." },
	} {
		c, opt := content, archive.WriteOptions{}
		change(&c, &opt)
		if _, err := New().Write(t.Context(), io.Discard, c, opt); core.CodeOf(err) != core.CodeUnsupported && core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSalvage reads what there is of an archive that breaks off.
func TestSalvage(t *testing.T) {
	tar := makeTar(t, entryOf{name: configName, body: "<?php\n"}, entryOf{name: "data/a", body: "a"}, entryOf{name: dumpName, body: strings.Repeat("-- dump\n", 1000)})
	a, err := open(t, gzipped(t, tar[:6*blockSize]), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	flaws, err := a.Check(t.Context())
	if err != nil || len(flaws) == 0 {
		t.Fatal(flaws, err)
	}
	got, err := paths(t, a)
	if core.CodeOf(err) != core.CodeDamage || core.HintOf(err) == "" {
		t.Errorf("the walk ends with %v", err)
	}
	if diff := cmp.Diff([]string{"config:conf/production/config-itop.php", "files:data/a"}, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	dump, err := a.OpenDump(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, dump); n != blockSize || core.CodeOf(err) != core.CodeDamage {
		t.Errorf("%d bytes of the dump, %v", n, err)
	}
	if err := errors.Join(dump.Close(), a.Close()); err != nil {
		t.Error(err)
	}
}

func TestSizes(t *testing.T) {
	for size, octalDigits := range map[int64]int{0: 11, 1: 11, maxOctal11: 11, maxOctal11 + 1: 12, maxOctal12: 12, maxOctal12 + 1: 0, 70 << 30: 0, 1 << 50: 0} {
		var field [12]byte
		putSize(field[:], size)
		if got, ok := number(field[:]); !ok || got != size {
			t.Errorf("%d is written %q and read as %d, %t", size, field, got, ok)
		}
		if digits := len(bytes.Trim(field[:], "\x00")); octalDigits > 0 && digits != octalDigits {
			t.Errorf("%d is written %q", size, field)
		}
		if (field[0]&0x80 != 0) != (octalDigits == 0) {
			t.Errorf("%d is written %q", size, field)
		}
	}
}

// zipOf makes a zip of config, one file and dump; change may change the file's
// header, and what the whole has become.
func zipOf(t *testing.T, change func(h *zip.FileHeader), after func(data []byte) []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, name := range []string{configName, "data/a", dumpName} {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate}
		if name == "data/a" && change != nil {
			change(h)
		}
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(h.Name, "/") {
			if _, err := io.WriteString(f, "contents of "+name); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if after != nil {
		return after(b.Bytes())
	}
	return b.Bytes()
}

func TestHostileZip(t *testing.T) {
	name := func(n string) func(*zip.FileHeader) { return func(h *zip.FileHeader) { h.Name = n } }
	mode := func(m os.FileMode) func(*zip.FileHeader) { return func(h *zip.FileHeader) { h.SetMode(m) } }
	replace := func(old, new string, n int) func([]byte) []byte {
		return func(data []byte) []byte { return bytes.Replace(data, []byte(old), []byte(new), n) }
	}
	for what, c := range map[string]struct {
		change func(*zip.FileHeader)
		after  func([]byte) []byte
		ok     bool
	}{
		"nothing wrong":                        {ok: true},
		"stored":                               {change: func(h *zip.FileHeader) { h.Method = zip.Store }, ok: true},
		"absolute":                             {change: name("/etc/passwd")},
		"parent":                               {change: name("../../evil")},
		"backslash":                            {change: name(`..\evil`)},
		"drive letter":                         {change: name("C:/evil")},
		"long":                                 {change: name(strings.Repeat("d/", 3000))},
		"twice":                                {change: name(dumpName)},
		"dump is a folder":                     {change: name(dumpName + "/")},
		"below the config":                     {change: name(configName + "/x")},
		"symlink":                              {change: mode(os.ModeSymlink | 0o777)},
		"device":                               {change: mode(os.ModeDevice | 0o666)},
		"fifo":                                 {change: mode(os.ModeNamedPipe | 0o666)},
		"another name in the directory":        {after: func(d []byte) []byte { i := bytes.LastIndex(d, []byte("data/a")); d[i] = 'D'; return d }},
		"another name in the header":           {after: replace("data/a", "data/b", 1)},
		"no dump":                              {after: replace(dumpName, "itop-dump.xyz", -1)},
		"no config":                            {after: replace(configName, "config-itop.xyz", -1)},
		"prepended":                            {after: func(d []byte) []byte { return append([]byte("PK\x03\x04"), d...) }},
		"comment":                              {after: func(d []byte) []byte { d[len(d)-2] = 3; return append(d, "abc"...) }},
		"appended end":                         {after: func(d []byte) []byte { return append(d, d[len(d)-22:]...) }},
		"encrypted":                            {after: func(d []byte) []byte { return flags(d, 1) }},
		"unknown flag":                         {after: func(d []byte) []byte { return flags(d, 1<<13) }},
		"sizes behind the entry are not right": {after: func(d []byte) []byte { d[bytes.Index(d, []byte(descriptorSignature))+8]++; return d }},
	} {
		a, err := open(t, zipOf(t, c.change, c.after), archive.OpenOptions{})
		var flaws []archive.Flaw
		if err == nil {
			flaws, err = a.Check(t.Context())
		}
		if whole := err == nil && len(flaws) == 0; whole != c.ok {
			t.Errorf("%s: %v, flaws %v", what, err, flaws)
		}
	}
}

// flags sets flags of every entry, in headers and directory.
func flags(data []byte, bits uint16) []byte {
	for at := 0; at+10 < len(data); at++ {
		switch string(data[at : at+4]) {
		case localSignature:
			data[at+6], data[at+7] = data[at+6]|byte(bits), data[at+7]|byte(bits>>8)
		case centralSignature:
			data[at+8], data[at+9] = data[at+8]|byte(bits), data[at+9]|byte(bits>>8)
		}
	}
	return data
}

// TestZip64 reads a zip whose end is in the form for more entries than 65,535.
func TestZip64(t *testing.T) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	add := func(name string) {
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "x"); err != nil {
			t.Fatal(err)
		}
	}
	add(configName)
	for n := range 70_000 {
		add("data/" + strings.Repeat("f", n%7) + string(rune('a'+n%26)) + octalOf(int64(n)))
	}
	add(dumpName)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	a, err := open(t, b.Bytes(), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(flaws, err)
	}
	if got, err := paths(t, a); err != nil || len(got) != 70_001 {
		t.Errorf("%d files, %v", len(got), err)
	}
	if _, err := open(t, b.Bytes(), archive.OpenOptions{Limits: archive.Limits{MaxEntries: 60_000}}); core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("over the limit of entries: %v", err)
	}
}
