package archivetest

import (
	"crypto/sha256"
	"errors"
	"io"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// expected is what reading an archive of content must give.
func expected(t *testing.T, c Case, content archive.Content) ([]archive.Entry, map[string][sha256.Size]byte) {
	t.Helper()
	var items []archive.Item
	for _, component := range []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles} {
		err := content.Walk(t.Context(), component, func(item archive.Item) error {
			if item.Path != "" {
				items = append(items, item)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var entries []archive.Entry
	bodies := map[string][sha256.Size]byte{}
	expect := func(e archive.Entry, object core.Object) {
		e, carried := c.Expect(e)
		if !carried {
			return
		}
		entries = append(entries, e)
		if e.Type == core.TypeFile {
			bodies[key(e)] = sumOf(t, content, object, e)
		}
	}
	for _, item := range items {
		if item.Type != core.TypeSymlink || !c.Follows {
			expect(item.Entry, item.Stored.Object)
			continue
		}
		target := path.Join(path.Dir(item.Path), item.Link)
		for _, i := range items {
			below, inside := strings.CutPrefix(i.Path+"/", target+"/")
			if !inside || i.Component != item.Component || i.Place != item.Place {
				continue
			}
			e := i.Entry
			e.Path = path.Join(item.Path, below)
			expect(e, i.Stored.Object)
		}
	}
	return entries, bodies
}

// sumOf returns the checksum of an object's bytes, which must be as many as the
// entry says.
func sumOf(t *testing.T, content archive.Content, object core.Object, e archive.Entry) [sha256.Size]byte {
	t.Helper()
	f, err := content.Tree.Open(t.Context(), object.ID)
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	if n != e.Size {
		t.Fatalf("Expect gives %s %d bytes, it has %d", e.Path, e.Size, n)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func testRoundTrip(t *testing.T, c Case) {
	content := largeSample(t, c.Profile)
	data, warnings := write(t, c, content)
	checkWarnings(t, c, warnings)
	f := store(t, c.fileName(), data)
	b := newSandbox(t)
	if !c.Format.Recognizes(f, c.fileName()) {
		t.Error("Recognizes does not know its own archive")
	}
	var heard progress
	opt := c.openOptions(b)
	opt.Progress = &heard
	a, err := c.Format.Open(t.Context(), f, opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	flaws, err := a.Check(t.Context())
	if err != nil || len(flaws) > 0 {
		t.Fatalf("check: %v, flaws %v", err, flaws)
	}
	if heard.bytes == 0 {
		t.Error("Check told Progress nothing")
	}
	first, err := readChecked(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	again, err := readChecked(t.Context(), a)
	if err != nil {
		t.Fatalf("read again: %v", err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("a second reading gives another result (-first +second):\n%s", diff)
	}
	compare(t, c, content, first)
	if first.Info.Format != c.Format.Name() || first.Info.Time.IsZero() || first.Info.TimeSays == "" {
		t.Errorf("info: %+v", first.Info)
	}
	if native, ok := a.(archive.Native); ok {
		compareNative(t, content, native)
	}
}

// compare compares what was read with what was written.
func compare(t *testing.T, c Case, content archive.Content, got *result) {
	t.Helper()
	entries, bodies := expected(t, c, content)
	if len(entries) == 0 && c.Dialect == "" {
		t.Fatal("the case expects nothing")
	}
	if diff := cmp.Diff(sorted(entries), sorted(got.Entries)); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
	for k, want := range bodies {
		if got.Bodies[k] != want {
			t.Errorf("%s has other bytes", k)
		}
	}
	seen := map[string]bool{}
	for _, e := range got.Entries {
		if e.Type == core.TypeDir && seen[key(e)] {
			t.Errorf("the folder %s comes after what is in it", e.Path)
		}
		for dir := path.Dir(key(e)); dir != "."; dir = path.Dir(dir) {
			seen[dir] = true
		}
	}
	switch {
	case c.Dialect == "" && got.Dump != nil:
		t.Error("there is a dump that was not to be there")
	case c.Dialect != "":
		h := sha256.New()
		if _, err := content.Dump(t.Context(), h, c.Dialect); err != nil {
			t.Fatal(err)
		}
		if got.Dump == nil || *got.Dump != [sha256.Size]byte(h.Sum(nil)) {
			t.Error("the dump has other bytes")
		}
	}
}

func checkWarnings(t *testing.T, c Case, warnings []core.Warning) {
	t.Helper()
	var codes []string
	for _, w := range warnings {
		if w.Code == "" || w.Message == "" {
			t.Errorf("empty warning: %+v", w)
		}
		if !slices.Contains(codes, w.Code) {
			codes = append(codes, w.Code)
		}
	}
	if len(warnings) > 30 {
		t.Errorf("%d warnings are too many to read", len(warnings))
	}
	slices.Sort(codes)
	if diff := cmp.Diff(slices.Sorted(slices.Values(c.Warns)), codes); diff != "" {
		t.Errorf("codes of warnings (-want +got):\n%s\n%v", diff, warnings)
	}
}

// compareNative copies the backup out of the archive and compares it with the
// one that was written.
func compareNative(t *testing.T, content archive.Content, a archive.Native) {
	t.Helper()
	if diff := cmp.Diff(content.Manifest, a.Manifest()); diff != "" {
		t.Errorf("manifest (-want +got):\n%s", diff)
	}
	to := newTree()
	got, err := a.Copy(t.Context(), to)
	if err != nil {
		t.Fatalf("copy: %v", err)
	}
	want, err := content.Tree.ReadDir(t.Context(), content.Root.Object.ID)
	if err != nil {
		t.Fatal(err)
	}
	// Equal ids are equal trees: they are checksums of all that is below.
	byName := func(entries []core.Entry) map[string]core.Entry {
		m := map[string]core.Entry{}
		for _, e := range entries {
			if e.Name != "manifest.json" {
				m[e.Name] = e
			}
		}
		return m
	}
	if diff := cmp.Diff(byName(want), byName(got)); diff != "" {
		t.Errorf("the copied backup (-want +got):\n%s", diff)
	}
}

// testPartly reads less than there is.
func testPartly(t *testing.T, c Case) {
	data, _ := write(t, c, Sample(t, c.Profile))
	f := store(t, c.fileName(), data)
	b := newSandbox(t)
	whole := mustRead(t, c, f, c.openOptions(b))
	a, err := c.Format.Open(t.Context(), f, c.openOptions(b))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := a.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}()
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatalf("check: %v, flaws %v", err, flaws)
	}
	var got []archive.Entry
	err = a.Files(t.Context(), func(e archive.Entry, body io.Reader) error {
		got = append(got, e)
		if body != nil && len(got)%2 == 0 {
			if _, err := body.Read(make([]byte, 1)); err != nil && err != io.EOF {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole.Entries, got); diff != "" {
		t.Errorf("entries when bodies are not read (-want +got):\n%s", diff)
	}
	if dump, err := a.OpenDump(t.Context()); err != nil {
		t.Fatal(err)
	} else if dump != nil {
		if _, err := dump.Read(make([]byte, 10)); err != nil {
			t.Error(err)
		}
		if err := dump.Close(); err != nil {
			t.Errorf("close a dump that was read in part: %v", err)
		}
	}
	stop := errors.New("enough")
	calls := 0
	err = a.Files(t.Context(), func(archive.Entry, io.Reader) error { calls++; return stop })
	if len(got) > 0 && (!errors.Is(err, stop) || calls != 1) {
		t.Errorf("fn's error after %d calls: %v", calls, err)
	}
	if again, err := readChecked(t.Context(), a); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(whole, again); diff != "" {
		t.Errorf("after all that (-want +got):\n%s", diff)
	}
}

// testRecognizes looks at files that are no archives.
func testRecognizes(t *testing.T, c Case) {
	b := newSandbox(t)
	for name, data := range map[string][]byte{"empty": nil, "noise": noise(4096), "text": []byte("a letter\n"), "one byte": {0x1f}} {
		f := store(t, "photo.jpg", data)
		if c.Format.Recognizes(f, "photo.jpg") {
			t.Errorf("%s is taken for an archive", name)
		}
		if _, refused, err := read(t.Context(), c.Format, f, c.openOptions(b)); refused == nil {
			t.Errorf("%s is read as an archive: %v", name, err)
		}
	}
}

type progress struct{ bytes int64 }

func (p *progress) Stage(string, int64) {}
func (p *progress) Item(string)         {}
func (p *progress) Add(n int64)         { p.bytes += n }
