package operations

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/oidc"
	"github.com/backstay/backstay/internal/api"
	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/operation"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/state"
	"github.com/backstay/backstay/internal/web"
	"github.com/backstay/backstay/internal/web/pages/people"
)

// consoleParts are the web console of a service.
type consoleParts struct {
	v       *service
	console *console.Console
	access  *access.Store
	handler http.Handler

	mu    sync.Mutex // guards what follows
	state *state.DB
}

// newConsole makes the console. Its launcher starts nothing before the service runs.
func (v *service) newConsole(ctx context.Context, launcher *daemon.Launcher) (_ *consoleParts, err error) {
	p := &consoleParts{v: v}
	if p.access, err = access.Open(ctx, v.stateDir, v.Env.Clock); err != nil {
		return nil, err
	}
	p.console = console.New(console.Options{
		StateDir: v.stateDir, ConfigPath: v.path, Config: v.config, State: p.stateDB, Open: p.open, Without: p.without,
		Launcher: launching{launcher}, Clock: v.Env.Clock, Log: v.log, Version: v.Env.Version,
	})
	provider := oidc.New(oidc.Options{Settings: p.provider, Clock: v.Env.Clock})
	g := gate.New(gate.Options{Store: p.access, Settings: p.settings, Clock: v.Env.Clock, Log: v.log, Refuse: people.Refuse})
	site, err := web.New(web.Options{
		Console: p.console, Access: p.access, Gate: g, OIDC: provider, Label: func() string { return v.config().Console.OIDC.Label },
		Language:   func() string { return v.config().Console.Language },
		ConfigPath: v.path, StateDir: v.stateDir, Effective: v.effective,
		Version: v.Env.Version, Clock: v.Env.Clock, Log: v.log,
	})
	if err != nil {
		return nil, errors.Join(err, p.access.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", api.New(api.Options{Console: p.console, Gate: g, Version: v.Env.Version, Clock: v.Env.Clock, Log: v.log}).Handler())
	mux.Handle("/", site)
	wrapped := g.Wrap(mux)
	p.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !v.config().Console.Enabled {
			http.NotFound(w, r)
			return
		}
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/login") {
			p.console.Warm() // before the password is typed, the repository is open
		}
		wrapped.ServeHTTP(w, r)
	})
	return p, nil
}

// close lets go of what the console holds open.
func (p *consoleParts) close() error {
	p.console.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.access.Close()
	if p.state != nil {
		err = errors.Join(err, p.state.Close())
	}
	return err
}

// stateDB opens the state database, once; one that cannot be opened is tried
// again each time.
func (p *consoleParts) stateDB(ctx context.Context) *state.DB {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state == nil {
		db, err := state.Open(ctx, p.v.stateDir, p.v.Env.Clock)
		if err != nil {
			return state.Without(err)
		}
		p.state = db
	}
	return p.state
}

// opened is an open repository, and what looks after apps with it.
type opened struct {
	p *consoleParts
	e *engine.Engine
}

func (o *opened) Engine() *engine.Engine { return o.e }

func (o *opened) Caretaker(ctx context.Context) *operation.Caretaker {
	c := o.p.v.CaretakerWith(o.e, o.p.v.config(), o.p.stateDB(ctx))
	c.ServiceRuns = true
	return c
}

func (o *opened) Close(ctx context.Context) error { return o.e.Store.Close(ctx) }

func (p *consoleParts) open(ctx context.Context) (console.Repository, error) {
	store, err := p.v.OpenStore(ctx, p.v.config())
	if err != nil {
		return nil, err
	}
	return p.with(store)
}

func (p *consoleParts) without(reason error) (console.Repository, error) {
	return p.with(repository.Unusable(reason))
}

func (p *consoleParts) with(store repository.Store) (console.Repository, error) {
	e, err := p.v.NewEngine(store, p.v.config(), core.NoProgress{})
	if err != nil {
		return nil, err
	}
	e.Log = p.v.log
	return &opened{p, e}, nil
}

// settings are those of the gate.
func (p *consoleParts) settings() gate.Settings {
	c := p.v.config().Console
	s := gate.Settings{
		Proxies: c.Proxies, AddressHeader: c.Headers.Address, ProtoHeader: c.Headers.Proto, HostHeader: c.Headers.Host,
		Limits: access.Limits{Idle: c.Idle, Absolute: c.Absolute}, Plain: c.Plain,
	}
	if c.URL != "" {
		s.External, _ = url.Parse(c.URL) // the configuration was checked
	}
	return s
}

// provider is where people can log in too.
func (p *consoleParts) provider() oidc.Settings {
	c := p.v.config().Console.OIDC
	s := oidc.Settings{
		Issuer: c.Issuer, ClientID: c.ClientID, Scopes: c.Scopes, NameClaim: c.NameClaim, RolesClaim: c.RolesClaim, Default: access.Role(c.DefaultRole),
		Roles: map[access.Role][]string{access.Admin: c.Admin, access.Operator: c.Operator, access.Viewer: c.Viewer},
	}
	if c.Secret.Given() {
		secret, err := config.ResolveSecret(c.Secret, "the login provider", p.v.LookupEnv)
		if err != nil {
			p.v.log.Error("the secret of the login provider cannot be read", "err", err, "hint", core.HintOf(err))
		}
		s.ClientSecret = secret
	}
	return s
}

// look does now and then what the console needs, until ctx ends.
func (p *consoleParts) look(ctx context.Context) {
	ticker := time.NewTicker(time.Hour)
	defer ticker.Stop()
	for {
		p.console.Clean(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// address is where people reach the console that listens at bound.
func (p *consoleParts) address(bound string) string {
	c := p.v.config().Console
	switch {
	case c.URL != "":
		return strings.TrimRight(c.URL, "/")
	case c.Certificate != "":
		return "https://" + bound
	}
	return "http://" + bound
}

// ready says where the console is, and how the first person gets in.
func (p *consoleParts) ready(bound string) {
	if bound == "" || !p.v.config().Console.Enabled {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	secret, err := p.access.Offer(ctx)
	switch {
	case err != nil:
		p.v.log.Error("nobody can set the console up", "err", err, "hint", core.HintOf(err))
	case secret.Empty():
		p.v.log.Info("the console is at " + p.address(bound) + "/")
	default:
		p.v.Printer.Infof("the console is new; set it up within a day at\n  %s/setup?key=%s", p.address(bound), url.QueryEscape(secret.Reveal()))
	}
}

// launching lets the console start commands with the service's launcher.
type launching struct{ *daemon.Launcher }

func (l launching) Launch(ctx context.Context, what console.Launch) (int64, error) {
	return l.Launcher.Launch(ctx, daemon.Launch(what))
}
