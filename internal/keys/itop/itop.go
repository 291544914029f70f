// Package itop opens what iTop encrypts with the key of its configuration:
// encrypted fields, and what history keeps of them. It is for the commands and
// for drills. It promises to put no secret into an error, and to say how much
// an opened value proves: not every library of iTop's seals what it encrypts.
package itop

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	//lint:ignore SA1019 Two of iTop's libraries encrypt with it; nothing is encrypted with it here.
	"golang.org/x/crypto/blowfish"
	"golang.org/x/crypto/nacl/secretbox"

	"github.com/backstay/backstay/internal/core"
)

// Libraries of iTop's configuration, encryption_library.
const (
	Sodium                     = "Sodium"
	OpenSSL                    = "OpenSSL"
	OpenSSLMcryptCompatibility = "OpenSSLMcryptCompatibility"
	Mcrypt                     = "Mcrypt"
	Simple                     = "Simple"
)

// Errors of opening.
var (
	ErrMalformed = errors.New("it is not stored as the library stores it")
	ErrOtherKey  = errors.New("the key does not open it")
)

// Proof says what it proves that a value opened.
type Proof string

// The proofs.
const (
	Sealed    Proof = "sealed"    // no other key opens it
	Padded    Proof = "padded"    // another key opens one value in some hundred by chance
	Plausible Proof = "plausible" // what came out is text; the library checks nothing
)

// Key opens what one library encrypted with one key. It prints as stars.
type Key struct {
	library string
	secret  core.Secret
	proof   Proof
	open    func(stored []byte) ([]byte, error)
}

// Library returns the library's name.
func (k Key) Library() string { return k.library }

// Proof says what it proves that a value opens.
func (k Key) Proof() Proof { return k.proof }

// Format prints stars whatever the verb.
func (k Key) Format(f fmt.State, verb rune) { k.secret.Format(f, verb) }

// MarshalText gives stars, so that JSON holds no key.
func (k Key) MarshalText() ([]byte, error) { return k.secret.MarshalText() }

// NewKey takes encryption_library and encryption_key as the configuration has
// them. "" are iTop's defaults. The error says what of them cannot be.
func NewKey(library string, key core.Secret) (Key, error) {
	if library == "" {
		library = Mcrypt // DEFAULT_ENCRYPTION_LIB of core/config.class.inc.php
	}
	if key.Empty() {
		return Key{}, errors.New("encryption_key is empty")
	}
	k := Key{library: library, secret: key}
	switch library {
	case Sodium:
		raw, err := hex.DecodeString(key.Reveal())
		if err != nil || len(raw) != 32 {
			return Key{}, errors.New("encryption_key is not 64 hexadecimal digits, which Sodium needs")
		}
		k.proof, k.open = Sealed, func(stored []byte) ([]byte, error) { return openSodium([32]byte(raw), stored) }
	case OpenSSL:
		raw, err := hex.DecodeString(key.Reveal())
		if err != nil || len(raw) == 0 {
			return Key{}, errors.New("encryption_key is not hexadecimal, which OpenSSL needs")
		}
		block, err := aes.NewCipher(sized(raw, 32))
		if err != nil {
			return Key{}, fmt.Errorf("use encryption_key: %w", err)
		}
		k.proof, k.open = Padded, func(stored []byte) ([]byte, error) { return openOpenSSL(block, stored) }
	case OpenSSLMcryptCompatibility, Mcrypt:
		blocks, err := blowfishes(library, key.Reveal())
		if err != nil {
			return Key{}, fmt.Errorf("use encryption_key: %w", err)
		}
		k.proof, k.open = Plausible, func(stored []byte) ([]byte, error) { return openBlowfish(blocks, stored) }
	case Simple:
		text := key.Reveal()
		k.proof, k.open = Plausible, func(stored []byte) ([]byte, error) { return openSimple(text, stored), nil }
	default:
		return Key{}, fmt.Errorf("encryption_library %q is none of %s", library, strings.Join([]string{Sodium, OpenSSL, OpenSSLMcryptCompatibility, Mcrypt, Simple}, ", "))
	}
	return k, nil
}

// Open opens a value. What does not open is ErrOtherKey, or ErrMalformed where
// no key can open it.
func (k Key) Open(stored []byte) (core.Secret, error) {
	if k.open == nil {
		return core.Secret{}, ErrOtherKey
	}
	plain, err := k.open(stored)
	if err != nil {
		return core.Secret{}, err
	}
	if !utf8.Valid(plain) || k.proof == Plausible && !isText(plain) {
		return core.Secret{}, ErrOtherKey
	}
	return core.NewSecret(string(plain)), nil
}

// isText says whether there are no control characters but those of text.
func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return true
}

func openSodium(key [32]byte, stored []byte) ([]byte, error) {
	raw, err := decode(stored)
	if err != nil || len(raw) < 24+secretbox.Overhead {
		return nil, ErrMalformed
	}
	plain, ok := secretbox.Open(nil, raw[24:], (*[24]byte)(raw[:24]), &key)
	if !ok {
		return nil, ErrOtherKey
	}
	return plain, nil
}

func decode(text []byte) ([]byte, error) {
	if strings.ContainsAny(string(text), "\r\n") { // which the decoder would pass over
		return nil, ErrMalformed
	}
	return base64.StdEncoding.Strict().DecodeString(string(text))
}

// sized makes a key as long as PHP's openssl_decrypt does: cut, or with zeros.
func sized(key []byte, n int) []byte {
	out := make([]byte, n)
	copy(out, key)
	return out
}

func openOpenSSL(block cipher.Block, stored []byte) ([]byte, error) {
	if len(stored) < aes.BlockSize {
		return nil, ErrMalformed
	}
	iv := stored[:aes.BlockSize]
	sealed, err := decode(stored[aes.BlockSize:])
	if err != nil || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, ErrMalformed
	}
	plain := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(plain, sealed)
	n := int(plain[len(plain)-1])
	if n == 0 || n > aes.BlockSize {
		return nil, ErrOtherKey
	}
	for _, b := range plain[len(plain)-n:] {
		if int(b) != n {
			return nil, ErrOtherKey
		}
	}
	return plain[:len(plain)-n], nil
}

// blowfishes are the ciphers that a key can mean. Blowfish goes round and round
// a short key, which is all that the compatible engine's lengthening does; of a
// key over 56 bytes the mcrypt extension took the first 56.
func blowfishes(library, key string) ([]cipher.Block, error) {
	lengths := []int{72}
	if library == Mcrypt && len(key) > 56 {
		lengths = append(lengths, 56)
	}
	var out []cipher.Block
	for _, n := range lengths {
		b, err := blowfish.NewSaltedCipher([]byte(key[:min(n, len(key))]), make([]byte, 16)) // a salt of zeros is none; without one the key may not be over 56
		if err != nil {
			return nil, err
		}
		out = append(out, b)
	}
	return out, nil
}

func openBlowfish(blocks []cipher.Block, stored []byte) ([]byte, error) {
	if len(stored) < blowfish.BlockSize || len(stored)%blowfish.BlockSize != 0 { // nothing behind the first block: nothing was encrypted
		return nil, ErrMalformed
	}
	iv, sealed := stored[:blowfish.BlockSize], stored[blowfish.BlockSize:]
	for _, b := range blocks {
		plain := make([]byte, len(sealed))
		cipher.NewCBCDecrypter(b, iv).CryptBlocks(plain, sealed)
		text := strings.TrimRight(string(plain), "\x00")
		if zeros := len(plain) - len(text); (zeros < blowfish.BlockSize || zeros == blowfish.BlockSize && text == "") && utf8.ValidString(text) && isText([]byte(text)) {
			return []byte(text), nil
		}
	}
	return nil, ErrOtherKey
}

// openSimple takes the key's bytes off the text's.
func openSimple(key string, stored []byte) []byte {
	out := make([]byte, len(stored))
	for i, c := range stored {
		out[i] = c - key[i%len(key)]
	}
	return out
}
