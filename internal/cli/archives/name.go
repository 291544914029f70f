package archives

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// naming is how the archive of a backup is to be called. The application's own
// way holds for archives of its own format.
func (x *export) naming(ctx context.Context) profile.Naming {
	n := profile.Naming{Host: x.rec.Host, Database: x.rec.App}
	if d := x.manifest.Database; d != nil {
		n.Database, n.Subname = d.Name, d.Prefix
	}
	archiver, ok := x.profile.(profile.Archiver)
	if ok && x.target != nil {
		live, err := archiver.ArchiveNaming(ctx, x.target.App)
		if live.Host != "" && err == nil {
			n.Host = live.Host
		}
		if x.format.Name() == archiver.ArchiveFormat() {
			n.Format, n.TimeZone = live.Format, live.TimeZone
		}
	}
	switch {
	case x.flags.nameFormat != "":
		n.Format = x.flags.nameFormat
	case x.settings.FileNameFormat != "":
		n.Format = x.settings.FileNameFormat
	case n.Format == "":
		n.Format = config.DefaultFileNameFormat
	}
	return n
}

// fileName fills in a format of names, for a backup of that time.
func fileName(n profile.Naming, at time.Time, kind string) (string, error) {
	at = at.Local()
	if zone, err := time.LoadLocation(n.TimeZone); err == nil && n.TimeZone != "" {
		at = at.In(zone)
	}
	format := strings.NewReplacer(profile.NamingKind, kind, profile.NamingRandom, random()).Replace(n.Format)
	return archive.FileName(format, at, element(n.Host), element(n.Database), element(n.Subname))
}

// element makes a part of a file's name of the name of a host, which may be a
// socket's path, or of a database.
func element(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '\\' || unicode.IsControl(r) {
			return '-'
		}
		return r
	}, s)
}

// random is hard to guess: who knows an archive's name may be able to fetch it.
func random() string {
	var b [24]byte
	_, _ = rand.Read(b[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// place is the file that the archive becomes.
func (x *export) place(ctx context.Context, given string) (string, error) {
	dir := given
	switch info, err := os.Stat(given); {
	case given == "":
		dir = x.settings.Dir
	case err == nil && info.IsDir(), strings.HasSuffix(given, "/"):
	default:
		return filepath.Abs(given)
	}
	name, err := fileName(x.naming(ctx), x.manifest.Time, x.kind())
	if err != nil {
		return "", err
	}
	return filepath.Abs(filepath.Join(dir, name+x.extension()))
}

// kind says whether there is more than a database in the backup.
func (x *export) kind() string {
	if len(x.manifest.Components) == 1 && x.manifest.Components[0] == core.ComponentDatabase || x.format.Name() == "sql" {
		return "database"
	}
	return "full"
}

// endings say what the end of a file's name asks for.
func endings() []struct{ ending, format string } {
	return []struct{ ending, format string }{
		{".tar.zst.age", "backstay"}, {".tar.zst", "backstay"}, {".tar.gz", "itop"}, {".tgz", "itop"}, {".zip", "itflow"},
		{".sql.gz", "sql"}, {".sql.zst", "sql"}, {".sql", "sql"},
	}
}

// formatOf returns the format and the ending of a file's name, "" where it
// says none.
func formatOf(file string) (format, ending string) {
	for _, e := range endings() {
		if strings.HasSuffix(strings.ToLower(file), e.ending) {
			return e.format, e.ending
		}
	}
	return "", ""
}
