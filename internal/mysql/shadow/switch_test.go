package shadow_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// simple makes a backup of two tables, and a live database with other rows.
func simple(t *testing.T) *rig {
	t.Helper()
	origin, live := mysqltest.Database(t), mysqltest.Database(t)
	mysqltest.ExecIn(t, origin, "CREATE TABLE a (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES a (id))", "INSERT INTO a VALUES (1),(2)", "INSERT INTO b VALUES (2)")
	mysqltest.ExecIn(t, live, "CREATE TABLE a (id INT PRIMARY KEY)", "CREATE TABLE b (id INT PRIMARY KEY, v INT, FOREIGN KEY (id) REFERENCES a (id))", "INSERT INTO a VALUES (1),(7)", "INSERT INTO b VALUES (7,7)",
		"CREATE TRIGGER tr BEFORE INSERT ON b FOR EACH ROW SET NEW.v = 1")
	return newRig(t, origin, mysqltest.Config(t, live))
}

// TestTableInUse: somebody holds a table. The switch gives up, says which table
// it is, and everything is as it was; when the table is free it goes through.
func TestTableInUse(t *testing.T) {
	holds := map[string][]string{
		"lock":        {"LOCK TABLES b READ"},
		"transaction": {"START TRANSACTION", "SELECT * FROM b"},
	}
	for name, statements := range holds {
		t.Run(name, func(t *testing.T) {
			r := simple(t)
			r.build(shadow.Options{})
			before := r.picture(r.config)
			other := mysqltest.Connect(t, r.config)
			for _, s := range statements {
				if _, err := other.Query(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			_, err := r.s.Switch(t.Context(), r.config, r.save)
			if err == nil || errors.Is(err, shadow.ErrUnfinished) || core.CodeOf(err) != core.CodeLocked {
				t.Fatalf("got %v", err)
			}
			for _, want := range []string{"table b is in use", fmt.Sprintf("session %d of ", other.ID())} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if _, err := other.Exec(t.Context(), "UNLOCK TABLES"); err != nil {
				t.Fatal(err)
			}
			if _, err := other.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			r.reload()
			r.wantState(shadow.StateOld)
			r.settle()
			r.same("after the switch that gave up", before, r.picture(r.config))
			r.doSwitch()
			r.revert()
			r.same("after going back", before, r.picture(r.config))
		})
	}
}

// TestOwnDatabaseOnly: an account that has all rights on its database and none
// elsewhere, as applications have them.
func TestOwnDatabaseOnly(t *testing.T) {
	r, abroad := newRich(t)
	defer r.dismantle(abroad)
	config := mysqltest.User(t, "ALL ON `"+r.root.Database+"`.*", "ALL ON `"+abroad+"`.*")
	config.Database = r.root.Database
	r.config = config
	before := r.picture(r.root)
	r.build(shadow.Options{})
	if r.s.Mode != shadow.ModeNames {
		t.Errorf("the mode is %s", r.s.Mode)
	}
	if !mysqltest.OnMariaDB(t) {
		// MySQL lets nobody without SYSTEM_USER drop what root defined.
		if _, err := r.s.Switch(t.Context(), r.config, r.save); err == nil || errors.Is(err, shadow.ErrUnfinished) {
			t.Fatalf("got %v", err)
		}
		r.wantState(shadow.StateOld)
		r.same("after the switch that was refused", before, r.picture(r.root))
		return
	}
	for _, w := range r.doSwitch() {
		if w.Code != "definer" && w.Code != "orphans" && w.Code != "unreadable" {
			t.Errorf("warning %v", w)
		}
	}
	definers := map[string]bool{}
	for _, w := range r.revert() {
		if w.Code != "definer" {
			t.Errorf("warning %v", w)
		}
		definers[w.Object] = true
	}
	after := r.picture(r.root)
	for key := range before {
		if object, ok := strings.CutPrefix(key, "definition of "); ok && definers[object] || strings.HasPrefix(key, "catalogue ") {
			delete(before, key)
			delete(after, key)
		}
	}
	r.same("all but what changed its definer", before, after)
	for _, r := range mysqltest.Query(t, r.root.Database, "SELECT TABLE_NAME, DEFINER FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME NOT LIKE '\\_backstay%'") {
		if r[1].Text != "root@localhost" {
			t.Errorf("view %s belongs to %s now; a rename keeps its definer", r[0].Text, r[1].Text)
		}
	}
}

// TestPartOfIt restores one table that others lead to and that leads to others.
func TestPartOfIt(t *testing.T) {
	r, abroad := newRich(t)
	defer r.dismantle(abroad)
	before := r.picture(r.config)
	r.build(shadow.Options{Tables: []string{"person", "log"}})
	r.same("after the build", before, r.picture(r.config))
	warnings := r.doSwitch()
	if !slices.ContainsFunc(warnings, func(w core.Warning) bool { return w.Code == "orphans" && w.Object == "table house" }) {
		t.Errorf("nothing is said of rows of house without their owner: %v", warnings)
	}
	keys := strings.Join(foreignKeysOf(t, r.config.Database), "\n")
	for _, want := range []string{"1 house it's \"mine\" owner 1 person id", "1 extra of_extra p 1 person id", "1 person lives_in home 1 house id", "1 person person_ibfk_1 boss 1 person id", "0 visitor of_visitor p 1 person id"} {
		if !strings.Contains(keys, want) {
			t.Errorf("there is no key %s in:\n%s", want, keys)
		}
	}
	if strings.Contains(keys, "_backstay_") {
		t.Errorf("keys lead to what is not live:\n%s", keys)
	}
	if got := mysqltest.Query(t, r.config.Database, "SELECT COUNT(*), MAX(id) FROM person"); got[0][0].Text != "3" || got[0][1].Text != "3" {
		t.Errorf("person has %v", got)
	}
	// What is kept has no say in what users do.
	mysqltest.ExecIn(t, r.config.Database, "DELETE FROM extra WHERE id=2", "INSERT INTO extra VALUES (2,NULL,NULL)")
	r.revert()
	r.same("after going back", before, r.picture(r.config))
}

// TestIntoNothing restores into a database that has nothing.
func TestIntoNothing(t *testing.T) {
	for _, mode := range []shadow.Mode{shadow.ModeNames, shadow.ModeDatabase} {
		t.Run(string(mode), func(t *testing.T) {
			r := simple(t)
			r.config.Database = mysqltest.Database(t)
			before := r.picture(r.config)
			r.build(shadow.Options{Mode: mode})
			r.doSwitch()
			r.same("after the switch", r.picture(mysqltest.Config(t, r.origin)), r.picture(r.config))
			r.revert()
			r.same("after going back", before, r.picture(r.config))
			r.doSwitch()
			r.fatal(r.s.DropKept(t.Context(), r.config))
			r.fatal(r.s.DropNew(t.Context(), r.config))
			if runs, err := shadow.Leftovers(t.Context(), r.config); err != nil || len(runs) > 0 {
				t.Errorf("leftovers %v, %v", runs, err)
			}
			r.same("after all", r.picture(mysqltest.Config(t, r.origin)), r.picture(r.config))
		})
	}
}

// TestDroppedAndRefused: sizes, what may be dropped when, and what is said when
// the way back is gone.
func TestDroppedAndRefused(t *testing.T) {
	r := simple(t)
	r.build(shadow.Options{Mode: shadow.ModeNames})
	if runs, err := shadow.Leftovers(t.Context(), r.config); err != nil || !slices.Equal(runs, []string{run}) {
		t.Errorf("leftovers %v, %v", runs, err)
	}
	if n, err := r.s.NewBytes(t.Context(), r.config); err != nil || n == 0 {
		t.Errorf("the new tables take %d bytes, %v", n, err)
	}
	if n, err := r.s.KeptBytes(t.Context(), r.config); err != nil || n != 0 {
		t.Errorf("the kept tables take %d bytes, %v", n, err)
	}
	r.doSwitch()
	if n, err := r.s.KeptBytes(t.Context(), r.config); err != nil || n == 0 {
		t.Errorf("the kept tables take %d bytes, %v", n, err)
	}
	r.fatal(r.s.DropKept(t.Context(), r.config))
	r.fatal(r.s.DropKept(t.Context(), r.config))
	r.wantState(shadow.StateNew)
	if _, err := r.s.Revert(t.Context(), r.config, r.save); err == nil {
		t.Error("it goes back to what was dropped")
	}
	if runs, err := shadow.Leftovers(t.Context(), r.config); err != nil || len(runs) > 0 {
		t.Errorf("leftovers %v, %v", runs, err)
	}
}

// TestSpoiledAfterwards: Prove finds what is not as it should be.
func TestSpoiledAfterwards(t *testing.T) {
	for name, statement := range map[string]string{
		"column":      "ALTER TABLE a ADD COLUMN x INT",
		"gone":        "DROP TABLE b",
		"foreign key": "ALTER TABLE b DROP FOREIGN KEY b_ibfk_1",
		"stray":       "CREATE TABLE c (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES " + mysql.ReservedName(run, "k0001") + " (id))",
	} {
		t.Run(name, func(t *testing.T) {
			r := simple(t)
			r.build(shadow.Options{})
			r.doSwitch()
			mysqltest.ExecIn(t, r.config.Database, statement)
			if err := r.s.Prove(t.Context(), r.config); core.CodeOf(err) != core.CodeDamage {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestServerKilled: the server is killed while tables change places. After its
// start the state can be told, and both ways lead out.
func TestServerKilled(t *testing.T) {
	server := mysqltest.Start(t, localserver.Options{Name: "killed", Durable: true})
	root := mysqltest.ConfigOf(server, "")
	const tables = 60
	sql := map[string][]string{}
	for _, db := range []string{"origin", "live"} {
		sql[db] = append(sql[db], "CREATE DATABASE "+db, "USE "+db)
		for i := range tables {
			sql[db] = append(sql[db], fmt.Sprintf("CREATE TABLE t%d (id INT PRIMARY KEY, p INT, v VARCHAR(9) DEFAULT 'x%s'%s)", i, db, map[bool]string{true: fmt.Sprintf(", FOREIGN KEY (p) REFERENCES t%d (id)", i/2)}[i > 0]),
				fmt.Sprintf("INSERT INTO t%d VALUES (1,1,'%s')", i, db))
		}
		mysqltest.ExecOn(t, root, append(sql[db], "CREATE VIEW v AS SELECT v FROM t0", "CREATE TRIGGER tr BEFORE INSERT ON t1 FOR EACH ROW SET NEW.v='x"+db+"'")...)
	}
	r := newRig(t, "origin", mysqltest.ConfigOf(server, "live"))
	r.build(shadow.Options{})
	before, want := r.picture(r.config), r.picture(mysqltest.ConfigOf(server, "origin"))
	seen := map[shadow.State]int{}
	start := time.Now()
	r.fatal(r.turn(true))
	took := time.Since(start)
	r.quietly(false)
	const kills = 6
	for i := range kills {
		forward := i%2 == 0
		// The journal is written before the first change.
		var once sync.Once
		killed := make(chan error, 1)
		_, err := r.turnWith(forward, func() error {
			once.Do(func() {
				time.AfterFunc(took*time.Duration(i+1)/(kills+1), func() { killed <- server.Kill() })
			})
			return r.save()
		})
		r.fatal(<-killed)
		r.fatal(server.Restart(t.Context()))
		r.reload()
		state, stateErr := r.s.State(t.Context(), r.config)
		r.fatal(stateErr)
		seen[state]++
		if err == nil && state != map[bool]shadow.State{true: shadow.StateNew, false: shadow.StateOld}[forward] {
			t.Errorf("kill %d: no error, and the state is %s", i, state)
		}
		r.quietly(i%4 < 2)
		if i%4 < 2 {
			r.same("new", want, r.picture(r.config))
		} else {
			r.same("old", before, r.picture(r.config))
		}
		r.quietly(forward) // where the next one begins
	}
	t.Logf("states after the kills: %v", seen)
}

func (r *rig) turnWith(forward bool, save func() error) ([]core.Warning, error) {
	if forward {
		return r.s.Switch(r.t.Context(), r.config, save)
	}
	return r.s.Revert(r.t.Context(), r.config, save)
}

// TestNamesInAnyCase: a server that keeps names in lower case.
func TestNamesInAnyCase(t *testing.T) {
	if !mysqltest.OnMariaDB(t) {
		t.Skip("MySQL takes lower_case_table_names only when its data folder is made")
	}
	origin := mysqltest.Database(t)
	mysqltest.ExecIn(t, origin, "CREATE TABLE Ticket (id INT PRIMARY KEY, p INT, CONSTRAINT Ticket_ibfk_1 FOREIGN KEY (p) REFERENCES Ticket (id))", "INSERT INTO Ticket VALUES (1,1)", "CREATE VIEW Open_ AS SELECT id FROM Ticket")
	server := mysqltest.Start(t, localserver.Options{Name: "anycase", Args: []string{"--lower-case-table-names=1"}})
	there := mysqltest.ConfigOf(server, "live")
	mysqltest.ExecOn(t, mysqltest.ConfigOf(server, ""), "CREATE DATABASE live", "USE live", "CREATE TABLE Ticket (id INT PRIMARY KEY)", "INSERT INTO Ticket VALUES (5)", "CREATE TABLE Extra (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES TICKET (id))")
	r := newRig(t, origin, mysqltest.Config(t, origin))
	r.config, r.root = there, there
	before := r.picture(there)
	r.build(shadow.Options{Mode: shadow.ModeNames})
	r.doSwitch()
	rows, err := mysqltest.Connect(t, there).Query(t.Context(), "SELECT id FROM TICKET")
	if err != nil || len(rows) != 1 || rows[0][0].Text != "1" {
		t.Errorf("ticket has %v, %v", rows, err)
	}
	r.revert()
	r.same("after going back", before, r.picture(there))
}

// TestBuiltAgain: a build that was cut short is begun anew, and one that fails
// leaves the live database as it is.
func TestBuiltAgain(t *testing.T) {
	r := simple(t)
	before := r.picture(r.config)
	chunk := r.index.Tables[0].Chunks[0].File
	whole := r.tree.File(chunk)
	r.tree.SetFile(chunk, []byte("1\n"))
	var err error
	r.s, err = shadow.Choose(t.Context(), r.config, r.index, shadow.Options{Run: "againagain", LockWait: 1})
	r.fatal(err)
	opt := load.Options{Config: r.config, Connections: 2, Progress: core.NoProgress{}, Origin: r.server}
	if _, err := r.s.Build(t.Context(), r.index, r.tree, opt); core.CodeOf(err) != core.CodeDamage {
		t.Fatalf("got %v", err)
	}
	r.same("after the build that failed", before, r.picture(r.config))
	if _, err := r.s.Switch(t.Context(), r.config, r.save); err == nil {
		t.Error("it switches to what is not built")
	}
	r.tree.SetFile(chunk, whole)
	_, err = r.s.Build(t.Context(), r.index, r.tree, opt)
	r.fatal(err)
	r.fatal(r.save())
	r.doSwitch()
	r.revert()
	r.same("after going back", before, r.picture(r.config))
}
