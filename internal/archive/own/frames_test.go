package own

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/internal/archive"
)

// skippable is a frame that decoders pass over.
func skippable(text string) []byte {
	return append([]byte{0x5a, 0x2a, 0x4d, 0x18, byte(len(text)), 0, 0, 0}, text...)
}

// TestSkippableFrames: decoders pass over them, and nobody would see what is in them.
func TestSkippableFrames(t *testing.T) {
	packed := build(t, base(t))
	check := func(t *testing.T, b []byte) []archive.Flaw {
		t.Helper()
		p := filepath.Join(t.TempDir(), "a.tar.zst")
		if err := os.WriteFile(p, b, 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close() //nolint:errcheck // only read
		a, err := quick().Open(t.Context(), f, archive.OpenOptions{})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close() //nolint:errcheck // holds nothing
		flaws, err := a.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return flaws
	}
	if flaws := check(t, packed); len(flaws) > 0 {
		t.Fatal(flaws)
	}
	if flaws := check(t, append(bytes.Clone(packed), skippable("a second archive, or anything")...)); len(flaws) != 1 || !strings.Contains(flaws[0].Message, "something follows") {
		t.Errorf("behind it: %v", flaws)
	}
}

// TestFrames: real frames are followed to their ends, however they are cut and read.
func TestFrames(t *testing.T) {
	noise := bytes.Repeat([]byte("0123456789abcdef"), 40<<10)
	for i := range noise {
		noise[i] ^= byte(i * i >> 7)
	}
	for name, text := range map[string][]byte{"empty": nil, "small": []byte("hello"), "zeros": make([]byte, 3<<20), "noise": noise} {
		for _, opt := range [][]zstd.EOption{{}, {zstd.WithEncoderCRC(false)}, {zstd.WithSingleSegment(true)}, {zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithZeroFrames(true)}} {
			var stream, all bytes.Buffer
			e, err := zstd.NewWriter(&stream, opt...)
			if err != nil {
				t.Fatal(err)
			}
			_, err = e.Write(text)
			if cerr := e.Close(); err != nil || cerr != nil {
				t.Fatal(err, cerr)
			}
			all.Write(stream.Bytes())
			all.Write(e.EncodeAll(text, nil))
			for _, tail := range []string{"", "x"} {
				b := bytes.Clone(all.Bytes())
				if tail != "" {
					b = append(b, skippable(tail)...)
				}
				for _, r := range []io.Reader{bytes.NewReader(b), iotest.OneByteReader(bytes.NewReader(b))} {
					f := &frames{r: r}
					if _, err := io.Copy(io.Discard, f); err != nil {
						t.Fatal(err)
					}
					if want := tail != ""; f.skippable != want || f.lost != want || len(f.head) > 0 || f.pass > 0 {
						t.Errorf("%s: skippable %v, lost %v, %d of a header, %d to pass", name, f.skippable, f.lost, len(f.head), f.pass)
					}
				}
			}
		}
	}
}

// TestWatched: who watches gets whole files, and damage is a flaw also then.
func TestWatched(t *testing.T) {
	parts := append(base(t)[:2:2], textFile("files.extra.jsonl", `{"path":"app/a"}`+"\n"))
	parts = append(parts, base(t)[2:]...)
	packed := build(t, append(parts, textFile("files/app/a", strings.Repeat("text", 1000))))
	p := filepath.Join(t.TempDir(), "a.tar.zst")
	for cut := range len(packed) + 1 {
		if err := os.WriteFile(p, packed[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(p)
		if err != nil {
			t.Fatal(err)
		}
		a, err := quick().Open(t.Context(), f, archive.OpenOptions{})
		if err == nil {
			seen := map[string]string{}
			a.(archive.Native).Watch(func(e archive.Stored, body []byte) error {
				seen[e.Path] = string(body)
				return nil
			})
			flaws, err := a.Check(t.Context())
			if err != nil || len(flaws) > 0 != (cut < len(packed)) {
				t.Errorf("cut at %d of %d: %v, %v", cut, len(packed), flaws, err)
			}
			if cut == len(packed) && (len(seen) != 4 || seen["files.extra.jsonl"] != `{"path":"app/a"}`+"\n" || seen["files/app/a"] != "") {
				t.Errorf("seen %q", seen)
			}
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
