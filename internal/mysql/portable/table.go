package portable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// table translates a CREATE TABLE statement, as SHOW CREATE TABLE prints it.
type table struct {
	*builder
	*statement
	object  string // "table t"
	engine  string // on the target; lower case
	columns map[string]*column
	items   []part
	gone    map[int]bool // items that are left out
	close   int          // the bracket after the items
	extra   []string     // items that are added
}

// column is what the rules must remember of a column.
type column struct {
	kind      string // its type, upper case
	coarser   *choice
	collation string // as it was
	generated bool
	auto      bool
}

func (b *builder) table(ctx context.Context, t core.Table) error {
	if !b.translates {
		return nil
	}
	sql, err := b.in.Read(ctx, t.Schema)
	if err != nil {
		return fmt.Errorf("read table %s: %w", t.Name, err)
	}
	d := b.from
	x := &table{
		builder: b, statement: parse(d, string(sql)), object: "table " + t.Name, engine: strings.ToLower(t.Engine),
		columns: map[string]*column{}, gone: map[int]bool{},
	}
	x.sandbox(x.object)
	open := 0
	for open < x.len() && !x.is(open, "(") {
		open++
	}
	if !x.is(0, "CREATE") || open == x.len() {
		x.refuse(x.object, ruleSyntax, "its definition is not one that the rules can read", "")
		return nil
	}
	x.close = x.statement.close(open)
	x.items = x.split(open+1, x.close)
	x.options(x.close + 1)
	for _, p := range x.items {
		if x.at(p.from).kind == name {
			x.column(p)
		}
	}
	for i, p := range x.items {
		if x.at(p.from).kind != name {
			x.constraint(i, p)
		}
	}
	x.checkKeys()
	for i := open; i < x.close && x.toMySQL() && x.crosses(); i++ {
		if x.is(i, "CHECK", "(") {
			b.plan.checked[t.Name] = true
		}
	}
	x.removeItems()
	if out := x.String(); out != string(sql) {
		b.plan.statements[t.Schema] = out
	}
	x.probe()
	return nil
}

func (x *table) change(rule, from, to, why string) { x.rewrite(x.object, rule, from, to, why) }
func (x *table) reject(rule, reason, hint string)  { x.refuse(x.object, rule, reason, hint) }
func (x *table) leaveOut(rule, what, why string)   { x.rewrite(x.object, rule, what, "", why) }
func (x *table) nameAt(i int) string               { return nameOf(x.at(i)) }
func (x *table) skipBrackets(i int) int {
	if x.is(i, "(") {
		return x.statement.close(i) + 1
	}
	return i
}

// removeItems takes the items that are gone out of the list, with a comma each.
func (x *table) removeItems() {
	last := -1
	for i, p := range x.items {
		if !x.gone[i] {
			last = i
			continue
		}
		x.drop(p.from, p.to)
		if i+1 < len(x.items) {
			x.drop(p.to, p.to+1)
		}
	}
	if last >= 0 && last+1 < len(x.items) {
		x.drop(x.items[last].to, x.items[last].to+1)
	}
	for _, e := range x.extra {
		x.append(x.close-1, ",\n  "+e)
	}
}

// What a storage engine's tables can become.
func (x *table) translateEngine(i int, partitioned bool) {
	have := strings.ToLower(x.nameAt(i))
	to := ""
	why := "the target does not have the engine"
	switch {
	case !x.target.Engines[have]:
		to = "InnoDB"
	case partitioned && x.toMySQL() && have != "innodb":
		to, why = "InnoDB", "MySQL partitions InnoDB only"
	default:
		return
	}
	switch have {
	case "aria", "myisam", "memory", "archive", "csv", "rocksdb", "tokudb", "columnstore", "s3", "ndbcluster":
	default:
		x.reject(ruleEngine, "the server does not have its engine "+x.nameAt(i), "enable the engine on the server, or restore without the table")
		return
	}
	x.change(ruleEngine, x.nameAt(i), to, why)
	x.replace(i, i+1, to)
	x.engine = "innodb"
}

// Options of storage that one vendor has. Both know the others.
var (
	mariaOptions = []string{"PAGE_CHECKSUM", "TRANSACTIONAL", "PAGE_COMPRESSED", "PAGE_COMPRESSION_LEVEL", "ENCRYPTED", "ENCRYPTION_KEY_ID", "IETF_QUOTES", "SEQUENCE"}
	mysqlOptions = []string{"COMPRESSION", "ENCRYPTION", "TABLESPACE", "STORAGE", "AUTOEXTEND_SIZE", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE", "SECONDARY_ENGINE_ATTRIBUTE", "SECONDARY_LOAD"}
)

// options reads what stands behind the items, from word i on.
func (x *table) options(i int) {
	partitioned := false
	for j := i; j < x.len(); j++ {
		partitioned = partitioned || x.is(j, "PARTITION", "BY")
	}
	for i < x.len() {
		start := i
		switch {
		case x.is(i, "PARTITION", "BY"):
			x.partitions(i)
			return
		case x.is(i, "WITH", "SYSTEM", "VERSIONING"):
			if x.toMySQL() {
				x.reject(ruleHistory, "it is system-versioned, which MySQL does not know", "ALTER TABLE ... DROP SYSTEM VERSIONING at the origin before a backup for this server")
			}
			i += 3
			continue
		case x.is(i, "START", "TRANSACTION"):
			x.drop(i, i+2)
			i += 2
			continue
		case x.is(i, ","):
			i++
			continue
		case x.is(i, "DEFAULT"):
			i++
		}
		key := strings.ToUpper(x.nameAt(i))
		switch {
		case x.is(i, "CHARACTER", "SET"), x.is(i, "DATA", "DIRECTORY"), x.is(i, "INDEX", "DIRECTORY"):
			key += " " + x.upper(i+1)
			i++
		}
		quoted := x.at(i).kind == name
		i++
		if x.is(i, "=") {
			i++
		}
		value := i
		i = x.skipBrackets(i)
		if i == value {
			i++
		}
		if value >= x.len() {
			return
		}
		why := "the target does not know it; it says how rows are stored, not what they are"
		switch {
		case key == "ENGINE":
			x.translateEngine(value, partitioned)
		case key == "CHARSET" || key == "CHARACTER SET":
			x.charset(value, value+1, x.is(i, "COLLATE"))
		case key == "COLLATE":
			x.collation(value, nil)
		case key == "DATA DIRECTORY" || key == "INDEX DIRECTORY":
			x.leaveOut(ruleOption, x.source(start, i), "the folder belongs to the origin's machine")
			x.drop(start, i)
		case key == "ROW_FORMAT" && (x.is(value, "PAGE") || x.is(value, "TOKUDB_DEFAULT")) && x.engine == "innodb":
			x.leaveOut(ruleOption, x.source(start, i), why)
			x.drop(start, i)
		case x.crosses() && (quoted || x.toMySQL() && slices.Contains(mariaOptions, key) || x.toMariaDB && slices.Contains(mysqlOptions, key)),
			x.engine == "innodb" && slices.Contains([]string{"PAGE_CHECKSUM", "TRANSACTIONAL"}, key) && x.toMySQL():
			x.leaveOut(ruleOption, x.source(start, i), why)
			x.drop(start, i)
		}
	}
}

// partitions looks through PARTITION BY … from word i on.
func (x *table) partitions(i int) {
	for ; i < x.len(); i++ {
		switch {
		case x.is(i, "ENGINE"):
			at := i + 1
			if x.is(at, "=") {
				at++
			}
			if strings.ToLower(x.nameAt(at)) != x.engine && x.engine == "innodb" {
				x.replace(at, at+1, "InnoDB")
			}
		case x.toMySQL() && (x.is(i, "BY", "SYSTEM_TIME") || x.is(i, "HISTORY") || x.is(i, "CURRENT")):
			x.reject(rulePartition, "it is partitioned by system time, which MySQL does not know", "")
		case x.toMySQL() && x.is(i, "DEFAULT") && !x.is(i-1, "("):
			x.reject(rulePartition, "it has a DEFAULT partition, which MySQL does not know", "ALTER TABLE ... REORGANIZE PARTITION at the origin before a backup for this server")
		case x.crosses() && (x.is(i, "DATA", "DIRECTORY") || x.is(i, "INDEX", "DIRECTORY")):
			end := i + 3
			if x.is(i+2, "=") {
				end++
			}
			x.leaveOut(ruleOption, x.source(i, end), "the folder belongs to the origin's machine")
			x.drop(i, end)
		}
	}
}

// charset looks at the name of a character set at word i; end is where a
// COLLATE would be put when none is given and the vendors' defaults differ.
func (x *table) charset(i, end int, collated bool) {
	have := strings.ToLower(x.nameAt(i))
	to := x.charsetName(have)
	if !x.target.Charsets[to] && to != "binary" {
		x.reject(ruleCharset, "the server does not know character set "+have, "convert the column at the origin: ALTER TABLE ... CONVERT TO CHARACTER SET utf8mb4")
		return
	}
	if to != have {
		x.change(ruleCharset, have, to, renamed)
		x.replace(i, i+1, to)
	}
	if collated || have != "utf8mb4" {
		return
	}
	// Where the definition leaves the collation out, it is the origin's default
	// for the character set, which is not the target's.
	implied := "utf8mb4_general_ci"
	if !x.from.mariaDB && x.from.version >= 80000 {
		implied = "utf8mb4_0900_ai_ci"
	}
	c, ok := x.nearest(implied)
	if !ok {
		x.reject(ruleCollation, "the server has no collation near "+implied, "")
		return
	}
	if c.name != implied {
		x.change(ruleCollation, implied, c.name, c.why)
	}
	x.append(end-1, " COLLATE "+c.name)
}

// collation looks at the name of a collation at word i, of column c or nil.
func (b *builder) collationAt(s *statement, object string, i int) *choice {
	have := nameOf(s.at(i))
	c, ok := b.nearest(have)
	if !ok {
		b.refuse(object, ruleCollation, "the server has no collation like "+have, "convert it at the origin to one that both servers have, such as utf8mb4_unicode_ci")
		return nil
	}
	if !strings.EqualFold(c.name, have) {
		b.rewrite(object, ruleCollation, have, c.name, c.why)
		s.replace(i, i+1, c.name)
		return &c
	}
	return nil
}

func (x *table) collation(i int, c *column) {
	have := x.nameAt(i)
	stands := x.collationAt(x.statement, x.object, i)
	if c == nil {
		if stands != nil && stands.coarser {
			// Columns that give none of their own take it.
			x.columns[""] = &column{coarser: stands, collation: have}
		}
		return
	}
	c.collation = have
	if stands != nil && stands.coarser {
		c.coarser = stands
	}
}

// The types whose columns have a collation.
var textTypes = []string{"CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "ENUM", "SET"}

// The types that MySQL and MariaDB keep outside the row.
var blobTypes = []string{"TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"}

var spatialTypes = []string{"GEOMETRY", "POINT", "LINESTRING", "POLYGON", "MULTIPOINT", "MULTILINESTRING", "MULTIPOLYGON", "GEOMETRYCOLLECTION", "GEOMCOLLECTION", "JSON"}

// checkKeys looks at what only all columns and keys together tell.
func (x *table) checkKeys() {
	firsts := map[string]bool{}
	for _, p := range x.items {
		kind, cols, _ := x.keyColumns(p)
		if kind == "" {
			continue
		}
		for n, k := range cols {
			c := x.columns[k]
			if n == 0 {
				firsts[k] = true
			}
			if c == nil || kind != "PRIMARY" && kind != "UNIQUE" {
				continue
			}
			coarser, was := c.coarser, c.collation
			if inherited := x.columns[""]; coarser == nil && was == "" && inherited != nil && slices.Contains(textTypes, c.kind) {
				coarser, was = inherited.coarser, inherited.collation
			}
			if coarser != nil {
				x.reject(ruleCollation, fmt.Sprintf("column %s is in a unique key, and the nearest that the server has for its collation %s, %s, may take different values for equal: %s", k, was, coarser.name, coarser.why),
					"convert the column at the origin to a collation that both servers have")
			}
		}
		if kind == "PRIMARY" && x.toMariaDB {
			for _, k := range cols {
				if c := x.columns[k]; c != nil && c.generated {
					x.reject(ruleGenerated, fmt.Sprintf("its primary key has the generated column %s, which MariaDB does not allow", k), "")
				}
			}
		}
	}
	for name, c := range x.columns {
		if !c.auto {
			continue
		}
		if x.engine == "innodb" && !firsts[name] {
			x.reject(ruleAuto, fmt.Sprintf("AUTO_INCREMENT column %s comes second in its key, which InnoDB does not allow", name), "")
		}
		if x.toMySQL() && x.toVersion >= 80400 && (c.kind == "FLOAT" || c.kind == "DOUBLE") {
			x.reject(ruleAuto, fmt.Sprintf("AUTO_INCREMENT column %s is %s, which MySQL does not allow any more", name, c.kind), "ALTER TABLE ... MODIFY it to BIGINT at the origin")
		}
	}
}
