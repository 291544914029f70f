package recovery

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/cli/archives"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/importing"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/repository"
)

// backupToRestore finds the backup that ref names, or makes that of an archive.
// It ends the command when an archive was only to be looked at.
func (s commands) backupToRestore(ctx context.Context, e *engine.Engine, cfg *config.Config, app, ref string, f restoreFlags) (repository.Record, error) {
	none := repository.Record{}
	if f.fromArchive == "" {
		return e.Find(ctx, ref)
	}
	req, err := archives.Request(s.Session, cfg, engine.Target{}, f.archivePasswordFiles)
	if err != nil {
		return none, err
	}
	req.File, req.Format, req.Force, req.DryRun, req.Wait = f.fromArchive, f.archiveFormat, f.force, f.dryRun, !f.noWait
	profileName, err := s.profileOfArchive(ctx, cfg, req)
	if err != nil {
		return none, archiveFlags(err)
	}
	if req.Target, err = s.restoreTarget(cfg, app, profileName, f); err != nil {
		return none, err
	}
	done, err := importing.Import(ctx, e, req)
	if err != nil {
		archives.PrintFlaws(s.Session, done)
		return none, archiveFlags(err)
	}
	if done.Record == nil {
		if done.Record, err = imported(ctx, e, app, done.SHA256); err != nil {
			return none, err
		}
	}
	if done.Record == nil {
		if err := archives.Report(s.Session, done); err != nil {
			return none, err
		}
		s.Printer.Infof("it was not imported, so there is no plan yet; without --dry-run it is, and then the plan is printed and you are asked")
		return none, session.Outcome(0)
	}
	if !s.Printer.JSON() && done.Backup != nil {
		archives.Print(s.Session, done)
	}
	return *done.Record, nil
}

// archiveFlags names, in the hint of an import's error, the flags as restore has
// them: its --password-file is that of the repository.
func archiveFlags(err error) error {
	hint := core.HintOf(err)
	named := strings.NewReplacer("--password-file", "--archive-password-file", "--format", "--archive-format").Replace(hint)
	if named == hint {
		return err
	}
	return &core.Error{Code: core.CodeOf(err), Err: err, Hint: named}
}

// agreedFindings are the names given with --force that are about the plan and
// not about the archive.
func agreedFindings(force []string) []string {
	return slices.DeleteFunc(slices.Clone(force), func(name string) bool {
		return slices.Contains([]string{archive.FlawNoEnd, archive.FlawNotEncrypted, archive.FlawEmptyUploads}, name)
	})
}

// imported finds the backup that an archive became, nil where there is none.
func imported(ctx context.Context, e *engine.Engine, app, sum string) (*repository.Record, error) {
	all, err := e.List(ctx, app)
	if err != nil && core.CodeOf(err) != core.CodeDamage {
		return nil, err
	}
	for _, r := range all {
		if r.Origin != nil && r.Origin.SHA256 == sum && r.Damaged == nil {
			return &r, nil
		}
	}
	return nil, nil
}

// profileOfArchive says what kind of app an archive is of, for a machine on
// which no configuration does.
func (s commands) profileOfArchive(ctx context.Context, cfg *config.Config, req importing.Request) (_ string, err error) {
	if s.RepositoryURL == "" && len(cfg.Apps) > 0 {
		return "", nil
	}
	if info, err := os.Stat(req.File); err != nil || !info.Mode().IsRegular() {
		return generic.Name, nil // the import says what is wrong
	}
	f, err := os.Open(req.File)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	var format archive.Format
	if req.Format != "" {
		format, err = req.Formats.Get(req.Format)
	} else {
		format, err = req.Formats.Recognize(f)
	}
	if err != nil {
		return "", err
	}
	switch format.Name() {
	case "itop", "itflow":
		return format.Name(), nil
	case "sql":
		return generic.Name, nil
	}
	a, err := format.Open(ctx, f, archive.OpenOptions{Passwords: req.Passwords, Limits: req.Limits})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	native, ok := a.(archive.Native)
	if !ok {
		return generic.Name, nil
	}
	if _, err := a.Check(ctx); err != nil {
		return "", err
	}
	return native.Manifest().Profile, nil
}
