// Package backups is the pages about one backup: what it is and holds, its
// tables and files, single files and whole archives to be downloaded, and what
// is different from another one. It is for package web. It promises that names
// and numbers are all that it shows to those who may not have content, and that
// no path from an address leads out of a backup.
package backups

import (
	"embed"
	"io/fs"
	"net/http"
	"slices"
	"strconv"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

//go:embed templates/*.html
var templates embed.FS

type pages struct{ c *console.Console }

// Pages are the pages about one backup, on what c knows.
func Pages(c *console.Console) page.Pages {
	p := pages{c}
	own, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is built in
	}
	viewer, operator, admin := gate.Need{Role: access.Viewer}, gate.Need{Role: access.Operator}, gate.Need{Role: access.Admin}
	fresh := gate.Need{Role: access.Admin, Fresh: true}
	return page.Pages{Templates: own, Routes: []page.Route{
		{Method: http.MethodGet, Pattern: "/backups/{id}", Need: viewer, Handle: p.backup},
		{Method: http.MethodGet, Pattern: "/backups/{id}/tables", Need: viewer, Handle: p.tables},
		{Method: http.MethodGet, Pattern: "/backups/{id}/files/{path...}", Need: viewer, Handle: p.files},
		{Method: http.MethodGet, Pattern: "/backups/{id}/download/{path...}", Need: fresh, Action: "download file", Patient: true, Handle: p.file},
		{Method: http.MethodGet, Pattern: "/backups/compare", Need: viewer, Patient: true, Handle: p.compare},
		{Method: http.MethodPost, Pattern: "/backups/{id}/pin", Need: operator, Action: "pin", Handle: p.pin},
		{Method: http.MethodPost, Pattern: "/backups/{id}/unpin", Need: operator, Action: "unpin", Handle: p.pin},
		{Method: http.MethodPost, Pattern: "/backups/{id}/verify", Need: operator, Action: "verify", Handle: p.verify},
		{Method: http.MethodGet, Pattern: "/backups/{id}/delete", Need: fresh, Handle: p.askDelete},
		{Method: http.MethodPost, Pattern: "/backups/{id}/delete", Need: fresh, Action: "delete", Handle: p.delete},
		{Method: http.MethodGet, Pattern: "/backups/{id}/export", Need: fresh, Handle: p.askExport},
		{Method: http.MethodPost, Pattern: "/backups/{id}/export", Need: fresh, Action: "export", Handle: p.export},
		{Method: http.MethodGet, Pattern: "/downloads", Need: admin, Handle: p.downloads},
		{Method: http.MethodGet, Pattern: "/downloads/{run}/{name}", Need: fresh, Action: "download archive", Patient: true, Handle: p.archive},
		{Method: http.MethodPost, Pattern: "/downloads/{run}/remove", Need: admin, Action: "remove download", Handle: p.removeDownload},
	}}
}

func who(q *page.Request) console.Who { return console.Who{By: q.Who.By(), Via: "console"} }

// tables and files that a page shows: it is to stay below 100 kB.
const perPage = 100

// othersShown is how many backups are offered to be compared with.
const othersShown = 60

// component is a part of a backup with its numbers.
type component struct {
	Name core.Component
	core.ComponentSize
}

func componentsOf(b core.Backup) []component {
	var out []component
	for _, c := range core.Components() {
		if size, ok := b.Components[c]; ok {
			out = append(out, component{c, size})
		}
	}
	return out
}

func (p pages) backup(q *page.Request) error {
	d, err := p.c.Backup(q.Context(), q.PathValue("id"))
	if err != nil {
		return err
	}
	data := struct {
		D          console.Detail
		Components []component
		Others     []console.Backup
		More       bool // backups that are not among Others
		Restorable bool // its app is configured
		Database   bool
	}{D: d, Components: componentsOf(d.Backup.Backup), Database: d.Manifest.Database != nil}
	// What is missing here costs the page nothing.
	if _, err := p.c.App(q.Context(), d.App); err == nil {
		data.Restorable = true
	}
	if all, err := p.c.Backups(q.Context(), console.BackupQuery{App: d.App, Page: console.Page{Limit: othersShown + 1}}); err == nil {
		data.More = all.Total > othersShown+1
		data.Others = slices.DeleteFunc(all.Backups, func(b console.Backup) bool { return b.ID == d.ID })
		for i := range data.Others {
			data.Others[i].Time = data.Others[i].Time.In(q.Zone) // an option has no markup
		}
	}
	return q.Render("backup.html", data)
}

func (p pages) pin(q *page.Request) error {
	id, pin := q.PathValue("id"), q.Pattern == "POST /backups/{id}/pin"
	if err := p.c.Pin(q.Context(), id, pin); err != nil {
		return err
	}
	if pin {
		q.Say("backups.pinned.said")
	} else {
		q.Say("backups.unpinned.said")
	}
	return q.Go("/backups/{id}", id)
}

func (p pages) verify(q *page.Request) error {
	run, err := p.c.StartVerify(q.Context(), q.PathValue("id"), who(q))
	if err != nil {
		return err
	}
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}

// askDelete shows what would be lost.
func (p pages) askDelete(q *page.Request) error {
	d, err := p.c.Backup(q.Context(), q.PathValue("id"))
	if err != nil {
		return err
	}
	return p.deletePage(q, http.StatusOK, d, nil)
}

func (p pages) deletePage(q *page.Request, status int, d console.Detail, problems []page.Problem) error {
	return q.RenderStatus(status, "delete.html", struct {
		D        console.Detail
		Newest   bool
		Only     bool
		Problems []page.Problem
	}{d, d.Next == "", d.Next == "" && d.Former == "", problems})
}

func (p pages) delete(q *page.Request) error {
	id := q.PathValue("id")
	d, err := p.c.Backup(q.Context(), id)
	if err != nil {
		return err
	}
	if q.Field("confirm") != d.App {
		return p.deletePage(q, http.StatusBadRequest, d, []page.Problem{{Field: "confirm", Text: q.Text.T("backups.delete.mismatch", d.App)}})
	}
	if err := p.c.Delete(q.Context(), id); err != nil {
		return err
	}
	q.Say("backups.deleted.said", d.App)
	return q.Go("/apps/{app}", d.App)
}

func (p pages) askExport(q *page.Request) error {
	d, err := p.c.Backup(q.Context(), q.PathValue("id"))
	if err != nil {
		return err
	}
	return p.exportPage(q, http.StatusOK, d, nil)
}

func (p pages) exportPage(q *page.Request, status int, d console.Detail, problems []page.Problem) error {
	format := q.Field("format")
	if !slices.Contains(d.Formats, format) && len(d.Formats) > 0 {
		format = d.Formats[0]
	}
	return q.RenderStatus(status, "export.html", struct {
		D        console.Detail
		Format   string
		Problems []page.Problem
	}{d, format, problems})
}

func (p pages) export(q *page.Request) error {
	id := q.PathValue("id")
	d, err := p.c.Backup(q.Context(), id)
	if err != nil {
		return err
	}
	password := q.Secret("password")
	if password.Reveal() != q.Secret("again").Reveal() {
		return p.exportPage(q, http.StatusBadRequest, d, []page.Problem{{Field: "again", Text: q.Text.T("backups.export.mismatch")}})
	}
	run, err := p.c.StartExport(q.Context(), id, q.Field("format"), password, who(q))
	if core.CodeOf(err) == core.CodeUsage {
		return p.exportPage(q, http.StatusBadRequest, d, []page.Problem{{Field: "format", Text: err.Error()}})
	}
	if err != nil {
		return err
	}
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}
