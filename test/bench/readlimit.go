package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/backstay/backstay/internal/mysql"
)

// readLimitPart makes this program read all rows and throw them away: what no
// backup through the server can be faster than.
const readLimitPart = "read-limit"

// readPiece is how many bytes of a table, by the server's estimate, a
// connection reads at once.
const readPiece = 16 << 20

func (b *bench) readLimit() (contender, error) {
	self, err := os.Executable()
	return contender{
		name: fmt.Sprintf("rows read and thrown away, %d connections", b.connections),
		command: command{args: []string{
			self, readLimitPart, "-socket", b.lab.server.Socket, "-user", b.lab.server.User, "-connections", strconv.Itoa(b.connections),
		}},
	}, err
}

// counter counts rows and throws them away.
type counter struct{ rows, bytes int64 }

var _ mysql.RowHandler = (*counter)(nil)

func (c *counter) Row(payload []byte) error {
	c.rows++
	c.bytes += int64(len(payload))
	return nil
}

func (c *counter) LargeRow(r *mysql.RowReader) error {
	c.rows++
	for {
		size, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		c.bytes += size
		if _, err := io.CopyN(io.Discard, r, size); err != nil {
			return err
		}
	}
}

// piece is a range of a table's keys.
type piece struct {
	query   string
	columns int
	bytes   float64
}

func readLimit(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet(readLimitPart, flag.ContinueOnError)
	socket := flags.String("socket", "", "")
	user := flags.String("user", "", "")
	connections := flags.Int("connections", 2, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	conns := make([]*mysql.Conn, *connections)
	for i := range conns {
		var err error
		if conns[i], err = mysql.Connect(ctx, mysql.Config{Socket: *socket, User: *user, Database: database}); err != nil {
			return err
		}
		defer conns[i].Close() // only reads
		if _, err := conns[i].Exec(ctx, "start transaction with consistent snapshot"); err != nil {
			return err
		}
	}
	pieces, err := pieces(ctx, conns[0])
	if err != nil {
		return err
	}
	next := make(chan piece, len(pieces))
	for _, p := range pieces {
		next <- p
	}
	close(next)
	counters, errs := make([]counter, len(conns)), make([]error, len(conns))
	var readers sync.WaitGroup
	for i, conn := range conns {
		readers.Go(func() {
			for p := range next {
				if errs[i] == nil {
					errs[i] = conn.Stream(ctx, p.query, p.columns, &counters[i])
				}
			}
		})
	}
	readers.Wait()
	var all counter
	for _, c := range counters {
		all.rows, all.bytes = all.rows+c.rows, all.bytes+c.bytes
	}
	fmt.Fprintf(out, "%d rows, %d bytes\n", all.rows, all.bytes)
	return errors.Join(errs...)
}

// pieces cuts the tables of the dataset, whose keys are all numbers without
// gaps, into ranges of about equal bytes, the largest first.
func pieces(ctx context.Context, conn *mysql.Conn) ([]piece, error) {
	tables, err := conn.Query(ctx, `select t.table_name, t.data_length, count(*) from information_schema.tables t
		join information_schema.columns c using (table_schema, table_name) where t.table_schema = database() group by 1, 2`)
	if err != nil {
		return nil, err
	}
	var all []piece
	for _, t := range tables {
		bytes, err := number(t[1].Text)
		if err != nil {
			return nil, err
		}
		columns, err := strconv.Atoi(t[2].Text)
		if err != nil {
			return nil, err
		}
		name := mysql.QuoteName(t[0].Text)
		ends, err := conn.Query(ctx, "select coalesce(min(id), 0), coalesce(max(id), 0) from "+name)
		if err != nil {
			return nil, err
		}
		low, err := strconv.Atoi(ends[0][0].Text)
		if err != nil {
			return nil, err
		}
		high, err := strconv.Atoi(ends[0][1].Text)
		if err != nil {
			return nil, err
		}
		n := int(bytes/readPiece) + 1
		for i := range n {
			from, to := low+(high+1-low)*i/n, low+(high+1-low)*(i+1)/n
			all = append(all, piece{fmt.Sprintf("select * from %s where id >= %d and id < %d", name, from, to), columns, bytes / float64(n)})
		}
	}
	slices.SortStableFunc(all, func(a, b piece) int { return cmp.Compare(b.bytes, a.bytes) })
	return all, nil
}
