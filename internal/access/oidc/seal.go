package oidc

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// sealer encrypts what the browser keeps, so that nobody can read or change it.
type sealer struct{ aead cipher.AEAD }

func newSealer(key [32]byte) *sealer {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // a key of 32 bytes is one
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has the block size that GCM needs
	}
	return &sealer{aead}
}

// purpose keeps what is sealed here from being taken for something else.
const purpose = "backstay login at a provider"

func (s *sealer) close(v any) (string, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, text, []byte(purpose))), nil
}

func (s *sealer) open(sealed string, v any) error {
	if len(sealed) > 4096 {
		return errors.New("it is too long")
	}
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	text, err := s.aead.Open(nil, nil, raw, []byte(purpose))
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return json.Unmarshal(text, v)
}
