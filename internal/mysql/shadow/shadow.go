// Package shadow builds the database of a backup beside the live one and has
// the two change places by atomic renames, in either direction. It is for the
// engine's restore. It promises that until Switch begins nothing live has
// changed, that Switch and Revert begin from whatever state a kill or crash
// left, look for themselves what was already done, and end with the database
// wholly new or wholly old, and that after Switch and Revert it is as it was.
package shadow

import (
	"context"
	"errors"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
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

// Options of a Shadow.
type Options struct {
	Run    string   // names the run in table names: 1 to 16 of a-z and 0-9
	Tables []string // only these tables, with their triggers; empty: everything
	// Prefix is the app's: only what begins with it is its own. Others stay
	// what they are, Clean or not.
	Prefix string
	// Clean has what the backup does not have moved away with what is kept.
	Clean bool
	// Mode forces a mode; "": the better one of those that are possible.
	Mode Mode
	// Plan and DisableEvents are those of load.Options.
	Plan          *portable.Plan
	DisableEvents bool
	// Origin is the server that the backup was taken from.
	Origin core.DatabaseServer
}

// Shadow is a database that is built beside the live one. It is all that is
// needed to resume, to undo and to drop, and holds no secrets: it goes into the
// journal as JSON, and what comes back from it works on. Its methods are not
// safe for concurrent use.
type Shadow struct {
	Run      string         `json:"run"`
	Live     string         `json:"live"` // the live database
	Mode     Mode           `json:"mode"`
	Why      string         `json:"why"`            // this mode
	New      string         `json:"new,omitempty"`  // database of the new tables; Live in ModeNames
	Kept     string         `json:"kept,omitempty"` // database of the kept ones; Live in ModeNames
	Partial  bool           `json:"partial,omitempty"`
	Built    bool           `json:"built,omitempty"`    // Build ended well
	Doing    string         `json:"doing,omitempty"`    // "switch" or "revert" while one is under way
	Findings []core.Finding `json:"findings,omitempty"` // of Choose, for the plan
}

// ErrUnfinished is in the error of a Switch or Revert that could not even go
// back: the state is mixed until Switch or Revert is called again.
var ErrUnfinished = errors.New("the database is neither wholly old nor wholly new")

var errNotBuilt = errors.New("not built yet")

// Choose looks at the live database and decides where the new one is built. It
// changes nothing but objects of its own, with which it tries rights, and which
// are gone when it returns.
func Choose(ctx context.Context, config mysql.Config, index core.DatabaseIndex, opt Options) (*Shadow, error) {
	return nil, errNotBuilt
}

// Build makes the new tables, fills them, and compares their rows with what was
// dumped. The live database is not changed. It may be called again after an
// error or a kill, and begins anew. opt's Config is the live database; its
// Tables, Plan and DisableEvents are those that Choose was given, and are set
// by Build. After Build the caller saves the Shadow.
func (s *Shadow) Build(ctx context.Context, index core.DatabaseIndex, source load.Source, opt load.Options) (*load.Loaded, error) {
	return nil, errNotBuilt
}

// Switch makes the new database the live one. On error it goes back to the old
// state by itself; an error that wraps ErrUnfinished means that this did not work. save writes the
// Shadow to the journal, durably; Switch calls it before it changes something
// that it could not find out by looking, and the caller calls it afterwards.
func (s *Shadow) Switch(ctx context.Context, config mysql.Config, save func() error) ([]core.Warning, error) {
	return nil, errNotBuilt
}

// Revert makes the old database live again, from any state. What was live then
// lies under the New names, and Switch makes it live again. save is as in Switch.
func (s *Shadow) Revert(ctx context.Context, config mysql.Config, save func() error) ([]core.Warning, error) {
	return nil, errNotBuilt
}

// Settle does what may wait until users are back, after a Switch and after a
// Revert: it gives the live tables' constraints and triggers the names and
// words that they have in the backup, or had before. It may be called again.
func (s *Shadow) Settle(ctx context.Context, config mysql.Config, save func() error) ([]core.Warning, error) {
	return nil, errNotBuilt
}

// Prove checks, after a Switch, that each table's definition is the one that a
// plain restore would have made, that no foreign key which the account can see
// leads into or out of what is not live, and that every object is there. It
// changes nothing. It may be called before Settle.
func (s *Shadow) Prove(ctx context.Context, config mysql.Config) error { return errNotBuilt }

// State looks what is live. It changes nothing.
func (s *Shadow) State(ctx context.Context, config mysql.Config) (State, error) {
	return "", errNotBuilt
}

// DropNew drops what lies under the New names: what was built and is not live,
// or, after Revert, what was live before it. It refuses while the state is
// mixed. It may be called again.
func (s *Shadow) DropNew(ctx context.Context, config mysql.Config) error { return errNotBuilt }

// DropKept drops what Switch took away. It refuses while the state is mixed.
// It may be called again.
func (s *Shadow) DropKept(ctx context.Context, config mysql.Config) error { return errNotBuilt }

// KeptBytes says about how much room the kept tables take, of data and keys.
func (s *Shadow) KeptBytes(ctx context.Context, config mysql.Config) (int64, error) {
	return 0, errNotBuilt
}

// NewBytes says about how much room the new tables take, of data and keys.
func (s *Shadow) NewBytes(ctx context.Context, config mysql.Config) (int64, error) {
	return 0, errNotBuilt
}

// Leftovers lists the runs of which tables or databases are still there, beside
// the live database of config, in no set order.
func Leftovers(ctx context.Context, config mysql.Config) ([]string, error) {
	return nil, errNotBuilt
}
