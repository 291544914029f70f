package pack

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"testing"
)

func openNow(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skipf("no list of open files here: %v", err)
	}
	return len(entries)
}

// TestReadAt reads more packs than are kept open, by several readers at a time,
// while all of them are replaced again and again.
func TestReadAt(t *testing.T) {
	const packs, size = 3 * maxOpen, 100
	dir, before := t.TempDir(), openNow(t)
	path := func(n int) string { return fmt.Sprintf("%s/p%d", dir, n) }
	write := func(n int) error {
		temp := path(n) + ".tmp"
		return errors.Join(os.WriteFile(temp, bytes.Repeat([]byte{byte(n)}, size), 0o600), os.Rename(temp, path(n)))
	}
	for n := range packs {
		if err := write(n); err != nil {
			t.Fatal(err)
		}
	}
	var f Files
	var readers sync.WaitGroup
	for r := range 4 {
		readers.Go(func() {
			b := make([]byte, size)
			for i := range 20 * packs {
				n := (i*(r+1) + r) % packs
				if r == 0 {
					if err := write(n); err != nil {
						t.Error(err)
					}
				}
				if err := f.ReadAt(path(n), b[:size/2], int64(i%(size/2))); err != nil {
					t.Error(err)
				}
				if !bytes.Equal(b[:size/2], bytes.Repeat([]byte{byte(n)}, size/2)) {
					t.Errorf("read of pack %d gave %v", n, b[0])
				}
			}
		})
	}
	readers.Wait()
	if n := openNow(t) - before; n > maxOpen {
		t.Errorf("%d packs are open", n)
	}
	if err := f.ReadAt(path(1), make([]byte, size), 1); !errors.Is(err, ErrShort) {
		t.Errorf("beyond the end: got %v", err)
	}
	if err := os.Remove(path(1)); err != nil {
		t.Fatal(err)
	}
	if err := f.ReadAt(path(1), make([]byte, size), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("removed: got %v", err)
	}
	long, want := dir+"/long", bytes.Repeat([]byte("0123456789"), pieceSize/4)
	var got bytes.Buffer
	if err := errors.Join(os.WriteFile(long, want, 0o600), f.Copy(&got, long, 3, int64(len(want)-5))); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(got.Bytes(), want[3:len(want)-2]) {
		t.Errorf("%d bytes were copied, not those that are there", got.Len())
	}
	f.Close()
	if err := f.ReadAt(path(2), make([]byte, size), 0); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if n := openNow(t) - before; n != 0 {
		t.Errorf("%d packs are open after Close", n)
	}
}
