package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sort"
	"strings"
	"syscall"

	"github.com/backstay/backstay/internal/core"
)

// maxLinkLook bounds how many folders FollowLinks looks into.
const maxLinkLook = 100_000

// Links are the symbolic links to folders that were found in a tree.
type Links struct {
	Followed []Link // their content is taken in their place
	Refused  []Link // stored as links; Why says why
	More     bool   // the tree was too large to look at all of it
}

// Link is a symbolic link to a folder.
type Link struct {
	Path   string // relative to the app's root
	Target string // the real folder
	Why    string // why it is not followed; "" when it is

	inside bool // the target lies in the app
}

// FollowLinks looks for symbolic links to folders at root/dir and up to depth
// levels below it, through the links that it follows. A dir that does not exist
// has none.
//
// The web server's user may write there, and backstay may run as root: so that
// a link made by the one does not make the other read what it may not, a link
// is followed only when root or the owner of what it points to made it. A link
// to a folder that holds it, or to one that lies in the app anyway, is not
// followed.
func FollowLinks(root, dir string, depth int) (Links, error) {
	realRoot, err := filepath.EvalSymlinks(root)
	if err != nil {
		return Links{}, err
	}
	w := &linkWalk{root: root, realRoot: realRoot}
	err = w.at(dir, depth)
	sort.Slice(w.links.Followed, func(i, j int) bool { return w.links.Followed[i].Path < w.links.Followed[j].Path })
	return w.links, err
}

type linkWalk struct {
	root, realRoot string
	links          Links
	looked         int
}

func (w *linkWalk) at(rel string, depth int) error {
	full := filepath.Join(w.root, rel)
	info, err := os.Lstat(full)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode()&fs.ModeSymlink != 0:
		link, isDir := w.judge(rel, info)
		if !isDir {
			return nil
		}
		if link.Why != "" {
			w.links.Refused = append(w.links.Refused, link)
			return nil
		}
		w.links.Followed = append(w.links.Followed, link)
	case !info.IsDir():
		return nil
	}
	if depth == 0 {
		return nil
	}
	if w.looked++; w.looked > maxLinkLook {
		w.links.More = true
		return nil
	}
	entries, err := os.ReadDir(full)
	if err != nil {
		return nil //nolint:nilerr // the capture reports what it cannot read
	}
	for _, e := range entries {
		if e.IsDir() || e.Type()&fs.ModeSymlink != 0 {
			if err := w.at(path.Join(rel, e.Name()), depth-1); err != nil {
				return err
			}
		}
	}
	return nil
}

// judge decides about a link; false when it is not one to a folder.
func (w *linkWalk) judge(rel string, link fs.FileInfo) (Link, bool) {
	full := filepath.Join(w.root, rel)
	out := Link{Path: rel}
	target, err := filepath.EvalSymlinks(full)
	if err != nil {
		return out, false // it leads nowhere
	}
	info, err := os.Stat(target)
	if err != nil || !info.IsDir() {
		return out, false
	}
	out.Target = target
	holder, err := filepath.EvalSymlinks(filepath.Dir(full))
	if err != nil {
		return out, false
	}
	switch {
	case target == "/" || holder == target || strings.HasPrefix(holder, target+"/"):
		out.Why = "it points to a folder that holds it"
	case target == w.realRoot || strings.HasPrefix(target, w.realRoot+"/"):
		out.Why, out.inside = "it points to a folder of the application, which is in the backup by its own name", true
	case !sameOwner(link, info):
		out.Why = fmt.Sprintf("neither root nor the owner of that folder made it; files: [{path: %s}] in backstay.yaml takes that folder", rel)
	}
	return out, true
}

func sameOwner(link, target fs.FileInfo) bool {
	l, ok := link.Sys().(*syscall.Stat_t)
	if !ok {
		return false
	}
	t, ok := target.Sys().(*syscall.Stat_t)
	return ok && (l.Uid == 0 || l.Uid == t.Uid)
}

// Report warns in found of what was not followed, unless files: in
// backstay.yaml names it, and returns the paths to take. The capture notes which
// it followed.
func (l Links) Report(app App, found *core.Application) []core.Path {
	var paths []core.Path
	for _, link := range l.Followed {
		paths = append(paths, core.Path{Path: link.Path, Optional: true, Follow: true})
	}
	for _, link := range l.Refused {
		switch {
		case link.named(app):
		case link.inside:
			Note(found, "%s is a link to %s and is stored as a link only: %s", link.Path, link.Target, link.Why)
		default:
			Warn(found, "link", link.Path, "it is a link to %s and is stored as a link only: %s", link.Target, link.Why)
		}
	}
	if l.More {
		Warn(found, "link", "", "not all folders were searched for links: there are more than %d", maxLinkLook)
	}
	return paths
}

// named says whether files: in backstay.yaml takes the link or what it leads to.
func (link Link) named(app App) bool {
	for _, f := range app.Files {
		p := f.Path
		if !filepath.IsAbs(p) {
			p = filepath.Join(app.Root, p)
		}
		if p = filepath.Clean(p); p == filepath.Join(app.Root, link.Path) || contains(p, link.Target) {
			return true
		}
	}
	return false
}
