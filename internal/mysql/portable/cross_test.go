package portable_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/portable"
)

// othersVariable names the environment variable that lists the programs of the
// other servers, which what the tests' own server made is restored on.
const othersVariable = "BACKSTAY_TEST_OTHER_MYSQLDS"

// slowVariable names the environment variable that lets slow cases run.
const slowVariable = "BACKSTAY_TEST_SLOW"

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// others starts the other servers.
func others(t *testing.T, args ...string) []*localserver.Server {
	t.Helper()
	var servers []*localserver.Server
	for _, path := range filepath.SplitList(os.Getenv(othersVariable)) {
		servers = append(servers, mysqltest.Start(t, localserver.Options{Name: "other", Binary: path, Args: args}))
	}
	if len(servers) == 0 {
		t.Skipf("there is no other server to restore on; make test-matrix gives them in %s", othersVariable)
	}
	return servers
}

func versionOf(t *testing.T, s *localserver.Server) mysql.Server {
	t.Helper()
	v, err := mysqltest.Connect(t, mysqltest.ConfigOf(s, "")).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// dumped is a database of the tests' own server, as a backup has it.
type dumped struct {
	tree   *mysqltest.Tree
	index  core.DatabaseIndex
	origin core.DatabaseServer
}

func dumpOf(t *testing.T, database string) dumped {
	t.Helper()
	s, err := dump.Open(t.Context(), dump.Options{Config: mysqltest.Config(t, database), Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	tree := mysqltest.NewTree()
	d, err := s.Write(t.Context(), tree, core.NoProgress{})
	if closeErr := s.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
	return dumped{tree, d.Index, d.Database.Server}
}

// plan makes the plan for a restore on another server.
func (d dumped) plan(t *testing.T, config mysql.Config, tables []string) *portable.Plan {
	t.Helper()
	conn, err := mysql.Connect(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	target, err := portable.Ask(t.Context(), conn, d.index)
	if err != nil {
		t.Fatal(err)
	}
	p, err := portable.Make(t.Context(), portable.Input{Origin: d.origin, Index: d.index, Tables: tables, Read: d.read}, target)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (d dumped) read(ctx context.Context, path string) ([]byte, error) {
	r, err := d.tree.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	return io.ReadAll(r)
}

func (d dumped) load(t *testing.T, config mysql.Config, p *portable.Plan, tables []string) (*load.Loaded, error) {
	t.Helper()
	return load.Load(t.Context(), d.index, d.tree, load.Options{Config: config, Tables: tables, Plan: p, Origin: d.origin, Progress: core.NoProgress{}})
}

// names lists the objects of the backup as plans name them.
func (d dumped) names() []string {
	var out []string
	for _, t := range d.index.Tables {
		out = append(out, "table "+t.Name)
	}
	for _, o := range d.index.Objects {
		out = append(out, o.Kind+" "+o.Name)
	}
	return out
}

// TestCorpusOnOtherServers: each case of the corpus comes onto every other
// server with its rows verified, or is refused by the name of an object; then
// all tables that are not refused come there without the others.
func TestCorpusOnOtherServers(t *testing.T) {
	targets := others(t)
	origin, err := mysqltest.Connect(t, mysqltest.Config(t, "")).Server(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range targets {
		to := versionOf(t, target)
		t.Run(fmt.Sprintf("%s %s", to.Vendor, to.Version), func(t *testing.T) {
			for _, c := range corpus.Cases() {
				t.Run(c.Name, func(t *testing.T) {
					if c.Unfit != nil {
						if why := c.Unfit(origin); why != "" {
							t.Skip(why)
						}
					}
					if c.Slow && os.Getenv(slowVariable) == "" {
						t.Skipf("it is slow; %s=1 runs it, and so does make test-matrix", slowVariable)
					}
					database := mysqltest.Database(t)
					mysqltest.ExecIn(t, database, c.Statements(origin)...)
					mysqltest.ExecOn(t, mysqltest.ConfigOf(target, ""), "DROP DATABASE IF EXISTS copy", "CREATE DATABASE copy")
					carried(t, dumpOf(t, database), mysqltest.ConfigOf(target, "copy"))
				})
			}
		})
	}
}

// carried restores as much as can be restored and checks what the rest is.
func carried(t *testing.T, d dumped, to mysql.Config) {
	t.Helper()
	p := d.plan(t, to, nil)
	for _, r := range p.Rewrites {
		t.Logf("rewritten: %s: %s: %s -> %s (%s)", r.Object, r.Rule, r.From, r.To, r.Why)
	}
	refused := p.Objects()
	if len(refused) == 0 {
		if err := p.Rehearse(t.Context(), mysqltest.Connect(t, to), "rehearsal"); err != nil {
			t.Fatalf("what the rules let through: %v", err)
		}
		if n := len(tablesOf(t, to)); n > 0 {
			t.Errorf("the rehearsal left %d tables", n)
		}
		loaded, err := d.load(t, to, p, nil)
		if err != nil {
			t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
		}
		for _, w := range loaded.Warnings {
			t.Logf("warning: %s", w)
		}
		return
	}
	for _, r := range p.Refusals {
		t.Logf("refused: %s: %s: %s (hint: %s)", r.Object, r.Rule, r.Reason, r.Hint)
		if !slices.Contains(d.names(), r.Object) {
			t.Errorf("%q is refused, and no object of the backup", r.Object)
		}
	}
	if _, err := d.load(t, to, p, nil); core.CodeOf(err) != core.CodeNotPortable || !strings.Contains(err.Error(), refused[0]) {
		t.Errorf("a load of what is refused gives %v", err)
	}
	if n := len(tablesOf(t, to)); n > 0 {
		t.Errorf("%d tables were made before the refusal", n)
	}
	var rest []string
	for _, table := range d.index.Tables {
		ofTriggers := slices.ContainsFunc(d.index.Objects, func(o core.SchemaObject) bool {
			return o.Kind == "trigger" && o.Table == table.Name && slices.Contains(refused, "trigger "+o.Name)
		})
		// Without the sequences that a default takes values from, no table can be
		// made, here or there.
		takes := bytes.Contains(d.tree.File(table.Schema), []byte("nextval("))
		if !slices.Contains(refused, "table "+table.Name) && !ofTriggers && !takes {
			rest = append(rest, table.Name)
		}
	}
	if len(rest) == 0 {
		return
	}
	p = d.plan(t, to, rest)
	if _, err := d.load(t, to, p, rest); err != nil {
		t.Errorf("without what is refused: %v (hint: %s)", err, core.HintOf(err))
	}
}

func tablesOf(t *testing.T, config mysql.Config) []mysql.Row {
	t.Helper()
	rows, err := mysqltest.Connect(t, config).Query(t.Context(), "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()")
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// wantRefusal checks that an error is a refusal that says all of this.
func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	if core.CodeOf(err) != core.CodeNotPortable {
		t.Fatalf("error %v, want a refusal", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+"\n"+core.HintOf(err), part) {
			t.Errorf("%q (hint %q) has no %q", err, core.HintOf(err), part)
		}
	}
}

// TestRehearsal: what no rule knows and the server does not take is found by
// trying it, under another name, and nothing of it stays.
func TestRehearsal(t *testing.T) {
	body := "BEGIN FOR i IN 1..3 DO SELECT i; END FOR; END"
	if !mysqltest.OnMariaDB(t) {
		body = "SELECT a FROM t FOR SHARE OF t"
	}
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database, "CREATE TABLE t (a INT PRIMARY KEY, CONSTRAINT mine CHECK (a > 0))", "CREATE TABLE u (a INT, CONSTRAINT fk FOREIGN KEY (a) REFERENCES t (a))",
		"CREATE FUNCTION known() RETURNS INT DETERMINISTIC RETURN 1", "CREATE PROCEDURE unknown() "+body)
	d := dumpOf(t, database)
	for _, target := range others(t) {
		if target.Vendor == mysqltest.Server(t).Vendor {
			continue
		}
		mysqltest.ExecOn(t, mysqltest.ConfigOf(target, ""), "CREATE DATABASE copy")
		to := mysqltest.ConfigOf(target, "copy")
		// What is there already is in no one's way and stays.
		mysqltest.ExecOn(t, to, "CREATE TABLE t (a INT PRIMARY KEY, b INT, CONSTRAINT mine CHECK (a > 0))")
		p := d.plan(t, to, nil)
		if len(p.Refusals) > 0 {
			t.Fatalf("a rule knows it: %+v", p.Refusals)
		}
		wantRefusal(t, p.Rehearse(t.Context(), mysqltest.Connect(t, to), "rehearsal"), "procedure unknown", "nothing was restored")
		if rows := tablesOf(t, to); len(rows) != 1 || rows[0][0].Text != "t" {
			t.Errorf("the rehearsal left %v", rows)
		}
	}
}
