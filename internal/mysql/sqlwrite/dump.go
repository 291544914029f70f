package sqlwrite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
)

// dump is a dump that is being put together: texts, and chunks in their places.
type dump struct {
	in       Input
	opt      Options
	mode     string // sql_mode of tables and rows
	pending  strings.Builder
	items    []item
	warnings []core.Warning
	definers map[string][]string // account → objects that run as it
}

// compose puts the dump together, reading definitions and no rows.
func compose(ctx context.Context, in Input, opt Options) (*dump, error) {
	d := &dump{in: in, opt: opt, definers: map[string][]string{}, mode: "NO_AUTO_VALUE_ON_ZERO,ALLOW_INVALID_DATES"}
	for _, m := range []string{"NO_UNSIGNED_SUBTRACTION", "PAD_CHAR_TO_FULL_LENGTH"} {
		if slices.Contains(strings.Split(in.Database.Server.SQLMode, ","), m) {
			d.mode += "," + m // it decides what generated columns hold
		}
	}
	objects, err := d.objects(ctx)
	if err != nil {
		return nil, err
	}
	d.begin(len(in.Index.Objects) > 0)
	for _, o := range objects["sequence"] {
		d.writeSequence(o)
	}
	for _, t := range in.Index.Tables {
		if err := d.writeTable(ctx, t); err != nil {
			return nil, err
		}
	}
	objects["view"] = inOrder(objects["view"], objects["function"])
	for _, kind := range kinds {
		for _, o := range objects[kind] {
			d.writeObject(o)
		}
	}
	d.warnOfDefiners()
	d.end()
	d.flush()
	return d, nil
}

// objects reads the statements of all objects, by kind. Views that the backup
// knows to be broken are left out: the reader would stop at them.
func (d *dump) objects(ctx context.Context) (map[string][]object, error) {
	byKind := map[string][]object{}
	for _, o := range d.in.Index.Objects {
		if o.Kind == "view" && slices.ContainsFunc(d.in.Warnings, func(w core.Warning) bool {
			return w.Code == "invalid-view" && w.Object == "view "+o.Name
		}) {
			d.notCarried("view "+o.Name, "it did not work when the backup was made, and whatever loads the dump would stop at it")
			continue
		}
		text, err := d.read(ctx, o.File)
		if err != nil {
			return nil, fmt.Errorf("write %s %s: %w", o.Kind, o.Name, err)
		}
		if d.opt.NoDefiner && o.Definer != "" {
			text, _ = ddl.WithoutDefiner(text)
		}
		byKind[o.Kind] = append(byKind[o.Kind], object{o, text})
	}
	return byKind, nil
}

const largestDefinition = 256 << 20

func (d *dump) read(ctx context.Context, path string) (_ string, err error) {
	r, err := d.in.Source.Open(ctx, path)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	text, err := io.ReadAll(io.LimitReader(r, largestDefinition))
	return string(text), err
}

// largeRow is the length from which a row needs a server, and a client, that
// were told to take it: their max_allowed_packet is 16 MiB where nothing is said.
const largeRow = 15 << 20

func (d *dump) writeTable(ctx context.Context, t core.Table) error {
	create, err := d.read(ctx, t.Schema)
	if err != nil {
		return fmt.Errorf("write table %s: %w", t.Name, err)
	}
	x := newTableText(t, create, d.opt.Dialect)
	statement, why := d.oneStatement(create)
	if why == "" && len(t.Chunks) > 0 {
		_, why = d.oneStatement(x.head + "()")
	}
	if why != "" {
		d.notCarried("table "+t.Name, why)
		return nil
	}
	if h := t.History; h != nil && h.Rows > t.Rows {
		d.warn("not-carried", "table "+t.Name, fmt.Sprintf("its %d present rows are in the export; its history, %d former rows, is not: SQL text cannot carry it", t.Rows, h.Rows-t.Rows))
	}
	if t.LongestRow > largeRow {
		d.warn("large-row", "table "+t.Name, fmt.Sprintf("its longest row has %d bytes: server and client must be told to take it (max_allowed_packet of up to %d)", t.LongestRow, min(2*t.LongestRow, 1<<30)))
	}
	name := mysql.QuoteName(t.Name)
	if d.opt.Dialect == DialectITFlow {
		d.comment("Table " + name)
	} else {
		d.comment("Table structure for table " + name)
	}
	d.line("DROP TABLE IF EXISTS " + name + ";")
	d.line(statement + ";")
	d.line("")
	if len(t.Chunks) == 0 {
		return nil
	}
	if d.opt.Dialect != DialectITFlow {
		d.comment("Dumping data for table " + name)
	}
	// MariaDB's bulk insert, which comes with unique_checks=0, was seen (10.11)
	// to spin for ever on rows of some 30 MB.
	careful := t.LongestRow == 0 || t.LongestRow > 1<<20
	if careful {
		d.line("SET UNIQUE_CHECKS = 1;")
	}
	d.flush()
	for _, c := range t.Chunks {
		d.items = append(d.items, item{rows: &job{table: x, chunk: c}})
	}
	if careful {
		d.line("SET UNIQUE_CHECKS = 0;")
	}
	d.line("")
	return nil
}

func (d *dump) line(text string) {
	d.pending.WriteString(text)
	d.pending.WriteByte('\n')
}

// comment adds a comment that keeps to its line, whatever a name holds.
func (d *dump) comment(text string) {
	text = strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, text)
	if d.opt.Dialect == DialectITFlow {
		d.line("-- " + text)
		return
	}
	d.line("--\n-- " + text + "\n--\n")
}

func (d *dump) flush() {
	if d.pending.Len() > 0 {
		d.items = append(d.items, item{text: d.pending.String()})
		d.pending.Reset()
	}
}

const timeLayout = "2006-01-02 15:04:05"

// saved are the settings that the dump changes, as it saves them and sets
// them. The comments have those servers read them that know them.
func (d *dump) saved() [][2]string {
	settings := [][2]string{
		{"!40101", "CHARACTER_SET_CLIENT"}, {"!40101", "CHARACTER_SET_RESULTS"}, {"!40101", "COLLATION_CONNECTION"}, {"!40103", "TIME_ZONE"}, {"!40101", "SQL_MODE"},
		{"!40111", "SQL_NOTES"}, {"M!100201", "CHECK_CONSTRAINT_CHECKS"}, {"M!100201", "INNODB_STRICT_MODE"},
	}
	if d.opt.Dialect != DialectITFlow { // whose dumps do this themselves
		settings = append(settings, [2]string{"!40014", "UNIQUE_CHECKS"}, [2]string{"!40014", "FOREIGN_KEY_CHECKS"})
	}
	return settings
}

func (d *dump) begin(objects bool) {
	server := d.in.Database.Server
	if d.opt.Dialect == DialectITFlow {
		d.line("-- ITFlow database backup")
		d.line("-- Generated " + d.opt.Time.UTC().Format(timeLayout))
		d.line("SET NAMES 'utf8mb4';")
		d.line("SET FOREIGN_KEY_CHECKS = 0;")
		d.line("SET UNIQUE_CHECKS = 0;")
		d.line("")
	} else {
		d.line(strings.TrimSpace("-- backstay dump " + oneWord(d.opt.Version)))
		d.line("--")
		d.line("-- Host: -    Database: " + oneLine(d.in.Database.Name))
		d.line("-- ------------------------------------------------------")
		d.line("-- Server version\t" + oneLine(server.Version))
		if objects {
			d.line("-- To keep comments in routines, load it with the client's option --comments")
		}
		d.line("")
	}
	for _, s := range d.saved() {
		d.line("/*" + s[0] + " SET @OLD_" + s[1] + "=@@" + s[1] + " */;")
	}
	if d.opt.Dialect != DialectITFlow {
		d.line("/*!40101 SET NAMES utf8mb4 */;")
		d.line("/*!40014 SET UNIQUE_CHECKS=0, FOREIGN_KEY_CHECKS=0 */;")
	}
	d.line("/*!40103 SET TIME_ZONE='+00:00' */;")
	d.line("/*!40101 SET SQL_MODE='" + d.mode + "' */;")
	d.roundAlike(server)
	d.line("/*!40111 SET SQL_NOTES=0 */;")
	d.line("/*M!100201 SET CHECK_CONSTRAINT_CHECKS=0, INNODB_STRICT_MODE=0 */;")
	d.defaults()
	d.line("")
}

// roundAlike has generated columns computed with parts of a second as at the
// origin: MariaDB cuts them unless it is told to round, MySQL rounds them unless it
// is told to cut.
func (d *dump) roundAlike(origin core.DatabaseServer) {
	has := strings.Split(origin.SQLMode, ",")
	rounds := !slices.Contains(has, "TIME_TRUNCATE_FRACTIONAL")
	switch origin.Vendor {
	case mysql.MariaDB:
		rounds = slices.Contains(has, "TIME_ROUND_FRACTIONAL")
	case mysql.MySQL:
	default:
		return
	}
	if rounds {
		d.line("/*M!100401 SET SQL_MODE='" + d.mode + ",TIME_ROUND_FRACTIONAL' */;")
	} else {
		d.line("/*!80000 SET SQL_MODE='" + d.mode + ",TIME_TRUNCATE_FRACTIONAL' */;")
	}
}

// defaults gives the database the character set of the original, where there is
// what takes it: parameters of routines that name none.
func (d *dump) defaults() {
	index := d.in.Index
	if index.Comment != "" {
		d.notCarried("database "+d.in.Database.Name, "its comment belongs to the database and not to what is in it; everything else is carried")
	}
	if index.Collation == "" || d.opt.Dialect != DialectMySQL && !slices.ContainsFunc(index.Objects, func(o core.SchemaObject) bool { return o.Kind == "function" || o.Kind == "procedure" }) {
		return
	}
	d.line("ALTER DATABASE CHARACTER SET " + mysql.QuoteName(index.Charset) + " COLLATE " + mysql.QuoteName(index.Collation) + ";")
}

func (d *dump) end() {
	saved := d.saved()
	slices.Reverse(saved)
	for _, s := range saved {
		d.line("/*" + s[0] + " SET " + s[1] + "=@OLD_" + s[1] + " */;")
	}
	if d.opt.Dialect == DialectITFlow {
		d.line("SET FOREIGN_KEY_CHECKS = 1;")
		d.line("SET UNIQUE_CHECKS = 1;")
		return
	}
	d.line("")
	d.line("-- Dump completed on " + d.opt.Time.UTC().Format(timeLayout))
}

func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, text)
}

func oneWord(text string) string { return strings.Join(strings.Fields(text), "-") }
