package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/holders"
	"github.com/backstay/backstay/internal/mysql/load"
)

// look is a pair of sessions and what they see.
type look struct {
	s       *Shadow
	config  mysql.Config
	control *mysql.Conn
	raw     *mysql.Conn // sees definitions in their own bytes
	server  mysql.Server

	kinds  map[place]string // what is there: "table", "view" or "sequence"
	places map[place]stand
}

// open connects to the live database and looks what is there.
func (s *Shadow) open(ctx context.Context, config mysql.Config) (_ *look, err error) {
	config.Database = s.Live
	l := &look{s: s, config: config}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.close())
		}
	}()
	if l.control, err = load.Session(ctx, config); err != nil {
		return nil, err
	}
	if l.raw, err = mysql.Connect(ctx, config); err != nil {
		return nil, err
	}
	if _, err := l.raw.Exec(ctx, "SET character_set_results=NULL"); err != nil {
		return nil, err
	}
	if l.server, err = l.control.Server(ctx); err != nil {
		return nil, err
	}
	if _, err := l.control.Exec(ctx, "SET SESSION lock_wait_timeout="+strconv.Itoa(max(1, s.LockWait))); err != nil {
		return nil, err
	}
	l.places = s.places()
	return l, l.list(ctx)
}

func (l *look) close() error {
	var errs []error
	for _, c := range []*mysql.Conn{l.control, l.raw} {
		if c != nil {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// list reads what is in the databases.
func (l *look) list(ctx context.Context) error {
	var rows []mysql.Row
	for _, schema := range l.s.schemas() {
		found, err := l.control.Query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(schema))
		if err != nil {
			return fmt.Errorf("list tables: %w", err)
		}
		rows = append(rows, found...)
	}
	l.kinds = make(map[place]string, len(rows))
	for _, r := range rows {
		kind := "table"
		switch r[2].Text {
		case "VIEW", "SYSTEM VIEW":
			kind = "view"
		case "SEQUENCE":
			kind = "sequence"
		}
		l.kinds[l.s.key(place{r[0].Text, r[1].Text})] = kind
	}
	return nil
}

func (l *look) at(p place) (kind string, ok bool) {
	kind, ok = l.kinds[l.s.key(p)]
	return kind, ok
}

// shelved returns where what has t's name lies on a side's shelf.
func (l *look) shelved(t *Table, x side) (place, bool) {
	for _, view := range []bool{false, true} {
		p := l.s.shelf(t, x, view)
		kind, ok := l.at(p)
		if ok && (l.s.Mode == ModeNames || view == (kind == "view")) {
			return p, true
		}
	}
	return place{}, false
}

// stand says which table lies at a place.
func (l *look) stand(p place) stand { return l.places[l.s.key(p)] }

// objects reads the live objects but for sequences and what a restore put beside.
func (l *look) objects(ctx context.Context) ([]Object, []core.Warning, error) {
	found, warnings, err := dump.Objects(ctx, l.control, l.raw, l.server, l.s.Live, "")
	if err != nil {
		return nil, nil, fmt.Errorf("read the live objects: %w", err)
	}
	var out []Object
	for _, o := range found {
		if own := l.s.named(o.Name); o.Kind == "trigger" && own != o.Name {
			text, ok := ddl.TriggerCalled(o.SchemaObject, o.Statement, own)
			if !ok || slices.ContainsFunc(found, func(p dump.Object) bool {
				return p.Kind == "trigger" && strings.EqualFold(p.Name, own) && p.Table == o.Table
			}) {
				continue // Settle was cut short
			}
			o.Name, o.Statement = own, []byte(text)
		}
		if o.Kind != "sequence" {
			out = append(out, Object(o))
		}
	}
	return out, warnings, nil
}

// defaults reads the live database's own settings.
func (l *look) defaults(ctx context.Context) (charset, collation, comment string, err error) {
	columns := "DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, ''"
	if l.keepsComments() {
		columns = "DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME, SCHEMA_COMMENT"
	}
	rows, err := l.control.Query(ctx, "SELECT "+columns+" FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(l.s.Live))
	if err != nil || len(rows) != 1 {
		return "", "", "", errors.Join(err, errUnless(len(rows) == 1, "there is no database "+l.s.Live))
	}
	return rows[0][0].Text, rows[0][1].Text, rows[0][2].Text, nil
}

// keepsComments says whether databases have comments.
func (l *look) keepsComments() bool { return l.server.MariaDB() && l.server.VersionNumber >= 100500 }

func errUnless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// liveTrigger is a trigger that is there now.
type liveTrigger struct {
	name, table string // the table may lie on a shelf
}

// triggers lists all triggers of the live database, in the order in which those
// of a table run.
func (l *look) triggers(ctx context.Context) ([]liveTrigger, error) {
	rows, err := l.control.Query(ctx, "SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA="+mysql.QuoteText(l.s.Live)+
		" ORDER BY EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER, TRIGGER_NAME")
	if err != nil {
		return nil, fmt.Errorf("list triggers: %w", err)
	}
	out := make([]liveTrigger, len(rows))
	for i, r := range rows {
		out[i] = liveTrigger{r[0].Text, r[1].Text}
	}
	return out, nil
}

// exec runs a statement of a switch on something, and explains a refusal.
func (l *look) exec(ctx context.Context, doing, statement string) error {
	_, err := l.control.Exec(ctx, statement)
	return l.explain(ctx, doing, err)
}

func (l *look) explain(ctx context.Context, doing string, err error) error {
	if err == nil {
		return nil
	}
	if mysql.Number(err) == 0 {
		return fmt.Errorf("%s: %w", doing, err)
	}
	if mysql.Number(err) == mysql.ErLockWaitTimeout {
		w := holders.Wait{Doing: doing, Cause: err, Seconds: l.s.LockWait, Own: []uint32{l.control.ID(), l.raw.ID()}}
		for i := range l.s.Tables {
			if kind, _ := l.at(l.s.live(&l.s.Tables[i])); kind == "table" {
				w.Tables = append(w.Tables, l.s.Tables[i].Name)
			}
		}
		return holders.Explain(ctx, l.control, l.config, w)
	}
	e := &core.Error{Code: core.CodeDatabase, Op: doing, Message: "the server refused", Err: err}
	if mysql.AccessDenied(err) {
		e.Hint = "a restore needs ALL PRIVILEGES on the database " + l.s.Live + "; triggers and functions may also need log_bin_trust_function_creators=1 on the server"
	}
	return e
}

// showCreate returns a table's definition in a database of its own, "" when the
// server cannot show it.
func (l *look) showCreate(ctx context.Context, p place) (string, error) {
	rows, err := l.control.Query(ctx, "SHOW CREATE TABLE "+p.String())
	if err != nil {
		return "", fmt.Errorf("show the definition of %s: %w", p, err)
	}
	if len(rows) != 1 || len(rows[0]) < 2 {
		return "", fmt.Errorf("show the definition of %s: unexpected answer", p)
	}
	return rows[0][1].Text, nil
}

func commas(parts []string) string { return strings.Join(parts, ", ") }
