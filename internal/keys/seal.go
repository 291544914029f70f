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
