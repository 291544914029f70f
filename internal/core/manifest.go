package core

import (
	"encoding/json"
	"time"
)

// ManifestSchema is the version of the layout that this code writes
// (docs/spec/backup-layout.md). It reads this one and older ones.
const ManifestSchema = 1

// Manifest is manifest.json at the root of a backup: all that is known of it.
// It is written last; without it there is no backup.
type Manifest struct {
	Schema          int               `json:"schema"`
	ID              string            `json:"id"`
	App             string            `json:"app"`
	Profile         string            `json:"profile"`
	Host            string            `json:"host"`
	Root            string            `json:"root,omitempty"` // the app's folder when it was captured
	Time            time.Time         `json:"time"`           // the instant that the backup shows
	Started         time.Time         `json:"started"`
	Finished        time.Time         `json:"finished"`
	Trigger         string            `json:"trigger"` // "manual", "schedule", "demo"
	Note            string            `json:"note,omitempty"`
	BackstayVersion string            `json:"backstay_version"`
	Versions        map[string]string `json:"versions,omitempty"` // "application", "schema", "git_commit", …: what the profile knows
	Modules         []Module          `json:"modules,omitempty"`
	Settings        map[string]string `json:"settings,omitempty"` // what a restore by this profile must know; no secrets
	Components      []Component       `json:"components"`
	Consistency     Consistency       `json:"consistency"`
	Database        *Database         `json:"database,omitempty"`
	Trees           []Tree            `json:"trees,omitempty"`
	Owners          Owners            `json:"owners"`
	Notes           []string          `json:"notes,omitempty"`  // decisions worth knowing, such as a link that was followed
	Origin          *Origin           `json:"origin,omitempty"` // the archive that it was imported from; nil: it was captured
	Sealed          []SealedFile      `json:"sealed,omitempty"` // files of the configuration that are stored sealed
	Warnings        []Warning         `json:"warnings,omitempty"`
}

// SealedFile is a file of the configuration of which only a placeholder stands in
// its place.
type SealedFile struct {
	Path string `json:"path"` // of the placeholder: "config/app/config.php"
	File string `json:"file"` // of the sealed one, below secrets/: age's armoured form
}

// Module is a module or extension of the application.
type Module struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Source  string `json:"source,omitempty"`
}

// Origin says which archive a backup was imported from. Time of the backup is
// then when the archive was made, as well as that is known.
type Origin struct {
	Format   string    `json:"format"`              // "itop", "itflow", "sql", "backstay"
	File     string    `json:"file"`                // its name, without folders
	SHA256   string    `json:"sha256"`              // of the file, hex
	Bytes    int64     `json:"bytes"`               // of the file
	Imported time.Time `json:"imported"`            // when it was
	TimeSays string    `json:"time_says,omitempty"` // what tells when it was made: "version.txt", "the dump", "the file"
	Backup   string    `json:"backup,omitempty"`    // of a backstay archive: the id of the backup in it
}

// Consistency says how the backup came to show one instant.
type Consistency struct {
	Mode        string `json:"mode"`                  // "online" or "readonly": whether the app was made read-only
	Method      string `json:"method,omitempty"`      // "backup-stage", "global-read-lock", "table-locks", "single-transaction", "none" (no database)
	Connections int    `json:"connections,omitempty"` // how many connections shared the instant
	FreezeMS    int64  `json:"freeze_ms"`             // how long writes had to wait
	Why         string `json:"why,omitempty"`         // why no better method was used
}

// Database is the database component: what the manifest says of it. Tables and
// objects are in a file of their own, which is stored once for as long as
// nothing in it changes.
type Database struct {
	Name      string         `json:"name"`
	Prefix    string         `json:"prefix,omitempty"` // only tables with this prefix belong to the app
	Charset   string         `json:"charset"`          // the database's defaults
	Collation string         `json:"collation"`
	Server    DatabaseServer `json:"server"`
	Index     string         `json:"index"` // path in the backup of the DatabaseIndex
	Tables    int            `json:"tables"`
	Reused    int            `json:"tables_reused"`
	Rows      int64          `json:"rows"`
	Bytes     int64          `json:"bytes"`
	Checksum  string         `json:"checksum"`           // SHA-256 of the index, hex
	Evidence  string         `json:"evidence,omitempty"` // path in the backup of what tells the next one which tables changed (docs/spec/unchanged-tables.md)
}

// DatabaseIndex is database/index.json: every table and object of the database.
type DatabaseIndex struct {
	Charset   string         `json:"charset,omitempty"` // the database's defaults, which routines' parameters take
	Collation string         `json:"collation,omitempty"`
	Comment   string         `json:"comment,omitempty"` // of the database; MariaDB's have one
	Tables    []Table        `json:"tables"`            // by name
	Objects   []SchemaObject `json:"objects,omitempty"` // all but tables
}

// DatabaseServer is what a restore must know of the server of origin.
type DatabaseServer struct {
	Vendor              string `json:"vendor"`  // "mariadb" or "mysql"
	Version             string `json:"version"` // as the server gives it
	SQLMode             string `json:"sql_mode"`
	TimeZone            string `json:"time_zone"`
	LowerCaseTableNames int    `json:"lower_case_table_names"`
	MaxAllowedPacket    int64  `json:"max_allowed_packet"`
	BinlogPosition      string `json:"binlog_position,omitempty"` // file:position or GTID at the instant, where the account may ask
}

// Table is a base table with its rows.
type Table struct {
	Name     string   `json:"name"`
	Engine   string   `json:"engine"`
	Schema   string   `json:"schema"` // path in the backup of its CREATE statement
	Columns  []Column `json:"columns,omitempty"`
	Key      []string `json:"key,omitempty"` // the columns that the rows are ordered by; none: in no set order
	Rows     int64    `json:"rows"`
	Bytes    int64    `json:"bytes"`
	Checksum string   `json:"checksum"` // RowSum over all rows, as 32 hex digits
	Chunks   []Chunk  `json:"chunks,omitempty"`

	// History is all versions of the rows, of a system-versioned table; nil for
	// other tables and where they could not be carried.
	History *History `json:"history,omitempty"`
	// AllVersions says that the rows are all versions of them, as Versions makes it.
	AllVersions bool `json:"-"`

	LongestRow int64 `json:"longest_row,omitempty"` // bytes of the longest row in a chunk; 0 in backups older than this field

	// Generated is what the stored generated columns held; nil where there are
	// none, and in backups older than this field.
	Generated *Generated `json:"generated,omitempty"`
}

// Generated tells whether another server computes what the origin's stored
// generated columns held. Their values are not in the chunks.
type Generated struct {
	Columns  []Column `json:"columns"`  // the table's key, then the stored generated columns
	Rows     int64    `json:"rows"`     // the present ones
	Checksum string   `json:"checksum"` // RowSum over the lines that these columns' values make
}

// Versions returns the table with its history in place of its present rows.
// It must have one.
func (t Table) Versions() Table {
	h := t.History
	t.Columns, t.Rows, t.Bytes, t.Checksum, t.Chunks, t.LongestRow = h.Columns, h.Rows, h.Bytes, h.Checksum, h.Chunks, h.LongestRow
	if len(t.Key) > 0 {
		t.Key = append(t.Key[:len(t.Key):len(t.Key)], h.Columns[len(h.Columns)-1].Name)
	}
	t.History, t.AllVersions = nil, true
	return t
}

// Files returns the chunks of the rows and of the history.
func (t Table) Files() []Chunk {
	if t.History == nil {
		return t.Chunks
	}
	return append(t.Chunks[:len(t.Chunks):len(t.Chunks)], t.History.Chunks...)
}

// History is all versions of a system-versioned table's rows: the present ones
// too, each with when it became true and when it ceased to be. The last two
// columns say when.
type History struct {
	Columns    []Column `json:"columns"`
	Rows       int64    `json:"rows"`
	Bytes      int64    `json:"bytes"`
	Checksum   string   `json:"checksum"` // RowSum over all of them
	Chunks     []Chunk  `json:"chunks,omitempty"`
	LongestRow int64    `json:"longest_row,omitempty"`
}

// EndOfTime stands for the end of a row that is still true.
const EndOfTime = "9999-12-31 23:59:59.999999"

// Column is a column whose values are stored; generated columns are not.
type Column struct {
	Name string `json:"name"`
	Form Form   `json:"form,omitempty"`
}

// Form says how a column's values are written in a chunk and read back.
type Form string

// The forms of values in a chunk.
const (
	FormBytes Form = ""      // the stored bytes, whatever the character set; numbers and dates as the server prints them
	FormFloat Form = "float" // the shortest decimal that reads back to the same double; FLOAT widened to double first
	FormEnd   Form = "end"   // when a row ceased to be true, in UTC; EndOfTime while it is
	FormText  Form = "text"  // utf8mb4 text that must be declared as such when it is loaded (MySQL's JSON; UUID, INET4, INET6)
)

// Chunk is one file of rows.
type Chunk struct {
	File     string `json:"file"` // path in the backup
	Rows     int64  `json:"rows"`
	Bytes    int64  `json:"bytes"`
	Checksum string `json:"checksum"`
}

// SchemaObject is a view, trigger, procedure, function, package or event, or a
// MariaDB sequence. File holds its CREATE statement as the server
// printed it; the other fields are the session settings that it was made under.
type SchemaObject struct {
	Kind      string `json:"kind"` // "sequence", "view", "trigger", "procedure", "function", "package", "package body", "event"
	Name      string `json:"name"`
	Table     string `json:"table,omitempty"` // of a trigger
	File      string `json:"file"`
	SQLMode   string `json:"sql_mode,omitempty"`
	Charset   string `json:"character_set_client,omitempty"`
	Collation string `json:"collation_connection,omitempty"`
	TimeZone  string `json:"time_zone,omitempty"` // of an event
	Definer   string `json:"definer,omitempty"`
	Value     string `json:"value,omitempty"` // of a sequence: the next value that was not handed out, a comma, and the cycle count
}

// Tree is what one component took from one folder.
type Tree struct {
	Component Component `json:"component"`
	Place     string    `json:"place"` // the folder in the component: "app" (below the app's root) or "system" (below /)
	Root      string    `json:"root"`  // the absolute folder it was captured from
	Include   []string  `json:"include"`
	Exclude   []string  `json:"exclude,omitempty"`
	Followed  []string  `json:"followed,omitempty"` // paths below the root that were links; what they pointed to was captured in their place
	Files     int64     `json:"files"`
	Dirs      int64     `json:"dirs"`
	Symlinks  int64     `json:"symlinks"`
	Bytes     int64     `json:"bytes"`
	Reused    int64     `json:"reused,omitempty"` // files that were not read again
	Extra     string    `json:"extra,omitempty"`  // path in the backup of what an Entry cannot hold; docs/spec/backup-layout.md
}

// Owners gives the names behind the numbers in the trees, as the machine of
// origin knew them. Keys are decimal ids.
type Owners struct {
	Users  map[string]string `json:"users,omitempty"`
	Groups map[string]string `json:"groups,omitempty"`
}

// Backup is a backup as lists show it, and the JSON object of the contract.
type Backup struct {
	ID           string         `json:"id"`
	App          string         `json:"app"`
	Profile      string         `json:"profile"`
	Host         string         `json:"host"`
	Time         time.Time      `json:"time"`
	Trigger      string         `json:"trigger"`
	Note         string         `json:"note,omitempty"`
	Consistency  Consistency    `json:"consistency"`
	FreezeMS     int64          `json:"freeze_ms"`
	DurationMS   int64          `json:"duration_ms"`
	LogicalBytes int64          `json:"logical_bytes"`
	StoredBytes  int64          `json:"stored_bytes"` // what this backup added to the repository
	Components   ComponentSizes `json:"components"`
	Warnings     []Warning      `json:"warnings"`
	Pinned       bool           `json:"pinned"`
	Verified     *time.Time     `json:"verified"` // when it was last read back whole and found intact
	Damaged      *time.Time     `json:"damaged"`  // when reading it back found damage; nil once it was found intact again
	Drilled      *time.Time     `json:"drilled"`
	Origin       *Origin        `json:"origin,omitempty"` // the archive that it was imported from
}

// Triggers of backups that show an app in a state that somebody wants to leave:
// `latest` and times never name them, their ids do, and checks pass them over.
const (
	TriggerBeforeRestore = "before-restore" // of what was live before a restore replaced it
	TriggerFailedCommand = "guard-failed"   // of what a guarded command left that failed
)

// Aside says whether b is of such a state.
func (b Backup) Aside() bool {
	return b.Trigger == TriggerBeforeRestore || b.Trigger == TriggerFailedCommand
}

// TriggerImport is that of backups that were made of an archive.
const TriggerImport = "import"

// ComponentSizes counts the components of a backup.
type ComponentSizes map[Component]ComponentSize

// MarshalJSON gives each component all of its own counts, those that are 0
// too, and none of another kind.
func (s ComponentSizes) MarshalJSON() ([]byte, error) {
	type database struct {
		Tables       int   `json:"tables"`
		Rows         int64 `json:"rows"`
		TablesReused int   `json:"tables_reused"`
		Bytes        int64 `json:"bytes"`
	}
	type tree struct {
		Files       int64 `json:"files"`
		FilesReused int64 `json:"files_reused"`
		Bytes       int64 `json:"bytes"`
	}
	if s == nil {
		return []byte("null"), nil
	}
	out := map[Component]any{}
	for c, n := range s {
		if c == ComponentDatabase {
			out[c] = database{n.Tables, n.Rows, n.TablesReused, n.Bytes}
		} else {
			out[c] = tree{n.Files, n.FilesReused, n.Bytes}
		}
	}
	return json.Marshal(out)
}

// ComponentSize counts a component. Database fields are 0 for trees and the
// other way round.
type ComponentSize struct {
	Tables       int   `json:"tables,omitempty"`
	Rows         int64 `json:"rows,omitempty"`
	TablesReused int   `json:"tables_reused,omitempty"`
	Files        int64 `json:"files,omitempty"`
	FilesReused  int64 `json:"files_reused,omitempty"`
	Bytes        int64 `json:"bytes"`
}
