// Package profiletest holds the tests that every profile.Profile must pass. It
// is for the tests of profiles. It promises that a profile that passes keeps
// what profile.Profile asks for: it changes nothing, takes what it reads as
// hostile, divides an installation's files so that no path is in two
// components, and names file, setting and remedy when it cannot go on.
package profiletest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Subject is a profile under test.
type Subject struct {
	Profile profile.Profile
	// Install writes a small installation with this account into root, an
	// empty folder.
	Install func(t *testing.T, root string, a Account)
	// App is what backstay.yaml would say; nil: name and root.
	App func(root string, a Account) profile.App
	// Config is the configuration file that Discover reads, relative to the
	// root; "" when it reads none.
	Config string
	// Prefix says whether the application can have a table prefix.
	Prefix bool
	// Want gives some paths of the installation, relative to the root, and the
	// component that takes each; "": none.
	Want map[string]core.Component
	// Modes are the files, relative to the root, that put the application into a
	// mode that Maintenance uses.
	Modes []string
	// Rootless says that an app needs no root, and none of a certain kind.
	Rootless bool
}

// Account is a database account as an application's configuration gives it.
type Account struct{ Host, User, Password, Name, Prefix string }

// PlainAccount is one without surprises.
func PlainAccount() Account {
	return Account{Host: "db.example.org:3307", User: "app", Password: "secret-for-tests", Name: "appdb"}
}

// PHPString returns s as a PHP literal, as var_export writes it.
func PHPString(s string) string {
	s = strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s)
	return "'" + strings.ReplaceAll(s, "\x00", `' . "\0" . '`) + "'"
}

// Write makes files below root, by their names relative to it; a name that
// ends in "/" is a folder.
func Write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		dir, isDir := filepath.Dir(path), strings.HasSuffix(name, "/")
		if isDir {
			dir = path
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if isDir {
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// Run runs the tests.
func Run(t *testing.T, s Subject) {
	if s.App == nil {
		s.App = func(root string, _ Account) profile.App { return profile.App{Name: "subject", Root: root} }
	}
	t.Run("wrong roots", s.wrongRoots)
	t.Run("detect", s.detect)
	t.Run("account", s.account)
	t.Run("given account", s.givenAccount)
	t.Run("configuration", s.configuration)
	t.Run("division", s.division)
	t.Run("additions", s.additions)
	t.Run("changes nothing", s.changesNothing)
	t.Run("several at once", s.severalAtOnce)
	t.Run("spelled otherwise", s.spelledOtherwise)
	t.Run("database says nothing", s.silentDatabase)
	t.Run("read-only", s.readOnly)
	t.Run("after restore", s.afterRestore)
	t.Run("archives", s.archives)
	t.Run("scheduler", s.scheduler)
	runRestorer(t, s)
}

func (s Subject) install(t *testing.T, a Account) (root string, app profile.App) {
	t.Helper()
	root = t.TempDir()
	s.Install(t, root, a)
	return root, s.App(root, a)
}

func (s Subject) discover(t *testing.T, app profile.App) *core.Application {
	t.Helper()
	found, err := s.Profile.Discover(t.Context(), app)
	if err != nil {
		t.Fatalf("discover: %v (hint: %s)", err, core.HintOf(err))
	}
	return found
}

// refused checks that err is one that a person can act on.
func refused(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Error("there is no error")
		return
	}
	var e *core.Error
	if !errors.As(err, &e) || core.HintOf(err) == "" {
		t.Errorf("nobody can act on: %v (hint %q)", err, core.HintOf(err))
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+" "+core.HintOf(err), part) {
			t.Errorf("%q is not in: %v (hint %q)", part, err, core.HintOf(err))
		}
	}
	if strings.Contains(err.Error()+core.HintOf(err), PlainAccount().Password) {
		t.Errorf("the password is in: %v", err)
	}
}

func (s Subject) wrongRoots(t *testing.T) {
	empty := t.TempDir()
	file := filepath.Join(empty, "file")
	Write(t, empty, map[string]string{"file": "x", "sub/": "", "other/index.php": "<?php", "other/config.php": "<?php $x = 1;"})
	for name, root := range map[string]string{
		"empty": filepath.Join(empty, "sub"), "missing": filepath.Join(empty, "missing"), "a file": file, "something else": filepath.Join(empty, "other"),
		"relative": "sub", "none": "", "everything": "/",
	} {
		t.Run(name, func(t *testing.T) {
			if _, ok := s.Profile.Detect(root); ok {
				t.Error("detected")
			}
			if s.Rootless && (name == "none" || name == "empty" || name == "something else") {
				return
			}
			_, err := s.Profile.Discover(t.Context(), profile.App{Name: "subject", Root: root})
			refused(t, err, root, "subject")
		})
	}
}

func (s Subject) detect(t *testing.T) {
	root, _ := s.install(t, PlainAccount())
	in, ok := s.Profile.Detect(root)
	if s.Config == "" {
		if ok {
			t.Error("detected what it reads no configuration of")
		}
		return
	}
	if !ok || in.Profile != s.Profile.Name() || in.Root != root {
		t.Errorf("got %+v, %v", in, ok)
	}
	if err := os.Remove(filepath.Join(root, s.Config)); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Profile.Detect(root); ok {
		t.Error("detected without a configuration")
	}
}

// passwords are those that a server takes and a careless reader or writer does
// not.
func passwords() []string {
	return []string{
		"", "plain", `it's`, `"quoted"`, `back\slash`, `\`, `\'`, `\\n`, "päss 🔐 wörd", "a\x00b", "line\nbreak", "a?>b<?php", "// # /*", "$x{$y}", "\xff\xfe",
	}
}

func (s Subject) account(t *testing.T) {
	for _, password := range passwords() {
		a := PlainAccount()
		a.Password = password
		_, app := s.install(t, a)
		got := s.discover(t, app).Database
		want := &core.DatabaseSource{Host: "db.example.org", Port: 3307, User: a.User, Password: core.NewSecret(password), Name: a.Name, Locks: got.Locks}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(core.Secret{})); diff != "" {
			t.Errorf("%q: %s", password, diff)
		}
	}
	if !s.Prefix {
		return
	}
	for _, prefix := range []string{"_", "a_", "a%b", "`x`", "é_"} {
		a := PlainAccount()
		a.Prefix = prefix
		_, app := s.install(t, a)
		if got := s.discover(t, app).Database.Prefix; got != prefix {
			t.Errorf("prefix %q: got %q", prefix, got)
		}
	}
}

func (s Subject) givenAccount(t *testing.T) {
	_, app := s.install(t, PlainAccount())
	app.Database = profile.Database{
		Host: "replica", Port: 3399, User: "reader", Password: core.NewSecret("p"), Name: "copy", Prefix: "c_",
		TLS: core.DatabaseTLS{Mode: "verify-ca", CA: "/ca.pem"},
	}
	got := s.discover(t, app).Database
	want := &core.DatabaseSource{
		Host: "replica", Port: 3399, User: "reader", Password: core.NewSecret("p"), Name: "copy", Prefix: "c_",
		TLS: core.DatabaseTLS{Mode: "verify-ca", CA: "/ca.pem"}, Locks: got.Locks,
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
	app.Database = profile.Database{Socket: "/run/x.sock", User: "u", Name: "n"}
	if got := s.discover(t, app).Database; got.Socket != "/run/x.sock" || got.Host != "" || got.Port != 0 {
		t.Errorf("got %+v", got)
	}
}

func (s Subject) configuration(t *testing.T) {
	if s.Config == "" {
		t.Skip("the profile reads no configuration")
	}
	secret := PlainAccount().Password
	for name, content := range map[string]string{
		"empty":        "",
		"no PHP":       "db_host = localhost\npassword = " + secret,
		"broken":       "<?php $password = '" + secret + "' 'x';",
		"unterminated": "<?php $password = '" + secret,
		"binary":       "\x00\xff\xfe\x01" + secret,
		"too large":    "<?php //" + strings.Repeat("x", 2<<20),
		"too deep":     "<?php $a = " + strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000) + ";",
		"sets nothing": "<?php $unrelated = '" + secret + "';",
		"exits":        "<?php exit; $password = '" + secret + "';",
	} {
		t.Run(name, func(t *testing.T) {
			root, app := s.install(t, PlainAccount())
			Write(t, root, map[string]string{s.Config: content})
			_, err := s.Profile.Discover(t.Context(), app)
			refused(t, err, filepath.Join(root, s.Config))
		})
	}
	for name, place := range map[string]func(path string) error{
		"missing":  func(string) error { return nil },
		"a folder": func(path string) error { return os.Mkdir(path, 0o755) },
		"a FIFO":   func(path string) error { return syscall.Mkfifo(path, 0o644) },
		"dangling": func(path string) error { return os.Symlink("nowhere", path) },
		"a loop":   func(path string) error { return os.Symlink(path, path) },
		"a device": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			root, app := s.install(t, PlainAccount())
			path := filepath.Join(root, s.Config)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			s.Profile.Detect(root)
			_, err := s.Profile.Discover(t.Context(), app)
			refused(t, err, s.Config)
		})
	}
	t.Run("unreadable", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("root reads everything")
		}
		root, app := s.install(t, PlainAccount())
		if err := os.Chmod(filepath.Join(root, s.Config), 0); err != nil {
			t.Fatal(err)
		}
		_, err := s.Profile.Discover(t.Context(), app)
		refused(t, err, s.Config, "root")
	})
}

func (s Subject) division(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	found := s.discover(t, app)
	got := Divide(t, root, found.FileSets)
	if s.Config != "" && got[s.Config] != core.ComponentConfig {
		t.Errorf("%s is in component %q", s.Config, got[s.Config])
	}
	for path, want := range s.Want {
		if _, err := os.Lstat(filepath.Join(root, path)); err != nil {
			t.Errorf("the installation lacks what the test is about: %v", err)
		}
		if got[path] != want {
			t.Errorf("%s: component %q, want %q", path, got[path], want)
		}
	}
}

func (s Subject) additions(t *testing.T) {
	outside := t.TempDir()
	Write(t, outside, map[string]string{"etc/app.conf": "x", "shared/a": "x", "shared/b.log": "x"})
	t.Run("taken", func(t *testing.T) {
		root, app := s.install(t, PlainAccount())
		Write(t, root, map[string]string{"more/a": "x", "more/skip/b": "x", "more.ini": "x", "more/c.bak": "x"})
		app.Files = append(app.Files, profile.Files{Path: root + "/more", Exclude: []string{"skip/**"}}, profile.Files{Path: outside + "/shared", Exclude: []string{"*.log"}})
		app.Config = append(app.Config, "more.ini", outside+"/etc/app.conf")
		app.Exclude = append(app.Exclude, "**/*.bak")
		found := s.discover(t, app)
		got := Divide(t, root, found.FileSets)
		for path, want := range map[string]core.Component{
			"more/a": core.ComponentFiles, "more.ini": core.ComponentConfig, "more/skip/b": "", "more/c.bak": "",
		} {
			if got[path] != want {
				t.Errorf("%s: component %q, want %q", path, got[path], want)
			}
		}
		beyond := Divide(t, outside, found.FileSets)
		want := map[string]core.Component{"etc/app.conf": core.ComponentConfig, "shared/a": core.ComponentFiles, "shared": core.ComponentFiles}
		if diff := cmp.Diff(want, beyond); diff != "" {
			t.Error(diff)
		}
	})
	for name, change := range map[string]func(*profile.App){
		"files above":    func(a *profile.App) { a.Files = []profile.Files{{Path: "../../etc"}} },
		"files empty":    func(a *profile.App) { a.Files = []profile.Files{{}} },
		"everything":     func(a *profile.App) { a.Files = []profile.Files{{Path: "/"}} },
		"config above":   func(a *profile.App) { a.Config = []string{"a/../../x"} },
		"config NUL":     func(a *profile.App) { a.Config = []string{"a\x00b"} },
		"bad pattern":    func(a *profile.App) { a.Exclude = []string{"a["} },
		"pattern above":  func(a *profile.App) { a.Exclude = []string{"../x"} },
		"bad exclude":    func(a *profile.App) { a.Files = []profile.Files{{Path: "/srv/x", Exclude: []string{"{"}}} },
		"empty excluded": func(a *profile.App) { a.Exclude = []string{"/"} },
	} {
		t.Run(name, func(t *testing.T) {
			_, app := s.install(t, PlainAccount())
			change(&app)
			_, err := s.Profile.Discover(t.Context(), app)
			refused(t, err, "backstay.yaml", "subject")
			if core.CodeOf(err) != core.CodeConfig {
				t.Errorf("code %s", core.CodeOf(err))
			}
		})
	}
}

// tree describes all that lies below root.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		out[path] = info.Mode().String()
		if info.Mode().IsRegular() {
			content, err := os.ReadFile(path)
			out[path] += " " + info.ModTime().String() + " " + string(content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s Subject) changesNothing(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	before := tree(t, root)
	s.Profile.Detect(root)
	s.discover(t, app)
	if diff := cmp.Diff(before, tree(t, root)); diff != "" {
		t.Error(diff)
	}
}

func (s Subject) severalAtOnce(t *testing.T) {
	_, app := s.install(t, PlainAccount())
	want := s.discover(t, app)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got, err := s.Profile.Discover(t.Context(), app)
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(core.Secret{})); err != nil || diff != "" {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	wg.Wait()
}

// spelledOtherwise: a root that is written otherwise is the same installation.
func (s Subject) spelledOtherwise(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	want := s.discover(t, app)
	app.Root = filepath.Dir(root) + "/x/..//" + filepath.Base(root) + "/"
	if err := os.Mkdir(filepath.Join(filepath.Dir(root), "x"), 0o755); err != nil {
		t.Fatal(err)
	}
	got := s.discover(t, app)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
}

// queryFunc answers for a database.
type queryFunc func() ([][]*string, error)

func (f queryFunc) Query(context.Context, string) ([][]*string, error) { return f() }

func (s Subject) silentDatabase(t *testing.T) {
	odd := "\xff\n" + strings.Repeat("9", 10_000)
	for name, answer := range map[string]queryFunc{
		"refuses":    func() ([][]*string, error) { return nil, errors.New("table is not there") },
		"nothing":    func() ([][]*string, error) { return nil, nil },
		"no columns": func() ([][]*string, error) { return [][]*string{{}}, nil },
		"nulls":      func() ([][]*string, error) { return [][]*string{{nil, nil, nil}}, nil },
		"odd text":   func() ([][]*string, error) { return [][]*string{{&odd, &odd, &odd}}, nil },
	} {
		t.Run(name, func(t *testing.T) {
			_, app := s.install(t, PlainAccount())
			found := s.discover(t, app)
			if err := s.Profile.Versions(t.Context(), answer, found); err != nil {
				t.Errorf("versions: %v", err)
			}
			for key, v := range found.Versions {
				if !profile.ValidVersion(v) {
					t.Errorf("%s: %q", key, v)
				}
			}
			if err := s.Profile.Busy(t.Context(), nil, found); err != nil {
				t.Errorf("busy without a database: %v", err)
			}
		})
	}
	if s.Config == "" {
		return
	}
	t.Run("cancelled", func(t *testing.T) {
		_, app := s.install(t, PlainAccount())
		found := s.discover(t, app)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Profile.Versions(ctx, queryFunc(func() ([][]*string, error) { return nil, ctx.Err() }), found); core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("got %v", err)
		}
	})
}

func (s Subject) readOnly(t *testing.T) {
	for name, ended := range map[string]bool{"in time": false, "cancelled": true} {
		t.Run(name, func(t *testing.T) {
			root, app := s.install(t, PlainAccount())
			found := s.discover(t, app)
			before := tree(t, root)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if ended {
				cancel()
			}
			leave, err := s.Profile.ReadOnly(ctx, nil, app, found)
			if leave == nil {
				t.Fatal("there is no way out")
			}
			if err != nil && !ended {
				refused(t, err, app.Name)
			}
			for range 2 {
				if err := leave(); err != nil {
					t.Errorf("leave: %v", err)
				}
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// afterRestore: steps are lines of text, also when nothing is known of the
// backup and nothing is there.
func (s Subject) afterRestore(t *testing.T) {
	root, app := s.install(t, PlainAccount())
	known := s.discover(t, app)
	for _, r := range []profile.Restored{
		{}, {Root: filepath.Join(root, "missing"), Code: true}, {Root: root, Versions: known.Versions, Settings: known.Settings},
		{Root: root, Code: true, Versions: known.Versions, Settings: known.Settings},
	} {
		for _, step := range s.Profile.AfterRestore(r) {
			if step == "" || strings.ContainsAny(step, "\n\x00") {
				t.Errorf("%+v: step %q", r, step)
			}
		}
	}
}
