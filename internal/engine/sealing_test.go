package engine_test

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/repository/memory"
)

const sealedConfig = `<?php
// formerly: hunter2hunter2
define('DB_PASS', 'm4ilpw-m4ilpw'); $url = 'smtp://me:hunter2hunter2@mail';
$dbhost = 'localhost';
$dbpassword = 'It\'s a \\ "pa$$"; //w?>d';
$config_backup_key = "s3cret backup key";
$MySettings = array('db_pwd' => 'hunter2hunter2', 'app_root_url' => 'https://x', 'mail' => array('smtp_password' => 'm4ilpw-m4ilpw'), 'encryption_key' => getenv('ELSEWHERE'));
`

// secretsOf are what must be nowhere in the repository in plain.
func secretsOf() []string {
	return []string{"s3cret backup key", "hunter2hunter2", "m4ilpw-m4ilpw", `pa$$`, "t0p-secret-twin"}
}

// everything is all objects of a backup.
func everything(t *testing.T, e *engine.Engine, id string) (all []byte) {
	t.Helper()
	rec := enginetest.Find(t, e, id)
	for _, entry := range enginetest.PathsOf(t, e.Store, rec) {
		if entry.Type != core.TypeDir {
			all = append(all, enginetest.Read(t, e.Store, entry.Object.ID)...)
		}
	}
	return all
}

func TestSecretsAreSealed(t *testing.T) {
	app := enginetest.NewApp(t)
	app.Write(t, "config.php", sealedConfig)
	app.Write(t, "twin/config.php", strings.ReplaceAll(sealedConfig, "s3cret backup key", "t0p-secret-twin"))
	app.Write(t, "odd.php", "<?php $password = 'hunter2hunter2'; if (time()) { $password = foo('hunter2hunter2'); }\n")
	app.Write(t, "config.php.bak", sealedConfig)
	app.Write(t, ".env", "DB_PASSWORD=hunter2hunter2\n")
	if err := os.Symlink("config.php", filepath.Join(app.Root, "link.php")); err != nil {
		t.Fatal(err)
	}
	target := app.FilesOnly()
	for _, name := range []string{"config.php", "twin/config.php", "odd.php", "config.php.bak", ".env", "link.php"} {
		target.App.Config = append(target.App.Config, filepath.Join(app.Root, name))
	}
	target.App.Files = nil
	identity, recipient, err := keys.NewIdentity()
	if err != nil {
		t.Fatal(err)
	}
	e := enginetest.New(t, memory.New())
	e.SealTo = []string{recipient}
	first := enginetest.Backup(t, e, target)
	second := enginetest.Backup(t, e, target) // with the caches of the first
	for _, b := range []core.Backup{first, second} {
		all := everything(t, e, b.ID)
		for _, secret := range secretsOf() {
			if bytes.Contains(all, []byte(secret)) {
				t.Errorf("backup %s has %q in plain", b.ID, secret)
			}
		}
		enginetest.Whole(t, e, b.ID)
	}
	rec := enginetest.Find(t, e, second.ID)
	o, err := e.OpenBackup(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Manifest.Sealed) != 7 {
		t.Fatalf("sealed: %+v", o.Manifest.Sealed)
	}
	put := func(e *engine.Engine, force ...string) (string, error) {
		dir := t.TempDir()
		r, err := restore.Make(t.Context(), e, restore.Request{Target: target, Record: rec, ToDir: dir, Force: force})
		if err != nil {
			return dir, err
		}
		if err := r.Refused(); err != nil {
			return dir, err
		}
		_, err = r.Run(t.Context())
		return dir, err
	}

	t.Run("with the identity all is as captured", func(t *testing.T) {
		with := *e
		with.Identities = identity
		dir, err := put(&with)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"config.php", "twin/config.php", "odd.php", "config.php.bak", ".env"} {
			want, err := os.ReadFile(filepath.Join(app.Root, name))
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && strings.HasSuffix(p, "/"+name) && (name != "config.php" || !strings.Contains(p, "twin")) {
					got, err = os.ReadFile(p)
				}
				return err
			})
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s came back as %q (%v)", name, got, err)
			}
		}
	})
	t.Run("without one somebody must agree", func(t *testing.T) {
		if _, err := put(e); core.CodeOf(err) != core.CodeDecision || !strings.Contains(err.Error()+core.HintOf(err), restore.FindingSealed) {
			t.Errorf("got %v (%s)", err, core.HintOf(err))
		}
		dir, err := put(e, restore.FindingSealed)
		if err != nil {
			t.Fatal(err)
		}
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				if text, _ := os.ReadFile(p); bytes.Contains(text, []byte("hunter2")) {
					t.Errorf("%s has a secret: %s", p, text)
				}
			}
			return err
		})
	})
	t.Run("a live app keeps what works", func(t *testing.T) {
		r, err := restore.Make(t.Context(), e, restore.Request{Target: target, Record: rec, Force: []string{restore.FindingSealed}})
		if err == nil {
			err = r.Refused()
		}
		if err == nil || !strings.Contains(err.Error(), "sealed") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("another identity", func(t *testing.T) {
		other, _, err := keys.NewIdentity()
		if err != nil {
			t.Fatal(err)
		}
		with := *e
		with.Identities = other
		if _, err := put(&with); core.CodeOf(err) != core.CodeWrongKey {
			t.Errorf("got %v", err)
		}
	})
	t.Run("seals off again", func(t *testing.T) {
		off := *e
		off.SealTo = nil
		b := enginetest.Backup(t, &off, target)
		if !bytes.Contains(everything(t, e, b.ID), []byte("s3cret backup key")) {
			t.Error("a masked file was taken over from the backup before")
		}
	})
}
