package demonstration

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/cli/operations"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/demo"
	"github.com/backstay/backstay/internal/state"
)

// consoleUser is who may look around in the demo's console.
const consoleUser = "demo"

// console shows the console on the helpdesk until ctx ends: with the backups and
// the restore that were made, and the way back from it.
func (d *demonstration) console(ctx context.Context, cfgFile, listen string) error {
	listen, err := freeAddress(listen)
	if err != nil {
		return err
	}
	if err := config.WriteFile(cfgFile, d.configuration(listen)); err != nil {
		return err
	}
	if err := d.record(ctx); err != nil {
		return err
	}
	password, err := d.admit(ctx)
	if err != nil {
		return err
	}
	d.say("\nthe console is at http://%s/\n  user %s, password %s\n  the helpdesk's database server runs as long as this does; Ctrl-C ends both", listen, consoleUser, password.Reveal())
	return operations.Serve(ctx, d.s, cfgFile, "")
}

// freeAddress returns listen, or, where nothing was asked for and the usual port
// is taken, another one.
func freeAddress(listen string) (string, error) {
	usual := config.DefaultService().Listen
	for _, address := range []string{cmp.Or(listen, usual), "127.0.0.1:0"} {
		l, err := net.Listen("tcp", address)
		if err == nil {
			return l.Addr().String(), l.Close()
		}
		if listen != "" {
			return "", &core.Error{Code: core.CodeUsage, Op: "demo", Message: "the console cannot listen on " + listen, Err: err, Hint: "give another --listen host:port"}
		}
	}
	return "", &core.Error{Code: core.CodeFailed, Op: "demo", Message: "the console finds no port to listen on"}
}

// configuration is one for the kept folder, whose app is the helpdesk.
func (d *demonstration) configuration(listen string) []byte {
	root := d.target.App.Root
	quoted := func(parts ...string) string {
		text, _ := json.Marshal(filepath.Join(parts...)) // a string is always JSON, which YAML takes
		return string(text)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# The helpdesk of backstay demo. Its database server ran as long as the demo did.\nrepository:\n  url: %q\n  password_file: %s\nstate_dir: %s\n",
		d.cfg.Repository.URL, quoted(d.dir, keyFileName), quoted(d.cfg.StateDir))
	fmt.Fprintf(&b, "service:\n  listen: %q\napps:\n  - name: %s\n    profile: generic\n    root: %s\n", listen, demoDatabase, quoted(root))
	fmt.Fprintf(&b, "    database: {socket: %s, user: %q, name: %s}\n", quoted(d.server.Socket), d.server.User, demoDatabase)
	fmt.Fprintf(&b, "    files:\n      - path: %s\n    config:\n      - %s\n", quoted(root, demo.UploadsDir), quoted(root, demo.ConfigFile))
	b.WriteString("    schedule:\n      time: \"02:00\"   # every night\n    retention:\n      count: 20\n      daily: 14\n      monthly: 12\n")
	return []byte(b.String())
}

// record enters what the demo did among the runs.
func (d *demonstration) record(ctx context.Context) (err error) {
	db, err := state.Open(ctx, d.cfg.StateDir, d.s.Env.Clock)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	for _, b := range d.report.Backups {
		ended := b.Time.Add(time.Duration(b.DurationMS) * time.Millisecond)
		run := core.Run{App: demoDatabase, Kind: core.RunBackup, Trigger: "demo", Started: b.Time, Finished: &ended, Outcome: core.OutcomeOK, Backup: b.ID, By: d.s.Who()}
		if _, err := db.AddRun(ctx, run); err != nil {
			return err
		}
	}
	now := d.s.Env.Clock.Now()
	_, err = db.AddRun(ctx, core.Run{
		App: demoDatabase, Kind: core.RunRestore, Trigger: "demo", Started: now, Finished: &now, Outcome: core.OutcomeOK, Backup: d.report.Backups[len(d.report.Backups)-1].ID, By: d.s.Who(),
	})
	return err
}

// admit makes a user with a password of its own.
func (d *demonstration) admit(ctx context.Context) (password core.Secret, err error) {
	users, err := access.Open(ctx, d.cfg.StateDir, d.s.Env.Clock)
	if err != nil {
		return password, err
	}
	defer func() { err = errors.Join(err, users.Close()) }()
	key, err := config.GenerateKey()
	if err != nil {
		return password, err
	}
	password = core.NewSecret(key.Reveal()[:min(16, len(key.Reveal()))])
	_, err = users.AddUser(ctx, consoleUser, access.Admin, password)
	return password, err
}
