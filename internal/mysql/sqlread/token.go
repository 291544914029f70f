package sqlread

import (
	"errors"
	"strconv"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// token is a piece of a statement, by its place behind Keep.
type token struct {
	from, to int32
	kind     lexer.Kind
}

// piece is a significant token for the grammar.
type piece struct {
	kind    lexer.Kind
	text    string
	upper   string // of words
	from    int32  // its place in the statement's raw text
	to      int32
	dropped bool // left out of the text that is sent
}

// maxPieces bounds the memory that a statement of many small tokens takes.
const maxPieces = 1 << 20

// located turns what is wrong into an error for a person.
func located(err error, line int64, begin string) error {
	var r *lexer.Refusal
	if !errors.As(err, &r) {
		var e *core.Error
		if errors.As(err, &e) && e.Code == core.CodeDamage {
			return &core.Error{Code: e.Code, Op: e.Op, Message: e.Message + " that begins at line " + strconv.FormatInt(line, 10), Hint: e.Hint}
		}
		return err
	}
	code, hint := core.CodeUnsupported, r.Hint
	if r.Damage {
		code = core.CodeDamage
	}
	if hint == "" {
		hint = "only what dumps consist of is read, so that nothing else on the server can be touched; take the statement out of the dump if it is not needed"
	}
	message := "line " + strconv.FormatInt(line, 10) + ": " + r.Message
	if begin != "" {
		message += ": " + begin
	}
	return &core.Error{Code: code, Op: "read SQL dump", Message: message, Hint: hint}
}
