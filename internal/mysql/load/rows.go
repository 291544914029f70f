package load

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// loadSlice loads the chunks of a slice one after the other, so that rows
// mostly come in the key's order.
func (l *loader) loadSlice(ctx context.Context, c *mysql.Conn, t *tableLoad, s *slice) error {
	for i, chunk := range s.chunks {
		var first *string
		if i == 0 && t.ranges {
			first = &s.first
		}
		if err := l.loadChunk(ctx, c, t.Table, chunk, first); err != nil {
			return err
		}
	}
	return nil
}

// firstKey reads the value of the key's first column in the first row of a
// chunk, "" when it is no whole number, and returns a reader of the whole chunk.
func firstKey(t core.Table, r io.Reader) (string, io.Reader, error) {
	head := make([]byte, 4<<10)
	n, err := io.ReadFull(r, head)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
		return "", nil, err
	}
	head = head[:n]
	whole := io.MultiReader(bytes.NewReader(head), r)
	at := slices.IndexFunc(t.Columns, func(c core.Column) bool { return c.Name == t.Key[0] })
	line, _, _ := bytes.Cut(head, []byte("\n"))
	values := bytes.SplitN(line, []byte("\t"), at+2) // a tab in a value is written otherwise
	if at < 0 || len(values) < at+1 || len(values) == at+1 && len(line) == len(head) {
		return "", whole, nil
	}
	value := string(values[at])
	if _, ok := new(big.Int).SetString(value, 10); !ok {
		return "", whole, nil
	}
	return value, whole, nil
}

const (
	erDeadlock = 1213
	tries      = 10 // of a chunk that lost a deadlock against another one
)

// loadChunk loads one chunk. The key of its first row goes to first, if that is not nil.
func (l *loader) loadChunk(ctx context.Context, c *mysql.Conn, t core.Table, chunk core.Chunk, first *string) error {
	l.opt.Progress.Item("table " + t.Name)
	var err error
	var rows int64
	relaxed := false
	for range tries {
		rows, err = l.sendChunk(ctx, c, t, chunk, first)
		if !relaxed && l.opt.Plan.Checked(t.Name) && (mysql.Number(err) == erCheckViolated || err == nil && rows != chunk.Rows) {
			relaxed = true
			if err = l.relax(ctx, c, t); err == nil {
				continue
			}
		}
		// A statement that lost a deadlock was rolled back whole, where there
		// are transactions; elsewhere there are no deadlocks.
		if n := mysql.Number(err); n != erDeadlock && n != mysql.ErLockWaitTimeout {
			break
		}
	}
	op := fmt.Sprintf("restore table %s, chunk %s", t.Name, chunk.File)
	switch {
	case err != nil && mysql.Number(err) != 0:
		e := &core.Error{Code: core.CodeDatabase, Op: op, Err: err, Hint: core.HintOf(err)}
		if e.Hint == "" {
			e.Hint = "the server's settings or version differ from the original's in what this table needs"
		}
		return e
	case err != nil:
		return fmt.Errorf("%s: %w", op, err)
	case rows != chunk.Rows:
		return &core.Error{
			Code: core.CodeDamage, Op: op, Message: fmt.Sprintf("the server took %d rows of %d%s", rows, chunk.Rows, l.remarks(t.Name)),
			Hint: "backstay verify tells whether the backup is whole; if it is, this server's collations or versions make keys equal that were not",
		}
	}
	l.mu.Lock()
	l.result.Rows += rows
	l.result.Bytes += chunk.Bytes
	l.mu.Unlock()
	return nil
}

func (l *loader) sendChunk(ctx context.Context, c *mysql.Conn, t core.Table, chunk core.Chunk, first *string) (rows int64, err error) {
	file, err := l.source.Open(ctx, chunk.File)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	r := io.Reader(file)
	if first != nil {
		if *first, r, err = firstKey(t, r); err != nil {
			return 0, err
		}
	}
	var z *zeros
	if l.foldsZeros(t) {
		z = newZeros(r, t)
		r = z
	}
	if l.noLocal.Load() {
		n, err := l.insertRows(ctx, c, t, r)
		l.noteZeros(t, chunk, z)
		return n, err
	}
	if l.opt.Plan.Checked(t.Name) { // so that rows that were left out can be sent again
		if _, err := c.Exec(ctx, "START TRANSACTION"); err != nil {
			return 0, err
		}
		defer func() { err = l.endChunk(ctx, c, rows == chunk.Rows, err) }()
	}
	res, err := c.LoadLocal(ctx, loadStatement(l.here(t), l.counter(t.Name), l.lastInstant), &counting{r: r, progress: l.opt.Progress})
	if mysql.LocalDisabled(err) {
		l.noLocal.Store(true)
		n, err := l.insertRows(ctx, c, t, r) // nothing was read from r yet
		l.noteZeros(t, chunk, z)
		return n, err
	}
	if err != nil {
		return 0, err
	}
	l.noteZeros(t, chunk, z)
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

// loadStatement returns the statement that takes a chunk in. counter is the
// column with AUTO_INCREMENT, "" for none: as soon as anything is SET, servers
// make a new number of a 0 in a column that is not set itself.
func loadStatement(t core.Table, counter, lastInstant string) string {
	cols, sets := make([]string, len(t.Columns)), []string(nil)
	for i, c := range t.Columns {
		name, v := mysql.QuoteName(c.Name), fmt.Sprintf("@backstay_%d", i)
		switch {
		case c.Form == core.FormText:
			sets = append(sets, name+" = CONVERT("+v+" USING utf8mb4)")
		case c.Form == core.FormEnd:
			sets = append(sets, name+" = LEAST("+v+", '"+lastInstant+"')")
		case c.Name == counter && converts(t):
			sets = append(sets, name+" = "+v)
		default:
			v = name
		}
		cols[i] = v
	}
	s := "LOAD DATA LOCAL INFILE 'rows' INTO TABLE " + mysql.QuoteName(t.Name) +
		` CHARACTER SET binary FIELDS TERMINATED BY '\t' ESCAPED BY '\\' LINES TERMINATED BY '\n' (` + strings.Join(cols, ", ") + ")"
	if len(sets) > 0 {
		s += " SET " + strings.Join(sets, ", ")
	}
	return s
}

// converts says whether values of a table are converted on their way in.
func converts(t core.Table) bool {
	return slices.ContainsFunc(t.Columns, func(c core.Column) bool { return c.Form == core.FormText || c.Form == core.FormEnd })
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
	head := "INSERT INTO " + l.quoted(t.Name) + " (" + mysql.QuoteNames(names) + ") VALUES "
	wrap := func(i int) (string, string) {
		if i < len(t.Columns) && t.Columns[i].Form == core.FormText {
			return "CONVERT(", " USING utf8mb4)"
		}
		if i < len(t.Columns) && t.Columns[i].Form == core.FormEnd {
			return "LEAST(", ", '" + l.lastInstant + "')"
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
	for n := int64(1); ; n++ {
		line, err := readLine(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		before := len(statement)
		if before > len(head) {
			statement = append(statement, ',')
		}
		if statement, err = mysql.AppendRowLiteral(statement, line, len(t.Columns), wrap); err != nil {
			return 0, err
		}
		if row := len(statement) - before + len(head); int64(row) >= l.server.MaxAllowedPacket {
			return 0, tooLarge(n, row, l.server.MaxAllowedPacket)
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

func tooLarge(row int64, bytes int, limit int64) error {
	return &core.Error{
		Code: core.CodeDatabase, Message: fmt.Sprintf("row %d of it needs a statement of %d bytes, and the server takes %d", row, bytes, limit),
		Hint: fmt.Sprintf("SET GLOBAL local_infile=1 on the server, which lets rows of any size in, or raise max_allowed_packet above %d", bytes),
	}
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
