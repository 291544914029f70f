package scratch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// maxDefiners bounds how many accounts a dump can have made.
const maxDefiners = 1000

// MakeDefiner makes the account that objects of a dump run as, on a private
// server: a view that reads another one works only where the other's definer is
// there. Nobody can log in as it, and it has rights on the database only. host
// "" means a role where the server has such definers. On a server of others
// nothing is made. An error with mysql.Number is that the server does not take
// such an account.
func (d *Database) MakeDefiner(ctx context.Context, user, host string) (err error) {
	if !d.Private {
		return nil
	}
	if own := strings.ToLower(strings.TrimSpace(user)); own == strings.ToLower(d.Config.User) || own == strings.ToLower(d.Source.User) || own == sysAccount || strings.HasPrefix(own, "mysql.") {
		return &core.Error{
			Code: core.CodeUnsupported, Op: "make the accounts that the dump's objects run as", Message: fmt.Sprintf("%s@%s belongs to the import's own server", user, host),
			Hint: "give the dump's objects another definer where the dump is made, and dump again",
		}
	}
	if d.definers >= maxDefiners {
		return &core.Error{
			Code: core.CodeUnsupported, Op: "make the accounts that the dump's objects run as", Message: fmt.Sprintf("the dump names more than %d", maxDefiners),
			Hint: "dump with fewer definers, or without views, routines, triggers and events",
		}
	}
	d.definers++
	admin := mysql.ConfigOf(d.Source)
	admin.Database = ""
	c, err := mysql.Connect(ctx, admin)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	kind, account, lock := "USER", mysql.QuoteName(user)+"@"+mysql.QuoteName(host), " IDENTIFIED BY "+mysql.QuoteText(rand.Text())
	if !d.Server.MariaDB() || d.Server.VersionNumber >= 100402 {
		lock += " ACCOUNT LOCK"
	}
	switch {
	case host == "" && d.Server.MariaDB():
		kind, account, lock = "ROLE", mysql.QuoteName(user), ""
	case host == "":
		account = mysql.QuoteName(user) + "@'%'"
	}
	for _, statement := range []string{
		"CREATE " + kind + " IF NOT EXISTS " + account + lock,
		"GRANT ALL PRIVILEGES ON " + pattern(d.Source.Name) + ".* TO " + account,
	} {
		if _, err := c.Exec(ctx, statement); err != nil {
			return fmt.Errorf("make account %s@%s, which the dump's objects run as: %w", user, host, err)
		}
	}
	return nil
}
