package itop

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
)

// expect is what becomes of an entry of a backup.
func expect(e archive.Entry) (archive.Entry, bool) {
	switch {
	case e.Place != "app" || e.Component == core.ComponentCode || strings.Contains(e.Path, `\`):
		return e, false
	case e.Component == core.ComponentConfig && e.Path != configPath("production"):
		return e, false
	case e.Path == "data":
		return e, false // what is special is put below it before its own entry comes
	}
	out := archive.Entry{Component: e.Component, Place: e.Place, Path: e.Path, Type: e.Type, Size: e.Size, ModTime: e.ModTime.Truncate(time.Second)}
	if e.ModTime.Before(time.Unix(0, 0)) {
		out.ModTime = time.Unix(0, 0).UTC()
	}
	if e.Component == core.ComponentConfig {
		out.Mode, out.HasMode = 0o440, true
	} else if e.Type == core.TypeFile && e.Mode&0o111 != 0 {
		out.Mode, out.HasMode = e.Mode.Perm(), true
	}
	return out, true
}

func gunzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func forgedPath(path string) string {
	if strings.HasPrefix(path, "sub") {
		return "data/" + path
	}
	return path
}

// entryOf is an entry of a tar that a test makes.
type entryOf struct {
	name, body string
	kind       byte // 0: a file
}

// makeTar writes entries with tarWriter.
func makeTar(t testing.TB, entries ...entryOf) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tarWriter{w: &b}
	for _, e := range entries {
		h := header{name: e.name, size: int64(len(e.body)), mode: 0o644, time: time.Unix(1_700_000_000, 0), dir: e.kind == typeDir}
		if err := w.begin(h); err != nil {
			t.Fatal(err)
		}
		b.WriteString(e.body)
		if err := w.end(h.size); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// forge makes a tar of the forged entries.
func forge(t testing.TB, entries ...archivetest.Forged) []byte {
	t.Helper()
	head := makeTar(t, entryOf{name: configName, body: "<?php\n"})
	b := bytes.NewBuffer(head[:len(head)-2*blockSize])
	w := tarWriter{w: b}
	for _, e := range entries {
		name := forgedPath(e.Path)
		if len(name) > 99 || strings.Contains(name, "\x00") {
			if err := w.put(header{name: "././@LongLink", size: int64(len(name)) + 1}, typeLongName); err != nil {
				t.Fatal(err)
			}
			b.WriteString(name)
			b.Write(make([]byte, 1+padding(int64(len(name))+1)))
			name = name[:min(len(name), 99)]
		}
		size := int64(len(e.Body))
		if e.Claim > size && e.Claim <= size+padding(size) {
			return nil // the padding becomes part of the file, and nobody can tell
		}
		if e.Claim != 0 {
			size = e.Claim
		}
		start := b.Len()
		if err := w.put(header{name: name, size: max(size, 0), mode: 0o644}, byte(e.Kind)); err != nil {
			t.Fatal(err)
		}
		h := b.Bytes()[start:]
		copy(h[157:257], e.Link)
		if size < 0 {
			copy(h[124:136], bytes.Repeat([]byte{0xff}, 12))
		}
		copy(h[148:], []byte(octalOf(checksum(h))+"\x00 "))
		b.Write(e.Body)
		b.Write(make([]byte, padding(int64(len(e.Body)))))
	}
	b.Write(makeTar(t, entryOf{name: dumpName, body: "-- a dump\n"}))
	return gzipped(t, b.Bytes())
}

func octalOf(n int64) string {
	digits := []byte("000000")
	for i := 5; i >= 0; i-- {
		digits[i] = byte('0' + n&7)
		n >>= 3
	}
	return string(digits)
}

func accepted() []string {
	return []string{
		"plain", "newline", "same file twice", "names that differ in case", "name of 255 bytes", "invalid UTF-8", "special files in a sub-folder",
		"appended gzip", // of no bytes
	}
}

func TestConformance(t *testing.T) {
	archivetest.Run(t, archivetest.Case{
		Format: New(), Profile: "itop", Dialect: archive.DialectITop, Expect: expect, Follows: true,
		Warns: []string{archive.NeverCarried, "not-carried", "itop-quirk"}, Block: blockSize, Unpack: gunzipped, Repack: gzipped, Forge: forge, Accepts: accepted(), Hostile: hostile(),
	})
}

// hostile are archives that are wrong in ways of their own.
func hostile() []archivetest.Hostile {
	config, dump := entryOf{name: configName, body: "<?php\n"}, entryOf{name: dumpName, body: "-- a dump\n"}
	of := func(name, want string, entries ...entryOf) archivetest.Hostile {
		return archivetest.Hostile{Name: name, Want: want, Build: func(t testing.TB) []byte { return gzipped(t, makeTar(t, entries...)) }}
	}
	changed := func(name, want string, change func(tar []byte) []byte) archivetest.Hostile {
		return archivetest.Hostile{Name: name, Want: want, Build: func(t testing.TB) []byte {
			return gzipped(t, change(makeTar(t, config, entryOf{name: "data/a", body: "a"}, dump)))
		}}
	}
	// with changes the header of data/a, the second entry.
	with := func(name, want string, change func(h []byte)) archivetest.Hostile {
		return changed(name, want, func(tar []byte) []byte {
			h := tar[2*blockSize : 3*blockSize]
			change(h)
			copy(h[148:], octalOf(checksum(h))+"\x00 ")
			return tar
		})
	}
	fine := of("config and dump alone", "", config, dump)
	fine.Accept = true
	padded := changed("padded as GNU tar does", "", func(tar []byte) []byte { return append(tar, make([]byte, 10*blockSize)...) })
	padded.Accept = true
	parts := archivetest.Hostile{Name: "one tar in two members", Accept: true, Build: func(t testing.TB) []byte {
		tar := makeTar(t, config, dump)
		return append(gzipped(t, tar[:700]), gzipped(t, tar[700:])...)
	}}
	deep := archivetest.Hostile{Name: "many folders in few names", Limits: archive.Limits{MaxEntries: 5000}, Build: func(t testing.TB) []byte {
		entries := []entryOf{config}
		for n := range 10 {
			entries = append(entries, entryOf{name: string(rune('a'+n)) + "/" + strings.Repeat("b/", 1000) + "c"})
		}
		return gzipped(t, makeTar(t, append(entries, dump)...))
	}}
	return []archivetest.Hostile{
		fine, padded, parts, deep,
		of("no dump", "itop-dump.sql: it is missing", config),
		of("no config", "config-itop.php: it is missing", dump),
		of("nothing", "config-itop.php: it is missing; itop-dump.sql: it is missing"),
		of("empty dump", "itop-dump.sql: it is empty", config, entryOf{name: dumpName}),
		of("empty config", "config-itop.php: it is empty", entryOf{name: configName}, dump),
		of("dump not last", "not the last", config, dump, entryOf{name: "data/a", body: "a"}),
		of("config not first", "not the first", entryOf{name: "data/a", body: "a"}, config, dump),
		of("two dumps", "twice", config, dump, dump),
		of("dump in a sub-folder alone", "itop-dump.sql: it is missing", config, entryOf{name: "data/itop-dump.sql", body: "x"}),
		of("dump is a folder", "it is to be a file", config, entryOf{name: dumpName, kind: typeDir}),
		of("below the config", "it is to be a file", config, entryOf{name: configName + "/x", body: "x"}, dump),
		of("modules are a file", "it is to be a folder", config, entryOf{name: modulesName, body: "x"}, dump),
		of("an extra file in the place of the delta", "twice with different bytes", config, entryOf{name: deltaName, body: "x"}, entryOf{name: "data/production.delta.xml", body: "y"}, dump),
		with("pax header", "tar --format=gnu", func(h []byte) { h[156] = 'x' }),
		with("sparse file", "type 'S'", func(h []byte) { h[156] = 'S' }),
		with("name in the prefix", "disagree about its name", func(h []byte) { copy(h[345:], "../evil") }),
		with("other magic", "kind of tar", func(h []byte) { copy(h[257:], "gnutar  ") }),
		with("size of letters", "size is none", func(h []byte) { copy(h[124:], "zzzzzzzzzzz") }),
		with("size in base-256 beyond all", "size is none", func(h []byte) { copy(h[124:], "\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff") }),
		with("long name of one byte for the dump", "itop-dump.sql: it is missing", func(h []byte) { h[156] = 'L' }),
		changed("second long name", "two names", func(tar []byte) []byte {
			a := bytes.Clone(tar[2*blockSize : 4*blockSize])
			a[156] = 'L'
			copy(a[148:], octalOf(checksum(a[:blockSize]))+"\x00 ")
			return bytes.Join([][]byte{tar[:2*blockSize], a, a, tar[4*blockSize:]}, nil)
		}),
		changed("one zero block and more", "end mark", func(tar []byte) []byte {
			return bytes.Join([][]byte{tar[:2*blockSize], make([]byte, blockSize), tar[2*blockSize:]}, nil)
		}),
		changed("two archives", "follows its end mark", func(tar []byte) []byte { return append(tar, tar...) }),
		changed("half a block at the end", "", func(tar []byte) []byte { return append(tar, 'x') }),
	}
}

// zipFormat writes the zip of older versions, for the suite: what Format writes,
// packed anew.
type zipFormat struct {
	Format
	streamed bool // with sizes behind the entries
}

func (zipFormat) Extension() string { return ".zip" }

func (z zipFormat) Write(ctx context.Context, w io.Writer, c archive.Content, opt archive.WriteOptions) ([]core.Warning, error) {
	packed, unpacked := io.Pipe()
	var warnings []core.Warning
	go func() {
		var err error
		warnings, err = z.Format.Write(ctx, unpacked, c, opt)
		unpacked.CloseWithError(err)
	}()
	defer packed.Close()
	err := rezip(w, packed, z.streamed)
	return warnings, err
}

func rezip(w io.Writer, r io.Reader, streamed bool) error {
	g, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	tr, out := newTarReader(g), zip.NewWriter(w)
	for {
		h, err := tr.next()
		if err == io.EOF {
			return out.Close()
		}
		if err != nil {
			return err
		}
		zh := &zip.FileHeader{Name: h.name, Method: zip.Deflate, Modified: time.Unix(1_700_000_000, 0).UTC()}
		zh.SetMode(0o644)
		if h.dir {
			zh.Name, zh.Method = h.name+"/", zip.Store
			zh.SetMode(0o755 | 1<<31)
		}
		f, err := out.CreateHeader(zh)
		if err != nil {
			return err
		}
		if _, err := io.Copy(f, tr); err != nil {
			return err
		}
	}
}

func TestConformanceOfZip(t *testing.T) {
	archivetest.Run(t, archivetest.Case{
		Format: zipFormat{}, Profile: "itop", Dialect: archive.DialectITop, Follows: true, Warns: []string{archive.NeverCarried, "not-carried", "itop-quirk"},
		Expect: func(e archive.Entry) (archive.Entry, bool) {
			e, carried := expect(e)
			e.ModTime = time.Time{}
			if e.Component != core.ComponentConfig {
				e.Mode, e.HasMode = 0, false
			}
			return e, carried
		},
	})
}
