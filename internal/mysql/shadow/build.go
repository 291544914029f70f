package shadow

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
)

// Build makes the new tables, fills them, and compares their rows with what was
// dumped. The live database is not changed. It may be called again on what
// Choose returned, after an error, and begins anew; a Shadow that was read from
// a journal is built no more. opt's Config leads to the server; which database,
// which tables and which plan is the Shadow's. After Build the caller saves the
// Shadow.
func (s *Shadow) Build(ctx context.Context, index core.DatabaseIndex, source load.Source, opt load.Options) (_ *load.Loaded, err error) {
	if s.Built {
		return nil, errors.New("build the database beside: it is built already")
	}
	l, err := s.open(ctx, opt.Config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := s.drop(ctx, l, newest); err != nil {
		return nil, err
	}
	s.Will, s.Columns, s.Temps = Side{}, nil, 0
	if s.Mode == ModeDatabase {
		if err := s.makeDatabases(ctx, l, index); err != nil {
			return nil, err
		}
	}
	r := &rewriter{s: s, mariaDB: l.server.MariaDB(), done: map[string][]byte{}}
	opt.Config.Database, opt.Tables, opt.Plan, opt.DisableEvents = s.New, s.tables, s.plan, s.disableEvents
	opt.TablesOnly, opt.Names = true, map[string]string{}
	opt.Rewrite = r.once
	for i := range s.Tables {
		if t := &s.Tables[i]; t.Kind == "table" || t.Kind == "sequence" {
			opt.Names[t.Name] = s.shelf(t, newest, false).name
		}
	}
	loaded, err := load.Load(ctx, index, source, opt)
	if err != nil {
		return nil, err
	}
	if err := s.readObjects(ctx, index, source); err != nil {
		return nil, err
	}
	if err := s.sum(ctx, l, index); err != nil {
		return nil, err
	}
	if err := s.lookAbroad(ctx, l); err != nil {
		return nil, err
	}
	s.Will.Charset, s.Will.Collation, s.Will.Comment = index.Charset, index.Collation, index.Comment
	if s.plan != nil {
		s.Will.Charset, s.Will.Collation = s.plan.Charset, s.plan.Collation
	}
	s.Built = true
	return loaded, nil
}

func (s *Shadow) makeDatabases(ctx context.Context, l *look, index core.DatabaseIndex) error {
	charset, collation := index.Charset, index.Collation
	if s.plan != nil {
		charset, collation = s.plan.Charset, s.plan.Collation
	}
	like := ""
	if charset != "" && collation != "" {
		like = " CHARACTER SET " + mysql.QuoteName(charset) + " COLLATE " + mysql.QuoteName(collation)
	}
	for _, d := range []string{s.New, s.Kept} {
		if err := l.exec(ctx, "make database "+d, "CREATE DATABASE IF NOT EXISTS "+mysql.QuoteName(d)+like); err != nil {
			return err
		}
	}
	return nil
}

// readObjects keeps the statements of the backup's views, triggers, routines
// and events, which are run at the switch.
func (s *Shadow) readObjects(ctx context.Context, index core.DatabaseIndex, source load.Source) error {
	for _, o := range index.Objects {
		if o.Kind == "sequence" || s.Partial && (o.Kind != "trigger" || !slices.Contains(s.tables, o.Table)) {
			continue
		}
		original, err := readAll(ctx, source, o.File)
		if err != nil {
			return fmt.Errorf("read %s %s: %w", o.Kind, o.Name, err)
		}
		statement, settings := load.Statement(s.plan, s.disableEvents, o, original)
		s.Will.Objects = append(s.Will.Objects, Object{settings, statement})
	}
	return nil
}

const maxStatement = 1 << 30 // bytes

func readAll(ctx context.Context, source load.Source, path string) (_ []byte, err error) {
	r, err := source.Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	return io.ReadAll(io.LimitReader(r, maxStatement))
}

// sum keeps what tells the definitions of the new tables. A table that shows
// the rows of others cannot be shown before those are in their places.
func (s *Shadow) sum(ctx context.Context, l *look, index core.DatabaseIndex) error {
	for _, built := range index.Tables {
		t := s.table(built.Name)
		if t == nil || dump.RowsElsewhere(built.Engine) {
			continue
		}
		printed, err := l.showCreate(ctx, s.shelf(t, newest, false))
		if err != nil {
			return err
		}
		if text, ok := s.canonical(t, printed, l.places, l.server.MariaDB()); ok {
			t.Sum = sumOf(text)
		}
	}
	return nil
}

func sumOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// lookAbroad finds the databases whose foreign keys lead into the live one. A
// search through all of a server's tables is too slow for the switch.
func (s *Shadow) lookAbroad(ctx context.Context, l *look) error {
	keys, err := l.foreignKeys(ctx, s.schemas(), true)
	if err != nil {
		return err
	}
	s.Abroad = nil
	for _, f := range keys {
		if d := f.child.schema; !slices.Contains(s.schemas(), d) && !slices.Contains(s.Abroad, d) {
			s.Abroad = append(s.Abroad, d)
		}
	}
	return nil
}
