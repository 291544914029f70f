package auditor_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/evidence/auditor"
)

var update = flag.Bool("update", false, "write the golden files anew")

const hostile = `<script>alert("x")</script>&'</table>{{.Host}}`

func day(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }

func pointer[T any](v T) *T { return &v }

func run(id int64, kind string, due time.Time, outcome core.Outcome) core.Run {
	finished := due.Add(4 * time.Minute)
	return core.Run{ID: id, App: "desk", Kind: kind, Trigger: "schedule", Schedule: "night", Due: &due, Started: due.Add(2 * time.Second), Finished: &finished, Outcome: outcome, By: "service (root)"}
}

// input is a week with all that can happen.
func input() auditor.Input {
	in := auditor.Input{
		Generated: day(8), From: day(1), To: day(8), Backstay: "1.2.3", Host: "vault", By: "root", Signer: strings.Repeat("5a", 32), RecordsSince: day(1).AddDate(0, -1, 0),
		Repository: auditor.Repository{Address: "file:///srv/backups", Kind: "file", Where: "a folder in a file system of type ext4", SameMachine: pointer(true), Locked: pointer(false), Encryption: "AES256-GCM-HMAC-SHA256", Hash: "BLAKE2B-256-128", Space: &core.Space{Used: 7 << 30, Free: -1}},
		Kits:       []auditor.Kit{{ID: "k1", Made: pointer(day(1)), Proven: pointer(day(2))}}, KitsKnown: true,
		Audit: auditor.Audit{Known: true, Read: 41, Entries: []core.Audited{
			{Time: day(3), Who: "ada", Action: "restore", Object: "desk latest --force=collation", Outcome: "begun"},
			{Time: day(3).Add(time.Hour), Who: "ada", Action: "restore", Object: "desk latest --force=collation", Outcome: "ok"},
			{Time: day(4), Who: "bob", Action: "delete", Object: "0123", Outcome: "not_found", Detail: "there is no such backup"},
		}},
	}
	due := func(n int) time.Time { return day(n).Add(2 * time.Hour) }
	desk := auditor.App{Name: "desk", Profile: "itflow", RPO: 30 * time.Hour, RTO: time.Hour, Retention: []string{"the newest of each of 7 days"}, BackupsKnown: true, DrillsKnown: true}
	s := auditor.Schedule{Kind: core.RunBackup, Name: "night", When: "02:00 UTC"}
	for n := 1; n <= 7; n++ {
		s.Due = append(s.Due, due(n))
	}
	desk.Schedules = []auditor.Schedule{s}
	failed := run(2, core.RunBackup, due(2), core.OutcomeFailed)
	failed.Message = "the disk is full"
	caught := run(5, core.RunBackup, due(5), core.OutcomeOK) // stands for the 4th too
	caught.Trigger, caught.Backup = "catch-up", "five"
	warned := run(3, core.RunBackup, due(3), core.OutcomeWarnings)
	warned.Warnings, warned.Backup = 2, "three"
	first := run(1, core.RunBackup, due(1), core.OutcomeOK)
	first.Backup = "one"
	missed := run(6, core.RunBackup, due(6), core.OutcomeMissed)
	missed.Message = "nothing ran at its time"
	hand := core.Run{ID: 9, App: "desk", Kind: core.RunBackup, Trigger: "manual", Started: day(5).Add(12 * time.Hour), Finished: pointer(day(5).Add(13 * time.Hour)), Outcome: core.OutcomeOK, Backup: "hand"}
	restore := core.Run{ID: 10, App: "desk", Kind: core.RunRestore, Trigger: "manual", Started: day(3), Finished: pointer(day(3).Add(time.Hour)), Outcome: core.OutcomeOK, Backup: "one", By: "ada"}
	verify := core.Run{ID: 11, App: "desk", Kind: core.RunVerify, Trigger: "manual", Started: day(6), Finished: pointer(day(6).Add(time.Hour)), Outcome: core.OutcomeOK}
	gone := core.Run{ID: 12, App: "desk", Kind: core.RunDrill, Backup: "one", Trigger: "manual", Started: day(6), Finished: pointer(day(6).Add(time.Hour)), Outcome: core.OutcomeOK}
	desk.Runs = []core.Run{hand, verify, restore, failed, first, caught, warned, missed, gone}
	desk.Backups = []core.Backup{
		{ID: "one", Time: due(1), LogicalBytes: 5 << 30, Verified: pointer(day(6)), Drilled: pointer(day(7))},
		{ID: "three", Time: due(3), LogicalBytes: 5 << 30},
		{ID: "hand", Time: day(5).Add(12 * time.Hour), LogicalBytes: 6 << 30, StoredBytes: 1 << 20, Pinned: true},
	}
	passed := evidence.Drill{ID: "desk-1", Run: 20, App: "desk", Started: day(7), Finished: day(7).Add(time.Minute), Mode: evidence.DrillFull, Passed: true, Backup: evidence.DrilledBackup{ID: "one"},
		RTO: evidence.Objective{MeasuredMS: 62000}, Place: evidence.Place{PHP: "8.4"}, Proofs: []core.Proof{{Name: "rows", Outcome: core.ProofOK}, {Name: "login", Outcome: core.ProofSkipped}}}
	bad := evidence.Drill{ID: "desk-2", App: "desk", Started: day(6), Finished: day(6).Add(time.Minute), Mode: evidence.DrillFull, Backup: evidence.DrilledBackup{ID: "three"},
		Proofs: []core.Proof{{Name: "stored-data", Outcome: core.ProofFailed, Object: "table tickets", Message: "it cannot be read back"}}}
	desk.Drills = []evidence.Drill{passed, bad}
	desk.Alarms = []core.Alarm{{ID: 1, App: "desk", Topic: core.TopicBackup, Opened: day(2), Closed: pointer(day(3)), Problems: []core.Problem{{Name: "failed", Message: "the last backup failed"}}}}
	desk.Problems = []core.Problem{{App: "desk", Name: "stale", Message: "the newest backup is 2 days old", Level: core.LevelAlarm}}
	in.Apps = []auditor.App{desk, {Name: "wiki", Profile: "generic", BackupsKnown: true, DrillsKnown: true}}
	return in
}

func TestScheduleAgainstReality(t *testing.T) {
	d := auditor.Build(input())
	want := auditor.ScheduleFacts{Kind: core.RunBackup, Name: "night", When: "02:00 UTC", Due: 7, OK: 2, Warnings: 1, Failed: 1, CaughtUp: 1, Missed: 1, NoRecord: 1}
	if diff := cmp.Diff([]auditor.ScheduleFacts{want}, d.Apps[0].Schedules); diff != "" {
		t.Error(diff)
	}
	if d.Apps[0].ByHand != 1 {
		t.Errorf("%d backups by hand", d.Apps[0].ByHand)
	}
	for name, change := range map[string]func(*auditor.Input){
		"records begin later": func(in *auditor.Input) { in.RecordsSince = day(3) },
		"of these runs only":  func(in *auditor.Input) { in.Apps[0].Schedules[0].Since = day(3) },
	} {
		in := input()
		change(&in)
		if got := auditor.Build(in).Apps[0].Schedules[0]; got.Due != 5 || got.Failed != 0 {
			t.Errorf("%s: %+v", name, got)
		}
	}
	in := input() // what is due right now may be about to begin
	in.To, in.Generated = day(7).Add(2*time.Hour+time.Minute), day(7).Add(2*time.Hour+time.Minute)
	if got := auditor.Build(in).Apps[0].Schedules[0]; got.Due != 6 || got.NoRecord != 0 {
		t.Errorf("just before it begins: %+v", got)
	}
}

func TestObjectives(t *testing.T) {
	d := auditor.Build(input())
	// From the backup that was made by hand on the 5th to the end.
	want := auditor.Target{Known: true, MeasuredMS: (60 * time.Hour).Milliseconds(), TargetMS: (30 * time.Hour).Milliseconds(), Missed: true, From: pointer(day(5).Add(12 * time.Hour)), To: pointer(day(8)), Of: 4}
	// The run of the 5th has a backup that is gone since: it was one then.
	if diff := cmp.Diff(want, d.Apps[0].RPO, cmp.FilterPath(func(p cmp.Path) bool { return p.Last().String() == ".Of" }, cmp.Ignore())); diff != "" {
		t.Error(diff)
	}
	if got := d.Apps[0].RTO; !got.Known || got.MeasuredMS != 62000 || got.Missed || got.Of != 1 {
		t.Errorf("RTO: %+v", got)
	}
	if got := d.Apps[1]; got.RPO.Known || got.RTO.Known || got.RPO.Missed {
		t.Errorf("an app without anything: %+v %+v", got.RPO, got.RTO)
	}
	in := input() // a damaged backup is none
	for i := range in.Apps[0].Backups {
		in.Apps[0].Backups[i].Damaged = pointer(day(7))
	}
	in.Apps[0].Runs = nil
	if got := auditor.Build(in).Apps[0]; got.RPO.Known || got.Backups.Newest != nil || len(got.Backups.Damaged) != 3 {
		t.Errorf("all are damaged: %+v %+v", got.RPO, got.Backups)
	}
}

func TestExceptions(t *testing.T) {
	d := auditor.Build(input())
	got := map[string]bool{}
	for _, e := range d.Exceptions {
		got[e.App+"/"+e.Kind] = true
		if e.Source == "" || e.What == "" || e.Time.IsZero() {
			t.Errorf("%+v says too little", e)
		}
	}
	for _, want := range []string{"desk/backup failed", "desk/backup missed", "desk/backup with warnings", "desk/alarm: backup", "desk/alarm now: stale", "desk/drill failed", "desk/report missing", "/forced", "/action failed"} {
		if !got[want] {
			t.Errorf("there is no %s in %v", want, got)
		}
	}
	if len(got) != 9 {
		t.Errorf("%v", got)
	}
}

// TestHonest: what is not so, or not known, is never told as met.
func TestHonest(t *testing.T) {
	empty := auditor.Build(auditor.Input{Generated: day(8), From: day(1), To: day(8), Apps: []auditor.App{{Name: "desk"}}})
	for _, s := range empty.Standards {
		for _, r := range s.Rows {
			if r.Status == auditor.Met || r.Asks == "" || r.Here == "" || r.Evidence == "" || r.Ref == "" {
				t.Errorf("with nothing known, %s: %+v", s.Name, r)
			}
		}
	}
	status := func(d auditor.Document, standard int, ref, part string) auditor.Status {
		for _, r := range d.Standards[standard].Rows {
			if r.Ref == ref && strings.Contains(r.Asks, part) {
				return r.Status
			}
		}
		t.Fatalf("no row %s %s", ref, part)
		return ""
	}
	d := auditor.Build(input())
	for _, c := range []struct {
		standard  int
		ref, part string
		want      auditor.Status
	}{
		{0, "A.8.13", "made as planned", auditor.Partly},
		{0, "A.8.13", "kept apart", auditor.NotMet},
		{0, "A.8.13", "How much may be lost", auditor.NotMet},
		{1, "CP-9(8)", "", auditor.Met},
		{1, "CP-9 d", "", auditor.Partly},
		{1, "CP-9(2)", "", auditor.Partly},
		{1, "CP-10(2)", "", auditor.Partly},
		{2, "1", "off-site", auditor.NotMet},
		{2, "1", "offline", auditor.NotMet},
		{2, "2", "", auditor.Unknown},
		{2, "0", "", auditor.NotMet},
	} {
		if got := status(d, c.standard, c.ref, c.part); got != c.want {
			t.Errorf("%s %s: %s, want %s", c.ref, c.part, got, c.want)
		}
	}
}

func TestGolden(t *testing.T) {
	d := auditor.Build(input())
	page, err := auditor.Page(d)
	if err != nil {
		t.Fatal(err)
	}
	text, err := evidence.MarshalReport(d)
	if err != nil {
		t.Fatal(err)
	}
	again, err := evidence.MarshalReport(auditor.Build(input()))
	if err != nil || !bytes.Equal(text, again) {
		t.Errorf("the same input gives another document: %v", err)
	}
	for name, got := range map[string][]byte{"week.html": page, "week.json": text} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
			t.Errorf("%s (go test -update writes it anew):\n%s", path, diff)
		}
	}
}

// TestInert: what stands in names is text, and the page needs and runs nothing.
func TestInert(t *testing.T) {
	in := input()
	in.Host, in.By, in.Backstay, in.Gaps = hostile, hostile, hostile, []string{hostile}
	in.Repository.Address, in.Repository.Where, in.Repository.Encryption = hostile, hostile, hostile
	in.Kits[0].ID, in.Kits[0].Stale = hostile, hostile
	for i := range in.Audit.Entries {
		in.Audit.Entries[i] = core.Audited{Time: day(3), Who: hostile, Action: hostile, Object: hostile, Outcome: hostile, Detail: hostile}
	}
	a := &in.Apps[0]
	a.Name, a.Profile, a.Retention, a.Schedules[0].Name, a.Schedules[0].When = hostile, hostile, []string{hostile}, hostile, hostile
	for i := range a.Runs {
		a.Runs[i].Message, a.Runs[i].By, a.Runs[i].Backup = hostile, hostile, hostile
	}
	a.Drills[1].Proofs[0].Object, a.Drills[1].ID = hostile, hostile
	a.Backups[0].ID, a.Backups[0].Damaged = hostile, pointer(day(3))
	text, err := auditor.Page(auditor.Build(in))
	if err != nil {
		t.Fatal(err)
	}
	low := bytes.ToLower(text)
	for _, bad := range []string{"<script", "<img", "<link", "src=", "href=", "url(", "http://", "https://"} {
		if bytes.Contains(low, []byte(bad)) {
			t.Errorf("the page has %s", bad)
		}
	}
	if !bytes.Contains(text, []byte("&lt;script&gt;")) {
		t.Error("the name is not on the page")
	}
}

// TestManyExceptions: a document stays readable, and says what it leaves out.
func TestManyExceptions(t *testing.T) {
	in := input()
	for i := range 3000 {
		in.Runs = append(in.Runs, core.Run{Kind: core.RunCheck, Started: day(2).Add(time.Duration(i) * time.Second), Outcome: core.OutcomeFailed, Message: "it did not work"})
	}
	d := auditor.Build(in)
	if len(d.Exceptions) != 2000 || d.Unlisted < 1000 || !strings.Contains(d.Counts(), "exceptions") {
		t.Errorf("%d, and %d more", len(d.Exceptions), d.Unlisted)
	}
}
