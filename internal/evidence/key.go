package evidence

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
)

// Names of files in a store's folder.
const (
	keyFile    = "instance.key"
	publicFile = "instance.pub"
	formerDir  = "former" // public keys of before, *.pub: what they signed stays good
	drillsDir  = "drills"
	reportsDir = "reports"
	// SignatureEnd is what the name of a signature ends in, after that of the file
	// that it is of.
	SignatureEnd = ".sig"
)

// maxKeyFile bounds what is read of a key's file.
const maxKeyFile = 64 << 10

// PublicKey verifies what an installation signed.
type PublicKey struct{ key ed25519.PublicKey }

// ParsePublicKey reads a public key in PEM, as instance.pub holds it. The error
// has core.CodeConfig.
func ParsePublicKey(text []byte) (PublicKey, error) {
	refuse := func(why string) (PublicKey, error) {
		return PublicKey{}, &core.Error{Code: core.CodeConfig, Op: "read the public key", Message: why, Hint: "it is a PEM file that begins with -----BEGIN PUBLIC KEY-----; backstay report key prints that of an installation"}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return refuse("it is not PEM")
	}
	if block.Type != "PUBLIC KEY" {
		return refuse(fmt.Sprintf("it holds a %q", block.Type))
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return refuse("it cannot be understood: " + err.Error())
	}
	key, ok := parsed.(ed25519.PublicKey)
	if !ok {
		return refuse("it is not an Ed25519 key")
	}
	return PublicKey{key}, nil
}

// PEM returns the key as ParsePublicKey and openssl read it.
func (p PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: p.der()})
}

func (p PublicKey) der() []byte {
	der, err := x509.MarshalPKIXPublicKey(p.key)
	if err != nil {
		return nil // it cannot fail for this type of key
	}
	return der
}

// Fingerprint returns the SHA-256 of the key's DER form in hexadecimal digits:
// `openssl pkey -pubin -in instance.pub -outform DER | sha256sum` prints it too.
func (p PublicKey) Fingerprint() string {
	sum := sha256.Sum256(p.der())
	return hex.EncodeToString(sum[:])
}

// Signed says whether signature is this key's over text.
func (p PublicKey) Signed(text, signature []byte) bool {
	return len(p.key) == ed25519.PublicKeySize && ed25519.Verify(p.key, text, signature)
}

// Public returns the key that verifies what this installation signs. It makes
// the installation's key when there is none yet.
func (s Store) Public() (PublicKey, error) {
	key, err := s.key()
	if err != nil {
		return PublicKey{}, err
	}
	return publicOf(key), nil
}

func publicOf(key ed25519.PrivateKey) PublicKey {
	return PublicKey{ed25519.PublicKey(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:])}
}

// Trusted returns the public keys whose signatures count here: the present one
// first, then those of before. It makes no key; none is no error.
func (s Store) Trusted() ([]PublicKey, error) {
	var keys []PublicKey
	present, err := readBounded(s.path(publicFile), maxKeyFile)
	switch {
	case err == nil:
		key, err := ParsePublicKey(present)
		if err != nil {
			return nil, damaged(s.path(publicFile), err, "put it back from a backup of the state folder")
		}
		keys = append(keys, key)
	case errors.Is(err, fs.ErrNotExist): // the process that made the key was killed before it wrote this
		key, err := s.readKey()
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		keys = append(keys, publicOf(key))
	default:
		return nil, fmt.Errorf("read the public key: %w", err)
	}
	former, err := filepath.Glob(filepath.Join(s.Dir, formerDir, "*.pub"))
	if err != nil {
		return nil, fmt.Errorf("look for former public keys: %w", err)
	}
	for _, path := range former {
		text, err := readBounded(path, maxKeyFile)
		if err != nil {
			return nil, fmt.Errorf("read a former public key: %w", err)
		}
		key, err := ParsePublicKey(text)
		if err != nil {
			return nil, damaged(path, err, "put it back from a backup of the state folder, or remove it")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// key returns the installation's private key. It makes one when there is none.
func (s Store) key() (ed25519.PrivateKey, error) {
	key, err := s.readKey()
	if errors.Is(err, fs.ErrNotExist) {
		if _, perr := os.Lstat(s.path(publicFile)); perr == nil {
			// Not made anew in silence: that would turn all reports so far into
			// reports that nobody signed. A process that is just making the key
			// writes it before its public half.
			if key, err = s.readKey(); errors.Is(err, fs.ErrNotExist) {
				return nil, damaged(s.path(keyFile), errors.New("the key is gone whose public half is beside it"),
					"put it back from a backup of the state folder; to begin with a new one, move "+publicFile+" into "+s.path(formerDir)+" so that reports so far stay verifiable")
			}
		} else {
			key, err = s.makeKey()
		}
	}
	if err != nil {
		return nil, err
	}
	return key, s.keepPublic(publicOf(key))
}

func (s Store) readKey() (ed25519.PrivateKey, error) {
	path := s.path(keyFile)
	text, err := readBounded(path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read the key that signs reports: %w", err)
	}
	const hint = "put it back from a backup of the state folder; to begin with a new one, remove it and move " + publicFile + " into " + formerDir + "/"
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, damaged(path, errors.New("it is no private key in PEM"), hint)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil { // its text says nothing of the key's bytes
		return nil, damaged(path, errors.New("it is no private key in PKCS #8"), hint)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, damaged(path, errors.New("it is not an Ed25519 key"), hint)
	}
	return key, nil
}

// makeKey makes the key, or returns that of another process that was faster: a
// name is given once.
func (s Store) makeKey() (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the key that signs reports: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make the key that signs reports: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := s.makeDir(s.Dir); err != nil {
		return nil, err
	}
	temp, err := s.writeTemp(s.Dir, text)
	if err != nil {
		return nil, fmt.Errorf("write the key that signs reports: %w", err)
	}
	err = os.Link(temp, s.path(keyFile))
	if rerr := os.Remove(temp); rerr != nil {
		err = errors.Join(err, rerr)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("write the key that signs reports: %w", err)
	}
	if err := s.disk().SyncDir(s.Dir); err != nil {
		return nil, fmt.Errorf("write the key that signs reports: %w", err)
	}
	return s.readKey()
}

// keepPublic sees to it that the public half lies beside the key.
func (s Store) keepPublic(key PublicKey) error {
	path := s.path(publicFile)
	text, err := readBounded(path, maxKeyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.replace(path, key.PEM()); err != nil {
			return fmt.Errorf("write the public key: %w", err)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the public key: %w", err)
	}
	if there, err := ParsePublicKey(text); err != nil || !there.key.Equal(key.key) {
		return damaged(path, errors.New("it is not the public half of "+keyFile), "find out who changed it; move the wrong one away and it is written anew")
	}
	return nil
}

// damaged is the error of a file that cannot be relied on.
func damaged(path string, why error, hint string) error {
	return &core.Error{Code: core.CodeDamage, Op: "read " + path, Err: why, Hint: hint}
}
