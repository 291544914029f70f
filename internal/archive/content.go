package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// Item is one entry of a stored tree, with its real name.
type Item struct {
	Entry              // Path "" is the root folder of its place
	Stored core.Entry  // as it stands in its folder; Stored.Object is what Content.Tree opens
	Extra  files.Extra // what Stored cannot hold; Extra.Path, the stored path in the component, is always there
}

// maxLink is the longest target of a symbolic link; systems end at 4096.
const maxLink = 64 << 10

// Walk calls fn for each entry of a component in a set order: each folder
// before what is in it, names by their stored bytes. Both places are walked,
// "app" first; a component that the backup has not is nothing to walk. An error
// of fn ends the walk and is returned.
func (c Content) Walk(ctx context.Context, component core.Component, fn func(item Item) error) error {
	root, err := c.Tree.ReadDir(ctx, c.Root.Object.ID)
	if err != nil {
		return fmt.Errorf("read the backup's root folder: %w", err)
	}
	w := walker{content: c, component: component, fn: fn}
	var top core.Entry
	for _, e := range root {
		switch e.Name {
		case files.ExtraName(component):
			if w.extras, err = files.ReadExtra(ctx, c.Tree, e.Object.ID); err != nil {
				return err
			}
		case string(component):
			top = e
		}
	}
	if top.Object.ID == "" {
		return nil
	}
	places, err := c.Tree.ReadDir(ctx, top.Object.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", component, err)
	}
	slices.SortFunc(places, func(a, b core.Entry) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range places {
		if p.Type != core.TypeDir {
			return files.Damage(fmt.Sprintf("read %s/%s", component, p.Name), "it is not a folder")
		}
		if err := w.item(ctx, p.Name, p.Name, "", p); err != nil {
			return err
		}
	}
	return nil
}

type walker struct {
	content   Content
	component core.Component
	extras    map[string]files.Extra
	fn        func(Item) error
}

// item passes on one entry and what lies below it. stored is its path in the
// component, path its real path below its place.
func (w *walker) item(ctx context.Context, place, stored, path string, e core.Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	owners := w.content.Manifest.Owners
	item := Item{Stored: e, Extra: w.extras[stored], Entry: Entry{
		Component: w.component, Place: place, Path: path, Type: e.Type, Mode: e.Mode, HasMode: true,
		UID: e.UID, GID: e.GID, HasOwner: true,
		User: owners.Users[id(e.UID)], Group: owners.Groups[id(e.GID)], ModTime: e.ModTime,
	}}
	item.Extra.Path = stored
	switch e.Type {
	case core.TypeFile:
		item.Size = e.Object.Size
	case core.TypeSymlink:
		target, err := w.content.ReadLink(ctx, e)
		if err != nil {
			return fmt.Errorf("read link %s/%s: %w", w.component, stored, err)
		}
		item.Link = target
	}
	if err := w.fn(item); err != nil || e.Type != core.TypeDir {
		return err
	}
	entries, err := w.content.Tree.ReadDir(ctx, e.Object.ID)
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", w.component, stored, err)
	}
	slices.SortFunc(entries, func(a, b core.Entry) int { return cmp.Compare(a.Name, b.Name) })
	real := map[string]bool{} // names that stand for others; stored names are unique
	for _, child := range entries {
		name := child.Name
		below := stored + "/" + name
		if x := w.extras[below]; x.Name != nil {
			name = string(x.Name)
			if real[name] {
				return files.Damage(fmt.Sprintf("read %s/%s", w.component, below), fmt.Sprintf("two entries are called %q", name))
			}
			real[name] = true
		}
		if err := files.CheckName(name); err != nil {
			return files.Damage(fmt.Sprintf("read %s/%s", w.component, below), err.Error())
		}
		if path != "" {
			name = path + "/" + name
		}
		if err := w.item(ctx, place, below, name, child); err != nil {
			return err
		}
	}
	return nil
}

// ReadLink returns the target of a stored symbolic link.
func (c Content) ReadLink(ctx context.Context, e core.Entry) (_ string, err error) {
	f, err := c.Tree.Open(ctx, e.Object.ID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var target strings.Builder
	n, err := io.Copy(&target, io.LimitReader(f, maxLink+1))
	if err != nil {
		return "", err
	}
	if n > maxLink {
		return "", files.Damage("read link", fmt.Sprintf("its target is longer than %d bytes", maxLink))
	}
	return target.String(), nil
}

func id(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
