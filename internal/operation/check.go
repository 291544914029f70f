package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine/facts"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/schedule"
)

// Report is what a check found. The repository is looked at each time.
type Report struct {
	Apps     []string         // the apps that were looked at
	Problems []core.Problem   // of them
	Unsure   map[string]error // apps whose newest backup could not be looked into
	LastGood map[string]*core.Backup
	Space    *core.Space // nil: the repository could not be asked

	runs   map[string]*core.Run // the newest that ended, by app
	wants  map[string]Wanted
	judged []string     // the apps that could be judged
	topics []core.Topic // the machine's topics that were looked at
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
	err := c.tell(ctx, report)
	c.finish(ctx, App{}, &run, core.Backup{}, err)
	return report, err
}

// Look judges without recording or telling.
func (c *Caretaker) Look(ctx context.Context, names []string) Report { return c.look(ctx, names, true) }

// look gathers what is known and judges it. live asks the applications for
// their schedules; otherwise what they said last is taken where it is known.
func (c *Caretaker) look(ctx context.Context, names []string, live bool) Report {
	report := Report{
		Apps: names, Unsure: map[string]error{}, LastGood: map[string]*core.Backup{}, runs: map[string]*core.Run{}, wants: map[string]Wanted{},
		topics: []core.Topic{core.TopicRepository},
	}
	all, err := c.list(ctx)
	broken := errors.Join(err, c.lost)
	for _, a := range c.Apps {
		looked := slices.Contains(names, a.Name)
		want := c.wanted(ctx, a, live && looked)
		in := c.input(ctx, a, want, all)
		report.runs[a.Name], report.wants[a.Name] = in.LastRun, want
		if err != nil {
			continue // nothing is known of its backups: that is the repository's problem
		}
		if looked {
			report.judged = append(report.judged, a.Name)
			in.Facts, report.Unsure[a.Name] = c.facts(ctx, all, a.Name)
		}
		for _, p := range check.Judge(in) {
			// What the repository brought on other apps is in the one alarm of it.
			if looked || p.App == "" && p.Topic == core.TopicRepository {
				report.Problems = append(report.Problems, p)
			}
		}
		report.LastGood[a.Name] = lastGood(in.Backups)
	}
	space := c.repository(ctx, all, broken)
	report.Space = space.Space
	report.Problems = append(report.Problems, check.JudgeRepository(space)...)
	if !c.ServiceRuns { // else it says so itself
		report.topics = append(report.topics, core.TopicService)
		if p := c.stateProblem(); p != nil {
			report.Problems = append(report.Problems, *p)
		}
	}
	return report
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

// input is what is known of an app without looking into its backups.
func (c *Caretaker) input(ctx context.Context, a App, want Wanted, all []repository.Record) check.Input {
	now := c.now()
	in := check.Input{App: a.Name, Now: now, Limits: a.Limits, Backups: backupsOf(usual(all), a.Name), Added: c.firstSeen(ctx, a.Name, now)}
	in.Location = location(want)
	if want.Unusable != nil {
		in.Unusable = want.Unusable.Error()
	}
	c.expect(&in, want)
	run, err := c.State.LastRun(ctx, a.Name, core.RunBackup)
	c.stateFailed("read the last run", err)
	in.LastRun, in.LastRunRepository = run, run != nil && run.Fault == faultRepository
	var accepted check.Accepted
	if ok, err := c.State.Value(ctx, "accepted/"+a.Name, &accepted); ok && err == nil {
		in.Accepted = &accepted
	} else {
		c.stateFailed("read what was accepted", err)
	}
	return in
}

// expect says what the schedules ask for. The one that asks most often is for
// any backup; each further one for what it is for.
func (c *Caretaker) expect(in *check.Input, want Wanted) {
	in.Off = len(want.Schedules) > 0
	var asked []check.Expected
	for _, spec := range want.Schedules {
		if spec.Off {
			continue
		}
		in.Off = false
		s, err := schedule.Compile(spec, "")
		if err != nil {
			continue // Unusable says it
		}
		asked = append(asked, check.Expected{Name: spec.Name, Only: spec.Only, Interval: s.Interval(in.Now), Last: s.Last(in.Now)})
	}
	if len(asked) == 0 {
		return
	}
	slices.SortStableFunc(asked, func(a, b check.Expected) int { return cmp.Compare(a.Interval, b.Interval) })
	in.Scheduled, in.Interval, in.Expected, in.Others = true, asked[0].Interval, asked[0].Last, asked[1:]
}

// usual leaves out backups of states that somebody wanted to leave.
func usual(all []repository.Record) []repository.Record {
	return slices.DeleteFunc(slices.Clone(all), func(r repository.Record) bool { return r.Aside() })
}

// firstSeen is when an app was first looked at.
func (c *Caretaker) firstSeen(ctx context.Context, app string, now time.Time) time.Time {
	var seen time.Time
	_, err := c.State.Value(ctx, "seen/"+app, &seen)
	if err == nil && seen.IsZero() {
		seen, err = now, c.State.SetDefault(ctx, "seen/"+app, now)
	}
	c.stateFailed("remember when an app was first seen", err)
	return seen
}

// lookedInto is how many of an app's backups are looked into anew at once; what
// was found of others is remembered.
const lookedInto = 12

// facts returns what is known of the content of an app's backups, oldest first:
// also of those that are gone, or what was usual would be forgotten as fast as
// retention removes. err says why the newest could not be looked into.
func (c *Caretaker) facts(ctx context.Context, all []repository.Record, app string) (_ []core.Facts, err error) {
	var mine []repository.Record
	for _, r := range usual(all) {
		if r.App == app {
			mine = append(mine, r)
		}
	}
	known, serr := c.State.Facts(ctx, app)
	c.stateFailed("read what is known of backups", serr)
	for i := max(0, len(mine)-lookedInto); i < len(mine); i++ {
		r := mine[i]
		if slices.ContainsFunc(known, func(f core.Facts) bool { return f.Backup == r.ID }) {
			continue
		}
		f, ferr := facts.ReadSince(ctx, c.Engine, r, before(mine, i))
		if ferr != nil {
			if i == len(mine)-1 {
				err = fmt.Errorf("look into backup %s: %w", r.ID, ferr)
			}
			continue
		}
		c.stateFailed("remember what is known of a backup", c.State.SaveFacts(ctx, f))
		known = append(known, f)
	}
	return check.Worth(known), err
}

// before is the backup before one, or nil.
func before(list []repository.Record, i int) *repository.Record {
	if i == 0 {
		return nil
	}
	return &list[i-1]
}

// lastGood is the newest backup that a restore would take, or nil.
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

// repository is what is known of the repository.
func (c *Caretaker) repository(ctx context.Context, all []repository.Record, broken error) check.Repository {
	in := check.Repository{Now: c.now(), Limits: c.Limits, Err: broken}
	for _, r := range all {
		in.Stored = append(in.Stored, check.Stored{Time: r.Time, Bytes: r.StoredBytes})
	}
	if broken == nil {
		space, err := c.Engine.Store.Space(ctx)
		if err != nil {
			in.Err = err
		} else {
			in.Space = &space
			c.stateFailed("remember the repository's size", c.State.AddSpace(ctx, c.Engine.Repository, space))
			samples, serr := c.State.Space(ctx, c.Engine.Repository, in.Now.Add(-growth))
			c.stateFailed("read the repository's sizes", serr)
			for _, s := range samples {
				in.Used = append(in.Used, check.Stored{Time: s.Time, Bytes: s.Used})
			}
		}
	}
	return in
}

// Accept says that an app's newest backup is right as it is: what was usual
// before it counts no more.
func (c *Caretaker) Accept(ctx context.Context, a App) (check.Accepted, error) {
	all, err := c.list(ctx)
	if err != nil {
		return check.Accepted{}, err
	}
	mine := backupsOf(usual(all), a.Name)
	if len(mine) == 0 {
		return check.Accepted{}, &core.Error{Code: core.CodeNotFound, Op: "accept", Message: "there is no backup of app " + a.Name, Hint: "backstay backup " + a.Name + " makes one"}
	}
	accepted := check.Accepted{Backup: mine[len(mine)-1].ID, Time: c.now(), By: c.By}
	return accepted, c.State.SetValue(ctx, "accepted/"+a.Name, accepted)
}

// wanted resolves what an app asks for. What the application said itself is
// remembered, for those who must not wait for its database.
func (c *Caretaker) wanted(ctx context.Context, a App, live bool) Wanted {
	key := "wanted/" + a.Name
	if a.AsksApp() && !live {
		var own Wanted
		if ok, err := c.State.Value(ctx, key, &own); ok && err == nil {
			return own
		}
	}
	w := Want(ctx, c.Engine, a)
	if a.AsksApp() && w.Unusable == nil {
		c.stateFailed("remember an app's schedule", c.State.SetValue(ctx, key, w))
	}
	return w
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
