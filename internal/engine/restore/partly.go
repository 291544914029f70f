package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

// partly says whether a part of the live app is restored, and not all of it.
func (r *Restore) partly() bool {
	return r.req.live() && r.app != nil && (r.req.partial() || len(r.req.Only) > 0)
}

// findDependencies says what the restored part depends on, or what depends on
// it, and does not come back with it.
func (r *Restore) findDependencies(ctx context.Context) error {
	if !r.partly() {
		return nil
	}
	part := profile.Part{
		Database: r.db != nil, Tables: r.req.Tables, Files: r.trees[core.ComponentFiles] != nil, Config: r.trees[core.ComponentConfig] != nil,
		Code: r.trees[core.ComponentCode] != nil, Prefix: r.Prefix(),
	}
	for _, p := range r.trees {
		for _, q := range p.paths {
			if rest, ok := strings.CutPrefix(q+"/", "app/"); ok {
				part.Paths = append(part.Paths, strings.Trim(rest, "/"))
			}
		}
	}
	for _, f := range r.profile.Partly(part) {
		r.add(f)
	}
	if name := r.open.Manifest.Settings["config"]; name != "" && len(r.req.Paths) > 0 && part.Config && part.HasPath(name) {
		r.add(profile.Depends(name, "this is the application's configuration: all of its settings become those of the backup, but for the connection to the database", ""))
	}
	if r.db == nil || len(r.req.Tables) == 0 {
		return nil
	}
	return r.findTableDependencies(ctx)
}

// reference is a foreign key of the live database between a table that is
// restored and one that is not. Rows that refer to nothing are counted by
// package shadow, when the tables are in place.
type reference struct{ name, table, parent string }

// findTableDependencies looks at foreign keys, views and triggers of the live
// database that tie the restored tables to others.
func (r *Restore) findTableDependencies(ctx context.Context) (err error) {
	c, err := mysql.Connect(ctx, r.targetConfig())
	if mysql.Number(err) == erBadDatabase { // it is made for these tables
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	refs, err := references(ctx, c, r.req.Tables)
	if err != nil {
		return err
	}
	for _, f := range refs {
		if slices.Contains(r.req.Tables, f.table) {
			r.add(profile.Depends("table "+f.table, fmt.Sprintf("its rows refer to rows of %s (foreign key %s), which stays as it is: some may be gone since; rows that refer to nothing are counted at the end", f.parent, f.name), "--table "+f.parent+" brings that back too"))
		} else {
			r.add(profile.Depends("table "+f.parent, fmt.Sprintf("rows of %s refer to it (foreign key %s) and stay as they are: what they refer to may be missing in the backup; rows that refer to nothing are counted at the end", f.table, f.name), "--table "+f.table+" brings that back too"))
		}
	}
	return r.findUsers(ctx, c)
}

// erBadDatabase says that there is no such database.
const erBadDatabase = 1049

// references lists the foreign keys between the tables and others.
func references(ctx context.Context, c *mysql.Conn, tables []string) ([]reference, error) {
	rows, err := c.Query(ctx, "SELECT DISTINCT CONSTRAINT_NAME, TABLE_NAME, REFERENCED_TABLE_NAME FROM information_schema.KEY_COLUMN_USAGE"+
		" WHERE TABLE_SCHEMA=DATABASE() AND REFERENCED_TABLE_SCHEMA=DATABASE() ORDER BY TABLE_NAME, CONSTRAINT_NAME")
	if err != nil {
		return nil, fmt.Errorf("list foreign keys: %w", err)
	}
	var out []reference
	for _, row := range rows {
		f := reference{row[0].Text, row[1].Text, row[2].Text}
		if slices.Contains(tables, f.table) != slices.Contains(tables, f.parent) {
			out = append(out, f)
		}
	}
	return out, nil
}

// findUsers looks for views and triggers of other tables that name a restored
// table in their text.
func (r *Restore) findUsers(ctx context.Context, c *mysql.Conn) error {
	rows, err := c.Query(ctx, "SELECT 'view', TABLE_NAME, VIEW_DEFINITION, '' FROM information_schema.VIEWS WHERE TABLE_SCHEMA=DATABASE()"+
		" UNION ALL SELECT 'trigger', TRIGGER_NAME, ACTION_STATEMENT, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA=DATABASE()")
	if err != nil {
		return fmt.Errorf("list views and triggers: %w", err)
	}
	for _, t := range r.req.Tables {
		var users []string
		for _, row := range rows {
			if row[3].Text != t && namesTable(row[2].Text, t) {
				users = append(users, row[0].Text+" "+row[1].Text)
			}
		}
		if len(users) > 0 {
			r.add(profile.Depends("table "+t, fmt.Sprintf("%s use it, and stay as they are: where the table had other columns then, they may not fit", core.Some(users, 5)), ""))
		}
	}
	return nil
}

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
