// Package console answers what people ask of backstay over the web: the same
// use cases as the commands, in the terms of pages and API calls. It is for
// packages api and web. It promises that what takes long is a run, a process of
// its own that goes on whoever looks; that what it shows of backups is at most
// seconds old; and that it keeps nothing in memory that a restart would lose.
package console

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"time"

	"github.com/backstay/backstay/internal/config"
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
	Open     func(ctx context.Context) (Repository, error)
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
	Result string   // the file that takes its result, JSON; made by the launcher
	// Secret is given to the command in a file of its own, as the value of the
	// flag SecretFlag; empty: none.
	Secret     core.Secret
	SecretFlag string
	// Cleanup is called when the process has ended; nil: nothing is.
	Cleanup func()
}

// Console is safe for concurrent use.
type Console struct{ o Options }

// New makes a console. Close must be called.
func New(o Options) *Console { return &Console{o: o} }

// Close lets go of the repository.
func (c *Console) Close(ctx context.Context) error { return nil }

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
	// NoSchedule says that nothing backs it up by itself, and Why: "": it does.
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
	// Undone says that it was undone already: undo would bring the backup's state back again.
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

// Overview looks at all apps. It is seconds old at most.
func (c *Console) Overview(ctx context.Context) (Overview, error) { return Overview{}, errUnfinished }

// App looks at one; CodeNotFound.
func (c *Console) App(ctx context.Context, name string) (App, error) { return App{}, errUnfinished }

// Backups lists backups.
func (c *Console) Backups(ctx context.Context, q BackupQuery) (Backups, error) {
	return Backups{}, errUnfinished
}

// Setting is a setting of an app in effect, and where it comes from.
type Setting struct {
	Section string `json:"section"` // "schedule", "retention", "check", "notify", "app", "database", "restore", "export"
	Name    string `json:"name"`
	Value   string `json:"value"`  // for people; secrets are not shown
	Source  string `json:"source"` // "backstay.yaml:12", "defaults (backstay.yaml:40)", "the application: /var/www/itop/conf/…", "backstay's default"
}

// Settings are an app's settings in effect.
func (c *Console) Settings(ctx context.Context, app string) ([]Setting, error) {
	return nil, errUnfinished
}

// Check is one thing that was looked at.
type Check struct {
	Name    string `json:"name"`
	Health  string `json:"health"` // "ok", "warning", "failed"
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// Doctor looks now whether an app can be backed up and restored: database,
// rights, files, free space, versions. It takes some seconds at most.
func (c *Console) Doctor(ctx context.Context, app string) ([]Check, error) { return nil, errUnfinished }

// Detail is all of one backup but its content.
type Detail struct {
	Backup
	Manifest core.Manifest `json:"manifest"`
	Tables   int           `json:"tables"`
	Formats  []string      `json:"formats"` // that it can be downloaded as: "backstay", "sql", "itop", "itflow"
	// Former and Next are the ids of the app's backups before and after it; "": none.
	Former string `json:"former,omitempty"`
	Next   string `json:"next,omitempty"`
}

// Backup looks at one; CodeNotFound. id is whole.
func (c *Console) Backup(ctx context.Context, id string) (Detail, error) {
	return Detail{}, errUnfinished
}

// Table is a table of a backup.
type Table struct {
	Name   string `json:"name"`
	Engine string `json:"engine"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	Reused bool   `json:"-"`
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

// Tables lists the tables of a backup.
func (c *Console) Tables(ctx context.Context, id string, q TableQuery) (Tables, error) {
	return Tables{}, errUnfinished
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

// Folder lists a folder of a backup: folders first, by name. CodeNotFound;
// CodeUsage for a path that no backup can have.
func (c *Console) Folder(ctx context.Context, id string, q FileQuery) (Folder, error) {
	return Folder{}, errUnfinished
}

// Content is a file of a backup. Close must be called.
type Content struct {
	io.ReadSeekCloser
	File
	ETag string // changes when the content does
}

// Open opens a file of a backup. Errors as Folder; CodeUsage for a folder.
func (c *Console) Open(ctx context.Context, id, path string) (*Content, error) {
	return nil, errUnfinished
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

// Compare says what is different in the backup id as against former.
func (c *Console) Compare(ctx context.Context, former, id string) (Comparison, error) {
	return Comparison{}, errUnfinished
}

// Pin keeps a backup from retention and deletion, or lets go of it.
func (c *Console) Pin(ctx context.Context, id string, pin bool) error { return errUnfinished }

// Delete removes a backup. A pinned one is refused.
func (c *Console) Delete(ctx context.Context, id string) error { return errUnfinished }

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

// Runs lists runs, the newest first.
func (c *Console) Runs(ctx context.Context, q RunQuery) ([]core.Run, error) {
	return nil, errUnfinished
}

// Run looks at one; CodeNotFound.
func (c *Console) Run(ctx context.Context, id int64) (Run, error) { return Run{}, errUnfinished }

// Watch calls see with the run, at once and each time that something has
// changed, until it is over, see returns an error, or ctx ends. The last call
// has the run that is over.
func (c *Console) Watch(ctx context.Context, id int64, see func(Run) error) error {
	return errUnfinished
}

// Cancel asks a run to end. CodeNotFound when it is not running.
func (c *Console) Cancel(ctx context.Context, id int64, w Who) error { return errUnfinished }

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

// StartBackup begins a backup and returns its run. An app that is being worked on is waited for.
func (c *Console) StartBackup(ctx context.Context, app string, o BackupOrder, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartVerify begins to read back a backup.
func (c *Console) StartVerify(ctx context.Context, id string, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartCheck begins a check of an app; "" is all apps.
func (c *Console) StartCheck(ctx context.Context, app string, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartPrune begins to remove what retention does not keep.
func (c *Console) StartPrune(ctx context.Context, app string, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartMaintain begins to give back space.
func (c *Console) StartMaintain(ctx context.Context, w Who) (int64, error) { return 0, errUnfinished }

// StartNotifyTest begins to try the destinations of an app's alarms; "" is the machine's.
func (c *Console) StartNotifyTest(ctx context.Context, app string, w Who) (int64, error) {
	return 0, errUnfinished
}

// Accept says that an app's newest backup is right as it is.
func (c *Console) Accept(ctx context.Context, app string) error { return errUnfinished }

// RestoreOrder is what to restore.
type RestoreOrder struct {
	App    string           `json:"app"`
	Backup string           `json:"backup"`
	Only   []core.Component `json:"only,omitempty"`
	Tables []string         `json:"tables,omitempty"`
	Paths  []string         `json:"paths,omitempty"`
	Force  []string         `json:"force,omitempty"` // findings that somebody agreed to
}

// StartPlan begins to find out what a restore would do; the run's result is the
// plan, as `backstay restore --dry-run --json` prints it.
func (c *Console) StartPlan(ctx context.Context, o RestoreOrder, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartRestore begins a restore. It stops before it changes anything when there
// is a finding that needs a decision and is not in Force.
func (c *Console) StartRestore(ctx context.Context, o RestoreOrder, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartResume begins to finish a restore that was cut short.
func (c *Console) StartResume(ctx context.Context, app string, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartUndo begins to put back what the last restore replaced; with drop it
// gives that up and frees its space.
func (c *Console) StartUndo(ctx context.Context, app string, drop bool, w Who) (int64, error) {
	return 0, errUnfinished
}

// StartExport begins to make a download of a backup. password encrypts it, for
// formats that can; empty: none.
func (c *Console) StartExport(ctx context.Context, id, format string, password core.Secret, w Who) (int64, error) {
	return 0, errUnfinished
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

// Downloads lists those there are, the newest first.
func (c *Console) Downloads(ctx context.Context) ([]Download, error) { return nil, errUnfinished }

// OpenDownload opens the file of the download that a run made. CodeNotFound.
func (c *Console) OpenDownload(ctx context.Context, run int64) (Download, io.ReadSeekCloser, error) {
	return Download{}, nil, errUnfinished
}

// RemoveDownload removes it before its time.
func (c *Console) RemoveDownload(ctx context.Context, run int64) error { return errUnfinished }

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

// BeginUpload makes room for an archive. CodeDisk when there is none.
func (c *Console) BeginUpload(ctx context.Context, name string, size int64, w Who) (Upload, error) {
	return Upload{}, errUnfinished
}

// AppendUpload adds a part at offset, which must be what was received so far
// (CodeUsage otherwise, with the upload as it is). What arrives before an error is kept.
func (c *Console) AppendUpload(ctx context.Context, id string, offset int64, part io.Reader) (Upload, error) {
	return Upload{}, errUnfinished
}

// Upload looks at one, Uploads at all. CodeNotFound.
func (c *Console) Upload(ctx context.Context, id string) (Upload, error) {
	return Upload{}, errUnfinished
}

// Uploads lists those there are, the newest first.
func (c *Console) Uploads(ctx context.Context) ([]Upload, error) { return nil, errUnfinished }

// RemoveUpload gives one up.
func (c *Console) RemoveUpload(ctx context.Context, id string) error { return errUnfinished }

// StartImport begins to make a backup of an app from an upload that is whole.
// format "" is found out; password opens it, where it is encrypted.
func (c *Console) StartImport(ctx context.Context, app, upload, format string, password core.Secret, w Who) (int64, error) {
	return 0, errUnfinished
}

// RepositoryInfo is the repository's state.
type RepositoryInfo struct {
	URL        string              `json:"url"` // without secrets
	Error      *core.Error         `json:"-"`
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

// Repository looks at it.
func (c *Console) Repository(ctx context.Context) (RepositoryInfo, error) {
	return RepositoryInfo{}, errUnfinished
}

// ShowKey returns the repository's key, for somebody who has to keep a copy elsewhere.
func (c *Console) ShowKey(ctx context.Context) (core.Secret, error) {
	return core.Secret{}, errUnfinished
}

// AuditQuery chooses entries of the audit log.
type AuditQuery struct {
	Who, Action, Object string
	Since               time.Time
	Page                Page
}

// Audit lists entries, the newest first.
func (c *Console) Audit(ctx context.Context, q AuditQuery) ([]core.Audited, error) {
	return nil, errUnfinished
}

// VerifyAudit says whether the log is as it was written.
func (c *Console) VerifyAudit(ctx context.Context) (state.AuditReport, error) {
	return state.AuditReport{}, errUnfinished
}

// Note adds to the audit log.
func (c *Console) Note(ctx context.Context, a core.Audited) error { return errUnfinished }

// Alarms lists alarms, open and closed, the newest first.
func (c *Console) Alarms(ctx context.Context, max int) ([]core.Alarm, error) {
	return nil, errUnfinished
}

var errUnfinished = &core.Error{Code: core.CodeUnsupported, Message: "not finished"}
