package engine

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

// Preview says what a backup would take.
type Preview struct {
	App      string         `json:"app"`
	Takes    []string       `json:"takes"`
	Warnings []core.Warning `json:"warnings"`
}

// PreviewBackup looks at an app without capturing or changing anything. It
// reaches the database, so that what it says can be relied on.
func (e *Engine) PreviewBackup(ctx context.Context, t Target, opt BackupOptions) (_ *Preview, err error) {
	p, err := e.profileOf(t)
	if err != nil {
		return nil, err
	}
	app, err := p.Discover(ctx, t.App)
	if err != nil {
		return nil, err
	}
	out := &Preview{App: t.App.Name, Takes: []string{}, Warnings: app.Warnings}
	if app.Database != nil && opt.wants(core.ComponentDatabase) {
		cfg := mysql.ConfigOf(*app.Database)
		n, err := CountTables(ctx, cfg)
		if err != nil {
			return nil, err
		}
		line := fmt.Sprintf("database  %s at %s, %d tables there", cfg.Database, cfg.Address(), n)
		if app.Database.Prefix != "" {
			line += ", those that begin with " + app.Database.Prefix
		}
		out.Takes = append(out.Takes, line)
	}
	for _, set := range app.FileSets {
		if !opt.wants(set.Component) {
			continue
		}
		for _, inc := range set.Include {
			out.Takes = append(out.Takes, fmt.Sprintf("%-9s %s", set.Component, filepath.Join(set.Root, inc.Path)))
		}
		for _, x := range set.Exclude {
			out.Takes = append(out.Takes, fmt.Sprintf("%-9s   without %s", "", x))
		}
	}
	if out.Warnings == nil {
		out.Warnings = []core.Warning{}
	}
	return out, nil
}

// CountTables says how many tables a database has; 0 when it does not exist.
func CountTables(ctx context.Context, cfg mysql.Config) (n int, err error) {
	name := cfg.Database
	cfg.Database = ""
	c, err := mysql.Connect(ctx, cfg)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	rows, err := c.Query(ctx, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA="+mysql.QuoteText(name))
	return len(rows), err
}
