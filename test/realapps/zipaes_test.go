package realapps

import (
	"archive/zip"
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the format's choice
	"encoding/binary"
	"io"
	"testing"
)

// WinZip's AES encryption, https://www.winzip.com/en/support/aes-encryption/:
// AES-256 has a salt of 16 bytes, and each entry's data is
// salt | 2 bytes to check the password | encrypted | 10 bytes of HMAC-SHA1.
const (
	zipMethodAES = 99
	aesSalt      = 16
	aesCheck     = 2
	aesMAC       = 10
	aesRounds    = 1000
)

// readEncryptedZip returns the entries of an archive, decrypted and
// authenticated.
func readEncryptedZip(t *testing.T, path, password string) map[string][]byte {
	t.Helper()
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }() // read only
	entries := map[string][]byte{}
	for _, f := range r.File {
		if f.Method != zipMethodAES {
			t.Fatalf("%s is not encrypted with AES: method %d", f.Name, f.Method)
		}
		raw, err := f.OpenRaw()
		if err != nil {
			t.Fatal(err)
		}
		sealed, err := io.ReadAll(raw)
		if err != nil {
			t.Fatal(err)
		}
		var plain io.Reader = bytes.NewReader(decryptEntry(t, f.Name, sealed, password))
		if sealedMethod(t, f) == zip.Deflate {
			plain = flate.NewReader(plain)
		}
		entries[f.Name], err = io.ReadAll(plain)
		if err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
	}
	return entries
}

// sealedMethod is how the entry is compressed below its encryption, which its
// extra field 0x9901 says: vendor's version and name, strength, method.
func sealedMethod(t *testing.T, f *zip.File) uint16 {
	t.Helper()
	for extra := f.Extra; len(extra) >= 4; {
		id, size := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if size > len(extra)-4 {
			break
		}
		if id == 0x9901 && size == 7 {
			return binary.LittleEndian.Uint16(extra[9:])
		}
		extra = extra[4+size:]
	}
	t.Fatalf("%s has no extra field of its encryption", f.Name)
	return 0
}

func decryptEntry(t *testing.T, name string, sealed []byte, password string) []byte {
	t.Helper()
	if len(sealed) < aesSalt+aesCheck+aesMAC {
		t.Fatalf("%s is too short", name)
	}
	salt, rest := sealed[:aesSalt], sealed[aesSalt:]
	check, data, mac := rest[:aesCheck], rest[aesCheck:len(rest)-aesMAC], rest[len(rest)-aesMAC:]
	keys, err := pbkdf2.Key(sha1.New, password, salt, aesRounds, 32+32+aesCheck)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(keys[64:], check) {
		t.Fatalf("%s: wrong password", name)
	}
	h := hmac.New(sha1.New, keys[32:64])
	h.Write(data)
	if !hmac.Equal(h.Sum(nil)[:aesMAC], mac) {
		t.Fatalf("%s: it does not match its authentication code", name)
	}
	block, err := aes.NewCipher(keys[:32])
	if err != nil {
		t.Fatal(err)
	}
	// Counter mode, but the counter is little-endian and begins with 1, which
	// crypto/cipher's is not.
	plain := make([]byte, len(data))
	var counter, stream [aes.BlockSize]byte
	for i := 0; i < len(data); i += aes.BlockSize {
		binary.LittleEndian.PutUint64(counter[:], uint64(i/aes.BlockSize)+1)
		block.Encrypt(stream[:], counter[:])
		for j := i; j < min(i+aes.BlockSize, len(data)); j++ {
			plain[j] = data[j] ^ stream[j-i]
		}
	}
	return plain
}
