package sqlread

import (
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// A dump of several databases goes from one to the next with USE. Those that
// are not the dump's own are passed: what is in them is refused, statement by
// statement, until the dump comes back.

// maxOthers bounds how many names of other databases are remembered.
const maxOthers = 100

// leave notes that the dump goes over to another database.
func (r *Reader) leave(database string) {
	r.elsewhere = database
	if !slices.Contains(r.others, database) && len(r.others) < maxOthers {
		r.others = append(r.others, database)
	}
}

// away refuses a statement of another database; SET is of the whole dump.
func (r *Reader) away(verb string) error {
	switch {
	case r.elsewhere == "", verb == "SET", verb == "USE":
		return nil
	}
	r.passed = true
	return &lexer.Refusal{
		Message: "a statement of another database (" + printableWord(r.elsewhere) + ")",
		Hint:    "one dump is read for one database: dump each database on its own",
	}
}

// systemDatabase says whether a database is the server's own, and no app's.
func systemDatabase(name string) bool {
	switch strings.ToLower(name) {
	case "mysql", "sys", "information_schema", "performance_schema":
		return true
	}
	return false
}

// several is the problem that a dump has of several databases.
func (c *checker) several() Problem {
	r := c.r
	names := r.others
	if r.database != "" {
		names = append([]string{r.database}, names...)
	}
	return Problem{
		Line: c.severalAt, Refused: true, Message: "a dump of several databases (" + core.Some(names, 5) + ")",
		Hint: "make one of the app's database alone: mariadb-dump … NAME, or mysqldump … NAME, without --databases and --all-databases",
	}
}

const (
	ofSystem    = "the server's own database ("
	ofSwitching = "the dump switches to another database ("
)

// ofSwitch says whether a problem is one of those that several sums up.
func (p Problem) ofSwitch() bool {
	return strings.HasPrefix(p.Message, ofSystem) || strings.HasPrefix(p.Message, ofSwitching)
}
