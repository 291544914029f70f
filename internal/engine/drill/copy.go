package drill

import (
	"context"
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/profile"
)

// copyName is what the copy is called; it has a state folder of its own.
const copyName = "drill"

// copied is the profile of the copy: it knows where the copy's database is,
// which the copy's configuration cannot say of a socket, and leaves the
// application's own steps to the drill.
type copied struct {
	profile.Profile
	root   string
	socket string
}

func (c copied) Discover(ctx context.Context, app profile.App) (*core.Application, error) {
	if app.Root == c.root && c.socket != "" {
		app.Database.Socket = c.socket
	}
	return c.Profile.Discover(ctx, app)
}

func (c copied) PostSteps(profile.Restored) []profile.PostStep { return nil }

// profile returns the copy's profile, and the real one.
func (d *drill) profile() (own copied, real profile.Profile, err error) {
	real, err = d.e.Profiles.Get(d.open.Manifest.Profile)
	own = copied{Profile: real, root: d.place.root()}
	if db := d.place.database; db != nil {
		own.socket = db.Config.Socket
	}
	return own, real, err
}

// app is the app to be copied as the restore is told of it: nothing of the live
// one, so that a drill proves what a bare machine would have.
func (d *drill) app() profile.App {
	app := profile.App{Name: d.open.Manifest.App, Environment: d.req.Environment}
	if db := d.place.database; db != nil {
		c := db.Config
		// A name that nothing has: what the application's own database is called is
		// free on a server of its own.
		app.Database = profile.Database{Host: c.Host, Port: c.Port, Socket: c.Socket, User: c.User, Password: c.Password, Name: c.Database + "_live", TLS: c.TLS}
	}
	return app
}

// restore makes a copy of the whole app in the place.
func (d *drill) restore(ctx context.Context, sampled *sampling) error {
	own, _, err := d.profile()
	if err != nil {
		return err
	}
	e := *d.e
	e.Profiles = profile.NewRegistry(own)
	e.StateDir, e.Progress = d.place.state(), d.watch
	if sampled != nil {
		e.Narrow = sampled.narrow
	}
	req := restore.Request{
		Target: engine.Target{Profile: d.open.Manifest.Profile, App: d.app()}, Record: d.req.Record, ToDir: d.place.root(),
		Copy: &restore.Copy{Name: copyName},
	}
	if db := d.place.database; db != nil {
		req.ToDatabase = db.Config.Database
		req.Copy.Database = req.Target.App.Database
	}
	end := d.watch.begin("plan the restore", true)
	plan, err := restore.Make(ctx, &e, req)
	if err == nil && len(plan.Plan.Undecided) > 0 {
		// What a person would have to decide is decided here, where it harms nobody,
		// and written down.
		req.Force = plan.Plan.Undecided
		plan, err = restore.Make(ctx, &e, req)
	}
	end()
	if err != nil {
		return err
	}
	d.notePlan(plan.Plan.Findings)
	if err := plan.Refused(); err != nil {
		return err
	}
	done, err := plan.Run(ctx)
	d.watch.endStage()
	if err != nil {
		return err
	}
	for _, w := range done.Warnings {
		d.prove(core.Proof{Name: ProofWarning, Outcome: core.ProofNote, Object: w.Object, Message: w.Message})
	}
	d.proveData(done, sampled)
	return nil
}

// notePlan writes down what of the plan somebody should know.
func (d *drill) notePlan(findings []core.Finding) {
	for _, f := range findings {
		if f.Kind == core.FindingFine || f.Name == profile.FindingConnection || f.Name == profile.FindingQuiet {
			continue // what every copy has
		}
		p := core.Proof{Name: ProofPlan, Outcome: core.ProofNote, Object: f.Object, Message: f.Message, Hint: f.Hint}
		switch f.Kind {
		case core.FindingImpossible:
			p.Outcome = core.ProofFailed
		case core.FindingDecision:
			p.Message = "a restore will ask about this (--force " + f.Name + "): " + f.Message
		}
		d.prove(p)
	}
}

// proveData says what the restore compared with the capture: it ends with an
// error where anything differs.
func (d *drill) proveData(done *restore.Restored, sampled *sampling) {
	m := d.open.Manifest
	if m.Database != nil {
		message := fmt.Sprintf("%d rows of %d tables were loaded and read back; the checksum of every table is that of the capture", done.Rows, done.Tables)
		if sampled != nil {
			message = fmt.Sprintf("the whole schema and a sample of %d of %d rows were loaded and read back; the checksum of every chunk in it is that of the capture", done.Rows, m.Database.Rows)
		}
		d.prove(core.Proof{Name: ProofRows, Outcome: core.ProofOK, Message: message, Count: done.Rows})
	} else {
		d.prove(core.Proof{Name: ProofRows, Outcome: core.ProofSkipped, Message: "the backup has no database"})
	}
	var trees []string
	for _, t := range m.Trees {
		if !slices.Contains(trees, string(t.Component)) {
			trees = append(trees, string(t.Component))
		}
		if t.Place != "app" {
			d.prove(core.Proof{Name: ProofFiles, Outcome: core.ProofSkipped, Object: string(t.Component), Message: fmt.Sprintf("%d files from outside the app's folder were not restored into the copy; `backstay verify` reads them", t.Files), Count: t.Files})
		}
	}
	if len(trees) > 0 {
		d.prove(core.Proof{Name: ProofFiles, Outcome: core.ProofOK, Message: fmt.Sprintf("%d files were restored and read back; the hash of every one is that of the capture", done.Files), Count: done.Files})
	}
}
