package cli_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/files/treetest"
	"github.com/backstay/backstay/internal/state"
)

// site is an app of files, with a configuration and a repository.
type site struct {
	t    *testing.T
	dir  string
	vars map[string]string // the environment of the commands
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), vars: map[string]string{}}
	treetest.OK(t, os.MkdirAll(filepath.Join(s.dir, "app/uploads"), 0o755))
	treetest.Write(t, filepath.Join(s.dir, "app/uploads/a.txt"), "a")
	config := fmt.Sprintf(`repository: {url: "file://%[1]s/repo", password_file: %[1]s/repository.key}
state_dir: %[1]s/state
apps:
  - name: wiki
    profile: generic
    root: %[1]s/app
    files: [{path: %[1]s/app/uploads}]
    hooks: {after: ["cat %[1]s/state/progress/*.json > %[1]s/progress.seen; env > %[1]s/env.seen"]}
`, s.dir)
	treetest.OK(t, os.WriteFile(filepath.Join(s.dir, "backstay.yaml"), []byte(config), 0o600))
	s.run(0, "init")
	return s
}

func (s *site) run(want int, args ...string) (stdout, stderr string) {
	s.t.Helper()
	code, stdout, stderr := withEnvironment(s.t, s.dir, s.vars, args...)
	if code != want {
		s.t.Fatalf("backstay %s: exit code %d, want %d\n%s%s", strings.Join(args, " "), code, want, stdout, stderr)
	}
	return stdout, stderr
}

// state opens the state database, for one question.
func (s *site) state(do func(*state.DB) error) {
	s.t.Helper()
	db, err := state.Open(s.t.Context(), filepath.Join(s.dir, "state"), core.SystemClock{})
	treetest.OK(s.t, err)
	treetest.OK(s.t, do(db))
	treetest.OK(s.t, db.Close())
}

// launch runs a command as the service does for somebody.
func (s *site) launch(want int, kind, app string, args ...string) (run core.Run, stdout string) {
	s.t.Helper()
	var id int64
	s.state(func(db *state.DB) (err error) {
		id, err = db.BeginRunFor(s.t.Context(), core.Run{Kind: kind, App: app, Trigger: "manual", Started: time.Now(), By: "anna"}, os.Getpid())
		return err
	})
	s.vars = map[string]string{
		session.EnvService: filepath.Join(s.dir, "backstay.yaml"), daemon.EnvRun: strconv.FormatInt(id, 10), daemon.EnvBy: "anna", daemon.EnvVia: "console",
	}
	for name, value := range s.vars { // hooks get those of the process
		s.t.Setenv(name, value)
	}
	stdout, _ = s.run(want, append(args, "--json", "--no-progress")...)
	s.vars = map[string]string{}
	s.state(func(db *state.DB) error {
		got, err := db.Run(s.t.Context(), id)
		if got != nil {
			run = *got
		}
		return err
	})
	return run, stdout
}

// TestLaunched: each command that takes long takes over the run that was
// recorded for it, and records how it ended.
func TestLaunched(t *testing.T) {
	s := newSite(t)
	made, _ := s.launch(0, core.RunBackup, "wiki", "backup", "wiki")
	archive := filepath.Join(s.dir, "out.tar.zst")
	gone := filepath.Join(s.dir, "gone.tar.zst")
	type ended struct {
		Kind, App, By, Trigger string
		Outcome                core.Outcome
		Code                   core.Code
		Backup                 bool
	}
	summary := func(r core.Run) ended {
		return ended{r.Kind, r.App, r.By, r.Trigger, r.Outcome, r.Code, r.Backup == made.Backup}
	}
	if diff := cmp.Diff(ended{core.RunBackup, "wiki", "anna", "manual", core.OutcomeOK, "", true}, summary(made)); diff != "" || made.Backup == "" {
		t.Fatal(diff)
	}
	for _, c := range []struct {
		exit int
		kind string
		app  string
		args []string
		want ended
	}{
		{0, core.RunVerify, "wiki", []string{"verify", made.Backup}, ended{Outcome: core.OutcomeOK, Backup: true}},
		{0, core.RunVerify, "", []string{"verify", "wiki"}, ended{App: "wiki", Outcome: core.OutcomeOK, Backup: true}},
		{1, core.RunVerify, "wiki", []string{"verify", "0123456789abcdef"}, ended{Outcome: core.OutcomeFailed, Code: core.CodeNotFound}},
		{0, core.RunExport, "wiki", []string{"export", made.Backup, archive}, ended{Outcome: core.OutcomeOK, Backup: true}},
		{64, core.RunExport, "wiki", []string{"export", made.Backup, archive}, ended{Outcome: core.OutcomeFailed, Code: core.CodeUsage, Backup: true}},
		{0, core.RunImport, "wiki", []string{"import", "wiki", archive, "--again"}, ended{Outcome: core.OutcomeOK}},
		{1, core.RunImport, "wiki", []string{"import", "wiki", gone}, ended{Outcome: core.OutcomeFailed, Code: core.CodeNotFound}},
		{0, core.RunPlan, "wiki", []string{"restore", "wiki", made.Backup, "--dry-run"}, ended{Outcome: core.OutcomeOK, Backup: true}},
		{0, core.RunRestore, "wiki", []string{"restore", "wiki", made.Backup, "--yes"}, ended{Outcome: core.OutcomeOK, Backup: true}},
		{64, core.RunRestore, "wiki", []string{"restore", "wiki", made.Backup}, ended{Outcome: core.OutcomeFailed, Code: core.CodeUsage, Backup: true}},
		{0, core.RunUndo, "wiki", []string{"undo", "wiki", "--yes"}, ended{Outcome: core.OutcomeOK}},
		{0, core.RunUndo, "wiki", []string{"undo", "wiki", "--yes", "--drop"}, ended{Outcome: core.OutcomeOK}},
		{1, core.RunUndo, "wiki", []string{"undo", "wiki", "--yes"}, ended{Outcome: core.OutcomeFailed, Code: core.CodeNotFound}},
		{0, core.RunPrune, "wiki", []string{"prune", "wiki"}, ended{Outcome: core.OutcomeOK}},
		{0, core.RunMaintain, "", []string{"maintain"}, ended{Outcome: core.OutcomeOK}},
		{1, core.RunNotify, "wiki", []string{"notify", "test", "wiki"}, ended{Outcome: core.OutcomeFailed, Code: core.CodeConfig}},
	} {
		got, stdout := s.launch(c.exit, c.kind, c.app, c.args...)
		want := c.want
		want.Kind, want.By, want.Trigger = c.kind, "anna", "manual"
		if want.App == "" {
			want.App = c.app
		}
		if diff := cmp.Diff(want, summary(got)); diff != "" {
			t.Errorf("%v: %s\n%+v\n%s", c.args, diff, got, stdout)
		}
		if failed := got.Outcome == core.OutcomeFailed; failed != (got.Message != "") || got.Finished == nil {
			t.Errorf("%v: %+v", c.args, got)
		}
	}
	s.state(func(db *state.DB) error {
		all, err := db.Runs(t.Context(), state.RunFilter{})
		if len(all) != 17 {
			t.Errorf("%d runs: %+v", len(all), all)
		}
		audit, aerr := db.AuditLog(t.Context(), state.AuditFilter{Who: "anna"})
		for _, a := range audit {
			if a.Via != "console" {
				t.Errorf("%+v", a)
			}
		}
		if len(audit) == 0 || aerr != nil {
			t.Errorf("%d entries, %v", len(audit), aerr)
		}
		return err
	})
	if left, err := filepath.Glob(filepath.Join(s.dir, "state/progress/*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

// TestProgressOfRun: while it goes on everybody can see how far it is; hooks are
// a person's, and hear nothing of the service.
func TestProgressOfRun(t *testing.T) {
	s := newSite(t)
	run, _ := s.launch(0, core.RunBackup, "wiki", "backup", "wiki")
	seen, err := os.ReadFile(filepath.Join(s.dir, "progress.seen"))
	treetest.OK(t, err)
	if !strings.Contains(string(seen), fmt.Sprintf(`"run":%d,"stage":"`, run.ID)) {
		t.Errorf("it shows %s", seen)
	}
	env, err := os.ReadFile(filepath.Join(s.dir, "env.seen"))
	treetest.OK(t, err)
	for _, name := range []string{session.EnvService, daemon.EnvRun, daemon.EnvBy, daemon.EnvVia} {
		if strings.Contains(string(env), name+"=") {
			t.Errorf("the hook has %s", name)
		}
	}
	if !strings.Contains(string(env), "BACKSTAY_APP=wiki") {
		t.Errorf("no environment: %s", env)
	}
	// Also in a shell.
	treetest.OK(t, os.Remove(filepath.Join(s.dir, "progress.seen")))
	s.run(0, "backup", "wiki", "--quiet")
	if seen, err = os.ReadFile(filepath.Join(s.dir, "progress.seen")); err != nil || !strings.Contains(string(seen), `"stage":"`) {
		t.Errorf("%s %v", seen, err)
	}
}

// TestNotLaunched: whoever sets these variables in a shell is believed nothing.
func TestNotLaunched(t *testing.T) {
	s := newSite(t)
	var id int64
	s.state(func(db *state.DB) (err error) {
		id, err = db.BeginRunFor(t.Context(), core.Run{Kind: core.RunBackup, App: "wiki", Started: time.Now(), By: "anna"}, os.Getpid())
		return err
	})
	s.vars = map[string]string{daemon.EnvRun: strconv.FormatInt(id, 10), daemon.EnvBy: "anna", daemon.EnvVia: "console"}
	s.run(0, "backup", "wiki")
	s.state(func(db *state.DB) error {
		given, err := db.Run(t.Context(), id)
		if err != nil || given.Outcome != core.OutcomeRunning {
			t.Errorf("%+v %v", given, err)
		}
		own, err := db.LastRun(t.Context(), "wiki", core.RunBackup)
		if err != nil || own == nil || own.By == "anna" {
			t.Errorf("%+v %v", own, err)
		}
		audit, err := db.AuditLog(t.Context(), state.AuditFilter{Action: "backup"})
		if len(audit) != 2 || audit[0].Via != "command" || audit[0].Who == "anna" {
			t.Errorf("%+v", audit)
		}
		return err
	})
}

// TestStateUnusable: it keeps nobody from a restore or a backup, and that is
// said. A run that could not be recorded is added when it is over.
func TestStateUnusable(t *testing.T) {
	s := newSite(t)
	s.run(0, "backup", "wiki")
	file := filepath.Join(s.dir, "state", state.FileName)
	treetest.OK(t, os.Rename(file, file+".away"))
	treetest.OK(t, os.Mkdir(file, 0o700))
	s.vars = map[string]string{
		session.EnvService: filepath.Join(s.dir, "backstay.yaml"), daemon.EnvRun: strconv.FormatInt(1<<40+7, 10), daemon.EnvBy: "anna", daemon.EnvVia: "api",
	}
	_, said := s.run(0, "restore", "wiki", "latest", "--yes")
	if !strings.Contains(said, "this run is not recorded") {
		t.Errorf("said: %s", said)
	}
	s.run(0, "backup", "wiki")
	seen, err := os.ReadFile(filepath.Join(s.dir, "progress.seen"))
	if err != nil || !strings.Contains(string(seen), `"run":1099511627783,`) {
		t.Errorf("%s %v", seen, err)
	}
	treetest.OK(t, os.Remove(file))
	treetest.OK(t, os.Rename(file+".away", file))
	s.run(0, "verify", "wiki")
	s.state(func(db *state.DB) error {
		found, err := db.Runs(t.Context(), state.RunFilter{Kind: core.RunVerify})
		if len(found) != 1 || found[0].ID > 1000 || found[0].Outcome != core.OutcomeOK || found[0].By != "anna" {
			t.Errorf("%+v", found)
		}
		return err
	})
}
