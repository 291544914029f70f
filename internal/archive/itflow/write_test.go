package itflow_test

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/core"
)

// stored is a backup's tree of few entries, in memory.
type stored struct {
	dirs  map[core.ObjectID][]core.Entry
	files map[core.ObjectID]string
}

func (s stored) ReadDir(_ context.Context, id core.ObjectID) ([]core.Entry, error) {
	return s.dirs[id], nil
}

func (s stored) Open(_ context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{bytes.NewReader([]byte(s.files[id])), io.NopCloser(nil)}, nil
}

// backup returns a content with these files below uploads/.
func backup(sql string, files map[string]string) archive.Content {
	s := stored{dirs: map[core.ObjectID][]core.Entry{}, files: map[core.ObjectID]string{}}
	dir := func(id core.ObjectID, entries ...core.Entry) core.Entry {
		s.dirs[id] = entries
		return core.Entry{Name: string(id), Type: core.TypeDir, Mode: 0o755, ModTime: made, Object: core.Object{ID: id}}
	}
	var entries []core.Entry
	for name, body := range files {
		id := core.ObjectID("file " + name)
		s.files[id] = body
		entries = append(entries, core.Entry{Name: name, Type: core.TypeFile, Mode: 0o640, ModTime: made, Object: core.Object{ID: id, Size: int64(len(body))}})
	}
	root := dir("root", dir("files", dir("app", dir("uploads", entries...))))
	return archive.Content{
		Manifest: core.Manifest{
			Time: made, Host: "vm", Components: []core.Component{core.ComponentDatabase, core.ComponentFiles},
			Versions: map[string]string{"schema": "2.6.7", "git_branch": "master", "git_commit": "0262707ef029ffb294df197e10d9b918adb0c85d"},
		},
		Tree: s, Root: root,
		DumpSize: func(context.Context, archive.Dialect) (int64, error) { return int64(len(sql)), nil },
		Dump: func(_ context.Context, w io.Writer, _ archive.Dialect) ([]core.Warning, error) {
			_, err := io.WriteString(w, sql)
			return nil, err
		},
	}
}

func write(t testing.TB, content archive.Content) ([]byte, []core.Warning) {
	t.Helper()
	var b bytes.Buffer
	warnings, err := itflow.New().Write(t.Context(), &b, content, archive.WriteOptions{Password: core.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes(), warnings
}

func streamed(t testing.TB) []byte {
	t.Helper()
	data, _ := write(t, backup("SET NAMES 'utf8mb4';\n", map[string]string{"a": "x"}))
	return data
}
