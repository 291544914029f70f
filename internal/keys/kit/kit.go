// Package kit makes and opens recovery kits: all that a restore on a bare machine
// needs beside the repository, sealed. It is for the commands. It promises that a
// kit is opened by what it was sealed for and by nothing else, that a byte that
// was changed in it is noticed, and that what is read of a kit is bounded: it may
// come from anywhere.
//
// A kit is a tar that any tar unpacks (docs/spec/recovery-kit.md):
//
//	READ-ME.txt   what it is and what to type
//	backstay      the program
//	kit.age       the secrets: a tar of kit.json and the files that it lists
package kit

import (
	"archive/tar"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"golang.org/x/crypto/scrypt"

	"github.com/backstay/backstay/internal/core"
)

// Schema is the version of kits that this code writes.
const Schema = 1

// Names in a kit.
const (
	ReadMeName  = "READ-ME.txt"
	ProgramName = "backstay"
	SealedName  = "kit.age"

	InfoName   = "kit.json"
	KeyName    = "repository.key"
	ConfigName = "backstay.yaml"
	PageName   = "page.html"
	FormatDir  = "format/"  // the repository's format blobs
	SecretsDir = "secrets/" // files that the configuration names
	AppsDir    = "apps/"    // keys of applications
)

// Bounds of what is read.
const (
	maxSealed = 64 << 20
	maxFile   = 16 << 20
	maxFiles  = 1000
)

// Info is kit.json: what a kit holds, and what it opens.
type Info struct {
	Schema     int       `json:"schema"`
	ID         string    `json:"id"`
	Made       time.Time `json:"made"`
	Host       string    `json:"host"`
	Version    string    `json:"version"` // of backstay
	Repository string    `json:"repository"`
	// RepositoryID tells the repository from others, whatever its address.
	RepositoryID string `json:"repository_id"`
	// Keys are fingerprints of the keys in the kit, by name: "repository",
	// "itop helpdesk encryption_key".
	Keys map[string]string `json:"keys"`
	Apps []App             `json:"apps"`
	// Files are the SHA-256 of the other files, by name, in hex.
	Files map[string]string `json:"files"`
	// Program is the SHA-256 of the program beside the sealed part, in hex.
	Program string `json:"program"`
	ReadMe  string `json:"read_me"`         // the same of READ-ME.txt
	Place   string `json:"place,omitempty"` // folder of the configuration, whose paths it has
}

// App is an app that the repository is for.
type App struct {
	Name    string `json:"name"`
	Profile string `json:"profile"`
	Root    string `json:"root,omitempty"`
}

// Content is all that is sealed.
type Content struct {
	Info  Info
	Files map[string][]byte // by name; kit.json is made of Info
}

// NewID returns a new id of a kit.
func NewID() string { return strings.ToLower(rand.Text()[:12]) }

// Fingerprint tells whether a key is still the same, and gives no way to guess
// it: it is slow to compute, and another one in each repository and for each
// name. It is hex.
func Fingerprint(repositoryID, name string, key core.Secret) (string, error) {
	sum, err := scrypt.Key([]byte(key.Reveal()), []byte("backstay kit\x00"+repositoryID+"\x00"+name), 1<<15, 8, 1, 16)
	if err != nil {
		return "", fmt.Errorf("fingerprint key %s: %w", name, err)
	}
	return hex.EncodeToString(sum), nil
}

// Sealing says who can open a kit: exactly one of its fields is set.
type Sealing struct {
	Recipients []string    // of age
	Passphrase core.Secret // of at least MinPassphrase characters
	Shares     Shares      // the key of the kit is split
}

// Shares says into how many parts a kit's key is split, and how many of them
// open it.
type Shares struct{ Need, Of int }

// MinPassphrase is the least length of a passphrase, in characters.
const MinPassphrase = 12

const op = "make the recovery kit"

func usage(hint, format string, args ...any) error {
	return &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// recipients are those of age, and the identity that is to be split.
func (s Sealing) recipients() ([]age.Recipient, string, error) {
	ways := 0
	for _, given := range []bool{len(s.Recipients) > 0, !s.Passphrase.Empty(), s.Shares != Shares{}} {
		if given {
			ways++
		}
	}
	if ways != 1 {
		return nil, "", usage("give --recipient, --passphrase-file or --shares", "a kit is sealed in one way")
	}
	switch {
	case len(s.Recipients) > 0:
		var all []age.Recipient
		for _, r := range s.Recipients {
			parsed, err := age.ParseRecipients(strings.NewReader(strings.TrimSpace(r)))
			if err != nil { // it may be a private key by mistake: it stays out of the error
				return nil, "", usage("recipients begin with age1; age-keygen makes one and its key", "a recipient is no age recipient")
			}
			all = append(all, parsed...)
		}
		return all, "", nil
	case !s.Passphrase.Empty():
		if n := len([]rune(s.Passphrase.Reveal())); n < MinPassphrase {
			return nil, "", usage(fmt.Sprintf("use at least %d characters: some words that do not belong together", MinPassphrase), "the passphrase has only %d characters", n)
		}
		r, err := age.NewScryptRecipient(s.Passphrase.Reveal())
		return []age.Recipient{r}, "", err
	}
	if s.Shares.Need < 2 || s.Shares.Of < s.Shares.Need || s.Shares.Of > 50 {
		return nil, "", usage("such as --shares 2/3: any two of three open it", "%d of %d shares cannot be", s.Shares.Need, s.Shares.Of)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, "", err
	}
	return []age.Recipient{identity.Recipient()}, identity.String(), nil
}

// Write writes a kit with the program at program to path, for its owner only,
// whole or not at all; a file that is there stays. It returns the shares of its
// key, where that was asked for: they are nowhere else.
func Write(target, program string, c Content, s Sealing) (shares []Share, err error) {
	recipients, identity, err := s.recipients()
	if err != nil {
		return nil, err
	}
	sum, size, err := sumFile(program)
	if err != nil {
		return nil, fmt.Errorf("read the program: %w", err)
	}
	c.Info.Schema, c.Info.Program = Schema, sum
	readMe := c.Info.readMe(s)
	readMeSum := sha256.Sum256([]byte(readMe))
	c.Info.ReadMe = hex.EncodeToString(readMeSum[:])
	sealed, err := c.seal(recipients)
	if err != nil {
		return nil, err
	}
	if identity != "" {
		if shares, err = split(c.Info, identity, s.Shares); err != nil {
			return nil, err
		}
	}
	return shares, writeNew(target, func(f io.Writer) error {
		w := tar.NewWriter(f)
		add := func(name string, mode, size int64, from io.Reader) error {
			if err := w.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: size, ModTime: c.Info.Made, Format: tar.FormatUSTAR}); err != nil {
				return err
			}
			_, err := io.Copy(w, from)
			return err
		}
		if err := add(ReadMeName, 0o644, int64(len(readMe)), strings.NewReader(readMe)); err != nil {
			return err
		}
		in, err := os.Open(program)
		if err != nil {
			return err
		}
		err = add(ProgramName, 0o755, size, io.LimitReader(in, size))
		if err := errors.Join(err, in.Close()); err != nil {
			return err
		}
		if err := add(SealedName, 0o600, int64(len(sealed)), bytes.NewReader(sealed)); err != nil {
			return err
		}
		return w.Close()
	})
}

// seal makes the sealed part.
func (c Content) seal(recipients []age.Recipient) ([]byte, error) {
	c.Info.Files = map[string]string{}
	for name, content := range c.Files {
		sum := sha256.Sum256(content)
		c.Info.Files[name] = hex.EncodeToString(sum[:])
	}
	info, err := json.MarshalIndent(c.Info, "", "  ")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	lock, err := age.Encrypt(&out, recipients...)
	if err != nil { // it does not mix kinds of recipients
		return nil, usage("give recipients that withstand quantum computers (age1pq1…), or others: not both", "%v", err)
	}
	w := tar.NewWriter(lock)
	files := maps.Clone(c.Files)
	if files == nil {
		files = map[string][]byte{}
	}
	files[InfoName] = append(info, '\n')
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(files[name])), ModTime: c.Info.Made}); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), lock.Close()); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return out.Bytes(), nil
}

// readMe is what a person reads first, perhaps years later.
func (i Info) readMe(s Sealing) string {
	with := "--identity-file FILE, the private key of a recipient that it was sealed to"
	switch {
	case !s.Passphrase.Empty():
		with = "its passphrase, which is asked for"
	case s.Shares != Shares{}:
		with = fmt.Sprintf("--share FILE, %d times: any %d of its %d shares", s.Shares.Need, s.Shares.Need, s.Shares.Of)
	}
	var apps []string
	for _, a := range i.Apps {
		apps = append(apps, a.Name+" ("+a.Profile+")")
	}
	return fmt.Sprintf(`RECOVERY KIT %s of backstay, made %s on %s by backstay %s

 1. The backups are at %s
    They hold: %s
 2. This file is a tar. Unpack it on any Linux machine: tar xf FILE
 3. backstay is the whole program. Its SHA-256 must be the one below: sha256sum backstay
 4. kit.age holds the keys. It opens with %s.
 5. ./backstay key open FILE --into DIR      writes keys and a configuration into DIR
 6. ./backstay --config DIR/backstay.yaml list
 7. ./backstay --config DIR/backstay.yaml restore APP latest --dry-run      shows what a restore will do
 8. Without --dry-run it restores. On another machine give --root and --database-... as the plan asks.
 9. Without backstay: age -d kit.age | tar x      gives the same files; kopia reads the repository with the key.
10. Make a new kit when keys change: backstay key kit FILE. Prove this one: backstay key verify-kit FILE

SHA-256 of backstay: %s
`, i.ID, i.Made.UTC().Format("2006-01-02 15:04 UTC"), i.Host, i.Version, i.Repository, strings.Join(apps, ", "), with, i.Program)
}

func sumFile(path string) (sum string, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), size, errors.Join(err, f.Close())
}

// validName are names of files in the sealed part: relative, and no way out.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._ -]*(/[A-Za-z0-9][A-Za-z0-9._ -]*)*$`)

// ValidName says whether a file in a kit may be called so.
func ValidName(name string) bool {
	return len(name) <= 200 && validName.MatchString(name) && path.Clean(name) == name
}
