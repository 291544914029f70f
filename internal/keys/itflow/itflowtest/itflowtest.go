// Package itflowtest writes what ITFlow writes, for tests of what opens it.
package itflowtest

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
)

const (
	salt = "n6c0o5G-aG_wcQR9"
	iv   = "Z8wM3YWftHYnAid4"
)

// Wrap is what ITFlow stores of a master key under a password.
func Wrap(password, key string) string {
	derived, err := pbkdf2.Key(sha256.New, password, []byte(salt), 100_000, 8)
	if err != nil {
		panic(err)
	}
	return salt + Encrypt(hex.EncodeToString(derived), key)
}

// Encrypt is what ITFlow stores of a credential's value under a key of 16 bytes.
func Encrypt(key, text string) string {
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		panic(err)
	}
	n := aes.BlockSize - len(text)%aes.BlockSize
	plain := append([]byte(text), bytes.Repeat([]byte{byte(n)}, n)...)
	cipher.NewCBCEncrypter(block, []byte(iv)).CryptBlocks(plain, plain)
	return iv + base64.StdEncoding.EncodeToString(plain)
}
