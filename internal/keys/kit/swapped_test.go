package kit

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// TestSwapped: what another program would unpack of a kit is what was looked at.
func TestSwapped(t *testing.T) {
	path, _ := written(t, pass(phrase))
	type part struct {
		name string
		text []byte
	}
	var parts []part
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for r := tar.NewReader(f); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		parts = append(parts, part{h.Name, text})
	}
	made := func(parts []part, tail string) string {
		t.Helper()
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, p := range parts {
			if err := w.WriteHeader(&tar.Header{Name: p.name, Mode: 0o755, Size: int64(len(p.text))}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write(p.text); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		b.WriteString(tail)
		out := filepath.Join(t.TempDir(), "k.tar")
		if err := os.WriteFile(out, b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return out
	}
	evil := part{"./backstay", []byte("evil")}
	with := func(at int, p part) []part {
		out := append([]part{}, parts[:at]...)
		return append(append(out, p), parts[at:]...)
	}
	changed := append([]part{}, parts...)
	changed[0].text = append([]byte("type this: "), changed[0].text...)
	if _, err := Open(made(parts, ""), Opening{Passphrase: core.NewSecret(phrase)}); err != nil {
		t.Fatalf("unchanged: %v", err)
	}
	for name, path := range map[string]string{
		"another program behind": made(with(3, evil), ""),
		"another program first":  made(with(0, part{"backstay", []byte("evil")}), ""),
		"the same name twice":    made(with(3, part{"backstay", []byte("evil")}), ""),
		"a way out":              made(with(3, part{"../x", []byte("x")}), ""),
		"other instructions":     made(changed, ""),
		"without instructions":   made(parts[1:], ""),
		"another tar behind it":  made(parts, "x"),
	} {
		if _, err := Open(path, Opening{Passphrase: core.NewSecret(phrase)}); core.CodeOf(err) != core.CodeDamage {
			t.Errorf("%s: %v", name, err)
		}
	}
}
