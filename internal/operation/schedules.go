package operation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
)

// Wanted is what an app's configuration, and the application's own settings
// where it points at them, say of its backups.
type Wanted struct {
	Schedules []schedule.Spec // none is FromApp
	Retention []retention.Policy
	// Unusable says why a schedule cannot be understood: nothing runs by it.
	Unusable error `json:"-"`
	// Unkept says why it is not known what the application keeps: its policies
	// are FromApp still, and nothing is removed.
	Unkept error `json:"-"`
	// Source is where the application's settings were read; "" when it was not asked.
	Source string
	// File is the application's file that says so; "" when none does.
	File string
	// At is when the application was asked; zero when it was not.
	At time.Time
}

// Want resolves an app's schedules and retention. It asks the application, and
// its database where the settings are there. Unusable and Unkept are in the
// result and not an error: the app's other work goes on.
func Want(ctx context.Context, e *engine.Engine, a App) Wanted {
	w := Wanted{Schedules: slices.Clone(a.Schedules), Retention: slices.Clone(a.Retention)}
	if a.AsksApp() {
		own, err := askApp(ctx, e, a)
		w.At, w.File = e.Clock.Now(), own.File
		w.resolve(own, err)
	}
	for _, s := range w.Schedules {
		if err := s.Check(); err != nil {
			w.Unusable = errors.Join(w.Unusable, err)
		}
	}
	return w
}

// resolve puts the application's settings in place of what points at them. err
// says why its schedule is not known.
func (w *Wanted) resolve(own profile.AppSchedule, err error) {
	w.keep(own, err)
	if err != nil {
		if slices.ContainsFunc(w.Schedules, fromApp) {
			w.Unusable = err
		}
		w.Schedules = slices.DeleteFunc(w.Schedules, fromApp)
		return
	}
	w.Source = own.Source
	told := schedule.Told{Off: !own.Enabled, Every: own.Every, TimeZone: own.TimeZone, Only: own.Only}
	if own.Every == 0 && own.Enabled { // what is off says no time
		told.Weekly = &schedule.Weekly{Days: own.Days, At: schedule.ClockTime{Hour: own.Hour, Minute: own.Minute}}
	}
	for i, s := range w.Schedules {
		if s.FromApp {
			w.Schedules[i] = s.Resolve(told)
		}
	}
}

// keep puts the application's numbers into the policies that point at them,
// where they are known: with err they are only where there are any.
func (w *Wanted) keep(own profile.AppSchedule, err error) {
	if !slices.ContainsFunc(w.Retention, func(p retention.Policy) bool { return p.FromApp }) {
		return
	}
	if own.RetentionErr != nil {
		err = own.RetentionErr
	}
	if own.RetentionErr != nil || err != nil && own.Count == 0 && own.KeepDays == 0 {
		w.Unkept = err
		return // a policy that is still FromApp keeps everything
	}
	for i, p := range w.Retention {
		if p.FromApp {
			w.Retention[i] = retention.FromSettings(p, own.Count, own.KeepDays, own.Both)
		}
	}
}

func fromApp(s schedule.Spec) bool { return s.FromApp }

// askTimeout bounds how long an application is asked for its settings.
const askTimeout = 20 * time.Second

func askApp(ctx context.Context, e *engine.Engine, a App) (_ profile.AppSchedule, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	p, err := e.Profiles.Get(a.Profile)
	if err != nil {
		return profile.AppSchedule{}, err
	}
	own, ok := p.(profile.Scheduler)
	if !ok {
		return profile.AppSchedule{}, &core.Error{
			Code: core.CodeConfig, Op: "read the schedule of app " + a.Name, Message: "an application of the profile " + a.Profile + " has no schedule of its own",
			Hint: "write week_days and time, cron or every in place of from_app",
		}
	}
	t, err := a.Target()
	if err != nil {
		return profile.AppSchedule{}, err
	}
	if !own.ScheduleNeedsDatabase() {
		return own.AppSchedule(ctx, nil, t.App)
	}
	found, err := p.Discover(ctx, t.App)
	if err != nil {
		return profile.AppSchedule{}, err
	}
	if found.Database == nil {
		return profile.AppSchedule{}, fmt.Errorf("read the schedule of app %s: it has no database", a.Name)
	}
	c, err := mysql.Connect(ctx, mysql.ConfigOf(*found.Database))
	if err != nil {
		return profile.AppSchedule{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return own.AppSchedule(ctx, engine.Querier(c), t.App)
}

// AsksApp says whether the application's own settings are needed.
func (a App) AsksApp() bool {
	return slices.ContainsFunc(a.Schedules, fromApp) ||
		slices.ContainsFunc(a.Retention, func(p retention.Policy) bool { return p.FromApp })
}

// JobKey tells the service's jobs apart, over restarts too: times that are put
// off by chance hang on it.
func JobKey(kind, app, schedule string) string { return kind + "/" + app + "/" + schedule }
