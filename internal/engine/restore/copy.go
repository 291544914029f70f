package restore

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/engine/smoke"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
)

// made is what the making of a copy has put onto the machine so far.
type made struct {
	database bool   // the database was made
	filled   bool   // something may be in the database
	folders  string // the topmost folder that was made; "": the copy's folder was there
	files    bool   // something may be in the folder
}

// makeCopy carries out a plan for a copy. On an error it takes away what it
// made, and says what is left.
func (r *Restore) makeCopy(ctx context.Context, out *Restored) error {
	var m made
	err := r.fillCopy(ctx, out, &m)
	if err == nil {
		return nil
	}
	left, cleanup := r.removeCopy(context.WithoutCancel(ctx), m)
	e := &core.Error{Code: core.CodeOf(err), Op: "make the copy " + r.req.Copy.Name, Err: err, Hint: core.HintOf(err)}
	if len(left) == 0 {
		e.Message = "what was made of it is removed again"
		if e.Hint == "" {
			e.Hint = "the live app was not touched"
		}
		return e
	}
	var what, how []string
	for _, l := range left {
		what, how = append(what, l.what), append(how, l.how)
	}
	e.Message, e.Err = "parts of it are left: "+strings.Join(what, "; "), errors.Join(err, cleanup)
	e.Hint = strings.TrimSpace("remove them before you try again: " + strings.Join(how, "; "))
	return e
}

// fillCopy makes the copy: the database first, and quiet; then the files in an
// order in which nothing of the application runs before its configuration
// leads to the copy.
func (r *Restore) fillCopy(ctx context.Context, out *Restored, m *made) error {
	done := &Copied{Name: r.req.Copy.Name, Root: r.req.ToDir, URL: r.req.Copy.URL, SwitchedOff: []string{}, Settings: append([]profile.Change{}, r.Plan.Settings...)}
	if !emptyDir(r.req.ToDir) {
		return &core.Error{Code: core.CodeUsage, Op: "look into " + r.req.ToDir, Message: "it is not empty any more", Hint: "give a folder that is empty or missing"}
	}
	if r.db != nil {
		cfg := r.targetConfig()
		done.Database, done.Address = cfg.Database, cfg.Address()
		if err := r.fillCopyDatabase(ctx, cfg, out, done, m); err != nil {
			return err
		}
	}
	if err := r.noteFolders(m); err != nil {
		return err
	}
	for _, c := range []core.Component{core.ComponentConfig, core.ComponentFiles, core.ComponentCode} {
		if r.trees[c] == nil {
			continue
		}
		m.files = true
		if err := r.runTree(ctx, c, out); err != nil {
			return err
		}
	}
	out.Copy = done
	return r.finishCopy(ctx, out)
}

func (r *Restore) fillCopyDatabase(ctx context.Context, cfg mysql.Config, out *Restored, done *Copied, m *made) error {
	if what, err := r.holds(ctx); err != nil || what != "" {
		return errors.Join(err, &core.Error{Code: core.CodeUsage, Op: "look into database " + cfg.Database, Message: "it is not empty any more: " + what, Hint: "give the name of a database that is empty or missing"})
	}
	there, err := r.databaseThere(ctx, cfg)
	if err != nil {
		return err
	}
	if err := r.ensureDatabase(ctx, cfg); err != nil {
		return err
	}
	m.database = !there
	if err := r.proveServer(ctx, cfg); err != nil {
		return err
	}
	m.filled = true
	if err := r.runDatabase(ctx, out); err != nil {
		return err
	}
	return r.quiet(ctx, cfg, done)
}

func (r *Restore) databaseThere(ctx context.Context, cfg mysql.Config) (_ bool, err error) {
	name := cfg.Database
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.Query(ctx, "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME="+mysql.QuoteText(name))
	return len(rows) > 0, err
}

// quiet switches off what the copy would do by itself.
func (r *Restore) quiet(ctx context.Context, cfg mysql.Config, done *Copied) (err error) {
	statements := r.profile.Quiet(r.open.Manifest.Database.Prefix)
	if len(statements) == 0 {
		return nil
	}
	r.e.Progress.Stage("switch off what the copy would do by itself", 0)
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	statements, err = profile.Applicable(ctx, engine.Querier(c), statements)
	if err != nil {
		return err
	}
	for _, s := range statements {
		if _, err := c.Exec(ctx, s.SQL); err != nil {
			return &core.Error{Code: core.CodeDatabase, Op: s.Does + " in the copy", Err: err, Hint: "without it the copy might reach out to the world, so it was not made"}
		}
		done.SwitchedOff = append(done.SwitchedOff, s.Does)
	}
	return nil
}

// noteFolders remembers which folders will be made.
func (r *Restore) noteFolders(m *made) error {
	for at := r.req.ToDir; ; at = filepath.Dir(at) {
		_, err := os.Lstat(at)
		if err == nil {
			return nil
		}
		if !errors.Is(err, os.ErrNotExist) || at == filepath.Dir(at) {
			return err
		}
		m.folders = at
	}
}

// finishCopy runs the application's own steps in the copy and looks whether it
// can reach its database. What does not work is a warning: the copy is there.
func (r *Restore) finishCopy(ctx context.Context, out *Restored) (err error) {
	app := r.req.Target.App
	app.Name, app.Root, app.URL, app.Hooks = r.req.Copy.Name, r.req.ToDir, r.req.Copy.URL, profile.Hooks{}
	app.Database = profile.Database{}
	c := &switchover.Change{E: r.e, Profile: r.profile, Target: engine.Target{Profile: r.req.Target.Profile, App: app}, Out: &out.Outcome, Journal: &journal.Journal{
		App: app.Name, Root: app.Root, Code: r.trees[core.ComponentCode] != nil, Files: r.trees[core.ComponentFiles] != nil,
		Versions: r.open.Manifest.Versions, Settings: r.open.Manifest.Settings,
	}}
	restored := profile.Restored{App: app, Root: app.Root, Code: c.Journal.Code, Files: c.Journal.Files, Database: r.db != nil, Versions: c.Journal.Versions, Settings: c.Journal.Settings}
	if r.db != nil {
		restored.Prefix = r.open.Manifest.Database.Prefix
		if c.Guard, err = mysql.Connect(ctx, r.targetConfig()); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Guard.Close()) }()
	}
	began := r.e.Clock.Now()
	for _, s := range r.profile.PostSteps(restored) {
		c.RunStep(ctx, s)
	}
	out.StepsMS = r.e.Clock.Now().Sub(began).Milliseconds()
	r.lookAtCopy(ctx, app, out)
	if err := r.finishElsewhere(out); err != nil {
		return err
	}
	return ctx.Err()
}

// lookAtCopy sees whether the application finds its own database, and where it
// says that it is.
func (r *Restore) lookAtCopy(ctx context.Context, app profile.App, out *Restored) {
	if r.open.Manifest.Settings["config"] == "" {
		if r.db != nil {
			out.Next = append(out.Next, fmt.Sprintf("write database %s into the copy's configuration, with an account that may use it, and switch off its jobs and mail, before anyone opens it", r.req.ToDatabase))
		}
		return
	}
	warn := func(code, object, format string, args ...any) {
		out.Warnings = append(out.Warnings, core.Warning{Code: code, Object: object, Message: fmt.Sprintf(format, args...)})
	}
	found, err := r.profile.Discover(ctx, app)
	if err != nil {
		warn("smoke", app.Name, "the copy's configuration cannot be read: %v", err)
		return
	}
	if r.db != nil && found.Database != nil {
		cfg := mysql.ConfigOf(*found.Database)
		if cfg.Database != r.req.ToDatabase {
			warn("connection", app.Name, "the copy's configuration names database %s, not %s: keep it closed", cfg.Database, r.req.ToDatabase)
		}
		if c, err := mysql.Connect(ctx, cfg); err != nil {
			warn("connection", app.Name, "the copy cannot log in to its database (%v); as the server's administrator: GRANT ALL ON %s.* TO the account %q", err, mysql.QuoteName(cfg.Database), cfg.User)
		} else {
			_ = c.Close() // only opened to see whether it can be
		}
	}
	out.Copy.URL = r.profile.URL(app, found)
	switch was := r.originalURL(); {
	case out.Copy.URL != "" && out.Copy.URL == was && r.req.Copy.URL == "":
		warn("links", app.Name, "links in the copy lead to the original, %s; --url says where the copy is to answer", was)
	case r.req.Copy.URL != "":
		if err := smoke.Answers(ctx, r.req.Copy.URL); err != nil {
			host := r.req.Copy.URL
			if u, perr := url.Parse(host); perr == nil {
				host = u.Host
			}
			out.Next = append(out.Next, fmt.Sprintf("make a site for %s in the web server, with the folder %s: it does not answer there yet (%v)", host, r.req.ToDir, err))
		}
	default:
		out.Next = append(out.Next, "make a site for the copy in the web server, with the folder "+r.req.ToDir)
	}
}

// remains is a part of a copy that could not be removed, and how to.
type remains struct{ what, how string }

// removeCopy takes away what was made of a copy.
func (r *Restore) removeCopy(ctx context.Context, m made) (left []remains, err error) {
	dir := r.req.ToDir
	if m.files || m.folders != "" {
		if ferr := clearFolder(dir, m.folders); ferr != nil {
			left, err = append(left, remains{"files in " + dir, "rm -rf " + files.ShellQuote(dir)}), ferr
		}
	}
	if !m.filled && !m.database {
		return left, err
	}
	name := mysql.QuoteName(r.req.ToDatabase)
	drop := "DROP DATABASE " + name
	if !m.database { // somebody else made it, perhaps with rights and settings of its own
		return append(left, remains{"tables in database " + r.req.ToDatabase + ", which was there and empty", "in SQL: " + drop + "; CREATE DATABASE " + name}), err
	}
	cfg := r.targetConfig()
	cfg.Database = ""
	c, derr := mysql.Connect(ctx, cfg)
	if derr == nil {
		_, derr = c.Exec(ctx, drop)
		derr = errors.Join(derr, c.Close())
	}
	if derr != nil {
		left = append(left, remains{"database " + r.req.ToDatabase, "in SQL: " + drop})
	}
	return left, errors.Join(err, derr)
}

// clearFolder empties a folder that was empty before, and removes it with the
// folders above it down from the one that was made.
func clearFolder(dir, top string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	if top == "" {
		return nil
	}
	for at := dir; ; at = filepath.Dir(at) {
		if err := os.Remove(at); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil // somebody has put something beside it: it is not only the copy's any more
		}
		if at == top || at == filepath.Dir(at) {
			return nil
		}
	}
}
