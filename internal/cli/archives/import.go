package archives

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/importing"
	"github.com/backstay/backstay/internal/mysql"
)

// importFlags are the flags of import.
type importFlags struct {
	format, note, salvage      string
	passwordFiles, force       []string
	dryRun, again, pin, noWait bool
}

func (s commands) importCommand() *cobra.Command {
	var f importFlags
	cmd := s.Command("import APP FILE|DIR", "Make a backup of an archive that iTop, ITFlow, mysqldump or backstay wrote", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return s.importArchives(ctx, args[0], args[1], f)
	})
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Make a backup of an archive that iTop, ITFlow, mysqldump, phpMyAdmin or backstay wrote.

The archive is read to its end first, and is refused when it is not whole or anything in it is not what a
backup holds. Its SQL is loaded into a scratch database, on a server that is started for this alone where
one is installed, and captured from there; no app and no other database is touched. The backup is dated
as the archive is. Of a folder every archive in it is imported, the oldest first, but not of folders in
it; files that were imported before are skipped.

An archive that is not whole can be looked into: --salvage loads what there is of its database into one
of that name, which must be empty or missing.`
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "", "what the file is: itop, itflow, sql or backstay (default: recognised)")
	fl.StringArrayVar(&f.passwordFiles, "password-file", nil, "file that holds the archive's password, or the key that opens it (may be repeated)")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only see whether the archive is whole; store nothing")
	fl.StringVar(&f.salvage, "salvage", "", "load what there is into this database, and make no backup")
	fl.StringArrayVar(&f.force, "force", nil, "agree to this flaw of the archive (may be repeated)")
	fl.StringVar(&f.note, "note", "", "a note to keep with the backup")
	fl.BoolVar(&f.pin, "pin", false, "never let retention delete this backup")
	fl.BoolVar(&f.again, "again", false, "import a file that was imported before")
	fl.BoolVar(&f.noWait, "no-wait", false, "fail when another import of the app goes on, instead of waiting")
	return cmd
}

func (s commands) importArchives(ctx context.Context, name, path string, f importFlags) error {
	if path == "-" {
		return &core.Error{
			Code: core.CodeUsage, Op: "import", Message: "an archive cannot be read from a pipe: it is read more than once",
			Hint: "write it to a file first, and give its name",
		}
	}
	info, err := os.Stat(path)
	folder := err == nil && info.IsDir()
	if f.salvage != "" && (folder || f.dryRun || f.note != "" || f.pin || f.again) {
		return &core.Error{Code: core.CodeUsage, Op: "import --salvage", Message: "it loads one archive into a database and makes no backup", Hint: "give one file, and leave out --dry-run, --note, --pin and --again"}
	}
	if !f.dryRun {
		s.Records(core.RunImport, name)
	}
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		app, err := cfg.App(name)
		if err != nil {
			return swapped(cfg, name, path, err)
		}
		target, err := s.Target(app)
		if err != nil {
			return err
		}
		req, err := s.request(cfg, target, f)
		if err != nil {
			return err
		}
		switch {
		case folder:
			return s.importFolder(ctx, e, req, path)
		case f.salvage != "":
			req.File = path
			return s.salvage(ctx, e, req, f.salvage)
		}
		req.File = path
		return s.importFile(ctx, e, req)
	})
}

// swapped says so where an app that is not known is a file, or what should be a
// file is an app.
func swapped(cfg *config.Config, name, path string, err error) error {
	_, missing := os.Stat(name)
	_, unknown := cfg.App(path)
	if missing != nil && unknown != nil {
		return err
	}
	if unknown != nil {
		path = "APP"
	}
	return &core.Error{Code: core.CodeUsage, Op: "import", Err: err, Hint: "the app comes first, then the file: backstay import " + ui.Clean(path) + " " + ui.Clean(name)}
}

func (s commands) request(cfg *config.Config, target engine.Target, f importFlags) (importing.Request, error) {
	req, err := Request(s.Session, cfg, target, f.passwordFiles)
	req.Format, req.Force, req.Note, req.Pin, req.Again, req.DryRun, req.Wait = f.format, f.force, f.note, f.pin, f.again, f.dryRun, !f.noWait
	return req, err
}

// Request is an import into an app, as far as the configuration says how.
func Request(s *session.Session, cfg *config.Config, target engine.Target, passwordFiles []string) (importing.Request, error) {
	passwords, err := secrets(passwordFiles)
	if err != nil {
		return importing.Request{}, err
	}
	server, err := ScratchServer(s, cfg)
	return importing.Request{Target: target, Formats: Formats(), Passwords: passwords, Limits: archive.Limits(cfg.Archives), Server: server}, err
}

// ScratchServer is the server that the configuration lends to imports, nil when
// it lends none.
func ScratchServer(s *session.Session, cfg *config.Config) (*mysql.Config, error) {
	d := cfg.Scratch
	if !d.Given() {
		return nil, nil
	}
	password, err := config.ResolveSecret(d.SecretSource, "the scratch server", s.LookupEnv)
	if err != nil {
		return nil, err
	}
	return &mysql.Config{Host: d.Host, Port: d.Port, Socket: d.Socket, User: d.User, Password: password, TLS: d.TLS}, nil
}

// jsonImport is an archive in the JSON of import.
type jsonImport struct {
	*importing.Imported
	Latest  bool        `json:"latest"`            // its backup is the newest one of its app
	Skipped string      `json:"skipped,omitempty"` // why it was not imported
	Error   *ui.Failure `json:"error,omitempty"`
}

func jsonOf(path string, done *importing.Imported, err error, latest bool) jsonImport {
	if done == nil {
		done = &importing.Imported{File: path, Flaws: []archive.Flaw{}}
	}
	out := jsonImport{Imported: done, Latest: latest}
	if err != nil {
		out.Error = ui.FailureOf(err)
	}
	return out
}

func (s commands) importFile(ctx context.Context, e *engine.Engine, req importing.Request) error {
	done, err := importing.Import(ctx, e, req)
	if err != nil {
		return s.refused(req.File, done, err)
	}
	if done.Backup != nil {
		s.About(ctx, done.App, done.Backup.ID)
	}
	latest := isLatest(ctx, e, done)
	err = s.Printer.Result(map[string]any{"imports": []jsonImport{jsonOf(done.File, done, nil, latest)}}, func() {
		Print(s.Session, done)
		if latest {
			s.Printer.Printf("  it is the newest backup of %s now: %s@latest names it\n", done.App, done.App)
		}
	})
	if err != nil {
		return err
	}
	if warned(done) {
		s.Warned(len(done.Backup.Warnings))
		return session.Outcome(core.CodeWarnings.ExitCode())
	}
	return nil
}

// isLatest says whether the backup that was just made of an archive is what
// `latest` names from now on. What cannot be told is no error: the import is done.
func isLatest(ctx context.Context, e *engine.Engine, done *importing.Imported) bool {
	if done.Backup == nil || done.Known {
		return false
	}
	rec, err := e.Find(ctx, done.App+"@latest")
	return err == nil && rec.ID == done.Backup.ID
}

// refused says all that an archive lacks: the error names the first thing.
func (s commands) refused(path string, done *importing.Imported, err error) error {
	if done == nil || len(done.Flaws) == 0 {
		return err
	}
	if s.Printer.JSON() {
		if perr := s.Printer.Result(map[string]any{"imports": []jsonImport{jsonOf(path, done, nil, false)}, "error": ui.FailureOf(err)}, nil); perr != nil {
			return perr
		}
		s.FailedWith(err)
		return session.Outcome(core.CodeOf(err).ExitCode())
	}
	PrintFlaws(s.Session, done)
	return err
}

// flawsShown is how many flaws of an archive are listed.
const flawsShown = 20

// PrintFlaws lists what an archive lacks, where that is more than one thing.
func PrintFlaws(s *session.Session, done *importing.Imported) {
	if done == nil || len(done.Flaws) < 2 {
		return
	}
	for i, flaw := range done.Flaws {
		if i == flawsShown {
			s.Printer.Infof("and %d more (--json lists them)", len(done.Flaws)-flawsShown)
			return
		}
		s.Printer.Infof("%s: %s: %s", done.File, flaw.Where, flaw.Message)
	}
}

// warned says whether the import that was just done has something to warn of. A
// backup that was there before has had its warnings.
func warned(done *importing.Imported) bool {
	// What a restore will ask about takes nothing away from the backup.
	missing := func(w core.Warning) bool { return !engine.IsAsked(w.Code) }
	return done.Backup != nil && !done.Known && slices.ContainsFunc(done.Backup.Warnings, missing)
}

// Report prints the result of one import.
func Report(s *session.Session, done *importing.Imported) error {
	return s.Printer.Result(map[string]any{"imports": []jsonImport{jsonOf(done.File, done, nil, false)}}, func() { Print(s, done) })
}

// Print says, for people, what became of an archive.
func Print(s *session.Session, done *importing.Imported) {
	p, b := s.Printer, done.Backup
	kind := done.Info.Format
	if done.Info.Kind != "" {
		kind += ", " + done.Info.Kind
	}
	switch {
	case b == nil:
		p.Printf("%s is whole (%s): %s\n", done.File, kind, contents(done))
		return
	case done.Known:
		p.Printf("%s was imported before, as backup %s of %s\n", done.File, ui.ShortID(b.ID), p.Time(b.Time))
		return
	}
	p.Printf("%s: imported %s (%s) as backup %s of %s\n", b.App, done.File, kind, ui.ShortID(b.ID), p.Time(b.Time))
	for _, c := range core.Components() {
		if size, ok := b.Components[c]; ok {
			p.Printf("  %-9s %s\n", string(c), ui.Describe(c, size))
		}
	}
	if done.Server != "" {
		p.Printf("  its dump was loaded on a scratch database of %s, and captured from there\n", done.Server)
	}
	for _, w := range b.Warnings {
		if engine.IsAsked(w.Code) {
			p.Infof("note: %s", w)
			continue
		}
		p.Warn(w)
	}
}

// contents says what was seen in an archive that was only looked at.
func contents(done *importing.Imported) string {
	text := ui.Size(done.Bytes)
	if d := done.Dump; d != nil {
		text += ", " + ui.Counted(int64(len(d.Tables)), "table") + " with " + ui.Counted(d.Rows, "row")
	}
	return text
}

func (s commands) importFolder(ctx context.Context, e *engine.Engine, req importing.Request, dir string) error {
	var all []jsonImport
	var failures []error
	imported, known, whole, skipped, warnings := 0, 0, 0, 0, false
	err := importing.Folder(ctx, e, req, dir, func(t importing.Tried) {
		s.Printer.EndStage(t.Err == nil)
		if t.Skipped != "" && sumOfNeighbour(t.File) {
			return
		}
		one := jsonOf(t.File, t.Imported, t.Err, false)
		one.Skipped = t.Skipped
		all = append(all, one)
		switch {
		case t.Skipped != "":
			skipped++
			s.Printer.Infof("skipped: %s", t.Skipped)
		case t.Err != nil:
			failures = append(failures, t.Err)
			PrintFlaws(s.Session, t.Imported)
			s.Printer.Failure(t.Err)
		case t.Imported.Known:
			known++
			s.Printer.Infof("skipped: %s was imported before, as backup %s", t.File, ui.ShortID(t.Imported.Backup.ID))
		case t.Imported.Backup == nil:
			whole++
			s.tell(t.Imported)
		default:
			imported++
			warnings = warnings || warned(t.Imported)
			s.tell(t.Imported)
		}
	})
	if err != nil {
		if errors.Is(err, context.Canceled) && imported > 0 {
			s.Printer.Infof("what was imported before that stays: %s", ui.Counted(int64(imported), "archive"))
		}
		return err
	}
	if imported+known+whole+len(failures) == 0 {
		return &core.Error{Code: core.CodeNotFound, Op: "import " + dir, Message: "there is no archive in this folder", Hint: "folders in it are not looked into; give the one that holds the files"}
	}
	newest := -1
	for i := range all {
		if all[i].Latest = isLatest(ctx, e, all[i].Imported); all[i].Latest {
			newest = i
		}
	}
	if err := s.Printer.Result(map[string]any{"imports": all}, func() {
		if req.DryRun {
			s.Printer.Printf("%s: %d whole, %d not, %d skipped\n", filepath.Clean(dir), whole, len(failures), known+skipped)
			return
		}
		s.Printer.Printf("%s: %d imported, %d imported before, %d failed, %d skipped\n", filepath.Clean(dir), imported, known, len(failures), skipped)
		if newest >= 0 {
			s.Printer.Printf("  the newest backup of %s is that of %s now: %s@latest names it\n", all[newest].App, all[newest].File, all[newest].App)
		}
	}); err != nil {
		return err
	}
	s.Warned(len(failures))
	if len(failures) > 0 {
		s.FailedWith(failures[0])
	}
	switch {
	case len(failures) > 0 && imported+known+whole == 0: // each has been reported already
		return session.Outcome(core.CodeOf(failures[0]).ExitCode())
	case len(failures) > 0 || warnings:
		return session.Outcome(core.CodeWarnings.ExitCode())
	}
	return nil
}

// sumOfNeighbour says whether a file is the FILE.sha256 of a file beside it.
func sumOfNeighbour(path string) bool {
	neighbour, ok := strings.CutSuffix(path, ".sha256")
	if !ok {
		return false
	}
	_, err := os.Lstat(neighbour)
	return err == nil
}

// tell prints what became of one of several archives as soon as that is known.
func (s commands) tell(done *importing.Imported) {
	if !s.Printer.JSON() {
		Print(s.Session, done)
	}
}
