// Package settings is the pages on which the configuration is changed: by a form
// or as text, with a look at the difference before anything is written. It is
// for package web. It promises that nothing is written that was not shown
// before, that no secret of the file is shown, and that a file that somebody
// else changed meanwhile is shown anew.
package settings

import (
	"embed"
	"errors"
	"io/fs"
	"net/http"
	"slices"
	"strconv"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/config/edit"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

//go:embed templates/*.html
var templates embed.FS

// Options are what the pages work on.
type Options struct {
	Console  *console.Console
	Path     string // of backstay.yaml
	StateDir string
	// Effective is the configuration in effect, and why the file as it is now is
	// not that; nil when it is.
	Effective func() (*edit.Config, error)
}

type pages struct{ o Options }

// everywhere is the scope of `defaults` and of the file itself in addresses: no
// app can be called so.
const everywhere = "-"

// maxBody is the most that a form may have: the text goes along escaped.
const maxBody = 4 * edit.MaxBytes

// Pages are the pages about settings.
func Pages(o Options) page.Pages {
	p := pages{o}
	own, err := fs.Sub(templates, "templates")
	if err != nil {
		panic(err) // the folder is built in
	}
	admin, operator := gate.Need{Role: access.Admin}, gate.Need{Role: access.Operator}
	return page.Pages{Templates: own, Routes: []page.Route{
		{Method: http.MethodGet, Pattern: "/settings", Need: admin, Handle: p.all},
		{Method: http.MethodGet, Pattern: "/settings/{scope}/{section}", Need: admin, Handle: p.edit},
		{Method: http.MethodPost, Pattern: "/settings/{scope}/{section}", Need: admin, Body: maxBody, Handle: p.review},
		// Whether the password was given a moment ago is asked by the handler, which
		// keeps what was typed.
		{Method: http.MethodPost, Pattern: "/settings/{scope}/{section}/apply", Need: admin, Action: "settings", Body: maxBody, Handle: p.apply},
		{Method: http.MethodPost, Pattern: "/settings/{scope}/notify-test", Need: operator, Action: "notify test", Handle: p.try},
		{Method: http.MethodGet, Pattern: "/versions/{id}", Need: admin, Handle: p.version},
		{Method: http.MethodPost, Pattern: "/versions/{id}", Need: admin, Action: "settings", Handle: p.putBack},
	}}
}

// row is a section in the list.
type row struct {
	Scope, Section string
	Set, Inherited bool
	Line           int
	Trouble        string
}

type group struct {
	Scope, Name string
	Rows        []row
}

func (p pages) all(q *page.Request) error {
	d, err := edit.Read(p.o.Path)
	if err != nil {
		return err
	}
	look := func(scope, section string) row {
		r := row{Scope: scope, Section: section}
		s, err := d.Section(named(scope), section)
		if err != nil {
			r.Trouble = err.Error()
		}
		r.Set, r.Line = s.Set, s.Line
		return r
	}
	defaults := group{Scope: everywhere}
	for _, section := range edit.Sections() {
		defaults.Rows = append(defaults.Rows, look(everywhere, section))
	}
	var groups []group
	apps := d.Apps()
	from := min(q.Offset(), len(apps))
	shown := apps[from:min(from+perPage, len(apps))]
	for _, app := range shown {
		g := group{Scope: app, Name: app}
		for i, section := range edit.Sections() {
			r := look(app, section)
			r.Inherited = !r.Set && defaults.Rows[i].Set
			g.Rows = append(g.Rows, r)
		}
		groups = append(groups, g)
	}
	defaults.Rows = append(defaults.Rows, look(everywhere, "service"))
	versions, err := edit.Versions(p.o.StateDir)
	if err != nil {
		return err
	}
	return q.Render("all.html", struct {
		Path, Trouble string
		Pending       bool
		Groups        []group
		Versions      []edit.Version
		Pager         page.Pager
	}{p.o.Path, p.trouble(), !p.taken(d), append(groups, defaults), versions, page.PagerOf(from, perPage, len(shown), len(apps), func(at int) string {
		return q.Path("/settings?offset={offset}", strconv.Itoa(at))
	})})
}

// perPage is how many apps a page shows.
const perPage = 30

// taken says whether the service works by what the file says.
func (p pages) taken(d *edit.Document) bool {
	if p.o.Effective == nil {
		return true
	}
	now, err := d.Config()
	if err != nil {
		return false
	}
	effective, _ := p.o.Effective()
	return edit.SameSettings(now, effective)
}

// trouble is why the service does not work by what the file says.
func (p pages) trouble() string {
	if p.o.Effective == nil {
		return ""
	}
	if _, err := p.o.Effective(); err != nil {
		return err.Error()
	}
	return ""
}

// named is the name of a scope in package edit.
func named(scope string) string {
	if scope == everywhere {
		return ""
	}
	return scope
}

// place is what a page of a section is about.
type place struct {
	Scope, Section string
	App            string // "" for all
}

// where finds what an address is about. `defaults` is understood where no app is
// called so.
func where(q *page.Request, d *edit.Document) (place, error) {
	at := place{Scope: q.PathValue("scope"), Section: q.PathValue("section")}
	if at.Scope == "defaults" && !slices.Contains(d.Apps(), at.Scope) {
		at.Scope = everywhere
	}
	at.App = named(at.Scope)
	if at.Section == "console" {
		// Who may log in, and how, is not for a page to lock everybody out with.
		return at, &core.Error{Code: core.CodeNotFound, Message: "the section console cannot be changed here", Hint: "change " + d.Path() + " with an editor"}
	}
	_, err := d.Section(at.App, at.Section)
	return at, err
}

// form is what the page of a section shows.
type form struct {
	place
	Text, Digest  string
	Set, Guided   bool
	Line          int
	Fields        []field
	When          string // of schedule: what says when
	Types         []string
	Problems      []page.Problem
	Pending       bool
	Trouble, Path string
}

func (p pages) form(d *edit.Document, at place, text string) (form, error) {
	s, err := d.Section(at.App, at.Section)
	if err != nil {
		return form{}, err
	}
	f := form{place: at, Text: text, Digest: d.Digest(), Set: s.Set, Line: s.Line, Trouble: p.trouble(), Pending: !p.taken(d), Path: p.o.Path}
	f.Fields, f.When, f.Guided = fieldsOf(at.Section, text)
	if at.Section == "notify" {
		f.Types = edit.DestinationTypes()
	}
	return f, nil
}

func (p pages) edit(q *page.Request) error {
	d, err := edit.Read(p.o.Path)
	if err != nil {
		return err
	}
	at, err := where(q, d)
	if err != nil {
		return err
	}
	s, err := d.Section(at.App, at.Section)
	if err != nil {
		return err
	}
	f, err := p.form(d, at, s.Text)
	if err != nil {
		return err
	}
	return q.Render("edit.html", f)
}

// look is what the page before writing shows.
type look struct {
	place
	*edit.Proposal
	Digest  string
	Version *edit.Version // that is put back; nil: a section is changed
	Changed bool          // the file was, meanwhile
	Stale   bool          // the password has to be given first
}

// Mark is the sign of a line, for those who see no colours.
func (look) Mark(l edit.Line) string { return string(rune(l.Kind)) }

// Number is that of a line of the file as it would be, or as it was.
func (look) Number(l edit.Line) string {
	if n := max(l.New, l.Old); n > 0 {
		if l.Kind != '-' {
			n = l.New
		}
		return strconv.Itoa(n)
	}
	return ""
}

func (p pages) review(q *page.Request) error {
	d, err := edit.Read(p.o.Path)
	if err != nil {
		return err
	}
	at, err := where(q, d)
	if err != nil {
		return err
	}
	s, err := d.Section(at.App, at.Section)
	if err != nil {
		return err
	}
	text, again := q.Form.Get("text"), false
	switch q.Field("mode") {
	case "text":
	case "form":
		text, err = filled(at.Section, s.Text, q)
	case "back":
		again = true
	case "add":
		text, err = withDestination(text, q.Field("type"))
		again = true
	default:
		err = &core.Error{Code: core.CodeUsage, Message: "this is not a form of this page", Hint: "open the page again"}
	}
	var proposal *edit.Proposal
	if err == nil && !again {
		proposal, err = d.Replace(at.App, at.Section, text)
	}
	if again || err != nil {
		f, ferr := p.form(d, at, text)
		if ferr != nil {
			return ferr
		}
		status := http.StatusOK
		if err != nil {
			status, f.Problems = http.StatusUnprocessableEntity, problem(q, err)
		}
		return q.RenderStatus(status, "edit.html", f)
	}
	// The form was of the file as it was then.
	status, changed := http.StatusOK, q.Field("digest") != "" && q.Field("digest") != d.Digest()
	if changed {
		status = http.StatusConflict
	} else if len(proposal.Problems) > 0 {
		status = http.StatusUnprocessableEntity
	}
	return q.RenderStatus(status, "review.html", look{place: at, Proposal: proposal, Digest: d.Digest(), Changed: changed})
}

// problem shows an error above a form.
func problem(_ *page.Request, err error) []page.Problem {
	text := err.Error()
	if hint := core.HintOf(err); hint != "" {
		text += " (" + hint + ")"
	}
	return []page.Problem{{Field: "text", Text: text}}
}

func (p pages) apply(q *page.Request) error {
	d, err := edit.Read(p.o.Path)
	if err != nil {
		return err
	}
	at, err := where(q, d)
	if err != nil {
		return err
	}
	q.Concerns(at.Scope + " " + at.Section)
	proposal, err := d.Replace(at.App, at.Section, q.Form.Get("text"))
	if err != nil {
		return err
	}
	return p.write(q, d, look{place: at, Proposal: proposal, Digest: d.Digest()})
}

// write applies what was looked at, or shows it again with why it cannot be.
func (p pages) write(q *page.Request, d *edit.Document, l look) error {
	again := func(status int) error {
		q.Unnoted()
		return q.RenderStatus(status, "review.html", l)
	}
	if q.Field("digest") != d.Digest() {
		l.Changed = true
		return again(http.StatusConflict)
	}
	if len(l.Problems) > 0 {
		return again(http.StatusUnprocessableEntity)
	}
	if !q.Who.Fresh(q.Now) {
		l.Stale = true
		return again(http.StatusForbidden)
	}
	err := l.Apply(q.Now, p.o.StateDir, q.Who.By())
	if errors.Is(err, edit.ErrChanged) {
		l.Changed = true
		return again(http.StatusConflict)
	}
	if err != nil {
		return err
	}
	q.Say("settings.written")
	if l.Version != nil {
		return q.Go("/settings")
	}
	return q.Go("/settings/{scope}/{section}", l.Scope, l.Section)
}

func (p pages) try(q *page.Request) error {
	app := named(q.PathValue("scope"))
	q.Concerns(q.PathValue("scope"))
	run, err := p.o.Console.StartNotifyTest(q.Context(), app, console.Who{By: q.Who.By(), Via: "console"})
	if err != nil {
		return err
	}
	return q.Go("/runs/{id}", strconv.FormatInt(run, 10))
}

// former finds the version of the address, and what putting it back would do.
func (p pages) former(q *page.Request) (*edit.Document, look, error) {
	d, err := edit.Read(p.o.Path)
	if err != nil {
		return nil, look{}, err
	}
	proposal, err := d.PutBack(p.o.StateDir, q.PathValue("id"))
	if err != nil {
		return nil, look{}, err
	}
	versions, err := edit.Versions(p.o.StateDir)
	if err != nil {
		return nil, look{}, err
	}
	l := look{Proposal: proposal, Digest: d.Digest()}
	for i := range versions {
		if versions[i].ID == q.PathValue("id") {
			l.Version = &versions[i]
		}
	}
	if l.Version == nil {
		return nil, look{}, &core.Error{Code: core.CodeNotFound, Message: "there is no such former configuration"}
	}
	return d, l, nil
}

func (p pages) version(q *page.Request) error {
	_, l, err := p.former(q)
	if err != nil {
		return err
	}
	return q.Render("review.html", l)
}

func (p pages) putBack(q *page.Request) error {
	d, l, err := p.former(q)
	if err != nil {
		return err
	}
	q.Concerns("version " + l.Version.ID)
	return p.write(q, d, l)
}
