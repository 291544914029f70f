package lexer

import "strings"

// maxWord is the longest name, in bytes: those in rows are ASCII.
const maxWord = 64

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
		case WordByte[c]:
			t[c] = rowWord
		case IsSpace(byte(c)):
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

// RowComment moves behind a comment among values.
func (s *Lexer) RowComment() error {
	if s.Mode.Wide {
		return s.Mode.WideText()
	}
	if s.Buf[s.Pos] != '/' {
		return s.ToLineEnd()
	}
	if s.At(2) == '!' || s.At(2) == 'M' && s.At(3) == '!' {
		return Refuse("a versioned comment among the values of an INSERT")
	}
	s.Pos += 2
	return s.ToCommentEnd(false)
}

// Row moves behind a row and refuses what is no value.
func (s *Lexer) Row() error {
	depth, last := 0, uint8(lastOpen)
	for {
		buf, p := s.Buf[:s.End], s.Pos
		for p < len(buf) && rowByte[buf[p]] == rowSpace {
			p++
		}
		s.Pos = p
		if p == len(buf) {
			if !s.More() {
				return s.Cut("an INSERT")
			}
			continue
		}
		c := buf[p]
		switch rowByte[c] {
		case rowQuote:
			if c == '"' && s.Mode.ANSIQuotes {
				return Refuse("a name where a value is to be")
			}
			s.Pos++
			if err := s.Quoted(c, "a text"); err != nil {
				return err
			}
			last = lastValue
		case rowComma:
			s.Pos++
			last = lastOpen
		case rowDigit:
			if err := s.number(); err != nil {
				return err
			}
			last = lastValue
		case rowWord:
			var err error
			if last, err = s.rowWord(last); err != nil {
				return err
			}
		case rowOpen:
			if last != lastOpen && last != lastFunction {
				return Refuse("a function that dumps do not call")
			}
			if depth++; depth > maxRowDepth {
				return Refuse("more parentheses within each other than any row has")
			}
			s.Pos++
			last = lastOpen
		case rowClose:
			s.Pos++
			if depth--; depth == 0 {
				return nil
			}
			last = lastValue
		case rowSign:
			if c == '-' && s.OddDash() {
				return OddByte()
			}
			if c == '-' && s.Dash() {
				if err := s.ToLineEnd(); err != nil {
					return err
				}
				continue
			}
			s.Pos++
			last = lastOpen
		case rowDot:
			if last == lastWord || last == lastFunction || last == lastNamed {
				return Refuse("a name where a value is to be")
			}
			// 1. and .5 are numbers, and a.b would be a name.
			if after := s.At(1); (after < '0' || after > '9') && (last != lastValue || WordByte[after]) {
				return Refuse("something that is no value among the values of an INSERT (.)")
			}
			s.Pos++
		case rowSlash:
			if c == '/' && s.At(1) != '*' {
				return Refuse("a calculation where a value is to be")
			}
			if err := s.RowComment(); err != nil {
				return err
			}
		case rowEscape:
			if s.At(1) != 'N' {
				return &Refusal{Message: "a command of the mysql client among the values of an INSERT"}
			}
			s.Pos += 2
			last = lastValue
		default:
			if c == 0 {
				return Damaged("there are zero bytes where a value is to be")
			}
			return Refuse("something that is no value among the values of an INSERT (" + Printable(c) + ")")
		}
	}
}

// number passes a number, also a long one in hexadecimal digits.
func (s *Lexer) number() error {
	const (
		decimal = iota
		zero
		hexadecimal
		binary
		exponent
	)
	state, first := decimal, true
	for {
		w := s.Buf[s.Pos:s.End]
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
			case WordByte[c]:
				return Refuse("something that is no value among the values of an INSERT")
			default:
				s.Pos += i
				if c == '(' {
					return Refuse("a function that dumps do not call")
				}
				return nil
			}
			first = false
		}
		s.Pos = s.End
		if !s.More() {
			return s.Cut("an INSERT")
		}
	}
}

// rowWord passes a word that may stand in a row.
func (s *Lexer) rowWord(last uint8) (uint8, error) {
	s.Need(maxWord + 1)
	w := s.Buf[s.Pos:s.End]
	n := 0
	for n < len(w) && WordByte[w[n]] {
		if n++; n > maxWord {
			return 0, Refuse("a name where a value is to be")
		}
	}
	if s.Pos+n == s.End && n <= maxWord {
		return 0, s.Cut("an INSERT")
	}
	word, next := w[:n], w[n]
	if !ASCII(string(word)) || word[0] == '$' {
		return 0, Refuse("something that is no value among the values of an INSERT (" + clip(string(word)) + ")")
	}
	if n == 4 && word[0] == 'N' && string(word) == "NULL" {
		s.Pos += n
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
			return 0, Refuse("something that is no value among the values of an INSERT (" + clip(string(word)) + ")")
		}
		what = known
	}
	s.Pos += n
	return what, nil
}

func clip(w string) string { return strings.ToValidUTF8(w[:min(len(w), maxWord)], "?") }
