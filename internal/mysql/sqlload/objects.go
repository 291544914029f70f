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
	if err := l.makeDefiner(ctx, p); err != nil {
		return err
	}
	kept := p.Definer != "" && p.DefinerUser != "CURRENT_USER" && p.DefinerUser != "CURRENT_ROLE"
	r, err := l.make(ctx, p, p.Text)
	if mysql.AccessDenied(err) && p.Definer != "" {
		if _, merr := l.make(ctx, p, p.WithDefiner("")); merr != nil {
			return err
		}
		err, kept = nil, false
		l.warnOfDefiner(p, "could not be kept with the loading account's rights")
	}
	if err != nil {
		return err
	}
	if r.Warnings > 0 && p.Definer != "" {
		if err := l.noteOrphan(ctx, p); err != nil {
			return err
		}
	}
	l.made(p, 1)
	l.ownerless[string(p.Object)+" "+p.Name] = !kept
	return nil
}

// made counts objects that were made, or are no more.
func (l *loader) made(p postponed, n int) {
	switch {
	case p.Object != sqlread.ObjectView:
		l.objects += n
	case !p.StandIn:
		l.views += n
	}
}

func (l *loader) make(ctx context.Context, p postponed, text string) (mysql.Result, error) {
	if p.collation != l.collation {
		if err := l.setCollation(ctx, p.collation); err != nil {
			return mysql.Result{}, err
		}
	}
	return l.hands[0].exec(ctx, p.settings, text)
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
	todo, err := l.rounds(ctx, todo)
	if err != nil {
		return err
	}
	if todo, err = l.adopt(ctx, todo); err != nil {
		return err
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

// rounds makes objects, again and again for as long as that helps, and returns
// those that cannot be made.
func (l *loader) rounds(ctx context.Context, todo []postponed) ([]postponed, error) {
	for before := len(todo) + 1; len(todo) > 0 && len(todo) < before; {
		before = len(todo)
		var again []postponed
		for _, p := range todo {
			p.err = l.create(ctx, p)
			if p.err != nil && (mysql.Number(p.err) == 0 || ofTheServer(p.err)) {
				return nil, fmt.Errorf("line %d: %w", p.Line, p.err)
			}
			if p.err != nil {
				again = append(again, p)
			}
		}
		todo = again
	}
	return todo, nil
}

// notMade takes an object that could not be made. A view can be invalid where
// it comes from: what it reads may be gone there too, and is in the dump of the
// database no more. That must not cost the rest. Every other view is missed.
func (l *loader) notMade(p postponed) error {
	if p.Object == sqlread.ObjectView && l.readsWhatIsGone(p) {
		l.warn(core.Warning{
			Code: "invalid-view", Object: "view " + p.Name,
			Message: "it is not in the backup: it reads what is not in the dump, so that it did not work where the dump was made (" + mysql.ServerText(p.err) + ")",
		})
		return nil
	}
	return l.refusedByServer(p.Statement, p.err)
}

// readsWhatIsGone says whether a view reads a table, column or function that
// its own database does not have.
func (l *loader) readsWhatIsGone(p postponed) bool {
	const erBadField, erNoSuchRoutine = 1054, 1305
	switch mysql.Number(p.err) {
	case erBadField:
		return true
	case mysql.ErNoSuchTable, erNoSuchRoutine: // "Table 'shop.t' doesn't exist", "FUNCTION shop.f does not exist"
		text := mysql.ServerText(p.err)
		return strings.Contains(text, "'"+l.opt.Config.Database+".") || strings.Contains(text, " "+l.opt.Config.Database+".")
	}
	return false
}
