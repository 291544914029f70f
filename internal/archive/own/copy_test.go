package own

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/treetest"
	"github.com/backstay/backstay/internal/mysql/layout"
)

// blocks notes the blocks of files that are written so.
type blocks struct {
	core.TreeWriter
	written [][]byte
}

func (b *blocks) CreateBlocks(context.Context, string) (core.FileWriter, error) {
	return &blockFile{b: b}, nil
}

type blockFile struct {
	b    *blocks
	size int64
}

func (f *blockFile) Write(p []byte) (int, error) {
	if len(p) > core.MaxBlock {
		return 0, fmt.Errorf("a block of %d bytes", len(p))
	}
	f.b.written = append(f.b.written, bytes.Clone(p))
	f.size += int64(len(p))
	return len(p), nil
}
func (f *blockFile) Finish() (core.Object, error) { return core.Object{Size: f.size}, nil }
func (f *blockFile) Close() error                 { return nil }

// TestBlocksAreTheCaptures: rows out of an archive are cut as a capture cuts
// them, but within rows of over a megabyte.
func TestBlocksAreTheCaptures(t *testing.T) {
	random := rand.New(rand.NewChaCha8([32]byte{3}))
	row := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	for name, sizes := range map[string]func(i int) int{
		"short":         func(int) int { return 10 + random.IntN(200) },
		"long":          func(int) int { return random.IntN(300_000) },
		"now and again": func(i int) int { return 100 + i%1000/999*400_000 },
	} {
		t.Run(name, func(t *testing.T) {
			captured := &blocks{}
			rows := layout.NewRows(t.Context(), captured, "database/data/t", 0, core.NoProgress{})
			defer rows.Abandon()
			for i, total := 0, 0; total < 30<<20; i++ {
				value := row(sizes(i))
				total += len(value)
				payload := binary.LittleEndian.AppendUint64([]byte{0xfe}, uint64(len(value)))
				if err := rows.Encoder.Row(append(payload, value...)); err != nil {
					t.Fatal(err)
				}
			}
			stored, err := rows.Finish()
			if err != nil {
				t.Fatal(err)
			}
			copied := &blocks{}
			whole := bytes.Join(captured.written, nil)
			for _, c := range stored.Chunks {
				f, err := copied.CreateBlocks(t.Context(), c.File)
				if err != nil {
					t.Fatal(err)
				}
				if err := copyRows(f, bytes.NewReader(whole[:c.Bytes])); err != nil {
					t.Fatal(err)
				}
				whole = whole[c.Bytes:]
			}
			if len(captured.written) < 10 {
				t.Fatalf("%d blocks", len(captured.written))
			}
			sums := func(b *blocks) (sums []string) {
				for _, p := range b.written {
					sums = append(sums, fmt.Sprintf("%d %x", len(p), sha256.Sum256(p)))
				}
				return sums
			}
			if diff := cmp.Diff(sums(captured), sums(copied)); diff != "" {
				t.Errorf("blocks (-captured +copied):\n%s", diff)
			}
		})
	}
}

// TestBlocksOfLargeRows: nothing is lost of rows that a block cannot hold, or
// of a last one that does not end.
func TestBlocksOfLargeRows(t *testing.T) {
	line := func(n int) string { return strings.Repeat("x", n) + "\n" }
	for _, text := range []string{
		"", "\n", "no end", line(wholeRow - 1), line(wholeRow), line(5<<20) + line(3) + line(5<<20), line(100) + strings.Repeat("y", 3<<20),
	} {
		b := &blocks{}
		f, err := b.CreateBlocks(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if err := copyRows(f, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		if got := bytes.Join(b.written, nil); string(got) != text {
			t.Errorf("%d bytes of %d", len(got), len(text))
		}
		for _, p := range b.written {
			if len(p) == 0 {
				t.Error("an empty block")
			}
		}
	}
}

// TestLinuxNames: names that only the seam refuses are copied all the same.
func TestLinuxNames(t *testing.T) {
	deep := "files/app"
	parts := base(t)
	for range 25 {
		deep += "/" + strings.Repeat("d", 200)
		parts = append(parts, aDir(deep))
	}
	parts = append(parts, textFile(deep+"/leaf", "deep"))
	parts = append(parts, textFile(`files/app/e\..\..\f`, "backslashes"))
	a, err := New().Open(t.Context(), onDisk(t, build(t, parts)), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	s := treetest.NewStore()
	root, err := a.(archive.Native).Copy(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if len(root) != 1 || root[0].Files != 2 {
		t.Fatalf("root: %+v", root)
	}
	stored := treetest.Stored(t, s, root[0])
	for path, want := range map[string]string{strings.TrimPrefix(deep, "files/") + "/leaf": "deep", `app/e\..\..\f`: "backslashes"} {
		if got := s.Read(t, stored[path].Object.ID); got != want {
			t.Errorf("%.20s…: %q", path, got)
		}
	}
}

// TestCopyOfAChangedFile: the archive is changed between Check and Copy.
func TestCopyOfAChangedFile(t *testing.T) {
	data := build(t, append(base(t), textFile("files/app/x", "precious")))
	f := onDisk(t, data)
	a, err := New().Open(t.Context(), f, archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	changed := build(t, append(base(t), textFile("files/app/x", "precious")), func(b []byte) []byte {
		return bytes.Replace(b, []byte("precious"), []byte("worthles"), 1)
	})
	if _, err := f.WriteAt(append(changed, make([]byte, max(0, len(data)-len(changed)))...), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := a.(archive.Native).Copy(t.Context(), treetest.NewStore()); core.CodeOf(err) != core.CodeDamage {
		t.Errorf("copy: %v", err)
	}
}

// TestCopyFails passes on what the repository says.
func TestCopyFails(t *testing.T) {
	a, err := New().Open(t.Context(), onDisk(t, written(t, archivetest.Sample(t, ""))), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	full := &core.Error{Code: core.CodeDisk, Message: "no space left on device"}
	for name, set := range map[string]func(s *treetest.Store){
		"create": func(s *treetest.Store) { s.OnCreate = func(string) error { return full } },
		"write":  func(s *treetest.Store) { s.OnWrite = func(string, int) error { return full } },
		"folder": func(s *treetest.Store) { s.OnDir = func([]core.Entry) error { return full } },
	} {
		s := treetest.NewStore()
		set(s)
		if _, err := a.(archive.Native).Copy(t.Context(), s); core.CodeOf(err) != core.CodeDisk {
			t.Errorf("%s fails, and Copy returns %v", name, err)
		}
	}
}

func TestInfo(t *testing.T) {
	at := time.Date(2026, 3, 4, 5, 6, 7, 123456789, time.UTC)
	parts := base(t)
	var m core.Manifest
	if err := json.Unmarshal(parts[1].body, &m); err != nil {
		t.Fatal(err)
	}
	m.Time, m.Host, m.Versions = at, "h.example", map[string]string{"application": "3.2"}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	parts[1].body = b
	a, err := New().Open(t.Context(), onDisk(t, build(t, parts)), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := archive.Info{Format: "backstay", Kind: "database", Time: at, TimeSays: "the backup", Host: "h.example", Versions: m.Versions}
	if diff := cmp.Diff(want, a.Info()); diff != "" {
		t.Error(diff)
	}
	if got := a.(archive.Native).Manifest(); !got.Time.Equal(at) {
		t.Errorf("the manifest's time is %s", got.Time)
	}
}

// TestTimeThatIsNone: what has no time has the first one.
func TestTimeThatIsNone(t *testing.T) {
	content := archivetest.Sample(t, "")
	content.Manifest.Time = time.Time{}
	s := treetest.NewStore()
	obj, err := s.WriteDir(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f, err := s.Create(t.Context(), "manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte(`{"schema":1}`)); err != nil {
		t.Fatal(err)
	}
	manifest, err := f.Finish()
	if err != nil {
		t.Fatal(err)
	}
	root, err := s.WriteDir(t.Context(), []core.Entry{
		{Name: "code", Type: core.TypeDir, Object: obj}, {Name: "manifest.json", Type: core.TypeFile, Object: manifest},
	})
	if err != nil {
		t.Fatal(err)
	}
	content.Tree, content.Root = s, core.Entry{Object: root}
	a, err := New().Open(t.Context(), onDisk(t, written(t, content)), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Error(err, flaws)
	}
}

func FuzzOpen(f *testing.F) {
	small := build(f, append(base(f), aDir("files/app/sub"), textFile("files/app/sub/x", "x"), textFile("files/app/y", "y")))
	f.Add(unpackZstd(f, small))
	f.Add(unpackZstd(f, build(f, base(f)[:2])))
	f.Add([]byte(ageMagic + "-> X25519 a\nb\n--- c\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		limits := archive.OpenOptions{Limits: archive.Limits{MaxBytes: 16 << 20, MaxEntries: 1000}, Passwords: []core.Secret{core.NewSecret("p")}}
		if !bytes.HasPrefix(data, []byte(ageMagic)) {
			data = repack(t, data)
		}
		archivetest.Try(t, quick(), "x.tar.zst", data, limits)
		file, err := os.CreateTemp(t.TempDir(), "")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = file.Close() }() // it is only read
		if _, err := file.Write(data); err != nil {
			t.Fatal(err)
		}
		a, err := quick().Open(t.Context(), file, limits)
		if err != nil {
			return
		}
		flaws, err := a.Check(t.Context())
		_, copied := a.(archive.Native).Copy(t.Context(), treetest.NewStore())
		if (err == nil && len(flaws) == 0) != (copied == nil) {
			t.Errorf("check: %v, %v; copy: %v", flaws, err, copied)
		}
	})
}
