// Package doctor looks whether an app can be backed up and restored, and says
// what is in the way. It is for the commands. It promises to change nothing of
// the app and to have tried what it reports.
package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/preflight"
	"github.com/backstay/backstay/internal/profile"
)

// Health is the state of a Check.
type Health string

// The states, best first.
const (
	Healthy Health = "ok"
	Caution Health = "warning"
	Broken  Health = "failed"
)

// Check is one thing that doctor looked at.
type Check struct {
	App     string `json:"app,omitempty"`
	Name    string `json:"name"`
	Health  Health `json:"health"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func failed(app, name string, err error) Check {
	return Check{App: app, Name: name, Health: Broken, Message: err.Error(), Hint: core.HintOf(err)}
}

// App looks whether an app can be backed up and restored. It takes and leaves
// a consistency point, so that what it says of it was tried.
func App(ctx context.Context, e *engine.Engine, t engine.Target) []Check {
	name := t.App.Name
	p, err := e.Profiles.Get(t.Profile)
	if err != nil {
		return []Check{failed(name, "profile", err)}
	}
	app, err := p.Discover(ctx, t.App)
	if err != nil {
		return []Check{failed(name, "application", err)}
	}
	checks := []Check{{App: name, Name: "application", Health: Healthy, Message: describeApp(app)}}
	if app.Database != nil {
		checks = append(checks, checkDatabase(ctx, e, t, p, app)...)
	}
	for _, w := range app.Warnings {
		checks = append(checks, Check{App: name, Name: w.Code, Health: Caution, Message: w.String()})
	}
	checks = append(checks, checkFiles(app)...)
	checks = append(checks, checkRestore(e, name)...)
	if t.Profile != "generic" {
		checks = append(checks, checkPHP(name))
	}
	return checks
}

// checkRestore says what the last restore of the app left to do or to keep.
func checkRestore(e *engine.Engine, app string) []Check {
	j, err := journal.Newest(e.StateDir, app)
	switch {
	case err != nil:
		return []Check{failed(app, "last restore", err)}
	case j == nil:
		return nil
	case j.Unfinished() && engine.Holder(e.StateDir, app) != "":
		return []Check{{App: app, Name: "last restore", Health: Healthy, Message: "under way: " + engine.Holder(e.StateDir, app)}}
	case j.Unfinished():
		return []Check{{App: app, Name: "last restore", Health: Broken, Message: j.Left(), Hint: "backstay restore --resume " + app}}
	}
	return []Check{{
		App: app, Name: "last restore", Health: Healthy,
		Message: fmt.Sprintf("what %s replaced is kept until %s", j.Describe(), j.KeepTill.UTC().Format(time.RFC3339)),
		Hint:    "backstay undo " + app + " brings it back, with --drop it is removed",
	}}
}

// checkRestoreRights says whether the account may do what every restore needs,
// by the word of its grants. What a backup's own objects need beyond that is in
// the plan of its restore.
func checkRestoreRights(ctx context.Context, app string, cfg mysql.Config, server mysql.Server) []Check {
	report, err := preflight.Ask(ctx, cfg, preflight.Input{
		Database: core.Database{Name: cfg.Database, Server: core.DatabaseServer{Vendor: server.Vendor, Version: server.Version}}, DryRun: true,
	})
	if err != nil {
		return []Check{failed(app, "restore", err)}
	}
	var checks []Check
	for _, f := range report.Findings {
		if f.Kind == core.FindingImpossible {
			checks = append(checks, Check{App: app, Name: "restore", Health: Caution, Message: "a restore would be refused: " + f.Object + ": " + f.Message, Hint: f.Hint})
		}
	}
	if len(checks) == 0 {
		checks = append(checks, Check{App: app, Name: "restore", Health: Healthy, Message: "by its grants the account may restore the database (a restore tries it before it begins)"})
	}
	return checks
}

func describeApp(app *core.Application) string {
	s := app.Profile
	if v := app.Versions["application"]; v != "" {
		s += " " + v
	}
	if app.Root != "" {
		s += " at " + app.Root
	}
	return s
}

func checkDatabase(ctx context.Context, e *engine.Engine, t engine.Target, p profile.Profile, app *core.Application) []Check {
	name, cfg := t.App.Name, mysql.ConfigOf(*app.Database)
	conn, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return []Check{failed(name, "database", err)}
	}
	defer func() { _ = conn.Close() }() // nothing was changed over it
	server, err := conn.Server(ctx)
	if err != nil {
		return []Check{failed(name, "database", err)}
	}
	checks := []Check{{
		App: name, Name: "database", Health: Healthy,
		Message: fmt.Sprintf("%s at %s, %s %s", cfg.Database, cfg.Address(), server.Vendor, server.Version),
	}}
	if err := p.Versions(ctx, engine.Querier(conn), app); err != nil {
		checks = append(checks, failed(name, "versions", err))
	}
	checks = append(checks, checkClock(ctx, e.Clock, name, conn))
	checks = append(checks, checkSnapshot(ctx, e, t, cfg, app.Database.Prefix)...)
	if runs, err := switchover.Leftovers(ctx, e.StateDir, name, cfg); err != nil {
		checks = append(checks, failed(name, "left over", err))
	} else if len(runs) > 0 {
		checks = append(checks, Check{
			App: name, Name: "left over", Health: Caution, Message: "tables of restores that no journal here knows lie in or beside the database: " + core.Some(runs, 5),
			Hint: "if no other machine restores it: backstay undo " + name + " --drop",
		})
	}
	checks = append(checks, checkRestoreRights(ctx, name, cfg, server)...)
	if !server.LocalInfile {
		checks = append(checks, Check{
			App: name, Name: "restore speed", Health: Caution, Message: "the server forbids LOAD DATA LOCAL, so a restore uses INSERT and takes longer",
			Hint: "SET GLOBAL local_infile=1 for the time of a restore",
		})
	}
	return checks
}

func checkSnapshot(ctx context.Context, e *engine.Engine, t engine.Target, cfg mysql.Config, prefix string) []Check {
	name := t.App.Name
	s, err := dump.Open(ctx, dump.Options{Config: cfg, Prefix: prefix, Connections: t.Connections, Clock: e.Clock})
	if err != nil {
		return []Check{failed(name, "consistency", err)}
	}
	c := Check{App: name, Name: "consistency", Health: Healthy}
	c.Message = fmt.Sprintf("one instant by %s, %d connection(s), writes waited %d ms", s.Consistency.Method, s.Consistency.Connections, s.Consistency.FreezeMS)
	if s.Consistency.Connections == 1 && t.Connections != 1 {
		c.Health, c.Message = Caution, c.Message+"; "+s.Consistency.Why
		c.Hint = "GRANT LOCK TABLES on the database to the account, or RELOAD, to read over several connections"
	}
	for _, w := range s.Warnings {
		c.Health, c.Message = Caution, c.Message+"; "+w.String()
	}
	// It costs time only, so it is no reason for caution.
	again := Check{App: name, Name: "unchanged tables", Health: Healthy, Message: "can be told and are not read again"}
	if why := s.WhyRead(); why != "" {
		again.Message = "are mostly read again: " + why
		again.Hint = "GRANT LOCK TABLES on the database and PROCESS ON *.* to the account, and backups take less time"
	}
	if err := s.Close(); err != nil {
		return []Check{failed(name, "consistency", err)}
	}
	return []Check{c, again}
}

// clockSlack is by how much the clocks of two machines may differ.
const clockSlack = 5 * time.Second

func checkClock(ctx context.Context, clock core.Clock, app string, conn *mysql.Conn) Check {
	rows, err := conn.Query(ctx, "SELECT UNIX_TIMESTAMP(NOW(6))")
	if err != nil || len(rows) != 1 {
		return Check{App: app, Name: "clock", Health: Broken, Message: fmt.Sprintf("the server's clock cannot be read: %v", err)}
	}
	seconds, err := strconv.ParseFloat(rows[0][0].Text, 64)
	if err != nil {
		return failed(app, "clock", err)
	}
	off := clock.Now().Sub(time.UnixMilli(int64(seconds * 1000))).Round(time.Millisecond)
	if off.Abs() > clockSlack {
		return Check{
			App: app, Name: "clock", Health: Caution, Message: fmt.Sprintf("this machine and the database server differ by %s", off.Abs()),
			Hint: "let both keep time by NTP",
		}
	}
	return Check{App: app, Name: "clock", Health: Healthy, Message: "agrees with the database server's"}
}

// unreadableShown is how many unreadable paths are named.
const unreadableShown = 3

func checkFiles(app *core.Application) []Check {
	type place struct {
		component core.Component
		root      string
	}
	var order []place
	good, bad := map[place]int{}, map[place][]string{}
	for _, set := range app.FileSets {
		at := place{set.Component, set.Root}
		if !slices.Contains(order, at) {
			order = append(order, at)
		}
		for _, inc := range set.Include {
			f, err := os.Open(filepath.Join(set.Root, inc.Path))
			switch {
			case err == nil:
				_ = f.Close() // only opened to see whether it can be
				good[at]++
			case inc.Optional && errors.Is(err, os.ErrNotExist):
			default:
				bad[at] = append(bad[at], err.Error())
			}
		}
	}
	var checks []Check
	for _, at := range order {
		c := Check{App: app.Name, Name: string(at.component), Health: Healthy, Message: fmt.Sprintf("%d path(s) below %s can be read", good[at], at.root)}
		if n := len(bad[at]); n > 0 {
			c.Health, c.Message = Broken, fmt.Sprintf("%d path(s) cannot be read: %v", n, bad[at][:min(n, unreadableShown)])
			c.Hint = "run backstay as root or as the user who owns them, or correct the paths"
		}
		checks = append(checks, c)
	}
	return checks
}

func checkPHP(app string) Check {
	path, err := exec.LookPath("php")
	if err != nil { // the application's settings were read without it
		return Check{App: app, Name: "php", Health: Healthy, Message: "not installed, and not needed: every setting is written literally"}
	}
	return Check{App: app, Name: "php", Health: Healthy, Message: path}
}
