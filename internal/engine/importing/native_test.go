package importing_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/own"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/engine/exporting"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/memory"
)

// forged is a backup that somebody else writes.
type forged struct {
	manifest core.Manifest
	index    core.DatabaseIndex
	change   map[string]string // files that are there
	more     map[string]string // others, in folders that are there
}

// object returns the object of a kind in the index.
func (f *forged) object(kind string) *core.SchemaObject {
	i := slices.IndexFunc(f.index.Objects, func(o core.SchemaObject) bool { return o.Kind == kind })
	return &f.index.Objects[i]
}

// forge writes an archive of the site's backup as somebody may who has the
// format's specification: all its sums are right.
func (s *site) forge(t *testing.T, name string, change func(f *forged)) string {
	t.Helper()
	open, err := s.e.OpenBackup(t.Context(), s.backup)
	if err != nil {
		t.Fatal(err)
	}
	f := &forged{manifest: open.Manifest, index: open.Index, change: map[string]string{}, more: map[string]string{}}
	// A copy of all that the index points to.
	text, err := json.Marshal(f.index)
	if err == nil {
		f.index = core.DatabaseIndex{}
		err = json.Unmarshal(text, &f.index)
	}
	if err != nil {
		t.Fatal(err)
	}
	db := *f.manifest.Database
	f.manifest.Database = &db
	f.manifest.Trees = slices.Clone(f.manifest.Trees)
	change(f)
	if text, err = json.Marshal(f.index); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(text)
	db.Checksum = hex.EncodeToString(sum[:])
	f.change["database/index.json"] = string(text)
	if text, err = json.Marshal(f.manifest); err != nil {
		t.Fatal(err)
	}
	f.change[repository.ManifestName] = string(text)
	store := enginetest.Tampered(t, s.e.Store, s.backup, enginetest.Tamper{More: f.more, Change: func(p string, data []byte) []byte {
		if text, ok := f.change[p]; ok {
			return []byte(text)
		}
		return data
	}})
	e := enginetest.New(t, store)
	got, err := exporting.Export(t.Context(), e, exporting.Request{Record: enginetest.Find(t, e, s.backup.ID), Format: own.New(), File: filepath.Join(s.dir, name)})
	if err != nil {
		t.Fatal(err)
	}
	return got.File
}

// richSite has an object of every kind that the server knows.
func richSite(t *testing.T) *site {
	t.Helper()
	s := &site{app: enginetest.NewApp(t), dir: t.TempDir()}
	mysqltest.ExecIn(t, s.app.DB,
		"CREATE TRIGGER tr BEFORE INSERT ON a FOR EACH ROW SET NEW.v = 'x'", "CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1",
		"CREATE PROCEDURE p() BEGIN DELETE FROM bag; INSERT INTO bag SELECT id FROM a; END", "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY DISABLE DO DELETE FROM bag", "CREATE SEQUENCE sq")
	s.e = enginetest.New(t, memory.New())
	s.backup = enginetest.Find(t, s.e, enginetest.Backup(t, s.e, s.app.Target).ID)
	return s
}

// TestForgedNative: an archive whose sums are right is still no backup where
// it holds what no backup does. Nothing of it is stored, and nothing is run.
func TestForgedNative(t *testing.T) {
	s := richSite(t)
	s.imported(t, s.request(s.forge(t, "honest.tar.zst", func(*forged) {})))
	define := func(kind, text string) func(*forged) {
		return func(f *forged) { f.change[f.object(kind).File] = text }
	}
	table := func(text string) func(*forged) {
		return func(f *forged) { f.change["database/schema/table/a.sql"] = text }
	}
	setting := func(set func(o *core.SchemaObject)) func(*forged) {
		return func(f *forged) { set(f.object("function")) }
	}
	for name, c := range map[string]struct {
		change func(f *forged)
		part   string
	}{
		"drops the database":          {define("function", "DROP DATABASE "+s.app.DB), "function f"},
		"deletes rows":                {define("procedure", "DELETE FROM a"), "procedure p"},
		"sets a server's variable":    {define("trigger", "SET GLOBAL max_connections=55"), "trigger tr"},
		"grants":                      {define("view", "GRANT ALL ON *.* TO evil@localhost IDENTIFIED BY 'x'"), "view v"},
		"drops in a comment":          {define("event", "/*!DROP TABLE a */"), "event ev"},
		"two statements":              {define("function", "CREATE FUNCTION f() RETURNS INT RETURN 1; DROP TABLE a"), "function f"},
		"another object":              {define("sequence", "CREATE TABLE sq (id INT)"), "sequence sq"},
		"a trigger on another table":  {define("trigger", "CREATE TRIGGER tr BEFORE INSERT ON b FOR EACH ROW SET @x=1"), `table "b"`},
		"a table of a query":          {table("CREATE TABLE `a` (`id` int,\n `v` varchar(40)) SELECT 1 AS id"), "table a"},
		"a table's files elsewhere":   {table("CREATE TABLE `a` (\n  `id` int,\n  `v` varchar(40)\n) ENGINE=MyISAM DATA DIRECTORY='/tmp'"), "DIRECTORY"},
		"a table in another database": {table("CREATE TABLE `mysql`.`a` (\n  `id` int,\n  `v` varchar(40)\n)"), "another database"},
		"another table":               {table("CREATE TABLE `b` (\n  `id` int,\n  `v` varchar(40)\n)"), "table a"},
		"drops a table":               {table("DROP TABLE a"), "table a"},
		"sql_mode":                    {setting(func(o *core.SchemaObject) { o.SQLMode = "', @@global.max_connections='33" }), "no sql_mode"},
		"character set":               {setting(func(o *core.SchemaObject) { o.Charset = "utf16" }), "character set"},
		"collation":                   {setting(func(o *core.SchemaObject) { o.Collation = "x' y" }), "collation"},
		"time zone":                   {func(f *forged) { f.object("event").TimeZone = "+00:00', x='" }, "time zone"},
		"a sequence's value":          {func(f *forged) { f.object("sequence").Value = "1, 0, (SELECT 1)" }, "go on with"},
		"a kind":                      {func(f *forged) { f.object("view").Kind = "user" }, "no kind"},
		"a table's name":              {func(f *forged) { f.index.Tables[2].Name = "mysql`.`user" }, "its definition"},
		"a table twice":               {func(f *forged) { f.index.Tables = append(f.index.Tables, f.index.Tables[0]) }, "twice"},
		"a column that is none":       {func(f *forged) { f.index.Tables[0].Columns[1].Name = "v`) SET id=(SELECT 7" }, "no column"},
		"a form that is none":         {func(f *forged) { f.index.Tables[0].Columns[1].Form = "weird" }, "no form"},
		"a key that is none":          {func(f *forged) { f.index.Tables[0].Key = []string{"nope"} }, "key"},
		"a prefix":                    {func(f *forged) { f.manifest.Database.Prefix = "zz_" }, "prefix"},
		"a server's sql_mode":         {func(f *forged) { f.manifest.Database.Server.SQLMode = "x" }, "no sql_mode"},
		"a collation of the database": {func(f *forged) { f.index.Collation = "x`" }, "collation"},
		"a configuration elsewhere":   {func(f *forged) { f.manifest.Settings = map[string]string{"config": "../../etc/crontab"} }, "configuration file"},
		"an environment elsewhere":    {func(f *forged) { f.manifest.Settings = map[string]string{"environment": "../x"} }, "environment"},
		"a file that is not said":     {func(f *forged) { f.more["files/app/index.php"] = "<?php" }, "index.php"},
		"includes beside the folder": {func(f *forged) {
			for n := range f.manifest.Trees {
				f.manifest.Trees[n].Include = []string{"../../etc"}
			}
		}, "plain relative path"},
		"no trees":         {func(f *forged) { f.manifest.Trees = nil }, "does not say"},
		"a place":          {func(f *forged) { f.manifest.Trees[0].Place = "etc" }, "no place"},
		"no components":    {func(f *forged) { f.manifest.Components = nil }, "components"},
		"counts":           {func(f *forged) { f.manifest.Trees[0].Files = -1 }, "below zero"},
		"the root":         {func(f *forged) { f.manifest.Root = "/" }, "app's folder"},
		"followed":         {func(f *forged) { f.manifest.Trees[0].Followed = []string{"../x"} }, "followed"},
		"a name elsewhere": {extra(`{"path":"app/uploads/a.txt","name":"Li4v"}`), "slash"},
		"a link elsewhere": {extra(`{"path":"app/uploads/a.txt","link":"system/etc/passwd"}`), "hard link"},
		"a link above":     {extra(`{"path":"app/uploads/a.txt","link":"../x"}`), "hard link"},
		"about nothing":    {extra(`{"path":"app/uploads/none","sparse":true}`), "no such entry"},
	} {
		t.Run(name, func(t *testing.T) {
			s.refused(t, s.request(s.forge(t, strings.ReplaceAll(name, "'", "")+".tar.zst", c.change)), core.CodeDamage, "what is in it is refused", c.part)
		})
	}
	if rows := mysqltest.Query(t, s.app.DB, "SELECT COUNT(*) FROM a"); rows[0][0].Text != "100" {
		t.Errorf("table a has %s rows", rows[0][0].Text)
	}
}

func extra(line string) func(*forged) {
	return func(f *forged) {
		f.more["files.extra.jsonl"] = line + "\n"
		for n := range f.manifest.Trees {
			if f.manifest.Trees[n].Component == core.ComponentFiles {
				f.manifest.Trees[n].Extra = "files.extra.jsonl"
			}
		}
	}
}

// TestForgedNativeAsks: what a backup may hold, and what somebody may also
// have written who wants more than to be restored, needs somebody's word.
func TestForgedNativeAsks(t *testing.T) {
	s := richSite(t)
	for name, c := range map[string]struct {
		change func(f *forged)
		flaw   string
	}{
		"another database": {func(f *forged) {
			f.change[f.object("event").File] = "CREATE EVENT `ev` ON SCHEDULE EVERY 1 DAY DISABLE DO INSERT INTO mysql.time_zone SELECT * FROM mysql.time_zone"
		}, archive.FlawNamesDatabase},
		"a database that it calls its own": {func(f *forged) {
			f.manifest.Database.Name = "mysql"
			f.change[f.object("view").File] = "CREATE VIEW `v` AS select `user`.`Host` AS `Host` from `mysql`.`user`"
		}, archive.FlawNamesDatabase},
		"the live database by name": {func(f *forged) {
			f.change[f.object("trigger").File] = "CREATE TRIGGER `" + s.app.DB + "`.`tr` BEFORE INSERT ON `" + s.app.DB + "`.`a` FOR EACH ROW SET @x=1"
		}, archive.FlawNamesDatabase},
		"reaching": {func(f *forged) {
			f.change[f.object("procedure").File] = "CREATE PROCEDURE `p`() SET GLOBAL max_connections=55"
		}, archive.FlawReaches},
		"unread": {func(f *forged) {
			f.change[f.object("function").File] = "CREATE FUNCTION `f`() RETURNS TEXT RETURN '\xb1\x5c'"
			o := f.object("function")
			o.Charset, o.Collation = "gbk", "gbk_chinese_ci"
		}, archive.FlawUnread},
	} {
		t.Run(name, func(t *testing.T) {
			req := s.request(s.forge(t, name+".tar.zst", c.change))
			s.refused(t, req, core.CodeDamage, "--force "+c.flaw)
			req.Force = []string{c.flaw}
			got := s.imported(t, req)
			if !slices.ContainsFunc(got.Backup.Warnings, func(w core.Warning) bool { return w.Code == c.flaw }) {
				t.Errorf("it is not noted: %v", got.Backup.Warnings)
			}
		})
	}
}

// TestNativeOutside: what an archive would put where nobody expects it is asked
// about at its restore, and what the app has there itself is not.
func TestNativeOutside(t *testing.T) {
	s := &site{app: enginetest.NewApp(t), e: enginetest.New(t, memory.New()), dir: t.TempDir()}
	outside := t.TempDir()
	for p, mode := range map[string]fs.FileMode{filepath.Join(outside, "evil.sh"): 0o755, filepath.Join(s.app.Root, "uploads/suid"): 0o755 | fs.ModeSetuid} {
		if err := os.WriteFile(p, []byte("#!/bin/sh\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(p, mode); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{"out": "/etc/passwd", "up": "../../x", "in": "../app.ini", "abs": filepath.Join(s.app.Root, "app.ini")}
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(s.app.Root, "uploads", name)); err != nil {
			t.Fatal(err)
		}
	}
	whole := s.app.Target
	whole.App.Files = append(slices.Clone(whole.App.Files), profile.Files{Path: outside})
	s.backup = enginetest.Find(t, s.e, enginetest.Backup(t, s.e, whole).ID)
	file := s.export(t, own.New(), "shop.tar.zst")
	codes := func(ws []core.Warning) (all []string) {
		for _, w := range ws {
			all = append(all, w.Code)
		}
		return all
	}

	same := *s
	same.e = enginetest.New(t, memory.New())
	req := same.request(file)
	req.Target = whole
	if got := same.imported(t, req); !slices.Equal(codes(got.Backup.Warnings), []string{engine.WarnPrivileged}) {
		t.Errorf("its own: warnings %v", got.Backup.Warnings)
	}

	for name := range links {
		if err := os.Remove(filepath.Join(s.app.Root, "uploads", name)); err != nil {
			t.Fatal(err)
		}
	}
	other := *s
	other.e = enginetest.New(t, memory.New())
	got := other.imported(t, other.request(file))
	want := []string{engine.WarnOutsideFiles, engine.WarnPrivileged, engine.WarnLinksOutside}
	if !slices.Equal(codes(got.Backup.Warnings), want) {
		t.Errorf("warnings %v", got.Backup.Warnings)
	}
	if w := got.Backup.Warnings; len(w) == 3 && (!strings.Contains(w[0].Object, "evil.sh") || !strings.Contains(w[1].Object, "uploads/suid") ||
		!strings.Contains(w[2].Object, "uploads/out → /etc/passwd") || !strings.Contains(w[2].Object, "uploads/up") || strings.Contains(w[2].Object, "app.ini")) {
		t.Errorf("objects %v", w)
	}
	plan := func(req restore.Request) (decisions []string, notes []string) {
		t.Helper()
		r, err := restore.Make(t.Context(), other.e, req)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Plan.Findings {
			if f.Kind == core.FindingDecision && engine.IsAsked(f.Name) {
				decisions = append(decisions, f.Name)
			} else {
				notes = append(notes, f.Name)
			}
		}
		return decisions, notes
	}
	decisions, notes := plan(restore.Request{Target: s.app.Target, Record: *got.Record})
	slices.Sort(decisions)
	if slices.Sort(want); !slices.Equal(decisions, want) || slices.Contains(notes, "incomplete-backup") {
		t.Errorf("decisions %v, notes %v", decisions, notes)
	}
	if decisions, _ := plan(restore.Request{Target: s.app.Target, Record: *got.Record, Only: []core.Component{core.ComponentDatabase}}); len(decisions) > 0 {
		t.Errorf("of the database alone: %v", decisions)
	}
}

// TestNativeLies: an archive cannot say that there is nothing to ask about, or
// that there is.
func TestNativeLies(t *testing.T) {
	s := newSite(t)
	got := s.imported(t, s.request(s.forge(t, "lies.tar.zst", func(f *forged) {
		f.manifest.Warnings = []core.Warning{{Code: engine.WarnPrivileged, Message: "x"}, {Code: "unreadable", Message: "y"}}
	})))
	if w := got.Backup.Warnings; len(w) != 1 || w[0].Code != "unreadable" {
		t.Errorf("warnings %v", w)
	}
}
