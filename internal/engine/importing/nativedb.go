package importing

import (
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/sqlread"
	"github.com/backstay/backstay/internal/repository"
)

// Paths of the database in a backup.
const (
	indexFile    = "database/index.json"
	evidenceFile = "database/evidence.json"
	schemaFolder = "database/schema/"
	dataFolder   = "database/data/"
)

// database is the part of a review that is about the database.
type database struct {
	own     string // the name of the app's database
	index   core.DatabaseIndex
	anyCase bool
	defined map[string]defined // by file
}

// defined is what a definition is of.
type defined struct {
	sqlread.Definition
	table *core.Table // nil: another object
}

func (d *database) begin(m core.Manifest, own string) {
	d.own, d.defined = own, map[string]defined{}
	d.anyCase = m.Database != nil && m.Database.Server.LowerCaseTableNames != 0
}

// What stands in statements without quotes, or in settings.
var (
	charsetName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
	timeZoneName = regexp.MustCompile(`^[A-Za-z0-9_+:/-]{1,64}$`)
	sequenceAt   = regexp.MustCompile(`^-?[0-9]{1,20},[0-9]{1,20}$`)
	rowSum       = regexp.MustCompile(`^[0-9a-f]{32}$`)
	versionText  = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z.+~:_-]{0,127}$`)
)

// clientCharsets are those that servers take for character_set_client.
// https://dev.mysql.com/doc/refman/8.4/en/charset-charsets.html, https://mariadb.com/kb/en/supported-character-sets-and-collations/
var clientCharsets = strings.Fields("armscii8 ascii big5 binary cp1250 cp1251 cp1256 cp1257 cp850 cp852 cp866 cp932 dec8 eucjpms euckr gb18030 gb2312 gbk geostd8 greek hebrew hp8 " +
	"keybcs2 koi8r koi8u latin1 latin2 latin5 latin7 macce macroman sjis swe7 tis620 ujis utf8 utf8mb3 utf8mb4")

// sqlModes are those of both servers.
// https://dev.mysql.com/doc/refman/8.4/en/sql-mode.html, https://mariadb.com/kb/en/sql-mode/
var sqlModes = strings.Fields("ALLOW_INVALID_DATES ANSI ANSI_QUOTES DB2 EMPTY_STRING_IS_NULL ERROR_FOR_DIVISION_BY_ZERO HIGH_NOT_PRECEDENCE IGNORE_BAD_TABLE_OPTIONS IGNORE_SPACE MAXDB MSSQL MYSQL323 MYSQL40 " +
	"NO_AUTO_CREATE_USER NO_AUTO_VALUE_ON_ZERO NO_BACKSLASH_ESCAPES NO_DIR_IN_CREATE NO_ENGINE_SUBSTITUTION NO_FIELD_OPTIONS NO_KEY_OPTIONS NO_TABLE_OPTIONS NO_UNSIGNED_SUBTRACTION NO_ZERO_DATE NO_ZERO_IN_DATE " +
	"ONLY_FULL_GROUP_BY ORACLE PAD_CHAR_TO_FULL_LENGTH PIPES_AS_CONCAT POSTGRESQL REAL_AS_FLOAT SIMULTANEOUS_ASSIGNMENT STRICT_ALL_TABLES STRICT_TRANS_TABLES TIME_ROUND_FRACTIONAL TIME_TRUNCATE_FRACTIONAL TRADITIONAL")

func validMode(mode string) bool {
	if mode == "" {
		return true
	}
	for m := range strings.SplitSeq(mode, ",") {
		if !slices.Contains(sqlModes, m) {
			return false
		}
	}
	return true
}

// validName says whether a server may have a table, column or routine of this name.
func validName(name string) bool {
	return name != "" && utf8.ValidString(name) && utf8.RuneCountInString(name) <= 64 && !strings.ContainsRune(name, 0)
}

// belongs says whether a name is one of the app's.
func (r *review) belongs(name string) bool {
	prefix := r.m.Database.Prefix
	if r.anyCase {
		name, prefix = strings.ToLower(name), strings.ToLower(prefix)
	}
	return strings.HasPrefix(name, prefix)
}

// definition takes a file or folder below database/.
func (r *review) definition(e archive.Stored, body []byte) error {
	if e.Type != core.TypeDir && r.m.Database == nil {
		return nil // the archive says so already
	}
	switch {
	case e.Path == indexFile:
		r.databaseOf()
		if err := json.Unmarshal(body, &r.index); err != nil {
			return nil // likewise
		}
		r.readIndex()
	case body != nil:
		d, ok := r.defined[e.Path]
		if !ok {
			return nil
		}
		delete(r.defined, e.Path)
		r.read(e.Path, d, body)
	}
	return nil
}

// databaseOf looks at what the manifest says of the database.
func (r *review) databaseOf() {
	const where = repository.ManifestName
	d := r.m.Database
	switch {
	case !validName(d.Name):
		r.flaw(where, "%q cannot be a database's name", d.Name)
	case d.Prefix != "" && !validName(d.Prefix):
		r.flaw(where, "%q cannot begin names of tables", d.Prefix)
	case d.Index != indexFile, d.Evidence != "" && d.Evidence != evidenceFile:
		r.flaw(where, "its database is in other places than a backup's")
	case d.Charset != "" && !charsetName.MatchString(d.Charset), d.Collation != "" && !charsetName.MatchString(d.Collation):
		r.flaw(where, "its database has a character set or a collation that is none")
	case d.Server.Vendor != "mariadb" && d.Server.Vendor != "mysql" || !versionText.MatchString(d.Server.Version):
		r.flaw(where, "%q cannot be a database server", d.Server.Vendor+" "+d.Server.Version)
	case !validMode(d.Server.SQLMode):
		r.flaw(where, "%q is no sql_mode", d.Server.SQLMode)
	case d.Server.TimeZone != "" && !timeZoneName.MatchString(d.Server.TimeZone):
		r.flaw(where, "%q is no time zone", d.Server.TimeZone)
	case d.Server.LowerCaseTableNames < 0 || d.Server.LowerCaseTableNames > 2 || d.Server.MaxAllowedPacket < 0 || !plain(d.Server.BinlogPosition):
		r.flaw(where, "its database server has settings that none has")
	case d.Tables < 0 || d.Rows < 0 || d.Bytes < 0 || d.Reused < 0:
		r.flaw(where, "its database counts below zero")
	}
}

// readIndex looks at what the index says, before what it names comes.
func (r *review) readIndex() {
	index := &r.index
	if index.Charset != "" && !charsetName.MatchString(index.Charset) || index.Collation != "" && !charsetName.MatchString(index.Collation) || !utf8.ValidString(index.Comment) || len(index.Comment) > 64<<10 {
		r.flaw(indexFile, "the database has a character set, a collation or a comment that is none")
	}
	names, data := map[string]bool{}, map[string]bool{}
	taken := func(kind, name string) bool {
		switch kind {
		case "table", "view", "sequence":
			kind = "table"
		}
		if r.anyCase || kind != "table" && kind != "trigger" {
			name = strings.ToLower(name)
		}
		was := names[kind+" "+name]
		names[kind+" "+name] = true
		return was
	}
	for n := range index.Tables {
		t := &index.Tables[n]
		where := "table " + t.Name
		switch {
		case !validName(t.Name) || mysql.Reserved(t.Name):
			r.flaw(indexFile, "a table cannot be called %q", t.Name)
			continue
		case taken("table", t.Name):
			r.flaw(where, "it is there twice")
		case !r.belongs(t.Name):
			r.flaw(where, "it has not the prefix %q", r.m.Database.Prefix)
		case t.Engine != "" && !word.MatchString(t.Engine):
			r.flaw(where, "%q is no engine", t.Engine)
		}
		r.columns(where, t.Columns, t.Key)
		r.rows(where, t.Rows, t.Bytes, t.LongestRow, t.Checksum, t.Chunks, data)
		if h := t.History; h != nil {
			r.columns(where, h.Columns, nil)
			r.rows(where, h.Rows, h.Bytes, h.LongestRow, h.Checksum, h.Chunks, data)
		}
		if g := t.Generated; g != nil {
			r.columns(where, g.Columns, nil)
			r.rows(where, g.Rows, 0, 0, g.Checksum, []core.Chunk{}, nil)
		}
		r.define(t.Schema, defined{Definition: sqlread.Definition{Kind: sqlread.ObjectTable, Name: t.Name}, table: t})
	}
	for _, o := range index.Objects {
		where := o.Kind + " " + o.Name
		owner := o.Name
		if o.Kind == "trigger" {
			owner = o.Table
		}
		switch {
		case !slices.Contains([]string{"sequence", "view", "trigger", "procedure", "function", "package", "package body", "event"}, o.Kind):
			r.flaw(indexFile, "%q is no kind of object", o.Kind)
			continue
		case !validName(o.Name) || mysql.Reserved(o.Name):
			r.flaw(indexFile, "a %s cannot be called %q", o.Kind, o.Name)
			continue
		case taken(o.Kind, o.Name):
			r.flaw(where, "it is there twice")
		case o.Kind != "trigger" && o.Table != "":
			r.flaw(where, "it is no trigger, and has a table")
		case o.Kind == "trigger" && !slices.ContainsFunc(index.Tables, func(t core.Table) bool {
			return t.Name == o.Table || r.anyCase && strings.EqualFold(t.Name, o.Table)
		}):
			r.flaw(where, "there is no table %q", o.Table)
		case !r.belongs(owner):
			r.flaw(where, "it has not the prefix %q", r.m.Database.Prefix)
		case !validMode(o.SQLMode):
			r.flaw(where, "%q is no sql_mode", o.SQLMode)
		case o.Charset != "" && !slices.Contains(clientCharsets, o.Charset), (o.Charset == "") != (o.Collation == ""), o.Collation != "" && !charsetName.MatchString(o.Collation):
			r.flaw(where, "its character set or its collation is none")
		case o.TimeZone != "" && !timeZoneName.MatchString(o.TimeZone):
			r.flaw(where, "%q is no time zone", o.TimeZone)
		case !plain(o.Definer) || utf8.RuneCountInString(o.Definer) > 400:
			r.flaw(where, "its definer is none")
		case o.Value != "" && (o.Kind != "sequence" || !sequenceAt.MatchString(o.Value)):
			r.flaw(where, "it cannot go on with %q", o.Value)
		}
		r.define(o.File, defined{Definition: sqlread.Definition{Kind: sqlread.Object(o.Kind), Name: o.Name, Table: o.Table, SQLMode: o.SQLMode, Charset: o.Charset}})
	}
}

// define notes what a definition is to make.
func (r *review) define(file string, d defined) {
	if _, twice := r.defined[file]; twice || !strings.HasPrefix(file, schemaFolder+string(d.Kind)+"/") {
		r.flaw(string(d.Kind)+" "+d.Name, "its definition cannot be in %q", file)
		return
	}
	d.Database, d.AnyCase = r.m.Database.Name, r.anyCase
	r.defined[file] = d
}

func (r *review) columns(where string, columns []core.Column, key []string) {
	known := map[string]bool{}
	for _, c := range columns {
		name := strings.ToLower(c.Name)
		switch {
		case !validName(c.Name) || known[name]:
			r.flaw(where, "it cannot have a column %q, or has it twice", c.Name)
		case !slices.Contains([]core.Form{core.FormBytes, core.FormFloat, core.FormEnd, core.FormText}, c.Form):
			r.flaw(where, "%q is no form of values (column %s)", c.Form, c.Name)
		}
		known[name] = true
	}
	for _, name := range key {
		if !known[strings.ToLower(name)] {
			r.flaw(where, "its key is of %q, which is none of its columns", name)
		}
	}
}

func (r *review) rows(where string, rows, bytes, longest int64, checksum string, chunks []core.Chunk, data map[string]bool) {
	if rows < 0 || bytes < 0 || longest < 0 || checksum != "" && !rowSum.MatchString(checksum) {
		r.flaw(where, "its counts or its checksum are none")
	}
	for _, c := range chunks {
		if c.Rows < 0 || c.Bytes < 0 || !rowSum.MatchString(c.Checksum) || !strings.HasPrefix(c.File, dataFolder) || data[c.File] {
			r.flaw(where, "its chunk %q cannot be one", c.File)
		}
		data[c.File] = true
	}
}

// read holds a definition against what it is to be.
func (r *review) read(file string, d defined, text []byte) {
	where := string(d.Kind) + " " + d.Name
	got, err := sqlread.ReadDefinition(text, d.Definition)
	var e *core.Error
	switch {
	case errors.Is(err, sqlread.ErrUnread):
		r.add(archive.Flaw{Where: where, Name: archive.FlawUnread, Message: err.Error() + ": it cannot be seen that it does nothing else"})
		return
	case errors.As(err, &e):
		r.flaw(where, "its definition is not one that a backup has: %s", e.Message)
		return
	case err != nil:
		r.flaw(where, "%s", err)
		return
	}
	others := slices.DeleteFunc(got.Databases, func(name string) bool {
		return name == r.own || r.anyCase && strings.EqualFold(name, r.own)
	})
	if len(others) > 0 {
		r.add(archive.Flaw{Where: where, Name: archive.FlawNamesDatabase, Message: "it names another database: " + core.Some(others, 5)})
	}
	if got.Placed && len(others) == 0 {
		r.add(archive.Flaw{Where: where, Name: archive.FlawNamesDatabase, Message: "it is made in database " + r.m.Database.Name + " by name, also where it is restored into another one"})
	}
	if len(got.Reaches) > 0 {
		r.add(archive.Flaw{Where: where, Name: archive.FlawReaches, Message: "it can reach beyond the database when it is run: " + core.Some(got.Reaches, 5)})
	}
	if d.table != nil {
		r.made(where, d.table, string(text))
	}
}

// made says which columns a table does not have.
func (r *review) made(where string, t *core.Table, text string) {
	_, lines, _, ok := ddl.Split(text)
	if !ok {
		r.flaw(where, "its definition is not as a server prints it")
		return
	}
	has := map[string]bool{}
	for _, line := range lines {
		if name, _, ok := ddl.CutName(line); ok && strings.HasPrefix(line, "`") {
			has[strings.ToLower(name)] = true
		}
	}
	columns := slices.Clone(t.Columns)
	if t.Generated != nil {
		columns = append(columns, t.Generated.Columns...)
	}
	for _, c := range columns {
		if !has[strings.ToLower(c.Name)] {
			r.flaw(where, "its definition has no column %q", c.Name)
		}
	}
}
