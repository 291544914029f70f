package auditor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/evidence/page"
)

// mostExceptions bounds how many exceptions a document lists.
const mostExceptions = 2000

// settling is how long after its due time a run may still have no record.
const settling = 15 * time.Minute

// Build makes the document. The same input gives the same document.
func Build(in Input) Document {
	d := Document{
		Schema: Schema, Generated: in.Generated.UTC(), From: in.From.UTC(), To: in.To.UTC(), Backstay: in.Backstay, Host: in.Host, By: in.By, Signer: in.Signer,
		Apps: []AppFacts{}, Kits: append([]Kit{}, in.Kits...), KitsKnown: in.KitsKnown, Gaps: append([]string{}, in.Gaps...), Exceptions: []Exception{}, Notes: []string{},
		Repository: repoFacts(in.Repository), Access: accessFacts(in.Audit),
	}
	d.What = "report " + page.Day(in.From) + " to " + page.Day(in.To)
	slices.SortFunc(d.Kits, func(a, b Kit) int { return strings.Compare(a.ID, b.ID) })
	began := in.From
	if in.RecordsSince.After(began) {
		began = in.RecordsSince
		d.Notes = append(d.Notes, "the records of runs begin at "+page.When(in.RecordsSince)+": of what was due before that nothing is known")
	}
	all := machineExceptions(in)
	for _, a := range in.Apps {
		found := appExceptions(a, in)
		facts := appFacts(a, in, began)
		facts.Exceptions = len(found)
		d.Apps, all = append(d.Apps, facts), append(all, found...)
		if !a.BackupsKnown {
			d.Gaps = append(d.Gaps, a.Name+": its backups could not all be listed")
		}
		if !a.DrillsKnown {
			d.Gaps = append(d.Gaps, a.Name+": reports of drills could not be read, or are not as they were signed; those are not in this document")
		}
	}
	slices.SortStableFunc(all, func(a, b Exception) int { return a.Time.Compare(b.Time) })
	if len(all) > mostExceptions { // the newest matter most
		d.Unlisted = len(all) - mostExceptions
		all = all[d.Unlisted:]
	}
	d.Exceptions = append(d.Exceptions, all...)
	d.Standards = standards(d, in)
	return d
}

func appFacts(a App, in Input, began time.Time) AppFacts {
	f := AppFacts{
		Name: a.Name, Profile: a.Profile, Schedules: []ScheduleFacts{}, Drills: []DrillFacts{}, Restores: []RestoreFacts{},
		Retention: append([]string{}, a.Retention...), DrillsKnown: a.DrillsKnown,
	}
	for _, s := range a.Schedules {
		f.Schedules = append(f.Schedules, held(s, a.Runs, latest(began, s.Since), in.To))
	}
	runs := slices.SortedFunc(slices.Values(a.Runs), func(x, y core.Run) int { return cmp.Or(x.Started.Compare(y.Started), cmp.Compare(x.ID, y.ID)) })
	for _, r := range runs {
		switch {
		case r.Kind == core.RunBackup && r.Due == nil && done(r):
			f.ByHand++
		case r.Kind == core.RunRestore || r.Kind == core.RunUndo:
			f.Restores = append(f.Restores, RestoreFacts{Time: r.Started.UTC(), Kind: r.Kind, Backup: r.Backup, Outcome: string(r.Outcome), TookMS: took(r), By: r.By})
		case r.Kind == core.RunVerify && r.Outcome != core.OutcomeMissed:
			f.Verification.Runs++
			if done(r) {
				f.Verification.OK++
			}
			if r.Code == core.CodeDamage {
				f.Verification.Damage++
			}
		}
	}
	if a.BackupsKnown {
		f.Backups = backupFacts(a.Backups, in.Generated)
		for _, b := range a.Backups {
			f.Verification.Last = later(f.Verification.Last, b.Verified)
		}
	}
	f.RPO = recoveryPoint(a, in, began)
	f.drills(a, in)
	return f
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// done says whether a run did what it was for.
func done(r core.Run) bool {
	return r.Outcome == core.OutcomeOK || r.Outcome == core.OutcomeWarnings
}

func took(r core.Run) int64 {
	if r.Finished == nil {
		return 0
	}
	return max(0, r.Finished.Sub(r.Started).Milliseconds())
}

func later(a, b *time.Time) *time.Time {
	if b == nil || a != nil && !b.After(*a) {
		return a
	}
	t := b.UTC()
	return &t
}

// held holds a schedule against the records, from the time on at which they
// begin. A run names the due time that it stands for; one that stands for
// several names the last of them.
func held(s Schedule, runs []core.Run, began, to time.Time) ScheduleFacts {
	f := ScheduleFacts{Kind: s.Kind, Name: s.Name, When: s.When, Off: s.Off}
	byDue := map[int64]core.Run{}
	var dues []int64
	for _, r := range runs {
		if r.Kind != s.Kind || r.Schedule != s.Name || r.Due == nil {
			continue
		}
		at := r.Due.Unix()
		before, twice := byDue[at]
		if !twice {
			dues = append(dues, at)
		}
		if !twice || !done(before) { // one that was begun again counts by its success
			byDue[at] = r
		}
	}
	slices.Sort(dues)
	for _, t := range s.Due {
		if t.Before(began) || t.After(to) {
			continue
		}
		r, ran := byDue[t.Unix()]
		stood := false
		if !ran {
			if i, _ := slices.BinarySearch(dues, t.Unix()); i < len(dues) {
				r = byDue[dues[i]]
				stood = r.Trigger == "catch-up" || r.Outcome == core.OutcomeMissed
			} else if to.Sub(t) < settling {
				continue
			}
		}
		f.Due++
		switch {
		case stood && r.Outcome == core.OutcomeMissed:
			f.Missed++
		case stood:
			f.CaughtUp++
		case !ran:
			f.NoRecord++
		default:
			f.tally(r.Outcome)
		}
	}
	return f
}

func (s *ScheduleFacts) tally(o core.Outcome) {
	switch o {
	case core.OutcomeOK:
		s.OK++
	case core.OutcomeWarnings:
		s.Warnings++
	case core.OutcomeCancelled:
		s.Cancelled++
	case core.OutcomeMissed:
		s.Missed++
	case core.OutcomeRunning:
		s.Running++
	default:
		s.Failed++
	}
}

func backupFacts(backups []core.Backup, now time.Time) *BackupFacts {
	f := &BackupFacts{Number: len(backups), Damaged: []string{}}
	for _, b := range backups {
		at := b.Time.UTC()
		if f.Oldest == nil || at.Before(*f.Oldest) {
			f.Oldest = &at
		}
		f.Stored += b.StoredBytes
		if b.Verified != nil {
			f.Verified++
		}
		if b.Drilled != nil {
			f.Drilled++
		}
		if b.Pinned {
			f.Pinned++
		}
		if b.Damaged != nil {
			f.Damaged = append(f.Damaged, b.ID)
			continue
		}
		if !b.Aside() && (f.Newest == nil || at.After(*f.Newest)) {
			f.Newest, f.Bytes, f.AgeMS = &at, b.LogicalBytes, max(0, now.Sub(at).Milliseconds())
		}
	}
	slices.Sort(f.Damaged)
	return f
}

// recoveryPoint measures the longest time between two good backups: what a loss
// at the worst moment of the period would have cost.
func recoveryPoint(a App, in Input, began time.Time) Target {
	target := Target{TargetMS: a.RPO.Milliseconds()}
	known := map[string]bool{}
	var good []time.Time
	for _, b := range a.Backups {
		known[b.ID] = true
		if b.Damaged == nil && !b.Aside() && !b.Time.After(in.To) {
			good = append(good, b.Time)
		}
	}
	for _, r := range a.Runs { // of backups that retention has removed since
		if r.Kind == core.RunBackup && done(r) && !known[r.Backup] && !r.Started.After(in.To) {
			good = append(good, r.Started)
		}
	}
	if len(good) == 0 {
		return target
	}
	slices.SortFunc(good, time.Time.Compare)
	// The period begins with the last backup before it, else with the first in it:
	// that there was none before may only mean that nothing is known of it.
	i, _ := slices.BinarySearchFunc(good, began, time.Time.Compare)
	last := good[max(0, i-1)]
	for _, next := range append(good[max(0, i-1)+1:], in.To) {
		if gap := next.Sub(last).Milliseconds(); !target.Known || gap > target.MeasuredMS {
			since, until := last.UTC(), next.UTC()
			target.Known, target.MeasuredMS, target.From, target.To = true, gap, &since, &until
		}
		target.Of++
		last = next
	}
	target.Missed = target.TargetMS > 0 && target.MeasuredMS > target.TargetMS
	return target
}

func (f *AppFacts) drills(a App, in Input) {
	f.RTO.TargetMS = a.RTO.Milliseconds()
	for _, d := range a.Drills {
		if d.Started.Before(in.From) || d.Started.After(in.To) {
			continue
		}
		x := DrillFacts{Report: d.ID, Time: d.Started.UTC(), Backup: d.Backup.ID, Mode: d.Mode, Passed: d.Passed, Failed: []string{}}
		for _, p := range d.Proofs {
			switch p.Outcome {
			case core.ProofOK:
				x.OK++
			case core.ProofSkipped:
				x.Skipped++
			}
		}
		for _, p := range d.Failed() {
			x.Failed = append(x.Failed, sayProof(p))
		}
		if !d.Passed && len(x.Failed) == 0 {
			x.Failed = append(x.Failed, cmp.Or(d.Failure, "it did not pass, and does not say why"))
		}
		if d.Passed {
			x.RTOMS = d.RTO.MeasuredMS
		}
		if d.Passed && d.Mode == evidence.DrillFull { // a part comes back faster than the whole
			f.RTO.Of++
			f.RTO.Known, f.RTO.MeasuredMS = true, max(f.RTO.MeasuredMS, x.RTOMS)
		}
		f.Drills = append(f.Drills, x)
	}
	f.RTO.Missed = f.RTO.TargetMS > 0 && f.RTO.MeasuredMS > f.RTO.TargetMS
	slices.SortStableFunc(f.Drills, func(a, b DrillFacts) int { return a.Time.Compare(b.Time) })
}

func sayProof(p core.Proof) string {
	if p.Object == "" {
		return p.Message
	}
	return p.Object + ": " + p.Message
}

func repoFacts(r Repository) RepoFacts {
	f := RepoFacts{Address: r.Address, Kind: cmp.Or(r.Kind, NotKnown), Where: cmp.Or(r.Where, NotKnown), SameMachine: yesNo(r.SameMachine), Immutable: yesNo(r.Locked),
		Encryption: cmp.Or(r.Encryption, NotKnown), Hash: cmp.Or(r.Hash, NotKnown), UsedBytes: -1, FreeBytes: -1}
	if r.Space != nil {
		f.UsedBytes, f.FreeBytes = r.Space.Used, r.Space.Free
	}
	return f
}

func yesNo(b *bool) string {
	switch {
	case b == nil:
		return NotKnown
	case *b:
		return "yes"
	}
	return "no"
}

func accessFacts(a Audit) AccessFacts {
	f := AccessFacts{Known: a.Known, Entries: a.Read, Broken: a.Broken, Reason: a.Reason, Actions: []ActionFacts{}}
	by := map[string]*ActionFacts{}
	who := map[string][]string{}
	for _, e := range a.Entries {
		x := by[e.Action]
		if x == nil {
			x = &ActionFacts{Action: e.Action}
			by[e.Action] = x
		}
		switch {
		case e.Outcome == "begun":
			x.Begun++
		case bad(e):
			x.Failed++
		}
		if !slices.Contains(who[e.Action], e.Who) {
			who[e.Action] = append(who[e.Action], e.Who)
		}
	}
	for action, x := range by {
		slices.Sort(who[action])
		x.Who = core.Some(who[action], 5)
		f.Actions = append(f.Actions, *x)
	}
	slices.SortFunc(f.Actions, func(a, b ActionFacts) int { return strings.Compare(a.Action, b.Action) })
	return f
}

// bad says whether an entry of the audit log tells of something that did not go
// as asked.
func bad(e core.Audited) bool {
	return e.Outcome != "begun" && e.Outcome != "ok" && e.Outcome != fmt.Sprintf("exit %d", core.CodeWarnings.ExitCode())
}
