package backups

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/web/page"
)

func (p pages) tables(q *page.Request) error {
	id, name, sort := q.PathValue("id"), q.Field("name"), q.Field("sort")
	if sort != "rows" && sort != "bytes" {
		sort = "name"
	}
	d, err := p.c.Backup(q.Context(), id)
	if err != nil {
		return err
	}
	found, err := p.c.Tables(q.Context(), id, console.TableQuery{Name: name, Sort: sort, Page: console.Page{Offset: q.Offset(), Limit: perPage}})
	if err != nil {
		return err
	}
	link := func(offset int) string {
		return q.Path("/backups/{id}/tables?name={name}&sort={sort}&offset={offset}", id, name, sort, strconv.Itoa(offset))
	}
	return q.Render("tables.html", struct {
		D          console.Detail
		Name, Sort string
		Found      console.Tables
		Pager      page.Pager
	}{d, name, sort, found, page.PagerOf(found.Offset, found.Limit, len(found.Tables), found.Total, link)})
}

// crumb is a folder on the way to another one.
type crumb struct{ Name, Path string }

func crumbs(path string) []crumb {
	if path == "" {
		return nil
	}
	var out []crumb
	for at, name := range strings.Split(path, "/") {
		c := crumb{Name: name, Path: name}
		if at > 0 {
			c.Path = out[at-1].Path + "/" + name
		}
		out = append(out, c)
	}
	return out
}

func (p pages) files(q *page.Request) error {
	id, name := q.PathValue("id"), q.Field("name")
	d, err := p.c.Backup(q.Context(), id)
	if err != nil {
		return err
	}
	folder, err := p.c.Folder(q.Context(), id, console.FileQuery{Path: q.PathValue("path"), Name: name, Page: console.Page{Offset: q.Offset(), Limit: perPage}})
	if err != nil {
		return err
	}
	link := func(offset int) string {
		return q.Path("/backups/{id}/files/{path...}?name={name}&offset={offset}", id, folder.Path, name, strconv.Itoa(offset))
	}
	_, err = p.c.App(q.Context(), d.App)
	return q.Render("files.html", struct {
		D      console.Detail
		Folder console.Folder
		Crumbs []crumb
		Name   string
		Pager  page.Pager
		// Restorable says that what is chosen here can be restored: it is of an
		// app that is configured, and not of the database.
		Restorable bool
	}{d, folder, crumbs(folder.Path), name, page.PagerOf(folder.Offset, folder.Limit, len(folder.Entries), folder.Total, link), err == nil && folder.Path != "" && crumbs(folder.Path)[0].Name != string(core.ComponentDatabase)})
}

// file sends one file of a backup.
func (p pages) file(q *page.Request) (err error) {
	id := q.PathValue("id")
	f, err := p.c.Open(q.Context(), id, q.PathValue("path"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	q.Concerns(id + " " + f.Path)
	if f.Type != core.TypeFile {
		return &core.Error{Code: core.CodeUsage, Op: "download " + f.Path, Message: "it is not a file", Hint: "links and folders come with an archive of the whole backup"}
	}
	return send(q, f.Name, f.ETag, f.ModTime, f)
}

// watched remembers what went wrong in reading: http.ServeContent does not say.
type watched struct {
	io.ReadSeeker
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.ReadSeeker.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// send answers with content to be kept as a file, in whole or in the parts that
// are asked for. It is never shown: it may be anybody's HTML.
func send(q *page.Request, name, etag string, modified time.Time, content io.ReadSeeker) error {
	h := q.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Content-Disposition", attachment(name))
	h.Set("Cache-Control", "private, no-cache")
	h.Set("ETag", etag)
	w := &watched{ReadSeeker: content}
	http.ServeContent(q, q.Request, "", modified, w)
	if w.err != nil && q.Context().Err() == nil {
		return fmt.Errorf("read %s: %w", name, w.err)
	}
	return nil
}

// attachment is a Content-Disposition with the name in full for those who know
// RFC 5987, and in ASCII for others.
func attachment(name string) string {
	var plain, full strings.Builder
	for _, r := range name {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%/;`, r) {
			r = '_'
		}
		plain.WriteRune(r)
	}
	for _, b := range []byte(name) {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("!#$&+-.^_`|~", b) >= 0 {
			full.WriteByte(b)
		} else {
			fmt.Fprintf(&full, "%%%02X", b)
		}
	}
	return `attachment; filename="` + plain.String() + `"; filename*=UTF-8''` + full.String()
}

func (p pages) compare(q *page.Request) error {
	former, id := q.Field("former"), q.Field("backup")
	if former == "" || id == "" || former == id {
		return &core.Error{Code: core.CodeUsage, Op: "compare backups", Message: "two backups are needed", Hint: "open a backup, and choose another one to compare it with"}
	}
	found, err := p.c.Compare(q.Context(), former, id)
	if err != nil {
		return err
	}
	// Of what is long the page names the first; `backstay diff` names all.
	const most = 200
	d := &found.Difference
	cut := max(len(d.Tables)-most, 0) + max(len(d.Objects)-most, 0) + max(len(d.Modules)-most, 0)
	d.Tables, d.Objects, d.Modules = d.Tables[:min(len(d.Tables), most)], d.Objects[:min(len(d.Objects), most)], d.Modules[:min(len(d.Modules), most)]
	if over := len(found.Files) - most; over > 0 {
		found.Files, found.More = found.Files[:most], found.More+over
	}
	return q.Render("compare.html", struct {
		C     console.Comparison
		Cut   int
		Empty bool
	}{found, cut, d.Empty()})
}
