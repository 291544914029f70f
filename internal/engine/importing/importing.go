// Package importing makes backups of portable archives: of what an
// application's own backup, mysqldump or an export wrote. It is for the
// commands, and later the console. It promises that nothing of an archive is
// loaded anywhere or stored before all of it was read, authenticated as far as
// its format allows, and found whole; that what becomes of it is a backup like
// any other, with checksums of its own; and that nothing in an archive reaches
// anything but a scratch database that ends with the import.
package importing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// Request says what to import and how.
type Request struct {
	Target  engine.Target // the app that the backup will be of; it need not be there
	File    string
	Formats archive.Formats // those known
	Format  string          // the name of one of them; "": recognised
	// Passwords are tried before what the app's configuration says.
	Passwords []core.Secret
	Limits    archive.Limits
	// Server is a configured server on which a scratch schema may be made where
	// no private server can be started; nil: the app's own.
	Server *mysql.Config
	Force  []string // names of flaws that somebody agreed to
	Note   string
	Pin    bool
	Again  bool // imports a file that was imported already
	DryRun bool // only looks whether the archive is whole
	Wait   bool // while another import of the app goes on
}

// Imported is what became of an archive.
type Imported struct {
	App    string             `json:"app"`
	File   string             `json:"file"`
	Bytes  int64              `json:"bytes"`
	SHA256 string             `json:"sha256"`
	Info   archive.Info       `json:"archive"`
	Dump   *sqlcheck.Report   `json:"dump,omitempty"` // nil: it has none, or was not looked at
	Flaws  []archive.Flaw     `json:"flaws"`
	Server string             `json:"scratch_server,omitempty"` // on which the dump was loaded
	Backup *core.Backup       `json:"backup"`                   // nil: none was made
	Record *repository.Record `json:"-"`                        // of Backup
	Known  bool               `json:"known"`                    // it was imported before, as Backup
}

// importer is one import under way.
type importer struct {
	e       *engine.Engine
	req     Request
	profile profile.Profile
	live    *core.Application // the live app; nil where there is none that can be understood
	file    *source
	archive archive.Archive
	out     *Imported
	config  profile.Configured // what the configuration in the archive says
	// scratchDir holds what must be unpacked to be read, and a private server.
	scratchDir string
}

// Import makes a backup of an archive. Where the archive is not whole the
// error has core.CodeDamage and the result says what is missing.
func Import(ctx context.Context, e *engine.Engine, req Request) (_ *Imported, err error) {
	i, err := newImporter(e, req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	if !req.DryRun {
		lock, lerr := e.LockApp(ctx, req.Target.App.Name+".import", "import", req.Wait)
		if lerr != nil {
			return nil, lerr
		}
		defer func() { err = errors.Join(err, lock.Release()) }()
	}
	if err := i.open(ctx); err != nil {
		return nil, err
	}
	if known, err := i.known(ctx); err != nil || known != nil && !req.Again && !req.DryRun {
		if known != nil {
			i.out.Backup, i.out.Record, i.out.Known = &known.Backup, known, true
		}
		return i.out, err
	}
	if err := i.examine(ctx); err != nil {
		return i.out, err
	}
	if req.DryRun {
		return i.out, nil
	}
	rec, err := i.store(ctx)
	if err != nil {
		return i.out, i.file.explain(err)
	}
	i.out.Backup, i.out.Record = &rec.Backup, &rec
	return i.out, nil
}

func newImporter(e *engine.Engine, req Request) (*importer, error) {
	if !core.ValidAppName(req.Target.App.Name) {
		return nil, &core.Error{Code: core.CodeUsage, Op: "import", Message: fmt.Sprintf("%q cannot be the name of an app", req.Target.App.Name)}
	}
	p, err := e.Profiles.Get(req.Target.Profile)
	if err != nil {
		return nil, err
	}
	i := &importer{e: e, req: req, profile: p, out: &Imported{App: req.Target.App.Name, Flaws: []archive.Flaw{}}}
	i.scratchDir = filepath.Join(e.StateDir, "scratch")
	if err := os.MkdirAll(i.scratchDir, 0o700); err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: "make a scratch folder", Err: err, Hint: "set state_dir in backstay.yaml to a folder that you may write to"}
	}
	i.file, err = openSource(req.File)
	if err != nil {
		return nil, err
	}
	i.out.File, i.out.Bytes = i.file.Name(), i.file.size()
	return i, nil
}

func (i *importer) close() error {
	var err error
	if i.archive != nil {
		err = i.archive.Close()
	}
	return errors.Join(err, i.file.Close())
}

// open recognises the archive and looks at its structure.
func (i *importer) open(ctx context.Context) (err error) {
	if i.live, err = i.profile.Discover(ctx, i.req.Target.App); err != nil {
		if ctx.Err() != nil {
			return err
		}
		i.e.Log.Debug("the live app is not looked at", "app", i.req.Target.App.Name, "err", err)
		i.live = nil
	}
	if i.file.size() == 0 && looksPacked(i.file.base()) {
		return &core.Error{
			Code: core.CodeDamage, Op: "read " + i.file.shown(), Message: "the file is empty: whatever was to write it failed",
			Hint: "look for its error messages, and make a new archive",
		}
	}
	var format archive.Format
	if i.req.Format != "" {
		format, err = i.req.Formats.Get(i.req.Format)
	} else {
		format, err = i.req.Formats.Recognize(i.file.File)
	}
	if err != nil {
		return err
	}
	if err := i.fits(format.Name()); err != nil {
		return err
	}
	i.e.Progress.Stage("look at "+i.file.base(), 2*i.file.size())
	i.archive, err = format.Open(ctx, i.file.File, archive.OpenOptions{
		Passwords: i.passwords(ctx), Environment: i.req.Target.App.Environment, Limits: i.req.Limits, ScratchDir: i.scratchDir,
		Progress: engine.QuietStage(i.e.Progress),
	})
	if err != nil {
		return fmt.Errorf("read %s: %w", i.file.shown(), err)
	}
	i.out.Info = i.archive.Info()
	i.out.SHA256, err = i.file.sum(ctx, i.e.Progress)
	return err
}

// looksPacked says whether a name is one that archives have.
func looksPacked(name string) bool {
	return slices.ContainsFunc([]string{".gz", ".zip", ".sql", ".zst", ".bz2", ".age"}, func(ending string) bool { return strings.HasSuffix(name, ending) })
}

// fits says whether an archive of this format can be of an app of this profile.
func (i *importer) fits(format string) error {
	own := ""
	if a, ok := i.profile.(profile.Archiver); ok {
		own = a.ArchiveFormat()
	}
	if format == own || format == "sql" || format == "backstay" {
		return nil
	}
	is := "it is"
	if i.req.Format != "" {
		is = "--format says that it is"
	}
	return &core.Error{
		Code: core.CodeUsage, Op: "import " + i.file.shown(), Message: fmt.Sprintf("%s an archive of %s, and app %s has the profile %s", is, format, i.req.Target.App.Name, i.profile.Name()),
		Hint: "name an app of that profile; one that is not installed yet needs only its entry in backstay.yaml",
	}
}

// passwords are those given, and then that of the app's own archives.
func (i *importer) passwords(ctx context.Context) []core.Secret {
	all := slices.Clone(i.req.Passwords)
	keeper, ok := i.profile.(profile.ArchiveKeeper)
	if !ok || i.live == nil {
		return all
	}
	password, err := keeper.ArchivePassword(ctx, i.req.Target.App)
	if err != nil {
		i.e.Log.Debug("the password of the app's own archives is not known", "err", err)
	} else if !password.Empty() {
		all = append(all, password)
	}
	return all
}

// known returns the backup that this very file became before.
func (i *importer) known(ctx context.Context) (*repository.Record, error) {
	all, err := i.e.List(ctx, i.out.App)
	if err != nil && core.CodeOf(err) != core.CodeDamage {
		return nil, err
	}
	for _, r := range slices.Backward(all) {
		if r.Origin != nil && r.Origin.SHA256 == i.out.SHA256 && r.Damaged == nil {
			return &r, nil
		}
	}
	return nil, nil
}

// examine reads the whole archive and fails unless it is whole.
func (i *importer) examine(ctx context.Context) error {
	seen := i.watch(ctx)
	flaws, err := i.archive.Check(ctx)
	if err != nil {
		return fmt.Errorf("read %s: %w", i.file.shown(), err)
	}
	i.out.Info = i.archive.Info()
	stated, err := i.file.stated()
	if err != nil {
		return err
	}
	if stated != "" && stated != i.out.SHA256 {
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{Where: "the archive", Message: fmt.Sprintf("its SHA-256 is %s, and %s.sha256 says %s", i.out.SHA256, i.file.base(), stated)})
	}
	// Somebody who gives a password expects that only those who know it could
	// have written the archive.
	if len(i.req.Passwords) > 0 && !i.out.Info.Encrypted && slices.Contains([]string{"backstay", "itflow"}, i.out.Info.Format) {
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{
			Where: "the archive", Name: archive.FlawNotEncrypted, Message: "a password was given, and it is not encrypted: anybody may have written it",
		})
	}
	i.out.Flaws = append(i.out.Flaws, flaws...)
	if native, ok := i.archive.(archive.Native); ok && len(flaws) == 0 {
		if err := i.sameProfile(native.Manifest()); err != nil {
			return err
		}
		if app := native.Manifest().App; app != i.out.App {
			i.out.Flaws = append(i.out.Flaws, archive.Flaw{Where: "the archive", Name: archive.FlawOtherApp, Message: fmt.Sprintf("it holds a backup of app %s, and is to become one of %s", app, i.out.App)})
		}
		i.out.Flaws = append(i.out.Flaws, seen.end()...)
	}
	// The dump is only looked at in a container that is whole: what else is
	// wrong would be consequences.
	if !slices.ContainsFunc(flaws, func(f archive.Flaw) bool { return f.Name == "" }) {
		if err := i.examineDump(ctx); err != nil {
			return err
		}
	}
	open := slices.DeleteFunc(slices.Clone(i.out.Flaws), i.agreed)
	if len(open) == 0 {
		return nil
	}
	return i.notWhole(open)
}

func (i *importer) agreed(f archive.Flaw) bool {
	return f.Name != "" && slices.Contains(i.req.Force, f.Name)
}

func (i *importer) notWhole(flaws []archive.Flaw) error {
	first := flaws[0]
	what, salvage := "the archive is not whole", ""
	hint := "nothing of it was loaded or stored; make a new archive where this one was made, or take an older one"
	named := !slices.ContainsFunc(flaws, func(f archive.Flaw) bool { return f.Name == "" })
	broken := slices.IndexFunc(flaws, func(f archive.Flaw) bool { return !f.Refused })
	switch {
	case named:
		what = "somebody has to agree to it"
		hint = "nothing of it was loaded or stored; if you know that it is right, agree with --force " + first.Name
	case broken < 0: // as it was written, and nothing to load
		what = "what is in it is refused"
		hint = "nothing of it was loaded or stored; a backup holds tables, rows and objects of one database, and nothing else"
	default:
		first = flaws[broken]
		if _, native := i.archive.(archive.Native); !native && i.out.Info.Kind != "master_key" {
			salvage = "; backstay import " + i.out.App + " FILE --salvage DATABASE loads what there is into a database of its own"
		}
	}
	if first.Hint != "" {
		hint = "nothing of it was loaded or stored; " + first.Hint
	}
	message := what + ": " + first.Where + ": " + first.Message
	if n := len(flaws) - 1; n > 0 {
		message += fmt.Sprintf(" (and %d more)", n)
	}
	return &core.Error{Code: core.CodeDamage, Op: "import " + i.file.shown(), Message: message, Hint: hint + salvage}
}

// sameProfile fails where the backup in an archive is of another kind of app.
func (i *importer) sameProfile(m core.Manifest) error {
	if m.Profile == i.profile.Name() {
		return nil
	}
	return &core.Error{
		Code: core.CodeUsage, Op: "import " + i.file.shown(), Message: fmt.Sprintf("it holds a backup of an app with the profile %s, and app %s has %s", m.Profile, i.out.App, i.profile.Name()),
		Hint: "name an app of that profile; one that is not installed yet needs only its entry in backstay.yaml",
	}
}

// examineDump reads the SQL dump to its end.
func (i *importer) examineDump(ctx context.Context) (err error) {
	dump, err := i.archive.OpenDump(ctx)
	if err != nil || dump == nil {
		return err
	}
	defer func() { err = errors.Join(err, dump.Close()) }()
	report, err := sqlcheck.Check(ctx, dump, sqlread.Options{})
	if err != nil {
		return fmt.Errorf("read the dump in %s: %w", i.file.shown(), err)
	}
	i.out.Dump = report
	for _, p := range report.Problems {
		where := "the dump"
		if p.Line > 0 {
			where = fmt.Sprintf("line %d of the dump", p.Line)
		}
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{Where: where, Message: p.Message, Refused: p.Refused, Hint: p.Hint})
	}
	if len(report.Problems) > 0 {
		return nil
	}
	switch {
	case report.Whole == sqlcheck.WholeUnknown:
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{
			Where: "the dump", Name: archive.FlawNoEnd,
			Message: "nothing in it says where it ends, so it cannot be told whether it was cut between two statements; " + counted(report),
		})
	case len(report.Tables) == 0:
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{Where: "the dump", Message: "it has no table"})
	default:
		return i.doubt(ctx, report)
	}
	return nil
}

func counted(r *sqlcheck.Report) string {
	last := ""
	if n := len(r.Tables); n > 0 {
		last = ", the last of them " + r.Tables[n-1].Name
	}
	return fmt.Sprintf("it has %d tables with %d rows%s", len(r.Tables), r.Rows, last)
}

// databaseName is what the app's database is called.
func (i *importer) databaseName() string {
	name := ""
	if i.live != nil && i.live.Database != nil {
		name = i.live.Database.Name
	}
	return cmp.Or(name, i.req.Target.App.Database.Name, i.config.Database, i.out.Dump.Database, strings.ReplaceAll(i.out.App, "-", "_"))
}

// prefix is what the names of the app's tables begin with: as the archive's
// own configuration says, or the live app's.
func (i *importer) prefix() string {
	if i.config.Database != "" || i.config.Prefix != "" {
		return i.config.Prefix
	}
	if i.live != nil && i.live.Database != nil {
		return i.live.Database.Prefix
	}
	return i.req.Target.App.Database.Prefix
}
