package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
)

// EnvConfig names the environment variable that points at the configuration.
const EnvConfig = "BACKSTAY_CONFIG"

// systemPath is the configuration of the whole machine.
const systemPath = "/etc/backstay/backstay.yaml"

// Find returns the path of the configuration: flag (--config) where it is not
// empty, else what getenv gives for EnvConfig, else the first of SearchPaths
// that exists. The working folder is never searched: a file that somebody left
// there could name commands to run. When there is none, the error has
// CodeConfig and its hint lists the places.
func Find(flag string, getenv func(string) string) (string, error) {
	for _, given := range []struct{ path, by string }{{flag, "--config"}, {getenv(EnvConfig), "$" + EnvConfig}} {
		if given.path == "" {
			continue
		}
		if _, err := os.Stat(given.path); err != nil {
			return "", &core.Error{
				Code: core.CodeConfig, Message: fmt.Sprintf("open the configuration that %s names", given.by), Err: err,
				Hint: "check the path, or write a configuration with: backstay init --config " + given.path,
			}
		}
		return given.path, nil
	}
	places := SearchPaths(getenv)
	for _, place := range places {
		_, err := os.Stat(place)
		if err == nil {
			return place, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", &core.Error{Code: core.CodeConfig, Message: "open the configuration", Err: err, Hint: accessHint(err)}
		}
	}
	return "", &core.Error{
		Code: core.CodeConfig, Message: "there is no configuration",
		Hint: fmt.Sprintf("write one with: backstay init\nlooked at --config, $%s, %s", EnvConfig, strings.Join(places, ", ")),
	}
}

// SearchPaths returns the places where a configuration is looked for, in order,
// when none is named.
func SearchPaths(getenv func(string) string) []string {
	if home := getenv("HOME"); filepath.IsAbs(home) {
		return []string{filepath.Join(home, ".config/backstay/backstay.yaml"), systemPath}
	}
	return []string{systemPath}
}

// DefaultPath returns where `init` writes the configuration when none is named:
// in /etc for root, in the home folder for others.
func DefaultPath(getenv func(string) string) string {
	if os.Geteuid() == 0 {
		return systemPath
	}
	return SearchPaths(getenv)[0]
}

// Load reads the configuration in the file at path. Besides what Parse says,
// it refuses a file that everybody may write, and one that holds a password
// and that others than its owner may read. Errors have CodeConfig.
func Load(path string) (*Config, error) { return load(path, false) }

// LoadExcusing is Load for whoever has other work than to keep schedules: one
// that cannot be read is a warning and a schedule.Spec with Broken.
func LoadExcusing(path string) (*Config, error) { return load(path, true) }

func load(path string, excusing bool) (*Config, error) {
	data, info, err := readRegular(path, strict.MaxFileBytes)
	if err != nil {
		return nil, &core.Error{Code: core.CodeConfig, Message: "read the configuration", Err: err, Hint: accessHint(err)}
	}
	if info.Mode().Perm()&0o002 != 0 {
		return nil, &core.Error{
			Code: core.CodeConfig, Message: fmt.Sprintf("%s can be written by every user of this machine", path),
			Hint: "it can name commands to run; protect it with: chmod go-w " + shellQuote(path),
		}
	}
	c, err := parse(path, data, excusing)
	if err != nil {
		return nil, err
	}
	if at := c.inlineSecret; at != nil {
		where := fmt.Sprintf("%s:%d:%d", path, at.Line, at.Column)
		if err := private(info, path, where+": the file holds a password and"); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// readRegular reads a regular file of at most limit bytes; of a longer one it
// returns one byte more. A pipe or device is an error, not a wait.
func readRegular(path string, limit int64) ([]byte, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close() // only read: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		what := "a device or pipe"
		if info.IsDir() {
			what = "a folder"
		}
		return nil, nil, fmt.Errorf("%s is %s, not a file", path, what)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, nil, err
	}
	return data, info, nil
}

// private returns an error when others than root and the user who runs this
// may read the file.
func private(info fs.FileInfo, path, subject string) error {
	if uid := ownerOf(info); uid != 0 && uid != os.Geteuid() {
		return &core.Error{
			Code: core.CodeConfig, Message: fmt.Sprintf("%s belongs to another user (uid %d)", subject, uid),
			Hint: fmt.Sprintf("chown %d %s", os.Geteuid(), shellQuote(path)),
		}
	}
	if perm := info.Mode().Perm(); perm&0o077 != 0 {
		who := "by its group"
		if perm&0o007 != 0 {
			who = "by every user of this machine"
		}
		return &core.Error{
			Code: core.CodeConfig, Message: fmt.Sprintf("%s can be read %s (mode %04o)", subject, who, perm),
			Hint: "chmod 600 " + shellQuote(path),
		}
	}
	return nil
}

func accessHint(err error) string {
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "run this as the user that the file belongs to, or as root"
	case errors.Is(err, fs.ErrNotExist):
		return "check the path"
	default:
		return ""
	}
}

// shellQuote writes s so that it can be pasted into a shell.
func shellQuote(s string) string {
	plain := func(c rune) bool {
		return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("/._-+:@%=", c)
	}
	if s != "" && strings.IndexFunc(s, func(c rune) bool { return !plain(c) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
