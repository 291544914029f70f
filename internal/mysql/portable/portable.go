// Package portable has the rules by which a database of one server is restored
// on another one: MariaDB on MySQL, MySQL on MariaDB, a newer version on an
// older one. It is for the engine, which shows in a plan what the rules say,
// and for package load, which runs the statements that they made. It promises
// that a definition that cannot be carried is refused with its object's name,
// that every change to a definition is listed with its reason, that nothing in
// a string or comment is taken for anything else, and that a restore on a
// server of the same vendor and version changes no definition.
package portable

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Rewrite is a change to a definition.
type Rewrite struct {
	Object string `json:"object"` // "table t", "view v", "database"
	Rule   string `json:"rule"`
	From   string `json:"from"`
	To     string `json:"to"` // "" is left out
	Why    string `json:"why"`
}

// Refusal is an object that the target cannot take.
type Refusal struct {
	Object string `json:"object"`
	Rule   string `json:"rule"`
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// Notice is something to know of an object that is carried as it is.
type Notice struct {
	Object  string `json:"object"`
	Rule    string `json:"rule"`
	Message string `json:"message"`
}

// Plan says how the objects of a backup come onto a target. A nil plan changes
// nothing.
type Plan struct {
	Rewrites []Rewrite
	Refusals []Refusal
	Notices  []Notice
	// Charset and Collation are the database's defaults on the target; "" when
	// the origin's are not known.
	Charset, Collation string

	probes     []probe
	noZeros    bool
	checked    map[string]bool              // tables with a CHECK that came from MariaDB to MySQL
	statements map[string]string            // path in the backup → what takes its place
	objects    map[string]core.SchemaObject // path in the backup → its settings on the target
}

// Statement returns the statement to run in place of the one at a path of the
// backup.
func (p *Plan) Statement(path string, original []byte) []byte {
	if p == nil {
		return original
	}
	if s, ok := p.statements[path]; ok {
		return []byte(s)
	}
	return original
}

// Object returns o with the settings that it is made under on the target.
func (p *Plan) Object(o core.SchemaObject) core.SchemaObject {
	if p == nil {
		return o
	}
	if changed, ok := p.objects[o.File]; ok {
		return changed
	}
	return o
}

// NoNegativeZeros says that the target makes 0 of the origin's negative zeros.
func (p *Plan) NoNegativeZeros() bool { return p != nil && p.noZeros }

// Checked says whether a table has a CHECK that the target applies to every
// row, where the origin may have rows that break it.
func (p *Plan) Checked(table string) bool { return p != nil && p.checked[table] }

// Input is what is to be restored.
type Input struct {
	Origin core.DatabaseServer
	Index  core.DatabaseIndex
	Tables []string // only these, with their triggers; empty: everything
	// Read gives the bytes of a file of the backup.
	Read func(ctx context.Context, path string) ([]byte, error)
}

// Make applies the rules. It changes nothing, here or on the target. What the
// rules cannot carry stands in the plan's Refusals; an error is one of reading.
func Make(ctx context.Context, in Input, target Target) (*Plan, error) {
	b := &builder{
		in: in, target: target, plan: &Plan{statements: map[string]string{}, objects: map[string]core.SchemaObject{}, checked: map[string]bool{}},
		functions: map[string]bool{}, names: map[string]string{},
	}
	b.from = dialect{mariaDB: in.Origin.Vendor == mysql.MariaDB, version: mysql.VersionNumber(in.Origin.Version)}
	b.toMariaDB, b.toVersion = target.Server.MariaDB(), target.Server.VersionNumber
	b.translates = in.Origin.Vendor != "" && b.differs()
	b.plan.noZeros = b.translates && b.crosses() && b.toMariaDB
	tables, objects := b.choose()
	b.checkNames(tables, objects)
	b.checkDefaults()
	for _, t := range tables {
		b.checkRows(t)
		if err := b.table(ctx, t); err != nil {
			return nil, err
		}
	}
	for _, o := range objects {
		if err := b.object(ctx, o); err != nil {
			return nil, err
		}
	}
	return b.plan, nil
}

// builder makes a plan.
type builder struct {
	in         Input
	target     Target
	plan       *Plan
	from       dialect
	toMariaDB  bool
	toVersion  int
	translates bool            // the target is of another vendor, or older
	functions  map[string]bool // the backup's own, lower case
	names      map[string]string
	body       bool // a routine's text is looked through, which a server keeps as it is written
}

// differs says whether definitions may need a change: the target is of the
// other vendor or older, or lacks what the tables' catalogue names. MySQL takes
// things away with a new major version too.
func (b *builder) differs() bool {
	collation := strings.ToLower(b.in.Index.Collation)
	return b.crosses() || b.from.version/100 > b.toVersion/100 || b.toMySQL() && b.from.version/10000 != b.toVersion/10000 ||
		collation != "" && !b.target.Collations[collation] ||
		slices.ContainsFunc(b.in.Index.Tables, func(t core.Table) bool { return !b.target.Engines[strings.ToLower(t.Engine)] })
}

// toMySQL says whether the target is MySQL.
func (b *builder) toMySQL() bool { return !b.toMariaDB }

// crosses says whether the target is of the other vendor.
func (b *builder) crosses() bool { return b.from.mariaDB != b.toMariaDB }

func (b *builder) rewrite(object, rule, from, to, why string) {
	r := Rewrite{object, rule, from, to, why}
	if !slices.Contains(b.plan.Rewrites[max(0, len(b.plan.Rewrites)-50):], r) {
		b.plan.Rewrites = append(b.plan.Rewrites, r)
	}
}

// refuse refuses an object once for each reason.
func (b *builder) refuse(object, rule, reason, hint string) {
	r := Refusal{object, rule, reason, hint}
	if !slices.Contains(b.plan.Refusals, r) {
		b.plan.Refusals = append(b.plan.Refusals, r)
	}
}

func (b *builder) choose() ([]core.Table, []core.SchemaObject) {
	for _, o := range b.in.Index.Objects {
		if o.Kind == "function" {
			b.functions[strings.ToLower(o.Name)] = true
		}
	}
	if len(b.in.Tables) == 0 {
		return b.in.Index.Tables, b.in.Index.Objects
	}
	var tables []core.Table
	var objects []core.SchemaObject
	for _, t := range b.in.Index.Tables {
		if slices.Contains(b.in.Tables, t.Name) {
			tables = append(tables, t)
		}
	}
	for _, o := range b.in.Index.Objects {
		if o.Kind == "trigger" && slices.Contains(b.in.Tables, o.Table) {
			objects = append(objects, o)
		}
	}
	return tables, objects
}

// checkNames looks what the target makes of the case of names.
// https://dev.mysql.com/doc/refman/8.4/en/identifier-case-sensitivity.html
func (b *builder) checkNames(tables []core.Table, objects []core.SchemaObject) {
	for _, t := range tables {
		if b.crosses() && b.toMariaDB && strings.HasPrefix(strings.ToLower(t.Name), "#mysql50#") {
			b.refuse("table "+t.Name, ruleCase, "MariaDB takes a name that begins with #mysql50# for a file's name", "rename it at the origin")
		}
	}
	from, to := b.in.Origin.LowerCaseTableNames, b.target.Server.LowerCaseTableNames
	if b.in.Origin.Vendor == "" || (from == 0) == (to == 0) {
		return
	}
	if from != 0 {
		for _, o := range objects {
			b.plan.Notices = append(b.plan.Notices, Notice{o.Kind + " " + o.Name, ruleCase, "the origin took table names in any case, this server takes them only as they are spelled: names in its text may not be found"})
		}
		return
	}
	type named struct{ kind, name string }
	var all []named
	for _, t := range tables {
		all = append(all, named{"table", t.Name})
	}
	for _, o := range objects {
		if o.Kind == "view" || o.Kind == "sequence" {
			all = append(all, named{o.Kind, o.Name})
		}
	}
	first := map[string]named{}
	for _, n := range all {
		lower := strings.ToLower(n.name)
		other, taken := first[lower]
		switch {
		case taken:
			b.refuse(n.kind+" "+n.name, ruleCase, fmt.Sprintf("its name differs from that of %s %s in case only, and the server takes both for one (lower_case_table_names=%d)", other.kind, other.name, to),
				"rename one of them at the origin, or restore on a server with lower_case_table_names=0")
		case lower != n.name && to == 1:
			b.plan.Notices = append(b.plan.Notices, Notice{n.kind + " " + n.name, ruleCase, "the server keeps names in lower case (lower_case_table_names=1): it will be called " + lower})
		}
		if !taken {
			first[lower] = n
		}
	}
}

// checkDefaults translates the database's own character set and collation.
func (b *builder) checkDefaults() {
	index := b.in.Index
	b.plan.Charset, b.plan.Collation = index.Charset, index.Collation
	if index.Collation == "" || !b.translates {
		return
	}
	b.plan.Charset = b.charsetName(index.Charset)
	if !b.target.Charsets[b.plan.Charset] {
		b.plan.Charset, b.plan.Collation = "utf8mb4", "utf8mb4_bin"
		b.rewrite("database", ruleSession, index.Charset, "utf8mb4", "the target does not know the database's default character set; tables name their own")
		return
	}
	if c, ok := b.nearest(index.Collation); ok {
		b.plan.Collation = c.name
		if c.name != index.Collation {
			b.rewrite("database", ruleCollation, index.Collation, c.name, c.why)
		}
	}
}

// nearest returns the collation of the target that stands in for one of the
// origin.
func (b *builder) nearest(collation string) (choice, bool) {
	lower := strings.ToLower(collation)
	if b.target.Collations[lower] || lower == "binary" || lower == "default" {
		return choice{name: collation}, true
	}
	if strings.HasPrefix(lower, "uca1400_") && b.target.Collations["utf8mb4_"+lower] {
		return choice{name: collation}, true
	}
	for _, c := range nearest(collation) {
		if b.target.Collations[c.name] {
			return c, true
		}
	}
	return choice{}, false
}

// charsetName returns the target's name of a character set.
func (b *builder) charsetName(charset string) string {
	switch lower := strings.ToLower(charset); {
	case lower == "utf8" && b.target.Charsets["utf8mb3"]:
		return "utf8mb3"
	case lower == "utf8mb3" && !b.target.Charsets["utf8mb3"]:
		return "utf8"
	default:
		return lower
	}
}

// insertFactor is by how much a row's INSERT may be longer than its line in a
// chunk: bytes that need it are written as two hexadecimal digits.
const insertFactor = 2

// statementHead is room for the head of an INSERT, in bytes.
const statementHead = 64 << 10

// checkRows looks whether the target takes the longest row. LOAD DATA LOCAL
// sends its file in pieces, so that max_allowed_packet does not limit a row,
// and rows come back without limit too (seen on MariaDB 10.11 and 11.8 and
// MySQL 9.7); an INSERT must fit into one packet, and MySQL makes no JSON
// document larger than one.
func (b *builder) checkRows(t core.Table) {
	limit := b.target.Server.MaxAllowedPacket
	if t.LongestRow == 0 || limit == 0 {
		return
	}
	object := "table " + t.Name
	largest := int64(0)
	for _, c := range t.Chunks {
		largest = max(largest, min(c.Bytes, mysql.LocalPiece))
	}
	if b.target.Server.LocalInfile && largest >= limit {
		b.refuse(object, ruleSize, fmt.Sprintf("its rows are sent in pieces of %d bytes and the server takes %d (max_allowed_packet)", largest, limit), fmt.Sprintf("SET GLOBAL max_allowed_packet=%d on the server", roundUp(largest)))
	}
	if !b.target.Server.LocalInfile && t.LongestRow*insertFactor+statementHead >= limit && t.LongestRow > limit/8 {
		b.refuse(object, ruleSize, fmt.Sprintf("its longest row has %d bytes and may need an INSERT of %d bytes; the server takes %d (max_allowed_packet) and forbids LOAD DATA LOCAL, which has no such limit",
			t.LongestRow, t.LongestRow*insertFactor, limit),
			fmt.Sprintf("SET GLOBAL local_infile=1 on the server, or SET GLOBAL max_allowed_packet=%d", roundUp(t.LongestRow*insertFactor+statementHead)))
	}
	if b.toMySQL() && !b.from.mariaDB && t.LongestRow > limit && slices.ContainsFunc(t.Columns, func(c core.Column) bool { return c.Form == core.FormText }) {
		b.refuse(object, ruleSize, fmt.Sprintf("it has a JSON column and its longest row has %d bytes; MySQL makes no JSON document larger than max_allowed_packet, which is %d on the server", t.LongestRow, limit),
			fmt.Sprintf("SET GLOBAL max_allowed_packet=%d on the server", roundUp(t.LongestRow)))
	}
}

// roundUp returns the next multiple of 1 MiB, in which servers count packets.
func roundUp(n int64) int64 { return (n/(1<<20) + 1) << 20 }

// Objects names the objects of refusals, each once, in their order.
func (p *Plan) Objects() []string {
	var out []string
	for _, r := range p.Refusals {
		if !slices.Contains(out, r.Object) {
			out = append(out, r.Object)
		}
	}
	return out
}

// Err returns the error of a restore that the plan refuses, nil when it
// refuses nothing.
func (p *Plan) Err(op string) error {
	if p == nil || len(p.Refusals) == 0 {
		return nil
	}
	const shown = 5
	var parts []string
	for _, r := range p.Refusals[:min(shown, len(p.Refusals))] {
		parts = append(parts, r.Object+": "+r.Reason)
	}
	if more := len(p.Refusals) - shown; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return &core.Error{
		Code: core.CodeNotPortable, Op: op, Message: "nothing was changed, because the server cannot take " + strings.Join(parts, "; "),
		Hint: cmp.Or(p.Refusals[0].Hint, "restore the rest with --table, or all of it on a server like the original"),
	}
}
