package preflight

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Ties are what ties some tables of a database to the rest of it. Rows that
// refer to nothing are counted by package shadow, when tables are in place.
type Ties struct {
	References []Reference         // foreign keys between one of the tables and another table
	Users      map[string][]string // by table: "view v" and "trigger t" of other tables that name it in their text
}

// Reference is a foreign key.
type Reference struct{ Name, Table, Parent string }

// FindTies looks at a database for what ties the tables to others. A database
// that is not there has none. It changes nothing.
func FindTies(ctx context.Context, cfg mysql.Config, tables []string) (_ Ties, err error) {
	ties := Ties{Users: map[string][]string{}}
	c, err := mysql.Connect(ctx, cfg)
	if mysql.Number(err) == erBadDatabase {
		return ties, nil
	}
	if err != nil {
		return ties, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.Query(ctx, "SELECT DISTINCT CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE"+
		" WHERE TABLE_SCHEMA=DATABASE() AND REFERENCED_TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME, CONSTRAINT_NAME")
	if err != nil {
		return ties, fmt.Errorf("list foreign keys: %w", err)
	}
	for _, row := range rows {
		f := Reference{row[0].Text, row[1].Text, row[2].Text}
		if slices.Contains(tables, f.Table) != slices.Contains(tables, f.Parent) {
			ties.References = append(ties.References, f)
		}
	}
	rows, err = c.Query(ctx, "SELECT 'view', TABLE_NAME, VIEW_DEFINITION, '' FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE()"+
		" UNION ALL SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()")
	if err != nil {
		return ties, fmt.Errorf("list views and triggers: %w", err)
	}
	for _, t := range tables {
		for _, row := range rows {
			if row[3].Text != t && namesTable(row[2].Text, t) {
				ties.Users[t] = append(ties.Users[t], row[0].Text+" "+row[1].Text)
			}
		}
	}
	return ties, nil
}

const erBadDatabase = 1049

// namesTable says whether the text of a view or trigger holds the name as a
// word of its own.
func namesTable(text, name string) bool {
	if strings.Contains(text, mysql.QuoteName(name)) {
		return true
	}
	for rest := text; ; {
		i := strings.Index(rest, name)
		if i < 0 {
			return false
		}
		if (i == 0 || !wordByte(rest[i-1])) && (i+len(name) == len(rest) || !wordByte(rest[i+len(name)])) {
			return true
		}
		rest = rest[i+len(name):]
	}
}

func wordByte(b byte) bool {
	return b == '_' || b == '$' || b >= 0x80 || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// Findings says what the ties mean for tables that come back alone.
func (t Ties) Findings(name string, tables []string) []core.Finding {
	var out []core.Finding
	note := func(table, hint, format string, args ...any) {
		out = append(out, core.Finding{Kind: core.FindingFine, Name: name, Object: "table " + table, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
	for _, f := range t.References {
		if slices.Contains(tables, f.Table) {
			note(f.Table, "--table "+f.Parent+" brings that back too", "its rows refer to rows of %s (foreign key %s), which stays as it is: some may be gone since; rows that refer to nothing are counted at the end", f.Parent, f.Name)
		} else {
			note(f.Parent, "--table "+f.Table+" brings that back too", "rows of %s refer to it (foreign key %s) and stay as they are: what they refer to may be missing in the backup; rows that refer to nothing are counted at the end", f.Table, f.Name)
		}
	}
	for _, table := range tables {
		if users := t.Users[table]; len(users) > 0 {
			note(table, "", "%s use it, and stay as they are: where the table had other columns then, they may not fit", core.Some(users, 5))
		}
	}
	return out
}
