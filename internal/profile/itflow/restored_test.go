package itflow

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// server is a profile.Querier on a real server.
type server struct{ conn *mysql.Conn }

func (s server) Query(ctx context.Context, statement string) ([][]*string, error) {
	rows, err := s.conn.Query(ctx, statement)
	out := [][]*string{}
	for _, r := range rows {
		var line []*string
		for _, v := range r {
			if v.Null {
				line = append(line, nil)
				continue
			}
			text := v.Text
			line = append(line, &text)
		}
		out = append(out, line)
	}
	return out, err
}

func TestAfterRestore(t *testing.T) {
	root := install(t, plainConfig)
	for schema, want := range map[string]string{
		"2.6.10": "", "": "", "2.6.9": "",
		"2.6.11": "of version 2.6.11 and the code here knows only 2.6.10: restore the code too",
	} {
		got := Profile{}.AfterRestore(profile.Restored{Root: root, Versions: map[string]string{VersionSchema: schema}})
		if (want == "") != (len(got) == 0) || !strings.Contains(strings.Join(got, "\n"), want) {
			t.Errorf("database %q: got %q, want %q", schema, got, want)
		}
	}
}

// TestPostSteps runs the update of an older database; whether it worked is asked
// of the database.
func TestPostSteps(t *testing.T) {
	root := install(t, plainConfig)
	steps := func(schema string, database bool) []profile.PostStep {
		return Profile{PHP: "/bin/sh"}.PostSteps(profile.Restored{Root: root, Database: database, Versions: map[string]string{VersionSchema: schema}})
	}
	for _, schema := range []string{"", "2.6.10", "2.6.11"} {
		if got := steps(schema, true); len(got) > 0 {
			t.Errorf("database %q: %+v", schema, got)
		}
	}
	if got := steps("2.6.9", false); len(got) > 0 {
		t.Errorf("without the database: %+v", got)
	}
	write(t, root, map[string]string{"scripts/update_cli.php": `echo "run with $*"`})
	got := steps("2.6.9", true)
	if len(got) != 1 || !got[0].Required || got[0].Name != "update-database" {
		t.Fatalf("got %+v", got)
	}
	if byHand := got[0].ByHand(); byHand != "cd "+root+" && /bin/sh scripts/update_cli.php --update_db" {
		t.Errorf("by hand: %s", byHand)
	}
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database, "CREATE TABLE settings (company_id INT, config_current_database_version VARCHAR(10))", "INSERT INTO settings VALUES (1, '2.6.9')")
	q := server{mysqltest.Connect(t, mysqltest.Config(t, database))}
	result, err := profile.RunPostStep(t.Context(), got[0], q, nil)
	if result.Output != "run with --update_db\n" || err == nil || !strings.Contains(err.Error(), `"2.6.9" after it`) {
		t.Errorf("the database stayed as it was: %+v, %v", result, err)
	}
	mysqltest.ExecIn(t, database, "UPDATE settings SET config_current_database_version = '2.6.10'")
	if _, err := profile.RunPostStep(t.Context(), got[0], q, nil); err != nil {
		t.Errorf("the database is up to the code: %v", err)
	}
}

// TestMaintenanceKeepsJobsOut holds the locks that ITFlow's jobs run under.
func TestMaintenanceKeepsJobsOut(t *testing.T) {
	root, locks := install(t, plainConfig), t.TempDir()
	write(t, root, map[string]string{"cron/cron.php": "", "cron/mail_queue.php": "", "cron/nightly_tasks.php": "", "cron/never_run.php": ""})
	path := func(script string) string { return filepath.Join(locks, lockName(filepath.Join(root, "cron", script))) }
	for _, script := range []string{"mail_queue.php", "nightly_tasks.php"} {
		if err := os.WriteFile(path(script), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/etc/passwd", path("cron.php")); err != nil { // anybody can make one in a folder for all
		t.Fatal(err)
	}
	lock := func(script string) (*os.File, bool) {
		t.Helper()
		f, err := os.OpenFile(path(script), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = f.Close() })
		return f, syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
	}
	p, app := newProfile(), profile.App{Name: "docs", Root: root}
	p.LockDir, p.CronWait = locks, 50*time.Millisecond

	found := &core.Application{}
	leave, err := p.Maintenance(t.Context(), nil, app, found, profile.MaintenanceOptions{})
	if err != nil || len(found.Warnings) != 1 || found.Warnings[0].Object != "cron.php" || len(found.Notes) != 1 {
		t.Errorf("%v, warnings %v, notes %v", err, found.Warnings, found.Notes)
	}
	for _, script := range []string{"mail_queue.php", "nightly_tasks.php"} {
		if _, free := lock(script); free {
			t.Errorf("%s could run", script)
		}
	}
	if _, err := os.Lstat(path("never_run.php")); !os.IsNotExist(err) {
		t.Errorf("a lock was made that ITFlow's user cannot open: %v", err)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	job, free := lock("nightly_tasks.php")
	if !free {
		t.Fatal("the lock was not given back")
	}

	// A job charges cards right now.
	leave, err = p.Maintenance(t.Context(), nil, app, &core.Application{}, profile.MaintenanceOptions{})
	if core.CodeOf(err) != core.CodeLocked || !strings.Contains(err.Error(), "nightly_tasks.php") || !strings.Contains(core.HintOf(err), "--force cron-running") {
		t.Errorf("got %v (hint %q)", err, core.HintOf(err))
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	found = &core.Application{}
	leave, err = p.Maintenance(t.Context(), nil, app, found, profile.MaintenanceOptions{WithoutCron: true})
	if err != nil || len(found.Warnings) != 2 {
		t.Errorf("forced: %v, warnings %v", err, found.Warnings)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	p.CronWait = time.Minute
	go func() { _ = job.Close() }() // it ends
	leave, err = p.Maintenance(t.Context(), nil, app, &core.Application{}, profile.MaintenanceOptions{})
	if err != nil {
		t.Errorf("after it ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	again, err := p.Maintenance(ctx, nil, app, &core.Application{}, profile.MaintenanceOptions{})
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("cancelled while it waits: %v", err)
	}
	for _, l := range []func() error{again, leave, leave} {
		if err := l(); err != nil {
			t.Error(err)
		}
	}
}

// TestConfigure: in the forms of all eras only the literals change.
func TestConfigure(t *testing.T) {
	to := core.DatabaseSource{Host: "127.0.0.1", User: "new", Password: core.NewSecret(`n'\ew$`), Name: "newdb"}
	for era, c := range map[string]struct{ config, want string }{
		"2020": {
			"<?php\n$dbhost = \"localhost\";\n$dbusername = \"it\";\n$dbpassword = \"p$\";\n$database = \"itflow\";\n$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database);\n$config_app_name = \"ITFlow\";\n$config_base_url = \"old.example.org\";\n?>",
			"<?php\n$dbhost = '127.0.0.1';\n$dbusername = 'new';\n$dbpassword = 'n\\'\\\\ew$';\n$database = 'newdb';\n$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database);\n$config_app_name = \"ITFlow\";\n$config_base_url = 'desk.example.org/itflow';\n?>",
		},
		"2023": {
			"<?php\n\n$dbhost = 'p:db';\n$dbusername = 'new';\n$dbpassword = 'say \\\"hi\\\" \\0';\n$database = 'itflow';\n$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database) or die('Database Connection Failed');\n$config_base_url = 'desk.example.org/itflow';\n$config_https_only = TRUE;\n",
			"<?php\n\n$dbhost = 'p:127.0.0.1';\n$dbusername = 'new';\n$dbpassword = 'n\\'\\\\ew$';\n$database = 'newdb';\n$mysqli = mysqli_connect($dbhost, $dbusername, $dbpassword, $database) or die('Database Connection Failed');\n$config_base_url = 'desk.example.org/itflow';\n$config_https_only = TRUE;\n",
		},
		"2026": {
			"<?php\n\n$dbhost = '127.0.0.1:3306';\n$dbusername = 'new';\n$dbpassword = 'a' . \"\\0\" . 'b';\n$database = 'newdb';\n$config_base_url = 'x';\ndefine(\"CONST_GET_IP_METHOD\", \"REMOTE_ADDR\");\n",
			"<?php\n\n$dbhost = '127.0.0.1:3306';\n$dbusername = 'new';\n$dbpassword = 'n\\'\\\\ew$';\n$database = 'newdb';\n$config_base_url = 'desk.example.org/itflow';\ndefine(\"CONST_GET_IP_METHOD\", \"REMOTE_ADDR\");\n",
		},
	} {
		do := profile.Configuration{App: "docs", Root: "/srv/itflow", Path: "/srv/itflow/config.php", Database: &to, URL: "https://desk.example.org/itflow/", Quiet: true}
		p := Profile{Sockets: []string{"/no/socket"}}
		out, changes, err := p.Configure(t.Context(), []byte(c.config), do)
		// A localhost with no socket is 127.0.0.1 over TCP already.
		want := c.want
		if era == "2020" {
			want = strings.Replace(want, `'127.0.0.1'`, `"localhost"`, 1)
		}
		if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
			t.Errorf("%s: %v (hint %q) %s", era, err, core.HintOf(err), diff)
		}
		for _, change := range changes {
			if change.Setting == "$dbpassword" && (change.From != profile.Masked || change.To != profile.Masked) {
				t.Errorf("%s: %+v", era, change)
			}
		}
		if again, changes, err := p.Configure(t.Context(), out, do); err != nil || len(changes) > 0 || string(again) != string(out) {
			t.Errorf("%s, again: %v %+v", era, err, changes)
		}
	}
}

// TestConfigureAddress: without https nobody could log in unless told.
func TestConfigureAddress(t *testing.T) {
	for url, want := range map[string]string{
		"http://copy/": strings.NewReplacer("desk.example.org", "copy", "TRUE", "false").Replace(plainConfig),
		"https://copy": strings.Replace(plainConfig, "desk.example.org", "copy", 1),
	} {
		out, _, err := newProfile().Configure(t.Context(), []byte(plainConfig), profile.Configuration{Path: "/x", URL: url})
		if diff := cmp.Diff(want, string(out)); err != nil || diff != "" {
			t.Errorf("%s: %v %s", url, err, diff)
		}
		found := &core.Application{Settings: map[string]string{SettingURL: "copy"}}
		if strings.HasPrefix(url, "http:") {
			found.Settings[SettingHTTPS] = "0"
		}
		if got := newProfile().URL(profile.App{}, found); strings.TrimRight(got, "/") != strings.TrimRight(url, "/") {
			t.Errorf("URL %q, want %q", got, url)
		}
	}
	old := "<?php\n$dbhost = 'x';\n"
	out, _, err := newProfile().Configure(t.Context(), []byte(old), profile.Configuration{Path: "/x", URL: "http://copy/"})
	if want := "<?php\n$config_base_url = 'copy';\n$config_https_only = false;\n$dbhost = 'x';\n"; err != nil || string(out) != want {
		t.Errorf("of before there was such a setting: %v\n%s", err, out)
	}
	root := install(t, strings.Replace(plainConfig, "TRUE", "FALSE", 1))
	if got := discover(t, profile.App{Name: "docs", Root: root}).Settings[SettingHTTPS]; got != "0" {
		t.Errorf("setting %q", got)
	}
}

// TestConfigureForPHP has PHP read the result.
func TestConfigureForPHP(t *testing.T) {
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("PHP is to read the result, and there is no php:", err)
	}
	for _, password := range []string{`n'\ew`, `\`, " blanks ", "a\x00b\x00", "line\nbreak", "a?>b<?php", "$x{$y}", "\xff\xfe", `";phpinfo();//`} {
		to := core.DatabaseSource{Host: "db", Port: 3310, User: "u", Password: core.NewSecret(password), Name: "n"}
		out, _, err := newProfile().Configure(t.Context(), []byte(plainConfig), profile.Configuration{App: "docs", Path: "/x", Database: &to})
		if err != nil {
			t.Errorf("%q: %v", password, err)
			continue
		}
		path := filepath.Join(t.TempDir(), "config.php")
		if err := os.WriteFile(path, out, 0o644); err != nil {
			t.Fatal(err)
		}
		got, err := exec.CommandContext(t.Context(), "php", "-n", "-r", `function mysqli_connect() { return true; } include $argv[1]; echo $dbhost, "|", $dbusername, "|", $database, "|", $config_app_name, "|", $dbpassword;`, path).Output()
		if want := "db:3310|u|n|ITFlow|" + password; err != nil || string(got) != want {
			t.Errorf("%q: PHP reads %q, %v", password, got, err)
		}
	}
}

// TestQuietOnServer runs the statements in tables as ITFlow has them, and as
// one of its first versions had them.
func TestQuietOnServer(t *testing.T) {
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE settings (company_id INT, config_enable_cron TINYINT(1), config_smtp_host VARCHAR(200), config_smtp_provider VARCHAR(200), config_imap_host VARCHAR(200), config_imap_provider VARCHAR(200), "+
			"config_ticket_email_parse TINYINT(1), config_recurring_auto_send_invoice TINYINT(1), config_send_invoice_reminders TINYINT(1), config_telemetry TINYINT(1))",
		"INSERT INTO settings VALUES (1,1,'mail','standard_smtp','imap','standard_imap',1,1,1,2)",
		"CREATE TABLE cron_jobs (cron_job_name VARCHAR(200), cron_job_enabled TINYINT(1), cron_job_run_now TINYINT(1))",
		"INSERT INTO cron_jobs VALUES ('mail_queue',1,0),('backup',0,1)",
		"CREATE TABLE email_queue (email_id INT, email_status TINYINT(1), email_attempts TINYINT(1))",
		"INSERT INTO email_queue VALUES (1,0,0),(2,1,0),(3,2,1),(4,3,1)",
		"CREATE TABLE recurring_invoices (recurring_invoice_id INT, recurring_invoice_status INT)",
		"INSERT INTO recurring_invoices VALUES (1,1)",
		"CREATE TABLE payment_providers (payment_provider_id INT, payment_provider_active TINYINT(1))",
		"INSERT INTO payment_providers VALUES (1,1)")
	conn := mysqltest.Connect(t, mysqltest.Config(t, database))
	for round := range 2 {
		statements, err := profile.Applicable(t.Context(), server{conn}, Profile{}.Quiet(""))
		if err != nil || len(statements) != len((Profile{}).Quiet(""))-1 {
			t.Fatalf("%d statements, %v", len(statements), err)
		}
		changed := uint64(0)
		for _, s := range statements {
			result, err := conn.Exec(t.Context(), s.SQL)
			if err != nil {
				t.Fatalf("%s: %v", s.SQL, err)
			}
			changed += result.Affected
		}
		if want := []uint64{9 + 2 + 3 + 1 + 1, 0}[round]; changed != want {
			t.Errorf("round %d: %d rows, want %d", round, changed, want)
		}
	}
	got := mysqltest.Query(t, database, "SELECT GROUP_CONCAT(email_id, ':', email_status, ':', email_attempts ORDER BY email_id) FROM email_queue")[0][0].Text
	if got != "1:2:99,2:2:99,3:2:99,4:3:1" {
		t.Errorf("mail: %s", got)
	}
	mysqltest.ExecIn(t, database, "DROP TABLE cron_jobs", "DROP TABLE email_queue", "DROP TABLE payment_providers", "DROP TABLE settings",
		"CREATE TABLE settings (company_id INT, config_enable_cron TINYINT(1), config_stripe_enable TINYINT(1))")
	if statements, err := profile.Applicable(t.Context(), server{conn}, Profile{}.Quiet("")); err != nil || len(statements) != 3 {
		t.Errorf("of an older ITFlow: %+v, %v", statements, err)
	}
}

func TestCheckAndCompare(t *testing.T) {
	root := install(t, plainConfig)
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE settings (company_id INT, config_current_database_version VARCHAR(10))", "INSERT INTO settings VALUES (1, '2.6.10')",
		"CREATE TABLE users (user_id INT, user_password VARCHAR(200), user_archived_at DATETIME)", "INSERT INTO users VALUES (1, '', NULL), (2, 'hash', '2026-01-01')")
	q := server{mysqltest.Connect(t, mysqltest.Config(t, database))}
	kinds := func(then string) []core.FindingKind {
		var out []core.FindingKind
		for _, f := range newProfile().Check(t.Context(), q, nil, profile.Restored{Root: root, Versions: map[string]string{VersionSchema: then}}) {
			out = append(out, f.Kind)
		}
		return out
	}
	fine, look := core.FindingFine, core.FindingDecision
	if diff := cmp.Diff([]core.FindingKind{fine, look}, kinds("2.6.10")); diff != "" {
		t.Errorf("nobody may log in: %s", diff)
	}
	mysqltest.ExecIn(t, database, "INSERT INTO users VALUES (3, 'hash', NULL)")
	if diff := cmp.Diff([]core.FindingKind{fine, fine}, kinds("2.6.9")); diff != "" {
		t.Errorf("the update has been run: %s", diff)
	}
	if diff := cmp.Diff([]core.FindingKind{look, fine}, kinds("2.6.11")); diff != "" {
		t.Errorf("another version: %s", diff)
	}
	for schema, want := range map[string]string{"2.6.9": "fine older-backup", "2.6.10": "fine version", "2.6.11": "decision newer-backup", "": "fine version"} {
		c := profile.Comparison{Root: root, Target: &core.DatabaseSource{}, Manifest: &core.Manifest{Versions: map[string]string{VersionSchema: schema}}}
		if f := compareCode(c); len(f) != 1 || string(f[0].Kind)+" "+f[0].Name != want {
			t.Errorf("database %q: %+v, want %s", schema, f, want)
		}
		c.Code, c.Manifest.Versions[VersionCodeSchema] = true, schema
		if f := compareCode(c); len(f) != 1 || f[0].Kind != core.FindingFine {
			t.Errorf("database %q with its code: %+v", schema, f)
		}
	}
	if f := compareCode(profile.Comparison{Root: filepath.Join(root, "missing"), Target: &core.DatabaseSource{}, Manifest: &core.Manifest{}}); len(f) != 1 || f[0].Name != profile.FindingNoCode {
		t.Errorf("no code: %+v", f)
	}
}
