package realapps

import (
	"bytes"
	"context"
	"crypto/md5" //nolint:gosec // iTop's choice
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// checkoutOf returns the folder of an application's own code, which is not part
// of this project. Tests that run an application are left out without it.
func checkoutOf(t *testing.T, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		t.Skipf("%s does not say where a checkout of the application is", variable)
	}
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("there is no php:", err)
	}
	return dir
}

// helpers returns the folder of the scripts that seed and use the applications.
// They are kept beside the project, not in it.
func helpers(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../../shared/real-apps")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skip("the scripts that seed the applications lie in shared/real-apps beside the project, and are not here:", err)
	}
	return dir
}

// running is an application that runs: code, database and web server.
type running struct {
	*app
	server *localserver.Server
	web    int // its port
	php    []string
	who    *syscall.Credential // the web server's user; nil: this one
}

// newRunning copies a checkout and starts a database server with the account
// that the application's manual asks for.
func newRunning(t *testing.T, profile, checkout, account, password string) *running {
	t.Helper()
	dir := t.TempDir()
	r := &running{app: &app{t: t, name: profile, profile: profile, root: filepath.Join(dir, "www"), folder: filepath.Join(dir, "backstay"), user: account, password: password}}
	for _, d := range []string{dir, filepath.Dir(dir)} {
		r.ok(os.Chmod(d, 0o755)) // the web server's user comes through
	}
	r.ok(os.Mkdir(r.folder, 0o700))
	r.ok(os.Mkdir(filepath.Join(dir, "php.d"), 0o755))
	r.server = mysqltest.Start(t, localserver.Options{Name: profile, TCP: true, BufferPool: 256 << 20, LogFile: 64 << 20,
		Args: []string{"--max-allowed-packet=64M", "--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"}})
	r.write(filepath.Join(dir, "php.d/database.ini"), fmt.Sprintf("mysqli.default_port=%d\nmysqli.default_socket=%s\nmemory_limit=512M\n", r.server.Port, r.server.Socket), 0o644)
	r.php = append(os.Environ(), "PHP_INI_SCAN_DIR=:"+filepath.Join(dir, "php.d"), "APP_ROOT="+r.root)
	if out, err := exec.CommandContext(t.Context(), "cp", "-a", checkout, r.root).CombinedOutput(); err != nil {
		t.Fatalf("copy the checkout: %v\n%s", err, out)
	}
	if www, err := user.Lookup("www-data"); err == nil && os.Geteuid() == 0 {
		uid, err := strconv.ParseUint(www.Uid, 10, 32)
		r.ok(err)
		gid, err := strconv.ParseUint(www.Gid, 10, 32)
		r.ok(err)
		r.who = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		if out, err := exec.CommandContext(t.Context(), "chown", "-R", "www-data:www-data", r.root).CombinedOutput(); err != nil {
			t.Fatalf("give the code to the web server's user: %v\n%s", err, out)
		}
	}
	own := mysql.QuoteText(account) + "@'%'"
	mysqltest.ExecOn(t, r.config(""), "CREATE DATABASE "+mysql.QuoteName(r.name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
		"CREATE USER "+own+" IDENTIFIED BY "+quoted(password), "GRANT ALL ON "+mysql.QuoteName(r.name)+".* TO "+own)
	r.write(filepath.Join(r.folder, "repository.key"), strings.Repeat("5", 64)+"\n", 0o600)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	r.ok(err)
	r.web = l.Addr().(*net.TCPAddr).Port
	r.ok(l.Close())
	r.write(filepath.Join(r.folder, "backstay.yaml"), "repository:\n  url: file://"+r.folder+"/repository\n  password_file: "+r.folder+"/repository.key\n"+
		"state_dir: "+r.folder+"/state\napps:\n  - name: "+r.name+"\n    profile: "+profile+"\n    root: "+r.root+"\n    url: "+r.address("/")+"\n", 0o600)
	return r
}

func (r *running) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *running) config(database string) mysql.Config { return mysqltest.ConfigOf(r.server, database) }

func (r *running) address(path string) string {
	return fmt.Sprintf("http://127.0.0.1:%d%s", r.web, path)
}

// command is a command that the web server's user runs.
func (r *running) command(name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(r.t.Context(), name, args...)
	cmd.Dir, cmd.Env = r.root, r.php
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.who, Pdeathsig: syscall.SIGKILL}
	return cmd
}

// runPHP runs a script and returns what it prints.
func (r *running) runPHP(args ...string) string {
	r.t.Helper()
	out, err := r.command("php", args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("php %s: %v\n%s", args[0], err, out)
	}
	return string(out)
}

// serve starts PHP's own web server.
func (r *running) serve() {
	r.t.Helper()
	cmd := r.command("php", "-S", fmt.Sprintf("127.0.0.1:%d", r.web), "-t", r.root)
	cmd.Env = append(cmd.Env, "PHP_CLI_SERVER_WORKERS=4")
	cmd.SysProcAttr.Setpgid = true
	log, err := os.Create(r.webLog())
	r.ok(err)
	cmd.Stderr = log
	r.ok(cmd.Start())
	r.ok(log.Close())
	r.t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait() // it was killed
	})
	deadline := time.Now().Add(20 * time.Second)
	for {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", r.web))
		if err == nil {
			r.ok(c.Close())
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (r *running) webLog() string { return filepath.Join(r.folder, "web.log") }

// picture is all that the application is: its tables, its definitions, its files
// but for what transient says.
func (r *running) picture(transient ...string) state {
	r.t.Helper()
	sums, err := mysqltest.ChecksumOf(r.t.Context(), r.config(r.name))
	r.ok(err)
	created, err := mysqltest.ShowCreateOf(r.t.Context(), r.config(r.name))
	r.ok(err)
	maps.DeleteFunc(created, func(name, _ string) bool { return strings.Contains(name, "_backstay_") })
	files := treeState(r.t, r.root)
	maps.DeleteFunc(files, func(path, _ string) bool {
		return slices.ContainsFunc(transient, func(p string) bool { return path == p || strings.HasPrefix(path, p+"/") })
	})
	return state{sums, created, files}
}

// visitor requests pages all the time.
type visitor struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu       sync.Mutex
	requests int
	failed   []failure
}

type failure struct {
	began, ended time.Time
	what         string
}

// visit requests each page every 50 ms, as long as the one before was answered.
func (r *running) visit(pages map[string]func() (*http.Request, func(status int, body []byte) string)) *visitor {
	ctx, cancel := context.WithCancel(r.t.Context())
	v := &visitor{stop: cancel}
	for name, page := range pages {
		v.done.Go(func() {
			for ctx.Err() == nil {
				began := time.Now()
				what := ask(ctx, page)
				v.mu.Lock()
				v.requests++
				if what != "" && ctx.Err() == nil {
					v.failed = append(v.failed, failure{began, time.Now(), name + ": " + what})
				}
				v.mu.Unlock()
				select {
				case <-ctx.Done():
				case <-time.After(time.Until(began.Add(50 * time.Millisecond))):
				}
			}
		})
	}
	return v
}

func ask(ctx context.Context, page func() (*http.Request, func(int, []byte) string)) string {
	req, judge := page()
	resp, err := http.DefaultClient.Do(req.WithContext(ctx))
	if err != nil {
		return err.Error()
	}
	body, err := io.ReadAll(resp.Body)
	if cerr := resp.Body.Close(); err != nil || cerr != nil {
		return fmt.Sprint(err, cerr)
	}
	return judge(resp.StatusCode, body)
}

// ends ends the visits and says how long pages were not to be had: from the
// first that was refused to the end of the last.
func (v *visitor) ends(t *testing.T, what string) time.Duration {
	t.Helper()
	v.stop()
	v.done.Wait()
	if len(v.failed) == 0 {
		t.Logf("%s: %d requests, none refused", what, v.requests)
		return 0
	}
	first, last := v.failed[0], v.failed[0]
	kinds := map[string]int{}
	for _, f := range v.failed {
		kinds[f.what]++
		if f.began.Before(first.began) {
			first = f
		}
		if f.ended.After(last.ended) {
			last = f
		}
	}
	gone := last.ended.Sub(first.began)
	t.Logf("%s: %d requests, %d refused during %v: %v", what, v.requests, len(v.failed), gone.Round(time.Millisecond), kinds)
	return gone
}

// outcome is what a restore or undo reports.
type outcome struct {
	UnavailableMS int64 `json:"unavailable_ms"`
	StepsMS       int64 `json:"steps_ms"`
	KeptBytes     int64 `json:"kept_bytes"`
	Steps         []struct {
		Name   string `json:"name"`
		Exit   int    `json:"exit"`
		Output string `json:"output"`
		Error  string `json:"error"`
	} `json:"steps"`
	Warnings []struct {
		Object  string `json:"object"`
		Message string `json:"message"`
	} `json:"warnings"`
	Next []string `json:"next"`
}

// The switch is to take less than goal on a machine with nothing else to do. A
// busy one takes longer, and a test fails only where something is wrong.
const (
	goal        = 2000 // milliseconds
	switchLimit = 10000
)

// switched reports the numbers, and holds the switch to its limit.
func (r *running) switched(what string, o outcome) {
	r.t.Helper()
	r.t.Logf("%s: switched in %d ms, own steps %d ms, %d bytes kept, warnings %v, next %q", what, o.UnavailableMS, o.StepsMS, o.KeptBytes, o.Warnings, o.Next)
	if len(o.Warnings) > 0 {
		text, err := os.ReadFile(r.webLog())
		r.ok(err)
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "PHP Parse") || strings.Contains(line, "PHP Fatal") {
				r.t.Logf("the web server: %.1000s", line)
			}
		}
	}
	if o.UnavailableMS > goal {
		r.t.Logf("%s: the switch took longer than the goal of %d ms", what, goal)
	}
	if o.UnavailableMS > switchLimit {
		r.t.Errorf("%s: the switch took %d ms, want less than %d", what, o.UnavailableMS, switchLimit)
	}
}

// nothingOfUs looks whether the way back was closed with nothing left.
func (r *running) nothingOfUs() {
	r.t.Helper()
	for _, dir := range []string{r.root, filepath.Dir(r.root)} {
		left, err := filepath.Glob(filepath.Join(dir, ".backstay*"))
		r.ok(err)
		for _, l := range left {
			r.t.Error("left behind:", l)
		}
	}
	c, err := mysql.Connect(r.t.Context(), r.config(""))
	r.ok(err)
	rows, err := c.Query(r.t.Context(), "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_NAME LIKE '%backstay%' OR TABLE_SCHEMA LIKE '%backstay%'")
	r.ok(err)
	for _, row := range rows {
		r.t.Error("left on the server:", row[0].Text)
	}
	r.ok(c.Close())
}

func get(address, want string) func() (*http.Request, func(int, []byte) string) {
	return func() (*http.Request, func(int, []byte) string) {
		req, err := http.NewRequest(http.MethodGet, address, nil)
		if err != nil {
			panic(err) // it is a constant
		}
		return req, func(status int, body []byte) string {
			switch {
			case status != http.StatusOK:
				return fmt.Sprintf("status %d", status)
			case !bytes.Contains(body, []byte(want)):
				return fmt.Sprintf("no %q in the page", want)
			}
			return ""
		}
	}
}

// restGet asks iTop's REST interface for an organization.
func (r *running) restGet() (*http.Request, func(int, []byte) string) {
	form := url.Values{"auth_user": {"rest"}, "auth_pwd": {"Rest-Pw_1x"}, "json_data": {`{"operation":"core/get","class":"Organization","key":"SELECT Organization","output_fields":"name"}`}}
	req, err := http.NewRequest(http.MethodPost, r.address("/webservices/rest.php?version=1.3"), strings.NewReader(form.Encode()))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req, func(status int, body []byte) string {
		var answer struct {
			Code    int    `json:"code"`
			Message string `json:"message"`
		}
		if status != http.StatusOK {
			return fmt.Sprintf("status %d", status)
		}
		if err := json.Unmarshal(body, &answer); err != nil || answer.Code != 0 {
			return fmt.Sprintf("code %d %s %v", answer.Code, answer.Message, err)
		}
		return ""
	}
}

// TestRunningITop restores an iTop that people use, undoes that, and restores
// while its cron runs.
func TestRunningITop(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), helpers(t)
	r := newRunning(t, "itop", checkout, "itop", "it'op-Pw_1")
	r.installITop(scripts)
	r.serve()
	transient := []string{"log", "data/cache-production", "data/transactions", "data/.compilation-symlinks"}
	compiled := append([]string{"env-production", "env-production-build", "data/production.delta.prev.xml", "data/datamodel-production.xml"}, transient...)
	pages := map[string]func() (*http.Request, func(int, []byte) string){"login": get(r.address("/pages/UI.php"), "auth_pwd"), "REST": r.restGet}
	works := func(when string) {
		t.Helper()
		for name, page := range pages {
			if what := ask(t.Context(), page); what != "" {
				t.Errorf("%s, %s: %s", when, name, what)
			}
		}
		for _, file := range []string{"data/.maintenance", "data/.readonly"} {
			if _, err := os.Lstat(filepath.Join(r.root, file)); err == nil {
				t.Errorf("%s, %s is still there", when, file)
			}
		}
		c, err := mysql.Connect(t.Context(), r.config(""))
		r.ok(err)
		for _, lock := range []string{"cron", "backup.production", "restore.production"} {
			rows, err := c.Query(t.Context(), "SELECT IS_USED_LOCK('"+r.lock(lock)+"')")
			r.ok(err)
			if !rows[0][0].Null {
				t.Errorf("%s, the lock %s is held", when, lock)
			}
		}
		r.ok(c.Close())
	}
	works("before")
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	whole := r.picture(compiled...)
	mysqltest.ExecOn(t, r.config(r.name), "DELETE FROM ticket WHERE id % 2", "DELETE FROM attachment", "UPDATE organization SET name = CONCAT(name, ' !')", "CREATE TABLE later (id INT PRIMARY KEY)")
	config := filepath.Join(r.root, "conf/production/config-itop.php")
	change := func(pattern, new string) {
		text, err := os.ReadFile(config)
		r.ok(err)
		changed := regexp.MustCompile(pattern).ReplaceAll(text, []byte(new))
		if bytes.Equal(text, changed) {
			t.Fatalf("the configuration has no %s", pattern)
		}
		r.ok(os.WriteFile(config, changed, 0o440))
	}
	change(`'cron_max_execution_time' => \d+`, "'cron_max_execution_time' => 601")
	r.write(filepath.Join(r.root, "extensions/later.txt"), "later", 0o644)
	damaged := r.picture(compiled...)

	v := r.visit(pages)
	var done outcome
	r.backstay(0, &done, "restore", r.name, "latest", "--yes")
	v.ends(t, "iTop, restore")
	r.switched("iTop, restore", done)
	now := r.picture(compiled...)
	delete(now.Checksums, "later")
	delete(now.Objects, "table later")
	delete(now.Files, "extensions/later.txt")
	if diff := cmp.Diff(whole, now); diff != "" {
		t.Errorf("backed up (-) and restored (+):\n%s", diff)
	}
	works("after the restore")

	v = r.visit(pages)
	var undone outcome
	r.backstay(0, &undone, "undo", r.name, "--yes")
	v.ends(t, "iTop, undo")
	r.switched("iTop, undo", undone)
	if diff := cmp.Diff(damaged, r.picture(compiled...)); diff != "" {
		t.Errorf("before the restore (-) and after its undo (+):\n%s", diff)
	}
	works("after the undo")
	r.backstay(0, nil, "undo", r.name, "--drop", "--yes")
	r.nothingOfUs()
	works("after the drop")

	// Cron runs, and iTop's own limit for it is short.
	change(`'cron_max_execution_time' => \d+`, "'cron_max_execution_time' => 2")
	damaged = r.picture(compiled...)
	cron, err := mysql.Connect(t.Context(), mysql.Config{Host: "127.0.0.1", Port: r.server.Port, User: r.user, Password: core.NewSecret(r.password)})
	r.ok(err)
	if rows, err := cron.Query(t.Context(), "SELECT GET_LOCK('"+r.lock("cron")+"', 1)"); err != nil || rows[0][0].Text != "1" {
		t.Fatal("cron's lock:", rows, err)
	}
	var refused struct {
		Error struct {
			Message string `json:"message"`
			Hint    string `json:"hint"`
		} `json:"error"`
	}
	r.backstay(11, &refused, "restore", r.name, "latest", "--yes", "--no-safety-backup")
	if said := refused.Error.Message + refused.Error.Hint; !strings.Contains(said, "wholly as it was") || !strings.Contains(said, "--force cron-running") {
		t.Errorf("it says %+v", refused)
	}
	if diff := cmp.Diff(damaged, r.picture(compiled...)); diff != "" {
		t.Errorf("the restore that cron kept from beginning changed something:\n%s", diff)
	}
	r.nothingOfUs()
	r.backstay(3, &done, "restore", r.name, "latest", "--yes", "--no-safety-backup", "--force", "cron-running")
	r.switched("iTop, restore beside cron", done)
	r.ok(cron.Close())
	works("after a restore beside cron")
}

// lock is the name of a lock of iTop, of its database without a prefix.
func (r *running) lock(name string) string {
	return fmt.Sprintf("itop.%x", md5.Sum([]byte(name+r.name))) //nolint:gosec // iTop's choice
}

// installITop installs iTop with its sample data, tickets with attachments and a
// user for REST.
func (r *running) installITop(scripts string) {
	r.t.Helper()
	const answers = "setup/unattended-install/xml_setup/itil-fresh-install.xml"
	text, err := os.ReadFile(filepath.Join(r.root, answers))
	r.ok(err)
	database, rest, _ := strings.Cut(string(text), "</database>")
	database = strings.NewReplacer("<server></server>", "<server>"+fmt.Sprintf("127.0.0.1:%d", r.server.Port)+"</server>", "<user></user>", "<user>"+r.user+"</user>",
		"<pwd></pwd>", "<pwd>"+r.password+"</pwd>", "<name></name>", "<name>"+r.name+"</name>",
		"<previous_configuration_file>/var/www/html/iTop/conf/production/config-itop.php<", "<previous_configuration_file><").Replace(database)
	rest = strings.NewReplacer("<url></url>", "<url>"+r.address("/")+"</url>", "<user></user>", "<user>admin</user>", "<pwd></pwd>", "<pwd>Admin-Pw_1x</pwd>",
		"<language></language>", "<language>EN US</language>").Replace(rest)
	file := filepath.Join(r.root, "data/answers.xml")
	r.write(file, database+"</database>"+rest, 0o644)
	out := r.runPHP("setup/unattended-install/unattended-install.php", "--param-file="+file, "--installation_xml="+r.root+"/datamodels/2.x/installation.xml")
	if !strings.Contains(out, "installed!") {
		r.t.Fatalf("iTop is not installed:\n%s", out)
	}
	r.ok(os.Remove(file))
	r.t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itop-seed.php"))))
}
