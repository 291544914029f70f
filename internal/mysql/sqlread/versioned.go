package sqlread

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
	"github.com/backstay/backstay/internal/mysql/sqlread/remarks"
)

var (
	versionedComment = regexp.MustCompile(`(?s)^/\*(M?)!([0-9]{5,6})(.*)\*/$`)
	quotes           = regexp.MustCompile(`(?s)'(?:[^'\\]|''|\\.)*'|"(?:[^"\\]|""|\\.)*"|` + "`[^`]*`" + `|/\*.*?\*/`)
	dataVerbs        = regexp.MustCompile(`(?i)\b(?:INSERT|REPLACE|CREATE|ALTER)\b`)
)

// neverRead is what no server reads: programs hide things behind it.
const neverRead = 99999

// leftOut looks at a versioned comment that is not for the server which the dump
// is read for: rows, tables and columns that the dump's own server would read
// must not be lost without a word.
func (r *Reader) leftOut(text []byte, kind lexer.Kind) error {
	if kind != lexer.Frame || string(text) == lexer.Sandbox {
		return nil
	}
	m := versionedComment.FindSubmatch(text)
	if m == nil {
		return nil // the begin or the end of one that is read
	}
	maria := len(m[1]) > 0
	version, err := strconv.Atoi(string(m[2]))
	if err != nil {
		return err
	}
	known := r.head.Number != 0
	if known && !lexer.Runs(r.head.Vendor == remarks.VendorMariaDB, r.head.Number, maria, version) || version == neverRead || version > newestMariaDB {
		return nil
	}
	content := quotes.ReplaceAll(m[3], []byte(" "))
	what := ""
	switch {
	case len(r.pieces) == 0 && dataVerbs.Match(content):
		what = "a statement"
	case len(r.pieces) > 0 && known && slices.Contains(content, ','):
		what = "a part of a statement"
	default:
		return nil
	}
	return &lexer.Refusal{
		Message: fmt.Sprintf("%s for servers from %s on, which the server that the dump is read for (%s) leaves out", what, dotted(version), dotted(r.lex.Version)),
		Hint:    "install a server of the kind and version that the dump was made of, so that the import starts one of its own",
	}
}

// dotted writes a version number as people do.
func dotted(n int) string { return fmt.Sprintf("%d.%d.%d", n/10000, n/100%100, n%100) }
