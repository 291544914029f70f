package switchover

import (
	"context"
	"slices"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/journal"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// Leftovers lists the runs of which tables are in or beside a database, and
// which no journal here knows: the state folder was lost, or they are another
// machine's.
func Leftovers(ctx context.Context, stateDir, app string, config mysql.Config) ([]string, error) {
	runs, err := shadow.Leftovers(ctx, config)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	known, err := journal.All(stateDir, app)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(runs, func(run string) bool {
		return slices.ContainsFunc(known, func(j *journal.Journal) bool { return j.Run == run })
	}), nil
}

// Unknown is what is left of runs of an app that no journal here knows.
type Unknown struct {
	Runs []string

	e      *engine.Engine
	app    string
	config mysql.Config
}

// FindUnknown looks for it; no Runs: there is nothing.
func FindUnknown(ctx context.Context, e *engine.Engine, t engine.Target, profileName string) (*Unknown, error) {
	p, err := e.Profiles.Get(profileName)
	if err != nil {
		return nil, err
	}
	app, err := p.Discover(ctx, t.App)
	if err != nil || app.Database == nil {
		return &Unknown{}, err
	}
	u := &Unknown{e: e, app: t.App.Name, config: mysql.ConfigOf(*app.Database)}
	u.Runs, err = Leftovers(ctx, e.StateDir, u.app, u.config)
	return u, err
}

// Drop removes the tables of these runs, for good, while no other operation
// works on the app.
func (u *Unknown) Drop(ctx context.Context) (err error) {
	lock, err := u.e.LockApp(ctx, u.app, "drop what is left of earlier restores of", false)
	if err != nil {
		return err
	}
	defer func() {
		if rerr := lock.Release(); err == nil {
			err = rerr
		}
	}()
	c := &Change{E: u.e, Journal: &journal.Journal{App: u.app}, Config: u.config, Fills: true, Out: &Outcome{}}
	if err := c.Open(ctx); err != nil { // another machine's restore may be under way
		return err
	}
	for _, run := range u.Runs {
		if err = shadow.DropLeftovers(ctx, u.config, run); err != nil {
			break
		}
	}
	if cerr := c.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return &core.Error{Code: core.CodeOf(err), Op: "drop what is left of earlier restores of app " + u.app, Err: err, Hint: core.HintOf(err)}
	}
	return nil
}
