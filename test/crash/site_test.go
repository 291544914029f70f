package crash

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// site is a place whose app has a backup and was damaged since: a restore
// brings it from one known state into another.
type site struct {
	*place
	backup string // its id
	old    state  // before a restore
	new    state  // after it
}

// siteOptions says what kind of site.
type siteOptions struct {
	// databases lets the account make databases beside its own. Without it, as
	// with iTop's and ITFlow's own accounts, tables are built in the live one.
	databases bool
	server    *localserver.Server // nil: the shared one
	disk      string              // options of a file system of its own that the app lies on; "": none
	rows      int                 // of the largest table; 0: 300
}

// state is all that an app is: tables, definitions and files. What a restore
// put beside does not belong to it.
type state map[string]string

func newSite(t *testing.T, opt siteOptions) *site {
	t.Helper()
	server := opt.server
	if server == nil {
		server = mysqltest.Server(t)
	}
	p := &place{t: t, dir: t.TempDir(), server: server}
	s := &site{place: p}
	s.makeAccount(opt.databases, opt.server == nil)
	p.appRoot = filepath.Join(p.dir, "apps/app")
	for _, d := range []string{"tmp", "home", "apps"} {
		p.ok(os.MkdirAll(filepath.Join(p.dir, d), 0o700))
	}
	if opt.disk != "" {
		mount(t, filepath.Join(p.dir, "apps"), opt.disk)
	}
	p.ok(os.MkdirAll(filepath.Join(p.appRoot, "uploads/deep/deeper"), 0o750))
	p.write("db.pw", p.password+"\n")
	for name, text := range map[string]string{
		"uploads/a.txt": "first\n", "uploads/b.txt": "second\n", "uploads/deep/c.txt": "third\n", "uploads/deep/deeper/d.txt": "fourth\n",
		"uploads/same.bin": string(random(3, 1<<16)), "uploads/gone.bin": string(random(4, 1<<16)), "app.ini": "x=1\n",
	} {
		p.write("apps/app/"+name, text)
	}
	p.ok(os.Symlink("a.txt", filepath.Join(p.appRoot, "uploads/link")))
	s.execute(
		"CREATE TABLE pages (id INT PRIMARY KEY, body TEXT) ENGINE=InnoDB", "CREATE TABLE bag (v INT) ENGINE=InnoDB",
		"CREATE TABLE tags (page INT, tag VARCHAR(30), KEY (page), CONSTRAINT tags_page FOREIGN KEY (page) REFERENCES pages (id)) ENGINE=InnoDB",
		"CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, what VARCHAR(40)) ENGINE=InnoDB",
		fmt.Sprintf("INSERT INTO pages SELECT seq, REPEAT(SHA2(seq, 512), 2) FROM seq_1_to_%d", max(opt.rows, 300)), "INSERT INTO tags SELECT seq, 'x' FROM seq_1_to_100",
		"INSERT INTO bag SELECT seq % 5 FROM seq_1_to_50", "CREATE VIEW v AS SELECT id FROM pages", "CREATE PROCEDURE p() SELECT 1",
		"CREATE EVENT e ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM log",
	)
	if !opt.databases {
		s.execute("CREATE TRIGGER t AFTER INSERT ON pages FOR EACH ROW INSERT INTO log (what) VALUES ('page')", "INSERT INTO pages VALUES (100000, 'by trigger')")
	}
	p.more = "config: [" + p.appRoot + "/app.ini]"
	p.config(server.Port)
	p.runs(0, "init")
	p.runs(0, "backup")
	s.backup = p.list()[0]
	whole := s.state()
	s.damage(opt.databases)
	s.old = s.state()
	s.restores(0, "--no-safety-backup")
	s.new = s.state()
	s.compareWhole(whole)
	s.undo()
	s.drop()
	return s
}

var sites atomic.Int64

// makeAccount makes a database and the account that an application would have.
func (s *site) makeAccount(databases, shared bool) {
	s.t.Helper()
	s.db = fmt.Sprintf("site_%d", sites.Add(1))
	s.password = rand.Text()
	s.account = mysql.Config{Host: "127.0.0.1", Port: s.server.Port, User: s.db, Password: core.NewSecret(s.password), Database: s.db}
	account, escaped := mysql.QuoteText(s.db)+"@'%'", strings.ReplaceAll(s.db, "_", `\_`)
	statements := []string{
		"CREATE DATABASE " + s.db + " CHARACTER SET utf8mb4", "CREATE USER " + account + " IDENTIFIED BY " + mysql.QuoteText(s.password),
		"GRANT ALL ON `" + escaped + "`.* TO " + account,
	}
	if databases {
		statements = append(statements, "GRANT ALL ON `"+escaped+`\_backstay\_%`+"`.* TO "+account)
	}
	mysqltest.ExecOn(s.t, mysqltest.ConfigOf(s.server, ""), statements...)
	if shared { // the others are thrown away
		root := mysqltest.ConfigOf(s.server, "")
		s.t.Cleanup(func() {
			ctx := context.WithoutCancel(s.t.Context()) // which has ended by now
			c, err := mysql.Connect(ctx, root)
			if err != nil {
				s.t.Error(err)
				return
			}
			for _, statement := range []string{"DROP DATABASE IF EXISTS " + s.db, "DROP USER " + account} {
				if _, err := c.Exec(ctx, statement); err != nil {
					s.t.Error(err)
				}
			}
			if err := c.Close(); err != nil {
				s.t.Error(err)
			}
		})
	}
}

// execute runs statements as the application would.
func (s *site) execute(statements ...string) {
	s.t.Helper()
	mysqltest.ExecOn(s.t, s.account, statements...)
}

// damage changes the app since its backup, in every way that there is.
func (s *site) damage(databases bool) {
	s.t.Helper()
	statements := []string{
		"DELETE FROM tags", "DELETE FROM pages WHERE id > 10", "UPDATE bag SET v = v + 1", "ALTER TABLE log ADD COLUMN late INT", "DROP TABLE bag",
		"CREATE OR REPLACE VIEW v AS SELECT 1 AS one", "DROP PROCEDURE p", "CREATE TABLE extra (id INT PRIMARY KEY)", "INSERT INTO extra VALUES (7)",
	}
	if !databases {
		statements = append(statements, "DROP TRIGGER t", "CREATE TRIGGER other BEFORE DELETE ON pages FOR EACH ROW DELETE FROM log")
	}
	s.execute(statements...)
	s.write("apps/app/uploads/a.txt", "changed\n")
	s.write("apps/app/uploads/deep/c.txt", "changed too\n")
	s.write("apps/app/uploads/extra.txt", "since then\n")
	s.write("apps/app/app.ini", "x=2\n")
	s.ok(os.Chmod(filepath.Join(s.appRoot, "uploads/b.txt"), 0o640))
	s.ok(os.Remove(filepath.Join(s.appRoot, "uploads/gone.bin")))
	s.ok(os.RemoveAll(filepath.Join(s.appRoot, "uploads/deep/deeper")))
	s.ok(os.Remove(filepath.Join(s.appRoot, "uploads/link")))
	s.ok(os.Symlink("b.txt", filepath.Join(s.appRoot, "uploads/link")))
}

// state looks at all that the app is.
func (s *site) state() state {
	s.t.Helper()
	out := state{}
	root := mysqltest.ConfigOf(s.server, s.db)
	sums, err := mysqltest.ChecksumOf(s.t.Context(), root)
	s.ok(err)
	created, err := mysqltest.ShowCreateOf(s.t.Context(), root)
	s.ok(err)
	for name, sum := range sums {
		out["rows of "+name] = sum
	}
	for name, text := range created {
		if !strings.Contains(name, "_backstay_") {
			out["definition of "+name] = text
		}
	}
	s.ok(filepath.WalkDir(s.appRoot, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if strings.HasPrefix(d.Name(), ".backstay") {
			return fs.SkipDir
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		stat := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%v %d:%d %v", info.Mode(), stat.Uid, stat.Gid, stat.Mtim)
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %x", sha256.Sum256(data))
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " to " + target
		}
		rel, err := filepath.Rel(s.appRoot, path)
		out["file "+rel] = text
		return err
	}))
	return out
}

// compareWhole holds what a restore made to what was backed up. Folders with
// files that the backup does not have are of another time.
func (s *site) compareWhole(whole state) {
	s.t.Helper()
	now := maps.Clone(s.new)
	for _, extra := range []string{"rows of extra", "definition of table extra", "file uploads/extra.txt"} {
		if now[extra] == "" {
			s.t.Errorf("%s, which the backup does not have, is gone", extra)
		}
		delete(now, extra)
	}
	if diff := cmp.Diff(whole, now); diff != "" {
		s.t.Fatalf("a restore does not bring back what was backed up (-want +got):\n%s", diff)
	}
}

// live says which state the app is in.
func (s *site) live() string {
	s.t.Helper()
	return compare(s.state(), s.old, s.new)
}

func compare(now, old, new state) string {
	switch {
	case cmp.Equal(now, old):
		return "old"
	case cmp.Equal(now, new):
		return "new"
	}
	toOld, toNew := cmp.Diff(old, now), cmp.Diff(new, now)
	if len(toOld) < len(toNew) {
		return "neither; nearest to the old one (-):\n" + toOld
	}
	return "neither; nearest to the new one (-):\n" + toNew
}

func (s *site) want(what string) {
	s.t.Helper()
	if got := s.live(); got != what {
		s.t.Fatalf("the app is to be %s, and is %s", what, got)
	}
}

var constraint = regexp.MustCompile("CONSTRAINT `[^`]*`")

// triggerName is a trigger's name, what it is at, and its table.
var triggerName = regexp.MustCompile(`TRIGGER \S+ (\S+ \S+ ON (\S+) )`)

// wantUnsettled is want for an app that is switched, and whose constraints and
// triggers may not have their last names and words yet: that is done while users are in.
func (s *site) wantUnsettled(what string) {
	s.t.Helper()
	plain := func(from state) state {
		out := state{}
		for k, v := range from {
			if strings.HasPrefix(k, "definition of table") {
				v = constraint.ReplaceAllString(v, "CONSTRAINT …")
			}
			if strings.HasPrefix(k, "definition of trigger") {
				v = strings.ReplaceAll(v, "`", "")
				m := triggerName.FindStringSubmatch(v)
				if m == nil {
					s.t.Fatalf("what trigger is this? %s", v)
				}
				if strings.HasPrefix(m[2], "_backstay_") { // it went with its table
					continue
				}
				k, v = "trigger "+m[1], triggerName.ReplaceAllString(v, "$1")
			}
			out[k] = v
		}
		return out
	}
	if got := compare(plain(s.state()), plain(s.old), plain(s.new)); got != what {
		s.t.Fatalf("the app is to be %s, and is %s", what, got)
	}
}

// ended is how a command ended.
type ended struct {
	t      *testing.T
	name   string
	code   int
	output string // both streams
}

// tries runs a command to its end, however that is.
func (s *site) tries(args ...string) *ended {
	s.t.Helper()
	cmd := s.command(args...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	_ = cmd.Run() // its exit code is looked at
	return &ended{s.t, strings.Join(args, " "), cmd.ProcessState.ExitCode(), out.String()}
}

// says checks the exit code, and that all of the texts were printed.
func (e *ended) says(code int, texts ...string) *ended {
	e.t.Helper()
	if e.code != code {
		e.t.Fatalf("backstay %s: exit code %d, want %d\n%s", e.name, e.code, code, e.output)
	}
	for _, text := range texts {
		if !strings.Contains(e.output, text) {
			e.t.Errorf("backstay %s does not say %q:\n%s", e.name, text, e.output)
		}
	}
	return e
}

// restore tries the restore that the site is for. It is not waited for others.
func (s *site) restore(args ...string) *ended {
	s.t.Helper()
	return s.tries(s.restoring(args...)...)
}

func (s *site) restoring(args ...string) []string {
	return append([]string{"restore", "wiki", s.backup, "--yes", "--no-wait"}, args...)
}

func (s *site) restores(code int, args ...string) {
	s.t.Helper()
	s.restore(args...).says(code)
}

// undo goes back to the old state.
func (s *site) undo() {
	s.t.Helper()
	s.tries("undo", "wiki", "--yes", "--no-wait").says(0, "what it was before the restore")
	s.want("old")
}

// drop removes what is kept, and looks that nothing of backstay's is left.
func (s *site) drop() {
	s.t.Helper()
	s.tries("undo", "wiki", "--drop", "--yes", "--no-wait").says(0)
	s.nothingLeft()
}

// nothingLeft looks for what a restore may leave where it does not belong.
func (s *site) nothingLeft() {
	s.t.Helper()
	for _, dir := range []string{s.appRoot, filepath.Dir(s.appRoot), s.dir, filepath.Join(s.dir, "tmp"), filepath.Join(s.dir, "home")} {
		entries, err := os.ReadDir(dir)
		s.ok(err)
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), ".backstay") || dir == filepath.Join(s.dir, "tmp") || dir == filepath.Join(s.dir, "home") {
				s.t.Errorf("left behind: %s", filepath.Join(dir, e.Name()))
			}
		}
	}
	if runs := s.journals(); len(runs) > 0 {
		s.t.Errorf("left behind: the journals of %d restores", len(runs))
	}
	for _, left := range s.ask("SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA LIKE '" + s.db + `\_backstay%' OR TABLE_SCHEMA='` + s.db + `' AND TABLE_NAME LIKE '\_backstay%'` +
		" UNION SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '" + s.db + `\_backstay%'`) {
		s.t.Errorf("left on the server: %s", left)
	}
}

// ask runs a query with one column as root.
func (s *site) ask(query string) []string {
	s.t.Helper()
	c, err := mysql.Connect(s.t.Context(), mysqltest.ConfigOf(s.server, ""))
	s.ok(err)
	rows, err := c.Query(s.t.Context(), query)
	s.ok(errors.Join(err, c.Close()))
	var out []string
	for _, r := range rows {
		out = append(out, r[0].Text)
	}
	return out
}

// journals reads the phases of the restores that are known here.
func (s *site) journals() (phases []string) {
	s.t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "state/restores/wiki/*/journal.json"))
	s.ok(err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		s.ok(err)
		var j struct {
			Phase   string `json:"phase"`
			Undoing bool   `json:"undoing"`
		}
		s.ok(json.Unmarshal(text, &j))
		if j.Phase == "reverting" && !j.Undoing {
			j.Phase = "taking itself back"
		}
		phases = append(phases, j.Phase)
	}
	return phases
}

// goesOn looks whether everything works again: with the app in its old state
// and nothing left, a backup is made and is whole, and the next restore and its
// undoing succeed.
func (s *site) goesOn() {
	s.t.Helper()
	s.config(s.server.Port)
	s.want("old")
	s.nothingLeft()
	s.tries("backup", "--no-wait").says(0)
	s.tries("verify", "--all").says(0)
	s.restore().says(0)
	s.want("new")
	s.undo()
	s.drop()
}

// alone waits until the server has noticed that the app's clients are gone, and
// with them their locks.
func (s *site) alone() {
	s.t.Helper()
	s.wait("the server to be left alone", func() bool {
		return s.ask("SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER=" + mysql.QuoteText(s.account.User))[0] == "0"
	})
}
