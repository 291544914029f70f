package operations

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the state database's

	"github.com/backstay/backstay/internal/core"
)

// wantLoud looks for what must be said on stderr, as an error or a warning.
func wantLoud(t *testing.T, stderr string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(stderr, part) {
			t.Errorf("%q is not said:\n%s", part, stderr)
		}
	}
}

// A damaged state database is put aside and begun anew: backups go on, and it
// is said.
func TestStateDamaged(t *testing.T) {
	p := newPlace(t)
	p.config("schedule: {every: 1h}", p.files("wiki", 1000))
	p.runs(0, "init")
	p.backs(2)
	p.write("state/state.db", strings.Repeat("this is no database. ", 1000))
	_, said := p.runs(0, "backup")
	wantLoud(t, said, "warning", "state.db", "put aside")
	p.wantBackups(3)
	if runs := p.records(core.RunBackup); len(runs) != 1 || runs[0].Outcome != core.OutcomeOK {
		t.Errorf("the runs are %+v", runs)
	}
	p.told.want(t, "main", "service: opened")
	p.runs(0, "backup")
	p.runs(0, "check")
	p.told.want(t, "main", "service: opened closed")

	// While the service runs, too.
	s := p.serve()
	s.due(time.Hour, "ok")
	p.write("state/state.db", strings.Repeat("this is no database. ", 1000))
	s.begin(time.Hour)
	p.waitBackups(6)
	s.idle()
	s.begin(time.Hour)
	p.waitBackups(7)
	s.idle()
	if runs := p.records(core.RunBackup); len(runs) == 0 || runs[0].Outcome != core.OutcomeOK || runs[0].Trigger != "schedule" {
		t.Errorf("the runs are %+v", runs)
	}
	s.stop()
	wantLoud(t, s.said(), "put aside")
	p.runs(0, "verify", "--all")
}

// Another process holds the state database: backups are made, and it is said.
func TestStateLocked(t *testing.T) {
	p := newPlace(t)
	p.config("", p.files("wiki", 1000))
	p.runs(0, "init")
	p.backs(1)
	unlock := p.lockState()
	_, said := p.runs(0, "backup")
	wantLoud(t, said, "error", "state", "another process holds")
	p.wantBackups(2)
	unlock()
	_, said = p.runs(0, "backup")
	if strings.Contains(said, "state") {
		t.Errorf("it is said that is over:\n%s", said)
	}
	if runs := p.records(core.RunBackup); len(runs) != 2 {
		t.Errorf("the runs are %+v", runs)
	}
	p.runs(0, "check")
	p.wantOpen()
}

// lockState takes the lock on the state database.
func (p *place) lockState() (unlock func()) {
	p.t.Helper()
	db, err := sql.Open("sqlite", "file:"+p.path("state/state.db"))
	p.ok(err)
	conn, err := db.Conn(p.t.Context())
	p.ok(err)
	_, err = conn.ExecContext(p.t.Context(), "BEGIN EXCLUSIVE")
	p.ok(err)
	unlock = func() {
		if conn == nil {
			return
		}
		_, err := conn.ExecContext(context.WithoutCancel(p.t.Context()), "ROLLBACK")
		p.ok(err)
		p.ok(conn.Close())
		p.ok(db.Close())
		conn = nil
	}
	p.t.Cleanup(unlock)
	return unlock
}

// The disk of the state database is full: backups are made, it is said, and
// told.
func TestStateFull(t *testing.T) {
	p := newPlace(t)
	mount(t, p.path("state"), "size=1m", false)
	p.config("schedule: {every: 1h}", p.files("wiki", 1000))
	p.runs(0, "init")
	p.backs(2)
	p.fill("state/fill")
	_, said := p.runs(0, "backup")
	wantLoud(t, said, "error", "state")
	p.wantBackups(3)
	if heard := p.told.heard("main"); len(heard) == 0 || heard[0].about() != "service" || heard[0].Part != "opened" {
		t.Errorf("what was told is %+v", heard)
	}
	p.runs(4, "check")

	p.ok(os.Remove(p.path("state/fill")))
	p.runs(0, "backup")
	p.runs(0, "check")
	p.wantOpen()

	// While the service runs, too: it remembers what it did.
	s := p.serve()
	s.due(time.Hour, "ok")
	p.fill("state/fill")
	s.begin(time.Hour)
	p.waitBackups(6)
	s.idle()
	s.begin(time.Hour)
	p.waitBackups(7)
	s.idle()
	wantLoud(t, s.said(), "the state database cannot be used")
	told := p.told.heard("main")
	opened := told[len(told)-1]
	p.ok(os.Remove(p.path("state/fill")))
	s.due(time.Hour, "ok", "ok", "ok") // with the two that could not be recorded
	eventually(t, "the end of the service's alarm", func() error {
		told := p.told.heard("main")
		if last := told[len(told)-1]; opened.Part != "opened" || last.Part != "closed" || last.Marker != opened.Marker {
			return fmt.Errorf("it was told %s of %s, then %s of %s", opened.Part, opened.Marker, last.Part, last.Marker)
		}
		return nil
	})
	s.stop()
	p.wantBackups(8)
	p.runs(0, "check")
	p.wantOpen()
	p.runs(0, "verify", "--all")
}

// fill writes until the disk is full.
func (p *place) fill(name string) {
	p.t.Helper()
	f, err := os.Create(p.path(name))
	p.ok(err)
	for _, block := range []int{64 << 10, 4 << 10, 1} {
		for err == nil {
			_, err = f.Write(make([]byte, block))
		}
		err = nil
	}
	p.ok(f.Close())
}

// waitBackups waits until there are so many.
func (p *place) waitBackups(want int) {
	p.t.Helper()
	eventually(p.t, "the backups", func() error {
		var out struct{ Backups []struct{ ID string } }
		p.reads(&out, 0, "list")
		if len(out.Backups) != want {
			return fmt.Errorf("there are %d, want %d", len(out.Backups), want)
		}
		return nil
	})
}
