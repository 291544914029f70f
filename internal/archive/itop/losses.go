package itop

import (
	"context"
	"fmt"
	"path"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// loss is a kind of thing that the archive, or iTop's restore, does not carry.
type loss int

const (
	lossCode loss = iota
	lossConfig
	lossSystem
	lossName
	lossSpecial
	lossLink
	lossFollowed
	lossHard
	lossAttributes
	lossOwner
	lossQuirk
	lossLarge
	numLosses
)

// text is a loss's code and sentence; %s is what was counted.
func (l loss) text() (code, one string) {
	switch l {
	case lossCode:
		return archive.NeverCarried, "the code of the application is not part of iTop's archive (%s)"
	case lossConfig:
		return "not-carried", "iTop's archive has one configuration file; others are left out (%s)"
	case lossSystem:
		return "not-carried", "files outside the application's folder are left out (%s)"
	case lossName:
		return "not-carried", "names with a backslash or over 4096 bytes are left out, because iTop's restore would put them elsewhere (%s)"
	case lossSpecial:
		return "not-carried", "in the application's own folder iTop's restore would take these for parts of the archive; they are left out (%s)"
	case lossLink:
		return "not-carried", "symbolic links to what is not in the backup are left out (%s)"
	case lossFollowed:
		return "not-carried", "what symbolic links point to stands in their place, as iTop's own backup has it (%s)"
	case lossHard:
		return "not-carried", "hard links become files of their own (%s)"
	case lossAttributes:
		return "not-carried", "extended attributes and access control lists are left out (%s)"
	case lossOwner:
		return archive.NeverCarried, "owners and permissions other than to execute are not carried: files belong to whom runs the restore (%s)"
	case lossQuirk:
		return "itop-quirk", "iTop's own restore loses files of these names wherever they lie, though they are in the archive; backstay's import has them (%s)"
	case lossLarge:
		return "itop-quirk", "iTop's own restore cannot read entries of 64 GiB and more; GNU tar and backstay can (%s)"
	}
	return "not-carried", "%s"
}

// losses counts what is lost, with the first of each kind.
type losses struct {
	count [numLosses]int
	first [numLosses]string
}

func newLosses() *losses { return &losses{} }

func (l *losses) add(kind loss, name string) {
	if l.count[kind]++; l.count[kind] == 1 {
		l.first[kind] = name
	}
}

// warnings returns one warning for each kind that there was.
func (l *losses) warnings() []core.Warning {
	var out []core.Warning
	for kind := range numLosses {
		if l.count[kind] == 0 {
			continue
		}
		code, text := kind.text()
		first := fmt.Sprintf("%q", l.first[kind])
		if more := l.count[kind] - 1; more > 0 {
			first += fmt.Sprintf(" and %d more", more)
		}
		out = append(out, core.Warning{Code: code, Object: l.first[kind], Message: fmt.Sprintf(text, first)})
	}
	return out
}

// attributes counts what of an entry's attributes is lost.
func (a *writer) attributes(item archive.Item) {
	if len(item.Extra.Xattrs) > 0 {
		a.losses.add(lossAttributes, item.Path)
	}
	if item.Extra.Link != "" {
		a.losses.add(lossHard, item.Path)
	}
	a.losses.add(lossOwner, item.Path)
}

// maxHops is how many links lead on before a resolution gives up.
const maxHops = 40

// resolve finds the file or folder that a link of the component files points
// to, below the application's folder. false: it is not in the backup.
func (a *writer) resolve(ctx context.Context, link archive.Item) (target archive.Item, ok bool, err error) {
	dirs, err := a.lookup(ctx)
	if err != nil {
		return target, false, err
	}
	rest := strings.Split(a.below(link.Path, link.Link), "/")
	at, hops := "", 0
	current := core.Entry{Type: core.TypeDir, Object: dirs.Object}
	if link.Link == "" || rest[0] == ".." {
		return target, false, nil
	}
	for len(rest) > 0 {
		name := rest[0]
		rest = rest[1:]
		if current.Type != core.TypeDir || name == "" || name == "." || name == ".." {
			return target, false, nil
		}
		entries, err := a.content.Tree.ReadDir(ctx, current.Object.ID)
		if err != nil {
			return target, false, fmt.Errorf("follow link %s: %w", link.Path, err)
		}
		found := false
		for _, e := range entries {
			if e.Name != name || files.CheckName(name) != nil {
				continue
			}
			found, current = true, e
			at = path.Join(at, name)
		}
		if !found {
			return target, false, nil
		}
		if current.Type != core.TypeSymlink {
			continue
		}
		if hops++; hops > maxHops {
			return target, false, nil
		}
		to, err := a.content.ReadLink(ctx, current)
		if err != nil {
			return target, false, fmt.Errorf("follow link %s: %w", link.Path, err)
		}
		resolved := a.below(at, to)
		if resolved == ".." || strings.HasPrefix(resolved, "../") {
			return target, false, nil
		}
		rest = append(strings.Split(resolved, "/"), rest...)
		at, current = "", core.Entry{Type: core.TypeDir, Object: dirs.Object}
	}
	return archive.Item{Stored: current, Entry: archive.Entry{
		Component: core.ComponentFiles, Place: "app", Path: at, Type: current.Type, Mode: current.Mode, HasMode: true,
		ModTime: current.ModTime, Size: current.Object.Size,
	}}, true, nil
}

// below returns the target of a link as a path below the application's folder;
// one that leads out begins with "..".
func (a *writer) below(link, target string) string {
	if path.IsAbs(target) {
		root := path.Clean("/" + a.content.Manifest.Root)
		below, inside := strings.CutPrefix(path.Clean(target), strings.TrimSuffix(root, "/")+"/")
		if !inside || a.content.Manifest.Root == "" {
			return ".."
		}
		return below
	}
	return path.Join(path.Dir(link), target)
}

// lookup returns the folder of the component files that holds the application's.
func (a *writer) lookup(ctx context.Context) (core.Entry, error) {
	at := a.content.Root
	for _, name := range []string{string(core.ComponentFiles), "app"} {
		entries, err := a.content.Tree.ReadDir(ctx, at.Object.ID)
		if err != nil {
			return at, fmt.Errorf("read %s: %w", name, err)
		}
		for _, e := range entries {
			if e.Name == name {
				at = e
				break
			}
		}
	}
	return at, nil
}
