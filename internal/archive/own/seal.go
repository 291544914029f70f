package own

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

const (
	ageMagic = "age-encryption.org/v1\n"
	// defaultWorkFactor is what age uses: about a second, and 256 MiB.
	defaultWorkFactor = 18
	// maxWorkFactor bounds what a hostile header can make a reader spend: 1 GiB.
	maxWorkFactor = 20
)

// sealed says whether an archive written with opt is sealed.
func sealed(opt archive.WriteOptions) bool {
	return len(opt.Recipients) > 0 || !opt.Password.Empty()
}

// seal returns what writes to w for the recipients or the passphrase of opt.
// Its Close ends the seal and leaves w open.
func (f Format) seal(w io.Writer, opt archive.WriteOptions) (io.WriteCloser, error) {
	const op = "seal archive"
	if len(opt.Recipients) > 0 && !opt.Password.Empty() {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: op, Message: "an archive is sealed for recipients or with a passphrase, not both",
			Hint: "who should open it with a passphrase can keep a key of their own: age-keygen | age -p > key.age",
		}
	}
	var recipients []age.Recipient
	for _, text := range opt.Recipients {
		// The text may be a private key by mistake: it stays out of the error.
		parsed, err := age.ParseRecipients(strings.NewReader(strings.TrimSpace(text)))
		if err != nil {
			return nil, &core.Error{
				Code: core.CodeUsage, Op: op, Message: "a recipient is no age recipient",
				Hint: "recipients begin with age1…; age-keygen makes one and its key. Keys of SSH are not taken",
			}
		}
		recipients = append(recipients, parsed...)
	}
	if !opt.Password.Empty() {
		r, err := age.NewScryptRecipient(opt.Password.Reveal())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", op, err)
		}
		r.SetWorkFactor(f.workFactor)
		recipients = append(recipients, r)
	}
	out, err := age.Encrypt(w, recipients...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return out, nil
}

// unseal finds the key of a sealed archive, so that it is looked for once
// however often the archive is read.
func unseal(r io.Reader, passwords []core.Secret) (age.Identity, error) {
	const op = "open archive"
	header, err := age.ExtractHeader(r)
	if err != nil {
		return nil, &core.Error{Code: core.CodeDamage, Op: op, Message: "the seal's header is damaged", Err: err}
	}
	wanted := "it is sealed for age recipients: give the file that holds the key, the line AGE-SECRET-KEY-…, with --password-file FILE"
	if strings.Contains(string(header), "\n-> scrypt ") {
		wanted = "it is sealed with a passphrase: give the file that holds it with --password-file FILE"
	}
	var identities []age.Identity
	for _, p := range passwords {
		if p.Empty() {
			continue
		}
		found, err := identity(p)
		if err != nil {
			return nil, err
		}
		identities = append(identities, found...)
	}
	if len(identities) == 0 {
		return nil, &core.Error{Code: core.CodeWrongKey, Op: op, Message: "the archive is sealed, and there is no password to open it", Hint: wanted}
	}
	key, err := age.DecryptHeader(header, identities...)
	var none *age.NoIdentityMatchError
	if errors.As(err, &none) {
		return nil, &core.Error{Code: core.CodeWrongKey, Op: op, Message: "no password or key that was given opens the archive", Hint: wanted}
	}
	if err != nil {
		return nil, &core.Error{Code: core.CodeDamage, Op: op, Message: "the seal's header is damaged", Err: err}
	}
	return age.NewInjectedFileKeyIdentity(key), nil
}

// identity returns what a password opens with: itself as a passphrase, or the
// keys that its text is.
func identity(p core.Secret) ([]age.Identity, error) {
	text := strings.TrimSpace(p.Reveal())
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "AGE-SECRET-KEY-") {
			continue
		}
		var keys []age.Identity
		keys, err := age.ParseIdentities(strings.NewReader(text))
		if err != nil {
			return nil, &core.Error{
				Code: core.CodeWrongKey, Op: "open archive", Message: "an age key that was given cannot be read",
				Hint: "it is one line, AGE-SECRET-KEY-1 and 58 more characters, as age-keygen wrote it",
			}
		}
		return keys, nil
	}
	scrypt, err := age.NewScryptIdentity(p.Reveal())
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	scrypt.SetMaxWorkFactor(maxWorkFactor)
	return []age.Identity{scrypt}, nil
}
