package sqlwrite_test

import (
	"errors"
	"testing"

	"github.com/backstay/backstay/internal/mysql/corpus"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// TestDefinitions: what servers print passes the check of definitions.
func TestDefinitions(t *testing.T) {
	each(t, func(t *testing.T, _ corpus.Case, database string) {
		in, tree := stored(t, mysqltest.Config(t, database))
		check := func(file string, d sqlread.Definition) {
			d.Database, d.AnyCase = database, in.Database.Server.LowerCaseTableNames != 0
			got, err := sqlread.ReadDefinition(tree.File(file), d)
			if err != nil && !errors.Is(err, sqlread.ErrUnread) {
				t.Errorf("%s: %v\n%s", file, err, tree.File(file))
			} else if err != nil {
				t.Logf("%s: %v", file, err)
			} else if len(got.Databases)+len(got.Reaches) > 0 {
				t.Logf("%s: %+v\n%s", file, got, tree.File(file))
			}
		}
		for _, table := range in.Index.Tables {
			check(table.Schema, sqlread.Definition{Kind: sqlread.ObjectTable, Name: table.Name})
		}
		for _, o := range in.Index.Objects {
			check(o.File, sqlread.Definition{Kind: sqlread.Object(o.Kind), Name: o.Name, Table: o.Table, SQLMode: o.SQLMode, Charset: o.Charset})
		}
	})
}
