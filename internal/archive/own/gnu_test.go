package own

import (
	"archive/tar"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/archivetest"
	"github.com/backstay/backstay/internal/core"
)

// specified returns the commands of docs/spec/archive.md between two lines,
// without their indentation: what stands there is what is tested.
func specified(t *testing.T, first, last string) string {
	t.Helper()
	b, err := os.ReadFile("../../../docs/spec/archive.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(b), "\n    "+first)
	commands, _, ended := strings.Cut(first+rest, "\n    "+last)
	if !found || !ended {
		t.Fatalf("the specification has no lines %q to %q", first, last)
	}
	return strings.ReplaceAll(commands+"\n"+last, "\n    ", "\n")
}

func needs(t *testing.T, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	if out, err := exec.Command("tar", "--version").Output(); err != nil || !bytes.Contains(out, []byte("GNU tar")) {
		t.Skip("tar is not GNU tar")
	}
}

// shell runs a script in dir.
func shell(t *testing.T, dir, script string) (string, error) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "bash", "-eu", "-o", "pipefail", "-c", script)
	c.Dir = dir
	c.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "TZ=America/St_Johns")
	out, err := c.CombinedOutput()
	return string(out), err
}

// TestByHand reads an archive as the specification tells people to, and finds
// with its commands whatever is done to what was extracted.
func TestByHand(t *testing.T) {
	needs(t, "zstd", "tar", "sha256sum", "find", "bash")
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "NAME.tar.zst"), archivetest.Sample(t, ""), archive.WriteOptions{})
	extract := specified(t, "zstd -t NAME", "zstd -dc NAME.tar.zst | tar -x -p --same-owner --numeric-owner -C backup -f -")
	check := specified(t, "cd backup", "grep -v '^# end: ' ENTRIES | LC_ALL=C sort | diff - ../found && echo whole")
	if os.Getuid() != 0 {
		t.Skip("only root can give the files their owners")
	}
	if out, err := shell(t, dir, extract); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := func() (string, bool) {
		out, err := shell(t, dir, check)
		return out, err == nil && strings.HasSuffix(out, "whole\n")
	}
	out, ok := whole()
	if !ok {
		t.Fatal(out)
	}
	if !strings.Contains(out, "# end: ") {
		t.Errorf("the lists' ends are not shown: %s", out)
	}
	at := filepath.Join(dir, "backup/files/app/uploads")
	for name, spoil := range map[string]string{
		"another byte":  "echo 2 > one; touch -r zero one",
		"a file more":   "touch more",
		"a file less":   "rm zero",
		"another mode":  "chmod 600 zero",
		"another owner": "chown 1:1 zero",
		"another time":  "touch -d '2020-01-01 00:00:00.5' zero",
		"another link":  "ln -sfn two link",
		"a pipe":        "mkfifo pipe",
		"a line less":   "sed -i 3d ../../../SHA256SUMS && sed -i 3d ../../../ENTRIES",
	} {
		t.Run(name, func(t *testing.T) {
			saved, err := shell(t, dir, "rm -rf saved && cp -a backup saved")
			if err != nil {
				t.Fatal(saved, err)
			}
			if out, err := shell(t, at, spoil); err != nil {
				t.Fatal(out, err)
			}
			if out, ok := whole(); ok {
				t.Errorf("passes for whole: %s", out)
			}
			if out, err := shell(t, dir, "rm -rf backup && mv saved backup"); err != nil {
				t.Fatal(out, err)
			}
		})
	}
	if out, ok := whole(); !ok {
		t.Errorf("in the end: %s", out)
	}
}

// TestGNUTarOfAnotherLocale extracts odd names where no language is set.
func TestGNUTarOfAnotherLocale(t *testing.T) {
	needs(t, "zstd", "tar")
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "NAME.tar.zst"), archivetest.Sample(t, ""), archive.WriteOptions{})
	if out, err := shell(t, dir, "mkdir x && LC_ALL=C tar -x --no-same-owner -f NAME.tar.zst -C x && cd x && LC_ALL=C sha256sum -c --quiet SHA256SUMS"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestAgeByHand opens what we seal with the age program.
func TestAgeByHand(t *testing.T) {
	needs(t, "age", "zstd", "tar")
	dir := t.TempDir()
	key, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "KEYFILE"), []byte(key.String()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	writeTo(t, filepath.Join(dir, "NAME.tar.zst.age"), archivetest.Sample(t, ""), archive.WriteOptions{Recipients: []string{key.Recipient().String()}})
	if out, err := shell(t, dir, "age -d -i KEYFILE -o NAME.tar.zst NAME.tar.zst.age && zstd -t NAME.tar.zst"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// And the other way round: sealed by age.
	if out, err := shell(t, dir, "age -r "+key.Recipient().String()+" -o again.age NAME.tar.zst"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(filepath.Join(dir, "again.age"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New().Open(t.Context(), onDisk(t, b), archive.OpenOptions{Passwords: []core.Secret{core.NewSecret(key.String())}})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Error(err, flaws)
	}
}

// TestRepackedByHand: a pack of several frames, as zstd and cat make them, is
// the same archive.
func TestRepackedByHand(t *testing.T) {
	needs(t, "zstd")
	dir := t.TempDir()
	writeTo(t, filepath.Join(dir, "a"), archivetest.Sample(t, ""), archive.WriteOptions{})
	out, err := shell(t, dir, "zstd -dqf a -o tar && head -c 9000 tar | zstd -q > b && tail -c +9001 tar | zstd -q --ultra -22 --zstd=wlog=23 >> b")
	if err != nil {
		t.Fatal(out, err)
	}
	b, err := os.ReadFile(filepath.Join(dir, "b"))
	if err != nil {
		t.Fatal(err)
	}
	a, err := New().Open(t.Context(), onDisk(t, b), archive.OpenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if flaws, err := a.Check(t.Context()); err != nil || len(flaws) > 0 {
		t.Error(err, flaws)
	}
}

// TestLists: the lists are those that GNU tools make.
func TestLists(t *testing.T) {
	tr := unpackZstd(t, written(t, archivetest.Sample(t, "")))
	if !bytes.Contains(tr, []byte("\nf 4750 70000 3000000000 -3600.0000000050 44 files/app/uploads/odd\n")) {
		t.Error("the time before 1970 is not as find prints it")
	}
	if !bytes.Contains(tr, []byte(`  files/app/uploads/back\\slash`+"\n")) {
		t.Error("a backslash is not escaped")
	}
}

func written(t testing.TB, content archive.Content) []byte {
	t.Helper()
	var b bytes.Buffer
	if _, err := quick().Write(t.Context(), &b, content, archive.WriteOptions{}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func writeTo(t *testing.T, name string, content archive.Content, opt archive.WriteOptions) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := quick().Write(t.Context(), f, content, opt); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLargeEntry: GNU tar reads the header of a file over 8 GiB.
func TestLargeEntry(t *testing.T) {
	needs(t, "tar")
	var b bytes.Buffer
	w := writer{tar: tar.NewWriter(&b)}
	if err := w.header(item{path: "files/app/large", entry: core.Entry{Type: core.TypeFile, ModTime: time.Unix(1, 0), Object: core.Object{Size: 71 << 30}}}); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "tar", "-tvf", "-")
	c.Stdin = &b
	out, _ := c.Output() // it misses the bytes
	if !strings.Contains(string(out), " 76235669504 ") {
		t.Errorf("tar lists %q", out)
	}
}
