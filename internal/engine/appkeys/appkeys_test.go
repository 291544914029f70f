package appkeys_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/nacl/secretbox"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/appkeys"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/keys/itflow"
	"github.com/backstay/backstay/internal/keys/itflow/itflowtest"
	"github.com/backstay/backstay/internal/keys/itop"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	itflowprofile "github.com/backstay/backstay/internal/profile/itflow"
	itopprofile "github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

const (
	masterKey = "Bh3tVZAwOMXNrTF2"
	otherKey  = "AnotherKey_12345"
	long      = "so long a value that another key does not open it by chance, tab\t and \\ and newline\n"
)

// write puts files into a folder.
func write(t *testing.T, root string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func text(s string) string { return mysql.QuoteText(s) }

func login(t *testing.T, password string) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	return "$2y$" + string(hash[4:]) // as PHP calls it
}

// newITFlow is an ITFlow as far as its keys are concerned: two users with
// wrappings of one key, one with that of another, an archived one, a client's.
func newITFlow(t *testing.T) engine.Target {
	t.Helper()
	db := mysqltest.Database(t)
	config := mysqltest.Config(t, db)
	root := t.TempDir()
	var schema strings.Builder
	for _, name := range []string{"clients", "invoices", "tickets", "users"} {
		fmt.Fprintf(&schema, "CREATE TABLE `%s` (\n", name)
	}
	write(t, root, map[string]string{
		"config.php":    fmt.Sprintf("<?php\n$dbhost = 'localhost:%s';\n$dbusername = '%s';\n$dbpassword = '';\n$database = '%s';\n", config.Socket, config.User, db),
		"functions.php": "<?php\n", "login.php": "<?php\n", "db.sql": schema.String(), "uploads/index.php": "", "includes/app_version.php": "<?php\nDEFINE(\"APP_VERSION\", \"26.08.2\");\n",
	})
	user := func(id int, email, password, stored, archived string) string {
		return fmt.Sprintf("INSERT INTO users VALUES (%d, %s, 'a name\\twith a tab', %s, %s, %s, 1)", id, text(email), text(login(t, password)), stored, archived)
	}
	wrap := func(password, key string) string { return text(itflowtest.Wrap(password, key)) }
	credential := func(id int, name, username, password string) string {
		return fmt.Sprintf("INSERT INTO credentials VALUES (%d, %s, %s, %s, REPEAT('a long note\\n', %d), NULL)", id, text(name), username, password, 30_000*(id%2))
	}
	sealed := func(key, plain string) string { return text(itflowtest.Encrypt(key, plain)) }
	mysqltest.ExecIn(t, db,
		"CREATE TABLE settings (company_id INT PRIMARY KEY, config_current_database_version VARCHAR(20))", "INSERT INTO settings VALUES (1, '2.6.7')",
		"CREATE TABLE users (user_id INT PRIMARY KEY, user_email VARCHAR(200), user_name VARCHAR(200), user_password VARCHAR(200), user_specific_encryption_ciphertext VARCHAR(200), user_archived_at DATETIME, user_status INT)",
		user(1, "ada@example.test", "ada's password", wrap("ada's password", masterKey), "NULL"),
		user(2, "bob@example.test", "bob's password", wrap("bob's password", masterKey), "NULL"),
		user(3, "eve@example.test", "eve's password", "''", "'2026-01-02 03:04:05'"),
		user(4, "dan@example.test", "dan's password", "NULL", "NULL"),
		user(5, "old@example.test", "old's password", wrap("old's password", otherKey), "NULL"),
		user(6, "set@example.test", "new password", wrap("the password before", masterKey), "NULL"),
		user(7, "two@example.test", "ada's password", wrap("ada's password", otherKey), "NULL"),
		user(8, "bad@example.test", "bad's password", "'no wrapping of a key at all, and longer than that'", "NULL"),
		"CREATE TABLE api_keys (api_key_id INT PRIMARY KEY, api_key_name VARCHAR(255), api_key_decrypt_hash VARCHAR(200))",
		"INSERT INTO api_keys VALUES (1, 'scripts', "+wrap("api pa$$", masterKey)+")",
		"CREATE TABLE credentials (credential_id INT PRIMARY KEY, credential_name VARCHAR(200), credential_username VARCHAR(500), credential_password VARCHAR(500), credential_note LONGTEXT, credential_archived_at DATETIME)",
		credential(1, "router", sealed(masterKey, "root"), sealed(masterKey, long)),
		credential(2, "näme", "NULL", sealed(masterKey, "Pässwörd 🔐 №1")),
		credential(3, "empty", "NULL", "''"),
	)
	return engine.Target{
		Profile: itflowprofile.Name, Consistency: "online", Connections: 2,
		App: profile.App{Name: "docs", Root: root, Database: profile.Database{Socket: config.Socket}},
	}
}

func newEngine(t *testing.T) *engine.Engine {
	t.Helper()
	e := enginetest.New(t, memory.New())
	e.Profiles = profile.NewRegistry(itopprofile.Profile{}, itflowprofile.Profile{}, generic.Profile{})
	return e
}

func backUp(t *testing.T, e *engine.Engine, target engine.Target) string {
	t.Helper()
	b, err := e.Backup(t.Context(), target, engine.BackupOptions{Trigger: "manual"})
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return b.ID
}

// sources are the live app and a backup of it.
func sources(t *testing.T, e *engine.Engine, target engine.Target) map[string]*appkeys.Source {
	t.Helper()
	live, err := appkeys.Live(t.Context(), e, target)
	if err != nil {
		t.Fatal(err)
	}
	backup, err := appkeys.Backup(t.Context(), e, enginetest.Find(t, e, backUp(t, e, target)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := live.Close(); err != nil {
			t.Error(err)
		}
		if err := backup.Close(); err != nil {
			t.Error(err)
		}
	})
	return map[string]*appkeys.Source{"live": live, "backup": backup}
}

func secret(s string) core.Secret { return core.NewSecret(s) }

// TestITFlow opens the key with everybody's password, live and from a backup.
func TestITFlow(t *testing.T) {
	target := newITFlow(t)
	for where, s := range sources(t, newEngine(t), target) {
		t.Run(where, func(t *testing.T) {
			for _, c := range []struct {
				who      appkeys.Who
				password string
				key      string
				holders  string
			}{
				{appkeys.Who{User: "ada@example.test"}, "ada's password", masterKey, "user ada@example.test"},
				{appkeys.Who{User: "Bob@Example.test"}, " bob's password ", masterKey, "user bob@example.test"},
				{appkeys.Who{}, "bob's password", masterKey, "user bob@example.test"},
				{appkeys.Who{APIKey: "scripts"}, "api pa$$", masterKey, "API key scripts"},
				{appkeys.Who{}, "api pa$$", masterKey, "API key scripts"},
				{appkeys.Who{User: "old@example.test"}, "old's password", otherKey, "user old@example.test"},
				{appkeys.Who{User: "two@example.test"}, "ada's password", otherKey, "user two@example.test"},
			} {
				got, err := appkeys.OpenITFlow(t.Context(), s, c.who, secret(c.password))
				if err != nil {
					t.Errorf("%+v: %v", c.who, err)
					continue
				}
				if got.Key.Secret().Reveal() != c.key || len(got.Holders) != 1 || got.Holders[0].String() != c.holders {
					t.Errorf("%+v: another key, or of %v", c.who, got.Holders)
				}
			}
			for name, c := range map[string]struct {
				who      appkeys.Who
				password string
				code     core.Code
				says     []string
			}{
				"wrong":          {appkeys.Who{User: "ada@example.test"}, "bob's password", core.CodeFailed, []string{"the password is wrong"}},
				"nobody's":       {appkeys.Who{}, "nobody's", core.CodeFailed, []string{"the password is wrong", "none of 7"}},
				"archived":       {appkeys.Who{User: "eve@example.test"}, "eve's password", core.CodeApplication, []string{"is archived", "removed their copy", "user ada@example.test"}},
				"no copy":        {appkeys.Who{User: "dan@example.test"}, "dan's password", core.CodeApplication, []string{"has no copy", "user ada@example.test"}},
				"unknown":        {appkeys.Who{User: "zoe@example.test"}, "x", core.CodeNotFound, []string{"there is no user zoe@example.test"}},
				"unknown key":    {appkeys.Who{APIKey: "ada@example.test"}, "x", core.CodeNotFound, []string{"there is no API key"}},
				"reset":          {appkeys.Who{User: "set@example.test"}, "new password", core.CodeApplication, []string{"under another one", "was reset"}},
				"before a reset": {appkeys.Who{User: "set@example.test"}, "the password before", core.CodeFailed, []string{"the password is wrong"}},
				"malformed":      {appkeys.Who{User: "bad@example.test"}, "bad's password", core.CodeApplication, []string{"not stored as ITFlow stores"}},
				"two keys":       {appkeys.Who{}, "ada's password", core.CodeAmbiguous, []string{"2 different keys", "user ada@example.test opens 3 of 3", "user two@example.test opens 0 of 3", "--user"}},
			} {
				t.Run(name, func(t *testing.T) {
					_, err := appkeys.OpenITFlow(t.Context(), s, c.who, secret(c.password))
					enginetest.WantError(t, err, c.code, c.says...)
					for _, hidden := range []string{c.password + "x", masterKey, otherKey} {
						if strings.Contains(err.Error()+core.HintOf(err), hidden) {
							t.Errorf("it tells %q: %v", hidden, err)
						}
					}
				})
			}
		})
	}
}

// TestCheckITFlow: of credentials under several keys, the one that does not open
// is named, and by none of its values.
func TestCheckITFlow(t *testing.T) {
	target, e := newITFlow(t), newEngine(t)
	whole := backUp(t, e, target)
	live, err := appkeys.Live(t.Context(), e, target)
	if err != nil {
		t.Fatal(err)
	}
	app, err := (itflowprofile.Profile{}).Discover(t.Context(), target.App)
	if err != nil {
		t.Fatal(err)
	}
	// Not 1,000 of them: pages of rows are to be read one after the other.
	mysqltest.ExecIn(t, app.Database.Name,
		"INSERT INTO credentials SELECT seq + 10, CONCAT('of ', seq), NULL, "+text(itflowtest.Encrypt(masterKey, long))+", NULL, NULL FROM seq_1_to_1001",
		"UPDATE credentials SET credential_password = "+text(itflowtest.Encrypt(otherKey, long))+" WHERE credential_id = 900",
		"UPDATE credentials SET credential_username = 'in the clear' WHERE credential_id = 1")
	want := itflow.Verdict{Credentials: 1004, Fields: 1004, Opened: 1002, Failed: 2, Failures: []itflow.Failure{
		{Table: "credentials", ID: "1", Column: "credential_username", Name: "router", Why: itflow.ErrMalformed.Error()},
		{Table: "credentials", ID: "900", Column: "credential_password", Name: "of 890", Why: itflow.ErrOtherKey.Error()},
	}}
	check := func(s *appkeys.Source) *itflow.Verdict {
		t.Helper()
		key, err := appkeys.OpenITFlow(t.Context(), s, appkeys.Who{User: "ada@example.test"}, secret("ada's password"))
		if err != nil {
			t.Fatal(err)
		}
		v, err := appkeys.CheckITFlow(t.Context(), s, key.Key)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if diff := cmp.Diff(&want, check(live)); diff != "" {
		t.Errorf("live (-want +got):\n%s", diff)
	}
	if err := live.Close(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]*itflow.Verdict{backUp(t, e, target): &want, whole: {Credentials: 3, Fields: 3, Opened: 3, Failures: []itflow.Failure{}}} {
		s, err := appkeys.Backup(t.Context(), e, enginetest.Find(t, e, id))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, check(s)); diff != "" {
			t.Errorf("backup %s (-want +got):\n%s", id, diff)
		}
	}
}

// TestDamage: rows that are not what the index says are damage, and not wrong
// passwords.
func TestDamage(t *testing.T) {
	target, e := newITFlow(t), newEngine(t)
	rec := enginetest.Find(t, e, backUp(t, e, target))
	for name, change := range map[string]func(data []byte) []byte{
		"cut":            func(d []byte) []byte { return d[:len(d)-3] },
		"a row less":     func(d []byte) []byte { return d[strings.IndexByte(string(d), '\n')+1:] },
		"a value more":   func(d []byte) []byte { return append([]byte("x\t"), d...) },
		"a value less":   func(d []byte) []byte { return d[strings.IndexByte(string(d), '\t')+1:] },
		"another digit":  func(d []byte) []byte { d = append([]byte{}, d...); d[0]++; return d },
		"a wrong escape": func(d []byte) []byte { return append([]byte("\\q"), d...) },
	} {
		t.Run(name, func(t *testing.T) {
			damaged := *e
			damaged.Store = enginetest.Tampered(t, e.Store, rec, enginetest.Tamper{Change: func(p string, d []byte) []byte {
				if strings.HasPrefix(p, "database/data/users/") {
					return change(d)
				}
				return d
			}})
			s, err := appkeys.Backup(t.Context(), &damaged, enginetest.Find(t, &damaged, rec.ID))
			if err != nil {
				t.Fatal(err)
			}
			_, err = appkeys.OpenITFlow(t.Context(), s, appkeys.Who{User: "ada@example.test"}, secret("ada's password"))
			enginetest.WantError(t, err, core.CodeDamage, "users", "verify")
		})
	}
}

// TestOthers: what cannot be looked at says why.
func TestOthers(t *testing.T) {
	shop := enginetest.NewApp(t)
	e := newEngine(t)
	files, err := appkeys.Backup(t.Context(), e, enginetest.Find(t, e, backUp(t, e, shop.FilesOnly())))
	enginetest.WantError(t, err, core.CodeNotFound, "has no database")
	if files != nil {
		t.Error("a source")
	}
	s, err := appkeys.Backup(t.Context(), e, enginetest.Find(t, e, backUp(t, e, shop.Target)))
	if err != nil {
		t.Fatal(err)
	}
	_, err = appkeys.OpenITFlow(t.Context(), s, appkeys.Who{}, secret("x"))
	enginetest.WantError(t, err, core.CodeUsage, "generic")
	_, _, err = appkeys.CheckITop(t.Context(), s, nil)
	enginetest.WantError(t, err, core.CodeUsage, "generic")
	s.Profile = "itflow"
	_, err = appkeys.OpenITFlow(t.Context(), s, appkeys.Who{}, secret("x"))
	enginetest.WantError(t, err, core.CodeApplication, "no such table")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Rows(ctx, "a", []string{"id"}, func([]*string) error { return nil }); core.CodeOf(err) != core.CodeCancelled {
		t.Error(err)
	}
}

const encryptionKey = "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0"

// sodium is what iTop writes with Sodium.
func sodium(t *testing.T, key, plain string) string {
	t.Helper()
	raw, err := hex.DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	nonce := [24]byte{1, 2, 3, 4, 5}
	return base64.StdEncoding.EncodeToString(secretbox.Seal(nonce[:], []byte(plain), &nonce, (*[32]byte)(raw)))
}

// newITop is an iTop as far as its encrypted fields are concerned.
func newITop(t *testing.T, config string) (engine.Target, string) {
	t.Helper()
	db := mysqltest.Database(t)
	server := mysqltest.Config(t, db)
	root := t.TempDir()
	write(t, root, map[string]string{
		"data/index.php": "", "approot.inc.php": "<?php\ndefine('ITOP_CORE_VERSION', '3.2.0');\n", "core/config.class.inc.php": "<?php\ndefine('ITOP_VERSION', '3.2.0');\n",
		"conf/production/config-itop.php": fmt.Sprintf("<?php\n$MySettings = array('db_host' => 'localhost:%s', 'db_user' => '%s', 'db_pwd' => '', 'db_name' => '%s', 'db_subname' => 'it_', %s);\n$MyModuleSettings = array();\n$MyModules = array();\n", server.Socket, server.User, db, config),
	})
	mysqltest.ExecIn(t, db,
		"CREATE TABLE it_priv_module_install (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(255), version VARCHAR(255), installed DATETIME, comment TEXT, parent_id INT)",
		"INSERT INTO it_priv_module_install (name, version, installed, parent_id) VALUES ('iTop', '3.2.0-1', NOW(), 0)",
		"CREATE TABLE it_priv_extension_install (id INT PRIMARY KEY AUTO_INCREMENT, code VARCHAR(255), label VARCHAR(255), version VARCHAR(255), source VARCHAR(255), installed DATETIME)",
		"CREATE TABLE it_priv_user_local (id INT PRIMARY KEY, password_hash TINYBLOB, password_salt TINYBLOB)", "INSERT INTO it_priv_user_local VALUES (1, 'hash', x'00ff0d0a09')",
		"CREATE TABLE it_priv_changeop_setatt_encrypted (id INT PRIMARY KEY, data TINYBLOB)",
		"CREATE TABLE it_mailbox (id INT PRIMARY KEY, server VARCHAR(255), secret TINYBLOB)",
		"CREATE TABLE foreign_thing (id INT PRIMARY KEY, secret TINYBLOB)", "INSERT INTO foreign_thing VALUES (1, 'not of iTop')",
	)
	return engine.Target{Profile: itopprofile.Name, Consistency: "online", Connections: 2, App: profile.App{Name: "helpdesk", Root: root, Database: profile.Database{Socket: server.Socket}}}, db
}

func TestITop(t *testing.T) {
	target, db := newITop(t, "'encryption_library' => 'Sodium', 'encryption_key' => '"+encryptionKey+"'")
	e := newEngine(t)
	columns := func(mailbox, opened, history int64) []itop.Column {
		return []itop.Column{
			{Table: "it_mailbox", Column: "secret", Values: mailbox, Opened: opened},
			{Table: "it_priv_changeop_setatt_encrypted", Column: "data", History: true, Values: history, Opened: history},
		}
	}
	check := func(t *testing.T, want itop.Verdict) {
		t.Helper()
		for where, s := range sources(t, e, target) {
			got, library, err := appkeys.CheckITop(t.Context(), s, nil)
			if err != nil || library != itop.Sodium {
				t.Fatalf("%s: %s, %v (hint: %s)", where, library, err, core.HintOf(err))
			}
			if diff := cmp.Diff(&want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", where, diff)
			}
		}
	}
	t.Run("none", func(t *testing.T) {
		check(t, itop.Verdict{Columns: columns(0, 0, 0), Failures: []itop.Failure{}, Proof: itop.Sealed})
	})
	mysqltest.ExecIn(t, db,
		"INSERT INTO it_mailbox VALUES (1, 'a', "+text(sodium(t, encryptionKey, "first"))+"), (2, 'b', NULL), (3, 'c', '')",
		"INSERT INTO it_priv_changeop_setatt_encrypted VALUES (7, "+text(sodium(t, encryptionKey, "former"))+"), (8, "+text(sodium(t, encryptionKey, ""))+")")
	t.Run("all", func(t *testing.T) {
		check(t, itop.Verdict{Columns: columns(1, 1, 2), Values: 3, Opened: 3, Failures: []itop.Failure{}, Proof: itop.Sealed})
	})
	mysqltest.ExecIn(t, db, "UPDATE it_mailbox SET secret = "+text(sodium(t, strings.Repeat("ab", 32), "x"))+" WHERE id = 1", "UPDATE it_mailbox SET secret = 'in the clear' WHERE id = 2")
	t.Run("some", func(t *testing.T) {
		check(t, itop.Verdict{Columns: columns(2, 0, 2), Values: 4, Opened: 2, Failed: 2, Proof: itop.Sealed, Failures: []itop.Failure{
			{Table: "it_mailbox", ID: "1", Column: "secret", Why: itop.ErrOtherKey.Error()},
			{Table: "it_mailbox", ID: "2", Column: "secret", Why: itop.ErrMalformed.Error()},
		}})
	})
}

// TestITopKey: what of a configuration cannot be a key, said without the key.
func TestITopKey(t *testing.T) {
	target, _ := newITop(t, "'encryption_library' => 'Sodium', 'encryption_key' => 'no key at all'")
	e := newEngine(t)
	s := sources(t, e, target)["backup"]
	config := func(settings string) []byte { return []byte("<?php\n$MySettings = array(" + settings + ");\n") }
	for name, c := range map[string]struct {
		config []byte
		says   []string
	}{
		"captured":    {nil, []string{"64 hexadecimal", "--config-file"}},
		"sealed":      {config("'encryption_library' => 'Sodium', 'encryption_key' => '*****'"), []string{"sealed", "--config-file"}},
		"library":     {config("'encryption_library' => 'ROT13', 'encryption_key' => 'a key'"), []string{"ROT13"}},
		"not literal": {config("'encryption_key' => getenv('KEY')"), []string{"encryption_key", "without PHP"}},
		"placeholder": {config("'encryption_key' => '%env(KEY)%'"), []string{"placeholder"}},
		"no settings": {[]byte("<?php\n$x = 1;\n"), []string{"$MySettings"}},
		"no PHP":      {[]byte("nothing"), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := appkeys.CheckITop(t.Context(), s, c.config)
			enginetest.WantError(t, err, core.CodeApplication, c.says...)
			if strings.Contains(err.Error()+core.HintOf(err), "a key") || strings.Contains(err.Error(), "no key at all") {
				t.Errorf("it tells the key: %v", err)
			}
		})
	}
	v, library, err := appkeys.CheckITop(t.Context(), s, config("'db_host' => 'x'")) // iTop's defaults
	if err != nil || library != itop.Mcrypt || !v.None() {
		t.Errorf("%+v, %s, %v", v, library, err)
	}
}

// TestAsk: tables with names and rows that are not as usual.
func TestAsk(t *testing.T) {
	db := mysqltest.Database(t)
	name := "od`d 'name\\"
	mysqltest.ExecIn(t, db, "CREATE TABLE "+mysql.QuoteName(name)+" (id BIGINT PRIMARY KEY, `v``x` TINYBLOB)", "INSERT INTO "+mysql.QuoteName(name)+" SELECT CAST(seq AS SIGNED) - 700, x'00ff' FROM seq_1_to_1500",
		"CREATE TABLE keyless (a INT, v TINYBLOB)", "CREATE TABLE pairs (a INT, b INT, v TINYBLOB, PRIMARY KEY (a, b))")
	q := engine.Querier(mysqltest.Connect(t, mysqltest.Config(t, db)))
	n := 0
	if err := keys.Ask(q)(t.Context(), name, []string{"id", "v`x"}, func(r []*string) error {
		n++
		if *r[0] != fmt.Sprint(n-700) || *r[1] != "\x00\xff" {
			t.Fatalf("row %d is %q %q", n, *r[0], *r[1])
		}
		return nil
	}); err != nil || n != 1500 {
		t.Errorf("%d rows, %v", n, err)
	}
	got, err := keys.AskColumns(q, "")(t.Context(), "tinyblob")
	want := []keys.Column{{Table: "keyless", Name: "v"}, {Table: name, Key: "id", Name: "v`x"}, {Table: "pairs", Name: "v"}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for _, c := range []string{"none", "id"} {
		if err := keys.Ask(q)(t.Context(), "none", []string{c}, nil); err == nil {
			t.Error("a table that is not there was read")
		}
	}
}
