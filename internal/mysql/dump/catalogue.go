package dump

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// owns says whether an object of this name belongs to the app. The prefix is
// compared as text: "_" in it is no wildcard. What a restore put beside the
// live tables never does.
func (s *Snapshot) owns(name string) bool {
	if mysql.Reserved(name) {
		return false
	}
	p := s.opt.Prefix
	if s.Server.LowerCaseTableNames != 0 {
		return len(name) >= len(p) && strings.EqualFold(name[:len(p)], p)
	}
	return strings.HasPrefix(name, p)
}

// besides says of which restores there are tables beside the app's, which are
// in no backup.
func (s *Snapshot) besides(ctx context.Context) ([]string, error) {
	rows, err := s.raw.Query(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(s.database)+" AND LEFT(TABLE_NAME,10)='_backstay_'")
	if err != nil {
		return nil, fmt.Errorf("list tables that restores keep: %w", err)
	}
	count := map[string]int{}
	for _, r := range rows {
		if run := mysql.ReservedRun(r[0].Text); run != "" {
			count[run]++
		}
	}
	var notes []string
	for _, run := range slices.Sorted(maps.Keys(count)) {
		notes = append(notes, fmt.Sprintf("%d tables, whose names begin with %s, are left out: restore %s built or keeps them beside the app's (backstay undo takes it back, backstay undo --drop removes them)", count[run], mysql.ReservedName(run, ""), run))
	}
	return notes, nil
}

// RowsElsewhere says whether tables of an engine show rows that are stored in
// other tables or on other servers. Only their definitions are in a backup: the
// rows are in it with the tables that have them, or not the app's.
func RowsElsewhere(engine string) bool {
	switch strings.ToLower(engine) {
	case "mrg_myisam", "federated", "spider", "connect", "blackhole":
		return true
	}
	return false
}

// listTables reads the catalogue. A table that the server itself cannot open
// is an error: a backup without it would look whole.
func (s *Snapshot) listTables(ctx context.Context) error {
	engines, err := s.control.Query(ctx, "SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS='YES'")
	if err != nil {
		return fmt.Errorf("list engines: %w", err)
	}
	rows, err := s.control.Query(ctx, "SELECT TABLE_NAME, TABLE_TYPE, ENGINE, DATA_LENGTH, TABLE_COMMENT, CREATE_TIME, CREATE_OPTIONS FROM information_schema.TABLES WHERE TABLE_SCHEMA="+
		mysql.QuoteText(s.database)+" ORDER BY TABLE_NAME")
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	s.tables = nil
	for _, r := range rows {
		name, kind := r[0].Text, r[1].Text
		if !s.owns(name) || (kind != "BASE TABLE" && kind != "SYSTEM VERSIONED") {
			continue
		}
		if r[2].Null && s.holds != nil { // it could be opened before
			return changed(name, errors.New(r[4].Text))
		}
		if r[2].Null {
			return &core.Error{
				Code: core.CodeDatabase, Op: "list tables", Message: fmt.Sprintf("the server cannot open table %q", name),
				Hint: "repair or drop the table, then back up again", Err: &closedError{name, r[4].Text},
			}
		}
		t := tableInfo{name: name, kind: kind, engine: r[2].Text, created: r[5].Text, partitioned: strings.Contains(r[6].Text, "partitioned")}
		t.elsewhere = RowsElsewhere(t.engine)
		t.transactional = t.elsewhere || slices.ContainsFunc(engines, func(e mysql.Row) bool { return strings.EqualFold(e[0].Text, t.engine) })
		if !r[3].Null {
			if t.bytes, err = strconv.ParseInt(r[3].Text, 10, 64); err != nil {
				return fmt.Errorf("size of table %s: %w", name, err)
			}
		}
		s.tables = append(s.tables, t)
	}
	slices.SortFunc(s.tables, func(a, b tableInfo) int { return strings.Compare(a.name, b.name) })
	return nil
}

// present calls do with a connection that sees the catalogue as it is now, on
// behalf of c, which reads a table. MySQL's catalogue, read within c's
// transaction, would be that of the transaction's beginning. The locker has a
// connection apart from the readers', which a failing reader ends.
func (s *Snapshot) present(c *mysql.Conn, do func(now *mysql.Conn) error) error {
	if c == s.locker {
		return do(s.raw)
	}
	s.catalogue.Lock()
	defer s.catalogue.Unlock()
	return do(s.control)
}

// created asks for a table's CREATE_TIME, as it is now.
func (s *Snapshot) created(ctx context.Context, c *mysql.Conn, table string) (string, error) {
	rows, err := c.Query(ctx, "SELECT CREATE_TIME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+
		mysql.QuoteText(s.database)+" AND TABLE_NAME="+mysql.QuoteText(table))
	if err != nil {
		return "", err
	}
	if len(rows) != 1 {
		return "", changed(table, errors.New("it was dropped"))
	}
	return rows[0][0].Text, nil
}

// definition is what is needed to read a table's rows.
type definition struct {
	create  string
	stored  string // create, as it goes into the backup
	columns []core.Column
	selects []string // one expression a column
	key     []string // primary key
	// keySpace tells the values of the key's first column apart; its zero value
	// where that cannot be.
	keySpace keySpace

	generated *generated // nil where no generated column is stored
}

// floatAsDouble widens FLOAT, whose text form is rounded to 6 digits, to a
// double, whose text form reads back to the same bits.
const floatAsDouble = "*1e0"

// define reads a table's definition. c holds the table open, so that it cannot
// change meanwhile.
func (s *Snapshot) define(ctx context.Context, c *mysql.Conn, table string) (d *definition, err error) {
	create, err := showCreate(ctx, c, table)
	if err != nil {
		return nil, err
	}
	err = s.present(c, func(now *mysql.Conn) error {
		d, err = describeTable(ctx, now, s.database, table)
		return err
	})
	if err != nil {
		return nil, err
	}
	d.create, d.stored = create, s.unqualified(create)
	return d, nil
}

// describeTable reads of a definition what the catalogue has.
func describeTable(ctx context.Context, c *mysql.Conn, database, table string) (*definition, error) {
	d := &definition{}
	where := " WHERE TABLE_SCHEMA=" + mysql.QuoteText(database) + " AND TABLE_NAME=" + mysql.QuoteText(table)
	cols, err := readColumns(ctx, c, mysql.QuoteText(database), table)
	if err != nil {
		return nil, err
	}
	types := map[string]string{}
	for _, col := range cols {
		types[col.name] = col.dataType
		if col.generated {
			continue
		}
		form, expr := col.read()
		d.columns = append(d.columns, core.Column{Name: col.name, Form: form})
		d.selects = append(d.selects, expr)
	}
	if len(d.columns) == 0 {
		return nil, &core.Error{Code: core.CodeDatabase, Message: "the account sees no column of it", Hint: "GRANT SELECT on the table to the account"}
	}
	key, err := c.Query(ctx, "SELECT COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS"+where+" AND INDEX_NAME='PRIMARY' ORDER BY SEQ_IN_INDEX")
	if err != nil {
		return nil, err
	}
	for _, r := range key {
		if !r[1].Null { // a key on prefixes does not order the rows
			d.key = nil
			break
		}
		d.key = append(d.key, r[0].Text)
	}
	if len(d.key) > 0 {
		d.keySpace = keySpaceOf(types[d.key[0]])
	}
	d.generated = generatedOf(cols, d.key)
	return d, nil
}

// columnInfo is what the server's catalogue says of a column.
type columnInfo struct {
	name       string
	dataType   string // lower case
	columnType string
	charset    string
	expression string // of a generated column
	generated  bool
	stored     bool // a generated column whose values the server computed when the row came in
}

// readColumns lists a table's columns. database is an expression.
func readColumns(ctx context.Context, c *mysql.Conn, database, table string) ([]columnInfo, error) {
	rows, err := c.Query(ctx, "SELECT COLUMN_NAME, DATA_TYPE, COALESCE(GENERATION_EXPRESSION,''), EXTRA, COLUMN_TYPE, COALESCE(CHARACTER_SET_NAME,'')"+
		" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA="+database+" AND TABLE_NAME="+mysql.QuoteText(table)+" ORDER BY ORDINAL_POSITION")
	if err != nil {
		return nil, err
	}
	var cols []columnInfo
	for _, r := range rows {
		extra, period := strings.ToUpper(r[3].Text), strings.HasPrefix(strings.ToUpper(r[2].Text), "ROW ")
		cols = append(cols, columnInfo{
			name: r[0].Text, dataType: strings.ToLower(r[1].Text), columnType: r[4].Text, charset: r[5].Text, expression: r[2].Text,
			generated: r[2].Text != "" || strings.Contains(extra, "STORED GENERATED") || strings.Contains(extra, "VIRTUAL GENERATED"),
			stored:    (strings.Contains(extra, "STORED GENERATED") || strings.Contains(extra, "PERSISTENT")) && !period,
		})
	}
	return cols, nil
}

// read returns how a column's values are written, and the expression that
// reads them so.
func (c columnInfo) read() (core.Form, string) {
	expr := mysql.QuoteName(c.name)
	switch c.dataType {
	case "float":
		return core.FormFloat, expr + floatAsDouble
	case "double":
		return core.FormFloat, expr
	case "enum", "set":
		return core.FormBytes, memberExpression(expr, c)
	case "json", "uuid", "inet4", "inet6":
		// MariaDB's JSON is longtext and does not come here.
		return core.FormText, expr
	}
	return core.FormBytes, expr
}

// memberExpression reads an ENUM or SET, with a number where its text would not
// tell what it is.
func memberExpression(column string, c columnInfo) string {
	value, text, ok := ddl.Ambiguous(c.dataType, c.columnType)
	if !ok {
		return column
	}
	return "IF(" + column + "+0=" + value + ",CONVERT('" + text + "' USING " + c.charset + ")," + column + ")"
}

func showCreate(ctx context.Context, c *mysql.Conn, table string) (string, error) {
	rows, err := c.Query(ctx, "SHOW CREATE TABLE "+mysql.QuoteName(table))
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) < 2 {
		return "", fmt.Errorf("SHOW CREATE TABLE %s: unexpected answer", table)
	}
	return rows[0][1].Text, nil
}

// databaseComment returns the database's own comment, which MariaDB has from
// 10.5 on.
func (s *Snapshot) databaseComment(ctx context.Context) (string, error) {
	if !s.Server.MariaDB() || s.Server.VersionNumber < 100500 {
		return "", nil
	}
	rows, err := s.control.Query(ctx, "SELECT SCHEMA_COMMENT FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(s.database))
	if err != nil || len(rows) == 0 {
		return "", err
	}
	return rows[0][0].Text, nil
}

var nextID = regexp.MustCompile(` AUTO_INCREMENT=\d+`)

// SameDefinition compares two definitions, but for the next AUTO_INCREMENT
// value, which changes with every insert.
func SameDefinition(a, b string) bool {
	return nextID.ReplaceAllString(a, "") == nextID.ReplaceAllString(b, "")
}
