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
	restore "github.com/backstay/backstay/internal/mysql/load"
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

// An object of which the dump names no definer is nobody's in the backup too.
func TestOwnerless(t *testing.T) {
	text := `CREATE TABLE a (id int primary key);
CREATE SQL SECURITY INVOKER VIEW vv AS SELECT id FROM a;
CREATE VIEW vd AS SELECT id FROM a;
CREATE DEFINER=CURRENT_USER VIEW vc AS SELECT id FROM a;
CREATE DEFINER=` + "`shop`@`%`" + ` VIEW vs AS SELECT id FROM a;
DELIMITER ;;
CREATE PROCEDURE pp() SELECT 'DEFINER';;
CREATE FUNCTION ff() RETURNS int DETERMINISTIC RETURN 1;;
CREATE EVENT ee ON SCHEDULE EVERY 1 DAY DO SELECT 1;;
CREATE TRIGGER tt BEFORE INSERT ON a FOR EACH ROW SET @a=1;;
DELIMITER ;
`
	for _, kind := range []string{"private", "shared"} {
		t.Run(kind, func(t *testing.T) {
			make := func() (*scratch.Database, error) {
				if kind == "shared" {
					return scratch.OnServer(t.Context(), mysqltest.Config(t, ""), scratch.Options{})
				}
				return scratch.Private(t.Context(), scratch.Options{Dir: t.TempDir(), Name: "shop", Binary: os.Getenv(mysqltest.BinaryVariable)})
			}
			d, err := make()
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := d.Close(t.Context()); err != nil {
					t.Error(err)
				}
			}()
			loaded, err := sqlload.Load(t.Context(), strings.NewReader(text), sqlload.Options{Config: d.Config, MakeDefiner: d.MakeDefiner})
			if err != nil {
				t.Fatal(err)
			}
			tree := mysqltest.NewTree()
			captured := captureTo(t, d, loaded, tree)
			objects := captured.Index.Objects
			owners := map[string]string{}
			for _, o := range objects {
				owners[o.Name] = o.Definer
			}
			want := map[string]string{"vv": "", "vd": "", "vc": "", "vs": "shop@%", "pp": "", "ff": "", "ee": "", "tt": ""}
			if diff := cmp.Diff(want, owners); diff != "" {
				t.Errorf("definers (-want +got):\n%s", diff)
			}
			// It belongs to whoever restores it, without a word.
			name := mysqltest.Database(t)
			config := mysqltest.User(t, "ALL ON "+mysql.QuoteName(name)+".*")
			config.Database = name
			restored, err := restore.Load(t.Context(), captured.Index, tree, restore.Options{Config: config, Progress: core.NoProgress{}})
			if err != nil {
				t.Fatal(err)
			}
			if len(restored.Warnings) != 1 || restored.Warnings[0].Object != "view vs" {
				t.Errorf("warnings %v", restored.Warnings)
			}
			for _, o := range mysqltest.Query(t, name, "SELECT CONCAT(TABLE_NAME, ' ', DEFINER, ' ', SECURITY_TYPE) FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE() UNION ALL SELECT CONCAT(ROUTINE_NAME, ' ', DEFINER) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=DATABASE()"+
				" UNION ALL SELECT CONCAT(TRIGGER_NAME, ' ', DEFINER) FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE() UNION ALL SELECT CONCAT(EVENT_NAME, ' ', DEFINER) FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()") {
				if !strings.Contains(o[0].Text, " "+config.User+"@") || strings.HasPrefix(o[0].Text, "vv") != strings.HasSuffix(o[0].Text, "INVOKER") {
					t.Errorf("%s, and not the restoring account's", o[0].Text)
				}
			}
		})
	}
}

func capture(t *testing.T, d *scratch.Database) ([]core.SchemaObject, []core.Warning) {
	t.Helper()
	captured := captureTo(t, d, &sqlload.Loaded{}, mysqltest.NewTree())
	return captured.Index.Objects, captured.Warnings
}

func captureTo(t *testing.T, d *scratch.Database, loaded *sqlload.Loaded, w core.TreeWriter) *dump.Dumped {
	t.Helper()
	snapshot, err := dump.Open(t.Context(), dump.Options{Config: mysql.ConfigOf(d.Source), Clock: core.SystemClock{}, Ownerless: loaded.IsOwnerless})
	if err != nil {
		t.Fatal(err)
	}
	captured, err := snapshot.Write(t.Context(), w, core.NoProgress{})
	if cerr := snapshot.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		t.Fatal(err)
	}
	return captured
}
