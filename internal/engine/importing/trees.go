package importing

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/files/assemble"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

// treeStore stores the files of an archive, component by component.
type treeStore struct {
	i        *importer
	w        core.TreeWriter
	live     *assemble.Live
	builders map[core.Component]*assemble.Builder
	owned    map[core.Component]*ownedPaths
	// among are files that lie where the live app has its code, the first few;
	// amongAll counts them.
	among    []string
	amongAll int
}

// storeTrees stores what the archive has of config, files and code, and returns
// the entries of the backup's root folder.
func (i *importer) storeTrees(ctx context.Context, w core.TreeWriter, m *core.Manifest) (_ []core.Entry, err error) {
	s := &treeStore{i: i, w: w, builders: map[core.Component]*assemble.Builder{}, owned: map[core.Component]*ownedPaths{}}
	if s.live, err = assemble.LikeLive(i.root(), i.liveSets()); err != nil {
		return nil, err
	}
	defer s.live.Close()
	defer func() {
		for _, b := range s.builders {
			b.Close()
		}
	}()
	if err := i.archive.Files(ctx, func(e archive.Entry, body io.Reader) error { return s.add(ctx, e, body) }); err != nil {
		return nil, err
	}
	var entries []core.Entry
	for _, c := range core.Components() {
		b := s.builders[c]
		if b == nil {
			continue
		}
		got, err := b.Finish(ctx)
		if err != nil {
			return nil, err
		}
		for _, t := range got.Trees {
			t.Include, t.Exclude = s.owned[c].list(), i.liveExcludes(c)
			m.Trees = append(m.Trees, t)
		}
		m.Warnings = append(m.Warnings, got.Warnings...)
		maps.Copy(m.Owners.Users, got.Owners.Users)
		maps.Copy(m.Owners.Groups, got.Owners.Groups)
		entries = append(entries, engine.ComponentEntries(c, got.Entry, got.Extra, m.Time)...)
	}
	if s.amongAll > 0 {
		m.Warnings = append(m.Warnings, core.Warning{
			Code: engine.WarnAmongCode, Object: core.Some(append(s.among, make([]string, s.amongAll-len(s.among))...), len(s.among)),
			Message: "the archive has files where the application's code is, which a restore would replace; look at them first if you do not know who wrote the archive",
		})
	}
	maps.Copy(m.Settings, i.config.Settings)
	m.Warnings = append(m.Warnings, i.config.Problems...)
	return entries, nil
}

func (i *importer) liveSets() []core.FileSet {
	if i.live == nil {
		return nil
	}
	return i.live.FileSets
}

// amongCode says whether a path lies in none of the folders that backups of the
// live app take as its files. Where there is no live app nothing is known.
func (i *importer) amongCode(p string) bool {
	known := false
	for _, set := range i.liveSets() {
		if set.Place != "app" || set.Component == core.ComponentCode {
			continue
		}
		known = true
		for _, include := range set.Include {
			if include.Path == "." || p == include.Path || strings.HasPrefix(p, include.Path+"/") {
				return false
			}
		}
	}
	return known
}

// liveExcludes are what backups of the live app leave out of a component: an
// archive that has the folder around it does not own it either.
func (i *importer) liveExcludes(c core.Component) []string {
	var out []string
	for _, s := range i.liveSets() {
		if s.Component == c && s.Place == "app" {
			out = append(out, s.Exclude...)
		}
	}
	return out
}

// add stores one entry.
func (s *treeStore) add(ctx context.Context, e archive.Entry, body io.Reader) error {
	if e.Place != "app" {
		return archive.Hostile(e.Path, "it lies outside the application's folder")
	}
	if e.Type == core.TypeSymlink {
		return archive.Hostile(e.Path, "it is a symbolic link, which the application's backup never writes")
	}
	b, err := s.builder(e.Component)
	if err != nil {
		return err
	}
	attributes := s.live.Attributes(e.Path, e.Type)
	attributes.ModTime = e.ModTime
	if e.HasMode {
		attributes.Mode = e.Mode.Perm() // an archive gives nobody another one's rights
	}
	if e.HasOwner {
		attributes.UID, attributes.GID, attributes.User, attributes.Group = e.UID, e.GID, e.User, e.Group
	}
	if e.Component == core.ComponentConfig && e.Type == core.TypeFile && e.Size <= phpconf.MaxSize {
		text, err := io.ReadAll(io.LimitReader(body, phpconf.MaxSize+1))
		if err != nil {
			return err
		}
		s.i.readConfig(e.Path, text)
		body = bytes.NewReader(text)
	}
	s.owned[e.Component].add(e.Path, e.Type == core.TypeDir)
	if e.Type == core.TypeFile && e.Component == core.ComponentFiles && s.i.amongCode(e.Path) {
		if s.amongAll++; len(s.among) < 5 {
			s.among = append(s.among, e.Path)
		}
	}
	return b.Add(ctx, assemble.File{Place: "app", Path: e.Path, Type: e.Type, Attributes: attributes, Size: e.Size}, body)
}

func (s *treeStore) builder(c core.Component) (*assemble.Builder, error) {
	if b := s.builders[c]; b != nil {
		return b, nil
	}
	b, err := assemble.New(s.w, assemble.Options{
		Component: c, FoldCase: true, MaxEntries: s.i.req.Limits.WithDefaults().MaxEntries, Progress: engine.QuietStage(s.i.e.Progress),
		Time:  s.i.out.Info.Time,
		Trees: []assemble.Tree{{Place: "app", Root: s.i.root(), Folder: s.live.Folder}},
	})
	if err != nil {
		return nil, err
	}
	s.builders[c], s.owned[c] = b, &ownedPaths{}
	return b, nil
}

// readConfig learns from the application's configuration in the archive what a
// backup of it must know.
func (i *importer) readConfig(p string, text []byte) {
	a, ok := i.profile.(profile.Archiver)
	if !ok {
		return
	}
	c, err := a.FromConfig(text, i.req.Target.App.Environment)
	if err != nil {
		c = profile.Configured{Settings: map[string]string{}, Problems: []core.Warning{{
			Code: "setting", Object: p, Message: fmt.Sprintf("the configuration in the archive could not be read: %v", err),
		}}}
	}
	i.config = c
}

// ownedPaths are the paths that a tree owns: folders that came as such with
// all that is below them, and single files.
type ownedPaths struct {
	paths   []string
	folders map[string]bool
}

// maxOwned bounds the paths that a manifest lists. Beyond it the tree owns
// the topmost folders.
const maxOwned = 5000

func (o *ownedPaths) add(p string, folder bool) {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if o.folders[dir] {
			return
		}
	}
	o.paths = append(o.paths, p)
	if folder {
		if o.folders == nil {
			o.folders = map[string]bool{}
		}
		o.folders[p] = true
	}
	if len(o.paths) > maxOwned {
		for i, p := range o.paths {
			o.paths[i], _, _ = strings.Cut(p, "/")
			o.folders[o.paths[i]] = true
		}
		slices.Sort(o.paths)
		o.paths = slices.Compact(o.paths)
	}
}

func (o *ownedPaths) list() []string { return slices.Sorted(slices.Values(o.paths)) }
