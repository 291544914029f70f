package importing_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/own"
	"github.com/backstay/backstay/internal/archive/sqlfile"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/exporting"
	"github.com/backstay/backstay/internal/engine/importing"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func formats() archive.Formats { return archive.Formats{own.New(), sqlfile.New(".sql.gz")} }

// site is an app, its backup, and a place for archives.
type site struct {
	app    *enginetest.App
	e      *engine.Engine
	backup repository.Record
	dir    string
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{app: enginetest.NewApp(t), e: enginetest.New(t, memory.New()), dir: t.TempDir()}
	s.backup = enginetest.Find(t, s.e, enginetest.Backup(t, s.e, s.app.Target).ID)
	return s
}

// export writes the site's backup as an archive and returns its path.
func (s *site) export(t *testing.T, format archive.Format, name string) string {
	t.Helper()
	got, err := exporting.Export(t.Context(), s.e, exporting.Request{Record: s.backup, Format: format, File: filepath.Join(s.dir, name)})
	if err != nil {
		t.Fatal(err)
	}
	return got.File
}

func (s *site) write(t *testing.T, name string, text []byte) string {
	t.Helper()
	p := filepath.Join(s.dir, name)
	if err := os.WriteFile(p, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p
}

func (s *site) request(file string) importing.Request {
	return importing.Request{Target: s.app.Target, File: file, Formats: formats()}
}

func (s *site) imported(t *testing.T, req importing.Request) *importing.Imported {
	t.Helper()
	got, err := importing.Import(t.Context(), s.e, req)
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
	}
	return got
}

// refused wants an import to fail and to leave no backup, no scratch file and
// no database.
func (s *site) refused(t *testing.T, req importing.Request, code core.Code, parts ...string) *importing.Imported {
	t.Helper()
	before, databases := enginetest.Listed(t, s.e), databasesNow(t)
	got, err := importing.Import(t.Context(), s.e, req)
	enginetest.WantError(t, err, code, parts...)
	if diff := cmp.Diff(before, enginetest.Listed(t, s.e)); diff != "" {
		t.Errorf("backups changed:\n%s", diff)
	}
	if diff := cmp.Diff(databases, databasesNow(t)); diff != "" {
		t.Errorf("databases changed:\n%s", diff)
	}
	if left, err := os.ReadDir(filepath.Join(s.e.StateDir, "scratch")); err != nil || len(left) > 0 {
		t.Errorf("the scratch folder holds %v (%v)", left, err)
	}
	return got
}

func databasesNow(t *testing.T) (out []string) {
	t.Helper()
	for _, row := range mysqltest.Query(t, "", "SHOW DATABASES") {
		out = append(out, row[0].Text)
	}
	return out
}

// sums are the checksums of a backup's tables.
func sums(t *testing.T, e *engine.Engine, rec repository.Record) map[string]string {
	t.Helper()
	o, err := e.OpenBackup(t.Context(), rec)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, table := range o.Index.Tables {
		out[table.Name] = fmt.Sprint(table.Rows, " ", table.Checksum)
	}
	return out
}

func TestSQL(t *testing.T) {
	s := newSite(t)
	file := s.export(t, sqlfile.New(".sql.gz"), "shop.sql.gz")
	got := s.imported(t, s.request(file))
	if diff := cmp.Diff(sums(t, s.e, s.backup), sums(t, s.e, *got.Record)); diff != "" {
		t.Errorf("rows differ:\n%s", diff)
	}
	enginetest.Whole(t, s.e, got.Backup.ID)
	o := got.Backup.Origin
	if o == nil || o.Format != "sql" || o.File != "shop.sql.gz" || o.SHA256 != got.SHA256 || o.Bytes != got.Bytes {
		t.Errorf("origin %+v", o)
	}
	if !got.Backup.Time.Equal(s.backup.Time.Truncate(time.Second)) {
		t.Errorf("it is of %s, and what was exported of %s", got.Backup.Time, s.backup.Time)
	}
	if listed := enginetest.Find(t, s.e, got.Backup.ID); listed.Origin == nil || *listed.Origin != *o || listed.Trigger != engine.TriggerImport {
		t.Errorf("listed as %+v", listed.Backup)
	}
	open, err := s.e.OpenBackup(t.Context(), *got.Record)
	if err != nil {
		t.Fatal(err)
	}
	if db := open.Manifest.Database; db.Name != s.app.DB {
		t.Errorf("it is of database %s, want %s", db.Name, s.app.DB)
	}
	if !slices.ContainsFunc(open.Index.Objects, func(o core.SchemaObject) bool { return o.Kind == "view" && o.Name == "v" }) {
		t.Errorf("the view is missing: %+v", open.Index.Objects)
	}

	again := s.imported(t, s.request(file))
	if !again.Known || again.Backup.ID != got.Backup.ID {
		t.Errorf("the same file was imported again: %+v", again)
	}
	req := s.request(file)
	req.Again = true
	if another := s.imported(t, req); another.Known || another.Backup.ID == got.Backup.ID {
		t.Errorf("it was not imported again: %+v", another)
	}
	// What was imported says nothing of which tables changed since.
	if b := enginetest.Backup(t, s.e, s.app.Target); b.Components[core.ComponentDatabase].Tables != 3 {
		t.Errorf("the next backup: %+v", b.Components)
	}
}

// TestKeptTables: a dump made while the tables of before a restore were kept for
// its undo has them, and the backup has not.
func TestKeptTables(t *testing.T) {
	s := newSite(t)
	kept := mysql.ReservedName("klehuyj7d3", "k0001")
	text := "CREATE TABLE `a` (id INT PRIMARY KEY);\nINSERT INTO `a` VALUES (1);\nCREATE TABLE `" + kept + "` (id INT PRIMARY KEY);\nINSERT INTO `" + kept + "` VALUES (1),(2);\n-- Dump completed\n"
	got := s.imported(t, s.request(s.write(t, "kept.sql", []byte(text))))
	open, err := s.e.OpenBackup(t.Context(), *got.Record)
	if err != nil {
		t.Fatal(err)
	}
	if len(open.Index.Tables) != 1 || open.Index.Tables[0].Name != "a" {
		t.Errorf("tables %+v, want a alone", open.Index.Tables)
	}
	if !slices.ContainsFunc(open.Manifest.Notes, func(n string) bool { return strings.Contains(n, kept) }) || len(open.Manifest.Warnings) > 0 {
		t.Errorf("notes %q, warnings %v", open.Manifest.Notes, open.Manifest.Warnings)
	}
}

func TestNative(t *testing.T) {
	s := newSite(t)
	file := s.export(t, own.New(), "shop.tar.zst")
	other := *s
	other.e = enginetest.New(t, memory.New())
	got := other.imported(t, other.request(file))
	want, have := enginetest.PathsOf(t, s.e.Store, s.backup), enginetest.PathsOf(t, other.e.Store, *got.Record)
	for path, entry := range want {
		if path == repository.ManifestName {
			continue
		}
		there, ok := have[path]
		if !ok || there.Type != entry.Type || there.Mode != entry.Mode || there.UID != entry.UID || there.GID != entry.GID || !there.ModTime.Equal(entry.ModTime) || there.Object.Size != entry.Object.Size {
			t.Errorf("%s: %+v, want %+v", path, there, entry)
		} else if entry.Type != core.TypeDir && !bytes.Equal(enginetest.Read(t, s.e.Store, entry.Object.ID), enginetest.Read(t, other.e.Store, there.Object.ID)) {
			t.Errorf("%s has other bytes", path)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d paths, want %d", len(have), len(want))
	}
	enginetest.Whole(t, other.e, got.Backup.ID)
	if o := got.Backup.Origin; o == nil || o.Backup != s.backup.ID || !got.Backup.Time.Equal(s.backup.Time) {
		t.Errorf("origin %+v, time %s", o, got.Backup.Time)
	}
}

// TestNotWhole: what is not whole is named, and nothing is loaded or stored.
func TestNotWhole(t *testing.T) {
	s := newSite(t)
	file := s.export(t, sqlfile.New(".sql.gz"), "shop.sql.gz")
	packed, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text := unpack(t, packed)
	cut := bytes.LastIndex(text, []byte("INSERT INTO"))
	for name, c := range map[string]struct {
		content []byte
		parts   []string
	}{
		"cut.sql.gz":  {packed[:len(packed)/2], []string{"not whole"}},
		"end.sql":     {text[:cut], []string{"not whole", "end"}},
		"row.sql":     {text[:cut+40], []string{"not whole"}},
		"tail.sql":    {append(slices.Clone(text), "INSERT INTO `a` VALUES (1000,'x');\n"...), []string{"not whole"}},
		"hostile.sql": {bytes.Replace(text, []byte("INSERT INTO"), []byte("LOAD DATA INFILE '/etc/passwd' INTO TABLE `a`;\nINSERT INTO"), 1), []string{"LOAD DATA"}},
		"empty.sql":   {[]byte("-- MySQL dump 10.13\n-- Dump completed on 2026-01-01 10:00:00\n"), []string{"no statement"}},
	} {
		t.Run(name, func(t *testing.T) {
			req := s.request(s.write(t, name, c.content))
			req.Format = "sql"
			got := s.refused(t, req, core.CodeDamage, c.parts...)
			if got == nil || len(got.Flaws) == 0 {
				t.Errorf("no flaw is named: %+v", got)
			}
		})
	}
	native := s.export(t, own.New(), "shop.tar.zst")
	whole, err := os.ReadFile(native)
	if err != nil {
		t.Fatal(err)
	}
	req := s.request(s.write(t, "cut.tar.zst", whole[:len(whole)-20]))
	req.Format = "backstay" // so small a piece could be anything
	s.refused(t, req, core.CodeDamage)
	s.refused(t, s.request(s.write(t, "text", []byte("hello"))), core.CodeUnsupported, "no archive")
	s.refused(t, s.request(s.dir), core.CodeUsage, "not a plain file")
	s.refused(t, s.request(filepath.Join(s.dir, "none")), core.CodeNotFound, "no such file")
}

func unpack(t *testing.T, packed []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if _, err := out.ReadFrom(z); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestNoEnd: a dump that does not say where it ends needs somebody's word.
func TestNoEnd(t *testing.T) {
	s := newSite(t)
	text := "CREATE TABLE `a` (`id` int NOT NULL, PRIMARY KEY (`id`));\nINSERT INTO `a` VALUES (1),(2);\n"
	req := s.request(s.write(t, "compact.sql", []byte(text)))
	s.refused(t, req, core.CodeDamage, "1 tables with 2 rows")
	req.Force = []string{archive.FlawNoEnd}
	got := s.imported(t, req)
	if got.Backup.Components[core.ComponentDatabase].Rows != 2 || !slices.ContainsFunc(got.Backup.Warnings, func(w core.Warning) bool { return w.Code == archive.FlawNoEnd }) {
		t.Errorf("got %+v", got.Backup)
	}
}

// TestTimeToCome: an archive cannot make itself the latest backup for ever.
func TestTimeToCome(t *testing.T) {
	s := newSite(t)
	text := "-- MySQL dump 10.13\nCREATE TABLE `a` (`id` int NOT NULL, PRIMARY KEY (`id`));\nINSERT INTO `a` VALUES (1);\n-- Dump completed on 2090-01-01 10:00:00\n"
	got := s.imported(t, s.request(s.write(t, "late.sql", []byte(text))))
	if got.Backup.Time.After(s.e.Clock.Now()) || !slices.ContainsFunc(got.Backup.Warnings, func(w core.Warning) bool { return w.Code == "clock" }) {
		t.Errorf("dated %s, %v", got.Backup.Time, got.Backup.Warnings)
	}
}

func TestFolder(t *testing.T) {
	s := newSite(t)
	file := s.export(t, sqlfile.New(".sql"), "good.sql")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s.write(t, "cut.sql", text[:len(text)/2])
	long := time.Now().Add(-time.Hour) // the oldest is imported first
	if err := os.Chtimes(file, long, long); err != nil {
		t.Fatal(err)
	}
	s.write(t, "copy.sql", text)
	s.write(t, "notes.txt", []byte("hello"))
	s.write(t, "failed.sql", nil)
	s.write(t, "cut.zip", []byte("PK"))
	if err := os.Symlink("good.sql", filepath.Join(s.dir, "link.sql")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(s.dir, "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	became := map[string]string{}
	if err := importing.Folder(t.Context(), s.e, s.request(""), s.dir, func(tried importing.Tried) {
		switch name := filepath.Base(tried.File); {
		case tried.Skipped != "":
			became[name] = "skipped"
		case tried.Err != nil:
			became[name] = string(core.CodeOf(tried.Err))
		case tried.Imported.Known:
			became[name] = "known"
		default:
			became[name] = "imported"
		}
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"good.sql": "imported", "cut.sql": "damage", "copy.sql": "known", "notes.txt": "skipped", "failed.sql": "damage", "cut.zip": "unsupported", "link.sql": "skipped"}, became); diff != "" {
		t.Error(diff)
	}
}

func TestSalvage(t *testing.T) {
	s := newSite(t)
	text, err := os.ReadFile(s.export(t, sqlfile.New(".sql"), "good.sql"))
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.LastIndex(text, []byte("INSERT INTO"))
	req := s.request(s.write(t, "cut.sql", text[:cut]))
	config := mysqltest.Config(t, "")
	req.Server = &mysql.Config{Socket: config.Socket, User: config.User}
	name := strings.ReplaceAll(s.app.DB, "test", "saved") + "_salvage"
	defer mysqltest.Exec(t, "DROP DATABASE IF EXISTS "+mysql.QuoteName(name))
	before := enginetest.Listed(t, s.e)
	got, err := importing.Salvage(t.Context(), s.e, req, name)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Loaded.Tables) == 0 || len(got.Flaws) == 0 {
		t.Errorf("salvaged %+v", got)
	}
	if rows := mysqltest.Query(t, "", "SELECT COUNT(*) FROM "+mysql.QuoteName(name)+".a"); rows[0][0].Text != "100" {
		t.Errorf("table a has %s rows", rows[0][0].Text)
	}
	if diff := cmp.Diff(before, enginetest.Listed(t, s.e)); diff != "" {
		t.Errorf("backups changed:\n%s", diff)
	}
	_, err = importing.Salvage(t.Context(), s.e, req, s.app.DB)
	enginetest.WantError(t, err, core.CodeUsage)
}

// TestNotEncrypted: somebody who replaced a sealed archive by an open one is
// found out.
func TestNotEncrypted(t *testing.T) {
	s := newSite(t)
	req := s.request(s.export(t, own.New(), "shop.tar.zst"))
	req.Passwords = []core.Secret{core.NewSecret("a password")}
	s.refused(t, req, core.CodeDamage, "not encrypted", "--force not-encrypted")
	req.Force = []string{archive.FlawNotEncrypted}
	if got := s.imported(t, req); got.Info.Encrypted {
		t.Errorf("got %+v", got.Info)
	}
}

// TestStatedSum: FILE.sha256 beside an archive is believed.
func TestStatedSum(t *testing.T) {
	s := newSite(t)
	file := s.export(t, own.New(), "shop.tar.zst")
	s.write(t, "shop.tar.zst.sha256", []byte(strings.Repeat("0", 64)+"  shop.tar.zst\n"))
	s.refused(t, s.request(file), core.CodeDamage, "shop.tar.zst.sha256 says 000")
	for _, other := range []string{"", strings.Repeat("0", 64) + "  another.tar.zst\n"} {
		s.write(t, "shop.tar.zst.sha256", []byte(other))
		s.imported(t, s.request(file))
	}
	got, err := exporting.Export(t.Context(), s.e, exporting.Request{Record: s.backup, Format: own.New(), File: file, Replace: true, Sum: true})
	if err != nil || got.SumFile != file+".sha256" {
		t.Fatalf("%+v, %v", got, err)
	}
	s.imported(t, s.request(file))
}

// TestConfiguredServer: where no installed program can take the dump, it is
// loaded into a schema of a configured server, which is gone afterwards.
func TestConfiguredServer(t *testing.T) {
	s := newSite(t)
	text := "-- MySQL dump 10.13  Distrib 8.4.99, for Linux (x86_64)\n--\n-- Host: localhost    Database: shop\n-- ------------------------------------------------------\n-- Server version\t8.4.99\n" +
		"/*!50503 SET NAMES utf8mb4 */;\nDROP TABLE IF EXISTS `a`;\nCREATE TABLE `a` (`id` int NOT NULL, PRIMARY KEY (`id`)) ENGINE=InnoDB;\nINSERT INTO `a` VALUES (1),(2);\n-- Dump completed on 2026-01-01 10:00:00\n"
	req := s.request(s.write(t, "mysql.sql", []byte(text)))
	config := mysqltest.Config(t, "")
	req.Server = &mysql.Config{Socket: config.Socket, User: config.User}
	before := databasesNow(t)
	got := s.imported(t, req)
	if got.Backup.Components[core.ComponentDatabase].Rows != 2 {
		t.Errorf("got %+v", got.Backup)
	}
	open, err := s.e.OpenBackup(t.Context(), *got.Record)
	if err != nil {
		t.Fatal(err)
	}
	if open.Manifest.Database.Name != s.app.DB {
		t.Errorf("the backup is of database %s", open.Manifest.Database.Name)
	}
	if diff := cmp.Diff(before, databasesNow(t)); diff != "" {
		t.Errorf("databases changed:\n%s", diff)
	}
	// One that has no right to make databases says what to grant.
	account := mysqltest.User(t, "SELECT ON *.*")
	req.Server, req.Again = &mysql.Config{Socket: account.Socket, User: account.User, Password: account.Password}, true
	s.refused(t, req, core.CodeDatabase, "GRANT")
}

// TestDoubts: what is whole and still looks like no backup of the app needs
// somebody's word.
func TestDoubts(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct{ text, flaw string }{
		"other":       {"CREATE TABLE `zz` (`id` int NOT NULL);\nINSERT INTO `zz` VALUES (1);\n", archive.FlawStranger},
		"definitions": {"CREATE TABLE `a` (`id` int NOT NULL);\nCREATE TABLE `b` (`id` int NOT NULL);\n", archive.FlawNoRows},
	} {
		t.Run(name, func(t *testing.T) {
			req := s.request(s.write(t, name+".sql", []byte("-- MySQL dump 10.13\n"+c.text+"-- Dump completed on 2026-01-01 10:00:00\n")))
			s.refused(t, req, core.CodeDamage, "--force "+c.flaw)
			req.Force = []string{c.flaw}
			s.imported(t, req)
		})
	}
	req := s.request(s.export(t, own.New(), "shop.tar.zst"))
	req.Target.App.Name = "another"
	s.refused(t, req, core.CodeDamage, "of app shop", "--force "+archive.FlawOtherApp)
}

// TestNewerRows: rows that only a newer server reads are not lost in silence.
func TestNewerRows(t *testing.T) {
	s := newSite(t)
	text := "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n-- Server version\t8.0.36\nCREATE TABLE `a` (`id` int NOT NULL);\nINSERT INTO `a` VALUES (1);\n/*!80000 INSERT INTO `a` VALUES (2),(3) */;\n-- Dump completed on 2026-01-01 10:00:00\n"
	req := s.request(s.write(t, "newer.sql", []byte(text)))
	before := enginetest.Listed(t, s.e)
	got, err := importing.Import(t.Context(), s.e, req)
	if err == nil { // by MySQL 8
		if rows := got.Backup.Components[core.ComponentDatabase].Rows; rows != 3 {
			t.Errorf("%d rows of 3 are in the backup", rows)
		}
		return
	}
	enginetest.WantError(t, err, core.CodeUnsupported, "server")
	if diff := cmp.Diff(before, enginetest.Listed(t, s.e)); diff != "" {
		t.Errorf("backups changed:\n%s", diff)
	}
}

// TestBringsCode: a restore asks before a server runs what an archive brought.
func TestBringsCode(t *testing.T) {
	s := newSite(t)
	mysqltest.ExecIn(t, s.app.DB, "CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW SET NEW.v='x'")
	s.backup = enginetest.Find(t, s.e, enginetest.Backup(t, s.e, s.app.Target).ID)
	for name, format := range map[string]archive.Format{"shop.sql.gz": sqlfile.New(".sql.gz"), "shop.tar.zst": own.New()} {
		got := s.imported(t, s.request(s.export(t, format, name)))
		r, err := restore.Make(t.Context(), s.e, restore.Request{Target: s.app.Target, Record: *got.Record})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(r.Plan.Undecided, engine.WarnBringsCode) {
			t.Errorf("%s: undecided is %q", name, r.Plan.Undecided)
		}
	}
	// What was captured here is no archive.
	r, err := restore.Make(t.Context(), s.e, restore.Request{Target: s.app.Target, Record: s.backup})
	if err != nil {
		t.Fatal(err)
	}
	if slices.Contains(r.Plan.Undecided, engine.WarnBringsCode) {
		t.Errorf("undecided is %q", r.Plan.Undecided)
	}
}
