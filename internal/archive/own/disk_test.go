package own

import (
	"os"
	"path/filepath"
	"testing"
)

// onDisk puts data into a file.
func onDisk(t testing.TB, data []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "backup.tar.zst"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // it is only read
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}
