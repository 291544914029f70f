package shadow_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// TestFailedSwitchKeepsDefiners: the live app has objects that run as root and
// do what the account that restores may not. A switch that gives up for a table
// in use has not touched one of them.
func TestFailedSwitchKeepsDefiners(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("MySQL lets nobody without SYSTEM_USER drop what root defined")
	}
	r := simple(t)
	other := mysqltest.Database(t)
	mysqltest.ExecIn(t, other, "CREATE TABLE log (id INT)")
	mysqltest.ExecIn(t, r.config.Database, "CREATE TRIGGER audit AFTER INSERT ON a FOR EACH ROW INSERT INTO "+other+".log VALUES (NEW.id)",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SELECT 'live'", "CREATE PROCEDURE p() INSERT INTO "+other+".log VALUES (99)")
	mysqltest.ExecIn(t, r.origin, "CREATE TRIGGER audit AFTER INSERT ON a FOR EACH ROW SET @x = 1",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SELECT 'backup'", "CREATE PROCEDURE p() SELECT 'backup'")
	r = newRig(t, r.origin, r.root)
	config := mysqltest.User(t, "ALL ON `"+r.root.Database+"`.*")
	config.Database = r.root.Database
	r.config = config
	r.build(shadow.Options{Mode: shadow.ModeNames})
	before := r.picture(r.root)
	holder := mysqltest.Connect(t, r.config)
	for _, s := range []string{"START TRANSACTION", "SELECT * FROM b"} {
		if _, err := holder.Query(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.s.Switch(t.Context(), r.config, r.save)
	if core.CodeOf(err) != core.CodeLocked || errors.Is(err, shadow.ErrUnfinished) || errors.Is(err, shadow.ErrDefiners) {
		t.Fatalf("got %v", err)
	}
	if _, err := holder.Exec(t.Context(), "INSERT INTO a VALUES (50, 5)"); err == nil {
		t.Error("the live table has another column than it had")
	}
	for _, s := range []string{"INSERT INTO a VALUES (50)", "CALL p()", "ROLLBACK"} {
		if _, err := holder.Exec(t.Context(), s); err != nil {
			t.Errorf("%s after the switch that gave up: %v", s, err)
		}
	}
	r.reload()
	r.wantState(shadow.StateOld)
	r.settle()
	r.same("after the switch that gave up", before, r.picture(r.root))

	// Agreed to, it goes through, and going back says what is not as it was. The
	// procedure stays where it is on servers where the account may not read it.
	r.doSwitch()
	var told []string
	for _, w := range r.revert() {
		if w.Code == "definer" && strings.Contains(w.Message, "root@localhost") && w.Object != "procedure p" {
			told = append(told, w.Object)
		}
	}
	slices.Sort(told)
	if diff := cmp.Diff([]string{"event ev", "trigger audit", "trigger tr"}, told); diff != "" {
		t.Errorf("said to have other definers (-want +got):\n%s", diff)
	}
}

// TestTriggersNeverOff: an app writes while a switch waits for a table, and
// through the switch and the way back. Every row has what its trigger does.
func TestTriggersNeverOff(t *testing.T) {
	origin, live := mysqltest.Database(t), mysqltest.Database(t)
	for db, value := range map[string]string{origin: "1", live: "2"} {
		mysqltest.ExecIn(t, db, "CREATE TABLE a (id INT PRIMARY KEY AUTO_INCREMENT, v INT, w INT)", "CREATE TABLE z (id INT PRIMARY KEY)", "CREATE TABLE audit (id INT)",
			"CREATE TRIGGER before_a BEFORE INSERT ON a FOR EACH ROW SET NEW.v = "+value, "CREATE TRIGGER second_a BEFORE INSERT ON a FOR EACH ROW SET NEW.w = NEW.v", "CREATE TRIGGER after_a AFTER INSERT ON a FOR EACH ROW INSERT INTO audit VALUES (NEW.id)")
	}
	r := newRig(t, origin, mysqltest.Config(t, live))
	r.build(shadow.Options{LockWait: 5})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	writer := mysqltest.Connect(t, r.config)
	written := 0
	go func() {
		for ctx.Err() == nil {
			if _, err := writer.Exec(context.WithoutCancel(ctx), "INSERT INTO a (v) VALUES (NULL)"); err != nil {
				done <- err
				return
			}
			written++
		}
		done <- nil
	}()
	turn := func(do func()) {
		holder := mysqltest.Connect(t, r.config)
		if _, err := holder.Exec(t.Context(), "LOCK TABLES z READ"); err != nil {
			t.Fatal(err)
		}
		released := make(chan error, 1)
		time.AfterFunc(3*time.Second, func() {
			_, err := holder.Exec(context.WithoutCancel(ctx), "UNLOCK TABLES")
			released <- err
		})
		do()
		r.fatal(<-released)
	}
	check := func(what, table, audit, value string) {
		t.Helper()
		got := mysqltest.Query(t, live, fmt.Sprintf("SELECT COUNT(*), SUM(v=%s AND w=%[1]s), (SELECT COUNT(*) FROM %s), (SELECT COUNT(DISTINCT id) FROM %[2]s) FROM %s", value, audit, table))[0]
		if n := got[0].Text; n == "0" || got[1].Text != n || got[2].Text != n || got[3].Text != n {
			t.Errorf("%s: of %s rows %s have what their triggers set, %s (%s different ones) are in the audit", what, n, got[1].Text, got[2].Text, got[3].Text)
		}
	}
	shelf := func(name string) string {
		for _, table := range r.s.Tables {
			if table.Name == name {
				return mysql.QuoteName(table.Kept)
			}
		}
		t.Fatalf("there is no table %s", name)
		return ""
	}
	turn(func() { r.doSwitch() })
	check("what is kept", shelf("a"), shelf("audit"), "2")
	turn(func() { r.revert() })
	cancel()
	r.fatal(<-done)
	check("what is live again", "a", "audit", "2")
	for _, table := range r.s.Tables {
		if table.Name == "a" {
			if got := mysqltest.Query(t, live, "SELECT COUNT(*), SUM(v=1 AND w=1) FROM "+mysql.QuoteName(table.New))[0]; got[0].Text == "0" || got[0].Text != got[1].Text {
				t.Errorf("of %s rows that came in after the switch %s have what their triggers set", got[0].Text, got[1].Text)
			}
		}
	}
	t.Logf("%d rows", written)
}

// TestKeptTableMissing: somebody dropped what the way back needs. It refuses
// before it touches anything, and says what is missing.
func TestKeptTableMissing(t *testing.T) {
	for name, all := range map[string]bool{"one": false, "all": true} {
		t.Run(name, func(t *testing.T) {
			r := simple(t)
			r.build(shadow.Options{Mode: shadow.ModeNames})
			r.doSwitch()
			want := "kept tables are missing: " + r.s.Tables[1].Kept + " (b)"
			mysqltest.ExecIn(t, r.config.Database, "DROP TABLE "+r.s.Tables[1].Kept)
			if all {
				want = "what was kept is gone"
				mysqltest.ExecIn(t, r.config.Database, "DROP TABLE "+r.s.Tables[0].Kept)
			}
			before := r.picture(r.root)
			_, err := r.s.Revert(t.Context(), r.config, r.save)
			if err == nil || !strings.Contains(err.Error(), want) || core.HintOf(err) == "" || errors.Is(err, shadow.ErrUnfinished) {
				t.Errorf("got %v, want %q", err, want)
			}
			if _, err := r.s.State(t.Context(), r.config); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("the state: got %v, want %q", err, want)
			}
			r.same("after the undo that was refused", before, r.picture(r.root))
			if r.s.Doing != "" {
				t.Errorf("it is said to be under way: %s", r.s.Doing)
			}
		})
	}
}

// TestNewTableMissing: what was built is not all there when it is to be live.
func TestNewTableMissing(t *testing.T) {
	r := simple(t)
	r.build(shadow.Options{Mode: shadow.ModeNames})
	before := r.picture(r.root)
	mysqltest.ExecIn(t, r.config.Database, "DROP TABLE "+r.s.Tables[1].New)
	_, err := r.s.Switch(t.Context(), r.config, r.save)
	if err == nil || !strings.Contains(err.Error(), r.s.Tables[1].New+" (b)") {
		t.Errorf("got %v", err)
	}
	r.same("after the switch that was refused", before, r.picture(r.root))
}

// TestUndoneByAnotherRun: a journal of a restore that ended long ago is put
// back, and what it speaks of is gone.
func TestUndoneByAnotherRun(t *testing.T) {
	r := simple(t)
	r.build(shadow.Options{Mode: shadow.ModeNames})
	r.doSwitch()
	old := r.journal
	r.revert()
	r.fatal(r.s.DropNew(t.Context(), r.config))
	before := r.picture(r.root)
	r.journal = old
	r.reload()
	if _, err := r.s.State(t.Context(), r.config); err == nil || !strings.Contains(err.Error(), "what was kept is gone") {
		t.Errorf("the state: %v", err)
	}
	if _, err := r.s.Revert(t.Context(), r.config, r.save); err == nil || !strings.Contains(err.Error(), "what was kept is gone") {
		t.Errorf("going back: %v", err)
	}
	r.same("after it was refused", before, r.picture(r.root))
}

// TestDropReferencedFromElsewhere: another database, of which the account knows
// nothing, has a foreign key to a table that is kept.
func TestDropReferencedFromElsewhere(t *testing.T) {
	r := simple(t)
	other := mysqltest.Database(t)
	mysqltest.ExecIn(t, other, "CREATE TABLE c (id INT PRIMARY KEY, CONSTRAINT hidden FOREIGN KEY (id) REFERENCES `"+r.root.Database+"`.a (id))", "INSERT INTO c VALUES (7)")
	defer mysqltest.ExecIn(t, other, "DROP TABLE c") // before its parent's database goes
	if !mysqltest.OnMariaDB(t) {
		mysqltest.ExecIn(t, r.config.Database, "DROP TRIGGER tr") // only SYSTEM_USER may drop what root defined
	}
	config := mysqltest.User(t, "ALL ON `"+r.root.Database+"`.*")
	config.Database = r.root.Database
	r.config = config
	r.build(shadow.Options{Mode: shadow.ModeNames})
	_, err := r.s.Switch(t.Context(), r.config, r.save)
	r.fatal(err)
	r.settle()
	err = r.s.DropKept(t.Context(), r.config)
	if core.CodeOf(err) != core.CodeDatabase || core.HintOf(err) == "" || !strings.Contains(err.Error(), "foreign key") {
		t.Fatalf("got %v", err)
	}
	if rows := mysqltest.Query(t, r.root.Database, "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME='"+r.s.Tables[0].Kept+"'"); rows[0][0].Text != "1" {
		t.Error("the table that the key leads to is gone")
	}
	mysqltest.ExecIn(t, other, "ALTER TABLE c DROP FOREIGN KEY hidden")
	r.fatal(r.s.DropKept(t.Context(), r.config))
	if runs, err := shadow.Leftovers(t.Context(), r.config); err != nil || len(runs) > 0 {
		t.Errorf("leftovers %v, %v", runs, err)
	}
}

// TestDropLeftovers: what a run left whose journal is lost can be found and
// dropped, and nothing else goes with it.
func TestDropLeftovers(t *testing.T) {
	for _, mode := range []shadow.Mode{shadow.ModeNames, shadow.ModeDatabase} {
		t.Run(string(mode), func(t *testing.T) {
			r := simple(t)
			mysqltest.ExecIn(t, r.config.Database, "DROP TRIGGER tr", "CREATE TABLE _backstay_mine (id INT)", "CREATE TABLE _backstay_zzzzzzzzzz_k0001 (id INT)")
			mysqltest.ExecIn(t, r.origin, "ALTER TABLE a ADD COLUMN p INT, ADD FOREIGN KEY (p) REFERENCES a (id)", "SET foreign_key_checks=0", "CREATE TABLE c (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES d (id))", "CREATE TABLE d (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES c (id))")
			r = newRig(t, r.origin, r.root)
			before := mysqltest.Query(t, r.config.Database, "SHOW TABLES")
			r.build(shadow.Options{Mode: mode})
			want := []string{run, "zzzzzzzzzz"}
			if runs, err := shadow.Leftovers(t.Context(), r.config); err != nil || !slices.Equal(runs, want) {
				t.Errorf("leftovers %v, %v", runs, err)
			}
			if err := shadow.DropLeftovers(t.Context(), r.config, "mine"); err == nil {
				t.Error("it drops what is no run")
			}
			r.fatal(shadow.DropLeftovers(t.Context(), r.config, run))
			if runs, err := shadow.Leftovers(t.Context(), r.config); err != nil || !slices.Equal(runs, want[1:]) {
				t.Errorf("leftovers %v, %v", runs, err)
			}
			if diff := cmp.Diff(fmt.Sprint(before), fmt.Sprint(mysqltest.Query(t, r.config.Database, "SHOW TABLES"))); diff != "" {
				t.Errorf("tables (-before +after):\n%s", diff)
			}
		})
	}
}
