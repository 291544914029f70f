package engine

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/repository"
)

// BackupOptions say what to back up and how.
type BackupOptions struct {
	Only    []core.Component // empty: everything that the app has
	Wait    bool             // wait while another operation works on the app
	Trigger string           // "manual", "schedule", "demo", "guard"
	Note    string
	Pin     bool
	ReadAll bool // take over nothing from earlier backups unread, no table and no file
	// Healed, where it is not nil, has what is written again and cannot be read be
	// stored anew, and counts those parts. It wants ReadAll.
	Healed *int
	// IgnoreUnfinished backs up an app whose last restore was cut short.
	IgnoreUnfinished bool
	Lock             *AppLock // on the app, which the caller holds; nil: it is taken
	// Held says that the caller holds the locks on the app and its database, and
	// knows what state the app is in: a restore that backs it up before its switch.
	Held bool
	// WhatIsThere takes what there is of an app that may be broken: what is
	// missing is a warning.
	WhatIsThere bool
}

func (o BackupOptions) wants(c core.Component) bool {
	return len(o.Only) == 0 || slices.Contains(o.Only, c)
}

// captureAttempts is how often a capture is begun again because the schema
// changed under it.
const captureAttempts = 3

// Backup captures an app and commits the backup. The result may carry
// warnings: then the backup is committed, and they say what is not in it.
func (e *Engine) Backup(ctx context.Context, t Target, opt BackupOptions) (_ core.Backup, err error) {
	p, err := e.profileOf(t)
	if err != nil {
		return core.Backup{}, err
	}
	if !opt.Held {
		if opt.Lock == nil {
			lock, err := e.LockApp(ctx, t.App.Name, "backup", opt.Wait)
			if err != nil {
				return core.Backup{}, err
			}
			defer func() { err = errors.Join(err, lock.Release()) }()
		}
		if err := e.refuseUnfinished(t.App.Name); err != nil && !opt.IgnoreUnfinished {
			return core.Backup{}, err
		}
	}
	if err := profile.RunHooks(ctx, t.App, "before", t.App.Hooks.Before); err != nil {
		return core.Backup{}, errors.Join(err, e.hooksAfter(ctx, t))
	}
	b, err := e.backupLocked(ctx, p, t, opt)
	// A hook that fails after the commit does not take the backup back.
	if herr := e.hooksAfter(ctx, t); herr != nil {
		if err != nil {
			return b, errors.Join(err, herr)
		}
		b.Warnings = append(b.Warnings, core.Warning{Code: "hook", Object: "hooks.after", Message: herr.Error()})
	}
	return b, err
}

func (e *Engine) hooksAfter(ctx context.Context, t Target) error {
	return profile.RunHooks(context.WithoutCancel(ctx), t.App, "after", t.App.Hooks.After)
}

func (e *Engine) backupLocked(ctx context.Context, p profile.Profile, t Target, opt BackupOptions) (core.Backup, error) {
	b := &backup{e: e, profile: p, target: t, opt: opt, started: e.Clock.Now()}
	var err error
	if b.app, err = p.Discover(ctx, t.App); err != nil {
		return core.Backup{}, err
	}
	if b.existing, b.lost, err = e.visible(ctx); err != nil {
		return core.Backup{}, err
	}
	if b.app.Database != nil && opt.wants(core.ComponentDatabase) {
		if b.guard, err = b.openGuard(ctx); err != nil {
			return core.Backup{}, err
		}
		defer func() { _ = b.guard.Close() }() // it only holds locks, which end with it either way
		if b.base, err = b.former(ctx); err != nil {
			return core.Backup{}, err
		}
	}
	leave := func() error { return nil }
	if t.Consistency == "readonly" {
		leave, err = p.ReadOnly(ctx, b.querier(), t.App, b.app)
		if err != nil {
			return core.Backup{}, errors.Join(err, leave())
		}
	}
	rec, err := b.attempt(ctx)
	if lerr := leave(); lerr != nil {
		if err != nil {
			return core.Backup{}, errors.Join(err, lerr)
		}
		rec.Warnings = append(rec.Warnings, core.Warning{Code: "readonly", Object: t.App.Name, Message: "the app could not be taken out of its read-only mode: " + lerr.Error()})
	}
	if err != nil {
		return rec.Backup, err
	}
	return rec.Backup, b.distrust(ctx, rec)
}

// distrust reads the new backup back when damage is known in the repository:
// what it shares with older backups may be what is damaged.
func (b *backup) distrust(ctx context.Context, rec repository.Record) error {
	if !b.knowsDamage() {
		return nil
	}
	b.e.Log.Warn("an earlier verification found damage in the repository, so the new backup is read back")
	v, err := b.e.Verify(ctx, rec)
	if err != nil {
		return fmt.Errorf("read back the new backup: %w", err)
	}
	if len(v.Damaged) == 0 {
		return nil
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "read back the new backup " + rec.ID,
		Message: fmt.Sprintf("%d of its objects are damaged, because it shares them with older backups; first %s", len(v.Damaged), v.Damaged[0].Path),
		Hint:    "keep this repository for what is still whole, set repository.url to a new folder, run backstay init, and back up again",
	}
}

// knowsDamage says whether damage in the repository is known, here or to it.
func (b *backup) knowsDamage() bool {
	return b.e.distrusts() || slices.ContainsFunc(b.existing, func(r repository.Record) bool { return r.Damaged != nil })
}

// backup is one run of Backup.
type backup struct {
	e        *Engine
	profile  profile.Profile
	target   Target
	opt      BackupOptions
	app      *core.Application
	guard    *mysql.Conn // holds the application's locks; nil without a database
	existing []repository.Record
	lost     error // what the repository knows to be missing in it
	started  time.Time

	base     *dump.Former // whose unchanged tables are taken over; may be nil
	manifest core.Manifest
	caches   map[core.Component]*capture.Cache
}

// openGuard takes the application's own locks and asks what only the database
// knows.
func (b *backup) openGuard(ctx context.Context) (_ *mysql.Conn, err error) {
	c, err := mysql.Connect(ctx, mysql.ConfigOf(*b.app.Database))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	wait := LockGrace
	if b.opt.Wait {
		wait = 600
	}
	if !b.opt.Held {
		if err := TakeDatabaseLock(ctx, c, b.app.Database.Name, wait); err != nil {
			return nil, err
		}
	}
	if err := TakeNamedLocks(ctx, c, b.app.Database.Locks, wait); err != nil {
		return nil, err
	}
	if err := b.profile.Busy(ctx, querier{c}, b.app); err != nil {
		return nil, err
	}
	return c, b.profile.Versions(ctx, querier{c}, b.app)
}

func (b *backup) querier() profile.Querier {
	if b.guard == nil {
		return nil
	}
	return querier{b.guard}
}

// attempt captures until the schema stands still, a few times at most.
func (b *backup) attempt(ctx context.Context) (repository.Record, error) {
	for n := 1; ; n++ {
		rec, err := b.capture(ctx)
		if err == nil || n == captureAttempts || !errors.Is(err, dump.ErrChanged) {
			return rec, err
		}
		b.e.Log.Warn("the schema changed during the backup; beginning again", "app", b.target.App.Name, "err", err)
	}
}

func (b *backup) capture(ctx context.Context) (_ repository.Record, err error) {
	session, err := b.beginSession(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	defer session.Abort()
	if h, ok := session.(repository.HealingSession); ok && b.opt.Healed != nil {
		defer func() { *b.opt.Healed += h.Healed() }()
	}
	b.begin()
	var snapshot *dump.Snapshot
	if b.guard != nil {
		if snapshot, err = dump.Open(ctx, dump.Options{
			Config: mysql.ConfigOf(*b.app.Database), Prefix: b.app.Database.Prefix,
			Connections: b.target.Connections, Clock: b.e.Clock, Former: b.base,
		}); err != nil {
			return repository.Record{}, err
		}
		defer func() { err = errors.Join(err, snapshot.Close()) }()
		b.manifest.Time = snapshot.Time
	}
	// The files are captured after the database's instant, so that every file
	// that a row names is there, and at once, so that few are gone by then.
	entries, err := b.captureAll(ctx, session, snapshot)
	if err != nil {
		return repository.Record{}, err
	}
	return b.commit(ctx, session, entries)
}

func (b *backup) beginSession(ctx context.Context) (repository.Session, error) {
	if b.opt.Healed == nil {
		return b.e.Store.Begin(ctx)
	}
	healer, ok := b.e.Store.(repository.Healer)
	if !ok {
		return nil, &core.Error{Code: core.CodeUnsupported, Op: "backup", Message: "this repository cannot store damaged parts anew"}
	}
	return healer.BeginHealing(ctx)
}

// explainDenied says what to grant where the server denied a statement.
func explainDenied(err error, db *core.DatabaseSource) error {
	if core.HintOf(err) != "" || !mysql.AccessDenied(err) {
		return err
	}
	return &core.Error{
		Code: core.CodeDatabase, Err: err,
		Hint: fmt.Sprintf("GRANT SELECT, LOCK TABLES, SHOW VIEW, TRIGGER, EVENT, EXECUTE ON %s.* TO the account of user %q", mysql.QuoteName(db.Name), db.User),
	}
}

// allowMissing is the set with nothing in it that must be there.
func (b *backup) allowMissing(s core.FileSet) core.FileSet {
	s.Include = slices.Clone(s.Include)
	for i, p := range s.Include {
		at := filepath.Join(s.Root, p.Path)
		if _, err := os.Lstat(at); err != nil && !p.Optional {
			b.manifest.Warnings = append(b.manifest.Warnings, core.Warning{Code: "missing", Object: at, Message: "it is not in the backup, because it could not be found: " + err.Error()})
		}
		s.Include[i].Optional = true
	}
	return s
}

func (b *backup) begin() {
	now := b.e.Clock.Now()
	b.caches = map[core.Component]*capture.Cache{}
	b.manifest = core.Manifest{
		Schema: core.ManifestSchema, ID: NewID(), App: b.target.App.Name, Profile: b.profile.Name(), Host: b.e.Host,
		Root: b.app.Root, Time: now, Started: b.started, Trigger: b.opt.Trigger, Note: b.opt.Note,
		BackstayVersion: b.e.Version, Versions: b.app.Versions, Modules: b.app.Modules, Settings: b.app.Settings,
		Consistency: core.Consistency{Mode: b.target.Consistency, Method: "none"},
		Owners:      core.Owners{Users: map[string]string{}, Groups: map[string]string{}},
		Notes:       slices.Clone(b.app.Notes), Warnings: slices.Clone(b.app.Warnings),
	}
}

// NewID returns a new id of 16 hex digits.
func NewID() string {
	var id [8]byte
	rand.Read(id[:]) // never fails: crypto/rand
	return hex.EncodeToString(id[:])
}

// captureAll captures all components at the same time and returns the entries
// of the backup's root folder.
func (b *backup) captureAll(ctx context.Context, w core.TreeWriter, snapshot *dump.Snapshot) ([]core.Entry, error) {
	var dumped *dump.Dumped
	sets := map[core.Component][]core.FileSet{}
	for _, s := range b.app.FileSets {
		if b.opt.wants(s.Component) {
			if b.opt.WhatIsThere {
				s = b.allowMissing(s)
			}
			sets[s.Component] = append(sets[s.Component], s)
		}
	}
	captured := map[core.Component]*capture.Result{}
	sealing := newSealer(w)
	for c := range sets {
		captured[c] = nil
	}
	b.e.Progress.Stage("backup "+b.target.App.Name, b.expectedBytes(snapshot))
	quiet := QuietStage(b.e.Progress)
	g, gctx := errgroup.WithContext(ctx)
	if snapshot != nil {
		g.Go(func() (err error) {
			dumped, err = snapshot.Write(gctx, w, quiet)
			return explainDenied(err, b.app.Database)
		})
	}
	g.Go(func() error {
		for _, c := range []core.Component{core.ComponentFiles, core.ComponentConfig, core.ComponentCode} {
			if len(sets[c]) == 0 {
				continue
			}
			cache, contents := b.loadCache(c), core.TreeWriter(nil)
			if c == core.ComponentConfig && len(b.e.SealTo) > 0 {
				// What is not read cannot be sealed: the cache names placeholders, or plain objects.
				cache, contents = nil, sealing
			}
			got, err := capture.Files(gctx, sets[c], w, capture.Options{
				Cache: cache, Contents: contents, Progress: quiet, Clock: b.e.Clock, Log: b.e.Log,
			})
			if err != nil {
				return err
			}
			captured[c] = got
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var entries []core.Entry
	for _, c := range core.Components() {
		if c == core.ComponentDatabase && dumped != nil {
			b.manifest.Components = append(b.manifest.Components, c)
			b.manifest.Database = &dumped.Database
			b.tellRead(dumped)
			snapshot.Consistency.Mode = b.manifest.Consistency.Mode
			b.manifest.Consistency = snapshot.Consistency
			b.manifest.Warnings = append(b.manifest.Warnings, dumped.Warnings...)
			b.manifest.Notes = append(b.manifest.Notes, dumped.Notes...)
			entries = append(entries, dumped.Entry)
		}
		if got := captured[c]; got != nil {
			b.manifest.Components = append(b.manifest.Components, c)
			entries = append(entries, b.addTree(c, got)...)
		}
	}
	sealed, list, err := sealing.store(ctx, b.e.SealTo, b.manifest.Time)
	if err != nil {
		return nil, err
	}
	entries, b.manifest.Sealed = append(entries, sealed...), list
	if len(entries) == 0 {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: "back up app " + b.target.App.Name, Message: "there is nothing to back up",
			Hint: "give database:, files: or config: in backstay.yaml, or other components with --only",
		}
	}
	return entries, nil
}

// expectedBytes is what the last backup held, or, the first time, what the
// server estimates.
func (b *backup) expectedBytes(snapshot *dump.Snapshot) int64 {
	for _, r := range slices.Backward(b.existing) {
		if r.App == b.target.App.Name {
			return r.LogicalBytes
		}
	}
	if snapshot == nil {
		return 0
	}
	return snapshot.EstimatedBytes()
}

func (b *backup) addTree(c core.Component, got *capture.Result) []core.Entry {
	if c != core.ComponentConfig || len(b.e.SealTo) == 0 { // else it names placeholders, which a backup without seals must not take over
		b.caches[c] = got.Cache
	}
	b.manifest.Trees = append(b.manifest.Trees, got.Trees...)
	b.manifest.Warnings = append(b.manifest.Warnings, got.Warnings...)
	b.manifest.Notes = append(b.manifest.Notes, got.Notes...)
	maps.Copy(b.manifest.Owners.Users, got.Owners.Users)
	maps.Copy(b.manifest.Owners.Groups, got.Owners.Groups)
	return ComponentEntries(c, got.Entry, got.Extra, b.manifest.Time)
}

// suspect warns of what a backup should not look like: a success that holds
// nothing is the worst one there is.
func (b *backup) suspect() {
	warn := func(code, object, format string, args ...any) {
		b.manifest.Warnings = append(b.manifest.Warnings, core.Warning{Code: code, Object: object, Message: fmt.Sprintf(format, args...)})
	}
	if b.lost != nil {
		warn("repository-damaged", b.e.Repository, "%v", b.lost)
	}
	// The note saves nobody's data, so that it cannot be read is worth no more than a line in the log.
	if last, err := b.e.last(b.target.App.Name); err != nil {
		b.e.Log.Warn(err.Error())
	} else if last != "" && !slices.ContainsFunc(b.existing, func(r repository.Record) bool { return r.ID == last }) {
		warn("repository-older", b.e.Repository, "backup %s, the last one made from here, is not in the repository: it was deleted from another machine, or the repository was put back to an older state", last)
	}
	if d := b.manifest.Database; d != nil && d.Tables == 0 {
		why := "is it the right database?"
		if d.Prefix != "" {
			why = fmt.Sprintf("does the prefix %q fit?", d.Prefix)
		}
		warn("empty", "database "+d.Name, "no table of it is in the backup; %s", why)
	}
	now := summary(b.manifest)
	mine := slices.DeleteFunc(slices.Clone(b.existing), func(r repository.Record) bool { return r.App != b.target.App.Name })
	for c, have := range now.Components {
		if c == core.ComponentDatabase || have.Files > 0 {
			continue
		}
		// Each time, for as long as a backup has files: a warning that came
		// only once would be missed.
		for _, r := range slices.Backward(mine) {
			if n := r.Components[c].Files; n > 0 {
				warn("empty", string(c), "it has no file any more, and had %d in backup %s; is a disk not mounted?", n, r.ID)
				break
			}
		}
	}
	for _, r := range slices.Backward(mine) {
		if r.Time.After(b.manifest.Time) {
			warn("clock", b.e.Host, "the newest backup is dated %s, which is later than now, so it will go on counting as the latest; correct the clock", r.Time.UTC().Format(time.RFC3339))
		}
		return
	}
}

// commit makes the backup exist.
func (b *backup) commit(ctx context.Context, s repository.Session, entries []core.Entry) (repository.Record, error) {
	b.suspect()
	rec, err := b.e.Commit(ctx, s, b.manifest, entries, b.opt.Pin)
	if err != nil {
		return repository.Record{}, err
	}
	if err := b.e.setLast(rec.App, rec.ID); err != nil {
		b.e.Log.Warn("it could not be noted which backup was the last", "err", err)
	}
	for c, cache := range b.caches {
		cache.BackupID, cache.Repository = rec.ID, b.e.Repository
		// A cache saves time, not data: without it the next backup reads more.
		if err := cache.Save(b.cachePath(c)); err != nil {
			b.e.Log.Warn("the file cache could not be written; the next backup reads all files again", "err", err)
		}
	}
	return rec, nil
}

func (b *backup) cachePath(c core.Component) string {
	return filepath.Join(b.e.StateDir, "cache", b.target.App.Name+"-"+string(c)+".files")
}

// loadCache returns what is known of the files of a backup that still exists
// in this repository.
func (b *backup) loadCache(c core.Component) *capture.Cache {
	if b.opt.ReadAll {
		return nil
	}
	if err := ensureDir(filepath.Dir(b.cachePath(c))); err != nil {
		b.e.Log.Warn("no file cache", "err", err)
		return nil
	}
	cache, err := capture.LoadCache(b.cachePath(c))
	if err != nil {
		b.e.Log.Debug("file cache not used", "err", err)
	}
	alive := slices.ContainsFunc(b.existing, func(r repository.Record) bool { return r.ID == cache.BackupID })
	if cache.Repository != b.e.Repository || !alive {
		return nil
	}
	return cache
}
