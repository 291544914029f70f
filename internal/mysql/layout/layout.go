// Package layout is how a database's rows and definitions lie in a backup:
// docs/spec/backup-layout.md. It is for package dump, which fetches them, and
// for whoever looks for them there. It promises that equal rows and equal
// definitions make equal files, and that rows keep the ends of their chunks
// and blocks whatever is inserted before them.
package layout

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Entries below database/ look the same in every backup, so that equal data
// makes equal folders.
var sameTime = time.Unix(0, 0).UTC()

// FileEntry is the entry of a stored file.
func FileEntry(name string, obj core.Object) core.Entry {
	return core.Entry{Name: name, Type: core.TypeFile, Mode: 0o600, ModTime: sameTime, Object: obj}
}

// WriteDir stores a folder and returns its entry.
func WriteDir(ctx context.Context, w core.TreeWriter, name string, entries []core.Entry) (core.Entry, error) {
	obj, err := w.WriteDir(ctx, entries)
	if err != nil {
		return core.Entry{}, err
	}
	e := core.Entry{Name: name, Type: core.TypeDir, Mode: 0o700, ModTime: sameTime, Object: obj}
	for _, c := range entries {
		if c.Type == core.TypeDir {
			e.Files += c.Files
		} else {
			e.Files++
		}
	}
	return e, nil
}

// WriteFile stores a small file and returns its entry.
func WriteFile(ctx context.Context, w core.TreeWriter, path, name string, data []byte) (_ core.Entry, err error) {
	f, err := w.Create(ctx, path)
	if err != nil {
		return core.Entry{}, err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if _, err := f.Write(data); err != nil {
		return core.Entry{}, err
	}
	obj, err := f.Finish()
	if err != nil {
		return core.Entry{}, err
	}
	return FileEntry(name, obj), nil
}

// FileName turns an object's name into a file name: docs/spec/backup-layout.md.
func FileName(name string) string {
	out := make([]byte, 0, len(name))
	for i := range len(name) {
		b := name[i]
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || b == '_' || b == '-' {
			out = append(out, b)
			continue
		}
		out = fmt.Appendf(out, "%%%02X", b)
	}
	if len(out) > 200 {
		sum := sha256.Sum256([]byte(name))
		out = fmt.Appendf(out[:180], "~%x", sum[:8])
	}
	return string(out)
}
