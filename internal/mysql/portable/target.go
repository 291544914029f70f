package portable

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Target is what the rules must know of the server to restore on.
type Target struct {
	Server     mysql.Server
	Charsets   map[string]bool
	Collations map[string]bool // full names; MariaDB's aliases of MySQL's too
	Engines    map[string]bool // that can be used; lower case
	Accounts   map[string]bool // user@host, and roles by name; nil: the account may not see them
	// AnyDefiner says whether the account may, for all that is known, make
	// objects that run with the rights of others.
	AnyDefiner bool
	// FunctionsDeclared says that the server takes only functions that declare
	// that they change no data: it writes a binary log and distrusts their makers.
	FunctionsDeclared bool
	// Zones says of each time zone that the backup's events name whether the
	// server knows it.
	Zones map[string]bool
}

// Ask finds out about the server behind c all that the rules must know to
// restore what the index lists.
func Ask(ctx context.Context, c *mysql.Conn, index core.DatabaseIndex) (Target, error) {
	t := Target{Charsets: map[string]bool{}, Collations: map[string]bool{}, Engines: map[string]bool{}, Zones: map[string]bool{}}
	var err error
	if t.Server, err = c.Server(ctx); err != nil {
		return t, err
	}
	// Since 10.10 MariaDB lists a collation once for all character sets; its
	// full name is only here.
	rows, err := c.Query(ctx, "SELECT FULL_COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
	if mysql.Number(err) != 0 {
		rows, err = c.Query(ctx, "SELECT COLLATION_NAME, CHARACTER_SET_NAME FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY")
	}
	if err != nil {
		return t, fmt.Errorf("list collations: %w", err)
	}
	for _, r := range rows {
		t.Collations[strings.ToLower(r[0].Text)] = true
		t.Charsets[strings.ToLower(r[1].Text)] = true
	}
	if rows, err = c.Query(ctx, "SELECT ENGINE FROM information_schema.ENGINES WHERE SUPPORT IN ('YES','DEFAULT')"); err != nil {
		return t, fmt.Errorf("list engines: %w", err)
	}
	for _, r := range rows {
		t.Engines[strings.ToLower(r[0].Text)] = true
	}
	if err := t.askAccounts(ctx, c); err != nil {
		return t, err
	}
	for _, o := range index.Objects {
		if _, known := t.Zones[o.TimeZone]; known || o.TimeZone == "" {
			continue
		}
		_, err := c.Exec(ctx, "SET time_zone="+mysql.QuoteText(o.TimeZone))
		if err != nil && mysql.Number(err) == 0 {
			return t, fmt.Errorf("ask for time zone %s: %w", o.TimeZone, err)
		}
		t.Zones[o.TimeZone] = err == nil
	}
	_, err = c.Exec(ctx, "SET time_zone='+00:00'")
	return t, err
}

func (t *Target) askAccounts(ctx context.Context, c *mysql.Conn) error {
	rows, err := c.Query(ctx, "SELECT @@log_bin, @@log_bin_trust_function_creators")
	if err != nil {
		return fmt.Errorf("ask for the binary log: %w", err)
	}
	t.FunctionsDeclared = len(rows) == 1 && isOn(rows[0][0].Text) && !isOn(rows[0][1].Text)
	rows, err = c.Query(ctx, "SELECT User, Host FROM mysql.user")
	switch {
	case err == nil:
		t.Accounts = map[string]bool{}
		for _, r := range rows {
			if r[1].Text == "" {
				t.Accounts[r[0].Text] = true
			} else {
				t.Accounts[account(r[0].Text, r[1].Text)] = true
			}
		}
	case mysql.Number(err) == 0:
		return fmt.Errorf("list accounts: %w", err)
	}
	if rows, err = c.Query(ctx, "SHOW GRANTS"); err != nil {
		if mysql.Number(err) != 0 {
			t.AnyDefiner = true // not known: the server will say
			return nil
		}
		return fmt.Errorf("read the account's grants: %w", err)
	}
	for _, r := range rows {
		grant := strings.ToUpper(r[0].Text)
		if !strings.Contains(grant, " ON ") {
			t.AnyDefiner = true // a role, which may have the right: the server will say
		}
		rights, _, everywhere := strings.Cut(grant, " ON *.*")
		if !everywhere {
			continue
		}
		list := strings.Split(strings.TrimPrefix(rights, "GRANT "), ",")
		for i := range list {
			list[i] = strings.TrimSpace(list[i])
		}
		for _, right := range []string{"ALL PRIVILEGES", "SUPER", "SET USER", "SET_USER_ID", "SET_ANY_DEFINER"} {
			t.AnyDefiner = t.AnyDefiner || slices.Contains(list, right)
		}
	}
	return nil
}

func account(user, host string) string { return user + "@" + strings.ToLower(host) }

func isOn(v string) bool { return v == "1" || strings.EqualFold(v, "ON") }
