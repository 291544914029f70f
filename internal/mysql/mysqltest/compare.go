package mysqltest

import (
	"context"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql"
)

// Checksum returns the server's own checksum (CHECKSUM TABLE … EXTENDED) of
// every table and sequence of a database of the shared server, by name, but for
// what a restore put beside.
func Checksum(t testing.TB, database string) map[string]string {
	t.Helper()
	sums, err := ChecksumOf(t.Context(), Config(t, database))
	fatal(t, err)
	return sums
}

const erBadField = 1054 // servers without keys of expressions do not list them

// ChecksumOf is Checksum for the default database of any connection.
func ChecksumOf(ctx context.Context, config mysql.Config) (map[string]string, error) {
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	sums, err := checksums(ctx, conn)
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	return sums, err
}

func checksums(ctx context.Context, conn *mysql.Conn) (map[string]string, error) {
	const list = "SELECT table_name, %s, engine FROM information_schema.tables t WHERE table_schema = DATABASE() AND table_type NOT LIKE '%%VIEW%%' ORDER BY table_name"
	tables, err := conn.Query(ctx, fmt.Sprintf(list, "(SELECT COUNT(*) FROM information_schema.statistics s"+
		" WHERE s.table_schema = t.table_schema AND s.table_name = t.table_name AND expression LIKE '% array)%')"))
	if mysql.Number(err) == erBadField {
		tables, err = conn.Query(ctx, fmt.Sprintf(list, "'0'"))
	}
	if err != nil {
		return nil, err
	}
	sums := make(map[string]string, len(tables))
	for _, row := range tables {
		name := row[0].Text
		if mysql.Reserved(name) {
			continue
		}
		if row[1].Text != "0" {
			sums[name] = "none: the checksum of a table with a multi-valued key changes from one moment to the next (MySQL 9.7)"
			continue
		}
		if row[2].Text == "ARCHIVE" {
			// Its rows are in a buffer at first, which MySQL's checksum was seen (9.7) to miss.
			if _, err := conn.Exec(ctx, "FLUSH LOCAL TABLES "+mysql.QuoteName(name)); err != nil {
				return nil, fmt.Errorf("flush table %s: %w", name, err)
			}
		}
		rows, err := conn.Query(ctx, "CHECKSUM TABLE "+mysql.QuoteName(name)+" EXTENDED")
		if err != nil {
			return nil, err
		}
		if len(rows) != 1 || len(rows[0]) != 2 || rows[0][1].Null {
			return nil, fmt.Errorf("checksum table %s: the server gave none", name)
		}
		sums[name] = rows[0][1].Text
	}
	return sums, nil
}

// ShowCreate returns the definition of every object of a database of the
// shared server, as SHOW CREATE prints it. Keys are kind and name: "table t",
// "view v", "sequence s", "trigger x", "procedure p", "function f", "event e".
// Triggers and routines have the sql_mode, character set and collation that
// they were made under in front, because those belong to their meaning.
func ShowCreate(t testing.TB, database string) map[string]string {
	t.Helper()
	objects, err := ShowCreateOf(t.Context(), Config(t, database))
	fatal(t, err)
	return objects
}

// ShowCreateOf is ShowCreate for the default database of any connection.
func ShowCreateOf(ctx context.Context, config mysql.Config) (map[string]string, error) {
	conn, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	objects, err := definitions(ctx, conn, config.Database)
	if closeErr := conn.Close(); err == nil {
		err = closeErr
	}
	return objects, err
}

func definitions(ctx context.Context, conn *mysql.Conn, database string) (map[string]string, error) {
	listed, err := conn.Query(ctx,
		"SELECT CASE WHEN table_type LIKE '%VIEW%' THEN 'view' WHEN table_type = 'SEQUENCE' THEN 'sequence' ELSE 'table' END, table_name"+
			" FROM information_schema.tables WHERE table_schema = DATABASE()"+
			" UNION ALL SELECT 'trigger', trigger_name FROM information_schema.triggers WHERE trigger_schema = DATABASE()"+
			" UNION ALL SELECT LOWER(routine_type), routine_name FROM information_schema.routines WHERE routine_schema = DATABASE()"+
			" UNION ALL SELECT 'event', event_name FROM information_schema.events WHERE event_schema = DATABASE()")
	if err != nil {
		return nil, err
	}
	objects := make(map[string]string, len(listed))
	for _, row := range listed {
		kind, name := row[0].Text, row[1].Text
		if mysql.Reserved(name) {
			continue
		}
		rows, err := conn.Query(ctx, "SHOW CREATE "+kind+" "+mysql.QuoteName(name))
		if err != nil {
			return nil, err
		}
		text, err := definition(kind, rows)
		if err != nil {
			return nil, fmt.Errorf("show create %s %s: %w", kind, name, err)
		}
		objects[kind+" "+name] = neutral(text, database)
	}
	return objects, nil
}

var redundantSet = regexp.MustCompile(` CHARACTER SET \w+( COLLATE \w+_)`)

// neutral takes out of a definition what two equal ones may differ in. Where a
// name is qualified with its own database it refers to the copy's. MySQL prints
// a column's character set before its collation or does not, depending on how
// the column was made, though the collation says it.
func neutral(text, database string) string {
	return redundantSet.ReplaceAllString(strings.ReplaceAll(text, mysql.QuoteName(database)+".", "`DB`."), "$1")
}

// showColumns says, for each kind, which columns of SHOW CREATE's answer make
// up a definition; the statement is the last of them.
// https://mariadb.com/kb/en/show-create-trigger/ and its neighbours.
var showColumns = map[string][]int{
	"table":        {1},
	"view":         {2, 3, 1},    // name, statement, charset, collation
	"sequence":     {1},          //
	"trigger":      {1, 3, 4, 2}, // name, sql_mode, statement, charset, collation
	"procedure":    {1, 3, 4, 2}, // as trigger
	"function":     {1, 3, 4, 2},
	"package":      {1, 3, 4, 2},
	"package body": {1, 3, 4, 2},
	"event":        {1, 2, 4, 5, 3}, // name, sql_mode, time zone, statement, charset, collation
}

func definition(kind string, rows []mysql.Row) (string, error) {
	columns := showColumns[kind]
	if len(rows) != 1 || len(columns) == 0 {
		return "", fmt.Errorf("unexpected answer of %d rows", len(rows))
	}
	text := ""
	for i, column := range columns {
		if column >= len(rows[0]) {
			return "", fmt.Errorf("unexpected answer of %d columns", len(rows[0]))
		}
		if i > 0 {
			text += "\n"
		}
		text += rows[0][column].Text
	}
	return text, nil
}
