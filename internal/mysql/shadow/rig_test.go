package shadow_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

const run = "abcdefgh27"

// rig is a backup and a live database that it is restored into.
type rig struct {
	t       *testing.T
	config  mysql.Config // of the live database, by the account that restores
	root    mysql.Config // of the live database, by one that sees everything
	origin  string
	tree    *mysqltest.Tree
	index   core.DatabaseIndex
	server  core.DatabaseServer
	s       *shadow.Shadow
	journal []byte // what was saved last
	saves   int
}

// newRig dumps a database.
func newRig(t *testing.T, origin string, live mysql.Config) *rig {
	t.Helper()
	r := &rig{t: t, config: live, root: live, origin: origin}
	from := live
	from.Database = origin
	s, err := dump.Open(t.Context(), dump.Options{Config: from, Clock: core.SystemClock{}})
	r.fatal(err)
	r.tree = mysqltest.NewTree()
	d, err := s.Write(t.Context(), r.tree, core.NoProgress{})
	r.server = s.Server.DatabaseServer
	r.fatal(err)
	r.fatal(s.Close())
	r.index = d.Index
	return r
}

func (r *rig) fatal(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
}

func (r *rig) save() error {
	data, err := json.Marshal(r.s)
	r.journal = data
	r.saves++
	return err
}

// reload makes the Shadow anew from what was saved last, as after a kill.
func (r *rig) reload() {
	r.t.Helper()
	r.s = &shadow.Shadow{}
	r.fatal(json.Unmarshal(r.journal, r.s))
}

func (r *rig) build(opt shadow.Options) {
	r.t.Helper()
	var err error
	if opt.Run == "" {
		opt.Run = run
	}
	if opt.LockWait == 0 {
		opt.LockWait = 1
	}
	r.s, err = shadow.Choose(r.t.Context(), r.config, r.index, opt)
	r.fatal(err)
	if opt.Mode != "" && r.s.Mode != opt.Mode {
		r.t.Fatalf("the mode is %s, want %s", r.s.Mode, opt.Mode)
	}
	_, err = r.s.Build(r.t.Context(), r.index, r.tree, load.Options{Config: r.config, Connections: 2, Progress: core.NoProgress{}, Origin: r.server})
	r.fatal(err)
	r.fatal(r.save())
	r.reload()
}

func (r *rig) doSwitch() []core.Warning {
	r.t.Helper()
	warnings, err := r.s.Switch(r.t.Context(), r.config, r.save)
	r.fatal(err)
	r.reload()
	r.wantState(shadow.StateNew)
	r.fatal(r.s.Prove(r.t.Context(), r.config))
	return append(warnings, r.settle()...)
}

func (r *rig) revert() []core.Warning {
	r.t.Helper()
	warnings, err := r.s.Revert(r.t.Context(), r.config, r.save)
	r.fatal(err)
	r.reload()
	r.wantState(shadow.StateOld)
	return append(warnings, r.settle()...)
}

func (r *rig) settle() []core.Warning {
	r.t.Helper()
	warnings, err := r.s.Settle(r.t.Context(), r.config, r.save)
	r.fatal(err)
	r.fatal(r.save())
	r.reload()
	return warnings
}

func (r *rig) wantState(want shadow.State) {
	r.t.Helper()
	got, err := r.s.State(r.t.Context(), r.config)
	r.fatal(err)
	if got != want {
		r.t.Fatalf("the state is %s, want %s", got, want)
	}
}

var collation = regexp.MustCompile(`TABLE_COLLATION=\w+`)

// picture is all that a database holds, but for what lies beside.
func (r *rig) picture(config mysql.Config) map[string]any {
	r.t.Helper()
	ctx := r.t.Context()
	sums, err := mysqltest.ChecksumOf(ctx, config)
	r.fatal(err)
	created, err := mysqltest.ShowCreateOf(ctx, config)
	r.fatal(err)
	catalogue, err := mysqltest.CatalogueOf(ctx, config)
	r.fatal(err)
	rows, err := mysqltest.RowsOf(ctx, config)
	r.fatal(err)
	out := map[string]any{}
	for name, sum := range sums {
		out["checksum of "+name] = sum
	}
	for name, text := range created {
		out["definition of "+name] = text
	}
	for view, lines := range catalogue {
		if view == "CHECK_CONSTRAINTS" && !mysqltest.OnMariaDB(r.t) {
			continue // MySQL's does not tell the tables, and what is kept has CHECKs too
		}
		var kept []string
		for _, line := range lines {
			if !mysqltest.OnMariaDB(r.t) && strings.Contains(line, "TABLE_NAME=v4;") {
				continue // a view that nobody may use; MySQL finds that out when its table is renamed
			}
			if strings.Contains(line, "TABLE_TYPE=SEQUENCE") {
				line = collation.ReplaceAllString(line, "") // it has no texts, and takes the database's
			}
			if !strings.Contains(line, "_backstay_") {
				kept = append(kept, line)
			}
		}
		out["catalogue "+view] = kept
	}
	for name, texts := range rows {
		out["rows of "+name] = texts
	}
	return out
}

func (r *rig) same(what string, want, got map[string]any) {
	r.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
