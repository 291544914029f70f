package load_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// watching calls do with every item of the progress.
type watching struct {
	core.NoProgress
	do func(item string)
}

func (w watching) Item(name string) { w.do(name) }

// atKeys calls do when the keys of a table are about to be built.
func atKeys(do func()) core.Progress {
	return watching{do: func(item string) {
		if item == "building keys of table x" {
			do()
		}
	}}
}

// keyed dumps a table x of four rows and three keys.
func keyed(t *testing.T) (*mysqltest.Tree, *dump.Dumped, string) {
	t.Helper()
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE x (id INT PRIMARY KEY, v VARCHAR(10), n INT, UNIQUE KEY u (v), KEY k (n), FULLTEXT KEY f (v))",
		"INSERT INTO x VALUES (1,'a',1),(2,'b',2),(3,'c',3),(4,'d',4)")
	tree, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	return tree, d, mysqltest.ShowCreate(t, from)["table x"]
}

func keysAfter(config mysql.Config, progress core.Progress) load.Options {
	options := into(config)
	options.Progress = progress
	return options.KeysAfterRows()
}

// TestKeysComeAfterRows looks at the table while the rows come in.
func TestKeysComeAfterRows(t *testing.T) {
	tree, d, want := keyed(t)
	to := mysqltest.Database(t)
	var seen string
	loaded, err := load.Load(t.Context(), d.Index, hooked{tree, func(path string) error {
		if strings.HasSuffix(path, ".tsv") {
			seen = mysqltest.ShowCreate(t, to)["table x"]
		}
		return nil
	}}, keysAfter(mysqltest.Config(t, to), core.NoProgress{}))
	if err != nil {
		t.Fatal(err)
	}
	if seen == "" || strings.Contains(strings.Replace(seen, "PRIMARY KEY", "", 1), "KEY") {
		t.Errorf("with the rows came in: %s", seen)
	}
	if diff := cmp.Diff(want, mysqltest.ShowCreate(t, to)["table x"]); diff != "" {
		t.Error(diff)
	}
	if loaded.Tables != 1 || loaded.Rows != 4 || len(loaded.Warnings) > 0 {
		t.Errorf("%+v", loaded)
	}
}

// TestEqualUniqueKeys has a value twice that a unique key tells apart.
func TestEqualUniqueKeys(t *testing.T) {
	tree, d, _ := keyed(t)
	chunk := d.Index.Tables[0].Chunks[0].File
	tree.SetFile(chunk, bytes.Replace(tree.File(chunk), []byte("2\tb"), []byte("2\ta"), 1))
	_, err := load.Load(t.Context(), d.Index, tree, keysAfter(mysqltest.Config(t, mysqltest.Database(t)), core.NoProgress{}))
	wantError(t, err, core.CodeDamage, "table x", "unique key", "'a'", "u")
}

// TestKeysThatCannotBeBuilt has another session put a key of the same name
// there, and one of another name: the table is loaded again with its own keys.
func TestKeysThatCannotBeBuilt(t *testing.T) {
	for _, name := range []string{"k", "other"} {
		t.Run(name, func(t *testing.T) {
			tree, d, want := keyed(t)
			to := mysqltest.Database(t)
			loaded, err := load.Load(t.Context(), d.Index, tree, keysAfter(mysqltest.Config(t, to), atKeys(func() {
				mysqltest.ExecIn(t, to, "ALTER TABLE x ADD KEY "+name+" (id, n)")
			})))
			if err != nil {
				t.Fatal(err)
			}
			if len(loaded.Warnings) != 1 || loaded.Warnings[0].Code != "keys" || loaded.Warnings[0].Object != "table x" {
				t.Errorf("warnings: %v", loaded.Warnings)
			}
			if loaded.Rows != 4 || loaded.Tables != 1 {
				t.Errorf("%+v", loaded)
			}
			if diff := cmp.Diff(want, mysqltest.ShowCreate(t, to)["table x"]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestNoRightToAlter restores as an account that may not change tables: their
// keys stay in place.
func TestNoRightToAlter(t *testing.T) {
	tree, d, want := keyed(t)
	to := mysqltest.Database(t)
	config := mysqltest.User(t, "SELECT, INSERT, CREATE, DROP ON "+mysql.QuoteName(to)+".*")
	config.Database = to
	loaded, err := load.Load(t.Context(), d.Index, tree, keysAfter(config, core.NoProgress{}))
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings: %v", loaded.Warnings)
	}
	if diff := cmp.Diff(want, mysqltest.ShowCreate(t, to)["table x"]); diff != "" {
		t.Error(diff)
	}
}

// TestEndWhileKeysAreBuilt holds the building of keys up by another session's
// lock, then kills the statement, the session and the server, and cancels: the
// error names the table, and the next restore makes it good.
func TestEndWhileKeysAreBuilt(t *testing.T) {
	tree, d, want := keyed(t)
	server := mysqltest.Start(t, localserver.Options{})
	admin := mysqltest.ConfigOf(server, "")
	mysqltest.ExecOn(t, admin, "CREATE DATABASE d")
	to := admin
	to.Database = "d"
	for name, end := range map[string]func(c *mysql.Conn, id string, cancel func()) error{
		"the statement is killed": func(c *mysql.Conn, id string, _ func()) error {
			_, err := c.Exec(t.Context(), "KILL QUERY "+id)
			return err
		},
		"the session is killed": func(c *mysql.Conn, id string, _ func()) error {
			_, err := c.Exec(t.Context(), "KILL "+id)
			return err
		},
		"the server is killed":     func(*mysql.Conn, string, func()) error { return server.Kill() },
		"the restore is cancelled": func(_ *mysql.Conn, _ string, cancel func()) error { cancel(); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			holder, killer := mysqltest.Connect(t, to), mysqltest.Connect(t, admin)
			ended := make(chan error, 1)
			var built atomic.Bool
			_, err := load.Load(ctx, d.Index, tree, keysAfter(to, atKeys(func() {
				built.Store(true)
				for _, s := range []string{"START TRANSACTION", "SELECT * FROM x"} {
					if _, err := holder.Query(t.Context(), s); err != nil && mysql.Number(err) != 0 {
						t.Error(err)
					}
				}
				go func() {
					id, err := waitingAlter(t.Context(), killer)
					if err == nil {
						err = end(killer, id, cancel)
					}
					ended <- err
				}()
			})))
			if err == nil || !built.Load() {
				t.Fatalf("keys built: %v; error: %v", built.Load(), err)
			}
			if err := <-ended; err != nil {
				t.Error(err)
			}
			switch {
			case ctx.Err() != nil: // which needs no place
				if !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
			case !strings.Contains(err.Error(), "table x") || core.HintOf(err) == "":
				t.Errorf("hint %q: %v", core.HintOf(err), err)
			}
			if name == "the server is killed" {
				if err := server.Restart(t.Context()); err != nil {
					t.Fatal(err)
				}
			} else if _, err := holder.Exec(t.Context(), "ROLLBACK"); err != nil {
				t.Error(err)
			}
			if _, err := load.Load(t.Context(), d.Index, tree, keysAfter(to, core.NoProgress{})); err != nil {
				t.Errorf("the next load: %v", err)
			}
			rows, err := mysqltest.Connect(t, to).Query(t.Context(), "SHOW CREATE TABLE x")
			if err != nil || rows[0][1].Text != want {
				t.Errorf("after the next load: %v %v", rows, err)
			}
		})
	}
}

// waitingAlter waits until an ALTER TABLE waits for a lock and returns its session.
func waitingAlter(ctx context.Context, c *mysql.Conn) (string, error) {
	for {
		rows, err := c.Query(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata lock' AND INFO LIKE 'ALTER TABLE `x`%'")
		if err != nil || len(rows) == 1 {
			return fmt.Sprint(append(rows, mysql.Row{{}})[0][0].Text), err
		}
	}
}

// sliced cuts the chunk of the table x into one slice a row, as the chunks of a
// large table are.
func sliced(t *testing.T, tree *mysqltest.Tree, table *core.Table) {
	t.Helper()
	lines := bytes.SplitAfter(tree.File(table.Chunks[0].File), []byte("\n"))
	table.Chunks = nil
	for i, line := range lines[:len(lines)-1] {
		var sum mysql.RowSum
		sum.AddRow(line)
		file := fmt.Sprintf("database/data/x/%04d-00000.tsv", i)
		tree.SetFile(file, line)
		table.Chunks = append(table.Chunks, core.Chunk{File: file, Rows: 1, Bytes: int64(len(line)), Checksum: sum.String()})
	}
}

// TestSlicesAreComparedApart has a table in four slices: each is read back by
// its own range of the key, and the ranges leave no row out.
func TestSlicesAreComparedApart(t *testing.T) {
	for name, c := range map[string]struct {
		change func(tree *mysqltest.Tree, table *core.Table)
		want   string
	}{
		"all is well": {func(*mysqltest.Tree, *core.Table) {}, ""},
		"a value is changed": {func(tree *mysqltest.Tree, _ *core.Table) {
			tree.SetFile("database/data/x/0002-00000.tsv", []byte("3\tC\t3\n"))
		}, "first in the rows of chunk database/data/x/0002-00000.tsv"},
		"a key lies in another slice": {func(tree *mysqltest.Tree, _ *core.Table) {
			tree.SetFile("database/data/x/0001-00000.tsv", []byte("9\tb\t2\n"))
		}, "rows"},
		"a key lies before all others": {func(tree *mysqltest.Tree, _ *core.Table) {
			tree.SetFile("database/data/x/0000-00000.tsv", []byte("-7\ta\t1\n"))
		}, "chunk database/data/x/0000-00000.tsv"},
		"the slices are not in order": {func(_ *mysqltest.Tree, table *core.Table) {
			table.Chunks[0], table.Chunks[3] = table.Chunks[3], table.Chunks[0]
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tree, d, _ := keyed(t)
			table := &d.Index.Tables[0]
			sliced(t, tree, table)
			c.change(tree, table)
			_, err := load.Load(t.Context(), d.Index, tree, keysAfter(mysqltest.Config(t, mysqltest.Database(t)), core.NoProgress{}))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantError(t, err, core.CodeDamage, "table x", c.want)
		})
	}
}
