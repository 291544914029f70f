package profile

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// detectDepth is how many levels below a given folder installations are looked
// for.
const detectDepth = 4

// maxDetectLook bounds how many folders Detect looks into.
const maxDetectLook = 50_000

// WebRoots are the folders in which web applications usually lie.
func WebRoots() []string {
	roots := []string{
		"/var/www", "/srv", "/opt", "/usr/share/nginx", "/usr/local/www", "/usr/local/apache2/htdocs", "/usr/share/webapps", "/var/lib/www",
	}
	for _, pattern := range []string{"/home/*/public_html", "/home/*/www", "/home/*/htdocs", "/home/*/web"} {
		homes, _ := filepath.Glob(pattern) // the pattern is valid
		roots = append(roots, homes...)
	}
	return roots
}

// Detect finds the installations at and below dirs, to a depth of 4, sorted by
// root, with names that differ. Links to folders are followed; a folder that is
// reached twice is looked at once. No dirs: WebRoots. A folder that cannot be
// read is a warning; a given one that does not exist is an error.
func (r Registry) Detect(ctx context.Context, dirs []string) ([]Installation, []core.Warning, error) {
	d := &detection{ctx: ctx, registry: r, seen: map[string]bool{}}
	given := len(dirs) > 0
	if !given {
		dirs = WebRoots()
	}
	for _, dir := range dirs {
		absolute, err := filepath.Abs(dir)
		if err != nil {
			return nil, nil, fmt.Errorf("find %s: %w", dir, err)
		}
		info, err := os.Stat(absolute)
		if err == nil && !info.IsDir() {
			err = errors.New("it is not a folder")
		}
		switch {
		case err != nil && given:
			return nil, nil, &core.Error{
				Code: core.CodeNotFound, Op: "look for applications in " + dir, Err: err, Hint: "give folders that exist, or none for the usual web roots",
			}
		case err != nil:
			continue
		}
		if err := d.look(absolute, detectDepth); err != nil {
			return nil, nil, err
		}
	}
	if d.looked > maxDetectLook {
		d.warnings = append(d.warnings, core.Warning{
			Code: "skipped", Message: fmt.Sprintf("not all folders were looked at: there are more than %d; give the ones to look in", maxDetectLook),
		})
	}
	sort.Slice(d.found, func(i, j int) bool { return d.found[i].Root < d.found[j].Root })
	nameAll(d.found)
	return d.found, d.warnings, nil
}

type detection struct {
	ctx      context.Context
	registry Registry
	seen     map[string]bool // real paths
	looked   int
	found    []Installation
	warnings []core.Warning
}

func (d *detection) look(dir string, depth int) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil //nolint:nilerr // a link to nowhere, or a folder that went away
	}
	if d.seen[resolved] || d.looked > maxDetectLook {
		return nil
	}
	d.seen[resolved] = true
	d.looked++
	for _, name := range d.registry.Names() {
		if in, ok := d.registry[name].Detect(dir); ok {
			d.found = append(d.found, in)
			return nil // what lies inside belongs to it
		}
	}
	if depth == 0 {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			d.warnings = append(d.warnings, core.Warning{Code: "unreadable", Object: dir, Message: err.Error()})
		}
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") || e.Name() == "node_modules" || e.Name() == "vendor" {
			continue
		}
		path := filepath.Join(dir, e.Name())
		if e.Type()&fs.ModeSymlink != 0 {
			if info, err := os.Stat(path); err != nil || !info.IsDir() {
				continue
			}
		} else if !e.IsDir() {
			continue
		}
		if err := d.look(path, depth-1); err != nil {
			return err
		}
	}
	return nil
}

// nameAll suggests a name for each: its folder's, or its profile's when the
// folder's says nothing, with a number where it is taken.
func nameAll(found []Installation) {
	taken := map[string]bool{}
	for i := range found {
		base := appName(found[i])
		name := base
		for n := 2; taken[name]; n++ {
			suffix := "-" + strconv.Itoa(n)
			name = base[:min(len(base), maxAppName-len(suffix))] + suffix
		}
		taken[name] = true
		found[i].Name = name
	}
}

// maxAppName is how long core.ValidAppName lets a name be.
const maxAppName = 63

func appName(in Installation) string {
	for dir := in.Root; dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		var name strings.Builder
		for _, c := range strings.ToLower(filepath.Base(dir)) {
			switch {
			case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
				name.WriteRune(c)
			default:
				name.WriteByte('-')
			}
		}
		text := strings.Trim(name.String(), "-")
		text = strings.Trim(text[:min(len(text), maxAppName)], "-")
		switch text {
		case "html", "htdocs", "www", "web", "public", "public-html", "httpdocs", "current", "":
			continue // says nothing; the folder above may
		case "var", "srv", "opt", "home":
			return in.Profile
		}
		if core.ValidAppName(text) {
			return text
		}
	}
	return in.Profile
}
