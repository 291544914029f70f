package winzip

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha1" //nolint:gosec // the format's choice
	"crypto/subtle"
	"encoding/binary"
	"fmt"
	"hash"
	"io"
)

// WinZip's AES encryption: an encrypted entry's data is a salt, two bytes that
// tell most wrong passwords, the encrypted bytes, and ten bytes of HMAC-SHA1
// over these. https://www.winzip.com/en/support/aes-encryption/
const (
	lenCheck = 2
	lenMAC   = 10
	rounds   = 1000
)

func saltLen(bits int) int64 { return int64(bits) / 16 }

// overhead is how many bytes of the entry's data are not its plain bytes,
// compressed.
func (e *Entry) overhead() int64 {
	if e.AES == 0 {
		return 0
	}
	return saltLen(e.AES) + lenCheck + lenMAC
}

// Key opens one encrypted entry.
type Key struct {
	block cipher.Block
	mac   []byte
}

// Unlock derives an entry's key from a password. It returns nil when the
// password is not the entry's; one of 65536 wrong passwords is only found by
// Verify.
func (z *Zip) Unlock(e *Entry, password string) (*Key, error) {
	if e.AES == 0 {
		return nil, fmt.Errorf("unlock %s: it is not encrypted", quote(e.Name))
	}
	head := make([]byte, saltLen(e.AES)+lenCheck)
	if err := readAt(z.r, head, e.data); err != nil {
		return nil, err
	}
	salt, check := head[:len(head)-lenCheck], head[len(head)-lenCheck:]
	key, got, err := newKey(password, salt, e.AES)
	if err != nil || !bytes.Equal(got, check) {
		return nil, err
	}
	return key, nil
}

func newKey(password string, salt []byte, bits int) (*Key, []byte, error) {
	n := bits / 8
	keys, err := pbkdf2.Key(sha1.New, password, salt, rounds, 2*n+lenCheck)
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	block, err := aes.NewCipher(keys[:n])
	if err != nil {
		return nil, nil, fmt.Errorf("derive key: %w", err)
	}
	return &Key{block: block, mac: keys[n : 2*n]}, keys[2*n:], nil
}

// Verify reads the encrypted bytes of an entry and compares them with their
// authentication code. seen, which may be nil, hears how many bytes were read.
func (z *Zip) Verify(ctx context.Context, e *Entry, key *Key, seen func(n int64) error) error {
	mac := hmac.New(sha1.New, key.mac)
	sealed := io.NewSectionReader(z.r, e.data+saltLen(e.AES)+lenCheck, e.Packed-e.overhead())
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := sealed.Read(buf)
		mac.Write(buf[:n])
		if seen != nil && n > 0 {
			if err := seen(int64(n)); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return z.compareMAC(e, mac)
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", quote(e.Name), err)
		}
	}
}

func (z *Zip) compareMAC(e *Entry, mac hash.Hash) error {
	var want [lenMAC]byte
	if err := readAt(z.r, want[:], e.data+e.Packed-lenMAC); err != nil {
		return err
	}
	if !hmac.Equal(mac.Sum(nil)[:lenMAC], want[:]) {
		return Damaged("%s does not match its authentication code: it was changed after it was written", quote(e.Name))
	}
	return nil
}

// ctr is counter mode as WinZip has it: the counter is little-endian and
// begins with 1, which crypto/cipher's is not.
type ctr struct {
	block   cipher.Block
	counter uint64
	stream  [64 * aes.BlockSize]byte
	left    []byte // of stream
}

func (c *ctr) xor(p []byte) {
	for len(p) > 0 {
		if len(c.left) == 0 {
			for i := 0; i < len(c.stream); i += aes.BlockSize {
				c.counter++
				b := c.stream[i : i+aes.BlockSize]
				binary.LittleEndian.PutUint64(b, c.counter)
				clear(b[8:])
				c.block.Encrypt(b, b)
			}
			c.left = c.stream[:]
		}
		n := subtle.XORBytes(p, p, c.left)
		p, c.left = p[n:], c.left[n:]
	}
}
