package console_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/console/consoletest"
	"github.com/backstay/backstay/internal/core"
)

func TestOverview(t *testing.T) {
	w := consoletest.New(t)
	o, err := w.Console.Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Apps) != 2 || o.Apps[0].App != "helpdesk" || o.Apps[0].Backups != 3 || len(o.Apps[0].Trend) != 3 || o.Apps[0].Disabled != "" {
		t.Errorf("overview %+v", o)
	}
	if o.Apps[1].Disabled == "" || o.Apps[1].Last != nil {
		t.Errorf("wiki has no schedule and no backup: %+v", o.Apps[1])
	}
	w.AddBackup(t, "helpdesk", time.Minute, consoletest.Uploads(), consoletest.Tables(6))
	run, err := w.Console.StartBackup(t.Context(), "helpdesk", console.BackupOrder{Note: "before the update"}, console.Who{By: "anna", Via: "console"})
	if err != nil {
		t.Fatal(err)
	}
	w.Finish(t, run, core.OutcomeOK, "", "", `{"schema":1}`)
	list, err := w.Console.Backups(t.Context(), console.BackupQuery{App: "helpdesk"})
	if err != nil || len(list.Backups) != 4 || list.Total != 4 {
		t.Fatalf("a backup is not listed after its run ended: %+v, %v", list, err)
	}
	for _, b := range list.Backups {
		if !b.Keep || len(b.Reasons) == 0 || b.KeptUnknown != "" {
			t.Errorf("backup %s of %s: %+v", b.ID, b.Time, b)
		}
	}
	if list.Backups[3].KeptUntil == nil {
		t.Errorf("it is not known when the oldest will be removed: %+v", list.Backups[3])
	}
}

func TestContent(t *testing.T) {
	w := consoletest.New(t)
	list, err := w.Console.Backups(t.Context(), console.BackupQuery{App: "helpdesk"})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Backups[0].ID
	d, err := w.Console.Backup(t.Context(), id)
	if err != nil || d.Tables != 5 || d.Former != list.Backups[1].ID || d.Next != "" || strings.Join(d.Formats, " ") != "backstay sql" {
		t.Fatalf("backup %+v, %v", d, err)
	}
	tables, err := w.Console.Tables(t.Context(), id, console.TableQuery{Sort: "rows", Page: console.Page{Limit: 2}})
	if err != nil || len(tables.Tables) != 2 || tables.Total != 5 || tables.Tables[0].Name != "table_004" {
		t.Fatalf("tables %+v, %v", tables, err)
	}
	folder, err := w.Console.Folder(t.Context(), id, console.FileQuery{Path: "files/uploads"})
	if err != nil || folder.Total != 5 || folder.Entries[0].Name != "deep" || folder.Entries[1].Owner != "www-data:www-data" {
		t.Fatalf("folder %+v, %v", folder, err)
	}
	f, err := w.Console.Open(t.Context(), id, "files/uploads/ünï code.pdf")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Seek(-5, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	end, err := io.ReadAll(f)
	if err := errors.Join(err, f.Close()); err != nil || string(end) != "xxxxx" || f.Size != 70_000 {
		t.Fatalf("%q of %d, %v", end, f.Size, err)
	}
	c, err := w.Console.Compare(t.Context(), list.Backups[2].ID, id)
	if err != nil || len(c.Difference.Files) != 1 || c.Difference.Files[0].Added != 1 || len(c.Difference.Tables) != 2 {
		t.Fatalf("comparison %+v, %v", c, err)
	}
}

func TestHostilePaths(t *testing.T) {
	w := consoletest.New(t)
	list, err := w.Console.Backups(t.Context(), console.BackupQuery{})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Backups[0].ID
	for _, p := range []string{"..", "files/../../etc/passwd", "files//uploads", "files/./uploads", "files/\x00", strings.Repeat("a/", 5000), "/etc/passwd", "files/uploads/a.txt/x", "files\\uploads"} {
		for _, id := range []string{id, "../" + id, "", strings.Repeat("f", 300)} {
			if f, err := w.Console.Open(t.Context(), id, p); err == nil {
				t.Errorf("%s %q was opened: %+v", id, p, f.File)
			} else if code := core.CodeOf(err); code != core.CodeUsage && code != core.CodeNotFound {
				t.Errorf("%s %q: %s: %v", id, p, code, err)
			}
			if _, err := w.Console.Folder(t.Context(), id, console.FileQuery{Path: p}); err == nil {
				t.Errorf("%s %q was listed", id, p)
			}
		}
	}
}

func TestHostileOrders(t *testing.T) {
	w := consoletest.New(t)
	who := console.Who{By: "anna", Via: "api"}
	list, err := w.Console.Backups(t.Context(), console.BackupQuery{})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Backups[0].ID
	start := map[string]func() (int64, error){
		"app that is a flag": func() (int64, error) { return w.Console.StartBackup(t.Context(), "--all", console.BackupOrder{}, who) },
		"unknown app":        func() (int64, error) { return w.Console.StartBackup(t.Context(), "nope", console.BackupOrder{}, who) },
		"note of lines": func() (int64, error) {
			return w.Console.StartBackup(t.Context(), "wiki", console.BackupOrder{Note: "a\nb"}, who)
		},
		"long note": func() (int64, error) {
			return w.Console.StartBackup(t.Context(), "wiki", console.BackupOrder{Note: strings.Repeat("ä", 501)}, who)
		},
		"component": func() (int64, error) {
			return w.Console.StartBackup(t.Context(), "wiki", console.BackupOrder{Only: []core.Component{"x,y"}}, who)
		},
		"backup that is a flag": func() (int64, error) { return w.Console.StartVerify(t.Context(), "--all", who) },
		"another app's backup": func() (int64, error) {
			return w.Console.StartRestore(t.Context(), console.RestoreOrder{App: "wiki", Backup: id}, who)
		},
		"table with a NUL": func() (int64, error) {
			return w.Console.StartPlan(t.Context(), console.RestoreOrder{App: "helpdesk", Backup: id, Tables: []string{"a\x00"}}, who)
		},
		"finding with a comma": func() (int64, error) {
			return w.Console.StartPlan(t.Context(), console.RestoreOrder{App: "helpdesk", Backup: id, Force: []string{"a,b"}}, who)
		},
		"format":           func() (int64, error) { return w.Console.StartExport(t.Context(), id, "itop", core.Secret{}, who) },
		"password for SQL": func() (int64, error) { return w.Console.StartExport(t.Context(), id, "sql", core.NewSecret("x"), who) },
		"upload": func() (int64, error) {
			return w.Console.StartImport(t.Context(), "wiki", "../../etc/passwd", "", core.Secret{}, who)
		},
	}
	for name, start := range start {
		if run, err := start(); err == nil {
			t.Errorf("%s: run %d was started", name, run)
		} else if code := core.CodeOf(err); code != core.CodeUsage && code != core.CodeNotFound {
			t.Errorf("%s: %s: %v", name, code, err)
		}
	}
	if launched := w.Launcher.Launched(); len(launched) > 0 {
		t.Errorf("launched %+v", launched)
	}
}

func TestOrders(t *testing.T) {
	w := consoletest.New(t)
	who := console.Who{By: "anna", Via: "console"}
	list, err := w.Console.Backups(t.Context(), console.BackupQuery{})
	if err != nil {
		t.Fatal(err)
	}
	id := list.Backups[0].ID
	order := console.RestoreOrder{App: "helpdesk", Backup: id, Only: []core.Component{"files"}, Tables: []string{"-t"}, Paths: []string{"files/uploads"}, Force: []string{"moved-links"}}
	for _, c := range []struct {
		want  string
		start func() (int64, error)
	}{
		{"backup helpdesk --only database,files --note=--pin --pin", func() (int64, error) {
			return w.Console.StartBackup(t.Context(), "helpdesk", console.BackupOrder{Only: []core.Component{"database", "files"}, Note: "--pin", Pin: true}, who)
		}},
		{"restore helpdesk " + id + " --only files --table=-t --path=files/uploads --force=moved-links --dry-run", func() (int64, error) { return w.Console.StartPlan(t.Context(), order, who) }},
		{"restore helpdesk " + id + " --only files --table=-t --path=files/uploads --force=moved-links --yes", func() (int64, error) { return w.Console.StartRestore(t.Context(), order, who) }},
		{"undo helpdesk --yes --drop", func() (int64, error) { return w.Console.StartUndo(t.Context(), "helpdesk", true, who) }},
		{"check", func() (int64, error) { return w.Console.StartCheck(t.Context(), "", who) }},
	} {
		run, err := c.start()
		if err != nil {
			t.Fatalf("%s: %v", c.want, err)
		}
		launched := w.Launcher.Launched()
		last := launched[len(launched)-1]
		if got := strings.Join(last.Args, " "); got != c.want || last.By != "anna" {
			t.Errorf("%q, want %q", got, c.want)
		}
		r, err := w.Console.Run(t.Context(), run)
		if err != nil || r.Outcome != core.OutcomeRunning || r.By != "anna" {
			t.Errorf("run %+v, %v", r, err)
		}
		if r.Kind == core.RunRestore {
			if again, err := w.Console.StartUndo(t.Context(), "helpdesk", false, who); core.CodeOf(err) != core.CodeLocked {
				t.Errorf("a second one was begun while the first goes on: run %d, %v", again, err)
			}
		}
		w.Finish(t, run, core.OutcomeOK, "", "", "")
	}
}

func TestSettings(t *testing.T) {
	w := consoletest.New(t)
	found, err := w.Console.Settings(t.Context(), "helpdesk")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]console.Setting{}
	for _, s := range found {
		got[s.Section+" "+s.Name] = s
	}
	for name, want := range map[string]console.Setting{
		"schedule when":  {Section: "schedule", Name: "when", Value: "daily 02:00 local time", Source: "backstay.yaml:12"},
		"retention keep": {Section: "retention", Name: "keep", Value: "one of each of 7 days, one of each of 4 weeks", Source: "backstay.yaml:13"},
		"notify alarms":  {Section: "notify", Name: "alarms", Value: "nobody is told", Source: "backstay's default"},
	} {
		if got[name] != want {
			t.Errorf("%s is %+v, want %+v", name, got[name], want)
		}
	}
}
