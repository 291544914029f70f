package sqlread

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// Definition is what the definition of one object has to make, and the
// session's settings under which a server reads it.
type Definition struct {
	Kind    Object
	Name    string
	Table   string // of a trigger
	SQLMode string
	Charset string // character_set_client; "": utf8mb4
	// Database is the one that it was made in, and that names may be in; "": none.
	Database string
	AnyCase  bool // names of tables are the same in upper and lower case
}

// Defined is what a definition reaches when it is run, or when what it makes is.
type Defined struct {
	// Databases are those that it names: its own too, since it may be run in one
	// of another name.
	Databases []string
	Reaches   []string // as of Statement
	Placed    bool     // it says by name in which database the object is to be, wherever it is run
}

// ErrUnread is in the chain of the error about a definition of which it cannot
// be said where its texts end, as it stands in a character set whose characters
// hold bytes that look like quotes.
var ErrUnread = errors.New("it cannot be told where its texts end")

// ReadDefinition reads a definition as a backup holds it: a server is to get
// just these bytes. It fails unless that is one CREATE statement of this kind
// and name, under the rules for dumps, for whatever version reads it. An error
// has a core.Code and names no line.
func ReadDefinition(text []byte, d Definition) (*Defined, error) {
	if d.Charset == "" {
		d.Charset = "utf8mb4"
	}
	if len(text) < 7 || !strings.EqualFold(string(text[:6]), "CREATE") || !lexer.IsSpace(text[6]) && text[6] != '/' || bytes.IndexByte(text, 0) >= 0 {
		return nil, notDefined("it is no CREATE statement")
	}
	if wideCharsets[d.Charset] && !lexer.ASCII(string(text)) || d.Charset == "swe7" {
		// Servers take one statement at a time, so that its head still says what it makes.
		if m := definitionHead.FindSubmatch(text); m == nil || !strings.EqualFold(string(m[1]), string(d.Kind)) {
			return nil, notDefined("it does not make a " + string(d.Kind))
		}
		return nil, &core.Error{Code: core.CodeUnsupported, Op: "read definition", Err: ErrUnread, Message: "it is written in " + d.Charset}
	}
	readers, err := servers(text)
	if err != nil {
		return nil, err
	}
	out := &Defined{}
	for _, opt := range readers {
		opt.Database = d.Database
		if err := out.read(text, d, opt); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// definitionHead is how servers print what comes before a name.
var definitionHead = regexp.MustCompile("(?i)^CREATE (?:ALGORITHM=[A-Z]+ )?(?:DEFINER=" + accountPart + "(?:@" + accountPart + ")? )?(?:SQL SECURITY [A-Z]+ )?(?:AGGREGATE )?" +
	"(VIEW|TRIGGER|PROCEDURE|FUNCTION|PACKAGE BODY|PACKAGE|EVENT)\\s")

const accountPart = "(?:`[!-_a-~]+`|\"[!#-~]+\")"

// wideCharsets have characters with a second byte that may be ASCII.
var wideCharsets = map[string]bool{"big5": true, "cp932": true, "sjis": true, "gbk": true, "gb18030": true}

func notDefined(message string) error {
	return &core.Error{Code: core.CodeUnsupported, Op: "read definition", Message: message}
}

var versioned = regexp.MustCompile(`/\*M?!([0-9]{5,6})`)

// servers are those that read a text differently: below and from each version
// on that a comment in it names.
func servers(text []byte) ([]Options, error) {
	if !bytes.Contains(text, []byte("/*")) {
		return []Options{{MariaDB: true, ServerVersion: newestMariaDB}}, nil
	}
	const oldest = 50500
	versions := []int{oldest, newestMariaDB}
	for _, m := range versioned.FindAllSubmatch(text, -1) {
		digits := string(m[1])
		for _, n := range []string{digits, digits[:5]} { // older servers take five
			v, err := strconv.Atoi(n)
			if err != nil {
				return nil, err
			}
			for _, v := range []int{v - 1, v} {
				if v > oldest && v < newestMariaDB && !slices.Contains(versions, v) {
					versions = append(versions, v)
				}
			}
		}
		if len(versions) > 60 {
			return nil, notDefined("it has comments for more versions than servers write")
		}
	}
	var all []Options
	for _, v := range versions {
		all = append(all, Options{MariaDB: true, ServerVersion: v}, Options{ServerVersion: v})
	}
	return all, nil
}

// noDelimiter ends no statement within a definition.
const noDelimiter = "\x00"

func (out *Defined) read(text []byte, d Definition, opt Options) error {
	r := New(io.MultiReader(bytes.NewReader(text), strings.NewReader(noDelimiter)), opt)
	r.databaseFixed = true
	if err := r.lex.Mode.SetCharset(d.Charset); err != nil {
		return notDefined(err.Error())
	}
	if err := r.setMode(d.SQLMode); err != nil {
		return notDefined(err.Error())
	}
	r.lex.Mode.Delimiter = noDelimiter
	st, err := r.Next()
	if err != nil {
		return unlocated(err)
	}
	pieces := slices.Clone(r.pieces)
	if _, err := r.Next(); err != io.EOF {
		return notDefined("there is more than one statement in it")
	}
	same := func(a, b string) bool { return a == b || d.AnyCase && strings.EqualFold(a, b) }
	switch {
	case st.Kind != KindCreate || st.Object != d.Kind:
		return notDefined("it does not make a " + string(d.Kind))
	case !r.lex.Mode.ReadsNames() && !lexer.ASCII(d.Name+d.Table):
		return &core.Error{Code: core.CodeUnsupported, Op: "read definition", Err: ErrUnread, Message: "its name is written in " + d.Charset}
	case !same(st.Name, d.Name):
		return notDefined("it makes " + strconv.Quote(st.Name))
	case !same(st.Table, d.Table):
		return notDefined("it is of table " + strconv.Quote(st.Table))
	}
	out.Placed = out.Placed || st.placed
	for _, name := range r.databases(pieces, d.AnyCase) {
		out.note(&out.Databases, name)
	}
	for _, what := range st.Reaches {
		out.note(&out.Reaches, what)
	}
	for i := 1; i < len(pieces); i++ {
		// What such a statement is cannot be read here.
		if before := pieces[i-1].upper; before == "EXECUTE" && pieces[i].upper == "IMMEDIATE" || before == "PREPARE" && pieces[i].kind != lexer.Mark {
			out.note(&out.Reaches, map[string]string{"EXECUTE": "EXECUTE IMMEDIATE", "PREPARE": "PREPARE"}[before])
		}
	}
	return nil
}

func (out *Defined) note(list *[]string, name string) {
	if !slices.Contains(*list, name) {
		*list = append(*list, name)
	}
}

// unlocated leaves the line out of a reader's error.
func unlocated(err error) error {
	var e *core.Error
	if !errors.As(err, &e) {
		return err
	}
	message := e.Message
	if at := strings.Index(message, ": "); at > 0 && strings.HasPrefix(message, "line ") {
		message = message[at+2:]
	}
	return &core.Error{Code: core.CodeUnsupported, Op: "read definition", Message: message}
}
