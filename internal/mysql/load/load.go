// Package load puts a dumped database onto a server: tables, rows, and all
// other objects, in an order in which each finds what it needs. It is for the
// engine. It promises that when Load returns without error, Verify on the same
// tables finds the rows that were dumped, or says which table and chunk differ.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/portable"
)

// Source opens the files of a backup by their path in it. Safe for concurrent
// use; a path may be opened again.
type Source interface {
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// Options of a load.
type Options struct {
	Config      mysql.Config // Database is where everything goes; it exists
	Connections int          // 0: as many as serve the server best
	Tables      []string     // only these, without other objects; empty: everything
	Progress    core.Progress
	// DisableEvents creates events without letting them run: for a copy beside
	// the live database.
	DisableEvents bool
	// Plan says what to run in place of the origin's statements; nil: those as
	// they are. A plan that refuses something is an error.
	Plan *portable.Plan
	// Origin is the server that the backup was taken from, by whose settings
	// generated columns are computed; its zero value: by the defaults.
	Origin core.DatabaseServer

	// Names are those under which tables and sequences are made, by what they
	// are called in the backup; what is not in it keeps its name.
	Names map[string]string
	// Rewrite changes the statement that makes a table or sequence of the
	// backup, after Plan; nil changes nothing.
	Rewrite func(name string, statement []byte) ([]byte, error)
	// TablesOnly leaves out all objects but sequences, and the database's
	// defaults as they are.
	TablesOnly bool

	largeTable int64 // for tests; 0: largeTable
}

// Loaded says what was put in place.
type Loaded struct {
	Tables   int
	Objects  int
	Rows     int64
	Bytes    int64
	Warnings []core.Warning
}

// loader is one load under way.
type loader struct {
	opt     Options
	source  Source
	server  mysql.Server
	control *mysql.Conn
	workers []*mysql.Conn

	sqlMode     string      // under which rows come in
	lastInstant string      // that the server can hold, in UTC; asked for where history is loaded
	noLocal     atomic.Bool // the server refused LOAD DATA LOCAL: use INSERT
	// counterLock says that LOAD DATA into a table with AUTO_INCREMENT keeps others out.
	counterLock bool
	mu          sync.Mutex
	result      Loaded
	hints       map[string][]string     // table → what the server remarked while loading it
	changes     map[string]mysql.RowSum // chunk → by how much the server differs from it in ways that are known
	counters    map[string]string       // table whose values are converted → its column with AUTO_INCREMENT
}

// Load replaces the tables and objects of the index in the target database.
// What else is in the database stays. On error the database is left with what
// was done so far.
func Load(ctx context.Context, index core.DatabaseIndex, source Source, opt Options) (_ *Loaded, err error) {
	if err := opt.Plan.Err("restore database " + opt.Config.Database); err != nil {
		return nil, err
	}
	if opt.Connections <= 0 {
		opt.Connections = connections(opt.Config)
	}
	if opt.largeTable == 0 {
		opt.largeTable = largeTable
	}
	l := &loader{opt: opt, source: source, hints: map[string][]string{}, counters: map[string]string{}}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	tables, objects, err := l.choose(index)
	if err != nil {
		return nil, err
	}
	if tables, err = l.withHistory(ctx, tables); err != nil {
		return nil, err
	}
	var total int64
	for _, t := range tables {
		total += t.Bytes
	}
	opt.Progress.Stage("load and verify database", 2*total)
	if opt.TablesOnly {
		objects = slices.DeleteFunc(slices.Clone(objects), func(o core.SchemaObject) bool { return o.Kind != "sequence" })
	} else if len(opt.Tables) == 0 {
		if err := l.setDefaults(ctx, index); err != nil {
			return nil, err
		}
	}
	if err := l.clearNames(ctx, tables, objects); err != nil {
		return nil, err
	}
	if err := l.dropObjects(ctx, objects); err != nil {
		return nil, err
	}
	if err := l.createAll(ctx, objects, "sequence"); err != nil {
		return nil, err
	}
	works, err := l.createTables(ctx, tables)
	if err != nil {
		return nil, err
	}
	if err := newSchedule(works).run(ctx, l.workers, l.do); err != nil {
		return nil, err
	}
	// Triggers come after the rows, or they would fire for every one of them.
	for _, kind := range []string{"function", "procedure", "package", "package body", "view", "trigger", "event"} {
		if err := l.createAll(ctx, objects, kind); err != nil {
			return nil, err
		}
	}
	return &l.result, nil
}

// connections is how many load at once when nobody says. Loading is the
// server's work: on this machine more connections than processors only have it
// switch between them and leave the largest table to the end, and fewer leave
// a processor idle. Of another machine nothing is known.
func connections(c mysql.Config) int {
	host, _, err := net.SplitHostPort(c.Address())
	if socket := err != nil; socket || host == "localhost" || net.ParseIP(host).IsLoopback() {
		return min(max(runtime.NumCPU(), 2), 8)
	}
	return 4
}

func (l *loader) connect(ctx context.Context) (err error) {
	if l.control, err = l.session(ctx); err != nil {
		return err
	}
	if l.server, err = l.control.Server(ctx); err != nil {
		return err
	}
	l.noLocal.Store(!l.server.LocalInfile)
	if err := l.askCounterLock(ctx); err != nil {
		return err
	}
	if l.sqlMode, err = l.originMode(ctx); err != nil {
		return err
	}
	l.workers = make([]*mysql.Conn, l.opt.Connections)
	for i := range l.workers {
		if l.workers[i], err = l.session(ctx); err != nil {
			return err
		}
		// Values are read back as they are stored, as in a dump.
		if _, err := l.workers[i].Exec(ctx, "SET character_set_results=NULL"); err != nil {
			return err
		}
	}
	return nil
}

// rowMode lets every value in that a table may hold.
const rowMode = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"

func (l *loader) session(ctx context.Context) (*mysql.Conn, error) {
	return Session(ctx, l.opt.Config)
}

// Session connects as a load does: no checks of foreign keys, and a sql_mode
// under which every definition and value is taken. The caller closes it.
func Session(ctx context.Context, config mysql.Config) (*mysql.Conn, error) {
	c, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	// unique_checks stays on: off, MariaDB's bulk insert locks whole tables and
	// was seen (10.11) to spin for ever on rows of some 30 MB.
	if _, err := c.Exec(ctx, "SET foreign_key_checks=0, sql_mode='"+rowMode+"'"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	// Not every version knows these and not every account may set them; then
	// the server says which table it refuses, or the check of the rows does.
	for _, set := range []string{
		"lock_wait_timeout=60",                 // of DROP, for which everybody else waits meanwhile
		"innodb_strict_mode=0",                 // tables made under laxer rules
		"check_constraint_checks=0",            // rows that came in before their CHECK, or past it
		"explicit_defaults_for_timestamp=1",    // a definition says all there is to a TIMESTAMP
		"restrict_fk_on_non_standard_key=0",    // MySQL 8.4
		"sql_require_primary_key=0",            // MySQL
		"sql_generate_invisible_primary_key=0", // MySQL
	} {
		if _, err := c.Exec(ctx, "SET SESSION "+set); err != nil && mysql.Number(err) == 0 {
			return nil, errors.Join(err, c.Close())
		}
	}
	return c, nil
}

func (l *loader) close() error {
	var errs []error
	for _, c := range append([]*mysql.Conn{l.control}, l.workers...) {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

func (l *loader) choose(index core.DatabaseIndex) ([]core.Table, []core.SchemaObject, error) {
	if len(l.opt.Tables) == 0 {
		return index.Tables, index.Objects, nil
	}
	var tables []core.Table
	var objects []core.SchemaObject
	for _, name := range l.opt.Tables {
		i := slices.IndexFunc(index.Tables, func(t core.Table) bool { return t.Name == name })
		if i < 0 {
			return nil, nil, &core.Error{
				Code: core.CodeNotFound, Op: "restore table " + name, Message: "the backup has no such table",
				Hint: "backstay show lists a backup's tables",
			}
		}
		tables = append(tables, index.Tables[i])
		// A table's triggers go with it when it is dropped, so they come back with it.
		for _, o := range index.Objects {
			if o.Kind == "trigger" && o.Table == name {
				objects = append(objects, o)
			}
		}
	}
	return tables, objects, nil
}

// setDefaults gives the target database the character set of the original: a
// routine's parameters that name none take the database's.
func (l *loader) setDefaults(ctx context.Context, index core.DatabaseIndex) error {
	if p := l.opt.Plan; p != nil {
		index.Charset, index.Collation = p.Charset, p.Collation
	}
	if err := l.setComment(ctx, index.Comment); err != nil {
		return err
	}
	if index.Collation == "" {
		return nil
	}
	rows, err := l.control.Query(ctx, "SELECT @@collation_database")
	if err != nil {
		return err
	}
	if len(rows) == 1 && rows[0][0].Text == index.Collation {
		return nil
	}
	_, err = l.control.Exec(ctx, "ALTER DATABASE "+mysql.QuoteName(l.opt.Config.Database)+" CHARACTER SET "+mysql.QuoteName(index.Charset)+" COLLATE "+mysql.QuoteName(index.Collation))
	if mysql.Number(err) == 0 {
		return err
	}
	l.result.Warnings = append(l.result.Warnings, core.Warning{
		Code: "collation", Object: "database " + l.opt.Config.Database,
		Message: fmt.Sprintf("its default collation is %s and could not be set to the original's, %s (%s); tables keep their own, routines' parameters may differ", rows[0][0].Text, index.Collation, mysql.ServerText(err)),
	})
	return nil
}

// clearNames drops what has a name that the backup needs for something of
// another kind: DROP TABLE does not drop a view.
func (l *loader) clearNames(ctx context.Context, tables []core.Table, objects []core.SchemaObject) error {
	wanted := map[string]string{}
	for _, t := range tables {
		wanted[l.at(t.Name)] = "TABLE"
	}
	for _, o := range objects {
		if o.Kind == "view" || o.Kind == "sequence" {
			wanted[l.at(o.Name)] = strings.ToUpper(o.Kind)
		}
	}
	rows, err := l.control.Query(ctx, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE()")
	if err != nil {
		return fmt.Errorf("list what is in the target database: %w", err)
	}
	for _, r := range rows {
		kind := "TABLE"
		switch r[1].Text {
		case "VIEW", "SEQUENCE":
			kind = r[1].Text
		}
		if want := wanted[r[0].Text]; want == "" || want == kind {
			continue
		}
		if _, err := l.control.Exec(ctx, "DROP "+kind+" "+mysql.QuoteName(r[0].Text)); err != nil {
			return tableError(r[0].Text, "drop the "+strings.ToLower(kind)+" of this name", err)
		}
	}
	return nil
}

// createTables makes all tables, the large ones without the keys that are
// built after the rows.
func (l *loader) createTables(ctx context.Context, tables []core.Table) ([]*tableLoad, error) {
	// MariaDB refuses expressions that only other modes allow.
	if err := l.enterMode(ctx, l.control, stepRows); err != nil {
		return nil, err
	}
	works := make([]*tableLoad, len(tables))
	for i, t := range tables {
		works[i] = newTableLoad(t)
		l.result.Tables++
		if err := l.createTable(ctx, l.control, t); err != nil {
			return nil, err
		}
		if err := l.prepareTable(ctx, works[i]); err != nil {
			return nil, err
		}
	}
	return works, l.enterMode(ctx, l.control, stepCheck)
}

// at returns the name under which a table or sequence of the backup is made.
func (l *loader) at(name string) string {
	if other, ok := l.opt.Names[name]; ok {
		return other
	}
	return name
}

func (l *loader) quoted(name string) string { return mysql.QuoteName(l.at(name)) }

func (l *loader) rewritten(name string, statement []byte) ([]byte, error) {
	if l.opt.Rewrite == nil {
		return statement, nil
	}
	return l.opt.Rewrite(name, statement)
}

// here returns the table as it is called on this server.
func (l *loader) here(t core.Table) core.Table {
	t.Name = l.at(t.Name)
	return t
}

func (l *loader) createTable(ctx context.Context, c *mysql.Conn, t core.Table) error {
	create, err := l.read(ctx, t.Schema)
	if err != nil {
		return fmt.Errorf("restore table %s: %w", t.Name, err)
	}
	if create, err = l.rewritten(t.Name, l.opt.Plan.Statement(t.Schema, create)); err != nil {
		return fmt.Errorf("restore table %s: %w", t.Name, err)
	}
	if _, err := c.Exec(ctx, "DROP TABLE IF EXISTS "+l.quoted(t.Name)); err != nil {
		return tableError(t.Name, "drop the old table", err)
	}
	if _, err := c.Exec(ctx, string(create)); err != nil {
		return tableError(t.Name, "create it", err)
	}
	if d, ok := readDefinition(string(create)); ok && converts(t) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.counters[t.Name] = d.autoIncrement
	}
	return nil
}

// counter returns the column with AUTO_INCREMENT of a table whose values are
// converted, "" for none.
func (l *loader) counter(table string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counters[table]
}

func tableError(table, doing string, err error) error {
	if mysql.Number(err) == 0 {
		return fmt.Errorf("restore table %s: %s: %w", table, doing, err)
	}
	e := &core.Error{Code: core.CodeDatabase, Op: "restore table " + table, Message: "the server refused to " + doing, Err: err}
	if mysql.AccessDenied(err) {
		e.Hint = "a restore needs ALL PRIVILEGES on the target database"
	}
	if mysql.Number(err) == mysql.ErLockWaitTimeout {
		e.Hint = "another session holds the table (SHOW FULL PROCESSLIST); end it, then run the restore again"
	}
	return e
}

func (l *loader) read(ctx context.Context, path string) (_ []byte, err error) {
	r, err := l.source.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(io.LimitReader(r, 1<<30))
}
