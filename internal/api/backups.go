package api

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
)

// Paging chooses a part of a list.
type Paging struct {
	Offset int `query:"offset" default:"0" minimum:"0"`
	Limit  int `query:"limit" default:"50" minimum:"1" maximum:"1000"`
}

func (p Paging) page() console.Page { return console.Page{Offset: p.Offset, Limit: p.Limit} }

// OfBackup is a request about a backup.
type OfBackup struct {
	ID string `path:"id" maxLength:"100" doc:"The whole id of a backup."`
}

type ofBackupOnly struct {
	OfBackup
	Empty
}

type backupsAnswer struct {
	Schema int `json:"schema"`
	console.Backups
}

type backupAnswer struct {
	Schema int            `json:"schema"`
	Backup console.Detail `json:"backup"`
}

type pinAnswer struct {
	Schema int    `json:"schema"`
	ID     string `json:"id"`
	Pinned bool   `json:"pinned"`
}

type tablesAnswer struct {
	Schema int `json:"schema"`
	console.Tables
}

type filesAnswer struct {
	Schema int `json:"schema"`
	console.Folder
}

type comparisonAnswer struct {
	Schema int `json:"schema"`
	console.Comparison
}

// exportOrder is what POST /backups/{id}/exports takes.
type exportOrder struct {
	Format   string `json:"format" enum:"backstay,sql,itop,itflow"`
	Password string `json:"password,omitempty" format:"password" maxLength:"1024" writeOnly:"true" doc:"Encrypts the archive, in formats that can."`
}

func (a *API) registerBackups() {
	get := func(path, id, summary string) operation {
		return operation{method: http.MethodGet, path: path, id: id, tag: "backups", need: viewer, summary: summary}
	}
	add(a, get("/backups", "list-backups", "Backups, the newest first"), a.backups)
	add(a, get("/backups/{id}", "get-backup", "All of a backup but its content"), a.backup)
	add(a, get("/backups/{id}/tables", "list-tables", "The tables of a backup, with rows and bytes"), a.tables)
	add(a, get("/backups/{id}/files", "list-files", "A folder of a backup: folders first, by name"), a.files)
	add(a, get("/backups/{id}/compare", "compare-backups", "What is different in a backup as against another one"), a.compare)

	a.pins("/backups/{id}/pin", "pin-backup", "pin", "Keep a backup from retention and deletion", true)
	a.pins("/backups/{id}/unpin", "unpin-backup", "unpin", "Leave a backup to retention and deletion again", false)
	post := func(path, id, summary string) operation {
		return operation{method: http.MethodPost, path: path, id: id, tag: "backups", need: operator, status: http.StatusAccepted, summary: summary}
	}
	verify := post("/backups/{id}/verify", "verify-backup", "Begin to read back a backup and compare every checksum")
	verify.action = "verify"
	add(a, verify, func(ctx context.Context, in *ofBackupOnly) (*started, error) {
		run, err := a.o.Console.StartVerify(ctx, in.ID, asker(ctx))
		return a.begun(ctx, run, err)
	})
	export := post("/backups/{id}/exports", "export-backup", "Begin to make an archive to be downloaded")
	export.need, export.action = afresh, "export"
	export.text = "When the run is over, the archive is at /downloads/{run} for a day."
	add(a, export, a.export)
	add(a, operation{method: http.MethodDelete, path: "/backups/{id}", id: "delete-backup", tag: "backups", need: afresh, action: "delete", status: http.StatusNoContent,
		summary: "Delete a backup", text: "A pinned one is refused."},
		func(ctx context.Context, in *ofBackupOnly) (*struct{}, error) {
			return nil, a.o.Console.Delete(ctx, in.ID)
		})
}

func (a *API) pins(path, id, action, summary string, pin bool) {
	add(a, operation{method: http.MethodPost, path: path, id: id, tag: "backups", need: operator, action: action, summary: summary},
		func(ctx context.Context, in *ofBackupOnly) (*body[pinAnswer], error) {
			return answerOf(pinAnswer{Schema, in.ID, pin}), a.o.Console.Pin(ctx, in.ID, pin)
		})
}

func (a *API) backups(ctx context.Context, in *struct {
	Paging
	App string `query:"app" maxLength:"63" doc:"Of this app; none: of all."`
}) (*body[backupsAnswer], error) {
	found, err := a.o.Console.Backups(ctx, console.BackupQuery{App: in.App, Page: in.page()})
	return answerOf(backupsAnswer{Schema, found}), err
}

func (a *API) backup(ctx context.Context, in *OfBackup) (*body[backupAnswer], error) {
	found, err := a.o.Console.Backup(ctx, in.ID)
	return answerOf(backupAnswer{Schema, found}), err
}

func (a *API) tables(ctx context.Context, in *struct {
	OfBackup
	Paging
	Name string `query:"name" maxLength:"200" doc:"A part of the name."`
	Sort string `query:"sort" enum:"name,rows,bytes" default:"name"`
}) (*body[tablesAnswer], error) {
	found, err := a.o.Console.Tables(ctx, in.ID, console.TableQuery{Name: in.Name, Sort: in.Sort, Page: in.page()})
	return answerOf(tablesAnswer{Schema, found}), err
}

func (a *API) files(ctx context.Context, in *struct {
	OfBackup
	Paging
	Path string `query:"path" maxLength:"8192" doc:"Of the folder, from the backup's root: \"files/uploads\"; none: the root."`
	Name string `query:"name" maxLength:"255" doc:"A part of the name."`
}) (*body[filesAnswer], error) {
	found, err := a.o.Console.Folder(ctx, in.ID, console.FileQuery{Path: in.Path, Name: in.Name, Page: in.page()})
	return answerOf(filesAnswer{Schema, found}), err
}

func (a *API) compare(ctx context.Context, in *struct {
	OfBackup
	Former string `query:"former" required:"true" maxLength:"100" doc:"The whole id of the other backup."`
}) (*body[comparisonAnswer], error) {
	found, err := a.o.Console.Compare(ctx, in.Former, in.ID)
	return answerOf(comparisonAnswer{Schema, found}), err
}

func (a *API) export(ctx context.Context, in *struct {
	OfBackup
	Body exportOrder
}) (*started, error) {
	run, err := a.o.Console.StartExport(ctx, in.ID, in.Body.Format, core.NewSecret(in.Body.Password), asker(ctx))
	return a.begun(ctx, run, err)
}
