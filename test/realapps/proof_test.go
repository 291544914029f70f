package realapps

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itflow"
	"github.com/backstay/backstay/internal/profile/itop"
)

// provable is what drills need of a profile.
type provable interface {
	profile.Profile
	profile.Prover
	profile.Visitor
}

// manifest is that of the newest backup.
func (r *running) manifest() *core.Manifest {
	r.t.Helper()
	var shown struct {
		Manifest core.Manifest `json:"manifest"`
	}
	r.backstay(0, &shown, "show", r.name+"@latest")
	return &shown.Manifest
}

func (r *running) querier() profile.Querier {
	r.t.Helper()
	c, err := mysql.Connect(r.t.Context(), r.config(r.name))
	r.ok(err)
	r.t.Cleanup(func() { _ = c.Close() }) // a test that ended needs it no more
	return engine.Querier(c)
}

// tried is a restored copy that a profile looks at.
type tried struct {
	*running
	of      provable
	copy    profile.RestoredCopy
	client  *http.Client
	account profile.Account
}

func (r *running) tried(of provable, m *core.Manifest, user, password string) *tried {
	account := profile.Account{User: user, Password: core.NewSecret(password)}
	return &tried{
		running: r, of: of, account: account,
		copy: profile.RestoredCopy{App: profile.App{Name: r.name, Root: r.root}, Manifest: m, Query: r.querier(), Root: r.root, Account: account},
		client: &http.Client{
			Timeout: time.Minute, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// prove and visit return the proofs by name and object; what holds a password
// fails the test.
func (d *tried) prove() map[string]core.Proof {
	d.t.Helper()
	proofs, err := d.of.Prove(d.t.Context(), d.copy)
	d.ok(err)
	return d.byName(proofs)
}

func (d *tried) visit() map[string]core.Proof {
	d.t.Helper()
	proofs, err := d.of.Visit(d.t.Context(), d.client, d.address(""), d.copy)
	d.ok(err)
	return d.byName(proofs)
}

func (d *tried) byName(proofs []core.Proof) map[string]core.Proof {
	d.t.Helper()
	out := map[string]core.Proof{}
	for _, p := range proofs {
		name := strings.TrimSpace(p.Name + " " + p.Object)
		if _, twice := out[name]; twice {
			d.t.Errorf("two proofs %s", name)
		}
		out[name] = p
		d.t.Logf("%-7s %s: %s [%d] %s", p.Outcome, name, p.Message, p.Count, p.Hint)
		if text := fmt.Sprint(p); d.account.User != "" && strings.Contains(text, d.account.Password.Reveal()) || strings.Contains(text, d.password) {
			d.t.Errorf("the proof holds a password: %s", text)
		}
	}
	return out
}

// are compares the outcomes of all proofs but those called other.
func (d *tried) are(what string, got map[string]core.Proof, want map[string]core.ProofOutcome) {
	d.t.Helper()
	outcomes := map[string]core.ProofOutcome{}
	for name, p := range got {
		outcomes[name] = p.Outcome
	}
	if diff := cmp.Diff(want, outcomes); diff != "" {
		d.t.Errorf("%s: want (-), got (+):\n%s", what, diff)
	}
}

// changed runs do and lists the tables that it changed.
func (d *tried) changed(do func()) (tables []string) {
	d.t.Helper()
	before, err := mysqltest.ChecksumOf(d.t.Context(), d.config(d.name))
	d.ok(err)
	do()
	after, err := mysqltest.ChecksumOf(d.t.Context(), d.config(d.name))
	d.ok(err)
	for table, sum := range after {
		if before[table] != sum {
			tables = append(tables, table)
		}
	}
	slices.Sort(tables)
	return tables
}

// replace puts text in the place of a file of the copy, and back.
func (d *tried) replace(file string, edit func(string) string) (back func()) {
	d.t.Helper()
	path := filepath.Join(d.root, file)
	text, err := os.ReadFile(path)
	d.ok(err)
	d.ok(os.Chmod(path, 0o644))
	d.ok(os.WriteFile(path, []byte(edit(string(text))), 0o644))
	return func() {
		d.t.Helper()
		d.ok(os.WriteFile(path, text, 0o644))
	}
}

const (
	ok      = core.ProofOK
	failed  = core.ProofFailed
	note    = core.ProofNote
	skipped = core.ProofSkipped
)

// TestProofsOfITop looks at a restored copy of iTop as a drill does, and then at
// what was damaged in it on purpose.
func TestProofsOfITop(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITOP"), helpers(t)
	r := newRunning(t, "itop", checkout, "itop", "it'op-Pw_1")
	r.installITop(scripts)
	// History of an encrypted field, by iTop's own code: stock classes have none.
	const encrypt = `require getenv("APP_ROOT")."/approot.inc.php"; require APPROOT."application/application.inc.php"; require APPROOT."application/startup.inc.php"; ` +
		`$c = MetaModel::GetConfig(); echo bin2hex((new SimpleCrypt($c->GetEncryptionLibrary()))->Encrypt($c->GetEncryptionKey(), "pässword № 1"));`
	sealed := strings.TrimSpace(r.runPHP("-r", encrypt))
	mysqltest.ExecOn(t, r.config(r.name), "INSERT INTO priv_changeop_setatt_encrypted (id, data) VALUES (77001, 0x"+sealed+"), (77002, '')")
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	p := itop.Profile{}
	m := r.manifest()
	c, _ := r.copied()
	d := c.tried(p, m, "admin", "Admin-Pw_1x")

	fine := map[string]core.ProofOutcome{
		"version priv_module_install": ok, "administrator priv_user": ok, "modules": ok, "encryption": ok, "encrypted-fields": ok,
	}
	if got := d.changed(func() { d.are("the copy", d.prove(), fine) }); len(got) > 0 {
		t.Errorf("looking at the copy changed %q", got)
	}
	// Pages are exchanged below, which PHP would notice after seconds only.
	c.write(filepath.Join(filepath.Dir(r.root), "php.d/opcache.ini"), "opcache.enable=0\n", 0o644)
	c.serve()
	pages := map[string]core.ProofOutcome{
		"page /images/itop-logo-external.png": ok, "page /webservices/status.php": ok, "page /webservices/rest.php": ok,
		"login-form /pages/UI.php": ok, "login admin": ok, "page /webservices/export-v2.php": ok,
	}
	if got := d.changed(func() { d.are("the copy's pages", d.visit(), pages) }); !slices.Equal(got, []string{"priv_app_preferences"}) {
		t.Errorf("a login changed %q", got)
	}

	t.Run("wrong password", func(t *testing.T) {
		w := c.tried(p, m, "admin", "Admin-Pw_1y")
		got := w.visit()
		if l := got["login admin"]; l.Outcome != failed || !strings.Contains(l.Message, "did not log in") || !strings.Contains(l.Hint, "password") {
			t.Errorf("%+v", l)
		}
		w = c.tried(p, m, "nobody", "Admin-Pw_1x")
		if l := w.visit()["login nobody"]; l.Outcome != failed || !strings.Contains(l.Hint, "no user") {
			t.Errorf("%+v", l)
		}
	})
	t.Run("no account", func(t *testing.T) {
		w := c.tried(p, m, "", "")
		w.are("no account", w.visit(), map[string]core.ProofOutcome{
			"page /images/itop-logo-external.png": ok, "page /webservices/status.php": ok, "page /webservices/rest.php": ok, "login-form /pages/UI.php": ok, "login": skipped,
		})
	})
	t.Run("another key", func(t *testing.T) {
		key := strings.Repeat("ab", 32)
		back := d.replace("conf/production/config-itop.php", func(text string) string {
			before, rest, _ := strings.Cut(text, "'encryption_key' => '")
			_, after, _ := strings.Cut(rest, "'")
			return before + "'encryption_key' => '" + key + "'" + after
		})
		defer back()
		got := d.prove()
		if f := got["encrypted-fields priv_changeop_setatt_encrypted 77001"]; f.Outcome != failed {
			t.Errorf("%+v", got)
		}
		if f := got["encrypted-fields"]; f.Outcome != failed || !strings.Contains(f.Message, "0 of 1") {
			t.Errorf("%+v", f)
		}
	})
	t.Run("a module is lost", func(t *testing.T) {
		for _, place := range []string{"datamodels/2.x", "env-production"} {
			dir := filepath.Join(c.root, place, "itop-backup")
			c.ok(os.Rename(dir, filepath.Join(t.TempDir(), "away")))
			got := d.prove()["modules itop-backup"]
			switch place {
			case "datamodels/2.x": // what runs is there
				if got.Outcome != note || !strings.Contains(got.Message, "env-production only") {
					t.Errorf("%s: %+v", place, got)
				}
			default:
				if got.Outcome != failed || !strings.Contains(got.Message, "nowhere") {
					t.Errorf("%s: %+v", place, got)
				}
			}
		}
	})
	t.Run("rows are lost", func(t *testing.T) {
		mysqltest.ExecOn(t, c.config(c.name), "UPDATE priv_module_install SET version = '0.1' WHERE name = 'itop-tickets'", "DELETE FROM priv_urp_userprofile WHERE profileid = 1",
			"UPDATE priv_module_install SET version = '3.2.0-1' WHERE name = 'iTop'")
		got := d.prove()
		for _, name := range []string{"version priv_module_install", "administrator priv_user", "modules itop-tickets"} {
			if got[name].Outcome != failed {
				t.Errorf("%s: %+v", name, got[name])
			}
		}
	})
	t.Run("a page is broken", func(t *testing.T) {
		defer d.replace("pages/UI.php", func(string) string { return "<?php\nini_set('display_errors', 1);\nno_such_function();\n" })()
		if got := d.visit()["login-form /pages/UI.php"]; got.Outcome != failed || !strings.Contains(got.Message, "pages/UI.php, line 3") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no database", func(t *testing.T) {
		mysqltest.ExecOn(t, c.config(""), "DROP DATABASE "+mysql.QuoteName(c.name))
		got := d.visit()
		if got["page /webservices/status.php"].Outcome != failed || got["login-form /pages/UI.php"].Outcome != failed {
			t.Errorf("%+v", got)
		}
	})
}

// TestProofsOfITFlow is the same of ITFlow.
func TestProofsOfITFlow(t *testing.T) {
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	r := newRunning(t, "itflow", checkout, "itflow", writerPassword)
	r.installITFlow()
	t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-seed.php"), r.root)))
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	p := itflow.Profile{}
	m := r.manifest()
	c, _ := r.copied()
	const password = "Corr3ct horse! batterie é"
	d := c.tried(p, m, "user@example.test", password)

	const dangling = "row-files uploads/clients/3/MISSING_on_disk_0000000000000000.pdf"
	extra := ""
	if got := d.changed(func() {
		proofs := d.prove()
		want := map[string]core.ProofOutcome{
			"settings settings": ok, "schema-version settings.config_current_database_version": ok, "administrator users": ok,
			"row-files": ok, dangling: note, "extra-files uploads": note, "credentials": ok,
		}
		for name := range proofs { // the seed's orphan has a name by chance
			if strings.Contains(name, "uploads/clients/2/orphan_") {
				extra = name
				want[name] = note
			}
		}
		d.are("the copy", proofs, want)
		if got := proofs["credentials"]; got.Count != 25 {
			t.Errorf("%+v", got)
		}
		if got := proofs[dangling]; !strings.Contains(got.Message, "not there when it was captured") || !strings.Contains(got.Message, "table files, row 31") {
			t.Errorf("%+v", got)
		}
	}); len(got) > 0 || extra == "" {
		t.Errorf("looking at the copy changed %q, and found %q", got, extra)
	}
	// Pages are exchanged below, which PHP would notice after seconds only.
	c.write(filepath.Join(filepath.Dir(r.root), "php.d/opcache.ini"), "opcache.enable=0\n", 0o644)
	c.serve()
	front := map[string]core.ProofOutcome{"page /css/itflow_custom.css": ok, "page /guest/guest_view_ticket.php": ok, "login-form /login.php": ok}
	with := func(more map[string]core.ProofOutcome) map[string]core.ProofOutcome {
		for k, v := range front {
			more[k] = v
		}
		return more
	}
	if got := d.changed(func() {
		d.are("the copy's pages", d.visit(), with(map[string]core.ProofOutcome{"login user@example.test": ok, "page /agent/clients.php": ok}))
	}); !slices.Equal(got, []string{"logs"}) {
		t.Errorf("a login changed %q", got)
	}
	t.Run("https only", func(t *testing.T) {
		defer d.replace("config.php", func(text string) string {
			return strings.Replace(strings.Replace(text, "$config_https_only = FALSE", "$config_https_only = TRUE", 1), "$config_https_only = false", "$config_https_only = true", 1)
		})()
		d.are("https only", d.visit(), with(map[string]core.ProofOutcome{"login user@example.test": ok, "page /agent/clients.php": ok}))
	})
	t.Run("another agent", func(t *testing.T) {
		w := c.tried(p, m, "bob@example.test", "zweites Passwort 2026!")
		if got := w.prove()["credentials"]; got.Outcome != ok {
			t.Errorf("%+v", got)
		}
		w.are("another agent", w.visit(), with(map[string]core.ProofOutcome{"login bob@example.test": ok, "page /agent/clients.php": ok}))
	})
	t.Run("wrong password", func(t *testing.T) {
		w := c.tried(p, m, "user@example.test", "Corr3ct horse! batterie e")
		if got := w.prove()["credentials user@example.test"]; got.Outcome != failed || !strings.Contains(got.Message, "password is wrong") {
			t.Errorf("%+v", got)
		}
		if got := w.visit()["login user@example.test"]; got.Outcome != failed || !strings.Contains(got.Message, "did not log in") {
			t.Errorf("%+v", got)
		}
		w = c.tried(p, m, "nobody@example.test", password)
		if got := w.visit()["login nobody@example.test"]; got.Outcome != failed || !strings.Contains(got.Hint, "no active user") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no account", func(t *testing.T) {
		w := c.tried(p, m, "", "")
		if got := w.prove()["credentials"]; got.Outcome != skipped || !strings.Contains(got.Hint, "login:") {
			t.Errorf("%+v", got)
		}
		w.are("no account", w.visit(), with(map[string]core.ProofOutcome{"login": skipped}))
	})
	t.Run("second factor", func(t *testing.T) {
		mysqltest.ExecOn(t, c.config(c.name), "UPDATE users SET user_token = 'JBSWY3DPEHPK3PXP' WHERE user_id = 1")
		if got := d.visit()["login user@example.test"]; got.Outcome != skipped || !strings.Contains(got.Message, "second factor") {
			t.Errorf("%+v", got)
		}
		mysqltest.ExecOn(t, c.config(c.name), "UPDATE users SET user_token = NULL WHERE user_id = 1")
	})
	t.Run("a client who is an agent too", func(t *testing.T) {
		mysqltest.ExecOn(t, c.config(c.name), "UPDATE settings SET config_client_portal_enable = 1",
			"INSERT INTO users (user_name, user_email, user_password, user_type, user_auth_method) SELECT 'Portal Person', 'portal@example.test', user_password, 2, 'local' FROM users WHERE user_id = 1",
			"UPDATE contacts SET contact_user_id = (SELECT user_id FROM users WHERE user_email = 'portal@example.test') WHERE contact_id = 4")
		w := c.tried(p, m, "portal@example.test", password)
		w.are("a client", w.visit(), with(map[string]core.ProofOutcome{"login portal@example.test": ok}))
		if got := w.prove()["credentials portal@example.test"]; got.Outcome != skipped {
			t.Errorf("%+v", got)
		}
		mysqltest.ExecOn(t, c.config(c.name), "UPDATE users SET user_email = 'user@example.test' WHERE user_email = 'portal@example.test'")
		d.are("both", d.visit(), with(map[string]core.ProofOutcome{"login user@example.test": ok, "page /agent/clients.php": ok}))
	})
	t.Run("damage", func(t *testing.T) {
		mysqltest.ExecOn(t, c.config(c.name), "UPDATE credentials SET credential_password = CONCAT('AAAAAAAAAAAAAAAA', SUBSTRING(credential_password, 17, 22), 'A=') WHERE credential_id = 7",
			"UPDATE users SET user_status = 0", "UPDATE settings SET config_current_database_version = '2.6.6'")
		rows, err := d.copy.Query.Query(t.Context(), "SELECT CONCAT('uploads/tickets/', ticket_attachment_ticket_id, '/', ticket_attachment_reference_name) FROM ticket_attachments WHERE ticket_attachment_id = 3")
		c.ok(err)
		file := *rows[0][0]
		c.ok(os.Remove(filepath.Join(c.root, file)))
		got := d.prove()
		for name, outcome := range map[string]core.ProofOutcome{
			"administrator users": failed, "schema-version settings.config_current_database_version": failed, "row-files " + file: note, "credentials": failed, "credentials credentials 7 (Cred 7 🔑)": failed,
		} {
			if got[name].Outcome != outcome {
				t.Errorf("%s: %+v", name, got[name])
			}
		}
		mysqltest.ExecOn(t, c.config(c.name), "DELETE FROM settings")
		if got := d.prove(); got["settings settings"].Outcome != failed {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a page is broken", func(t *testing.T) {
		defer d.replace("login.php", func(string) string { return "<?php\nini_set('display_errors', 1);\necho $nothing;\n" })()
		if got := d.visit()["login-form /login.php"]; got.Outcome != failed || !strings.Contains(got.Message, "Warning in login.php, line 3") {
			t.Errorf("%+v", got)
		}
	})
	t.Run("no database", func(t *testing.T) {
		mysqltest.ExecOn(t, c.config(""), "DROP DATABASE "+mysql.QuoteName(c.name))
		if got := d.visit()["login-form /login.php"]; got.Outcome != failed {
			t.Errorf("%+v", got)
		}
	})
}
