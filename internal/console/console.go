// Package console answers what people ask of backstay over the web: the same
// use cases as the commands, in the terms of pages and API calls. It is for
// packages api and web. It promises that what takes long is a run, a process of
// its own that goes on whoever looks; that what it shows is never older than the
// last run that ended here; and that it keeps nothing in memory that a restart would lose.
package console

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/console/transfer"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/progress"
	"github.com/backstay/backstay/internal/state"
)

// Options are what a Console works on.
type Options struct {
	StateDir   string
	ConfigPath string
	Config     func() *config.Config // in effect; never nil
	State      func(ctx context.Context) *state.DB
	// Open opens the repository of the configuration in effect. The caretaker
	// that it makes uses it, and is used by one goroutine.
	Open func(ctx context.Context) (Repository, error)
	// Without is a repository that cannot be used and says why: so what is known
	// without it can still be shown.
	Without  func(reason error) (Repository, error)
	Launcher Launcher
	Clock    core.Clock
	Log      *slog.Logger
	Version  string
}

// Repository is the open repository.
type Repository interface {
	Engine() *engine.Engine
	Caretaker(ctx context.Context) *operation.Caretaker
	Close(ctx context.Context) error
}

// Launcher starts backstay commands as processes that are recorded as runs.
type Launcher interface {
	// Launch records a run and starts its process. It returns as soon as the
	// process runs; the run's id is good for Run, Cancel and package progress.
	Launch(ctx context.Context, l Launch) (run int64, err error)
	// Cancel asks the process of a run, whoever started it, to end, which it does
	// cleanly. CodeNotFound when no such run is running.
	Cancel(ctx context.Context, run int64, by string) error
}

// Launch is a command to be run.
type Launch struct {
	Kind   string // one of core's RunKind constants
	App    string
	Backup string   // the id of the backup that it reads; ""
	Args   []string // of the command, without --config, --json and the like: "backup", "helpdesk"
	By     string   // who wants it
	Via    string   // "console" or "api"
	// Prepare is called with the run's id before its process starts, and returns
	// more arguments; nil: there are none.
	Prepare func(run int64) ([]string, error)
	Result  string // the file that takes its result, JSON; made by the launcher. "{run}" in it is the run's id
	// Secret is given to the command in a file of its own, as the value of the
	// flag SecretFlag; empty: none.
	Secret     core.Secret
	SecretFlag string
	// Cleanup is called when the process has ended; nil: nothing is.
	Cleanup func()
}

// Console is safe for concurrent use.
type Console struct {
	o       Options
	hold    *holder
	status  cached[Overview]
	listed  cached[*listing]
	opens   *recent[string, *engine.Open]
	folders *recent[core.ObjectID, []core.Entry]
	places  *recent[string, core.Entry] // what lies at a path of a backup, which never changes
	diffs   *recent[string, *engine.Difference]
	space   cached[core.Space]

	ahead sync.Mutex // held while a folder is read that nobody has asked for yet

	uploads   *transfer.Uploads
	downloads *transfer.Downloads

	mu       sync.Mutex // guards what follows
	outlooks map[string]*cached[*outlook]
	marked   runMark
}

// New makes a console. Close must be called.
func New(o Options) *Console {
	c := &Console{
		o: o, opens: newRecent[string, *engine.Open](mostOpen), folders: newRecent[core.ObjectID, []core.Entry](mostNames),
		places: newRecent[string, core.Entry](mostPlaces),
		diffs:  newRecent[string, *engine.Difference](mostDiffs), uploads: transfer.NewUploads(o.StateDir, o.Clock), downloads: transfer.NewDownloads(o.StateDir, o.Clock),
		outlooks: map[string]*cached[*outlook]{},
	}
	c.downloads.Limits = func() (time.Duration, int64) { return o.Config().Console.Keep, o.Config().Console.Most }
	c.hold = &holder{open: o.Open, now: o.Clock.Now, shown: func(err error) { o.Log.Error("close the repository", "err", err) }}
	return c
}

// Close lets go of the repository.
func (c *Console) Close() { c.hold.close() }

// Page is a part of a list.
type Page struct {
	Offset int `json:"offset"`
	Limit  int `json:"limit"` // 0: 50; at most 1,000
	Total  int `json:"total"` // of the whole list; -1: not known
}

// Overview is all apps at one moment.
type Overview struct {
	Time       time.Time      `json:"time"`
	Apps       []App          `json:"apps"`
	Repository *core.Space    `json:"repository"` // nil: it could not be asked
	Backups    int            `json:"backups"`
	Unlisted   bool           `json:"unlisted"` // the repository could not be read: last backups are those that are remembered here
	Problems   []core.Problem `json:"problems"` // of the repository and of backstay itself
	Running    []core.Run     `json:"running"`
}

// App is an app at a glance.
type App struct {
	operation.AppStatus
	Application string `json:"application,omitempty"` // what was captured last: "iTop 3.2.1"
	Backups     int    `json:"backups"`
	// Disabled says in so many words that nothing backs it up by itself; "": something does.
	Disabled string `json:"disabled,omitempty"`
	// Overdue says that the newest backup is older than its schedule or its check allows.
	Overdue bool    `json:"overdue"`
	Trend   []Point `json:"trend"` // of its last backups, the oldest first
	// Undo is the restore that can be undone; nil: there is none.
	Undo *Undo `json:"undo"`
	// Unfinished says that a restore was cut short, and what is so.
	Unfinished string `json:"unfinished,omitempty"`
}

// Point is the size of a backup at a time.
type Point struct {
	Backup  string    `json:"backup"`
	Time    time.Time `json:"time"`
	Logical int64     `json:"logical_bytes"`
	Stored  int64     `json:"stored_bytes"`
}

// Undo is the last restore of an app, and that it can be taken back.
type Undo struct {
	Backup     string    `json:"backup"` // that was restored
	BackupTime time.Time `json:"backup_time"`
	Scope      string    `json:"scope,omitempty"` // of the app, in words; "": all
	Restored   time.Time `json:"restored"`
	Until      time.Time `json:"until"`
	Safety     string    `json:"safety_backup,omitempty"`
	// Undone says that it was undone already: what it had brought is kept, to be dropped.
	Undone bool `json:"undone"`
}

// Backup is a backup in a list.
type Backup struct {
	core.Backup
	Keep    bool     `json:"keep"`
	Reasons []string `json:"reasons"` // why retention keeps or removes it
	// KeptUntil is when retention will remove it if backups go on as scheduled;
	// nil: never, or not known (KeptUnknown).
	KeptUntil   *time.Time `json:"kept_until"`
	KeptUnknown string     `json:"kept_unknown,omitempty"`
}

// Backups is a part of a list of backups, the newest first.
type Backups struct {
	Page
	Backups  []Backup `json:"backups"`
	Unlisted string   `json:"unlisted,omitempty"` // why some or all are missing
}

// BackupQuery chooses backups.
type BackupQuery struct {
	App  string // "": of all apps
	Page Page
}

// Setting is a setting of an app in effect, and where it comes from.
type Setting struct {
	Section string `json:"section"` // "schedule", "retention", "check", "notify", "app", "database", "restore", "export"
	Name    string `json:"name"`
	Value   string `json:"value"`  // for people; secrets are not shown
	Source  string `json:"source"` // "backstay.yaml:12", "defaults (backstay.yaml:40)", "the application: /var/www/itop/conf/…", "backstay's default"
}

// Check is one thing that was looked at.
type Check struct {
	Name    string `json:"name"`
	Health  string `json:"health"` // "ok", "warning", "failed"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Detail is all of one backup but its content.
type Detail struct {
	Backup
	Manifest core.Manifest `json:"manifest"`
	Tables   int           `json:"tables"`
	// Damage says why the tables cannot be listed though there is a database; "": they can.
	Damage  string   `json:"damage,omitempty"`
	Formats []string `json:"formats"` // that it can be downloaded as: "backstay", "sql", "itop", "itflow"
	// Former and Next are the ids of the app's backups before and after it; "": none.
	Former string `json:"former,omitempty"`
	Next   string `json:"next,omitempty"`
}

// Table is a table of a backup.
type Table struct {
	Name   string `json:"name"`
	Engine string `json:"engine"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
}

// Tables are tables of a backup, and its other objects.
type Tables struct {
	Page
	Tables  []Table             `json:"tables"`
	Objects []core.SchemaObject `json:"objects"` // views, triggers, routines, events; with the first part only
}

// TableQuery chooses tables.
type TableQuery struct {
	Name string // a part of it; "": all
	Sort string // "name", "rows", "bytes"; "": name
	Page Page
}

// File is a name in a folder of a backup.
type File struct {
	Name    string         `json:"name"`
	Path    string         `json:"path"` // from the backup's root: "files/uploads/a.pdf"
	Type    core.EntryType `json:"type"`
	Size    int64          `json:"size"`
	Files   int64          `json:"files,omitempty"` // below a folder
	Mode    string         `json:"mode"`            // "-rw-r-----"
	Owner   string         `json:"owner"`           // "www-data:www-data", as at the capture
	ModTime time.Time      `json:"mtime"`
	Target  string         `json:"target,omitempty"` // of a symbolic link
}

// Folder is a part of a folder of a backup.
type Folder struct {
	Page
	Path    string `json:"path"` // "" is the backup's root
	Entries []File `json:"entries"`
}

// FileQuery chooses names.
type FileQuery struct {
	Path string
	Name string // a part of the name; "": all
	Page Page
}

// Content is a file of a backup. Close must be called.
type Content struct {
	io.ReadSeekCloser
	File
	ETag string // changes when the content does
}

// Comparison is what is different in Backup as against Former.
type Comparison struct {
	Former     Backup            `json:"former"`
	Backup     Backup            `json:"backup"`
	Difference engine.Difference `json:"difference"`
	// Files are the first files that differ, each with its component's folder.
	Files []engine.Change `json:"files"`
	More  int             `json:"more_files"` // that are not among Files
}

// Run is a run with what is known of it.
type Run struct {
	core.Run
	Progress *progress.Progress `json:"progress"` // nil: it says nothing (yet), or is over
	Result   json.RawMessage    `json:"result"`   // what the command printed, of a run from here that is over; null: nothing
	Download *Download          `json:"download"` // of an export that is over
}

// RunQuery chooses runs.
type RunQuery struct {
	App, Kind string
	Outcome   core.Outcome
	Since     time.Time
	Plans     bool // those that change nothing, of kind "plan", too
	Page      Page // Total is -1; there is more while the list is as long as Limit
}

// Who wants something.
type Who struct {
	By  string // as access.Identity.By
	Via string // "console" or "api"
}

// BackupOrder is a backup to be made now.
type BackupOrder struct {
	Only []core.Component // none: all
	Note string
	Pin  bool
}

// RestoreOrder is what to restore.
type RestoreOrder struct {
	App    string           `json:"app"`
	Backup string           `json:"backup"`
	Only   []core.Component `json:"only,omitempty"`
	Tables []string         `json:"tables,omitempty"`
	Paths  []string         `json:"paths,omitempty"`
	Force  []string         `json:"force,omitempty"` // findings that somebody agreed to
}

// Download is an archive that was made to be downloaded. It is kept for a day.
type Download struct {
	Run    int64     `json:"run"`
	Name   string    `json:"name"` // of the file
	Size   int64     `json:"size"`
	SHA256 string    `json:"sha256,omitempty"`
	Made   time.Time `json:"made"`
	Until  time.Time `json:"until"`
	By     string    `json:"by"`
}

// Upload is an archive on its way here, in parts. It is kept for two days after
// its last part.
type Upload struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Size     int64     `json:"size"`     // of the whole file
	Received int64     `json:"received"` // from its beginning
	Begun    time.Time `json:"begun"`
	Until    time.Time `json:"until"`
	By       string    `json:"by"`
}

// RepositoryInfo is the repository's state.
type RepositoryInfo struct {
	URL        string              `json:"url"`             // without secrets
	Error      string              `json:"error,omitempty"` // why it cannot be read; "": it can
	Space      *core.Space         `json:"space"`
	Growth     []state.SpaceSample `json:"growth"` // of the last 90 days, the oldest first
	Backups    int                 `json:"backups"`
	Apps       map[string]int      `json:"apps"`          // backups by app, those that the configuration does not have too
	Logical    int64               `json:"logical_bytes"` // of all backups together
	Maintained *core.Run           `json:"maintained"`    // the last maintenance by the records
	Next       *time.Time          `json:"next_maintenance"`
	Key        Key                 `json:"key"`
	Problems   []core.Problem      `json:"problems"`
}

// Key is the state of the repository's key.
type Key struct {
	Source   string     `json:"source"` // "file /etc/backstay/repository.key", "environment BACKSTAY_KEY", "the configuration"
	Readable bool       `json:"readable"`
	Changed  *time.Time `json:"changed"` // of a file
	Trouble  string     `json:"trouble,omitempty"`
}

// AuditReport says whether the audit log is as it was written.
type AuditReport = state.AuditReport

// AuditQuery chooses entries of the audit log.
type AuditQuery struct {
	Who, Action, Object string
	Since               time.Time
	Page                Page
}
