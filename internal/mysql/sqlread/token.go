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
	dropped bool // left out of the text that is sent
}

// maxPieces bounds the memory that a statement of many small tokens takes.
const maxPieces = 1 << 20

// unquote returns what a quoted name or a plain text stands for.
func unquote(t string, escapes bool) string {
	if len(t) < 2 {
		return t
	}
	q := t[:1]
	in := strings.ReplaceAll(t[1:len(t)-1], q+q, q)
	if !escapes || !strings.Contains(in, `\`) {
		return in
	}
	var b strings.Builder
	for i := 0; i < len(in); i++ {
		if in[i] == '\\' && i+1 < len(in) {
			i++
		}
		b.WriteByte(in[i])
	}
	return b.String()
}

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

// clean makes text of a dump fit for a message.
func clean(text []byte, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return strings.TrimSpace(strings.Map(func(c rune) rune {
		if c < ' ' || c == 0x7f || c == '\uFFFD' {
			return '?'
		}
		return c
	}, strings.ToValidUTF8(string(text), "?")))
}
