package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// backup judges whether there are backups, and whether the newest is fresh.
func (j *judge) backup() {
	in := j.in
	if in.Unusable != "" {
		j.add(core.TopicBackup, core.LevelAlarm, "schedule", "", "its schedule cannot be understood, so that nothing is backed up on it: "+in.Unusable,
			"correct the schedule; backstay status shows when the next backup is due")
	}
	if in.Off {
		j.add(core.TopicBackup, core.LevelNotice, "off", "", "its schedule is switched off: no backup is made by itself", "set enabled: true in the schedule, if that is not meant")
	}
	list := captured(in.Backups)
	last := newestOf(complete(list))
	for _, run := range j.failures() {
		j.failed(run, last)
	}
	j.fresh(newestOf(list))
	for _, other := range in.Others {
		j.freshPart(list, other)
	}
	if last != nil && j.limits.SizeMin > 0 && withoutCode(last.LogicalBytes, last.Components) <= j.limits.SizeMin {
		j.add(core.TopicBackup, core.LevelAlarm, "size-min", "",
			fmt.Sprintf("backup %s of %s has %s without the code; it must have more than %s", brief(last.ID), j.when(last.Time), size(withoutCode(last.LogicalBytes, last.Components)), size(j.limits.SizeMin)),
			"backstay show "+brief(last.ID)+" shows what is in it; check.size_min is the limit")
	}
	if len(list) > 0 {
		j.incomplete(list[len(list)-1])
	}
}

func newestOf(list []core.Backup) *core.Backup {
	if len(list) == 0 {
		return nil
	}
	return &list[len(list)-1]
}

// future tells of backups that are dated in the future, and leaves them out of
// what is judged.
func (j *judge) future() {
	j.in, j.later = present(j.in)
	var list []core.Problem
	for _, b := range j.later {
		list = append(list, core.Problem{
			App: j.in.App, Topic: core.TopicBackup, Name: "future", Object: brief(b.ID), Level: core.LevelAlarm,
			Message: fmt.Sprintf("backup %s is dated %s, which is in the future: the clock was or is wrong, and it counts for nothing until then", brief(b.ID), j.when(b.Time)),
			Hint:    "correct the clock (timedatectl); backstay delete " + brief(b.ID) + " removes the backup when it is not wanted",
		})
	}
	j.problems = append(j.problems, atMost(list, "backups are dated in the future")...)
}

// late adds a problem of backups that are not made. Where the repository is why,
// it is the repository's: one cause, one alarm.
func (j *judge) late(repositorys bool, name, object, message, hint string) {
	if !repositorys {
		j.add(core.TopicBackup, core.LevelAlarm, name, object, message, hint)
		return
	}
	j.problems = append(j.problems, core.Problem{Topic: core.TopicRepository, Name: name, Object: strings.TrimSpace("app " + j.in.App + " " + object), Message: message, Hint: hint, Level: core.LevelAlarm})
}

// failures are the last runs that failed and that are not over, the first begun
// first. A failed run is over when a backup came after it, be it of another
// schedule or machine, that holds all that it was for. What was started by hand
// may have been for anything, and is over when later backups together hold all.
func (j *judge) failures() []LastRun {
	list := captured(j.in.Backups)
	open := slices.DeleteFunc(slices.Clone(j.in.LastRuns), func(run LastRun) bool {
		if run.Outcome != core.OutcomeFailed {
			return true
		}
		after := slices.DeleteFunc(slices.Clone(list), func(b core.Backup) bool { return !b.Time.After(run.Started) })
		want := run.Only
		if len(want) == 0 {
			want = held(wholeBefore(list, run.Started))
		}
		if len(after) > 0 && run.Trigger == "manual" {
			return holdsAll(held(after), want)
		}
		return len(holding(after, want)) > 0
	})
	slices.SortStableFunc(open, func(a, b LastRun) int { return a.Started.Compare(b.Started) })
	return open
}

// wholeFor is how long before a run backups say what the whole app is: what was
// left out of the configuration long ago is not waited for.
const wholeFor = 35 * 24 * time.Hour

func wholeBefore(list []core.Backup, at time.Time) []core.Backup {
	n, _ := slices.BinarySearchFunc(list, at, func(b core.Backup, t time.Time) int { return b.Time.Compare(t) })
	first := max(0, n-lookedBack)
	for first > 0 && at.Sub(list[first-1].Time) <= wholeFor {
		first--
	}
	return list[first:n]
}

// holding are the backups of list that have all components of want.
func holding(list []core.Backup, want []core.Component) []core.Backup {
	return slices.DeleteFunc(slices.Clone(list), func(b core.Backup) bool {
		return slices.ContainsFunc(want, func(c core.Component) bool { _, ok := b.Components[c]; return !ok })
	})
}

func holdsAll(have, want []core.Component) bool {
	return !slices.ContainsFunc(want, func(c core.Component) bool { return !slices.Contains(have, c) })
}

// repositoryIsWhy says whether a failed run failed because of the repository.
// Its code does not always say so: a full disk below it, for example.
func repositoryIsWhy(run LastRun) bool {
	return run.Fault == "repository" || run.Code == core.CodeNoRepository || run.Code == core.CodeWrongKey
}

func (j *judge) repositoryFailed() bool { return slices.ContainsFunc(j.failures(), repositoryIsWhy) }

func (j *judge) failed(run LastRun, newest *core.Backup) {
	why, hint, object, of := run.Message, run.Hint, "", ""
	if why == "" {
		why = "the run ended without saying why"
	}
	if hint == "" {
		hint = "backstay backup " + j.in.App + " tries again and says more; backstay runs " + j.in.App + " lists what ran"
	}
	if len(run.Only) > 0 {
		object, of = run.Schedule, "of "+core.Some(words(run.Only), 5)+" "
		newest = newestOf(holding(captured(j.in.Backups), run.Only))
	}
	if run.Code == core.CodeLocked {
		j.add(core.TopicBackup, core.LevelNotice, "locked", object, fmt.Sprintf("the backup of %s did not begin, because another operation worked on the app: %s", j.when(run.Started), why), hint)
		return
	}
	safe := "there is no backup"
	if newest != nil {
		safe = fmt.Sprintf("the newest that is there is %s of %s", brief(newest.ID), j.when(newest.Time))
	}
	j.late(repositoryIsWhy(run), "failed", object, fmt.Sprintf("the backup %sof %s failed: %s; %s", of, j.when(run.Started), why, safe), hint)
}

// fresh judges the age of the newest backup, be it of a part of the app: that a
// part is in no backup any more is the content's problem, and one is enough.
func (j *judge) fresh(newest *core.Backup) {
	in := j.in
	limit, asks := j.limits.MaxAge, fmt.Sprintf("it may be %s old", span(j.limits.MaxAge))
	if limit <= 0 {
		if !in.Scheduled || in.Interval <= 0 || j.limits.MaxAge < 0 {
			limit = 0
		} else {
			limit, asks = in.Interval+grace(in.Interval), fmt.Sprintf("the schedule asks for one every %s", span(in.Interval))
		}
	}
	hint := "backstay backup " + in.App + " makes one now; backstay runs " + in.App + " lists what ran, and systemctl status backstay says whether the service does"
	if newest == nil {
		j.missing(limit, hint)
		return
	}
	if limit <= 0 || in.Now.Sub(newest.Time) <= limit {
		return
	}
	if j.limits.MaxAge <= 0 && !in.Expected.IsZero() && !in.Expected.After(newest.Time) {
		return // a schedule that was only just made asks for the next one
	}
	j.late(j.repositoryFailed(), "stale", "", fmt.Sprintf("the newest backup is %s of %s; %s", brief(newest.ID), j.when(newest.Time), asks), hint)
}

// freshPart judges the age of the newest backup that holds what a further
// schedule is for.
func (j *judge) freshPart(list []core.Backup, asked Expected) {
	in := j.in
	limit := asked.Interval + grace(asked.Interval)
	if j.limits.MaxAge < 0 || asked.Interval <= 0 || asked.Last.IsZero() {
		return
	}
	want, what := asked.Only, core.Some(words(asked.Only), 5)
	if len(want) == 0 {
		want, what = held(list), "the whole app"
	}
	newest := newestOf(holding(list, want))
	since := in.Added
	if newest != nil {
		since = newest.Time
	}
	// As with the first schedule: one that was only just made asks for the next.
	if since.IsZero() || in.Now.Sub(since) <= limit || !asked.Last.After(since) || in.Now.Sub(asked.Last) <= grace(asked.Interval) {
		return
	}
	message := fmt.Sprintf("the newest backup of %s is of %s; schedule %s asks for one every %s", what, j.when(since), asked.Name, span(asked.Interval))
	if newest == nil {
		message = fmt.Sprintf("there is no backup of %s; schedule %s asks for one every %s", what, asked.Name, span(asked.Interval))
	}
	j.late(j.repositoryFailed(), "stale-part", asked.Name, message, "backstay backup "+in.App+" makes one now; backstay runs "+in.App+" lists what ran")
}

// held are the components that any of the backups has.
func held(list []core.Backup) []core.Component {
	return slices.DeleteFunc(core.Components(), func(c core.Component) bool {
		return !slices.ContainsFunc(list, func(b core.Backup) bool { _, ok := b.Components[c]; return ok })
	})
}

func words(list []core.Component) []string {
	var out []string
	for _, c := range list {
		out = append(out, string(c))
	}
	return out
}

func (j *judge) missing(limit time.Duration, hint string) {
	in := j.in
	switch {
	case j.limits.MaxAge < 0:
	case j.limits.MaxAge > 0:
		if in.Added.IsZero() || in.Now.Sub(in.Added) > limit {
			j.late(j.repositoryFailed(), "missing", "", fmt.Sprintf("there is no backup; there must be one that is not older than %s", span(limit)), hint)
		}
	case in.Scheduled && !in.Expected.IsZero():
		due := in.Expected.After(in.Added) && in.Now.Sub(in.Expected) > grace(in.Interval)
		// The last due time moves on: what was added long ago was due before.
		if due || !in.Added.IsZero() && in.Interval > 0 && in.Now.Sub(in.Added) > in.Interval+grace(in.Interval) {
			j.late(j.repositoryFailed(), "missing", "", fmt.Sprintf("there is no backup; the last was due at %s", j.when(in.Expected)), hint)
		}
	case !in.Scheduled && !in.Off && in.Unusable == "" && len(j.later) == 0:
		j.add(core.TopicBackup, core.LevelNotice, "missing", "", "there is no backup, and no schedule that would make one", "backstay backup "+in.App+" makes one; schedule: says when others are to be made")
	}
}

// grace is how much later than asked for a backup may be there.
func grace(interval time.Duration) time.Duration { return max(time.Hour, interval/10) }

// incomplete tells what the newest backup lacks.
func (j *judge) incomplete(b core.Backup) {
	var list []core.Problem
	for _, w := range b.Warnings {
		if w.Code != "missing" && w.Code != "unreadable" {
			continue
		}
		list = append(list, core.Problem{
			App: j.in.App, Topic: core.TopicBackup, Name: "incomplete", Object: w.Object, Level: core.LevelNotice,
			Message: fmt.Sprintf("backup %s of %s lacks something: %s", brief(b.ID), j.when(b.Time), strings.TrimSuffix(w.String(), ".")),
			Hint:    "backstay show " + brief(b.ID) + " lists all warnings",
		})
	}
	j.problems = append(j.problems, atMost(list, "warnings of that kind")...)
}

// proof judges what is known of whether backups can be restored.
func (j *judge) proof() {
	var list []core.Problem
	verified, drilled := j.in.Verified, j.in.Drilled
	first := j.in.Added
	known := func(t time.Time) {
		if first.IsZero() || t.Before(first) {
			first = t
		}
	}
	for _, f := range j.in.Facts {
		known(f.Time)
	}
	for _, b := range j.in.Backups {
		known(b.Time)
	}
	for _, b := range slices.Backward(slices.Concat(j.in.Backups, j.later)) {
		if b.Damaged != nil {
			list = append(list, core.Problem{
				App: j.in.App, Topic: core.TopicProof, Name: "damaged", Object: brief(b.ID), Level: core.LevelAlarm,
				Message: fmt.Sprintf("backup %s of %s cannot be read back as it was written, as was found on %s", brief(b.ID), j.when(b.Time), j.when(*b.Damaged)),
				Hint:    "backstay verify " + brief(b.ID) + " says what is damaged; backstay backup " + j.in.App + " --no-reuse makes one that shares nothing with it; see also backstay verify --all",
			})
		}
		if b.Verified != nil && b.Verified.After(verified) {
			verified = *b.Verified
		}
		if b.Drilled != nil && b.Drilled.After(drilled) {
			drilled = *b.Drilled
		}
	}
	j.problems = append(j.problems, atMost(list, "damaged backups")...)
	j.drill()
	if len(j.in.Backups)+len(j.later) == 0 {
		return
	}
	j.proven("verify-age", "verified", "backstay verify "+j.in.App+" reads the newest back; check.verify_age is the limit", j.limits.VerifyAge, verified, first)
	j.drillAge(drilled, first)
}

// proven judges when backups were last proven good, in the way that words say.
func (j *judge) proven(name, done, hint string, limit time.Duration, last, first time.Time) {
	if limit <= 0 {
		return
	}
	switch {
	case last.IsZero() && j.in.Now.Sub(first) > limit:
		j.add(core.TopicProof, core.LevelAlarm, name, "", fmt.Sprintf("no backup was ever %s; one must be every %s", done, span(limit)), hint)
	case !last.IsZero() && j.in.Now.Sub(last) > limit:
		j.add(core.TopicProof, core.LevelAlarm, name, "", fmt.Sprintf("a backup was last %s on %s; one must be every %s", done, j.when(last), span(limit)), hint)
	}
}
