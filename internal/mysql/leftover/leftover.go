// Package leftover finds and drops what restores built or kept beside a live
// database. It is for the engine and for package shadow. It promises to drop
// nothing whose name is not of the exact shape of a restore's run, and no table
// that a foreign key of another one leads to.
package leftover

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
)

// Runs lists the runs of which there is still something in the database of
// config, or in databases beside it, sorted. It asks for names only.
func Runs(ctx context.Context, config mysql.Config) (_ []string, err error) {
	c, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.Query(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(config.Database)+" AND LEFT(TABLE_NAME,10)='_backstay_'")
	if err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	var runs []string
	for _, r := range rows {
		if run := mysql.ReservedRun(r[0].Text); run != "" {
			runs = append(runs, run)
		}
	}
	if rows, err = c.Query(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA"); err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	for _, r := range rows {
		if run := mysql.BesideRun(config.Database, r[0].Text); run != "" {
			runs = append(runs, run)
		}
	}
	slices.Sort(runs)
	return slices.Compact(runs), nil
}

// Drop drops what is left of a run in the database of config and beside it,
// for good: there is no way back to it afterwards. It is for runs of which
// nothing else is known; others are dropped by package shadow. It refuses while
// a session of the run is at work.
func Drop(ctx context.Context, config mysql.Config, run string) (err error) {
	if !mysql.ValidRun(run) {
		return fmt.Errorf("drop what a restore left: %q is not the name of a run", run)
	}
	c, err := load.Session(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.Query(ctx, "SELECT GET_LOCK("+mysql.QuoteText(SessionLock(run))+", 0)")
	if err != nil {
		return fmt.Errorf("drop what a restore left: %w", err)
	}
	if len(rows) != 1 || rows[0][0].Text != "1" {
		return &core.Error{Code: core.CodeLocked, Op: "drop what restore " + run + " left", Message: "a session of it is at work on the server", Hint: "wait for it to end"}
	}
	built, kept := mysql.BesideNames(config.Database, run)
	rows, err = c.Query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA IN ("+
		mysql.QuoteText(config.Database)+","+mysql.QuoteText(built)+","+mysql.QuoteText(kept)+")")
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	var tables []Table
	for _, r := range rows {
		t := Table{r[0].Text, r[1].Text}
		if t.Schema == config.Database && mysql.ReservedRun(t.Name) != run {
			continue
		}
		switch r[2].Text {
		case "VIEW", "SYSTEM VIEW":
			if _, err := c.Exec(ctx, "DROP VIEW IF EXISTS "+t.String()); err != nil {
				return fmt.Errorf("drop view %s: %w", t.Name, err)
			}
		case "SEQUENCE":
			defer func() { // after the tables whose defaults take from it
				if err == nil {
					_, err = c.Exec(ctx, "DROP SEQUENCE IF EXISTS "+t.String())
				}
			}()
		default:
			tables = append(tables, t)
		}
	}
	if err := Tables(ctx, c, tables); err != nil {
		return err
	}
	for _, d := range []string{built, kept} {
		if _, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+mysql.QuoteName(d)); err != nil && !mysql.AccessDenied(err) {
			return fmt.Errorf("drop database %s: %w", d, err)
		}
	}
	return nil
}

// SessionLock names the server's lock that a session of a run holds.
func SessionLock(run string) string { return "backstay-shadow-" + run }

// Table is a table that is to be dropped.
type Table struct{ Schema, Name string }

func (t Table) String() string { return mysql.QuoteName(t.Schema) + "." + mysql.QuoteName(t.Name) }

// What servers say when a foreign key leads to a table that is dropped.
const (
	erRowIsReferenced = 1451 // MariaDB
	erCannotDropRefd  = 3730 // MySQL
)

// Tables drops tables, by a session of load.Session. Foreign keys among them go
// with them. One of another table, which may be in another database where the
// account cannot see it, is not left leading nowhere: the error says so then.
// Tables that were dropped before the one it leads to are gone; on MySQL there
// are none.
func Tables(ctx context.Context, c *mysql.Conn, tables []Table) (err error) {
	if len(tables) == 0 {
		return nil
	}
	server, err := c.Server(ctx)
	if err != nil {
		return err
	}
	statements := []string{}
	if server.MariaDB() { // which looks at one after the other
		if tables, err = childrenFirst(ctx, c, tables); err != nil {
			return err
		}
		for _, t := range tables {
			statements = append(statements, "DROP TABLE IF EXISTS "+t.String())
		}
	} else {
		names := make([]string, len(tables))
		for i, t := range tables {
			names[i] = t.String()
		}
		statements = append(statements, "DROP TABLE IF EXISTS "+strings.Join(names, ", "))
	}
	if _, err := c.Exec(ctx, "SET SESSION foreign_key_checks=1"); err != nil {
		return fmt.Errorf("drop tables: %w", err)
	}
	defer func() {
		_, serr := c.Exec(ctx, "SET SESSION foreign_key_checks=0")
		err = errors.Join(err, serr)
	}()
	for i, s := range statements {
		_, err := c.Exec(ctx, s)
		switch number := mysql.Number(err); {
		case number == erRowIsReferenced || number == erCannotDropRefd:
			message := "a foreign key of another table, perhaps in another database, leads to one of the tables that were to be dropped, and would lead nowhere"
			if server.MariaDB() {
				message = fmt.Sprintf("a foreign key of another table, perhaps in another database, leads to table %s, and would lead nowhere; %d of %d tables were dropped before", tables[i], i, len(tables))
			}
			return &core.Error{
				Code: core.CodeDatabase, Op: "drop what is not live", Message: message, Err: err,
				Hint: "as an account that sees all databases: SELECT * FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME LIKE '\\_backstay\\_%'; have that key lead to the live table, or drop it, then try again",
			}
		case err != nil:
			return fmt.Errorf("drop tables: %w", err)
		}
	}
	return nil
}

// childrenFirst sorts tables so that none comes before one with a foreign key
// to it. Where keys go round, those are dropped.
func childrenFirst(ctx context.Context, c *mysql.Conn, tables []Table) ([]Table, error) {
	left := map[Table]bool{}
	for _, t := range tables {
		left[t] = true
	}
	type key struct {
		child, parent Table
		name          string
	}
	var keys []key
	for _, schema := range schemasOf(tables) { // one at a time, or the server opens those of all databases
		rows, err := c.Query(ctx, "SELECT DISTINCT TABLE_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, CONSTRAINT_NAME FROM information_schema.KEY_COLUMN_USAGE"+
			" WHERE REFERENCED_TABLE_NAME IS NOT NULL AND TABLE_SCHEMA="+mysql.QuoteText(schema))
		if err != nil {
			return nil, fmt.Errorf("list foreign keys: %w", err)
		}
		for _, r := range rows {
			k := key{Table{schema, r[0].Text}, Table{r[1].Text, r[2].Text}, r[3].Text}
			if left[k.child] && left[k.parent] && k.child != k.parent {
				keys = append(keys, k)
			}
		}
	}
	var sorted []Table
	for len(sorted) < len(tables) {
		before := len(sorted)
		for _, t := range tables {
			if left[t] && !slices.ContainsFunc(keys, func(k key) bool { return k.parent == t && left[k.child] }) {
				sorted, left[t] = append(sorted, t), false
			}
		}
		if len(sorted) > before {
			continue
		}
		at := slices.IndexFunc(keys, func(k key) bool { return left[k.child] && left[k.parent] })
		if _, err := c.Exec(ctx, "ALTER TABLE "+keys[at].child.String()+" DROP FOREIGN KEY "+mysql.QuoteName(keys[at].name)); err != nil {
			return nil, fmt.Errorf("take foreign key %s off table %s: %w", keys[at].name, keys[at].child.Name, err)
		}
		keys = slices.Delete(keys, at, at+1)
	}
	return sorted, nil
}

func schemasOf(tables []Table) []string {
	var schemas []string
	for _, t := range tables {
		if !slices.Contains(schemas, t.Schema) {
			schemas = append(schemas, t.Schema)
		}
	}
	return schemas
}
