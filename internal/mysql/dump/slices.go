package dump

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/layout"
)

// sliceBytes is about how much of a table one connection reads in one go.
const sliceBytes = 64 << 20

// maxSlices is the most slices that a table is cut into, but for uneven keys.
const maxSlices = 4096

// slice is a range of a table's key; the rest is filled in as it is read.
type slice struct {
	where string // "TRUE" for all rows
	bytes int64  // estimate
	// versions says that all versions of the rows are read, not the present ones.
	versions bool
	// generated sums the stored generated columns, where there are any.
	generated mysql.RowSum

	layout.Stored
}

// keySpace says how values of a key's first column are told apart by number.
// Any literals cut the rows into ranges that hold each row once; good ones
// make the ranges equally large.
type keySpace struct {
	number  func(value string) (*big.Int, bool) // a value's place; need not tell all values apart
	literal func(n *big.Int) string
	check   bool // the literals' order is the collation's affair
}

// keySpaceOf returns the key space of a type, the zero value for a type whose
// tables are read in one go.
func keySpaceOf(dataType string) keySpace {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal":
		return keySpace{number: wholeNumber, literal: (*big.Int).String}
	case "binary", "varbinary":
		return keySpace{
			number: func(v string) (*big.Int, bool) {
				var b [8]byte
				copy(b[:], v)
				return new(big.Int).SetUint64(binary.BigEndian.Uint64(b[:])), true
			},
			literal: func(n *big.Int) string { return fmt.Sprintf("X'%016x'", n) },
		}
	case "char", "varchar": // hashes and UUIDs as text
		return keySpace{
			number: func(v string) (*big.Int, bool) {
				n, err := strconv.ParseUint((v + "00000000")[:8], 16, 32)
				return new(big.Int).SetUint64(n), err == nil
			},
			literal: func(n *big.Int) string { return fmt.Sprintf("'%08x'", n) },
			check:   true,
		}
	}
	return keySpace{}
}

func wholeNumber(v string) (*big.Int, bool) {
	v, _, _ = strings.Cut(v, ".")
	return new(big.Int).SetString(v, 10)
}

// cutKey cuts a table into slices of about s.opt.sliceBytes by its key. What
// lies in a range is the server's estimate, so that keys that lie unevenly
// make even slices all the same.
func (s *Snapshot) cutKey(ctx context.Context, c *mysql.Conn, t *tableWork) ([]slice, error) {
	whole := []slice{{where: "TRUE", bytes: t.info.bytes}}
	if t.def.keySpace.number == nil || t.info.bytes < 2*s.opt.sliceBytes {
		return whole, nil
	}
	space, table, key := t.def.keySpace, mysql.QuoteName(t.info.name), mysql.QuoteName(t.def.key[0])
	rows, err := c.Query(ctx, "SELECT MIN("+key+"), MAX("+key+") FROM "+table)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 || len(rows[0]) != 2 || rows[0][0].Null {
		return whole, nil
	}
	low, ok1 := space.number(rows[0][0].Text)
	high, ok2 := space.number(rows[0][1].Text)
	if !ok1 || !ok2 {
		return whole, nil
	}
	// Not FORCE INDEX: with that, MySQL does not look how many rows there are.
	estimate := func(from, to *big.Int) (int64, error) {
		return estimateRows(ctx, c, "SELECT "+key+" FROM "+table+" USE INDEX (PRIMARY) WHERE "+key+" >= "+space.literal(from)+" AND "+key+" < "+space.literal(to))
	}
	all, err := estimate(low, high)
	if err != nil {
		return nil, err
	}
	enough := max(1, all*max(s.opt.sliceBytes, t.info.bytes/maxSlices)/t.info.bytes)
	ranges, err := cutRange(low, high, all, enough, estimate)
	if err != nil {
		return nil, err
	}
	if space.check {
		if ok, err := ascending(ctx, c, key, table, ranges, space.literal); err != nil || !ok {
			return whole, err
		}
	}
	slices := make([]slice, len(ranges))
	for i, r := range ranges {
		var conditions []string
		if i > 0 {
			conditions = append(conditions, key+" >= "+space.literal(r.from))
		}
		if i+1 < len(ranges) { // the first and the last are open, so that no key falls between
			conditions = append(conditions, key+" < "+space.literal(ranges[i+1].from))
		}
		slices[i] = slice{where: strings.Join(append(conditions, "TRUE"), " AND "), bytes: t.info.bytes / max(1, all) * r.rows}
	}
	return slices, nil
}

// estimateRows is how many rows the server expects a query to look at. It
// finds out at the two ends of the range, without reading what lies between.
func estimateRows(ctx context.Context, c *mysql.Conn, query string) (int64, error) {
	rows, err := c.Query(ctx, "EXPLAIN FORMAT=TRADITIONAL "+query)
	if err != nil {
		return 0, err
	}
	// id, select_type, table, [partitions,] type, possible_keys, key, key_len,
	// ref, rows, [filtered,] Extra; MySQL has those in brackets.
	at := 8
	if len(rows) == 1 && len(rows[0]) == 12 {
		at = 9
	}
	if len(rows) != 1 || len(rows[0]) <= at {
		return 0, errors.New("the server's EXPLAIN has another form than was expected")
	}
	if rows[0][at].Null { // the range is known to be empty
		return 0, nil
	}
	n, err := strconv.ParseInt(rows[0][at].Text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the server's EXPLAIN: %w", err)
	}
	return n, nil
}

// ascending says whether the column's collation has the bounds of ranges in
// their order; else a row could be in two of them, or in none.
func ascending(ctx context.Context, c *mysql.Conn, key, table string, ranges []keyRange, literal func(*big.Int) string) (bool, error) {
	for i := 2; i < len(ranges); i++ {
		// The column gives the comparison its collation: NULLIF has that of its first argument.
		a, b := literal(ranges[i-1].from), literal(ranges[i].from)
		rows, err := c.Query(ctx, "SELECT "+a+" < IF("+key+" IS NULL,"+key+","+b+") FROM "+table+" LIMIT 1")
		if err != nil {
			return false, err
		}
		if len(rows) != 1 || rows[0][0].Text != "1" {
			return false, nil
		}
	}
	return true, nil
}

// keyRange begins at from and ends where the next one begins.
type keyRange struct {
	from *big.Int
	rows int64 // estimate
}

// cutRange cuts low … high, which has about rows rows, until no range has more
// than enough, at the roundest numbers, which stay where they are as the table
// grows. A range with hardly a row joins the one before it.
func cutRange(low, high *big.Int, rows, enough int64, estimate func(from, to *big.Int) (int64, error)) ([]keyRange, error) {
	var out []keyRange
	var cut func(from, to *big.Int, rows int64) error
	cut = func(from, to *big.Int, rows int64) error {
		middle := roundest(from, to)
		if rows <= enough || middle == nil {
			if n := len(out); n > 0 && rows < enough/16 {
				out[n-1].rows += rows
			} else {
				out = append(out, keyRange{from, rows})
			}
			return nil
		}
		left, err := estimate(from, middle)
		if err != nil {
			return err
		}
		right, err := estimate(middle, to)
		if err != nil {
			return err
		}
		if err := cut(from, middle, left); err != nil {
			return err
		}
		return cut(middle, to, right)
	}
	err := cut(low, high, rows)
	return out, err
}

// roundest returns the multiple of the greatest power of two between from and
// to, or nil when nothing lies between them.
func roundest(from, to *big.Int) *big.Int {
	if from.Sign() < 0 && to.Sign() > 0 {
		return new(big.Int)
	}
	width := new(big.Int).Sub(to, from)
	if width.Cmp(big.NewInt(2)) < 0 {
		return nil
	}
	for k := to.BitLen() + from.BitLen(); k >= 0; k-- {
		// Div rounds down for negative numbers too (Euclidean, positive divisor).
		step := new(big.Int).Lsh(big.NewInt(1), uint(k))
		n := new(big.Int).Mul(new(big.Int).Add(new(big.Int).Div(from, step), big.NewInt(1)), step)
		if n.Cmp(to) < 0 {
			return n
		}
	}
	return nil
}
