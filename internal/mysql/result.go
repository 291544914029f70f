package mysql

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// NextValue takes the first value off a row's payload. null is true for NULL;
// value is a part of payload.
func NextValue(payload []byte) (value []byte, null bool, rest []byte, err error) {
	if len(payload) > 0 && payload[0] < 0xfb { // the common case, short
		n := int(payload[0]) + 1
		if len(payload) >= n {
			return payload[1:n], false, payload[n:], nil
		}
	}
	if len(payload) > 0 && payload[0] == headerLocal {
		return nil, true, payload[1:], nil
	}
	n, rest, ok := lengthInt(payload)
	if !ok || uint64(len(rest)) < n {
		return nil, false, nil, errMalformedRow
	}
	return rest[:n], false, rest[n:], nil
}

// RowHandler takes the rows of a result, one call a row.
type RowHandler interface {
	// Row gets a row's payload, for NextValue. It is valid until Row returns.
	Row(payload []byte) error
	// LargeRow gets a row of over 1 MiB and must read it to its end.
	LargeRow(r *RowReader) error
}

// Stream runs a query and hands its rows to h. columns is how many the caller
// expects; another number is an error. Memory does not depend on the size of
// the result or of a row. An error of h ends the session and is returned as it is.
func (c *Conn) Stream(ctx context.Context, query string, columns int, h RowHandler) error {
	done := c.watch(ctx)
	return done(c.stream(query, columns, h))
}

func (c *Conn) stream(query string, columns int, h RowHandler) error {
	if err := c.send(comQuery, query); err != nil {
		return err
	}
	n, _, err := c.resultHeader()
	if err != nil {
		return err
	}
	if columns >= 0 && n != columns {
		return fmt.Errorf("result has %d columns, expected %d", n, columns)
	}
	if n == 0 {
		return nil
	}
	for range n + 1 { // definitions, then EOF
		if _, err := c.readPacket(maxAnswer); err != nil {
			return err
		}
	}
	for {
		length, err := c.readHeader()
		if err != nil {
			return err
		}
		if length > wholeRow {
			first, err := c.r.Peek(1)
			if err != nil {
				return err
			}
			if first[0] == headerERR {
				return errMalformedRow
			}
			row := &RowReader{c: c, left: length, last: length < maxPacket}
			err = h.LargeRow(row)
			if row.err != nil {
				return row.err
			}
			if err != nil {
				return byHandler(err)
			}
			if row.left > 0 || !row.last {
				return &handlerError{errors.New("row was not read to its end")}
			}
			continue
		}
		payload, err := c.r.Peek(length)
		if err != nil {
			return err
		}
		if length > 0 && payload[0] == headerEOF && length < 9 {
			_, err := c.r.Discard(length)
			return err
		}
		if length > 0 && payload[0] == headerERR {
			err := parseError(payload)
			if _, derr := c.r.Discard(length); derr != nil {
				return derr
			}
			return err
		}
		if err := h.Row(payload); err != nil {
			return byHandler(err)
		}
		if _, err := c.r.Discard(length); err != nil {
			return err
		}
	}
}

// RowReader reads one large row value by value.
type RowReader struct {
	c    *Conn
	left int   // bytes left in this packet
	last bool  // no packet follows this one
	err  error // of the connection, to tell it from an error of the handler
}

// Next begins the next value and returns its size in bytes.
func (r *RowReader) Next() (size int64, null bool, err error) {
	var b [9]byte
	if _, err := io.ReadFull(r, b[:1]); err != nil {
		return 0, false, err
	}
	n := 1
	switch b[0] {
	case headerLocal:
		return 0, true, nil
	case 0xfc:
		n = 3
	case 0xfd:
		n = 4
	case 0xfe:
		n = 9
	}
	if _, err := io.ReadFull(r, b[1:n]); err != nil {
		if r.err == nil {
			err = errMalformedRow // the row ends within a length
		}
		return 0, false, err
	}
	v, _, ok := lengthInt(b[:n])
	if !ok || v > 1<<40 {
		return 0, false, errMalformedRow
	}
	return int64(v), false, nil
}

// Read reads on in the row, over the ends of packets; io.EOF at the row's end.
func (r *RowReader) Read(p []byte) (int, error) {
	for r.left == 0 {
		if r.last {
			return 0, io.EOF
		}
		n, err := r.c.readHeader()
		if err != nil {
			r.err = err
			return 0, err
		}
		r.left, r.last = n, n < maxPacket
	}
	n, err := r.c.r.Read(p[:min(len(p), r.left)])
	r.left -= n
	if err != nil {
		r.err = err
	}
	return n, err
}

var _ io.Reader = (*RowReader)(nil)

// resultHeader reads the first packet of an answer: the number of columns, or
// 0 and the Result.
func (c *Conn) resultHeader() (int, Result, error) {
	p, err := c.readPacket(maxAnswer)
	if err != nil {
		return 0, Result{}, err
	}
	if len(p) == 0 {
		return 0, Result{}, errors.New("empty answer")
	}
	switch p[0] {
	case headerOK:
		r, err := parseOK(p)
		return 0, r, err
	case headerERR:
		return 0, Result{}, parseError(p)
	case headerLocal:
		// Never send a file that was not offered for this very statement, even
		// when the server asks for one. The session cannot go on.
		return 0, Result{}, errors.New("the server asked for a local file that was not offered")
	}
	n, _, ok := lengthInt(p)
	if !ok || n == 0 || n > maxColumns {
		return 0, Result{}, errors.New("malformed result")
	}
	return int(n), Result{}, nil
}

// Value is one value of a small result.
type Value struct {
	Text string
	Null bool
}

// Row is one row of a small result.
type Row []Value

type collector struct {
	rows []Row
	size int // bytes
}

func (h *collector) Row(payload []byte) error {
	var row Row
	if h.size += len(payload); h.size > maxResult {
		return fmt.Errorf("a result of over %d bytes", maxResult)
	}
	for len(payload) > 0 {
		v, null, rest, err := NextValue(payload)
		if err != nil {
			return err
		}
		row = append(row, Value{Text: string(v), Null: null})
		payload = rest
	}
	h.rows = append(h.rows, row)
	return nil
}

func (h *collector) LargeRow(r *RowReader) error {
	// Metadata has no rows of this size but a huge routine or view.
	p, err := io.ReadAll(io.LimitReader(r, maxResult+1))
	if err != nil {
		return err
	}
	return h.Row(p)
}

// Query runs a query and returns all its rows. It is for small results.
func (c *Conn) Query(ctx context.Context, query string) ([]Row, error) {
	var h collector
	if err := c.Stream(ctx, query, -1, &h); err != nil {
		return nil, err
	}
	return h.rows, nil
}
