package portable

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// column translates the definition of a column.
func (x *table) column(p part) {
	c := &column{}
	colName := x.nameAt(p.from)
	x.columns[colName] = c
	i := x.columnType(p, c)
	nullable, hasDefault, invisible := true, false, -1
	check := ""
	for i < p.to {
		switch {
		case x.is(i, "CHARACTER", "SET"):
			x.charset(i+2, i+3, x.is(i+3, "COLLATE"))
			i += 3
		case x.is(i, "CHARSET"):
			x.charset(i+1, i+2, x.is(i+2, "COLLATE"))
			i += 2
		case x.is(i, "COLLATE"):
			x.collation(i+1, c)
			i += 2
		case x.is(i, "GENERATED", "ALWAYS", "AS", "ROW"):
			if x.toMySQL() {
				x.reject(ruleHistory, "it is system-versioned, which MySQL does not know", "ALTER TABLE ... DROP SYSTEM VERSIONING at the origin before a backup for this server")
			}
			i += 5
		case x.is(i, "GENERATED", "ALWAYS", "AS"):
			i += 2
		case x.is(i, "AS", "("):
			c.generated = true
			end := x.skipBrackets(i + 1)
			x.code(x.statement, x.object, i+1, end)
			i = end
		case x.is(i, "PERSISTENT"):
			x.replace(i, i+1, "STORED")
			i++
		case x.is(i, "NOT", "NULL"):
			nullable = false
			if c.generated && x.toMariaDB && x.crosses() {
				x.leaveOut(ruleGenerated, "NOT NULL of column "+colName, "MariaDB has no NOT NULL for generated columns")
				x.drop(i, i+2)
			}
			i += 2
		case x.is(i, "DEFAULT"):
			hasDefault = true
			end := x.defaultEnd(i + 1)
			x.translateDefault(c, colName, i+1, end)
			i = end
		case x.is(i, "ON", "UPDATE"):
			i = x.skipBrackets(i + 3)
		case x.is(i, "AUTO_INCREMENT"):
			c.auto = true
			i++
		case x.is(i, "INVISIBLE"):
			invisible = i
			i++
		case x.is(i, "CHECK", "("):
			end := x.skipBrackets(i + 1)
			x.code(x.statement, x.object, i+1, end)
			if x.toMySQL() && x.crosses() && x.namesOther(i+1, end, colName) {
				x.change(ruleCheck, "CHECK of column "+colName, "CHECK of the table", "MySQL lets a column's CHECK name that column only")
				x.extra = append(x.extra, "CHECK "+x.source(i+1, end))
				x.drop(i, end)
			}
			i = end
		case x.is(i, "SRID"), x.is(i, "REF_SYSTEM_ID", "="):
			end := i + 2
			if x.is(i+1, "=") {
				end++
			}
			if x.crosses() {
				x.leaveOut(ruleColumn, x.source(i, end)+" of column "+colName, "values keep the SRID that they have; that all must have it is not kept")
				x.drop(i, end)
			}
			i = end
		case x.is(i, "COMPRESSED"):
			end := i + 1
			if x.is(end, "=") {
				end += 2
			}
			if x.toMySQL() {
				x.leaveOut(ruleColumn, "COMPRESSED of column "+colName, "it says how values are stored, not what they are")
				x.drop(i, end)
			}
			i = end
		case x.isAny(i, "STORAGE", "COLUMN_FORMAT", "ENGINE_ATTRIBUTE", "SECONDARY_ENGINE_ATTRIBUTE"):
			end := i + 2
			if x.is(i+1, "=") {
				end++
			}
			if x.toMariaDB && x.crosses() {
				x.leaveOut(ruleColumn, x.source(i, end)+" of column "+colName, "it says how values are stored, not what they are")
				x.drop(i, end)
			}
			i = end
		case x.is(i, "WITHOUT", "SYSTEM", "VERSIONING"):
			if x.toMySQL() {
				x.drop(i, i+3) // of a table that is refused
			}
			i += 3
		case x.at(i).kind == name && x.is(i+1, "="):
			if x.toMySQL() {
				x.leaveOut(ruleColumn, x.source(i, i+3)+" of column "+colName, "it is an option of an engine that the target does not know")
				x.drop(i, i+3)
			}
			i += 3
		case x.is(i, "COMMENT"):
			i += 2
		case x.is(i, "NULL"):
			i++
		default:
			i = x.skipBrackets(i + 1)
		}
	}
	if c.kind == "JSON" && x.toMariaDB && x.crosses() && !c.generated {
		check = " CHECK (json_valid(" + x.at(p.from).text + "))"
		x.append(p.to-1, check)
	}
	if invisible >= 0 {
		x.invisible(colName, invisible, nullable || hasDefault || c.auto || c.generated)
	}
}

func (x *table) invisible(colName string, at int, mayBeLeftOut bool) {
	switch {
	case x.toMySQL() && x.toVersion < 80023, x.toMariaDB && x.toVersion < 100303:
		x.reject(ruleInvisible, fmt.Sprintf("column %s is invisible, which the server does not know", colName), "")
	case x.toMariaDB && !mayBeLeftOut:
		x.reject(ruleInvisible, fmt.Sprintf("the invisible column %s is NOT NULL and has no default, which MariaDB does not allow", colName), "give it a default at the origin")
	}
}

// columnType translates a column's type and returns the word behind it.
func (x *table) columnType(p part, c *column) int {
	at := p.from + 1
	colName := x.nameAt(p.from)
	c.kind = x.upper(at)
	end := x.skipBrackets(at + 1)
	to, why := "", "the target does not have the type; the text is the same, but HEX, LENGTH and the order of values are those of the text"
	mariaBefore := func(version int) bool { return x.toMySQL() || x.toVersion < version }
	switch c.kind {
	case "UUID":
		if mariaBefore(100700) {
			to = "char(36) CHARACTER SET ascii COLLATE ascii_general_ci"
		}
	case "INET6":
		if mariaBefore(100500) {
			to = "varchar(39) CHARACTER SET ascii COLLATE ascii_general_ci"
		}
	case "INET4":
		if mariaBefore(101000) {
			to = "varchar(15) CHARACTER SET ascii COLLATE ascii_general_ci"
		}
	case "XMLTYPE":
		if mariaBefore(120300) {
			to = "longtext"
		}
	case "GEOMCOLLECTION":
		if x.toMariaDB {
			to, why = "geometrycollection", renamed
		}
	case "JSON":
		if x.toMariaDB && x.crosses() {
			to, why = "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "MariaDB keeps JSON as text, with a check"
		}
	case "VECTOR":
		switch {
		case x.toMySQL() && x.toVersion < 90000, x.toMariaDB && x.toVersion < 110701 && !x.crosses():
			x.reject(ruleType, fmt.Sprintf("column %s is a VECTOR, which the server does not know", colName), "")
		case x.toMariaDB && x.crosses():
			// MySQL's may be shorter than declared and of any numbers.
			to, why = "varbinary("+vectorBytes(x.source(at+1, end))+")", "MariaDB's vectors must have all their numbers, and none that is very large; the bytes are the same"
		}
	case "DECIMAL":
		if parts := x.split(at+2, end-1); x.toMySQL() && len(parts) == 2 {
			if scale, err := strconv.Atoi(x.at(parts[1].from).text); err == nil && scale > 30 {
				x.reject(ruleType, fmt.Sprintf("column %s has %d digits after the point, and MySQL has 30 at most", colName, scale), "")
			}
		}
	}
	if to != "" {
		x.change(ruleType, fmt.Sprintf("%s of column %s", strings.ToLower(c.kind), colName), to, why)
		x.replace(at, end, to)
	}
	return end
}

// vectorBytes returns the bytes that a vector of "(n)" numbers takes at most.
func vectorBytes(length string) string {
	const without = 2048 // numbers, where the type gives none
	n, err := strconv.Atoi(strings.Trim(length, "()"))
	if err != nil {
		n = without
	}
	return strconv.Itoa(4 * n)
}

// defaultEnd returns the word behind the default value that begins at word i.
func (x *table) defaultEnd(i int) int {
	if x.is(i, "(") {
		return x.statement.close(i) + 1
	}
	if x.isAny(i, "-", "+") {
		i++
	}
	if t := x.at(i); t.kind == word && strings.HasPrefix(t.text, "_") && x.at(i+1).kind == text {
		return i + 2
	}
	if (x.at(i).kind == word || x.at(i).kind == name) && x.is(i+1, "(") {
		return x.statement.close(i+1) + 1
	}
	return i + 1
}

// translateDefault puts a default into parentheses where MySQL wants them:
// https://dev.mysql.com/doc/refman/8.4/en/data-type-defaults.html
func (x *table) translateDefault(c *column, colName string, from, to int) {
	x.code(x.statement, x.object, from, to)
	if !x.toMySQL() || !x.crosses() || x.is(from, "(") || x.is(from, "NULL") {
		return
	}
	call := x.is(from+1, "(") && to > from+2
	now := x.isAny(from, "CURRENT_TIMESTAMP", "NOW", "LOCALTIME", "LOCALTIMESTAMP")
	outside := slices.Contains(blobTypes, c.kind) || slices.Contains(spatialTypes, c.kind)
	if now && (c.kind == "TIMESTAMP" || c.kind == "DATETIME") || !call && !outside {
		return
	}
	value := x.source(from, to)
	x.change(ruleDefault, fmt.Sprintf("DEFAULT %s of column %s", value, colName), "DEFAULT ("+value+")", "MySQL wants expressions, and defaults of TEXT and BLOB, in parentheses")
	x.prepend(from, "(")
	x.append(to-1, ")")
}

// namesOther says whether words from … to-1 name a column other than this one.
func (x *table) namesOther(from, to int, colName string) bool {
	for i := from; i < to; i++ {
		if x.at(i).kind == name && !strings.EqualFold(x.nameAt(i), colName) {
			return true
		}
	}
	return false
}
