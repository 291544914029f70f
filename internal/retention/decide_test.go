package retention_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
)

var now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// backup is a whole one of database and files; id is its time where it is "".
func backup(at string, change ...func(*core.Backup)) core.Backup {
	t, err := time.Parse("2006-01-02 15:04", at)
	if err != nil {
		panic(err)
	}
	b := core.Backup{ID: at, App: "a", Time: t, Trigger: "schedule", Components: core.ComponentSizes{core.ComponentDatabase: {}, core.ComponentFiles: {}}}
	for _, c := range change {
		c(&b)
	}
	return b
}

func of(components ...core.Component) func(*core.Backup) {
	return func(b *core.Backup) {
		b.Components = core.ComponentSizes{}
		for _, c := range components {
			b.Components[c] = core.ComponentSize{}
		}
	}
}

func pinned(b *core.Backup)   { b.Pinned = true }
func verified(b *core.Backup) { b.Verified = &now }
func drilled(b *core.Backup)  { b.Drilled = &now }
func damaged(b *core.Backup)  { b.Damaged = &now }
func imported(b *core.Backup) { b.Origin = &core.Origin{Format: "itop"} }
func failed(b *core.Backup)   { b.Trigger = core.TriggerFailedCommand }
func missing(b *core.Backup)  { b.Warnings = []core.Warning{{Code: "missing", Object: "files"}} }

// text shows decisions, oldest first.
func text(list []retention.Decision) string {
	var b strings.Builder
	for _, d := range slices.Backward(list) {
		what := "remove"
		if d.Keep {
			what = "keep"
		}
		fmt.Fprintf(&b, "%s %s: %s\n", d.ID, what, strings.Join(d.Reasons, "; "))
	}
	return b.String()
}

func daily(n int, change ...func(*core.Backup)) []core.Backup {
	var out []core.Backup
	for i := range n {
		out = append(out, backup(now.AddDate(0, 0, -i).Format("2006-01-02 ")+"02:00", change...))
	}
	return out
}

func TestDecide(t *testing.T) {
	only := func(p retention.Policy) []retention.Policy { return []retention.Policy{p} }
	tests := []struct {
		name     string
		backups  []core.Backup
		policies []retention.Policy
		want     string
	}{
		{"no policy", daily(1), nil, `
2026-11-23 02:00 keep: the newest whole backup of database, files; no policy is for it
`},
		{"count", daily(4), only(retention.Policy{Count: 2}), `
2026-11-20 02:00 remove: older than the newest 2
2026-11-21 02:00 remove: older than the newest 2
2026-11-22 02:00 keep: number 2 of the newest 2
2026-11-23 02:00 keep: the newest whole backup of database, files; number 1 of the newest 2
`},
		{"count or days", daily(4), only(retention.Policy{Count: 1, Days: 2}), `
2026-11-20 02:00 remove: older than the newest 1; older than the last 2 days that have backups
2026-11-21 02:00 remove: older than the newest 1; older than the last 2 days that have backups
2026-11-22 02:00 keep: day 2 of the last 2 that have backups
2026-11-23 02:00 keep: the newest whole backup of database, files; number 1 of the newest 1; day 1 of the last 2 that have backups
`},
		{"days that have backups", []core.Backup{
			backup("2026-01-01 00:00"), backup("2026-01-01 09:00"), backup("2026-03-05 00:00"), backup("2026-03-05 09:00"), backup("2026-07-01 00:00"),
		}, only(retention.Policy{Days: 2}), `
2026-01-01 00:00 remove: older than the last 2 days that have backups
2026-01-01 09:00 remove: older than the last 2 days that have backups
2026-03-05 00:00 keep: day 2 of the last 2 that have backups
2026-03-05 09:00 keep: day 2 of the last 2 that have backups
2026-07-01 00:00 keep: the newest whole backup of database, files; day 1 of the last 2 that have backups
`},
		{"days with one that takes no place", []core.Backup{
			backup("2026-11-01 00:00", failed), backup("2026-11-02 00:00"), backup("2026-11-03 00:00", failed), backup("2026-11-03 09:00"), backup("2026-11-04 00:00"),
		}, only(retention.Policy{Days: 2}), `
2026-11-01 00:00 remove: made of a state that was to be left; older than the last 2 days that have backups
2026-11-02 00:00 remove: older than the last 2 days that have backups
2026-11-03 00:00 keep: made of a state that was to be left, but not older than the last 2 days that have backups
2026-11-03 09:00 keep: day 2 of the last 2 that have backups
2026-11-04 00:00 keep: the newest whole backup of database, files; day 1 of the last 2 that have backups
`},
		{"periods", []core.Backup{
			backup("2024-12-31 10:00"), backup("2025-12-31 10:00"), backup("2026-10-31 10:00"), backup("2026-11-21 10:00"), backup("2026-11-22 01:00"), backup("2026-11-22 10:00"), backup("2026-11-23 10:00"),
		}, only(retention.Policy{Daily: 2, Weekly: 2, Monthly: 2, Yearly: 2}), `
2024-12-31 10:00 remove: older than the last 2 days that have one; older than the last 2 weeks that have one; older than the last 2 months that have one; older than the last 2 years that have one
2025-12-31 10:00 keep: newest of the year 2025, 2 of 2
2026-10-31 10:00 keep: newest of the month 2026-10, 2 of 2
2026-11-21 10:00 remove: older than the last 2 days that have one; not the newest of the week 2026-W47; not the newest of the month 2026-11; not the newest of the year 2026
2026-11-22 01:00 remove: not the newest of the day 2026-11-22; not the newest of the week 2026-W47; not the newest of the month 2026-11; not the newest of the year 2026
2026-11-22 10:00 keep: newest of the day 2026-11-22, 2 of 2; newest of the week 2026-W47, 2 of 2
2026-11-23 10:00 keep: the newest whole backup of database, files; newest of the day 2026-11-23, 1 of 2; newest of the week 2026-W48, 1 of 2; newest of the month 2026-11, 1 of 2; newest of the year 2026, 1 of 2
`},
		{"a week over the end of a year", []core.Backup{backup("2025-12-28 10:00"), backup("2025-12-29 10:00"), backup("2026-01-04 10:00"), backup("2026-01-05 10:00")}, only(retention.Policy{Weekly: 2}), `
2025-12-28 10:00 remove: older than the last 2 weeks that have one
2025-12-29 10:00 remove: not the newest of the week 2026-W01
2026-01-04 10:00 keep: newest of the week 2026-W01, 2 of 2
2026-01-05 10:00 keep: the newest whole backup of database, files; newest of the week 2026-W02, 1 of 2
`},
		{"protected", []core.Backup{
			backup("2026-11-01 00:00", pinned), backup("2026-11-02 00:00", drilled), backup("2026-11-03 00:00", drilled), backup("2026-11-04 00:00", verified),
			backup("2026-11-05 00:00", imported), backup("2026-11-06 00:00"), backup("2026-11-07 00:00", missing), backup("2027-01-01 00:00"),
		}, only(retention.Policy{Count: 1}), `
2026-11-01 00:00 keep: pinned
2026-11-02 00:00 remove: older than the newest 1
2026-11-03 00:00 keep: the newest drilled backup of database, files
2026-11-04 00:00 keep: the newest verified backup of database, files
2026-11-05 00:00 keep: imported: only removed by hand
2026-11-06 00:00 keep: the newest complete backup of database, files
2026-11-07 00:00 keep: the newest whole backup of database, files; number 1 of the newest 1
2027-01-01 00:00 keep: dated in the future: a clock is wrong
`},
		{"damaged and left ones take no place", []core.Backup{
			backup("2026-11-01 00:00", damaged), backup("2026-11-02 00:00"), backup("2026-11-03 00:00", damaged, verified), backup("2026-11-04 00:00"), backup("2026-11-05 00:00", failed), backup("2026-11-06 00:00", damaged),
		}, only(retention.Policy{Count: 2}), `
2026-11-01 00:00 remove: damaged; older than the newest 2
2026-11-02 00:00 keep: number 2 of the newest 2
2026-11-03 00:00 keep: damaged, but not older than the newest 2
2026-11-04 00:00 keep: the newest whole backup of database, files; number 1 of the newest 2
2026-11-05 00:00 keep: made of a state that was to be left, and no whole one is newer; made of a state that was to be left, but not older than the newest 2
2026-11-06 00:00 keep: damaged, and no whole one is newer; damaged, but not older than the newest 2
`},
		{"a left one in its period", []core.Backup{
			backup("2026-11-01 00:00", failed), backup("2026-11-02 00:00"), backup("2026-11-02 01:00", failed), backup("2026-11-03 00:00"),
		}, only(retention.Policy{Daily: 2, Monthly: 12}), `
2026-11-01 00:00 remove: made of a state that was to be left; older than the last 2 days that have one
2026-11-02 00:00 keep: newest of the day 2026-11-02, 2 of 2
2026-11-02 01:00 keep: made of a state that was to be left, but not older than the last 2 days that have one
2026-11-03 00:00 keep: the newest whole backup of database, files; newest of the day 2026-11-03, 1 of 2; newest of the month 2026-11, 1 of 12
`},
		{"nothing whole", []core.Backup{backup("2026-01-01 00:00", damaged), backup("2026-01-02 00:00", failed)}, only(retention.Policy{Days: 1}), `
2026-01-01 00:00 keep: damaged, and no whole one is newer; damaged, but not older than the last day that has backups
2026-01-02 00:00 keep: made of a state that was to be left, and no whole one is newer; made of a state that was to be left, but not older than the last day that has backups
`},
		{"sets of components", []core.Backup{
			backup("2026-11-01 00:00"), backup("2026-11-02 00:00", of(core.ComponentDatabase)), backup("2026-11-03 00:00", of(core.ComponentDatabase)),
			backup("2026-11-04 00:00", of(core.ComponentFiles)), backup("2026-11-05 00:00", of(core.ComponentFiles)), backup("2026-11-06 00:00"),
		}, []retention.Policy{{Count: 1}, {Components: []core.Component{core.ComponentFiles}, Count: 7}}, `
2026-11-01 00:00 remove: older than the newest 1
2026-11-02 00:00 remove: older than the newest 1
2026-11-03 00:00 keep: the newest whole backup of database; number 1 of the newest 1
2026-11-04 00:00 keep: number 2 of the newest 7
2026-11-05 00:00 keep: the newest whole backup of files; number 1 of the newest 7
2026-11-06 00:00 keep: the newest whole backup of database, files; number 1 of the newest 1
`},
		{"hold of the configuration", daily(2), only(retention.Policy{Hold: true, Count: 1}), `
2026-11-22 02:00 keep: on hold: the configuration says so
2026-11-23 02:00 keep: the newest whole backup of database, files; on hold: the configuration says so
`},
		{"settings that were not read", daily(2), only(retention.Policy{FromApp: true, Count: 1}), `
2026-11-22 02:00 keep: the application's own settings are not known
2026-11-23 02:00 keep: the newest whole backup of database, files; the application's own settings are not known
`},
		{"no rule", daily(2), only(retention.Policy{}), `
2026-11-22 02:00 keep: the policy has no rule, which keeps everything
2026-11-23 02:00 keep: the newest whole backup of database, files; the policy has no rule, which keeps everything
`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := text(retention.Decide(tt.backups, tt.policies, retention.Options{Now: now}))
			if diff := cmp.Diff(strings.TrimPrefix(tt.want, "\n"), got); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := text(retention.Decide(daily(2), only(retention.Policy{Count: 1}), retention.Options{Now: now, Hold: "an anomaly is open"}))
	want := "2026-11-22 02:00 keep: on hold: an anomaly is open\n2026-11-23 02:00 keep: on hold: an anomaly is open; the newest whole backup of database, files; number 1 of the newest 1\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestCalendarOfTheLocation: days end when they do in the app's time zone, a
// day of 25 hours is one, and its hour that comes twice is two.
func TestCalendarOfTheLocation(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	kept := func(backups []core.Backup, p retention.Policy, at string) []string {
		var ids []string
		for _, d := range retention.Decide(backups, []retention.Policy{p}, retention.Options{Now: backup(at).Time, Location: paris}) {
			if d.Keep {
				ids = append(ids, d.ID)
			}
		}
		slices.Sort(ids)
		return ids
	}
	// 2026-10-25 has 25 hours in Paris: from 22:00 of the day before to 23:00, UTC.
	var hours []core.Backup
	for i := range 40 {
		hours = append(hours, backup(time.Date(2026, 10, 24, 12+i, 30, 0, 0, time.UTC).Format("2006-01-02 15:04")))
	}
	end := "2026-10-26 12:00"
	if diff := cmp.Diff([]string{"2026-10-24 21:30", "2026-10-25 22:30", "2026-10-26 03:30"}, kept(hours, retention.Policy{Daily: 3}, end)); diff != "" {
		t.Error("days", diff)
	}
	twice := []core.Backup{backup("2026-10-25 00:10"), backup("2026-10-25 00:40"), backup("2026-10-25 01:10"), backup("2026-10-25 02:10")}
	if diff := cmp.Diff([]string{"2026-10-25 00:40", "2026-10-25 01:10", "2026-10-25 02:10"}, kept(twice, retention.Policy{Hourly: 3}, end)); diff != "" {
		t.Error("hours", diff)
	}
	// The day before ends at 22:00 UTC, the next at 23:00.
	days := []core.Backup{backup("2026-10-23 22:10"), backup("2026-10-24 21:50"), backup("2026-10-24 22:10"), backup("2026-10-25 22:00"), backup("2026-10-25 23:10")}
	if diff := cmp.Diff([]string{"2026-10-24 22:10", "2026-10-25 22:00", "2026-10-25 23:10"}, kept(days, retention.Policy{Days: 2}, end)); diff != "" {
		t.Error("the last two days", diff)
	}
}

// TestDaysWithAWrongClock: a run whose clock is months ahead removes no more
// than any other, and one whose clock is right again nothing more.
func TestDaysWithAWrongClock(t *testing.T) {
	removed := func(backups []core.Backup, at time.Time) (ids []string) {
		for _, d := range retention.Decide(backups, []retention.Policy{{Days: 14}}, retention.Options{Now: at}) {
			if !d.Keep {
				ids = append(ids, d.ID)
			}
		}
		return ids
	}
	backups := daily(14)
	if ids := removed(backups, now.AddDate(0, 0, 60)); len(ids) > 0 {
		t.Errorf("with a clock that is ahead: %v", ids)
	}
	ahead := backup(now.AddDate(0, 0, 60).Format("2006-01-02 15:04"))
	if diff := cmp.Diff([]string{"2026-11-10 02:00"}, removed(append(backups, ahead), now.AddDate(0, 0, 60))); diff != "" {
		t.Errorf("with a backup made then: %s", diff)
	}
	if ids := removed(append(backups, ahead), now); len(ids) > 0 {
		t.Errorf("when the clock is right again: %v", ids)
	}
}

func TestFromSettings(t *testing.T) {
	for _, tt := range []struct {
		name        string
		p           retention.Policy
		count, days int
		both        bool
		want        retention.Policy
	}{
		{"iTop", retention.Policy{FromApp: true}, 5, 0, false, retention.Policy{Count: 5}},
		{"ITFlow", retention.Policy{FromApp: true}, 5, 30, true, retention.Policy{Count: 5}},
		{"ITFlow without a count", retention.Policy{FromApp: true}, 0, 30, true, retention.Policy{Days: 30}},
		{"either", retention.Policy{FromApp: true}, 5, 30, false, retention.Policy{Count: 5, Days: 30}},
		{"nothing set", retention.Policy{FromApp: true}, 0, 0, false, retention.Policy{}},
		{"beside rules", retention.Policy{FromApp: true, Count: 3, Monthly: 12}, 5, 0, false, retention.Policy{Count: 5, Monthly: 12}},
		{"rules that keep more", retention.Policy{FromApp: true, Count: 9, Hold: true}, 5, 0, false, retention.Policy{Count: 9, Hold: true}},
	} {
		if diff := cmp.Diff(tt.want, retention.FromSettings(tt.p, tt.count, tt.days, tt.both)); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}
