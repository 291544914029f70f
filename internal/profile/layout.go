package profile

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/backstay/backstay/internal/core"
)

// Layout divides an app's files among the components, so that each path belongs
// to one at most. A path that config takes is taken by neither files nor code;
// one that files takes is not taken by code. Not safe for concurrent use.
type Layout struct {
	root    string
	claims  []claim
	exclude []glob
}

type claim struct {
	component core.Component
	place     string
	path      core.Path
	named     bool // a person named it: the profile's own exclusions do not hide it
}

type glob struct {
	component core.Component // "": all
	place     string
	pattern   string
	firm      bool // a person excluded it for the whole app: it is left out whatever takes it
}

// The places of core.FileSet.
const (
	placeApp    = "app"
	placeSystem = "system"
)

// NewLayout returns a layout for the app in root, "" for an app without a
// folder of its own.
func NewLayout(root string) *Layout {
	if root != "" {
		root = filepath.Clean(root)
	}
	return &Layout{root: root}
}

// Take gives a path below the root to a component. The path must be one that
// Relative accepts, or ".". Of two calls with the same path, one that follows
// and one that is not optional count.
func (l *Layout) Take(c core.Component, p core.Path) {
	for i, own := range l.claims {
		if own.component == c && own.place == placeApp && own.path.Path == p.Path && !own.named {
			l.claims[i].path.Follow = own.path.Follow || p.Follow
			l.claims[i].path.Optional = own.path.Optional && p.Optional
			return
		}
	}
	l.claims = append(l.claims, claim{component: c, place: placeApp, path: p})
}

// TakeNamed is Take for a path that a person named, in the application's
// configuration: it is taken also when it lies in what Exclude leaves out.
func (l *Layout) TakeNamed(c core.Component, p core.Path) {
	l.claims = append(l.claims, claim{component: c, place: placeApp, path: p, named: true})
}

// Exclude leaves out what matches globs relative to the root; component "" is
// all of them.
func (l *Layout) Exclude(c core.Component, globs ...string) {
	for _, g := range globs {
		l.exclude = append(l.exclude, glob{component: c, place: placeApp, pattern: g})
	}
}

// Add takes what backstay.yaml gives beyond the profile: files, config and
// exclusions. Paths are absolute or relative to the root. A path that is a link
// to a folder is followed: it was named on purpose.
func (l *Layout) Add(app App) error {
	for i, f := range app.Files {
		what := fmt.Sprintf("files[%d].path", i)
		p, place, err := l.locate(f.Path)
		if err != nil {
			return wrongPath(app, what, f.Path, err)
		}
		l.claims = append(l.claims, claim{core.ComponentFiles, place, core.Path{Path: p, Follow: true}, true})
		for j, g := range f.Exclude {
			if err := checkGlob(g); err != nil {
				return wrongPath(app, fmt.Sprintf("files[%d].exclude[%d]", i, j), g, err)
			}
			if p != "." {
				g = EscapeGlob(p) + "/" + strings.TrimPrefix(g, "/")
			}
			l.exclude = append(l.exclude, glob{core.ComponentFiles, place, g, false})
		}
	}
	for i, c := range app.Config {
		p, place, err := l.locate(c)
		if err != nil {
			return wrongPath(app, fmt.Sprintf("config[%d]", i), c, err)
		}
		l.claims = append(l.claims, claim{core.ComponentConfig, place, core.Path{Path: p, Follow: true}, true})
	}
	for i, g := range app.Exclude {
		if err := checkGlob(g); err != nil {
			return wrongPath(app, fmt.Sprintf("exclude[%d]", i), g, err)
		}
		// An absolute glob is for what lies outside the root.
		rest, inRoot := strings.CutPrefix(g, EscapeGlob(l.root)+"/")
		switch {
		case !strings.HasPrefix(g, "/"):
			l.exclude = append(l.exclude, glob{"", placeApp, g, true})
		case inRoot && l.root != "":
			l.exclude = append(l.exclude, glob{"", placeApp, rest, true})
		default:
			l.exclude = append(l.exclude, glob{"", placeSystem, strings.TrimPrefix(g, "/"), true})
		}
	}
	return nil
}

// checkGlob says what is wrong with a pattern.
func checkGlob(g string) error {
	switch {
	case strings.Trim(g, "/") == "" || strings.ContainsRune(g, 0):
		return errors.New("it is empty or holds a NUL")
	case slices.Contains(strings.Split(g, "/"), ".."):
		return errors.New("it leads out of the folder")
	case !doublestar.ValidatePattern(g):
		return errors.New("it is not a valid pattern")
	}
	return nil
}

// hides says whether g leaves out p itself or a folder that p lies in.
func (g glob) hides(p string) bool {
	pattern := strings.TrimSuffix(g.pattern, "/")
	if strings.HasSuffix(pattern, "/**") {
		pattern += "/*" // doublestar would match the folder itself
	}
	for ; p != "." && p != "/"; p = path.Dir(p) {
		if doublestar.MatchUnvalidated(pattern, p) {
			return true
		}
	}
	return false
}

// LeftOut returns the first of a FileSet's Exclude that leaves out p, or a
// folder that p lies in; "": none does.
func LeftOut(exclude []string, p string) string {
	for _, pattern := range exclude {
		if checkGlob(pattern) == nil && (glob{pattern: pattern}).hides(p) {
			return pattern
		}
	}
	return ""
}

func wrongPath(app App, setting, value string, err error) error {
	return &core.Error{
		Code: core.CodeConfig, Op: fmt.Sprintf("read %s of app %s in backstay.yaml", setting, app.Name), Message: fmt.Sprintf("%q", value), Err: err,
		Hint: "give an absolute path, or one relative to the app's root without \"..\"",
	}
}

// locate returns where a path given by a person lies.
func (l *Layout) locate(given string) (rel, place string, err error) {
	if strings.ContainsRune(given, 0) || given == "" {
		return "", "", fmt.Errorf("it is empty or holds a NUL")
	}
	if !filepath.IsAbs(given) {
		if l.root == "" {
			return "", "", fmt.Errorf("it is relative, and the app has no root")
		}
		rel, err := Relative(given)
		return rel, placeApp, err
	}
	clean := filepath.Clean(given)
	if l.root != "" {
		if rel, ok := below(l.root, clean); ok {
			return rel, placeApp, nil
		}
		// The same file by its real name.
		realRoot, rootErr := filepath.EvalSymlinks(l.root)
		realDir, dirErr := filepath.EvalSymlinks(filepath.Dir(clean))
		if rootErr == nil && dirErr == nil {
			if rel, ok := below(realRoot, filepath.Join(realDir, filepath.Base(clean))); ok {
				return rel, placeApp, nil
			}
		}
	}
	if clean == "/" {
		return "", "", fmt.Errorf("it is the whole file system")
	}
	return strings.TrimPrefix(clean, "/"), placeSystem, nil
}

// below returns p relative to dir when it is dir or lies below it.
func below(dir, p string) (string, bool) {
	if p == dir {
		return ".", true
	}
	rest, ok := strings.CutPrefix(p, strings.TrimSuffix(dir, "/")+"/")
	return rest, ok
}

// Relative checks a path that should lie below the app's root and returns it
// clean: no leading or trailing "/", no "." elements. Absolute paths and ".."
// are errors.
func Relative(p string) (string, error) {
	switch {
	case p == "" || strings.ContainsRune(p, 0):
		return "", fmt.Errorf("it is empty or holds a NUL")
	case strings.HasPrefix(p, "/"):
		return "", fmt.Errorf("it is absolute")
	}
	for element := range strings.SplitSeq(p, "/") {
		if element == ".." {
			return "", fmt.Errorf("it leads out of the folder")
		}
	}
	return path.Clean(p), nil
}

// EscapeGlob returns a pattern that matches p and nothing else.
func EscapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`, "]", `\]`, "{", `\{`, "}", `\}`, "!", `\!`, "^", `\^`).Replace(p)
}

// rank orders the components: the lower takes a path from the higher.
func rank(c core.Component) int {
	switch c {
	case core.ComponentConfig:
		return 0
	case core.ComponentFiles:
		return 1
	}
	return 2
}

// FileSets returns the division, config first. What a person named inside of
// what the profile leaves out is in a set of its own.
func (l *Layout) FileSets() []core.FileSet {
	var sets []core.FileSet
	for _, place := range []string{placeApp, placeSystem} {
		for _, c := range []core.Component{core.ComponentConfig, core.ComponentFiles, core.ComponentCode} {
			var together, apart []claim
			for i, own := range l.claims {
				switch {
				case own.component != c || own.place != place || l.taken(i):
				case own.named && slices.ContainsFunc(l.exclude, func(g glob) bool { return g.concerns(own) && !g.firm && g.hides(own.path.Path) }):
					apart = append(apart, own)
				default:
					together = append(together, own)
				}
			}
			var own []core.FileSet
			if len(together) > 0 {
				own = append(own, l.fileSet(together, false))
			}
			for _, one := range apart {
				own = append(own, l.fileSet([]claim{one}, true))
			}
			sets = append(sets, merge(own)...)
		}
	}
	return sets
}

// merge makes one set of those that leave out the same.
func merge(sets []core.FileSet) []core.FileSet {
	var out []core.FileSet
	for _, s := range sets {
		at := slices.IndexFunc(out, func(o core.FileSet) bool { return slices.Equal(o.Exclude, s.Exclude) })
		if at < 0 {
			out = append(out, s)
			continue
		}
		out[at].Include = append(out[at].Include, s.Include...)
	}
	return out
}

// concerns says whether g is about the component and place of own.
func (g glob) concerns(own claim) bool {
	return g.place == own.place && (g.component == "" || g.component == own.component)
}

// fileSet makes a set of claims of one component and place. A set for a claim
// that is apart is without the exclusions that would hide it.
func (l *Layout) fileSet(claims []claim, apart bool) core.FileSet {
	first := claims[0]
	set := core.FileSet{Component: first.component, Place: first.place, Root: l.root}
	if first.place == placeSystem {
		set.Root = "/"
	}
	leaveOut := func(pattern string) {
		if !slices.Contains(set.Exclude, pattern) {
			set.Exclude = append(set.Exclude, pattern)
		}
	}
	root := strings.TrimPrefix(l.root, "/")
	for _, own := range claims {
		set.Include = append(set.Include, own.path)
		for _, p := range l.before(own) {
			leaveOut(EscapeGlob(p))
		}
		// A folder outside that holds the app's root: what lies in the root is
		// divided among the sets of the root.
		if own.place == placeSystem && root != "" && contains(own.path.Path, root) {
			leaveOut(EscapeGlob(root))
		}
	}
	for _, g := range l.exclude {
		if g.concerns(first) && (!apart || g.firm || !g.hides(first.path.Path)) {
			leaveOut(g.pattern)
		}
	}
	return set
}

// before returns the paths inside of own that components before it take,
// without those that lie in another of them.
func (l *Layout) before(own claim) []string {
	var paths []string
	for _, other := range l.claims {
		if other.place == own.place && rank(other.component) < rank(own.component) && contains(own.path.Path, other.path.Path) {
			paths = append(paths, other.path.Path)
		}
	}
	return slices.DeleteFunc(slices.Clone(paths), func(p string) bool {
		return slices.ContainsFunc(paths, func(dir string) bool { return dir != p && contains(dir, p) })
	})
}

// taken says whether claim i is covered by another one: of a component that
// goes before it, or of its own.
func (l *Layout) taken(i int) bool {
	own := l.claims[i]
	for j, other := range l.claims {
		if i == j || other.place != own.place || !contains(other.path.Path, own.path.Path) {
			continue
		}
		switch {
		case rank(other.component) < rank(own.component):
			// What the other leaves out, a person's word brings back.
			if !own.named || !slices.ContainsFunc(l.exclude, func(g glob) bool {
				return g.concerns(other) && !g.firm && g.hides(own.path.Path) && !g.hides(other.path.Path)
			}) {
				return true
			}
		case other.component != own.component:
		case other.path.Path == own.path.Path:
			if j < i && (other.path.Follow || !own.path.Follow) {
				return true
			}
		case !own.path.Follow && !own.named:
			return true
		}
	}
	return false
}

// contains says whether p is dir or lies below it.
func contains(dir, p string) bool {
	return dir == "." || p == dir || strings.HasPrefix(p, dir+"/")
}

// CheckRoot says whether root can be an app's root folder.
func CheckRoot(app App) error {
	fail := func(message string, err error, hint string) error {
		return &core.Error{Code: core.CodeApplication, Op: "open the root folder of app " + app.Name, Message: message, Err: err, Hint: hint}
	}
	fix := "correct root: of app " + app.Name + " in backstay.yaml; `backstay detect` lists what is installed here"
	if app.Root == "" {
		return fail("no root folder is given", nil, "write root: /path/to/the/application for app "+app.Name+" in backstay.yaml")
	}
	if !filepath.IsAbs(app.Root) {
		return fail(fmt.Sprintf("%q is not an absolute path", app.Root), nil, fix)
	}
	info, err := os.Stat(app.Root)
	switch {
	case os.IsPermission(err):
		return fail("", err, "run backstay as root or as the web server's user")
	case err != nil:
		return fail("", err, fix)
	case !info.IsDir():
		return fail(app.Root+" is not a folder", nil, fix)
	case filepath.Clean(app.Root) == "/":
		return fail(app.Root+" is the whole file system", nil, fix)
	}
	return nil
}
