// Package sqlload runs the SQL text of a dump on a scratch database. It is for
// the engine's imports. It promises to run nothing but what package sqlread
// allows, that no value and no row is changed or lost without a flaw that says
// so, and that memory does not depend on the size of the dump.
package sqlload

import (
	"context"
	"errors"
	"io"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Options of a load.
type Options struct {
	Config      mysql.Config // Database is the scratch database, empty
	Connections int          // 0: as many as serve the server best
	// Salvage goes on after what cannot be loaded, and up to what cannot be read.
	Salvage  bool
	Progress core.Progress // nil: none; hears the dump's bytes
	// MaxRow is the longest statement of a single row that is held, in bytes;
	// 0: as long as the server takes one (max_allowed_packet).
	MaxRow int64
}

// Loaded says what was put into the database.
type Loaded struct {
	Tables  []Table // by name
	Views   int
	Objects int // that are neither tables nor views
	Rows    int64
	Bytes   int64 // of the dump
	// Warnings are differences that are known and no damage: an object that the
	// loading account had to become the definer of.
	Warnings []core.Warning
	// Flaws are what is not in the database as the dump says it. Without
	// Salvage there is none: the first one is Load's error, but for those of
	// rows, which are found at the end of a table.
	Flaws []Flaw
}

// Table is a table that the dump made.
type Table struct {
	Name string `json:"name"`
	Read int64  `json:"rows_in_dump"` // complete ones
	Rows int64  `json:"rows"`         // that the server took
	// Changed is of how many values the server said that it changed them.
	Changed int64 `json:"values_changed,omitempty"`
}

// Flaw is a statement or a table that is not in the database as the dump says it.
type Flaw struct {
	Line    int64  `json:"line,omitempty"`    // of the dump, where it begins; 0: not of one place
	Object  string `json:"object,omitempty"`  // "table t"; "" where it is none
	Message string `json:"message"`           // in a sentence without a full stop
	Refused bool   `json:"refused,omitempty"` // it was not run, because a dump must not do it
}

// Load runs the dump that r yields. On error the database holds what was done
// so far, and Loaded, where it is not nil, says what. The error is a core.Error
// with CodeDamage where the dump is not whole or does what it must not.
func Load(ctx context.Context, r io.Reader, opt Options) (*Loaded, error) {
	return nil, errors.New("load dump: not built yet")
}
