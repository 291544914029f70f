package keys

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/backstay/backstay/internal/core"
)

// Seal returns text sealed for age recipients, any of whom can open it with
// age -d, in lines of letters.
func Seal(text core.Secret, recipients []string) (string, error) {
	const op = "seal the key"
	var all []age.Recipient
	for _, r := range recipients {
		// It may be a private key by mistake: it stays out of the error.
		parsed, err := age.ParseRecipients(strings.NewReader(strings.TrimSpace(r)))
		if err != nil {
			return "", &core.Error{
				Code: core.CodeUsage, Op: op, Message: "a recipient is no age recipient",
				Hint: "recipients begin with age1…; age-keygen makes one and its key. Keys of SSH are not taken",
			}
		}
		all = append(all, parsed...)
	}
	var out bytes.Buffer
	lines := armor.NewWriter(&out)
	sealed, err := age.Encrypt(lines, all...)
	if err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	_, err = io.WriteString(sealed, text.Reveal())
	if err := errors.Join(err, sealed.Close(), lines.Close()); err != nil {
		return "", fmt.Errorf("%s: %w", op, err)
	}
	return out.String(), nil
}

// Open returns what Seal sealed, with identities of age, a line each. What does
// not open it is an error with core.CodeWrongKey, and a text that was changed one
// with core.CodeDamage.
func Open(text []byte, identities core.Secret) (core.Secret, error) {
	const op = "open what is sealed"
	all, err := age.ParseIdentities(strings.NewReader(identities.Reveal()))
	if err != nil { // what it complains of may be a key
		return core.Secret{}, &core.Error{Code: core.CodeConfig, Op: op, Message: "the identity file holds no identity of age", Hint: "it has lines that begin with AGE-SECRET-KEY-; backstay key seal makes one"}
	}
	plain, err := age.Decrypt(armor.NewReader(bytes.NewReader(text)), all...)
	var no *age.NoIdentityMatchError
	if errors.As(err, &no) {
		return core.Secret{}, &core.Error{Code: core.CodeWrongKey, Op: op, Message: "none of the identities opens it", Hint: "it was sealed for another recipient: give the identity of that time, which recovery kits from then hold"}
	}
	var content []byte
	if err == nil {
		content, err = io.ReadAll(io.LimitReader(plain, maxSealed))
	}
	if err != nil {
		return core.Secret{}, &core.Error{Code: core.CodeDamage, Op: op, Err: err, Hint: "it is not as it was sealed; take another backup"}
	}
	return core.NewSecret(string(content)), nil
}

// maxSealed bounds what is opened.
const maxSealed = 65 << 20

// NewIdentity makes an identity of age and its recipient.
func NewIdentity() (identity core.Secret, recipient string, err error) {
	i, err := age.GenerateX25519Identity()
	if err != nil {
		return core.Secret{}, "", fmt.Errorf("make an identity: %w", err)
	}
	return core.NewSecret(i.String()), i.Recipient().String(), nil
}
