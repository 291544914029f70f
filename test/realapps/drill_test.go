package realapps

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/drill"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/profile/itop"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
)

type drills struct {
	Drills []evidence.Drill `json:"drills"`
}

// drill drills the newest backup with the command.
func (r *running) drill(exit int, args ...string) evidence.Drill {
	r.t.Helper()
	place := r.t.TempDir()
	for d := place; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		r.ok(os.Chmod(d, 0o755)) // the application's user comes through
	}
	var out drills
	r.backstay(exit, &out, append([]string{"drill", r.name, "--dir", place}, args...)...)
	if len(out.Drills) != 1 {
		r.t.Fatalf("%d drills", len(out.Drills))
	}
	left, err := os.ReadDir(place)
	r.ok(err)
	if len(left) != 0 || len(out.Drills[0].Left) != 0 {
		r.t.Errorf("the drill left %v %q", left, out.Drills[0].Left)
	}
	for _, p := range out.Drills[0].Proofs {
		r.t.Logf("%-8s %s %s: %s", p.Outcome, p.Name, p.Object, p.Message)
	}
	for _, s := range out.Drills[0].Steps {
		r.t.Logf("%6d ms %s", s.DurationMS, s.Name)
	}
	return out.Drills[0]
}

// proven says whether a drill has a proof of a thing, with an outcome. An empty
// object is any.
func proven(d evidence.Drill, outcome core.ProofOutcome, name, object string) bool {
	return slices.ContainsFunc(d.Proofs, func(p core.Proof) bool {
		return p.Name == name && p.Outcome == outcome && (object == "" || p.Object == object)
	})
}

// passes fails the test where a drill did not pass, or has not all of some
// proofs.
func (r *running) passes(d evidence.Drill, names ...string) {
	r.t.Helper()
	if !d.Passed || d.Failure != "" {
		r.t.Errorf("the drill did not pass: %s %+v", d.Failure, d.Failed())
	}
	for _, name := range names {
		if !proven(d, core.ProofOK, name, "") {
			r.t.Errorf("%s was not proven", name)
		}
	}
	if os.Geteuid() == 0 && !slices.ContainsFunc(d.Place.Isolation, func(s string) bool { return strings.HasPrefix(s, "network namespace") }) {
		r.t.Errorf("the application ran with %q", d.Place.Isolation)
	}
}

// damages changes one thing of a backup's database at a time, in copies of its
// repository, and wants the drill to name that very thing. That a file is damaged
// the repository itself notices: test/drill.
func (r *running) damages(which map[string]string) {
	r.t.Helper()
	store := memory.New()
	with := func(store *memory.Store) *engine.Engine {
		e := enginetest.New(r.t, store)
		e.Profiles = profile.NewRegistry(itop.Profile{}, itflow.Profile{})
		return e
	}
	e := with(store)
	_, err := e.Backup(r.t.Context(), engine.Target{Profile: r.profile, Consistency: "online", App: profile.App{Name: r.name, Root: r.root}}, engine.BackupOptions{Trigger: "manual"})
	r.ok(err)
	rec := enginetest.Find(r.t, e, r.name+"@latest")
	for what, stored := range which {
		r.t.Run(what, func(t *testing.T) {
			hit := ""
			bad := enginetest.Tampered(t, store, rec, enginetest.Tamper{Change: func(p string, data []byte) []byte {
				if hit != "" || !strings.HasPrefix(p, stored) || len(data) == 0 {
					return data
				}
				hit = p
				data = bytes.Clone(data)
				data[len(data)/2] ^= 1
				return data
			}})
			e := with(bad)
			d, err := drill.Run(t.Context(), e, drill.Request{App: r.name, Record: enginetest.Find(t, e, rec.ID), PHP: "off", Dir: t.TempDir()})
			r.ok(err)
			table := strings.TrimSuffix(filepath.Base(hit), ".sql")
			named := slices.ContainsFunc(d.Failed(), func(p core.Proof) bool {
				return hit != "" && (strings.Contains(p.Object, hit) || strings.Contains(p.Message, "table "+table))
			})
			if d.Passed || !named || len(d.Left) > 0 {
				t.Errorf("%q was damaged, and the drill says: passed %v, %s %+v, left %q", hit, d.Passed, d.Failure, d.Failed(), d.Left)
			}
		})
	}
}

// spoiled is a repository in which one object cannot be read back.
type spoiled struct {
	repository.Store
	object core.ObjectID
}

func (s spoiled) Open(ctx context.Context, id core.ObjectID) (io.ReadSeekCloser, error) {
	if id == s.object {
		return nil, &core.Error{Code: core.CodeDamage, Op: "read an object", Message: "its bytes are not those that were stored"}
	}
	return s.Store.Open(ctx, id)
}

// stored finds the first file of a backup whose path begins with prefix.
func (r *running) stored(store repository.Store, dir core.ObjectID, at, prefix string) (string, core.ObjectID) {
	r.t.Helper()
	entries, err := store.ReadDir(r.t.Context(), dir)
	r.ok(err)
	for _, e := range entries {
		p := path.Join(at, e.Name)
		switch {
		case e.Type == core.TypeDir && (strings.HasPrefix(p, prefix) || strings.HasPrefix(prefix, p+"/")):
			if found, object := r.stored(store, e.Object.ID, p, prefix); found != "" {
				return found, object
			}
		case e.Type == core.TypeFile && strings.HasPrefix(p, prefix) && e.Object.Size > 0:
			return p, e.Object.ID
		}
	}
	return "", ""
}

// unreadable makes one object of a backup unreadable at a time, and wants the
// drill to name the path of that very one.
func (r *running) unreadable(which map[string]string) {
	r.t.Helper()
	store := memory.New()
	with := func(store repository.Store) *engine.Engine {
		e := enginetest.New(r.t, store)
		e.Profiles = profile.NewRegistry(itop.Profile{}, itflow.Profile{})
		return e
	}
	e := with(store)
	_, err := e.Backup(r.t.Context(), engine.Target{Profile: r.profile, Consistency: "online", App: profile.App{Name: r.name, Root: r.root}}, engine.BackupOptions{Trigger: "manual"})
	r.ok(err)
	rec := enginetest.Find(r.t, e, r.name+"@latest")
	for what, prefix := range which {
		r.t.Run("unreadable "+what, func(t *testing.T) {
			hit, object := r.stored(store, rec.Root.ID, "", prefix)
			if hit == "" {
				t.Fatalf("the backup has nothing that begins with %s", prefix)
			}
			d, err := drill.Run(t.Context(), with(spoiled{store, object}), drill.Request{App: r.name, Record: rec, PHP: "off", Dir: t.TempDir()})
			r.ok(err)
			named := slices.ContainsFunc(d.Failed(), func(p core.Proof) bool { return strings.Contains(p.Object, hit) })
			if d.Passed || !named || len(d.Left) > 0 {
				t.Errorf("%s cannot be read, and the drill says: passed %v, %s %+v, left %q", hit, d.Passed, d.Failure, d.Failed(), d.Left)
			}
		})
	}
}

// TestDrillITop drills an iTop with a login.
func TestDrillITop(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), helpers(t)
	r := newRunning(t, "itop", checkout, "itop", "it'op-Pw_1")
	r.installITop(scripts)
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	password := filepath.Join(r.folder, "drill.pw")
	r.write(password, "Admin-Pw_1x\n", 0o600)
	d := r.drill(0, "--login-user", "admin", "--login-password-file", password)
	r.passes(d, "rows", "files", "version", "administrator", "modules", "encryption", "php", "page", "login-form", "login")

	t.Run("wrong password", func(t *testing.T) {
		r.write(password, "Admin-Pw_1y\n", 0o600)
		if d := r.drill(4, "--login-user", "admin", "--login-password-file", password); !proven(d, core.ProofFailed, "login", "admin") {
			t.Errorf("%+v", d.Failed())
		}
	})
	t.Run("secret", func(t *testing.T) {
		const encrypt = `require getenv("APP_ROOT")."/approot.inc.php"; require APPROOT."application/application.inc.php"; require APPROOT."application/startup.inc.php"; ` +
			`$c = MetaModel::GetConfig(); echo bin2hex((new SimpleCrypt($c->GetEncryptionLibrary()))->Encrypt($c->GetEncryptionKey(), "pässword № 1"));`
		mysqltest.ExecOn(t, r.config(r.name), "INSERT INTO priv_changeop_setatt_encrypted (id, data) VALUES (77001, 0x"+strings.TrimSpace(r.runPHP("-r", encrypt))+")")
		config := filepath.Join(r.root, "conf/production/config-itop.php")
		text, err := os.ReadFile(config)
		r.ok(err)
		before, rest, _ := strings.Cut(string(text), "'encryption_key' => '")
		_, after, found := strings.Cut(rest, "'")
		if !found {
			t.Fatal("the configuration has no encryption_key as expected")
		}
		r.ok(os.Chmod(config, 0o644))
		r.write(config, fmt.Sprintf("%s'encryption_key' => '%s'%s", before, strings.Repeat("ab", 32), after), 0o644)
		r.backstay(0, nil, "backup", r.name)
		if d := r.drill(4); !proven(d, core.ProofFailed, "encrypted-fields", "priv_changeop_setatt_encrypted 77001") {
			t.Errorf("%+v", d.Failed())
		}
		r.write(config, string(text), 0o644)
	})
	r.damages(map[string]string{"chunk": "database/data/ticket/", "table": "database/schema/table/ticket.sql"})
	r.unreadable(map[string]string{"chunk": "database/data/ticket/", "schema object": "database/schema/table/ticket.sql", "file": "files/app/", "code": "code/app/core/config.class.inc.php", "configuration": "config/app/conf/production/config-itop.php"})
}

// TestDrillITFlow drills an ITFlow with a login.
func TestDrillITFlow(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	r := newRunning(t, "itflow", checkout, "itflow", writerPassword)
	r.installITFlow()
	t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-seed.php"), r.root)))
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	password := filepath.Join(r.folder, "drill.pw")
	r.write(password, "Corr3ct horse! batterie é\n", 0o600)
	d := r.drill(0, "--login-user", "user@example.test", "--login-password-file", password)
	r.passes(d, "rows", "files", "settings", "schema-version", "administrator", "row-files", "credentials", "php", "page", "login-form", "login")
	t.Run("no account", func(t *testing.T) {
		d := r.drill(0)
		r.passes(d, "rows", "files", "php", "page", "login-form")
		if !proven(d, core.ProofSkipped, "login", "") || !proven(d, core.ProofSkipped, "credentials", "") {
			t.Error("what was not looked at is not said")
		}
	})
	t.Run("secret", func(t *testing.T) {
		mysqltest.ExecOn(t, r.config(r.name), "UPDATE credentials SET credential_password = CONCAT('AAAAAAAAAAAAAAAA', SUBSTRING(credential_password, 17, 22), 'A=') WHERE credential_id = 7")
		r.backstay(0, nil, "backup", r.name)
		d := r.drill(4, "--login-user", "user@example.test", "--login-password-file", password)
		if !slices.ContainsFunc(d.Failed(), func(p core.Proof) bool {
			return p.Name == "credentials" && strings.HasPrefix(p.Object, "credentials 7 ")
		}) {
			t.Errorf("%+v", d.Failed())
		}
	})
	r.damages(map[string]string{"chunk": "database/data/tickets/", "schema object": "database/schema/table/credentials.sql"})
	r.unreadable(map[string]string{"chunk": "database/data/tickets/", "schema object": "database/schema/table/credentials.sql", "file": "files/app/uploads/clients/", "code": "code/app/login.php", "configuration": "config/app/config.php"})
}
