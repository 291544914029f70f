package kit

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/backstay/backstay/internal/core"
)

const killedVariable = "BACKSTAY_TEST_KIT"

// TestKilled: a kit that is cut short in the middle is not there, and can be made
// again.
func TestKilled(t *testing.T) {
	if path := os.Getenv(killedVariable); path != "" {
		err := writeNew(path, func(w io.Writer) error {
			_, err := io.WriteString(w, "half of it")
			_, serr := os.Stdout.WriteString("half\n")
			_, rerr := os.Stdin.Read(make([]byte, 1)) // nothing ever comes
			return errors.Join(err, serr, rerr)
		})
		t.Fatalf("it was not killed: %v", err)
	}
	dir := t.TempDir()
	program, path := filepath.Join(dir, "program"), filepath.Join(dir, "kit.tar")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killedVariable+"="+path)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("half\n"))); err != nil {
		t.Fatal(err)
	}
	if found, err := filepath.Glob(filepath.Join(dir, ".backstay-kit-*")); err != nil || len(found) != 1 {
		t.Errorf("it is being written to %v (%v)", found, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	_ = in.Close() // whoever it was for is gone
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is half a kit: %v", err)
	}
	if _, err := Write(path, program, content(), pass(phrase)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(path, Opening{Passphrase: core.NewSecret(phrase)}); err != nil {
		t.Error(err)
	}
}

// TestPlace: of two that write the same file at once one does, and is told so.
func TestPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x")
	err := writeNew(path, func(w io.Writer) error {
		if err := WriteFile(path, []byte("first")); err != nil {
			return err
		}
		_, err := w.Write([]byte("second"))
		return err
	})
	if core.CodeOf(err) != core.CodeUsage {
		t.Errorf("the second: %v", err)
	}
	if text, err := os.ReadFile(path); err != nil || string(text) != "first" {
		t.Errorf("it holds %q (%v)", text, err)
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); err != nil || len(left) != 0 {
		t.Errorf("left is %v (%v)", left, err)
	}
}

// TestPostQuantum: recipients that withstand quantum computers, by themselves:
// with others the kit would not.
func TestPostQuantum(t *testing.T) {
	identity, err := age.GenerateHybridIdentity()
	if err != nil {
		t.Fatal(err)
	}
	path, _ := written(t, Sealing{Recipients: []string{"# mine\n" + identity.Recipient().String() + "\n"}})
	if _, err := Open(path, Opening{Identities: core.NewSecret(identity.String())}); err != nil {
		t.Error(err)
	}
	other, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	both := Sealing{Recipients: []string{identity.Recipient().String(), other.Recipient().String()}}
	if _, err := Write(path+"2", "/proc/self/exe", content(), both); core.CodeOf(err) != core.CodeUsage || !strings.Contains(core.HintOf(err), "quantum") {
		t.Errorf("both kinds: %v (%s)", err, core.HintOf(err))
	}
}

func FuzzReadOuter(f *testing.F) {
	dir := f.TempDir()
	program, path := filepath.Join(dir, "program"), filepath.Join(dir, "kit.tar")
	if err := os.WriteFile(program, []byte("the program"), 0o700); err != nil {
		f.Fatal(err)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		f.Fatal(err)
	}
	if _, err := Write(path, program, content(), Sealing{Recipients: []string{identity.Recipient().String()}}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("age-encryption.org/v1\n-> scrypt "))
	at := filepath.Join(dir, "fuzzed")
	f.Fuzz(func(t *testing.T, text []byte) {
		if err := os.WriteFile(at, text, 0o600); err != nil {
			t.Fatal(err)
		}
		o, err := readOuter(at)
		if err == nil && !bytes.Contains(text, o.sealed) {
			t.Error("it reads what is not in it")
		}
		if err != nil && core.CodeOf(err) != core.CodeDamage {
			t.Errorf("%v", err)
		}
	})
}
