package importing

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/repository"
)

// trees is the part of a review that is about files.
type trees struct {
	owned      map[string]files.Scope // "files/app" → what the manifest says is there
	included   []core.Tree            // of the place system
	configured files.Scope            // what the app itself has outside its folder
	live, was  string                 // the app's folder here, and where the backup was made
	extras     map[string]files.Extra // by path in the backup
	linked     map[string]bool        // what hard links lead to and did not come yet
	open       []openFolder
	named      map[string]bool // real names that are not the stored ones

	// code says whether a path lies where the live app has its code.
	code func(path string) bool

	outside, privileged, leading, among some
}

// openFolder is a folder that the entries under way lie in.
type openFolder struct {
	path, real string
	scope      files.Scope
}

// some counts, and keeps the first few names.
type some struct {
	count int
	names []string
}

func (s *some) add(name string) {
	s.count++
	if len(s.names) < 5 {
		s.names = append(s.names, fmt.Sprintf("%q", name))
	}
}

func (s some) String() string {
	text := strings.Join(s.names, ", ")
	if more := s.count - len(s.names); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (t *trees) begin(m core.Manifest, configured []core.FileSet, live string) {
	t.owned, t.extras, t.linked, t.named = map[string]files.Scope{}, map[string]files.Extra{}, map[string]bool{}, map[string]bool{}
	t.live, t.was = live, m.Root
	// What cannot be read as a scope is taken for nothing.
	t.configured, _ = files.NewScope(configured...)
	for _, tree := range m.Trees {
		if tree.Place != "app" {
			t.included = append(t.included, tree)
		}
	}
}

// tree looks at what the manifest says of one tree.
func (r *review) tree(t core.Tree) {
	where := repository.ManifestName
	name := string(t.Component) + "/" + t.Place
	switch {
	case t.Component != core.ComponentFiles && t.Component != core.ComponentConfig && t.Component != core.ComponentCode:
		r.flaw(where, "%q is no component with a tree", t.Component)
		return
	case t.Place != "app" && t.Place != "system":
		r.flaw(where, "%q is no place of a tree", t.Place)
		return
	case t.Place == "system" && t.Root != "/":
		r.flaw(where, "the tree %s is of %q, and not of /", name, t.Root)
	case !filepath.IsAbs(t.Root) || filepath.Clean(t.Root) != t.Root || !plain(t.Root):
		r.flaw(where, "the tree %s is of %q, which is no folder", name, t.Root)
	case t.Files < 0 || t.Dirs < 0 || t.Symlinks < 0 || t.Bytes < 0 || t.Reused < 0:
		r.flaw(where, "the tree %s counts below zero", name)
	case t.Extra != "" && t.Extra != files.ExtraName(t.Component):
		r.flaw(where, "the tree %s has %q", name, t.Extra)
	case len(t.Include) == 0:
		r.flaw(where, "the tree %s includes nothing", name)
	}
	for _, p := range t.Followed {
		if !cleanPath(p) {
			r.flaw(where, "the tree %s followed %q, which is no path in it", name, p)
		}
	}
	for _, p := range t.Exclude {
		if !plain(p) {
			r.flaw(where, "the tree %s excludes %q", name, p)
		}
	}
	if _, there := r.owned[name]; there {
		return
	}
	var same []core.Tree
	for _, other := range r.m.Trees {
		if other.Component == t.Component && other.Place == t.Place {
			same = append(same, other)
		}
	}
	scope, err := files.OwnedScope(same, t.Place)
	if err != nil {
		r.flaw(where, "the tree %s: %s", name, err)
	}
	r.owned[name] = scope
}

// extra takes an extra.jsonl.
func (r *review) extra(ctx context.Context, name string, body []byte) error {
	extras, err := files.ParseExtra(ctx, body)
	if core.CodeOf(err) == core.CodeDamage {
		r.flaw(name, "%s", err)
		return nil
	}
	if err != nil {
		return err
	}
	component := strings.TrimSuffix(name, ".extra.jsonl")
	for at, x := range extras {
		if !cleanPath(at) {
			r.flaw(name, "%q is no path in the tree", at)
		}
		r.extras[component+"/"+at] = x
		if x.Link == "" {
			continue
		}
		if !cleanPath(x.Link) || !strings.Contains(x.Link, "/") {
			r.flaw(name, "the hard link of %q leads to %q", at, x.Link)
			continue
		}
		r.linked[component+"/"+x.Link] = true
	}
	return nil
}

// entry takes an entry of a tree: everything lies where the manifest says.
func (r *review) entry(c core.Component, e archive.Stored) {
	if e.Mode&^(fs.ModePerm|fs.ModeSetuid|fs.ModeSetgid|fs.ModeSticky) != 0 {
		r.flaw(e.Path, "its mode is none")
	}
	elements := strings.SplitN(e.Path, "/", 3)
	if len(elements) == 1 {
		if e.Type == core.TypeDir {
			r.open = append(r.open[:0], openFolder{path: e.Path})
		}
		return
	}
	place := elements[1]
	if len(elements) == 2 {
		r.open = append(r.open[:0], openFolder{path: e.Path, scope: r.owned[e.Path]})
		r.look(place, ".", e, r.extras[e.Path], false)
		delete(r.extras, e.Path)
		return
	}
	for len(r.open) > 1 && r.open[len(r.open)-1].path != path.Dir(e.Path) {
		r.open = r.open[:len(r.open)-1]
	}
	in := r.open[len(r.open)-1]
	x := r.extras[e.Path]
	delete(r.extras, e.Path)
	name := e.Name
	if x.Name != nil {
		name = string(x.Name)
		if at := in.path + "/" + name; r.named[at] {
			r.flaw(e.Path, "another one has the same name")
		} else {
			r.named[at] = true
		}
	}
	real := path.Join(in.real, name)
	scope := in.scope.Child(name, real)
	if len(scope) == 0 || e.Type != core.TypeDir && !scope.Whole() {
		r.flaw(e.Path, "the manifest does not say that it is part of the backup")
		scope = nil
	}
	if e.Type == core.TypeDir {
		r.open = append(r.open, openFolder{path: e.Path, real: real, scope: scope})
	}
	if e.Type == core.TypeFile {
		delete(r.linked, e.Path)
	} else if x.Link != "" {
		r.flaw(e.Path, "it is said to be a hard link, and is no file")
	}
	if c == core.ComponentFiles && place == "app" && e.Type == core.TypeFile && r.code(real) {
		r.among.add(real)
	}
	r.look(place, real, e, x, scope.Whole())
}

// look notes what is worth a question before it is restored.
func (r *review) look(place, real string, e archive.Stored, x files.Extra, whole bool) {
	shown := real
	if place != "app" {
		shown = "/" + real
		if whole && !r.configuredPath(real) {
			r.outside.add(shown)
		}
	}
	privileged := e.Type == core.TypeFile && e.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0
	for name := range x.Xattrs {
		privileged = privileged || strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "trusted.")
	}
	if privileged {
		r.privileged.add(shown)
	}
	if e.Type == core.TypeSymlink && r.leadsOut(place, real, e.Link) {
		r.leading.add(shown + " → " + e.Link)
	}
}

// configuredPath says whether the app's own configuration names a path below /.
func (r *review) configuredPath(p string) bool {
	scope, at := r.configured, ""
	for element := range strings.SplitSeq(p, "/") {
		at = path.Join(at, element)
		scope = scope.Child(element, at)
	}
	return scope.Whole()
}

// leadsOut says whether a link leads out of what the app has, and is not there already.
func (r *review) leadsOut(place, real, target string) bool {
	// What comes back after it went down may go through another link on the way.
	down := target
	for strings.HasPrefix(down, "../") {
		down = down[len("../"):]
	}
	if down != ".." && slices.Contains(strings.Split(down, "/"), "..") {
		return !r.there(place, real, target)
	}
	if place == "app" && !path.IsAbs(target) {
		return !filepath.IsLocal(path.Join(path.Dir(real), target)) && !r.there(place, real, target)
	}
	to := path.Clean(target)
	if !path.IsAbs(target) {
		to = path.Join("/", path.Dir(real), target)
	}
	within := r.was != "" && (to == r.was || strings.HasPrefix(to, r.was+"/"))
	return !within && !r.configuredPath(strings.TrimPrefix(to, "/")) && !r.there(place, real, target)
}

// there says whether the live app has just this link.
func (r *review) there(place, real, target string) bool {
	root := "/"
	if place == "app" {
		root = r.live
	}
	now, err := os.Readlink(filepath.Join(root, real))
	return err == nil && root != "" && now == target
}

// warnings say what a restore asks about.
func (r *review) warnings() []core.Warning {
	var out []core.Warning
	add := func(code string, s some, message string) {
		if s.count > 0 {
			out = append(out, core.Warning{Code: code, Object: s.String(), Message: fmt.Sprintf(message, s.count)})
		}
	}
	add(engine.WarnOutsideFiles, r.outside, "%d files and folders lie outside the app's folder, where its configuration here names nothing: a restore would put them there")
	add(engine.WarnPrivileged, r.privileged, "%d files give whoever runs them the rights of their owner, or capabilities")
	add(engine.WarnAmongCode, r.among, "%d files of the users lie where the application's code is, which a restore would replace; look at them first if you do not know who wrote the archive")
	add(engine.WarnLinksOutside, r.leading, "%d symbolic links lead outside the app's folder, where the app has no such link now")
	return out
}
