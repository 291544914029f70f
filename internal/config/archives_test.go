package config

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func TestArchiveKeys(t *testing.T) {
	c, err := Parse("f", []byte(repositoryYAML+`
archives: {max_bytes: 2TiB, max_ratio: 1000, max_entries: 20000000}
scratch: {socket: /run/mysqld/mysqld.sock, user: importer, password_env: SCRATCH_PW}
defaults:
  export: {file_name_format: "__HOST__-%Y", dir: /srv/archives/, level: 3}
apps:
  - {name: plain, profile: itop, root: /one}
  - {name: own, profile: itop, root: /one, export: {format: backstay, level: 9}}
`))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Archives{MaxBytes: 2 << 40, MaxRatio: 1000, MaxEntries: 20_000_000}, c.Archives); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(Database{Socket: "/run/mysqld/mysqld.sock", User: "importer", SecretSource: SecretSource{PasswordEnv: "SCRATCH_PW"}}, c.Scratch, compareSecrets); diff != "" {
		t.Error(diff)
	}
	want := []Export{
		{FileNameFormat: "__HOST__-%Y", Dir: "/srv/archives", Level: 3},
		{FileNameFormat: "__HOST__-%Y", Dir: "/srv/archives", Level: 9, Format: "backstay"},
	}
	if diff := cmp.Diff(want, []Export{c.Apps[0].Export, c.Apps[1].Export}); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"SCRATCH_PW"}, c.PasswordEnv()); diff != "" {
		t.Error(diff)
	}
	if plain, err := Parse("f", []byte(repositoryYAML)); err != nil || plain.Archives != (Archives{}) || plain.Scratch.Given() {
		t.Errorf("without any: %+v, %v", plain, err)
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{
		"1": 1, "4_096": 4096, "1B": 1, "1kB": 1000, "2KB": 2000, "3KiB": 3072, `"5 MB"`: 5e6, "1MiB": 1 << 20, "7GB": 7e9, "1GiB": 1 << 30,
		"1TB": 1e12, "1TiB": 1 << 40, "2000000TiB": 2_000_000 << 40,
	} {
		c, err := Parse("f", []byte(repositoryYAML+"archives: {max_bytes: "+in+"}\n"))
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if c.Archives.MaxBytes != want {
			t.Errorf("%s: %d, want %d", in, c.Archives.MaxBytes, want)
		}
	}
}

func TestArchiveKeyErrors(t *testing.T) {
	const units = "write a whole number with B, kB, MB, GB, TB, KiB, MiB, GiB or TiB: 500GB, 1TiB"
	for in, want := range map[string][2]string{
		"archives: {max_bytes: 1.5TiB}":                      {`f:4:23: "max_bytes" cannot be "1.5TiB"`, units},
		"archives: {max_bytes: 5 apples}":                    {`f:4:23: "max_bytes" cannot be "5 apples"`, units},
		"archives: {max_bytes: -1}":                          {`f:4:23: "max_bytes" cannot be "-1"`, units},
		"archives: {max_bytes: 0}":                           {`f:4:23: "max_bytes" cannot be 0`, "nothing fits into that; remove the key for what holds by itself"},
		"archives: {max_bytes: 9000000TiB}":                  {`f:4:23: "max_bytes" cannot be "9000000TiB"`, "two exbibytes are the most"},
		"archives: {max_bytes: [1]}":                         {`f:4:23: "max_bytes" must be text, not a list`, ""},
		"archives: {max_ratio: 0}":                           {`f:4:23: "max_ratio" must be a number from 1 to 1000000, not 0`, ""},
		"archives: {max_entries: many}":                      {`f:4:25: "max_entries" must be a number from 1 to 1000000000, not the text "many"`, ""},
		"archives: {max_byte: 1}":                            {`f:4:12: "archives" has no key "max_byte"`, `did you mean "max_bytes"?`},
		"scratch: {host: db}":                                {`f:4:1: "scratch" has no "user"`, "add user: with an account that may make databases"},
		"scratch: {user: u, name: d}":                        {`f:4:20: "scratch" has no key "name"`, "keys here are host, port, socket, user, password, password_file, password_env, tls"},
		"scratch: {user: u, password: a, password_file: /b}": {`f:4:33: the password is given twice, by "password" and by "password_file"`, "keep one of the two"},
		"defaults: {export: {file_name_format: a/b}}":        {`f:4:39: "file_name_format" must be a name without folders, not "a/b"`, "the folder is dir:, or given on the command line"},
		"defaults: {export: {file_name_format: .a}}":         {`f:4:39: "file_name_format" must not begin with a dot, as ".a" does`, ""},
		`defaults: {export: {file_name_format: "%Y-%q"}}`:    {`f:4:39: "file_name_format" has a % that no letter of a date follows: "%Y-%q"`, "such as %Y-%m-%d_%H_%M"},
		`defaults: {export: {file_name_format: "100%"}}`:     {`f:4:39: "file_name_format" has a % that no letter of a date follows: "100%"`, "such as %Y-%m-%d_%H_%M"},
		`defaults: {export: {file_name_format: ""}}`:         {`f:4:39: "file_name_format" is empty`, "give it a value, or remove the key"},
		"defaults: {export: {format: zip}}":                  {`f:4:29: "format" cannot be "zip"`, "formats are itop, itflow, sql, backstay"},
		"defaults: {export: {level: 10}}":                    {`f:4:28: "level" must be a number from 1 to 9, not 10`, ""},
		"defaults: {export: {dir: archives}}":                {`f:4:26: "dir" must be an absolute path, not "archives"`, "begin it with /"},
	} {
		_, err := Parse("f", []byte(repositoryYAML+in+"\n"))
		if err == nil {
			t.Errorf("%s: no error", in)
			continue
		}
		if diff := cmp.Diff(want, [2]string{err.Error(), core.HintOf(err)}); diff != "" {
			t.Errorf("%s: %s", in, diff)
		}
	}
}

// TestFileNameLetters: no letter that is accepted brings a folder into a name.
func TestFileNameLetters(t *testing.T) {
	for _, l := range FileNameLetters {
		if wrong, _ := CheckFileNameFormat("a%" + string(l)); wrong != "" {
			t.Errorf("%%%c: %s", l, wrong)
		}
	}
	if strings.ContainsAny(FileNameLetters, "Dcx") {
		t.Error("a letter that stands for slashes is accepted")
	}
}

func TestArchiveSecret(t *testing.T) {
	dir := t.TempDir()
	const keys = "# created: 2026-11-23T00:00:00Z\n# public key: age1x\nAGE-SECRET-KEY-1X\n"
	for name, tt := range map[string]struct {
		text, want, wrong string
		mode              fs.FileMode
	}{
		"password": {"corr3ct horse\n", "corr3ct horse", "", 0o600},
		"keys":     {keys, strings.TrimSuffix(keys, "\n"), "", 0o600},
		"two":      {"one\ntwo\n", "", "holds more than one line", 0o600},
		"empty":    {"\n", "", "is empty", 0o600},
		"open":     {keys, "", "can be read by every user", 0o644},
	} {
		path := write(t, filepath.Join(dir, name), tt.text, tt.mode)
		got, err := ReadArchiveSecret(path)
		switch {
		case tt.wrong == "" && (err != nil || got.Reveal() != tt.want):
			t.Errorf("%s: %q, %v", name, got.Reveal(), err)
		case tt.wrong != "" && (core.CodeOf(err) != core.CodeConfig || !strings.HasPrefix(err.Error(), "read the password of the archive: ") || !strings.Contains(err.Error(), tt.wrong)):
			t.Errorf("%s: %v, want %q", name, err, tt.wrong)
		}
	}
	if _, err := ReadArchiveSecret(filepath.Join(dir, "missing")); core.CodeOf(err) != core.CodeConfig || core.HintOf(err) == "" {
		t.Errorf("missing: %v", err)
	}
}
