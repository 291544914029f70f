package itop

import (
	"bytes"
	"context"
	"io"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
)

// FuzzOpen reads hostile archives: a zip where the bytes begin as one, and
// otherwise a tar, which is compressed first so that no checksum stands in the
// way.
func FuzzOpen(f *testing.F) {
	tar := makeTar(f, entryOf{name: configName, body: "<?php\n"}, entryOf{name: deltaName, body: "<x/>"}, entryOf{name: modulesName, kind: typeDir},
		entryOf{name: modulesName + "/a.php", body: "<?php"}, entryOf{name: "data/" + string(bytes.Repeat([]byte("n"), 200)), body: "x"}, entryOf{name: dumpName, body: "-- dump\n"})
	f.Add(tar)
	f.Add(tar[:700])
	f.Add([]byte{})
	for _, h := range hostile() {
		if seed := gunzippedAll(f, h.Build(f)); len(seed) < 16<<10 {
			f.Add(seed)
		}
	}
	for _, streamed := range []bool{false, true} {
		var b bytes.Buffer
		if err := rezip(&b, bytes.NewReader(gzipped(f, tar)), streamed); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<20 {
			t.Skip("large inputs say no more than small ones")
		}
		name := "a.zip"
		if !bytes.HasPrefix(data, []byte("PK")) {
			name, data = "a.tar.gz", gzipped(t, data)
		}
		archivetest.Try(t, New(), name, data, archive.OpenOptions{Limits: archive.Limits{MaxBytes: 16 << 20, MaxEntries: 10_000}})
	})
}

// gunzippedAll unpacks all members.
func gunzippedAll(t testing.TB, data []byte) []byte {
	t.Helper()
	g, err := newGunzip(archive.NewSource(context.Background(), bytes.NewReader(data), nil))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(g)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
