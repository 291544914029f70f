package restore

import (
	"bytes"
	"context"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/configdiff"
)

// Bounds of the differences that a plan shows of configuration files.
const (
	maxConfigFile  = 256 << 10 // bytes
	maxConfigLines = 40
)

// ConfigChange is how a configuration file will differ from the live one.
type ConfigChange struct {
	Path string `json:"path"` // of the live file
	// Lines begin with "- " (live) or "+ " (as it will be), in no more than
	// maxConfigLines; what may be a secret is masked.
	Lines []string `json:"lines"`
	More  int      `json:"more,omitempty"` // lines that are not shown
}

// compareConfig shows how configuration files will differ.
func (r *Restore) compareConfig(ctx context.Context) error {
	p := r.trees[core.ComponentConfig]
	for place, target := range p.targets {
		top, err := r.open.Lookup(ctx, path.Join(string(core.ComponentConfig), place))
		if core.CodeOf(err) == core.CodeNotFound {
			continue
		}
		if err != nil {
			return err
		}
		err = r.walkFiles(ctx, top, "", func(rel string, e core.Entry) error {
			stored := path.Join(place, rel)
			if e.Object.Size > maxConfigFile || len(p.paths) > 0 && !p.wants(stored) {
				return nil
			}
			live, err := readSmall(filepath.Join(target, rel))
			if err != nil || live == nil {
				return nil // nothing to compare it with; Added or Changed says so
			}
			var b bytes.Buffer
			if err := r.open.Cat(ctx, path.Join(string(core.ComponentConfig), stored), &b); err != nil {
				return err
			}
			then := b.Bytes()
			if change := p.transform[stored]; change != nil {
				if then, err = change(then); err != nil {
					return err
				}
			}
			if lines := configdiff.Lines(live, then); len(lines) > 0 {
				c := ConfigChange{Path: filepath.Join(target, rel), Lines: lines}
				if len(lines) > maxConfigLines {
					c.Lines, c.More = lines[:maxConfigLines], len(lines)-maxConfigLines
				}
				r.Plan.Config = append(r.Plan.Config, c)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// wants says whether a path of the component is restored.
func (p *treePlan) wants(stored string) bool {
	for _, w := range p.paths {
		if stored == w || strings.HasPrefix(stored, w+"/") {
			return true
		}
	}
	return len(p.paths) == 0
}

// walkFiles visits the files below a folder of the backup, by path below it.
func (r *Restore) walkFiles(ctx context.Context, folder core.Entry, at string, visit func(rel string, e core.Entry) error) error {
	entries, err := r.open.ReadDir(ctx, folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		p := path.Join(at, e.Name)
		if e.Type == core.TypeDir {
			err = r.walkFiles(ctx, e, p, visit)
		} else {
			err = visit(p, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readSmall reads a file that is text and not large; nil: it is not.
func readSmall(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxConfigFile {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxConfigFile))
	_ = f.Close() // only read
	return text, err
}
