package check

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func at(hours float64) time.Time { return start.Add(time.Duration(hours * float64(time.Hour))) }

func atp(hours float64) *time.Time { t := at(hours); return &t }

func one(hours float64) core.Backup {
	return core.Backup{ID: "76e68ec6aaaa", Time: at(hours), Trigger: "schedule", LogicalBytes: 5000, Components: core.ComponentSizes{core.ComponentDatabase: {Tables: 1, Rows: 10, Bytes: 5000}}}
}

// TestBackup: whether there is a backup, and how old it is. Hours count from
// when the app was first seen; what is judged is hour 100.
func TestBackup(t *testing.T) {
	t.Parallel()
	failed := func(code core.Code) []LastRun {
		return []LastRun{{Run: core.Run{Kind: core.RunBackup, Schedule: "nightly", Started: at(99), Finished: atp(99.5), Outcome: core.OutcomeFailed, Code: code, Message: "the server is gone", Hint: "start it"}}}
	}
	// split fails the database's run at hour 99; files says when their last backup was.
	split := func(in *Input, files float64, more ...core.Backup) {
		in.LastRuns = failed(core.CodeDatabase)
		in.LastRuns[0].Schedule, in.LastRuns[0].Only = "db", []core.Component{core.ComponentDatabase}
		in.LastRuns = append(in.LastRuns, LastRun{Run: core.Run{Schedule: "fl", Started: at(files), Outcome: core.OutcomeOK}, Only: []core.Component{core.ComponentFiles}})
		in.Backups = append([]core.Backup{one(90), filesOnly(91), one(96), filesOnly(files)}, more...)
	}
	for name, c := range map[string]struct {
		given func(*Input)
		want  []string
	}{
		"fresh":        {func(in *Input) { in.Backups = []core.Backup{one(80)} }, nil},
		"at the limit": {func(in *Input) { in.Backups = []core.Backup{one(100 - 26.25)} }, nil},
		"a part is stale": {func(in *Input) {
			in.Backups, in.Others = []core.Backup{full(60), one(99.9)}, []Expected{weekly(24, 97)}
		}, []string{"stale-part weekly"}},
		"a part is late, and not yet stale": {func(in *Input) {
			in.Backups, in.Others = []core.Backup{full(60), one(99.9)}, []Expected{weekly(24, 99.5)}
		}, nil},
		"a part is fresh": {func(in *Input) {
			in.Backups, in.Others = []core.Backup{full(90), one(99.9)}, []Expected{weekly(24, 97)}
		}, nil},
		"a schedule that is new": {func(in *Input) {
			in.Backups, in.Others = []core.Backup{full(60), one(99.9)}, []Expected{weekly(24, 59)}
		}, nil},
		"no backup of a part": {func(in *Input) {
			in.Added, in.Backups, in.Others = at(10), []core.Backup{one(99.9)}, []Expected{{Name: "weekly", Only: []core.Component{core.ComponentFiles}, Interval: 24 * time.Hour, Last: at(97)}}
		}, []string{"stale-part weekly"}},
		"stale":                         {func(in *Input) { in.Backups = []core.Backup{one(70)} }, []string{"stale"}},
		"an hour is allowed":            {func(in *Input) { in.Backups, in.Interval = []core.Backup{one(98)}, time.Hour }, nil},
		"more than an hour":             {func(in *Input) { in.Backups, in.Interval, in.Expected = []core.Backup{one(97.9)}, time.Hour, at(99.5) }, []string{"stale"}},
		"over the weekend":              {func(in *Input) { in.Backups, in.Interval = []core.Backup{one(28)}, 72*time.Hour }, nil},
		"not due since":                 {func(in *Input) { in.Backups, in.Expected = []core.Backup{one(60)}, at(60) }, nil},
		"older than max_age":            {func(in *Input) { in.Backups, in.Limits.MaxAge = []core.Backup{one(97)}, 2*time.Hour }, []string{"stale"}},
		"younger than max_age":          {func(in *Input) { in.Backups, in.Limits.MaxAge = []core.Backup{one(10)}, 100*time.Hour }, nil},
		"age does not matter":           {func(in *Input) { in.Backups, in.Limits.MaxAge = []core.Backup{one(10)}, -1 }, nil},
		"no schedule":                   {func(in *Input) { in.Backups, in.Scheduled = []core.Backup{one(10)}, false }, nil},
		"only an imported one is young": {func(in *Input) { b := one(99); b.Origin = &core.Origin{}; in.Backups = []core.Backup{one(50), b} }, []string{"stale"}},
		"missing":                       {func(in *Input) {}, []string{"missing"}},
		"the first is still to come":    {func(in *Input) { in.Added, in.Expected = at(99), at(90) }, nil},
		"the first may be running":      {func(in *Input) { in.Added, in.Expected = at(98), at(99.5) }, nil},
		"hourly, and none":              {func(in *Input) { in.Interval, in.Expected = time.Hour, at(99.9) }, []string{"missing"}},
		"none and max_age":              {func(in *Input) { in.Limits.MaxAge = 50 * time.Hour }, []string{"missing"}},
		"none yet and max_age":          {func(in *Input) { in.Limits.MaxAge = 200 * time.Hour }, nil},
		"none, no schedule":             {func(in *Input) { in.Scheduled = false }, []string{"(missing)"}},
		"switched off":                  {func(in *Input) { in.Scheduled, in.Off = false, true }, []string{"(off)"}},
		"switched off, and max_age":     {func(in *Input) { in.Scheduled, in.Off, in.Limits.MaxAge = false, true, time.Hour }, []string{"(off)", "missing"}},
		"a schedule nobody understands": {func(in *Input) { in.Scheduled, in.Unusable = false, `week_days: there is no "mondy"` }, []string{"schedule"}},
		"failed":                        {func(in *Input) { in.Backups, in.LastRuns = []core.Backup{one(80)}, failed(core.CodeDatabase) }, []string{"failed"}},
		"failed for long":               {func(in *Input) { in.Backups, in.LastRuns = []core.Backup{one(20)}, failed(core.CodeDatabase) }, []string{"failed", "stale"}},
		"failed, and done elsewhere":    {func(in *Input) { in.Backups, in.LastRuns = []core.Backup{one(99.9)}, failed(core.CodeDatabase) }, nil},
		"failed for the database, and files came after it": {func(in *Input) { split(in, 99.8) }, []string{"failed db"}},
		"failed for the database, and it came after it":    {func(in *Input) { split(in, 99.8, one(99.9)) }, nil},
		"failed for the database, and all came after it":   {func(in *Input) { split(in, 99.8, full(99.9)) }, nil},
		"failed for the whole, and a part came after it": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{full(80), one(90), one(99.9)}, failed(core.CodeDatabase)
		}, []string{"failed"}},
		"failed for the whole, as it is now": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{full(-9000)}, failed(core.CodeDatabase)
			for h := range 11 {
				in.Backups = append(in.Backups, one(80+float64(h)))
			}
			in.Backups = append(in.Backups, one(99.9))
		}, nil},
		"failed by hand, and all came in parts": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{one(80), filesOnly(81), one(99.8), filesOnly(99.9)}, failed(core.CodeDatabase)
			in.LastRuns[0].Trigger, in.LastRuns[0].Schedule = "manual", ""
		}, nil},
		"failed by hand, and a part came": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{one(80), filesOnly(81), filesOnly(99.9)}, failed(core.CodeDatabase)
			in.LastRuns[0].Trigger, in.LastRuns[0].Schedule = "manual", ""
		}, []string{"failed"}},
		"of the future, and stale": {func(in *Input) { in.Backups = []core.Backup{one(20), future()} }, []string{"future fffff", "stale"}},
		"of the future, and failed": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{one(80), future()}, failed(core.CodeDatabase)
		}, []string{"future fffff", "failed"}},
		"of the future, and missing":      {func(in *Input) { in.Backups = []core.Backup{future()} }, []string{"future fffff", "missing"}},
		"of a clock that is little ahead": {func(in *Input) { in.Backups = []core.Backup{one(100.1)} }, nil},
		"first seen in the future":        {func(in *Input) { in.Added = at(9000) }, []string{"missing"}},
		"damaged, of the future": {func(in *Input) {
			b := future()
			b.Damaged = atp(99)
			in.Backups = []core.Backup{one(80), b}
		}, []string{"future fffff", "damaged fffff"}},
		"incomplete, of the future": {func(in *Input) {
			b := future()
			b.Warnings = []core.Warning{{Code: "unreadable", Object: "/srv/a"}}
			in.Backups = []core.Backup{one(80), b}
		}, []string{"future fffff"}},
		"was locked out": {func(in *Input) { in.Backups, in.LastRuns = []core.Backup{one(80)}, failed(core.CodeLocked) }, []string{"(locked)"}},
		"cancelled": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{one(80)}, []LastRun{{Run: core.Run{Started: at(99), Outcome: core.OutcomeCancelled}}}
		}, nil},
		"no check at all": {func(in *Input) { in.Limits.Off = true }, nil},
		"the repository failed": {func(in *Input) { in.Backups, in.LastRuns = []core.Backup{one(20)}, failed(core.CodeNoRepository) },
			[]string{"failed app helpdesk", "stale app helpdesk"}},
		"the repository's disk failed": {func(in *Input) {
			in.Backups, in.LastRuns = []core.Backup{one(20)}, failed(core.CodeDisk)
			in.LastRuns[0].Fault = "repository"
		}, []string{"failed app helpdesk", "stale app helpdesk"}},
		"something is missing in it": {func(in *Input) {
			b := one(80)
			b.Warnings = []core.Warning{{Code: "unreadable", Object: "/srv/a", Message: "permission denied"}, {Code: "vanished", Object: "/srv/b", Message: "gone"}}
			in.Backups = []core.Backup{b}
		}, []string{"(incomplete /srv/a)"}},
		"damaged": {func(in *Input) {
			a, b := one(70), one(80)
			a.ID, a.Damaged = "bad", atp(90)
			in.Backups = []core.Backup{a, b}
		}, []string{"damaged bad"}},
		"never verified": {func(in *Input) { in.Backups, in.Limits.VerifyAge = []core.Backup{one(90)}, 50*time.Hour }, []string{"verify-age"}},
		"not yet verified": {func(in *Input) {
			in.Backups, in.Limits.VerifyAge, in.Added = []core.Backup{one(90)}, 50*time.Hour, at(60)
		}, nil},
		"verified long ago": {func(in *Input) {
			b := one(80)
			b.Verified = atp(40)
			in.Backups, in.Limits.VerifyAge, in.Limits.DrillAge = []core.Backup{b}, 50*time.Hour, 200*time.Hour
		}, []string{"verify-age"}},
		"proven": {func(in *Input) {
			b := one(80)
			b.Verified = atp(81)
			in.Backups, in.Limits.VerifyAge, in.Limits.DrillAge, in.Drilled = []core.Backup{b}, 50*time.Hour, 50*time.Hour, at(70)
		}, nil},
		"no drill": {func(in *Input) { in.Backups, in.Limits.DrillAge = []core.Backup{one(80)}, 50*time.Hour }, []string{"drill-age"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := Input{App: "helpdesk", Now: at(100), Scheduled: true, Interval: 24 * time.Hour, Expected: at(96), Added: at(0)}
			c.given(&in)
			problems := Judge(in)
			if diff := cmp.Diff(append([]string{}, c.want...), names(problems)); diff != "" {
				t.Fatalf("(-want +got):\n%s", diff)
			}
			for _, p := range problems {
				repositorys := strings.HasPrefix(p.Object, "app ")
				if repositorys != (p.Topic == core.TopicRepository) || repositorys != (p.App == "") {
					t.Errorf("whose problem is it: %+v", p)
				}
				if p.Message == "" || p.Hint == "" || strings.HasSuffix(p.Message, ".") {
					t.Errorf("words: %+v", p)
				}
			}
		})
	}
}

func TestFailedWords(t *testing.T) {
	t.Parallel()
	in := Input{App: "helpdesk", Now: at(100), Location: time.FixedZone("CET", 3600), Backups: []core.Backup{one(80)}}
	in.LastRuns = []LastRun{{Run: core.Run{Started: at(99), Outcome: core.OutcomeFailed, Code: core.CodeDatabase, Message: "dump table a: the server is gone", Hint: "start it"}}}
	want := []core.Problem{{
		App: "helpdesk", Topic: core.TopicBackup, Name: "failed", Level: core.LevelAlarm, Hint: "start it",
		Message: "the backup of 2026-01-06 03:30 CET failed: dump table a: the server is gone; the newest that is there is 76e68ec6 of 2026-01-05 08:30 CET",
	}}
	if diff := cmp.Diff(want, Judge(in)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestRepository judges the repository at hour 1000.
func TestRepository(t *testing.T) {
	t.Parallel()
	const gb = 1_000_000_000
	daily := func(n int, bytes int64, more ...int64) (out []Stored) {
		for d := range n {
			b := bytes
			if d < len(more) {
				b = more[d]
			}
			out = append(out, Stored{at(1000 - 24*float64(n-d)), b})
		}
		return out
	}
	space := func(free, total int64) *core.Space {
		return &core.Space{Used: -1, Free: free, Total: total, Maintained: atp(990)}
	}
	sizes := func(n int, of func(day int) int64) (out []Stored) {
		for d := range n {
			out = append(out, Stored{at(1000 - 24*float64(n-d)), of(d)})
		}
		return out
	}
	for name, c := range map[string]struct {
		given Repository
		want  []string
	}{
		"nothing known":             {Repository{}, nil},
		"well":                      {Repository{Space: space(500*gb, 1000*gb), Stored: daily(30, gb)}, nil},
		"gone":                      {Repository{Err: &core.Error{Code: core.CodeNoRepository, Message: "gone"}}, []string{"repository-unusable"}},
		"unusable":                  {Repository{Err: errors.New("no")}, []string{"repository-unusable"}},
		"lost backups":              {Repository{Err: &core.Error{Code: core.CodeDamage, Message: "lost"}}, []string{"repository-damaged"}},
		"no limit is known":         {Repository{Space: space(-1, -1), Stored: daily(30, gb)}, nil},
		"low":                       {Repository{Space: space(99*gb, 1000*gb)}, []string{"space-low"}},
		"not low":                   {Repository{Space: space(100*gb, 1000*gb)}, nil},
		"low in bytes":              {Repository{Space: space(99*gb, -1), Limits: Limits{FreeMinBytes: 100 * gb}}, []string{"space-low"}},
		"low is fine":               {Repository{Space: space(1, 1000*gb), Limits: Limits{FreeMin: -1}}, nil},
		"full soon":                 {Repository{Space: space(130*gb, 1000*gb), Stored: daily(30, 10*gb)}, []string{"space-forecast"}},
		"full not so soon":          {Repository{Space: space(150*gb, 1000*gb), Stored: daily(30, 10*gb)}, nil},
		"low, and full soon":        {Repository{Space: space(50*gb, 1000*gb), Stored: daily(30, 10*gb)}, []string{"space-low", "space-forecast"}},
		"a few days say nothing":    {Repository{Space: space(130*gb, 1000*gb), Stored: daily(6, 100*gb)}, nil},
		"a new app's first backup":  {Repository{Space: space(130*gb, 1000*gb), Stored: daily(30, gb, gb, gb, 600*gb)}, nil},
		"others are removed":        {Repository{Space: space(130*gb, 1000*gb), Stored: daily(30, 10*gb), Used: sizes(30, func(d int) int64 { return 500*gb + int64(d%3)*10*gb })}, nil},
		"grows, and is maintained":  {Repository{Space: space(130*gb, 1000*gb), Used: sizes(400, func(d int) int64 { return int64(d)*11*gb - int64(d%7)*gb/2 })}, []string{"space-forecast"}},
		"shrinks":                   {Repository{Space: space(130*gb, 1000*gb), Used: sizes(30, func(d int) int64 { return int64(100-d) * gb })}, nil},
		"not maintained":            {Repository{Space: &core.Space{Free: -1, Total: -1, Maintained: atp(700), Attempted: atp(999)}}, []string{"maintenance-age"}},
		"maintained":                {Repository{Space: &core.Space{Free: -1, Total: -1, Maintained: atp(900)}}, nil},
		"never maintained":          {Repository{Space: &core.Space{Free: -1, Total: -1}, Stored: daily(30, gb)}, []string{"maintenance-age"}},
		"new, not maintained yet":   {Repository{Space: &core.Space{Free: -1, Total: -1}, Stored: daily(5, gb)}, nil},
		"maintenance of others":     {Repository{Space: &core.Space{Free: -1, Total: -1}, Stored: daily(30, gb), Limits: Limits{MaintenanceAge: -1}}, nil},
		"checks are off altogether": {Repository{Err: errors.New("no"), Limits: Limits{Off: true}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.given.Now = at(1000)
			got := JudgeRepository(c.given)
			if diff := cmp.Diff(append([]string{}, c.want...), names(got)); diff != "" {
				t.Fatalf("(-want +got):\n%s\n%+v", diff, got)
			}
			for _, p := range got {
				if p.App != "" || p.Topic != core.TopicRepository || p.Message == "" || p.Hint == "" {
					t.Errorf("words: %+v", p)
				}
				t.Log(p.Message)
			}
		})
	}
}

func TestNumbers(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		count(0): "0", count(999): "999", count(1000): "1,000", count(-12345678): "-12,345,678", count(-123): "-123",
		size(0): "0 bytes", size(999): "999 bytes", size(1000): "1.0 kB", size(17_700_000): "17.7 MB", size(999_999): "1.0 MB", size(430_000_000_000): "430 GB",
		span(90 * time.Minute): "90 minutes", span(26 * time.Hour): "26 hours", span(8 * 24 * time.Hour): "8 days", span(time.Minute): "1 minute",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// full is a backup of the database and of files.
func full(hour float64) core.Backup {
	b := one(hour)
	b.ID = fmt.Sprintf("f%07.0f", hour)
	b.Components = core.ComponentSizes{core.ComponentDatabase: {Rows: 10, Bytes: 1000}, core.ComponentFiles: {Files: 3, Bytes: 1000}}
	return b
}

func weekly(hours, last float64) Expected {
	return Expected{Name: "weekly", Interval: time.Duration(hours * float64(time.Hour)), Last: at(last)}
}

// filesOnly is a backup of just files.
func filesOnly(hour float64) core.Backup {
	b := full(hour)
	delete(b.Components, core.ComponentDatabase)
	return b
}

// future is a backup of a clock that was two months ahead.
func future() core.Backup {
	b := full(100 + 60*24)
	b.ID = "fffff"
	return b
}

// TestSizeWithoutCode: the code, which is most of many backups, does not hide
// that the rest is hardly there.
func TestSizeWithoutCode(t *testing.T) {
	t.Parallel()
	b := full(99)
	b.Components[core.ComponentCode] = core.ComponentSize{Files: 9000, Bytes: 1 << 30}
	b.LogicalBytes = 1<<30 + 2000
	for limit, alarms := range map[int64]bool{1000: false, 1999: false, 2000: true, 1 << 20: true} {
		in := Input{App: "helpdesk", Now: at(100), Backups: []core.Backup{b}, Limits: Limits{SizeMin: limit}}
		got := slices.ContainsFunc(Judge(in), func(p core.Problem) bool { return p.Name == "size-min" })
		if got != alarms {
			t.Errorf("at least %d bytes: %v", limit, got)
		}
	}
}
