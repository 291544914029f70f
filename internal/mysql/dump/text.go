package dump

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// unqualified takes the database's name out of a definition where the server
// names it although it is the definition's own: sequences in defaults, and the
// columns of views that it cannot open, such as those whose definer is gone.
// Left in, a copy in another database would use what is in this one.
func (s *Snapshot) unqualified(statement string) string {
	own := mysql.QuoteName(s.database)
	same := func(name string) bool {
		return name == own || s.Server.LowerCaseTableNames != 0 && strings.EqualFold(name, own)
	}
	var out strings.Builder
	from := 0 // what is before it is in out
	for i := 0; i < len(statement); {
		if c := statement[i]; c != '`' && c != '\'' {
			i++
			continue
		}
		end := quotedEnd(statement, i)
		if statement[i] == '`' && same(statement[i:end]) && strings.HasPrefix(statement[end:], ".`") {
			next := quotedEnd(statement, end+1)
			rest := statement[next:]
			if strings.HasPrefix(rest, ".`") || strings.HasPrefix(rest, "(") || sequenceCall.MatchString(statement[:i]) {
				out.WriteString(statement[from:i])
				from = end + 1
				end = next
			}
		}
		i = end
	}
	return out.String() + statement[from:]
}

var sequenceCall = regexp.MustCompile(`(?i)\b(?:nextval|lastval|setval)\($`)

// quotedEnd returns where the quoted text that begins at i ends.
func quotedEnd(text string, i int) int {
	quote := text[i]
	for j := i + 1; j < len(text); j++ {
		switch {
		case text[j] == '\\' && quote == '\'':
			j++
		case text[j] == quote && j+1 < len(text) && text[j+1] == quote:
			j++
		case text[j] == quote:
			return j + 1
		}
	}
	return len(text)
}

// trailsInASCII says whether characters of a set may end in bytes that are
// quotes or backslashes by themselves.
func trailsInASCII(charset string) bool {
	switch charset {
	case "big5", "cp932", "gb18030", "gbk", "sjis":
		return true
	}
	return false
}

var objectHead = regexp.MustCompile("^CREATE (?:OR REPLACE )?DEFINER=")

// inOneSet returns an object's statement wholly in its own character set and
// quoted as its own sql_mode reads it. The server prints names and comments in
// front of the body in UTF-8, whatever the body's set, and quotes comments with
// backslashes, whatever the mode; run as it is, the statement would encode them
// twice.
func (s *Snapshot) inOneSet(ctx context.Context, statement string, o *core.SchemaObject, comment string) (string, error) {
	if o.Kind == "view" || o.Kind == "sequence" || !objectHead.MatchString(statement) {
		return statement, nil
	}
	at := 0
	replace := func(printed, wanted string) {
		if i := strings.Index(statement[at:], printed); i >= 0 {
			statement = statement[:at+i] + wanted + statement[at+i+len(printed):]
			at += i + len(wanted)
		}
	}
	names := []string{o.Name}
	if i := strings.LastIndexByte(o.Definer, '@'); i >= 0 {
		names = []string{o.Definer[:i], o.Definer[i+1:], o.Name}
	}
	if o.Kind == "trigger" {
		names = append(names, o.Table)
	}
	for _, name := range names {
		if ascii(name) {
			continue
		}
		converted, ok, err := s.inSet(ctx, mysql.QuoteName(name), o.Charset)
		if err != nil {
			return "", err
		}
		if ok {
			replace(mysql.QuoteName(name), converted)
		}
	}
	literal := quotedComment.Replace(comment)
	if strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES") {
		literal = strings.ReplaceAll(comment, "'", "''")
	}
	converted, ok, err := s.inSet(ctx, literal, o.Charset)
	if err != nil {
		return "", err
	}
	if ok && comment != "" {
		replace("COMMENT '"+quotedComment.Replace(comment)+"'", "COMMENT '"+converted+"'")
	}
	return statement, nil
}

// How the server quotes a comment (append_unescaped in its sources).
var quotedComment = strings.NewReplacer("\x00", `\0`, "\n", `\n`, "\r", `\r`, `\`, `\\`, `'`, `''`)

// inSet converts text to a character set. ok is false when the set lacks a
// character of it.
func (s *Snapshot) inSet(ctx context.Context, text, charset string) (converted string, ok bool, err error) {
	if charset == "" || ascii(text) || strings.HasPrefix(charset, "utf8") {
		return text, true, nil
	}
	rows, err := s.raw.Query(ctx, fmt.Sprintf("SELECT CONVERT(_utf8mb4 x'%x' USING %s), CONVERT(CONVERT(_utf8mb4 x'%[1]x' USING %[2]s) USING utf8mb4)", text, charset))
	if err != nil {
		return "", false, fmt.Errorf("convert %q to %s: %w", text, charset, err)
	}
	if len(rows) != 1 || len(rows[0]) != 2 {
		return "", false, fmt.Errorf("convert %q to %s: unexpected answer", text, charset)
	}
	return rows[0][0].Text, rows[0][1].Text == text, nil
}

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}
