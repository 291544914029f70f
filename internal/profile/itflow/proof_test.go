package itflow_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itflow"
)

// server is a profile.Querier on a real server.
type server struct {
	conn   *mysql.Conn
	before func(statement string) error
}

func (s *server) Query(ctx context.Context, statement string) ([][]*string, error) {
	if s.before != nil {
		if err := s.before(statement); err != nil {
			return nil, err
		}
	}
	rows, err := s.conn.Query(ctx, statement)
	out := make([][]*string, len(rows))
	for i, r := range rows {
		for _, v := range r {
			text := v.Text
			if v.Null {
				out[i] = append(out[i], nil)
			} else {
				out[i] = append(out[i], &text)
			}
		}
	}
	return out, err
}

// The vector of shared facts: a password, and what it wraps.
const (
	vectorPassword   = "Corr3ct horse! batterie é"
	vectorWrapping   = "n6c0o5G-aG_wcQR9Z8wM3YWftHYnAid4whNHoZ9zQ4x/gOBVUFJ9YO7lT2gwN7A6fqSh5U0wD7w="
	vectorCredential = "3F86HdXWpfVvKF5jl2ov6eKVjspf56EEMbpSlCXmOZj3UYtNXfmFyo9a7Ug="
)

// restored is a copy with the columns that proofs look at, and some rows.
func restored(t *testing.T) (profile.RestoredCopy, *server) {
	t.Helper()
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE settings (company_id INT PRIMARY KEY, config_current_database_version VARCHAR(20))",
		"INSERT INTO settings VALUES (1, '2.6.7')",
		"CREATE TABLE user_roles (role_id INT PRIMARY KEY, role_is_admin INT)",
		"INSERT INTO user_roles VALUES (1, 0), (3, 1)",
		"CREATE TABLE users (user_id INT PRIMARY KEY AUTO_INCREMENT, user_name VARCHAR(200), user_email VARCHAR(200), user_password VARCHAR(200), user_type INT DEFAULT 1, user_status INT DEFAULT 1,"+
			" user_avatar VARCHAR(200), user_specific_encryption_ciphertext VARCHAR(200), user_archived_at DATETIME, user_role_id INT)",
		"INSERT INTO users VALUES (1, 'A', 'a@example.test', 'not bcrypt', 1, 1, 'face.png', '"+vectorWrapping+"', NULL, 3), (2, 'Gone', 'gone@example.test', 'x', 1, 1, NULL, '', '2026-01-01', 3)",
		"CREATE TABLE credentials (credential_id INT PRIMARY KEY, credential_name VARCHAR(200), credential_username VARCHAR(500), credential_password VARCHAR(500), credential_archived_at DATETIME)",
		"INSERT INTO credentials VALUES (4, 'Router', '', '"+vectorCredential+"', NULL)",
		"CREATE TABLE files (file_id INT PRIMARY KEY AUTO_INCREMENT, file_reference_name VARCHAR(200), file_client_id INT)",
		"INSERT INTO files VALUES (1, 'there.pdf', 7), (2, 'gone.pdf', 7), (3, '../../config.php', 7), (4, '', 7), (5, NULL, 7), (6, 'link.pdf', 7)",
		"CREATE TABLE documents (document_id INT PRIMARY KEY, document_content LONGTEXT)",
		"INSERT INTO documents VALUES (1, '<img src=\"/uploads/documents/1/img_a.png\"><img src=\"https://example.test/x.png\">'),"+
			// One name lies across the end of the first part that is read, another in the last.
			" (2, CONCAT(REPEAT('é', 65510), '<img src=\"/uploads/documents/2/img_b.png\">', REPEAT('x', 200000), '<img src=''/uploads/documents/2/img_c.png''> uploads/documents/9/words'))",
		"CREATE TABLE email_queue (email_id INT PRIMARY KEY, email_attachments TEXT)",
		"INSERT INTO email_queue VALUES (1, '[{\"path\":\"uploads/tickets/1/mail.pdf\"},{\"path\":\"uploads/tickets/1/old.pdf\"}]'), (2, 'nonsense'), (3, NULL)",
	)
	root := t.TempDir()
	for _, file := range []string{
		"admin/database_updates/2.6.7.php", "admin/database_updates/2.6.10.txt", "uploads/users/1/face.png", "uploads/clients/7/there.pdf", "uploads/clients/7/thumbnail_there.pdf", "uploads/clients/7/index.php",
		"uploads/clients/7/orphan.pdf", "uploads/documents/1/img_a.png", "uploads/documents/2/img_b.png", "uploads/tickets/1/mail.pdf", "uploads/tmp/x/y", "uploads/favicon.ico", "config.php",
	} {
		put(t, filepath.Join(root, file))
	}
	// A link out of the copy is no file of it, whatever it leads to here.
	if err := os.Symlink("/etc/passwd", filepath.Join(root, "uploads/clients/7/link.pdf")); err != nil {
		t.Fatal(err)
	}
	q := &server{conn: mysqltest.Connect(t, mysqltest.Config(t, database))}
	return profile.RestoredCopy{
		App: profile.App{Name: "itflow", Root: root}, Root: root, Query: q,
		Manifest: &core.Manifest{
			Root: "/srv/itflow", Versions: map[string]string{itflow.VersionSchema: "2.6.7"}, Database: &core.Database{},
			Components: []core.Component{core.ComponentDatabase, core.ComponentFiles, core.ComponentCode, core.ComponentConfig},
		},
		Account: profile.Account{User: "A@example.test", Password: core.NewSecret(vectorPassword)},
	}, q
}

func put(t *testing.T, path string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// said returns "outcome name object" of all proofs, with their messages.
func said(t *testing.T, c profile.RestoredCopy) map[string]string {
	t.Helper()
	proofs, err := itflow.Profile{}.Prove(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, p := range proofs {
		key := strings.TrimSpace(string(p.Outcome) + " " + p.Name + " " + p.Object)
		if _, twice := out[key]; twice {
			t.Errorf("twice: %s", key)
		}
		out[key] = p.Message
		if strings.Contains(fmt.Sprint(p), vectorPassword) || strings.Contains(fmt.Sprint(p), "Pässwörd") {
			t.Errorf("a secret: %+v", p)
		}
	}
	return out
}

func keys(m map[string]string) map[string]bool {
	out := map[string]bool{}
	for k := range m {
		out[k] = true
	}
	return out
}

func set(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

func TestProve(t *testing.T) {
	c, _ := restored(t)
	got := said(t, c)
	want := set("ok settings settings", "ok schema-version settings.config_current_database_version", "ok administrator users",
		"note row-files uploads/clients/7/gone.pdf", "note row-files uploads/?", "note row-files uploads/clients/7/link.pdf", "note row-files uploads/documents/2/img_c.png", "ok row-files",
		"note extra-files uploads/clients/7/orphan.pdf", "note extra-files uploads", "ok credentials")
	if diff := cmp.Diff(want, keys(got)); diff != "" {
		t.Errorf("want (-), got (+):\n%s\n%q", diff, got)
	}
	for name, part := range map[string]string{
		"note row-files uploads/clients/7/gone.pdf": "not there when it was captured: table files, row 2",
		"note row-files uploads/?":                  "table files, row 3",
		"ok row-files":                              "rows name 8 files; all that were there when they were captured are there, and 4 were not; besides, 1 that mail names",
		"note extra-files uploads":                  "1 of 10 files",
		"ok credentials":                            "all 1 encrypted values in 1 credentials",
	} {
		if !strings.Contains(got[name], part) {
			t.Errorf("%s: %q, want %q in it", name, got[name], part)
		}
	}
}

// TestProveWhyMissing: a file that the backup could not take is not the
// application's fault.
func TestProveWhyMissing(t *testing.T) {
	c, _ := restored(t)
	c.Manifest.Warnings = []core.Warning{{Code: "unreadable", Object: "uploads/documents/2", Message: "permission denied"}}
	c.Manifest.Trees = []core.Tree{{Component: core.ComponentFiles, Place: "app", Exclude: []string{"uploads/tmp/**", "**/gone.*"}}}
	got := said(t, c)
	if m := got["failed row-files uploads/documents/2/img_c.png"]; !strings.Contains(m, "could not take it: permission denied") {
		t.Errorf("%q", got)
	}
	if m := got["note row-files uploads/clients/7/gone.pdf"]; !strings.Contains(m, "left out of the backup by the pattern **/gone.*") {
		t.Errorf("%q", got)
	}
	if m := got["failed row-files"]; !strings.Contains(m, "4 are not there") {
		t.Errorf("%q", got)
	}
	// A folder that was a link, and came back as one.
	if err := os.RemoveAll(filepath.Join(c.Root, "uploads/clients/7")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/mnt/nowhere", filepath.Join(c.Root, "uploads/clients/7")); err != nil {
		t.Fatal(err)
	}
	if m := said(t, c)["failed row-files uploads/clients/7/there.pdf"]; !strings.Contains(m, "uploads/clients/7 is a link") {
		t.Errorf("%q", m)
	}
}

// TestProveDamage: each fault is a proof of its own that failed.
func TestProveDamage(t *testing.T) {
	for name, c := range map[string]struct {
		sql  []string
		want []string
	}{
		"no settings":       {[]string{"DELETE FROM settings"}, []string{"failed settings settings", "failed schema-version settings.config_current_database_version"}},
		"no settings table": {[]string{"DROP TABLE settings"}, []string{"failed settings settings", "failed schema-version settings.config_current_database_version"}},
		"another schema":    {[]string{"UPDATE settings SET config_current_database_version = '2.6.6'"}, []string{"failed schema-version settings.config_current_database_version"}},
		"archived":          {[]string{"UPDATE users SET user_archived_at = NOW()"}, []string{"failed administrator users", "failed credentials A@example.test"}},
		"disabled":          {[]string{"UPDATE users SET user_status = 0"}, []string{"failed administrator users", "ok credentials"}},
		"no role":           {[]string{"DELETE FROM user_roles"}, []string{"failed administrator users"}},
		"a credential":      {[]string{"INSERT INTO credentials VALUES (9, 'Switch', NULL, 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==', NULL)"}, []string{"failed credentials credentials 9 (Switch)", "failed credentials"}},
		"a wrapping":        {[]string{"UPDATE users SET user_specific_encryption_ciphertext = 'short'"}, []string{"failed credentials A@example.test"}},
		"no wrapping":       {[]string{"UPDATE users SET user_specific_encryption_ciphertext = ''"}, []string{"skipped credentials A@example.test"}},
		"an older ITFlow": {[]string{"DROP TABLE user_roles", "ALTER TABLE users DROP COLUMN user_role_id, DROP COLUMN user_type, DROP COLUMN user_status", "CREATE TABLE user_settings (user_id INT, user_role INT)",
			"INSERT INTO user_settings VALUES (1, 3)", "DROP TABLE files", "RENAME TABLE credentials TO logins",
			"ALTER TABLE logins CHANGE credential_id login_id INT, CHANGE credential_name login_name VARCHAR(200), CHANGE credential_username login_username VARCHAR(500), CHANGE credential_password login_password VARCHAR(500), CHANGE credential_archived_at login_archived_at DATETIME"},
			[]string{"ok administrator users", "ok row-files", "ok credentials"}},
	} {
		t.Run(name, func(t *testing.T) {
			of, q := restored(t)
			for _, s := range c.sql {
				if _, err := q.conn.Exec(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			got := said(t, of)
			for _, want := range c.want {
				if _, ok := got[want]; !ok {
					t.Errorf("there is no %q in %q", want, got)
				}
			}
		})
	}
}

// TestProveSome: what cannot be looked at is skipped, and says why.
func TestProveSome(t *testing.T) {
	c, q := restored(t)
	skipped := func(what string, c profile.RestoredCopy, names ...string) {
		t.Helper()
		got := said(t, c)
		for _, n := range names {
			if m, ok := got["skipped "+n]; !ok || m == "" {
				t.Errorf("%s: there is no skipped %s in %q", what, n, got)
			}
		}
		for k := range got {
			if strings.HasPrefix(k, "failed") {
				t.Errorf("%s: %s: %s", what, k, got[k])
			}
		}
	}
	part := c
	part.Account = profile.Account{}
	skipped("no account", part, "credentials")
	part = c
	part.Query = nil
	skipped("no database", part, "settings", "schema-version settings.config_current_database_version"[:14], "administrator", "row-files", "credentials")
	part = c
	part.Root = ""
	skipped("no files", part, "row-files", "extra-files")
	if _, err := q.conn.Exec(t.Context(), "DELETE FROM users"); err != nil {
		t.Fatal(err)
	}
	if _, err := q.conn.Exec(t.Context(), "DELETE FROM settings"); err != nil {
		t.Fatal(err)
	}
	part = c
	part.Partly = true
	skipped("a part", part, "settings settings", "administrator users", "row-files", "credentials A@example.test")
}

// TestProveFaults: a server that goes away is a proof that failed, and a
// cancelled drill is an error.
func TestProveFaults(t *testing.T) {
	c, q := restored(t)
	gone := errors.New("server has gone away")
	q.before = func(s string) error {
		if strings.Contains(s, "FROM files") || strings.Contains(s, "FROM `credentials`") {
			return gone
		}
		return nil
	}
	got := said(t, c)
	for _, want := range []string{"failed row-files files.file_reference_name", "failed row-files", "skipped extra-files", "failed credentials"} {
		if _, ok := got[want]; !ok {
			t.Errorf("there is no %q in %q", want, got)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	q.before = func(s string) error {
		if strings.Contains(s, "FROM files") {
			cancel()
		}
		return ctx.Err()
	}
	if _, err := (itflow.Profile{}).Prove(ctx, c); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestProveMany: 200,000 files take no more memory than a page of rows and eight
// bytes a name, and name a bounded number of those that are missing.
func TestProveMany(t *testing.T) {
	const rows, there = 200_000, 3_000
	c, q := restored(t)
	digits := "(SELECT 0 d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)"
	for _, s := range []string{"DELETE FROM files", fmt.Sprintf("INSERT INTO files SELECT n + 1, CONCAT('f', n, '.bin'), 8 FROM (SELECT a.d + 10*b.d + 100*c.d + 1000*e.d + 10000*f.d + 100000*g.d n FROM %[1]s a, %[1]s b, %[1]s c, %[1]s e, %[1]s f, (SELECT 0 d UNION SELECT 1) g) x WHERE n < %[2]d", digits, rows)} {
		if _, err := q.conn.Exec(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	for n := range there {
		put(t, filepath.Join(c.Root, "uploads/clients/8", fmt.Sprintf("f%d.bin", n)))
		if n%2 == 0 {
			put(t, filepath.Join(c.Root, "uploads/clients/9", fmt.Sprintf("f%d.bin", n)))
		}
	}
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	most := uint64(0)
	q.before = func(string) error {
		runtime.GC()
		runtime.ReadMemStats(&now)
		most = max(most, now.HeapAlloc)
		return nil
	}
	got := said(t, c)
	if grown := int64(most) - int64(before.HeapAlloc); grown > 16<<20 {
		t.Errorf("%d bytes of memory for %d rows", grown, rows)
	}
	if len(got) > 700 {
		t.Errorf("%d proofs", len(got))
	}
	if m := got["ok row-files"]; !strings.Contains(m, fmt.Sprintf("and %d were not", rows-there+1)) {
		t.Errorf("%q", m)
	}
	if m := got["note extra-files uploads"]; !strings.Contains(m, fmt.Sprintf("%d of ", there/2+3)) { // and there.pdf with its thumbnail, whose row is gone, and the orphan
		t.Errorf("%q", m)
	}
}
