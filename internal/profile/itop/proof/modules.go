package proof

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Limits on what is looked at for modules.
const (
	maxFolders     = 100_000
	maxDeclaration = 256 << 10
	mostNamed      = 50
)

// moduleFile is how a module's declaration is called, and declaration what it
// calls itself (SetupWebPage::AddModule).
var (
	moduleFile  = regexp.MustCompile(`^module\.(.+)\.php$`)
	declaration = regexp.MustCompile(`AddModule\s*\(\s*__FILE__\s*,(?:\s|//[^\n]*\n|#[^\n]*\n|(?s:/\*.*?\*/))*['"]([^'"/\s]+)/([^'"\s]+)['"]`)
)

// found is what the code has of a module.
type found struct {
	source   map[string]bool // versions in datamodels, extensions, data/ENV-modules
	compiled string          // version in env-ENV
	isIn     bool            // env-ENV has it
}

// modules compares the modules that the database says are installed with the
// manifest, and with the code.
func (p *prover) modules(ctx context.Context) {
	if p.noDatabase(Modules) {
		return
	}
	rows := installed(p.Rows.Modules)
	then := installed(p.Manifest.Modules)
	if len(rows) == 0 {
		if p.Partly {
			p.say(core.ProofSkipped, Modules, "", 0, "the rows of the modules are not among the rows that were sampled")
		} else {
			p.say(core.ProofFailed, Modules, p.Prefix+"priv_module_install", 0, "the database names no module of the last setup")
		}
		return
	}
	bad, noted := 0, 0
	known := map[string]bool{} // what was said of
	for _, name := range sorted(then) {
		if now, ok := rows[name]; !p.Partly && (!ok || now != then[name]) {
			bad++
			known[name] = true
			if !ok {
				now = "nothing"
			}
			p.module(bad, core.ProofFailed, name, "the database had version %s of the module when it was captured, and has %s now", then[name], now)
		}
	}
	for _, name := range sorted(rows) {
		if _, ok := then[name]; !ok && len(then) > 0 && !p.Partly {
			bad++
			known[name] = true
			p.module(bad, core.ProofFailed, name, "the database did not have the module when it was captured")
		}
	}
	if p.Root == "" || !slices.Contains(p.Manifest.Components, core.ComponentCode) {
		p.say(core.ProofSkipped, Modules, "", int64(len(rows)), "the database names %d modules; the backup has no code to compare them with", len(rows))
		return
	}
	if p.Partly {
		p.say(core.ProofSkipped, Modules, "", int64(len(rows)), "only some of the files were restored, so that the code of the %d modules cannot be looked for", len(rows))
		return
	}
	code, compiled, err := p.codeModules(ctx)
	if err != nil {
		p.say(core.ProofFailed, Modules, "", 0, "the code of the modules could not be looked for: %v", err)
		return
	}
	for _, name := range sorted(rows) {
		version, f := rows[name], code[name]
		switch {
		case known[name]:
		case f == nil:
			bad++
			p.module(bad, core.ProofFailed, name, "the database has version %s of the module, and its code is nowhere in the copy: iTop would not show what it holds", version)
		case len(f.source) == 0:
			noted++
			p.module(noted, core.ProofNote, name, "the module's code is in env-%s only: iTop's next setup or compilation would lose it", p.Environment)
		case compiled && !f.isIn:
			bad++
			p.module(bad, core.ProofFailed, name, "the module's code is there, but iTop did not compile it into env-%s", p.Environment)
		case version != "" && !f.source[version] && !f.source[""]:
			noted++
			p.module(noted, core.ProofNote, name, "the database has version %s of the module, and the code %s, as when they were captured: iTop's setup was not run after the code was replaced",
				version, strings.Join(sorted(f.source), ", "))
		case version != "" && f.isIn && f.compiled != "" && f.compiled != version && f.source[version]:
			noted++
			p.module(noted, core.ProofNote, name, "the module's code is of version %s, and what iTop compiled of %s", version, f.compiled)
		}
	}
	if bad > mostNamed {
		p.say(core.ProofFailed, Modules, "", int64(bad), "%d modules in all are not as they were; %d are named", bad, mostNamed)
	}
	if bad == 0 {
		where := "the code"
		if compiled {
			where = fmt.Sprintf("the code, and in env-%s,", p.Environment)
		}
		but := ""
		if noted > 0 {
			but = fmt.Sprintf(", but for %d", noted)
		}
		p.say(core.ProofOK, Modules, "", int64(len(rows)), "the %d modules that the database names are in %s as when they were captured%s", len(rows), where, but)
	}
}

// module says something of a module, up to a number of them.
func (p *prover) module(said int, outcome core.ProofOutcome, name, format string, args ...any) {
	if said <= mostNamed {
		p.say(outcome, Modules, name, 0, format, args...)
	}
}

// installed returns the versions of modules by name, without extensions.
func installed(modules []core.Module) map[string]string {
	out := map[string]string{}
	for _, m := range modules {
		if m.Source == "" {
			out[m.Name] = m.Version
		}
	}
	return out
}

func sorted[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// codeModules finds the modules of the copy's code. Links are followed inside
// the copy, and nowhere else. compiled says whether there is an env-ENV.
func (p *prover) codeModules(ctx context.Context) (out map[string]*found, compiled bool, err error) {
	root, err := os.OpenRoot(p.Root)
	if err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	out = map[string]*found{}
	environment := "env-" + p.Environment
	if info, err := root.Stat(environment); err == nil {
		compiled = info.IsDir()
	}
	looked := 0
	for _, dir := range []string{"datamodels", "extensions", "data/" + p.Environment + "-modules", environment} {
		err := fs.WalkDir(root.FS(), dir, func(at string, d fs.DirEntry, err error) error {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if looked++; looked > maxFolders {
				return fs.SkipAll
			}
			if err != nil {
				return nil //nolint:nilerr // what is not there, or cannot be read, has no modules
			}
			m := moduleFile.FindStringSubmatch(d.Name())
			switch linked := d.Type()&fs.ModeSymlink != 0; {
			case m != nil && linked:
				p.add(root, p.target(root, at), m[1], out, dir == environment)
			case m != nil && d.Type().IsRegular():
				p.add(root, at, m[1], out, dir == environment)
			case linked: // a whole module, where iTop compiles with links
				p.linked(root, p.target(root, at), out, dir == environment)
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	return out, compiled, nil
}

// target returns where a link leads to in the copy: iTop writes absolute ones,
// which a root does not follow.
func (p *prover) target(root *os.Root, at string) string {
	target, err := root.Readlink(filepath.FromSlash(at))
	if err != nil || !filepath.IsAbs(target) {
		return at
	}
	if rel, err := filepath.Rel(p.Root, target); err == nil && filepath.IsLocal(rel) {
		return filepath.ToSlash(rel)
	}
	return at
}

// linked looks into a folder that a link leads to, no deeper.
func (p *prover) linked(root *os.Root, at string, out map[string]*found, compiled bool) {
	entries, err := fs.ReadDir(root.FS(), at)
	if err != nil {
		return // it leads out of the copy, or to a file
	}
	for _, e := range entries {
		if m := moduleFile.FindStringSubmatch(e.Name()); m != nil {
			p.add(root, path.Join(at, e.Name()), m[1], out, compiled)
		}
	}
}

// add notes a module's declaration. The file's name gives the module's where
// the declaration cannot be read.
func (p *prover) add(root *os.Root, at, name string, out map[string]*found, compiled bool) {
	version := ""
	if text, err := head(root, at); err == nil {
		if m := declaration.FindSubmatch(text); m != nil {
			name, version = string(m[1]), string(m[2])
		}
	}
	f := out[name]
	if f == nil {
		f = &found{source: map[string]bool{}}
		out[name] = f
	}
	if compiled {
		f.isIn, f.compiled = true, version
	} else {
		f.source[version] = true
	}
}

func head(root *os.Root, at string) ([]byte, error) {
	f, err := root.Open(at)
	if err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxDeclaration))
	return text, errors.Join(err, f.Close())
}
