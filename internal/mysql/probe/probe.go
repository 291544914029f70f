// Package probe tries what an account may do, where asking cannot tell. It is
// for package shadow. It promises that what it makes has reserved names of a
// restore's run, and is gone when it returns.
package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
)

// Definer says whether the account of c may make an object that runs as definer.
func Definer(ctx context.Context, c *mysql.Conn, run, definer string) (bool, error) {
	rows, err := c.Query(ctx, "SELECT CURRENT_USER()")
	if err != nil || len(rows) != 1 {
		return false, err
	}
	if rows[0][0].Text == definer {
		return true, nil
	}
	name := mysql.QuoteName(mysql.ReservedName(run, "probe"))
	user, host := definer, ""
	if i := strings.LastIndexByte(definer, '@'); i >= 0 {
		user, host = definer[:i], definer[i+1:]
	}
	_, err = c.Exec(ctx, "CREATE DEFINER="+mysql.QuoteName(user)+"@"+mysql.QuoteName(host)+" PROCEDURE "+name+"() SET @backstay = 1")
	if mysql.Number(err) != 0 {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if _, err := c.Exec(ctx, "DROP PROCEDURE IF EXISTS "+name); err != nil {
		return false, fmt.Errorf("take away what was made to try rights: %w", err)
	}
	return true, nil
}

// Databases uses every right that databases beside the live one need, on
// objects of its own. It says what is missing; "" for nothing.
func Databases(ctx context.Context, c *mysql.Conn, live, run string) (why string, err error) {
	built, kept := mysql.BesideNames(live, run)
	table := func(schema string) string {
		return mysql.QuoteName(schema) + "." + mysql.QuoteName(mysql.ReservedName(run, "probe"))
	}
	for _, d := range []string{built, kept} {
		rows, err := c.Query(ctx, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(d))
		if err != nil {
			return "", err
		}
		if len(rows) > 0 {
			return "there is a database " + d + " already", nil
		}
	}
	made := []string{}
	for _, step := range [][2]string{
		{"CREATE DATABASE " + mysql.QuoteName(built), "DROP DATABASE " + mysql.QuoteName(built)},
		{"CREATE DATABASE " + mysql.QuoteName(kept), "DROP DATABASE " + mysql.QuoteName(kept)},
		{"CREATE TABLE " + table(built) + " (id INT PRIMARY KEY)", "DROP TABLE IF EXISTS " + table(built)},
		{"INSERT INTO " + table(built) + " VALUES (1)", ""},
		{"ALTER TABLE " + table(built) + " ADD COLUMN x INT", ""},
		{"RENAME TABLE " + table(built) + " TO " + table(live), "DROP TABLE IF EXISTS " + table(live)},
		{"RENAME TABLE " + table(live) + " TO " + table(kept), ""},
	} {
		if _, err = c.Exec(ctx, step[0]); err != nil {
			break
		}
		if step[1] != "" {
			made = append(made, step[1])
		}
	}
	if err != nil && mysql.Number(err) == 0 {
		return "", fmt.Errorf("try to make databases: %w", err)
	}
	if err != nil {
		why = "the account may not make databases (" + mysql.ServerText(err) + ")"
	}
	for _, undo := range slices.Backward(made) {
		if _, err := c.Exec(ctx, undo); err != nil {
			return "", fmt.Errorf("take away what was made to try rights: %w", err)
		}
	}
	return why, nil
}
