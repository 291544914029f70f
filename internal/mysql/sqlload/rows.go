package sqlload

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

const (
	// batchBytes is about how long an INSERT gets: long enough that the way to
	// the server does not count, short enough for several to be under way.
	batchBytes = 2 << 20
	// batchRows keeps the number of warnings of a batch countable: the protocol
	// has 16 bits for it.
	batchRows = 10_000
	// fewRows is the same where the server keeps few warnings.
	fewRows = 200
	// roomBytes is how much may be under way; a single row may be longer.
	roomBytes = 64 << 20
	// deadlocks is how often a batch is sent again that the server gave up.
	deadlocks = 10
)

// batch is rows of one table, for one statement.
type batch struct {
	table    *table
	head     string
	columns  []string // that the INSERT names
	settings settings
	text     strings.Builder
	rows     []rowAt
}

// rowAt says where a row is: in the batch's text, and in the dump.
type rowAt struct {
	begin, end int
	line       int64
}

func (b *batch) row(i int) string { return b.text.String()[b.rows[i].begin:b.rows[i].end] }

// insert takes the rows of an INSERT. Those of several with the same head go
// into the same batch.
func (l *loader) insert(ctx context.Context, s *sqlread.Statement) error {
	if err := l.refresh(ctx); err != nil {
		return err
	}
	t := l.table(s.Name)
	if !t.made {
		return l.notATable(ctx, s, t)
	}
	want := l.settings.forRows()
	if b := l.batch; b != nil && (b.head != s.Text || b.settings != want || b.table != t) {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	if !t.known {
		if err := l.drain(ctx); err != nil { // its columns are asked for over a worker's session
			return err
		}
		if err := l.learn(ctx, t); err != nil {
			return err
		}
	}
	ordered := s.Replace || s.Ignore // which of two rows stays depends on their order
	if ordered {
		t.lossy = true
		if err := l.drain(ctx); err != nil {
			return err
		}
	}
	limit := int(min(batchBytes, l.server.MaxAllowedPacket/2))
	for n := int64(1); ; n++ {
		row, err := l.reader.NextRow()
		if err == io.EOF {
			break
		}
		if err != nil {
			return l.unread(ctx, "table "+s.Name, err)
		}
		t.Read++
		if size := int64(len(s.Text) + len(row) + 16); size >= l.server.MaxAllowedPacket {
			if err := l.tooLarge(s, n, size); err != nil {
				return err
			}
			continue
		}
		if l.batch != nil && l.batch.text.Len()+len(row) >= limit {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
		if l.batch == nil {
			l.batch = &batch{table: t, head: s.Text, columns: s.Columns, settings: want}
			l.batch.text.Grow(max(limit, len(s.Text)+len(row)+1) + 1024)
			l.batch.text.WriteString(s.Text)
			l.batch.text.WriteByte(' ')
		}
		b := l.batch
		if len(b.rows) > 0 {
			b.text.WriteByte(',')
		}
		begin := b.text.Len()
		b.text.Write(row)
		b.rows = append(b.rows, rowAt{begin, b.text.Len(), s.Line})
		if len(b.rows) >= l.batchRows {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
	if ordered {
		return l.drain(ctx)
	}
	return nil
}

// notATable takes an INSERT into what is no table of the dump: its rows are
// counted, and not sent.
func (l *loader) notATable(ctx context.Context, s *sqlread.Statement, t *table) error {
	message := "the dump makes no table of this name"
	view := slices.ContainsFunc(l.later, func(p postponed) bool { return p.Object == sqlread.ObjectView && p.Name == s.Name })
	if view {
		message = "it is a view, and no dump has rows of one"
	}
	if !l.opt.Salvage {
		return &core.Error{
			Code: core.CodeDamage, Op: op, Message: fmt.Sprintf("line %d: rows of table %s are refused: %s", s.Line, s.Name, message),
			Hint: "--salvage loads what can be loaded into a database of its own, for you to look at",
		}
	}
	if t.Read == 0 { // once is enough
		l.flaw(Flaw{Line: s.Line, Object: "table " + s.Name, Message: "its rows were not loaded: " + message, Refused: view})
	}
	for {
		_, err := l.reader.NextRow()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return l.unread(ctx, "table "+s.Name, err)
		}
		t.Read++
	}
}

func (l *loader) tooLarge(s *sqlread.Statement, n, size int64) error {
	message := fmt.Sprintf("row %d of the INSERT needs a statement of %d bytes, and the server takes %d", n, size, l.server.MaxAllowedPacket)
	if l.opt.Salvage {
		l.flaw(Flaw{Line: s.Line, Object: "table " + s.Name, Message: message})
		return nil
	}
	e := &core.Error{
		Code: core.CodeDatabase, Op: op, Message: fmt.Sprintf("line %d: table %s: %s", s.Line, s.Name, message),
		Hint: fmt.Sprintf("raise max_allowed_packet above %d on the server (1G is the most that servers take)", size),
	}
	if size >= 1<<30 {
		e.Code = core.CodeUnsupported
		e.Hint = "no server takes a statement of over 1 GiB; the row has to be dumped in another way"
	}
	return e
}

// learn asks what has to be known of a table to fill it.
func (l *loader) learn(ctx context.Context, t *table) error {
	rows, err := l.hands[0].conn.Query(ctx, "SELECT c.COLUMN_NAME, c.DATA_TYPE, c.EXTRA, COALESCE(e.TRANSACTIONS, 'NO')"+
		" FROM information_schema.COLUMNS c JOIN information_schema.TABLES t USING (TABLE_SCHEMA, TABLE_NAME)"+
		" LEFT JOIN information_schema.ENGINES e ON e.ENGINE=t.ENGINE"+
		" WHERE c.TABLE_SCHEMA=DATABASE() AND c.TABLE_NAME="+mysql.QuoteText(t.Name)+" ORDER BY c.ORDINAL_POSITION")
	if err != nil {
		return fmt.Errorf("ask for the columns of table %s: %w", t.Name, err)
	}
	t.columns, t.known, t.transactional = nil, true, false
	for _, r := range rows {
		t.transactional = r[3].Text == "YES"
		if !strings.Contains(r[2].Text, "INVISIBLE") {
			t.columns = append(t.columns, column{r[0].Text, r[1].Text, strings.Contains(r[2].Text, "STORED GENERATED") || strings.Contains(r[2].Text, "PERSISTENT")})
		}
		if r[1].Text == "timestamp" && !l.zoneSaid {
			t.zoned = true
		}
	}
	return nil
}

func (l *loader) startWorkers(ctx context.Context) {
	l.work = make(chan *batch)
	for _, h := range l.hands {
		l.workers.Go(func() {
			for b := range l.work {
				if l.failure() == nil {
					if err := l.send(ctx, h, b); err != nil {
						l.fail(err)
					}
				}
				l.room.leave(b.text.Len())
				l.pending.Done()
			}
		})
	}
}

func (l *loader) stopWorkers() error {
	close(l.work)
	l.workers.Wait()
	return l.failure()
}

func (l *loader) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
	}
}

func (l *loader) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed
}

// flush hands the batch to a worker.
func (l *loader) flush(ctx context.Context) error {
	b := l.batch
	l.batch = nil
	if b == nil || len(b.rows) == 0 {
		return l.failure()
	}
	l.room.enter(b.text.Len())
	l.pending.Add(1)
	l.work <- b // workers take all there is, whatever happened
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.failure()
}

// drain waits until all rows are in. After it no worker uses its session.
func (l *loader) drain(ctx context.Context) error {
	if err := l.flush(ctx); err != nil {
		return err
	}
	l.pending.Wait()
	return l.failure()
}

// send sends a batch. With Salvage one that the server refuses is sent row by row.
func (l *loader) send(ctx context.Context, h *hand, b *batch) error {
	// Without transactions nobody knows which rows of a refused batch are in.
	if l.opt.Salvage && !b.table.transactional && len(b.rows) > 1 {
		return l.sendRows(ctx, h, b)
	}
	r, err := l.tell(ctx, h, b.settings, b.text.String())
	if err == nil {
		return l.took(ctx, h, b, r)
	}
	if mysql.Number(err) == 0 || ofTheServer(err) {
		return fmt.Errorf("line %d: table %s: %w", b.rows[0].line, b.table.Name, err)
	}
	if !l.opt.Salvage {
		return refusal(b.rows[0].line, "rows of table "+b.table.Name, err)
	}
	if len(b.rows) > 1 {
		return l.sendRows(ctx, h, b)
	}
	l.flaw(Flaw{Line: b.rows[0].line, Object: "table " + b.table.Name, Message: "the server refused a row: " + mysql.ServerText(err)})
	return nil
}

func (l *loader) sendRows(ctx context.Context, h *hand, b *batch) error {
	for i := range b.rows {
		one := &batch{table: b.table, head: b.head, columns: b.columns, settings: b.settings}
		one.text.WriteString(b.head)
		one.text.WriteByte(' ')
		begin := one.text.Len()
		one.text.WriteString(b.row(i))
		one.rows = []rowAt{{begin, one.text.Len(), b.rows[i].line}}
		if err := l.send(ctx, h, one); err != nil {
			return err
		}
	}
	return nil
}

// tell runs a statement, again where the server gave it up for another
// session's sake and took it back.
func (l *loader) tell(ctx context.Context, h *hand, s settings, text string) (r mysql.Result, err error) {
	for range deadlocks {
		r, err = h.exec(ctx, s, text)
		if n := mysql.Number(err); n != mysql.ErDeadlock && n != mysql.ErLockWaitTimeout {
			return r, err
		}
	}
	return r, err
}

// took counts the rows that the server took.
func (l *loader) took(ctx context.Context, h *hand, b *batch, r mysql.Result) error {
	l.mu.Lock()
	b.table.Rows += int64(r.Affected)
	l.mu.Unlock()
	if r.Warnings == 0 {
		return nil
	}
	return l.judge(ctx, h, b.table, b, remarks{r.Warnings, b.rows[0].line})
}

// count counts the rows of tables that REPLACE filled, or INSERT IGNORE: the
// server does not say what became of a row that was like another.
func (l *loader) count(ctx context.Context) error {
	if err := l.allow(ctx, longLimit); err != nil {
		return err
	}
	for _, t := range l.tables {
		if !t.lossy {
			continue
		}
		rows, err := l.hands[0].conn.Query(ctx, "SELECT COUNT(*) FROM "+mysql.QuoteName(t.Name))
		if mysql.Number(err) == mysql.ErNoSuchTable {
			continue
		}
		if err == nil {
			t.Rows, err = strconv.ParseInt(rows[0][0].Text, 10, 64)
		}
		if err != nil {
			return fmt.Errorf("count the rows of table %s: %w", t.Name, err)
		}
	}
	return nil
}

// room bounds the bytes that are under way.
type room struct {
	mu   *sync.Mutex
	free *sync.Cond
	used int
}

func newRoom() room {
	mu := &sync.Mutex{}
	return room{mu: mu, free: sync.NewCond(mu)}
}

// enter waits until there is room for n bytes, or nothing else is there.
func (r *room) enter(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.used > 0 && r.used+n > roomBytes {
		r.free.Wait()
	}
	r.used += n
}

func (r *room) leave(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used -= n
	r.free.Signal()
}
