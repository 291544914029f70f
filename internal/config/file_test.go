package config

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/google/go-cmp/cmp"
)

// write puts content into a new file with exactly that mode.
func write(t *testing.T, path, content string, mode os.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// wantError compares all that a person is shown, with dir written as DIR.
func wantError(t *testing.T, err error, dir, message, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if code := core.CodeOf(err); code != core.CodeConfig {
		t.Errorf("code is %q", code)
	}
	if diff := cmp.Diff(message, strings.ReplaceAll(err.Error(), dir, "DIR")); diff != "" {
		t.Errorf("message: %s", diff)
	}
	if diff := cmp.Diff(hint, strings.ReplaceAll(core.HintOf(err), dir, "DIR")); diff != "" {
		t.Errorf("hint: %s", diff)
	}
}

func env(values map[string]string) func(string) string {
	return func(key string) string { return values[key] }
}

func TestFind(t *testing.T) {
	if _, err := os.Lstat(systemPath); err == nil {
		t.Skipf("this machine has %s", systemPath)
	}
	dir := t.TempDir()
	home := filepath.Join(dir, "home")
	values := map[string]string{"HOME": home}

	// The working folder is not searched.
	t.Chdir(dir)
	write(t, filepath.Join(dir, "backstay.yaml"), repositoryYAML, 0o600)
	_, err := Find("", env(values))
	wantError(t, err, dir, "there is no configuration",
		"write one with: backstay init\nlooked at --config, $BACKSTAY_CONFIG, DIR/home/.config/backstay/backstay.yaml, /etc/backstay/backstay.yaml")

	inHome := write(t, filepath.Join(home, ".config/backstay/backstay.yaml"), repositoryYAML, 0o600)
	byEnv := write(t, filepath.Join(dir, "env.yaml"), repositoryYAML, 0o600)
	byFlag := write(t, filepath.Join(dir, "flag.yaml"), repositoryYAML, 0o600)
	for _, step := range []struct{ flag, env, want string }{
		{"", "", inHome}, {"", byEnv, byEnv}, {byFlag, byEnv, byFlag}, {"backstay.yaml", "", "backstay.yaml"},
	} {
		values[EnvConfig] = step.env
		got, err := Find(step.flag, env(values))
		if err != nil || got != step.want {
			t.Errorf("Find(%q) with %q: got %q, %v", step.flag, step.env, got, err)
		}
	}

	// A file that is named and missing is not replaced by another.
	values[EnvConfig] = filepath.Join(dir, "gone.yaml")
	_, err = Find("", env(values))
	wantError(t, err, dir, "open the configuration that $BACKSTAY_CONFIG names: stat DIR/gone.yaml: no such file or directory",
		"check the path, or write a configuration with: backstay init --config DIR/gone.yaml")
	// One that cannot be looked at is not passed over.
	values = map[string]string{"HOME": byFlag}
	_, err = Find("", env(values))
	wantError(t, err, dir, "open the configuration: stat DIR/flag.yaml/.config/backstay/backstay.yaml: not a directory", "")
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	inline := "repository:\n  url: file:///a\n  password: hunter2\n"
	tests := []struct {
		name, content string
		mode          os.FileMode
		message, hint string
	}{
		{"readable by all", repositoryYAML, 0o644, "", ""},
		{"password, private", inline, 0o600, "", ""},
		{"password, group", inline, 0o640, "DIR/f.yaml:3:3: the file holds a password and can be read by its group (mode 0640)", "chmod 600 DIR/f.yaml"},
		{"password, all", inline, 0o604, "DIR/f.yaml:3:3: the file holds a password and can be read by every user of this machine (mode 0604)", "chmod 600 DIR/f.yaml"},
		{"writable by all", repositoryYAML, 0o646, "DIR/f.yaml can be written by every user of this machine", "it can name commands to run; protect it with: chmod go-w DIR/f.yaml"},
		{"wrong", "repository: 1\n", 0o600, "DIR/f.yaml:1:13: \"repository\" must hold keys and values, not a number", "write it as repository: {key: value}, or the keys on lines of their own below it"},
		{"large", strings.Repeat("#", strict.MaxFileBytes+10), 0o600, "DIR/f.yaml:1:1: the file has 262145 bytes, more than the 262144 that a configuration may have", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, filepath.Join(dir, "f.yaml"), tt.content, tt.mode)
			c, err := Load(path)
			if tt.message != "" {
				wantError(t, err, dir, tt.message, tt.hint)
				return
			}
			if err != nil || c.Repository.URL == "" {
				t.Errorf("got %+v, %v", c, err)
			}
		})
	}
	_, err := Load(filepath.Join(dir, "gone.yaml"))
	wantError(t, err, dir, "read the configuration: open DIR/gone.yaml: no such file or directory", "check the path")
	_, err = Load(dir)
	wantError(t, err, dir, "read the configuration: DIR is a folder, not a file", "")
}

func TestResolveSecret(t *testing.T) {
	dir := t.TempDir()
	lookup := func(key string) (string, bool) {
		v, ok := map[string]string{"SET": "from the environment", "EMPTY": ""}[key]
		return v, ok
	}
	file := filepath.Join(dir, "key file")
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	const op = "read the password of the repository: "
	const oneLine = "it must hold the password on one line and nothing else"
	tests := []struct {
		name          string
		source        SecretSource
		content       string
		mode          os.FileMode
		want          string
		message, hint string
	}{
		{name: "none"},
		{name: "inline", source: SecretSource{Password: core.NewSecret("hunter2")}, want: "hunter2"},
		{name: "variable", source: SecretSource{PasswordEnv: "SET"}, want: "from the environment"},
		{name: "variable missing", source: SecretSource{PasswordEnv: "GONE"}, message: op + "the environment variable GONE is not set", hint: "set it for the user and the service that run backstay, or use password_file"},
		{name: "variable empty", source: SecretSource{PasswordEnv: "EMPTY"}, message: op + "the environment variable EMPTY is not set", hint: "set it for the user and the service that run backstay, or use password_file"},
		{name: "file", source: SecretSource{PasswordFile: file}, content: " hunter2 \n", mode: 0o600, want: " hunter2 "},
		{name: "file read-only", source: SecretSource{PasswordFile: file}, content: "hunter2\r\n", mode: 0o400, want: "hunter2"},
		{name: "file without line end", source: SecretSource{PasswordFile: file}, content: "hunter2", mode: 0o600, want: "hunter2"},
		{name: "file of the group", source: SecretSource{PasswordFile: file}, content: "hunter2", mode: 0o640, message: op + "DIR/key file can be read by its group (mode 0640)", hint: "chmod 600 'DIR/key file'"},
		{name: "file of all", source: SecretSource{PasswordFile: file}, content: "hunter2", mode: 0o644, message: op + "DIR/key file can be read by every user of this machine (mode 0644)", hint: "chmod 600 'DIR/key file'"},
		{name: "file empty", source: SecretSource{PasswordFile: file}, content: "\n", mode: 0o600, message: op + "DIR/key file is empty", hint: oneLine},
		{name: "file with two lines", source: SecretSource{PasswordFile: file}, content: "hunter2\nhunter3\n", mode: 0o600, message: op + "DIR/key file holds more than one line", hint: oneLine},
		{name: "file too long", source: SecretSource{PasswordFile: file}, content: strings.Repeat("x", maxSecretBytes+1), mode: 0o600, message: op + "DIR/key file is too long for a password", hint: oneLine},
		{name: "file missing", source: SecretSource{PasswordFile: filepath.Join(dir, "gone")}, message: op + "open DIR/gone: no such file or directory", hint: "check the path"},
		{name: "folder", source: SecretSource{PasswordFile: dir}, message: op + "DIR is a folder, not a file"},
		{name: "pipe", source: SecretSource{PasswordFile: filepath.Join(dir, "pipe")}, message: op + "DIR/pipe is a device or pipe, not a file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if tt.mode != 0 {
				if err := os.RemoveAll(file); err != nil {
					t.Fatal(err)
				}
				write(t, file, tt.content, tt.mode)
			}
			got, err := ResolveSecret(tt.source, "the repository", lookup)
			if tt.message != "" {
				wantError(t, err, dir, tt.message, tt.hint)
				if strings.Contains(err.Error(), "hunter") {
					t.Error("the error holds the password")
				}
				return
			}
			if err != nil || got.Reveal() != tt.want {
				t.Errorf("got %q, %v", got.Reveal(), err)
			}
		})
	}
}

func TestSecretFileOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to another user")
	}
	dir := t.TempDir()
	path := write(t, filepath.Join(dir, "key"), "hunter2", 0o600)
	if err := os.Chown(path, 12345, 0); err != nil {
		t.Fatal(err)
	}
	_, err := ResolveSecret(SecretSource{PasswordFile: path}, "app wiki", os.LookupEnv)
	wantError(t, err, dir, "read the password of app wiki: DIR/key belongs to another user (uid 12345)", "chown 0 DIR/key")
}

func TestWriteKeyFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "etc/backstay/repository.key")
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	if other, err := GenerateKey(); err != nil || len(key.Reveal()) != 64 || other.Reveal() == key.Reveal() {
		t.Fatalf("keys of %d digits, equal: %t, %v", len(key.Reveal()), other.Reveal() == key.Reveal(), err)
	}
	if err := WriteKeyFile(path, key); err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, filepath.Dir(path): 0o700, filepath.Join(dir, "etc"): 0o700} {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v; want mode %o", p, info, err, want)
		}
	}
	got, err := ResolveSecret(SecretSource{PasswordFile: path}, "the repository", os.LookupEnv)
	if err != nil || got.Reveal() != key.Reveal() {
		t.Errorf("read back %q, %v", got.Reveal(), err)
	}

	err = WriteKeyFile(path, core.NewSecret("another"))
	wantError(t, err, dir, "there is a key file at DIR/etc/backstay/repository.key already", "it is left as it is; to make a new one, move it away first")
	// Not even where it is a link to nowhere.
	link := filepath.Join(dir, "link")
	if err := os.Symlink("nowhere", link); err != nil {
		t.Fatal(err)
	}
	wantError(t, WriteKeyFile(link, key), dir, "there is a key file at DIR/link already", "it is left as it is; to make a new one, move it away first")
	err = WriteKeyFile(filepath.Join(path, "folder/key"), key)
	wantError(t, err, dir, "write the key file DIR/etc/backstay/repository.key/folder/key: stat DIR/etc/backstay/repository.key/folder: not a directory", "")

	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Of several that write the same key file at once, one wins, and its key is
// the one in the file.
func TestWriteKeyFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new/key")
	const writers = 8
	type outcome struct {
		key core.Secret
		err error
	}
	outcomes := make(chan outcome)
	for i := range writers {
		go func() {
			key := core.NewSecret(strings.Repeat(string(rune('a'+i)), 64))
			outcomes <- outcome{key, WriteKeyFile(path, key)}
		}()
	}
	var won []string
	for range writers {
		if o := <-outcomes; o.err == nil {
			won = append(won, o.key.Reveal())
		} else if core.CodeOf(o.err) != core.CodeConfig {
			t.Errorf("got %v", o.err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil || len(won) != 1 || string(data) != won[0]+"\n" {
		t.Errorf("won: %q; in the file: %q, %v", won, data, err)
	}
}

func TestWriteFileLeavesNothingOnFailure(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	err := WriteFile(filepath.Join(dir, "backstay.yaml"), []byte("x"))
	if core.CodeOf(err) != core.CodeConfig || core.HintOf(err) != "choose a place that you may write with --config, or run this as root" {
		t.Errorf("got %v, hint %q", err, core.HintOf(err))
	}
}

func TestTemplate(t *testing.T) {
	in := TemplateInput{
		RepositoryURL: "file:///srv/back%20ups",
		KeyFile:       "/etc/back stay/\"key\": #1",
		Installs: []Install{
			{Profile: "itop", Root: "/var/www/iTop 3"},
			{Profile: "itflow", Root: "/var/www/docs", Name: "itop-3"},
			{Profile: "itflow", Root: "/srv/true", Name: "true"},
			{Profile: "itop", Root: "/", Name: "…"},
			{Profile: "itop", Root: "/srv/~ä\n# }{", Name: strings.Repeat("n", 80)},
			{Profile: "itop", Root: "/srv/n", Name: strings.Repeat("n", 80)},
		},
	}
	data, err := Template(in)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "new/backstay.yaml")
	if err := WriteFile(path, data); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	if c.Repository.URL != in.RepositoryURL || c.Repository.PasswordFile != in.KeyFile || c.StateDir != DefaultStateDir() {
		t.Errorf("got %+v", c)
	}
	wantNames := []string{"itop-3", "itop-3-2", "true", "itop", strings.Repeat("n", 63), strings.Repeat("n", 61) + "-2"}
	for i, app := range c.Apps {
		if app.Name != wantNames[i] || app.Root != in.Installs[i].Root || app.Profile != in.Installs[i].Profile {
			t.Errorf("got %+v, want %s for %+v", app, wantNames[i], in.Installs[i])
		}
	}
	if len(c.Apps) != len(in.Installs) {
		t.Errorf("%d apps", len(c.Apps))
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(path, []byte("x")); core.CodeOf(err) != core.CodeConfig {
		t.Errorf("got %v", err)
	}
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the configuration was changed: %q, %v", after, err)
	}
}

// What is commented out in the template works once it is not.
func TestTemplateWithoutInstalls(t *testing.T) {
	data, err := Template(TemplateInput{RepositoryURL: "s3://bucket/x", KeyFile: "/k", StateDir: "/s"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Parse("f", data); err != nil || len(c.Apps) != 0 {
		t.Fatalf("got %+v, %v", c, err)
	}
	text := strings.ReplaceAll(string(data), "apps: []", "apps:")
	var lines []string
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "#"); ok && !strings.HasPrefix(rest, " F") && !strings.HasPrefix(rest, " L") && !strings.HasPrefix(rest, " W") && !strings.HasPrefix(rest, " backstay") {
			line = rest
		}
		lines = append(lines, line)
	}
	c, err := Parse("f", []byte(strings.Join(lines, "")))
	if err != nil {
		t.Fatalf("%v in\n%s", err, strings.Join(lines, ""))
	}
	if len(c.Apps) != 2 || c.Apps[1].Database.Name != "wiki" || len(c.Apps[0].Exclude) != 1 {
		t.Errorf("got %+v", c)
	}
}

func TestTemplateRefusesWhatYAMLCannotHold(t *testing.T) {
	_, err := Template(TemplateInput{RepositoryURL: "file:///a", KeyFile: "/k", Installs: []Install{{Profile: "itop", Root: "/srv/\xff"}}})
	wantError(t, err, "nothing", `write the configuration: the path "/srv/\xff" is not UTF-8 text`, "rename the folder, or leave it out with: backstay init --detect and other folders")
}
