package dump

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// objectKind says how one kind of object is listed and shown. The queries
// give: name, table, definer, sql_mode, character_set_client,
// collation_connection, time_zone.
type objectKind struct {
	kind   string
	list   string
	show   string // SHOW CREATE …
	column int    // of the statement in its answer
	right  string // which right lets the account see all of them; "" when SELECT does
}

func objectKinds(database string, mariaDB bool) []objectKind {
	db := mysql.QuoteText(database)
	routine := func(kind string, column int) objectKind {
		return objectKind{
			kind: strings.ToLower(kind), show: "SHOW CREATE " + kind, column: column, right: "EXECUTE",
			list: "SELECT ROUTINE_NAME, '', DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, '' FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA=" +
				db + " AND ROUTINE_TYPE=" + mysql.QuoteText(kind) + " ORDER BY ROUTINE_NAME",
		}
	}
	kinds := []objectKind{
		{
			kind: "view", show: "SHOW CREATE VIEW", column: 1,
			list: "SELECT TABLE_NAME, '', DEFINER, '', CHARACTER_SET_CLIENT, COLLATION_CONNECTION, '' FROM information_schema.VIEWS WHERE TABLE_SCHEMA=" + db + " ORDER BY TABLE_NAME",
		},
		routine("FUNCTION", 2),
		routine("PROCEDURE", 2),
	}
	if mariaDB {
		kinds = append([]objectKind{{
			kind: "sequence", show: "SHOW CREATE SEQUENCE", column: 1,
			list: "SELECT TABLE_NAME, '', '', '', '', '', '' FROM information_schema.TABLES WHERE TABLE_TYPE='SEQUENCE' AND TABLE_SCHEMA=" + db + " ORDER BY TABLE_NAME",
		}}, kinds...)
		kinds = append(kinds, routine("PACKAGE", 2), routine("PACKAGE BODY", 2))
	}
	return append(kinds, objectKind{
		kind: "trigger", show: "SHOW CREATE TRIGGER", column: 2, right: "TRIGGER",
		list: "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, '' FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=" +
			db + " ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER, TRIGGER_NAME",
	}, objectKind{
		kind: "event", show: "SHOW CREATE EVENT", column: 3, right: "EVENT",
		list: "SELECT EVENT_NAME, '', DEFINER, SQL_MODE, CHARACTER_SET_CLIENT, COLLATION_CONNECTION, TIME_ZONE FROM information_schema.EVENTS WHERE EVENT_SCHEMA=" + db + " ORDER BY EVENT_NAME",
	})
}

// dumpObjects stores every object that is not a table. What the account may
// not see or read is a warning, since it may be missing later.
func (s *Snapshot) dumpObjects(ctx context.Context, w core.TreeWriter) ([]core.SchemaObject, []core.Entry, error) {
	var objects []core.SchemaObject
	var folders []core.Entry
	seen, err := s.visibleRights(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, k := range objectKinds(s.database, s.Server.MariaDB()) {
		if k.right != "" && !seen(k.right) && k.kind != "package" && k.kind != "package body" {
			s.Warnings = append(s.Warnings, core.Warning{
				Code: "not-visible", Object: k.kind + "s",
				Message: fmt.Sprintf("the account lacks the right %s, so %ss cannot be seen; if there are any, they are not in this backup (GRANT %s ON %s.* TO the account)",
					k.right, k.kind, k.right, mysql.QuoteName(s.database)),
			})
		}
		rows, err := s.control.Query(ctx, k.list)
		if err != nil {
			return nil, nil, fmt.Errorf("list %ss: %w", k.kind, err)
		}
		var files []core.Entry
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
				return nil, nil, fmt.Errorf("read %s %s: %w", o.Kind, o.Name, err)
			}
			if statement == "" {
				continue
			}
			name := fileName(o.Name) + ".sql"
			o.File = "database/schema/" + o.Kind + "/" + name
			e, err := writeFile(ctx, w, o.File, name, []byte(statement))
			if err != nil {
				return nil, nil, err
			}
			files = append(files, e)
			objects = append(objects, o)
		}
		if len(files) > 0 {
			e, err := writeDir(ctx, w, k.kind, files)
			if err != nil {
				return nil, nil, err
			}
			folders = append(folders, e)
		}
	}
	return objects, folders, nil
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
		unreadable(serverText(err))
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
	if o.Kind == "sequence" {
		if o.Value, err = s.sequenceValue(ctx, o.Name); err != nil {
			return "", err
		}
	}
	return v.Text, nil
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

var grantLine = regexp.MustCompile("(?is)^GRANT (.*?) ON (?:TABLE )?(\\*\\.\\*|[`\"].*?[`\"]\\.\\*) TO ")

// visibleRights reads the account's grants on the database. Without a right to
// a kind of object the catalogue shows none of that kind, as if there were
// none: only the grants tell the two cases apart.
func (s *Snapshot) visibleRights(ctx context.Context) (func(right string) bool, error) {
	rows, err := s.control.Query(ctx, "SHOW GRANTS")
	if err != nil {
		return nil, fmt.Errorf("read the account's grants: %w", err)
	}
	rights := map[string]bool{}
	for _, r := range rows {
		m := grantLine.FindStringSubmatch(r[0].Text)
		if m == nil || m[2] != "*.*" && !grantCovers(m[2], s.database) {
			continue
		}
		for _, right := range strings.Split(m[1], ",") {
			rights[strings.ToUpper(strings.TrimSpace(right))] = true
		}
	}
	return func(right string) bool { return rights["ALL PRIVILEGES"] || rights[right] }, nil
}

// grantCovers says whether the pattern of a grant ("`name\_x`.*", with LIKE
// wildcards) covers the database.
func grantCovers(scope, database string) bool {
	pattern := strings.TrimSuffix(scope, ".*")
	if len(pattern) < 2 {
		return false
	}
	pattern = strings.ReplaceAll(pattern[1:len(pattern)-1], "``", "`")
	var re strings.Builder
	re.WriteString("(?is)^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern):
			i++
			re.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case c == '%':
			re.WriteString(".*")
		case c == '_':
			re.WriteString(".")
		case c < 0x80:
			re.WriteString(regexp.QuoteMeta(string(c)))
		default:
			re.WriteByte(c)
		}
	}
	re.WriteString("$")
	compiled, err := regexp.Compile(re.String())
	return err == nil && compiled.MatchString(database)
}
