// Package seal encrypts what a browser keeps for the console for some minutes,
// between two steps of a login. It is for the console's pages. It promises that
// nobody can read or change what is sealed, and that nothing sealed outlives
// the process.
package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// Sealer has a key of its own. It is safe for concurrent use.
type Sealer struct{ aead cipher.AEAD }

// New makes a sealer with a new key.
func New() *Sealer {
	var key [32]byte
	rand.Read(key[:]) // never fails
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // a key of 32 bytes is one
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size that GCM needs
	}
	return &Sealer{aead}
}

// longest is the most bytes of something sealed: a cookie's.
const longest = 4096

// Close seals v, which becomes JSON, for a purpose.
func (s *Sealer) Close(purpose string, v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("encode for sealing: %w", err)
	}
	sealed := base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, text, []byte(purpose)))
	if len(sealed) > longest {
		return "", errors.New("seal: it is too long")
	}
	return sealed, nil
}

// Open reads what Close sealed for the same purpose into v.
func (s *Sealer) Open(purpose, sealed string, v any) error {
	if len(sealed) > longest {
		return errors.New("open what is sealed: it is too long")
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return fmt.Errorf("open what is sealed: %w", err)
	}
	text, err := s.aead.Open(nil, nil, raw, []byte(purpose))
	if err != nil {
		return fmt.Errorf("open what is sealed: %w", err)
	}
	if err := json.Unmarshal(text, v); err != nil {
		return fmt.Errorf("decode what was sealed: %w", err)
	}
	return nil
}
