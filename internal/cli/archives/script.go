package archives

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/exporting"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop"
)

// scriptDefault is what iTop's backup.php calls an archive, in the folder for
// temporary files, when backup_file says nothing.
const scriptDefault = profile.NamingDB + "-%Y-%m-%d"

// OfScripts refuses apps that are not iTop's: its backup.php would write no
// archive of them.
func OfScripts(chosen []*config.App) error {
	for _, app := range chosen {
		if app.Profile != (itop.Profile{}).Name() {
			return &core.Error{
				Code: core.CodeUsage, Op: "backup", Message: "the archive of iTop's backup scripts (backup_file, simulate) cannot be of app " + app.Name + ", which is " + app.Profile,
				Hint: "name the apps that are iTop; or back up " + app.Name + " without these parameters, and write an archive of it: backstay export " + app.Name + "@latest FILE",
			}
		}
	}
	return nil
}

// ScriptFile returns the archive that iTop's backup.php would write at a time:
// backup_file with its placeholders and strftime's letters filled in, in its
// folders too, and iTop's ending. backupFile may be "".
func ScriptFile(ctx context.Context, s *session.Session, app *config.App, backupFile string, at time.Time) (string, error) {
	backupFile = cmp.Or(backupFile, filepath.Join(os.TempDir(), scriptDefault))
	naming := profile.Naming{Database: app.Name, Host: "localhost"}
	p, err := session.Profiles().Get(app.Profile)
	if err != nil {
		return "", err
	}
	if archiver, ok := p.(profile.Archiver); ok {
		t, err := s.Target(app)
		if err != nil {
			return "", err
		}
		if naming, err = archiver.ArchiveNaming(ctx, t.App); err != nil {
			return "", err
		}
	}
	var parts []string
	for part := range strings.SplitSeq(filepath.ToSlash(backupFile), "/") {
		if part != "" && part != "." && part != ".." {
			naming.Format = part
			if part, err = fileName(naming, at, "full"); err != nil {
				return "", err
			}
		}
		parts = append(parts, part)
	}
	path, err := filepath.Abs(strings.Join(parts, "/"))
	if err != nil {
		return "", err
	}
	if !strings.HasSuffix(path, ".tar.gz") { // iTop adds it to whatever it is given
		path += ".tar.gz"
	}
	return path, nil
}

// WriteScriptFile writes a backup as the archive that ScriptFile names. One of
// the same name is replaced, once the new one is whole.
func WriteScriptFile(ctx context.Context, s *session.Session, e *engine.Engine, cfg *config.Config, id, file string) (*exporting.Exported, error) {
	c := commands{s}
	rec, err := e.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	x, err := c.prepare(ctx, e, cfg, rec, file, exportFlags{})
	if err != nil {
		return nil, err
	}
	return exporting.Export(ctx, e, exporting.Request{Record: rec, Format: x.format, Options: x.options, File: file, Replace: true})
}
