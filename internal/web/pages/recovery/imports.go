package recovery

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

// imports lists the apps that something can be imported into.
func (p pages) imports(q *page.Request) error {
	o, err := p.c.Overview(q.Context())
	if err != nil {
		return err
	}
	return q.Render("imports.html", o.Apps)
}

// received is an upload, and whether all of it is there.
type received struct {
	console.Upload
	Whole bool
}

func (p pages) askImport(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	return p.importPage(q, http.StatusOK, a, nil)
}

func (p pages) importPage(q *page.Request, status int, a console.App, problems []page.Problem) error {
	found, err := p.c.Uploads(q.Context())
	if err != nil {
		return err
	}
	data := struct {
		A        console.App
		Whole    []received // that can be imported
		Begun    []received // of which something is missing
		Chosen   string
		Problems []page.Problem
	}{A: a, Chosen: q.Field("upload"), Problems: problems}
	for _, u := range found {
		if whole := u.Size >= 0 && u.Received == u.Size; whole {
			data.Whole = append(data.Whole, received{u, true})
		} else {
			data.Begun = append(data.Begun, received{u, false})
		}
	}
	return q.RenderStatus(status, "import.html", data)
}

// upload takes a whole file in one form, as browsers without script send it.
func (p pages) upload(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	wrong := func(text string) error {
		return p.importPage(q, http.StatusBadRequest, a, []page.Problem{{Field: "file", Text: text}})
	}
	form, err := q.MultipartReader()
	if err != nil {
		return wrong(q.Text.T("recovery.import.nofile"))
	}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			return wrong(q.Text.T("recovery.import.nofile"))
		}
		if err != nil {
			return wrong(q.Text.T("recovery.import.broken"))
		}
		if part.FormName() != "file" {
			continue
		}
		name := sentName(part.Header.Get("Content-Disposition"))
		if name == "" {
			return wrong(q.Text.T("recovery.import.nofile"))
		}
		u, err := p.receive(q, name, part)
		switch code := core.CodeOf(err); {
		case err == nil:
			q.Concerns(a.App + " " + u.Name)
			return q.Go("/apps/{app}/import?upload={id}", a.App, u.ID)
		case code == core.CodeUsage || code == core.CodeDisk:
			text := err.Error()
			if hint := core.HintOf(err); hint != "" {
				text += ": " + hint
			}
			return wrong(text)
		default:
			return err
		}
	}
}

// receive keeps a file whole, or not at all: without script nobody can send the rest.
func (p pages) receive(q *page.Request, name string, content io.Reader) (console.Upload, error) {
	u, err := p.c.BeginUpload(q.Context(), name, -1, who(q))
	if err != nil {
		return u, err
	}
	if _, err := p.c.AppendUpload(q.Context(), u.ID, 0, content); err != nil {
		return u, errors.Join(err, p.c.RemoveUpload(q.Context(), u.ID))
	}
	return p.c.FinishUpload(q.Context(), u.ID)
}

// sentName is the name of a file as the browser sent it: old ones send folders
// too, which say nothing here.
func sentName(disposition string) string {
	_, params, err := mime.ParseMediaType(disposition)
	if err != nil {
		return ""
	}
	name := path.Base(strings.ReplaceAll(params["filename"], `\`, "/"))
	if name == "." || name == "/" {
		return ""
	}
	return name
}

func (p pages) startImport(q *page.Request) error {
	a, err := p.c.App(q.Context(), q.PathValue("app"))
	if err != nil {
		return err
	}
	run, err := p.c.StartImport(q.Context(), a.App, q.Field("upload"), q.Field("format"), q.Secret("password"), who(q))
	if code := core.CodeOf(err); code == core.CodeUsage || code == core.CodeNotFound {
		return p.importPage(q, http.StatusBadRequest, a, []page.Problem{{Field: "upload", Text: err.Error()}})
	}
	if err != nil {
		return err
	}
	return toRun(q, run)
}

func (p pages) removeUpload(q *page.Request) error {
	if err := p.c.RemoveUpload(q.Context(), q.Field("upload")); err != nil {
		return err
	}
	q.Say("recovery.import.removed.said")
	return q.Go("/apps/{app}/import", q.PathValue("app"))
}
