package importing

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/repository"
)

// storeNative stores the backup that the archive holds, and reads it back: what
// the archive says of its rows has not been compared with them yet.
func (i *importer) storeNative(ctx context.Context, session repository.Session, native archive.Native) (_ repository.Record, err error) {
	i.e.Progress.Stage("import "+i.file.base(), i.file.size())
	m := native.Manifest()
	// Whoever can write to the file may have changed it since it was looked at.
	review := i.watch(ctx)
	entries, err := native.Copy(ctx, session)
	if err != nil {
		return repository.Record{}, err
	}
	if open := slices.DeleteFunc(review.end(), i.agreed); len(open) > 0 {
		return repository.Record{}, i.notWhole(open)
	}
	now := i.manifest()
	now.Origin.Backup = m.ID
	m.ID, m.App, m.Trigger, m.Origin, m.Started, m.Time = now.ID, now.App, now.Trigger, now.Origin, now.Started, now.Time
	// What a restore asks about is what is found here, whatever the archive says of itself.
	m.Warnings = slices.DeleteFunc(m.Warnings, func(w core.Warning) bool { return engine.IsAsked(w.Code) })
	m.Warnings = append(append(m.Warnings, now.Warnings...), review.warnings()...)
	m.Warnings = append(m.Warnings, bringsCode(review.index.Objects)...)
	if i.req.Note != "" {
		m.Note = i.req.Note
	}
	if outside := placesOutside(m); outside != "" {
		m.Notes = append(m.Notes, "files outside the app's folder are in it: "+outside)
	}
	if err := i.file.unchanged(); err != nil {
		return repository.Record{}, err
	}
	rec, err := i.e.Commit(ctx, session, m, entries, i.req.Pin)
	if err != nil {
		return repository.Record{}, err
	}
	damaged, err := i.e.Inspect(ctx, rec)
	if err == nil && len(damaged) > 0 {
		err = &core.Error{
			Code: core.CodeDamage, Op: "import " + i.file.Name(), Message: fmt.Sprintf("what it says of itself is not so: %s: %s", damaged[0].Path, damaged[0].Message),
			Hint: "the archive was not written by backstay as it is; nothing of it was kept",
		}
	}
	if err != nil {
		if derr := i.e.Store.Delete(context.WithoutCancel(ctx), rec.ID); derr != nil {
			return repository.Record{}, fmt.Errorf("%w; and its backup %s could not be deleted: %w", err, rec.ID, derr)
		}
		return repository.Record{}, err
	}
	return rec, nil
}

// watch has the reading of a backup in an archive reviewed; nil: there is none.
func (i *importer) watch(ctx context.Context) *review {
	native, ok := i.archive.(archive.Native)
	if !ok {
		return nil
	}
	r := i.newReview(native.Manifest())
	native.Watch(func(e archive.Stored, body []byte) error { return r.take(ctx, e, body) })
	return r
}

// placesOutside names what a backup includes from outside its app's folder.
func placesOutside(m core.Manifest) string {
	var paths []string
	for _, t := range m.Trees {
		if t.Place == "app" {
			continue
		}
		for _, p := range t.Include {
			paths = append(paths, "/"+strings.TrimPrefix(p, "/"))
		}
	}
	return core.Some(paths, 5)
}

// review holds a backup that somebody else may have written against what a
// backup is: all that a restore puts into statements and paths, and all that
// it would not put anywhere.
type review struct {
	m     core.Manifest
	flaws []archive.Flaw
	database
	trees
}

func (i *importer) newReview(m core.Manifest) *review {
	r := &review{m: m}
	r.database.begin(m, i.ownDatabase())
	r.trees.begin(m, i.configured(), i.root())
	r.trees.code = i.amongCode
	r.manifest()
	return r
}

// ownDatabase is the name of the app's database; "": unknown.
func (i *importer) ownDatabase() string {
	if i.live != nil && i.live.Database != nil {
		return i.live.Database.Name
	}
	return i.req.Target.App.Database.Name
}

// configured is what the app has outside its folder, as its configuration says.
func (i *importer) configured() []core.FileSet {
	var out []core.FileSet
	if i.live != nil {
		for _, s := range i.live.FileSets {
			if s.Place != "app" {
				out = append(out, s)
			}
		}
		return out
	}
	paths := slices.Clone(i.req.Target.App.Config)
	for _, f := range i.req.Target.App.Files {
		paths = append(paths, f.Path)
	}
	for _, p := range paths {
		if filepath.IsAbs(p) {
			out = append(out, core.FileSet{Root: "/", Include: []core.Path{{Path: strings.TrimPrefix(filepath.Clean(p), "/")}}})
		}
	}
	return out
}

// take takes the next entry of the archive.
func (r *review) take(ctx context.Context, e archive.Stored, body []byte) error {
	first, _, _ := strings.Cut(e.Path, "/")
	switch {
	case first == string(core.ComponentDatabase):
		return r.definition(e, body)
	case body != nil:
		return r.extra(ctx, e.Path, body)
	}
	r.entry(core.Component(first), e)
	return nil
}

// end returns the flaws.
func (r *review) end() []archive.Flaw {
	for at := range r.linked {
		r.flaw(at, "a hard link leads there, and there is no such file")
	}
	for at := range r.extras {
		r.flaw(at, "there is no such entry, and an extra.jsonl is about it")
	}
	return r.flaws
}

const mostFlaws = 100

func (r *review) flaw(where, format string, args ...any) {
	r.add(archive.Flaw{Where: where, Message: fmt.Sprintf(format, args...), Refused: true})
}

func (r *review) add(f archive.Flaw) {
	if len(r.flaws) < mostFlaws {
		r.flaws = append(r.flaws, f)
	}
}

// word is what names of engines, character sets, environments and the like are made of.
var word = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// plain says whether a text can be shown and put into a message: no control
// characters, and not endless.
func plain(text string) bool {
	return len(text) <= 16<<10 && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}

// cleanPath says whether a path is one below a folder.
func cleanPath(p string) bool {
	for element := range strings.SplitSeq(p, "/") {
		if files.CheckName(element) != nil {
			return false
		}
	}
	return utf8.ValidString(p)
}

// manifest looks at what the manifest says, but for its trees and its database.
func (r *review) manifest() {
	const where = repository.ManifestName
	m := r.m
	has := map[core.Component]bool{}
	for _, c := range m.Components {
		if !slices.Contains(core.Components(), c) || has[c] {
			r.flaw(where, "%q is no component, or is there twice", c)
		}
		has[c] = true
	}
	if m.Database != nil && !has[core.ComponentDatabase] || m.Database == nil && has[core.ComponentDatabase] {
		r.flaw(where, "its list of components and its database do not agree")
	}
	for _, t := range m.Trees {
		r.tree(t)
		if !has[t.Component] {
			r.flaw(where, "the component %s is not in its list", t.Component)
		}
	}
	if m.Root != "" && (!filepath.IsAbs(m.Root) || filepath.Clean(m.Root) != m.Root || !plain(m.Root) || m.Root == "/") {
		r.flaw(where, "%q cannot have been the app's folder", m.Root)
	}
	for _, texts := range []map[string]string{m.Settings, m.Versions} {
		for name, text := range texts {
			if !word.MatchString(name) || !plain(text) {
				r.flaw(where, "a setting or a version is none: %q", name)
			}
		}
	}
	if config := m.Settings["config"]; config != "" && !cleanPath(config) {
		r.flaw(where, "%q cannot be the path of a configuration file", config)
	}
	if environment := m.Settings["environment"]; environment != "" && (!word.MatchString(environment) || strings.Trim(environment, ".") == "") {
		r.flaw(where, "%q cannot be an environment", environment)
	}
	for _, owners := range []map[string]string{m.Owners.Users, m.Owners.Groups} {
		for id, name := range owners {
			if strings.Trim(id, "0123456789") != "" || id == "" || !plain(name) {
				r.flaw(where, "an owner is none: %q", id)
			}
		}
	}
	for _, module := range m.Modules {
		if !plain(module.Name + module.Version + module.Source) {
			r.flaw(where, "a module is none: %q", module.Name)
		}
	}
}
