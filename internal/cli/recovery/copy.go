package recovery

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/restore"
)

// checkCopyFlags sees whether the flags ask for a copy that can be one.
func checkCopyFlags(cfg *config.Config, app string, f restoreFlags) error {
	wrong := func(hint, format string, args ...any) error {
		return &core.Error{Code: core.CodeUsage, Op: "restore --as " + f.as, Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	switch {
	case f.as == "" && f.url != "" && (f.toDir != "" || f.toDatabase != ""):
		return &core.Error{Code: core.CodeUsage, Op: "restore", Message: "--url is the address of a restored app, or of a copy", Hint: "leave out --url, or give --as NAME too"}
	case f.as == "":
		return nil
	case !core.ValidAppName(f.as):
		return wrong("names have a-z, 0-9 and -", "%q cannot be the name of an app", f.as)
	case f.root == "":
		return wrong("give --root DIR, a folder that is empty or missing", "the copy needs a folder of its own")
	case f.toDir != "":
		return wrong("leave out --to-dir; the copy's folder is --root", "--to-dir is for files alone")
	case len(f.only)+len(f.tables)+len(f.paths) > 0:
		return wrong("leave out --as and give --to-dir or --to-database for a part", "a copy is of the whole app")
	case f.database.Name != "":
		return wrong("leave out --database-name", "the copy's database is given with --to-database")
	case f.clean || f.backupConnection || f.noSafetyBackup:
		return wrong("leave them out", "--clean, --backup-connection and --no-safety-backup are for live apps")
	}
	if _, err := cfg.App(f.as); err == nil || f.as == app {
		return wrong("choose another name for the copy", "there is an app of this name")
	}
	return nil
}

// entry is what to put below apps: to back the copy up too.
func (s commands) entry(cfg *config.Config, app string, r *restore.Restore, f restoreFlags) (string, error) {
	a := config.App{Profile: r.Profile(), Environment: f.environment, Consistency: config.Online}
	live, err := cfg.App(app)
	if err == nil {
		a = *live
	}
	oldRoot := cmp.Or(a.Root, r.OriginalRoot())
	a.Name, a.Root, a.URL = f.as, f.root, f.url
	inside := func(path string) (string, bool) {
		rel, err := filepath.Rel(oldRoot, path)
		if oldRoot == "" || err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
			return "", false
		}
		return filepath.Join(f.root, rel), true
	}
	if a.Profile != "generic" { // its profile finds the database in the copy's configuration
		a.Database = config.Database{}
	} else if f.toDatabase != "" {
		d := &a.Database
		if f.database.Host != "" || f.database.Socket != "" || f.database.Port != 0 {
			d.Host, d.Port, d.Socket = f.database.Host, f.database.Port, f.database.Socket
		}
		d.User = cmp.Or(f.database.User, d.User)
		if f.databasePasswordFile != "" {
			if d.SecretSource.PasswordFile, err = filepath.Abs(f.databasePasswordFile); err != nil {
				return "", err
			}
			d.SecretSource = config.SecretSource{PasswordFile: d.SecretSource.PasswordFile}
		}
		d.Name = f.toDatabase
	}
	if live == nil {
		describeFiles(&a, r.Trees(), oldRoot)
	}
	files, paths := a.Files, a.Config
	a.Files, a.Config = nil, nil
	for _, file := range files {
		if p, ok := inside(file.Path); ok {
			a.Files = append(a.Files, config.Files{Path: p, Exclude: file.Exclude})
		}
	}
	for _, c := range paths {
		if p, ok := inside(c); ok {
			a.Config = append(a.Config, p)
		}
	}
	return a.Entry()
}

// describeFiles says of a generic app which files its backup holds: nothing
// else knows it on a machine without a configuration.
func describeFiles(a *config.App, trees []core.Tree, root string) {
	if a.Profile != "generic" {
		return
	}
	for _, t := range trees {
		base := "/"
		if t.Place == "app" {
			base = root
		}
		for _, p := range t.Include {
			path := filepath.Join(base, p)
			switch t.Component {
			case core.ComponentConfig:
				a.Config = append(a.Config, path)
			case core.ComponentFiles:
				file := config.Files{Path: path}
				for _, glob := range t.Exclude {
					if rest, ok := strings.CutPrefix(glob, p+"/"); ok && p != "." {
						file.Exclude = append(file.Exclude, rest)
					} else if p == "." {
						file.Exclude = append(file.Exclude, glob)
					}
				}
				a.Files = append(a.Files, file)
			}
		}
	}
}

func (s commands) printCopied(r *restore.Restored, app string) {
	p, c := s.Printer, r.Copy
	var parts []string
	if r.Tables > 0 {
		parts = append(parts, fmt.Sprintf("%s with %s in database %s", ui.Counted(int64(r.Tables), "table"), ui.Counted(r.Rows, "row"), c.Database))
	}
	parts = append(parts, ui.Count(r.Files)+" files in "+c.Root)
	p.Printf("made %s, a copy of %s: %s, %s; all compared with the backup\n", c.Name, app, strings.Join(parts, " and "), ui.Size(r.Bytes))
	if c.URL != "" {
		p.Printf("  address: %s\n", c.URL)
	}
	for _, what := range c.SwitchedOff {
		p.Printf("  switched off: %s\n", what)
	}
	for _, ch := range c.Settings {
		p.Printf("  setting: %s is now %q\n", ch.Setting, ch.To)
	}
	for _, st := range r.Steps {
		p.Printf("  ran %s in %s\n", st.Name, ui.Duration(time.Duration(st.DurationMS)*time.Millisecond))
	}
	s.printOutcome(&r.Outcome)
	s.printEntry("to back the copy up too, put this below apps: in backstay.yaml", c.Entry)
}
