package console

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
)

const (
	maxNote  = 500    // letters
	maxNames = 10_000 // tables or paths of one order
)

// launch starts a command as a run.
func (c *Console) launch(ctx context.Context, w Who, l Launch) (int64, error) {
	l.By, l.Via, l.Result = w.By, w.Via, c.resultPath("{run}")
	return c.o.Launcher.Launch(ctx, l)
}

func usage(op, hint, format string, args ...any) error {
	return &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf(format, args...), Hint: hint}
}

// line checks a line that somebody typed.
func line(op, what, text string, most int) error {
	switch {
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		return usage(op, "write one line of plain text", "the %s holds characters that cannot be shown", what)
	case utf8.RuneCountInString(text) > most:
		return usage(op, "make it shorter", "the %s has more than %d characters", what, most)
	}
	return nil
}

func components(op string, only []core.Component) ([]string, error) {
	var names []string
	for _, o := range only {
		if _, err := core.ParseComponent(string(o)); err != nil {
			return nil, err
		}
		if slices.Contains(names, string(o)) {
			return nil, usage(op, "name each component once", "%s is named twice", o)
		}
		names = append(names, string(o))
	}
	if len(names) == 0 {
		return nil, nil
	}
	return []string{"--only", strings.Join(names, ",")}, nil
}

// StartBackup begins a backup and returns its run. An app that is being worked on is waited for.
func (c *Console) StartBackup(ctx context.Context, app string, o BackupOrder, w Who) (int64, error) {
	const op = "back up"
	if err := c.known(app); err != nil {
		return 0, err
	}
	if err := line(op, "note", o.Note, maxNote); err != nil {
		return 0, err
	}
	only, err := components(op, o.Only)
	if err != nil {
		return 0, err
	}
	args := append([]string{"backup", app}, only...)
	if o.Note != "" {
		args = append(args, "--note="+o.Note)
	}
	if o.Pin {
		args = append(args, "--pin")
	}
	return c.launch(ctx, w, Launch{Kind: core.RunBackup, App: app, Args: args})
}

// StartVerify begins to read back a backup.
func (c *Console) StartVerify(ctx context.Context, id string, w Who) (int64, error) {
	rec, err := c.find(ctx, id)
	if err != nil {
		return 0, err
	}
	return c.launch(ctx, w, Launch{Kind: core.RunVerify, App: rec.App, Backup: id, Args: []string{"verify", id}})
}

// ofApp starts a command about one app, or, with "", about all.
func (c *Console) ofApp(ctx context.Context, kind, app string, w Who, command ...string) (int64, error) {
	if app != "" {
		if err := c.known(app); err != nil {
			return 0, err
		}
		command = append(command, app)
	}
	return c.launch(ctx, w, Launch{Kind: kind, App: app, Args: command})
}

// StartCheck begins a check of an app; "" is all apps.
func (c *Console) StartCheck(ctx context.Context, app string, w Who) (int64, error) {
	return c.ofApp(ctx, core.RunCheck, app, w, "check")
}

// StartPrune begins to remove what retention does not keep.
func (c *Console) StartPrune(ctx context.Context, app string, w Who) (int64, error) {
	return c.ofApp(ctx, core.RunPrune, app, w, "prune")
}

// StartMaintain begins to give back space.
func (c *Console) StartMaintain(ctx context.Context, w Who) (int64, error) {
	return c.ofApp(ctx, core.RunMaintain, "", w, "maintain")
}

// StartNotifyTest begins to try the destinations of an app's alarms; "" is all.
func (c *Console) StartNotifyTest(ctx context.Context, app string, w Who) (int64, error) {
	return c.ofApp(ctx, core.RunNotify, app, w, "notify", "test")
}

// Accept says that an app's newest backup is right as it is.
func (c *Console) Accept(ctx context.Context, app string) error {
	if err := c.known(app); err != nil {
		return err
	}
	defer c.forget()
	return c.with(ctx, func(r Repository) error {
		caretaker := r.Caretaker(ctx)
		for _, a := range caretaker.Apps {
			if a.Name == app {
				_, err := caretaker.Accept(ctx, a)
				return err
			}
		}
		return noApp(app)
	})
}

// restoring makes the arguments of a restore.
func (c *Console) restoring(ctx context.Context, o RestoreOrder) ([]string, error) {
	const op = "restore"
	if err := c.known(o.App); err != nil {
		return nil, err
	}
	rec, err := c.find(ctx, o.Backup)
	if err != nil {
		return nil, err
	}
	if rec.App != o.App {
		return nil, usage(op, "choose a backup of "+o.App, "backup %s is of %s", o.Backup, rec.App)
	}
	args, err := components(op, o.Only)
	if err != nil {
		return nil, err
	}
	if len(o.Tables)+len(o.Paths) > maxNames {
		return nil, usage(op, "choose folders in place of single files, or the whole database", "more than %d tables and paths", maxNames)
	}
	total := 0
	for _, list := range []struct {
		flag, what string
		names      []string
	}{{"--table=", "table", o.Tables}, {"--path=", "path", o.Paths}, {"--force=", "finding", o.Force}} {
		for _, name := range list.names {
			if name == "" || strings.ContainsRune(name, 0) || len(name) > 8192 {
				return nil, usage(op, "choose them from the list", "the %s %q cannot be", list.what, name)
			}
			if list.flag == "--force=" && strings.ContainsAny(name, ",\"\n\r") {
				return nil, usage(op, "agree to findings by their names in the plan", "the finding %q cannot be", name)
			}
			if total += len(name); total > 512<<10 {
				return nil, usage(op, "choose folders in place of single files, or the whole database", "the names are too long together")
			}
			args = append(args, list.flag+name)
		}
	}
	return append([]string{"restore", o.App, o.Backup}, args...), nil
}

// alone refuses to change an app back while that is being done already: a
// second order, as a double click gives, would wait, and then replace what the
// first has put back, and with it what its undoing leads to.
func (c *Console) alone(ctx context.Context, app string) error {
	running, err := c.running(ctx)
	if err != nil { // it must be possible to restore without records; the app's lock keeps the two apart
		c.o.Log.Warn("look for restores under way", "app", app, "err", err)
		return nil
	}
	for _, r := range running {
		if r.App == app && (r.Kind == core.RunRestore || r.Kind == core.RunUndo) {
			return &core.Error{
				Code: core.CodeLocked, Op: r.Kind + " " + app, Message: fmt.Sprintf("run %d does that already, for %s", r.ID, r.By),
				Hint: "watch that run, or cancel it first",
			}
		}
	}
	return nil
}

// StartPlan begins to find out what a restore would do; the run's result is the
// plan, as `backstay restore --dry-run --json` prints it.
func (c *Console) StartPlan(ctx context.Context, o RestoreOrder, w Who) (int64, error) {
	args, err := c.restoring(ctx, o)
	if err != nil {
		return 0, err
	}
	return c.launch(ctx, w, Launch{
		Kind: core.RunPlan, App: o.App, Backup: o.Backup, Args: append(args, "--dry-run"),
		Prepare: func(run int64) ([]string, error) { return nil, c.keepPlanned(run, o) },
	})
}

// StartRestore begins a restore. It stops before it changes anything when there
// is a finding that needs a decision and is not in Force.
func (c *Console) StartRestore(ctx context.Context, o RestoreOrder, w Who) (int64, error) {
	args, err := c.restoring(ctx, o)
	if err != nil {
		return 0, err
	}
	if err := c.alone(ctx, o.App); err != nil {
		return 0, err
	}
	return c.launch(ctx, w, Launch{Kind: core.RunRestore, App: o.App, Backup: o.Backup, Args: append(args, "--yes")})
}

// StartResume begins to finish a restore that was cut short.
func (c *Console) StartResume(ctx context.Context, app string, w Who) (int64, error) {
	if err := c.known(app); err != nil {
		return 0, err
	}
	if err := c.alone(ctx, app); err != nil {
		return 0, err
	}
	return c.launch(ctx, w, Launch{Kind: core.RunRestore, App: app, Args: []string{"restore", app, "--resume", "--yes"}})
}

// StartUndo begins to put back what the last restore replaced; with drop it
// gives that up and frees its space.
func (c *Console) StartUndo(ctx context.Context, app string, drop bool, w Who) (int64, error) {
	if err := c.known(app); err != nil {
		return 0, err
	}
	if err := c.alone(ctx, app); err != nil {
		return 0, err
	}
	args := []string{"undo", app, "--yes"}
	if drop {
		args = append(args, "--drop")
	}
	return c.launch(ctx, w, Launch{Kind: core.RunUndo, App: app, Args: args})
}
