package files

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/backstay/backstay/internal/core"
)

// Scope is what file sets take at one path, for a walk that goes down with
// Child. Its zero value takes nothing. It does not change.
type Scope []scopePart

// scopePart is for one file set that takes the path itself or something below it.
type scopePart struct {
	set   *selection
	at    *branch // nil below an included path where nothing more is said
	whole bool    // everything here is taken
}

// NewScope returns what the sets, all of one root, take at that root. It
// checks Include and Exclude, the only fields that it looks at; an error has
// core.CodeConfig and a hint.
func NewScope(sets ...core.FileSet) (Scope, error) {
	var sc Scope
	for _, set := range sets {
		s, err := newSelection(set.Include, set.Exclude)
		if err != nil {
			return nil, err
		}
		sc = append(sc, scopePart{set: s, at: s.include, whole: s.include.included})
	}
	return sc, nil
}

// selection is what one FileSet takes, ready for a walk.
type selection struct {
	include *branch
	exclude []string
}

// branch is a folder or file on the way to an included path, or one itself.
type branch struct {
	children map[string]*branch
	included bool // this path itself is included, with all below it
	optional bool
	follow   bool // this path, or one below it, may be a symbolic link that is followed
}

// newSelection checks and prepares paths and globs.
func newSelection(include []core.Path, exclude []string) (*selection, error) {
	s := &selection{include: &branch{}}
	for _, p := range include {
		if p.Path != "." {
			for _, element := range strings.Split(p.Path, "/") {
				if err := CheckName(element); err != nil {
					return nil, &core.Error{
						Code: core.CodeConfig, Op: "read file set", Message: fmt.Sprintf("the path %q is not a plain relative path", p.Path),
						Hint: "write it relative to the root folder, without \".\", \"..\" or a \"/\" at either end",
					}
				}
			}
		}
		b := s.include
		for element := range strings.SplitSeq(p.Path, "/") {
			if element == "." {
				break
			}
			if b.children == nil {
				b.children = map[string]*branch{}
			}
			next := b.children[element]
			if next == nil {
				next = &branch{}
				b.children[element] = next
			}
			next.follow = next.follow || p.Follow
			b = next
		}
		// The stricter of two wishes for the same path counts.
		b.optional = p.Optional && (!b.included || b.optional)
		b.included = true
	}
	for _, glob := range exclude {
		g := strings.TrimPrefix(strings.TrimPrefix(glob, "./"), "/")
		g = strings.TrimSuffix(g, "/")
		// doublestar lets "a/**" match "a" too; here it is what lies below a.
		if g == "**" {
			g = "**/*"
		} else if strings.HasSuffix(g, "/**") {
			g += "/*"
		}
		if g == "" || !doublestar.ValidatePattern(g) {
			return nil, &core.Error{
				Code: core.CodeConfig, Op: "read file set", Message: fmt.Sprintf("the exclusion %q is not a valid pattern", glob),
				Hint: "patterns are relative to the root folder: * and ? within a name, ** across folders, [abc], {a,b}",
			}
		}
		s.exclude = append(s.exclude, g)
	}
	return s, nil
}

func (s *selection) excludes(rel string) bool {
	for _, g := range s.exclude {
		if doublestar.MatchUnvalidated(g, rel) {
			return true
		}
	}
	return false
}

// Child returns the scope at rel, the path of name in the folder of sc. It is
// empty when nothing is taken there.
func (sc Scope) Child(name, rel string) Scope {
	var next Scope
	for _, p := range sc {
		var at *branch
		if p.at != nil {
			at = p.at.children[name]
		}
		whole := p.whole || (at != nil && at.included)
		if (!whole && at == nil) || p.set.excludes(rel) {
			continue
		}
		next = append(next, scopePart{set: p.set, at: at, whole: whole})
	}
	return next
}

// Whole says whether the path itself is taken, not only something below it.
func (sc Scope) Whole() bool {
	for _, p := range sc {
		if p.whole {
			return true
		}
	}
	return false
}

// Follow says whether a symbolic link here is followed.
func (sc Scope) Follow() bool {
	for _, p := range sc {
		if p.at != nil && p.at.follow {
			return true
		}
	}
	return false
}

// Named returns the names in this folder that the sets mention.
func (sc Scope) Named() []string {
	seen := map[string]bool{}
	for _, p := range sc {
		if p.at == nil {
			continue
		}
		for name := range p.at.children {
			seen[name] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// Below returns the included paths at and below rel, whose scope sc is, that
// are not excluded: those that must be there, or those that need not.
func (sc Scope) Below(rel string, optional bool) []string {
	var paths []string
	for _, p := range sc {
		if p.at != nil {
			p.at.collect(p.set, rel, optional, &paths)
		}
	}
	slices.Sort(paths)
	return paths
}

func (b *branch) collect(set *selection, rel string, optional bool, paths *[]string) {
	if set.excludes(rel) {
		return
	}
	if b.included && b.optional == optional {
		*paths = append(*paths, rel)
	}
	for name, child := range b.children {
		child.collect(set, filepath.Join(rel, name), optional, paths)
	}
}

// OwnedScope returns what a component's trees, as a manifest has them, own of a
// place: everything when there are no trees.
func OwnedScope(trees []core.Tree, place string) (Scope, error) {
	if len(trees) == 0 {
		return NewScope(core.FileSet{Include: []core.Path{{Path: "."}}})
	}
	var sets []core.FileSet
	for _, t := range trees {
		if t.Place != place {
			continue
		}
		set := core.FileSet{Exclude: t.Exclude}
		for _, p := range t.Include {
			set.Include = append(set.Include, core.Path{Path: p})
		}
		sets = append(sets, set)
	}
	return NewScope(sets...)
}
