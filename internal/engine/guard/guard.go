// Package guard runs a command that may break an application, such as its
// update, between two backups, says what it changed and whether the application
// still works, and knows the way back. It is for the command line. It promises
// that the command does not begin before there is a backup to go back to, that
// no other operation of backstay works on the application from the first backup
// to the end, and that after a way back the application is what it was: its
// database, its files and its code.
package guard

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/engine/smoke"
	"github.com/backstay/backstay/internal/profile"
)

// Trigger is the trigger of the backups that a guard makes, but for that of
// what a failed command left (engine.TriggerFailedCommand).
const Trigger = "guard"

// Request says what to guard.
type Request struct {
	Target  engine.Target
	Command []string // program and arguments, for no shell
	Note    string   // what it is for; "": the program's name, as arguments may hold secrets
	Smoke   []string // command lines for /bin/sh that must succeed after the command
	Wait    bool     // while another operation works on the app
}

// Outcome says how it ended.
type Outcome string

// The outcomes. All but OK are failures of the command, or of the application
// after it.
const (
	OK          Outcome = "ok"
	Unchanged   Outcome = "failed-unchanged"    // the app is what it was: the command changed nothing of what a backup holds
	Kept        Outcome = "failed-kept"         // the app is as the command left it
	Restored    Outcome = "failed-restored"     // the app is what it was before
	NotRestored Outcome = "failed-not-restored" // it was to be what it was, and is as the command left it
	Unfinished  Outcome = "failed-unfinished"   // the way back was cut short in its switch
)

// Report is all that there is to say of a guarded command.
type Report struct {
	App     string       `json:"app"`
	Before  *core.Backup `json:"before"`
	Command Command      `json:"command"`
	After   *core.Backup `json:"after"` // null: it could not be made
	// Changes is what After holds that Before does not; null: not known.
	Changes *engine.Difference `json:"changes"`
	Smoke   Smoke              `json:"smoke"`
	Outcome Outcome            `json:"outcome"`
	WayBack string             `json:"way_back"` // to be typed; "": there is none, or none is needed
	// Restored is the way back, when it was gone; null otherwise.
	Restored *restore.Restored `json:"restored"`
	Warnings []core.Warning    `json:"warnings"`
}

// Command is how the command went.
type Command struct {
	Program    string    `json:"program"` // its base name
	Started    time.Time `json:"started"`
	DurationMS int64     `json:"duration_ms"`
	Exit       int       `json:"exit"`             // 128 and its number when a signal ended it
	Signal     string    `json:"signal,omitempty"` // that ended it
}

// Smoke is what was looked at after the command.
type Smoke struct {
	Checked  []string        `json:"checked"`
	Problems []smoke.Problem `json:"problems"` // that came with the command
	Earlier  []smoke.Problem `json:"earlier"`  // that were there before it: no verdict on it
}

// Guard is one command between two backups. Its methods are called in the
// order Before, LookAhead, Run, After, PlanBack, GoBack, Release, by one
// goroutine.
type Guard struct {
	Report Report
	// Blocked is why the way back could not have been gone when the command
	// began; nil: it could have been.
	Blocked error

	req  Request
	path string // of the program
	lock *engine.AppLock
	seen *smoke.Seen // before the command
	// database is how the app reached its database before the command.
	database *core.DatabaseSource
}

// New returns a guard. The error has core.CodeUsage when there is no such
// command.
func New(req Request) (*Guard, error) {
	g := &Guard{req: req, Report: Report{App: req.Target.App.Name, Warnings: []core.Warning{}}}
	g.Report.Smoke = Smoke{Checked: []string{}, Problems: []smoke.Problem{}, Earlier: []smoke.Problem{}}
	if len(req.Command) == 0 {
		return nil, &core.Error{Code: core.CodeUsage, Op: "guard", Message: "there is no command", Hint: "backstay guard APP -- COMMAND…"}
	}
	var err error
	g.Report.Command.Program = filepath.Base(req.Command[0])
	if g.path, err = exec.LookPath(req.Command[0]); err != nil {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: "guard app " + req.Target.App.Name, Message: fmt.Sprintf("the command cannot be run, and nothing was done: %v", err),
			Hint: "give the program's path; for a line with && or | write: -- sh -c 'LINE'",
		}
	}
	return g, nil
}

// Failed says whether the command failed, or the application after it.
func (g *Guard) Failed() bool {
	return g.Report.Command.Exit != 0 || len(g.Report.Smoke.Problems) > 0
}

func (g *Guard) warn(code, object, format string, args ...any) {
	g.Report.Warnings = append(g.Report.Warnings, core.Warning{Code: code, Object: object, Message: fmt.Sprintf(format, args...)})
}

func (g *Guard) app() profile.App { return g.req.Target.App }

// Before takes the lock on the app, looks at it and backs it up. After an
// error the command must not be run.
func (g *Guard) Before(ctx context.Context, e *engine.Engine) (err error) {
	if g.lock, err = e.LockApp(ctx, g.app().Name, engine.Guarding, g.req.Wait); err != nil {
		return err
	}
	b, err := g.backUp(ctx, e, "before: ", engine.BackupOptions{Trigger: Trigger})
	if err != nil {
		return g.notRun(err)
	}
	g.Report.Before = &b
	if g.seen, err = smoke.Look(ctx, e, g.req.Target, 0); err != nil {
		return g.notRun(err)
	}
	p, err := e.Profiles.Get(g.req.Target.Profile)
	if err != nil {
		return err
	}
	if app, err := p.Discover(ctx, g.app()); err == nil {
		g.database = app.Database
	}
	return nil
}

// notRun says with an error that there was no command.
func (g *Guard) notRun(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s was not run: %w", g.Report.Command.Program, err)
	}
	return &core.Error{
		Code: core.CodeOf(err), Op: "guard app " + g.app().Name, Message: g.Report.Command.Program + " was not run, because there is no backup to go back to", Err: err, Hint: core.HintOf(err),
	}
}

func (g *Guard) backUp(ctx context.Context, e *engine.Engine, when string, opt engine.BackupOptions) (core.Backup, error) {
	opt.Note, opt.Wait, opt.Lock = when+g.req.Note, g.req.Wait, g.lock
	if g.req.Note == "" {
		opt.Note = when + g.Report.Command.Program
	}
	b, err := e.Backup(ctx, g.req.Target, opt)
	if err != nil {
		return b, err
	}
	for _, w := range b.Warnings {
		w.Message = fmt.Sprintf("%s (backup %s)", w.Message, b.ID)
		g.Report.Warnings = append(g.Report.Warnings, w)
	}
	return b, nil
}

// patience is how long the application may take to answer after the command.
const patience = 5 * time.Second

// After looks whether the app works, backs it up again and compares. e.Store
// may be nil: then there is no backup. The error is that of a cancelled ctx;
// all else that does not work is in the report.
func (g *Guard) After(ctx context.Context, e *engine.Engine) error {
	r := &g.Report
	r.Outcome = Kept
	wait := patience
	if g.seen.Silent() {
		wait = 0 // it did not answer before either
	}
	seen, err := smoke.Look(ctx, e, g.req.Target, wait)
	if err != nil {
		return err
	}
	r.Smoke.Checked, r.Smoke.Problems = seen.Checked, seen.Since(g.seen)
	for _, p := range seen.Problems {
		if g.seen.Has(p) {
			r.Smoke.Earlier = append(r.Smoke.Earlier, p)
		}
	}
	for _, line := range g.req.Smoke {
		g.smoke(ctx, line)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e.Store != nil {
		g.backUpAfter(ctx, e)
	}
	switch {
	case !g.Failed():
		r.Outcome, r.WayBack = OK, ""
	case r.Changes != nil && r.Changes.Empty() && len(r.After.Warnings) == 0:
		r.Outcome, r.WayBack = Unchanged, ""
	}
	return ctx.Err()
}

// backUpAfter backs up what the command left. What a failed command left is
// taken as far as it is there, and nobody is to take it for a good state.
func (g *Guard) backUpAfter(ctx context.Context, e *engine.Engine) {
	opt := engine.BackupOptions{Trigger: Trigger}
	if g.Failed() {
		opt = engine.BackupOptions{Trigger: engine.TriggerFailedCommand, WhatIsThere: true}
	}
	b, err := g.backUp(ctx, e, "after: ", opt)
	if err != nil {
		g.warn("no-backup", g.app().Name, "there is no backup of what the command left: %v", err)
		return
	}
	g.Report.After = &b
	if err := g.compare(ctx, e); err != nil {
		g.warn("no-difference", g.app().Name, "what the command changed is not known: %v", err)
	}
}

// smoke runs a command line that looks whether the application works.
func (g *Guard) smoke(ctx context.Context, line string) {
	s := &g.Report.Smoke
	s.Checked = append(s.Checked, "--smoke")
	_, err := profile.RunPostStep(ctx, profile.PostStep{
		Name: "--smoke", Argv: []string{"/bin/sh", "-c", line}, Dir: g.app().Root, Env: g.environment(), Withhold: g.app().PasswordEnv,
	}, nil, nil)
	if err != nil {
		s.Problems = append(s.Problems, smoke.Problem{Name: smoke.Command, Message: err.Error()})
	}
}

func (g *Guard) environment() []string {
	return []string{"BACKSTAY_APP=" + g.app().Name, "BACKSTAY_ROOT=" + g.app().Root}
}

func (g *Guard) compare(ctx context.Context, e *engine.Engine) error {
	var open [2]*engine.Open
	for i, b := range []*core.Backup{g.Report.Before, g.Report.After} {
		rec, err := e.Find(ctx, b.ID)
		if err != nil {
			return err
		}
		if open[i], err = e.OpenBackup(ctx, rec); err != nil {
			return err
		}
	}
	d, err := e.Diff(ctx, open[0], open[1])
	g.Report.Changes = d
	return err
}

// Release lets others work on the app. It may be called after any error.
func (g *Guard) Release() error {
	if g.lock == nil {
		return nil
	}
	lock := g.lock
	g.lock = nil
	return lock.Release()
}
