package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	treerestore "github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/portable"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// Request says what to restore and where to.
type Request struct {
	Target     engine.Target // the live app; its database fields win over what is found
	Record     repository.Record
	Only       []core.Component // empty: all but code, and code too into an empty root
	Tables     []string         // only these tables
	Paths      []string         // only these files and folders, as `ls` shows them or relative to the app's root
	ToDir      string           // trees go here instead of into the live app
	ToDatabase string           // the database goes here instead of into the live one
	Wait       bool
}

func (r Request) partial() bool { return len(r.Tables) > 0 || len(r.Paths) > 0 }

// Step is one part of a plan.
type Step struct {
	Component core.Component `json:"component"`
	What      string         `json:"what"`
	Into      string         `json:"into"`
	Replaces  string         `json:"replaces,omitempty"` // what is there now; empty: nothing is
	Bytes     int64          `json:"bytes"`
}

// Plan says what a restore will do. Nothing is changed by making one.
type Plan struct {
	App      string   `json:"app"`
	Backup   string   `json:"backup"`
	Live     bool     `json:"live"` // the live app is changed
	Steps    []Step   `json:"steps"`
	Findings []string `json:"findings"` // what to know before saying yes

	// Rewrites and Refusals are what the target server makes necessary; the
	// findings say them in words. A plan with a refusal cannot be carried out.
	Rewrites []portable.Rewrite `json:"rewrites"`
	Refusals []portable.Refusal `json:"refusals"`
}

// Restore is a restore that is planned and not yet carried out.
type Restore struct {
	Plan Plan

	e       *engine.Engine
	req     Request
	open    *engine.Open
	profile profile.Profile
	app     *core.Application            // the live app; nil until it can be discovered
	trees   map[core.Component]*treePlan // what to restore of each
	missing []core.Component             // what would be restored and is not in the backup
	db      *databasePlan
	guard   *mysql.Conn          // holds the locks on the live database while Run runs
	lost    *treerestore.Damaged // what is left out as damaged; nil: damage ends the restore
}

type treePlan struct {
	targets map[string]string // place → folder
	paths   []string          // in the component; empty: all
}

type databasePlan struct {
	tables []string          // empty: everything
	target *core.Application // whose database is the target; nil: known after the config is back
	carry  *portable.Plan    // how the database comes onto the target; nil while that is not known
}

// Restored is the outcome of a restore.
type Restored struct {
	App      string         `json:"app"`
	Backup   string         `json:"backup"`
	Tables   int            `json:"tables"`
	Rows     int64          `json:"rows"`
	Files    int64          `json:"files"`
	Bytes    int64          `json:"bytes"`
	Warnings []core.Warning `json:"warnings"`
	Next     []string       `json:"next"` // what is left to do by hand
}

// PlanRestore finds out what a restore would do. Run carries it out.
func Make(ctx context.Context, e *engine.Engine, req Request) (*Restore, error) {
	open, err := e.OpenBackup(ctx, req.Record)
	if err != nil {
		return nil, err
	}
	r := &Restore{e: e, req: req, open: open, trees: map[core.Component]*treePlan{}}
	r.Plan = Plan{App: req.Target.App.Name, Backup: req.Record.ID, Steps: []Step{}, Findings: []string{}, Rewrites: []portable.Rewrite{}, Refusals: []portable.Refusal{}}
	if r.profile, err = e.Profiles.Get(open.Manifest.Profile); err != nil {
		return nil, err
	}
	if open.Manifest.App != req.Target.App.Name {
		r.find("the backup is of app %s, not of %s", open.Manifest.App, req.Target.App.Name)
	}
	if len(open.Manifest.Warnings) > 0 {
		r.find("the backup has %d warnings: some of the app is not in it (backstay show %s)", len(open.Manifest.Warnings), req.Record.ID)
	}
	components, err := r.choose()
	if err != nil {
		return nil, err
	}
	r.discover(ctx)
	r.findMissing()
	r.findCode(components)
	if err := r.checkPaths(ctx, components); err != nil {
		return nil, err
	}
	for _, c := range components {
		if c == core.ComponentDatabase {
			err = r.planDatabase(ctx)
		} else {
			err = r.planTree(ctx, c)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(r.Plan.Steps) == 0 {
		return nil, &core.Error{Code: core.CodeUsage, Op: "plan restore", Message: "nothing of the backup is asked for", Hint: "backstay show " + req.Record.ID + " lists what it holds"}
	}
	return r, nil
}

func (r *Restore) find(format string, args ...any) {
	r.Plan.Findings = append(r.Plan.Findings, fmt.Sprintf(format, args...))
}

// choose returns the components to restore, in order.
func (r *Restore) choose() ([]core.Component, error) {
	have := r.open.Manifest.Components
	var want []core.Component
	switch {
	case len(r.req.Only) > 0:
		want = r.req.Only
	case len(r.req.Tables) > 0 && len(r.req.Paths) == 0:
		want = []core.Component{core.ComponentDatabase}
	case len(r.req.Paths) > 0 && len(r.req.Tables) == 0:
		want = []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles}
	case r.req.ToDir != "" && r.req.ToDatabase == "":
		want = []core.Component{core.ComponentCode, core.ComponentConfig, core.ComponentFiles}
	case r.req.ToDatabase != "" && r.req.ToDir == "":
		want = []core.Component{core.ComponentDatabase}
	case r.req.ToDir != "" || r.rootEmpty():
		want = core.Components()
	default:
		want = []core.Component{core.ComponentConfig, core.ComponentDatabase, core.ComponentFiles}
	}
	var out []core.Component
	for _, c := range core.Components() {
		if !slices.Contains(want, c) {
			continue
		}
		if !slices.Contains(have, c) {
			if len(r.req.Only) == 0 && !r.req.partial() {
				r.missing = append(r.missing, c)
			}
			if slices.Contains(r.req.Only, c) {
				return nil, &core.Error{Code: core.CodeNotFound, Op: "plan restore", Message: "the backup has no component " + string(c), Hint: "backstay show " + r.req.Record.ID + " lists what it holds"}
			}
			continue
		}
		out = append(out, c)
	}
	return out, nil
}

func (r *Restore) root() string { return r.req.Target.App.Root }

func (r *Restore) rootEmpty() bool {
	return r.root() != "" && emptyDir(r.root())
}

// emptyDir says whether nothing is in a folder, or there is none.
func emptyDir(dir string) bool {
	entries, err := os.ReadDir(dir)
	return errors.Is(err, os.ErrNotExist) || err == nil && len(entries) == 0
}

// discover asks the live app for its database. On a bare machine there is no
// app to ask yet; the restored configuration is asked later.
func (r *Restore) discover(ctx context.Context) {
	app, err := r.profile.Discover(ctx, r.req.Target.App)
	if err != nil {
		r.e.Log.Debug("the live app cannot be read; its restored configuration will be", "err", err)
		return
	}
	r.app = app
}

// findMissing says what of the live app the backup cannot bring back.
func (r *Restore) findMissing() {
	if r.app == nil {
		return
	}
	var names []string
	for _, c := range r.missing {
		has := c == core.ComponentDatabase && r.app.Database != nil
		for _, s := range r.app.FileSets {
			has = has || s.Component == c
		}
		if has {
			names = append(names, string(c))
		}
	}
	if len(names) > 0 {
		r.find("the backup holds only a part of the app: %s stay as they are", strings.Join(names, ", "))
	}
}

// findCode says that the code stays, so that nobody takes a folder for whole in
// which only a mount point or a link was left.
func (r *Restore) findCode(components []core.Component) {
	if len(r.req.Only) > 0 || r.req.partial() || slices.Contains(components, core.ComponentCode) ||
		!slices.Contains(r.open.Manifest.Components, core.ComponentCode) || r.req.ToDatabase != "" {
		return
	}
	names := make([]string, 0, len(components)+1)
	for _, c := range append([]core.Component{core.ComponentCode}, components...) {
		names = append(names, string(c))
	}
	r.find("the code in %s stays as it is, because the folder is not empty; to restore it too: --only %s", r.root(), strings.Join(names, ","))
}

func (r *Restore) planTree(ctx context.Context, c core.Component) error {
	p := &treePlan{targets: map[string]string{}}
	var bytes, count int64
	for _, t := range r.open.Manifest.Trees {
		if t.Component != c {
			continue
		}
		target, err := r.placeTarget(t)
		if err != nil {
			return err
		}
		p.targets[t.Place] = target
		r.findLinks(t, target)
		bytes, count = bytes+t.Bytes, count+t.Files
	}
	what := fmt.Sprintf("%d files", count)
	if len(r.req.Paths) > 0 {
		for _, asked := range r.req.Paths {
			found, err := r.resolvePath(ctx, c, asked)
			if err != nil {
				return err
			}
			if found != "" {
				p.paths = append(p.paths, found)
			}
		}
		if len(p.paths) == 0 {
			return nil
		}
		what, bytes = strings.Join(p.paths, ", "), 0
		for _, found := range p.paths {
			entry, err := r.open.Lookup(ctx, string(c)+"/"+found)
			if err != nil {
				return err
			}
			bytes += entry.Object.Size
		}
	}
	r.trees[c] = p
	for _, place := range slices.Sorted(maps.Keys(p.targets)) {
		step := Step{Component: c, What: what, Into: p.targets[place], Bytes: bytes}
		if !emptyDir(step.Into) {
			step.Replaces = "what is there under the same names; other files stay"
			r.Plan.Live = r.Plan.Live || r.req.ToDir == ""
		}
		r.Plan.Steps = append(r.Plan.Steps, step)
		what, bytes = "files outside the app's folder", 0
	}
	return nil
}

// findLinks says which links to folders are not there any more: what was
// behind them is restored into folders, on what may be a smaller disk.
func (r *Restore) findLinks(t core.Tree, target string) {
	if r.req.ToDir != "" || r.req.partial() {
		return
	}
	for _, p := range t.Followed {
		if info, err := os.Lstat(filepath.Join(target, p)); err != nil || info.Mode()&os.ModeSymlink == 0 {
			r.find("%s was a link to another place and will be restored in its place here; if it is to lie elsewhere again, make the link first (backstay show %s says where it led)", p, r.req.Record.ID)
		}
	}
}

// placeTarget says where a place of a tree goes.
func (r *Restore) placeTarget(t core.Tree) (string, error) {
	switch {
	case r.req.ToDir != "" && t.Place == "app":
		return r.req.ToDir, nil
	case r.req.ToDir != "":
		return filepath.Join(r.req.ToDir, t.Place), nil
	case t.Place != "app":
		return "/", nil
	case r.root() != "":
		return r.root(), nil
	}
	return "", &core.Error{
		Code: core.CodeUsage, Op: "plan restore", Message: "it is not known where the app's folder is to be; it was " + t.Root,
		Hint: "give --root DIR, or --to-dir DIR",
	}
}

// resolvePath finds what a person calls a path: as ls shows it
// ("files/app/uploads/x"), relative to the app's root ("uploads/x"), or
// absolute. "" means that it is not in this component.
func (r *Restore) resolvePath(ctx context.Context, c core.Component, asked string) (string, error) {
	clean := strings.Trim(path.Clean("/"+asked), "/")
	candidates := []string{"app/" + clean}
	if filepath.IsAbs(asked) {
		candidates = []string{"system/" + clean}
		for _, root := range []string{r.root(), r.open.Manifest.Root} {
			if rel, ok := strings.CutPrefix("/"+clean, strings.TrimRight(root, "/")+"/"); ok && root != "" {
				candidates = append(candidates, "app/"+rel)
			}
		}
	} else if rest, ok := strings.CutPrefix(clean, string(c)+"/"); ok {
		candidates = []string{rest, "app/" + clean}
	}
	for _, p := range candidates {
		_, err := r.open.Lookup(ctx, string(c)+"/"+p)
		if err == nil {
			return p, nil
		}
		if core.CodeOf(err) != core.CodeNotFound {
			return "", err
		}
	}
	return "", nil
}

// checkPaths fails unless every path that was asked for is in one of the
// components: a part of what was asked for is not what was asked for.
func (r *Restore) checkPaths(ctx context.Context, components []core.Component) error {
	for _, asked := range r.req.Paths {
		found := false
		for _, c := range components {
			if found || c == core.ComponentDatabase {
				continue
			}
			p, err := r.resolvePath(ctx, c, asked)
			if err != nil {
				return err
			}
			found = p != ""
		}
		if !found {
			return &core.Error{
				Code: core.CodeNotFound, Op: "plan restore", Message: fmt.Sprintf("the backup has no %q", asked),
				Hint: "backstay ls " + r.req.Record.ID + " PATH shows what it has",
			}
		}
	}
	return nil
}

func (r *Restore) planDatabase(ctx context.Context) error {
	if r.open.IndexDamage != nil {
		return &core.Error{
			Code: core.CodeDamage, Op: "plan restore", Err: r.open.IndexDamage,
			Hint: "what is not the database can be restored: --only files, --only config; or restore another backup (backstay list)",
		}
	}
	d := r.open.Manifest.Database
	p := &databasePlan{tables: r.req.Tables, target: r.app}
	step := Step{Component: core.ComponentDatabase, What: fmt.Sprintf("%d tables, %d rows", d.Tables, d.Rows), Bytes: d.Bytes}
	if len(r.req.Tables) > 0 {
		step.What, step.Bytes = "", 0
		for _, name := range r.req.Tables {
			i := slices.IndexFunc(r.open.Index.Tables, func(t core.Table) bool { return t.Name == name })
			if i < 0 {
				return &core.Error{
					Code: core.CodeNotFound, Op: "plan restore", Message: fmt.Sprintf("the backup has no table %q", name),
					Hint: "backstay show " + r.req.Record.ID + " lists its tables",
				}
			}
			t := r.open.Index.Tables[i]
			step.What += fmt.Sprintf("table %s (%d rows) ", name, t.Rows)
			step.Bytes += t.Bytes
		}
		step.What = strings.TrimSpace(step.What)
	}
	r.db = p
	if r.app == nil || r.app.Database == nil {
		if given := r.req.Target.App.Database; r.app == nil && given.Name != "" && given.User != "" {
			p.target = givenDatabase(given)
		} else if _, inPlan := r.trees[core.ComponentConfig]; !inPlan || r.profile.Name() == "generic" {
			return &core.Error{
				Code: core.CodeApplication, Op: "plan restore", Message: "it is not known which database to restore into",
				Hint: "give --database-host, --database-user, --database-name and a password (--database-password-file), or restore the config too",
			}
		} else {
			step.Into = "the database that the restored configuration names (it was " + d.Name + ")"
			r.Plan.Steps = append(r.Plan.Steps, step)
			r.find("what the database server cannot take is found out when the restored configuration names it, and refused before the database is touched")
			return nil
		}
	}
	cfg := r.targetConfig(p.target)
	if r.req.ToDatabase != "" && r.req.ToDatabase == p.target.Database.Name {
		return &core.Error{
			Code: core.CodeUsage, Op: "plan restore", Message: fmt.Sprintf("database %q is the live one", r.req.ToDatabase),
			Hint: "give another name for a copy, or leave out --to-database to restore the live app",
		}
	}
	step.Into = "database " + cfg.Database + " at " + cfg.Address()
	have, err := engine.CountTables(ctx, cfg)
	if err != nil {
		return err
	}
	if have > 0 {
		step.Replaces = fmt.Sprintf("tables and objects of the same names; %d tables are there now, others stay", have)
		r.Plan.Live = r.Plan.Live || r.req.ToDatabase == ""
	}
	r.Plan.Steps = append(r.Plan.Steps, step)
	if p.carry, err = r.planCarry(ctx, cfg); err != nil {
		return err
	}
	r.findCarry(p.carry)
	if r.req.ToDatabase != "" && len(r.req.Tables) == 0 && len(r.open.Index.Objects) > 0 {
		r.find("events are disabled in the copy; views, triggers and routines that name database %s in their text go on using that one", d.Name)
	}
	return nil
}

func givenDatabase(d profile.Database) *core.Application {
	return &core.Application{Database: &core.DatabaseSource{
		Host: d.Host, Port: d.Port, Socket: d.Socket, User: d.User, Password: d.Password, Name: d.Name, Prefix: d.Prefix, TLS: d.TLS,
	}}
}

func (r *Restore) targetConfig(app *core.Application) mysql.Config {
	cfg := mysql.ConfigOf(*app.Database)
	if r.req.ToDatabase != "" {
		cfg.Database = r.req.ToDatabase
	}
	return cfg
}
