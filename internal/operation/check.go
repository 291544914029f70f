package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/coverage"
	"github.com/backstay/backstay/internal/engine/facts"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/repository"
)

// Report is what a check found. The repository is looked at each time.
type Report struct {
	Apps     []string                // the apps that were looked at
	Problems []core.Problem          // of them
	Unsure   map[string]error        // apps whose newest backup could not be looked into
	LastGood map[string]*core.Backup // by app; of those that were looked at from before their content became implausible
	Space    *core.Space             // nil: the repository could not be asked

	runs   map[string]*core.Run // the newest that ended, by app
	seen   map[string]int64     // its id in the state
	wants  map[string]Wanted
	newest map[string]string // the newest backup's id, "" for none, of the apps that were judged
	scope  notify.Scope      // what was looked at
}

// Alarming says whether there is anything that somebody must be called for.
func (r Report) Alarming() bool {
	return slices.ContainsFunc(r.Problems, func(p core.Problem) bool { return p.Level == core.LevelAlarm })
}

// Check looks at apps and the repository, records that it did, and tells of
// what it found.
func (c *Caretaker) Check(ctx context.Context, names []string, trigger string) (Report, error) {
	run := core.Run{Kind: core.RunCheck, Trigger: trigger, Started: c.now(), Outcome: core.OutcomeRunning, By: c.By}
	if len(names) == 1 {
		run.App = names[0]
	}
	c.begin(ctx, &run)
	report := c.look(ctx, names, true)
	if err := ctx.Err(); err != nil {
		c.finish(ctx, App{}, &run, core.Backup{}, err)
		return report, err
	}
	report, err := c.tell(ctx, report)
	for _, p := range report.Problems {
		if p.Level == core.LevelAlarm {
			run.Warnings++
			run.Message = fmt.Sprintf("%d found wrong, the last of them %s", run.Warnings, strings.TrimSpace(p.App+" "+p.Name))
		}
	}
	c.finish(ctx, App{}, &run, core.Backup{}, err)
	return report, err
}

// Look judges without recording or telling.
func (c *Caretaker) Look(ctx context.Context, names []string) Report { return c.look(ctx, names, true) }

// look gathers what is known and judges it. live asks the applications for
// their schedules; otherwise what they said last is taken where it is known.
func (c *Caretaker) look(ctx context.Context, names []string, live bool) Report {
	report := Report{
		Apps: names, Unsure: map[string]error{}, LastGood: map[string]*core.Backup{}, runs: map[string]*core.Run{}, seen: map[string]int64{},
		wants: map[string]Wanted{}, newest: map[string]string{}, scope: notify.Scope{},
	}
	asking, cancel := context.WithTimeout(ctx, asksTimeout)
	defer cancel()
	_, err := c.list(ctx)
	known := true // how the last run of each app ended
	for _, a := range c.Apps {
		looked := slices.Contains(names, a.Name)
		run, rerr := c.lastRun(ctx, a.Name, &report)
		known = known && rerr == nil
		report.LastGood[a.Name] = lastGood(backups(c.usual(a.Name)))
		switch {
		case looked:
			c.claim(ctx, a.Name)
			c.lookAt(ctx, a, c.wish(ctx, asking, a, live), err == nil, &report)
		case err == nil && run != nil && (run.Outcome == core.OutcomeFailed || len(a.Schedules) > 1):
			// What the repository brought on other apps is in the one alarm of it.
			in, _ := c.input(ctx, a, c.remembered(ctx, a), &report)
			report.Problems = append(report.Problems, slices.DeleteFunc(check.Judge(in), func(p core.Problem) bool { return p.App != "" || p.Topic != core.TopicRepository })...)
		}
	}
	space := c.repository(ctx, err)
	report.Space = space.Space
	report.Problems = append(report.Problems, check.JudgeRepository(space)...)
	if known {
		report.scope.Add("", core.TopicRepository)
	}
	if !c.ServiceRuns { // else it says so itself
		report.scope.Add("", core.TopicService)
		if p := c.stateProblem(); p != nil {
			report.Problems = append(report.Problems, *p)
		}
	}
	return report
}

// lookAt judges an app. What could not be found out closes no alarm, and what
// is not known of backups holds retention.
func (c *Caretaker) lookAt(ctx context.Context, a App, want Wanted, listed bool, report *Report) {
	report.wants[a.Name] = want
	if !listed {
		return // nothing is known of its backups: that is the repository's problem
	}
	in, err := c.input(ctx, a, want, report)
	if want.Unkept != nil {
		report.Problems = append(report.Problems, unkept(a.Name, want.Unkept))
	}
	facts, serr, unread := c.facts(ctx, a.Name)
	in.Facts = facts
	problems, trusted := check.Review(in)
	if trusted != nil && unread != nil && trusted.ID == in.Backups[len(in.Backups)-1].ID {
		trusted = lastGood(in.Backups[:len(in.Backups)-1])
	}
	report.Problems, report.LastGood[a.Name] = append(report.Problems, problems...), trusted
	if !a.Limits.Off {
		report.Problems = append(report.Problems, c.running(ctx, a)...)
	}
	if unread != nil && !a.Limits.Off {
		if newest := in.Backups[len(in.Backups)-1]; newest.Damaged == nil { // else it is said already
			report.Problems = append(report.Problems, unreadable(newest, unread))
		}
	}
	report.newest[a.Name] = c.newest(a.Name)
	if unsure := errors.Join(serr, unread); unsure != nil {
		report.Unsure[a.Name] = unsure
	} else if err == nil {
		report.scope.Add(a.Name, core.TopicContent)
	}
	if err == nil {
		report.scope.Add(a.Name, core.TopicBackup, core.TopicProof)
	}
}

// unkept says that nothing of an app is removed. Nobody is called for it: the
// backups are made, and a repository that fills is told of by itself.
func unkept(app string, err error) core.Problem {
	p := core.Problem{
		App: app, Topic: core.TopicBackup, Name: "retention", Level: core.LevelNotice,
		Message: "it is not known how many backups the application keeps, so that none is removed: " + err.Error(), Hint: core.HintOf(err),
	}
	if p.Hint == "" {
		p.Hint = "write a retention for app " + app + " in backstay.yaml in place of from_app"
	}
	return p
}

// unreadable says that an app's newest backup could not be looked into.
func unreadable(b core.Backup, err error) core.Problem {
	id := b.ID[:min(8, len(b.ID))]
	p := core.Problem{
		App: b.App, Topic: core.TopicProof, Name: "unreadable", Object: id, Level: core.LevelAlarm,
		Message: "the newest backup, " + id + ", could not be looked into, so that nothing is known of what it holds: " + err.Error(), Hint: core.HintOf(err),
	}
	if core.CodeOf(err) != core.CodeDamage {
		p.App, p.Topic, p.Object = "", core.TopicRepository, "app "+b.App+" "+id
	}
	if p.Hint == "" {
		p.Hint = "backstay verify " + id + " reads it back; backstay doctor looks what is wrong with the repository"
	}
	return p
}

// lastRun is an app's last backup that began and ended, as State has it, or as
// it was in this process where State could not keep it.
func (c *Caretaker) lastRun(ctx context.Context, app string, report *Report) (*core.Run, error) {
	run, err := c.State.LastRun(ctx, app, core.RunBackup)
	c.stateFailed(ctx, "read the last run", err)
	if err == nil {
		report.seen[app] = idOf(run)
	}
	if own, ok := c.unrecorded[app]; ok && (run == nil || own.Started.After(run.Started)) {
		run, err = &own, nil
	}
	report.runs[app] = run
	return run, err
}

// stateProblem says that the state database cannot be used, or was begun anew.
func (c *Caretaker) stateProblem() *core.Problem {
	if c.broken == nil {
		if aside := c.State.Replaced(); aside != "" {
			return &core.Problem{
				Topic: core.TopicService, Name: "state-replaced", Object: c.Engine.StateDir, Level: core.LevelAlarm,
				Message: "the state database was damaged and is begun anew; runs, open alarms and what was accepted before are forgotten",
				Hint:    "the damaged one is " + aside + "; backups are untouched. See why it was damaged: the disk, or a program that wrote there",
			}
		}
		return nil
	}
	return &core.Problem{
		Topic: core.TopicService, Name: "state", Object: c.Engine.StateDir, Level: core.LevelAlarm,
		Message: "the state database cannot be used, so runs and alarms are not remembered: " + c.broken.Error(), Hint: core.HintOf(c.broken),
	}
}

// input is what is known of an app without looking into its backups. With an
// error something of it could not be found out.
func (c *Caretaker) input(ctx context.Context, a App, want Wanted, report *Report) (check.Input, error) {
	now := c.now()
	in := check.Input{App: a.Name, Now: now, Limits: a.Limits, Backups: backups(c.usual(a.Name)), Location: location(want)}
	var err error
	in.Added, err = c.firstSeen(ctx, a.Name, now)
	if want.Unusable != nil {
		in.Unusable = want.Unusable.Error()
	}
	c.expect(&in, want)
	var rerr error
	run, found := report.runs[a.Name]
	if !found {
		err = errors.Join(err, errors.New("the last run is not known"))
	}
	in.LastRuns, rerr = c.lastRuns(ctx, a.Name, want, run)
	err = errors.Join(err, rerr)
	var accepted check.Accepted
	ok, verr := c.State.Value(ctx, "accepted/"+a.Name, &accepted)
	c.stateFailed(ctx, "read what was accepted", verr)
	if ok && verr == nil {
		in.Accepted = &accepted
	}
	c.lastDrill(ctx, &in)
	c.drillPolicy(ctx, a, &in)
	return in, errors.Join(err, verr)
}

// lastDrill puts in what is known of the app's newest drill.
func (c *Caretaker) lastDrill(ctx context.Context, in *check.Input) {
	var d DrillRecord
	found, err := c.State.Value(ctx, DrillKey(in.App), &d)
	c.stateFailed(ctx, "read of the last drill", err)
	if err != nil || !found {
		return
	}
	span := func(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
	in.Drill = &check.Drill{
		Backup: d.Backup, Time: d.Time, Passed: d.Passed, Failed: d.Failed,
		RTO: span(d.RTOMS), RTOTarget: span(d.RTOTargetMS), RPO: span(d.RPOMS), RPOTarget: span(d.RPOTargetMS),
	}
	if d.Passes != nil {
		in.Drilled = *d.Passes
	}
}

// firstSeen is when an app was first looked at, zero where that is not known.
func (c *Caretaker) firstSeen(ctx context.Context, app string, now time.Time) (time.Time, error) {
	var seen time.Time
	_, err := c.State.Value(ctx, "seen/"+app, &seen)
	if err != nil {
		c.stateFailed(ctx, "read when an app was first seen", err)
		return time.Time{}, err
	}
	if seen.IsZero() {
		seen = now
		c.stateFailed(ctx, "remember when an app was first seen", c.State.SetDefault(ctx, "seen/"+app, now))
	}
	return seen, nil
}

// lookedInto is how many of an app's backups are looked into anew, files and all,
// and counted how many of which at least the rows are known: when the state
// database was lost an anomaly must show again before retention goes on.
const (
	lookedInto = 12
	counted    = 100
)

// facts returns what is known of the content of an app's backups, oldest first:
// also of those that are gone, or what was usual would be forgotten as fast as
// retention removes. forgot says that those are not known, unread why the newest
// backup could not be looked into.
func (c *Caretaker) facts(ctx context.Context, app string) (_ []core.Facts, forgot, unread error) {
	mine := c.usual(app)
	known, forgot := c.State.Facts(ctx, app)
	c.stateFailed(ctx, "read what is known of backups", forgot)
	for i := max(0, len(mine)-counted); i < len(mine); i++ {
		r := mine[i]
		if slices.ContainsFunc(known, func(f core.Facts) bool { return f.Backup == r.ID }) {
			continue
		}
		var f core.Facts
		var err error
		if len(mine)-i <= lookedInto {
			f, err = facts.ReadSince(ctx, c.Engine, r, before(mine, i))
		} else {
			f, err = facts.Counts(ctx, c.Engine, r)
		}
		if err != nil {
			c.Log.Debug("a backup could not be looked into", "app", app, "backup", r.ID, "err", err)
			switch {
			case i == len(mine)-1:
				unread = err
			case core.CodeOf(err) != core.CodeDamage && forgot == nil: // what was usual is not known: nothing may be removed
				forgot = err
			}
			continue
		}
		c.stateFailed(ctx, "remember what is known of a backup", c.State.SaveFacts(ctx, f))
		known = append(known, f)
	}
	return check.Worth(known), forgot, unread
}

// before is the backup before one, or nil.
func before(list []repository.Record, i int) *repository.Record {
	if i == 0 {
		return nil
	}
	return &list[i-1]
}

// trusted is what check.Review trusts of an app that is not looked at, going by
// what is remembered of its backups.
func (c *Caretaker) trusted(ctx context.Context, a App, report *Report) *core.Backup {
	in, _ := c.input(ctx, a, c.remembered(ctx, a), report)
	known, err := c.State.Facts(ctx, a.Name)
	c.stateFailed(ctx, "read what is known of backups", err)
	in.Facts = check.Worth(known)
	_, b := check.Review(in)
	return b
}

// lastGood is the newest backup of an app that is not looked at that a restore
// would take, or nil.
func lastGood(backups []core.Backup) *core.Backup {
	for _, b := range slices.Backward(backups) {
		if b.Damaged == nil {
			return &b
		}
	}
	return nil
}

// growth is how far back the repository's growth is looked at.
const growth = 60 * 24 * time.Hour

// sampled is how often the repository's size is remembered.
const sampled = time.Hour

// repository is what is known of the repository. unlisted says why its backups
// are not known.
func (c *Caretaker) repository(ctx context.Context, unlisted error) check.Repository {
	in := check.Repository{Now: c.now(), Limits: c.Limits, Err: errors.Join(unlisted, c.lost)}
	for _, r := range c.records {
		in.Stored = append(in.Stored, check.Stored{Time: r.Time, Bytes: r.StoredBytes})
	}
	in.Kits = c.kits(ctx)
	if in.Cover = c.Cover; in.Cover > 0 {
		known, ok := coverage.Known(c.Engine.StateDir, c.Engine.Repository)
		if in.Unread = known.Oldest; !ok && len(c.records) > 0 { // nothing was ever read: since the first backup
			in.Unread = c.records[0].Time
		}
	}
	if unlisted != nil {
		return in
	}
	space, err := c.Engine.Store.Space(ctx)
	if err != nil {
		in.Err = errors.Join(in.Err, err)
		return in
	}
	in.Space = &space
	samples, err := c.State.Space(ctx, c.Engine.Repository, in.Now.Add(-growth))
	c.stateFailed(ctx, "read the repository's sizes", err)
	for _, s := range samples {
		in.Used = append(in.Used, check.Stored{Time: s.Time, Bytes: s.Used})
	}
	in.Used = append(in.Used, check.Stored{Time: in.Now, Bytes: space.Used})
	// Of 200 apps that are backed up by the hour there are 5000 looks a day.
	if n := len(samples); err == nil && (n == 0 || in.Now.Sub(samples[n-1].Time).Abs() >= sampled) {
		c.stateFailed(ctx, "remember the repository's size", c.State.AddSpace(ctx, c.Engine.Repository, space))
	}
	return in
}

// Accept says that an app's newest backup is right as it is: what was usual
// before it counts no more.
func (c *Caretaker) Accept(ctx context.Context, a App) (check.Accepted, error) {
	if _, err := c.list(ctx); err != nil {
		return check.Accepted{}, err
	}
	mine := c.usual(a.Name)
	if len(mine) == 0 {
		return check.Accepted{}, &core.Error{Code: core.CodeNotFound, Op: "accept", Message: "there is no backup of app " + a.Name, Hint: "backstay backup " + a.Name + " makes one"}
	}
	accepted := check.Accepted{Backup: mine[len(mine)-1].ID, Time: c.now(), By: c.By}
	return accepted, c.State.SetValue(ctx, "accepted/"+a.Name, accepted)
}

// location is the time zone whose days count for an app.
func location(w Wanted) *time.Location {
	for _, s := range w.Schedules {
		if s.TimeZone == "" {
			continue
		}
		if l, err := time.LoadLocation(s.TimeZone); err == nil {
			return l
		}
	}
	return time.Local
}
