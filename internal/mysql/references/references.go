// Package references reads which tables refer to which: the foreign keys that a
// server has. It is for package shadow. It promises to change nothing.
package references

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
)

// Key is a foreign key. OnUpdate and OnDelete are "" where they are what the
// server does when nothing is said.
type Key struct {
	Schema, Table, Name string
	ToSchema, ToTable   string
	Columns, Targets    []string
	OnUpdate, OnDelete  string
}

// Read reads the foreign keys of tables in some databases, and where
// everywhere is set those of all others that lead into them: a search through
// all tables of the server.
func Read(ctx context.Context, c *mysql.Conn, server mysql.Server, schemas []string, everywhere bool) ([]Key, error) {
	if everywhere {
		quoted := make([]string, len(schemas))
		for i, s := range schemas {
			quoted[i] = mysql.QuoteText(s)
		}
		list := strings.Join(quoted, ",")
		return read(ctx, c, server, "TABLE_SCHEMA IN ("+list+") OR REFERENCED_TABLE_SCHEMA IN ("+list+")", "TRUE")
	}
	var keys []Key
	for _, schema := range schemas { // servers look through one database only where it is given alone
		found, err := read(ctx, c, server, "TABLE_SCHEMA="+mysql.QuoteText(schema), "CONSTRAINT_SCHEMA="+mysql.QuoteText(schema))
		if err != nil {
			return nil, err
		}
		keys = append(keys, found...)
	}
	return keys, nil
}

func read(ctx context.Context, c *mysql.Conn, server mysql.Server, keysWhere, rulesWhere string) ([]Key, error) {
	rules, err := c.Query(ctx, "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS WHERE "+rulesWhere)
	if err != nil {
		return nil, fmt.Errorf("list foreign keys: %w", err)
	}
	if len(rules) == 0 {
		return nil, nil
	}
	rows, err := c.Query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, COLUMN_NAME, REFERENCED_COLUMN_NAME"+
		" FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL AND ("+keysWhere+") ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION")
	if err != nil {
		return nil, fmt.Errorf("list foreign keys: %w", err)
	}
	type id struct{ schema, table, name string }
	said := map[id][2]string{}
	silent := "RESTRICT"
	if !server.MariaDB() {
		silent = "NO ACTION"
	}
	word := func(rule string) string {
		if rule == silent {
			return ""
		}
		return rule
	}
	for _, r := range rules {
		said[id{r[0].Text, r[1].Text, r[2].Text}] = [2]string{word(r[3].Text), word(r[4].Text)}
	}
	var keys []Key
	for _, r := range rows {
		if n := len(keys); n == 0 || keys[n-1].Schema != r[0].Text || keys[n-1].Table != r[1].Text || keys[n-1].Name != r[2].Text {
			rule := said[id{r[0].Text, r[1].Text, r[2].Text}]
			keys = append(keys, Key{Schema: r[0].Text, Table: r[1].Text, Name: r[2].Text, ToSchema: r[3].Text, ToTable: r[4].Text, OnUpdate: rule[0], OnDelete: rule[1]})
		}
		k := &keys[len(keys)-1]
		k.Columns, k.Targets = append(k.Columns, r[5].Text), append(k.Targets, r[6].Text)
	}
	return keys, nil
}
