package restore

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/altered"
)

// FindingMovedLinks says that symbolic links into the app's own folder will
// lead to where that is now.
const FindingMovedLinks = "moved-links"

// movedTo says where the app's folder comes to lie, "" when that is where it
// was, or only files are taken out of the backup.
func (r *Restore) movedTo() string {
	to := r.root()
	if r.req.Copy != nil {
		to = r.req.ToDir
	} else if !r.req.live() {
		return ""
	}
	if from := r.open.Manifest.Root; to == "" || from == "" || filepath.Clean(from) == filepath.Clean(to) {
		return ""
	}
	return filepath.Clean(to)
}

// treeReader is the repository as files are to come out of it: where the app
// moves, links into its own folder move with it. iTop can be compiled with such
// links.
func (r *Restore) treeReader() core.TreeReader {
	if to := r.movedTo(); to != "" {
		return altered.NewLinks(r.e.Store, filepath.Clean(r.open.Manifest.Root), to)
	}
	return r.e.Store
}

// findMovedLinks counts the links that will lead elsewhere.
func (r *Restore) findMovedLinks(ctx context.Context) error {
	reader, ok := r.treeReader().(*altered.Links)
	if !ok {
		return nil
	}
	var links int64
	for _, t := range r.open.Manifest.Trees {
		p := r.trees[t.Component]
		if p == nil || t.Symlinks == 0 {
			continue
		}
		top, err := r.open.Lookup(ctx, string(t.Component)+"/"+t.Place)
		if err != nil {
			return err
		}
		n, err := reader.Count(ctx, top.Object.ID, func(path string) bool { return p.wants(t.Place + "/" + path) })
		if err != nil {
			return err
		}
		links += n
	}
	if links > 0 {
		r.add(core.Finding{
			Kind: core.FindingRewrite, Name: FindingMovedLinks,
			Message: fmt.Sprintf("%d symbolic links into %s, where the app lay, will lead into %s", links, r.open.Manifest.Root, r.movedTo()),
		})
	}
	return nil
}
