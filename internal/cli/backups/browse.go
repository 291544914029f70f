package backups

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/backstay/backstay/internal/cli/report"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/importing"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/retention"
)

func (s commands) listCommand() *cobra.Command {
	var withRetention bool
	cmd := s.Command("list [APP]", "List backups, newest last", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
			app := ""
			if len(args) > 0 {
				app = args[0]
			}
			records, err := e.List(ctx, app)
			lost := err
			if err != nil && (core.CodeOf(err) != core.CodeDamage || len(records) == 0) {
				return err
			}
			if _, cerr := cfg.App(app); len(records) == 0 && app != "" && cerr != nil {
				// Most likely mistyped; "no backups" would be a fright for nothing.
				return &core.Error{
					Code: core.CodeNotFound, Op: "list backups", Message: fmt.Sprintf("there is no backup of app %q, and no such app in the configuration", app),
					Hint: "backstay list shows all backups; " + core.HintOf(cerr),
				}
			}
			backups := []core.Backup{}
			for _, r := range records {
				backups = append(backups, r.Backup)
			}
			result := struct {
				Backups   []core.Backup                 `json:"backups"`
				Retention map[string]retention.Decision `json:"retention,omitempty"` // by id
				Damage    string                        `json:"damage,omitempty"`
			}{Backups: backups}
			if withRetention {
				if result.Retention, err = s.kept(ctx, e, cfg, backups); err != nil {
					return err
				}
			}
			if lost != nil {
				result.Damage = lost.Error()
				s.Printer.Warn(core.Warning{Message: lost.Error() + "; " + core.HintOf(lost)})
			}
			if err := s.Printer.Result(result, func() { s.printList(backups, result.Retention) }); err != nil || lost == nil {
				return err
			}
			return session.Outcome(core.CodeDamage.ExitCode())
		})
	})
	cmd.Flags().BoolVar(&withRetention, "retention", false, "say which backups retention keeps, and why")
	return cmd
}

// kept says what retention would do with the backups of the apps that are
// configured, by their ids.
func (s commands) kept(ctx context.Context, e *engine.Engine, cfg *config.Config, backups []core.Backup) (map[string]retention.Decision, error) {
	caretaker := s.Caretaker(ctx, e, cfg)
	out := map[string]retention.Decision{}
	for _, a := range caretaker.Apps {
		if !slices.ContainsFunc(backups, func(b core.Backup) bool { return b.App == a.Name }) {
			continue
		}
		decisions, err := caretaker.Plan(ctx, a, caretaker.Look(ctx, []string{a.Name}))
		if err != nil {
			return nil, err
		}
		for _, d := range decisions {
			out[d.ID] = d
		}
	}
	return out, nil
}

func (s commands) printList(backups []core.Backup, kept map[string]retention.Decision) {
	if len(backups) == 0 {
		s.Printer.Infof("there are no backups yet; backstay backup makes one")
		return
	}
	t := ui.NewTable(ui.Column{Title: "ID"}, ui.Column{Title: "APP"}, ui.Column{Title: "TIME"}, ui.Column{Title: "COMPONENTS"},
		ui.Column{Title: "SIZE", Right: true}, ui.Column{Title: "STORED", Right: true}, ui.Column{Title: "VERIFIED"}, ui.Column{Title: ""})
	for _, b := range backups {
		var components, remarks []string
		for _, c := range core.Components() {
			if _, ok := b.Components[c]; ok {
				components = append(components, string(c))
			}
		}
		if b.Pinned {
			remarks = append(remarks, "pinned")
		}
		if n := len(b.Warnings); n > 0 {
			remarks = append(remarks, fmt.Sprintf("%d warning(s)", n))
		}
		if o := b.Origin; o != nil {
			remarks = append(remarks, "imported from "+o.File+" ("+o.Format+")")
		}
		if b.Note != "" {
			remarks = append(remarks, b.Note)
		}
		if b.Damaged != nil {
			remarks = append(remarks, "DAMAGED")
		}
		if d, ok := kept[b.ID]; ok && d.Keep {
			remarks = append(remarks, "kept: "+strings.Join(d.Reasons, "; "))
		} else if ok {
			remarks = append(remarks, "to be removed: "+strings.Join(d.Reasons, "; "))
		}
		verified := "-"
		if b.Verified != nil {
			verified = s.Printer.Time(*b.Verified)
		}
		t.Row(ui.ShortID(b.ID), b.App, s.Printer.Time(b.Time), strings.Join(components, ","), ui.Size(b.LogicalBytes), ui.Size(b.StoredBytes), verified, strings.Join(remarks, ", "))
	}
	s.Printer.Table(t)
}

// withBackup finds a backup and opens it.
func (s commands) withBackup(ctx context.Context, ref string, do func(e *engine.Engine, o *engine.Open) error) error {
	return s.WithEngine(ctx, func(e *engine.Engine, _ *config.Config) error {
		o, err := openRef(ctx, e, ref)
		if err != nil {
			return err
		}
		return do(e, o)
	})
}

func openRef(ctx context.Context, e *engine.Engine, ref string) (*engine.Open, error) {
	rec, err := e.Find(ctx, ref)
	if err != nil {
		return nil, err
	}
	return e.OpenBackup(ctx, rec)
}

func (s commands) showCommand() *cobra.Command {
	return s.Command("show BACKUP", "Show what a backup holds: versions, consistency, components, tables", cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return s.withBackup(ctx, args[0], func(_ *engine.Engine, o *engine.Open) error {
			result := struct {
				Backup   core.Backup        `json:"backup"`
				Manifest core.Manifest      `json:"manifest"`
				Database core.DatabaseIndex `json:"database"`
			}{o.Record.Backup, o.Manifest, o.Index}
			if err := s.Printer.Result(result, func() { s.printShow(o) }); err != nil || o.IndexDamage == nil {
				return err
			}
			s.Printer.Warn(core.Warning{Object: "tables", Message: o.IndexDamage.Error()})
			return session.Outcome(core.CodeDamage.ExitCode())
		})
	})
}

func (s commands) printShow(o *engine.Open) {
	m, p := o.Manifest, s.Printer
	line := func(name, format string, args ...any) {
		p.Printf("%-13s "+format+"\n", append([]any{name}, args...)...)
	}
	line("backup", "%s", m.ID)
	if m.Host == "" { // an archive may not say it
		line("app", "%s (%s)", m.App, m.Profile)
	} else {
		line("app", "%s (%s) on %s", m.App, m.Profile, m.Host)
	}
	line("time", "%s", p.Time(m.Time))
	line("taken", "in %s, %s", ui.Duration(m.Finished.Sub(m.Started)), m.Trigger)
	if o := m.Origin; o != nil {
		line("imported", "%s from %s (%s, %s)", p.Time(o.Imported), o.File, o.Format, ui.Size(o.Bytes))
		line("", "SHA-256 %s", o.SHA256)
		if o.TimeSays != "" {
			says := o.TimeSays
			if says == "the file" {
				says = "the file's date"
			}
			line("", "its time is from %s", says)
		}
	}
	if m.Note != "" {
		line("note", "%s", m.Note)
	}
	if v := o.Record.Verified; v != nil {
		line("verified", "%s", p.Time(*v))
	}
	for _, k := range slices.Sorted(maps.Keys(m.Versions)) {
		line(k, "%s", m.Versions[k])
	}
	if len(m.Modules) > 0 {
		line("modules", "%d", len(m.Modules))
	}
	if c := m.Consistency; c.Method == importing.MethodArchive {
		line("consistency", "%s", c.Why)
	} else {
		line("consistency", "%s, %s, %d connection(s), writes waited %s", c.Mode, c.Method, c.Connections, ui.Duration(time.Duration(c.FreezeMS)*time.Millisecond))
		if c.Why != "" {
			line("", "%s", c.Why)
		}
	}
	for _, c := range core.Components() {
		if size, ok := o.Record.Components[c]; ok {
			line(string(c), "%s", ui.Describe(c, size))
		}
	}
	for _, n := range m.Notes {
		line("note", "%s", n)
	}
	for _, w := range m.Warnings {
		line("warning", "%s", w)
	}
	if m.Database == nil {
		return
	}
	line("from", "%s on %s %s, %s %s", m.Database.Name, m.Database.Server.Vendor, m.Database.Server.Version, m.Database.Charset, m.Database.Collation)
	p.Printf("\n")
	t := ui.NewTable(ui.Column{Title: "TABLE"}, ui.Column{Title: "ENGINE"}, ui.Column{Title: "ROWS", Right: true}, ui.Column{Title: "SIZE", Right: true})
	for _, tb := range o.Index.Tables {
		t.Row(tb.Name, tb.Engine, ui.Count(tb.Rows), ui.Size(tb.Bytes))
	}
	for _, obj := range o.Index.Objects {
		t.Row(obj.Name, obj.Kind, "", "")
	}
	p.Table(t)
}

type jsonEntry struct {
	Name    string         `json:"name"`
	Type    core.EntryType `json:"type"`
	Mode    string         `json:"mode"`
	UID     uint32         `json:"uid"`
	GID     uint32         `json:"gid"`
	Size    int64          `json:"size"`
	ModTime time.Time      `json:"mtime"`
}

func (s commands) lsCommand() *cobra.Command {
	return s.Command("ls BACKUP [PATH]", "List a folder of a backup", cobra.RangeArgs(1, 2), func(ctx context.Context, args []string) error {
		return s.withBackup(ctx, args[0], func(_ *engine.Engine, o *engine.Open) error {
			at := ""
			if len(args) > 1 {
				at = args[1]
			}
			dir, err := o.Lookup(ctx, at)
			if err != nil {
				return err
			}
			entries := []core.Entry{dir}
			if dir.Type == core.TypeDir {
				if entries, err = o.ReadDir(ctx, dir); err != nil {
					return err
				}
			}
			out := []jsonEntry{}
			for _, e := range entries {
				out = append(out, jsonEntry{e.Name, e.Type, modeText(e), e.UID, e.GID, e.Object.Size, e.ModTime.UTC()})
			}
			return s.Printer.Result(map[string]any{"entries": out}, func() {
				t := ui.NewTable(ui.Column{}, ui.Column{}, ui.Column{Right: true}, ui.Column{}, ui.Column{})
				for _, e := range entries {
					name := e.Name
					if e.Type == core.TypeDir {
						name += "/"
					}
					t.Row(modeText(e), fmt.Sprintf("%s:%s", owner(o.Manifest.Owners.Users, e.UID), owner(o.Manifest.Owners.Groups, e.GID)),
						ui.Size(e.Object.Size), s.Printer.Time(e.ModTime), name)
				}
				s.Printer.Table(t)
			})
		})
	})
}

func owner(names map[string]string, id uint32) string {
	key := fmt.Sprint(id)
	if n, ok := names[key]; ok {
		return n
	}
	return key
}

func modeText(e core.Entry) string {
	m := e.Mode
	switch e.Type {
	case core.TypeDir:
		m |= fs.ModeDir
	case core.TypeSymlink:
		m |= fs.ModeSymlink
	}
	return m.String()
}

func (s commands) catCommand() *cobra.Command {
	return s.Command("cat BACKUP PATH", "Print a file of a backup", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return s.withBackup(ctx, args[0], func(_ *engine.Engine, o *engine.Open) error {
			return o.Cat(ctx, args[1], s.Env.Stdout)
		})
	})
}

func (s commands) diffCommand() *cobra.Command {
	return s.Command("diff BACKUP BACKUP", "Show what changed from one backup to another", cobra.ExactArgs(2), func(ctx context.Context, args []string) error {
		return s.WithEngine(ctx, func(e *engine.Engine, _ *config.Config) error {
			a, err := openRef(ctx, e, args[0])
			if err != nil {
				return err
			}
			b, err := openRef(ctx, e, args[1])
			if err != nil {
				return err
			}
			difference, err := e.Diff(ctx, a, b)
			if err != nil {
				return err
			}
			changes := difference.Changes()
			if changes == nil {
				changes = []engine.Change{}
			}
			return s.Printer.Result(map[string]any{"from": a.Manifest.ID, "to": b.Manifest.ID, "changes": changes}, func() {
				if len(changes) == 0 {
					s.Printer.Printf("no differences\n")
				}
				for _, c := range changes {
					s.Printer.Printf("%s\n", report.Change(c))
				}
			})
		})
	})
}

func (s commands) verifyCommand() *cobra.Command {
	var all, fix bool
	var cover, part string
	cmd := s.Command("verify [BACKUP|APP]", "Read back every object of a backup and compare every checksum", cobra.MaximumNArgs(1), func(ctx context.Context, args []string) error {
		s.Records(core.RunVerify, "")
		if cover == asConfigured && len(args) == 1 { // --cover 30d, as one would type it
			if _, wrong, _ := strict.ParseDuration(args[0]); wrong == "" {
				cover, args = args[0], nil
			}
		}
		switch {
		case cover != "" && (fix || all || len(args) > 0), part != "" && cover == "", fix && (all || len(args) != 1):
			return &core.Error{Code: core.CodeUsage, Op: "verify", Message: "these do not go together", Hint: "backstay verify --cover reads a part of the whole repository; backstay verify --repair APP mends the newest backup of an app"}
		case cover != "":
			return s.cover(ctx, cover, part)
		case fix:
			return s.repair(ctx, args[0])
		}
		return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
			ref := ""
			if len(args) > 0 {
				ref = args[0]
			}
			records, err := e.Choose(ctx, ref, all)
			if err != nil {
				return err
			}
			s.aboutAll(ctx, records)
			results := []*engine.Verified{}
			damaged := false
			for _, r := range records {
				v, err := e.Verify(ctx, r)
				if err != nil {
					return err
				}
				results = append(results, v)
				damaged = damaged || len(v.Damaged) > 0
			}
			if all && ref == "" && !damaged {
				if damaged, err = s.trust(ctx, e); err != nil {
					return err
				}
			}
			err = s.Printer.Result(map[string]any{"verified": results}, func() {
				for _, v := range results {
					state := "whole"
					if n := len(v.Damaged); n > 0 {
						state = fmt.Sprintf("DAMAGED: %d object(s)", n)
					}
					s.Printer.Printf("%s %s: %s; %s, %s, %s read back\n", ui.ShortID(v.ID), v.App, state, ui.Counted(v.Files, "object"), ui.Counted(v.Rows, "row"), ui.Size(v.Bytes))
					for _, d := range v.Damaged {
						what := d.Path
						if d.Table != "" {
							what = "table " + d.Table + ", " + d.Path
						}
						s.Printer.Printf("  %s: %s\n", what, d.Message)
					}
				}
			})
			if err == nil && damaged {
				s.FailedWith(damage(results))
				err = session.Outcome(core.CodeDamage.ExitCode())
			}
			return err
		})
	})
	cmd.Flags().BoolVar(&all, "all", false, "all backups, of the app or of all apps")
	cmd.Flags().StringVar(&cover, "cover", "", "read the part of the whole repository that was not read for the longest time, so much that all is read in this time (without TIME: as verify: in the configuration says)")
	cmd.Flags().Lookup("cover").NoOptDefVal = asConfigured
	cmd.Flags().StringVar(&part, "part", "", "with --cover: read this part now: 1/30, or 5%")
	cmd.Flags().BoolVar(&fix, "repair", false, "of APP: capture anew what is damaged in the newest backup, and say what older ones lost")
	return cmd
}

// aboutAll says what a run reads: one backup, or several of an app.
func (s commands) aboutAll(ctx context.Context, records []repository.Record) {
	if len(records) == 0 {
		return
	}
	app, id := records[0].App, records[0].ID
	for _, r := range records[1:] {
		if id = ""; r.App != app {
			app = ""
		}
	}
	s.About(ctx, app, id)
}

// damage says, for the record of the run, what was found.
func damage(results []*engine.Verified) error {
	e := &core.Error{Code: core.CodeDamage, Op: "verify", Message: "the repository has lost backups", Hint: "what is damaged was not removed: docs/check.md says what can be done; make a new backup, which reads all anew"}
	for _, v := range results {
		if n := len(v.Damaged); n > 0 {
			first := v.Damaged[0]
			e.Message = fmt.Sprintf("backup %s of %s is damaged: %d object(s), the first is %s: %s", ui.ShortID(v.ID), v.App, n, first.Path, first.Message)
			break
		}
	}
	return e
}

// trust ends the distrust of a repository of which every backup is whole. A
// backup that the repository has lost is damage too.
func (s commands) trust(ctx context.Context, e *engine.Engine) (damaged bool, err error) {
	switch _, err := e.List(ctx, ""); {
	case core.CodeOf(err) == core.CodeDamage:
		return true, nil
	case err != nil:
		return false, err
	}
	return false, e.Trust()
}

func (s commands) deleteCommand() *cobra.Command {
	var yes, reclaim bool
	cmd := s.Command("delete BACKUP…", "Delete backups", cobra.MinimumNArgs(1), func(ctx context.Context, args []string) error {
		return s.WithEngine(ctx, func(e *engine.Engine, _ *config.Config) error {
			var ids []string
			for _, ref := range args {
				rec, err := e.Find(ctx, ref)
				if core.CodeOf(err) == core.CodeDamage && repository.ValidID(ref) {
					// The repository has lost this backup. Deleting its name is
					// how it is told that this is known.
					rec, err = repository.Record{Backup: core.Backup{ID: ref, App: ref}}, nil
				}
				if err != nil {
					return err
				}
				what := fmt.Sprintf("backup %s of app %s, %s, will be deleted for ever", rec.ID, rec.App, s.Printer.Time(rec.Time))
				if !yes {
					if err := s.Printer.Confirm(ctx, rec.App, what); core.CodeOf(err) == core.CodeUsage {
						return &core.Error{Code: core.CodeUsage, Err: err, Hint: "nobody can be asked here; look at it with backstay show " + ui.ShortID(rec.ID) + ", then add --yes"}
					} else if err != nil {
						return err
					}
				}
				if err := e.Delete(ctx, rec); err != nil {
					return err
				}
				ids = append(ids, rec.ID)
			}
			if reclaim {
				if _, err := e.Store.Maintain(ctx); err != nil {
					return err
				}
			}
			return s.Printer.Result(map[string]any{"deleted": ids}, func() {
				for _, id := range ids {
					s.Printer.Printf("deleted %s\n", ui.ShortID(id))
				}
				s.Printer.Infof("the space comes back in the course of some days of daily maintenance (--reclaim), so that nothing is taken from a backup under way")
			})
		})
	})
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&reclaim, "reclaim", false, "run the repository's maintenance afterwards, which gives back what has been unused for some days")
	return cmd
}

func (s commands) pinCommand(pin bool) *cobra.Command {
	use, short := "pin BACKUP", "Keep a backup whatever retention says"
	if !pin {
		use, short = "unpin BACKUP", "Let retention delete a backup again"
	}
	return s.Command(use, short, cobra.ExactArgs(1), func(ctx context.Context, args []string) error {
		return s.WithEngine(ctx, func(e *engine.Engine, _ *config.Config) error {
			rec, err := e.Find(ctx, args[0])
			if err != nil {
				return err
			}
			if err := e.Pin(ctx, rec, pin); err != nil {
				return err
			}
			return s.Printer.Result(map[string]any{"id": rec.ID, "pinned": pin}, func() {
				s.Printer.Printf("%s %s\n", map[bool]string{true: "pinned", false: "unpinned"}[pin], ui.ShortID(rec.ID))
			})
		})
	})
}
