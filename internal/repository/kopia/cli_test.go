package kopia_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/repositorytest"
)

// TestKopiaCommandLine proves what docs/kopia-cli.md says: kopia's own command
// line lists, verifies and restores a backup, and what it changes does no harm.
func TestKopiaCommandLine(t *testing.T) {
	binary := os.Getenv("BACKSTAY_TEST_KOPIA")
	if binary == "" {
		var err error
		if binary, err = exec.LookPath("kopia"); err != nil {
			t.Skip("kopia's command line is not installed; BACKSTAY_TEST_KOPIA may give its path")
		}
	}
	opts := create(t)
	s := mustOpen(t, opts)
	defer mustClose(t, s)
	ss, err := s.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer ss.Abort()
	put := func(data []byte) core.Object {
		o, err := repositorytest.Put(t.Context(), ss, "f", data)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	dir := func(entries ...core.Entry) core.Object {
		o, err := ss.WriteDir(t.Context(), entries)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	mtime := time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC)
	large, text := repositorytest.Random(3, 20<<20), []byte("1\tÜnïcödé\n2\t\\N\n")
	me := func(e core.Entry) core.Entry {
		e.UID, e.GID, e.ModTime = uint32(os.Getuid()), uint32(os.Getgid()), mtime
		return e
	}
	root := dir(
		me(core.Entry{Name: "manifest.json", Type: core.TypeFile, Mode: 0o600, Object: put([]byte("{}"))}),
		me(core.Entry{Name: "files", Type: core.TypeDir, Mode: 0o750, Object: dir(
			me(core.Entry{Name: "ünïcödé \"name\"", Type: core.TypeFile, Mode: 0o640, Object: put(large)}),
			me(core.Entry{Name: "empty", Type: core.TypeDir, Mode: 0o700, Object: dir()}),
			me(core.Entry{Name: "link", Type: core.TypeSymlink, Mode: 0o777, Object: put([]byte("../manifest.json"))}),
			me(core.Entry{Name: "setgid", Type: core.TypeFile, Mode: 0o755 | fs.ModeSetgid, Object: put(text)}),
		)}),
	)
	b := repositorytest.NewBackup(1)
	r, err := ss.Commit(t.Context(), root, b)
	if err != nil {
		t.Fatal(err)
	}
	yes := true
	if err := s.Mark(t.Context(), r.ID, repository.Mark{Verified: &mtime, Pinned: &yes}); err != nil {
		t.Fatal(err)
	}

	state := t.TempDir()
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), binary, args...)
		cmd.Env = append(os.Environ(), "KOPIA_PASSWORD=correct horse", "KOPIA_CONFIG_PATH="+state+"/repository.config",
			"KOPIA_CACHE_DIRECTORY="+state+"/cache", "KOPIA_LOG_DIR="+state+"/log", "KOPIA_CHECK_FOR_UPDATES=false")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("kopia %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		t.Logf("$ kopia %s\n%s", strings.Join(args, " "), out)
		return string(out)
	}
	run("repository", "connect", "filesystem", "--path", folderOf(opts))
	if out := run("snapshot", "list", "--all", "--show-identical"); !strings.Contains(out, "backstay@web1:/helpdesk") {
		t.Errorf("list does not show the backup:\n%s", out)
	}
	if out := run("snapshot", "list", "--all", "--tags", "backstay-id:"+r.ID); !strings.Contains(out, "/helpdesk") {
		t.Errorf("list by id does not show the backup:\n%s", out)
	}
	run("snapshot", "list", "--all", "--tags", "backstay-id:unknown")
	var snapshots []struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(run("snapshot", "list", "--all", "--json")), &snapshots); err != nil || len(snapshots) != 1 {
		t.Fatalf("%v, %v", snapshots, err)
	}
	run("ls", "-l", snapshots[0].ID+"/files")
	run("snapshot", "verify", "--verify-files-percent=100")
	target := t.TempDir()
	run("snapshot", "restore", snapshots[0].ID, target)
	want := map[string]string{"manifest.json": "{}", "files/ünïcödé \"name\"": string(large), "files/setgid": string(text), "files/link": "{}"}
	got := map[string]string{}
	for path, data := range tree(t, target) {
		got[strings.TrimPrefix(path, target+"/")] = data
	}
	if !cmp.Equal(want, got) {
		t.Error("the restored files differ")
	}
	for name, mode := range map[string]fs.FileMode{
		"files/setgid": 0o755 | fs.ModeSetgid, "files/empty": 0o700 | fs.ModeDir, "files": 0o750 | fs.ModeDir, "manifest.json": 0o600,
	} {
		fi, err := os.Stat(filepath.Join(target, name))
		if err != nil || fi.Mode() != mode || !fi.ModTime().Equal(mtime) {
			t.Errorf("%s: %v, %v, want mode %v", name, fi, err, mode)
		}
	}

	// Changes with kopia: ours stay.
	run("snapshot", "pin", snapshots[0].ID, "--add", "by-hand")
	run("snapshot", "expire", "--all", "--delete")
	run("maintenance", "run", "--full", "--force")
	after, err := s.List(t.Context())
	if err != nil || len(after) != 1 {
		t.Fatalf("after changes with kopia: %v, %v", after, err)
	}
	r.Verified, r.Pinned = &mtime, true
	if diff := cmp.Diff(r, after[0]); diff != "" {
		t.Errorf("after changes with kopia (-want +got):\n%s", diff)
	}

	// Deleted with kopia: said, not hidden; deleting it here too settles it.
	run("snapshot", "delete", "--all-snapshots-for-source", "backstay@web1:/helpdesk", "--delete")
	if _, err := s.List(t.Context()); core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), r.ID) {
		t.Errorf("after deletion with kopia: %v", err)
	}
	if err := s.Delete(t.Context(), r.ID); err != nil {
		t.Errorf("delete what is gone: %v", err)
	}
	if got, err := s.List(t.Context()); err != nil || len(got) != 0 {
		t.Errorf("at the end: %v, %v", got, err)
	}
}
