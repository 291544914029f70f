package sqlread

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// A dump of several databases goes from one to the next with USE. Those that
// are not the dump's own are passed: what is in them is refused, statement by
// statement, until the dump comes back.

// maxOthers bounds how many names of other databases are remembered.
const maxOthers = 100

// Elsewhere is what a dump has to do with other databases than its own.
type Elsewhere struct {
	At       string   // the one that it is at; "": it is at its own
	Names    []string // those that it was at, once each and at most 100
	Passed   bool     // the last statement was refused as one of such a database
	Switched bool     // the last statement was refused as it goes over to one, or makes or drops it
}

// Elsewhere returns what the dump has had to do with other databases by now.
// The names are not to be changed.
func (r *Reader) Elsewhere() Elsewhere { return r.elsewhere }

// leave notes that the dump goes over to another database.
func (r *Reader) leave(database string) {
	e := &r.elsewhere
	e.At = database
	if !slices.Contains(e.Names, database) && len(e.Names) < maxOthers {
		e.Names = append(e.Names, database)
	}
}

// away refuses a statement of another database; SET is of the whole dump.
func (r *Reader) away(verb string) error {
	switch {
	case r.elsewhere.At == "", verb == "SET", verb == "USE":
		return nil
	}
	r.elsewhere.Passed = true
	return &lexer.Refusal{
		Message: "a statement of another database (" + printableWord(r.elsewhere.At) + ")",
		Hint:    "one dump is read for one database: dump each database on its own",
	}
}

// switched refuses a statement that goes over to another database.
func (r *Reader) switched(message, hint string) error {
	r.elsewhere.Switched = true
	return &lexer.Refusal{Message: message, Hint: hint}
}

// systemDatabase says whether a database is the server's own, and no app's.
func systemDatabase(name string) bool {
	switch strings.ToLower(name) {
	case "mysql", "sys", "information_schema", "performance_schema":
		return true
	}
	return false
}
