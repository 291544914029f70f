package repositorytest

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// testBlocks reads back what was written block by block, across their ends too,
// and has equal blocks of another file cost nothing.
func testBlocks(t *testing.T, h Harness) {
	s := open(t, h)
	const mb = 1 << 20
	block := func(n int) []byte { return Random(uint64(n), n) }
	blocks := [][]byte{block(mb), block(1), block(3*mb + 7), block(core.MaxBlock), block(mb + 1)}
	files := map[string][][]byte{"none": nil, "empty": {{}}, "one": {block(70_000)}, "all": blocks}
	store := func(n int, files map[string][][]byte) repository.Record {
		ss := begin(t, s)
		var entries []core.Entry
		for name, blocks := range files {
			f, err := ss.CreateBlocks(t.Context(), name)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blocks {
				if n, err := f.Write(b); err != nil || n != len(b) {
					t.Fatalf("write block of %d bytes: %d, %v", len(b), n, err)
				}
			}
			o, err := f.Finish()
			if err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Error(err)
			}
			entries = append(entries, file(name, o))
		}
		return commit(t, ss, writeDir(t, ss, sorted(entries)...), NewBackup(n))
	}
	first := store(1, files)
	entries, err := s.ReadDir(t.Context(), first.Root.ID)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		want := bytes.Join(files[e.Name], nil)
		if got := readAll(t, s, e.Object.ID); e.Object.Size != int64(len(want)) || !bytes.Equal(got, want) {
			t.Errorf("file %s: %d bytes came back, not the %d that were stored", e.Name, len(got), len(want))
		}
		if len(want) < mb {
			continue
		}
		r, err := s.Open(t.Context(), e.Object.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range []int{mb - 1, mb, mb + 1, 4*mb + 7, len(want) - 3} {
			got := make([]byte, 3)
			if _, err := r.Seek(int64(at), io.SeekStart); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, want[at:at+3]) {
				t.Errorf("at %d: %v, not what was stored (%v)", at, got, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if !h.SharesBlocks {
		return
	}
	again := store(2, map[string][][]byte{"all": slices.Insert(slices.Clone(blocks), 1, block(1000))})
	if again.StoredBytes > 100_000 {
		t.Errorf("a block of 1000 bytes between equal ones stored %d bytes", again.StoredBytes)
	}
}
