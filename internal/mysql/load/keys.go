package load

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// largeTable is how many bytes of rows a table has for which it pays to build
// the keys after the rows. It costs two statements; measured, docs/performance.md.
const largeTable = 8 << 20

// prepareTable readies a large table, made a moment ago, for its rows.
func (l *loader) prepareTable(ctx context.Context, t *tableLoad) error {
	if t.Bytes < l.opt.largeTable || t.AllVersions { // the server alters no table that has a history
		return nil
	}
	var err error
	if t.whole, err = l.showCreate(ctx, l.control, t.Name); err != nil {
		return err
	}
	d, ok := readDefinition(t.whole)
	if !ok {
		return nil // it is loaded as it is
	}
	if len(t.Key) > 0 && len(t.slices) > 1 {
		switch d.types[t.Key[0]] {
		case "tinyint", "smallint", "mediumint", "int", "bigint":
			t.ranges = true
		}
	}
	switch strings.ToLower(t.Engine) {
	case "innodb":
		t.alone = d.autoIncrement != "" && l.counterLock && !l.noLocal.Load()
		later := d.later(t.Table)
		if len(later) == 0 {
			return nil
		}
		if _, err = l.control.Exec(ctx, dropStatement(l.at(t.Name), later)); err == nil {
			t.later = later
		}
	case "myisam", "aria":
		if _, err = l.control.Exec(ctx, "ALTER TABLE "+l.quoted(t.Name)+" DISABLE KEYS"); err == nil {
			t.disabled = true
		}
	}
	if mysql.Number(err) != 0 {
		return nil // the server needs them, or the account may not: the rows come in beside them
	}
	return err
}

// askCounterLock finds out whether LOAD DATA holds the lock of a table's
// AUTO_INCREMENT counter to its end.
func (l *loader) askCounterLock(ctx context.Context) error {
	rows, err := l.control.Query(ctx, "SELECT @@innodb_autoinc_lock_mode")
	if mysql.NotUnderstood(err) { // a server without InnoDB
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask for innodb_autoinc_lock_mode: %w", err)
	}
	l.counterLock = len(rows) == 1 && rows[0][0].Text != "2"
	return nil
}

func (l *loader) showCreate(ctx context.Context, c *mysql.Conn, table string) (string, error) {
	rows, err := c.Query(ctx, "SHOW CREATE TABLE "+l.quoted(table))
	if err != nil {
		return "", tableError(table, "show its definition", err)
	}
	if len(rows) != 1 || len(rows[0]) < 2 {
		return "", fmt.Errorf("restore table %s: SHOW CREATE TABLE: unexpected answer", table)
	}
	return rows[0][1].Text, nil
}

// Numbers of errors that say that a key's values are there twice, and of those
// that end a statement which another try might bring to its end.
const (
	erDupKey            = 1022
	erDupEntry          = 1062
	erDupUnknownInIndex = 1859

	erServerShutdown    = 1053
	erQueryInterrupted  = 1317
	erConnectionKilled  = 1927
	erStatementTimeout  = 1969 // MariaDB
	erQueryTimeoutMySQL = 3024
)

// buildKeys puts back what prepareTable took off. What the server cannot build
// after the rows, above all for want of room for temporary files, it gets
// before them: the table is made and loaded anew with its keys in place.
func (l *loader) buildKeys(ctx context.Context, c *mysql.Conn, t *tableLoad) error {
	l.opt.Progress.Item("building keys of table " + t.Name)
	err := l.addKeys(ctx, c, t)
	if err == nil {
		now, err := l.showCreate(ctx, c, t.Name)
		if err != nil {
			return err
		}
		if sameKeys(now, t.whole) {
			return nil
		}
		return l.loadAgain(ctx, c, t, errors.New("the server made other keys than the table had"))
	}
	switch mysql.Number(err) {
	case 0, erServerShutdown, erQueryInterrupted, erConnectionKilled, erStatementTimeout, erQueryTimeoutMySQL, erDeadlock, mysql.ErLockWaitTimeout:
		return keysError(t.Name, err)
	case erDupKey, erDupEntry, erDupUnknownInIndex:
		return &core.Error{
			Code: core.CodeDamage, Op: "restore table " + t.Name + ", build its keys", Err: err,
			Message: "rows that a unique key tells apart are equal for this server",
			Hint:    "backstay verify tells whether the backup is whole; if it is, this server's collations or versions make keys equal that were not",
		}
	}
	return l.loadAgain(ctx, c, t, err)
}

// sameKeys says whether two printed definitions have the same keys in the same
// order. Other things may have changed meanwhile, as the next AUTO_INCREMENT value does.
func sameKeys(a, b string) bool {
	x, ok1 := readDefinition(a)
	y, ok2 := readDefinition(b)
	return ok1 && ok2 && slices.EqualFunc(x.keys, y.keys, func(k, o key) bool { return k.text == o.text })
}

func keysError(table string, err error) error {
	if mysql.Number(err) == 0 {
		return fmt.Errorf("restore table %s: build its keys: %w", table, err)
	}
	e := &core.Error{
		Code: core.CodeDatabase, Op: "restore table " + table, Message: "the server did not finish building its keys; its rows are in, its keys are not", Err: err,
		Hint: "see why the statement was ended (KILL, a limit on statements, the server's error log), then run the restore again: it makes the table anew",
	}
	if mysql.Number(err) == mysql.ErLockWaitTimeout {
		e.Hint = "another session holds the table (SHOW FULL PROCESSLIST); end it, then run the restore again"
	}
	return e
}

func (l *loader) addKeys(ctx context.Context, c *mysql.Conn, t *tableLoad) error {
	statements := addStatements(l.at(t.Name), t.later)
	if t.disabled {
		statements = []string{"ALTER TABLE " + l.quoted(t.Name) + " ENABLE KEYS"}
	}
	for _, s := range statements {
		var err error
		for range tries {
			_, err = c.Exec(ctx, s)
			if n := mysql.Number(err); n != erDeadlock && n != mysql.ErLockWaitTimeout {
				break
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// loadAgain makes a table anew, with all its keys, and loads its rows.
func (l *loader) loadAgain(ctx context.Context, c *mysql.Conn, t *tableLoad, cause error) error {
	l.mu.Lock()
	l.result.Warnings = append(l.result.Warnings, core.Warning{
		Code: "keys", Object: "table " + t.Name,
		Message: "its keys could not be built after its rows (" + mysql.ServerText(cause) + "); it was loaded again, with its keys in place, which took longer. Nothing is missing; more room in the server's tmpdir may spare this",
	})
	l.result.Rows -= t.Rows
	l.result.Bytes -= t.Bytes
	l.mu.Unlock()
	if err := l.createTable(ctx, c, t.Table); err != nil {
		return errors.Join(err, cause)
	}
	for i := range t.slices {
		if err := l.loadSlice(ctx, c, t, &t.slices[i]); err != nil {
			return errors.Join(err, cause)
		}
	}
	return nil
}

// do does a part of a step of a table.
func (l *loader) do(ctx context.Context, c *mysql.Conn, t *tableLoad, at step, part int) error {
	if err := l.enterMode(ctx, c, at); err != nil {
		return err
	}
	switch at {
	case stepRows:
		return l.loadSlice(ctx, c, t, &t.slices[part])
	case stepKeys:
		return l.buildKeys(ctx, c, t)
	default:
		return l.verify(ctx, c, t, part)
	}
}
