package drill

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/engine/coverage"
	"github.com/backstay/backstay/internal/engine/repair"
)

// newFiles is an app of files alone, in a repository of its own.
func newFiles(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), scratch: t.TempDir()}
	s.cfg = filepath.Join(s.dir, "backstay.yaml")
	s.write("root/a.bin", strings.Repeat("a unique line of a\n", 200_000))
	s.write("root/b.bin", strings.Repeat("another line, of b\n", 200_000))
	s.write("key", "0123456789abcdef0123456789abcdef\n")
	s.write("backstay.yaml", "repository: {url: \"file://"+s.dir+"/repository\", password_file: "+s.dir+"/key}\nstate_dir: "+s.dir+"/state\nkit: {proof_age: off}\n"+
		"apps:\n  - {name: wiki, profile: generic, root: "+s.dir+"/root, files: [{path: "+s.dir+"/root}]}\n")
	s.run(0, nil, "init")
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command that must end with an exit code, and reads its JSON.
func (s *site) run(exit int, into any, args ...string) {
	s.t.Helper()
	cmd := s.on(append(args, "--json", "--no-progress")...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	code := 0
	if e, ok := err.(*exec.ExitError); ok { //nolint:errorlint // it is not wrapped
		code = e.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	if code != exit {
		s.t.Fatalf("%v ended with %d, not %d: %s%s", args, code, exit, out, said.String())
	}
	if into != nil {
		if err := json.Unmarshal(out, into); err != nil {
			s.t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
}

// packs are the files of the repository that hold data.
func (s *site) packs() (paths []string) {
	s.t.Helper()
	err := filepath.WalkDir(filepath.Join(s.dir, "repository"), func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasPrefix(filepath.Base(p), "_log") {
			rel, _ := filepath.Rel(filepath.Join(s.dir, "repository"), p)
			if strings.HasPrefix(rel, "p") && !strings.HasPrefix(rel, "p.") {
				paths = append(paths, p)
			}
		}
		return err
	})
	if err != nil || len(paths) == 0 {
		s.t.Fatalf("the repository has no packs (%v)", err)
	}
	return paths
}

// spoil changes a byte in the middle of a file.
func (s *site) spoil(path string) {
	s.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	text[len(text)/3] ^= 0x40
	if err := os.Chmod(path, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// TestCoverageFindsDamageAndRepairMendsIt: a byte of a pack is changed. Reading
// back in parts finds it in the course of the cover time, a repair captures it
// anew, and older backups that share it are whole again.
func TestCoverageFindsDamageAndRepairMendsIt(t *testing.T) {
	s := newFiles(t)
	s.run(0, nil, "backup", "wiki")
	s.run(0, nil, "backup", "wiki")
	var r coverage.Report
	for part := 0; part < 3; part++ {
		s.run(0, &r, "verify", "--cover", "--part", "1/3")
	}
	if r.Unread != 0 || r.Objects == 0 {
		t.Errorf("after three thirds: %+v", r)
	}
	for _, p := range s.packs() {
		s.spoil(p)
	}
	found := 0
	for part := 0; part < 3; part++ {
		var r coverage.Report
		cmd := s.on("verify", "--cover", "--part", "1/3", "--json", "--no-progress")
		out, _ := cmd.Output() // 4 as soon as it is met
		if err := json.Unmarshal(out, &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, d := range r.Damaged {
			found++
			if len(d.In) != 2 || !strings.Contains(d.In[0].Path, ".bin") {
				t.Errorf("damage is named as %+v", d)
			}
		}
	}
	if found == 0 {
		t.Fatal("no part of the reading found the damage")
	}
	s.run(4, nil, "verify", "wiki")
	var mended repair.Repaired
	s.run(0, &mended, "verify", "--repair", "wiki")
	if mended.Backup == nil || mended.Parts == 0 || len(mended.Damaged) == 0 || mended.Lost() != 0 {
		t.Errorf("repaired %+v", mended)
	}
	s.run(0, nil, "verify", "--all")
	s.run(0, nil, "check")
}

// TestRepairSaysWhatIsLost: all data of the repository is gone. What the live app
// has is captured anew; what older backups alone had is named as lost.
func TestRepairSaysWhatIsLost(t *testing.T) {
	s := newFiles(t)
	s.run(0, nil, "backup", "wiki")
	if err := os.Remove(filepath.Join(s.dir, "root/b.bin")); err != nil {
		t.Fatal(err)
	}
	s.run(0, nil, "backup", "wiki")
	for _, p := range s.packs() {
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
	}
	var mended repair.Repaired
	s.run(4, &mended, "verify", "--repair", "wiki")
	if mended.Backup == nil || mended.Lost() != 2 || len(mended.Older) != 2 {
		t.Fatalf("repaired %+v", mended)
	}
	// Each manifest is its own; of the files, what the live app has is whole again.
	for i, want := range []string{"files/app/b.bin manifest.json", "manifest.json"} {
		var paths []string
		for _, d := range mended.Older[i].Damaged {
			paths = append(paths, d.Path)
		}
		if got := strings.Join(paths, " "); got != want {
			t.Errorf("backup %s lost %s, want %s", mended.Older[i].ID, got, want)
		}
	}
	s.run(0, nil, "verify", "wiki")
}
