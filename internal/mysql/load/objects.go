package load

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/ddl"
	"github.com/backstay/backstay/internal/mysql/portable"
)

// setComment gives the target database the comment of the original, where its
// server keeps one.
func (l *loader) setComment(ctx context.Context, comment string) error {
	if comment == "" || !l.server.MariaDB() || l.server.VersionNumber < 100500 {
		return nil
	}
	// The statement takes a plain literal only; rowMode reads backslashes.
	literal := strings.NewReplacer(`\`, `\\`, "'", "''").Replace(comment)
	_, err := l.control.Exec(ctx, "ALTER DATABASE "+mysql.QuoteName(l.opt.Config.Database)+" COMMENT '"+literal+"'")
	if mysql.Number(err) == 0 {
		return err
	}
	l.result.Warnings = append(l.result.Warnings, core.Warning{
		Code: "comment", Object: "database " + l.opt.Config.Database, Message: "it could not be given the original's comment: " + mysql.ServerText(err),
	})
	return nil
}

// dropObjects removes what would be in the way, those that use others first.
func (l *loader) dropObjects(ctx context.Context, objects []core.SchemaObject) error {
	for _, kind := range []string{"event", "trigger", "view", "package body", "package", "procedure", "function", "sequence"} {
		for _, o := range objects {
			if o.Kind != kind {
				continue
			}
			if err := l.drop(ctx, o); err != nil {
				return objectError(o, "drop the old one", err)
			}
		}
	}
	return nil
}

func (l *loader) drop(ctx context.Context, o core.SchemaObject) error {
	if o.Kind == "sequence" {
		o.Name = l.at(o.Name)
	}
	return DropObject(ctx, l.control, o)
}

// DropObject drops an object that is not a table, if it is there, over a
// connection as mysql.Connect makes them; after it c's sql_mode, character sets
// and time zone are those that a load works under.
func DropObject(ctx context.Context, c *mysql.Conn, o core.SchemaObject) error {
	leave := func() error { return nil }
	if strings.HasPrefix(o.Kind, "package") {
		// Before MariaDB 11.4 no other sql_mode knows packages.
		var err error
		if leave, err = enter(ctx, c, core.SchemaObject{SQLMode: "ORACLE"}); err != nil {
			return err
		}
	}
	_, err := c.Exec(ctx, "DROP "+strings.ToUpper(o.Kind)+" IF EXISTS "+mysql.QuoteName(o.Name))
	if lerr := leave(); err == nil {
		err = lerr
	}
	return err
}

func objectError(o core.SchemaObject, doing string, err error) error {
	if mysql.Number(err) == 0 {
		return fmt.Errorf("restore %s %s: %s: %w", o.Kind, o.Name, doing, err)
	}
	return &core.Error{
		Code: core.CodeDatabase, Op: "restore " + o.Kind + " " + o.Name, Message: "the server refused to " + doing, Err: err,
		Hint: "the account needs ALL PRIVILEGES on the database; functions and triggers may also need log_bin_trust_function_creators=1 on the server",
	}
}

// createAll creates the objects of one kind. Views may use each other: those
// that fail are tried again after the others, for as long as that helps.
func (l *loader) createAll(ctx context.Context, objects []core.SchemaObject, kind string) error {
	var todo []core.SchemaObject
	for _, o := range objects {
		if o.Kind == kind {
			todo = append(todo, o)
		}
	}
	for len(todo) > 0 {
		var again []core.SchemaObject
		var failures []error
		for _, o := range todo {
			err := l.create(ctx, o)
			if err != nil && (kind != "view" || mysql.Number(err) == 0) {
				return objectError(o, "create it", err)
			}
			if err != nil {
				again, failures = append(again, o), append(failures, err)
				continue
			}
			l.result.Objects++
		}
		if len(again) == len(todo) {
			// A view can be invalid at its origin: its tables may be gone
			// there too. That must not cost the rest of the restore.
			for i, o := range again {
				l.result.Warnings = append(l.result.Warnings, core.Warning{
					Code: "invalid-view", Object: "view " + o.Name, Message: "it could not be created: " + failures[i].Error(),
				})
			}
			return nil
		}
		todo = again
	}
	return nil
}

// create runs an object's statement under the settings that it was made under.
func (l *loader) create(ctx context.Context, o core.SchemaObject) error {
	statement, err := l.read(ctx, o.File)
	if err != nil {
		return err
	}
	statement, o = Statement(l.opt.Plan, l.opt.DisableEvents, o, statement)
	if o.Kind == "sequence" {
		if statement, err = l.rewritten(o.Name, statement); err != nil {
			return err
		}
		o.Name = l.at(o.Name)
	}
	warning, err := CreateObject(ctx, l.control, o, statement)
	if warning != nil {
		l.result.Warnings = append(l.result.Warnings, *warning)
	}
	return err
}

// Statement returns what a load runs to make an object of a backup, and the
// settings under which it does.
func Statement(plan *portable.Plan, disableEvents bool, o core.SchemaObject, original []byte) ([]byte, core.SchemaObject) {
	statement := plan.Statement(o.File, original)
	o = plan.Object(o)
	switch {
	case o.Kind == "event" && disableEvents:
		statement = disableEvent(statement)
	case o.Kind == "trigger":
		statement = ddl.TriggerHere(o, statement)
	}
	return statement, o
}

// CreateObject runs the statement of an object that is not a table, under the
// settings that it was made under. c is left as DropObject leaves it. An
// account that may not name the object's definer becomes the definer itself,
// and the warning says so; otherwise it is nil.
func CreateObject(ctx context.Context, c *mysql.Conn, o core.SchemaObject, statement []byte) (warning *core.Warning, err error) {
	restore, err := enter(ctx, c, o)
	if err != nil {
		return nil, err
	}
	_, err = c.Exec(ctx, string(statement))
	// Only an account with more rights may name another definer.
	if mine, named := ddl.WithoutDefiner(string(statement)); named && mysql.AccessDenied(err) {
		if _, err = c.Exec(ctx, mine); err == nil {
			warning = &core.Warning{
				Code: "definer", Object: o.Kind + " " + o.Name,
				Message: fmt.Sprintf("its definer %s could not be kept with this account's rights; it now belongs to the restoring account", o.Definer),
			}
		}
	}
	if err == nil && o.Kind == "sequence" {
		err = setSequence(ctx, c, o)
	}
	if rerr := restore(); err == nil {
		err = rerr
	}
	return warning, err
}

var eventEnabled = regexp.MustCompile(`(ON COMPLETION (?:NOT )?PRESERVE) ENABLE`)

// disableEvent changes the first ENABLE in an event's statement, which comes
// before its body and its comment, as the server prints it.
func disableEvent(statement []byte) []byte {
	at := eventEnabled.FindSubmatchIndex(statement)
	if at == nil {
		return statement
	}
	return slices.Concat(statement[:at[3]], []byte(" DISABLE"), statement[at[1]:])
}

// enter sets what a statement depends on; the returned function sets it back.
func enter(ctx context.Context, c *mysql.Conn, o core.SchemaObject) (func() error, error) {
	sets := []string{"sql_mode=" + mysql.QuoteText(o.SQLMode)}
	if o.Charset != "" {
		sets = append(sets, "character_set_client="+mysql.QuoteText(o.Charset), "collation_connection="+mysql.QuoteText(o.Collation))
	}
	if o.TimeZone != "" {
		sets = append(sets, "time_zone="+mysql.QuoteText(o.TimeZone))
	}
	back := func() error {
		_, err := c.Exec(ctx, "SET NAMES utf8mb4, time_zone='+00:00', sql_mode='"+rowMode+"'")
		return err
	}
	if _, err := c.Exec(ctx, "SET "+strings.Join(sets, ", ")); err != nil {
		return nil, err
	}
	return back, nil
}

func setSequence(ctx context.Context, c *mysql.Conn, o core.SchemaObject) error {
	next, cycle, ok := strings.Cut(o.Value, ",")
	if !ok {
		return nil
	}
	_, err := c.Exec(ctx, fmt.Sprintf("SELECT SETVAL(%s, %s, 0, %s)", mysql.QuoteName(o.Name), next, cycle))
	return err
}
