package itflow_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/core"
)

// largeTree gives one file of many bytes that do not compress.
type largeTree struct {
	stored
	size int64
}

func (l largeTree) Open(context.Context, core.ObjectID) (io.ReadSeekCloser, error) {
	return struct {
		io.Reader
		io.Seeker
		io.Closer
	}{io.LimitReader(rand.NewChaCha8([32]byte{2}), l.size), nil, io.NopCloser(nil)}, nil
}

// TestOverFourGigabytes passes what the numbers of a plain zip file can hold:
// in the sizes of an entry, in those of an entry of uploads.zip, and in where
// the next one begins.
func TestOverFourGigabytes(t *testing.T) {
	if os.Getenv("BACKSTAY_TEST_LONG") == "" {
		t.Skip("it takes minutes and 14 GB of disk; BACKSTAY_TEST_LONG=1 runs it")
	}
	const size = 4<<30 + 12345
	content := backup("", map[string]string{"large.bin": "x"})
	s := content.Tree.(stored)
	for i := range s.dirs["uploads"] {
		s.dirs["uploads"][i].Object.Size = size
	}
	content.Tree = largeTree{s, size}
	line := []byte("INSERT INTO `t` (`a`) VALUES ('" + strings.Repeat("a", 1<<16) + "');\n")
	sqlHash := sha256.New()
	content.Dump = func(_ context.Context, w io.Writer, _ archive.Dialect) ([]core.Warning, error) {
		w = io.MultiWriter(w, sqlHash)
		for n := 0; n < size; n += len(line) {
			if _, err := w.Write(line); err != nil {
				return nil, err
			}
		}
		return nil, nil
	}
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "itflow.zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // it is only read then
	if _, err := itflow.New().Write(t.Context(), f, content, archive.WriteOptions{Password: core.NewSecret(password)}); err != nil {
		t.Fatal(err)
	}
	fileHash := sha256.New()
	if _, err := io.Copy(fileHash, io.LimitReader(rand.NewChaCha8([32]byte{2}), size)); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%x %x", sqlHash.Sum(nil), fileHash.Sum(nil))

	opt := options()
	opt.ScratchDir = t.TempDir()
	a, err := itflow.New().Open(t.Context(), f, opt)
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Fatal(err, flaws)
	}
	hash := sha256.New()
	err = a.Files(t.Context(), func(e archive.Entry, body io.Reader) error {
		if e.Path != "uploads/large.bin" || e.Size != size {
			t.Errorf("%s of %d bytes", e.Path, e.Size)
		}
		_, err := io.Copy(hash, body)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(hash.Sum(nil), fileHash.Sum(nil)) {
		t.Error("the file differs")
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}

	out := php(t, `
		[, $name, $password, $dir] = $argv;
		$zip = new ZipArchive();
		if ($zip->open($name) !== true) { die("cannot open"); }
		$zip->setPassword($password);
		if (!$zip->extractTo($dir, ["uploads.zip", "version.txt"])) { die("cannot extract: " . $zip->getStatusString()); }
		$sum = function ($zip, $name) {
			$h = hash_init('sha256'); $s = $zip->getStream($name);
			while (!feof($s)) { hash_update($h, fread($s, 1 << 20)); }
			return hash_final($h);
		};
		$uploads = new ZipArchive();
		if ($uploads->open("$dir/uploads.zip") !== true) { die("cannot open uploads"); }
		echo $sum($zip, "db.sql"), " ", $sum($uploads, "large.bin");
	`, f.Name(), password, dir)
	if out != want {
		t.Errorf("php reads %q instead of %q", out, want)
	}
	for _, command := range [][]string{
		{"unzip", "-l", f.Name()}, {"unzip", "-tqq", filepath.Join(dir, "uploads.zip")}, {"python3", "-m", "zipfile", "-l", f.Name()},
		{"python3", "-m", "zipfile", "-t", filepath.Join(dir, "uploads.zip")},
	} {
		if _, err := exec.LookPath(command[0]); err != nil {
			t.Logf("there is no %s here", command[0])
			continue
		}
		out, err := exec.Command(command[0], command[1:]...).CombinedOutput()
		t.Logf("%s: %s", strings.Join(command[:2], " "), out)
		if err != nil {
			t.Errorf("%s: %v", strings.Join(command[:2], " "), err)
		}
	}
}
