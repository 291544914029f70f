package session

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/operation"
)

// Caretaker wires what looks after the apps of a configuration.
func (s *Session) Caretaker(ctx context.Context, e *engine.Engine, cfg *config.Config) *operation.Caretaker {
	c := &operation.Caretaker{
		Engine: e, State: s.State(ctx, cfg.StateDir), Limits: cfg.Defaults.Check, Log: e.Log, By: s.Who(),
		// What is the machine's own concerns those who are told of any app.
		Posts:       func() []notify.Post { return s.posts("", cfg.Defaults.Notify) },
		Config:      s.configFile(),
		ServiceRuns: s.ByService() || daemon.Holder(cfg.StateDir) != "",
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
		Target: func() (engine.Target, error) { return s.Target(a) },
		Posts:  func() []notify.Post { return s.posts(a.Name, a.Notify) },
		Pings:  func() []operation.Pinger { return s.pings(a.Notify) },
	}
}
