package portable

import (
	"fmt"
	"slices"
	"strings"
)

// keyColumns returns of a key its kind ("PRIMARY", "UNIQUE", "KEY",
// "FULLTEXT", "SPATIAL", "VECTOR"; "" for what is no key), its columns without
// expressions, and the word of the bracket before them.
func (x *table) keyColumns(p part) (kind string, columns []string, open int) {
	i := p.from
	if x.is(i, "CONSTRAINT") {
		if i++; x.at(i).kind == name {
			i++
		}
	}
	switch k := x.upper(i); k {
	case "PRIMARY", "UNIQUE", "FULLTEXT", "SPATIAL", "VECTOR":
		kind = k
	case "KEY", "INDEX":
		kind = "KEY"
	default:
		return "", nil, 0
	}
	for open = i; open < p.to && !x.is(open, "("); open++ {
	}
	for _, c := range x.split(open+1, x.statement.close(open)) {
		if x.at(c.from).kind == name {
			columns = append(columns, x.nameAt(c.from))
		}
	}
	return kind, columns, open
}

// constraint translates an item that is no column.
func (x *table) constraint(n int, p part) {
	if x.is(p.from, "PERIOD", "FOR") {
		if x.toMySQL() {
			if x.is(p.from+2, "SYSTEM_TIME") {
				x.reject(ruleHistory, "it is system-versioned, which MySQL does not know", "ALTER TABLE ... DROP SYSTEM VERSIONING at the origin before a backup for this server")
			} else {
				x.reject(rulePeriod, "it has an application-time period, which MySQL does not know", "")
			}
		}
		return
	}
	if kind, columns, open := x.keyColumns(p); kind != "" {
		x.key(n, p, kind, columns, open)
		return
	}
	i := p.from
	named := -1
	if x.is(i, "CONSTRAINT") {
		if i++; x.at(i).kind == name {
			named = i
			i++
		}
	}
	switch {
	case x.is(i, "CHECK"):
		x.check(n, p, named, i)
	case x.is(i, "FOREIGN"):
		if x.toItself(p, i) && x.toMySQL() && x.crosses() {
			x.leaveOut(ruleForeignKey, x.source(p.from, p.to), "it points from columns to the same columns, so that every row fulfils it; MySQL does not allow it")
			x.gone[n] = true
			return
		}
		if named >= 0 {
			x.uniqueName(p, named, ruleForeignKey, "f:")
		}
	}
}

// toItself says whether the foreign key at word i points from columns to the
// same columns.
func (x *table) toItself(p part, i int) bool {
	for i < p.to && !x.is(i, "(") {
		i++
	}
	end := x.statement.close(i)
	if !x.is(end+1, "REFERENCES") || x.nameAt(end+2) != strings.TrimPrefix(x.object, "table ") {
		return false
	}
	columns := x.source(i, end+1)
	return x.source(end+3, x.statement.close(end+3)+1) == columns
}

// uniqueName leaves a constraint's name to the server when the database has it
// already: MySQL wants it once in a database, MariaDB once at a table.
func (x *table) uniqueName(p part, named int, rule, space string) {
	if !x.toMySQL() || !x.from.mariaDB {
		return
	}
	have := x.nameAt(named)
	key := space + strings.ToLower(have)
	other, taken := x.names[key]
	automatic := strings.HasPrefix(have, "CONSTRAINT_")
	if !taken && !automatic {
		x.names[key] = x.object
		return
	}
	why := "MySQL wants the name once in a database; " + other + " has it too"
	if automatic {
		why = "MariaDB made the name for this table only"
	}
	x.leaveOut(rule, "the name of constraint "+have, why)
	x.drop(p.from, named+1)
}

func (x *table) check(n int, p part, named, at int) {
	end := x.skipBrackets(at + 1)
	if x.is(end, "NOT", "ENFORCED") && x.toMariaDB {
		what := "CHECK " + x.source(at+1, end)
		x.leaveOut(ruleCheck, what, "it is NOT ENFORCED, which MariaDB does not know")
		x.gone[n] = true
		return
	}
	if x.is(end, "ENFORCED") && x.toMariaDB {
		x.drop(end, end+1)
	}
	x.code(x.statement, x.object, at+1, end)
	if named >= 0 {
		x.uniqueName(p, named, ruleCheck, "c:")
	}
}

// key translates a key.
func (x *table) key(n int, p part, kind string, columns []string, open int) {
	label := kind + " KEY"
	if kind == "KEY" {
		label = "KEY"
	}
	if x.at(open-1).kind == name {
		label += " " + x.nameAt(open-1)
	}
	parts := x.split(open+1, x.statement.close(open))
	for _, c := range parts {
		if x.is(c.from, "(") {
			switch {
			case !x.toMariaDB:
				x.code(x.statement, x.object, c.from, c.to)
			case kind == "UNIQUE":
				x.reject(ruleIndex, label+" is on an expression, which MariaDB does not know", "make it a key on a generated column at the origin")
			default:
				x.leaveOut(ruleIndex, label+" on "+x.source(c.from, c.to), "MariaDB has no keys on expressions; it only made queries faster")
				x.gone[n] = true
				return
			}
		}
		if x.is(c.to-2, "WITHOUT", "OVERLAPS") && x.toMySQL() {
			x.reject(rulePeriod, "it has an application-time period, which MySQL does not know", "")
		}
		col := x.columns[x.nameAt(c.from)]
		if kind == "UNIQUE" && x.toMySQL() && col != nil && slices.Contains(blobTypes, col.kind) && !x.is(c.from+1, "(") {
			x.reject(ruleIndex, fmt.Sprintf("%s is on the whole of column %s, which is %s; MySQL has unique keys on a length of it only", label, x.nameAt(c.from), col.kind), "")
		}
	}
	if kind == "VECTOR" && (x.toMySQL() || x.toVersion < 110701) {
		x.leaveOut(ruleIndex, label, "the target has no vector keys; it only made queries faster")
		x.gone[n] = true
		return
	}
	for i := x.statement.close(open) + 1; i < p.to; i++ {
		switch {
		case x.is(i, "COMMENT"):
			i++
		case x.is(i, "INVISIBLE") && x.toMariaDB:
			if x.toVersion < 100600 {
				x.leaveOut(ruleIndex, "INVISIBLE of "+label, "the server has no ignored keys")
				x.drop(i, i+1)
				break
			}
			x.change(ruleIndex, "INVISIBLE of "+label, "IGNORED", renamed)
			x.replace(i, i+1, "IGNORED")
		case x.is(i, "IGNORED") && x.toMySQL():
			x.change(ruleIndex, "IGNORED of "+label, "INVISIBLE", renamed)
			x.replace(i, i+1, "INVISIBLE")
		case x.is(i, "WITH", "PARSER") && x.crosses():
			x.leaveOut(ruleIndex, x.source(i, i+3)+" of "+label, "the target does not have the parser; searches find other words")
			x.drop(i, i+3)
			i += 2
		case x.isAny(i, "CLUSTERING", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE") && x.crosses():
			end := i + 1
			if x.is(end, "=") {
				end += 2
			}
			x.leaveOut(ruleIndex, x.source(i, end)+" of "+label, "it is an option of storage that the target does not know")
			x.drop(i, end)
			i = end - 1
		case x.at(i).kind == name && x.is(i+1, "=") && x.toMySQL():
			x.leaveOut(ruleIndex, x.source(i, i+3)+" of "+label, "it is an option of an engine that the target does not know")
			x.drop(i, i+3)
			i += 2
		}
	}
}
