package operations

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// mount mounts a file system in memory on a folder, or changes its size.
func mount(t *testing.T, dir, options string, again bool) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root mounts file systems")
	}
	flags := uintptr(0)
	if again {
		flags = syscall.MS_REMOUNT
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", flags, options); err != nil {
		if again {
			t.Fatal(err)
		}
		t.Skipf("no file system can be mounted here: %v", err)
	}
	if !again {
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
	}
}

// Two apps share a repository that fills up: that is one alarm, of neither.
func TestRepositoryFillsUp(t *testing.T) {
	p := newPlace(t)
	mount(t, p.path("repo"), "size=32m", false)
	p.config("", p.files("shop", 2<<20), p.files("wiki", 2<<20))
	p.runs(0, "init")
	p.backs(2)
	p.runs(0, "check")
	p.told.want(t, "main")

	for _, name := range []string{"shop", "wiki"} {
		p.write(name+"/uploads/more.bin", noise(uint64(name[0]), 40<<20))
	}
	for range 2 {
		p.runs(1, "backup")
		p.clock(time.Hour)
		p.runs(4, "check")
	}
	p.told.want(t, "main", "repository: opened")
	p.wantOpen("repository")
	text := p.told.heard("main")[0].Text
	if !strings.Contains(text, "repository") || !strings.Contains(text, "free") {
		t.Errorf("it does not say what is full and what to do:\n%s", text)
	}

	mount(t, p.path("repo"), "size=256m", true)
	p.backs(1)
	p.runs(0, "check")
	p.told.want(t, "main", "repository: opened closed")
	p.told.want(t, "spare")
	p.wantOpen()
	p.runs(0, "verify", "--all")
}

// The database server stops, in the service's sight, and comes back.
func TestDatabaseStops(t *testing.T) {
	p := newPlace(t)
	server := mysqltest.Start(t, localserver.Options{TCP: false})
	account := mysql.Config{User: "keeper", Password: core.NewSecret("dGhlIGtlZXBlcg")}
	mysqltest.ExecOn(t, mysqltest.ConfigOf(server, ""), "CREATE DATABASE wiki", "CREATE USER keeper@localhost IDENTIFIED BY '"+account.Password.Reveal()+"'", "GRANT ALL ON wiki.* TO keeper@localhost")
	p.config("schedule: {every: 1h}", p.database("wiki", server, "wiki", account, 500), p.files("shop", 1000))
	p.runs(0, "init")
	s := p.serve()
	s.due(time.Hour, "ok", "ok")
	p.told.want(t, "main")

	p.ok(server.Kill())
	s.due(time.Hour, "failed", "ok")
	s.due(time.Hour, "failed", "ok")
	p.told.want(t, "main", "wiki backup: opened")
	p.wantOpen("wiki backup")
	opened := p.told.heard("main")[0]
	for _, part := range []string{"wiki", "backup", "still", "backstay "} {
		if !strings.Contains(opened.Text, part) {
			t.Errorf("the message does not have %q:\n%s", part, opened.Text)
		}
	}

	p.ok(server.Restart(t.Context()))
	s.due(time.Hour, "ok", "ok")
	p.told.want(t, "main", "wiki backup: opened closed")
	p.wantOpen()
	s.stop()
	for _, r := range p.records("backup") {
		if r.Trigger != "schedule" || r.Due == nil || r.Finished == nil {
			t.Errorf("a run is recorded as %+v", r)
		}
	}
}

// Half of a table is lost: one alarm, and retention holds all backups while it
// lasts. It ends when the rows are back, or when somebody says that it is
// right.
func TestTableLosesRows(t *testing.T) {
	p := newPlace(t)
	app, db := p.shared("wiki", 1000, "retention: {count: 3}")
	p.config("", app)
	p.runs(0, "init")
	p.backs(6)
	p.wantBackups(3)
	p.told.want(t, "main")

	mysqltest.ExecIn(t, db, "CREATE TABLE lost AS SELECT * FROM pages WHERE id % 2 = 0", "DELETE FROM pages WHERE id % 2 = 0")
	for range 3 {
		out, _ := p.runs(4, "backup")
		if !strings.Contains(out, "rows-dropped: table pages") {
			t.Errorf("backup does not say what is wrong with it:\n%s", out)
		}
		p.clock(time.Hour)
	}
	p.told.want(t, "main", "wiki content: opened")
	p.wantBackups(6)
	for _, args := range [][]string{{"prune", "--dry-run"}, {"prune"}} {
		out, _ := p.runs(0, args...)
		if strings.Count(out, "an anomaly is open (rows-dropped") == 0 || !strings.Contains(out, "6 kept, 0 ") {
			t.Errorf("%v does not say that an anomaly holds the backups:\n%s", args, out)
		}
	}
	p.wantBackups(6)

	mysqltest.ExecIn(t, db, "INSERT INTO pages SELECT * FROM lost")
	p.backs(1)
	p.told.want(t, "main", "wiki content: opened closed")
	p.wantBackups(3)

	mysqltest.ExecIn(t, db, "DELETE FROM pages WHERE id % 2 = 0")
	p.runs(4, "backup")
	p.clock(time.Hour)
	p.runs(4, "check")
	p.told.want(t, "main", "wiki content: opened closed", "wiki content: opened")
	_, said := p.runs(0, "check", "wiki", "--accept")
	if !strings.Contains(said, "counts as right") {
		t.Errorf("it does not say what was accepted: %s", said)
	}
	p.told.want(t, "main", "wiki content: opened closed", "wiki content: opened closed")
	p.backs(2)
	p.runs(0, "check")
	p.told.want(t, "main", "wiki content: opened closed", "wiki content: opened closed")
	p.wantBackups(3)
}

// wantBackups counts what is in the repository.
func (p *place) wantBackups(want int) {
	p.t.Helper()
	var out struct{ Backups []struct{ ID string } }
	p.reads(&out, 0, "list")
	if len(out.Backups) != want {
		p.t.Fatalf("there are %d backups, want %d", len(out.Backups), want)
	}
}

// A destination that is down is told once when it is up, and its fallback
// meanwhile.
func TestDestinationIsDown(t *testing.T) {
	p := newPlace(t)
	p.config("", p.files("wiki", 1000))
	p.runs(0, "init")
	p.backs(1)
	p.told.switchOff("main", true)
	p.ok(os.Rename(p.path("wiki/uploads"), p.path("wiki/away")))
	fails := func() {
		p.runs(1, "backup")
		p.clock(time.Hour)
	}
	fails()
	fails()
	p.told.want(t, "main")
	p.told.want(t, "spare", "wiki backup: opened")
	out, _ := p.runs(0, "alarms")
	if !strings.Contains(out, "main was not told") || !strings.Contains(out, "503") {
		t.Errorf("alarms does not say who was not told:\n%s", out)
	}

	p.told.switchOff("main", false)
	fails()
	fails()
	p.told.want(t, "main", "wiki backup: opened")
	p.told.want(t, "spare", "wiki backup: opened")
	p.ok(os.Rename(p.path("wiki/away"), p.path("wiki/uploads")))
	p.backs(2)
	p.told.want(t, "main", "wiki backup: opened closed")
	p.told.want(t, "spare", "wiki backup: opened closed")

	// Down at the end too: the ticket is closed when that can be said.
	p.ok(os.Rename(p.path("wiki/uploads"), p.path("wiki/away")))
	fails()
	p.told.switchOff("main", true)
	p.ok(os.Rename(p.path("wiki/away"), p.path("wiki/uploads")))
	p.backs(2)
	p.told.want(t, "main", "wiki backup: opened closed", "wiki backup: opened")
	p.told.switchOff("main", false)
	p.runs(0, "check")
	p.runs(0, "check")
	p.told.want(t, "main", "wiki backup: opened closed", "wiki backup: opened closed")

	// Nobody can be told: that is said, and the exit code is that of an alarm.
	p.told.switchOff("main", true)
	p.told.switchOff("spare", true)
	p.ok(os.Rename(p.path("wiki/uploads"), p.path("wiki/away")))
	_, said := p.runs(1, "backup")
	if !strings.Contains(said, "nobody could be told") {
		t.Errorf("it is not said that nobody was told:\n%s", said)
	}
	_, said = p.runs(4, "check")
	if !strings.Contains(said, "nobody could be told") {
		t.Errorf("check does not say that nobody was told:\n%s", said)
	}
}
