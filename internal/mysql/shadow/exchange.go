package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/leftover"
)

// Switch makes the new database the live one. On error it goes back to the old
// state by itself; an error that wraps ErrUnfinished means that this did not
// work. save writes the Shadow to the journal, durably; Switch calls it before
// it changes something that it could not find out by looking, and at its end.
// The warnings are of objects that could not be made as they were; there may be
// some with an error too.
func (s *Shadow) Switch(ctx context.Context, config mysql.Config, save func() error) ([]core.Warning, error) {
	if !s.Built {
		return nil, errors.New("switch databases: the new one is not built")
	}
	return s.turn(ctx, config, newest, save)
}

// Revert makes the old database live again, from any state. What was live then
// lies under the New names, and Switch makes it live again. An error leaves the
// state as it was, or wraps ErrUnfinished. save is as in Switch.
func (s *Shadow) Revert(ctx context.Context, config mysql.Config, save func() error) ([]core.Warning, error) {
	if s.KeptDropped {
		return nil, &core.Error{Code: core.CodeFailed, Op: "go back to the former database", Message: "it was dropped"}
	}
	return s.turn(ctx, config, old, save)
}

// backLimit is how long going back after an error may take.
const backLimit = 2 * time.Minute

// turn makes one side live. When that fails and it began with the other side
// wholly live, or to switch, it goes back.
func (s *Shadow) turn(ctx context.Context, config mysql.Config, to side, save func() error) ([]core.Warning, error) {
	fresh := s.Doing == ""
	warnings, err := s.exchange(ctx, config, to, save)
	if err == nil {
		return warnings, nil
	}
	if s.Doing == "" {
		return nil, err // nothing was changed
	}
	if to == old && !fresh {
		return nil, errors.Join(err, ErrUnfinished)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), backLimit)
	defer cancel()
	warnings, backErr := s.exchange(ctx, config, !to, save)
	if backErr != nil {
		return nil, errors.Join(err, fmt.Errorf("%w: going back: %w", ErrUnfinished, backErr))
	}
	var lost []string
	for _, w := range warnings {
		if w.Code == "definer" && !slices.Contains(lost, w.Object) {
			lost = append(lost, w.Object)
		}
	}
	if len(lost) > 0 {
		err = errors.Join(err, &core.Error{
			Code: core.CodeOf(err), Op: "go back", Message: "not all is as it was: " + core.Some(lost, 5), Err: ErrDefiners,
			Hint: "an account that may (SET USER on MariaDB, SET_ANY_DEFINER on MySQL) gives them their definers back",
		})
	}
	return warnings, err
}

// findDefiners warns of what is of the old side and could not be given its
// definer again, by this process or by one that was cut short.
func (x *exchange) findDefiners(ctx context.Context) error {
	if x.to == newest {
		return nil
	}
	if err := x.readNow(ctx); err != nil {
		return err
	}
	for _, o := range x.wanted("view", "trigger", "function", "procedure", "package", "package body", "event") {
		now, live := x.now[keyOf(o)]
		label := o.Kind + " " + o.Name
		if !live || now.Definer == o.Definer || slices.ContainsFunc(x.warnings, func(w core.Warning) bool { return w.Code == "definer" && w.Object == label }) {
			continue
		}
		x.warnings = append(x.warnings, core.Warning{Code: "definer", Object: label, Message: "it is not as it was before: it ran as " + o.Definer + " and runs as " + now.Definer + " now"})
	}
	return nil
}

// step is a step of an exchange. Each looks what is there and does what is left.
type step struct {
	name string
	do   func(ctx context.Context) error
}

// exchange makes one side live, from whatever state it finds.
func (s *Shadow) exchange(ctx context.Context, config mysql.Config, to side, save func() error) (_ []core.Warning, err error) {
	l, err := s.open(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.alone(ctx); err != nil {
		return nil, err
	}
	x := &exchange{look: l, to: to, save: save}
	if s.Doing == "" {
		switch state := s.standing(l); {
		case to == old && !s.Switched && (state == StateOld || state == StateNothing), to == newest && state == StateNew:
			return nil, nil
		}
		if err := l.lacks(to); err != nil {
			return nil, err
		}
		if s.standing(l) == stateOf(to) {
			return nil, nil
		}
		if err := x.record(ctx); err != nil {
			return nil, err
		}
	} else if err := l.lacks(to); err != nil {
		return nil, err
	}
	if err := x.readNow(ctx); err != nil {
		return nil, err
	}
	before := s.Doing
	s.Doing = to.verb()
	if err := save(); err != nil {
		s.Doing = before
		return nil, err
	}
	for _, step := range []step{
		{"events", func(ctx context.Context) error { return x.dropEvents(ctx, true) }},
		{"defaults", x.setDefaults}, // triggers and routines take them
		{"triggers", x.bringTriggers},
		{"rename", x.rename},
		{"keys", func(ctx context.Context) error { return l.straighten(ctx, to, save) }},
		{"columns", x.setColumns},
		// From here on no table is waited for.
		{"other events", func(ctx context.Context) error { return x.dropEvents(ctx, false) }},
		{"routines", x.replaceRoutines},
		{"views", x.makeViews},
		{"triggers again", x.bringTriggers},
		{"events again", x.makeEvents},
		{"definers", x.findDefiners},
	} {
		if err := step.do(ctx); err != nil {
			return nil, err
		}
	}
	s.of(to).Links, s.Moves, s.Doing, s.Switched = nil, nil, "", to == newest
	if err := save(); err != nil {
		s.Doing = to.verb()
		return nil, err
	}
	return x.warnings, nil
}

func stateOf(x side) State {
	if x == newest {
		return StateNew
	}
	return StateOld
}

// alone keeps other sessions of this run away. One that a killed process left
// may still be waiting to rename tables: it is ended.
func (l *look) alone(ctx context.Context) error {
	name := mysql.QuoteText(leftover.SessionLock(l.s.Run))
	for range 2 {
		rows, err := l.control.Query(ctx, "SELECT GET_LOCK("+name+", 10)")
		if err != nil {
			return fmt.Errorf("wait for an earlier session of this restore: %w", err)
		}
		if len(rows) == 1 && rows[0][0].Text == "1" {
			return l.list(ctx) // it may have ended just now
		}
		if rows, err = l.control.Query(ctx, "SELECT IS_USED_LOCK("+name+")"); err != nil {
			return fmt.Errorf("find an earlier session of this restore: %w", err)
		}
		if len(rows) == 1 && !rows[0][0].Null {
			if _, err := l.control.Exec(ctx, "KILL "+rows[0][0].Text); err != nil && mysql.Number(err) == 0 {
				return fmt.Errorf("end an earlier session of this restore: %w", err)
			}
		}
	}
	return &core.Error{
		Code: core.CodeLocked, Op: "switch databases", Message: "an earlier session of this restore is still at work on the server",
		Hint: "SHOW FULL PROCESSLIST shows it; KILL it, then try again",
	}
}

// exchange is one under way.
type exchange struct {
	*look
	to       side
	save     func() error
	now      map[objectKey]Object // of the routines, packages and events that are live
	warnings []core.Warning
}

// record writes down what of the departing side cannot be renamed.
func (x *exchange) record(ctx context.Context) error {
	s, from := x.s, !x.to
	objects, warnings, err := x.objects(ctx)
	if err != nil {
		return err
	}
	for _, w := range warnings {
		if w.Code == "unreadable" && !slices.Contains(s.Left, w.Object) {
			// It could not be made again on the way back.
			s.Left = append(s.Left, w.Object)
		}
	}
	for _, named := range s.Left {
		if slices.ContainsFunc(s.of(x.to).Objects, func(o Object) bool { return o.Kind+" "+o.Name == named }) {
			x.warnings = append(x.warnings, core.Warning{Code: "unreadable", Object: named, Message: "the live one may not be read by this account, so it stays as it is; only its definer, or an account with more rights, may"})
		}
	}
	known := map[objectKey]bool{}
	for _, list := range [][]Object{s.of(x.to).Objects, s.of(from).Objects} {
		for _, o := range list {
			known[keyOf(o)] = true
		}
	}
	side := s.of(from)
	former := side.Objects
	side.Objects = nil
	for _, o := range objects {
		ours := known[keyOf(o)]
		switch o.Kind {
		case "trigger":
			ours = ours || s.table(o.Table) != nil
		case "view":
			ours = s.table(o.Name) != nil
		default:
			ours = ours || s.Clean && from == old && s.owns(o.Name)
		}
		if i := slices.IndexFunc(former, func(f Object) bool { return keyOf(f) == keyOf(o) }); i >= 0 && o.Kind == "trigger" && alike(o, former[i]) {
			o = former[i] // in its own words, which Settle has not yet brought back
		}
		if ours {
			side.Objects = append(side.Objects, o)
		}
	}
	if side.Charset, side.Collation, side.Comment, err = x.defaults(ctx); err != nil {
		return err
	}
	if from == old {
		s.recordFormer(x.look)
	}
	return nil
}

// recordFormer notes which names are taken, and by views that may stay.
func (s *Shadow) recordFormer(l *look) {
	views := map[string][2]*Object{}
	for i, list := range [][]Object{s.Was.Objects, s.Will.Objects} {
		for j := range list {
			if o := &list[j]; o.Kind == "view" {
				pair := views[s.fold(o.Name)]
				pair[i] = o
				views[s.fold(o.Name)] = pair
			}
		}
	}
	for i := range s.Tables {
		t := &s.Tables[i]
		_, t.Former = l.at(s.live(t))
		_, shelved := l.shelved(t, newest)
		pair := views[s.fold(t.Name)]
		t.Same = t.Kind == "view" && !shelved && pair[0] != nil && pair[1] != nil && pair[0].same(*pair[1])
	}
}

// rename moves everything in one statement, of which the server does all or
// nothing.
func (x *exchange) rename(ctx context.Context) error {
	s := x.s
	var pairs []string
	moved := map[place]place{}
	move := func(from, to place) {
		pairs = append(pairs, from.String()+" TO "+to.String())
		moved[s.key(from)] = s.key(to)
	}
	var arrivals []func()
	for i := range s.Tables {
		t := &s.Tables[i]
		if t.Same {
			continue
		}
		kind, taken := x.at(s.live(t))
		arriving, waits := x.shelved(t, x.to)
		_, gone := x.shelved(t, !x.to)
		if taken && !gone && x.departs(t, waits) {
			move(s.live(t), s.shelf(t, !x.to, kind == "view"))
			taken = false
		}
		if waits && taken {
			return &core.Error{
				Code: core.CodeDatabase, Op: "switch table " + t.Name,
				Message: fmt.Sprintf("there is another %s of this name in database %s, made while the restore was under way", kind, s.Live),
				Hint:    "rename or drop it, then try again",
			}
		}
		if waits {
			arrivals = append(arrivals, func() { move(arriving, s.live(t)) })
		}
	}
	// Those that go away go first: their constraints' names become free in the
	// database.
	for _, arrive := range arrivals {
		arrive()
	}
	if len(pairs) == 0 {
		return nil
	}
	_, err := x.control.Exec(ctx, "RENAME TABLE "+commas(pairs))
	if err != nil {
		return x.explain(ctx, "exchange the tables", err)
	}
	return x.list(ctx)
}

// departs says whether what is live under t's name belongs to the departing
// side. waits says that the arriving side has something to take its place.
func (x *exchange) departs(t *Table, waits bool) bool {
	if x.to == newest {
		// The new one of this name is not live yet, or there is none to come.
		return waits || t.Kind == "" || t.Kind == "view" && t.Former
	}
	return waits || !t.Former
}

// setDefaults gives the database its side's character set, collation and comment.
func (x *exchange) setDefaults(ctx context.Context) error {
	s := x.s
	if s.Partial {
		return nil
	}
	_, collation, comment, err := x.look.defaults(ctx)
	if err != nil {
		return err
	}
	want := s.of(x.to)
	database := "ALTER DATABASE " + mysql.QuoteName(s.Live)
	if want.Collation != "" && want.Collation != collation {
		_, err := x.control.Exec(ctx, database+" CHARACTER SET "+mysql.QuoteName(want.Charset)+" COLLATE "+mysql.QuoteName(want.Collation))
		if err != nil && mysql.Number(err) == 0 {
			return fmt.Errorf("set the database's character set: %w", err)
		}
		if err != nil {
			x.warnings = append(x.warnings, core.Warning{
				Code: "collation", Object: "database " + s.Live,
				Message: fmt.Sprintf("its default collation is %s and could not be set to %s (%s); tables keep their own, routines' parameters may differ", collation, want.Collation, mysql.ServerText(err)),
			})
		}
	}
	if x.keepsComments() && want.Comment != comment && (want.Comment != "" || x.to == old) {
		_, err := x.control.Exec(ctx, database+" COMMENT "+plainLiteral(want.Comment))
		if err != nil && mysql.Number(err) == 0 {
			return fmt.Errorf("set the database's comment: %w", err)
		}
		if err != nil {
			x.warnings = append(x.warnings, core.Warning{Code: "comment", Object: "database " + s.Live, Message: "its comment could not be set: " + mysql.ServerText(err)})
		}
	}
	return nil
}

// setColumns has the defaults of new tables take numbers from the sequences
// that are live now, under the names that those have now.
func (x *exchange) setColumns(ctx context.Context) error {
	if x.to == old {
		return nil
	}
	for _, c := range x.s.Columns {
		if err := x.exec(ctx, "set a default of table "+c.Table, "ALTER TABLE "+mysql.QuoteName(c.Table)+" MODIFY COLUMN "+c.Definition); err != nil {
			return err
		}
	}
	x.s.Columns = nil
	return nil
}
