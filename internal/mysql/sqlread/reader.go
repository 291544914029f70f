package sqlread

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
	"github.com/backstay/backstay/internal/mysql/sqlread/remarks"
)

const (
	defaultMaxRow       = 1 << 30
	defaultMaxStatement = 64 << 20
)

// Reader reads a dump. It is used by one goroutine.
type Reader struct {
	lex           lexer.Lexer
	opt           Options
	failed        error // comes again at every call
	database      string
	databaseFixed bool // it was said by more than a comment
	elsewhere     Elsewhere
	touched       bool // a statement was about more than settings
	variables     map[string]value
	sqlMode       string
	prepared      string // the prepared statement of Percona's mysqldump
	head          remarks.Head

	tokens []token
	pieces []piece

	inRows   bool
	firstRow bool
	begun    int64 // line of the INSERT

	listener func(line int64, text []byte) // may be nil
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
	reader := &Reader{lex: lexer.New(r), opt: opt, variables: map[string]value{}}
	reader.lex.MariaDB, reader.lex.Version = opt.MariaDB, opt.ServerVersion
	if opt.ServerVersion == 0 {
		reader.lex.MariaDB, reader.lex.Version = true, newestMariaDB
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
func (r *Reader) Offset() int64 { return r.lex.Base + int64(r.lex.Pos) }

// Head returns what the dump's comments have said of it by now.
func (r *Reader) Head() remarks.Head { return r.head }

// ReadsNames says whether names of more than ASCII are understood in the
// character set that the dump is in by now.
func (r *Reader) ReadsNames() bool { return r.lex.Mode.ReadsNames() }

// Err returns the error that comes again at every call, io.EOF at the end; nil
// as long as reading goes on.
func (r *Reader) Err() error { return r.failed }

// Listen has each comment between statements passed to a function, and each
// message of a dump program that does no harm, with the line where it begins.
// The text is valid during the call. It is to be called before Next.
func (r *Reader) Listen(listener func(line int64, text []byte)) { r.listener = listener }

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
	r.elsewhere.Passed, r.elsewhere.Switched = false, false
	for r.inRows {
		if err := r.passRow(true); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	r.lex.Shrink()
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
	return r.lex.Buf[r.lex.Keep:r.lex.Pos], nil
}

// SkipRow is NextRow without the row: one that is checked and not kept in memory.
func (r *Reader) SkipRow() error {
	if r.failed != nil {
		return r.failed
	}
	if !r.inRows {
		return io.EOF
	}
	return r.passRow(true)
}

// fail keeps an error that comes again.
func (r *Reader) fail(err error) error {
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.CodeUnsupported || errors.Is(r.lex.Done, lexer.ErrTooLong) {
		r.failed = err
	}
	return err
}

// bound begins something that has a longest length. hint says what to do where it is longer.
func (r *Reader) bound(limit int64, what, hint string) {
	r.lex.Limit, r.lex.LimitFrom, r.lex.LimitOf, r.lex.LimitHint = limit, r.lex.Base+int64(r.lex.Pos), what, hint
}

func (r *Reader) unbound() { r.lex.Limit = 0 }

// statement reads one statement; nil for an empty one.
func (r *Reader) statement() (*Statement, error) {
	r.unbound()
	if err := r.between(); err != nil {
		return nil, err
	}
	r.lex.Keep = r.lex.Pos
	r.tokens = r.tokens[:0]
	r.pieces = r.pieces[:0]
	r.lex.Versioned = false
	line, offset := r.lex.LineAt(r.lex.Pos), r.lex.Base+int64(r.lex.Pos)
	r.bound(r.opt.MaxStatement, "a statement", "no dump has such a statement")
	defer r.unbound()
	block, depth := blocks{}, 0
	for {
		r.spaces()
		from := int32(r.lex.Pos - r.lex.Keep)
		kind, err := r.lex.Next()
		if err != nil {
			return nil, r.refused(err, line)
		}
		to := int32(r.lex.Pos - r.lex.Keep)
		if int64(to) > r.opt.MaxStatement {
			r.lex.Done = lexer.ErrTooLong
			return nil, located(r.lex.TooLong(), line, r.begin())
		}
		switch kind {
		case lexer.EOF:
			if len(r.pieces) == 0 && !r.lex.Versioned {
				return nil, io.EOF
			}
			inside := "a statement"
			if r.lex.Versioned {
				inside = "a versioned comment"
			}
			r.lex.Done = io.EOF
			return nil, located(r.lex.Cut(inside), line, "")
		case lexer.Delimiter:
			if r.lex.Mode.Delimiter != ";" || !block.open() {
				return r.ended(line, offset)
			}
			kind = lexer.Mark
		case lexer.Comment, lexer.Frame:
			r.tokens = append(r.tokens, token{from, to, kind})
			if err := r.leftOut(r.lex.Buf[r.lex.Keep+int(from):r.lex.Pos], kind); err != nil {
				return nil, r.refused(err, line)
			}
			if len(r.tokens) > maxPieces {
				return nil, located(lexer.Damaged("a statement of more pieces than any has"), line, r.begin())
			}
			continue
		}
		if len(r.pieces) >= maxPieces {
			return nil, located(lexer.Damaged("a statement of more pieces than any has"), line, r.begin())
		}
		p := piece{kind: kind, from: from, to: to}
		if kind == lexer.Word || kind == lexer.Mark {
			p.text = string(r.lex.Buf[r.lex.Keep+int(from) : r.lex.Keep+int(to)])
		}
		if kind == lexer.Word {
			p.upper = lexer.Upper(p.text)
		}
		r.pieces = append(r.pieces, p)
		if err := glued(r.pieces); err != nil {
			return nil, r.refused(err, line)
		}
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
		if p.kind != lexer.Word && p.kind != lexer.Name && p.text != "." && p.text != "@" && p.text != "=" || b.Len() > 60 || i > 8 {
			break
		}
		if i > 0 && r.pieces[i-1].to != p.from {
			b.WriteByte(' ')
		}
		text := p.text
		if text == "" && r.lex.Keep+int(p.to) <= r.lex.End {
			text = string(r.lex.Buf[r.lex.Keep+int(p.from) : r.lex.Keep+int(p.to)])
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
	if core.CodeOf(err) == core.CodeUnsupported && !errors.Is(r.lex.Done, lexer.ErrTooLong) {
		r.skip()
	}
	return err
}

// skip passes what is left of a statement that is refused. What is wrong in it is found by the next call.
func (r *Reader) skip() {
	r.unbound()
	r.lex.Discard = true
	defer func() { r.lex.Discard = false }()
	for {
		r.spaces()
		before := r.Offset()
		kind, err := r.lex.Next()
		var refused *lexer.Refusal
		switch {
		case err != nil && errors.As(err, &refused):
			if r.Offset() == before && r.lex.Pos < r.lex.End {
				r.lex.Pos++
			}
		case err != nil:
			r.failed = err
			return
		case kind == lexer.EOF, kind == lexer.Delimiter:
			r.lex.Versioned = false
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
	if r.lex.Mode.Wide && !lexer.ASCII(raw) { // in a comment
		return nil, located(r.lex.Mode.WideText(), line, "")
	}
	st := &Statement{Line: line, Offset: offset}
	g := &grammar{r: r, pieces: r.pieces, st: st}
	mode, sqlMode, database, fixed, variables := r.lex.Mode, r.sqlMode, r.database, r.databaseFixed, r.variables
	if r.pieces[0].upper == "SET" {
		r.variables = maps.Clone(variables)
	}
	err := r.away(r.pieces[0].upper)
	if err == nil {
		err = g.judge()
	}
	if err != nil {
		// The server will not run it: it changes nothing of how the rest is read.
		r.lex.Mode, r.sqlMode, r.database, r.databaseFixed, r.variables = mode, sqlMode, database, fixed, variables
		return nil, located(err, line, r.begin())
	}
	if st.Kind == KindSkip {
		r.lex.Mode, r.sqlMode, r.variables = mode, sqlMode, variables
	}
	switch st.Kind {
	case KindCreate, KindDrop, KindAlter, KindSetSequence, KindLock:
		r.touched = true
	}
	r.render(g, raw)
	return st, nil
}

// fill gives pieces their texts and returns the statement's raw text.
func (r *Reader) fill() string {
	raw := string(r.lex.Buf[r.lex.Keep:r.lex.Pos])
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
			if f := frames[0]; f.kind == lexer.Frame {
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
		switch {
		case p.instead != "":
			b.WriteString(p.instead)
		case !p.dropped:
			b.WriteString(raw[p.from:p.to])
		case b.Len() > 0 && !strings.ContainsRune(" (,", rune(b.String()[b.Len()-1])):
			b.WriteByte(' ') // what stands before and behind must not become one word, or a comment
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
	if raw := r.fill(); r.lex.Mode.Wide && !lexer.ASCII(raw) {
		return nil, r.refused(r.lex.Mode.WideText(), line)
	}
	st := &Statement{Line: line, Offset: offset}
	g := &grammar{r: r, pieces: r.pieces, st: st}
	err := r.away("INSERT")
	if err == nil {
		err = g.insert()
	}
	if err != nil {
		return nil, r.refused(err, line)
	}
	r.inRows, r.firstRow, r.begun, r.touched = true, true, line, true
	return st, nil
}

// between passes what stands between statements and is none: spaces,
// comments, DELIMITER and messages that are known to do no harm.
func (r *Reader) between() error {
	for {
		r.spaces()
		r.lex.Keep = r.lex.Pos
		if r.lex.Pos == r.lex.End && !r.lex.More() {
			return nil
		}
		switch c := r.lex.Buf[r.lex.Pos]; {
		case r.lex.Base+int64(r.lex.Pos) == 0 && c == 0xEF && r.lex.Has("\xEF\xBB\xBF"):
			r.lex.Pos += 3
		case c == '#' || c == '-' && r.lex.Dash() || c == '/' && r.lex.At(1) == '*' && r.lex.At(2) != '!' && !(r.lex.At(2) == 'M' && r.lex.At(3) == '!'):
			line := r.lex.LineAt(r.lex.Pos)
			r.bound(lexer.MaxComment, "a comment", "no dump has such a comment")
			if _, err := r.lex.Next(); err != nil {
				return located(err, line, "")
			}
			r.unbound()
			r.hear(line, r.lex.Buf[r.lex.Keep:r.lex.Pos])
		case c == '/' && r.lex.Has(lexer.Sandbox):
			r.lex.Pos += len(lexer.Sandbox)
		case (c == 'd' || c == 'D') && r.lex.Need(10) && bytes.EqualFold(r.lex.Buf[r.lex.Pos:r.lex.Pos+9], []byte("delimiter")) && lexer.IsSpace(r.lex.Buf[r.lex.Pos+9]):
			if err := r.setDelimiter(); err != nil {
				return err
			}
		case (c == 'm' || c == '/') && r.atMessage(), c == 'W' && r.lex.Has("WARNING: "), c == '<':
			line := r.lex.LineAt(r.lex.Pos)
			r.bound(lexer.MaxComment, "a message", "no dump has such a message")
			if err := r.lex.ToLineEnd(); err != nil {
				return located(err, line, "")
			}
			text := r.lex.Buf[r.lex.Keep:r.lex.Pos]
			if c == '<' || !harmlessMessage(text) {
				what := "a message of the program that wrote the dump stands in it: "
				if c == '<' {
					what = "text of a web page stands where a statement is to be: "
				}
				return located(&lexer.Refusal{Message: what + lexer.Clean(text, 200), Damage: true, Hint: "the dump was not finished: take another one, and keep messages out of it"}, line, "")
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
	r.head.Hear(text)
	if r.opt.ServerVersion == 0 && r.head.Number != 0 {
		r.lex.MariaDB, r.lex.Version = r.head.Vendor == remarks.VendorMariaDB, r.head.Number
	}
	if !r.databaseFixed && r.database == "" {
		r.database = r.head.Database
	}
	if r.listener != nil {
		r.listener(line, text)
	}
}

// setDelimiter obeys DELIMITER, a command of the client. Letters, digits and
// quotes would be found within statements.
func (r *Reader) setDelimiter() error {
	line := r.lex.LineAt(r.lex.Pos)
	r.bound(lexer.MaxComment, "a line", "no dump has such a line")
	defer r.unbound()
	if err := r.lex.ToLineEnd(); err != nil {
		return located(err, line, "")
	}
	d := strings.TrimSpace(string(r.lex.Buf[r.lex.Keep+9 : r.lex.Pos]))
	if d == "" || len(d) > 15 || strings.ContainsAny(d, "\\'\"`#-*()@,.= \t\x00") || strings.HasPrefix(d, "/*") ||
		strings.ContainsFunc(d, func(c rune) bool {
			return c < 0x80 && c != '$' && c != '_' && lexer.WordByte[c] || c >= 0x80 || c < ' '
		}) || d[0] == '_' {
		return located(lexer.Damaged("a DELIMITER that dumps do not use"), line, "")
	}
	r.lex.Mode.Delimiter = d
	return nil
}

func (r *Reader) spaces() {
	for {
		w := r.lex.Buf[r.lex.Pos:r.lex.End]
		for i, c := range w {
			if !lexer.IsSpace(c) {
				r.lex.Pos += i
				return
			}
		}
		r.lex.Pos = r.lex.End
		if !r.lex.More() {
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
	if p.kind == lexer.Word && len(pieces) > 1 {
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
