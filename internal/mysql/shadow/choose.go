package shadow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/probe"
)

const defaultLockWait = 5 // seconds

// Choose looks at the live database, which must be there, and decides where the
// new one is built. It changes nothing but objects of its own, with which it
// tries rights, and which are gone when it returns. It does not ask whether the
// server can take the backup's objects: that is a portable.Plan's business.
func Choose(ctx context.Context, config mysql.Config, index core.DatabaseIndex, opt Options) (_ *Shadow, err error) {
	if !mysql.ValidRun(opt.Run) {
		return nil, fmt.Errorf("plan a restore beside: %q cannot be the name of a run", opt.Run)
	}
	s := &Shadow{
		Run: opt.Run, Live: config.Database, New: config.Database, Kept: config.Database, Mode: ModeNames,
		Partial: len(opt.Tables) > 0, Clean: opt.Clean && len(opt.Tables) == 0, Prefix: opt.Prefix, LockWait: opt.LockWait,
		plan: opt.Plan, disableEvents: opt.DisableEvents, tables: opt.Tables,
	}
	if s.LockWait <= 0 {
		s.LockWait = defaultLockWait
	}
	l, err := s.open(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	s.AnyCase = l.server.LowerCaseTableNames != 0
	if err := s.name(ctx, l, index); err != nil {
		return nil, err
	}
	return s, s.chooseMode(ctx, l, index, opt.Mode)
}

// name lists what changes places.
func (s *Shadow) name(ctx context.Context, l *look, index core.DatabaseIndex) error {
	if err := l.list(ctx); err != nil { // AnyCase is known now
		return err
	}
	add := func(name, kind string) { s.Tables = append(s.Tables, Table{Name: name, Kind: kind}) }
	for _, t := range index.Tables {
		if !s.Partial || slices.Contains(s.tables, t.Name) {
			add(t.Name, "table")
		}
	}
	for _, name := range s.tables {
		if s.table(name) == nil {
			return &core.Error{
				Code: core.CodeNotFound, Op: "restore table " + name, Message: "the backup has no such table",
				Hint: "backstay show lists a backup's tables",
			}
		}
	}
	for _, o := range index.Objects {
		if !s.Partial && (o.Kind == "view" || o.Kind == "sequence") {
			add(o.Name, o.Kind)
		}
	}
	known := map[string]bool{}
	for _, t := range s.Tables {
		known[s.fold(t.Name)] = true
	}
	rows, err := l.control.Query(ctx, "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE TABLE_SCHEMA="+mysql.QuoteText(s.Live)+" ORDER BY TABLE_NAME")
	if err != nil {
		return fmt.Errorf("list tables: %w", err)
	}
	for _, r := range rows {
		name := r[0].Text
		if known[s.fold(name)] || mysql.Reserved(name) || !s.owns(name) || s.Partial {
			continue
		}
		if s.Clean {
			add(name, "")
		} else {
			s.Extra = append(s.Extra, name)
		}
	}
	for i := range s.Tables {
		s.Tables[i].New = mysql.ReservedName(s.Run, fmt.Sprintf("n%04d", i+1))
		s.Tables[i].Kept = mysql.ReservedName(s.Run, fmt.Sprintf("k%04d", i+1))
		_, s.Tables[i].Former = l.at(s.live(&s.Tables[i]))
	}
	l.places = s.places()
	return nil
}

// owns says whether a name is one of the app's.
func (s *Shadow) owns(name string) bool {
	if s.AnyCase {
		return strings.HasPrefix(strings.ToLower(name), strings.ToLower(s.Prefix))
	}
	return strings.HasPrefix(name, s.Prefix)
}

// chooseMode prefers databases beside the live one: nobody else meets tables
// there, and constraints keep their names. What names its database by itself,
// or cannot be renamed into another one, needs the live one.
func (s *Shadow) chooseMode(ctx context.Context, l *look, index core.DatabaseIndex, forced Mode) error {
	why, err := s.whyNames(ctx, l, index)
	if err != nil {
		return err
	}
	if why == "" && forced != ModeNames {
		s.New, s.Kept = mysql.BesideNames(s.Live, s.Run)
		if why, err = probe.Databases(ctx, l.control, s.Live, s.Run); err != nil {
			return err
		}
	}
	switch {
	case forced == ModeDatabase && why != "":
		return &core.Error{
			Code: core.CodeUnsupported, Op: "build beside database " + s.Live, Message: "it cannot be built in a database of its own: " + why,
			Hint: "let backstay build it in the same database, under other names",
		}
	case why == "" && forced != ModeNames:
		s.Mode, s.Why = ModeDatabase, "the account may make databases, and nothing that is restored or replaced is bound to its own"
	default:
		s.New, s.Kept = s.Live, s.Live
		if s.Why = why; why == "" {
			s.Why = "it was asked for"
		}
	}
	message := fmt.Sprintf("the new database is built in %s, beside the live one, and changes places with it", s.New)
	if s.Mode == ModeNames {
		message = fmt.Sprintf("the new tables are built in the same database under names that begin with %s, and change places with the live ones: %s", mysql.ReservedName(s.Run, ""), s.Why)
	}
	s.Findings = append(s.Findings, core.Finding{Kind: core.FindingFine, Name: "build-beside", Object: "database " + s.Live, Message: message})
	l.places = s.places()
	return nil
}

// whyNames says what binds something to its own database; "" for nothing.
func (s *Shadow) whyNames(ctx context.Context, l *look, index core.DatabaseIndex) (string, error) {
	for _, t := range index.Tables {
		if s.table(t.Name) != nil && dump.RowsElsewhere(t.Engine) {
			return "table " + t.Name + " names others (" + t.Engine + ")", nil
		}
	}
	for _, o := range index.Objects {
		if o.Kind == "trigger" && s.table(o.Table) != nil {
			return "table " + o.Table + " has triggers", nil
		}
		if o.Kind == "sequence" {
			return "sequences are named with their database", nil
		}
	}
	triggers, err := l.triggers(ctx)
	if err != nil {
		return "", err
	}
	for _, t := range triggers {
		if s.table(t.table) != nil {
			return "live table " + t.table + " has triggers", nil
		}
	}
	for i := range s.Tables {
		t := &s.Tables[i]
		if kind, _ := l.at(s.live(t)); kind == "sequence" {
			return "sequences are named with their database", nil
		}
	}
	rows, err := l.control.Query(ctx, "SELECT TABLE_NAME, ENGINE FROM information_schema.TABLES WHERE ENGINE IS NOT NULL AND TABLE_SCHEMA="+mysql.QuoteText(s.Live))
	if err != nil {
		return "", fmt.Errorf("list tables: %w", err)
	}
	for _, r := range rows {
		if s.table(r[0].Text) != nil && dump.RowsElsewhere(r[1].Text) {
			return "live table " + r[0].Text + " names others (" + r[1].Text + ")", nil
		}
	}
	return "", nil
}
