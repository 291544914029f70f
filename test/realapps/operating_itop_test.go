package realapps

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/operation"
)

// setting changes a setting of iTop's module itop-backup, or of iTop.
func (r *running) setting(name, value string) {
	r.t.Helper()
	file := filepath.Join(r.root, "conf/production/config-itop.php")
	text, err := os.ReadFile(file)
	r.ok(err)
	// The module's settings are behind iTop's own, some of which have the same
	// name: the last one counts.
	found := regexp.MustCompile(`(?m)^\s*'`+name+`' => (.*),$`).FindAllSubmatchIndex(text, -1)
	if len(found) == 0 {
		r.t.Fatalf("iTop's configuration has no setting %s", name)
	}
	last := found[len(found)-1]
	text = slices.Concat(text[:last[2]], []byte(value), text[last[3]:])
	// Written beside it and renamed, as careful people and iTop do.
	beside := file + ".new"
	r.ok(os.WriteFile(beside, text, 0o440))
	if r.who != nil {
		r.ok(os.Chown(beside, int(r.who.Uid), int(r.who.Gid)))
	}
	r.ok(os.Rename(beside, file))
}

// takenOver: what init makes of an iTop is all that a backup and a check need.
func (o *operated) takenOver() {
	r := o.itop
	dir := filepath.Join(r.folder, "taken")
	config := filepath.Join(dir, "backstay.yaml")
	whole := r.folder
	r.folder = dir // for the configuration that init is to write
	defer func() { r.folder = whole }()
	r.ok(os.Mkdir(dir, 0o700))
	r.backstay(0, nil, "init", "--from-itop", r.root, "--state-dir", dir+"/state", "--repository", "file://"+dir+"/repository")
	text, err := os.ReadFile(config)
	r.ok(err)
	for _, want := range []string{"root: " + r.root, `time: "23:30"`, "monday", `timezone: "Europe/Paris"`, "count: 5"} {
		if !strings.Contains(string(text), want) {
			o.t.Errorf("the configuration does not say %s:\n%s", want, text)
		}
	}
	if strings.Contains(string(text), r.password) {
		o.t.Error("the configuration holds the password of the database")
	}
	var made backups
	r.backstay(0, &made, "backup")
	if len(made.Backups) != 1 || made.Backups[0].Components[core.ComponentDatabase].Tables != 219 {
		o.t.Errorf("it made %+v", made)
	}
	r.backstay(0, nil, "check")
}

// script runs a script of iTop's backup.
func (r *running) script(name string, args ...string) string {
	r.t.Helper()
	return r.runPHP(append([]string{"env-production/itop-backup/" + name}, args...)...)
}

// parameters: iTop's own scripts and ours, with the same parameter file.
func (o *operated) parameters() {
	r := o.itop
	hand := filepath.Join(filepath.Dir(r.root), "params")
	r.ok(os.Mkdir(hand, 0o777))
	r.ok(os.Chmod(hand, 0o777))
	file := filepath.Join(hand, "backup.params")
	r.write(file, "auth_user = admin\nauth_pwd = Admin-Pw_1x\nbackup_file = "+hand+"/__DB__-%Y-%m-%d\ncheck_size_min = 100000\ncheck_size_reduction_max = 30\n"+
		"check_ticket_login = admin\ncheck_ticket_pwd = Admin-Pw_1x\ncheck_ticket_title = Nightly\ncheck_ticket_customer = Demo\ncheck_ticket_service = Computers and peripherals\n"+
		"check_ticket_service_subcategory = Troubleshooting\ncheck_ticket_workgroup = Helpdesk\ncheck_ticket_impacted_server = Server1\n", 0o600)
	theirs := r.passTo(file) // for their scripts, with their owner

	// The ticket.
	if said := r.script("check-backup.php", "--param_file="+theirs); !strings.Contains(said, "Created ticket") {
		o.t.Fatalf("iTop's check-backup.php makes no ticket:\n%s", said)
	}
	const fields = "  - name: itop\n    profile: itop\n    root: ITOP_ROOT\n"
	o.configure("params", fields+"    database: {password: wrong}\n")
	r.backstay(0, nil, "init")
	r.backstay(1, nil, "backup", "itop")
	before := len(r.incidents(ours))
	for range 2 {
		r.backstay(4, nil, "check", "itop", "--param_file", file)
	}
	made := r.incidents(ours)
	own := r.incidents("SELECT Incident WHERE title = 'Nightly'")
	if len(made) != before+1 || len(own) != 1 {
		o.t.Fatalf("%d tickets of ours and %d of iTop's, want one each", len(made)-before, len(own))
	}
	got := made[len(made)-1]
	if !strings.HasPrefix(got.Title, own[0].Title+": itop: backups fail") {
		o.t.Errorf("iTop's ticket is called %q, ours %q", own[0].Title, got.Title)
	}
	got.Ref, got.Title = own[0].Ref, own[0].Title
	if diff := cmp.Diff(own[0], got); diff != "" {
		o.t.Errorf("the ticket of check-backup.php (-) and ours (+):\n%s", diff)
	}
	o.configure("params", fields)

	// The name.
	for _, name := range []string{
		"__DB__", "__HOST__-__DB__-__SUBNAME__-%Y-%m-%d_%H", "%Y/%m/__DB__-%a%A%b%B%j", "50%-__DB__", "%e-%u-%w-%y-%%-%Z", "itop.v1-%d", "%I%p-%V-%G-%g-%C", "é-%d %F",
	} {
		simulated := func() string {
			var result struct{ Files map[string]string }
			r.backstay(0, &result, "backup", "itop", "--simulate", "--backup_file="+hand+"/"+name)
			return result.Files["itop"]
		}
		first := simulated()
		_, said, _ := strings.Cut(r.script("backup.php", "--auth_user=admin", "--auth_pwd=Admin-Pw_1x", "--simulate=1", "--backup_file="+hand+"/"+name), "would create file '")
		said, _, _ = strings.Cut(said, "'")
		if want := said + ".tar.gz"; want != first && want != simulated() { // the hour may have ended meanwhile
			o.t.Errorf("%s: iTop would make %s, ours is %s", name, want, first)
		}
	}

	// The archive.
	state := r.sums(r.name)
	var result struct {
		Archives []struct{ File string }
	}
	r.backstay(0, &result, "backup", "itop", "--param_file="+file)
	if len(result.Archives) != 1 {
		o.t.Fatalf("it made the archives %+v", result)
	}
	archive := result.Archives[0].File
	handed := r.passTo(archive)
	r.ok(os.Rename(handed, archive)) // as theirs are: of the web server's user
	if said := r.script("check-backup.php", "--param_file="+theirs); !strings.Contains(said, "Found the archive") {
		o.t.Errorf("iTop's check-backup.php does not take %s:\n%s", archive, said)
	}
	r.ok(os.Rename(archive, archive+".ours"))
	r.script("backup.php", "--param_file="+theirs)
	if _, err := os.Stat(archive); err != nil {
		o.t.Errorf("iTop's backup.php makes an archive of another name: %v", err)
	}
	r.ok(os.Rename(archive+".ours", archive))
	mysqltest.ExecOn(o.t, r.config(r.name), "DELETE FROM ticket WHERE id % 2", "DELETE FROM attachment")
	r.restoreITop(archive)
	r.itopWorks("after iTop's restore of our archive")
	r.same("restored by iTop from our archive", state, r.sums(r.name))
}

// status returns what `backstay status` says of an app.
func (r *running) status(exit int, app string) operation.AppStatus {
	r.t.Helper()
	var s operation.Status
	r.backstay(exit, &s, "status", app)
	return s.Apps[0]
}

// built builds the command.
func built(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "backstay")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "../../cmd/backstay").CombinedOutput(); err != nil {
		t.Fatalf("build the command: %v\n%s", err, out)
	}
	return file
}

// schedules: what is changed in the applications changes what the service does.
func (o *operated) schedules() {
	r, f := o.itop, o.itflow
	o.configure("schedules", "  - {name: desk, profile: itop, root: ITOP_ROOT, schedule: {from_app: true}, retention: {from_app: true}, notify: [{ITFLOW_TICKETS}]}\n"+
		"  - {name: docs, profile: itflow, root: ITFLOW_ROOT, schedule: {from_app: true}, retention: {from_app: true}}\n")
	r.backstay(0, nil, "init")
	address := fmt.Sprintf("127.0.0.1:%d", freePort(o.t))
	service := exec.CommandContext(o.t.Context(), built(o.t), "serve", "--listen", address, "--config", filepath.Join(r.folder, "backstay.yaml"))
	var said bytes.Buffer
	service.Stdout, service.Stderr = &said, &said
	service.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	r.ok(service.Start())
	defer func() {
		r.ok(service.Process.Signal(syscall.SIGTERM))
		if err := service.Wait(); err != nil {
			o.t.Errorf("the service ended with %v", err)
		}
		if o.t.Failed() {
			o.t.Logf("the service said:\n%s", &said)
		}
	}()

	metric := func(name, app string) string {
		res, err := http.Get("http://" + address + "/metrics")
		if err != nil {
			return ""
		}
		body, err := io.ReadAll(res.Body)
		r.ok(err)
		r.ok(res.Body.Close())
		for line := range strings.Lines(string(body)) {
			if value, ok := strings.CutPrefix(line, fmt.Sprintf("backstay_%s{app=%q,kind=\"backup\",schedule=\"\"} ", name, app)); ok {
				return strings.TrimSpace(value)
			}
		}
		return "none"
	}
	until := func(what, name, app, want string) {
		o.t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			got := metric(name, app)
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				o.t.Fatalf("%s: metric %s of %s is %q, want %q", what, name, app, got, want)
			}
		}
	}
	// next waits until the service is to begin when status says.
	next := func(what, app, when string) {
		o.t.Helper()
		s := r.status(0, app)
		if len(s.Schedules) != 1 || s.Schedules[0].When != when || s.Schedules[0].Next == nil {
			o.t.Fatalf("%s: status says %+v, want %s", what, s.Schedules, when)
		}
		text, err := json.Marshal(float64(s.Schedules[0].Next.Unix()))
		r.ok(err)
		var seconds, got float64
		r.ok(json.Unmarshal(text, &seconds))
		for deadline := time.Now().Add(30 * time.Second); got != seconds; time.Sleep(50 * time.Millisecond) {
			if _, err := fmt.Sscan(metric("next_run_timestamp_seconds", app), &got); err != nil {
				got = 0
			}
			if time.Now().After(deadline) {
				o.t.Fatalf("%s: the service begins at %v, status says %v", what, got, seconds)
			}
		}
	}

	next("as installed", "desk", "Mon-Fri 23:30 Europe/Paris")
	r.setting("time", "'21:15'")
	next("another time", "desk", "Mon-Fri 21:15 Europe/Paris")
	r.setting("week_days", "'saturday, Sunday'")
	next("other days", "desk", "Sat, Sun 21:15 Europe/Paris")

	tickets := len(f.flowTickets())
	r.setting("week_days", "'mondey, tuesday'")
	until("a typo", "schedule_broken", "desk", "1")
	until("a typo", "next_run_timestamp_seconds", "desk", "none")
	if s := r.status(4, "desk"); len(s.Problems) == 0 || !strings.Contains(s.Problems[0].Message, `['week_days']`) || !strings.Contains(s.Problems[0].Message, `"mondey" is no day`) {
		o.t.Errorf("status does not say which setting is wrong: %+v", s.Problems)
	}
	for range 2 {
		r.backstay(4, nil, "check", "desk")
	}
	if now := f.flowTickets(); len(now) != tickets+1 || now[tickets] != "desk open 0" {
		o.t.Errorf("of the typo there are the tickets %q", now[tickets:])
	}
	r.setting("week_days", "'monday'")
	next("the typo is corrected", "desk", "Mon 21:15 Europe/Paris")
	r.backstay(0, nil, "check", "desk")
	if now := f.flowTickets(); len(now) != tickets+1 || now[tickets] != "desk resolved 1" {
		o.t.Errorf("of the typo that is corrected there are the tickets %q", now[tickets:])
	}

	r.setting("enabled", "false")
	until("switched off", "schedule_enabled", "desk", "0")
	until("switched off", "next_run_timestamp_seconds", "desk", "none")
	if s := r.status(0, "desk"); !s.Schedules[0].Off {
		o.t.Errorf("status says %+v", s.Schedules)
	}
	r.setting("enabled", "true")
	next("switched on", "desk", "Mon 21:15 Europe/Paris")
	r.setting("time", "'23:30'")

	// ITFlow keeps its schedule in its database, which is asked from time to
	// time, and at a signal.
	change := func(statements ...string) {
		mysqltest.ExecOn(o.t, f.config(f.name), statements...)
		r.ok(service.Process.Signal(syscall.SIGHUP))
	}
	until("as installed", "schedule_enabled", "docs", "0")
	change("UPDATE cron_jobs SET cron_job_enabled = 1, cron_job_schedule = 'Daily', cron_job_daily_at = '02:00:00' WHERE cron_job_name = 'backup'")
	next("the job is switched on", "docs", "daily 02:00 Europe/Paris")
	change("UPDATE settings SET config_backup_cron_type = 'database', config_timezone = 'Asia/Tokyo'")
	next("another time zone", "docs", "daily 02:00 Asia/Tokyo")
	if s := r.status(0, "docs"); len(s.Schedules[0].Only) != 1 || s.Schedules[0].Only[0] != core.ComponentDatabase {
		o.t.Errorf("of the type database status says %+v", s.Schedules)
	}
	change("UPDATE cron_jobs SET cron_job_schedule = 'Dayly' WHERE cron_job_name = 'backup'")
	until("a typo", "schedule_broken", "docs", "1")
	if s := r.status(4, "docs"); len(s.Problems) == 0 || !strings.Contains(s.Problems[0].Message, "cron_job_schedule") {
		o.t.Errorf("status does not say which setting is wrong: %+v", s.Problems)
	}
	change("UPDATE cron_jobs SET cron_job_schedule = 'Daily' WHERE cron_job_name = 'backup'", "UPDATE settings SET config_enable_cron = 0")
	until("cron is off", "schedule_enabled", "docs", "0")
	if s := r.status(0, "docs"); !s.Schedules[0].Off {
		o.t.Errorf("status says %+v", s.Schedules)
	}
}

// locks: iTop's own scheduled backup and ours wait for one another.
func (o *operated) locks() {
	r := o.itop
	o.configure("locks", "  - {name: itop, profile: itop, root: ITOP_ROOT}\n")
	r.backstay(0, nil, "init")
	r.setting("cron_max_execution_time", "2")
	cron := func() *exec.Cmd {
		return r.command("php", "webservices/cron.php", "--auth_user=admin", "--auth_pwd=Admin-Pw_1x", "--verbose=1")
	}
	// Of iTop's dump, when it runs, and that it goes on until it may end.
	bin := filepath.Join(filepath.Dir(r.root), "bin")
	r.ok(os.Mkdir(bin, 0o777))
	r.ok(os.Chmod(bin, 0o777))
	begun, end := filepath.Join(bin, "begun"), filepath.Join(bin, "end")
	r.write(filepath.Join(bin, "mysqldump"), "#!/bin/sh\ntouch "+begun+"\nwhile ! [ -e "+end+" ]; do sleep 0.05; done\nexec "+tool(o.t, "mysqldump", "mariadb-dump")+" \"$@\"\n", 0o755)
	r.setting("mysql_bindir", "'"+bin+"'")
	defer r.setting("mysql_bindir", "''")
	if out, err := cron().CombinedOutput(); err != nil || !bytes.Contains(out, []byte("BackupExec")) { // it plans the backup
		o.t.Fatalf("cron.php: %v\n%s", err, out)
	}
	due := func() {
		mysqltest.ExecOn(o.t, r.config(r.name), "UPDATE priv_backgroundtask SET next_run_date = '2026-01-01 00:00:00' WHERE class_name = 'BackupExec'")
	}
	there := func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	}
	wait := func(what string, is func() bool) {
		o.t.Helper()
		for deadline := time.Now().Add(60 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(deadline) {
				o.t.Fatal("it never is so:", what)
			}
		}
	}

	// Theirs is first.
	due()
	theirs := cron()
	r.ok(theirs.Start())
	wait("iTop dumps", func() bool { return there(begun) })
	r.backstay(11, nil, "backup", "itop", "--no-wait")
	r.ok(os.WriteFile(end, nil, 0o644))
	r.backstay(0, nil, "backup", "itop")
	r.ok(theirs.Wait())

	// Ours is first: it waits for a table that somebody has locked.
	r.ok(os.Remove(begun))
	c, err := mysql.Connect(o.t.Context(), r.config(r.name))
	r.ok(err)
	_, err = c.Exec(o.t.Context(), "LOCK TABLES attachment WRITE")
	r.ok(err)
	mine := exec.CommandContext(o.t.Context(), built(o.t), "backup", "itop", "--config", filepath.Join(r.folder, "backstay.yaml"))
	r.ok(mine.Start())
	wait("our backup has iTop's lock", func() bool {
		return r.one("SELECT COALESCE(IS_USED_LOCK('"+r.lock("backup.production")+"'), 0)") != "0"
	})
	due()
	theirs = cron()
	var said bytes.Buffer
	theirs.Stdout = &said
	r.ok(theirs.Start())
	wait("iTop waits for the lock", func() bool {
		return r.one("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE 'SELECT GET_LOCK(%"+r.lock("backup.production")+"%'") != "0"
	})
	if there(begun) {
		o.t.Error("iTop dumps while our backup runs")
	}
	r.ok(c.Close())
	r.ok(mine.Wait())
	r.ok(theirs.Wait())
	if !there(begun) || !strings.Contains(said.String(), "Created the backup") {
		o.t.Errorf("iTop made no backup after ours:\n%s", &said)
	}
}
