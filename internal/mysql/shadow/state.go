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
	"github.com/backstay/backstay/internal/mysql/leftover"
)

// State looks what is live. It changes nothing. While a switch or revert is
// under way, or was cut short, the state is mixed, but for one that was cut
// short before it changed anything.
func (s *Shadow) State(ctx context.Context, config mysql.Config) (_ State, err error) {
	l, err := s.open(ctx, config)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	state := s.standing(l)
	if s.Doing == "" && s.Switched {
		if err := l.lacks(old); err != nil {
			return "", err
		}
	}
	if s.Doing == "" || state == StateMixed || state == StateNothing {
		return state, nil
	}
	// The tables are in their places. What comes before and after them?
	x := &exchange{look: l, to: side(state == StateNew)}
	whole, err := x.whole(ctx)
	if err == nil && !whole {
		state = StateMixed
	}
	return state, err
}

// standing tells by the tables.
func (s *Shadow) standing(l *look) State {
	var olds, news, shelves int
	for i := range s.Tables {
		t := &s.Tables[i]
		_, kept := l.shelved(t, old)
		_, waits := l.shelved(t, newest)
		_, live := l.at(s.live(t))
		if kept || waits {
			shelves++
		}
		switch {
		case t.Same:
		case kept && waits, kept && !live && t.Kind != "" && t.Kind != "view":
			return StateMixed
		case kept:
			news++
		case waits:
			olds++
		case !t.Former && live && t.Kind != "":
			news++
		case t.Former && (t.Kind == "view" || t.Kind == ""):
			olds++ // the new view is not made yet, the extra table not moved away
		}
	}
	switch {
	case s.KeptDropped:
		return StateNew
	case !s.Built && news == 0:
		if shelves > 0 {
			return StateOld
		}
		return StateNothing
	case olds > 0 && news > 0:
		return StateMixed
	case news > 0:
		return StateNew
	case olds > 0:
		return StateOld
	case slices.ContainsFunc(s.Tables, func(t Table) bool { return !t.Same }):
		return StateNothing
	case s.Switched:
		return StateNew
	}
	return StateOld
}

// whole says whether all that cannot be renamed is as the side has it.
func (x *exchange) whole(ctx context.Context) (bool, error) {
	if err := x.readNow(ctx); err != nil {
		return false, err
	}
	for _, kind := range []string{"event", "package body", "package", "procedure", "function"} {
		if slices.ContainsFunc(x.unwanted(kind), func(o Object) bool { return !x.otherDefaults(o) }) {
			return false, nil
		}
	}
	for _, o := range x.s.of(x.to).Objects {
		now, live := x.now[keyOf(o)]
		switch {
		case slices.Contains(x.s.Left, o.Kind+" "+o.Name):
		case o.Kind == "view":
			if !live && !slices.Contains(x.s.Lost, o.Name) {
				return false, nil
			}
		case !live, o.Kind == "trigger" && x.s.fold(o.Table) != x.s.fold(now.Table):
			return false, nil
		}
	}
	keys, err := x.foreignKeys(ctx, append(x.s.schemas(), x.s.Abroad...), false)
	if err != nil {
		return false, err
	}
	if len(x.strays(keys)) > 0 || len(x.s.Moves) > 0 || len(x.s.of(x.to).Links) > 0 && !x.linked(keys) {
		return false, nil
	}
	return true, nil
}

// linked says whether the arriving side's foreign keys to tables that stay are
// all there.
func (x *exchange) linked(keys []foreignKey) bool {
	for _, link := range x.s.of(x.to).Links {
		if !slices.ContainsFunc(keys, func(f foreignKey) bool {
			return f.child.schema == link.Schema && x.s.fold(f.child.name) == x.s.fold(link.Table) && f.name == link.Name
		}) {
			return false
		}
	}
	return true
}

// DropNew drops what lies under the New names: what was built and is not live,
// or, after Revert, what was live before it. It refuses while the state is
// mixed. It may be called again. The caller saves the Shadow.
func (s *Shadow) DropNew(ctx context.Context, config mysql.Config) error {
	return s.dropSide(ctx, config, newest)
}

// DropKept drops what Switch took away. It refuses while the state is mixed.
// It may be called again. The caller saves the Shadow.
func (s *Shadow) DropKept(ctx context.Context, config mysql.Config) error {
	return s.dropSide(ctx, config, old)
}

func (s *Shadow) dropSide(ctx context.Context, config mysql.Config, x side) (err error) {
	l, err := s.open(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.alone(ctx); err != nil {
		return err
	}
	// What is live may have been replaced again since, by another run.
	state := s.standing(l)
	if s.Doing != "" {
		return &core.Error{
			Code: core.CodeFailed, Op: "drop what is not live", Message: "a switch of the database was cut short",
			Hint: "finish it first: backstay restore --resume, or backstay undo",
		}
	}
	if err := s.drop(ctx, l, x); err != nil {
		return err
	}
	if x == old {
		s.KeptDropped = s.KeptDropped || state == StateNew
	} else if state != StateNew {
		s.Built = false
	}
	return nil
}

// drop drops what lies on a shelf, and the database that it is in.
func (s *Shadow) drop(ctx context.Context, l *look, x side) error {
	if _, err := l.control.Exec(ctx, "SET SESSION lock_wait_timeout=60"); err != nil {
		return err
	}
	drops := map[string][]string{}
	var tables []leftover.Table
	for i := range s.Tables {
		t := &s.Tables[i]
		for p, ok := l.shelved(t, x); ok; p, ok = l.shelved(t, x) {
			if kind := l.kinds[s.key(p)]; kind == "table" {
				tables = append(tables, leftover.Table{Schema: p.schema, Name: p.name})
			} else {
				drops[kind] = append(drops[kind], p.String())
			}
			delete(l.kinds, s.key(p))
		}
	}
	for _, kind := range []string{"view", "sequence"} {
		if kind == "sequence" { // tables' defaults take from them
			if err := leftover.Tables(ctx, l.control, tables); err != nil {
				return err
			}
		}
		for part := range slices.Chunk(drops[kind], 500) {
			if err := l.exec(ctx, "drop what is not live", "DROP "+strings.ToUpper(kind)+" IF EXISTS "+commas(part)); err != nil {
				return err
			}
		}
	}
	database := s.Kept
	if x == newest {
		database = s.New
	}
	if s.Mode == ModeNames {
		return nil
	}
	rows, err := l.control.Query(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(database)+" LIMIT 1")
	if err != nil {
		return err
	}
	if len(rows) > 0 {
		return &core.Error{
			Code: core.CodeDatabase, Op: "drop database " + database, Message: "there is something in it that backstay did not put there: " + rows[0][0].Text,
			Hint: "look at it, then DROP DATABASE " + mysql.QuoteName(database),
		}
	}
	// Both are needed as long as there is something to exchange.
	other, otherSide := s.New, newest
	if x == newest {
		other, otherSide = s.Kept, old
	}
	for i := range s.Tables {
		if _, ok := l.shelved(&s.Tables[i], otherSide); ok {
			return nil
		}
	}
	for _, d := range []string{database, other} {
		if err := l.exec(ctx, "drop database "+d, "DROP DATABASE IF EXISTS "+mysql.QuoteName(d)); err != nil {
			return err
		}
	}
	return nil
}

// KeptBytes says about how much room the kept tables take, of data and keys.
func (s *Shadow) KeptBytes(ctx context.Context, config mysql.Config) (int64, error) {
	return s.bytes(ctx, config, old)
}

// NewBytes says about how much room what lies under the New names takes, of
// data and keys.
func (s *Shadow) NewBytes(ctx context.Context, config mysql.Config) (int64, error) {
	return s.bytes(ctx, config, newest)
}

func (s *Shadow) bytes(ctx context.Context, config mysql.Config, x side) (_ int64, err error) {
	l, err := s.open(ctx, config)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	rows, err := l.control.Query(ctx, "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(DATA_LENGTH,0)+COALESCE(INDEX_LENGTH,0) FROM information_schema.TABLES WHERE TABLE_TYPE NOT LIKE '%VIEW' AND TABLE_SCHEMA IN ("+quoteTexts(s.schemas())+")")
	if err != nil {
		return 0, fmt.Errorf("ask for the sizes of tables: %w", err)
	}
	var total int64
	for _, r := range rows {
		if l.stand(place{r[0].Text, r[1].Text}).standing != shelfOf(x) {
			continue
		}
		n, err := strconv.ParseInt(r[2].Text, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("size of table %s: %w", r[1].Text, err)
		}
		total += n
	}
	return total, nil
}

// Leftovers lists the runs of which tables are still in the database of config,
// or in databases beside it, sorted.
func Leftovers(ctx context.Context, config mysql.Config) ([]string, error) {
	return leftover.Runs(ctx, config)
}

// DropLeftovers drops what is left of a run of which no journal is known. It
// drops nothing whose name is not of the shape that restores give.
func DropLeftovers(ctx context.Context, config mysql.Config, run string) error {
	return leftover.Drop(ctx, config, run)
}
