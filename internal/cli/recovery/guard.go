package recovery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/report"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/guard"
	"github.com/backstay/backstay/internal/profile"
)

// guardFlags are the flags of guard.
type guardFlags struct {
	onFailure, note string
	smoke, force    []string
	noWait          bool
}

// What --on-failure takes.
const (
	askOnFailure     = "ask"
	restoreOnFailure = "restore"
	keepOnFailure    = "keep"
)

func (s commands) guardCommand() *cobra.Command {
	var f guardFlags
	cmd := &cobra.Command{
		Use: "guard APP -- COMMAND…", Short: "Run a command that may break an app, such as its update, between two backups", Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			dash := cmd.ArgsLenAtDash()
			if dash != 1 || len(args) < 2 || strings.TrimSpace(args[1]) == "" {
				return &core.Error{Code: core.CodeUsage, Op: "guard", Message: "it takes one app, two dashes and the command", Hint: "backstay guard APP -- COMMAND…; for a line with && or | write: -- sh -c 'LINE'"}
			}
			if !slices.Contains([]string{"", askOnFailure, restoreOnFailure, keepOnFailure}, f.onFailure) {
				return &core.Error{Code: core.CodeUsage, Op: "guard", Message: fmt.Sprintf("--on-failure %s is unknown", f.onFailure), Hint: "it is ask, restore or keep"}
			}
			s.Begin(cmd.Name())
			return s.guard(cmd.Context(), args[0], args[1:], f)
		},
	}
	cmd.PreRunE = session.RefuseEmptyFlags
	cmd.Long = `Run a command that may break an app, such as its update, between two backups.

The app is backed up, the command runs as the user of this process with its input and output as they
are, and the app is backed up again. Then it is said what changed - versions, modules, tables, rows,
files - and whether the app still works: whether its configuration and database can be read, code and
database belong together, it answers at its URL, and what --smoke says succeeds. What was so before the
command already is not held against it.

When the command fails, or the app after it, the way back brings all of the first backup back, the code
too, and takes away what came since (it is kept for backstay undo). On a terminal you are asked; where
nobody can be asked and nothing was said, the app stays as the command left it. The exit code is 1 then, also
after the way back. No other backup or restore of the app runs meanwhile; leave them out of the command.

  backstay guard docs -- sh -c 'cd /var/www/itflow && git pull --ff-only && php scripts/update_cli.php --update_db'`
	fl := cmd.Flags()
	fl.StringVar(&f.onFailure, "on-failure", "", "ask, restore, or keep the app as it is (default: ask on a terminal, keep elsewhere)")
	fl.StringVar(&f.note, "note", "", "what the command is for, to keep with the backups (default: the program's name)")
	fl.StringArrayVar(&f.smoke, "smoke", nil, "a command line for /bin/sh that succeeds when the app works (may be repeated)")
	fl.StringSliceVar(&f.force, "force", nil, "agree to this finding of the way back (may be repeated)")
	fl.BoolVar(&f.noWait, "no-wait", false, "fail when another operation works on the app, instead of waiting")
	return cmd
}

// guarded is a guard under way.
type guarded struct {
	*guard.Guard
	s     commands
	cfg   *config.Config
	flags guardFlags
	err   error // of the way back
	gone  error // why the repository cannot be opened any more; nil: it can
}

func (s commands) guard(ctx context.Context, name string, command []string, f guardFlags) (err error) {
	cfg, err := s.LoadConfig()
	if err != nil {
		return err
	}
	app, err := cfg.App(name)
	if err != nil {
		return err
	}
	target, err := s.Target(app)
	if err != nil {
		return err
	}
	inner, err := guard.New(guard.Request{Target: target, Command: command, Note: f.note, Smoke: f.smoke, Wait: !f.noWait})
	if err != nil {
		return err
	}
	g := &guarded{Guard: inner, s: s, cfg: cfg, flags: f}
	defer func() { err = errors.Join(err, g.Release()) }()
	// The repository is not kept open: the command may take hours.
	var notes []string
	err = s.WithStore(ctx, cfg, func(e *engine.Engine) (err error) {
		if err := g.Before(ctx, e); err != nil {
			return err
		}
		notes, err = g.LookAhead(ctx, e, g.back(), f.onFailure == keepOnFailure)
		return err
	})
	if err != nil {
		return err
	}
	for _, n := range notes {
		s.Printer.Infof("%s: %s", name, n)
	}
	defer guard.Shield()()
	b := g.Report.Before
	s.Printer.Infof("%s: backup %s of %s is there to go back to; %s runs now", name, ui.ShortID(b.ID), s.Printer.Time(b.Time), g.Report.Command.Program)
	streams := guard.Streams{Stdin: s.Env.Stdin, Stdout: s.Env.Stdout, Stderr: s.Env.Stderr}
	if s.Printer.JSON() {
		streams.Stdout = s.Env.Stderr
	}
	if err := g.Run(ctx, streams, s.Env.Clock); err != nil {
		return err
	}
	g.Report.WayBack = g.wayBack()
	// What signals ended the command must not end what follows; new ones do.
	ctx, stop := signal.NotifyContext(context.WithoutCancel(ctx), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return g.afterwards(ctx)
}

// afterwards does all that comes after the command.
func (g *guarded) afterwards(ctx context.Context) error {
	s, began, told := g.s, false, false
	err := s.WithStore(ctx, g.cfg, func(e *engine.Engine) error {
		began = true
		if err := g.After(ctx, e); err != nil {
			return err
		}
		told = true
		g.tell()
		if g.Report.Outcome == guard.Kept {
			g.decide(ctx, e)
		}
		return nil
	})
	if err != nil && told { // the repository could not be closed; what there is to say must be said all the same
		w := core.Warning{Code: "repository", Object: g.cfg.Repository.URL, Message: err.Error()}
		s.Printer.Warn(w)
		g.Report.Warnings, err = append(g.Report.Warnings, w), nil
	}
	if err != nil && !began { // there is no repository any more
		g.gone = err
		e, eerr := s.NewEngine(nil, g.cfg, core.NoProgress{})
		if eerr != nil {
			return errors.Join(err, eerr)
		}
		g.Report.Warnings = append(g.Report.Warnings, core.Warning{Code: "no-backup", Object: g.Report.App, Message: fmt.Sprintf("there is no backup of what the command left: %v", err)})
		if err = g.After(ctx, e); err == nil {
			g.tell()
		}
	}
	switch {
	case err != nil && ctx.Err() != nil:
		return &core.Error{
			Code: core.CodeCancelled, Op: "guard app " + g.Report.App, Hint: "the way back: " + g.Report.WayBack,
			Message: fmt.Sprintf("cancelled after the command had ended with exit code %d, before it was known whether the app works", g.Report.Command.Exit),
		}
	case err != nil:
		return err
	}
	return g.end()
}

// wayBack is the line to type for the way back.
func (g *guarded) wayBack() string {
	var names []string
	for _, c := range g.Components() {
		names = append(names, string(c))
	}
	line := "backstay restore " + g.Report.App + " " + ui.ShortID(g.Report.Before.ID) + " --only " + strings.Join(names, ",") + " --clean"
	if g.s.ConfigPath != "" {
		line += " --config " + profile.ShellQuote(g.s.ConfigPath)
	}
	return line
}

func (g *guarded) back() guard.Back {
	settings := restoreSettings(g.cfg, g.Report.App)
	return guard.Back{Force: g.flags.force, NoSafetyBackup: !settings.SafetyBackup, Keep: settings.Keep}
}

// decide goes the way back, if somebody wants that.
func (g *guarded) decide(ctx context.Context, e *engine.Engine) {
	s, choice := g.s, g.flags.onFailure
	if choice == keepOnFailure {
		return
	}
	back := g.back()
	if g.Report.After == nil && back.Keep == 0 { // or nothing of what is there now would be left
		back.Keep = config.DefaultRestore().Keep
	}
	if choice != restoreOnFailure {
		b := g.Report.Before
		question := fmt.Sprintf("the way back: all of app %s becomes what it was at %s (backup %s), its code too, and what came since is taken away and kept. Anything but its name leaves it as it is",
			g.Report.App, s.Printer.Time(b.Time), ui.ShortID(b.ID))
		err := s.Printer.Confirm(ctx, g.Report.App, question)
		switch {
		case core.CodeOf(err) == core.CodeUsage && choice == askOnFailure:
			s.Printer.Infof("nobody can be asked here, so %s stays as it is", g.Report.App)
			return
		case err != nil:
			return
		}
	}
	plan, err := g.PlanBack(ctx, e, back)
	if err == nil {
		err = g.GoBack(ctx, plan)
	} else {
		err = g.WentBack(nil, err)
	}
	g.err = err
}

// tell says what the command did, before anybody is asked.
func (g *guarded) tell() {
	if !g.s.Printer.JSON() {
		report.Guarded(g.s.Printer, g.Report)
	}
}

// end prints the result and gives the exit code.
func (g *guarded) end() error {
	r, p := g.Report, g.s.Printer
	if g.Failed() {
		p.Failure(g.Failure(g.err, g.gone))
	}
	if err := p.Result(map[string]any{"guard": r}, g.tellOutcome); err != nil {
		return err
	}
	switch {
	case g.Failed():
		return session.Outcome(core.CodeFailed.ExitCode())
	case len(r.Warnings) > 0:
		return session.Outcome(core.CodeWarnings.ExitCode())
	}
	return nil
}

func (g *guarded) tellOutcome() {
	r, p := g.Report, g.s.Printer
	done := r.Restored
	if done == nil {
		return
	}
	tables := ""
	if done.Tables > 0 {
		tables = ui.Counted(int64(done.Tables), "table") + " with " + ui.Counted(done.Rows, "row") + " and "
	}
	p.Printf("%s is what it was before %s: %s%s, all compared with backup %s\n",
		r.App, r.Command.Program, tables, ui.Counted(done.Files, "file"), ui.ShortID(r.Before.ID))
	g.s.printSwitched(&done.Outcome)
	if r.After != nil {
		p.Printf("  what came since, from users too, is in backup %s\n", ui.ShortID(r.After.ID))
	}
	if done.KeptTill != nil {
		p.Printf("  what was taken away is kept until %s (%s): backstay undo %s brings it back\n", p.Time(*done.KeptTill), ui.Size(done.KeptBytes), r.App)
	}
	g.s.printOutcome(&done.Outcome)
}
