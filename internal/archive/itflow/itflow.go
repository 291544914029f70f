// Package itflow reads and writes the archives that ITFlow's own backup code
// makes: a zip file with WinZip's AES encryption, in which stand db.sql, for a
// full backup uploads.zip, and version.txt with their checksums. It is for
// whoever holds the seam in package archive.
//
// ITFlow writes checksums and never compares them, and its restore passes
// over most damage; here every byte of an archive is accounted for before
// anything of it is passed on. Archives of before August 2026, which are not
// encrypted, are read too.
package itflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/winzip"
	"github.com/backstay/backstay/internal/core"
)

// The names of the entries.
const (
	dumpName    = "db.sql"
	uploadsName = "uploads.zip"
	versionName = "version.txt"
	keyName     = "master_key.txt"
)

const op = "read ITFlow archive"

// Format is ITFlow's archive. The zero value is ready, immutable and safe for
// concurrent use.
type Format struct{}

// New returns the format.
func New() archive.Format { return Format{} }

var _ archive.Format = Format{}

// Name returns "itflow".
func (Format) Name() string { return "itflow" }

// Extension returns ".zip".
func (Format) Extension() string { return ".zip" }

var fileName = regexp.MustCompile(`^itflow_[0-9]{8}-?[0-9]{6}(_[a-z_]+_[A-Za-z0-9_-]{32})?\.zip$`)

// Recognizes says whether f is a zip file that begins with one of ITFlow's
// entries. One that ITFlow's name promises to be one is taken for it too, so
// that Open can say what is wrong with it.
func (Format) Recognizes(f *os.File, name string) bool {
	head := make([]byte, 64)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	head = head[:n]
	if !strings.HasPrefix(string(head), "PK\x03\x04") || n < 30 {
		return fileName.MatchString(name)
	}
	first := string(head[30:min(n, 30+int(head[26])+int(head[27])<<8)])
	return first == dumpName || first == keyName || first == versionName || first == uploadsName || fileName.MatchString(name)
}

// HasName says yes to the names that ITFlow gives.
func (Format) HasName(name string) bool {
	return strings.HasPrefix(name, "itflow_") && strings.HasSuffix(name, ".zip")
}

// Open looks at the archive's structure, finds the password and reads
// version.txt.
func (Format) Open(ctx context.Context, f *os.File, opt archive.OpenOptions) (archive.Archive, error) {
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	a := &reader{opt: opt, size: info.Size(), fileTime: info.ModTime()}
	if a.zip, err = winzip.Open(f, a.size); err != nil {
		return nil, err
	}
	if err := a.entries(ctx); err != nil {
		return nil, err
	}
	if err := a.unlock(); err != nil {
		return nil, err
	}
	return a, a.version(ctx)
}

// entries reads the directory and compares it with what ITFlow writes.
func (a *reader) entries(ctx context.Context) error {
	var names []string
	err := a.zip.Each(ctx, func(e *winzip.Entry) error {
		if len(names) == 3 || !slices.Contains([]string{dumpName, uploadsName, versionName, keyName}, e.Name) {
			return archive.Hostile(e.Name, "ITFlow's archives hold db.sql, uploads.zip and version.txt, each once, and nothing else")
		}
		names = append(names, e.Name)
		if problem := asWritten(e); problem != "" {
			return archive.Hostile(e.Name, problem)
		}
		switch e.Name {
		case dumpName:
			a.dump = &part{Entry: e}
		case uploadsName:
			a.uploads = &part{Entry: e}
		case versionName:
			a.about = &part{Entry: e}
		case keyName:
			a.masterKey = &part{Entry: e}
		}
		return nil
	})
	if err != nil {
		return err
	}
	switch strings.Join(names, " ") {
	case "db.sql uploads.zip version.txt":
		a.info.Kind = kindFull
	case "db.sql version.txt":
		a.info.Kind = kindDatabase
	case "master_key.txt version.txt":
		return isMasterKey()
	default:
		return winzip.Damaged("ITFlow's archives hold db.sql, uploads.zip and version.txt in this order, or db.sql and version.txt; this one holds %s",
			cmpOr(strings.Join(names, ", "), "nothing"))
	}
	for _, p := range a.parts() {
		if (p.AES != 0) != (a.about.AES != 0) {
			return archive.Hostile(p.Name, "ITFlow encrypts all entries or none")
		}
	}
	return nil
}

func cmpOr(s, or string) string {
	if s == "" {
		return or
	}
	return s
}

// isMasterKey explains the third kind of archive.
func isMasterKey() error {
	return &core.Error{
		Code: core.CodeUnsupported, Op: op,
		Message: "it is an export of the master key, and no backup of data: it holds the key that decrypts the stored credentials, which is needed only when all users' passwords are lost",
		Hint:    "keep it in a safe place, and give an archive with _full_ or _database_ in its name",
	}
}

// asWritten says what of an entry's headers PHP's zip library cannot have
// written for ITFlow, or "". The entry's own header agrees with the directory.
// What is not compared here authenticates nothing: times, and how hard the
// data was compressed.
func asWritten(e *winzip.Entry) string {
	const (
		private  = 0o100600 << 16 // what ITFlow makes its temporary files
		fallback = 0o100666 << 16 // libzip before 1.7 does not ask the file
	)
	switch {
	case e.MadeBy != 63 || e.System != 3 || e.Internal != 0:
		return "its headers are not those of PHP's zip library"
	case e.AES == 0:
		// Nothing authenticates such an archive, so strictness gains nothing.
		return ""
	case e.AES != 256:
		return fmt.Sprintf("it is encrypted with AES-%d, and ITFlow takes AES-256", e.AES)
	case e.External != private && e.External != fallback:
		return "its headers are not those of PHP's zip library"
	case e.Needs != 51 && (e.External != fallback || e.Needs != 20 && e.Needs != 10 && e.Needs != 45):
		return "its headers are not those of PHP's zip library"
	}
	return ""
}

// unlock finds the password. An archive of which it opens some entries only is
// damaged.
func (a *reader) unlock() error {
	if a.about.AES == 0 {
		return nil
	}
	for _, password := range a.opt.Passwords {
		fits := 0
		for _, p := range a.parts() {
			var err error
			if p.key, err = a.zip.Unlock(p.Entry, password.Reveal()); err != nil {
				return err
			}
			if p.key != nil {
				fits++
			}
		}
		if fits == len(a.parts()) {
			return nil
		}
		if fits > 0 {
			return winzip.Damaged("the password opens some of its entries and not others")
		}
	}
	message := "no password was given, and it is encrypted"
	if len(a.opt.Passwords) > 0 {
		message = "none of the passwords given is its own"
	}
	return &core.Error{
		Code: core.CodeWrongKey, Op: op, Message: message,
		Hint: "its password is $config_backup_key of ITFlow's config.php as it was when the archive was made; put it into a file and give --password-file FILE",
	}
}

// version reads version.txt.
func (a *reader) version(ctx context.Context) error {
	const most = 64 << 10
	if a.about.Size > most {
		return archive.Hostile(versionName, "it is far larger than ITFlow's")
	}
	text, err := a.text(ctx, a.about)
	if err != nil {
		return err
	}
	if a.says, err = parseVersion(text); err != nil {
		return err
	}
	kind, named := a.says.fields["Backup Type"]
	if named && kind != a.info.Kind {
		return winzip.Damaged("its version.txt says %q, and its entries are those of %q", kind, a.info.Kind)
	}
	a.info.Format, a.info.Host, a.info.Versions = Format{}.Name(), a.says.fields["Host"], a.says.versions()
	a.info.Time, a.info.TimeSays = a.says.made(a.about.Entry, time.Local)
	if a.info.Time.IsZero() {
		a.info.Time, a.info.TimeSays = a.fileTime, "the file"
	}
	a.info.Encrypted = a.about.AES != 0
	if !a.info.Encrypted {
		a.info.Notes = append(a.info.Notes, "the archive is not encrypted, as ITFlow's were until July 2026: nothing in it shows whether somebody changed it")
	} else if a.says.sums == nil {
		return winzip.Damaged("its version.txt lists no checksums")
	}
	if a.says.sums == nil {
		a.info.Notes = append(a.info.Notes, "the archive has no checksums, as ITFlow's had not until October 2025")
	}
	for name := range a.says.sums {
		if name != dumpName && (name != uploadsName || a.uploads == nil) {
			return winzip.Damaged("its version.txt has a checksum of %q, which is not in it", name)
		}
	}
	return nil
}

func (a *reader) text(ctx context.Context, p *part) (_ string, err error) {
	if p.key != nil {
		if err := a.zip.Verify(ctx, p.Entry, p.key, nil); err != nil {
			return "", err
		}
	}
	r := a.zip.Open(ctx, p.Entry, p.key)
	defer func() { err = errors.Join(err, r.Close()) }()
	b, err := io.ReadAll(r)
	return string(b), err
}
