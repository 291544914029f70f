// Package restore brings an app, or a part of it, back from a backup: into the
// live app, into another place, or as a copy of its own. It is for the commands,
// and later the console. It promises that nothing live has changed before
// everything that is needed lies beside it, complete and compared with the
// backup; package switchover then makes it live.
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
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/switchover"
	"github.com/backstay/backstay/internal/files/exchange"
	treerestore "github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/mysql/portable"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// FindingSealed says that secrets of the configuration cannot be opened here.
const FindingSealed = "sealed-secrets"

// Request says what to restore and where to.
type Request struct {
	Target     engine.Target // the live app; its database fields win over what is found
	Record     repository.Record
	Only       []core.Component // empty: all but code, and code too into an empty root
	Tables     []string         // only these tables
	Paths      []string         // only these files and folders, as `ls` shows them or relative to the app's root
	ToDir      string           // trees go here instead of into the live app
	ToDatabase string           // the database goes here instead of into the live one
	Copy       *Copy            // makes a copy of the whole app in ToDir and ToDatabase; nil: no copy
	URL        string           // where the live app will answer; "": as its configuration says
	Wait       bool
	Lock       *engine.AppLock // on the app, which the caller holds; nil: it is taken
	// Check has Make read everything that is needed back from the repository,
	// for a plan that stays one. Run does so anyway before anything changes.
	Check bool
	// Estimates spares the server the counting of live rows, for a plan that
	// nobody reads.
	Estimates bool

	Force            []string      // names of findings that somebody agreed to
	Clean            bool          // takes away what the live app has and the backup does not
	NoSafetyBackup   bool          // does not back the live app up before the switch
	Keep             time.Duration // how long what was replaced is kept; 0: it is dropped at once
	BackupConnection bool          // the configuration keeps the backup's connection to the database, not the target's
}

// live says whether the live app is to be restored, and not a copy elsewhere.
func (r Request) live() bool { return r.ToDir == "" && r.ToDatabase == "" }

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
	App           string           `json:"app"`
	Backup        string           `json:"backup"`
	Live          bool             `json:"live"` // something that is live is replaced
	Steps         []Step           `json:"steps"`
	Tables        []TableChange    `json:"tables"`   // of the live database
	Files         []FilesChange    `json:"files"`    // of the live app
	Config        []ConfigChange   `json:"config"`   // files that will differ, secrets masked
	Settings      []profile.Change `json:"settings"` // that the restored configuration gets
	Findings      []core.Finding   `json:"findings"` // what to know before saying yes
	Space         []exchange.Space `json:"space"`
	DatabaseBytes int64            `json:"database_bytes"` // that the server needs while old and new are there
	EstimateMS    int64            `json:"estimate_ms"`    // how long building may take, roughly
	Undecided     []string         `json:"undecided"`      // names of findings that --force must name

	// Rewrites and Refusals are what the target server makes necessary; the
	// findings say them in words. A plan with a refusal cannot be carried out.
	Rewrites []portable.Rewrite `json:"rewrites"`
	Refusals []portable.Refusal `json:"refusals"`
}

// TableChange says what becomes of a table.
type TableChange struct {
	Name  string `json:"name"`
	Now   *int64 `json:"now"`   // rows that the live table has; null: there is no such table
	Then  *int64 `json:"then"`  // rows that the backup has; null: it has no such table
	Exact bool   `json:"exact"` // Now was counted; otherwise it is the server's estimate
	Fate  string `json:"fate"`  // "replaced", "added", "kept", "removed"
}

// FilesChange says what becomes of the files of a component.
type FilesChange struct {
	Component core.Component `json:"component"`
	Added     exchange.List  `json:"added"`
	Changed   exchange.List  `json:"changed"`
	Removed   exchange.List  `json:"removed"`
	Extra     exchange.List  `json:"extra"` // live only, and staying
	Unchanged int64          `json:"unchanged"`
}

// Restore is a restore that is planned and not yet carried out.
type Restore struct {
	Plan Plan

	e       *engine.Engine
	req     Request
	open    *engine.Open
	profile profile.Profile
	app     *core.Application    // the live app; nil when there is none that can be understood
	target  *core.DatabaseSource // what the database part fills, or a copy beside it; nil: unknown
	mu      sync.Mutex
	denied  []treerestore.Denied // what only root could have set
	// original is the live app's database, where target is a copy's.
	original *core.DatabaseSource
	trees    map[core.Component]*treePlan // what to restore of each
	missing  []core.Component             // what would be restored and is not in the backup
	db       *databasePlan
	lost     *treerestore.Damaged // what is left out as damaged; nil: damage ends the restore
}

type treePlan struct {
	targets   map[string]string // place → folder
	paths     []string          // in the component; empty: all
	transform map[string]func([]byte) ([]byte, error)
}

type databasePlan struct {
	tables []string         // empty: everything
	carry  *portable.Plan   // how the database comes onto the target
	server *portable.Target // what that server takes
}

// Restored is the outcome of a restore.
type Restored struct {
	switchover.Outcome
	Copy *Copied `json:"copy,omitempty"`
}

// findSealed says that the configuration cannot be opened. Into a live app it
// would take the place of files that work.
func (r *Restore) findSealed() {
	f := core.Finding{
		Kind: core.FindingDecision, Name: FindingSealed, Message: fmt.Sprintf("the %d files of the configuration are sealed, and no identity is here that opens them: what would come back says only that", len(r.open.Manifest.Sealed)),
		Hint: "name the identity file in secrets.identity_file (a recovery kit has it), or leave the configuration out: --only database,files",
	}
	if r.req.live() {
		f.Kind = core.FindingImpossible
	}
	r.add(f)
}

// PlanRestore finds out what a restore would do. Run carries it out.
func Make(ctx context.Context, e *engine.Engine, req Request) (*Restore, error) {
	e, sealed, err := e.Unsealed(ctx, req.Record)
	if err != nil {
		return nil, err
	}
	open, err := e.OpenBackup(ctx, req.Record)
	if err != nil {
		return nil, err
	}
	r := &Restore{e: e, req: req, open: open, trees: map[core.Component]*treePlan{}}
	r.Plan = Plan{App: req.Target.App.Name, Backup: req.Record.ID, Steps: []Step{}, Tables: []TableChange{}, Files: []FilesChange{}, Config: []ConfigChange{}, Settings: []profile.Change{}, Findings: []core.Finding{}, Space: []exchange.Space{}, Undecided: []string{}, Rewrites: []portable.Rewrite{}, Refusals: []portable.Refusal{}}
	if r.profile, err = e.Profiles.Get(open.Manifest.Profile); err != nil {
		return nil, err
	}
	if open.Manifest.App != req.Target.App.Name {
		say := r.note
		if req.live() {
			say = r.decide
		}
		say(FindingOtherApp, "the backup is of app %s, not of %s", open.Manifest.App, req.Target.App.Name)
	}
	asked, warnings := engine.Asked(open.Manifest)
	if warnings > 0 {
		r.note("incomplete-backup", "the backup has %d warnings: some of the app is not in it (backstay show %s)", warnings, req.Record.ID)
	}
	components, err := r.choose()
	if err != nil {
		return nil, err
	}
	if err := r.discover(ctx); err != nil {
		return nil, err
	}
	if req.Copy != nil {
		if err := r.aimCopy(ctx); err != nil {
			return nil, err
		}
	}
	r.findMissing()
	r.findCode(components)
	if len(open.Manifest.Sealed) > 0 && sealed && slices.Contains(components, core.ComponentConfig) {
		r.findSealed()
	}
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
	r.compareApp(ctx)
	if len(r.trees) > 0 {
		r.findOwners()
	}
	for _, w := range asked { // of what somebody else may have written
		if inDatabase := w.Code == engine.WarnBringsCode; inDatabase && r.db != nil || !inDatabase && len(r.trees) > 0 {
			r.decide(w.Code, "%s: %s", w.Message, w.Object)
		}
	}
	if err := r.findDependencies(ctx); err != nil {
		return nil, err
	}
	if err := r.findMovedLinks(ctx); err != nil {
		return nil, err
	}
	if req.Copy != nil {
		if err := r.planCopy(ctx); err != nil {
			return nil, err
		}
	}
	if req.Check {
		if err := r.checkIntact(ctx); err != nil {
			return nil, err
		}
	}
	r.findOtherDatabase()
	if err := r.findEarlier(); err != nil {
		return nil, err
	}
	r.sortFindings()
	return r, nil
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

// findMissing says what of the live app the backup cannot bring back.
func (r *Restore) findMissing() {
	if r.app == nil || r.req.Copy != nil {
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
		r.note("partial-backup", "the backup holds only a part of the app: %s stay as they are", strings.Join(names, ", "))
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
	r.note("code-stays", "the code in %s stays as it is, because the folder is not empty; to restore it too: --only %s", r.root(), strings.Join(names, ","))
}

func (r *Restore) planTree(ctx context.Context, c core.Component) error {
	p := &treePlan{targets: map[string]string{}}
	var bytes, count int64
	for _, t := range r.open.Manifest.Trees {
		if t.Component != c || r.req.Copy != nil && t.Place != "app" {
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
	if count == 1 {
		what = "1 file"
	}
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
	if c == core.ComponentConfig && r.req.live() {
		if err := r.configure(ctx, p); err != nil {
			return err
		}
		if err := r.compareConfig(ctx); err != nil {
			return err
		}
	}
	if r.req.live() {
		if err := r.compareTree(ctx, c); err != nil {
			return err
		}
	}
	for _, place := range slices.Sorted(maps.Keys(p.targets)) {
		step := Step{Component: c, What: what, Into: p.targets[place], Bytes: bytes}
		if !emptyDir(step.Into) {
			step.Replaces = "what is there under the same names; other files " + r.others()
			r.Plan.Live = r.Plan.Live || r.req.live()
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
			r.note("link", "%s was a link to another place and will be restored in its place here; if it is to lie elsewhere again, make the link first (backstay show %s says where it led)", p, r.req.Record.ID)
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
