package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/enginetest"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/repository/memory"
)

// settle waits until the app's tables are older than what an update time can
// tell apart: servers give it in whole seconds.
func settle(t *testing.T, a *enginetest.App) {
	t.Helper()
	const old = "SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND GREATEST(CREATE_TIME, COALESCE(UPDATE_TIME, CREATE_TIME)) > NOW() - INTERVAL 4 SECOND"
	for mysqltest.Query(t, a.DB, old)[0][0].Text != "0" {
		mysqltest.Query(t, a.DB, "SELECT SLEEP(0.1)")
		if t.Context().Err() != nil {
			t.Fatal("the tables do not come to rest")
		}
	}
}

// TestUnchangedTablesAreNotRead says when a table's rows are taken over from
// the last backup, and that the new backup is whole for all that.
func TestUnchangedTablesAreNotRead(t *testing.T) {
	// Not parallel: other tests' transactions, open on the same server, would
	// keep anything from being proven.
	a := enginetest.NewApp(t)
	store := faulty.New(memory.New())
	e := enginetest.New(t, store)
	back := func(opt engine.BackupOptions) core.Backup {
		t.Helper()
		b, err := e.Backup(t.Context(), a.Target, opt)
		if err != nil || len(b.Warnings) > 0 {
			t.Fatal(err, b.Warnings)
		}
		enginetest.Whole(t, e, b.ID)
		return b
	}
	reused := func(b core.Backup) int { return b.Components[core.ComponentDatabase].TablesReused }
	settle(t, a)
	first := back(engine.BackupOptions{})
	second := back(engine.BackupOptions{})
	if reused(first) != 0 || reused(second) != 3 {
		t.Fatalf("%d, then %d tables not read, want 0 and 3", reused(first), reused(second))
	}
	mysqltest.ExecIn(t, a.DB, "UPDATE b SET v='changed' WHERE id=7")
	third := back(engine.BackupOptions{})
	if reused(third) != 2 {
		t.Errorf("after a change %d tables not read, want 2", reused(third))
	}
	changes := func(x, y core.Backup) (list []string) {
		t.Helper()
		var open [2]*engine.Open
		for i, b := range []core.Backup{x, y} {
			o, err := e.OpenBackup(t.Context(), enginetest.Find(t, e, b.ID))
			if err != nil {
				t.Fatal(err)
			}
			open[i] = o
		}
		diff, err := e.Diff(t.Context(), open[0], open[1])
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range diff.Changes() {
			list = append(list, c.Kind+" "+c.Object)
		}
		return list
	}
	if diff := cmp.Diff([]string{"changed table b"}, changes(first, third)); diff != "" {
		t.Errorf("what changed (-want +got):\n%s", diff)
	}
	// Everything read gives the same backup.
	all := back(engine.BackupOptions{ReadAll: true})
	if n := all.Components[core.ComponentFiles].FilesReused; reused(all) != 0 || n != 0 {
		t.Errorf("%d tables and %d files not read though all should be", reused(all), n)
	}
	for b, why := range map[string]string{first.ID: "there is no earlier backup", all.ID: "--no-reuse was given"} {
		var evidence strings.Builder
		if err := mustOpen(t, e, b).Cat(t.Context(), "database/evidence.json", &evidence); err != nil || strings.Count(evidence.String(), why) != 3 {
			t.Errorf("%v: evidence does not say that %s: %s", err, why, evidence.String())
		}
	}
	if list := changes(third, all); len(list) > 0 {
		t.Errorf("with everything read, other things are in the backup: %v", list)
	}
	if got := reused(back(engine.BackupOptions{Only: []core.Component{core.ComponentFiles}})); got != 0 {
		t.Errorf("a backup of files has %d tables", got)
	}
	// The newest with a database counts, whatever came between.
	fifth := back(engine.BackupOptions{})
	if reused(fifth) != 3 {
		t.Errorf("%d tables not read, want 3", reused(fifth))
	}
	// What was taken over outlives where it was taken from.
	for _, b := range []core.Backup{first, second, third, all} {
		if err := e.Delete(t.Context(), enginetest.Find(t, e, b.ID)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := store.Maintain(t.Context()); err != nil {
		t.Fatal(err)
	}
	enginetest.Whole(t, e, fifth.ID)
	// Rows are read again by another version, and after a week.
	e.Version = "another"
	if got := reused(back(engine.BackupOptions{})); got != 0 {
		t.Errorf("%d tables taken over from another version's backup", got)
	}
	e.Clock = weekLater{}
	if got := reused(back(engine.BackupOptions{})); got != 0 {
		t.Errorf("%d tables not read for over a week", got)
	}
}

type weekLater struct{}

func (weekLater) Now() time.Time { return time.Now().Add(8 * 24 * time.Hour) }

// TestUnusableFormerBackup: without the last backup's evidence, or with damage
// known, all tables are read.
func TestUnusableFormerBackup(t *testing.T) {
	a := enginetest.NewApp(t)
	settle(t, a)
	for name, how := range map[string]enginetest.Tamper{
		"no evidence":      {Change: func(p string, data []byte) []byte { return keep(p != "database/evidence.json", data) }},
		"mangled evidence": {Change: func(p string, data []byte) []byte { return keep(p != "database/evidence.json", data, 10) }},
		"no index":         {Change: func(p string, data []byte) []byte { return keep(p != "database/index.json", data) }},
		"damaged":          {Record: func(b *core.Backup) { now := time.Now(); b.Damaged = &now }},
	} {
		e := enginetest.New(t, memory.New())
		b := enginetest.Backup(t, e, a.Target)
		e.Store = enginetest.Tampered(t, e.Store, enginetest.Find(t, e, b.ID), how)
		next, err := e.Backup(t.Context(), a.Target, engine.BackupOptions{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := next.Components[core.ComponentDatabase].TablesReused; got != 0 {
			t.Errorf("%s: %d tables taken over", name, got)
		}
		enginetest.Whole(t, e, next.ID)
	}
}

// keep returns data, or else its first bytes; with none, nil.
func keep(whole bool, data []byte, first ...int) []byte {
	switch {
	case whole:
		return data
	case len(first) > 0:
		return data[:first[0]]
	}
	return nil
}
