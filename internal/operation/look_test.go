package operation_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository/faulty"
	"github.com/backstay/backstay/internal/schedule"
)

// BenchmarkLook looks at 200 apps with 50 backups of 80 tables each: all of them,
// as a check does, and one of them, as each backup does.
func BenchmarkLook(b *testing.B) {
	w := many(b, 200, 50, 80)
	for name, names := range map[string][]string{"all": w.names(), "one": {"app7"}} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w.caretaker().Look(b.Context(), names)
			}
		})
	}
}

// TestManyApps: an app that is looked at costs nothing of the other apps: no
// question to them, no look into their backups, and one list for all.
func TestManyApps(t *testing.T) {
	t.Parallel()
	w := many(t, 50, 5, 3)
	w.caretaker().Look(t.Context(), w.names())
	w.same("lists", 1, w.store.Calls(faulty.List))
	w.same("backups looked into that are known", 0, w.store.Calls(faulty.Open))
	for i := range w.apps {
		w.apps[i].Schedules = []schedule.Spec{{FromApp: true}}
		w.apps[i].Target = func() (engine.Target, error) {
			t.Error("an app was asked that is not looked at")
			return engine.Target{}, errGone
		}
	}
	w.apps[7].Schedules = nil
	report := w.caretaker().Look(t.Context(), []string{"app7"})
	w.same("lists", 2, w.store.Calls(faulty.List))
	w.same("problems", []string{}, problemNames(report.Problems))
	w.same("last good backups, for messages on other alarms", 50, len(report.LastGood))
}

// many makes apps with backups of a database, all of which are known.
func many(t testing.TB, apps, backups, tables int) *world {
	t.Helper()
	w := newWorld(t)
	for i := range apps {
		name := fmt.Sprintf("app%d", i)
		w.apps = append(w.apps, operation.App{Name: name, Schedules: []schedule.Spec{{Weekly: &schedule.Weekly{At: schedule.ClockTime{Hour: 23, Minute: i % 60}}, TimeZone: "Europe/Paris"}}, Retention: count(50)})
		var known []core.Facts
		for n := range backups {
			at := w.clock.Now().Add(-24 * time.Hour * time.Duration(backups-n))
			size := core.ComponentSizes{core.ComponentDatabase: {Tables: tables, Rows: 80_000, Bytes: 80_000_000}}
			id := fmt.Sprintf("%08d%08d", i, n)
			s, err := w.memory.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			root, err := s.WriteDir(t.Context(), []core.Entry{})
			if err != nil {
				t.Fatal(err)
			}
			made := core.Backup{ID: id, App: name, Time: at, Trigger: "schedule", LogicalBytes: 80_000_000, Components: size}
			if _, err := s.Commit(t.Context(), root, made); err != nil {
				t.Fatal(err)
			}
			f := core.Facts{Backup: id, App: name, Time: at, Trigger: "schedule", Bytes: 80_000_000, Components: size, Tables: map[string]core.RowCount{}}
			for k := range tables {
				f.Tables[fmt.Sprintf("priv_table_%d", k)] = core.RowCount{Rows: int64(1000 + n), Bytes: 1_000_000}
			}
			known = append(known, f)
		}
		if err := w.state.SaveFacts(t.Context(), known...); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// TestHangingApps: where the applications' server hangs, a check takes minutes
// and not hours, says so of each that it asked, and goes by what the others said
// last.
func TestHangingApps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 20 {
			names = append(names, fmt.Sprintf("app%02d", i))
		}
		w := newWorld(t, names...)
		says := func(text string) {
			for i := range w.apps {
				w.apps[i].Profile, w.apps[i].Schedules = selfMade{}.Name(), []schedule.Spec{{FromApp: true}}
				if err := os.WriteFile(filepath.Join(w.root(w.apps[i].Name), "schedule"), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		says("24 0")
		w.check()
		says("hang")
		began := time.Now()
		report := w.check()
		if took := time.Since(began); took < time.Minute || took > 3*time.Minute {
			t.Errorf("it took %s", took)
		}
		w.same("apps that did not answer", []string{"app00 backup", "app01 backup", "app02 backup", "app03 backup", "app04 backup"}, alarming(report.Problems))
		began = time.Now()
		if _, err := w.try("app00"); err != nil || time.Since(began) > time.Second {
			t.Errorf("a backup waited %s for them: %v", time.Since(began), err)
		}
		if err := w.state.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
	})
}
