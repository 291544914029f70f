package kit

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/backstay/backstay/internal/core"
)

// Opening is what may open a kit: what is given is tried.
type Opening struct {
	Identities core.Secret // of age, a line each
	Passphrase core.Secret
	Shares     []string // texts of shares, or of the pages that they are on
}

func damaged(format string, args ...any) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "open the recovery kit", Message: fmt.Sprintf(format, args...),
		Hint: "it was changed or cut off since it was made: take another copy of it, or make a new kit",
	}
}

// Open reads a kit, whole: every file in its sealed part is as it was sealed,
// and so is the program beside it. It takes the whole kit or kit.age alone. The
// errors have core.CodeDamage for a kit that was changed, core.CodeWrongKey for
// what does not open it, core.CodeUsage for what is not given.
func Open(path string, o Opening) (Content, error) {
	kit, err := readOuter(path)
	if err != nil {
		return Content{}, err
	}
	identities, err := o.identities()
	if err != nil {
		return Content{}, err
	}
	plain, err := age.Decrypt(bytes.NewReader(kit.sealed), identities...)
	var no *age.NoIdentityMatchError
	switch {
	case errors.As(err, &no):
		return Content{}, &core.Error{
			Code: core.CodeWrongKey, Op: "open the recovery kit", Message: "this does not open it",
			Hint: "its READ-ME.txt says whether it wants a passphrase, the key of a recipient, or shares; shares must be of this kit",
		}
	case err != nil:
		return Content{}, damaged("%v", err)
	}
	c, err := readSealed(plain)
	if err != nil {
		return Content{}, err
	}
	if kit.program != "" && kit.program != c.Info.Program {
		return Content{}, damaged("the program in it is not the one that it was made with: do not run it")
	}
	if kit.readMe != "" && kit.readMe != c.Info.ReadMe {
		return Content{}, damaged("%s in it is not the one that it was made with: do not do what it says", ReadMeName)
	}
	return c, nil
}

// NeedsPassphrase says whether a kit is sealed with a passphrase.
func NeedsPassphrase(path string) (bool, error) {
	kit, err := readOuter(path)
	return err == nil && bytes.Contains(kit.sealed[:min(len(kit.sealed), 4096)], []byte("\n-> scrypt ")), err
}

func (o Opening) identities() (all []age.Identity, err error) {
	if !o.Identities.Empty() {
		parsed, err := age.ParseIdentities(strings.NewReader(o.Identities.Reveal()))
		if err != nil { // what it complains of may be a key
			return nil, &core.Error{Code: core.CodeUsage, Op: "open the recovery kit", Message: "the identity file holds no identity of age", Hint: "it has lines that begin with AGE-SECRET-KEY-"}
		}
		all = append(all, parsed...)
	}
	if !o.Passphrase.Empty() {
		s, err := age.NewScryptIdentity(o.Passphrase.Reveal())
		if err != nil {
			return nil, err
		}
		s.SetMaxWorkFactor(20)
		all = append(all, s)
	}
	if len(o.Shares) > 0 {
		identity, err := combine(o.Shares)
		if err != nil {
			return nil, err
		}
		all = append(all, identity)
	}
	if len(all) == 0 {
		return nil, &core.Error{Code: core.CodeUsage, Op: "open the recovery kit", Message: "nothing is given that could open it", Hint: "give its passphrase, --identity-file or --share; its READ-ME.txt says which"}
	}
	return all, nil
}

// readOuter reads a kit, or its sealed part by itself.
func readOuter(path string) (o outer, err error) {
	f, err := os.Open(path)
	if err != nil {
		return o, &core.Error{Code: core.CodeNotFound, Op: "open the recovery kit", Err: err, Hint: "give the path of the kit's file"}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, 21)
	if _, err := io.ReadFull(f, head); err != nil {
		return o, damaged("it is cut off")
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return o, err
	}
	if string(head) == "age-encryption.org/v1" {
		o.sealed, err = bounded(f, maxSealed)
		return o, err
	}
	// These three and nothing else, each once: whoever unpacks it with another
	// program must not get something else than what is looked at here.
	r := tar.NewReader(f)
	for _, name := range []string{ReadMeName, ProgramName, SealedName} {
		h, err := r.Next()
		if err != nil {
			return o, damaged("it is no kit, or cut off: %v", err)
		}
		if h.Name != name || h.Typeflag != tar.TypeReg {
			return o, damaged("it has %q where %s must be", h.Name, name)
		}
		switch name {
		case ReadMeName:
			text, err := bounded(r, maxFile)
			if err != nil {
				return o, err
			}
			sum := sha256.Sum256(text)
			o.readMe = hex.EncodeToString(sum[:])
		case ProgramName:
			sum := sha256.New()
			if n, err := io.Copy(sum, io.LimitReader(r, maxProgram)); err != nil || n == maxProgram {
				return o, damaged("its program is cut off, or too large")
			}
			o.program = hex.EncodeToString(sum.Sum(nil))
		case SealedName:
			if o.sealed, err = bounded(r, maxSealed); err != nil {
				return o, err
			}
		}
	}
	if h, err := r.Next(); !errors.Is(err, io.EOF) {
		if err == nil {
			return o, damaged("it has %q, which is no part of a kit", h.Name)
		}
		return o, damaged("it does not end as a tar does: %v", err)
	}
	rest, err := bounded(f, maxFile)
	if err != nil || len(bytes.Trim(rest, "\x00")) > 0 {
		return o, damaged("something comes after its end")
	}
	return o, nil
}

// outer is what of a kit is not sealed, by its SHA-256 in hex, and what is.
type outer struct {
	sealed          []byte
	readMe, program string // "" of the sealed part alone
}

// maxProgram bounds the program in a kit.
const maxProgram = 1 << 30

func bounded(r io.Reader, most int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(r, most+1))
	if err != nil {
		return nil, damaged("it is cut off: %v", err)
	}
	if int64(len(content)) > most {
		return nil, damaged("it is larger than a kit can be")
	}
	return content, nil
}

// readSealed reads what was sealed, and checks it.
func readSealed(plain io.Reader) (Content, error) {
	c := Content{Files: map[string][]byte{}}
	var info []byte
	r := tar.NewReader(plain)
	for total := int64(0); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return c, damaged("%v", err)
		}
		content, err := bounded(r, maxFile)
		if err != nil {
			return c, err
		}
		total += int64(len(content))
		_, twice := c.Files[h.Name]
		if h.Typeflag != tar.TypeReg || !ValidName(h.Name) || twice || len(c.Files) >= maxFiles || total > maxSealed || h.Name == InfoName && info != nil {
			return c, damaged("%q cannot be in it", h.Name)
		}
		if h.Name == InfoName && info == nil {
			info = content
			continue
		}
		c.Files[h.Name] = content
	}
	// To the end: only that says that nothing was cut off.
	if _, err := io.Copy(io.Discard, plain); err != nil {
		return c, damaged("%v", err)
	}
	if err := json.Unmarshal(info, &c.Info); err != nil {
		return c, damaged("%s cannot be read", InfoName)
	}
	if c.Info.Schema > Schema {
		return c, &core.Error{Code: core.CodeUnsupported, Op: "open the recovery kit", Message: "a newer version of backstay made it", Hint: "use the program in it"}
	}
	if len(c.Info.Files) != len(c.Files) {
		return c, damaged("it has %d files, and lists %d", len(c.Files), len(c.Info.Files))
	}
	for name, content := range c.Files {
		if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != c.Info.Files[name] {
			return c, damaged("%s is not as it was sealed", name)
		}
	}
	return c, nil
}
