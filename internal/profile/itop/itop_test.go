package itop

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

const settingsFile = "conf/production/config-itop.php"

// plainConfig has the shape that the setup writes, with values for tests.
const plainConfig = `<?php
$MySettings = array(
	'access_mode' => 3,
	'app_root_url' => 'https://desk.example.org/',
	'cron_max_execution_time' => 30,
	'db_host' => '127.0.0.1:3307',
	'db_name' => 'itop',
	'db_pwd' => 'pa\'ss\\w"ö%d$x',
	'db_subname' => '',
	'db_user' => 'itop-user',
	'encryption_key' => 'not-for-anyone',
	'encryption_library' => 'Sodium',
);
$MyModuleSettings = array(
	'itop-backup' => array(
		'week_days' => 'monday',
		'extra_files' => array('web/logo.png', 'data/tmp/keep', 'web/gone.png'),
	),
);
$MyModules = array('addons' => array('user rights' => 'addons/x.php'));
?>
`

// write makes files below root; a name that ends in "/" is a folder.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(root, name)
		if strings.HasSuffix(name, "/") {
			if err := os.MkdirAll(path, 0o755); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// install makes a small installation with the given configuration.
func install(t *testing.T, config string) string {
	t.Helper()
	root := t.TempDir()
	write(t, root, map[string]string{
		"approot.inc.php":              "<?php\ndefine('APPROOT', __DIR__.'/');\ndefine('ITOP_CORE_VERSION', '3.2.1');\nrequire_once APPROOT.'bootstrap.inc.php';\n",
		"core/config.class.inc.php":    "<?php\ndefine('ITOP_VERSION', '3.2.1-1');\ndefine('ITOP_REVISION', '16749');\ndefine('ITOP_VERSION_FULL', ITOP_VERSION.'-'.ITOP_REVISION);\nrequire_once 'x.php';\nclass Config {}\n",
		settingsFile:                   config,
		"data/instance.txt":            "{1234}",
		"data/tmp/keep":                "x",
		"web/logo.png":                 "x",
		"extensions/mine/module.x.php": "<?php",
	})
	return root
}

func newProfile() Profile {
	return Profile{Sockets: []string{}, Env: []string{"PATH=" + os.Getenv("PATH")}}
}

func discover(t *testing.T, p Profile, app profile.App) *core.Application {
	t.Helper()
	found, err := p.Discover(t.Context(), app)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return found
}

func TestDiscover(t *testing.T) {
	root := install(t, plainConfig)
	found := discover(t, newProfile(), profile.App{Name: "desk", Root: root})
	wantSource := &core.DatabaseSource{
		Host: "127.0.0.1", Port: 3307, User: "itop-user", Password: core.NewSecret(`pa'ss\w"ö%d$x`), Name: "itop",
		Locks: []string{"itop.478b587bc40df5e6e933c1ed1f6f288e"},
	}
	if diff := cmp.Diff(wantSource, found.Database, cmp.AllowUnexported(core.Secret{})); diff != "" {
		t.Error(diff)
	}
	wantSettings := map[string]string{
		SettingEnvironment: "production", SettingConfig: settingsFile, SettingCronLock: "itop.0bb534e2892192951d51666b25d8de4b",
		SettingBackupLock: "itop.478b587bc40df5e6e933c1ed1f6f288e", SettingRestoreLock: "itop.eba75cc9031811205f4a3ab659a97c48",
		SettingCronLimit: "30", SettingLibrary: "Sodium", SettingURL: "https://desk.example.org/",
	}
	if diff := cmp.Diff(wantSettings, found.Settings); diff != "" {
		t.Error(diff)
	}
	wantVersions := map[string]string{VersionApplication: "3.2.1-1", VersionRevision: "16749", VersionCore: "3.2.1"}
	if diff := cmp.Diff(wantVersions, found.Versions); diff != "" {
		t.Error(diff)
	}
	wantWarnings := []core.Warning{{
		Code: "missing", Object: "web/gone.png", Message: "$MyModuleSettings['itop-backup']['extra_files'] names it, and it is not there",
	}}
	if diff := cmp.Diff(wantWarnings, found.Warnings); diff != "" {
		t.Error(diff)
	}
	var got []string
	for _, s := range found.FileSets {
		if s.Root != root || s.Place != "app" {
			t.Errorf("%s: %s %s", s.Component, s.Place, s.Root)
		}
		for _, p := range s.Include {
			got = append(got, string(s.Component)+" "+p.Path)
		}
	}
	want := []string{
		"config conf", "config " + settingsFile, "files data", "files extensions", "files web/logo.png", "files data/tmp/keep", "code .",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLockName(t *testing.T) {
	for _, c := range []struct{ name, database, prefix, want string }{
		{"cron", "itop", "", "itop.0bb534e2892192951d51666b25d8de4b"},
		{"backup.production", "itop", "", "itop.478b587bc40df5e6e933c1ed1f6f288e"},
		{"restore.production", "itop", "", "itop.eba75cc9031811205f4a3ab659a97c48"},
		{"cronitop", "itop", "", "itop.0bb534e2892192951d51666b25d8de4b"}, // ends with the name already
		{"cron", "itop", "x_", "itop.efdad8544c478fd681a01b65b44e6399"},
	} {
		got := LockName(c.name, c.database, c.prefix)
		if got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// TestDatabaseForms: what stands in the configuration, and what backstay.yaml
// gives, against where backstay connects.
func TestDatabaseForms(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "none.sock")
	for name, c := range map[string]struct {
		settings string
		given    profile.Database
		want     core.DatabaseSource
	}{
		"host":            {settings: `'db_host' => 'db.example.org'`, want: core.DatabaseSource{Host: "db.example.org"}},
		"persistent":      {settings: `'db_host' => 'p:db:3310'`, want: core.DatabaseSource{Host: "db", Port: 3310}},
		"no host":         {settings: `'db_host' => ''`, want: core.DatabaseSource{Host: "127.0.0.1"}},
		"socket given":    {settings: `'db_host' => 'localhost'`, given: profile.Database{Socket: socket}, want: core.DatabaseSource{Socket: socket}},
		"host given":      {settings: `'db_host' => getenv('NOWHERE')`, given: profile.Database{Host: "replica", Port: 1}, want: core.DatabaseSource{Host: "replica", Port: 1}},
		"trimmed":         {settings: `'db_host' => " db\n", 'db_subname' => "\tx_ "`, want: core.DatabaseSource{Host: "db", Prefix: "x_"}},
		"prefix":          {settings: `'db_host' => 'db', 'db_subname' => 'a_%b'`, want: core.DatabaseSource{Host: "db", Prefix: "a_%b"}},
		"tls":             {settings: `'db_host' => 'db', 'db_tls.enabled' => true`, want: core.DatabaseSource{Host: "db", TLS: core.DatabaseTLS{Mode: "required"}}},
		"tls off":         {settings: `'db_host' => 'db', 'db_tls.enabled' => false, 'db_tls.ca' => '/ca.pem'`, want: core.DatabaseSource{Host: "db"}},
		"tls with ca":     {settings: `'db_host' => 'db', 'db_tls.enabled' => 1, 'db_tls.ca' => '/ca.pem'`, want: core.DatabaseSource{Host: "db", TLS: core.DatabaseTLS{Mode: "verify-full", CA: "/ca.pem"}}},
		"tls given":       {settings: `'db_host' => 'db', 'db_tls.enabled' => f()`, given: profile.Database{TLS: core.DatabaseTLS{Mode: "required"}}, want: core.DatabaseSource{Host: "db", TLS: core.DatabaseTLS{Mode: "required"}}},
		"placeholder":     {settings: `'db_host' => '%env(DBHOST)%:%server(PORT)?:3309%'`, want: core.DatabaseSource{Host: "envhost", Port: 3309}},
		"null is not set": {settings: `'db_host' => null`, want: core.DatabaseSource{Host: "127.0.0.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			root := install(t, `<?php $MySettings = array('db_user' => 'u', 'db_pwd' => 'p', 'db_name' => 'n', `+c.settings+`);`)
			p := newProfile()
			p.Env = append(p.Env, "ITOP_CONFIG_PLACEHOLDERS=1", "DBHOST=envhost")
			got := discover(t, p, profile.App{Name: "desk", Root: root, Database: c.given}).Database
			c.want.User, c.want.Password, c.want.Name, c.want.Locks = "u", core.NewSecret("p"), "n", got.Locks
			if diff := cmp.Diff(&c.want, got, cmp.AllowUnexported(core.Secret{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestPasswords(t *testing.T) {
	for name, c := range map[string]struct{ php, want string }{
		"quotes":  {`'it\'s "q"'`, `it's "q"`},
		"slashes": {`'a\\\\b\\n'`, `a\\b\n`},
		"unicode": {`'pässwörd 🔐'`, "pässwörd 🔐"},
		"NUL":     {`'a' . "\0" . 'b'`, "a\x00b"},
		"PHP end": {`'a?>b;//#'`, "a?>b;//#"},
		"percent": {`'%x(y)% %env'`, "%x(y)% %env"},
	} {
		t.Run(name, func(t *testing.T) {
			root := install(t, `<?php $MySettings = array('db_host' => 'db', 'db_user' => 'u', 'db_name' => 'n', 'db_pwd' => `+c.php+`);`)
			if got := discover(t, newProfile(), profile.App{Name: "desk", Root: root}).Database.Password.Reveal(); got != c.want {
				t.Errorf("got %q", got)
			}
		})
	}
}

// TestSettingsThatPHPMustGive needs PHP; where there is none the error names
// the setting and the key to write.
func TestSettingsThatPHPMustGive(t *testing.T) {
	const config = "<?php $MySettings = array('db_host' => 'db', 'db_user' => 'u', 'db_name' => 'n',\n 'db_pwd' => trim(getenv('DBPWD')));"
	root := openInstall(t, config)
	t.Run("no PHP", func(t *testing.T) {
		p := newProfile()
		p.PHP = filepath.Join(root, "no-php")
		_, err := p.Discover(t.Context(), profile.App{Name: "desk", Root: root})
		for _, part := range []string{settingsFile, "db_pwd", "line 2"} {
			if err == nil || !strings.Contains(err.Error(), part) {
				t.Errorf("%q is not in %v", part, err)
			}
		}
		if hint := core.HintOf(err); !strings.Contains(hint, "password_file") || !strings.Contains(hint, "desk") {
			t.Errorf("hint %q", hint)
		}
	})
	t.Run("given instead", func(t *testing.T) {
		p := newProfile()
		p.PHP = filepath.Join(root, "no-php")
		found := discover(t, p, profile.App{Name: "desk", Root: root, Database: profile.Database{Password: core.NewSecret("given")}})
		if found.Database.Password.Reveal() != "given" {
			t.Error("backstay.yaml does not win")
		}
	})
	t.Run("PHP", func(t *testing.T) {
		if _, err := exec.LookPath("php"); err != nil {
			t.Skip("there is no php here")
		}
		p := newProfile()
		p.Env = append(p.Env, "DBPWD= from env ")
		if got := discover(t, p, profile.App{Name: "desk", Root: root}).Database.Password.Reveal(); got != "from env" {
			t.Errorf("got %q", got)
		}
	})
}

// openInstall is install in a folder that PHP can read when it runs as another user.
func openInstall(t *testing.T, config string) string {
	t.Helper()
	root := install(t, config)
	for dir := root; strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestPlaceholderWithoutValue(t *testing.T) {
	root := install(t, `<?php $MySettings = array('db_host' => '%server(DBHOST)%', 'db_user' => 'u', 'db_name' => 'n', 'db_pwd' => '');`)
	for name, env := range map[string][]string{"not switched on": {"DBHOST=x"}, "not set": {"ITOP_CONFIG_PLACEHOLDERS=1"}} {
		p := newProfile()
		p.Env = env
		_, err := p.Discover(t.Context(), profile.App{Name: "desk", Root: root})
		if err == nil || !strings.Contains(err.Error(), "db_host") || !strings.Contains(core.HintOf(err), "host: …") {
			t.Errorf("%s: got %v (hint %q)", name, err, core.HintOf(err))
		}
	}
}

func TestExtraFilesStayInside(t *testing.T) {
	root := install(t, `<?php $MySettings = array('db_host' => 'db', 'db_user' => 'u', 'db_name' => 'n', 'db_pwd' => '');
$MyModuleSettings = array('itop-backup' => array('extra_files' => array('../../etc', '/etc/passwd', 'way/out', '.', '', array(), "web/\0x", 'web/*.png', 'web/logo.png')));`)
	write(t, root, map[string]string{"web/*.png": "a file with a star"})
	elsewhere := t.TempDir()
	write(t, elsewhere, map[string]string{"out": "x"})
	if err := os.Symlink(elsewhere, filepath.Join(root, "way")); err != nil {
		t.Fatal(err)
	}
	found := discover(t, newProfile(), profile.App{Name: "desk", Root: root})
	refused := map[string]bool{}
	for _, w := range found.Warnings {
		refused[w.Object] = w.Code == "refused" && strings.Contains(w.Message, "extra_files")
	}
	for _, object := range []string{"../../etc", "/etc/passwd", "way/out", ".", "", "web/\x00x"} {
		if !refused[object] {
			t.Errorf("nothing is said of %q: %v", object, found.Warnings)
		}
	}
	var named []string
	for _, s := range found.FileSets {
		for _, p := range s.Include {
			if strings.HasPrefix(p.Path, "/") || strings.Contains(p.Path, "..") || strings.HasPrefix(p.Path, "way") {
				t.Errorf("%q is taken", p.Path)
			}
			if strings.HasPrefix(p.Path, "web/") {
				named = append(named, p.Path)
			}
		}
	}
	if diff := cmp.Diff([]string{"web/*.png", "web/logo.png"}, named); diff != "" {
		t.Error(diff)
	}
}

func TestDetect(t *testing.T) {
	root := install(t, plainConfig)
	got, ok := Profile{}.Detect(root)
	if want := (profile.Installation{Profile: "itop", Root: root, Version: "3.2.1-1"}); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
	if err := os.Rename(filepath.Join(root, "conf/production"), filepath.Join(root, "conf/test")); err != nil {
		t.Fatal(err)
	}
	if got, ok := (Profile{}).Detect(root); !ok || got.Environment != "test" {
		t.Errorf("got %+v, %v", got, ok)
	}
	if _, err := newProfile().Discover(t.Context(), profile.App{Name: "desk", Root: root}); !strings.Contains(core.HintOf(err), "environment: test") {
		t.Errorf("got %v (hint %q)", err, core.HintOf(err))
	}
	if _, err := newProfile().Discover(t.Context(), profile.App{Name: "desk", Root: root, Environment: "../x"}); core.CodeOf(err) != core.CodeConfig {
		t.Errorf("got %v", err)
	}
}

// fakeServer answers statements by what they contain; the first that fits.
type fakeServer struct {
	answers []answer
	asked   []string
}

type answer struct {
	part string
	rows [][]string
	err  error
}

func (s *fakeServer) Query(_ context.Context, statement string) ([][]*string, error) {
	s.asked = append(s.asked, statement)
	for i, a := range s.answers {
		if !strings.Contains(statement, a.part) {
			continue
		}
		if strings.HasPrefix(a.part, "SELECT IS_FREE_LOCK") {
			s.answers = append(s.answers[:i:i], s.answers[i+1:]...) // each answer once
		}
		rows := [][]*string{}
		for _, r := range a.rows {
			row := []*string{}
			for _, v := range r {
				row = append(row, &v)
			}
			rows = append(rows, row)
		}
		return rows, a.err
	}
	return nil, errors.New("table is not there")
}

func TestVersions(t *testing.T) {
	found := &core.Application{Database: &core.DatabaseSource{Name: "itop", Prefix: "a`_"}, Versions: map[string]string{VersionApplication: "3.2.1-1", VersionRevision: "16749"}}
	q := &fakeServer{answers: []answer{
		{part: "FROM `a``_priv_module_install` WHERE name = 'iTop'", rows: [][]string{{"17", "3.2.0-1-15000"}}},
		{part: "FROM `a``_priv_module_install` WHERE parent_id = 17 ", rows: [][]string{{"itop-backup", "3.2.0"}, {"itop-tickets", "3.2.0"}}},
		{part: "FROM `a``_priv_extension_install`", rows: [][]string{{"itop-config-mgmt-core", "3.2.0", "datamodels"}}},
	}}
	if err := (Profile{}).Versions(t.Context(), q, found); err != nil {
		t.Fatal(err)
	}
	want := []core.Module{
		{Name: "itop-backup", Version: "3.2.0"}, {Name: "itop-tickets", Version: "3.2.0"},
		{Name: "itop-config-mgmt-core", Version: "3.2.0", Source: "extension:datamodels"},
	}
	if diff := cmp.Diff(want, found.Modules); diff != "" {
		t.Error(diff)
	}
	if found.Versions[VersionSchema] != "3.2.0-1-15000" || len(found.Notes) != 1 || len(found.Warnings) != 0 {
		t.Errorf("%+v", found)
	}
}

func TestVersionsOfAnotherDatabase(t *testing.T) {
	for name, q := range map[string]*fakeServer{
		"no table": {},
		"no row":   {answers: []answer{{part: "priv_module_install"}}},
	} {
		found := &core.Application{Database: &core.DatabaseSource{Name: "itop"}, Versions: map[string]string{}}
		if err := (Profile{}).Versions(t.Context(), q, found); err != nil || len(found.Warnings) != 1 {
			t.Errorf("%s: %v, %v", name, err, found.Warnings)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	found := &core.Application{Database: &core.DatabaseSource{Name: "itop"}, Versions: map[string]string{}}
	if err := (Profile{}).Versions(ctx, &fakeServer{}, found); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
}

func TestBusy(t *testing.T) {
	found := &core.Application{Settings: map[string]string{SettingRestoreLock: "itop.r"}}
	free := &fakeServer{answers: []answer{{part: "SELECT IS_FREE_LOCK('itop.r')", rows: [][]string{{"1"}}}}}
	if err := (Profile{}).Busy(t.Context(), free, found); err != nil {
		t.Error(err)
	}
	held := &fakeServer{answers: []answer{{part: "SELECT IS_FREE_LOCK('itop.r')", rows: [][]string{{"0"}}}}}
	if err := (Profile{}).Busy(t.Context(), held, found); core.CodeOf(err) != core.CodeLocked {
		t.Errorf("got %v", err)
	}
	if err := (Profile{}).Busy(t.Context(), &fakeServer{}, found); core.CodeOf(err) != core.CodeDatabase {
		t.Errorf("got %v", err)
	}
}

func TestReadOnly(t *testing.T) {
	free := answer{part: "SELECT IS_FREE_LOCK('itop.c')", rows: [][]string{{"1"}}}
	held := answer{part: "SELECT IS_FREE_LOCK('itop.c')", rows: [][]string{{"0"}}}
	for name, c := range map[string]struct {
		before  string // what lies in data/.readonly; "": nothing
		answers []answer
		limit   string
		code    core.Code
		asked   int
		after   bool // the file is there after leave
	}{
		"free":              {answers: []answer{free}, limit: "5", asked: 1},
		"cron ends":         {answers: []answer{held, held, free}, limit: "5", asked: 3},
		"cron does not end": {answers: []answer{held, held, held, held, held, held, held, held, held}, limit: "0", code: core.CodeLocked},
		"database gone":     {limit: "5", code: core.CodeDatabase, asked: 1},
		"somebody else's":   {before: "mine", answers: []answer{free}, limit: "5", asked: 1, after: true},
		"a crash left it":   {before: readonlyMark, answers: []answer{free}, limit: "5", asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			root := install(t, plainConfig)
			path := filepath.Join(root, readonlyFile)
			if c.before != "" {
				write(t, root, map[string]string{readonlyFile: c.before})
			}
			found := &core.Application{Settings: map[string]string{SettingCronLock: "itop.c", SettingCronLimit: c.limit}}
			q := &fakeServer{answers: c.answers}
			leave, err := Profile{Poll: time.Millisecond}.ReadOnly(t.Context(), q, profile.App{Name: "desk", Root: root}, found)
			if core.CodeOf(err) != c.code || (c.asked > 0 && len(q.asked) != c.asked) {
				t.Errorf("got %v after %d questions", err, len(q.asked))
			}
			if _, err := os.Lstat(path); err != nil {
				t.Errorf("iTop is not read-only: %v", err)
			}
			for range 2 {
				if err := leave(); err != nil {
					t.Error(err)
				}
			}
			if _, err := os.Lstat(path); (err == nil) != c.after {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestReadOnlyIsLeftAfterCancellation(t *testing.T) {
	root := install(t, plainConfig)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	found := &core.Application{Settings: map[string]string{SettingCronLock: "itop.c"}}
	q := &fakeServer{answers: []answer{{part: "IS_FREE", rows: [][]string{{"0"}}}}}
	leave, err := Profile{Poll: time.Hour}.ReadOnly(ctx, q, profile.App{Name: "desk", Root: root}, found)
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(root, readonlyFile)); !os.IsNotExist(err) {
		t.Errorf("iTop is still read-only: %v", err)
	}
}

// TestReadOnlyLeavesAStrangersFile: while the backup ran, somebody put a file of
// their own there.
func TestReadOnlyLeavesAStrangersFile(t *testing.T) {
	root := install(t, plainConfig)
	leave, err := Profile{}.ReadOnly(t.Context(), nil, profile.App{Name: "desk", Root: root}, &core.Application{})
	if err != nil {
		t.Fatal(err)
	}
	write(t, root, map[string]string{readonlyFile: ""})
	if err := leave(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(filepath.Join(root, readonlyFile)); err != nil {
		t.Error(err)
	}
}

func TestReadOnlyWithoutData(t *testing.T) {
	leave, err := Profile{}.ReadOnly(t.Context(), nil, profile.App{Name: "desk", Root: t.TempDir()}, &core.Application{})
	if core.CodeOf(err) != core.CodeApplication || core.HintOf(err) == "" || leave == nil || leave() != nil {
		t.Errorf("got %v", err)
	}
}
