package backups

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/coverage"
	"github.com/backstay/backstay/internal/engine/repair"
	"github.com/backstay/backstay/internal/schedule"
)

// asConfigured stands for --cover without a time.
const asConfigured = "as verify: says"

// cover reads back a part of the repository.
func (s commands) cover(ctx context.Context, within, part string) error {
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		plan, err := s.plan(cfg, within, part)
		if err != nil {
			return err
		}
		progress := s.Printer.Progress()
		e.Progress = progress
		r, err := coverage.Run(ctx, e, plan)
		progress.Close(err == nil)
		if err != nil {
			if r != nil { // the backups are marked
				for _, d := range r.Damaged {
					e.Log.Error("an object is damaged", "object", d.Object, "err", d.Message, "in", d.In)
				}
			}
			return err
		}
		err = s.Printer.Result(r, func() { s.printCoverage(r) })
		if err == nil && (len(r.Damaged) > 0 || r.Unlisted != "") {
			s.FailedWith(&core.Error{Code: core.CodeDamage, Op: "read back a part of the repository", Message: fmt.Sprintf("%d objects are damaged", r.DamagedAll), Hint: "backstay verify --repair APP captures anew what the app still has"})
			err = session.Outcome(core.CodeDamage.ExitCode())
		}
		return err
	})
}

// plan is how much is read now: what is asked for, or so much that the runs on
// the schedule together read all in time.
func (s commands) plan(cfg *config.Config, within, part string) (coverage.Plan, error) {
	wrong := func(hint, format string, args ...any) error {
		return &core.Error{Code: core.CodeUsage, Op: "verify", Message: fmt.Sprintf(format, args...), Hint: hint}
	}
	if part != "" {
		above, below, fraction := strings.Cut(part, "/")
		n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(above, "%")), 64)
		of := 100.0
		if fraction {
			var ferr error
			if of, ferr = strconv.ParseFloat(below, 64); ferr != nil {
				err = ferr
			}
		} else if !strings.HasSuffix(part, "%") {
			of = 0
		}
		if err != nil || !(n > 0 && n <= of) || math.IsInf(of, 0) {
			return coverage.Plan{}, wrong("write it as 1/30, or 5%", "--part %q is no part", part)
		}
		return coverage.Plan{Share: n / of}, nil
	}
	time := cfg.Verify.Cover
	if within != asConfigured {
		d, problem, _ := strict.ParseDuration(within)
		if problem != "" || d <= 0 {
			return coverage.Plan{}, wrong("write it as 30d", "--cover %q is no time", within)
		}
		time = d
	}
	interval := defaultInterval
	if cfg.Verify.Scheduled {
		if compiled, err := schedule.Compile(cfg.Verify.Schedule, ""); err == nil {
			interval = compiled.Interval(s.Env.Clock.Now())
		}
	}
	return coverage.Plan{Share: min(1, float64(interval)/float64(time)), Within: time, Every: interval}, nil
}

// defaultInterval is how often this is taken to be run where no schedule says it.
const defaultInterval = 24 * time.Hour

func (s commands) printCoverage(r *coverage.Report) {
	p := s.Printer
	p.Printf("read %s of %s, %s of %s\n", ui.Count(r.ReadObjects), ui.Counted(r.Objects, "object"), ui.Size(r.ReadBytes), ui.Size(r.Bytes))
	if r.Begun {
		p.Printf("  what was read before is not known: this is the first run here\n")
	}
	if r.Unread > 0 {
		p.Printf("  %s not read yet, the oldest since %s\n", ui.Counted(r.Unread, "object"), p.Time(r.Oldest))
	} else if !r.Oldest.IsZero() {
		p.Printf("  every object was read since %s\n", p.Time(r.Oldest))
	}
	if r.Unlisted != "" {
		p.Printf("  DAMAGED: %s\n", r.Unlisted)
	}
	if more := r.DamagedAll - int64(len(r.Damaged)); more > 0 {
		p.Printf("  DAMAGED: %s more than those that are named here\n", ui.Counted(more, "object"))
	}
	for _, d := range r.Damaged {
		p.Printf("  DAMAGED: %s\n", d.Message)
		for _, in := range d.In {
			what := in.Path
			if in.Table != "" {
				what = "table " + in.Table + ", " + what
			}
			p.Printf("    in backup %s of %s: %s\n", ui.ShortID(in.Backup), in.App, what)
		}
	}
}

// repair makes the newest backup of an app whole again.
func (s commands) repair(ctx context.Context, name string) error {
	return s.WithEngine(ctx, func(e *engine.Engine, cfg *config.Config) error {
		app, err := cfg.App(name)
		if err != nil {
			return err
		}
		target, err := s.Target(app)
		if err != nil {
			return err
		}
		progress := s.Printer.Progress()
		e.Progress = progress
		r, err := repair.Run(ctx, e, target)
		progress.Close(err == nil)
		if err != nil {
			return err
		}
		if r.Backup != nil {
			s.About(ctx, name, r.Backup.ID)
		}
		err = s.Printer.Result(r, func() { s.printRepaired(r) })
		if err == nil && (r.Lost() > 0 || r.Unlisted != "") {
			lost := &core.Error{Code: core.CodeDamage, Op: "repair", Message: fmt.Sprintf("%d older backups have lost something", r.Lost()), Hint: "what is damaged in them was not in the live app any more"}
			if r.Unlisted != "" {
				lost.Message, lost.Hint = r.Unlisted, "the list of backups is damaged, which cannot be repaired: put the missing files back from a copy of the repository if there is one"
			}
			s.FailedWith(lost)
			err = session.Outcome(core.CodeDamage.ExitCode())
		}
		return err
	})
}

func (s commands) printRepaired(r *repair.Repaired) {
	p := s.Printer
	if r.Backup == nil {
		p.Printf("the newest backup of %s is whole\n", r.App)
	} else {
		p.Printf("backup %s of %s is whole: %s were captured and stored anew\n", ui.ShortID(r.Backup.ID), r.App, ui.Counted(int64(r.Parts), "damaged part"))
	}
	if r.Unlisted != "" {
		p.Printf("  DAMAGED: %s\n", r.Unlisted)
	}
	for _, v := range r.Older {
		if len(v.Damaged) == 0 {
			p.Printf("  %s of %s: whole\n", ui.ShortID(v.ID), v.App)
			continue
		}
		p.Printf("  %s of %s: LOST %s\n", ui.ShortID(v.ID), v.App, ui.Counted(int64(len(v.Damaged)), "object"))
		for _, d := range v.Damaged {
			what := d.Path
			if d.Table != "" {
				what = "table " + d.Table + ", " + what
			}
			p.Printf("    %s: %s\n", what, d.Message)
		}
	}
}
