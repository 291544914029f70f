package dump

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/layout"
	"github.com/backstay/backstay/internal/mysql/unchanged"
)

// ErrChanged is in the chain of an error that says that a table's definition
// changed during the dump. A new snapshot may succeed.
var ErrChanged = errors.New("the table's definition changed during the backup")

// Dumped is a database as stored.
type Dumped struct {
	Database core.Database
	Index    core.DatabaseIndex
	Entry    core.Entry // the folder "database"
	Warnings []core.Warning
	Notes    []string           // what is left out that a restore put beside the app's tables, and what the server does not tell
	Evidence unchanged.Evidence // of which tables changed, and why the others were read
}

// Write stores the database as it was at the snapshot's instant. It is called
// once. On error what was written belongs to nothing.
func (s *Snapshot) Write(ctx context.Context, w core.TreeWriter, progress core.Progress) (_ *Dumped, err error) {
	progress.Stage("database", s.EstimatedBytes())
	ctx, stop := mysql.WhileAlive(ctx, s.opt.Config, s.opt.patience)
	defer func() { err = stop(err) }()
	// At once, while they are what they were at the instant.
	objects, folders, err := s.dumpObjects(ctx, w)
	if err != nil {
		return nil, err
	}
	if now, err := s.objectState(ctx); err != nil {
		return nil, err
	} else if now != s.objects {
		return nil, changedObjects()
	}
	index, data, schema, err := s.dumpTables(ctx, w, progress)
	if err != nil {
		return nil, err
	}
	index.Objects = objects
	if err := s.trulyEmpty(ctx, index.Tables); err != nil {
		return nil, err
	}
	if err := s.checkTables(ctx); err != nil {
		return nil, err
	}
	d := &Dumped{}
	if d.Database, err = s.describe(ctx, index); err != nil {
		return nil, err
	}
	d.Index = *index
	indexJSON, err := json.Marshal(index)
	if err != nil {
		return nil, fmt.Errorf("write database index: %w", err)
	}
	sum := sha256.Sum256(indexJSON)
	d.Database.Checksum = hex.EncodeToString(sum[:])
	evidence, err := s.writeEvidence(ctx, w)
	if err != nil {
		return nil, err
	}
	d.Evidence, d.Database.Evidence = *s.watch.Evidence(), evidencePath
	if d.Entry, err = writeDatabaseDir(ctx, w, indexJSON, data, append(folders, schema...), evidence); err != nil {
		return nil, err
	}
	d.Warnings = s.Warnings
	if d.Notes, err = s.besides(ctx); err != nil {
		return nil, err
	}
	d.Notes = append(d.Notes, s.masked...)
	if s.lockedNote != "" {
		s.Consistency.Why = strings.TrimPrefix(s.Consistency.Why+"; "+s.lockedNote, "; ")
	}
	return d, nil
}

const indexPath = "database/index.json"

func writeDatabaseDir(ctx context.Context, w core.TreeWriter, index []byte, data, schema []core.Entry, more ...core.Entry) (core.Entry, error) {
	indexEntry, err := layout.WriteFile(ctx, w, indexPath, "index.json", index)
	if err != nil {
		return core.Entry{}, err
	}
	dataDir, err := layout.WriteDir(ctx, w, "data", data)
	if err != nil {
		return core.Entry{}, err
	}
	schemaDir, err := layout.WriteDir(ctx, w, "schema", schema)
	if err != nil {
		return core.Entry{}, err
	}
	return layout.WriteDir(ctx, w, "database", append(more, indexEntry, dataDir, schemaDir))
}

// describe says of the database what the manifest needs, and completes index.
func (s *Snapshot) describe(ctx context.Context, index *core.DatabaseIndex) (core.Database, error) {
	db := core.Database{
		Name: s.database, Prefix: s.opt.Prefix, Server: s.Server.DatabaseServer,
		Index: indexPath, Tables: len(index.Tables),
	}
	rows, err := s.control.Query(ctx, "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(s.database))
	if err != nil {
		return db, fmt.Errorf("read the database's character set: %w", err)
	}
	if len(rows) == 1 {
		db.Charset, db.Collation = rows[0][0].Text, rows[0][1].Text
		index.Charset, index.Collation = db.Charset, db.Collation
	}
	if index.Comment, err = s.databaseComment(ctx); err != nil {
		return db, fmt.Errorf("read the database's comment: %w", err)
	}
	for _, t := range index.Tables {
		db.Rows += t.Rows
		db.Bytes += t.Bytes
	}
	for _, t := range s.watch.Evidence().Tables {
		if t.Read > 0 && t.Why == "" {
			db.Reused++
		}
	}
	return db, nil
}

// checkTables looks once more: a table made or dropped meanwhile is not in the
// backup as it should be.
func (s *Snapshot) checkTables(ctx context.Context) error {
	before := s.tables
	if err := s.listTables(ctx); err != nil {
		return err
	}
	gone := func(a, b []tableInfo) string {
		for _, t := range a {
			if !slices.ContainsFunc(b, func(o tableInfo) bool { return o.name == t.name }) {
				return t.name
			}
		}
		return ""
	}
	if name := gone(before, s.tables); name != "" {
		return changed(name, errors.New("it was dropped or renamed"))
	}
	if name := gone(s.tables, before); name != "" {
		// It was made after the instant, so it does not belong to this backup.
		s.Warnings = append(s.Warnings, core.Warning{
			Code: "new-table", Object: "table " + name, Message: "it was made after the backup's instant and is not in it; the next backup will have it",
		})
	}
	return nil
}

func changedObjects() error {
	return &core.Error{
		Code: core.CodeDatabase, Op: "dump views, triggers, routines and events", Err: errors.Join(ErrChanged, errors.New("one was made, dropped or changed while the backup began")),
		Hint: "an update is changing the schema; back up again when it is done",
	}
}

func changed(table string, cause error) error {
	return &core.Error{
		Code: core.CodeDatabase, Op: "dump table " + table, Err: errors.Join(ErrChanged, cause),
		Hint: "an update or a maintenance job is changing the schema; back up again when it is done",
	}
}

// tableWork is a table on its way into the backup. Its slices may be read by
// several connections at once.
type tableWork struct {
	info   tableInfo
	def    *definition
	masked []string // columns of whose members nobody knows what they are
	slices []slice
	// history is how all versions of the rows are read; nil: they are not.
	history *history

	hasRows atomic.Bool  // in the readers' view
	left    atomic.Int64 // slices to read

	former *core.Table // its rows are taken over from an earlier backup
	data   core.Entry  // with the folder that has them there
}

func (s *Snapshot) dumpTables(ctx context.Context, w core.TreeWriter, progress core.Progress) (*core.DatabaseIndex, []core.Entry, []core.Entry, error) {
	var free, locked []*tableWork
	for _, t := range s.tables {
		if t.transactional || s.locker == nil {
			free = append(free, &tableWork{info: t})
		} else {
			locked = append(locked, &tableWork{info: t})
		}
	}
	g, gctx := errgroup.WithContext(ctx)
	if s.locker != nil {
		g.Go(func() error { return s.dumpLocked(gctx, locked, w, progress) })
	}
	g.Go(func() error { return s.dumpFree(gctx, free, w, progress) })
	if err := g.Wait(); err != nil {
		return nil, nil, nil, err
	}
	works := append(free, locked...)
	slices.SortFunc(works, func(a, b *tableWork) int { return strings.Compare(a.info.name, b.info.name) })
	s.warnOfHistory(works)
	s.noteMasked(works)
	return collect(ctx, works, w)
}

// dumpLocked copies the tables that are held by a lock, then lets them go.
func (s *Snapshot) dumpLocked(ctx context.Context, works []*tableWork, w core.TreeWriter, progress core.Progress) error {
	start := s.opt.Clock.Now()
	var names []string
	for _, t := range works {
		if err := s.plan(ctx, s.locker, t); err != nil {
			return err
		}
		for i := range t.slices {
			if err := s.dumpSlice(ctx, s.locker, t, i, w, progress); err != nil {
				return err
			}
		}
		names = append(names, t.info.name)
	}
	if _, err := s.locker.Exec(ctx, "UNLOCK TABLES"); err != nil {
		return err
	}
	s.lockedNote = fmt.Sprintf("writers of the tables without transactions (%s) waited up to %d ms more, while these were copied",
		strings.Join(names, ", "), s.opt.Clock.Now().Sub(start).Milliseconds())
	return nil
}

// dumpFree reads all other tables over all readers: first every table's
// definition and slices, then the slices, largest first, so that no connection
// is left alone with a large one at the end.
func (s *Snapshot) dumpFree(ctx context.Context, works []*tableWork, w core.TreeWriter, progress core.Progress) error {
	if err := mysql.Share(ctx, s.readers, len(works), func(ctx context.Context, c *mysql.Conn, i int) error {
		return s.plan(ctx, c, works[i])
	}); err != nil {
		return err
	}
	type job struct {
		table *tableWork
		slice int
	}
	var jobs []job
	for _, t := range works {
		t.left.Store(int64(len(t.slices)))
		if len(t.slices) == 0 {
			s.wasRead(t.info.name)
		}
		for i := range t.slices {
			jobs = append(jobs, job{t, i})
		}
	}
	slices.SortStableFunc(jobs, func(a, b job) int {
		return cmp.Compare(b.table.slices[b.slice].bytes, a.table.slices[a.slice].bytes)
	})
	return mysql.Share(ctx, s.readers, len(jobs), func(ctx context.Context, c *mysql.Conn, i int) error {
		t := jobs[i].table
		err := s.dumpSlice(ctx, c, t, jobs[i].slice, w, progress)
		if err == nil && t.left.Add(-1) == 0 {
			s.wasRead(t.info.name)
		}
		return err
	})
}

// withTable calls do while the connection holds the table open, so that its
// definition cannot change, and lets go of it after: a connection that held
// every table until the end would make an ALTER TABLE, and all behind it,
// wait for the whole backup.
func (s *Snapshot) withTable(ctx context.Context, c *mysql.Conn, t *tableWork, do func() error) error {
	err := s.holdTable(ctx, c, t, do)
	switch mysql.Number(err) {
	case mysql.ErTableDefChanged, mysql.ErNoSuchTable, mysql.ErNoSuchTableInEngine, mysql.ErDeadlock:
		return changed(t.info.name, err)
	case mysql.ErLockWaitTimeout:
		if s.holds != nil {
			return changed(t.info.name, err)
		}
	}
	if err != nil && !errors.Is(err, ErrChanged) {
		return tableError(t.info.name, err)
	}
	return err
}

// tableError names the table, and what the account lacks where that is it.
func tableError(table string, err error) error {
	if mysql.AccessDenied(err) {
		return &core.Error{
			Code: core.CodeDatabase, Op: "dump table " + table, Message: "the account may not read it", Err: err,
			Hint: "GRANT SELECT on the whole table to the account",
		}
	}
	return fmt.Errorf("dump table %s: %w", table, err)
}

func (s *Snapshot) holdTable(ctx context.Context, c *mysql.Conn, t *tableWork, do func() error) error {
	held := c != s.locker
	if held {
		if err := s.release(ctx, c); err != nil {
			return err
		}
		if _, err := c.Exec(ctx, "SAVEPOINT backstay"); err != nil {
			return err
		}
	}
	// All columns: an account that may read only some of them must not make a
	// backup without the others.
	if _, err := c.Exec(ctx, "SELECT * FROM "+mysql.QuoteName(t.info.name)+" LIMIT 0"); err != nil {
		return err
	}
	var created string
	if err := s.present(c, func(now *mysql.Conn) (err error) {
		created, err = s.created(ctx, now, t.info.name)
		return err
	}); err != nil {
		return err
	}
	if created != t.info.created {
		// The same definition is not enough: another table may have taken the name.
		return changed(t.info.name, errors.New("it was altered, or another table has its name now"))
	}
	if err := s.same(ctx, c, t); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	if held {
		if _, err := c.Exec(ctx, "ROLLBACK TO SAVEPOINT backstay"); err != nil {
			return err
		}
	}
	return nil
}

// plan reads a table's definition and cuts its key into slices.
func (s *Snapshot) plan(ctx context.Context, c *mysql.Conn, t *tableWork) error {
	if t.info.elsewhere { // not even opened: what it shows may be out of reach
		var err error
		if t.def, err = s.define(ctx, c, t.info.name); err != nil {
			return fmt.Errorf("dump table %s: %w", t.info.name, err)
		}
		return nil
	}
	if done, err := s.takeOver(ctx, c, t); done || err != nil {
		return err
	}
	return s.withTable(ctx, c, t, func() (err error) {
		if t.def, err = s.define(ctx, c, t.info.name); err != nil {
			return err
		}
		if err := s.unmask(ctx, c, t); err != nil {
			return err
		}
		if t.info.kind == systemVersioned {
			if t.history, err = s.historyOf(ctx, c, t); err != nil {
				return err
			}
		}
		s.noteDefinition(t)
		t.slices, err = s.cutKey(ctx, c, t)
		if t.history != nil {
			t.slices = t.history.withVersions(t.slices)
		}
		return err
	})
}

func (s *Snapshot) dumpSlice(ctx context.Context, c *mysql.Conn, t *tableWork, i int, w core.TreeWriter, progress core.Progress) error {
	progress.Item("table " + t.info.name)
	return s.withTable(ctx, c, t, func() error {
		create, err := showCreate(ctx, c, t.info.name)
		if err != nil {
			return err
		}
		if !SameDefinition(create, t.def.create) {
			return changed(t.info.name, errors.New("another definition than at the start"))
		}
		def, folder := t.def, layout.FileName(t.info.name)
		if t.slices[i].versions {
			def, folder = &t.history.definition, historyFolder(t.info.name)
		}
		rows := layout.NewRows(ctx, w, "database/data/"+folder, i, progress)
		defer rows.Abandon()
		rows.Encoder.Columns = len(def.selects)
		if err := c.Stream(ctx, t.selectRows(i), len(def.selects), &rows.Encoder); err != nil {
			return err
		}
		if t.slices[i].Stored, err = rows.Finish(); err != nil {
			return err
		}
		return t.sumGenerated(ctx, c, i)
	})
}

func (t *tableWork) selectRows(i int) string {
	def, versions := t.def, ""
	if t.slices[i].versions {
		def, versions = &t.history.definition, " FOR SYSTEM_TIME ALL"
	}
	q := "SELECT " + strings.Join(def.selects, ", ") + " FROM " + mysql.QuoteName(t.info.name) + versions
	if len(def.key) > 0 {
		q += " FORCE INDEX (PRIMARY)"
	}
	q += " WHERE " + t.slices[i].where
	if len(def.key) > 0 {
		q += " ORDER BY " + mysql.QuoteNames(def.key)
	}
	return q
}

// collect stores the folders and makes the index.
func collect(ctx context.Context, works []*tableWork, w core.TreeWriter) (*core.DatabaseIndex, []core.Entry, []core.Entry, error) {
	index := &core.DatabaseIndex{Tables: []core.Table{}}
	var data, schema []core.Entry
	for _, t := range works {
		name := layout.FileName(t.info.name)
		table := core.Table{
			Name: t.info.name, Engine: t.info.engine, Schema: "database/schema/table/" + name + ".sql",
			Columns: t.def.columns, Key: t.def.key,
		}
		e, err := layout.WriteFile(ctx, w, table.Schema, name+".sql", []byte(t.def.stored))
		if err != nil {
			return nil, nil, nil, err
		}
		schema = append(schema, e)
		if t.former != nil {
			index.Tables = append(index.Tables, *t.former)
			if t.data.Name != "" {
				data = append(data, t.data)
			}
			continue
		}
		var files []core.Entry
		var sum mysql.RowSum
		for _, sl := range t.slices {
			if sl.versions {
				continue
			}
			files = append(files, sl.Entries...)
			table.LongestRow = max(table.LongestRow, sl.Longest)
			for _, c := range sl.Chunks {
				part, err := mysql.ParseRowSum(c.Checksum)
				if err != nil {
					return nil, nil, nil, err
				}
				sum.Add(part)
				table.Rows += c.Rows
				table.Bytes += c.Bytes
				table.Chunks = append(table.Chunks, c)
			}
		}
		table.Checksum, table.Generated = sum.String(), t.sums(table.Rows)
		if len(files) > 0 {
			dir, err := layout.WriteDir(ctx, w, name, files)
			if err != nil {
				return nil, nil, nil, err
			}
			data = append(data, dir)
		}
		history, folders, err := collectHistory(ctx, t, w)
		if err != nil {
			return nil, nil, nil, err
		}
		if history != nil {
			table.History, table.LongestRow = history, max(table.LongestRow, history.LongestRow)
		}
		data = append(data, folders...)
		index.Tables = append(index.Tables, table)
	}
	folder, err := layout.WriteDir(ctx, w, "table", schema)
	if err != nil {
		return nil, nil, nil, err
	}
	return index, data, []core.Entry{folder}, nil
}
