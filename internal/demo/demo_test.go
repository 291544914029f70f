package demo_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/demo"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

const small = 3 << 20

type helpdesk struct {
	conn    *mysql.Conn
	dir     string
	summary demo.Summary
}

func generate(t *testing.T, opts demo.Options) helpdesk {
	t.Helper()
	h := helpdesk{conn: mysqltest.Connect(t, mysqltest.Config(t, mysqltest.Database(t))), dir: filepath.Join(t.TempDir(), "helpdesk")}
	var err error
	if h.summary, err = demo.Generate(t.Context(), h.conn, h.dir, opts); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h helpdesk) fingerprint(t *testing.T) demo.Fingerprint {
	t.Helper()
	f, err := demo.TakeFingerprint(t.Context(), h.conn, h.dir)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

type counter struct {
	core.NoProgress
	bytes atomic.Int64
}

func (c *counter) Add(n int64) { c.bytes.Add(n) }

func TestSameSeedSameHelpdesk(t *testing.T) {
	var progress counter
	a := generate(t, demo.Options{Size: small, Seed: 1, Progress: &progress})
	b := generate(t, demo.Options{Size: small, Seed: 1})
	other := generate(t, demo.Options{Size: small, Seed: 2})
	if diff := demo.Compare(a.fingerprint(t), b.fingerprint(t)); len(diff) != 0 {
		t.Errorf("two helpdesks of one seed differ:\n%s", strings.Join(diff, "\n"))
	}
	if diff := demo.Compare(a.fingerprint(t), other.fingerprint(t)); len(diff) == 0 {
		t.Error("helpdesks of two seeds are equal")
	}
	s := a.summary
	if total := s.DatabaseBytes + s.FileBytes; total < small*8/10 || total > small*12/10 {
		t.Errorf("made %d bytes, wanted about %d", total, small)
	}
	if got := progress.bytes.Load(); got < small*8/10 {
		t.Errorf("progress says %d bytes of %d", got, small)
	}
	tables, rows, files := a.fingerprint(t).Count()
	if tables != 8 || rows < s.Customers+s.Agents+s.Tickets+s.Messages+s.Attachments || files < s.Files {
		t.Errorf("the fingerprint covers %d tables, %d rows, %d files; made %+v", tables, rows, files, s)
	}
}

// The demo is only worth watching if the content is as hard to restore as
// real content is.
func TestContentIsHostile(t *testing.T) {
	h := generate(t, demo.Options{Size: small})
	for what, query := range map[string]string{
		"characters of four bytes":        "SELECT COUNT(*) FROM ticket_messages WHERE HEX(body) LIKE '%F09F%'",
		"NUL in a text":                   "SELECT COUNT(*) FROM ticket_messages WHERE LOCATE(CHAR(0), body)",
		"NULL beside empty text":          "SELECT (SUM(notes IS NULL) > 0) AND (SUM(notes = '') > 0) FROM customers",
		"a FLOAT of more than six digits": "SELECT COUNT(*) FROM tickets WHERE satisfaction + 0e0 <> CAST(CAST(satisfaction AS CHAR) AS DOUBLE)",
		"a foreign key":                   "SELECT COUNT(*) FROM information_schema.referential_constraints WHERE constraint_schema = DATABASE()",
		"a full-text hit":                 "SELECT COUNT(*) FROM ticket_messages WHERE MATCH(body) AGAINST ('printer')",
		"an open ticket in the view":      "SELECT COUNT(*) FROM open_tickets",
		"counted messages":                "SELECT SUM(message_count) = (SELECT COUNT(*) FROM ticket_messages) FROM tickets",
		"whole attachments":               "SELECT COUNT(*) = SUM(sha256 = UNHEX(SHA2(content, 256))) FROM attachments",
		"a forwarded attachment":          "SELECT COUNT(*) > COUNT(DISTINCT sha256) FROM attachments",
		"tags":                            "SELECT COUNT(*) FROM ticket_tags",
	} {
		rows, err := h.conn.Query(t.Context(), query)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		} else if rows[0][0].Text == "0" || rows[0][0].Null {
			t.Errorf("there is no %s", what)
		}
	}
	rows, err := h.conn.Query(t.Context(), "SELECT path, size FROM uploads")
	if err != nil {
		t.Fatal(err)
	}
	foreign := 0
	for _, row := range rows {
		if _, err := os.Stat(filepath.Join(h.dir, demo.UploadsDir, row[0].Text)); err != nil {
			t.Errorf("a row names a file that is not there: %v", err)
		}
		if regexp.MustCompile(`[^\x00-\x{24f}]`).MatchString(row[0].Text) {
			foreign++
		}
	}
	if foreign == 0 {
		t.Error("no file has a name in a foreign script")
	}
}

func TestTouchIsADaysWork(t *testing.T) {
	a, b := generate(t, demo.Options{Size: small}), generate(t, demo.Options{Size: small})
	before := a.fingerprint(t)
	for range 2 { // a second day must fit onto the first
		for _, h := range []helpdesk{a, b} {
			what, err := demo.Touch(t.Context(), h.conn, h.dir)
			if err != nil || len(what) == 0 {
				t.Fatalf("did %v: %v", what, err)
			}
		}
	}
	after := a.fingerprint(t)
	if diff := demo.Compare(after, b.fingerprint(t)); len(diff) != 0 {
		t.Errorf("the same days differ:\n%s", strings.Join(diff, "\n"))
	}
	if n := len(after.Tables["tickets"]) - len(before.Tables["tickets"]); n != 24 {
		t.Errorf("%d new tickets, want 24", n)
	}
	text := strings.Join(demo.Compare(before, after), "\n")
	for _, want := range []string{"table tickets: 24 rows new", "table ticket_messages: 72 rows new", "table attachments: 4 rows new", "table customers: 1 row changed"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}

func TestDamageIsSeen(t *testing.T) {
	h := generate(t, demo.Options{Size: small})
	before := h.fingerprint(t)
	what, err := demo.Damage(t.Context(), h.conn, h.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(what) != 6 {
		t.Errorf("it says: %q", what)
	}
	text := strings.Join(demo.Compare(before, h.fingerprint(t)), "\n")
	for _, want := range []string{
		"table attachments is missing", "table ticket_tags is missing", "view open_tickets is missing", "trigger message_counts is missing",
		"table tickets: ", "rows missing (3, 6, 9, 12, 15, …)", "table customers: ", "changed inside, at the same size", "of another size",
		"config/helpdesk.ini",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	rows, err := h.conn.Query(t.Context(), "SELECT @@foreign_key_checks")
	if err != nil || rows[0][0].Text != "1" {
		t.Errorf("the session is left without foreign key checks: %v, %v", rows, err)
	}
}

func TestFingerprintSeesEveryAttributeOfAFile(t *testing.T) {
	h := generate(t, demo.Options{Size: 1})
	before := h.fingerprint(t)
	config := filepath.Join(h.dir, filepath.FromSlash(demo.ConfigFile))
	link := filepath.Join(h.dir, demo.UploadsDir, "newest")
	info, err := os.Stat(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		want string
		do   func() error
	}{
		{"of another mode", func() error { return os.Chmod(config, 0o600) }},
		{"of another time", func() error {
			return errors.Join(os.Chmod(config, info.Mode()), os.Chtimes(config, info.ModTime().Add(1), info.ModTime().Add(1)))
		}},
		{"pointing elsewhere", func() error { return errors.Join(os.Remove(link), os.Symlink("nowhere", link)) }},
		{"new (uploads/outgoing/mail)", func() error {
			return os.WriteFile(filepath.Join(h.dir, demo.UploadsDir, "outgoing", "mail"), nil, 0o600)
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if text := strings.Join(demo.Compare(before, h.fingerprint(t)), "\n"); !strings.Contains(text, step.want) {
			t.Errorf("no %q in:\n%s", step.want, text)
		}
	}
}

// Values longer than a row that is handed over in one piece, and rows that
// equal one another.
func TestFingerprintOfLargeRowsAndNoKey(t *testing.T) {
	database := mysqltest.Database(t)
	conn := mysqltest.Connect(t, mysqltest.Config(t, database))
	take := func() demo.Fingerprint {
		t.Helper()
		f, err := demo.TakeFingerprint(t.Context(), conn, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	mysqltest.ExecIn(t, database,
		"CREATE TABLE large (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB)",
		"INSERT INTO large VALUES (7, REPEAT('x', 3000000), 'y'), (8, NULL, REPEAT('x', 20000000))",
		"CREATE TABLE keyless (a INT)", "INSERT INTO keyless VALUES (1), (1), (2)")
	before := take()
	if diff := demo.Compare(before, take()); len(diff) != 0 {
		t.Errorf("two fingerprints of one state differ: %v", diff)
	}
	mysqltest.ExecIn(t, database,
		"UPDATE large SET a = REPEAT('x', 2999999), b = 'xy' WHERE id = 7", // the same bytes, split elsewhere
		"UPDATE large SET b = INSERT(b, 19000000, 1, 'z') WHERE id = 8",
		"DELETE FROM keyless WHERE a = 1 LIMIT 1")
	got := demo.Compare(before, take())
	if len(got) != 2 || !strings.HasPrefix(got[0], "table keyless: 1 row missing") {
		t.Errorf("got %q", got)
	}
	if diff := cmp.Diff("table large: 2 rows changed (7, 8)", got[len(got)-1]); diff != "" {
		t.Error(diff)
	}
}

func TestGenerateRefusesWhatIsInUse(t *testing.T) {
	h := generate(t, demo.Options{Size: 1})
	before := h.fingerprint(t)
	if _, err := demo.Generate(t.Context(), h.conn, t.TempDir(), demo.Options{Size: 1}); core.CodeOf(err) != core.CodeUsage {
		t.Errorf("database in use: %v", err)
	}
	fresh := mysqltest.Connect(t, mysqltest.Config(t, mysqltest.Database(t)))
	if _, err := demo.Generate(t.Context(), fresh, h.dir, demo.Options{Size: 1}); core.CodeOf(err) != core.CodeUsage {
		t.Errorf("folder in use: %v", err)
	}
	if diff := demo.Compare(before, h.fingerprint(t)); len(diff) != 0 {
		t.Errorf("the helpdesk was changed: %v", diff)
	}
	none := mysqltest.Connect(t, mysqltest.Config(t, ""))
	if _, err := demo.Generate(t.Context(), none, t.TempDir(), demo.Options{Size: 1}); err == nil {
		t.Error("a connection without a database was accepted")
	}
}

func TestGenerateEnds(t *testing.T) {
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		conn := mysqltest.Connect(t, mysqltest.Config(t, mysqltest.Database(t)))
		progress := &stopper{stop: cancel}
		_, err := demo.Generate(ctx, conn, t.TempDir(), demo.Options{Size: small, Progress: progress})
		if core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("got %v", err)
		}
	})
	t.Run("server killed", func(t *testing.T) {
		s := mysqltest.Start(t, localserver.Options{})
		mysqltest.ExecOn(t, mysqltest.ConfigOf(s, ""), "CREATE DATABASE helpdesk")
		conn := mysqltest.Connect(t, mysqltest.ConfigOf(s, "helpdesk"))
		progress := &stopper{stop: func() {
			if err := s.Kill(); err != nil {
				t.Error(err)
			}
		}}
		_, err := demo.Generate(t.Context(), conn, t.TempDir(), demo.Options{Size: small, Progress: progress})
		if core.CodeOf(err) != core.CodeDatabase {
			t.Errorf("got %v", err)
		}
	})
	t.Run("disk full", func(t *testing.T) {
		if os.Geteuid() != 0 {
			t.Skip("only root can mount a small file system")
		}
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=512k"); err != nil {
			t.Skipf("this machine lets no file system be mounted: %v", err)
		}
		t.Cleanup(func() {
			if err := syscall.Unmount(dir, 0); err != nil {
				t.Error(err)
			}
		})
		conn := mysqltest.Connect(t, mysqltest.Config(t, mysqltest.Database(t)))
		_, err := demo.Generate(t.Context(), conn, dir, demo.Options{Size: small})
		if core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	})
}

// stopper calls stop when the first bytes are done.
type stopper struct {
	core.NoProgress
	stop func()
	done atomic.Bool
}

func (s *stopper) Add(int64) {
	if s.done.CompareAndSwap(false, true) {
		s.stop()
	}
}

func BenchmarkGenerate(b *testing.B) {
	b.SetBytes(demo.DefaultSize)
	for b.Loop() {
		dir := b.TempDir()
		conn := mysqltest.Connect(b, mysqltest.Config(b, mysqltest.Database(b)))
		if _, err := demo.Generate(b.Context(), conn, filepath.Join(dir, "h"), demo.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
