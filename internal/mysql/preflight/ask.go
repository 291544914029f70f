package preflight

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/portable"
	"github.com/backstay/backstay/internal/mysql/rights"
)

// asker is one pre-flight under way.
type asker struct {
	cfg    mysql.Config // without a default database
	name   string       // of the database
	in     Input
	c      *mysql.Conn
	r      *Report
	target portable.Target
	held   int // seconds from which on a held table is told of

	pretend map[string]string // of a test, in place of the server's variables

	barred  string            // what the server says when the account may not use the database
	vars    map[string]string // the server's variables and status, lower case
	account string            // as which the server took the session, user@host
	grants  []string          // nil: not known
	roles   bool              // grants may not be all
	here    func(anyOf ...string) bool
	global  func(anyOf ...string) bool

	tables  []core.Table // to restore
	objects []core.SchemaObject
	// triggers says that tables which are restored or replaced have triggers,
	// views that views are replaced.
	triggers, views bool
	orphans         []Object // triggers that the backup does not have, of tables that are replaced

	texts map[string]string // path in the backup → the statement that will be run; empty without Input.Read
}

// Limits of what Ask asks, so that it ends soon whatever the server holds.
const (
	queryLimit = 2 * time.Second  // of a question that need not be answered
	listLimit  = 30 * time.Second // of the list of tables, which must be
	lockLimit  = 3                // seconds that a probe waits for locks
)

// Ask asks the server behind cfg about the restore into cfg.Database, which
// need not be there. An error means that the server could not be asked, or the
// backup not read, or that a probe may still be there; what the server answered
// is in the report.
func Ask(ctx context.Context, cfg mysql.Config, in Input) (*Report, error) {
	a := &asker{cfg: cfg, name: cfg.Database, in: in, held: 5}
	a.cfg.Database = ""
	return a.ask(ctx)
}

func (a *asker) ask(ctx context.Context) (_ *Report, err error) {
	if a.c, err = mysql.Connect(ctx, a.cfg); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, a.c.Close()) }()
	a.r = &Report{Findings: []core.Finding{}, FreeBytes: -1, OtherSessions: -1}
	for _, step := range []func(context.Context) error{
		a.learn, a.choose, a.listLive, a.findExtra,
		a.findServer, a.findWritable, a.findCluster, a.findSettings, a.findDefinitions, a.findHistory,
		a.findDefiners, a.findLost, a.findUnreadable, a.findOutside, a.findSessions, a.findSpace, a.findRights,
	} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return a.r, nil
}

func (a *asker) find(kind core.FindingKind, name, object, hint, format string, args ...any) {
	f := core.Finding{Kind: kind, Name: name, Object: object, Message: fmt.Sprintf(format, args...), Hint: hint}
	if !slices.Contains(a.r.Findings, f) {
		a.r.Findings = append(a.r.Findings, f)
	}
}

func (a *asker) fine(name, object, format string, args ...any) {
	a.find(core.FindingFine, name, object, "", format, args...)
}

// try asks what the server may not know or not let the account see: ok is false
// then, and when it takes too long. An error is one of the connection.
func (a *asker) try(ctx context.Context, query string) (rows []mysql.Row, ok bool, err error) {
	rows, err = a.c.Query(ctx, query)
	if mysql.Number(err) != 0 {
		return nil, false, nil
	}
	return rows, err == nil, err
}

// set sets what not every server knows and not every account may set.
func (a *asker) set(ctx context.Context, settings ...string) error {
	for _, s := range settings {
		if _, err := a.c.Exec(ctx, "SET SESSION "+s); err != nil && mysql.Number(err) == 0 {
			return err
		}
	}
	return nil
}

// limit sets how long a question may take.
func (a *asker) limit(ctx context.Context, d time.Duration) error {
	return a.set(ctx, fmt.Sprintf("max_statement_time=%d", int(d.Seconds())), fmt.Sprintf("max_execution_time=%d", d.Milliseconds()))
}

// learn finds out what all questions rest on.
func (a *asker) learn(ctx context.Context) (err error) {
	if err := a.limit(ctx, queryLimit); err != nil {
		return err
	}
	if err := a.set(ctx, fmt.Sprintf("lock_wait_timeout=%d", lockLimit), fmt.Sprintf("innodb_lock_wait_timeout=%d", lockLimit), "information_schema_stats_expiry=0"); err != nil {
		return err
	}
	if a.in.Target != nil {
		a.target = *a.in.Target
	} else if a.target, err = portable.Ask(ctx, a.c, a.in.Index); err != nil {
		return fmt.Errorf("ask the server what it can take: %w", err)
	}
	a.r.Server = a.target.Server
	a.vars = map[string]string{}
	for _, query := range []string{
		"SHOW GLOBAL VARIABLES WHERE Variable_name IN (" + quoteTexts(variables) + ")",
		"SHOW GLOBAL STATUS WHERE Variable_name IN (" + quoteTexts(status) + ")",
	} {
		rows, err := a.c.Query(ctx, query)
		if err != nil {
			return fmt.Errorf("read the server's settings: %w", err)
		}
		for _, r := range rows {
			a.vars[strings.ToLower(r[0].Text)] = r[1].Text
		}
	}
	maps.Copy(a.vars, a.pretend)
	rows, err := a.c.Query(ctx, "SELECT CURRENT_USER(), @@SESSION.max_user_connections")
	if err != nil {
		return fmt.Errorf("ask who this is: %w", err)
	}
	a.account = rows[0][0].Text
	a.vars["max_user_connections"] = rows[0][1].Text // the account's own limit is the session's
	// Databases in which the account has no right are not listed.
	_, err = a.c.Exec(ctx, "USE "+mysql.QuoteName(a.name))
	switch {
	case err == nil:
		a.r.Exists = true
	case mysql.AccessDenied(err):
		a.barred = mysql.ServerText(err)
	case mysql.Number(err) != erNoDatabase:
		return fmt.Errorf("ask for database %s: %w", a.name, err)
	}
	return a.readGrants(ctx)
}

const erNoDatabase = 1049

func (a *asker) readGrants(ctx context.Context) error {
	query := "SHOW GRANTS"
	if !a.r.Server.MariaDB() { // which shows those of active roles unasked
		roles, ok, err := a.try(ctx, "SELECT CURRENT_ROLE()")
		if err != nil {
			return err
		}
		if ok && len(roles) == 1 && roles[0][0].Text != "" && !strings.EqualFold(roles[0][0].Text, "NONE") {
			query = "SHOW GRANTS FOR CURRENT_USER() USING " + roles[0][0].Text
		}
	}
	rows, ok, err := a.try(ctx, query)
	if err != nil {
		return err
	}
	if ok {
		a.grants = []string{}
	}
	for _, r := range rows {
		a.grants = append(a.grants, r[0].Text)
	}
	a.roles = rights.Roles(a.grants)
	a.here, a.global = rights.On(a.name, a.grants), rights.Everywhere(a.grants)
	return nil
}

// choose finds what is to be restored, and reads its definitions.
func (a *asker) choose(ctx context.Context) error {
	a.tables, a.objects = a.in.Index.Tables, a.in.Index.Objects
	if len(a.in.Tables) > 0 {
		a.tables, a.objects = nil, nil
		for _, t := range a.in.Index.Tables {
			if slices.Contains(a.in.Tables, t.Name) {
				a.tables = append(a.tables, t)
			}
		}
		for _, o := range a.in.Index.Objects {
			if o.Kind == "trigger" && slices.Contains(a.in.Tables, o.Table) {
				a.objects = append(a.objects, o)
			}
		}
	}
	return a.readTexts(ctx)
}

func (a *asker) has(kinds ...string) bool {
	return slices.ContainsFunc(a.objects, func(o core.SchemaObject) bool { return slices.Contains(kinds, o.Kind) })
}

// on says whether a variable of the server is switched on.
func (a *asker) on(variable string) bool {
	switch strings.ToUpper(a.vars[variable]) {
	case "ON", "1", "YES", "TRUE":
		return true
	}
	return false
}

// number returns a variable's value, or 0.
func (a *asker) number(variable string) int64 {
	n, err := strconv.ParseInt(a.vars[variable], 10, 64)
	if err != nil {
		return 0 // unknown here, or 2^64-1
	}
	return n
}

// foldsNames says whether the server takes names of tables in any case.
func (a *asker) foldsNames() bool { return a.r.Server.LowerCaseTableNames != 0 }

// key returns a table's name as the server compares it.
func (a *asker) key(table string) string {
	if a.foldsNames() {
		return strings.ToLower(table)
	}
	return table
}

func quoteTexts(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = mysql.QuoteText(t)
	}
	return strings.Join(quoted, ",")
}

// size writes bytes for people.
func size(n int64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, u := float64(n)/1024, 0
	for f >= 1024 && u < len(units)-1 {
		f, u = f/1024, u+1
	}
	return fmt.Sprintf("%.1f %ciB", f, units[u])
}
