// Package archive is the seam between backstay and portable archives: single
// files that an application's own backup code, mysqldump or backstay wrote. It
// is for the engine, which turns an archive into a backup and a backup into an
// archive and never sees what a format looks like inside. The formats are
// packages below it; the conformance suite in package archivetest says what
// all of them promise.
//
// Every byte of an archive is hostile: no format writes to a file system, and
// what a name, a size or a link in an archive says is checked before it is
// passed on (CheckPath, Meter).
package archive

import (
	"context"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Format is one kind of archive. Implementations are immutable and safe for
// concurrent use.
type Format interface {
	// Name is what --format says: "itop", "itflow", "sql", "backstay".
	Name() string
	// Extension is what the names of written archives end with, with its dot:
	// ".tar.gz".
	Extension() string
	// Recognizes says whether a file looks like this format: by its name and
	// its first bytes, and by what they unpack to where that takes no key.
	// It changes the position in f.
	Recognizes(f *os.File, name string) bool
	// Open looks at the archive's structure. Hostile names, links and sizes, a
	// wrong password and what is not this format are errors with a hint;
	// damage has core.CodeDamage, a wrong password core.CodeWrongKey.
	// The archive reads from f, which the caller closes after it.
	Open(ctx context.Context, f *os.File, opt OpenOptions) (Archive, error)
	// Write writes content as an archive. w is written to once, from begin to
	// end. Memory does not depend on the size of the content. What the format
	// cannot carry is a warning; see NeverCarried.
	Write(ctx context.Context, w io.Writer, content Content, opt WriteOptions) ([]core.Warning, error)
}

// OpenOptions say how to open an archive.
type OpenOptions struct {
	// Passwords are tried in this order. A format without passwords ignores them.
	Passwords []core.Secret
	// Environment is iTop's environment, to which an archive's configuration
	// belongs; "": production.
	Environment string
	Limits      Limits
	// ScratchDir is an existing folder for what must be unpacked to be read;
	// "": the system's temporary folder. It holds nothing after Close.
	ScratchDir string
	Progress   core.Progress // nil: none; hears the archive's bytes as Check reads them
}

// WriteOptions say how to write an archive.
type WriteOptions struct {
	Password    core.Secret // of formats that have one
	Recipients  []string    // age recipients, of the backstay format
	Level       int         // of compression: 1 (fast) to 9 (small); 0: the format's default
	Environment string      // iTop's; "": as the backup says, or production
	Clock       core.Clock
	Progress    core.Progress // nil: none; hears the content's bytes
}

// Archive is an open archive. It is used by one goroutine.
type Archive interface {
	// Info is what the archive says of itself. It is complete after Check.
	Info() Info
	// Check reads the archive to its end, once, authenticates what it can and
	// returns what is missing from a whole one, in the order of the archive.
	// The dump's statements are not looked at. An error is what kept it from reading on:
	// damage found there is a flaw and no error.
	Check(ctx context.Context) ([]Flaw, error)
	// Files calls fn for each file, folder and link of the application, each
	// folder before what is in it where the archive has the folder. body is
	// nil but for files, and need not be read to its end. An error of fn ends the walk and is returned.
	// It is called after Check found no flaw, or to salvage what there is.
	Files(ctx context.Context, fn func(e Entry, body io.Reader) error) error
	// OpenDump opens the SQL dump; nil when the archive has none. It is called after Check, and not during Files.
	OpenDump(ctx context.Context) (io.ReadCloser, error)
	// Close ends the use of the archive and removes what was unpacked.
	Close() error
}

// Native is an archive that holds a backup as it is stored, with its rows and
// checksums, and needs no database server to become one again.
type Native interface {
	Archive
	// Manifest is the backup's, read by Check.
	Manifest() core.Manifest
	// Watch has Check and Copy, each of which reads everything, call fn for each
	// entry but the manifest, in the archive's order, before they use it. body is all of
	// the database's index, of a definition and of an extra.jsonl, otherwise nil. An error of fn ends
	// the reading and is returned.
	Watch(fn func(e Stored, body []byte) error)
	// Copy stores the backup's whole tree but for its manifest and returns the
	// entries of its root folder. It is called after Check.
	Copy(ctx context.Context, w core.TreeWriter) ([]core.Entry, error)
}

// Stored is an entry of a backup's tree, as it is stored.
type Stored struct {
	core.Entry        // its Object has only a Size
	Path       string // in the backup
	Link       string // the target of a symbolic link
}

// Info is what an archive says of itself. Fields are "" or zero where it does
// not say.
type Info struct {
	Format   string            `json:"format"`
	Kind     string            `json:"kind,omitempty"`      // "full", "database", "master_key"
	Time     time.Time         `json:"time"`                // when it was made
	TimeSays string            `json:"time_says,omitempty"` // from where Time is: "version.txt", "the dump's entry", "the file"
	Host     string            `json:"host,omitempty"`
	Versions map[string]string `json:"versions,omitempty"` // keys as in core.Manifest
	Notes    []string          `json:"notes,omitempty"`
	// Encrypted says that whoever does not know the password, or the key, can
	// neither read the archive nor change it unseen.
	Encrypted bool `json:"encrypted"`
}

// Flaw is something that a whole archive has and this one has not, or that is
// not as it was written.
type Flaw struct {
	Where   string `json:"where"`   // an entry's name, or "the archive"
	Message string `json:"message"` // in a sentence without a full stop
	// Name is what --force takes where somebody who knows better may agree to
	// the flaw; "": nobody may.
	Name string `json:"name,omitempty"`
	// Refused says that this is something that no backup holds, and not damage.
	Refused bool   `json:"refused,omitempty"`
	Hint    string `json:"hint,omitempty"` // what to do about it, where that is known
}

// NeverCarried is the code of a warning of Write about what the format carries
// of no backup, such as owners of files. Other warnings are about what this
// backup has and its archive has not.
const NeverCarried = "never-carried"

// Names of flaws that somebody may agree to.
const (
	FlawNoEnd        = "no-end-marker"  // the dump says nowhere that it ends; it may be cut between two statements
	FlawNotEncrypted = "not-encrypted"  // a password was given, and the archive needs none: it may have been replaced
	FlawStranger     = "other-database" // hardly a table of it is one of the app's
	FlawOtherApp     = "other-app"      // the backup in it is of another app
	FlawNoRows       = "no-rows"        // it has tables and no rows, and the app's last backup has some
	// Of a backup that somebody else may have written:
	FlawUnread        = "unread-definition" // a definition in a character set in which it cannot be told where texts end
	FlawNamesDatabase = "names-database"    // a definition names another database
	FlawReaches       = "reaches-beyond"    // a routine or an event can reach beyond the database

	FlawEmptyUploads = "empty-uploads" // ITFlow's archive has no uploaded file at all
)

// Entry is one file, folder or link of the application.
type Entry struct {
	Component core.Component // config, files or code
	Place     string         // "app": Path is below the app's root; "system": below /
	Path      string         // passed CheckPath; its bytes need not be UTF-8
	Type      core.EntryType
	Mode      fs.FileMode // permission bits with setuid, setgid and sticky; only with HasMode
	HasMode   bool
	UID, GID  uint32 // only with HasOwner
	HasOwner  bool
	User      string // names of the owners where they were made; "" unknown
	Group     string
	ModTime   time.Time // zero: unknown
	Size      int64     // of a file
	Link      string    // the target of a symbolic link
}

// Dialect is the kind of SQL text that a reader understands.
type Dialect string

// The dialects.
const (
	DialectMySQL  Dialect = "mysql"  // what the mysql and mariadb clients read, with all objects
	DialectITop   Dialect = "itop"   // the same, as iTop's restore passes it on
	DialectITFlow Dialect = "itflow" // one statement a line, for ITFlow's line-wise importer
)

// Content is a backup to write as an archive.
type Content struct {
	Manifest core.Manifest
	Tree     core.TreeReader // the repository
	Root     core.Entry      // the backup's root folder
	// DumpSize returns how many bytes Dump will write.
	DumpSize func(ctx context.Context, d Dialect) (int64, error)
	// Dump writes the database as SQL text, the same bytes at each call. Both
	// are nil for a backup without a database.
	Dump func(ctx context.Context, w io.Writer, d Dialect) ([]core.Warning, error)
}
