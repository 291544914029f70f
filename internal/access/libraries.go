package access

import (
	_ "github.com/pquerna/otp/totp"
	_ "golang.org/x/crypto/argon2"
	_ "modernc.org/sqlite"
)
