package sqlread

import (
	"errors"
	"strconv"
	"strings"

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
	dropped bool   // left out of the text that is sent
	instead string // what is sent in its place; "": itself
}

const opRead = "read SQL dump"

// maxPieces bounds the memory that a statement of many small tokens takes.
const maxPieces = 1 << 20

// located turns what is wrong into an error for a person.
func located(err error, line int64, begin string) error {
	var r *lexer.Refusal
	if !errors.As(err, &r) {
		var e *core.Error
		if errors.As(err, &e) && e.Code == core.CodeDamage && e.Op == opRead && e.Err == nil {
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
	return &core.Error{Code: code, Op: opRead, Message: message, Hint: hint}
}

// glued refuses a last piece that servers may read as several: 1e5SELECT is a
// number and a word for them, and $a$ … $a$ is a text for some.
func glued(pieces []piece) error {
	n := len(pieces) - 1
	p := &pieces[n]
	if p.kind != lexer.Word {
		return nil
	}
	c := p.text[0]
	switch {
	case c == '$':
		return lexer.Refuse("a name that begins with a dollar sign and has no quotes")
	case (c == 'e' || c == 'E') && fraction(pieces[:n], p.from): // 1.e5SELECT
	case c < '0' || c > '9':
		return nil
	case afterExponent(pieces[:n], p.from): // 1e-5SELECT
		return lexer.Refuse("a number with letters behind it")
	}
	rest := strings.TrimLeft(p.text, "0123456789")
	if rest[0] != 'e' && rest[0] != 'E' {
		if fraction(pieces[:n], p.from) { // 1.5SELECT
			return lexer.Refuse("a number with letters behind it")
		}
		return nil // digits of 0x…, or a name such as 2fa
	}
	if digits := strings.TrimLeft(rest[1:], "0123456789"); digits != "" && (len(digits) < len(rest)-1 || fraction(pieces[:n], p.from)) {
		return lexer.Refuse("a number with letters behind it")
	}
	return nil
}

// fraction says whether what begins at a place comes behind the point of a number.
func fraction(pieces []piece, from int32) bool {
	n := len(pieces) - 1
	if n < 0 || pieces[n].to != from || pieces[n].text != "." {
		return false
	}
	if n == 0 || pieces[n-1].to != pieces[n].from {
		return true
	}
	before := &pieces[n-1]
	return before.kind != lexer.Name && (before.kind != lexer.Word || before.text[0] >= '0' && before.text[0] <= '9')
}

// afterExponent says whether what begins at a place comes behind 1e+ or the like.
func afterExponent(pieces []piece, from int32) bool {
	n := len(pieces) - 1
	if n < 1 || pieces[n].to != from || pieces[n].text != "+" && pieces[n].text != "-" || pieces[n-1].to != pieces[n].from || pieces[n-1].kind != lexer.Word {
		return false
	}
	last := pieces[n-1].text[len(pieces[n-1].text)-1]
	return last == 'e' || last == 'E'
}
