package sqlload_test

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/scratch"
	"github.com/backstay/backstay/internal/mysql/sqlload"
)

// What was loaded is captured by the account that is there for it, with every
// object and its definer, and without anything of the import's own.
func TestCapture(t *testing.T) {
	private, err := scratch.Private(t.Context(), scratch.Options{Dir: t.TempDir(), Name: "shop", Binary: os.Getenv(mysqltest.BinaryVariable)})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := scratch.OnServer(t.Context(), mysqltest.Config(t, ""), scratch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*scratch.Database{"private": private, "shared": shared} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if err := d.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			text := strings.ReplaceAll(phpMyAdmin, "`root`@`localhost`", "`boss`@`%`") +
				"CREATE DEFINER=`boss`@`%` VIEW `v` AS SELECT `id` FROM `a`;\n"
			loaded, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: d.Config})
			if err != nil || len(loaded.Warnings) > 0 {
				t.Fatalf("%v, %v", loaded.Warnings, err)
			}
			snapshot, err := dump.Open(t.Context(), dump.Options{Config: mysql.ConfigOf(d.Source), Clock: core.SystemClock{}})
			if err != nil {
				t.Fatal(err)
			}
			captured, err := snapshot.Write(t.Context(), mysqltest.NewTree(), core.NoProgress{})
			if cerr := snapshot.Close(); err == nil {
				err = cerr
			}
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, table := range captured.Index.Tables {
				found = append(found, fmt.Sprintf("%s %d", table.Name, table.Rows))
			}
			for _, o := range captured.Index.Objects {
				found = append(found, o.Kind+" "+o.Name)
				if o.Kind != "trigger" && o.Definer != "boss@%" && o.Definer != "`boss`@`%`" {
					t.Errorf("%s %s has definer %s", o.Kind, o.Name, o.Definer)
				}
			}
			slices.Sort(found)
			if diff := cmp.Diff([]string{"a 4", "b 2", "function twice", "trigger loud", "view v"}, found); diff != "" {
				t.Errorf("captured (-want +got):\n%s", diff)
			}
			if len(captured.Warnings) > 0 {
				t.Errorf("warnings %v", captured.Warnings)
			}
		})
	}
}

const nested = `-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB, for debian-linux-gnu (x86_64)
CREATE TABLE t (a int);
INSERT INTO t VALUES (1);
CREATE DEFINER="shop` + "`" + `s \\'x"@'%' VIEW v1 AS SELECT a FROM t;
CREATE DEFINER="shop` + "`" + `s \\'x"@'%' VIEW v2 AS SELECT a FROM v1;
CREATE DEFINER=` + "`shop`@`%`" + ` FUNCTION f() RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM v2);
CREATE DEFINER=` + "`other`@`10.0.0.1`" + ` VIEW v0 AS SELECT f() FROM v4;
CREATE DEFINER=` + "`shop`@`%`" + ` VIEW v4 AS SELECT a FROM v2;
-- Dump completed on 2024-07-01 12:00:00
`

// Views work only where the accounts are that views below them run as.
func TestViewsOfViews(t *testing.T) {
	private, err := scratch.Private(t.Context(), scratch.Options{Dir: t.TempDir(), Name: "shop", Binary: os.Getenv(mysqltest.BinaryVariable)})
	if err != nil {
		t.Fatal(err)
	}
	shared, err := scratch.OnServer(t.Context(), mysqltest.Config(t, ""), scratch.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, d := range map[string]*scratch.Database{"private": private, "shared": shared} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if err := d.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			loaded, err := sqlload.Load(t.Context(), strings.NewReader(nested), sqlload.Options{Config: d.Config, MakeDefiner: d.MakeDefiner})
			if err != nil {
				t.Fatal(err)
			}
			if loaded.Views != 4 || loaded.Objects != 1 {
				t.Errorf("%d views and %d other objects", loaded.Views, loaded.Objects)
			}
			for _, w := range loaded.Warnings {
				if name == "private" || w.Code != "definer" {
					t.Errorf("warning %v", w)
				}
			}
			if name == "private" || len(loaded.Warnings) > 0 { // somebody's server may have the accounts
				if got := values(t, mysql.ConfigOf(d.Source), "SELECT CONCAT(COUNT(*), ' ', MAX(a)) FROM v4"); name == "private" && !slices.Equal(got, []string{"1 1"}) {
					t.Errorf("v4 gives %v", got)
				}
			}
			objects, warnings := capture(t, d)
			if len(warnings) > 0 {
				t.Errorf("warnings %v", warnings)
			}
			got := map[string]string{}
			for _, o := range objects {
				got[o.Name] = o.Definer
			}
			if len(got) != 5 {
				t.Errorf("captured %v", got)
			}
			want := map[string]string{"v0": "other@10.0.0.1", "v1": "shop`s \\'x@%", "v2": "shop`s \\'x@%", "v4": "shop@%", "f": "shop@%"}
			if diff := cmp.Diff(want, got); name == "private" && diff != "" {
				t.Errorf("definers (-want +got):\n%s", diff)
			}
		})
	}
}

// What a view reads may be gone where it comes from; any other that cannot be
// made is missed.
func TestInvalidViews(t *testing.T) {
	config := into(t)
	text := "CREATE TABLE t (a int);\nCREATE VIEW gone AS SELECT a FROM dropped;\nCREATE VIEW below AS SELECT a FROM gone;\nCREATE VIEW ok AS SELECT a FROM t;\n"
	loaded, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: config})
	if err != nil || loaded.Views != 1 || len(loaded.Warnings) != 2 {
		t.Errorf("%+v, %v", loaded, err)
	}
	config = into(t)
	_, err = sqlload.Load(t.Context(), strings.NewReader("CREATE TABLE t (a int);\nCREATE VIEW far AS SELECT a FROM elsewhere.t;\n"), sqlload.Options{Config: config})
	if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "view far") {
		t.Errorf("a view of another database: %v", err)
	}
}

func capture(t *testing.T, d *scratch.Database) ([]core.SchemaObject, []core.Warning) {
	t.Helper()
	snapshot, err := dump.Open(t.Context(), dump.Options{Config: mysql.ConfigOf(d.Source), Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	captured, err := snapshot.Write(t.Context(), mysqltest.NewTree(), core.NoProgress{})
	if cerr := snapshot.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
	return captured.Index.Objects, captured.Warnings
}
