// Package demonstration has the demo command, which shows a backup and a restore
// on a throwaway application. It is for package cli. It promises to touch no
// server, folder or configuration that is there already.
package demonstration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/demo"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/drill"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/evidence"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/localserver"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/generic"
	"github.com/backstay/backstay/internal/repository/kopia"
)

// Command returns the demo command.
func Command(s *session.Session) *cobra.Command {
	var size int64
	var keep, listen string
	cmd := s.Command("demo", "Show it all on a throwaway helpdesk: backup, damage, restore, comparison, drill", cobra.NoArgs, func(ctx context.Context, _ []string) error {
		if size < 1 || size > demoLimit {
			return &core.Error{Code: core.CodeUsage, Op: "demo", Message: fmt.Sprintf("a helpdesk of %d MiB cannot be made", size), Hint: fmt.Sprintf("give --size from 1 to %d", demoLimit)}
		}
		return demonstrate(ctx, s, size<<20, keep, listen)
	})
	cmd.Long = `Show it all on a throwaway helpdesk: backup, damage, restore, comparison, drill.

It starts a private database server in a temporary folder, with its own socket, and touches no
server, folder or configuration that is there already. Nothing is left behind unless --keep, but for
an empty server's data folder in the user's cache folder, which makes the next start faster.

With --keep on a terminal, or with --listen, the demo ends with the web console on the helpdesk, until
Ctrl-C.`
	cmd.Flags().Int64Var(&size, "size", demo.DefaultSize>>20, "size of the helpdesk in MiB")
	cmd.Flags().StringVar(&keep, "keep", "", "keep the repository, the files and a configuration to explore them with in this folder (without DIR: in a new temporary one)")
	cmd.Flags().Lookup("keep").NoOptDefVal = keepAnywhere
	cmd.Flags().StringVar(&listen, "listen", "", "host:port of the console that --keep opens at the end")
	cmd.PreRunE = session.RefuseEmptyFlags
	return cmd
}

// demoLimit is the largest demo in MiB.
const demoLimit = 10_000

// keepAnywhere stands for --keep without a folder.
const keepAnywhere = "a new temporary folder"

// demonstration is a demo under way.
type demonstration struct {
	s      *session.Session
	dir    string // everything but the database
	server *localserver.Server
	conn   *mysql.Conn
	cfg    config.Config
	key    core.Secret
	engine *engine.Engine
	target engine.Target
	report demoReport
}

// demoReport is the demo's result as JSON.
type demoReport struct {
	Backups     []core.Backup     `json:"backups"`
	Damage      []string          `json:"damage"`
	Restored    *restore.Restored `json:"restored"`
	Tables      int               `json:"tables_compared"`
	Rows        int               `json:"rows_compared"`
	Files       int               `json:"files_compared"`
	Differences []string          `json:"differences"`
	Drill       *evidence.Drill   `json:"drill"`
	DurationMS  int64             `json:"duration_ms"`
}

func demonstrate(ctx context.Context, s *session.Session, size int64, keep, listen string) (err error) {
	if listen != "" && keep == "" {
		return &core.Error{Code: core.CodeUsage, Op: "demo", Message: "--listen is for the console of a demo that is kept", Hint: "give --keep too"}
	}
	d := &demonstration{s: s}
	start := s.Env.Clock.Now()
	d.say("starting a private database server…")
	if d.server, err = localserver.Start(ctx, localserver.Options{Name: "demo", Log: s.Printer.Logger(), BufferPool: 256 << 20, LogFile: 128 << 20}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.server.Close()) }()
	// The server's folder goes with the server, also after a crash of this process.
	if d.dir, err = demoDir(keep, d.server); err != nil {
		return err
	}
	if err := d.prepare(ctx, size); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.conn.Close()) }()
	if err := d.play(ctx); err != nil {
		return err
	}
	d.report.DurationMS = s.Env.Clock.Now().Sub(start).Milliseconds()
	if err := d.finish(ctx, keep, listen); err != nil {
		return err
	}
	if len(d.report.Differences) > 0 {
		return &core.Error{Code: core.CodeDamage, Op: "demo", Message: fmt.Sprintf("the restored helpdesk differs from the original in %d places", len(d.report.Differences))}
	}
	return nil
}

func demoDir(keep string, server *localserver.Server) (dir string, err error) {
	switch keep {
	case keepAnywhere:
		dir, err = os.MkdirTemp("", "backstay-demo-")
	case "":
		dir = filepath.Join(server.Dir, "demo")
		err = os.Mkdir(dir, 0o700)
	default:
		if dir, err = filepath.Abs(keep); err == nil {
			err = os.Mkdir(dir, 0o700)
		}
	}
	if errors.Is(err, os.ErrExist) {
		return "", &core.Error{Code: core.CodeUsage, Op: "demo", Message: dir + " is there already", Hint: "give a folder that does not exist yet"}
	}
	if err != nil {
		return "", fmt.Errorf("make folder for the demo: %w", err)
	}
	return dir, nil
}

func (d *demonstration) say(format string, args ...any) {
	if !d.s.Printer.JSON() {
		d.s.Printer.Printf(format+"\n", args...)
	}
}

const demoDatabase = "helpdesk"

// prepare makes the helpdesk, the key and what a configuration would say.
func (d *demonstration) prepare(ctx context.Context, size int64) error {
	s := d.s
	cfg := mysql.Config{Socket: d.server.Socket, User: d.server.User}
	conn, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+demoDatabase+" CHARACTER SET utf8mb4")
	if err = errors.Join(err, conn.Close()); err != nil {
		return err
	}
	cfg.Database = demoDatabase
	if d.conn, err = mysql.Connect(ctx, cfg); err != nil {
		return err
	}
	d.say("making a helpdesk of about %s…", ui.Size(size))
	root := filepath.Join(d.dir, "helpdesk")
	progress := s.Printer.Progress()
	made, err := demo.Generate(ctx, d.conn, root, demo.Options{Size: size, Seed: 1, Progress: progress})
	progress.Close(err == nil)
	if err != nil {
		return err
	}
	d.say("  %s tickets with %s messages and %s attachments, %s uploaded files\n",
		ui.Count(int64(made.Tickets)), ui.Count(int64(made.Messages)), ui.Count(int64(made.Attachments)), ui.Count(int64(made.Files)))
	d.cfg = config.Config{StateDir: filepath.Join(d.dir, "state"), Repository: config.Repository{URL: "file://" + filepath.Join(d.dir, "repository")}}
	d.target = engine.Target{
		Profile: generic.Name, Consistency: config.Online,
		App: profile.App{
			Name: demoDatabase, Root: root,
			Database: profile.Database{Socket: d.server.Socket, User: d.server.User, Name: demoDatabase},
			Files:    []profile.Files{{Path: filepath.Join(root, demo.UploadsDir)}},
			Config:   []string{filepath.Join(root, demo.ConfigFile)},
		},
	}
	if d.key, err = config.GenerateKey(); err != nil {
		return err
	}
	d.say("creating an encrypted repository…")
	return kopia.Create(ctx, s.StoreOptions(&d.cfg, d.key))
}

func (d *demonstration) play(ctx context.Context) (err error) {
	s := d.s
	store, err := kopia.Open(ctx, s.StoreOptions(&d.cfg, d.key))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close(context.WithoutCancel(ctx))) }()
	if d.engine, err = s.NewEngine(store, &d.cfg, core.NoProgress{}); err != nil {
		return err
	}
	d.say("first backup:")
	if err := d.backup(ctx); err != nil {
		return err
	}
	work, err := demo.Touch(ctx, d.conn, d.target.App.Root)
	if err != nil {
		return err
	}
	d.say("a day's work: %s", list(work))
	d.say("second backup:")
	if err := d.backup(ctx); err != nil {
		return err
	}
	first, second := d.report.Backups[0], d.report.Backups[1]
	d.say("  of %s it had to store only %s (%.1f %% of the first): the rest was there already\n",
		ui.Size(second.LogicalBytes), ui.Size(second.StoredBytes), 100*float64(second.StoredBytes)/float64(max(1, first.StoredBytes)))
	before, err := demo.TakeFingerprint(ctx, d.conn, d.target.App.Root)
	if err != nil {
		return err
	}
	if d.report.Damage, err = demo.Damage(ctx, d.conn, d.target.App.Root); err != nil {
		return err
	}
	d.say("a bad day:")
	for _, what := range d.report.Damage {
		d.say("  %s", what)
	}
	if err := d.restore(ctx); err != nil {
		return err
	}
	after, err := demo.TakeFingerprint(ctx, d.conn, d.target.App.Root)
	if err != nil {
		return err
	}
	d.report.Tables, d.report.Rows, d.report.Files = before.Count()
	d.report.Differences = append([]string{}, demo.Compare(before, after)...) // never null
	return d.drill(ctx)
}

// drill proves the newest backup on a server of its own.
func (d *demonstration) drill(ctx context.Context) error {
	d.say("\ndrill, on another private server:")
	rec, err := d.engine.Find(ctx, demoDatabase+"@latest")
	if err != nil {
		return err
	}
	progress := d.s.Printer.Progress()
	d.engine.Progress = progress
	done, err := drill.Run(ctx, d.engine, drill.Request{App: demoDatabase, Record: rec, Dir: d.dir, Trigger: "demo"})
	progress.Close(err == nil)
	if err != nil {
		return err
	}
	d.report.Drill = &done
	if err := operation.Judge(done); err != nil {
		return err
	}
	for _, p := range done.Proofs {
		if p.Outcome == core.ProofOK {
			d.say("  %s", p.Message)
		}
	}
	d.say("  recovered in %s, and removed again", ui.Duration(time.Duration(done.RTO.MeasuredMS)*time.Millisecond))
	return nil
}

func (d *demonstration) backup(ctx context.Context) error {
	progress := d.s.Printer.Progress()
	d.engine.Progress = progress
	b, err := d.engine.Backup(ctx, d.target, engine.BackupOptions{Trigger: "demo"})
	progress.Close(err == nil)
	if err != nil {
		return err
	}
	d.report.Backups = append(d.report.Backups, b)
	took := time.Duration(b.DurationMS) * time.Millisecond
	d.say("  %s read, %s stored, in %s (%s); writes waited %s", ui.Size(b.LogicalBytes), ui.Size(b.StoredBytes), ui.Duration(took),
		ui.Rate(b.LogicalBytes, took), ui.Duration(time.Duration(b.FreezeMS)*time.Millisecond))
	return nil
}

func (d *demonstration) restore(ctx context.Context) error {
	d.say("\nrestore:")
	rec, err := d.engine.Find(ctx, demoDatabase+"@latest")
	if err != nil {
		return err
	}
	start := d.s.Env.Clock.Now()
	progress := d.s.Printer.Progress()
	d.engine.Progress = progress
	r, err := restore.Make(ctx, d.engine, restore.Request{Target: d.target, Record: rec})
	if err == nil {
		d.report.Restored, err = r.Run(ctx)
	}
	progress.Close(err == nil)
	if err != nil {
		return err
	}
	got := d.report.Restored
	d.say("  %d tables with %s rows and %s files are back, in %s", got.Tables, ui.Count(got.Rows), ui.Count(got.Files),
		ui.Duration(d.s.Env.Clock.Now().Sub(start)))
	return nil
}

func (d *demonstration) finish(ctx context.Context, keep, listen string) error {
	r := d.report
	if err := d.s.Printer.Result(r, func() {
		d.say("\ncompared with the helpdesk before the damage: %d tables, %s rows, %s files", r.Tables, ui.Count(int64(r.Rows)), ui.Count(int64(r.Files)))
		if len(r.Differences) == 0 {
			d.say("  no difference. Done in %s.", ui.Duration(time.Duration(r.DurationMS)*time.Millisecond))
		}
		for _, diff := range r.Differences {
			d.say("  DIFFERENT: %s", diff)
		}
	}); err != nil {
		return err
	}
	if keep == "" {
		return nil
	}
	return d.keep(ctx, listen)
}

const keyFileName = "repository.key"

// keep leaves a configuration with which the repository can be explored, and
// shows the console where somebody looks.
func (d *demonstration) keep(ctx context.Context, listen string) error {
	keyFile, cfgFile := filepath.Join(d.dir, keyFileName), filepath.Join(d.dir, "backstay.yaml")
	if err := config.WriteKeyFile(keyFile, d.key); err != nil {
		return err
	}
	text, err := config.Template(config.TemplateInput{RepositoryURL: d.cfg.Repository.URL, KeyFile: keyFile, StateDir: d.cfg.StateDir})
	if err != nil {
		return err
	}
	if listen == "" && !d.s.Printer.Watched() {
		if err := config.WriteFile(cfgFile, text); err != nil {
			return err
		}
		d.s.Printer.Infof("kept in %s; explore it with: backstay --config %s list\nremove it with: rm -r %s", d.dir, cfgFile, d.dir)
		return nil
	}
	if err := d.console(ctx, cfgFile, listen); err != nil {
		return err
	}
	d.s.Printer.Infof("kept in %s; remove it with: rm -r %s", d.dir, d.dir)
	return nil
}

func list(items []string) string {
	text := ""
	for i, item := range items {
		if i > 0 {
			text += ", "
		}
		text += item
	}
	return text
}
