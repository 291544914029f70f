// Package web is the console's pages: what administrators look at every
// morning. It is for `backstay serve`. The pages lie below pages, by what they
// are about; package page has what they share, text what they say.
package web

import (
	"context"
	"log/slog"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/oidc"
	"github.com/backstay/backstay/internal/config/edit"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/backups"
	"github.com/backstay/backstay/internal/web/pages/overview"
	"github.com/backstay/backstay/internal/web/pages/people"
	"github.com/backstay/backstay/internal/web/pages/proof"
	"github.com/backstay/backstay/internal/web/pages/records"
	"github.com/backstay/backstay/internal/web/pages/recovery"
	"github.com/backstay/backstay/internal/web/pages/settings"
)

// Options are what the pages work on.
type Options struct {
	Console *console.Console
	Access  *access.Store
	Gate    *gate.Gate
	OIDC    *oidc.Provider
	Label   func() string // of the button that leads to the provider
	// Language is that of people who have not chosen one; "": as their browser asks for.
	Language func() string

	ConfigPath string // of backstay.yaml
	StateDir   string
	// Effective is the configuration in effect, and why the file as it is now is
	// not that; nil when it is.
	Effective func() (*edit.Config, error)

	Version string
	Clock   core.Clock
	Log     *slog.Logger
}

// New puts the pages together. An error is a mistake in them.
func New(o Options) (*page.Site, error) {
	return page.New(page.Options{
		Gate: o.Gate, Version: o.Version, Language: o.Language, Clock: o.Clock, Log: o.Log,
		Pages: []page.Pages{
			overview.Pages(o.Console), backups.Pages(o.Console), recovery.Pages(o.Console), records.Pages(o.Console), proof.Pages(o.Console),
			settings.Pages(settings.Options{Console: o.Console, Path: o.ConfigPath, StateDir: o.StateDir, Effective: o.Effective}),
			people.Pages(people.Options{Store: o.Access, Gate: o.Gate, OIDC: o.OIDC, Label: o.Label}),
		},
		Audit: func(q *page.Request, action, object, outcome, detail string) {
			note(o, q, action, object, outcome, detail)
		},
		Prefer: func(q *page.Request, language, theme string) error { return prefer(o, q, language, theme) },
	})
}

// note writes into the audit log. What was done is done: that it cannot be
// noted is said loudly, and keeps nobody from a restore.
func note(o Options, q *page.Request, action, object, outcome, detail string) {
	ctx := context.WithoutCancel(q.Context())
	who := q.Who.By()
	if who == "" {
		who = "nobody"
	}
	if address := gate.Address(ctx); address.IsValid() {
		who += " from " + address.String()
	}
	err := o.Console.Note(ctx, core.Audited{Who: who, Via: "console", Action: action, Object: object, Outcome: outcome, Detail: detail})
	if err != nil {
		o.Log.Error("this is not in the audit log", "who", who, "action", action, "object", object, "outcome", outcome, "err", err)
	}
}

func prefer(o Options, q *page.Request, language, theme string) error {
	var c access.Change
	if language != "" {
		c.Language = &language
	}
	if theme != "" {
		c.Theme = &theme
	}
	_, err := o.Access.ChangeUser(q.Context(), q.Who.User.Name, c)
	return err
}
