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
	lastAs              // AS: a type comes
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

// Classes of words, before it is seen what stands around them.
const (
	wordBare = 16 + iota // a constant of its own, or one called with parentheses
	wordType             // a type: it takes parentheses behind AS only
)

// rowWords are what may stand in a row besides literals: constants, functions
// that dumps write, and the types and words that they take. The functions are
// built into every server that is loaded into, so that none of the dump's own
// can stand behind such a name, as long as the parenthesis follows at once.
var rowWords = func() map[string]uint8 {
	words := map[string]uint8{}
	add := func(what uint8, list string) {
		for _, w := range strings.Fields(list) {
			words[w] = what
		}
	}
	add(lastValue, "NULL TRUE FALSE DEFAULT")
	add(wordBare, "CURRENT_TIMESTAMP CURRENT_DATE CURRENT_TIME UTC_TIMESTAMP UTC_DATE UTC_TIME LOCALTIME LOCALTIMESTAMP")
	add(lastFunction, "NOW CURDATE CURTIME CONVERT CAST UNHEX FROM_BASE64 FROM_UNIXTIME ST_GEOMFROMTEXT ST_GEOMFROMWKB")
	add(wordType, "CHAR TIMESTAMP DATE TIME DATETIME BINARY VARBINARY VARCHAR DECIMAL FLOAT DOUBLE YEAR NCHAR INTEGER INT SIGNED UNSIGNED")
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
	numberEnd := int64(-1) // where the last number ended
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
			last, numberEnd = lastValue, s.Base+int64(s.Pos)
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
			// 1. and .5 are numbers, and a.b would be a name, with spaces around the dot too.
			after, number := s.At(1), s.Base+int64(s.Pos) == numberEnd
			if digit := after >= '0' && after <= '9'; (!number || WordByte[after] && !digit) && (last != lastOpen || !digit) {
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
		switch {
		case upper == "AS" && next != '(' && next != '.':
			what = lastAs
		case known == wordBare && next == '(', known == wordType && next == '(' && last == lastAs:
			what = lastFunction
		case known == wordBare:
			what = lastValue
		case known == wordType:
			what = lastWord
		case known == lastFunction && next != '(':
			return 0, Refuse("a function that dumps do not call (" + clip(string(word)) + ")")
		}
	}
	s.Pos += n
	return what, nil
}

func clip(w string) string { return strings.ToValidUTF8(w[:min(len(w), maxWord)], "?") }
