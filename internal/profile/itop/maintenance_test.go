package itop_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/profile/profiletest"
)

// site is an iTop whose locks are on a real server.
type site struct {
	t      *testing.T
	app    profile.App
	found  *core.Application
	q      *server
	others *mysql.Conn // of iTop's own processes
}

func newSite(t *testing.T, cronLimit string) *site {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	database := mysqltest.Database(t)
	config := mysqltest.Config(t, database)
	lock := func(name string) string { return itop.LockName(name, database, "") }
	return &site{
		t: t, app: profile.App{Name: "desk", Root: root}, q: &server{conn: mysqltest.Connect(t, config)}, others: mysqltest.Connect(t, config),
		found: &core.Application{Settings: map[string]string{
			itop.SettingCronLock: lock("cron"), itop.SettingBackupLock: lock("backup.production"), itop.SettingRestoreLock: lock("restore.production"),
			itop.SettingCronLimit: cronLimit,
		}},
	}
}

// others' side of a lock: "GET_LOCK" or "RELEASE_LOCK".
func (s *site) other(function, setting string) {
	s.t.Helper()
	timeout := ""
	if function == "GET_LOCK" {
		timeout = ", 0"
	}
	rows, err := s.others.Query(s.t.Context(), "SELECT "+function+"('"+s.found.Settings[setting]+"'"+timeout+")")
	if err != nil || rows[0][0].Text != "1" {
		s.t.Fatalf("%s of %s: %v %v", function, setting, rows, err)
	}
}

// free says which of the three locks nobody holds.
func (s *site) free() string {
	s.t.Helper()
	var out []string
	for _, setting := range []string{itop.SettingCronLock, itop.SettingBackupLock, itop.SettingRestoreLock} {
		rows, err := s.others.Query(context.WithoutCancel(s.t.Context()), "SELECT IS_FREE_LOCK('"+s.found.Settings[setting]+"')")
		if err != nil {
			s.t.Fatal(err)
		}
		if rows[0][0].Text == "1" {
			out = append(out, setting)
		}
	}
	return strings.Join(out, " ")
}

func (s *site) modes() string {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.app.Root, "data"))
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

const allLocks = "lock_cron lock_backup lock_restore"

func (s *site) want(what, modes, free string) {
	s.t.Helper()
	if diff := cmp.Diff([2]string{modes, free}, [2]string{s.modes(), s.free()}); diff != "" {
		s.t.Errorf("%s: modes and free locks: %s", what, diff)
	}
}

func (s *site) enter(ctx context.Context, opt profile.MaintenanceOptions) (func() error, error) {
	return itop.Profile{BackupWait: 10 * time.Millisecond}.Maintenance(ctx, s.q, s.app, s.found, opt)
}

func TestMaintenance(t *testing.T) {
	s := newSite(t, "60")
	leave, err := s.enter(t.Context(), profile.MaintenanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.want("during", ".maintenance", "")
	if info, err := os.Stat(filepath.Join(s.app.Root, "data/.maintenance")); err != nil || info.Mode().Perm()&0o444 != 0o444 {
		t.Errorf("the web server's user has to see it: %v %v", info, err)
	}
	if err := errors.Join(leave(), leave()); err != nil {
		t.Error(err)
	}
	s.want("after", "", allLocks)
}

// TestMaintenanceEndsCron: while cron holds its lock iTop is read-only, which
// cron sees at its next task.
func TestMaintenanceEndsCron(t *testing.T) {
	s := newSite(t, "60")
	s.other("GET_LOCK", itop.SettingCronLock)
	s.q.before = func(n int) {
		if n == 2 {
			s.want("while cron is waited for", ".readonly", "lock_backup lock_restore")
			s.other("RELEASE_LOCK", itop.SettingCronLock)
		}
	}
	leave, err := s.enter(t.Context(), profile.MaintenanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	s.want("during", ".maintenance .readonly", "")
	if err := leave(); err != nil {
		t.Error(err)
	}
	s.want("after", "", allLocks)
}

func TestMaintenanceBesideCron(t *testing.T) {
	s := newSite(t, "1")
	s.other("GET_LOCK", itop.SettingCronLock)
	leave, err := s.enter(t.Context(), profile.MaintenanceOptions{})
	if core.CodeOf(err) != core.CodeLocked || !strings.Contains(core.HintOf(err), "--force cron-running") {
		t.Errorf("cron did not end: %v (hint %q)", err, core.HintOf(err))
	}
	s.want("given up", ".readonly", "lock_backup lock_restore")
	if err := leave(); err != nil {
		t.Error(err)
	}
	s.want("after giving up", "", "lock_backup lock_restore")

	leave, err = s.enter(t.Context(), profile.MaintenanceOptions{WithoutCron: true})
	if err != nil || len(s.found.Warnings) != 1 {
		t.Errorf("forced: %v, warnings %v", err, s.found.Warnings)
	}
	s.want("forced", ".maintenance", "")
	if err := leave(); err != nil {
		t.Error(err)
	}
	s.want("after", "", "lock_backup lock_restore")
}

// TestMaintenanceWhileITopWorks: its own backup and restore are not broken into.
func TestMaintenanceWhileITopWorks(t *testing.T) {
	for setting, word := range map[string]string{itop.SettingBackupLock: "makes a backup", itop.SettingRestoreLock: "restores a backup"} {
		s := newSite(t, "60")
		s.other("GET_LOCK", setting)
		leave, err := s.enter(t.Context(), profile.MaintenanceOptions{WithoutCron: true})
		if core.CodeOf(err) != core.CodeLocked || !strings.Contains(err.Error(), word) || core.HintOf(err) == "" {
			t.Errorf("%s: %v", setting, err)
		}
		if err := leave(); err != nil {
			t.Error(err)
		}
		s.want("after", "", strings.TrimSpace(strings.ReplaceAll(strings.Replace(allLocks, setting, "", 1), "  ", " ")))
	}
}

func TestMaintenanceCancelled(t *testing.T) {
	s := newSite(t, "60")
	s.other("GET_LOCK", itop.SettingCronLock)
	ctx, cancel := context.WithCancel(t.Context())
	s.q.before = func(n int) {
		if n == 2 {
			cancel()
		}
	}
	leave, err := s.enter(ctx, profile.MaintenanceOptions{})
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	s.want("after", "", "lock_backup lock_restore")

	// Cancelled in the midst of the switch.
	s = newSite(t, "60")
	ctx, cancel = context.WithCancel(t.Context())
	leave, err = s.enter(ctx, profile.MaintenanceOptions{})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := leave(); err != nil {
		t.Error(err)
	}
	s.want("after", "", allLocks)
}

// TestMaintenanceOfAKilledRestore: its locks went with its connection, its file
// stayed; a file of somebody else's stays for good.
func TestMaintenanceOfAKilledRestore(t *testing.T) {
	s := newSite(t, "60")
	if _, err := s.enter(t.Context(), profile.MaintenanceOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := s.q.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if modes := s.modes(); modes != ".maintenance" {
		t.Fatalf("left %q", modes)
	}
	if lifted, err := (itop.Profile{}).LiftMaintenance(t.Context(), s.app); err != nil || !lifted {
		t.Errorf("lifted %v, %v", lifted, err)
	}
	if modes := s.modes(); modes != "" {
		t.Errorf("left %q", modes)
	}
	profiletest.Write(t, s.app.Root, map[string]string{"data/.maintenance": "", "data/.readonly": "update"})
	if lifted, err := (itop.Profile{}).LiftMaintenance(t.Context(), s.app); err != nil || lifted {
		t.Errorf("lifted %v, %v", lifted, err)
	}
	if modes := s.modes(); modes != ".maintenance .readonly" {
		t.Errorf("left %q", modes)
	}
}

// TestMaintenanceWithoutAPlace: nothing is half done when the file cannot be
// made.
func TestMaintenanceWithoutAPlace(t *testing.T) {
	s := newSite(t, "60")
	if err := os.Remove(filepath.Join(s.app.Root, "data")); err != nil {
		t.Fatal(err)
	}
	leave, err := s.enter(t.Context(), profile.MaintenanceOptions{})
	if core.CodeOf(err) != core.CodeApplication || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	if free := s.free(); free != allLocks {
		t.Errorf("free: %s", free)
	}
}

// TestQuietOnServer runs the statements twice in tables as iTop's setup makes
// them, and beside another iTop in the same database.
func TestQuietOnServer(t *testing.T) {
	database := mysqltest.Database(t)
	for _, prefix := range []string{"", "i_"} {
		mysqltest.ExecIn(t, database,
			"CREATE TABLE "+prefix+"priv_action (id INT PRIMARY KEY AUTO_INCREMENT, status ENUM('test','enabled','disabled') DEFAULT 'enabled')",
			"CREATE TABLE "+prefix+"priv_backgroundtask (id INT PRIMARY KEY AUTO_INCREMENT, status ENUM('active','paused','removed') DEFAULT 'active')",
			"CREATE TABLE "+prefix+"priv_async_task (id INT PRIMARY KEY AUTO_INCREMENT, status ENUM('planned','running','idle','error') DEFAULT 'planned')",
			"INSERT INTO "+prefix+"priv_action (status) VALUES ('test'),('enabled'),('disabled')",
			"INSERT INTO "+prefix+"priv_backgroundtask (status) VALUES ('active'),('removed')",
			"INSERT INTO "+prefix+"priv_async_task (status) VALUES ('planned'),(NULL)")
	}
	conn := mysqltest.Connect(t, mysqltest.Config(t, database))
	for round := range 2 {
		statements, err := profile.Applicable(t.Context(), &server{conn: conn}, itop.Profile{}.Quiet("i_"))
		if err != nil || len(statements) != 3 {
			t.Fatalf("%+v, %v", statements, err)
		}
		changed := uint64(0)
		for _, s := range statements {
			result, err := conn.Exec(t.Context(), s.SQL)
			if err != nil {
				t.Fatalf("%s: %v", s.SQL, err)
			}
			changed += result.Affected
		}
		if want := []uint64{6, 0}[round]; changed != want {
			t.Errorf("round %d: %d rows, want %d", round, changed, want)
		}
	}
	for table, want := range map[string]string{"i_priv_action": "disabled", "i_priv_backgroundtask": "paused", "i_priv_async_task": "idle"} {
		for _, r := range mysqltest.Query(t, database, "SELECT DISTINCT status FROM "+table) {
			if r[0].Text != want {
				t.Errorf("%s: %q", table, r[0].Text)
			}
		}
	}
	if n := mysqltest.Query(t, database, "SELECT COUNT(*) FROM priv_action WHERE status = 'enabled'")[0][0].Text; n != "1" {
		t.Errorf("the other iTop has %s enabled actions", n)
	}
	mysqltest.ExecIn(t, database, "DROP TABLE i_priv_async_task", "ALTER TABLE i_priv_action DROP COLUMN status")
	if statements, err := profile.Applicable(t.Context(), &server{conn: conn}, itop.Profile{}.Quiet("i_")); err != nil || len(statements) != 1 {
		t.Errorf("of an older iTop: %+v, %v", statements, err)
	}
}

func TestCheckOnServer(t *testing.T) {
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE priv_module_install (id INT PRIMARY KEY, name VARCHAR(255), version VARCHAR(255), parent_id INT)",
		"CREATE TABLE priv_extension_install (id INT PRIMARY KEY, code VARCHAR(255), version VARCHAR(255), source VARCHAR(255), installed DATETIME)",
		"CREATE TABLE priv_user (id INT PRIMARY KEY, status ENUM('enabled','disabled'))",
		"CREATE TABLE priv_urp_userprofile (id INT PRIMARY KEY, userid INT, profileid INT)",
		"INSERT INTO priv_module_install VALUES (2,'iTop','3.2.1-1-15',0)",
		"INSERT INTO priv_user VALUES (1,'disabled'),(2,'enabled')",
		"INSERT INTO priv_urp_userprofile VALUES (1,1,1),(2,2,3)")
	q := &server{conn: mysqltest.Connect(t, mysqltest.Config(t, database))}
	kinds := func(then string) []core.FindingKind {
		var out []core.FindingKind
		for _, f := range (itop.Profile{}).Check(t.Context(), q, nil, profile.Restored{Versions: map[string]string{itop.VersionSchema: then}}) {
			out = append(out, f.Kind)
		}
		return out
	}
	if diff := cmp.Diff([]core.FindingKind{core.FindingFine, core.FindingDecision}, kinds("3.2.1-1-15")); diff != "" {
		t.Errorf("the only administrator is disabled: %s", diff)
	}
	mysqltest.ExecIn(t, database, "INSERT INTO priv_urp_userprofile VALUES (3,2,1)")
	if diff := cmp.Diff([]core.FindingKind{core.FindingDecision, core.FindingFine}, kinds("3.2.1-1-14")); diff != "" {
		t.Errorf("another version: %s", diff)
	}
}
