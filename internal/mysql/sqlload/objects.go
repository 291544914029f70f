package sqlload

import (
	"context"
	"fmt"
	"regexp"
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

// isObject says whether a statement is about something that is stored with its
// session's settings, and made at the end.
func isObject(s *sqlread.Statement) bool {
	switch s.Object {
	case sqlread.ObjectView, sqlread.ObjectTrigger, sqlread.ObjectEvent,
		sqlread.ObjectFunction, sqlread.ObjectProcedure, sqlread.ObjectPackage, sqlread.ObjectPackageBody:
		return true
	}
	return false
}

// maxPostponed bounds the text of the objects of a dump, in bytes: they are kept
// until its end.
const maxPostponed = 256 << 20

var orReplace = regexp.MustCompile(`(?is)^(?:/\*M?!\d*|\s)*CREATE\s+OR\s+REPLACE\b`)

// object takes an object, which is made at the end of the dump: as long as rows
// and tables come in, there is no code of the dump's own that they could run.
func (l *loader) object(s *sqlread.Statement) error {
	if own := ofTheServersOwn(s); own != "" {
		return l.refuse(s, own, "give it another definer where the dump is made, and dump again")
	}
	if foreign := l.foreign(s); foreign != "" {
		return l.refuse(s, foreign, ownServer)
	}
	if s.Object == sqlread.ObjectEvent && l.scheduler {
		return l.refuse(s, "this server runs events (event_scheduler=ON), and would run it", ownServer)
	}
	if l.postponed += int64(len(s.Text)); l.postponed > maxPostponed {
		return &core.Error{
			Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("line %d: the dump has more than %d MiB of views, routines, triggers and events", s.Line, maxPostponed>>20),
			Hint: "dump without them, or load the dump with the mysql client into a database of its own, and look what it holds",
		}
	}
	replaces := orReplace.MatchString(s.Text)
	l.later = slices.DeleteFunc(l.later, func(p postponed) bool {
		return (replaces || p.StandIn) && p.Object == s.Object && sameName(p.Object, p.Name, s.Name)
	})
	l.later = append(l.later, postponed{Statement: s, settings: l.settings.exact(), collation: l.collation})
	return nil
}

// forget leaves out what was postponed and the dump now drops.
func (l *loader) forget(s *sqlread.Statement, names []string) {
	l.later = slices.DeleteFunc(l.later, func(p postponed) bool {
		if s.Object == sqlread.ObjectTable {
			return slices.Contains(names, p.Table)
		}
		same := p.Object == s.Object || p.Object == sqlread.ObjectPackageBody && s.Object == sqlread.ObjectPackage
		return same && slices.ContainsFunc(names, func(name string) bool { return sameName(p.Object, p.Name, name) })
	})
}

// sameName says whether two names of objects of a kind are the same on every server.
func sameName(object sqlread.Object, a, b string) bool {
	switch object {
	case sqlread.ObjectView, sqlread.ObjectTrigger:
		return a == b
	}
	return strings.EqualFold(a, b)
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

const ownServer = "install a MariaDB or MySQL server on this machine, so that the import starts one of its own, where nothing else is"

func (l *loader) refuse(s *sqlread.Statement, why, hint string) error {
	if l.opt.Salvage {
		l.flaw(Flaw{Line: s.Line, Object: called(s), Message: "refused: " + why, Refused: true})
		return nil
	}
	return &core.Error{
		Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("line %d: %s is refused: %s", s.Line, called(s), why),
		Hint: hint,
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
