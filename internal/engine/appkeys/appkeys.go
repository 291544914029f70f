// Package appkeys opens what applications encrypt, in a live application or in a
// backup that nobody has to restore for it: ITFlow's master key with a user's
// password, and the credentials under it; iTop's encrypted fields with the key
// of its configuration. It is for the commands. It promises to change nothing,
// to hold no secret in an error, and to name each value that does not open.
package appkeys

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/repository"
)

// Source is an application's rows and its configuration. Close must be called.
// It is used by one goroutine.
type Source struct {
	App     string
	Profile string
	Backup  string // id; "": the live application
	Rows    keys.Rows
	Columns keys.Columns

	prefix string // of the tables
	config func(ctx context.Context) ([]byte, error)
	close  func() error
}

// Close ends the connection, where there is one.
func (s *Source) Close() error { return s.close() }

// where says in words what is read.
func (s *Source) where() string {
	if s.Backup == "" {
		return "the live database"
	}
	return "backup " + s.Backup
}

// Live is the application as it runs now.
func Live(ctx context.Context, e *engine.Engine, t engine.Target) (*Source, error) {
	p, err := e.Profiles.Get(t.Profile)
	if err != nil {
		return nil, err
	}
	app, err := p.Discover(ctx, t.App)
	if err != nil {
		return nil, err
	}
	if app.Database == nil {
		return nil, noDatabase("app "+t.App.Name, "correct the app in backstay.yaml, or name a backup")
	}
	c, err := mysql.Connect(ctx, mysql.ConfigOf(*app.Database))
	if err != nil {
		return nil, err
	}
	ask := engine.Querier(c)
	return &Source{
		App: t.App.Name, Profile: t.Profile, Rows: keys.Ask(ask), Columns: keys.AskColumns(ask, app.Database.Prefix), prefix: app.Database.Prefix,
		config: liveConfig(app), close: c.Close,
	}, nil
}

// Backup is the application as a backup holds it.
func Backup(ctx context.Context, e *engine.Engine, rec repository.Record) (*Source, error) {
	e, _, err := e.Unsealed(ctx, rec)
	if err != nil {
		return nil, err
	}
	o, err := e.OpenBackup(ctx, rec)
	if err != nil {
		return nil, err
	}
	if o.IndexDamage != nil {
		return nil, o.IndexDamage
	}
	if o.Manifest.Database == nil {
		return nil, noDatabase("backup "+rec.ID, "name a backup of the whole app; backstay list shows what each holds")
	}
	r := &stored{open: o, files: engine.NewSource(o)}
	return &Source{
		App: rec.App, Profile: o.Manifest.Profile, Backup: rec.ID, Rows: r.rows, Columns: r.columns, prefix: o.Manifest.Database.Prefix,
		config: storedConfig(o), close: func() error { return nil },
	}, nil
}

func noDatabase(what, hint string) error {
	return &core.Error{Code: core.CodeNotFound, Op: "look for keys", Message: what + " has no database", Hint: hint}
}

// of refuses an app that is another application's.
func (s *Source) of(profile, name, hint string) error {
	if s.Profile == profile {
		return nil
	}
	return &core.Error{
		Code: core.CodeUsage, Op: "look for keys", Message: fmt.Sprintf("%s is of an app with the profile %s, and not an %s", s.name(), s.Profile, name), Hint: hint,
	}
}

func (s *Source) name() string {
	if s.Backup == "" {
		return s.App
	}
	return "backup " + s.Backup
}

// absent explains that a table is not there that every version has.
func (s *Source) absent(err error, name string) error {
	if !errors.Is(err, keys.ErrAbsent) {
		return err
	}
	hint := "is the app's profile right? backstay doctor " + s.App + " looks at its database"
	if s.Backup != "" {
		hint = "it may be a backup of a part of the tables; backstay show " + s.Backup + " lists them"
	}
	return &core.Error{Code: core.CodeApplication, Op: "look for " + name + "'s keys in " + s.where(), Err: err, Hint: hint}
}

// sealedSetting is what stands in a captured configuration where a secret was
// taken out of it.
func sealedSetting(text string) bool { return text != "" && strings.Trim(text, "*") == "" }
