// Package load puts a dumped database onto a server: tables, rows, and all
// other objects, in an order in which each finds what it needs. It is for the
// engine. It promises that when Load returns without error, Verify on the same
// tables finds the rows that were dumped, or says which table and chunk differ.
package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Source opens the files of a backup by their path in it. Safe for concurrent
// use; a path may be opened again.
type Source interface {
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// Options of a load.
type Options struct {
	Config      mysql.Config // Database is where everything goes; it exists
	Connections int          // 0: 4
	Tables      []string     // only these, without other objects; empty: everything
	Progress    core.Progress
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

	noLocal atomic.Bool // the server refused LOAD DATA LOCAL: use INSERT
	mu      sync.Mutex
	result  Loaded
	hints   map[string][]string // table → what the server remarked while loading it
}

// Load replaces the tables and objects of the index in the target database.
// What else is in the database stays. On error the database is left with what
// was done so far.
func Load(ctx context.Context, index core.DatabaseIndex, source Source, opt Options) (_ *Loaded, err error) {
	if opt.Connections <= 0 {
		opt.Connections = 4
	}
	l := &loader{opt: opt, source: source, hints: map[string][]string{}}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	tables, objects, err := l.choose(index)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, t := range tables {
		total += t.Bytes
	}
	opt.Progress.Stage("load database", total)
	if err := l.dropObjects(ctx, objects); err != nil {
		return nil, err
	}
	if err := l.createAll(ctx, objects, "sequence"); err != nil {
		return nil, err
	}
	if err := l.createTables(ctx, tables); err != nil {
		return nil, err
	}
	if err := l.loadRows(ctx, tables); err != nil {
		return nil, err
	}
	if err := l.verify(ctx, tables); err != nil {
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

func (l *loader) connect(ctx context.Context) (err error) {
	if l.control, err = l.session(ctx); err != nil {
		return err
	}
	if l.server, err = l.control.Server(ctx); err != nil {
		return err
	}
	l.noLocal.Store(!l.server.LocalInfile)
	l.workers = make([]*mysql.Conn, l.opt.Connections)
	for i := range l.workers {
		if l.workers[i], err = l.session(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rowMode lets every value in that a table may hold.
const rowMode = "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"

func (l *loader) session(ctx context.Context) (*mysql.Conn, error) {
	c, err := mysql.Connect(ctx, l.opt.Config)
	if err != nil {
		return nil, err
	}
	// unique_checks stays on: off, MariaDB's bulk insert locks whole tables and
	// was seen (10.11) to spin for ever on rows of some 30 MB.
	if _, err := c.Exec(ctx, "SET foreign_key_checks=0, sql_mode='"+rowMode+"'"); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	// Tables made under laxer rules must come back; not every account may ask
	// for them, and then the server says which table it refuses.
	if _, err := c.Exec(ctx, "SET SESSION innodb_strict_mode=0"); err != nil && mysql.Number(err) == 0 {
		return nil, errors.Join(err, c.Close())
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

func (l *loader) createTables(ctx context.Context, tables []core.Table) error {
	for _, t := range tables {
		create, err := l.read(ctx, t.Schema)
		if err != nil {
			return fmt.Errorf("restore table %s: %w", t.Name, err)
		}
		if _, err := l.control.Exec(ctx, "DROP TABLE IF EXISTS "+mysql.QuoteName(t.Name)); err != nil {
			return tableError(t.Name, "drop the old table", err)
		}
		if _, err := l.control.Exec(ctx, string(create)); err != nil {
			return tableError(t.Name, "create it", err)
		}
	}
	return nil
}

func tableError(table, doing string, err error) error {
	if mysql.Number(err) == 0 {
		return fmt.Errorf("restore table %s: %s: %w", table, doing, err)
	}
	e := &core.Error{Code: core.CodeDatabase, Op: "restore table " + table, Message: "the server refused to " + doing, Err: err}
	if mysql.AccessDenied(err) {
		e.Hint = "a restore needs ALL PRIVILEGES on the target database"
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

// loadRows loads all chunks over all workers. The chunks of one slice follow
// each other on one connection, so that rows mostly come in the key's order.
func (l *loader) loadRows(ctx context.Context, tables []core.Table) error {
	type job struct {
		table  core.Table
		chunks []core.Chunk
		bytes  int64
	}
	var jobs []job
	for _, t := range tables {
		l.result.Tables++
		last := ""
		for _, c := range t.Chunks {
			slice, _, _ := strings.Cut(c.File[strings.LastIndexByte(c.File, '/')+1:], "-")
			if slice != last || len(jobs) == 0 {
				jobs = append(jobs, job{table: t})
			}
			last = slice
			j := &jobs[len(jobs)-1]
			j.chunks = append(j.chunks, c)
			j.bytes += c.Bytes
		}
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return int(min(1, max(-1, b.bytes-a.bytes))) })
	return l.share(ctx, len(jobs), func(ctx context.Context, c *mysql.Conn, i int) error {
		for _, chunk := range jobs[i].chunks {
			if err := l.loadChunk(ctx, c, jobs[i].table, chunk); err != nil {
				return err
			}
		}
		return nil
	})
}

// share calls do for 0 … n-1 over all workers, each one call at a time.
func (l *loader) share(ctx context.Context, n int, do func(ctx context.Context, c *mysql.Conn, i int) error) error {
	var next atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	for _, c := range l.workers {
		g.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := do(ctx, c, i); err != nil {
					return err
				}
			}
		})
	}
	return g.Wait()
}

const (
	erDeadlock = 1213
	tries      = 10 // of a chunk that lost a deadlock against another one
)

func (l *loader) loadChunk(ctx context.Context, c *mysql.Conn, t core.Table, chunk core.Chunk) error {
	l.opt.Progress.Item("table " + t.Name)
	var err error
	var rows int64
	for range tries {
		rows, err = l.sendChunk(ctx, c, t, chunk)
		// A statement that lost a deadlock was rolled back whole, where there
		// are transactions; elsewhere there are no deadlocks.
		if n := mysql.Number(err); n != erDeadlock && n != mysql.ErLockWaitTimeout {
			break
		}
	}
	if err == nil && rows != chunk.Rows {
		err = fmt.Errorf("the server took %d rows of %d%s", rows, chunk.Rows, l.remarks(t.Name))
	}
	if err != nil {
		op := fmt.Sprintf("restore table %s, chunk %s", t.Name, chunk.File)
		if mysql.Number(err) != 0 {
			return &core.Error{Code: core.CodeDatabase, Op: op, Err: err}
		}
		return fmt.Errorf("%s: %w", op, err)
	}
	l.mu.Lock()
	l.result.Rows += rows
	l.result.Bytes += chunk.Bytes
	l.mu.Unlock()
	return nil
}

func (l *loader) sendChunk(ctx context.Context, c *mysql.Conn, t core.Table, chunk core.Chunk) (_ int64, err error) {
	r, err := l.source.Open(ctx, chunk.File)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	if l.noLocal.Load() {
		return l.insertRows(ctx, c, t, r)
	}
	res, err := c.LoadLocal(ctx, loadStatement(t), &counting{r: r, progress: l.opt.Progress})
	if mysql.LocalDisabled(err) {
		l.noLocal.Store(true)
		return l.insertRows(ctx, c, t, r) // nothing was read from r yet
	}
	if err != nil {
		return 0, err
	}
	if res.Warnings > 0 {
		if err := l.noteRemarks(ctx, c, t.Name); err != nil {
			return 0, err
		}
	}
	return int64(res.Affected), nil
}

// noteRemarks keeps what the server said of values that it changed: a checksum
// that differs later is explained by it.
func (l *loader) noteRemarks(ctx context.Context, c *mysql.Conn, table string) error {
	rows, err := c.Query(ctx, "SHOW WARNINGS LIMIT 3")
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range rows {
		if len(l.hints[table]) < 3 && len(r) == 3 {
			l.hints[table] = append(l.hints[table], r[2].Text)
		}
	}
	return nil
}

func (l *loader) remarks(table string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.hints[table]) == 0 {
		return ""
	}
	return " (the server said: " + strings.Join(l.hints[table], "; ") + ")"
}

func loadStatement(t core.Table) string {
	var cols, sets []string
	for i, c := range t.Columns {
		name := mysql.QuoteName(c.Name)
		if c.Form == core.FormText {
			v := fmt.Sprintf("@backstay_%d", i)
			cols = append(cols, v)
			sets = append(sets, name+" = CONVERT("+v+" USING utf8mb4)")
			continue
		}
		cols = append(cols, name)
	}
	s := "LOAD DATA LOCAL INFILE 'rows' INTO TABLE " + mysql.QuoteName(t.Name) +
		` CHARACTER SET binary FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (` + strings.Join(cols, ", ") + ")"
	if len(sets) > 0 {
		s += " SET " + strings.Join(sets, ", ")
	}
	return s
}

// insertBytes is about how long an INSERT may get.
const insertBytes = 1 << 20

// insertRows loads a chunk with INSERT statements, for servers that forbid
// LOAD DATA LOCAL. The chunk is one transaction.
func (l *loader) insertRows(ctx context.Context, c *mysql.Conn, t core.Table, r io.Reader) (int64, error) {
	names := make([]string, len(t.Columns))
	for i, col := range t.Columns {
		names[i] = col.Name
	}
	head := "INSERT INTO " + mysql.QuoteName(t.Name) + " (" + mysql.QuoteNames(names) + ") VALUES "
	wrap := func(i int) (string, string) {
		if i < len(t.Columns) && t.Columns[i].Form == core.FormText {
			return "CONVERT(", " USING utf8mb4)"
		}
		return "", ""
	}
	limit := min(insertBytes, int(l.server.MaxAllowedPacket)/2)
	if _, err := c.Exec(ctx, "START TRANSACTION"); err != nil {
		return 0, err
	}
	var rows int64
	statement := []byte(head)
	flush := func() error {
		if len(statement) == len(head) {
			return nil
		}
		res, err := c.Exec(ctx, string(statement))
		if err != nil {
			return err
		}
		rows += int64(res.Affected)
		statement = statement[:len(head)]
		if res.Warnings > 0 {
			return l.noteRemarks(ctx, c, t.Name)
		}
		return nil
	}
	in := bufio.NewReaderSize(&counting{r: r, progress: l.opt.Progress}, 1<<20)
	for {
		line, err := readLine(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		if len(statement) > len(head) {
			statement = append(statement, ',')
		}
		if statement, err = mysql.AppendRowLiteral(statement, line, len(t.Columns), wrap); err != nil {
			return 0, err
		}
		if len(statement) >= limit {
			if err := flush(); err != nil {
				return 0, l.rollback(ctx, c, err)
			}
		}
	}
	if err := flush(); err != nil {
		return 0, l.rollback(ctx, c, err)
	}
	_, err := c.Exec(ctx, "COMMIT")
	return rows, err
}

// rollback undoes a chunk, so that it can be sent again.
func (l *loader) rollback(ctx context.Context, c *mysql.Conn, err error) error {
	if mysql.Number(err) == 0 {
		return err // the session is lost, and with it the transaction
	}
	if _, rerr := c.Exec(ctx, "ROLLBACK"); rerr != nil {
		return errors.Join(err, rerr)
	}
	return err
}

// readLine returns the next line without its newline. A last line without one
// is an error: the chunk was cut short.
func readLine(r *bufio.Reader) ([]byte, error) {
	line, err := r.ReadSlice('\n')
	if err == nil {
		return line[:len(line)-1], nil
	}
	long := bytes.Clone(line)
	for err == bufio.ErrBufferFull {
		line, err = r.ReadSlice('\n')
		long = append(long, line...)
	}
	if err == io.EOF && len(long) > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, err
	}
	return long[:len(long)-1], nil
}

// counting reports what is read.
type counting struct {
	r        io.Reader
	progress core.Progress
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.progress.Add(int64(n))
	return n, err
}
