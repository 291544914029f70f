package people

import (
	"context"
	"crypto/subtle"
	"fmt"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
)

// password reads a new password from the file, or asks a terminal for it twice.
func (s commands) password(ctx context.Context, name, file string) (core.Secret, error) {
	if file != "" {
		return config.ResolveSecret(config.SecretSource{PasswordFile: file}, "the user "+name, s.LookupEnv)
	}
	terminal, ok := s.Terminal()
	if !ok {
		return core.Secret{}, &core.Error{Code: core.CodeUsage, Message: "nobody can be asked for the password here", Hint: "add --password-file F, a file that its owner only can read"}
	}
	first, err := s.AskHidden(ctx, terminal, fmt.Sprintf("Password of %s, at least %d characters: ", name, access.PasswordRunes))
	if err != nil {
		return core.Secret{}, err
	}
	if err := access.CheckPassword(name, first); err != nil {
		return core.Secret{}, err
	}
	second, err := s.AskHidden(ctx, terminal, "The same again: ")
	if err != nil {
		return core.Secret{}, err
	}
	if subtle.ConstantTimeCompare([]byte(first.Reveal()), []byte(second.Reveal())) != 1 {
		return core.Secret{}, &core.Error{Code: core.CodeUsage, Message: "the two passwords are not the same; nothing was changed", Hint: "type it again"}
	}
	return first, nil
}
