package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/cli"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/treetest"
)

// inProcess runs a command line in this process, as whoever it belongs to.
func inProcess(t *testing.T, dir string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	return withEnvironment(t, dir, nil, args...)
}

func withEnvironment(t *testing.T, dir string, vars map[string]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"BACKSTAY_CONFIG": filepath.Join(dir, "backstay.yaml"), "HOME": dir}
	maps.Copy(env, vars)
	code = cli.Main(t.Context(), args, cli.Environment{
		Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errs, Getenv: func(k string) string { return env[k] },
		Clock: core.SystemClock{}, Version: "test",
	})
	return code, out.String(), errs.String()
}

// TestUnreadableFiles backs up, as an ordinary user, an app with a file and a
// folder that this user may not read, a socket and a pipe: the backup is made,
// says what is not in it, and ends with 3.
func TestUnreadableFiles(t *testing.T) {
	if !treetest.AsOrdinaryUser(t) {
		return
	}
	dir := t.TempDir()
	app := filepath.Join(dir, "app")
	for _, d := range []string{"uploads/secret", "uploads/open"} {
		treetest.OK(t, os.MkdirAll(filepath.Join(app, d), 0o755))
	}
	for _, f := range []string{"uploads/a.txt", "uploads/private.txt", "uploads/secret/b.txt", "uploads/open/c.txt"} {
		treetest.Write(t, filepath.Join(app, f), f)
	}
	treetest.OK(t, os.Chmod(filepath.Join(app, "uploads/private.txt"), 0))
	treetest.OK(t, os.Chmod(filepath.Join(app, "uploads/secret"), 0))
	t.Cleanup(func() { treetest.OK(t, os.Chmod(filepath.Join(app, "uploads/secret"), 0o700)) })
	config := fmt.Sprintf(`repository: {url: "file://%[1]s/repo", password_file: %[1]s/repository.key}
state_dir: %[1]s/state
apps: [{name: wiki, profile: generic, files: [{path: %[1]s/app/uploads}]}]
`, dir)
	treetest.OK(t, os.WriteFile(filepath.Join(dir, "backstay.yaml"), []byte(config), 0o600))
	run := func(want int, args ...string) (string, string) {
		t.Helper()
		code, stdout, stderr := inProcess(t, dir, args...)
		if code != want {
			t.Fatalf("backstay %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
		}
		return stdout, stderr
	}
	run(0, "init")

	private, secret := filepath.Join(app, "uploads/private.txt"), filepath.Join(app, "uploads/secret")
	_, stderr := run(3, "backup")
	for _, path := range []string{private, secret} {
		if !strings.Contains(stderr, "warning: "+path+": ") {
			t.Errorf("no warning of %s:\n%s", path, stderr)
		}
	}
	stdout, _ := run(3, "backup", "--json")
	var made struct{ Backups []core.Backup }
	treetest.OK(t, json.Unmarshal([]byte(stdout), &made))
	var objects []string
	for _, w := range made.Backups[0].Warnings {
		if w.Code != "unreadable" {
			t.Errorf("warning %+v", w)
		}
		objects = append(objects, w.Object)
	}
	slices.Sort(objects)
	if diff := cmp.Diff([]string{private, secret}, objects); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
	if got := made.Backups[0].Components[core.ComponentFiles].Files; got != 2 {
		t.Errorf("%d files are in the backup, want 2", got)
	}

	// Whoever looks at the backup later is told too.
	stdout, _ = run(0, "show", "wiki@latest")
	if !strings.Contains(stdout, "warning") || !strings.Contains(stdout, private) {
		t.Errorf("show does not list the warnings:\n%s", stdout)
	}
	stdout, _ = run(0, "list")
	if !strings.Contains(stdout, "2 warning(s)") {
		t.Errorf("list does not count the warnings:\n%s", stdout)
	}
	run(0, "verify", "--all")
	stdout, _ = run(0, "restore", "wiki", "latest", "--dry-run")
	if !strings.Contains(stdout, "the backup has 2 warnings: some of the app is not in it (backstay show ") {
		t.Errorf("the plan does not say what is missing:\n%s", stdout)
	}
	// doctor would have said it before.
	if stdout, _ = run(0, "doctor"); !strings.Contains(stdout, "ok ") {
		t.Errorf("doctor:\n%s", stdout)
	}
	// Nothing that was not captured is removed or emptied by a restore.
	run(0, "restore", "wiki", "latest", "--yes")
	if info, err := os.Stat(private); err != nil || info.Size() == 0 {
		t.Errorf("the unreadable file after a restore: %v, %v", info, err)
	}
}
