package itop_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop"
)

// proofKey, and "Pässwörd № 1" under it as iTop's library Sodium stores it.
const (
	proofKey    = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	proofSealed = "bm5ubm5ubm5ubm5ubm5ubm5ubm5ubm5ue7XVQDdBWuBCHYt8F2EpW50Vr2GhKqYqbImDgrQEitg="
)

// provable is a restored copy with the tables and files that proofs look at.
func provable(t *testing.T) (profile.RestoredCopy, *server) {
	t.Helper()
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE x_priv_module_install (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(255), version VARCHAR(255), parent_id INT DEFAULT 0)",
		"INSERT INTO x_priv_module_install VALUES (1,'iTop','3.1.0-1-1',0),(2,'gone','3.1.0',1),(5,'iTop','3.2.0-1-77',0),(6,'itop-tickets','3.2.0',5),(7,'mine','1.0',5)",
		"CREATE TABLE x_priv_extension_install (id INT PRIMARY KEY, code VARCHAR(255), version VARCHAR(255), source VARCHAR(255), installed DATETIME)",
		"CREATE TABLE x_priv_user (id INT PRIMARY KEY, login VARCHAR(255), status VARCHAR(20), finalclass VARCHAR(255))",
		"INSERT INTO x_priv_user VALUES (1, 'admin', 'enabled', 'UserLocal'), (2, 'old', 'disabled', 'UserLocal'), (3, 'ldap', 'enabled', 'UserLDAP')",
		"CREATE TABLE x_priv_user_local (id INT PRIMARY KEY, password_hash TINYBLOB, password_salt TINYBLOB)",
		"INSERT INTO x_priv_user_local VALUES (1, 'hash', 'salt')",
		"CREATE TABLE x_priv_urp_userprofile (id INT PRIMARY KEY, userid INT, profileid INT)",
		"INSERT INTO x_priv_urp_userprofile VALUES (1, 1, 1), (2, 2, 1), (3, 3, 2)",
		"CREATE TABLE x_priv_changeop_setatt_encrypted (id INT PRIMARY KEY, data TINYBLOB)",
		"CREATE TABLE x_device (id INT PRIMARY KEY, secret TINYBLOB)",
		"INSERT INTO x_device VALUES (3, '"+proofSealed+"'), (4, ''), (5, NULL)",
	)
	root := t.TempDir()
	module := func(name, version string) string {
		return "<?php\nSetupWebPage::AddModule(\n\t__FILE__, // Path to the current file\n\t'" + name + "/" + version + "',\n\tarray());"
	}
	for file, text := range map[string]string{
		"approot.inc.php":                                       "<?php\ndefine('ITOP_CORE_VERSION', '3.2.0');",
		"core/config.class.inc.php":                             "<?php\ndefine('ITOP_VERSION', '3.2.0-1');\ndefine('ITOP_REVISION', '77');",
		"conf/production/config-itop.php":                       "<?php\n$MySettings = array('db_host' => 'localhost', 'encryption_key' => '" + proofKey + "', 'encryption_library' => 'Sodium');\n$MyModuleSettings = array();\n",
		"datamodels/2.x/itop-tickets/module.itop-tickets.php":   module("itop-tickets", "3.2.0"),
		"datamodels/2.x/not-installed/module.not-installed.php": module("not-installed", "3.2.0"),
		"extensions/mine-folder/module.mine.php":                module("mine", "1.0"),
		"env-production/mine-folder/module.mine.php":            module("mine", "1.0"),
	} {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// iTop compiles with absolute links where it is told to.
	if err := os.Symlink(filepath.Join(root, "datamodels/2.x/itop-tickets"), filepath.Join(root, "env-production/itop-tickets")); err != nil {
		t.Fatal(err)
	}
	q := &server{conn: mysqltest.Connect(t, mysqltest.Config(t, database))}
	return profile.RestoredCopy{
		App: profile.App{Name: "itop", Root: root}, Root: root, Query: q,
		Manifest: &core.Manifest{
			Versions: map[string]string{itop.VersionSchema: "3.2.0-1-77", itop.VersionApplication: "3.2.0-1", itop.VersionRevision: "77"},
			Modules:  []core.Module{{Name: "itop-tickets", Version: "3.2.0"}, {Name: "mine", Version: "1.0"}, {Name: "an-extension", Version: "9", Source: "extension:extensions"}},
			Settings: map[string]string{itop.SettingEnvironment: "production"}, Database: &core.Database{Prefix: "x_"},
			Components: []core.Component{core.ComponentDatabase, core.ComponentFiles, core.ComponentCode, core.ComponentConfig},
		},
	}, q
}

// proofs returns "outcome name object" of all proofs, with their messages.
func proofs(t *testing.T, c profile.RestoredCopy) map[string]string {
	t.Helper()
	all, err := itop.Profile{PHP: "/nowhere/php"}.Prove(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range all {
		key := strings.TrimSpace(string(p.Outcome) + " " + p.Name + " " + p.Object)
		if _, twice := out[key]; twice {
			t.Errorf("twice: %s", key)
		}
		out[key] = p.Message
		if strings.Contains(fmt.Sprint(p), proofKey) {
			t.Errorf("a secret: %+v", p)
		}
	}
	return out
}

func TestProve(t *testing.T) {
	c, _ := provable(t)
	want := map[string]string{
		"ok version x_priv_module_install": "database and code are both of iTop 3.2.0-1-77, as when they were captured",
		"ok administrator x_priv_user":     "1 administrator is enabled",
		"ok modules":                       "the 2 modules that the database names are in the code, and in env-production, as when they were captured",
		"ok encryption":                    "key and library (Sodium) are in the restored configuration",
		"ok encrypted-fields":              "the restored key opens all 1 encrypted values, 0 of them in the history; no other key would",
	}
	if diff := cmp.Diff(want, proofs(t, c)); diff != "" {
		t.Errorf("want (-), got (+):\n%s", diff)
	}
}

// TestProveDamage: each fault is a proof of its own, with the exact item.
func TestProveDamage(t *testing.T) {
	config := "conf/production/config-itop.php"
	for name, c := range map[string]struct {
		sql   []string
		files map[string]string // "": removed
		want  []string
	}{
		"no version":          {sql: []string{"DELETE FROM x_priv_module_install"}, want: []string{"failed version x_priv_module_install", "failed modules x_priv_module_install"}},
		"no table":            {sql: []string{"DROP TABLE x_priv_module_install"}, want: []string{"failed version x_priv_module_install"}},
		"another version":     {sql: []string{"UPDATE x_priv_module_install SET version = '3.1.9' WHERE id = 5"}, want: []string{"failed version x_priv_module_install"}},
		"a module's row":      {sql: []string{"DELETE FROM x_priv_module_install WHERE name = 'mine'"}, want: []string{"failed modules mine"}},
		"a module's version":  {sql: []string{"UPDATE x_priv_module_install SET version = '0.9' WHERE name = 'mine'"}, want: []string{"failed modules mine"}},
		"a module more":       {sql: []string{"INSERT INTO x_priv_module_install VALUES (9, 'later', '1', 5)"}, want: []string{"failed modules later"}},
		"no administrator":    {sql: []string{"UPDATE x_priv_user SET status = 'disabled'"}, want: []string{"failed administrator x_priv_user"}},
		"no password":         {sql: []string{"DELETE FROM x_priv_user_local"}, want: []string{"failed administrator x_priv_user_local"}},
		"no users":            {sql: []string{"DROP TABLE x_priv_user"}, want: []string{"failed administrator x_priv_user"}},
		"a field":             {sql: []string{"UPDATE x_device SET secret = CONCAT('A', SUBSTRING(secret, 2)) WHERE id = 3"}, want: []string{"failed encrypted-fields x_device 3", "failed encrypted-fields"}},
		"history":             {sql: []string{"INSERT INTO x_priv_changeop_setatt_encrypted VALUES (8, 'nonsense')"}, want: []string{"failed encrypted-fields x_priv_changeop_setatt_encrypted 8", "failed encrypted-fields"}},
		"no module's code":    {files: map[string]string{"extensions/mine-folder": "", "env-production/mine-folder": ""}, want: []string{"failed modules mine"}},
		"no module's source":  {files: map[string]string{"extensions/mine-folder": ""}, want: []string{"note modules mine", "ok modules"}},
		"not compiled":        {files: map[string]string{"env-production/mine-folder": ""}, want: []string{"failed modules mine"}},
		"newer code":          {files: map[string]string{"extensions/mine-folder/module.mine.php": "<?php SetupWebPage::AddModule(__FILE__, 'mine/1.1', []);"}, want: []string{"note modules mine", "ok modules"}},
		"other code":          {files: map[string]string{"core/config.class.inc.php": "<?php define('ITOP_VERSION', '3.2.1'); define('ITOP_REVISION', '80');"}, want: []string{"failed version x_priv_module_install"}},
		"no key":              {files: map[string]string{config: "<?php $MySettings = array('encryption_library' => 'Sodium');"}, want: []string{"failed encryption encryption_key", "skipped encrypted-fields"}},
		"no library":          {files: map[string]string{config: "<?php $MySettings = array('encryption_key' => '" + proofKey + "');"}, want: []string{"failed encryption encryption_library"}},
		"an unknown library":  {files: map[string]string{config: "<?php $MySettings = array('encryption_key' => '" + proofKey + "', 'encryption_library' => 'Magic');"}, want: []string{"failed encryption encryption_library"}},
		"another key":         {files: map[string]string{config: "<?php $MySettings = array('encryption_key' => '" + strings.Repeat("ab", 32) + "', 'encryption_library' => 'Sodium');"}, want: []string{"ok encryption", "failed encrypted-fields x_device 3", "failed encrypted-fields"}},
		"no configuration":    {files: map[string]string{config: ""}, want: []string{"failed encryption encryption_key"}},
		"a placeholder":       {files: map[string]string{config: "<?php $MySettings = array('encryption_key' => '%env(X)%', 'encryption_library' => 'Sodium');"}, want: []string{"skipped encryption", "skipped encrypted-fields"}},
		"nothing is compiled": {files: map[string]string{"env-production": ""}, want: []string{"ok modules"}},
	} {
		t.Run(name, func(t *testing.T) {
			of, q := provable(t)
			for _, s := range c.sql {
				if _, err := q.conn.Exec(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			for file, text := range c.files {
				path := filepath.Join(of.Root, file)
				err := os.RemoveAll(path)
				if text != "" {
					err = os.WriteFile(path, []byte(text), 0o644)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			got := proofs(t, of)
			for _, want := range c.want {
				if _, ok := got[want]; !ok {
					t.Errorf("there is no %q in %q", want, got)
				}
			}
		})
	}
}

// TestProveSome: what cannot be looked at is skipped, and fails nothing.
func TestProveSome(t *testing.T) {
	c, q := provable(t)
	skipped := func(what string, c profile.RestoredCopy, names ...string) {
		t.Helper()
		got := proofs(t, c)
		for _, n := range names {
			if got["skipped "+n] == "" {
				t.Errorf("%s: there is no skipped %s in %q", what, n, got)
			}
		}
		for k, m := range got {
			if strings.HasPrefix(k, "failed") {
				t.Errorf("%s: %s: %s", what, k, m)
			}
		}
	}
	part := c
	part.Query = nil
	skipped("no database", part, "version", "administrator", "modules", "encrypted-fields")
	part = c
	part.Root = ""
	m := *c.Manifest
	m.Components = []core.Component{core.ComponentDatabase}
	part.Manifest = &m
	skipped("no files", part, "modules", "encryption encryption_key", "encrypted-fields")
	for _, table := range []string{"x_priv_module_install", "x_priv_user"} {
		if _, err := q.conn.Exec(t.Context(), "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
	part = c
	part.Partly = true
	skipped("a part", part, "version x_priv_module_install", "administrator x_priv_user", "modules")
}

// TestProveCancelled: a cancelled drill is an error, whenever it comes.
func TestProveCancelled(t *testing.T) {
	for at := 1; at <= 6; at++ {
		c, q := provable(t)
		ctx, cancel := context.WithCancel(t.Context())
		q.before = func(n int) {
			if n == at {
				cancel()
			}
		}
		if _, err := (itop.Profile{PHP: "/nowhere/php"}).Prove(ctx, c); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at query %d: %v", at, err)
		}
		cancel()
	}
}
