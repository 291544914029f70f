// Package sqlload runs the SQL text of a dump on a scratch database. It is for
// the engine's imports. It promises to run nothing but what package sqlread
// allows, that no value and no row is changed or lost without a flaw that says
// so, and that memory does not depend on the size of the dump.
package sqlload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// Options of a load.
type Options struct {
	Config      mysql.Config // Database is the scratch database, empty
	Connections int          // 0: as many as serve the server best
	// Salvage goes on after what cannot be loaded, and up to what cannot be read.
	Salvage  bool
	Progress core.Progress // nil: none; hears the dump's bytes
	// MaxRow is the longest row that is read, in bytes; 0: as package sqlread has it.
	MaxRow int64
	// Database is what the dump's own database is called, which names in the
	// dump may be qualified with; "": as the dump tells.
	Database string
	// TimeZone is that of TIMESTAMPs in dumps that name none; "": the server's.
	TimeZone string
	// Dir is where a private server keeps what is loaded, for people whose disk
	// it fills; "": the server is not this import's own.
	Dir string
	// MakeDefiner makes an account that objects of the dump run as, and is called
	// once for each that the dump names, by the name and the host in it; nil: the
	// accounts are not made. An error of the server about the account is no end.
	MakeDefiner func(ctx context.Context, user, host string) error
}

// Loaded says what was put into the database.
type Loaded struct {
	Tables  []Table // by name; those that the dump made or filled
	Views   int
	Objects int // that are neither tables nor views
	Rows    int64
	Bytes   int64 // of the dump
	// Ownerless are the objects, "view v", of which the dump names no definer, or
	// one that could not be kept: what they run as here means nothing.
	Ownerless map[string]bool
	// Warnings are differences that are known and no damage: an object that the
	// loading account had to become the definer of.
	Warnings []core.Warning
	// Flaws are what is not in the database as the dump says it, at most 1000
	// of them, and what could not be read.
	Flaws []Flaw
}

// IsOwnerless says whether an object is of those that the load gave a definer.
func (l *Loaded) IsOwnerless(kind, name string) bool { return l.Ownerless[kind+" "+name] }

// Table is a table that the dump made or filled.
type Table struct {
	Name string `json:"name"`
	Read int64  `json:"rows_in_dump"` // complete ones
	Rows int64  `json:"rows"`         // that the server took
	// Changed is how many values the server said it changed.
	Changed int64 `json:"values_changed,omitempty"`
}

// Flaw is a statement, a row or a table that is not in the database as the dump
// says it.
type Flaw struct {
	Line    int64  `json:"line,omitempty"`    // of the dump, where the statement begins; 0: not of one place
	Object  string `json:"object,omitempty"`  // "table t"; "" where it is none
	Message string `json:"message"`           // in a sentence without a full stop
	Refused bool   `json:"refused,omitempty"` // it was not run, because a dump must not do it
}

// String returns the flaw in a line.
func (f Flaw) String() string {
	text := f.Message
	if f.Object != "" {
		text = f.Object + ": " + text
	}
	if f.Line > 0 {
		text = fmt.Sprintf("line %d: %s", f.Line, text)
	}
	return text
}

const op = "load the dump"

// maxFlaws bounds what is remembered of a dump that is rotten through and through.
const maxFlaws = 1000

// Load runs the dump that r yields. On error the database holds what was done
// so far, and what is returned says what. Without Salvage the first statement
// that cannot be run ends the load; values that the server changed and rows
// that it left out are counted to the dump's end, and are an error then. With
// Salvage an error means that the server or ctx ended the load. CodeDamage is
// that of a dump that is not whole, CodeUnsupported that of one that a dump
// must not be or that this server cannot take.
func Load(ctx context.Context, r io.Reader, opt Options) (_ *Loaded, err error) {
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	ctx, stop := mysql.WhileAlive(ctx, opt.Config, mysql.Patience)
	defer func() { err = stop(err) }()
	l := &loader{opt: opt, limit: statementLimit, tables: map[string]*table{}, definers: map[string]bool{}, ownerless: map[string]bool{}}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.connect(ctx); err != nil {
		return nil, err
	}
	l.reader = sqlread.New(r, sqlread.Options{
		MariaDB: l.server.MariaDB(), ServerVersion: l.server.VersionNumber, Database: opt.Database, MaxRow: opt.MaxRow,
	})
	l.startWorkers(ctx)
	err = l.run(ctx)
	if werr := l.stopWorkers(); err == nil || errors.Is(err, context.Canceled) && werr != nil {
		err = werr
	}
	if err == nil {
		err = l.count(ctx)
	}
	if err == nil {
		err = l.warnZone(ctx)
	}
	err = l.explainLimit(l.explainDisk(err))
	result := l.summary()
	if err == nil && !opt.Salvage && len(result.Flaws) > 0 {
		err = flawed(result.Flaws)
	}
	return result, err
}

func flawed(flaws []Flaw) error {
	lines := make([]string, len(flaws))
	for i, f := range flaws {
		lines[i] = f.String()
	}
	return &core.Error{
		Code: core.CodeDamage, Op: op, Message: "the database would not be what the dump says: " + core.Some(lines, 3),
		Hint: "--salvage loads what can be loaded into a database of its own, for you to look at",
	}
}

// loader is one load under way.
type loader struct {
	opt    Options
	server mysql.Server
	reader *sqlread.Reader

	state     *mysql.Conn // runs the dump's SET statements, and nothing else
	tracked   []string    // the variables of state that matter
	settings  settings    // of state
	changed   bool        // state ran something since settings was read
	collation string      // the database's default
	zoneSaid  bool        // the dump names the time zone of its TIMESTAMPs
	others    map[string]bool
	scheduler bool // the server runs events

	hands []*hand
	limit time.Duration // of a statement, on a server of the import's own; 0: none
	// batchRows is how many rows an INSERT has at most.
	batchRows int
	work      chan *batch
	pending   sync.WaitGroup // batches that no worker has done
	workers   sync.WaitGroup
	room      room
	batch     *batch // being filled
	offset    int64  // told to Progress
	cut       bool   // the reader cannot go on

	later     []postponed
	postponed int64           // bytes of what ever was in later
	definers  map[string]bool // that MakeDefiner was called for
	orphans   []postponed     // made, with definers that are not there
	ownerless map[string]bool
	views     int
	objects   int

	mu       sync.Mutex // for what workers change
	failed   error
	tables   map[string]*table
	warnings []core.Warning
	flaws    []Flaw
}

// table is what is known of a table of the dump.
type table struct {
	Table
	made          bool // by the dump, and not dropped since
	known         bool // the rest was asked for
	transactional bool
	columns       []column // that an INSERT without names fills
	lossy         bool     // rows came in by REPLACE or INSERT IGNORE
	zoned         bool     // TIMESTAMPs came in without the dump naming their zone
}

type column struct {
	name, kind string
	stored     bool // generated, and stored
}

func (t *table) stored(name string) bool {
	return slices.ContainsFunc(t.columns, func(c column) bool { return c.stored && c.name == name })
}

// run runs the dump's statements, and then those that were postponed.
func (l *loader) run(ctx context.Context) error {
	for {
		s, err := l.reader.Next()
		if offset := l.reader.Offset(); offset > l.offset {
			l.opt.Progress.Add(offset - l.offset)
			l.offset = offset
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			if err := l.unread(ctx, "", err); err != nil {
				return err
			}
			if l.cut {
				break
			}
			continue
		}
		if err := l.statement(ctx, s); err != nil {
			return err
		}
		if l.cut {
			break
		}
	}
	if err := l.drain(ctx); err != nil {
		return err
	}
	return l.runLater(ctx)
}

// unread takes an error of the reader: with Salvage it is a flaw.
func (l *loader) unread(ctx context.Context, object string, err error) error {
	if ctx.Err() != nil || !l.opt.Salvage {
		return err
	}
	refused := core.CodeOf(err) == core.CodeUnsupported
	l.cut = !refused
	f := Flaw{Object: cmp.Or(object, "the dump"), Message: strings.TrimPrefix(err.Error(), "read SQL dump: "), Refused: refused}
	if n, _ := fmt.Sscanf(f.Message, "line %d: ", &f.Line); n == 1 {
		_, f.Message, _ = strings.Cut(f.Message, ": ")
	}
	l.flaw(f)
	return nil
}

func (l *loader) statement(ctx context.Context, s *sqlread.Statement) error {
	switch s.Kind {
	case sqlread.KindSkip, sqlread.KindLock, sqlread.KindUnlock, sqlread.KindBegin, sqlread.KindCommit:
		return nil
	case sqlread.KindUse:
		return l.useDefaults(ctx, s)
	case sqlread.KindSet:
		return l.set(ctx, s)
	case sqlread.KindInsert:
		return l.insert(ctx, s)
	}
	if err := l.drain(ctx); err != nil {
		return err
	}
	if err := l.refresh(ctx); err != nil {
		return err
	}
	if s.Kind == sqlread.KindDrop {
		return l.drop(ctx, s)
	}
	if isObject(s) {
		return l.object(s)
	}
	if foreign := l.foreign(s); foreign != "" {
		return l.refuse(s, foreign, ownServer)
	}
	if err := l.allow(ctx, l.limitOf(s)); err != nil {
		return err
	}
	r, err := l.hands[0].exec(ctx, l.settings.forRows(), s.Text)
	if err != nil {
		return l.refusedByServer(s, err)
	}
	if err := l.allow(ctx, l.limit); err != nil {
		return err
	}
	if s.Object == sqlread.ObjectTable {
		t := l.table(s.Name)
		t.known, t.made = false, t.made || s.Kind == sqlread.KindCreate
		switch {
		case r.Warnings > 0 && s.Kind == sqlread.KindAlter:
			err = l.judge(ctx, l.hands[0], t, nil, remarks{r.Warnings, s.Line})
		case r.Warnings > 0:
			err = l.judgeDefinition(ctx, l.hands[0], s)
		}
		if err == nil {
			err = l.prove(ctx, s)
		}
		return err
	}
	if s.Kind == sqlread.KindCreate && s.Object == sqlread.ObjectSequence {
		l.objects++
	}
	if s.Kind == sqlread.KindAlter && s.Object == sqlread.ObjectDatabase {
		return l.askCollation(ctx)
	}
	return nil
}

// drop drops something that the dump is about to make. There is nothing that
// it made, but for tables that stand in for views: objects are made at the end,
// and one that is dropped is left out.
func (l *loader) drop(ctx context.Context, s *sqlread.Statement) error {
	names := s.Names
	if len(names) == 0 {
		names = []string{s.Name}
	}
	l.forget(s, names)
	if isObject(s) {
		return nil
	}
	if _, err := l.hands[0].exec(ctx, l.settings.exact(), s.Text); err != nil && !slices.Contains(nothingToDrop(), mysql.Number(err)) {
		return l.refusedByServer(s, err)
	}
	if s.Object == sqlread.ObjectTable {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, name := range names {
			delete(l.tables, name)
		}
	}
	return nil
}

// nothingToDrop are the errors of DROP without IF EXISTS.
func nothingToDrop() []int {
	const (
		erBadTable, erNoSuchTable, erUnknownView, erUnknownSequence = 1051, 1146, 4092, 4091
	)
	return []int{erBadTable, erNoSuchTable, erUnknownView, erUnknownSequence}
}

// refusedByServer takes the server's refusal of a statement: the load's end, or
// with Salvage a flaw.
func (l *loader) refusedByServer(s *sqlread.Statement, err error) error {
	if mysql.Number(err) == 0 || ofTheServer(err) {
		return fmt.Errorf("line %d: %w", s.Line, err)
	}
	if l.opt.Salvage {
		l.flaw(Flaw{Line: s.Line, Object: called(s), Message: "the server refused it: " + mysql.ServerText(err)})
		return nil
	}
	return refusal(s.Line, called(s), err)
}

func refusal(line int64, object string, err error) error {
	e := &core.Error{
		Code: core.CodeDamage, Op: op, Message: fmt.Sprintf("line %d: the server refused %s", line, object), Err: err,
		Hint: "--salvage loads what can be loaded into a database of its own, for you to look at",
	}
	switch mysql.Number(err) {
	case erUnknownCollation, erUnknownCharset, erUnknownEngine, erUnknownZone:
		e.Code = core.CodeUnsupported
		e.Hint = "the dump was made of a server that knows more than this one: install one of its kind and version on this machine, so that the import can start one of its own"
		if mysql.Number(err) == erUnknownZone {
			e.Hint = "load the server's time zones: mysql_tzinfo_to_sql /usr/share/zoneinfo | mysql mysql"
		}
	case erNoLogTrust:
		e.Code = core.CodeUnsupported
		e.Hint = "SET GLOBAL log_bin_trust_function_creators=1 on the server, or install a server on this machine, so that the import starts one of its own"
	}
	if mysql.AccessDenied(err) {
		e.Code = core.CodeDatabase
		e.Hint = "the account needs ALL PRIVILEGES on the scratch database"
	}
	return e
}

const (
	erUnknownCollation = 1273
	erUnknownCharset   = 1115
	erUnknownEngine    = 1286
	erUnknownZone      = 1298
	erNoLogTrust       = 1419
)

// ofTheServer says whether an error is about the server and not about what it
// was told: another statement would meet it too.
func ofTheServer(err error) bool {
	switch mysql.Number(err) {
	case 1021, 1026, 1114, 1028, 1037, 1041, 1053, 1290, 1836, 1927: // disk full, out of memory, shutdown, read-only
		return true
	}
	return mysql.Interrupted(err)
}

// explainDisk says whose disk is full where it is this machine's.
func (l *loader) explainDisk(err error) error {
	switch mysql.Number(err) {
	case 1021, 1026, 1114:
		if l.opt.Dir == "" {
			return err
		}
	default:
		return err
	}
	return &core.Error{
		Code: core.CodeDatabase, Op: op, Message: "the disk of " + l.opt.Dir + " on this machine is full: the import's own database server keeps there what it loads", Err: err,
		Hint: "free some space there, or name a folder on another disk as state_dir in backstay.yaml; the loaded dump needs several times its packed size",
	}
}

// called names a statement for people.
func called(s *sqlread.Statement) string {
	if s.Object == "" {
		return string(s.Kind) + " of table " + s.Name
	}
	if s.Kind == sqlread.KindCreate {
		return string(s.Object) + " " + s.Name
	}
	return string(s.Kind) + " of " + string(s.Object) + " " + s.Name
}

func (l *loader) flaw(f Flaw) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.flaws) < maxFlaws {
		l.flaws = append(l.flaws, f)
	}
}

func (l *loader) warn(w core.Warning) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.warnings, w) && len(l.warnings) < maxFlaws {
		l.warnings = append(l.warnings, w)
	}
}

func (l *loader) table(name string) *table {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tables[name]
	if t == nil {
		t = &table{Table: Table{Name: name}}
		l.tables[name] = t
	}
	return t
}

func (l *loader) summary() *Loaded {
	result := &Loaded{Views: l.views, Objects: l.objects, Bytes: l.offset, Warnings: l.warnings, Flaws: l.flaws, Ownerless: l.ownerless}
	for _, t := range l.tables {
		result.Tables = append(result.Tables, t.Table)
		result.Rows += t.Rows
		if t.Changed > 0 {
			result.Flaws = append(result.Flaws, Flaw{Object: "table " + t.Name, Message: fmt.Sprintf("the server changed %d values", t.Changed)})
		}
		if t.Rows != t.Read {
			result.Flaws = append(result.Flaws, Flaw{Object: "table " + t.Name, Message: fmt.Sprintf("it has %d of the %d rows in the dump", t.Rows, t.Read)})
		}
	}
	slices.SortFunc(result.Tables, func(a, b Table) int { return strings.Compare(a.Name, b.Name) })
	return result
}
