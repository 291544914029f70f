// Package sqlcheck says whether an SQL dump is whole and may be loaded: it reads
// one to its end with package sqlread and compares what the dump holds with
// what the dump says of itself.
package sqlcheck

import (
	"context"
	"io"
	"time"

	"github.com/backstay/backstay/internal/mysql/sqlread"
	"github.com/backstay/backstay/internal/mysql/sqlread/remarks"
)

// Whole is the answer to whether a dump is whole.
type Whole string

// The answers.
const (
	WholeYes     Whole = "yes"     // it ends where its dialect ends, and nothing that it announces is missing
	WholeNo      Whole = "no"      // Problems say why
	WholeUnknown Whole = "unknown" // its dialect writes no end: it may be cut between two statements
)

// Problem is something that is wrong with a dump.
type Problem struct {
	Line    int64  `json:"line"` // 0: the dump's end or the whole of it
	Message string `json:"message"`
	// Refused says that a statement is not taken, and not that the dump is damaged.
	Refused bool   `json:"refused,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// TableReport is what a dump holds of a table.
type TableReport struct {
	Name    string `json:"name"`
	Created bool   `json:"created"`
	Rows    int64  `json:"rows"`
	// Stated is the number of rows that the dump says it has; -1: it does not say.
	Stated int64 `json:"stated"`
}

// Report is what a dump says of itself, and what is wrong with it.
type Report struct {
	Dialect       remarks.Dialect `json:"dialect"`
	Vendor        string          `json:"vendor,omitempty"`         // "mysql" or "mariadb", of the server
	ServerVersion string          `json:"server_version,omitempty"` // as written: "10.11.6-MariaDB-log"
	VersionNumber int             `json:"version_number,omitempty"` // 101106, 80036; 0 unknown
	Database      string          `json:"database,omitempty"`
	// Time is when it was made; zero: it does not say. Where the dump gives no
	// zone, as mysqldump never does, it is taken for this machine's own.
	Time        time.Time `json:"time"`
	TimeHasZone bool      `json:"time_has_zone"`
	TimeText    string    `json:"time_text"` // as written
	Whole       Whole     `json:"whole"`
	// Tables are in the order in which the dump first names them.
	Tables []TableReport `json:"tables"`
	// Objects counts what else is created: "view", "trigger", …
	Objects map[string]int64 `json:"objects"`
	// Definers are the accounts that own views, triggers, routines and events, once each: "user@host".
	Definers []string `json:"definers"`
	Rows     int64    `json:"rows"`
	Bytes    int64    `json:"bytes"`
	// Problems are in the order of the dump, at most 100 with the number of the rest. A dump without
	// problems that is not Whole "no" may be loaded.
	Problems []Problem `json:"problems"`
	Notes    []string  `json:"notes"` // what was left out, and other things worth knowing
}

// Check reads a dump to its end and reports. An error is of reading r or of
// ctx; whatever is wrong with the dump is in the report.
func Check(ctx context.Context, r io.Reader, opt sqlread.Options) (*Report, error) {
	c := newChecker(ctx, r, opt)
	if err := c.run(); err != nil {
		return nil, err
	}
	return c.finish(), nil
}
