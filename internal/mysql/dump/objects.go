package dump

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/layout"
	"github.com/backstay/backstay/internal/mysql/rights"
)

// objectKind says how one kind of object is listed and shown. The queries
// give: name, table, definer, sql_mode, character_set_client,
// collation_connection, time_zone, comment; of a view, its definition in UTF-8
// in place of the comment.
type objectKind struct {
	kind   string
	list   string
	show   string   // SHOW CREATE …
	column int      // of the statement in its answer
	rights []string // any of which lets the account see all of them; none when SELECT does
}

func objectKinds(database string, mariaDB bool) []objectKind {
	db := mysql.QuoteText(database)
	routine := func(kind string, column int) objectKind {
		return objectKind{
			kind: strings.ToLower(kind), show: "SHOW CREATE " + kind, column: column, rights: []string{"EXECUTE", "ALTER ROUTINE", "CREATE ROUTINE", "SHOW_ROUTINE", "SHOW CREATE ROUTINE"},
			list: "SELECT ROUTINE_NAME, '', DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, '', ROUTINE_COMMENT FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=" +
				db + " AND ROUTINE_TYPE=" + mysql.QuoteText(kind) + " ORDER BY ROUTINE_NAME",
		}
	}
	kinds := []objectKind{
		{
			kind: "view", show: "SHOW CREATE VIEW", column: 1,
			list: "SELECT TABLE_NAME, '', DEFINER, '', CHARACTER_SET_CLIENT, COLLATION_CONNECTION, '', VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA=" + db + " ORDER BY TABLE_NAME",
		},
		routine("FUNCTION", 2),
		routine("PROCEDURE", 2),
	}
	if mariaDB {
		kinds = append([]objectKind{{
			kind: "sequence", show: "SHOW CREATE SEQUENCE", column: 1,
			list: "SELECT TABLE_NAME, '', '', '', '', '', '', '' FROM information_schema.TABLES WHERE TABLE_TYPE='SEQUENCE' AND TABLE_SCHEMA=" + db + " ORDER BY TABLE_NAME",
		}}, kinds...)
		kinds = append(kinds, routine("PACKAGE", 2), routine("PACKAGE BODY", 2))
	}
	return append(kinds, objectKind{
		kind: "trigger", show: "SHOW CREATE TRIGGER", column: 2, rights: []string{"TRIGGER"},
		list: "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, '', '' FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=" +
			db + " ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER, TRIGGER_NAME",
	}, objectKind{
		kind: "event", show: "SHOW CREATE EVENT", column: 3, rights: []string{"EVENT"},
		list: "SELECT EVENT_NAME, '', DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, TIME_ZONE, EVENT_COMMENT FROM information_schema.EVENTS WHERE EVENT_SCHEMA=" + db + " ORDER BY EVENT_NAME",
	})
}

// Object is an object that is not a table, as it is on the server.
type Object struct {
	core.SchemaObject
	Statement []byte // as a backup has it; in the object's own character set
}

// Objects reads the objects of a database that begin with prefix, in the order
// in which a backup has them. control and raw are two sessions of mysql.Connect
// with that default database, raw with character_set_results=NULL. What the
// account may not read is left out and is a warning.
func Objects(ctx context.Context, control, raw *mysql.Conn, server mysql.Server, database, prefix string) ([]Object, []core.Warning, error) {
	s := &Snapshot{control: control, raw: raw, Server: server, database: database, opt: Options{Prefix: prefix}}
	var objects []Object
	err := s.eachObject(ctx, func(o core.SchemaObject, statement string) error {
		objects = append(objects, Object{o, []byte(statement)})
		return nil
	})
	return objects, s.Warnings, err
}

// dumpObjects stores every object that is not a table. What the account may
// not see or read is a warning, since it may be missing later.
func (s *Snapshot) dumpObjects(ctx context.Context, w core.TreeWriter) ([]core.SchemaObject, []core.Entry, error) {
	var objects []core.SchemaObject
	var folders, files []core.Entry
	endKind := func() error {
		if len(files) == 0 {
			return nil
		}
		e, err := layout.WriteDir(ctx, w, objects[len(objects)-1].Kind, files)
		folders, files = append(folders, e), nil
		return err
	}
	err := s.eachObject(ctx, func(o core.SchemaObject, statement string) error {
		if len(objects) > 0 && objects[len(objects)-1].Kind != o.Kind {
			if err := endKind(); err != nil {
				return err
			}
		}
		name := layout.FileName(o.Name) + ".sql"
		o.File = "database/schema/" + o.Kind + "/" + name
		e, err := layout.WriteFile(ctx, w, o.File, name, []byte(statement))
		files, objects = append(files, e), append(objects, o)
		return err
	})
	if err == nil {
		err = endKind()
	}
	if err != nil {
		return nil, nil, err
	}
	return objects, folders, nil
}

// eachObject calls do for every object that is not a table, kind by kind.
func (s *Snapshot) eachObject(ctx context.Context, do func(o core.SchemaObject, statement string) error) error {
	for _, k := range objectKinds(s.database, s.Server.MariaDB()) {
		rows, err := s.control.Query(ctx, k.list)
		if err != nil {
			return fmt.Errorf("list %ss: %w", k.kind, err)
		}
		for _, r := range rows {
			o := core.SchemaObject{
				Kind: k.kind, Name: r[0].Text, Table: r[1].Text, Definer: r[2].Text, SQLMode: r[3].Text,
				Charset: r[4].Text, Collation: r[5].Text, TimeZone: r[6].Text,
			}
			owner := o.Name
			if o.Kind == "trigger" {
				owner = o.Table
			}
			if !s.owns(owner) {
				continue
			}
			statement, err := s.statement(ctx, k, &o)
			if err != nil {
				return fmt.Errorf("read %s %s: %w", o.Kind, o.Name, err)
			}
			if statement == "" {
				continue
			}
			if k.kind == "view" {
				s.warnOfMisspelt(statement, o, r[7].Text)
			} else if statement, err = ddl.InOneSet(statement, o, r[7].Text, s.inSet(ctx)); err != nil {
				return fmt.Errorf("read %s %s: %w", o.Kind, o.Name, err)
			}
			if s.opt.Ownerless != nil && s.opt.Ownerless(o.Kind, o.Name) {
				o.Definer = ""
				statement, _ = ddl.WithoutDefiner(statement)
			}
			if err := do(o, statement); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Snapshot) notVisible(kind, right string) {
	s.Warnings = append(s.Warnings, core.Warning{
		Code: "not-visible", Object: kind + "s",
		Message: fmt.Sprintf("the account lacks the right %s on the whole database, so it does not see all %ss; those that it does not see are not in this backup (GRANT %s ON %s.* TO the account)",
			right, kind, right, mysql.QuoteName(s.database)),
	})
}

// statement reads an object's CREATE statement, in its own bytes. An empty
// one, with a warning recorded, means that the account may not read it.
func (s *Snapshot) statement(ctx context.Context, k objectKind, o *core.SchemaObject) (string, error) {
	rows, err := s.raw.Query(ctx, k.show+" "+mysql.QuoteName(o.Name))
	unreadable := func(why string) {
		s.Warnings = append(s.Warnings, core.Warning{
			Code: "unreadable", Object: o.Kind + " " + o.Name,
			Message: "its definition may not be read by this account and is not in this backup (" + why + ")",
		})
	}
	if mysql.AccessDenied(err) {
		unreadable(mysql.ServerText(err))
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if len(rows) != 1 || len(rows[0]) <= k.column {
		return "", fmt.Errorf("%s: unexpected answer", k.show)
	}
	v := rows[0][k.column]
	if v.Null || v.Text == "" {
		unreadable("only its definer, or an account with more rights, may")
		return "", nil
	}
	if o.Kind == "view" {
		if err := s.warnOfInvalid(ctx, o.Name); err != nil {
			return "", err
		}
		if !ddl.TrailsInASCII(o.Charset) {
			return s.unqualified(v.Text), nil
		}
	}
	if o.Kind == "sequence" {
		if o.Value, err = s.sequenceValue(ctx, o.Name); err != nil {
			return "", err
		}
	}
	return v.Text, nil
}

// unqualified makes a definition one of whatever database it is run in.
func (s *Snapshot) unqualified(statement string) string {
	return ddl.Unqualified(statement, s.database, s.Server.LowerCaseTableNames != 0)
}

// inSet converts text by asking the server.
func (s *Snapshot) inSet(ctx context.Context) ddl.Converter {
	return func(text, charset string) (string, bool, error) {
		rows, err := s.raw.Query(ctx, fmt.Sprintf("SELECT CONVERT(_utf8mb4 x'%x' USING %s), CONVERT(CONVERT(_utf8mb4 x'%[1]x' USING %[2]s) USING utf8mb4)", text, charset))
		if err != nil || len(rows) != 1 || len(rows[0]) != 2 {
			return "", false, err
		}
		return rows[0][0].Text, rows[0][1].Text == text, nil
	}
}

// warnOfMisspelt warns of a view that the server does not print as it is: it
// prints it in the character set of the client that made it, with ? for each
// letter of a name that the set lacks.
func (s *Snapshot) warnOfMisspelt(statement string, o core.SchemaObject, definition string) {
	if definition == "" || strings.Count(statement, "?") <= strings.Count(definition+o.Name+o.Definer, "?") {
		return
	}
	warning := core.Warning{
		Code: "invalid-view", Object: "view " + o.Name,
		Message: "the server does not print it as it is, because it was made in " + o.Charset + ", which lacks letters of names in it; a restore cannot make it again (make the view again in utf8mb4)",
	}
	if last := len(s.Warnings) - 1; last >= 0 && s.Warnings[last].Object == warning.Object {
		s.Warnings[last] = warning // the server cannot read what it printed, and said so
		return
	}
	s.Warnings = append(s.Warnings, warning)
}

// warnOfInvalid warns of a view that reads what is no longer there, which the
// server remarks when it shows it: it cannot be made again.
func (s *Snapshot) warnOfInvalid(ctx context.Context, view string) error {
	remarks, err := s.raw.Query(ctx, "SHOW WARNINGS")
	if err != nil {
		return err
	}
	for _, r := range remarks {
		if len(r) == 3 && r[1].Text == strconv.Itoa(mysql.ErViewInvalid) {
			s.Warnings = append(s.Warnings, core.Warning{
				Code: "invalid-view", Object: "view " + view, Message: "it does not work: what it reads, or its definer's right to that, is gone; a restore cannot make it again",
			})
		}
	}
	return nil
}

func (s *Snapshot) sequenceValue(ctx context.Context, name string) (string, error) {
	rows, err := s.control.Query(ctx, "SELECT next_not_cached_value, cycle_count FROM "+mysql.QuoteName(name))
	if err != nil {
		return "", err
	}
	if len(rows) != 1 {
		return "", fmt.Errorf("sequence %s has no state", name)
	}
	return rows[0][0].Text + "," + rows[0][1].Text, nil
}

// warnOfHidden warns of the kinds of objects that the account cannot see.
func (s *Snapshot) warnOfHidden(ctx context.Context) error {
	// Without a right to a kind of object the catalogue shows none of that kind,
	// as if there were none: only the grants tell the two cases apart.
	rows, err := s.grants(ctx)
	if err != nil {
		return fmt.Errorf("read the account's grants: %w", err)
	}
	lines := make([]string, len(rows))
	for i, r := range rows {
		lines[i] = r[0].Text
	}
	seen := rights.On(s.database, lines)
	if !seen("SELECT") {
		s.notVisible("table", "SELECT")
	}
	for _, k := range objectKinds(s.database, s.Server.MariaDB()) {
		if len(k.rights) > 0 && !seen(k.rights...) && k.kind != "package" && k.kind != "package body" {
			s.notVisible(k.kind, k.rights[0])
		}
	}
	return nil
}

// grants lists the account's grants with those of the roles that are active.
// MariaDB does so unasked.
func (s *Snapshot) grants(ctx context.Context) ([]mysql.Row, error) {
	if !s.Server.MariaDB() {
		roles, err := s.control.Query(ctx, "SELECT CURRENT_ROLE()")
		if err == nil && len(roles) == 1 && roles[0][0].Text != "" && !strings.EqualFold(roles[0][0].Text, "NONE") {
			return s.control.Query(ctx, "SHOW GRANTS FOR CURRENT_USER() USING "+roles[0][0].Text)
		}
		if err != nil && mysql.Number(err) == 0 { // before 8.0 there were no roles
			return nil, err
		}
	}
	return s.control.Query(ctx, "SHOW GRANTS")
}
