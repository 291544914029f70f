package console

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/state"
)

// How old what is shown may be, and how old while a newer answer is being found
// out. What runs on this machine did is never shown late, for their end has
// everything found out anew (mark): only what other machines did to the
// repository, and what nobody did, such as a schedule whose time went by.
const (
	statusFresh = 5 * time.Second
	listFresh   = 2 * time.Second
	stale       = 15 * time.Minute
	trendPoints = 30
	warmApps    = 20 // whose retention is foreseen ahead
)

// listing is all backups of the repository, by app, the oldest first.
type listing struct {
	all   []repository.Record
	byApp map[string][]repository.Record
	byID  map[string]repository.Record
	lost  error // names backups that the repository cannot find any more
}

// list returns the backups of all apps. Runs that end have it found out anew.
func (c *Console) list(ctx context.Context) (*listing, error) { return c.listing(ctx, stale) }

// listing is list that is at most so old.
func (c *Console) listing(ctx context.Context, old time.Duration) (*listing, error) {
	c.mark(ctx)
	return c.listed.get(ctx, c.o.Clock.Now, listFresh, old, func(ctx context.Context) (l *listing, err error) {
		err = c.with(ctx, func(r Repository) error {
			all, err := r.Engine().List(ctx, "")
			l = &listing{all: all, byApp: map[string][]repository.Record{}, byID: make(map[string]repository.Record, len(all))}
			if core.CodeOf(err) == core.CodeDamage {
				l.lost, err = err, nil
			}
			if err != nil {
				return err
			}
			for _, rec := range all {
				l.byApp[rec.App] = append(l.byApp[rec.App], rec)
				l.byID[rec.ID] = rec
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return l, nil
	})
}

// mark forgets what was known before a run ended.
func (c *Console) mark(ctx context.Context) {
	runs, err := c.o.State(ctx).Runs(ctx, state.RunFilter{Limit: 30})
	if err != nil {
		return // then what is shown is as old as it may be at most
	}
	var last runMark
	for _, r := range runs {
		if r.Finished != nil {
			last.ended++
			last.id = max(last.id, r.ID)
			if r.Finished.After(last.at) {
				last.at = *r.Finished
			}
		}
	}
	c.mu.Lock()
	changed := c.marked != last
	c.marked = last
	c.mu.Unlock()
	if changed {
		c.forget()
	}
}

// runMark tells whether a run has ended.
type runMark struct {
	ended int
	id    int64
	at    time.Time
}

// forget has everything found out anew that is asked for next.
func (c *Console) forget() {
	c.listed.forget()
	c.status.forget()
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.outlooks)
}

// find returns a backup's record. CodeNotFound.
func (c *Console) find(ctx context.Context, id string) (repository.Record, error) {
	if !repository.ValidID(id) {
		return repository.Record{}, noBackup(id)
	}
	l, err := c.list(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	if rec, ok := l.byID[id]; ok {
		return rec, nil
	}
	if l, err = c.listing(ctx, listFresh); err != nil { // another machine may have made it meanwhile
		return repository.Record{}, err
	}
	if rec, ok := l.byID[id]; ok {
		return rec, nil
	}
	if l.lost != nil {
		return repository.Record{}, l.lost // it may be the one that is lost
	}
	return repository.Record{}, noBackup(id)
}

func noBackup(id string) error {
	if len(id) > 128 {
		id = id[:128] + "…"
	}
	return &core.Error{Code: core.CodeNotFound, Op: "find backup", Message: "there is no backup " + id, Hint: "it may have been removed by retention; the app's page lists what there is"}
}

// Overview looks at all apps, at the time that it names.
func (c *Console) Overview(ctx context.Context) (Overview, error) {
	c.mark(ctx)
	o, err := c.status.get(ctx, c.o.Clock.Now, statusFresh, stale, c.look)
	if err != nil {
		return Overview{}, err
	}
	running, err := c.running(ctx)
	if err == nil { // else they are not known, which the overview's problems say
		o.Running = running
	}
	return o, nil
}

// Warm has the overview found out, for somebody who is about to ask for it.
func (c *Console) Warm() {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
		defer cancel()
		// Nobody has proved who they are: what is known is good enough.
		o, err := c.status.get(ctx, c.o.Clock.Now, stale, stale, c.look)
		if err != nil {
			c.o.Log.Debug("look at the apps ahead", "err", err) // who asks hears of it
		}
		for _, a := range o.Apps[:min(len(o.Apps), warmApps)] {
			c.future(ctx, a.App)
		}
	}()
}

// look finds the overview out.
func (c *Console) look(ctx context.Context) (Overview, error) {
	var o Overview
	l, _ := c.list(ctx) // where it cannot be had, Unlisted will say so
	do := func(r Repository) error {
		caretaker := r.Caretaker(ctx)
		if l != nil {
			caretaker.Know(l.all, l.lost)
		}
		var names []string
		for _, a := range caretaker.Apps {
			names = append(names, a.Name)
		}
		s, err := caretaker.Status(ctx, names)
		if err != nil {
			return err
		}
		o = Overview{Time: c.o.Clock.Now(), Apps: []App{}, Repository: s.Repository, Backups: s.Backups, Unlisted: s.Unlisted, Problems: s.Problems, Running: []core.Run{}}
		for _, a := range s.Apps {
			o.Apps = append(o.Apps, App{AppStatus: a})
		}
		return nil
	}
	err := c.with(ctx, do)
	if err != nil && len(o.Apps) == 0 && ctx.Err() == nil {
		without, werr := c.o.Without(err)
		if werr != nil {
			return Overview{}, errors.Join(err, werr)
		}
		err = do(without)
	}
	if err != nil {
		return Overview{}, err
	}
	for i := range o.Apps {
		c.complete(ctx, &o.Apps[i], l)
	}
	return o, nil
}

// complete adds what `backstay status` does not say of an app.
func (c *Console) complete(_ context.Context, a *App, l *listing) {
	a.Trend = []Point{}
	if l != nil {
		own := l.byApp[a.App]
		a.Backups = len(own)
		usual := slices.DeleteFunc(slices.Clone(own), func(r repository.Record) bool { return r.Aside() })
		for _, r := range usual[max(0, len(usual)-trendPoints):] {
			a.Trend = append(a.Trend, Point{Backup: r.ID, Time: r.Time, Logical: r.LogicalBytes, Stored: r.StoredBytes})
		}
	}
	a.Disabled = disabled(a.Schedules)
	a.Overdue = slices.ContainsFunc(a.Problems, func(p core.Problem) bool {
		return p.Topic == core.TopicBackup && (p.Name == "stale" || p.Name == "missing")
	})
	a.Undo, a.Unfinished = c.earlier(a.App)
}

// disabled says in so many words when nothing backs an app up by itself.
func disabled(schedules []operation.ScheduleStatus) string {
	if len(schedules) == 0 {
		return "backups are made by hand only: no schedule is configured"
	}
	off := 0
	for _, s := range schedules {
		if s.Off {
			off++
		}
	}
	if off == len(schedules) {
		return "backups are disabled: every schedule is off"
	}
	if !slices.ContainsFunc(schedules, func(s operation.ScheduleStatus) bool { return s.Next != nil }) {
		return "no backup is due: no schedule has a next time"
	}
	return ""
}

// earlier says what can be undone of an app, and what was cut short.
func (c *Console) earlier(app string) (*Undo, string) {
	j, err := journal.Newest(c.o.StateDir, app)
	if err != nil {
		return nil, "what the last restore left cannot be read: " + err.Error()
	}
	if j == nil {
		return nil, ""
	}
	if j.Unfinished() {
		if engine.Holder(c.o.StateDir, app) != "" {
			return nil, "" // it is under way
		}
		return nil, j.Left()
	}
	if j.Phase != journal.Done && j.Phase != journal.Undone || !j.KeepTill.IsZero() && j.KeepTill.Before(c.o.Clock.Now()) {
		return nil, ""
	}
	return &Undo{
		Backup: j.Backup, BackupTime: j.BackupTime, Scope: j.Scope, Restored: j.Since(), Until: j.KeepTill, Safety: j.Safety, Undone: j.Phase == journal.Undone,
	}, ""
}

// App looks at one; CodeNotFound.
func (c *Console) App(ctx context.Context, name string) (App, error) {
	if err := c.known(name); err != nil {
		return App{}, err
	}
	o, err := c.Overview(ctx)
	if err != nil {
		return App{}, err
	}
	for _, a := range o.Apps {
		if a.App != name {
			continue
		}
		if newest := a.Last; newest != nil && !o.Unlisted {
			if d, err := c.opened(ctx, newest.ID); err == nil { // it is only a caption
				a.Application = d.Manifest.Versions["application"]
			}
		}
		return a, nil
	}
	return App{}, noApp(name)
}

// known says whether an app is configured.
func (c *Console) known(name string) error {
	if !core.ValidAppName(name) {
		return noApp("")
	}
	if _, err := c.o.Config().App(name); err != nil {
		return noApp(name)
	}
	return nil
}

func noApp(name string) error {
	return &core.Error{Code: core.CodeNotFound, Op: "find app", Message: cmp.Or("there is no app "+name, "there is no such app"), Hint: "apps are in backstay.yaml, under apps:"}
}

// running lists the runs under way.
func (c *Console) running(ctx context.Context) ([]core.Run, error) {
	runs, err := c.o.State(ctx).Runs(ctx, state.RunFilter{Outcome: core.OutcomeRunning, Limit: 100})
	if runs == nil {
		runs = []core.Run{}
	}
	return runs, err
}
