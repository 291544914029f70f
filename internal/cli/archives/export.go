package archives

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/own"
	"github.com/backstay/backstay/internal/archive/sqlfile"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/exporting"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// exportFlags are the flags of export.
type exportFlags struct {
	format, passwordFile, nameFormat string
	recipients                       []string
	level                            int
	sum, check, replace, simulate    bool
	noDefiner                        bool
}

func (s commands) exportCommand() *cobra.Command {
	var f exportFlags
	cmd := s.Command("export BACKUP [FILE|DIR|-]", "Write a backup as an archive that iTop, ITFlow, mysql, or tar can read", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		file := ""
		if len(args) > 1 {
			file = args[1]
		}
		return s.export(ctx, args[0], file, f)
	})
	cmd.PreRunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("level") && f.level == 0 {
			return usage("give 1 (fast) to 9 (small)", "--level 0 is none")
		}
		return session.RefuseEmptyFlags(cmd, args)
	}
	cmd.Long = `Write a backup as an archive that iTop's, ITFlow's or the mysql client's own restore reads, or, in backstay's
own format, as one file with everything in it, which tar, zstd and age can read.

The format is --format, or what the file's name ends with: .tar.gz is iTop's, .zip ITFlow's, .sql, .sql.gz
and .sql.zst the database as SQL, .tar.zst and .tar.zst.age (sealed) backstay's; otherwise the application's
own. In a folder, and without FILE, the archive is called as --file-name-format says. It has that name only
once it is whole, and only its owner can read it. - writes to the standard output, where SQL is plain:
backstay export wiki@latest - --format sql | mariadb --comments wiki_copy

What the format cannot carry is said; the exit code is 3 when that is something that only this backup has,
such as routines.`
	fl := cmd.Flags()
	fl.StringVar(&f.format, "format", "", "itop, itflow, sql or backstay")
	fl.StringVar(&f.passwordFile, "password-file", "", "file that holds the password to encrypt the archive with (itflow, backstay)")
	fl.StringArrayVar(&f.recipients, "recipient", nil, "seal the archive for this age recipient, age1… (backstay; may be repeated)")
	fl.BoolVar(&f.sum, "sha256", false, "write FILE.sha256 too, for sha256sum --check")
	fl.StringVar(&f.nameFormat, "file-name-format", "", "name of the archive without ending: __HOST__, __DB__, __SUBNAME__ and strftime's letters")
	fl.IntVar(&f.level, "level", 0, "compression, 1 (fast) to 9 (small)")
	fl.BoolVar(&f.check, "check", false, "read the archive back before it gets its name")
	fl.BoolVar(&f.replace, "replace", false, "replace FILE when it is there")
	fl.BoolVar(&f.noDefiner, "no-definer", false, "leave out as whom views, triggers, routines and events run, so that any account can load them, as its own (itop, itflow, sql)")
	fl.BoolVar(&f.simulate, "simulate", false, "only print the archive's name")
	s.RepositoryFlags(fl, session.OtherKeyFlag)
	fl.StringVar(&s.StateDir, "state-dir", "", "where locks and caches are kept, on a machine without a configuration")
	return cmd
}

// export is an export under way.
type export struct {
	flags    exportFlags
	rec      repository.Record
	open     *engine.Open
	manifest core.Manifest
	profile  profile.Profile
	target   *engine.Target // the app as it is configured; nil: it is not
	settings config.Export
	format   archive.Format
	options  archive.WriteOptions
}

// usage is an error in how export is used.
func usage(hint, format string, args ...any) error {
	return &core.Error{Code: core.CodeUsage, Op: "export", Message: fmt.Sprintf(format, args...), Hint: hint}
}

func (f exportFlags) wrong(file string) error {
	if wrong, hint := config.CheckFileNameFormat(cmp.Or(f.nameFormat, config.DefaultFileNameFormat)); wrong != "" {
		return usage(hint, "--file-name-format %s", wrong)
	}
	switch {
	case f.level < 0 || f.level > 9:
		return usage("give 1 (fast) to 9 (small)", "--level %d is none", f.level)
	case file == "-" && (f.sum || f.check || f.replace || f.simulate || f.nameFormat != ""):
		return usage("give a file", "--sha256, --check, --replace, --simulate and --file-name-format are for files")
	case len(f.recipients) > 0 && f.passwordFile != "":
		return usage("give recipients, or a password", "an archive is sealed for recipients or by a password")
	}
	return nil
}

func (s commands) export(ctx context.Context, ref, file string, f exportFlags) error {
	if err := f.wrong(file); err != nil {
		return err
	}
	if !f.simulate {
		s.Records(core.RunExport, "")
	}
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		rec, err := e.Find(ctx, ref)
		if err != nil {
			return notBackup(ctx, e, cfg, ref, file, err)
		}
		s.About(ctx, rec.App, rec.ID)
		x, err := s.prepare(ctx, e, cfg, rec, file, f)
		if err != nil {
			return err
		}
		if file == "-" {
			return s.exportToOutput(ctx, e, x)
		}
		path, err := x.place(ctx, file)
		if err != nil {
			return err
		}
		if f.simulate {
			return s.Printer.Result(map[string]any{"file": path, "format": x.format.Name()}, func() { s.Printer.Printf("%s\n", path) })
		}
		return s.exportToFile(ctx, e, x, path)
	})
}

// prepare opens the backup and decides how it is written.
func (s commands) prepare(ctx context.Context, e *engine.Engine, cfg *config.Config, rec repository.Record, file string, f exportFlags) (*export, error) {
	open, err := e.OpenBackup(ctx, rec)
	if err != nil {
		return nil, err
	}
	x := &export{flags: f, rec: rec, open: open, manifest: open.Manifest, settings: cfg.Defaults.Export}
	if x.profile, err = e.Profiles.Get(rec.Profile); err != nil {
		return nil, err
	}
	if app, err := cfg.App(rec.App); err == nil {
		x.settings = app.Export
		if t, err := s.Target(app); err == nil { // without its password the database can be exported all the same
			x.target = &t
		}
	}
	return x, x.choose(ctx, file)
}

// notBackup says what was given in place of a backup: an app, or the file.
func notBackup(ctx context.Context, e *engine.Engine, cfg *config.Config, ref, file string, err error) error {
	if core.CodeOf(err) != core.CodeNotFound {
		return err
	}
	hint := ""
	if _, none := cfg.App(ref); none == nil {
		hint = "that is an app; its newest backup is " + ref + "@latest"
	} else if _, none := e.Find(ctx, file); none == nil && file != "" {
		hint = "the backup comes first, then the file: backstay export " + file + " " + ui.Clean(ref)
	} else {
		return err
	}
	return &core.Error{Code: core.CodeUsage, Op: "export", Err: err, Hint: hint}
}

// choose decides on the format and its options.
func (x *export) choose(ctx context.Context, file string) (err error) {
	usage := func(hint, format string, args ...any) error {
		return &core.Error{Code: core.CodeUsage, Op: "export backup " + ui.ShortID(x.rec.ID), Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	said := endingOf(file)
	itsOwn := profile.ArchiveFormat(x.profile)
	name := cmp.Or(x.flags.format, said.format, x.settings.Format, itsOwn, "backstay")
	if slices.Contains([]string{"itop", "itflow"}, name) && name != itsOwn {
		return usage("give --format backstay, which carries everything, or --format sql", "it is of an app with the profile %s, which cannot be written as an archive of %s", x.profile.Name(), name)
	}
	if x.format, err = Formats().Get(name); err != nil {
		return err
	}
	switch {
	case name == "sql" && said.format == "sql":
		x.format = sqlfile.New(said.text)
	case name == "sql" && file == "-": // for the client, which unpacks nothing
		x.format = sqlfile.New(".sql")
	}
	if name == "sql" && x.manifest.Database == nil {
		return usage("give --format backstay", "there is no database in it, so there is nothing to write as SQL")
	}
	x.options = archive.WriteOptions{Recipients: x.flags.recipients, Level: cmp.Or(x.flags.level, x.settings.Level)}
	if x.target != nil {
		x.options.Environment = x.target.App.Environment
	}
	if x.options.Password, err = x.password(ctx); err != nil {
		return err
	}
	switch {
	case x.flags.noDefiner && name == "backstay":
		return usage("leave out --no-definer: a restore by an account that may not name others leaves them out by itself", "an archive of backstay holds everything as it was")
	case len(x.options.Recipients) > 0 && name != "backstay":
		return usage("give --format backstay", "only backstay's own archives are sealed for recipients, not those of %s", name)
	case x.flags.passwordFile != "" && slices.Contains([]string{"sql", "itop"}, name):
		return usage("give --format backstay for an archive that is encrypted", "archives of %s have no password", name)
	case x.flags.level != 0 && x.extension() == ".sql":
		return usage("leave it out, or call it NAME.sql.gz or NAME.sql.zst", "--level is for what is packed, and plain SQL is not")
	}
	return nil
}

// password is the one given, or that of the application's own archives, as the
// live app has it or else the backup.
func (x *export) password(ctx context.Context) (core.Secret, error) {
	if x.flags.passwordFile != "" {
		all, err := secrets([]string{x.flags.passwordFile})
		if err != nil {
			return core.Secret{}, err
		}
		return all[0], nil
	}
	keeper, ok := x.profile.(profile.ArchiveKeeper)
	if !ok || x.format.Name() != profile.ArchiveFormat(x.profile) {
		return core.Secret{}, nil
	}
	if x.target != nil {
		password, err := keeper.ArchivePassword(ctx, x.target.App)
		if core.CodeOf(err) == core.CodeCancelled {
			return core.Secret{}, err
		}
		if err == nil && !password.Empty() {
			return password, nil
		}
	}
	// Without one here or there the format says what is missing.
	var text bytes.Buffer
	if err := x.open.Cat(ctx, "config/app/"+keeper.ArchiveConfig(), &text); err != nil && core.CodeOf(err) != core.CodeNotFound {
		return core.Secret{}, err
	}
	password, _ := keeper.ArchivePasswordIn(text.Bytes())
	return password, nil
}

// sealed says whether nobody without a key can read the archive.
func (x *export) sealed() bool { return !x.options.Password.Empty() || len(x.options.Recipients) > 0 }

func (x *export) extension() string {
	if x.format.Name() == "backstay" {
		return own.ExtensionFor(x.options)
	}
	return x.format.Extension()
}

func (s commands) exportToOutput(ctx context.Context, e *engine.Engine, x *export) error {
	switch out, ok := s.Env.Stdout.(*os.File); {
	case s.Printer.JSON():
		return &core.Error{Code: core.CodeUsage, Op: "export", Message: "the archive and the JSON would both go to the standard output", Hint: "give a file, or leave out --json"}
	case ok && term.IsTerminal(int(out.Fd())) && x.extension() != ".sql":
		return &core.Error{Code: core.CodeUsage, Op: "export", Message: "an archive is nothing to look at on a terminal", Hint: "give a file, or send the output into one"}
	}
	done, err := exporting.Export(ctx, e, exporting.Request{Record: x.rec, Format: x.format, Options: x.options, NoDefiner: x.flags.noDefiner, Writer: &failing{w: s.Env.Stdout}})
	if err != nil {
		return err
	}
	s.Printer.Infof("%s: exported backup %s: %s, SHA-256 %s", x.rec.App, ui.ShortID(x.rec.ID), ui.Size(done.Bytes), done.SHA256)
	return s.tellMissing(x, done)
}

// failing says of an error of writing what was written to.
type failing struct{ w io.Writer }

func (f *failing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err != nil {
		err = fmt.Errorf("write the archive to the standard output: %w", err)
	}
	return n, err
}

func (s commands) exportToFile(ctx context.Context, e *engine.Engine, x *export, path string) error {
	done, err := exporting.Export(ctx, e, exporting.Request{
		Record: x.rec, Format: x.format, Options: x.options, File: path, Replace: x.flags.replace, NoDefiner: x.flags.noDefiner, Sum: x.flags.sum, Check: x.flags.check,
	})
	if err != nil {
		return err
	}
	err = s.Printer.Result(map[string]any{"exported": done}, func() {
		how := "only its owner can read it"
		if done.Checked {
			how = "read back, " + how
		}
		s.Printer.Printf("%s: exported backup %s of %s to %s (%s, %s; %s)\n", x.rec.App, ui.ShortID(x.rec.ID), s.Printer.Time(x.rec.Time), done.File, done.Format, ui.Size(done.Bytes), how)
		if endingOf(done.File).text == "" {
			s.Printer.Printf("  it is %s, which its name does not say: those end with %s\n", x.what(), x.extension())
		}
		s.Printer.Printf("  SHA-256 %s\n", done.SHA256)
		if done.SumFile != "" {
			s.Printer.Printf("  which is in %s too\n", done.SumFile)
		}
	})
	if err != nil {
		return err
	}
	return s.tellMissing(x, done)
}

// Codes of warnings about what is not lost.
const (
	commentsChanged = "comments" // a routine's comments are not as they were, which changes nothing of what it does
	definerNeeded   = "definer"  // not every account may load it
)

// tellMissing says what the archive does not carry, and what it gives away.
func (s commands) tellMissing(x *export, done *exporting.Exported) error {
	lost := 0
	for _, w := range done.Warnings {
		if w.Code == archive.NeverCarried || w.Code == commentsChanged || w.Code == definerNeeded {
			s.Printer.Infof("note: %s", w)
			continue
		}
		lost++
		s.Printer.Warn(w)
	}
	if !x.sealed() {
		s.Printer.Infof("this archive is not encrypted: whoever can read it can read all that the app holds, its passwords and keys too")
	}
	if s.Warned(lost); lost > 0 {
		return session.Outcome(core.CodeWarnings.ExitCode())
	}
	return nil
}
