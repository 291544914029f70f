// Package shadow builds the database of a backup beside the live one and has
// the two change places by atomic renames, in either direction. It is for the
// engine's restore. It promises that until Switch begins nothing live has
// changed, that Switch and Revert begin from whatever state a kill or crash
// left, look for themselves what was already done, and end with the database
// wholly new or wholly old, and that after Switch, Revert and Settle it is as
// it was.
//
// Two sides take turns at being live: the old one, which was live before the
// restore, and the new one, which comes from the backup. What is not live lies
// on a shelf: in databases beside the live one (ModeDatabase) or in the live
// database under reserved names (ModeNames). Views are always shelved by name,
// because no server renames them into another database. Triggers, routines and
// events cannot be renamed: those of each side are written down, and dropped
// and made again.
package shadow

import (
	"errors"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/portable"
)

// Mode says where tables lie that are not live.
type Mode string

// The modes.
const (
	// ModeDatabase keeps them in two databases beside the live one.
	ModeDatabase Mode = "database"
	// ModeNames keeps them in the live database under reserved names.
	ModeNames Mode = "names"
)

// State is what a look at the server says of a Shadow.
type State string

// The states.
const (
	StateNothing State = "nothing" // neither new nor kept tables are there: not built, or dropped
	StateOld     State = "old"     // what was live before is live; new tables may be half built
	StateNew     State = "new"     // the backup's database is live
	StateMixed   State = "mixed"   // a switch or revert was cut short: Switch or Revert finishes it
)

// ErrUnfinished is in the error of a Switch or Revert that could not even go
// back: the state is mixed until Switch or Revert is called again.
var ErrUnfinished = errors.New("the database is neither wholly old nor wholly new")

// ErrDefiners is in the error of a Switch that went back and could not give
// objects that were live their definers again: all else is as it was.
var ErrDefiners = errors.New("objects of the live database belong to the restoring account now")

// Options of a Shadow.
type Options struct {
	Run    string   // names the run in table names: 10 of a-z and 2-7
	Tables []string // only these tables, with their triggers; empty: everything
	// Prefix is the app's: only what begins with it is its own. Others stay
	// what they are, Clean or not.
	Prefix string
	// Clean has what the backup does not have moved away with what is kept. It
	// means nothing where Tables are given.
	Clean bool
	// Mode forces a mode; "": the better one of those that are possible.
	Mode Mode
	// Plan and DisableEvents are those of load.Options.
	Plan          *portable.Plan
	DisableEvents bool
	// LockWait is for how many seconds at most a statement of Switch or Revert
	// waits for tables that others use, while everybody else waits behind it;
	// 0: 5.
	LockWait int
}

// Shadow is a database that is built beside the live one. It is all that is
// needed to resume, to undo and to drop, and holds no secrets: it goes into the
// journal as JSON, and what comes back from it works on. Its methods are not
// safe for concurrent use.
type Shadow struct {
	Run     string `json:"run"`
	Live    string `json:"live"` // the live database
	Mode    Mode   `json:"mode"`
	Why     string `json:"why"`  // this mode
	New     string `json:"new"`  // database of the new tables; Live in ModeNames
	Kept    string `json:"kept"` // database of the kept ones; Live in ModeNames
	Partial bool   `json:"partial,omitempty"`
	Clean   bool   `json:"clean,omitempty"`
	Prefix  string `json:"prefix,omitempty"`

	Built       bool   `json:"built,omitempty"`        // Build ended well
	Doing       string `json:"doing,omitempty"`        // "switch" or "revert" while one is under way
	Switched    bool   `json:"switched,omitempty"`     // the new side was made live last; for what no table tells
	KeptDropped bool   `json:"kept_dropped,omitempty"` // there is no way back any more

	LockWait int  `json:"lock_wait"`
	AnyCase  bool `json:"any_case,omitempty"` // the server takes names of tables in any case

	Tables []Table `json:"tables"` // also views and sequences
	Was    Side    `json:"was"`    // of the old side
	Will   Side    `json:"will"`   // of the new side

	Moves   []Link   `json:"moves,omitempty"`   // foreign keys that are being made to lead elsewhere
	Columns []Column `json:"columns,omitempty"` // of new tables, to be given their defaults after the first switch
	Keys    []Keys   `json:"keys,omitempty"`    // of tables that foreign keys were taken off
	Abroad  []string `json:"abroad,omitempty"`  // other databases with foreign keys into the live one
	Lost    []string `json:"lost,omitempty"`    // views of the backup that could not be made
	Left    []string `json:"left,omitempty"`    // live routines that the account may not read, so that they stay: "function f"
	Temps   int      `json:"temps,omitempty"`   // temporary names of constraints that were given out

	Extra    []string       `json:"extra,omitempty"`    // live tables and views of the app that the backup does not have
	Findings []core.Finding `json:"findings,omitempty"` // of Choose, for the plan

	plan          *portable.Plan
	disableEvents bool
	tables        []string
}

// Table is a name that a table, view or sequence has or gets.
type Table struct {
	Name string `json:"name"`
	Kind string `json:"kind,omitempty"` // in the backup: "table", "view", "sequence"; "" where it has none
	New  string `json:"new"`            // reserved name of the new one
	Kept string `json:"kept"`           // reserved name of the old one
	// Former says that there was something of this name before the last Switch.
	Former bool `json:"former,omitempty"`
	// Same says that the live view is the backup's and stays where it is.
	Same bool `json:"same,omitempty"`
	// Sum tells the definition that a plain restore makes; "" where the server
	// does not show one before the switch.
	Sum string `json:"sum,omitempty"`
}

// Side is what belongs to the tables of a side and cannot be renamed with them.
type Side struct {
	Charset   string   `json:"charset,omitempty"` // the database's defaults
	Collation string   `json:"collation,omitempty"`
	Comment   string   `json:"comment,omitempty"`
	Objects   []Object `json:"objects,omitempty"`
	// Links are foreign keys to tables that do not change places. A shelved
	// table has none of them, or it would have a say in what users may do.
	Links []Link `json:"links,omitempty"`
	// Names are constraints that have temporary names while another table
	// has theirs.
	Names []Constraint `json:"names,omitempty"`
	// Triggers are those that have, or had, temporary names while another one
	// has theirs.
	Triggers []Alias `json:"triggers,omitempty"`
}

// Object is a view, trigger, routine, package or event as a side has it.
type Object struct {
	core.SchemaObject
	Statement []byte `json:"statement"` // in its own character set
}

// Link is a foreign key.
type Link struct {
	Schema string `json:"schema"` // of the table
	Table  string `json:"table"`
	Name   string `json:"name"`
	// Clause is all but the name: FOREIGN KEY (…) REFERENCES …, with the name
	// that the table it leads to has while it is live.
	Clause string `json:"clause"`
}

// Constraint is one that is called otherwise for a while.
type Constraint struct {
	Table  string `json:"table"` // its live name
	Kind   string `json:"kind"`  // "FOREIGN KEY" or "CHECK"
	Name   string `json:"name"`
	Temp   string `json:"temp"`
	Clause string `json:"clause,omitempty"` // of a CHECK
}

// Keys are a table's keys, as the server printed them. A key that a server made
// by itself for a foreign key it makes again, under another name, when the
// foreign key comes back.
type Keys struct {
	Schema string   `json:"schema"`
	Table  string   `json:"table"` // its live name
	New    bool     `json:"new,omitempty"`
	Stays  bool     `json:"stays,omitempty"` // it is none that changes places
	Lines  []string `json:"lines"`
}

// Column is one of a new table whose default takes numbers from a sequence.
type Column struct {
	Table      string `json:"table"`
	Definition string `json:"definition"`
}

// side tells the two sides apart.
type side bool

const (
	old    side = false
	newest side = true
)

func (s *Shadow) of(x side) *Side {
	if x == newest {
		return &s.Will
	}
	return &s.Was
}

// verb is what Doing says while the side becomes live.
func (x side) verb() string {
	if x == newest {
		return "switch"
	}
	return "revert"
}

// place is where a table lies.
type place struct{ schema, name string }

func (p place) String() string { return mysql.QuoteName(p.schema) + "." + mysql.QuoteName(p.name) }

// fold makes equal what the server takes for one name of a table.
func (s *Shadow) fold(name string) string {
	if s.AnyCase {
		return strings.ToLower(name)
	}
	return name
}

func (s *Shadow) key(p place) place { return place{s.fold(p.schema), s.fold(p.name)} }

func (s *Shadow) live(t *Table) place { return place{s.Live, t.Name} }

// shelf returns where what has t's name lies when it is not live. Only what is
// no view may lie in another database.
func (s *Shadow) shelf(t *Table, x side, view bool) place {
	name, schema := t.Kept, s.Kept
	if x == newest {
		name, schema = t.New, s.New
	}
	if view || s.Mode == ModeNames {
		return place{s.Live, name}
	}
	return place{schema, t.Name}
}

func (s *Shadow) table(name string) *Table {
	for i := range s.Tables {
		if s.fold(s.Tables[i].Name) == s.fold(name) {
			return &s.Tables[i]
		}
	}
	return nil
}

// standing is where a table stands.
type standing int

const (
	elsewhere standing = iota // it is none that changes places
	isLive
	onOldShelf
	onNewShelf
)

// shelfOf returns the standing of what lies on the side's shelf.
func shelfOf(x side) standing {
	if x == newest {
		return onNewShelf
	}
	return onOldShelf
}

// places tells for every place that a table may lie in which it is.
func (s *Shadow) places() map[place]stand {
	m := make(map[place]stand, 3*len(s.Tables))
	for i := range s.Tables {
		t := &s.Tables[i]
		m[s.key(s.live(t))] = stand{t, isLive}
		for _, view := range []bool{true, false} {
			m[s.key(s.shelf(t, old, view))] = stand{t, onOldShelf}
			m[s.key(s.shelf(t, newest, view))] = stand{t, onNewShelf}
		}
	}
	return m
}

type stand struct {
	table *Table
	standing
}

// schemas lists the databases that the tables change places between.
func (s *Shadow) schemas() []string {
	if s.Mode == ModeNames {
		return []string{s.Live}
	}
	return []string{s.Live, s.New, s.Kept}
}

func quoteTexts(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = mysql.QuoteText(t)
	}
	return strings.Join(quoted, ",")
}
