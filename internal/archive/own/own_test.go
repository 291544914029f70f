package own

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
)

// quick is the format with a passphrase that costs little.
func quick() Format { return Format{workFactor: 4} }

// expect: what Files has to give is what the backup has, but for names that
// the seam does not take.
func expect(e archive.Entry) (archive.Entry, bool) {
	_, err := archive.CheckPath(e.Path)
	return e, err == nil
}

// accepted are forgeries that are ordinary trees.
var accepted = []string{
	"plain", "newline", "symlink out", "symlink absolute", "symlink inside", "names that differ in case", "name of 255 bytes",
	"special files in a sub-folder",
}

func TestConformance(t *testing.T) {
	archivetest.Run(t, archivetest.Case{
		Format: quick(), Expect: expect, Block: blockSize, Unpack: unpackZstd, Repack: repack, Forge: forge, Accepts: accepted,
		Hostile: hostile(),
	})
}

func TestConformanceSealed(t *testing.T) {
	secret := core.NewSecret("correct horse")
	archivetest.Run(t, archivetest.Case{
		Format: quick(), Expect: expect, Write: archive.WriteOptions{Password: secret},
		Open: archive.OpenOptions{Passwords: []core.Secret{core.NewSecret("wrong"), secret}},
	})
}

func unpackZstd(t testing.TB, b []byte) []byte {
	t.Helper()
	d, err := zstd.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	out, err := io.ReadAll(d)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func repack(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	e, err := zstd.NewWriter(&out, zstd.WithWindowSize(maxWindow))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// part is one entry of a forged archive.
type part struct {
	header tar.Header
	body   []byte
	claim  int64             // 0: the body's size
	raw    func(head []byte) // changes the header's blocks
	silent bool              // ENTRIES and SHA256SUMS do not know it
}

func textFile(name, body string) part {
	return part{header: tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o600, ModTime: time.Unix(1e9, 0)}, body: []byte(body)}
}

func aDir(name string) part {
	return part{header: tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: time.Unix(1e9, 0)}}
}

// base is an archive with one empty tree.
func base(t testing.TB) []part {
	t.Helper()
	m, err := json.Marshal(core.Manifest{Schema: 1, ID: "b", App: "a", Time: time.Unix(1e9, 0).UTC()})
	if err != nil {
		t.Fatal(err)
	}
	return []part{textFile(readmeName, readmeTitle), textFile(manifestName, string(m)), aDir("files"), aDir("files/app")}
}

// build makes an archive of parts, with lists that fit them. change may change the tar. It returns nil
// where tar cannot express a part.
func build(t testing.TB, parts []part, change ...func([]byte) []byte) []byte {
	t.Helper()
	var out, entries, sums bytes.Buffer
	nEntries, nSums := 0, 0
	put := func(p part) bool {
		h := p.header
		h.Format, h.Size = tar.FormatPAX, int64(len(p.body))
		if p.claim > 0 {
			h.Size = p.claim
		}
		var head bytes.Buffer
		if tar.NewWriter(&head).WriteHeader(&h) != nil {
			return false
		}
		b := head.Bytes()
		if p.raw != nil {
			p.raw(b)
		}
		out.Write(b)
		out.Write(p.body)
		out.Write(make([]byte, (blockSize-len(p.body)%blockSize)%blockSize))
		if p.silent {
			return true
		}
		e := core.Entry{Type: core.TypeFile, UID: uint32(h.Uid), GID: uint32(h.Gid), ModTime: h.ModTime, Object: core.Object{Size: h.Size}, Mode: 0}
		i, err := entryOf(&h)
		if err == nil {
			e = i.entry
		}
		if h.Name != entriesName && h.Name != sumsName {
			nEntries++
			entries.Write(entryLine(strings.TrimSuffix(h.Name, "/"), e, h.Linkname))
		}
		if e.Type == core.TypeFile {
			nSums++
			sums.Write(sumLine(h.Name, sha256.Sum256(p.body)))
		}
		return true
	}
	for _, p := range parts {
		if !put(p) {
			return nil
		}
	}
	entries.Write(entriesEnd(nEntries))
	put(textFile(entriesName, entries.String()))
	sums.Write(sumsEnd(nSums))
	put(textFile(sumsName, sums.String()))
	out.Write(make([]byte, 2*blockSize))
	b := out.Bytes()
	for _, f := range change {
		b = f(b)
	}
	return repack(t, b)
}

// forge puts entries below files/app, each with the folders above it.
func forge(t testing.TB, forged ...archivetest.Forged) []byte {
	t.Helper()
	parts := base(t)
	forged = slices.Clone(forged)
	slices.SortStableFunc(forged, func(a, b archivetest.Forged) int {
		return slices.CompareFunc(strings.Split(a.Path, "/"), strings.Split(b.Path, "/"), cmp.Compare[string])
	})
	made := map[string]bool{"files": true, "files/app": true}
	var above func(dir string)
	above = func(dir string) {
		if dir == "." || dir == "/" || made[dir] {
			return
		}
		above(path.Dir(dir))
		made[dir] = true
		parts = append(parts, aDir(dir))
	}
	for _, f := range forged {
		name := f.Path
		if strings.Contains(name, `\`) || len(name) > archive.MaxPath && len(name) < maxPath {
			return nil // legal on Linux, though the seam's Files cannot give it: see TestLinuxNames
		}
		plain := !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "C:")
		if plain {
			name = "files/app/" + name
			if path.Clean(name) == name && len(name) < maxPath {
				above(path.Dir(name))
			}
		}
		made[name] = true
		p := part{header: tar.Header{Name: name, Typeflag: byte(f.Kind), Linkname: f.Link, Mode: 0o644, ModTime: time.Unix(1e9, 0)}, body: f.Body, claim: f.Claim}
		if f.Kind == archivetest.KindDir {
			p.header.Name += "/"
		}
		if f.Claim < 0 {
			p.claim = 0
			p.raw = func(head []byte) {
				head = head[len(head)-blockSize:]
				for i := 124; i < 136; i++ {
					head[i] = 0xff
				}
				sum := 0
				for i, b := range head {
					if i >= 148 && i < 156 {
						b = ' '
					}
					sum += int(b)
				}
				copy(head[148:], fmt.Sprintf("%06o\x00 ", sum))
			}
		}
		parts = append(parts, p)
	}
	return build(t, parts)
}

// hostile are archives that only this format knows.
func hostile() []archivetest.Hostile {
	of := func(name, want string, make func(t testing.TB, parts []part) []part) archivetest.Hostile {
		return archivetest.Hostile{Name: name, Want: want, Build: func(t testing.TB) []byte { return build(t, make(t, base(t))) }}
	}
	with := func(name, want string, more ...part) archivetest.Hostile {
		return of(name, want, func(_ testing.TB, parts []part) []part { return append(parts, more...) })
	}
	header := func(change func(h *tar.Header)) part {
		p := textFile("files/app/x", "x")
		change(&p.header)
		return p
	}
	manifest := func(name, want string, change func(m *core.Manifest)) archivetest.Hostile {
		return of(name, want, func(t testing.TB, parts []part) []part {
			var m core.Manifest
			if err := json.Unmarshal(parts[1].body, &m); err != nil {
				t.Fatal(err)
			}
			change(&m)
			b, err := json.Marshal(m)
			if err != nil {
				t.Fatal(err)
			}
			parts[1].body = b
			return parts
		})
	}
	database := func(name, want string, index core.DatabaseIndex, more ...part) archivetest.Hostile {
		return of(name, want, func(t testing.TB, parts []part) []part {
			b, err := json.Marshal(index)
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(b)
			m := core.Manifest{Schema: 1, ID: "b", App: "a", Database: &core.Database{Index: indexName, Checksum: fmt.Sprintf("%x", sum)}}
			if parts[1].body, err = json.Marshal(m); err != nil {
				t.Fatal(err)
			}
			return slices.Concat(parts[:2], []part{aDir("database"), textFile(indexName, string(b))}, more)
		})
	}
	silent := textFile("files/app/silent", "x")
	silent.silent = true
	chunk := core.DatabaseIndex{Tables: []core.Table{{
		Name: "t", Schema: "database/schema/table/t.sql", Chunks: []core.Chunk{{File: "database/data/t/0000-00000.tsv", Bytes: 2}},
	}}}
	table := []part{
		aDir("database/data"), aDir("database/data/t"), textFile("database/data/t/0000-00000.tsv", "1\n"),
		aDir("database/schema"), aDir("database/schema/table"), textFile("database/schema/table/t.sql", "CREATE TABLE t (a int)"),
	}
	fine := func(h archivetest.Hostile) archivetest.Hostile {
		h.Accept = true
		return h
	}
	return []archivetest.Hostile{
		fine(with("nothing wrong", "")),
		fine(database("a table", "", chunk, table...)),
		database("a chunk missing", "0000-00000.tsv: it is missing", chunk, slices.Concat(table[:2], table[3:])...),
		database("a chunk too many", "does not name it", chunk, slices.Concat(table[:3], []part{textFile("database/data/t/0000-00001.tsv", "2\n")}, table[3:])...),
		database("a chunk of another size", "the index says 2", chunk, slices.Concat(table[:2], []part{textFile("database/data/t/0000-00000.tsv", "11\n")}, table[3:])...),
		fine(database("no tables", "", core.DatabaseIndex{}, table[0], table[3], table[4])),
		database("evidence that the manifest has not", "does not name it", chunk, slices.Insert(slices.Clone(table), 3, textFile("database/evidence.json", "{}"))...),
		of("an index that does not come first", "comes before database/index.json", func(t testing.TB, parts []part) []part {
			m, err := json.Marshal(core.Manifest{Schema: 1, Database: &core.Database{Index: indexName}})
			if err != nil {
				t.Fatal(err)
			}
			parts[1].body = m
			return append(parts[:2], aDir("database"), aDir("database/data"))
		}),
		database("a link in the database", "no links", chunk, slices.Concat(table[:2], []part{{header: tar.Header{
			Name: "database/data/t/0000-00000.tsv", Typeflag: tar.TypeSymlink, Linkname: "/etc/passwd"}}}, table[3:])...),
		manifest("a database that is missing", indexName+": it is missing", func(m *core.Manifest) { m.Database = &core.Database{Index: indexName} }),
		manifest("a tree that is missing", "code: it is missing", func(m *core.Manifest) {
			m.Trees = []core.Tree{{Component: core.ComponentCode, Files: 1}}
		}),
		manifest("a newer layout", "layout version 99", func(m *core.Manifest) { m.Schema = 99 }),
		of("a newer archive", "newer version", func(_ testing.TB, parts []part) []part {
			parts[0].body = []byte(titleBegin + "2\n")
			return parts
		}),
		of("no readme", "no backstay archive", func(_ testing.TB, parts []part) []part { return parts[1:] }),
		of("no manifest", "comes before manifest.json", func(_ testing.TB, parts []part) []part { return slices.Delete(parts, 1, 2) }),
		of("a manifest that is none", "cannot be read", func(_ testing.TB, parts []part) []part {
			parts[1].body = []byte("{")
			return parts
		}),
		with("a name of no layout", "no such entry", textFile("secrets.txt", "x")),
		with("a file beside the places", "app and system", textFile("files/x", "x")),
		with("a tree that is a file", "wrong kind", textFile("code", "x")),
		of("a database that nobody named", "has no database", func(_ testing.TB, parts []part) []part { return slices.Insert(parts, 2, aDir("database")) }),
		with("an earlier tree later", "comes after", aDir("code")),
		with("an entry that no list has", "does not fit", silent),
		with("an extended attribute", "extended header", header(func(h *tar.Header) { h.PAXRecords = map[string]string{"SCHILY.xattr.user.a": "b"} })),
		with("an owner's name", "has a name", header(func(h *tar.Header) { h.Uname = "root" })),
		with("an owner beyond", "owner", header(func(h *tar.Header) { h.Uid = 1<<32 - 1 })),
		with("odd mode bits", "mode", header(func(h *tar.Header) { h.Mode = 0o100644 })),
		with("a file with a target", "no link", header(func(h *tar.Header) { h.Linkname = "y" })),
		{Name: "a global header", Want: "of type", Build: func(t testing.TB) []byte {
			return build(t, slices.Insert(base(t), 0, part{silent: true, header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "x"}}}))
		}},
		{Name: "one block of zeros", Want: "too early", Build: func(t testing.TB) []byte {
			return build(t, base(t), func(b []byte) []byte { return b[:len(b)-blockSize] })
		}},
		{Name: "three blocks of zeros", Want: "after its end", Build: func(t testing.TB) []byte {
			return build(t, base(t), func(b []byte) []byte { return append(b, make([]byte, blockSize)...) })
		}},
		{Name: "an entry after the sums", Want: "something is where the tar ends", Build: func(t testing.TB) []byte {
			return build(t, base(t), func(b []byte) []byte { return append(b[:len(b)-2*blockSize], b[2*blockSize:]...) })
		}},
		{Name: "a changed byte under right checksums of zstd", Want: "SHA256SUMS", Build: func(t testing.TB) []byte {
			return build(t, append(base(t), textFile("files/app/x", "precious")), func(b []byte) []byte { return bytes.Replace(b, []byte("precious"), []byte("worthles"), 1) })
		}},
		{Name: "a window over 8 MiB", Want: "window", Build: func(t testing.TB) []byte {
			var out bytes.Buffer
			e, err := zstd.NewWriter(&out, zstd.WithWindowSize(16<<20), zstd.WithSingleSegment(false))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.CopyN(e, zeros{}, 20<<20); err != nil {
				t.Fatal(err)
			}
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			return out.Bytes()
		}},
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestRecipients seals for keys, and opens with them given as passwords.
func TestRecipients(t *testing.T) {
	key := func() *age.X25519Identity {
		t.Helper()
		k, err := age.GenerateX25519Identity()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	one, two, other := key(), key(), key()
	hybrid, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	seal := func(recipients ...string) []byte {
		t.Helper()
		var b bytes.Buffer
		if _, err := quick().Write(t.Context(), &b, archivetest.Sample(t, ""), archive.WriteOptions{Recipients: recipients}); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	pair, quantum := seal(one.Recipient().String(), two.Recipient().String()), seal(hybrid.Recipient().String())
	for _, tt := range []struct {
		name      string
		data      []byte
		passwords []string
		want      core.Code
		hint      string
	}{
		{"first key", pair, []string{one.String()}, "", ""},
		{"second key, in a file's text", pair, []string{"# created: today\n# public key: age1…\n" + two.String() + "\n"}, "", ""},
		{"after wrong ones", pair, []string{"", "a passphrase", other.String(), one.String()}, "", ""},
		{"a hybrid key", quantum, []string{hybrid.String()}, "", ""},
		{"none", pair, nil, core.CodeWrongKey, "AGE-SECRET-KEY-"},
		{"another key", pair, []string{other.String()}, core.CodeWrongKey, "AGE-SECRET-KEY-"},
		{"a passphrase", pair, []string{"a passphrase"}, core.CodeWrongKey, "AGE-SECRET-KEY-"},
		{"a key that is cut", pair, []string{one.String()[:40]}, core.CodeWrongKey, "age-keygen"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var passwords []core.Secret
			for _, p := range tt.passwords {
				passwords = append(passwords, core.NewSecret(p))
			}
			a, err := quick().Open(t.Context(), onDisk(t, tt.data), archive.OpenOptions{Passwords: passwords})
			if core.CodeOf(err) != tt.want || !strings.Contains(core.HintOf(err), tt.hint) {
				t.Fatalf("open: %v, hint %q", err, core.HintOf(err))
			}
			for _, p := range tt.passwords {
				if err != nil && p != "" && strings.Contains(err.Error()+core.HintOf(err), p) {
					t.Errorf("the error tells the password: %v", err)
				}
			}
			if err != nil {
				return
			}
			if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
				t.Error(err, flaws)
			}
		})
	}
	for name, opt := range map[string]archive.WriteOptions{
		"both":        {Recipients: []string{one.Recipient().String()}, Password: core.NewSecret("p")},
		"no key":      {Recipients: []string{"me@example.org"}},
		"private key": {Recipients: []string{one.String()}},
	} {
		var b bytes.Buffer
		_, err := quick().Write(t.Context(), &b, archivetest.Sample(t, ""), opt)
		if core.CodeOf(err) != core.CodeUsage || b.Len() > 0 {
			t.Errorf("%s: %v, and %d bytes are written", name, err, b.Len())
		}
		if err != nil && strings.Contains(err.Error()+core.HintOf(err), one.String()) {
			t.Errorf("%s: the error tells the key", name)
		}
	}
}
