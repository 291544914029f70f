package config

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// maxSecretBytes bounds a password file: what is longer is some other file.
const maxSecretBytes = 64 << 10

// ResolveSecret returns the secret that s names, reading its file or asking
// lookup (os.LookupEnv) for its variable. It is empty, without an error, when s
// names none. what says in errors whose password it is: "the repository". A
// file that others than root and its owner may read is refused. Errors have
// CodeConfig and hold nothing of the secret.
func ResolveSecret(s SecretSource, what string, lookup func(string) (string, bool)) (core.Secret, error) {
	op := "read the password of " + what
	switch {
	case !s.Password.Empty():
		return s.Password, nil
	case s.PasswordFile != "":
		secret, err := readSecretFile(s.PasswordFile, oneLine)
		return secret, secretError(op, err)
	case s.PasswordEnv != "":
		value, ok := lookup(s.PasswordEnv)
		if !ok || value == "" {
			return core.Secret{}, &core.Error{
				Code: core.CodeConfig, Op: op, Message: fmt.Sprintf("the environment variable %s is not set", s.PasswordEnv),
				Hint: "set it for the user and the service that run backstay, or use password_file",
			}
		}
		return core.NewSecret(value), nil
	default:
		return core.Secret{}, nil
	}
}

// ReadArchiveSecret reads the file of what opens an archive: a password on one
// line, or keys of age, on as many lines as age-keygen writes. It refuses what
// ResolveSecret refuses.
func ReadArchiveSecret(path string) (core.Secret, error) {
	secret, err := readSecretFile(path, func(data []byte) bool { return oneLine(data) || bytes.Contains(data, []byte("AGE-SECRET-KEY-")) })
	return secret, secretError("read the password of the archive", err)
}

func secretError(op string, err error) error {
	var e *core.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &e):
		e.Op = op
		return e
	}
	return &core.Error{Code: core.CodeConfig, Op: op, Err: err, Hint: accessHint(err)}
}

func oneLine(data []byte) bool { return !bytes.ContainsAny(data, "\n\r\x00") }

// readSecretFile reads a file that holds a secret of the right shape.
func readSecretFile(path string, shape func([]byte) bool) (core.Secret, error) {
	data, info, err := readRegular(path, maxSecretBytes)
	if err != nil {
		return core.Secret{}, err
	}
	if err := private(info, path, path); err != nil {
		return core.Secret{}, err
	}
	wrong := func(message string) error {
		return &core.Error{
			Code: core.CodeConfig, Message: path + " " + message,
			Hint: "it must hold the password on one line and nothing else",
		}
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) == 0:
		return core.Secret{}, wrong("is empty")
	case len(data) > maxSecretBytes:
		return core.Secret{}, wrong("is too long for a password")
	case !shape(data):
		return core.Secret{}, wrong("holds more than one line")
	}
	return core.NewSecret(string(data)), nil
}

// GenerateKey returns 256 random bits from the operating system as 64 hex
// digits.
func GenerateKey() (core.Secret, error) {
	var key [32]byte
	if _, err := rand.Read(key[:]); err != nil {
		return core.Secret{}, fmt.Errorf("make a random key: %w", err)
	}
	return core.NewSecret(hex.EncodeToString(key[:])), nil
}

// WriteKeyFile writes key and a line end into a new file at path that only its
// owner may read, durably. Folders that are missing above it are made for
// their owner only. It never replaces a file: what is there may be the only
// copy of a key, and the error then has CodeConfig. When it fails, nothing is
// left.
func WriteKeyFile(path string, key core.Secret) error {
	if key.Empty() {
		return errors.New("write key file: the key is empty")
	}
	return writeNew(path, []byte(key.Reveal()+"\n"), "key file")
}

// WriteFile writes a configuration into a new file at path, on the terms of
// WriteKeyFile.
func WriteFile(path string, data []byte) error {
	return writeNew(path, data, "configuration")
}

// writeNew creates path with data in one step: a temporary file in the same
// folder becomes durable and is then linked to its name, which fails where the
// name is taken.
func writeNew(path string, data []byte, what string) (err error) {
	defer func() {
		if errors.Is(err, fs.ErrExist) {
			err = &core.Error{
				Code: core.CodeConfig, Message: fmt.Sprintf("there is a %s at %s already", what, path),
				Hint: "it is left as it is; to make a new one, move it away first",
			}
		} else if err != nil {
			err = &core.Error{
				Code: core.CodeConfig, Op: fmt.Sprintf("write the %s %s", what, path), Err: err, Hint: writeHint(err),
			}
		}
	}()
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	}
	dir := filepath.Dir(path)
	if err := makeFolders(dir); err != nil {
		return err
	}
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if removeErr := os.Remove(temp.Name()); removeErr != nil && err == nil {
			err = removeErr
		}
	}()
	_, err = temp.Write(data)
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Link(temp.Name(), path); err != nil {
		return err
	}
	return syncFolder(dir)
}

// makeFolders makes dir and what is missing above it, durably.
func makeFolders(dir string) error {
	_, err := os.Stat(dir)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(dir)
	if err := makeFolders(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncFolder(parent)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = f.Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

func writeHint(err error) string {
	if errors.Is(err, fs.ErrPermission) || strings.Contains(err.Error(), "read-only") {
		return "choose a place that you may write with --config, or run this as root"
	}
	return ""
}
