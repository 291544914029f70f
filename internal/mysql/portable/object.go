package portable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

func label(o core.SchemaObject) string { return o.Kind + " " + o.Name }

// object translates a view, trigger, routine, package, event or sequence.
func (b *builder) object(ctx context.Context, o core.SchemaObject) error {
	object := label(o)
	if known, asked := b.target.Zones[o.TimeZone]; asked && !known {
		b.refuse(object, ruleZone, fmt.Sprintf("its time zone %q is not known to the server", o.TimeZone), "load the time zones into it: mariadb-tzinfo-to-sql (or mysql_tzinfo_to_sql) /usr/share/zoneinfo | mariadb mysql")
	}
	declares := o.Kind == "function" && b.target.FunctionsDeclared
	if !b.translates && !declares {
		return nil
	}
	if b.toMySQL() {
		switch o.Kind {
		case "sequence":
			b.refuse(object, ruleSequence, "MySQL has no sequences", "restore the tables that do not use it with --table")
			return nil
		case "package", "package body":
			b.refuse(object, rulePackage, "MySQL has no packages", "")
			return nil
		}
	}
	sql, err := b.in.Read(ctx, o.File)
	if err != nil {
		return fmt.Errorf("read %s: %w", object, err)
	}
	d := b.from
	modes := strings.Split(o.SQLMode, ",")
	d.ansiQuotes = slices.Contains(modes, "ANSI_QUOTES") || slices.Contains(modes, "ANSI")
	d.noBackslash = slices.Contains(modes, "NO_BACKSLASH_ESCAPES")
	d.charset = o.Charset
	s := parse(d, string(sql))
	if declares {
		b.checkDeclared(s, object)
	}
	if !b.translates {
		return nil
	}
	s.sandboxed(b, object)
	changed := b.settings(o)
	if b.crosses() {
		b.definer(s, &changed)
	}
	b.header(s, o)
	b.sequenceType(s, o)
	b.parameters(s, o)
	b.body = o.Kind != "view"
	b.code(s, object, 0, s.len())
	b.body = false
	if out := s.String(); out != string(sql) {
		b.plan.statements[o.File] = out
	}
	if changed != o {
		b.plan.objects[o.File] = changed
	}
	b.probeRoutine(s, changed)
	return nil
}

// sandboxed leaves out the line by which MariaDB's dumps keep its client from
// running commands; other clients and servers stumble over it.
func (s *statement) sandboxed(b *builder, object string) {
	for i, t := range s.tokens {
		if t.kind == comment && strings.HasPrefix(t.text, `/*M!999999\-`) || t.kind == comment && strings.HasPrefix(t.text, `/*!999999\-`) {
			b.rewrite(object, ruleSandbox, t.text, "", "it is meant for MariaDB's command line")
			s.tokens[i].out = ""
		}
		if t.kind != comment && t.kind != space {
			return
		}
	}
}

func (x *table) sandbox(object string) { x.sandboxed(x.builder, object) }

// The modes that one vendor has and the other one has not.
var (
	// They say how the server prints definitions, or stand for others that are listed too.
	idleModes = []string{
		"NO_AUTO_CREATE_USER", "NO_FIELD_OPTIONS", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "IGNORE_BAD_TABLE_OPTIONS",
		"MYSQL323", "MYSQL40", "POSTGRESQL", "MSSQL", "DB2", "MAXDB",
	}
	languageModes = []string{"ORACLE", "EMPTY_STRING_IS_NULL", "SIMULTANEOUS_ASSIGNMENT"}
)

const (
	roundsMode = "TIME_ROUND_FRACTIONAL"    // MariaDB's
	cutsMode   = "TIME_TRUNCATE_FRACTIONAL" // MySQL's
)

// settings translates what an object was made under.
func (b *builder) settings(o core.SchemaObject) core.SchemaObject {
	object := label(o)
	if o.Charset != "" {
		charset := b.charsetName(o.Charset)
		switch collation, ok := b.nearest(o.Collation); {
		case !b.target.Charsets[charset] || !ok && o.Collation != "":
			b.refuse(object, ruleSession, fmt.Sprintf("it was made with character set %s and collation %s, which the server does not know", o.Charset, o.Collation), "make it again at the origin, in utf8mb4")
		default:
			o.Charset = charset
			if collation.name != o.Collation {
				b.rewrite(object, ruleSession, o.Collation, collation.name, collation.why)
				o.Collation = collation.name
			}
		}
	}
	if o.Kind != "view" && o.Kind != "sequence" {
		o.SQLMode = b.modes(object, o.SQLMode)
	}
	return o
}

func (b *builder) modes(object, mode string) string {
	var have, gone, added []string
	if mode != "" {
		have = strings.Split(mode, ",")
	}
	var out []string
	for _, m := range have {
		switch {
		case b.toMySQL() && slices.Contains(languageModes, m):
			b.refuse(object, ruleMode, "it was made in sql_mode "+m+", which MySQL does not know", "make it again at the origin, in another sql_mode")
		case b.toMySQL() && (slices.Contains(idleModes, m) && (b.from.mariaDB || b.toVersion >= 80000) || m == roundsMode), b.toMariaDB && m == cutsMode:
			gone = append(gone, m)
		default:
			out = append(out, m)
		}
	}
	switch {
	case b.crosses() && b.toMySQL() && !slices.Contains(have, roundsMode):
		added = append(added, cutsMode)
	case b.crosses() && b.toMariaDB && !slices.Contains(have, cutsMode):
		added = append(added, roundsMode)
	}
	if len(gone)+len(added) == 0 {
		return mode
	}
	b.rewrite(object, ruleMode, strings.Join(gone, ","), strings.Join(added, ","), "so that it does there what it did here: MySQL rounds fractions of seconds where MariaDB cuts them, and has no mode of the others")
	return strings.Join(append(out, added...), ",")
}

// definer looks whether the target can keep the definer.
func (b *builder) definer(s *statement, o *core.SchemaObject) {
	for i := range min(s.len(), 16) {
		if !s.is(i, "DEFINER", "=") {
			continue
		}
		user, end := i+2, i+3
		who := nameOf(s.at(user))
		if s.is(end, "@") {
			host := end + 1
			end += 2
			who = account(nameOf(s.at(user)), nameOf(s.at(host)))
		} else if s.is(end, "(") {
			return // CURRENT_USER()
		}
		why := ""
		switch {
		case b.target.Accounts != nil && !b.target.Accounts[who]:
			why = "the server has no such account"
		case !strings.Contains(who, "@") && b.toMySQL():
			why = "MySQL takes no role for a definer"
		case !b.target.AnyDefiner:
			why = "the restoring account may not make objects that run as others"
		default:
			return
		}
		b.rewrite(label(*o), ruleDefiner, who, "the restoring account", why)
		s.drop(i, end)
		o.Definer = ""
		return
	}
}

// header looks at the part of a statement that is not its body.
func (b *builder) header(s *statement, o core.SchemaObject) {
	object := label(o)
	for i := range s.len() {
		switch {
		case o.Kind == "event" && s.is(i, "DO"):
			return
		case s.isAny(i, "BEGIN", "SELECT", "SET", "CALL"):
			return
		case o.Kind == "event" && s.is(i, "COMMENT"):
			return
		case o.Kind == "function" && s.is(i, "AGGREGATE") && b.toMySQL():
			b.refuse(object, rulePackage, "MySQL has no aggregate functions of one's own", "")
			return
		case o.Kind == "event" && s.is(i, "DISABLE", "ON", "REPLICA") && (b.toMariaDB || b.toVersion < 80200):
			b.rewrite(object, ruleEvent, "DISABLE ON REPLICA", "DISABLE ON SLAVE", renamed)
			s.replace(i+2, i+3, "SLAVE")
		case o.Kind == "event" && s.is(i, "DISABLE", "ON", "SLAVE") && b.toMySQL() && b.toVersion >= 80200:
			b.rewrite(object, ruleEvent, "DISABLE ON SLAVE", "DISABLE ON REPLICA", renamed)
			s.replace(i+2, i+3, "REPLICA")
		}
	}
}

// sequenceType leaves the type of a sequence out where the server knows none;
// its bounds stand beside it.
func (b *builder) sequenceType(s *statement, o core.SchemaObject) {
	if o.Kind != "sequence" || !s.is(3, "AS") || b.toVersion >= 110500 {
		return
	}
	end := 4
	for end < s.len() && !s.is(end, "START") {
		end++
	}
	if s.is(4, "BIGINT", "UNSIGNED") {
		b.refuse(label(o), ruleSequence, "it is a sequence of BIGINT UNSIGNED, which the server does not know", "")
		return
	}
	b.rewrite(label(o), ruleSequence, s.source(3, end), "", "the server knows no types of sequences; the bounds are the same")
	s.drop(3, end)
}

// parameters refuses defaults of parameters where the server knows none.
func (b *builder) parameters(s *statement, o core.SchemaObject) {
	if o.Kind != "procedure" && o.Kind != "function" || b.toMariaDB && b.toVersion >= 110800 {
		return
	}
	open := 0
	for open < s.len() && !s.is(open, "(") {
		open++
	}
	for i := open; i < s.close(open); i++ {
		if s.is(i, "DEFAULT") {
			b.refuse(label(o), ruleSyntax, "a parameter of it has a default, which the server does not know", "write it in another way at the origin")
			return
		}
	}
}

// checkDeclared refuses a function that the server would not take because of
// its binary log: it must be DETERMINISTIC, NO SQL or READS SQL DATA.
// https://dev.mysql.com/doc/refman/8.4/en/stored-programs-logging.html
func (b *builder) checkDeclared(s *statement, object string) {
	for i := 0; i < s.len() && !s.isAny(i, "BEGIN", "RETURN"); i++ {
		if s.is(i, "DETERMINISTIC") && !s.is(i-1, "NOT") || s.is(i, "NO", "SQL") || s.is(i, "READS", "SQL", "DATA") {
			return
		}
	}
	b.refuse(object, ruleDeclared, "it does not declare that it changes no data (DETERMINISTIC, NO SQL or READS SQL DATA), and the server writes a binary log and wants that",
		"SET GLOBAL log_bin_trust_function_creators=1 on the server")
}
