// Package ddl mends what SHOW CREATE prints, so that it makes the same object
// in another database. It is for packages dump, load and shadow. It promises to change
// nothing that need not be changed.
package ddl

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Unqualified takes the database's name out of a definition where the server
// names it although it is the definition's own: sequences in defaults, and the
// columns of views that it cannot open, such as those whose definer is gone.
// Left in, a copy in another database would use what is in this one. anyCase
// says that the server takes names in any case.
func Unqualified(statement, database string, anyCase bool) string {
	own := mysql.QuoteName(database)
	same := func(name string) bool {
		return name == own || anyCase && strings.EqualFold(name, own)
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

// TrailsInASCII says whether characters of a set may end in bytes that are
// quotes or backslashes by themselves. Definitions in such a set must not be
// read byte by byte, as Unqualified does.
func TrailsInASCII(charset string) bool {
	switch charset {
	case "big5", "cp932", "gb18030", "gbk", "sjis":
		return true
	}
	return false
}

var objectHead = regexp.MustCompile("^CREATE (?:OR REPLACE )?DEFINER=")

// Converter converts text to a character set. ok is false when the set lacks a
// character of it.
type Converter func(text, charset string) (converted string, ok bool, err error)

// InOneSet returns an object's statement wholly in its own character set and
// quoted as its own sql_mode reads it. The server prints names and comments in
// front of the body in UTF-8, whatever the body's set, and quotes comments with
// backslashes, whatever the mode; run as it is, the statement would encode them
// twice. comment is the object's, "" for none.
func InOneSet(statement string, o core.SchemaObject, comment string, convert Converter) (string, error) {
	if o.Kind == "view" || o.Kind == "sequence" || !objectHead.MatchString(statement) {
		return statement, nil
	}
	at := 0
	replace := func(printed, wanted string) error {
		if !ascii(wanted) && o.Charset != "" && !strings.HasPrefix(o.Charset, "utf8") {
			converted, ok, err := convert(wanted, o.Charset)
			if err != nil {
				return fmt.Errorf("convert %q to %s: %w", wanted, o.Charset, err)
			}
			if !ok {
				return nil
			}
			wanted = converted
		}
		if i := strings.Index(statement[at:], printed); i >= 0 {
			statement = statement[:at+i] + wanted + statement[at+i+len(printed):]
			at += i + len(wanted)
		}
		return nil
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
		if err := replace(mysql.QuoteName(name), mysql.QuoteName(name)); err != nil {
			return "", err
		}
	}
	if comment == "" {
		return statement, nil
	}
	printed := quotedComment.Replace(comment)
	literal := printed
	if strings.Contains(o.SQLMode, "NO_BACKSLASH_ESCAPES") {
		literal = strings.ReplaceAll(comment, "'", "''")
	}
	err := replace("COMMENT '"+printed+"'", "COMMENT '"+literal+"'")
	return statement, err
}

// How the server quotes a comment (append_unescaped in its sources).
var quotedComment = strings.NewReplacer("\x00", `\0`, "\n", `\n`, "\r", `\r`, `\`, `\\`, `'`, `''`)

func ascii(text string) bool {
	for i := range len(text) {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}
