package portable

import "strings"

// statement is a CREATE statement that is being rewritten. Its methods speak
// of words: the tokens that are neither space nor comment, by number.
type statement struct {
	tokens []token
	words  []int // of tokens
}

func parse(d dialect, sql string) *statement {
	s := &statement{tokens: d.tokenize(sql)}
	for i, t := range s.tokens {
		if t.kind != space && t.kind != comment {
			s.words = append(s.words, i)
		}
	}
	return s
}

// String returns the statement as rewritten.
func (s *statement) String() string {
	var b strings.Builder
	for _, t := range s.tokens {
		b.WriteString(t.out)
	}
	return b.String()
}

// source returns the text of words from … to-1 as it was, without comments.
func (s *statement) source(from, to int) string {
	var b strings.Builder
	for i := from; i < to && i < len(s.words); i++ {
		if i > from && s.words[i] > s.words[i-1]+1 {
			b.WriteByte(' ')
		}
		b.WriteString(s.at(i).text)
	}
	return b.String()
}

func (s *statement) len() int { return len(s.words) }

// at returns a word; beyond either end, an empty mark.
func (s *statement) at(i int) token {
	if i < 0 || i >= len(s.words) {
		return token{kind: mark}
	}
	return s.tokens[s.words[i]]
}

// is says whether the words from i on are these keywords or marks.
func (s *statement) is(i int, want ...string) bool {
	for j, w := range want {
		t := s.at(i + j)
		if t.kind != word && t.kind != mark || !strings.EqualFold(t.text, w) {
			return false
		}
	}
	return true
}

// isAny says whether word i is one of these.
func (s *statement) isAny(i int, want ...string) bool {
	for _, w := range want {
		if s.is(i, w) {
			return true
		}
	}
	return false
}

// close returns the number of the word that closes the bracket at i, or the
// last one.
func (s *statement) close(i int) int {
	depth := 0
	for ; i < len(s.words); i++ {
		switch {
		case s.is(i, "("):
			depth++
		case s.is(i, ")"):
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(s.words) - 1
}

// replace puts text in the place of words from … to-1.
func (s *statement) replace(from, to int, text string) {
	for i := s.words[from]; i <= s.words[to-1]; i++ {
		s.tokens[i].out = ""
	}
	s.tokens[s.words[from]].out = text
}

// drop takes words from … to-1 out, with the space before them.
func (s *statement) drop(from, to int) {
	if from >= to {
		return
	}
	s.replace(from, to, "")
	if i := s.words[from]; i > 0 && s.tokens[i-1].kind == space {
		s.tokens[i-1].out = ""
	}
}

// append puts text behind word i.
func (s *statement) append(i int, text string) { s.tokens[s.words[i]].out += text }

// prepend puts text before word i.
func (s *statement) prepend(i int, text string) {
	t := &s.tokens[s.words[i]]
	t.out = text + t.out
}

// part is a range of words: from … to-1.
type part struct{ from, to int }

// split cuts the words from … to-1 at the commas that are in no brackets.
func (s *statement) split(from, to int) []part {
	var parts []part
	start := from
	for i := from; i < to; i++ {
		switch {
		case s.is(i, "("):
			i = s.close(i)
		case s.is(i, ","):
			parts = append(parts, part{start, i})
			start = i + 1
		}
	}
	if start < to {
		parts = append(parts, part{start, to})
	}
	return parts
}

// nameOf returns the name that a word stands for, without its quotes.
func nameOf(t token) string {
	switch t.kind {
	case name, text:
		if len(t.text) < 2 {
			return t.text
		}
		quote := t.text[:1]
		return strings.ReplaceAll(t.text[1:len(t.text)-1], quote+quote, quote)
	}
	return t.text
}

// upper returns a keyword in upper case, "" for what is none.
func (s *statement) upper(i int) string {
	if t := s.at(i); t.kind == word {
		return strings.ToUpper(t.text)
	}
	return ""
}
