// Package sqlread reads SQL dumps as mysqldump, mariadb-dump, mysqlpump,
// phpMyAdmin, Adminer, HeidiSQL and ITFlow write them: statement by statement,
// rows of INSERT one by one, whatever the size of the dump. It is for what
// loads dumps into scratch databases and for what asks whether a dump is whole.
//
// A dump is hostile: a statement comes out only if it is on a list of what
// dumps consist of and touches nothing but the one database that is read. What
// is refused is an error that says where it stands. What comes out is what was
// judged: the marks of versioned comments (/*!40101 … */) are resolved here for
// the server that is to run the statement, so that it has nothing left to
// decide.
//
// The session that runs the statements has to begin with character_set_client
// utf8mb4, with a sql_mode that has neither ANSI_QUOTES nor
// NO_BACKSLASH_ESCAPES, and without CLIENT_MULTI_STATEMENTS, and to run each
// statement of KindSet: Reader reads by those settings.
package sqlread

// Options say how to read. The zero value reads with the defaults.
type Options struct {
	// MariaDB and ServerVersion (101106 for 10.11.6, 80036 for 8.0.36) are of
	// the server that will run the statements, and decide which versioned
	// comments are read. ServerVersion 0: as the dump's head says who wrote it,
	// and otherwise the newest MariaDB.
	MariaDB       bool
	ServerVersion int
	// Database is the name that names in the dump may be qualified with, and
	// the only one that USE may name. "": the first one that the dump's head,
	// CREATE DATABASE or USE names.
	Database string
	// MaxRow is the longest row in bytes; 0: 1 GiB, which no server exceeds.
	MaxRow int64
	// MaxStatement is the longest statement in bytes that has no rows, and the
	// longest head of one that has; 0: 64 MiB.
	MaxStatement int64
}

// Kind is what a statement does.
type Kind string

// The kinds.
const (
	KindSet         Kind = "set"         // sets variables of the session and user variables, and nothing else
	KindCreate      Kind = "create"      // Object says what
	KindDrop        Kind = "drop"        // Object says what; always of Name only, or of Names
	KindAlter       Kind = "alter"       // Object is ObjectTable (keys, constraints, AUTO_INCREMENT, DISABLE KEYS), ObjectDatabase (character set) or ObjectSequence
	KindInsert      Kind = "insert"      // INSERT … VALUES or REPLACE … VALUES: NextRow has the rows
	KindSetSequence Kind = "setsequence" // SELECT SETVAL(…) or DO SETVAL(…): what a sequence goes on with; it may return a row
	KindLock        Kind = "lock"        // LOCK TABLES of Names: to be run or left out, both are right
	KindUnlock      Kind = "unlock"      // UNLOCK TABLES: likewise
	KindBegin       Kind = "begin"       // START TRANSACTION or BEGIN: likewise
	KindCommit      Kind = "commit"      // likewise
	KindUse         Kind = "use"         // CREATE DATABASE or USE of the dump's only database: not to be run
	KindSkip        Kind = "skip"        // harmless, and not to be run; Note says what it is
)

// Object is the kind of object that a statement is about.
type Object string

// The objects.
const (
	ObjectTable       Object = "table"
	ObjectView        Object = "view"
	ObjectTrigger     Object = "trigger"
	ObjectProcedure   Object = "procedure"
	ObjectFunction    Object = "function"
	ObjectPackage     Object = "package"
	ObjectPackageBody Object = "package body"
	ObjectEvent       Object = "event"
	ObjectSequence    Object = "sequence"
	ObjectIndex       Object = "index"
	ObjectDatabase    Object = "database"
)

// Statement is one statement of a dump.
type Statement struct {
	Kind   Kind
	Object Object   // of KindCreate, KindDrop and KindAlter
	Name   string   // the object's name without quotes; the table of KindInsert; the database of KindUse
	Names  []string // of KindDrop and KindLock, all names; otherwise nil
	Table  string   // the table that a trigger or an index belongs to; otherwise ""

	// Text is what to send to the server, without a delimiter. The database
	// before a name that is created, dropped, altered or inserted into is left
	// out. Of KindInsert it is the head: to it rows are appended, with commas
	// between them.
	Text string
	// Columns are those that an INSERT lists; nil where it lists none.
	Columns []string
	Replace bool // of KindInsert: REPLACE
	Ignore  bool // of KindInsert: INSERT IGNORE

	// DefinerUser and DefinerHost are the account as whom the object runs;
	// DefinerUser is "CURRENT_USER" and the host "" where the dump says so, and
	// both are "" where it says nothing.
	DefinerUser string
	DefinerHost string
	// Definer is the DEFINER clause as it stands in Text: "DEFINER=`a`@`b`". WithDefiner puts another one in its place.
	Definer string

	// Qualifiers are, of a view, routine, trigger, event or table, the names
	// that stand before a dot in Text, once each and in order: aliases, tables and,
	// perhaps, other databases. Whoever runs the statement where other databases are
	// has to look whether one is among them.
	Qualifiers []string

	// Engine is what a CREATE TABLE says its engine is, as it is written; "" none.
	Engine string
	// StandIn says that this is a table or a view that holds the place of a
	// view which the dump creates later, as mysqldump writes them.
	// It is known for views, and for tables where the dump's comments say so.
	StandIn bool
	Note    string // of KindSkip
	// Reaches are what a routine or an event does that reaches beyond the
	// database when it is run: "LOAD_FILE", "SET GLOBAL". Tables, views and triggers that
	// have such are refused.
	Reaches []string

	Line   int64 // where it begins, from 1
	Offset int64 // where it begins, in bytes from 0

	definerAt int // in Text
	qualified map[string]bool
	placed    bool // the database stood before a name that the statement is about
}

// WithDefiner returns Text with another DEFINER clause, or without one for "".
// It is Text where Definer is "".
func (s *Statement) WithDefiner(clause string) string {
	if s.Definer == "" {
		return s.Text
	}
	return s.Text[:s.definerAt] + clause + s.Text[s.definerAt+len(s.Definer):]
}
