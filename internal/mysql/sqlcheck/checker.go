package sqlcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
	"github.com/backstay/backstay/internal/mysql/sqlread/remarks"
)

const maxProblems = 100

// checker reads a dump and compares what it holds with what it says.
type checker struct {
	r         *sqlread.Reader
	report    *Report
	tables    map[string]*tableState
	order     []string
	views     map[string]viewState
	lines     map[string]int64 // where a view or an announced table was first met
	locked    int64            // line of the LOCK TABLES without an UNLOCK; 0 none
	begun     int64            // line of the START TRANSACTION without a COMMIT; 0 none
	saved     map[string]bool  // user variables that hold what the session had
	skipped   map[string]bool
	more      int  // problems beyond the most that are kept
	first     bool // a statement was met
	creates   bool // the dump creates a table: it is not one of rows only
	itflow    int  // which of the two last statements of ITFlow's dumps came last
	after     bool // something that is not said twice came after the end
	endedAt   int64
	severalAt int64     // line where the dump goes to another database; 0 none
	switches  []Problem // those that several sums up
	foreign   bool      // a view's name came in a character set that is not understood here
}

type tableState struct {
	created, dropped, announced, filled bool
	line, rows                          int64
}

type viewState int

const (
	viewStandIn viewState = iota + 1
	viewFinal
)

func newChecker(ctx context.Context, r io.Reader, opt sqlread.Options) *checker {
	c := &checker{
		r:      sqlread.New(contextReader{ctx, r}, opt),
		report: &Report{Tables: []TableReport{}, Objects: map[string]int64{}, Definers: []string{}, Problems: []Problem{}, Notes: []string{}},
		tables: map[string]*tableState{}, views: map[string]viewState{}, lines: map[string]int64{}, saved: map[string]bool{}, skipped: map[string]bool{},
	}
	c.r.Listen(c.hear)
	return c
}

// contextReader ends reading when the context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

func (c *checker) problem(line int64, format string, args ...any) {
	c.add(Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

func (c *checker) add(p Problem) {
	if len(c.report.Problems) >= maxProblems {
		c.more++
		return
	}
	c.report.Problems = append(c.report.Problems, p)
}

func (c *checker) note(note string) {
	if !c.skipped[note] && len(c.skipped) < maxProblems {
		c.skipped[note] = true
		c.report.Notes = append(c.report.Notes, note)
	}
}

// run reads to the end. An error is of reading.
func (c *checker) run() error {
	for {
		st, err := c.r.Next()
		if errors.Is(err, io.EOF) && err == io.EOF {
			return nil
		}
		if err == nil {
			err = c.take(st)
		}
		if err != nil {
			again, err := c.failed(err)
			if err != nil || !again {
				return err
			}
		}
	}
}

// failed notes an error about the dump and says whether reading goes on.
func (c *checker) failed(err error) (bool, error) {
	var e *core.Error
	if !errors.As(err, &e) || e.Code != core.CodeDamage && e.Code != core.CodeUnsupported {
		return false, err
	}
	var line int64
	message := e.Message
	if message == "" || e.Err != nil { // of what the dump is read from
		message = err.Error()
	}
	if n, _ := fmt.Sscanf(message, "line %d: ", &line); n == 1 {
		_, message, _ = strings.Cut(message, ": ")
	}
	c.first = true
	c.itflow = 0
	goesOn := c.r.Err() == nil
	elsewhere := c.r.Elsewhere()
	if len(elsewhere.Names) > 0 && c.severalAt == 0 {
		c.severalAt = line
		return goesOn, nil
	}
	if elsewhere.Passed {
		return goesOn, nil
	}
	p := Problem{Line: line, Message: message, Refused: e.Code == core.CodeUnsupported, Hint: e.Hint}
	if elsewhere.Switched && len(c.report.Problems) < maxProblems {
		c.switches = append(c.switches, p)
	}
	c.add(p)
	return goesOn, nil
}

func (c *checker) table(name string, line int64) *tableState {
	t := c.tables[name]
	if t == nil {
		t = &tableState{line: line}
		c.tables[name] = t
		c.order = append(c.order, name)
	}
	return t
}

// hear takes a comment between statements.
func (c *checker) hear(line int64, text []byte) {
	if c0 := text[0]; c0 == 'm' || c0 == 'W' || c0 == '/' && !strings.HasPrefix(string(text[:2]), "/*") {
		c.note("left out: " + lexer.Clean(text, 200))
		return
	}
	kind, name := remarks.Announces(text)
	if c.r.Elsewhere().At != "" {
		return
	}
	if kind != remarks.Nothing {
		c.later(line)
	}
	switch kind {
	case remarks.Table:
		c.table(name, line).announced = true
	case remarks.StandIn:
		if c.views[name] == 0 {
			c.views[name] = viewStandIn
			c.lines[name] = line
		}
	case remarks.View:
		if c.views[name] == 0 {
			c.lines[name] = line
			c.views[name] = viewStandIn
		}
	}
}

// later notes what comes after the dump's end.
func (c *checker) later(line int64) {
	if c.r.Head().Ended && !c.after {
		c.after = true
		c.problem(line, "there is more after the end of the dump: it was written over, or several dumps are in one file")
	}
}

// take looks at a statement, with its rows.
func (c *checker) take(st *sqlread.Statement) error {
	c.first = true
	c.later(st.Line)
	switch st.Kind {
	case sqlread.KindSkip:
		c.note(st.Note)
	case sqlread.KindCreate:
		c.creates = true
		c.create(st)
	case sqlread.KindDrop:
		c.drop(st)
	case sqlread.KindInsert:
		return c.insert(st)
	case sqlread.KindLock:
		c.locked = st.Line
	case sqlread.KindUnlock:
		c.locked = 0
	case sqlread.KindBegin:
		c.begun = st.Line
	case sqlread.KindCommit:
		c.begun = 0
	case sqlread.KindAlter:
		if t := c.tables[st.Name]; st.Object == sqlread.ObjectTable && (t == nil || !t.created) && c.creates {
			c.problem(st.Line, "table %s is changed and never created", st.Name)
		}
	}
	c.ending(st)
	return nil
}

func (c *checker) create(st *sqlread.Statement) {
	if st.Definer != "" {
		who := st.DefinerUser
		if st.DefinerHost != "" {
			who += "@" + st.DefinerHost
		}
		if !slices.Contains(c.report.Definers, who) && len(c.report.Definers) < 1000 {
			c.report.Definers = append(c.report.Definers, who)
		}
	}
	for _, what := range st.Reaches {
		c.note(fmt.Sprintf("%s %s uses %s, which reaches beyond the database when it is run", st.Object, st.Name, what))
	}
	switch st.Object {
	case sqlread.ObjectTable:
		if c.views[st.Name] != 0 {
			return // a stand-in
		}
		t := c.table(st.Name, st.Line)
		t.created, t.dropped = true, false
		return
	case sqlread.ObjectView:
		if st.StandIn {
			if c.views[st.Name] == 0 {
				c.views[st.Name], c.lines[st.Name] = viewStandIn, st.Line
			}
			return
		}
		if c.views[st.Name] == viewFinal {
			return
		}
		c.views[st.Name] = viewFinal
		c.foreign = c.foreign || !c.r.ReadsNames() && !lexer.ASCII(st.Name)
		// A table that stood for it, without a comment that said so.
		if t := c.tables[st.Name]; t != nil {
			t.created, t.dropped, t.announced = false, false, false
		}
	}
	c.report.Objects[string(st.Object)]++
}

func (c *checker) drop(st *sqlread.Statement) {
	if st.Object != sqlread.ObjectTable {
		return
	}
	for _, name := range st.Names {
		if c.views[name] != 0 {
			continue
		}
		t := c.table(name, st.Line)
		if t.created && t.rows > 0 {
			c.problem(st.Line, "table %s is dropped after it was filled", name)
		}
		t.created, t.dropped, t.line = false, true, st.Line
	}
}

func (c *checker) insert(st *sqlread.Statement) error {
	c.itflow = 0
	t := c.table(st.Name, st.Line)
	if !t.created && !t.filled && c.creates && c.views[st.Name] == 0 {
		c.problem(st.Line, "rows of table %s, which is never created before them", st.Name)
	}
	t.filled = true
	for {
		if err := c.r.SkipRow(); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		t.rows++
		c.report.Rows++
	}
}

// ending follows what dialects without a comment at their end end with.
func (c *checker) ending(st *sqlread.Statement) {
	was := c.itflow
	c.itflow = 0
	if st.Kind != sqlread.KindSet {
		return
	}
	text := strings.ToUpper(strings.Join(strings.Fields(st.Text), ""))
	switch {
	case text == "SETFOREIGN_KEY_CHECKS=1":
		c.itflow = 1
	case text == "SETUNIQUE_CHECKS=1" && was == 1:
		c.itflow = 2
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(text, "SET"), ",") {
		name, v, _ := strings.Cut(part, "=")
		switch {
		case strings.HasPrefix(name, "@OLD_") && strings.HasPrefix(v, "@@"):
			c.saved[name] = true
		case strings.HasPrefix(v, "@OLD_"):
			delete(c.saved, v)
			c.restored()
		case strings.HasPrefix(v, "IFNULL(@OLD_"):
			delete(c.saved, strings.TrimPrefix(v, "IFNULL("))
			c.restored()
		}
	}
}

// restored notes where the session has got back what it had.
func (c *checker) restored() {
	if len(c.saved) == 0 {
		c.endedAt = c.r.Offset()
	}
}

// finish says whether the dump is whole.
func (c *checker) finish() *Report {
	report, h := c.report, c.r.Head()
	report.Dialect, report.Vendor, report.ServerVersion, report.VersionNumber = h.Dialect, h.Vendor, h.Version, h.Number
	report.TimeHasZone = h.Zoned
	report.Database, report.Time, report.TimeText, report.Bytes = c.r.Database(), h.Time, h.TimeText, c.r.Offset()
	if err := c.r.Err(); err == nil || err == io.EOF {
		c.missing()
	}
	for _, name := range c.order {
		if t := c.tables[name]; t.created || t.filled {
			report.Tables = append(report.Tables, TableReport{Name: name, Created: t.created, Rows: t.rows, Stated: -1})
		}
	}
	if c.severalAt != 0 {
		report.Problems = slices.Insert(slices.DeleteFunc(report.Problems, c.ofSwitch), 0, c.several())
	}
	report.Whole = WholeYes
	ended := c.ended()
	switch {
	case ended == WholeUnknown:
		report.Whole = WholeUnknown
		c.note("the dump has no mark of its end, as it was written without comments: whether it is whole cannot be told")
	case ended == WholeNo:
		c.add(Problem{Message: "the end of the dump is missing", Hint: "it was cut off between two statements: the dump is not whole; take another copy of it"})
	}
	for _, p := range report.Problems {
		if !p.Refused {
			report.Whole = WholeNo
		}
	}
	if c.more > 0 {
		report.Problems = append(report.Problems, Problem{Message: fmt.Sprintf("and %d more problems", c.more)})
		report.Whole = WholeNo
	}
	return report
}

// ended says whether the end of the dump is there.
func (c *checker) ended() Whole {
	h := c.r.Head()
	restored := c.endedAt != 0 && len(c.saved) == 0
	yes := func(b bool) Whole {
		if b {
			return WholeYes
		}
		return WholeNo
	}
	switch h.Dialect {
	case remarks.DialectITFlow:
		return yes(c.itflow == 2)
	case remarks.DialectHeidiSQL, remarks.DialectPHPMyAdmin:
		if c.endedAt == 0 && len(c.saved) == 0 {
			return WholeUnknown
		}
		return yes(restored)
	case remarks.DialectAdminer:
		if !h.Ended {
			return WholeUnknown // older ones write no end
		}
		return WholeYes
	case remarks.DialectUnknown:
		switch {
		case h.Ended || restored:
			return WholeYes
		case len(c.saved) > 0:
			return WholeNo
		}
		return WholeUnknown
	}
	return yes(h.Ended)
}

// missing notes what the dump announces and does not have.
func (c *checker) missing() {
	if !c.first {
		c.problem(0, "there is no statement in the dump")
	}
	for _, name := range c.order {
		t := c.tables[name]
		switch {
		case t.created || c.views[name] != 0:
		case t.dropped:
			c.problem(t.line, "table %s is dropped and never created", name)
		case t.announced && c.creates:
			c.problem(t.line, "table %s is announced and never created", name)
		}
	}
	for name, state := range c.views {
		if state == viewStandIn && c.foreign && !lexer.ASCII(name) {
			c.note("views with names in other character sets were not looked for")
		} else if state == viewStandIn {
			c.problem(c.lines[name], "view %s has a stand-in, or is announced, and is never created", name)
		}
	}
	if c.locked != 0 {
		c.problem(c.locked, "tables are locked and not unlocked")
	}
	if c.begun != 0 {
		c.problem(c.begun, "a transaction begins and is not committed")
	}
	slices.SortStableFunc(c.report.Problems, func(a, b Problem) int {
		switch {
		case a.Line == b.Line:
			return strings.Compare(a.Message, b.Message)
		case a.Line == 0 || b.Line != 0 && a.Line > b.Line:
			return 1
		}
		return -1
	})
}

// several is the problem that a dump has of several databases.
func (c *checker) several() Problem {
	names := c.r.Elsewhere().Names
	if own := c.r.Database(); own != "" {
		names = append([]string{own}, names...)
	}
	return Problem{
		Line: c.severalAt, Refused: true, Message: "a dump of several databases (" + core.Some(names, 5) + ")",
		Hint: "make one of the app's database alone: mariadb-dump … NAME, or mysqldump … NAME, without --databases and --all-databases",
	}
}

// ofSwitch says whether a problem is one of those that several sums up.
func (c *checker) ofSwitch(p Problem) bool { return slices.Contains(c.switches, p) }
