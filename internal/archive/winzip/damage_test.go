package winzip

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

func writeFile(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// two is a plain zip file of two entries.
func two(t testing.TB) []byte {
	t.Helper()
	return mustWrite(t, func(w *Writer) error {
		return errors.Join(add(w, Header{Name: "a", Modified: made}, "body of a"), stream(w, Header{Name: "b", Modified: made}, "body of b"))
	})
}

func TestStructure(t *testing.T) {
	data := two(t)
	le := binary.LittleEndian
	end := len(data) - lenEnd
	dir := int(le.Uint32(data[end+16:]))
	second := bytes.LastIndex(data[:dir], []byte(sigLocal))
	for _, tt := range []struct {
		name, want string
		change     func(d []byte) []byte
	}{
		{"nothing", "too short", func([]byte) []byte { return nil }},
		{"a byte behind", "1 bytes stand behind", func(d []byte) []byte { return append(d, 0) }},
		{"much behind", "was appended", func(d []byte) []byte { return append(d, make([]byte, 2<<20)...) }},
		{"a byte in front", "1 bytes stand in front", func(d []byte) []byte { return append([]byte{0}, d...) }},
		{"a zip file in front", "stand in front", func(d []byte) []byte { return append(bytes.Clone(d), d...) }},
		{"in front, offsets adjusted", "does not stand where", func(d []byte) []byte {
			d = append([]byte("xxxx"), d...)
			end, dir := end+4, dir+4
			le.PutUint32(d[end+16:], uint32(dir))
			le.PutUint32(d[dir+42:], 4)
			next := dir + bytes.Index(d[dir+4:], []byte(sigCentral)) + 4
			le.PutUint32(d[next+42:], uint32(second+4))
			return d
		}},
		{"a gap", "does not stand where", func(d []byte) []byte {
			d = append(append(bytes.Clone(d[:second]), 0), d[second:]...)
			end, dir := end+1, dir+1
			le.PutUint32(d[end+16:], uint32(dir))
			next := dir + bytes.Index(d[dir+4:], []byte(sigCentral)) + 4
			le.PutUint32(d[next+42:], uint32(second+1))
			return d
		}},
		{"a gap before the directory", "between the last entry", func(d []byte) []byte {
			d = append(append(bytes.Clone(d[:dir]), 0), d[dir:]...)
			le.PutUint32(d[end+1+16:], uint32(dir+1))
			return d
		}},
		{"a gap behind the directory", "behind the directory's last entry", func(d []byte) []byte {
			d = append(append(bytes.Clone(d[:end]), 0), d[end:]...)
			le.PutUint32(d[end+1+12:], uint32(end-dir+1))
			return d
		}},
		{"entries that overlap", "does not stand where", func(d []byte) []byte {
			next := dir + bytes.Index(d[dir+4:], []byte(sigCentral)) + 4
			le.PutUint32(d[next+42:], 0)
			return d
		}},
		{"an entry less", "", func(d []byte) []byte {
			le.PutUint16(d[end+8:], 1)
			le.PutUint16(d[end+10:], 1)
			return d
		}},
		{"an entry more", "directory", func(d []byte) []byte {
			le.PutUint16(d[end+8:], 3)
			le.PutUint16(d[end+10:], 3)
			return d
		}},
		{"another name in the header", "contradict", func(d []byte) []byte { d[lenLocal] = 'x'; return d }},
		{"another size in the header", "contradict", func(d []byte) []byte { d[22]++; return d }},
		{"another size behind the data", "contradict", func(d []byte) []byte { d[dir-1]++; return d }},
		{"a comment", "behind", func(d []byte) []byte { d[end+20] = 1; return append(d, 'x') }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readZip(t.Context(), tt.change(bytes.Clone(data)), "")
			if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v", err)
			}
		})
	}
	if _, err := readZip(t.Context(), data, ""); err != nil {
		t.Error(err)
	}
}

// TestChangesAreFound changes each byte of an encrypted file to some others,
// and cuts it everywhere.
func TestChangesAreFound(t *testing.T) {
	data := mustWrite(t, func(w *Writer) error {
		h := Header{Name: "a", Modified: made, Password: core.NewSecret(secret)}
		return errors.Join(add(w, h, "body of a"), stream(w, Header{Name: "b", Method: Deflate, Modified: made, Password: h.Password}, "body of b"))
	})
	// What the directory alone says of an entry, no one compares here: made by,
	// and attributes.
	alone := map[int]bool{}
	for at := bytes.Index(data, []byte(sigCentral)); at >= 0; {
		for _, field := range [][2]int{{4, 6}, {36, 42}} {
			for i := field[0]; i < field[1]; i++ {
				alone[at+i] = true
			}
		}
		next := bytes.Index(data[at+4:], []byte(sigCentral))
		if next < 0 {
			break
		}
		at += 4 + next
	}
	for at := range data {
		for _, x := range []byte{1, 0x80, 0xff} {
			changed := bytes.Clone(data)
			changed[at] ^= x
			if _, err := readZip(t.Context(), changed, secret); err == nil && !alone[at] {
				t.Errorf("byte %d changed by %#x is not found", at, x)
			}
		}
		if _, err := readZip(t.Context(), data[:at], secret); core.CodeOf(err) != core.CodeDamage {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
}

// TestChangedWhileRead changes a file between its verification and its reading.
func TestChangedWhileRead(t *testing.T) {
	data := mustWrite(t, func(w *Writer) error {
		return stream(w, Header{Name: "a", Modified: made, Password: core.NewSecret(secret)}, strings.Repeat("text", 1000))
	})
	z, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	err = z.Each(t.Context(), func(e *Entry) error {
		key, err := z.Unlock(e, secret)
		if err != nil {
			return err
		}
		if err := z.Verify(t.Context(), e, key, nil); err != nil {
			return err
		}
		data[e.data+500] ^= 1
		_, err = io.Copy(io.Discard, z.Open(t.Context(), e, key))
		return err
	})
	if core.CodeOf(err) != core.CodeDamage {
		t.Errorf("%v", err)
	}
}

// TestLargeEndRecords has them where they are not needed, as libzip writes
// them when an entry of over 4 GB compresses well.
func TestLargeEndRecords(t *testing.T) {
	data := two(t)
	end := len(data) - lenEnd
	dir := int64(binary.LittleEndian.Uint32(data[end+16:]))
	large := endRecords(2, max32, dir) // of a size that needs them
	large = large[:lenEnd64+lenLocator]
	binary.LittleEndian.PutUint64(large[40:], uint64(int64(end)-dir))
	binary.LittleEndian.PutUint64(large[lenEnd64+8:], uint64(end))
	data = bytes.Join([][]byte{data[:end], large, data[end:]}, nil)
	if _, err := readZip(t.Context(), data, ""); err != nil {
		t.Fatal(err)
	}
	for at := end * 8; at < len(data)*8; at++ {
		data[at/8] ^= 1 << (at % 8)
		if _, err := readZip(t.Context(), data, ""); err == nil {
			t.Errorf("bit %d of byte %d is not found", at%8, at/8-end)
		}
		data[at/8] ^= 1 << (at % 8)
	}
}

func TestManyEntries(t *testing.T) {
	const n = 70_000 // more than fit into 16 bits
	data := mustWrite(t, func(w *Writer) error {
		for i := range n {
			if err := w.Add(Header{Name: "some/folder/" + strings.Repeat("n", i%30) + string(rune('0'+i%10)), Modified: made}, Packed{}); err != nil {
				return err
			}
		}
		return nil
	})
	z, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	if err := z.Each(t.Context(), func(*Entry) error { count++; return nil }); err != nil || count != n || z.Len() != n {
		t.Errorf("%d entries, %d by its end, %v", count, z.Len(), err)
	}
}

func FuzzOpen(f *testing.F) {
	f.Add(two(f))
	data, _ := sample(f)
	f.Add(data)
	f.Add(sealed(f, 128, 1, 0, "text"))
	f.Add(mustWrite(f, func(*Writer) error { return nil }))
	f.Fuzz(func(t *testing.T, data []byte) {
		z, err := Open(bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		_ = z.Each(t.Context(), func(e *Entry) error { // any error will do
			var key *Key
			if e.AES != 0 {
				if key, err = z.Unlock(e, secret); err != nil || key == nil {
					return err
				}
				if err := z.Verify(t.Context(), e, key, nil); err != nil {
					return err
				}
			}
			r := z.Open(t.Context(), e, key)
			n, err := io.CopyN(io.Discard, r, 1<<20)
			if n > e.Size {
				t.Errorf("%q gives %d bytes and claims %d", e.Name, n, e.Size)
			}
			if err == io.EOF {
				err = nil
			}
			return errors.Join(err, r.Close())
		})
	})
}
