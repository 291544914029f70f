package sqlload

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// postponed is an object that is made at the end.
type postponed struct {
	*sqlread.Statement
	settings  settings
	collation string // the database's default, which the object keeps
	err       error  // of the last try
}

// isObject says whether a statement makes something that is stored with its
// session's settings.
func (l *loader) isObject(s *sqlread.Statement) bool {
	if s.Kind != sqlread.KindCreate {
		return false
	}
	switch s.Object {
	case sqlread.ObjectView, sqlread.ObjectTrigger, sqlread.ObjectEvent,
		sqlread.ObjectFunction, sqlread.ObjectProcedure, sqlread.ObjectPackage, sqlread.ObjectPackageBody:
		return true
	}
	return false
}

// object makes an object. Triggers and events wait for the end of the dump,
// whose rows they must not see; so does what needs another object first.
func (l *loader) object(ctx context.Context, s *sqlread.Statement) error {
	if foreign := l.foreign(s); foreign != "" {
		return l.refuse(s, foreign)
	}
	if s.Object == sqlread.ObjectEvent && l.scheduler {
		return l.refuse(s, "this server runs events (event_scheduler=ON), and would run it")
	}
	p := postponed{Statement: s, settings: l.settings.exact(), collation: l.collation}
	if s.Object == sqlread.ObjectTrigger || s.Object == sqlread.ObjectEvent {
		l.later = append(l.later, p)
		return nil
	}
	err := l.create(ctx, p)
	if mysql.Number(err) != 0 && !ofTheServer(err) {
		p.err = err
		l.later = append(l.later, p)
		return nil
	}
	return err
}

// foreign says which other database of the server a statement names; "" none.
// On a server of others the dump's own database may be there too, alive.
func (l *loader) foreign(s *sqlread.Statement) string {
	for _, q := range s.Qualifiers {
		if l.others[strings.ToLower(q)] {
			return "it names " + q + ", which is another database of this server"
		}
	}
	return ""
}

func (l *loader) refuse(s *sqlread.Statement, why string) error {
	if l.opt.Salvage {
		l.flaw(Flaw{Line: s.Line, Object: called(s), Message: "refused: " + why, Refused: true})
		return nil
	}
	return &core.Error{
		Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("line %d: %s is refused: %s", s.Line, called(s), why),
		Hint: "install a MariaDB or MySQL server on this machine, so that the import starts one of its own, where nothing else is",
	}
}

// create makes an object under the settings of its place in the dump. An
// account that may not name its definer becomes the definer itself.
func (l *loader) create(ctx context.Context, p postponed) error {
	h := l.hands[0]
	if p.collation != l.collation {
		if err := l.setCollation(ctx, p.collation); err != nil {
			return err
		}
	}
	_, err := h.exec(ctx, p.settings, p.Text)
	if mysql.AccessDenied(err) && p.Definer != "" {
		mine := p.WithDefiner("")
		if _, merr := h.exec(ctx, p.settings, mine); merr != nil {
			return err
		}
		err = nil
		l.warn(core.Warning{
			Code: "definer", Object: string(p.Object) + " " + p.Name,
			Message: fmt.Sprintf("its definer %s@%s could not be kept with the loading account's rights; the backup says that it belongs to that account", p.DefinerUser, p.DefinerHost),
		})
	}
	if err != nil {
		return err
	}
	if p.Object == sqlread.ObjectView {
		if !p.StandIn {
			l.views++
		}
	} else {
		l.objects++
	}
	return nil
}

func (l *loader) setCollation(ctx context.Context, collation string) error {
	if _, err := l.hands[0].conn.Exec(ctx, "ALTER DATABASE "+mysql.QuoteName(l.opt.Config.Database)+" COLLATE "+mysql.QuoteName(collation)); err != nil {
		return fmt.Errorf("set the database's collation: %w", err)
	}
	l.collation = collation
	return nil
}

// runLater makes what was postponed: views and routines in rounds, for as long
// as that helps, since each may need another; then triggers; then events.
func (l *loader) runLater(ctx context.Context) error {
	final := l.collation
	of := func(objects ...sqlread.Object) []postponed {
		var some []postponed
		for _, p := range l.later {
			if slices.Contains(objects, p.Object) {
				some = append(some, p)
			}
		}
		return some
	}
	todo := of(sqlread.ObjectFunction, sqlread.ObjectProcedure, sqlread.ObjectPackage, sqlread.ObjectPackageBody, sqlread.ObjectView)
	for before := len(todo) + 1; len(todo) > 0 && len(todo) < before; {
		before = len(todo)
		var again []postponed
		for _, p := range todo {
			p.err = l.create(ctx, p)
			if p.err != nil && (mysql.Number(p.err) == 0 || ofTheServer(p.err)) {
				return fmt.Errorf("line %d: %w", p.Line, p.err)
			}
			if p.err != nil {
				again = append(again, p)
			}
		}
		todo = again
	}
	for _, p := range todo {
		if err := l.notMade(p); err != nil {
			return err
		}
	}
	for _, p := range append(of(sqlread.ObjectTrigger), of(sqlread.ObjectEvent)...) {
		if err := l.create(ctx, p); err != nil {
			if err := l.refusedByServer(p.Statement, err); err != nil {
				return err
			}
		}
	}
	if l.collation != final {
		return l.setCollation(ctx, final)
	}
	return nil
}

// notMade takes an object that could not be made. A view can be invalid where
// it comes from: its tables may be gone there too. That must not cost the rest.
func (l *loader) notMade(p postponed) error {
	const (
		erBadField, erNoSuchRoutine, erNoSuchUser = 1054, 1305, 1449
	)
	if p.Object == sqlread.ObjectView && slices.Contains([]int{mysql.ErNoSuchTable, mysql.ErViewInvalid, erBadField, erNoSuchRoutine, erNoSuchUser}, mysql.Number(p.err)) {
		l.warn(core.Warning{Code: "invalid-view", Object: "view " + p.Name, Message: "it could not be created: " + mysql.ServerText(p.err)})
		return nil
	}
	return l.refusedByServer(p.Statement, p.err)
}
