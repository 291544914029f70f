package mysqltest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
)

// inventory is a view of information_schema that describes part of a database.
type inventory struct {
	view   string
	schema string   // the column that says which database a row is about
	omit   []string // what two equal databases may differ in, besides their names
}

// Times, sizes and estimates belong to a copy, not to what was copied.
var inventories = []inventory{
	{"SCHEMATA", "SCHEMA_NAME", nil},
	{"TABLES", "TABLE_SCHEMA", sizes},
	{"COLUMNS", "TABLE_SCHEMA", nil},
	{"STATISTICS", "TABLE_SCHEMA", []string{"CARDINALITY"}},
	{"KEY_COLUMN_USAGE", "TABLE_SCHEMA", nil},
	{"TABLE_CONSTRAINTS", "TABLE_SCHEMA", nil},
	{"REFERENTIAL_CONSTRAINTS", "CONSTRAINT_SCHEMA", nil},
	{"CHECK_CONSTRAINTS", "CONSTRAINT_SCHEMA", nil},
	{"PARTITIONS", "TABLE_SCHEMA", sizes},
	{"VIEWS", "TABLE_SCHEMA", nil},
	{"TRIGGERS", "TRIGGER_SCHEMA", []string{"CREATED"}},
	{"ROUTINES", "ROUTINE_SCHEMA", []string{"CREATED", "LAST_ALTERED"}},
	{"PARAMETERS", "SPECIFIC_SCHEMA", nil},
	{"EVENTS", "EVENT_SCHEMA", []string{"CREATED", "LAST_ALTERED", "LAST_EXECUTED", "ORIGINATOR"}},
	// MariaDB's own, then MySQL's.
	{"PERIODS", "TABLE_SCHEMA", nil},
	{"KEY_PERIOD_USAGE", "TABLE_SCHEMA", nil},
	{"SEQUENCES", "SEQUENCE_SCHEMA", nil},
	{"GEOMETRY_COLUMNS", "G_TABLE_SCHEMA", nil},
	{"ST_GEOMETRY_COLUMNS", "TABLE_SCHEMA", nil},
	{"TABLES_EXTENSIONS", "TABLE_SCHEMA", nil},
	{"COLUMNS_EXTENSIONS", "TABLE_SCHEMA", nil},
}

var sizes = []string{
	"VERSION", "TABLE_ROWS", "AVG_ROW_LENGTH", "DATA_LENGTH", "MAX_DATA_LENGTH", "INDEX_LENGTH", "MAX_INDEX_LENGTH", "DATA_FREE",
	"CREATE_TIME", "UPDATE_TIME", "CHECK_TIME", "CHECKSUM",
}

// CatalogueOf returns what information_schema says of the default database of a
// connection, by view: one text a row, sorted, with DB for the database's name.
// Times, sizes and estimates are left out. Two databases that hold the same have
// the same catalogue.
func CatalogueOf(ctx context.Context, config mysql.Config) (map[string][]string, error) {
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	catalogue, err := readCatalogue(ctx, conn, config.Database)
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	return catalogue, err
}

func readCatalogue(ctx context.Context, conn *mysql.Conn, database string) (map[string][]string, error) {
	// MySQL keeps next AUTO_INCREMENT values of yesterday otherwise.
	if _, err := conn.Exec(ctx, "SET SESSION information_schema_stats_expiry=0"); err != nil && !mysql.NotUnderstood(err) {
		return nil, err
	}
	listed, err := conn.Query(ctx, "SELECT UPPER(TABLE_NAME), COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='information_schema' ORDER BY ORDINAL_POSITION")
	if err != nil {
		return nil, fmt.Errorf("list the views of information_schema: %w", err)
	}
	columns := map[string][]string{}
	for _, row := range listed {
		columns[row[0].Text] = append(columns[row[0].Text], row[1].Text)
	}
	neutral := strings.NewReplacer("`"+database+"`", "`DB`", "'"+database+"'", "'DB'")
	catalogue := map[string][]string{}
	for _, in := range inventories {
		wanted := slices.DeleteFunc(slices.Clone(columns[in.view]), func(c string) bool { return slices.Contains(in.omit, strings.ToUpper(c)) })
		if len(wanted) == 0 {
			continue // the other vendor's
		}
		rows, err := conn.Query(ctx, "SELECT "+mysql.QuoteNames(wanted)+" FROM information_schema."+in.view+" WHERE "+in.schema+"=DATABASE()")
		if err != nil {
			return nil, fmt.Errorf("read information_schema.%s: %w", in.view, err)
		}
		texts := make([]string, len(rows))
		for i, row := range rows {
			var text strings.Builder
			for j, value := range row {
				switch {
				case value.Null:
					continue
				case value.Text == database:
					value.Text = "DB"
				}
				fmt.Fprintf(&text, "%s=%s; ", wanted[j], neutral.Replace(value.Text))
			}
			texts[i] = text.String()
		}
		slices.Sort(texts)
		catalogue[in.view] = texts
	}
	return catalogue, nil
}

// RowsOf returns every row of every table of the default database of a
// connection, former versions of rows too, by table: one text a row, sorted.
// Values are shown so that two that differ in any bit look different; large
// ones by length and hash.
func RowsOf(ctx context.Context, config mysql.Config) (map[string][]string, error) {
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	rows, err := readRows(ctx, conn)
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	return rows, err
}

func readRows(ctx context.Context, conn *mysql.Conn) (map[string][]string, error) {
	tables, err := conn.Query(ctx, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_TYPE NOT LIKE '%VIEW%'")
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	listed, err := conn.Query(ctx, "SELECT COLUMN_NAME, LOWER(DATA_TYPE), GENERATION_EXPRESSION, TABLE_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME, ORDINAL_POSITION")
	if err != nil {
		return nil, fmt.Errorf("list columns: %w", err)
	}
	ofTable := map[string][]mysql.Row{}
	for _, c := range listed {
		ofTable[c[3].Text] = append(ofTable[c[3].Text], c)
	}
	all := map[string][]string{}
	for _, table := range tables {
		name, kind := table[0].Text, table[1].Text
		if mysql.Reserved(name) {
			continue
		}
		columns := ofTable[name]
		var shown []string
		for _, c := range columns {
			shown = append(shown, show(mysql.QuoteName(c[0].Text), c[1].Text))
		}
		from := mysql.QuoteName(name)
		if kind == "SYSTEM VERSIONED" {
			from += " FOR SYSTEM_TIME ALL"
			// Where the columns have no names of their own, they are not listed.
			if !slices.ContainsFunc(columns, func(c mysql.Row) bool { return c[2].Text == "ROW START" }) {
				shown = append(shown, "ROW_START", "ROW_END")
			}
		}
		rows, err := conn.Query(ctx, "SELECT "+strings.Join(shown, ", ")+" FROM "+from)
		if err != nil {
			return nil, fmt.Errorf("read rows of %s: %w", name, err)
		}
		texts := make([]string, len(rows))
		for i, row := range rows {
			values := make([]string, len(row))
			for j, value := range row {
				values[j] = value.Text
				if value.Null {
					values[j] = "NULL"
				}
			}
			texts[i] = strings.Join(values, " ")
		}
		slices.Sort(texts)
		all[name] = texts
	}
	return all, nil
}

// show returns the expression that shows a column's values to the bit.
func show(column, dataType string) string {
	const large = "100000"
	switch dataType {
	case "float", "double":
		return column + "*1e0" // a FLOAT's own text is rounded
	case "enum", "set":
		return "CONCAT(HEX(" + column + "),'#'," + column + "+0)" // '' may be a member or no value
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return "IF(LENGTH(" + column + ")>" + large + ",CONCAT(LENGTH(" + column + "),':',SHA2(" + column + ",256)),HEX(" + column + "))"
	case "bit", "geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon", "geometrycollection", "geomcollection", "vector":
		return "HEX(" + column + ")"
	}
	return "HEX(CONCAT(" + column + "))"
}

// Diff compares two databases with the server's own means: CHECKSUM TABLE …
// EXTENDED, SHOW CREATE, information_schema, and every value of every row. It
// returns what differs (-a +b), "" when they are equal.
func Diff(t testing.TB, a, b mysql.Config) string {
	t.Helper()
	var differences strings.Builder
	look := func(what string, read func(mysql.Config) (any, error)) {
		left, err := read(a)
		fatal(t, err)
		right, err := read(b)
		fatal(t, err)
		if diff := cmp.Diff(left, right); diff != "" {
			fmt.Fprintf(&differences, "%s:\n%s", what, diff)
		}
	}
	ctx := t.Context()
	look("CHECKSUM TABLE EXTENDED", func(c mysql.Config) (any, error) { return ChecksumOf(ctx, c) })
	look("SHOW CREATE", func(c mysql.Config) (any, error) { return ShowCreateOf(ctx, c) })
	look("information_schema", func(c mysql.Config) (any, error) { return CatalogueOf(ctx, c) })
	look("rows", func(c mysql.Config) (any, error) { return RowsOf(ctx, c) })
	return differences.String()
}
