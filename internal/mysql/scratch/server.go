package scratch

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// closeLimit is how long a scratch database may take to be dropped.
const closeLimit = 10 * time.Minute

// What servers say when a database is there already.
const erDatabaseExists = 1007

// OnServer makes a scratch database on a server that is there, by the account
// of config, after it dropped those that imports left which were killed. How
// much room the server's disk has cannot be asked for. An account that may not
// make databases is an error whose hint says what to grant.
func OnServer(ctx context.Context, config mysql.Config, opt Options) (_ *Database, err error) {
	config.Database = ""
	c, err := connect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	about, err := c.Server(ctx)
	if err != nil {
		return nil, err
	}
	swept, err := sweep(ctx, c)
	if err != nil {
		return nil, err
	}
	run := strings.ToLower(rand.Text()[:10])
	if err := lock(ctx, c, run); err != nil {
		return nil, err
	}
	name := mysql.ImportName(run)
	if _, err := c.Exec(ctx, "CREATE DATABASE "+mysql.QuoteName(name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"); err != nil {
		return nil, mayNotMake(config, err)
	}
	s := &onServer{config: config, control: c, run: run}
	if err := s.mark(ctx); err != nil {
		return nil, errors.Join(err, s.drop(ctx))
	}
	config.Database = name
	d := &Database{Config: config, Source: source(config), Server: about, Notes: remarks(opt, about), close: s.close}
	for _, old := range swept {
		d.Notes = append(d.Notes, core.Warning{Code: "leftover", Object: "database " + old, Message: "an import that was killed had left it; it was dropped"})
	}
	d.Notes = append(d.Notes, core.Warning{
		Code: "shared-server", Object: "database " + name,
		Message: "the dump is loaded on a server that others use, by the account of the configuration; how much room its disk has cannot be asked for",
	})
	return d, nil
}

// connect makes a session that may be silent for as long as an import takes.
func connect(ctx context.Context, config mysql.Config) (*mysql.Conn, error) {
	c, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := c.Exec(ctx, "SET SESSION wait_timeout=31536000"); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare database session: %w", err), c.Close())
	}
	return c, nil
}

func mayNotMake(config mysql.Config, err error) error {
	if !mysql.AccessDenied(err) {
		return fmt.Errorf("make a scratch database: %w", err)
	}
	return &core.Error{
		Code: core.CodeDatabase, Op: "make a scratch database", Message: fmt.Sprintf("account %s may not make databases on %s", config.User, config.Address()), Err: err,
		Hint: "GRANT ALL PRIVILEGES ON `\\_backstay\\_%`.* TO the account; or install a MariaDB or MySQL server on this machine, so that the import starts one of its own",
	}
}

// onServer is a scratch database that this process made. Its control session
// holds a lock for as long as it lives, by which others know that it does.
type onServer struct {
	config  mysql.Config
	control *mysql.Conn
	run     string
}

func lockName(run string) string { return "backstay-import-" + run }

func lock(ctx context.Context, c *mysql.Conn, run string) error {
	got, err := tryLock(ctx, c, run)
	if err != nil {
		return fmt.Errorf("make a scratch database: %w", err)
	}
	if !got {
		return &core.Error{Code: core.CodeLocked, Op: "make a scratch database", Message: "another session holds the lock of this import", Hint: "try again"}
	}
	return nil
}

func tryLock(ctx context.Context, c *mysql.Conn, run string) (bool, error) {
	rows, err := c.Query(ctx, "SELECT GET_LOCK("+mysql.QuoteText(lockName(run))+", 0)")
	if err != nil {
		return false, err
	}
	return len(rows) == 1 && rows[0][0].Text == "1", nil
}

// markName is the table by which an import knows a database for one that an
// import made. Backups never take it.
func markName(run string) string { return mysql.ReservedName(run, "probe") }

const markComment = "scratch database of a backstay import"

func (s *onServer) mark(ctx context.Context) error {
	table := mysql.QuoteName(mysql.ImportName(s.run)) + "." + mysql.QuoteName(markName(s.run))
	_, err := s.control.Exec(ctx, "CREATE TABLE "+table+" (server VARCHAR(300) CHARACTER SET utf8mb4 PRIMARY KEY) COMMENT="+mysql.QuoteText(markComment))
	if err == nil {
		// The lock of another member of a cluster cannot be seen; its name can.
		_, err = s.control.Exec(ctx, "INSERT INTO "+table+" VALUES (CONCAT(@@hostname, ':', @@port))")
	}
	if err != nil {
		return fmt.Errorf("mark the scratch database: %w", err)
	}
	return nil
}

func (s *onServer) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeLimit)
	defer cancel()
	return errors.Join(s.drop(ctx), s.control.Close())
}

// drop drops the database. The session may be lost by now: the server may have
// been started again meanwhile.
func (s *onServer) drop(ctx context.Context) (err error) {
	c := s.control
	if _, perr := c.Query(ctx, "SELECT 1"); perr != nil {
		if c, err = connect(ctx, s.config); err != nil {
			return s.left(err)
		}
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	if _, err := c.Exec(ctx, "DROP DATABASE IF EXISTS "+mysql.QuoteName(mysql.ImportName(s.run))); err != nil {
		return s.left(err)
	}
	return nil
}

func (s *onServer) left(err error) error {
	name := mysql.ImportName(s.run)
	return &core.Error{
		Code: core.CodeDatabase, Op: "drop the scratch database " + name, Message: "it is still on the server", Err: err,
		Hint: "the next import on this server drops it; or do it yourself: DROP DATABASE " + mysql.QuoteName(name),
	}
}

// sweep drops the databases of imports that are dead, and returns their names.
// Only what has the name, the mark and nobody's lock is one; an import that was
// killed before it set the mark left an empty database.
func sweep(ctx context.Context, c *mysql.Conn) ([]string, error) {
	rows, err := c.Query(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
	if err != nil {
		return nil, fmt.Errorf("list databases: %w", err)
	}
	var dropped []string
	for _, r := range rows {
		run := mysql.ImportRun(r[0].Text)
		if run == "" {
			continue
		}
		gone, err := sweepOne(ctx, c, run)
		if err != nil && mysql.Number(err) == 0 {
			return nil, err
		}
		if gone && err == nil { // what another account made is not ours to drop
			dropped = append(dropped, r[0].Text)
		}
	}
	return dropped, nil
}

func sweepOne(ctx context.Context, c *mysql.Conn, run string) (gone bool, err error) {
	free, err := tryLock(ctx, c, run)
	if err != nil || !free {
		return false, err
	}
	defer func() {
		_, rerr := c.Query(ctx, "SELECT RELEASE_LOCK("+mysql.QuoteText(lockName(run))+")")
		err = errors.Join(err, rerr)
	}()
	name := mysql.ImportName(run)
	ours, err := made(ctx, c, name, run)
	if err != nil || !ours {
		return false, err
	}
	_, err = c.Exec(ctx, "DROP DATABASE "+mysql.QuoteName(name))
	return err == nil, err
}

// made says whether an import of this server made a database.
func made(ctx context.Context, c *mysql.Conn, name, run string) (bool, error) {
	held, err := contents(ctx, c, name)
	if err != nil || len(held) == 0 {
		return err == nil, err
	}
	if !slices.Contains(held, "table "+markName(run)) {
		return false, nil
	}
	rows, err := c.Query(ctx, "SELECT COUNT(*), COALESCE(MAX(server = CONCAT(@@hostname, ':', @@port)), 1) FROM "+mysql.QuoteName(name)+"."+mysql.QuoteName(markName(run)))
	if err != nil {
		return false, err
	}
	return len(rows) == 1 && rows[0][1].Text == "1", nil
}

// contents lists what a database holds: "table t".
func contents(ctx context.Context, c *mysql.Conn, name string) ([]string, error) {
	is := mysql.QuoteText(name)
	rows, err := c.Query(ctx, "SELECT CONCAT('table ', TABLE_NAME) FROM information_schema.TABLES WHERE TABLE_SCHEMA="+is+
		" UNION ALL SELECT CONCAT('routine ', ROUTINE_NAME) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA="+is+
		" UNION ALL SELECT CONCAT('event ', EVENT_NAME) FROM information_schema.EVENTS WHERE EVENT_SCHEMA="+is)
	if err != nil {
		return nil, fmt.Errorf("look into database %s: %w", name, err)
	}
	held := make([]string, len(rows))
	for i, r := range rows {
		held[i] = r[0].Text
	}
	return held, nil
}

// Named uses the database called name, which Close leaves. It makes it where it
// is not there; one that holds anything is refused.
func Named(ctx context.Context, config mysql.Config, name string) (_ *Database, err error) {
	const op = "use a database for what can be salvaged"
	config.Database = ""
	if slices.Contains(systemDatabases(), strings.ToLower(name)) || mysql.ImportRun(name) != "" {
		return nil, &core.Error{Code: core.CodeUsage, Op: op, Message: name + " is not yours to use", Hint: "name a new or an empty database"}
	}
	c, err := mysql.Connect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	about, err := c.Server(ctx)
	if err != nil {
		return nil, err
	}
	_, err = c.Exec(ctx, "CREATE DATABASE "+mysql.QuoteName(name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci")
	if err != nil && mysql.Number(err) != erDatabaseExists && !mysql.AccessDenied(err) {
		return nil, fmt.Errorf("make database %s: %w", name, err)
	}
	if err != nil { // it is there, or may be
		config.Database = name
		if uerr := usable(ctx, c, name); uerr != nil {
			return nil, &core.Error{
				Code: core.CodeDatabase, Op: op, Message: fmt.Sprintf("database %s is not there, or account %s may not use it", name, config.User), Err: errors.Join(err, uerr),
				Hint: "GRANT ALL PRIVILEGES ON " + pattern(name) + ".* TO the account",
			}
		}
		held, err := contents(ctx, c, name)
		if err != nil {
			return nil, err
		}
		if len(held) > 0 {
			return nil, &core.Error{
				Code: core.CodeUsage, Op: op, Message: fmt.Sprintf("database %s is not empty: it holds %s", name, core.Some(held, 3)),
				Hint: "name a new or an empty database: nothing that is there is overwritten",
			}
		}
	}
	config.Database = name
	return &Database{Config: config, Source: source(config), Server: about}, nil
}

func usable(ctx context.Context, c *mysql.Conn, name string) error {
	_, err := c.Exec(ctx, "USE "+mysql.QuoteName(name))
	return err
}
