package itflow

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/bcrypt"

	"github.com/backstay/backstay/internal/core"
)

const (
	saltLength = 16
	ivLength   = aes.BlockSize
	keyLength  = 16
	rounds     = 100_000
	// maxCost bounds how long a stored hash can keep us: each step doubles it,
	// and PHP's default is 10 to 12.
	maxCost = 16
)

// Unwrap opens what ITFlow stores of a master key for a user or an API key
// (users.user_specific_encryption_ciphertext, api_keys.api_key_decrypt_hash). It
// tries the password as it is and trimmed, since ITFlow does either. A wrong one
// is ErrWrongPassword: the stored padding alone, a whole block of it, lets no
// other key pass.
func Unwrap(stored string, password core.Secret) (MasterKey, error) {
	if stored == "" {
		return MasterKey{}, ErrNoWrapping
	}
	if len(stored) < saltLength+ivLength {
		return MasterKey{}, ErrMalformed
	}
	salt, rest := stored[:saltLength], stored[saltLength:]
	iv, sealed, err := parts(rest)
	if err != nil {
		return MasterKey{}, err
	}
	if len(sealed) != 2*aes.BlockSize { // 16 characters, and a block of padding
		return MasterKey{}, ErrMalformed
	}
	for _, p := range spellings(password) {
		derived, err := pbkdf2.Key(sha256.New, p, []byte(salt), rounds, keyLength/2)
		if err != nil {
			return MasterKey{}, fmt.Errorf("derive a key from the password: %w", err)
		}
		// PHP's hash_pbkdf2 counts hexadecimal digits, and ITFlow has them for the key.
		plain, ok := open([]byte(hex.EncodeToString(derived)), iv, sealed)
		if ok && isMasterKey(string(plain)) {
			return MasterKey{core.NewSecret(string(plain))}, nil
		}
	}
	return MasterKey{}, ErrWrongPassword
}

// Unwrap opens the master key. Where the user's login is known, a password that
// it refuses is not tried on the wrapping.
func (w Wrapping) Unwrap(password core.Secret) (MasterKey, error) {
	if w.Stored == "" {
		return MasterKey{}, ErrNoWrapping
	}
	login, known := w.lets(password)
	if known && !login {
		return MasterKey{}, ErrWrongPassword
	}
	key, err := Unwrap(w.Stored, password)
	if known && errors.Is(err, ErrWrongPassword) {
		return MasterKey{}, ErrStale
	}
	return key, err
}

// lets says whether ITFlow would let the user in. known is false where there is
// nothing to tell by.
func (w Wrapping) lets(password core.Secret) (yes, known bool) {
	hash := []byte(w.Login)
	if cost, err := bcrypt.Cost(hash); err != nil || cost > maxCost {
		return false, false
	}
	for _, p := range spellings(password) {
		switch err := bcrypt.CompareHashAndPassword(hash, []byte(p)); {
		case err == nil:
			return true, true
		case !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword):
			return false, false
		}
	}
	return false, true
}

// spellings are a password and what PHP's trim makes of it.
func spellings(password core.Secret) []string {
	p := password.Reveal()
	if trimmed := strings.Trim(p, " \t\n\r\x00\x0b"); trimmed != p {
		return []string{p, trimmed}
	}
	return []string{p}
}

// Equal says whether it is the same key.
func (k MasterKey) Equal(other MasterKey) bool {
	return subtle.ConstantTimeCompare([]byte(k.secret.Reveal()), []byte(other.secret.Reveal())) == 1
}

// Open opens a credential's user name or password. What does not open is
// ErrOtherKey, or ErrMalformed where no key can open it. There is no checksum in
// it: what another key was used for opens by chance once in some hundred times
// for a short value, and less often for a long one.
func (k MasterKey) Open(stored string) (core.Secret, error) {
	iv, sealed, err := parts(stored)
	if err != nil {
		return core.Secret{}, err
	}
	if k.secret.Empty() {
		return core.Secret{}, ErrOtherKey
	}
	plain, ok := open([]byte(k.secret.Reveal()), iv, sealed)
	if !ok || !utf8.Valid(plain) {
		return core.Secret{}, ErrOtherKey
	}
	return core.NewSecret(string(plain)), nil
}

// WellFormed says whether a credential's value is stored as ITFlow stores it, so
// that some master key could open it. It is all that can be said without one.
func WellFormed(stored string) bool {
	_, _, err := parts(stored)
	return err == nil
}

// parts takes iv(16) | base64(ciphertext) apart.
func parts(stored string) (iv, sealed []byte, err error) {
	if len(stored) < ivLength {
		return nil, nil, ErrMalformed
	}
	if strings.ContainsAny(stored, "\r\n") { // which the decoder would pass over
		return nil, nil, ErrMalformed
	}
	sealed, err = base64.StdEncoding.Strict().DecodeString(stored[ivLength:])
	if err != nil || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, nil, ErrMalformed // the decoder's error would tell of the text
	}
	return []byte(stored[:ivLength]), sealed, nil
}

// open is AES-128-CBC with PKCS #7 padding, every byte of which is looked at.
func open(key, iv, sealed []byte) ([]byte, bool) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, false
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, sealed)
	n := int(plain[len(plain)-1])
	if n == 0 || n > aes.BlockSize {
		return nil, false
	}
	for _, b := range plain[len(plain)-n:] {
		if int(b) != n {
			return nil, false
		}
	}
	return plain[:len(plain)-n], true
}

// isMasterKey says whether text can be a master key, as ITFlow's randomString
// makes it.
func isMasterKey(text string) bool {
	if len(text) != keyLength {
		return false
	}
	for _, c := range []byte(text) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
			return false
		}
	}
	return true
}
