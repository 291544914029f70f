package shadow_test

import (
	"os"
	"slices"
	"testing"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// TestThereAndBack switches to each case of the corpus from another one, and
// back, and again: every bit of the database is the backup's, then what it was.
func TestThereAndBack(t *testing.T) {
	conn := mysqltest.Connect(t, mysqltest.Config(t, ""))
	server, err := conn.Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	type pair struct{ origin, live string }
	var cases []corpus.Case
	all := os.Getenv(slowVariable) != ""
	for _, g := range corpus.Groups() {
		if !all && slices.Contains([]string{"Values", "Texts", "Columns"}, g.Name) {
			continue // what rows hold is the load's business
		}
		for _, c := range g.Cases {
			if !c.Slow && (c.Unfit == nil || c.Unfit(server) == "") {
				cases = append(cases, c)
			}
		}
	}
	pairs := map[string]pair{}
	for i, c := range cases {
		p := pair{mysqltest.Database(t), mysqltest.Database(t)}
		mysqltest.ExecIn(t, p.origin, c.Statements(server)...)
		before := c // every other one is replaced by its like
		if i%2 == 0 {
			before = cases[(i+1)%len(cases)]
		}
		mysqltest.ExecIn(t, p.live, before.Statements(server)...)
		pairs[c.Name] = p
	}
	for i, c := range cases {
		modes := []shadow.Mode{shadow.ModeNames, ""}
		if !all {
			modes = modes[i%2 : i%2+1]
		}
		for _, mode := range modes {
			name := c.Name
			if mode != "" {
				name += " by names"
			}
			t.Run(name, func(t *testing.T) { thereAndBack(t, c, pairs[c.Name].origin, pairs[c.Name].live, mode) })
		}
	}
}

// slowVariable names the environment variable that has all be tried in all
// ways, as make test-matrix does.
const slowVariable = "BACKSTAY_TEST_SLOW"

func thereAndBack(t *testing.T, c corpus.Case, origin, live string, mode shadow.Mode) {
	r := newRig(t, origin, mysqltest.Config(t, live))
	for _, view := range c.Lost {
		mysqltest.ExecIn(t, origin, "DROP VIEW IF EXISTS "+mysql.QuoteName(view))
	}
	for _, c := range corpus.Cases() { // views that do not work: MySQL finds that out when a table is renamed
		for _, view := range c.Lost {
			mysqltest.ExecIn(t, live, "DROP VIEW IF EXISTS "+mysql.QuoteName(view))
		}
	}
	if r.index.Comment == "" && mysqltest.OnMariaDB(t) {
		mysqltest.ExecIn(t, live, "ALTER DATABASE COMMENT ''") // a backup without one leaves it
	}
	before, want := r.picture(r.config), r.picture(mysqltest.Config(t, origin))
	r.build(shadow.Options{Mode: mode, Clean: true})
	r.wantState(shadow.StateOld)
	r.doSwitch()
	r.same("the live database after the switch", want, r.picture(r.config))
	r.revert()
	r.same("the live database after going back", before, r.picture(r.config))
	r.doSwitch()
	r.same("the live database after the second switch", want, r.picture(r.config))
	r.revert()
	r.fatal(r.s.DropNew(t.Context(), r.config))
	runs, err := shadow.Leftovers(t.Context(), r.config)
	r.fatal(err)
	if len(runs) > 0 {
		t.Errorf("there are leftovers of %v", runs)
	}
}
