package session

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/state"
)

// Caretaker wires what looks after the apps of a configuration.
func (s *Session) Caretaker(ctx context.Context, e *engine.Engine, cfg *config.Config) *operation.Caretaker {
	return s.CaretakerWith(e, cfg, s.State(ctx, cfg.StateDir))
}

// CaretakerWith is Caretaker with a state database of the caller's: that of the
// session is for one goroutine.
func (s *Session) CaretakerWith(e *engine.Engine, cfg *config.Config, db *state.DB) *operation.Caretaker {
	c := &operation.Caretaker{
		Engine: e, State: db, Limits: cfg.Defaults.Check, KitProof: cfg.Kit.ProofAge, Log: e.Log, By: s.Who(),
		// What is the machine's own concerns those who are told of any app.
		Posts:       func() []notify.Post { return s.posts("", cfg.Defaults.Notify) },
		Config:      s.configFile(),
		ServiceRuns: s.ByService() || daemon.Holder(cfg.StateDir) != "",
		Began: func(run int64) func() {
			s.progress.follow(s, run)
			return s.progress.leave
		},
	}
	if cfg.Verify.Scheduled && !cfg.Verify.Schedule.Off {
		c.Cover = cfg.Verify.Cover
	}
	if s.recorded == nil { // else the command is the run
		c.Adopt = s.adopt()
	}
	for i := range cfg.Apps {
		c.Apps = append(c.Apps, s.Operated(&cfg.Apps[i]))
	}
	return c
}

// configFile is the file of the configuration. The runs of the service have a
// copy of it, and are told which one it is of.
func (s *Session) configFile() string {
	if s.ByService() {
		return s.Env.Getenv(EnvService)
	}
	path, err := config.Find(s.ConfigPath, s.Env.Getenv)
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return "" // a machine without a configuration
	}
	return path
}

// Operated returns what is to be done for an app.
func (s *Session) Operated(a *config.App) operation.App {
	return operation.App{
		Name: a.Name, Profile: a.Profile, Schedules: a.Schedules, Retention: a.Retention, Limits: a.Check,
		Drills: operation.Drills{Scheduled: a.Drill.Scheduled, Schedule: a.Drill.Schedule, Newest: a.Drill.Newest},
		Target: func() (engine.Target, error) { return s.Target(a) },
		Posts:  func() []notify.Post { return s.posts(a.Name, a.Notify) },
		Pings:  func() []operation.Pinger { return s.pings(a.Notify) },
	}
}
