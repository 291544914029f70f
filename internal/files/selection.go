package files

import (
	"fmt"
	"sort"
	"strings"

	"github.com/bmatcuk/doublestar/v4"

	"github.com/backstay/backstay/internal/core"
)

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
				if err := checkName(element); err != nil {
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

// scope is what is taken at one path: one part for each FileSet that takes the
// path itself or something below it.
type scope []scopePart

type scopePart struct {
	set   *selection
	at    *branch // nil below an included path where nothing more is said
	whole bool    // everything here is taken
}

func newScope(sets []*selection) scope {
	var sc scope
	for _, s := range sets {
		sc = append(sc, scopePart{set: s, at: s.include, whole: s.include.included})
	}
	return sc
}

// child returns the scope at rel, the path of name in the folder of sc. It is
// empty when nothing is taken there.
func (sc scope) child(name, rel string) scope {
	var next scope
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

// whole says whether the path itself is taken, not only something below it.
func (sc scope) whole() bool {
	for _, p := range sc {
		if p.whole {
			return true
		}
	}
	return false
}

// follow says whether a symbolic link here is followed.
func (sc scope) follow() bool {
	for _, p := range sc {
		if p.at != nil && p.at.follow {
			return true
		}
	}
	return false
}

// named returns the names in this folder that the sets mention.
func (sc scope) named() []string {
	seen := map[string]bool{}
	for _, p := range sc {
		if p.at == nil {
			continue
		}
		for name := range p.at.children {
			seen[name] = true
		}
	}
	names := make([]string, 0, len(seen))
	for name := range seen {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// below returns the included paths at and below rel, whose scope sc is, that
// are not excluded: those that must be there, or those that need not.
func (sc scope) below(rel string, optional bool) []string {
	var paths []string
	for _, p := range sc {
		if p.at != nil {
			p.at.collect(p.set, rel, optional, &paths)
		}
	}
	sort.Strings(paths)
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
		child.collect(set, join(rel, name), optional, paths)
	}
}
