package sqlread

import (
	"errors"
	"io"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// passRow moves behind the next row; keep is where it begins, unless it is
// discarded. io.EOF: the statement has ended.
func (r *Reader) passRow(discard bool) error {
	r.lex.Discard = true
	defer func() { r.lex.Discard = false }()
	err := r.gap()
	if err == nil && !r.firstRow {
		switch {
		case r.lex.At(0) == ',':
			r.lex.Pos++
			err = r.gap()
		case !r.lex.Versioned && r.lex.Has(r.lex.Mode.Delimiter):
			r.lex.Pos += len(r.lex.Mode.Delimiter)
			r.inRows = false
			return io.EOF
		case r.lex.Pos == r.lex.End && r.lex.Done != nil:
			err = r.lex.Cut("an INSERT")
		default:
			err = &lexer.Refusal{Message: "an INSERT with more than rows of values", Hint: "dump with plain INSERT … VALUES statements"}
		}
	}
	if err == nil && r.lex.At(0) != '(' {
		err = lexer.Refuse("an INSERT without a row of values")
		if r.lex.Pos == r.lex.End {
			err = r.lex.Cut("an INSERT")
		}
	}
	line := r.begun
	if err == nil {
		r.firstRow = false
		r.lex.Keep = r.lex.Pos
		line = r.lex.LineAt(r.lex.Pos)
		r.lex.Discard = discard
		r.bound(r.opt.MaxRow, "a row", "raise the limit of rows")
		from := r.lex.LimitFrom
		err = r.lex.Row()
		if err == nil && r.Offset()-from > r.opt.MaxRow {
			r.lex.Done = lexer.ErrTooLong
			err = r.lex.TooLong()
		}
		r.unbound()
	}
	if err == nil {
		return nil
	}
	r.inRows = false
	err = located(err, line, "")
	var refused *lexer.Refusal
	if errors.As(err, &refused) {
		return r.fail(err)
	}
	if r.fail(err); r.failed == nil {
		r.skip()
	}
	return err
}

// gap passes spaces and comments between rows, and the end of a versioned
// comment that the rows stand in.
func (r *Reader) gap() error {
	for {
		r.spaces()
		if r.lex.Pos == r.lex.End {
			return nil
		}
		switch c := r.lex.Buf[r.lex.Pos]; {
		case c == '*' && r.lex.Versioned && r.lex.At(1) == '/':
			r.lex.Pos += 2
			r.lex.Versioned = false
		case c == '#' || c == '-' && r.lex.Dash() || c == '/' && r.lex.At(1) == '*':
			if err := r.lex.RowComment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}
