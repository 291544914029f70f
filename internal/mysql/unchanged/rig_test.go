package unchanged_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// rig backs up one database of a server of the test's own.
type rig struct {
	server *localserver.Server
	config mysql.Config // of the account that backs up
	root   mysql.Config
}

func newRig(t *testing.T) *rig {
	t.Helper()
	s := mysqltest.Start(t, localserver.Options{Name: "unchanged", Args: []string{"--loose-local-infile=1", "--loose-innodb-stats-auto-recalc=0"}})
	r := &rig{server: s, config: mysqltest.ConfigOf(s, "shop"), root: mysqltest.ConfigOf(s, "")}
	mysqltest.ExecOn(t, r.root, "CREATE DATABASE shop", "CREATE DATABASE other", "CREATE TABLE other.t (id INT) ENGINE=InnoDB")
	return r
}

func (r *rig) onMariaDB() bool { return r.server.Vendor == mysql.MariaDB }

// exec runs statements in one session of its own.
func (r *rig) exec(t *testing.T, statements ...string) {
	t.Helper()
	config := r.root
	config.Database = "shop"
	mysqltest.ExecOn(t, config, statements...)
}

func (r *rig) query(t *testing.T, query string) []mysql.Row {
	t.Helper()
	rows, err := mysqltest.Connect(t, r.root).Query(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	return rows
}

// settle waits until the tables are older than the proof's margin: the server
// tells times in whole seconds.
func (r *rig) settle(t *testing.T) {
	t.Helper()
	c := mysqltest.Connect(t, r.root)
	start, err := c.Query(t.Context(), "SELECT UNIX_TIMESTAMP()")
	for err == nil {
		var now []mysql.Row
		if now, err = c.Query(t.Context(), "SELECT UNIX_TIMESTAMP()-"+start[0][0].Text+", SLEEP(0.1)"); err == nil && len(now[0][0].Text) > 0 && now[0][0].Text >= "4" {
			return
		}
	}
	t.Fatal(err)
}

// folders is a tree that remembers its folders.
type folders struct {
	*mysqltest.Tree
	mu   sync.Mutex
	dirs [][]core.Entry
}

func (f *folders) WriteDir(ctx context.Context, entries []core.Entry) (core.Object, error) {
	if _, err := f.Tree.WriteDir(ctx, entries); err != nil {
		return core.Object{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.dirs = append(f.dirs, entries)
	return core.Object{ID: core.ObjectID(strconv.Itoa(len(f.dirs) - 1))}, nil
}

func (f *folders) below(t *testing.T, dir core.Entry, name string) core.Entry {
	t.Helper()
	for _, e := range f.list(t, dir) {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("no %s in folder %s", name, dir.Name)
	return core.Entry{}
}

func (f *folders) list(t *testing.T, dir core.Entry) []core.Entry {
	t.Helper()
	n, err := strconv.Atoi(string(dir.Object.ID))
	if err != nil {
		t.Fatal(err)
	}
	return f.dirs[n]
}

// backup is a dump with what the next one may take over.
type backup struct {
	*dump.Dumped
	former *dump.Former
	method string
}

// try backs up, taking over from former what may be; nil: all is read.
func (r *rig) try(t *testing.T, config mysql.Config, former *backup) backup {
	t.Helper()
	opt := dump.Options{Config: config, Connections: 2, Clock: core.SystemClock{}}
	if former != nil {
		opt.Former = former.former
	}
	s, err := dump.Open(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}()
	tree := &folders{Tree: mysqltest.NewTree()}
	d, err := s.Write(t.Context(), tree, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]core.Entry{}
	for _, e := range tree.list(t, tree.below(t, d.Entry, "data")) {
		e.Object.ID = "0" // of another tree, where nothing follows it
		data[e.Name] = e
	}
	return backup{d, &dump.Former{Evidence: d.Evidence, Index: d.Index, Data: data}, s.Consistency.Method}
}

// next backs up with what former allows, and again with everything read, which
// must give the same.
func (r *rig) next(t *testing.T, former backup) backup {
	t.Helper()
	return r.nextAs(t, r.config, former)
}

func (r *rig) nextAs(t *testing.T, config mysql.Config, former backup) backup {
	t.Helper()
	b, full := r.try(t, config, &former), r.try(t, r.config, nil)
	if diff := cmp.Diff(full.Index, b.Index); diff != "" {
		t.Errorf("the backup is not what the database holds (-database +backup):\n%s", diff)
	}
	if n := len(b.reused()); n != b.Database.Reused || full.Database.Reused != 0 {
		t.Errorf("tables_reused is %d and %d, want %d and 0", b.Database.Reused, full.Database.Reused, n)
	}
	return b
}

// reused names the tables whose rows were not read.
func (b backup) reused() (names []string) {
	for _, t := range b.Evidence.Tables {
		if t.Why == "" {
			names = append(names, t.Name)
		}
	}
	return names
}

func (b backup) why(table string) string {
	for _, t := range b.Evidence.Tables {
		if t.Name == table {
			return t.Why
		}
	}
	return "not in the backup"
}

// mustRead checks that tables were read, and mustReuse that they were not.
func (b backup) mustRead(t *testing.T, tables ...string) {
	t.Helper()
	for _, name := range tables {
		if b.why(name) == "" {
			t.Errorf("table %s was not read", name)
		}
	}
}

func (b backup) mustReuse(t *testing.T, tables ...string) {
	t.Helper()
	for _, name := range tables {
		if why := b.why(name); why != "" {
			t.Errorf("table %s was read: %s", name, why)
		}
	}
}

// plain makes tables of three rows.
func plain(names ...string) (statements []string) {
	for _, n := range names {
		statements = append(statements, fmt.Sprintf("CREATE TABLE %s (id INT PRIMARY KEY, v VARCHAR(40)) ENGINE=InnoDB", n),
			fmt.Sprintf("INSERT INTO %s VALUES (1,'1'),(2,'2'),(3,'3')", n))
	}
	return statements
}

var secret = core.NewSecret("pw-of-a-test")
