package realapps

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// The folders of ITFlow that its own archive can bring back, and what in them
// is not in it.
var (
	itflowArchived  = []string{"uploads"}
	itflowTransient = []string{"uploads/tmp", "uploads/backups"}
)

// itflowSeeded is what the seed wrote down.
type itflowSeeded struct {
	MasterKey   string `json:"master_key"`
	Credentials []struct {
		ID       int    `json:"credential_id"`
		Username string `json:"username"`
		Password string `json:"password"`
	} `json:"credentials"`
}

// itflowToArchive is an ITFlow with data, and archives that it made itself.
func itflowToArchive(t *testing.T) (r *running, seeded itflowSeeded, full, database string) {
	t.Helper()
	checkout, scripts := checkoutOf(t, "BACKSTAY_TEST_ITFLOW"), helpers(t)
	r = newRunning(t, "itflow", checkout, "itflow", writerPassword)
	r.installITFlow()
	t.Log("seed:", strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-seed.php"), r.root)))
	text, err := os.ReadFile(filepath.Join(r.root, "cron/seed.json"))
	r.ok(err)
	r.ok(json.Unmarshal(text, &seeded))
	r.makeAwkward(false)
	for n, value := range awkward() {
		if len(value) < 60_000 && len(value) != 256 {
			mysqltest.ExecOn(t, r.config(r.name), "UPDATE tickets SET ticket_details = X'"+hexOf(value)+"' WHERE ticket_id = "+strconv.Itoa(n+1))
		}
	}
	r.runPHP("cron/cron.php")
	for _, kind := range []string{"full", "database"} {
		t.Log(strings.TrimSpace(r.runPHP(filepath.Join(scripts, "itflow-queue.php"), r.root, kind)))
		began := time.Now()
		r.runPHP("cron/cron.php")
		found, err := filepath.Glob(filepath.Join(r.root, "uploads/backups/itflow_*_"+kind+"_*.zip"))
		r.ok(err)
		if len(found) != 1 {
			t.Fatalf("ITFlow made %d archives of kind %s", len(found), kind)
		}
		info, err := os.Stat(found[0])
		r.ok(err)
		t.Logf("ITFlow's cron.php with its %s backup: %v, %d bytes", kind, time.Since(began).Round(time.Millisecond), info.Size())
		if kind == "full" {
			full = found[0]
		} else {
			database = found[0]
		}
	}
	return r, seeded, full, database
}

// key is the password of ITFlow's archives, of its configuration.
func (r *running) key() string {
	r.t.Helper()
	text, err := os.ReadFile(filepath.Join(r.root, "config.php"))
	r.ok(err)
	m := regexp.MustCompile(`\$config_backup_key = '([^']+)'`).FindSubmatch(text)
	if m == nil {
		r.t.Fatal("ITFlow's configuration has no key of its archives")
	}
	return string(m[1])
}

// damageITFlow damages what an archive can bring back.
func (r *running) damageITFlow() {
	r.t.Helper()
	mysqltest.ExecOn(r.t, r.config(r.name), "DELETE FROM tickets WHERE ticket_id % 2", "UPDATE clients SET client_name = CONCAT(client_name, ' !')", "DELETE FROM credentials", "DROP TABLE IF EXISTS rig_awkward")
	r.ok(os.RemoveAll(filepath.Join(r.root, "uploads/clients/1")))
	r.writeAs("uploads/clients/later.txt", "later")
	r.writeAs("uploads/favicon.ico", "another")
}

// itflowWorks logs in and decrypts each credential.
func (r *running) itflowWorks(when string, seeded itflowSeeded) {
	r.t.Helper()
	jar, err := cookiejar.New(nil)
	r.ok(err)
	client := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.PostForm(r.address("/login.php"), url.Values{"login": {""}, "email": {"user@example.test"}, "password": {"Corr3ct horse! batterie é"}})
	if err != nil {
		r.t.Errorf("%s, log in: %v", when, err)
		return
	}
	r.ok(resp.Body.Close())
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusFound || !strings.HasPrefix(to, "agent/") && !strings.Contains(to, "/agent/") {
		r.t.Errorf("%s, log in: status %d, to %q", when, resp.StatusCode, to)
	}
	c, err := mysql.Connect(r.t.Context(), r.config(r.name))
	r.ok(err)
	rows, err := c.Query(r.t.Context(), "SELECT credential_id, credential_username, credential_password FROM credentials ORDER BY credential_id")
	r.ok(err)
	r.ok(c.Close())
	if len(rows) != len(seeded.Credentials) {
		r.t.Errorf("%s: %d credentials, want %d", when, len(rows), len(seeded.Credentials))
		return
	}
	for n, want := range seeded.Credentials {
		user, password := decryptCredential(r.t, rows[n][1].Text, seeded.MasterKey), decryptCredential(r.t, rows[n][2].Text, seeded.MasterKey)
		if user != want.Username || password != want.Password {
			r.t.Errorf("%s: credential %d does not decrypt to what it was", when, want.ID)
		}
	}
}

// decryptCredential decrypts as ITFlow does.
func decryptCredential(t *testing.T, stored, key string) string {
	t.Helper()
	if len(stored) < aes.BlockSize {
		t.Fatalf("%q is no credential", stored)
	}
	data, err := base64.StdEncoding.DecodeString(stored[aes.BlockSize:])
	if err != nil || len(data)%aes.BlockSize != 0 || len(data) == 0 {
		t.Fatalf("%q is no credential: %v", stored, err)
	}
	block, err := aes.NewCipher([]byte(key))
	if err != nil {
		t.Fatal(err)
	}
	cipher.NewCBCDecrypter(block, []byte(stored[:aes.BlockSize])).CryptBlocks(data, data)
	padding := int(data[len(data)-1])
	if padding < 1 || padding > aes.BlockSize {
		t.Fatalf("%q does not decrypt", stored)
	}
	return string(data[:len(data)-padding])
}

// restoreITFlow has ITFlow's own command restore an archive.
func (r *running) restoreITFlow(file, key string) {
	r.t.Helper()
	began := time.Now()
	out := r.runPHP("scripts/restore_cli.php", "--file="+file, "--key="+key, "--yes")
	r.t.Logf("ITFlow's restore_cli.php: %v", time.Since(began).Round(time.Millisecond))
	if !strings.Contains(out, "Done.") || strings.Contains(out, "Warning") {
		r.t.Errorf("ITFlow's restore_cli.php says:\n%s", out)
	}
}

// secondITFlow is another install on the same server, with nothing in it.
func (r *running) secondITFlow() *running {
	r.t.Helper()
	name := r.name + "_second"
	mysqltest.ExecOn(r.t, r.config(""), "CREATE DATABASE "+mysql.QuoteName(name)+" CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
		"GRANT ALL ON "+mysql.QuoteName(name)+".* TO "+mysql.QuoteText(r.user)+"@'%'")
	root := filepath.Join(filepath.Dir(r.root), "second")
	s := &running{app: &app{t: r.t, name: name, profile: r.profile, root: root, folder: filepath.Join(r.folder, "second"), user: r.user, password: r.password}, server: r.server, php: append(slices.Clone(r.php), "APP_ROOT="+root), who: r.who, web: freePort(r.t)}
	r.ok(os.Mkdir(s.folder, 0o700))
	r.ok(os.Mkdir(root, 0o755))
	if r.who != nil {
		r.ok(os.Chown(root, int(r.who.Uid), int(r.who.Gid)))
	}
	if out, err := s.command("cp", "-a", os.Getenv("BACKSTAY_TEST_ITFLOW")+"/.", root).CombinedOutput(); err != nil {
		r.t.Fatalf("%v\n%s", err, out)
	}
	s.installITFlow()
	return s
}

// withoutKey reads and writes archives where the configuration does not say
// their password.
func (r *running) withoutKey(archive, key, passwordFile string) {
	r.t.Helper()
	config := filepath.Join(r.root, "config.php")
	text, err := os.ReadFile(config)
	r.ok(err)
	r.ok(os.WriteFile(config, bytes.Replace(text, []byte("$config_backup_key"), []byte("$config_another_key"), 1), 0o644))
	defer func() { r.ok(os.WriteFile(config, text, 0o644)) }()
	var refused imports
	r.backstay(12, &refused, "import", r.name, archive, "--dry-run")
	if !strings.Contains(refused.Error.Hint, "--password-file") && !strings.Contains(refused.Error.Hint, "config_backup_key") {
		r.t.Errorf("without a password it says %+v", refused.Error)
	}
	r.backstay(0, nil, "import", r.name, archive, "--dry-run", "--password-file", passwordFile)
	made := filepath.Join(r.folder, "without.zip")
	r.export(0, made, "--check") // with that of the configuration that was backed up
	if entries := readEncryptedZip(r.t, made, key); len(entries["db.sql"]) == 0 {
		r.t.Error("what was exported has no dump")
	}
}

// TestArchivesOfRunningITFlow: what ITFlow's own backup makes becomes a backup
// and is restored, and what is exported is restored by ITFlow's own restore.
func TestArchivesOfRunningITFlow(t *testing.T) {
	r, seeded, full, database := itflowToArchive(t)
	r.serve()
	r.itflowWorks("before", seeded)
	r.backstay(0, nil, "init")
	r.backstay(0, nil, "backup", r.name)
	whole := r.picture(itflowTransient...)
	key := r.key()

	r.run("exported", func(t *testing.T) {
		made := filepath.Join(r.folder, "made.zip")
		r.export(0, made, "--format", "itflow", "--check")
		entries := readEncryptedZip(t, made, key)
		r.same("the dump by the server's client", whole.Checksums, r.reference(string(entries["db.sql"])))
		t.Logf("version.txt:\n%s\nITFlow's:\n%s", entries["version.txt"], readEncryptedZip(t, full, key)["version.txt"])
		handed := r.passTo(made)
		check := func(s *running, where string) {
			s.itflowWorks("after ITFlow's restore, "+where, seeded)
			now := s.picture(itflowTransient...)
			// The restore and the login are written down.
			s.same("restored by ITFlow, "+where, whole.Checksums, now.Checksums, "logs", "users", "auth_logs", "app_logs")
			s.sameFiles("restored by ITFlow, "+where, contents(inFolders(whole.Files, itflowTransient, itflowArchived...)), contents(inFolders(now.Files, itflowTransient, itflowArchived...)))
		}
		r.damageITFlow()
		r.restoreITFlow(handed, key)
		check(r, "damaged")
		s := r.secondITFlow()
		s.t = t
		s.serve()
		s.restoreITFlow(handed, key)
		check(s, "new")
	})

	password := filepath.Join(r.folder, "archive.password")
	r.write(password, key+"\n", 0o600)
	r.run("without its key", func(*testing.T) { r.withoutKey(full, key, password) })
	for _, tt := range []struct {
		kind, file string
		args       []string
	}{
		{"full", full, nil}, {"database", database, []string{"--archive-password-file", password}},
	} {
		r.run("imported, "+tt.kind, func(t *testing.T) {
			instant := r.reference(string(readEncryptedZip(t, tt.file, key)["db.sql"]))
			t.Logf("ITFlow's own archive differs from the database in %v", unlike(whole.Checksums, instant))
			if tt.kind == "full" {
				if b := r.imported(tt.file); b.Origin == nil || b.Origin.Format != "itflow" {
					t.Errorf("its origin is %+v", b.Origin)
				}
			}
			before := r.picture(itflowTransient...)
			if tt.kind == "full" {
				before = whole
			}
			r.damageITFlow()
			damaged := r.picture(itflowTransient...)
			r.restoreArchive(tt.file, tt.args...)
			now := r.picture(itflowTransient...)
			r.same("restored from ITFlow's "+tt.kind+" archive", instant, now.Checksums)
			r.itflowWorks("after the restore of ITFlow's "+tt.kind+" archive", seeded)
			want := inFolders(before.Files, itflowTransient, itflowArchived...)
			if tt.kind == "database" {
				want = inFolders(damaged.Files, itflowTransient, itflowArchived...)
			}
			got := inFolders(now.Files, itflowTransient, itflowArchived...)
			if tt.kind == "full" {
				delete(got, "uploads/clients/later.txt") // a restore leaves what no backup has
			}
			r.sameFiles("restored from ITFlow's "+tt.kind+" archive", contents(want), contents(got))
			for path, owner := range owners(want) {
				if got, ok := owners(got)[path]; ok && got != owner {
					t.Errorf("%s belongs to %s, want %s", path, got, owner)
				}
			}
		})
	}

	r.run("by hand", func(t *testing.T) { r.byHand(r.damageITFlow, func(when string) { r.itflowWorks(when, seeded) }) })
}
