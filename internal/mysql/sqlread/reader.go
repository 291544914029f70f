package sqlread

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

const (
	defaultMaxRow       = 1 << 30
	defaultMaxStatement = 64 << 20
)

// Reader reads a dump. It is used by one goroutine.
type Reader struct {
	lexer
	failed        error // comes again at every call
	database      string
	databaseFixed bool // it was said by more than a comment
	variables     map[string]value
	sqlMode       string
	prepared      string // the prepared statement of Percona's mysqldump
	head          head

	tokens []token
	pieces []piece

	inRows   bool
	firstRow bool
	begun    int64 // line of the INSERT

	comment func(line int64, text []byte) // hears comments between statements; may be nil
}

// New returns a reader of the dump r, from its first byte on.
func New(r io.Reader, opt Options) *Reader {
	if opt.MaxRow == 0 {
		opt.MaxRow = defaultMaxRow
	}
	if opt.MaxStatement == 0 {
		opt.MaxStatement = defaultMaxStatement
	}
	// Places in a statement are 32 bits wide.
	opt.MaxStatement = min(opt.MaxStatement, 1<<30)
	reader := &Reader{lexer: lexer{scanner: newScanner(r), opt: opt, mariaDB: opt.MariaDB, version: opt.ServerVersion}, variables: map[string]value{}}
	if opt.ServerVersion == 0 {
		reader.mariaDB, reader.version = true, newestMariaDB
	}
	reader.database, reader.databaseFixed = opt.Database, opt.Database != ""
	return reader
}

// newestMariaDB is below that of the sandbox line, which no server reads.
const newestMariaDB = 999998

// Database returns the name of the dump's database, as far as the dump or the
// options have said it by now; "" unknown.
func (r *Reader) Database() string { return r.database }

// Offset returns how many bytes of the dump have been read as statements, for progress.
func (r *Reader) Offset() int64 { return r.base + int64(r.pos) }

// Next returns the next statement, and io.EOF after the last one when the text
// ends there. Rows of the statement before that were not fetched are checked
// and left out. The statement stays valid.
//
// An error that is about the dump has a core.Code. After one with
// core.CodeUnsupported, which is about a statement that is refused, the next
// call goes on behind that statement; any other comes again, and so does that
// of a row or a statement that is too long.
func (r *Reader) Next() (*Statement, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	for r.inRows {
		if err := r.passRow(true); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	r.shrink()
	for {
		st, err := r.statement()
		if err != nil {
			return nil, r.fail(err)
		}
		if st != nil {
			return st, nil
		}
	}
}

// NextRow returns the next row of the KindInsert statement that Next returned,
// with its parentheses, and io.EOF after the last. The row is valid until the
// next call. Errors are as those of Next; the rows before one are whole.
func (r *Reader) NextRow() ([]byte, error) {
	if r.failed != nil {
		return nil, r.failed
	}
	if !r.inRows {
		return nil, io.EOF
	}
	if err := r.passRow(false); err != nil {
		return nil, err
	}
	return r.buf[r.keep:r.pos], nil
}

// fail keeps an error that comes again.
func (r *Reader) fail(err error) error {
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.CodeUnsupported || errors.Is(r.done, errTooLong) {
		r.failed = err
	}
	return err
}

// bound begins something that has a longest length. hint says what to do where it is longer.
func (r *Reader) bound(limit int64, what, hint string) {
	r.limit, r.limitFrom, r.limitOf, r.limitHint = limit, r.base+int64(r.pos), what, hint
}

func (r *Reader) unbound() { r.limit = 0 }

// statement reads one statement; nil for an empty one.
func (r *Reader) statement() (*Statement, error) {
	r.unbound()
	if err := r.between(); err != nil {
		return nil, err
	}
	r.keep = r.pos
	r.tokens = r.tokens[:0]
	r.pieces = r.pieces[:0]
	r.versioned = false
	line, offset := r.lineAt(r.pos), r.base+int64(r.pos)
	r.bound(r.opt.MaxStatement, "a statement", "no dump has such a statement")
	defer r.unbound()
	block, depth := blocks{}, 0
	for {
		r.spaces()
		from := int32(r.pos - r.keep)
		kind, err := r.next()
		if err != nil {
			return nil, r.refused(err, line)
		}
		to := int32(r.pos - r.keep)
		if int64(to) > r.opt.MaxStatement {
			r.done = errTooLong
			return nil, located(r.tooLong(), line, r.begin())
		}
		switch kind {
		case tokenEnd:
			if len(r.pieces) == 0 && !r.versioned {
				return nil, io.EOF
			}
			inside := "a statement"
			if r.versioned {
				inside = "a versioned comment"
			}
			r.done = io.EOF
			return nil, located(r.cut(inside), line, "")
		case tokenDelimiter:
			if r.mode.delimiter != ";" || !block.open() {
				return r.ended(line, offset)
			}
			kind = tokenMark
		case tokenComment, tokenFrame:
			r.tokens = append(r.tokens, token{from, to, kind})
			if len(r.tokens) > maxPieces {
				return nil, located(damaged("a statement of more pieces than any has"), line, r.begin())
			}
			continue
		}
		if len(r.pieces) >= maxPieces {
			return nil, located(damaged("a statement of more pieces than any has"), line, r.begin())
		}
		p := piece{kind: kind, from: from, to: to}
		if kind == tokenWord || kind == tokenMark {
			p.text = string(r.buf[r.keep+int(from) : r.keep+int(to)])
		}
		if kind == tokenWord {
			p.upper = strings.ToUpper(p.text)
		}
		r.pieces = append(r.pieces, p)
		block.take(r.pieces)
		switch p.text {
		case "(":
			depth++
		case ")":
			depth--
		}
		if depth == 0 && (p.upper == "VALUES" || p.upper == "VALUE") && r.inserts() {
			return r.insert(line, offset)
		}
	}
}

// inserts says whether the statement is an INSERT.
func (r *Reader) inserts() bool {
	first := r.pieces[0].upper
	return first == "INSERT" || first == "REPLACE"
}

// begin returns how the statement begins, without values.
func (r *Reader) begin() string {
	var b strings.Builder
	for i := range r.pieces {
		p := &r.pieces[i]
		if p.kind != tokenWord && p.kind != tokenName && p.text != "." && p.text != "@" && p.text != "=" || b.Len() > 60 || i > 8 {
			break
		}
		if i > 0 && r.pieces[i-1].to != p.from {
			b.WriteByte(' ')
		}
		text := p.text
		if text == "" && r.keep+int(p.to) <= r.end {
			text = string(r.buf[r.keep+int(p.from) : r.keep+int(p.to)])
		}
		for _, c := range strings.ToValidUTF8(text[:min(len(text), 70)], "?") {
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			b.WriteRune(c)
		}
	}
	return b.String()
}

// refused ends a statement in the middle of which something is not taken.
func (r *Reader) refused(err error, line int64) error {
	err = located(err, line, r.begin())
	if core.CodeOf(err) == core.CodeUnsupported && !errors.Is(r.done, errTooLong) {
		r.skip()
	}
	return err
}

// skip passes what is left of a statement that is refused. What is wrong in it is found by the next call.
func (r *Reader) skip() {
	r.unbound()
	r.discard = true
	defer func() { r.discard = false }()
	for {
		r.spaces()
		before := r.Offset()
		kind, err := r.next()
		var refused *refusal
		switch {
		case err != nil && errors.As(err, &refused):
			if r.Offset() == before && r.pos < r.end {
				r.pos++
			}
		case err != nil:
			r.failed = err
			return
		case kind == tokenEnd, kind == tokenDelimiter:
			r.versioned = false
			return
		}
	}
}

// ended judges a statement that was read to its delimiter.
func (r *Reader) ended(line, offset int64) (*Statement, error) {
	if len(r.pieces) == 0 {
		return nil, nil
	}
	raw := r.fill()
	st := &Statement{Line: line, Offset: offset}
	g := &grammar{r: r, pieces: r.pieces, st: st}
	mode, sqlMode, database, fixed, variables := r.mode, r.sqlMode, r.database, r.databaseFixed, r.variables
	if r.pieces[0].upper == "SET" {
		r.variables = maps.Clone(variables)
	}
	if err := g.judge(); err != nil {
		// The server will not run it: it changes nothing of how the rest is read.
		r.mode, r.sqlMode, r.database, r.databaseFixed, r.variables = mode, sqlMode, database, fixed, variables
		return nil, located(err, line, r.begin())
	}
	if st.Kind == KindSkip {
		r.mode, r.sqlMode, r.variables = mode, sqlMode, variables
	}
	r.render(g, raw)
	return st, nil
}

// fill gives pieces their texts and returns the statement's raw text.
func (r *Reader) fill() string {
	raw := string(r.buf[r.keep:r.pos])
	for i := range r.pieces {
		if p := &r.pieces[i]; p.text == "" {
			p.text = raw[p.from:p.to]
		}
	}
	return raw
}

// render writes Text: what was read, without what the server is not to see.
func (r *Reader) render(g *grammar, raw string) {
	var b strings.Builder
	done, frames := int32(0), r.tokens
	framesUpTo := func(to int32) {
		for ; len(frames) > 0 && frames[0].from < to; frames = frames[1:] {
			if f := frames[0]; f.kind == tokenFrame {
				b.WriteString(raw[done:f.from])
				b.WriteByte(' ')
				done = f.to
			}
		}
	}
	definerEnd := 0
	for i := range g.pieces {
		p := &g.pieces[i]
		framesUpTo(p.from)
		b.WriteString(raw[done:p.from])
		if g.definerTo > g.definerFrom && i == g.definerFrom {
			g.st.definerAt = b.Len()
		}
		if !p.dropped {
			b.WriteString(raw[p.from:p.to])
		}
		done = p.to
		if i+1 == g.definerTo {
			definerEnd = b.Len()
		}
	}
	text := b.String()
	lead := len(text) - len(strings.TrimLeft(text, " \t\r\n\v\f"))
	g.st.Text = text[lead:]
	if definerEnd > 0 {
		g.st.definerAt -= lead
		g.st.Definer = g.st.Text[g.st.definerAt : definerEnd-lead]
	}
}

// insert judges the head of an INSERT and goes over to its rows.
func (r *Reader) insert(line, offset int64) (*Statement, error) {
	r.fill()
	st := &Statement{Line: line, Offset: offset}
	g := &grammar{r: r, pieces: r.pieces, st: st}
	if err := g.insert(); err != nil {
		return nil, r.refused(err, line)
	}
	r.inRows, r.firstRow, r.begun = true, true, line
	return st, nil
}

// between passes what stands between statements and is none: spaces,
// comments, DELIMITER and messages that are known to do no harm.
func (r *Reader) between() error {
	for {
		r.spaces()
		r.keep = r.pos
		if r.pos == r.end && !r.more() {
			return nil
		}
		switch c := r.buf[r.pos]; {
		case r.base+int64(r.pos) == 0 && c == 0xEF && r.has("\xEF\xBB\xBF"):
			r.pos += 3
		case c == '#' || c == '-' && r.dash() || c == '/' && r.at(1) == '*' && r.at(2) != '!' && !(r.at(2) == 'M' && r.at(3) == '!'):
			line := r.lineAt(r.pos)
			r.bound(maxComment, "a comment", "no dump has such a comment")
			if _, err := r.next(); err != nil {
				return located(err, line, "")
			}
			r.unbound()
			r.hear(line, r.buf[r.keep:r.pos])
		case c == '/' && r.has(sandbox):
			r.pos += len(sandbox)
		case (c == 'd' || c == 'D') && r.need(10) && bytes.EqualFold(r.buf[r.pos:r.pos+9], []byte("delimiter")) && isSpace(r.buf[r.pos+9]):
			if err := r.setDelimiter(); err != nil {
				return err
			}
		case c == 'm' && (r.has("mysqldump: ") || r.has("mariadb-dump: ") || r.has("mysqlpump: ")), c == '<':
			line := r.lineAt(r.pos)
			r.bound(maxComment, "a message", "no dump has such a message")
			if err := r.toLineEnd(); err != nil {
				return located(err, line, "")
			}
			text := r.buf[r.keep:r.pos]
			if c == '<' || !bytes.Contains(text, []byte("[Warning]")) {
				what := "a message of the program that wrote the dump stands in it: "
				if c == '<' {
					what = "text of a web page stands where a statement is to be: "
				}
				return located(&refusal{message: what + clean(text, 200), damage: true, hint: "the dump was not finished: take another one, and keep messages out of it"}, line, "")
			}
			r.unbound()
			r.hear(line, text)
		default:
			return nil
		}
	}
}

// hear passes a comment on.
func (r *Reader) hear(line int64, text []byte) {
	r.head.hear(text)
	if r.opt.ServerVersion == 0 && r.head.number != 0 {
		r.mariaDB, r.version = r.head.vendor == vendorMariaDB, r.head.number
	}
	if !r.databaseFixed && r.database == "" {
		r.database = r.head.database
	}
	if r.comment != nil {
		r.comment(line, text)
	}
}

// setDelimiter obeys DELIMITER, a command of the client. Letters, digits and
// quotes would be found within statements.
func (r *Reader) setDelimiter() error {
	line := r.lineAt(r.pos)
	r.bound(maxComment, "a line", "no dump has such a line")
	defer r.unbound()
	if err := r.toLineEnd(); err != nil {
		return located(err, line, "")
	}
	d := strings.TrimSpace(string(r.buf[r.keep+9 : r.pos]))
	if d == "" || len(d) > 15 || strings.ContainsAny(d, "\\'\"`#-*()@,.= \t\x00") || strings.HasPrefix(d, "/*") ||
		strings.ContainsFunc(d, func(c rune) bool { return c < 0x80 && c != '$' && c != '_' && wordByte[c] || c >= 0x80 || c < ' ' }) || d[0] == '_' {
		return located(damaged("a DELIMITER that dumps do not use"), line, "")
	}
	r.mode.delimiter = d
	return nil
}

func (r *Reader) spaces() {
	for {
		w := r.buf[r.pos:r.end]
		for i, c := range w {
			if !isSpace(c) {
				r.pos += i
				return
			}
		}
		r.pos = r.end
		if !r.more() {
			return
		}
	}
}

// blocks follows BEGIN … END where ; ends statements, as some programs write
// routines without DELIMITER.
type blocks struct {
	body       bool
	depth      int
	pendingEnd bool
}

func (b *blocks) open() bool {
	if b.pendingEnd {
		b.pendingEnd = false
		b.depth--
	}
	return b.depth > 0
}

// take follows the last piece.
func (b *blocks) take(pieces []piece) {
	p := &pieces[len(pieces)-1]
	if !b.body {
		switch p.upper {
		case "PROCEDURE", "FUNCTION", "TRIGGER", "EVENT", "PACKAGE":
			b.body = pieces[0].upper == "CREATE" && len(pieces) < 40
			if b.body && p.upper == "PACKAGE" {
				b.depth = 1
			}
		}
		return
	}
	wasEnd := b.pendingEnd
	b.pendingEnd = false
	if p.kind == tokenWord && len(pieces) > 1 {
		if before := &pieces[len(pieces)-2]; before.text != "." && before.text != "@" {
			switch p.upper {
			case "BEGIN":
				b.depth++
			case "CASE":
				if !wasEnd {
					b.depth++
				}
			case "END":
				b.pendingEnd = true
			case "IF", "LOOP", "WHILE", "REPEAT", "FOR":
				wasEnd = false
			}
		}
	}
	if wasEnd {
		b.depth--
	}
}
