package proof

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/evidence/auditor"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/backstay/backstay/internal/state"
)

// keptRuns is how many runs of an app and kind the state database keeps: where
// there are as many, there may have been more (state.DB.Trim).
const keptRuns = 2000

// mostDue bounds how many due times of one schedule are looked at.
const mostDue = 200_000

// gatherer collects what a document is made of. What cannot be read is a gap.
type gatherer struct {
	commands
	in     auditor.Input
	db     *state.DB
	e      *engine.Engine
	cfg    *config.Config
	runs   []core.Run // all that are kept
	alarms []core.Alarm
}

// gather reads all that a document of a period is made of. The error is that it
// was cancelled.
func (s commands) gather(ctx context.Context, e *engine.Engine, cfg *config.Config, chosen []*config.App, from, to time.Time) (auditor.Input, error) {
	g := &gatherer{commands: s, e: e, cfg: cfg, db: s.State(ctx, cfg.StateDir)}
	g.in = auditor.Input{Generated: s.Env.Clock.Now(), From: from, To: to, Backstay: s.Env.Version, Host: e.Host, By: s.Who()}
	g.records(ctx, from)
	names := map[string]bool{}
	for _, a := range chosen {
		names[a.Name] = true
	}
	c := s.Caretaker(ctx, e, cfg)
	problems := c.Look(ctx, namesOf(chosen)).Problems
	for _, p := range problems {
		if p.App == "" {
			g.in.Problems = append(g.in.Problems, p)
		}
	}
	for _, a := range chosen {
		if ctx.Err() != nil {
			return g.in, ctx.Err()
		}
		g.in.Apps = append(g.in.Apps, g.app(ctx, a, problems))
	}
	others := len(chosen) < len(cfg.Apps) // a document about some apps says nothing of the rest
	for _, r := range g.runs {
		if r.App == "" || !names[r.App] && !others {
			g.in.Runs = append(g.in.Runs, r)
		}
	}
	for _, a := range g.alarms {
		if a.App == "" || !names[a.App] && !others {
			g.in.Alarms = append(g.in.Alarms, a)
		}
	}
	g.repository(ctx, chosen)
	g.kits(ctx)
	return g.in, ctx.Err()
}

func (g *gatherer) gap(what string, err error) {
	g.in.Gaps = append(g.in.Gaps, what+": "+err.Error())
}

// records reads the state database.
func (g *gatherer) records(ctx context.Context, from time.Time) {
	all, err := g.db.Runs(ctx, state.RunFilter{})
	if err != nil {
		g.gap("the records of runs could not be read", err)
		g.in.RecordsSince = g.in.Generated
	}
	for _, r := range all {
		if r.Kind == core.RunReport && r.Outcome == core.OutcomeRunning {
			continue // this one
		}
		if g.in.RecordsSince.IsZero() || r.Started.Before(g.in.RecordsSince) {
			g.in.RecordsSince = r.Started
		}
		g.runs = append(g.runs, r)
	}
	if g.alarms, err = g.db.Alarms(ctx, 0); err != nil {
		g.gap("the alarms could not be read", err)
	}
	if g.in.Audit.Entries, err = g.db.AuditLog(ctx, state.AuditFilter{Since: from}); err != nil {
		g.gap("the audit log could not be read", err)
		return
	}
	log, err := g.db.VerifyAudit(ctx)
	if err != nil {
		g.gap("the audit log could not be verified", err)
		return
	}
	g.in.Audit.Known, g.in.Audit.Read, g.in.Audit.Broken, g.in.Audit.Reason = true, log.Entries, log.Broken, log.Reason
	var replaced state.Replacement
	if was, err := g.db.Value(ctx, state.KeyReplaced, &replaced); err == nil && was {
		g.in.Gaps = append(g.in.Gaps, "the records were damaged and begun anew at "+replaced.Time.UTC().Format(time.RFC3339)+"; the former ones are at "+replaced.Aside)
	}
}

func (g *gatherer) app(ctx context.Context, a *config.App, problems []core.Problem) auditor.App {
	out := auditor.App{Name: a.Name, Profile: a.Profile, RPO: a.Targets.RPO, RTO: a.Targets.RTO}
	for _, r := range g.runs {
		if r.App == a.Name {
			out.Runs = append(out.Runs, r)
		}
	}
	for _, x := range g.alarms {
		if x.App == a.Name {
			out.Alarms = append(out.Alarms, x)
		}
	}
	for _, p := range problems {
		if p.App == a.Name {
			out.Problems = append(out.Problems, p)
		}
	}
	found, err := g.e.List(ctx, a.Name)
	out.BackupsKnown = err == nil
	if err != nil {
		g.gap(a.Name+": backups", err)
	}
	for _, r := range found {
		out.Backups = append(out.Backups, r.Backup)
	}
	out.Drills, err = reports(g.cfg.StateDir).Drills(a.Name)
	out.DrillsKnown = err == nil
	if err != nil {
		g.gap(a.Name+": reports of drills", err)
	}
	want := operation.Want(ctx, g.e, g.Operated(a))
	if want.Unusable != nil {
		g.gap(a.Name+": a schedule cannot be understood", want.Unusable)
	}
	if want.Unkept != nil {
		g.gap(a.Name+": what the application keeps is not known", want.Unkept)
	}
	for _, spec := range want.Schedules {
		out.Schedules = append(out.Schedules, g.schedule(core.RunBackup, a.Name, spec))
	}
	if a.Drill.Scheduled {
		out.Schedules = append(out.Schedules, g.schedule(core.RunDrill, a.Name, a.Drill.Schedule))
	}
	for _, p := range want.Retention {
		out.Retention = append(out.Retention, keeps(p))
	}
	return out
}

// schedule works out what was due in the period by a schedule as it is now.
func (g *gatherer) schedule(kind, app string, spec schedule.Spec) auditor.Schedule {
	out := auditor.Schedule{Kind: kind, Name: spec.Name, Off: spec.Off}
	compiled, err := schedule.Compile(spec, "")
	if err != nil { // Want has said so
		out.When = "cannot be understood"
		return out
	}
	compiled = compiled.Keyed(operation.JobKey(kind, app, spec.Name)) // as the service has it
	out.When = compiled.Describe()
	count := 0
	for _, r := range g.runs {
		if r.App == app && r.Kind == kind {
			count++
			if out.Since.IsZero() || r.Started.Before(out.Since) {
				out.Since = r.Started
			}
		}
	}
	if count < keptRuns {
		out.Since = time.Time{}
	}
	if spec.Off {
		return out
	}
	for at := compiled.Next(g.in.From.Add(-time.Second)); !at.IsZero() && !at.After(g.in.To); at = compiled.Next(at) {
		if len(out.Due) == mostDue {
			g.in.Gaps = append(g.in.Gaps, fmt.Sprintf("%s: only the first %d due times of a schedule were looked at", app, mostDue))
			break
		}
		out.Due = append(out.Due, at)
	}
	return out
}

// keeps says in words what a policy keeps.
func keeps(p retention.Policy) string {
	var parts []string
	add := func(n int, format string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf(format, n))
		}
	}
	add(p.Count, "the newest %d")
	add(p.Days, "all of the last %d days that have one")
	add(p.Hourly, "the newest of each of %d hours")
	add(p.Daily, "the newest of each of %d days")
	add(p.Weekly, "the newest of each of %d weeks")
	add(p.Monthly, "the newest of each of %d months")
	add(p.Yearly, "the newest of each of %d years")
	text := strings.Join(parts, "; ")
	if p.FromApp {
		text = strings.TrimPrefix(text+"; what the application's own settings keep", "; ")
	}
	if p.Hold {
		text = "nothing is removed: there is a hold"
	}
	text = cmp.Or(text, "everything")
	if len(p.Components) > 0 {
		var names []string
		for _, c := range p.Components {
			names = append(names, string(c))
		}
		text = "backups of " + strings.Join(names, ", ") + ": " + text
	}
	return text
}

// repository says what can be known of where the backups are.
func (g *gatherer) repository(ctx context.Context, chosen []*config.App) {
	r := &g.in.Repository
	r.Address, r.Kind = g.cfg.Repository.URL, ""
	if u, err := url.Parse(g.cfg.Repository.URL); err == nil {
		r.Kind, r.Address = u.Scheme, u.Redacted()
	}
	if described, ok := g.e.Store.(interface {
		Algorithms() (encryption, hash string)
	}); ok {
		r.Encryption, r.Hash = described.Algorithms()
	}
	space, err := g.e.Store.Space(ctx)
	if err != nil {
		g.gap("the repository could not be asked", err)
	} else {
		r.Space = &space
	}
	dir, local := kopia.LocalPath(g.cfg.Repository.URL)
	if !local {
		return
	}
	unlocked := false // whoever can write into the folder can remove from it
	r.Locked = &unlocked
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return
	}
	name, same := fileSystem(int64(disk.Type))
	r.SameMachine = same
	r.Where = "a folder in a file system of type " + name
	for _, a := range chosen {
		if a.Root != "" && device(a.Root) == device(dir) && device(dir) != 0 {
			r.Where += ", the same file system as that of app " + a.Name
			return
		}
	}
}

func device(path string) uint64 {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return 0
	}
	return st.Dev
}

// fileSystem names a type of file system, and says whether it is on this
// machine; nil: that cannot be told by the type (statfs(2)).
func fileSystem(magic int64) (name string, same *bool) {
	yes, no := true, false
	switch magic {
	case unix.NFS_SUPER_MAGIC:
		return "nfs", &no
	case unix.SMB_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC:
		return "smb", &no
	case unix.CEPH_SUPER_MAGIC:
		return "ceph", &no
	case unix.EXT4_SUPER_MAGIC:
		return "ext4", &yes
	case unix.XFS_SUPER_MAGIC:
		return "xfs", &yes
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs", &yes
	case unix.TMPFS_MAGIC:
		return "tmpfs, which is memory", &yes
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlay", &yes
	case 0x2fc12fc1:
		return "zfs", &yes
	case unix.FUSE_SUPER_MAGIC:
		return "fuse", nil
	}
	return fmt.Sprintf("%#x", magic), nil
}

// kits reads what is recorded of recovery kits.
func (g *gatherer) kits(ctx context.Context) {
	found, err := g.db.Values(ctx, "kits/")
	if err != nil {
		g.gap("the records of recovery kits could not be read", err)
		return
	}
	g.in.KitsKnown = true
	for key, raw := range found {
		k := auditor.Kit{}
		if err := json.Unmarshal(raw, &k); err != nil {
			g.gap("the record "+key, err)
			continue
		}
		k.ID = cmp.Or(k.ID, strings.TrimPrefix(key, "kits/"))
		g.in.Kits = append(g.in.Kits, k)
	}
}
