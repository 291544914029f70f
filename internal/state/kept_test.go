package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func TestFacts(t *testing.T) {
	clock := newHand()
	dir := t.TempDir()
	db := open(t, dir, clock)
	a := core.Facts{App: "wiki", Backup: "a", Time: clock.now.Add(time.Hour), Bytes: 1 << 40, Stored: 3, Tables: map[string]core.RowCount{"tickets": {Rows: 5, Bytes: 6}}, Sample: &core.Sample{Files: 2, Noise: 1, Noisy: []string{"x"}, Total: 9}}
	b := core.Facts{App: "wiki", Backup: "b", Time: clock.now}
	other := core.Facts{App: "desk", Backup: "b", Time: clock.now}
	ok(t, db.SaveFacts(t.Context(), a, b, other))
	got, err := db.Facts(t.Context(), "wiki")
	ok(t, err)
	same(t, []core.Facts{a, b}, got)
	a.Bytes = 7
	ok(t, db.SaveFacts(t.Context(), a))
	got, err = db.Facts(t.Context(), "wiki")
	ok(t, err)
	same(t, []core.Facts{a, b}, got)
	_, err = raw(t, dir).ExecContext(t.Context(), "UPDATE facts SET body = '{\"time\": 5}' WHERE backup = 'a'")
	ok(t, err)
	got, err = db.Facts(t.Context(), "wiki")
	ok(t, err)
	same(t, []core.Facts{b}, got)
	n, err := db.KeepFacts(t.Context(), "wiki", []string{"b", "z"})
	ok(t, err)
	same(t, 1, n)
	n, err = db.KeepFacts(t.Context(), "wiki", nil)
	ok(t, err)
	same(t, 1, n)
	got, err = db.Facts(t.Context(), "wiki")
	ok(t, err)
	same(t, 0, len(got))
	got, err = db.Facts(t.Context(), "desk")
	ok(t, err)
	same(t, []core.Facts{other}, got)
}

func TestValues(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	for key, value := range map[string]any{"seen/wiki": clock.now, "seen/": 1, "seen": 2, "seen0": 3, "seen/é\U0010FFFF": 4, "agenda": map[string]int{"a": 1}} {
		ok(t, db.SetValue(t.Context(), key, value))
	}
	var seen time.Time
	found, err := db.Value(t.Context(), "seen/wiki", &seen)
	ok(t, err)
	same(t, true, found)
	same(t, clock.now, seen)
	ok(t, db.SetDefault(t.Context(), "seen/wiki", clock.now.Add(time.Hour)))
	ok(t, db.SetDefault(t.Context(), "seen/docs", 6))
	_, err = db.Value(t.Context(), "seen/wiki", &seen)
	ok(t, err)
	same(t, clock.now, seen)
	found, err = db.Value(t.Context(), "nothing", &seen)
	ok(t, err)
	same(t, false, found)
	got, err := db.Values(t.Context(), "seen/")
	ok(t, err)
	text, err := json.Marshal(clock.now)
	ok(t, err)
	same(t, map[string]json.RawMessage{"seen/wiki": text, "seen/": []byte("1"), "seen/é\U0010FFFF": []byte("4"), "seen/docs": []byte("6")}, got)
	all, err := db.Values(t.Context(), "")
	ok(t, err)
	same(t, 7, len(all))
	ok(t, db.DeleteValue(t.Context(), "seen/wiki"))
	ok(t, db.DeleteValue(t.Context(), "seen/wiki"))
	found, err = db.Value(t.Context(), "seen/wiki", &seen)
	ok(t, err)
	same(t, false, found)
}

func TestSpace(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	start := clock.now
	maintained := start.Add(-time.Hour)
	ok(t, db.AddSpace(t.Context(), "r", core.Space{Used: 1, Free: -1, Total: -1, Maintained: &maintained}))
	ok(t, db.AddSpace(t.Context(), "another", core.Space{Used: 9}))
	clock.now = start.Add(time.Hour)
	ok(t, db.AddSpace(t.Context(), "r", core.Space{Used: 2, Attempted: &start}))
	all, err := db.Space(t.Context(), "r", time.Time{})
	ok(t, err)
	want := []SpaceSample{{start, core.Space{Used: 1, Free: -1, Total: -1, Maintained: &maintained}}, {clock.now, core.Space{Used: 2, Attempted: &start}}}
	same(t, want, all)
	some, err := db.Space(t.Context(), "r", clock.now)
	ok(t, err)
	same(t, want[1:], some)
}

// many inserts n runs of some apps, one a minute, the newest now.
func many(t *testing.T, db *DB, n int, now time.Time) {
	t.Helper()
	ok(t, db.write(t.Context(), "test", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
			INSERT INTO runs (app, kind, cause, schedule, started, finished, outcome, backup, code, message, hint, warnings, by_whom, process, pid)
			SELECT 'app' || (i % 50), iif(i % 3, 'backup', 'check'), 'schedule', '', ? - (? - i) * 60000000000, 1, iif(i % 97, 'ok', 'failed'), '', '', '', '', 0, '', '', 0 FROM n`, n, nanos(now), n)
		return err
	}))
}

// TestQueriesUseIndexes is about 100,000 runs: what a query reads must not grow
// with them.
func TestQueriesUseIndexes(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	many(t, db, 100_000, clock.now)
	ask := func(f RunFilter) string {
		q, args := f.query()
		return plan(t, db.pool, q, args)
	}
	last, args := lastRunQuery("app1", core.RunBackup, []core.Outcome{core.OutcomeOK, core.OutcomeFailed})
	audit, auditArgs := AuditFilter{Action: "restore", Limit: 5}.query()
	since := clock.now.Add(-time.Hour)
	for name, tt := range map[string]struct{ plan, index string }{
		"all":                    {ask(RunFilter{Limit: 20}), "runs_started"},
		"an app":                 {ask(RunFilter{App: "app1", Limit: 20}), "runs_app_started (app=?)"},
		"an app and kind":        {ask(RunFilter{App: "app1", Kind: "backup", Limit: 20}), "runs_app_kind_started (app=? AND kind=?)"},
		"an app and kind, since": {ask(RunFilter{App: "app1", Kind: "backup", Since: since}), "runs_app_kind_started (app=? AND kind=? AND started>?)"},
		"an outcome":             {ask(RunFilter{Outcome: core.OutcomeFailed, Limit: 20}), "runs_outcome_started (outcome=?)"},
		"since":                  {ask(RunFilter{Since: since}), "runs_started (started>?)"},
		"running":                {plan(t, db.pool, "SELECT id FROM runs WHERE outcome = 'running' ORDER BY id", nil), "runs_outcome_started (outcome=?)"},
		"the last":               {plan(t, db.pool, last, args), "runs_app_kind (app=? AND kind=?)"},
		"open alarms":            {plan(t, db.pool, "SELECT id FROM alarms WHERE live = 1 AND (closed IS NULL OR closed > 5) ORDER BY id", nil), "alarms_live"},
		"an action":              {plan(t, db.pool, audit, auditArgs), "audit_action (action=?)"},
		"values":                 {plan(t, db.pool, "SELECT key FROM remembered WHERE key >= ? AND key < CAST(? AS TEXT)", []any{"a", "b"}), "PRIMARY KEY (key>? AND key<?)"},
		"facts":                  {plan(t, db.pool, "SELECT body FROM facts WHERE app = ?", []any{"a"}), "PRIMARY KEY (app=?)"},
		"space of a repository":  {plan(t, db.pool, "SELECT used FROM space WHERE repository = ? AND time >= ? ORDER BY time, id", []any{"r", 1}), "space_time (repository=? AND time>?)"},
	} {
		sorts := strings.Contains(tt.plan, "TEMP B-TREE") && name != "running"
		if !strings.Contains(tt.plan, tt.index) || sorts {
			t.Errorf("%s: does not use %s alone:\n%s", name, tt.index, tt.plan)
		}
	}
	runs, err := db.Runs(t.Context(), RunFilter{App: "app1", Kind: core.RunBackup, Limit: 3})
	ok(t, err)
	same(t, 3, len(runs))
}

func plan(t *testing.T, pool *sql.DB, query string, args []any) string {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+query, args...)
	ok(t, err)
	defer func() { ok(t, rows.Close()) }()
	var lines []string
	for rows.Next() {
		var id, parent, unused int
		var line string
		ok(t, rows.Scan(&id, &parent, &unused, &line))
		lines = append(lines, line)
	}
	ok(t, rows.Err())
	return strings.Join(lines, "\n")
}

func TestTrim(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	now := clock.now
	add := func(app string, age time.Duration, outcome core.Outcome) {
		r := backup(app, now.Add(-age))
		r.Outcome = outcome
		ok(t, db.write(t.Context(), "test", func(tx *sql.Tx) error {
			_, err := insertRun(t.Context(), tx, r, 1, processOf(1).String())
			return err
		}))
	}
	add("old", 500*day, core.OutcomeRunning)
	for i := range 150 {
		add("old", 500*day-time.Duration(i)*time.Minute, core.OutcomeOK)
	}
	many(t, db, 160_000, now) // 50 apps: 1,066 or 2,134 of an app and kind, all within 112 days
	for i := range 3 {
		a := alarm(&hand{now.Add(-900 * day)}, fmt.Sprint("app", i), core.TopicBackup)
		if i > 0 {
			closed := now.Add(-800 * day)
			a.Closed = &closed
		}
		ok(t, db.SaveAlarm(t.Context(), a))
	}
	for i := range alarmsFew {
		ok(t, db.SaveAlarm(t.Context(), alarm(&hand{now}, fmt.Sprint("new", i), core.TopicBackup)))
	}
	ok(t, db.write(t.Context(), "test", func(tx *sql.Tx) error {
		for i := range 1500 {
			if err := appendAudit(t.Context(), tx, &core.Audited{Time: now.Add(-800*day + time.Duration(i)*day), Who: "root"}); err != nil {
				return err
			}
		}
		return nil
	}))
	for _, age := range []time.Duration{500 * day, 60 * day, 60*day - time.Minute, time.Hour, time.Minute} {
		clock.now = now.Add(-age)
		ok(t, db.AddSpace(t.Context(), "r", core.Space{Used: int64(age / time.Minute)}))
	}
	clock.now = now
	ok(t, db.Trim(t.Context(), now))

	counted := func(app, kind string) int {
		runs, err := db.Runs(t.Context(), RunFilter{App: app, Kind: kind})
		ok(t, err)
		return len(runs)
	}
	same(t, 101, counted("old", core.RunBackup))
	same(t, 1, len(must(db.Runs(t.Context(), RunFilter{Outcome: core.OutcomeRunning}))(t)))
	same(t, runsMax, counted("app1", core.RunBackup))
	if n := counted("app1", core.RunCheck); n < 1000 || n > 1100 {
		t.Errorf("%d checks", n)
	}
	alarms, err := db.Alarms(t.Context(), 0)
	ok(t, err)
	same(t, alarmsFew+1, len(alarms))
	same(t, "app0", alarms[len(alarms)-1].App)
	log, err := db.AuditLog(t.Context(), AuditFilter{})
	ok(t, err)
	same(t, int64(71), log[len(log)-1].ID) // 730 days before now, after 800
	report, err := db.VerifyAudit(t.Context())
	ok(t, err)
	same(t, AuditReport{Entries: 1430}, report)
	var used []int64
	for _, s := range must(db.Space(t.Context(), "r", time.Time{}))(t) {
		used = append(used, s.Used)
	}
	same(t, []int64{500 * 1440, 60*1440 - 1, 60, 1}, used)
	ok(t, db.Trim(t.Context(), now))

	// A clock far in the future empties nothing.
	ok(t, db.Trim(t.Context(), now.AddDate(100, 0, 0)))
	same(t, runsFew, counted("app1", core.RunBackup))
	report, err = db.VerifyAudit(t.Context())
	ok(t, err)
	same(t, AuditReport{Entries: auditFew}, report)
	ok(t, db.Audit(t.Context(), core.Audited{Who: "root"}))
	report, err = db.VerifyAudit(t.Context())
	ok(t, err)
	same(t, AuditReport{Entries: auditFew + 1}, report)
	last, err := db.LastRun(t.Context(), "old", core.RunBackup)
	ok(t, err)
	if last == nil {
		t.Error("the last run of an app is gone")
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		ok(t, err)
		return v
	}
}

// ledger is what package notify keeps alarms in.
type ledger interface {
	OpenAlarms(ctx context.Context) ([]core.Alarm, error)
	SaveAlarm(ctx context.Context, a *core.Alarm) error
}

var _ ledger = (*DB)(nil)

// putAside does what opening does with a damaged database.
func putAside(t *testing.T, db *DB) {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	gate, err := db.enter(t.Context())
	ok(t, err)
	ok(t, errors.Join(db.replace(t.Context(), "a test"), gate.Close()))
}

// TestPutAsideWhileWriting: what was being written when another process put the
// database aside is in the new one.
func TestPutAsideWhileWriting(t *testing.T) {
	dir := t.TempDir()
	db, breaker := open(t, dir, newHand()), open(t, dir, newHand())
	times := 0
	ok(t, db.write(t.Context(), "test", func(tx *sql.Tx) error {
		if times++; times == 1 {
			putAside(t, breaker)
		}
		return setValue(t.Context(), tx, "x", times)
	}))
	var x int
	found, err := breaker.Value(t.Context(), "x", &x)
	ok(t, err)
	if !found || x != 2 {
		t.Errorf("found %v: %d", found, x)
	}
	ok(t, db.Close()) // the last to use the old one leaves the new one's log
	ok(t, breaker.SetValue(t.Context(), "y", 1))
	same(t, true, must(open(t, dir, newHand()).Value(t.Context(), "y", new(int)))(t))
}

// TestPutAsideWhileManyWrite: those who write go on with the new database.
func TestPutAsideWhileManyWrite(t *testing.T) {
	dir := t.TempDir()
	dbs := []*DB{open(t, dir, newHand()), open(t, dir, newHand())}
	ok(t, dbs[0].SetValue(t.Context(), "old", 1))
	stop := make(chan struct{})
	done := make(chan []string)
	for i, db := range dbs {
		go func() {
			var kept []string
			for n := 0; ; n++ {
				select {
				case <-stop:
					done <- kept
					return
				default:
				}
				key := fmt.Sprintf("%d/%d", i, n)
				if err := db.SetValue(context.Background(), key, n); err != nil {
					t.Error(err)
				}
				kept = append(kept, key)
			}
		}()
	}
	breaker := open(t, dir, newHand())
	putAside(t, breaker)
	// All that is written from now on is in the new one; so is what was under way.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for both := false; !both; {
		mine, theirs := must(breaker.Values(ctx, "0/"))(t), must(breaker.Values(ctx, "1/"))(t)
		both = len(mine) > 5 && len(theirs) > 5
	}
	close(stop)
	values, err := breaker.Values(t.Context(), "")
	ok(t, err)
	for range dbs {
		kept := <-done
		first := slices.IndexFunc(kept, func(k string) bool { _, found := values[k]; return found })
		if first < 0 {
			t.Fatal("it went on with the old one")
		}
		values, err = breaker.Values(t.Context(), "")
		ok(t, err)
		for _, k := range kept[first:] {
			if _, found := values[k]; !found {
				t.Errorf("%s is lost", k)
			}
		}
	}
}
