package winzip

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // the format's choice
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

const secret = "correct horse"

var made = time.Date(2026, 11, 23, 5, 8, 50, 0, time.UTC)

// got is an entry as it is read.
type got struct {
	Name, Body string
	Method     uint16
	AES        int
	Mode       fs.FileMode
	Time       time.Time
}

// readZip reads a zip file, verified.
func readZip(ctx context.Context, data []byte, password string) ([]got, error) {
	z, err := Open(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	var all []got
	err = z.Each(ctx, func(e *Entry) error {
		var key *Key
		if e.AES != 0 {
			if key, err = z.Unlock(e, password); err != nil {
				return err
			}
			if key == nil {
				return errors.New("wrong password")
			}
			if err := z.Verify(ctx, e, key, nil); err != nil {
				return err
			}
		}
		r := z.Open(ctx, e, key)
		b, err := io.ReadAll(r)
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
		mode, _ := e.Mode()
		all = append(all, got{e.Name, string(b), e.Method, e.AES, mode, e.Modified(time.UTC)})
		return nil
	})
	return all, err
}

func mustWrite(t testing.TB, fill func(w *Writer) error) []byte {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b)
	if err := errors.Join(fill(w), w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func add(w *Writer, h Header, body string) error {
	method, p, err := NewCompressor(h.Level).Compress([]byte(body))
	if err != nil {
		return err
	}
	h.Method = method
	return w.Add(h, p)
}

func stream(w *Writer, h Header, body string) error {
	e, err := w.Create(h)
	if err != nil {
		return err
	}
	_, err = io.Copy(e, iotestOneByteThenAll(body))
	return errors.Join(err, e.Close())
}

// iotestOneByteThenAll gives a body in two pieces, so that blocks of the
// cipher are cut.
func iotestOneByteThenAll(body string) io.Reader {
	n := min(1, len(body))
	return io.MultiReader(strings.NewReader(body[:n]), strings.NewReader(body[n:]))
}

func sample(t testing.TB) ([]byte, []got) {
	t.Helper()
	long := strings.Repeat("a long text that compresses. ", 20_000)
	var want []got
	data := mustWrite(t, func(w *Writer) error {
		var all error
		for i, body := range []string{"", "x", "15 bytes, or so", "16 bytes, or so.", "17 bytes, or so.!", long, long[:64*16*3]} {
			for j, password := range []string{"", secret} {
				h := Header{Name: fmt.Sprintf("%d/%d", i, j), Mode: 0o640, Modified: made, Password: core.NewSecret(password)}
				g := got{Name: h.Name, Body: body, Mode: h.Mode, Time: made, AES: j * 256}
				if len(body) > 100 {
					g.Method = Deflate
				}
				want = append(want, g)
				all = errors.Join(all, add(w, h, body))
				for method := range map[uint16]bool{Store: true, Deflate: true} {
					h.Name, h.Method = fmt.Sprintf("%d/%d streamed %d", i, j, method), method
					g.Name, g.Method = h.Name, method
					want = append(want, g)
					all = errors.Join(all, stream(w, h, body))
				}
			}
		}
		h := Header{Name: "dir/", Mode: 0o750, Modified: made}
		want = append(want, got{Name: "dir/", Mode: 0o750 | fs.ModeDir, Time: made})
		return errors.Join(all, w.Add(h, Packed{}))
	})
	return data, want
}

func TestRoundTrip(t *testing.T) {
	data, want := sample(t)
	all, err := readZip(t.Context(), data, secret)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Error(diff)
	}
	if _, err := readZip(t.Context(), data, "wrong"); err == nil {
		t.Error("a wrong password opens it")
	}
}

// TestOthersRead has Go's own reader and, where it is installed, Info-ZIP's
// read what is not encrypted.
func TestOthersRead(t *testing.T) {
	_, want := sample(t)
	data := mustWrite(t, func(w *Writer) error {
		for _, g := range want {
			h := Header{Name: g.Name, Method: g.Method, Mode: g.Mode.Perm(), Modified: g.Time}
			if g.Mode.IsDir() {
				if err := w.Add(h, Packed{}); err != nil {
					return err
				}
			} else if err := stream(w, h, g.Body); err != nil {
				return err
			}
		}
		return nil
	})
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	if len(r.File) != len(want) {
		t.Fatalf("%d entries instead of %d", len(r.File), len(want))
	}
	for i, f := range r.File {
		rc, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(rc)
		if err != nil || string(b) != want[i].Body || f.Name != want[i].Name || f.Mode() != want[i].Mode {
			t.Errorf("%s: %d bytes, mode %s, %v", f.Name, len(b), f.Mode(), err)
		}
	}
	unzip, err := exec.LookPath("unzip")
	if err != nil {
		t.Skip("there is no unzip here")
	}
	name := filepath.Join(t.TempDir(), "a.zip")
	writeFile(t, name, data)
	if out, err := exec.Command(unzip, "-tqq", name).CombinedOutput(); err != nil {
		t.Errorf("unzip: %v\n%s", err, out)
	}
}

// sealed makes a zip file with one entry, encrypted as asked for; Writer makes
// one kind of them only.
func sealed(t testing.TB, bits int, vendor byte, crc uint32, body string) []byte {
	t.Helper()
	salt := bytes.Repeat([]byte{7}, bits/16)
	key, check, err := newKey(secret, salt, bits)
	if err != nil {
		t.Fatal(err)
	}
	cipher := []byte(body)
	(&ctr{block: key.block}).xor(cipher)
	mac := hmac.New(sha1.New, key.mac)
	mac.Write(cipher)
	packed := bytes.Join([][]byte{salt, check, cipher, mac.Sum(nil)[:lenMAC]}, nil)
	return mustWrite(t, func(w *Writer) error {
		// The header claims AES-256, AE-2, where this writer puts it.
		e := written{Header: Header{Name: "a", Password: core.NewSecret(secret), Modified: made}, needs: 51, flags: flagEncrypted, method: methodAES}
		e.size, e.packed, e.crc = int64(len(body)), int64(len(packed)), crc
		local := e.local()
		fix := func(b []byte) []byte {
			at := bytes.Index(b, []byte("AE\x03"))
			b[at-2], b[at+2] = vendor, byte(bits/64-1)
			return b
		}
		w.count++
		dir := fix(e.central())
		w.dirSize += int64(len(dir))
		_, err := w.deflate.Write(dir)
		return errors.Join(w.write(fix(local)), w.write(packed), err)
	})
}

func TestVariantsOfAES(t *testing.T) {
	body := "a text of more than twenty bytes"
	crc := crc32.ChecksumIEEE([]byte(body))
	for _, bits := range []int{128, 192, 256} {
		for _, tt := range []struct {
			name   string
			vendor byte
			crc    uint32
			ok     bool
		}{
			{"AE-1", 1, crc, true}, {"AE-1 without checksum", 1, 0, false}, {"AE-1 with another checksum", 1, crc ^ 1, false},
			{"AE-2", 2, 0, true}, {"AE-2 with checksum", 2, crc, true}, {"AE-2 with another checksum", 2, crc ^ 1, false},
			{"AE-3", 3, 0, false},
		} {
			t.Run(fmt.Sprintf("%s, %d bits", tt.name, bits), func(t *testing.T) {
				all, err := readZip(t.Context(), sealed(t, bits, tt.vendor, tt.crc, body), secret)
				if tt.ok && (err != nil || all[0].Body != body || all[0].AES != bits) {
					t.Errorf("%v, %v", all, err)
				}
				if !tt.ok && core.CodeOf(err) != core.CodeDamage {
					t.Errorf("%v, %v", all, err)
				}
			})
		}
	}
}

// TestPHPEncrypts reads what libzip encrypts, with each length of key.
func TestPHPEncrypts(t *testing.T) {
	if out, err := exec.Command("php", "-m").Output(); err != nil || !bytes.Contains(out, []byte("\nzip\n")) {
		t.Skip("there is no php with its zip extension here")
	}
	name := filepath.Join(t.TempDir(), "a.zip")
	out, err := exec.Command("php", "-r", `
		$z = new ZipArchive(); $z->open($argv[1], ZipArchive::CREATE); $z->setPassword($argv[2]);
		foreach ([128 => ZipArchive::EM_AES_128, 192 => ZipArchive::EM_AES_192, 256 => ZipArchive::EM_AES_256] as $bits => $method) {
			$z->addFromString("$bits", str_repeat("text of $bits ", 1000)); $z->setEncryptionName("$bits", $method);
		}
		echo json_encode($z->close());`, "--", name, secret).CombinedOutput()
	if err != nil || string(out) != "true" {
		t.Fatalf("php: %v %s", err, out)
	}
	all, err := readZip(t.Context(), readFile(t, name), secret)
	if err != nil {
		t.Fatal(err)
	}
	for i, bits := range []int{128, 192, 256} {
		if g := all[i]; g.AES != bits || g.Body != strings.Repeat(fmt.Sprintf("text of %d ", bits), 1000) {
			t.Errorf("%d: AES-%d, %d bytes", bits, g.AES, len(g.Body))
		}
	}
}

// TestParallelCompression has streams end around the ends of blocks.
func TestParallelCompression(t *testing.T) {
	text := strings.Repeat("a text that knows of what came long before it; ", 80_000)
	for _, n := range []int{0, 1, blockSize - 1, blockSize, blockSize + 1, 2 * blockSize, 3*blockSize + 17} {
		body := text[:n]
		for _, level := range []int{0, 1, 9} {
			data := mustWrite(t, func(w *Writer) error {
				h := Header{Name: "a", Method: Deflate, Level: level, Modified: made}
				first := stream(w, h, body)
				h.Name = "b"
				return errors.Join(first, stream(w, h, body))
			})
			all, err := readZip(t.Context(), data, "")
			if err != nil || len(all) != 2 || all[0].Body != body || all[1].Body != body {
				t.Errorf("%d bytes, level %d: %v", n, level, err)
			}
		}
	}
}

func BenchmarkStream(b *testing.B) {
	line := []byte("INSERT INTO `tickets` (`ticket_id`, `ticket_subject`) VALUES ('12345', 'A printer that does not print, again');\n")
	block := bytes.Repeat(line, 1<<20/len(line))
	b.SetBytes(int64(64 * len(block)))
	for b.Loop() {
		w := NewWriter(io.Discard)
		e, err := w.Create(Header{Name: "a", Method: Deflate, Password: core.NewSecret(secret)})
		if err != nil {
			b.Fatal(err)
		}
		for range 64 {
			if _, err := e.Write(block); err != nil {
				b.Fatal(err)
			}
		}
		if err := errors.Join(e.Close(), w.Close()); err != nil {
			b.Fatal(err)
		}
	}
}
