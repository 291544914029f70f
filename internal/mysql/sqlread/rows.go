package sqlread

import (
	"errors"
	"io"
	"strings"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// What stood last in a row, as far as it decides what may come next.
const (
	lastOpen     = iota // ( or , or a sign: a value comes
	lastValue           // a value or )
	lastFunction        // the name of a function or of a type that takes parentheses
	lastWord            // AS, USING and the like
	lastNamed           // USING, COLLATE, SET: a name comes that is not looked at
)

const maxRowDepth = 32

// rowByte says what a byte in a row begins.
var rowByte = func() (t [256]uint8) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = rowDigit
		case lexer.WordByte[c]:
			t[c] = rowWord
		case lexer.IsSpace(byte(c)):
			t[c] = rowSpace
		}
	}
	for c, k := range map[byte]uint8{'\'': rowQuote, '"': rowQuote, '(': rowOpen, ')': rowClose, ',': rowComma, '-': rowSign, '+': rowSign, '.': rowDot, '/': rowSlash, '#': rowSlash, '\\': rowEscape} {
		t[c] = k
	}
	return t
}()

const (
	rowOther = iota
	rowDigit
	rowWord
	rowSpace
	rowQuote
	rowOpen
	rowClose
	rowComma
	rowSign
	rowDot
	rowSlash
	rowEscape
)

// rowWords are what may stand in a row besides literals: constants, functions
// that make a value of literals and nothing else, and the types and words that they take.
var rowWords = func() map[string]uint8 {
	words := map[string]uint8{}
	add := func(what uint8, list string) {
		for _, w := range strings.Fields(list) {
			words[w] = what
		}
	}
	add(lastValue, "NULL TRUE FALSE UNKNOWN")
	add(lastFunction, `DEFAULT CURRENT_TIMESTAMP CURRENT_DATE CURRENT_TIME UTC_TIMESTAMP UTC_DATE UTC_TIME LOCALTIME LOCALTIMESTAMP NOW CURDATE CURTIME
		CONVERT CAST UNHEX HEX FROM_BASE64 TO_BASE64 CHAR CONCAT POINT LINESTRING POLYGON MULTIPOINT MULTILINESTRING MULTIPOLYGON GEOMETRYCOLLECTION GEOMCOLLECTION
		ST_GEOMFROMTEXT ST_GEOMETRYFROMTEXT ST_GEOMFROMWKB ST_GEOMETRYFROMWKB ST_POINTFROMTEXT ST_POINTFROMWKB ST_LINEFROMTEXT ST_LINEFROMWKB ST_LINESTRINGFROMTEXT ST_LINESTRINGFROMWKB
		ST_POLYFROMTEXT ST_POLYFROMWKB ST_POLYGONFROMTEXT ST_POLYGONFROMWKB ST_MPOINTFROMTEXT ST_MPOINTFROMWKB ST_MLINEFROMTEXT ST_MLINEFROMWKB ST_MPOLYFROMTEXT ST_MPOLYFROMWKB
		ST_GEOMCOLLFROMTEXT ST_GEOMCOLLFROMWKB ST_GEOMFROMGEOJSON ST_SRID GEOMFROMTEXT GEOMETRYFROMTEXT GEOMFROMWKB GEOMETRYFROMWKB POINTFROMTEXT LINEFROMTEXT POLYFROMTEXT POLYGONFROMTEXT
		MPOINTFROMTEXT MLINEFROMTEXT MPOLYFROMTEXT GEOMCOLLFROMTEXT JSON_ARRAY JSON_OBJECT JSON_QUOTE JSON_UNQUOTE JSON_COMPACT JSON_EXTRACT UUID_TO_BIN BIN_TO_UUID
		INET_ATON INET6_ATON INET_NTOA INET6_NTOA VEC_FROMTEXT STRING_TO_VECTOR TO_VECTOR FROM_UNIXTIME TIMESTAMP DATE TIME DATETIME BINARY VARBINARY VARCHAR DECIMAL FLOAT DOUBLE YEAR NCHAR INTEGER INT SIGNED UNSIGNED`)
	add(lastWord, "AS JSON REAL N X B CHARACTER")
	add(lastNamed, "USING COLLATE SET CHARSET")
	return words
}()

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
		err = r.row()
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
			if err := r.rowComment(); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

func (r *Reader) rowComment() error {
	if r.lex.Mode.Wide {
		return r.lex.Mode.WideText()
	}
	if r.lex.Buf[r.lex.Pos] != '/' {
		return r.lex.ToLineEnd()
	}
	if r.lex.At(2) == '!' || r.lex.At(2) == 'M' && r.lex.At(3) == '!' {
		return lexer.Refuse("a versioned comment among the values of an INSERT")
	}
	r.lex.Pos += 2
	return r.lex.ToCommentEnd(false)
}

// row moves behind a row and refuses what is no value.
func (r *Reader) row() error {
	depth, last := 0, uint8(lastOpen)
	for {
		buf, p := r.lex.Buf[:r.lex.End], r.lex.Pos
		for p < len(buf) && rowByte[buf[p]] == rowSpace {
			p++
		}
		r.lex.Pos = p
		if p == len(buf) {
			if !r.lex.More() {
				return r.lex.Cut("an INSERT")
			}
			continue
		}
		c := buf[p]
		switch rowByte[c] {
		case rowQuote:
			if c == '"' && r.lex.Mode.ANSIQuotes {
				return lexer.Refuse("a name where a value is to be")
			}
			r.lex.Pos++
			if err := r.lex.Quoted(c, "a text"); err != nil {
				return err
			}
			last = lastValue
		case rowComma:
			r.lex.Pos++
			last = lastOpen
		case rowDigit:
			if err := r.number(); err != nil {
				return err
			}
			last = lastValue
		case rowWord:
			var err error
			if last, err = r.rowWord(last); err != nil {
				return err
			}
		case rowOpen:
			if last != lastOpen && last != lastFunction {
				return lexer.Refuse("a function that dumps do not call")
			}
			if depth++; depth > maxRowDepth {
				return lexer.Refuse("more parentheses within each other than any row has")
			}
			r.lex.Pos++
			last = lastOpen
		case rowClose:
			r.lex.Pos++
			if depth--; depth == 0 {
				return nil
			}
			last = lastValue
		case rowSign:
			if c == '-' && r.lex.OddDash() {
				return lexer.OddByte()
			}
			if c == '-' && r.lex.Dash() {
				if err := r.lex.ToLineEnd(); err != nil {
					return err
				}
				continue
			}
			r.lex.Pos++
			last = lastOpen
		case rowDot:
			if last == lastWord || last == lastFunction || last == lastNamed {
				return lexer.Refuse("a name where a value is to be")
			}
			// 1. and .5 are numbers, and a.b would be a name.
			if after := r.lex.At(1); (after < '0' || after > '9') && (last != lastValue || lexer.WordByte[after]) {
				return lexer.Refuse("something that is no value among the values of an INSERT (.)")
			}
			r.lex.Pos++
		case rowSlash:
			if c == '/' && r.lex.At(1) != '*' {
				return lexer.Refuse("a calculation where a value is to be")
			}
			if err := r.rowComment(); err != nil {
				return err
			}
		case rowEscape:
			if r.lex.At(1) != 'N' {
				return &lexer.Refusal{Message: "a command of the mysql client among the values of an INSERT"}
			}
			r.lex.Pos += 2
			last = lastValue
		default:
			if c == 0 {
				return lexer.Damaged("there are zero bytes where a value is to be")
			}
			return lexer.Refuse("something that is no value among the values of an INSERT (" + lexer.Printable(c) + ")")
		}
	}
}

// number passes a number, also a long one in hexadecimal digits.
func (r *Reader) number() error {
	const (
		decimal = iota
		zero
		hexadecimal
		binary
		exponent
	)
	state, first := decimal, true
	for {
		w := r.lex.Buf[r.lex.Pos:r.lex.End]
		for i, c := range w {
			switch {
			case c >= '0' && c <= '9' && (state != binary || c <= '1'):
				if state <= zero {
					state = decimal
					if first && c == '0' {
						state = zero
					}
				}
			case state == zero && c == 'x':
				state = hexadecimal
			case state == zero && c == 'b':
				state = binary
			case state == hexadecimal && (c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'):
			case state <= zero && (c == 'e' || c == 'E'):
				state = exponent
			case lexer.WordByte[c]:
				return lexer.Refuse("something that is no value among the values of an INSERT")
			default:
				r.lex.Pos += i
				if c == '(' {
					return lexer.Refuse("a function that dumps do not call")
				}
				return nil
			}
			first = false
		}
		r.lex.Pos = r.lex.End
		if !r.lex.More() {
			return r.lex.Cut("an INSERT")
		}
	}
}

// rowWord passes a word that may stand in a row.
func (r *Reader) rowWord(last uint8) (uint8, error) {
	r.lex.Need(maxName + 1)
	w := r.lex.Buf[r.lex.Pos:r.lex.End]
	n := 0
	for n < len(w) && lexer.WordByte[w[n]] {
		if n++; n > maxName {
			return 0, lexer.Refuse("a name where a value is to be")
		}
	}
	if r.lex.Pos+n == r.lex.End && n <= maxName {
		return 0, r.lex.Cut("an INSERT")
	}
	word, next := w[:n], w[n]
	if !lexer.ASCII(string(word)) || word[0] == '$' {
		return 0, lexer.Refuse("something that is no value among the values of an INSERT (" + printableWord(string(word)) + ")")
	}
	if n == 4 && word[0] == 'N' && string(word) == "NULL" {
		r.lex.Pos += n
		return lastValue, nil
	}
	var what uint8
	switch upper := strings.ToUpper(string(word)); {
	case last == lastNamed && next != '(' && next != '.':
		what = lastWord
		if upper == "SET" {
			what = lastNamed
		}
	case word[0] == '_' && next != '(' && next != '.':
		what = lastWord // an introducer: _utf8mb4'…'
	default:
		known, ok := rowWords[upper]
		if !ok {
			return 0, lexer.Refuse("something that is no value among the values of an INSERT (" + printableWord(string(word)) + ")")
		}
		what = known
	}
	r.lex.Pos += n
	return what, nil
}
