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
	"github.com/backstay/backstay/internal/cli/ui"
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
	if n.Host == "" { // on a socket, or of an archive that does not say
		n.Host = "localhost"
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
		if x.flags.nameFormat != "" {
			return "", usage("leave it out, or give a folder instead of "+ui.Clean(given), "--file-name-format is for an archive that is given no name")
		}
		if err := x.rightEnding(given); err != nil {
			return "", err
		}
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

// ending is what a file's name can end with that says what is in the file.
type ending struct {
	text   string
	format string // that has files with this ending; "": export writes none
	what   string
}

// endings are those known, each before what it ends with itself.
func endings() []ending {
	known := []ending{
		{".tar.zst.age", "backstay", "a backstay archive that is sealed"}, {".tar.zst", "backstay", "a backstay archive that is not sealed"},
		{".tar.gz", "itop", "an archive of iTop"}, {".tgz", "itop", "an archive of iTop"}, {".zip", "itflow", "an archive of ITFlow"},
		{".sql.gz", "sql", "SQL packed with gzip"}, {".sql.zst", "sql", "SQL packed with zstd"}, {".sql", "sql", "plain SQL"},
	}
	for _, e := range []struct{ text, what string }{
		{".age", "what age has sealed"}, {".gpg", "what gpg has encrypted"}, {".gz", "what gzip has packed"}, {".zst", "what zstd has packed"},
		{".bz2", "what bzip2 has packed"}, {".xz", "what xz has packed"}, {".lz4", "what lz4 has packed"}, {".tar", "a tar file that is not packed"},
		{".tbz2", "what bzip2 has packed"}, {".txz", "what xz has packed"}, {".7z", "an archive of 7-Zip"}, {".rar", "an archive of RAR"},
	} {
		known = append(known, ending{text: e.text, what: e.what})
	}
	return known
}

// endingOf returns what the end of a file's name says, a zero ending where it
// says nothing.
func endingOf(file string) ending {
	for _, e := range endings() {
		if strings.HasSuffix(strings.ToLower(file), e.text) {
			return e
		}
	}
	return ending{}
}

// rightEnding refuses a name that says that something else is in the file.
func (x *export) rightEnding(file string) error {
	said, right := endingOf(file), x.extension()
	if said.text == "" || said.text == right || said.text == ".tgz" && right == ".tar.gz" {
		return nil
	}
	base := filepath.Base(file[:len(file)-len(said.text)])
	hint := "call it " + ui.Clean(base+right)
	switch {
	case said.text == ".tar.zst.age" && x.format.Name() == "backstay":
		hint = "give --recipient age1… or --password-file FILE, or " + hint
	case said.text == ".age" && x.format.Name() != "backstay":
		hint += "; to seal it, send it to age: backstay export " + x.rec.App + "@" + ui.ShortID(x.rec.ID) + " - --format " + x.format.Name() + " | age -r age1… > FILE"
	case said.format == "" && x.manifest.Database != nil:
		hint = "call it NAME" + right + ", or NAME.sql.gz for the database as SQL"
	case said.format == "":
		hint = "call it NAME" + right
	}
	return usage(hint, "a name that ends with %s is for %s, and this is %s", said.text, said.what, x.what())
}

// what says in words what is written.
func (x *export) what() string {
	right := x.extension()
	for _, e := range endings() {
		if e.text == right {
			return e.what
		}
	}
	return "an archive of " + x.format.Name()
}
