package openat

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMark has a file system give an inode number again.
func TestMark(t *testing.T) {
	dir := t.TempDir()
	look := func(name string) Mark {
		t.Helper()
		m, err := MarkOf(unix.AT_FDCWD, name)
		if err != nil || !m.Known() {
			t.Fatalf("%s: %+v, %v", name, m, err)
		}
		return m
	}
	path := dir + "/f"
	for range 50 {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		first := look(path)
		if err := os.Rename(path, path+"2"); err != nil {
			t.Fatal(err)
		}
		if m := look(path + "2"); !m.Is(first) {
			t.Fatalf("renamed: %+v, before %+v", m, first)
		}
		if err := os.Remove(path + "2"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path+"3", 0o700); err != nil {
			t.Fatal(err)
		}
		again := look(path + "3")
		if first.Birth != 0 && again.Birth != first.Birth && again.Is(first) {
			t.Fatalf("another one seems the same: %+v, %+v", again, first)
		}
		if err := os.Remove(path + "3"); err != nil {
			t.Fatal(err)
		}
	}
	if (Mark{Inode: 1, Birth: 2}).Is(Mark{Inode: 1, Birth: 3}) || !(Mark{Inode: 1, Birth: 2}).Is(Mark{Inode: 1}) {
		t.Error("births are not compared")
	}
}
