package state

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func alarm(clock *hand, app string, topic core.Topic) *core.Alarm {
	return &core.Alarm{App: app, Topic: topic, Opened: clock.now, Updated: clock.now, Problems: []core.Problem{{App: app, Topic: topic, Name: "missing", Message: "there is no backup", Level: core.LevelAlarm}}}
}

func TestAlarmLife(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	list := func(want ...core.Alarm) {
		t.Helper()
		got, err := db.OpenAlarms(t.Context())
		ok(t, err)
		same(t, want, got)
	}
	a := alarm(clock, "wiki", core.TopicBackup)
	ok(t, db.SaveAlarm(t.Context(), a))
	same(t, int64(1), a.ID)
	machine := alarm(clock, "", core.TopicRepository)
	ok(t, db.SaveAlarm(t.Context(), machine))
	list(*a, *machine)

	a.Deliveries = map[string]core.Delivery{
		"itop": {Ref: "I-000042", Told: core.AlarmOpened, Digest: "d1", At: clock.now}, "mail": {At: clock.now, Error: "connection refused"},
	}
	a.Updated = clock.now.Add(time.Minute)
	ok(t, db.SaveAlarm(t.Context(), a))
	list(*a, *machine)

	closed := clock.now.Add(time.Hour)
	a.Closed = &closed
	ok(t, db.SaveAlarm(t.Context(), a))
	list(*a, *machine) // nobody was told of its end
	told := func(name string) {
		d := a.Deliveries[name]
		d.Told = core.AlarmClosed
		a.Deliveries[name] = d
		ok(t, db.SaveAlarm(t.Context(), a))
	}
	told("itop")
	list(*a, *machine)
	told("mail")
	list(*machine)

	// Its like can open again, and is another.
	again := alarm(clock, "wiki", core.TopicBackup)
	ok(t, db.SaveAlarm(t.Context(), again))
	same(t, int64(3), again.ID)
	newest, err := db.Alarms(t.Context(), 2)
	ok(t, err)
	same(t, []core.Alarm{*again, *machine}, newest)
	all, err := db.Alarms(t.Context(), 0)
	ok(t, err)
	same(t, []core.Alarm{*again, *machine, *a}, all)
}

// TestUntoldEndIsGivenUp: a destination that is never told, because it is not
// configured any more, is not tried for ever.
func TestUntoldEndIsGivenUp(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	a := alarm(clock, "wiki", core.TopicBackup)
	a.Closed = &clock.now
	a.Deliveries = map[string]core.Delivery{"gone": {Told: core.AlarmOpened}}
	ok(t, db.SaveAlarm(t.Context(), a))
	for _, tt := range []struct{ days, want int }{{29, 1}, {31, 0}} {
		later := &hand{a.Closed.AddDate(0, 0, tt.days)}
		db.clock = later
		open, err := db.OpenAlarms(t.Context())
		ok(t, err)
		same(t, tt.want, len(open))
	}
}

func TestOneOpenAlarmPerTopic(t *testing.T) {
	clock := newHand()
	dir := t.TempDir()
	dbs := []*DB{open(t, dir, clock), open(t, dir, clock), open(t, dir, clock), open(t, dir, clock)}
	alarms := make([]*core.Alarm, len(dbs))
	var writers sync.WaitGroup
	for i, db := range dbs {
		writers.Go(func() {
			alarms[i] = alarm(&hand{clock.now.Add(time.Duration(i) * time.Second)}, "wiki", core.TopicContent)
			if err := db.SaveAlarm(t.Context(), alarms[i]); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	open, err := dbs[0].OpenAlarms(t.Context())
	ok(t, err)
	if len(open) != 1 {
		t.Fatalf("%d open alarms", len(open))
	}
	for _, a := range alarms {
		if a.ID != open[0].ID || !a.Opened.Equal(open[0].Opened) {
			t.Errorf("it is not the one: %+v", a)
		}
	}
	_, err = raw(t, dir).ExecContext(t.Context(), "INSERT INTO alarms (app, topic, opened, updated, live, problems, deliveries) VALUES ('wiki', 'content', 0, 0, 1, '[]', '{}')")
	if err == nil {
		t.Error("the database takes a second one")
	}
}

// TestAlarmSavedByTwo: each of two processes keeps what the other did meanwhile.
func TestAlarmSavedByTwo(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	mine := alarm(clock, "wiki", core.TopicBackup)
	ok(t, db.SaveAlarm(t.Context(), mine))
	theirs := *mine
	opened := core.Delivery{Ref: "7", Told: core.AlarmOpened, Digest: "a"}
	mine.Deliveries = map[string]core.Delivery{"itop": opened}
	ok(t, db.SaveAlarm(t.Context(), mine))
	theirs.Deliveries = map[string]core.Delivery{"mail": {Told: core.AlarmOpened}, "itop": {Error: "refused", At: clock.now.Add(time.Hour)}}
	ok(t, db.SaveAlarm(t.Context(), &theirs))
	same(t, map[string]core.Delivery{"itop": opened, "mail": {Told: core.AlarmOpened}}, theirs.Deliveries)

	// An update that lost the number keeps it, with a clock that went back too.
	theirs.Deliveries["itop"] = core.Delivery{Told: core.AlarmUpdated, Digest: "b", At: clock.now.AddDate(-1, 0, 0)}
	ok(t, db.SaveAlarm(t.Context(), &theirs))
	same(t, core.Delivery{Ref: "7", Told: core.AlarmUpdated, Digest: "b", At: clock.now.AddDate(-1, 0, 0)}, theirs.Deliveries["itop"])

	// Closed is closed.
	theirs.Closed = &clock.now
	ok(t, db.SaveAlarm(t.Context(), &theirs))
	ok(t, db.SaveAlarm(t.Context(), mine))
	if mine.Closed == nil || !mine.Closed.Equal(clock.now) {
		t.Errorf("it is open again: %+v", mine)
	}
}

// TestAlarmAfterReplacement: alarms from before the database was begun anew
// are added to it, whatever has their number.
func TestAlarmAfterReplacement(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	ok(t, db.SaveAlarm(t.Context(), alarm(clock, "other", core.TopicBackup)))
	old := alarm(&hand{clock.now.Add(-time.Hour)}, "wiki", core.TopicBackup)
	old.ID = 1
	ok(t, db.SaveAlarm(t.Context(), old))
	same(t, int64(2), old.ID)
	older := alarm(&hand{clock.now.Add(-time.Hour)}, "docs", core.TopicBackup)
	older.ID = 77
	ok(t, db.SaveAlarm(t.Context(), older))
	same(t, int64(77), older.ID)
}

func TestAuditLog(t *testing.T) {
	clock := newHand()
	db := open(t, t.TempDir(), clock)
	var want []core.Audited
	for i, a := range []core.Audited{
		{Who: "root (anna)", Via: "command", Action: "restore", Object: "wiki", Outcome: "begun", Detail: "é\x00\xff"},
		{Who: "root (anna)", Via: "command", Action: "restore", Object: "wiki", Outcome: "ok"},
		{Who: "service", Via: "service", Action: "delete", Object: "b1", Outcome: "ok", Time: clock.now.Add(time.Hour)},
	} {
		ok(t, db.Audit(t.Context(), a))
		a.ID = int64(i + 1)
		if a.Time.IsZero() {
			a.Time = clock.now
		}
		want = append([]core.Audited{a}, want...)
	}
	for _, tt := range []struct {
		f    AuditFilter
		want []core.Audited
	}{
		{AuditFilter{}, want}, {AuditFilter{Limit: 1}, want[:1]}, {AuditFilter{Action: "restore"}, want[1:]},
		{AuditFilter{Object: "b1"}, want[:1]}, {AuditFilter{Since: clock.now.Add(time.Second)}, want[:1]}, {AuditFilter{Action: "delete", Object: "wiki"}, nil},
	} {
		got, err := db.AuditLog(t.Context(), tt.f)
		ok(t, err)
		same(t, tt.want, got)
	}
	report, err := db.VerifyAudit(t.Context())
	ok(t, err)
	same(t, AuditReport{Entries: 3}, report)
}

func TestAuditLogNoticesEdits(t *testing.T) {
	const off = "DROP TRIGGER audit_is_never_changed; "
	for edit, want := range map[string]int64{
		off + "UPDATE audit SET who = 'x' WHERE id = 5":                              5,
		off + "UPDATE audit SET time = time + 1 WHERE id = 1":                        1,
		off + "UPDATE audit SET object = 'wiki' || action, action = '' WHERE id = 2": 2,
		off + "UPDATE audit SET hash = x'00' WHERE id = 10":                          10,
		"DELETE FROM audit WHERE id = 7":                                             7,
		"DELETE FROM audit WHERE id = 1":                                             1,
		"DELETE FROM audit WHERE id >= 9":                                            9,
		"DELETE FROM audit":                                                          1,
		"INSERT INTO audit SELECT 11, time, who, via, action, object, outcome, detail, hash FROM audit WHERE id = 10":              11,
		"INSERT INTO audit SELECT 0, time, who, via, action, object, outcome, detail, hash FROM audit WHERE id = 10":               0,
		off + "UPDATE audit SET id = -3 WHERE id = 3; UPDATE audit SET id = 3 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = -3": 3,
	} {
		t.Run(edit, func(t *testing.T) {
			dir := t.TempDir()
			db := open(t, dir, newHand())
			for i := range 10 {
				ok(t, db.Audit(t.Context(), core.Audited{Who: fmt.Sprint(i), Action: "delete"}))
			}
			_, err := raw(t, dir).ExecContext(t.Context(), edit)
			ok(t, err)
			report, err := db.VerifyAudit(t.Context())
			ok(t, err)
			if report.Reason == "" || report.Broken != want {
				t.Errorf("%+v, want entry %d", report, want)
			}
		})
	}
}

func TestAuditLogRefusesChanges(t *testing.T) {
	dir := t.TempDir()
	db := open(t, dir, newHand())
	ok(t, db.Audit(t.Context(), core.Audited{Who: "root"}))
	if _, err := raw(t, dir).ExecContext(t.Context(), "UPDATE audit SET who = 'nobody'"); err == nil {
		t.Error("an entry was changed")
	}
}

func TestFailedWriteLeavesNothing(t *testing.T) {
	db := open(t, t.TempDir(), newHand())
	if err := db.SaveFacts(t.Context(), core.Facts{Backup: "a"}, core.Facts{Backup: "b", Sample: &core.Sample{}, Tables: map[string]core.RowCount{"t": {Rows: 1}}}); err != nil {
		t.Fatal(err)
	}
	if err := db.SetValue(t.Context(), "x", func() {}); err == nil {
		t.Error("a function was kept")
	}
	if found, err := db.Value(t.Context(), "x", new(int)); found || err != nil {
		t.Errorf("%v %v", found, err)
	}
	ok(t, db.SetValue(t.Context(), "x", "text"))
	if found, err := db.Value(t.Context(), "x", new(int)); !found || err == nil || errors.Is(err, errDamaged) {
		t.Errorf("%v %v", found, err)
	}
	same(t, "", db.Replaced())
}
