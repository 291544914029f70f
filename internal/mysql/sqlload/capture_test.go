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
