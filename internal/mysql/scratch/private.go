package scratch

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
)

const (
	bufferPool = 256 << 20
	logFile    = 128 << 20
)

// Private starts a server for the import alone, the installed one that fits the
// dump best, and makes a database on it. Where no program is installed, or none
// that can take the dump, the error has core.CodeUnsupported and says what to
// install. ctx ends the wait for the start, not the server.
func Private(ctx context.Context, opt Options) (*Database, error) {
	programs, err := programs(ctx, opt)
	if err != nil {
		return nil, err
	}
	var lacking error
	for _, p := range ranked(programs, opt.Vendor, opt.Version) {
		d, missing, err := start(ctx, opt, p)
		if err != nil {
			return nil, err
		}
		if len(missing) == 0 {
			return d, nil
		}
		if lacking == nil {
			lacking = &core.Error{
				Code: core.CodeUnsupported, Op: opt.op(), Message: fmt.Sprintf("the installed %s does not know what the dump needs: %s", title(p.Vendor, p.Version), core.Some(missing, 5)),
				Hint: "install a server of the kind that the dump was made of" + ofKind(opt) + ", or name a server that has them",
			}
		}
	}
	return nil, lacking
}

func (o Options) purpose() string { return cmp.Or(o.For, "import") }

func (o Options) op() string { return "start a private database server for the " + o.purpose() }

func programs(ctx context.Context, opt Options) ([]localserver.Program, error) {
	if opt.Binary != "" {
		p, err := localserver.Examine(ctx, opt.Binary)
		return []localserver.Program{p}, err
	}
	programs, err := localserver.Installed(ctx)
	if err == nil && len(programs) == 0 {
		err = &core.Error{
			Code: core.CodeUnsupported, Op: opt.op(), Message: "neither mariadbd nor mysqld is installed",
			Hint: "install a MariaDB or MySQL server" + ofKind(opt) + " (it need not run: apt-get install mariadb-server), or name a server on which a scratch database may be made",
		}
	}
	return programs, err
}

func ofKind(opt Options) string {
	if opt.Vendor == "" {
		return ""
	}
	return " (" + title(opt.Vendor, opt.Version) + ")"
}

// ranked sorts programs, the one first that reads a dump of that server best: of
// its vendor and no older, then its vendor's others. A stranger comes last:
// each vendor knows collations and types that the other does not.
func ranked(programs []localserver.Program, vendor, version string) []localserver.Program {
	rank := func(p localserver.Program) int {
		switch {
		case vendor == "":
			return 0
		case p.Vendor != vendor:
			return 2
		case mysql.VersionNumber(number(p.Version))/100 < mysql.VersionNumber(version)/100:
			return 1
		}
		return 0
	}
	sorted := slices.Clone(programs)
	slices.SortStableFunc(sorted, func(a, b localserver.Program) int { return cmp.Compare(rank(a), rank(b)) })
	return sorted
}

// number finds the version in the line that --version prints: "mariadbd  Ver
// 10.11.6-MariaDB for …".
func number(line string) string {
	_, after, ok := strings.Cut(line, " Ver ")
	if !ok {
		return line
	}
	version, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	return version
}

func title(vendor, version string) string {
	name := map[string]string{mysql.MariaDB: "MariaDB", mysql.MySQL: "MySQL"}[vendor]
	digits, _, _ := strings.Cut(number(version), "-")
	return strings.TrimSpace(name + " " + digits)
}

// start starts a program and makes the database. missing is what the dump needs
// and the server does not know; there is no server then.
func start(ctx context.Context, opt Options, p localserver.Program) (_ *Database, missing []string, err error) {
	server, err := localserver.Start(ctx, localserver.Options{
		Dir: opt.Dir, Name: opt.purpose(), Binary: p.Path, BufferPool: cmp.Or(opt.Memory, bufferPool), LogFile: logFile, Log: opt.Log,
		Args: append(arguments(), opt.Args...),
	})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil || missing != nil {
			err = errors.Join(err, server.Close())
		}
	}()
	d, missing, err := prepare(ctx, server, opt)
	if err != nil || missing != nil {
		return nil, missing, err
	}
	d.Notes, d.Dir = remarks(opt, d.Server), server.Dir
	d.close = func(context.Context) error { return server.Close() }
	return d, nil, nil
}

// arguments are a server's for data that another one has written: rows and
// definitions of any size come in, and nothing reaches a file or happens by itself.
func arguments() []string {
	return []string{
		"--max-allowed-packet=1G", "--local-infile=0", "--event-scheduler=OFF", "--innodb-strict-mode=0",
		"--innodb-doublewrite=0", "--loose-skip-symbolic-links", "--loose-sql-require-primary-key=0", "--loose-sql-generate-invisible-primary-key=0",
	}
}

// prepare makes the database and its two accounts: one that loads, with rights
// on the database only, and one that captures. root is renamed, so that no
// object of a dump can be given to an account that may do everything.
func prepare(ctx context.Context, server *localserver.Server, opt Options) (_ *Database, missing []string, err error) {
	root, err := mysql.Connect(ctx, mysql.Config{Socket: server.Socket, User: server.User})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	about, err := root.Server(ctx)
	if err != nil {
		return nil, nil, err
	}
	if missing, err = unknown(ctx, root, opt.Collations); err != nil || len(missing) > 0 {
		return nil, missing, err
	}
	name := opt.Name
	if name == "" || slices.Contains(systemDatabases(), strings.ToLower(name)) {
		name = "import"
	}
	config := func(user string) (mysql.Config, string) {
		c := mysql.Config{Socket: server.Socket, User: user, Password: core.NewSecret(rand.Text()), Database: name}
		return c, mysql.QuoteText(user) + "@'localhost'"
	}
	loads, loader := config("backstay_load")
	captures, admin := config("backstay_" + strings.ToLower(rand.Text()[:10]))
	statements := []string{
		"CREATE DATABASE " + mysql.QuoteName(name) + " CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci",
		"CREATE USER " + loader + " IDENTIFIED BY " + mysql.QuoteText(loads.Password.Reveal()),
		"GRANT ALL PRIVILEGES ON " + pattern(name) + ".* TO " + loader,
	}
	for _, right := range definerRights(about) {
		statements = append(statements, "GRANT "+right+" ON *.* TO "+loader)
	}
	statements = append(statements,
		"RENAME USER 'root'@'localhost' TO "+admin,
		"ALTER USER "+admin+" IDENTIFIED BY "+mysql.QuoteText(captures.Password.Reveal()),
		// Nobody is left who could read or write a file of the machine.
		"REVOKE FILE ON *.* FROM "+admin)
	for _, s := range statements {
		if _, err := root.Exec(ctx, s); err != nil {
			verb, _, _ := strings.Cut(s, " ")
			return nil, nil, fmt.Errorf("prepare the private database server: %s: %w", strings.ToLower(verb), err)
		}
	}
	d := &Database{Config: loads, Source: source(captures), Server: about, Private: true}
	if err := removeOthers(ctx, root, loads.User, captures.User); err != nil || !about.MariaDB() {
		return d, nil, err
	}
	return d, nil, removeSys(ctx, root)
}

// sysAccount is that of MariaDB's own views, which may read and delete accounts.
const sysAccount = "mariadb.sys"

// removeSys drops MariaDB's account for its own views, where the view of the
// accounts does without it. Where it does not, the account stays: no object of a
// dump is given to it.
func removeSys(ctx context.Context, root *mysql.Conn) error {
	rows, err := root.Query(ctx, "SELECT VIEW_DEFINITION FROM information_schema.VIEWS WHERE TABLE_SCHEMA='mysql' AND TABLE_NAME='user'")
	if err != nil || len(rows) != 1 {
		return serverMay(err) // before 10.4 it is a table
	}
	for _, s := range []string{"CREATE OR REPLACE SQL SECURITY INVOKER VIEW mysql.user AS " + rows[0][0].Text, "DROP USER '" + sysAccount + "'@'localhost'"} {
		if _, err := root.Exec(ctx, s); err != nil {
			return serverMay(err)
		}
	}
	return nil
}

// serverMay lets a server's refusal pass.
func serverMay(err error) error {
	if mysql.Number(err) != 0 {
		return nil
	}
	return err
}

// removeOthers drops the accounts that came with the server, but for those that
// it needs itself and nobody can log in as.
func removeOthers(ctx context.Context, root *mysql.Conn, keep ...string) error {
	rows, err := root.Query(ctx, "SELECT User, Host FROM mysql.user")
	if err != nil {
		return fmt.Errorf("list the private server's accounts: %w", err)
	}
	for _, r := range rows {
		user := r[0].Text
		if slices.Contains(keep, user) || strings.HasPrefix(user, "mysql.") || user == sysAccount || user == "PUBLIC" {
			continue
		}
		if _, err := root.Exec(ctx, "DROP USER "+mysql.QuoteText(user)+"@"+mysql.QuoteText(r[1].Text)); err != nil {
			return fmt.Errorf("drop an account of the private server: %w", err)
		}
	}
	return nil
}

// definerRights are those that let an account keep the definers of a dump, and
// set session variables that ordinary accounts may not; none where only SUPER does.
func definerRights(s mysql.Server) []string {
	switch {
	case s.MariaDB() && s.VersionNumber >= 100502:
		return []string{"SET USER"}
	case s.MariaDB() || s.VersionNumber < 80014:
		return nil
	case s.VersionNumber >= 80200:
		return []string{"SET_ANY_DEFINER", "ALLOW_NONEXISTENT_DEFINER", "SESSION_VARIABLES_ADMIN"}
	}
	return []string{"SET_USER_ID", "SESSION_VARIABLES_ADMIN"}
}

// unknown returns those of the collations that the server does not know.
func unknown(ctx context.Context, c *mysql.Conn, collations []string) ([]string, error) {
	var missing []string
	for _, collation := range collations {
		charset, _, _ := strings.Cut(collation, "_")
		_, err := c.Query(ctx, "SELECT CONVERT('' USING "+mysql.QuoteName(charset)+") COLLATE "+mysql.QuoteName(collation))
		switch {
		case err == nil:
		case mysql.Number(err) == 0:
			return nil, fmt.Errorf("ask for collation %s: %w", collation, err)
		default:
			missing = append(missing, collation)
		}
	}
	return missing, nil
}

// remarks says what the choice of the server changes.
func remarks(opt Options, s mysql.Server) []core.Warning {
	if opt.Vendor == "" || opt.Vendor == s.Vendor {
		return nil
	}
	return []core.Warning{{
		Code: "other-vendor", Object: "database",
		Message: fmt.Sprintf("the dump was made of %s and read by %s: definitions are in the backup as that server writes them", title(opt.Vendor, opt.Version), title(s.Vendor, s.Version)),
	}}
}

func systemDatabases() []string {
	return []string{"mysql", "sys", "information_schema", "performance_schema"}
}

func source(c mysql.Config) core.DatabaseSource {
	return core.DatabaseSource{
		Host: c.Host, Port: c.Port, Socket: c.Socket, User: c.User, Password: c.Password, Name: c.Database, TLS: c.TLS,
	}
}

// pattern quotes a database's name for GRANT, which takes _ and % for wildcards.
func pattern(name string) string {
	return mysql.QuoteName(strings.NewReplacer(`_`, `\_`, `%`, `\%`, `\`, `\\`).Replace(name))
}
