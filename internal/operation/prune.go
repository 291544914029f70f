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
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/retention"
)

// Plan decides what retention keeps and removes of an app, and changes nothing.
// report says which problems there are, for an anomaly holds everything.
func (c *Caretaker) Plan(ctx context.Context, a App, report Report) ([]retention.Decision, error) {
	if _, err := c.list(ctx); err != nil {
		return nil, err
	}
	want := c.wanted(ctx, a)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return retention.Decide(backups(c.byApp[a.Name]), want.Retention, retention.Options{
		Now: c.now(), Location: location(want), Hold: c.hold(a, want, report),
	}), nil
}

// hold says why nothing of an app may be removed now; "": it may.
func (c *Caretaker) hold(a App, want Wanted, report Report) string {
	if c.lost != nil {
		return "the repository has lost backups: " + c.lost.Error()
	}
	if want.Unkept != nil {
		return "what the application keeps cannot be understood: " + want.Unkept.Error()
	}
	if want.Unusable != nil { // nothing comes, so nothing goes
		return "its schedule cannot be understood: " + want.Unusable.Error()
	}
	if newest, judged := report.newest[a.Name]; !judged || newest != c.newest(a.Name) {
		return "the newest backup was not checked"
	}
	if report.Unsure[a.Name] != nil {
		return "the newest backup could not be checked: " + report.Unsure[a.Name].Error()
	}
	for _, p := range report.Problems {
		if p.App == a.Name && p.Level == core.LevelAlarm && (p.Topic == core.TopicContent || p.Name == "damaged") {
			return fmt.Sprintf("an anomaly is open (%s: %s)", p.Name, p.Message)
		}
	}
	return ""
}

// Prune removes what retention does not keep. It returns all decisions, with an
// error too; a backup that could not be removed is kept, and says why.
func (c *Caretaker) Prune(ctx context.Context, a App, report Report) (_ []retention.Decision, err error) {
	lock, err := c.Engine.LockApp(ctx, a.Name, "prune", false)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	c.again() // under the lock nothing is added or removed
	if _, err := c.list(ctx); err != nil {
		return nil, err
	}
	if c.newest(a.Name) != report.newest[a.Name] { // another process made one meanwhile
		report = c.look(ctx, []string{a.Name}, false)
	}
	decisions, err := c.Plan(ctx, a, report)
	if err != nil {
		return nil, err
	}
	defer c.again()
	for i, d := range slices.Backward(decisions) { // the oldest first
		if d.Keep {
			continue
		}
		err := c.Engine.Delete(ctx, repository.Record{Backup: d.Backup})
		if err != nil && core.CodeOf(err) != core.CodeNotFound { // somebody else may have been faster
			err = fmt.Errorf("remove backup %s: %w", d.ID, err)
			left(decisions[:i+1], err)
			return decisions, err
		}
		c.stateFailed(ctx, "note a removal in the audit log", c.State.Audit(ctx, core.Audited{
			Time: c.now(), Who: c.By, Via: "retention", Action: "remove", Object: d.ID, Outcome: "ok", Detail: a.Name + ", of " + d.Time.UTC().Format(time.RFC3339) + ": " + strings.Join(d.Reasons, "; "),
		}))
		c.Log.Info("retention removed a backup", "app", a.Name, "backup", d.ID, "time", d.Time, "why", d.Reasons)
	}
	return decisions, nil
}

// left says of backups that were to be removed that they are still there.
func left(decisions []retention.Decision, why error) {
	for i := range decisions {
		if d := &decisions[i]; !d.Keep {
			d.Keep, d.Reasons = true, []string{"still there: " + why.Error()}
		}
	}
}

// newest is the id of an app's newest backup, "" where there is none.
func (c *Caretaker) newest(app string) string {
	list := c.byApp[app]
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1].ID
}

// pruneAfter is retention after a backup. It says what it removed.
func (c *Caretaker) pruneAfter(ctx context.Context, a App, report Report) []retention.Decision {
	if len(a.Retention) == 0 {
		return nil
	}
	decisions, err := c.Prune(ctx, a, report)
	if err != nil {
		c.Log.Warn("retention could not do its work; nothing is lost, and the next backup tries again", "app", a.Name, "err", err, "hint", core.HintOf(err))
	}
	return slices.DeleteFunc(decisions, func(d retention.Decision) bool { return d.Keep })
}

// Maintain gives back the space of removed backups.
func (c *Caretaker) Maintain(ctx context.Context, trigger string) (repository.Maintained, error) {
	run := core.Run{Kind: core.RunMaintain, Trigger: trigger, Started: c.now(), Outcome: core.OutcomeRunning, By: c.By}
	c.begin(ctx, &run)
	done, err := c.Engine.Store.Maintain(ctx)
	c.forget(ctx) // also where the repository cannot be maintained for months
	c.finish(ctx, App{}, &run, core.Backup{}, err)
	return done, err
}

// forget removes from the state what is not worth being remembered any more.
func (c *Caretaker) forget(ctx context.Context) {
	for _, a := range c.Apps {
		known, err := c.State.Facts(ctx, a.Name)
		var ids []string
		for _, f := range check.Worth(known) {
			ids = append(ids, f.Backup)
		}
		if err == nil {
			_, err = c.State.KeepFacts(ctx, a.Name, ids)
		}
		c.stateFailed(ctx, "forget facts of backups", err)
	}
	c.stateFailed(ctx, "forget what is old", c.State.Trim(ctx, c.now()))
}
