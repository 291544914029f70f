// Package paramfile reads the parameter files of iTop's backup.php,
// check-backup.php and restore.php, so that they go on being used with
// backstay's commands. It is for the commands. It reads them as iTop does
// (utils::LoadParamFile, iTop 3.3): `key = value` lines, everything from a `#`
// on is a comment, inside a value too, and lines that are nothing of the kind
// are skipped; but it says which lines it skipped, and which values a `#` cut.
package paramfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/backstay/backstay/internal/core"
)

// Keys lists what iTop's scripts take. Those that name a password are in
// Secrets too.
func Keys() []string {
	return []string{
		"auth_user", "auth_pwd", "mysql_bindir", "backup_file", "simulate", "check_size_min", "check_size_reduction_max",
		"check_ticket_login", "check_ticket_pwd", "check_ticket_title", "check_ticket_customer", "check_ticket_service",
		"check_ticket_service_subcategory", "check_ticket_workgroup", "check_ticket_impacted_server", "check_ticket_itop", "environment",
	}
}

// Secrets lists the keys whose values are passwords.
func Secrets() []string { return []string{"auth_pwd", "check_ticket_pwd"} }

// Params are the values of one or several files. The zero value has none.
type Params struct {
	values map[string]string
	// Warnings name lines that were skipped, values that a `#` cut, keys that
	// no script of iTop's knows, and files with passwords that others can read.
	Warnings []core.Warning
}

// maxFile is how many bytes a parameter file may have.
const maxFile = 1 << 20

// Read reads the files that list names, separated by commas; a later one wins.
func Read(list string) (Params, error) {
	p := Params{values: map[string]string{}}
	for _, path := range strings.Split(list, ",") {
		if path = strings.TrimSpace(path); path == "" {
			continue
		}
		if err := p.readFile(path); err != nil {
			return Params{}, err
		}
	}
	if len(p.values) == 0 && len(p.Warnings) == 0 {
		return p, &core.Error{Code: core.CodeUsage, Op: "read parameters", Message: fmt.Sprintf("%q names no parameter", list), Hint: "each line is: key = value"}
	}
	return p, nil
}

func (p *Params) readFile(path string) (err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe is an error below, not a wait
	if err != nil {
		hint := "check the path; several files are separated by commas"
		if errors.Is(err, fs.ErrPermission) {
			hint = "run this as the user that the file belongs to, or as root"
		}
		return &core.Error{Code: core.CodeUsage, Op: "read parameters", Err: err, Hint: hint}
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("read parameters: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return &core.Error{Code: core.CodeUsage, Op: "read parameters", Message: path + " is no file, or larger than a parameter file can be", Hint: "name the file that backup.php was given with --param_file"}
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err != nil {
		return fmt.Errorf("read parameters: %w", err)
	}
	secret := p.parse(path, string(text))
	if secret && info.Mode().Perm()&0o077 != 0 {
		p.warn(path, "it holds a password and others on this machine can read it: chmod 600 %s", path)
	}
	return nil
}

// parse reads a file's text. secret says that there is a password in it.
func (p *Params) parse(path, text string) (secret bool) {
	for i, raw := range strings.Split(text, "\n") {
		at := fmt.Sprintf("%s:%d", path, i+1)
		line := strings.Trim(raw, " \t\r\x00\x0b")
		before, _, cut := strings.Cut(line, "#")
		line = strings.Trim(before, " \t\r\x00\x0b")
		if line == "" {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		key = strings.TrimRight(key, " \t")
		if !ok || key == "" || strings.ContainsAny(key, " \t") {
			p.warn(at, "this line is no `key = value` and was skipped")
			continue
		}
		if !slices.Contains(Keys(), key) {
			p.warn(at, "iTop's backup has no parameter %q", key)
			continue
		}
		value = strings.TrimSpace(value)
		if cut && value != "" {
			p.warn(at, "the value of %s ends at the #, as iTop reads it", key)
		}
		p.values[key] = value
		secret = secret || slices.Contains(Secrets(), key) && value != ""
	}
	return secret
}

func (p *Params) warn(at, format string, args ...any) {
	p.Warnings = append(p.Warnings, core.Warning{Code: "param-file", Object: at, Message: fmt.Sprintf(format, args...)})
}

// Set gives a key a value that wins over the files'.
func (p *Params) Set(key, value string) {
	if p.values == nil {
		p.values = map[string]string{}
	}
	p.values[key] = value
}

// Get returns the value of a key, and whether there is one that is not empty.
func (p Params) Get(key string) (string, bool) {
	v := p.values[key]
	return v, v != ""
}

// Secret returns a password; empty when there is none.
func (p Params) Secret(key string) core.Secret { return core.NewSecret(p.values[key]) }
