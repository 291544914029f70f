package mysql

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// The classic client/server protocol, text form, without CLIENT_DEPRECATE_EOF
// and CLIENT_QUERY_ATTRIBUTES: https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html

const (
	comQuit  = 0x01
	comQuery = 0x03
	comPing  = 0x0e

	headerOK    = 0x00
	headerLocal = 0xfb // the server asks for a local file; in a row: NULL
	headerEOF   = 0xfe
	headerERR   = 0xff

	maxPacket = 1<<24 - 1 // payload bytes; one this long is continued by the next

	// wholeRow is the longest row handed over in one piece. Longer ones pass
	// through a RowReader.
	wholeRow = 1 << 20

	// maxAnswer is the longest packet that is read whole: a definition, an
	// error, the longest routine that a server may hold.
	maxAnswer = 64 << 20
	// maxResult is about the most that Query holds, in bytes.
	maxResult = 256 << 20
	// maxColumns is more than any table of either vendor can have.
	maxColumns = 4096
)

// Conn is one session. It is used by one goroutine at a time. After an error
// that is not a ServerError the session is lost and every call fails.
type Conn struct {
	net     net.Conn
	r       *bufio.Reader
	seq     byte
	id      uint32
	version string
	address string // as configured
	broken  error
	header  [4]byte
}

func newConn(c net.Conn) *Conn {
	return &Conn{net: c, r: bufio.NewReaderSize(c, wholeRow+4)}
}

// ID returns the server's number for this session.
func (c *Conn) ID() uint32 { return c.id }

// Address returns where the session was led to, as Config.Address gives it.
func (c *Conn) Address() string { return c.address }

// Result is the outcome of a statement that gave no rows.
type Result struct {
	Affected uint64
	InsertID uint64
	Warnings int
}

// ServerError is an error that the server reported.
type ServerError struct {
	Number  int
	State   string
	Message string
}

// Error returns the number, the state and the server's text.
func (e *ServerError) Error() string {
	return fmt.Sprintf("error %d (%s): %s", e.Number, e.State, e.Message)
}

// hint says what to do about errors that any statement can meet.
func (e *ServerError) hint() string {
	switch e.Number {
	case erServerShutdown:
		return "the database server was shut down meanwhile; try again when it runs"
	case erQueryInterrupted, erConnectionKilled:
		return "somebody, or a watchdog on the server, ended the session (KILL); try again"
	case erStatementTimeMariaDB, erStatementTimeMySQL:
		return "the server limits how long a statement may take and the account may not lift it: raise max_statement_time or max_execution_time for the account"
	case ErLockWaitTimeout:
		return "a long transaction, query or ALTER TABLE holds the table: SHOW PROCESSLIST names it; try again when it is done"
	case erTableCorrupt, erTableCrashed, erTableCrashedRepair, erCorrupt, ErNoSuchTableInEngine:
		return "CHECK TABLE and REPAIR TABLE, or the server's error log, say more; backstay does not back up a damaged table as if it were whole"
	case erDiskFull, erErrorWriting, erTableFull:
		return "free some space on the database server"
	case erPacketTooLarge:
		return "raise max_allowed_packet on the server"
	}
	return ""
}

// Close ends the session. It never waits for the server.
func (c *Conn) Close() error {
	if c.broken == nil {
		c.broken = net.ErrClosed
		_ = c.net.SetDeadline(time.Unix(1<<40, 0))
		_, _ = c.net.Write([]byte{1, 0, 0, 0, comQuit}) // a courtesy; the close below is what counts
	}
	if err := c.net.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close database connection: %w", err)
	}
	return nil
}

// watch makes ctx end the conversation on c; the returned function ends the
// watch and turns err into what the caller should see.
func (c *Conn) watch(ctx context.Context) func(error) error {
	if ctx.Err() != nil { // the function below may come too late for a quick answer
		_ = c.net.SetDeadline(time.Unix(1, 0))
	}
	stop := context.AfterFunc(ctx, func() { _ = c.net.SetDeadline(time.Unix(1, 0)) })
	return func(err error) error {
		cancelled := !stop()
		var server *ServerError
		if err == nil || errors.As(err, &server) {
			if cancelled {
				c.broken = ctx.Err() // the answer was read, but the deadline has spoiled the connection
			}
			if err != nil {
				return &core.Error{Code: core.CodeDatabase, Hint: server.hint(), Err: err}
			}
			return nil
		}
		_ = c.net.Close()
		if cancelled {
			// What fails on the session from now on fails because of that, not
			// because of the deadline by which it was done.
			if c.broken == nil {
				c.broken = ctx.Err()
			}
			return ctx.Err()
		}
		if c.broken != nil {
			return err // said already
		}
		c.broken = err
		var handled *handlerError
		if errors.As(err, &handled) {
			return handled.err
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errCutByServer
		}
		return &core.Error{
			Code: core.CodeDatabase, Message: "the connection to the database was lost", Err: err,
			Hint: lostHint,
		}
	}
}

const lostHint = "the server's error log says why: a restart, a crash, or a timeout"

// handlerError marks an error of the caller's row handler or reader, which
// leaves the conversation half-way but is not the server's fault.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }
func (e *handlerError) Unwrap() error { return e.err }

// byHandler marks err, unless what the handler complains of came from the peer.
func byHandler(err error) error {
	if errors.Is(err, errMalformedRow) {
		return err
	}
	return &handlerError{err}
}

func (c *Conn) send(command byte, text string) error {
	if c.broken != nil {
		return &core.Error{Code: core.CodeDatabase, Message: "the connection to the database was lost", Hint: lostHint, Err: c.broken}
	}
	c.seq = 0
	// Header and text in one write where that is cheap; long statements are
	// split into packets.
	payload := make([]byte, 0, 5+min(len(text), maxPacket))
	first := true
	for {
		n := len(text)
		room := maxPacket
		payload = payload[:0]
		if first {
			room--
		}
		n = min(n, room)
		length := n
		if first {
			length++
		}
		payload = append(payload, byte(length), byte(length>>8), byte(length>>16), c.seq)
		if first {
			payload = append(payload, command)
			first = false
		}
		payload = append(payload, text[:n]...)
		text = text[n:]
		c.seq++
		if _, err := c.net.Write(payload); err != nil {
			return err
		}
		if length < maxPacket {
			return nil
		}
	}
}

func (c *Conn) readHeader() (int, error) {
	if _, err := io.ReadFull(c.r, c.header[:]); err != nil {
		return 0, err
	}
	if c.header[3] != c.seq {
		return 0, fmt.Errorf("packet out of order: %d, expected %d", c.header[3], c.seq)
	}
	c.seq++
	return int(c.header[0]) | int(c.header[1])<<8 | int(c.header[2])<<16, nil
}

// readPacket reads a whole payload of at most limit bytes.
func (c *Conn) readPacket(limit int) ([]byte, error) {
	var payload []byte
	for {
		n, err := c.readHeader()
		if err != nil {
			return nil, err
		}
		if len(payload)+n > limit {
			return nil, fmt.Errorf("an answer of over %d bytes", limit)
		}
		start := len(payload)
		payload = slices.Grow(payload, n)[:start+n]
		if _, err := io.ReadFull(c.r, payload[start:]); err != nil {
			return nil, err
		}
		if n < maxPacket {
			return payload, nil
		}
	}
}

func parseError(p []byte) error {
	if len(p) < 3 {
		return errors.New("malformed error packet")
	}
	e := &ServerError{Number: int(binary.LittleEndian.Uint16(p[1:])), State: "HY000", Message: string(p[3:])}
	if len(p) >= 9 && p[3] == '#' {
		e.State, e.Message = string(p[4:9]), string(p[9:])
	}
	return e
}

func parseOK(p []byte) (Result, error) {
	affected, rest, ok1 := lengthInt(p[1:])
	insert, rest, ok2 := lengthInt(rest)
	if !ok1 || !ok2 || len(rest) < 4 {
		return Result{}, errors.New("malformed OK packet")
	}
	return Result{Affected: affected, InsertID: insert, Warnings: int(binary.LittleEndian.Uint16(rest[2:]))}, nil
}

func lengthInt(p []byte) (uint64, []byte, bool) {
	if len(p) == 0 {
		return 0, nil, false
	}
	n := 0
	switch p[0] {
	case 0xfc:
		n = 2
	case 0xfd:
		n = 3
	case 0xfe:
		n = 8
	case 0xfb, 0xff:
		return 0, nil, false
	default:
		return uint64(p[0]), p[1:], true
	}
	if len(p) < n+1 {
		return 0, nil, false
	}
	var v uint64
	for i := n; i > 0; i-- {
		v = v<<8 | uint64(p[i])
	}
	return v, p[n+1:], true
}

// Exec runs a statement and throws rows away, should there be any.
func (c *Conn) Exec(ctx context.Context, statement string) (Result, error) {
	done := c.watch(ctx)
	r, err := c.exec(statement)
	return r, done(err)
}

func (c *Conn) exec(statement string) (Result, error) {
	if err := c.send(comQuery, statement); err != nil {
		return Result{}, err
	}
	n, r, err := c.resultHeader()
	if err != nil || n == 0 {
		return r, err
	}
	eofs := 0
	for eofs < 2 {
		p, err := c.readPacket(maxAnswer)
		if err != nil {
			return Result{}, err
		}
		if len(p) > 0 && p[0] == headerERR {
			return Result{}, parseError(p)
		}
		if len(p) > 0 && p[0] == headerEOF && len(p) < 9 {
			eofs++
		}
	}
	return Result{}, nil
}

// LocalPiece is the size in bytes of the packets in which LoadLocal sends a file.
const LocalPiece = 1 << 18

// LoadLocal runs a LOAD DATA LOCAL statement and sends the bytes of r as its
// file. When r fails, the session is ended, so that the server does not take
// half a file for a whole one, and r's error is returned.
func (c *Conn) LoadLocal(ctx context.Context, statement string, r io.Reader) (Result, error) {
	done := c.watch(ctx)
	res, err := c.loadLocal(statement, r)
	return res, done(err)
}

func (c *Conn) loadLocal(statement string, r io.Reader) (Result, error) {
	if err := c.send(comQuery, statement); err != nil {
		return Result{}, err
	}
	p, err := c.readPacket(maxAnswer)
	if err != nil {
		return Result{}, err
	}
	switch {
	case len(p) > 0 && p[0] == headerERR:
		return Result{}, parseError(p)
	case len(p) == 0 || p[0] != headerLocal:
		return Result{}, errors.New("the server did not ask for the data")
	}
	buf := make([]byte, 4+LocalPiece)
	for {
		n, err := io.ReadFull(r, buf[4:])
		if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF {
			return Result{}, &handlerError{err}
		}
		if n > 0 {
			if werr := c.writePacket(buf, n); werr != nil {
				return Result{}, werr
			}
		}
		if err != nil {
			break
		}
	}
	if err := c.writePacket(buf, 0); err != nil {
		return Result{}, err
	}
	if p, err = c.readPacket(maxAnswer); err != nil {
		return Result{}, err
	}
	if len(p) > 0 && p[0] == headerERR {
		return Result{}, parseError(p)
	}
	if len(p) == 0 || p[0] != headerOK {
		return Result{}, errors.New("malformed answer to the data")
	}
	return parseOK(p)
}

// writePacket sends buf[4:4+n], with the header put into buf[:4].
func (c *Conn) writePacket(buf []byte, n int) error {
	buf[0], buf[1], buf[2], buf[3] = byte(n), byte(n>>8), byte(n>>16), c.seq
	c.seq++
	_, err := c.net.Write(buf[:4+n])
	return err
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }
