// Package gate stands before the console and the API: it finds out who asks and
// from where, and lets nobody through to what they may not do. It is for both,
// so that there is one place where this is right. It promises that a request
// without a right changes nothing, that no other site can use a person's
// session, and that headers of proxies are believed only where the
// configuration names who sends them.
package gate

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
)

// Settings are what the configuration says of it. They may change while it runs.
type Settings struct {
	// External is where people reach the console, when that is not where it
	// listens: scheme, host and path of a proxy; nil: as the request says.
	External *url.URL
	// Proxies are the addresses whose headers are believed.
	Proxies []netip.Prefix
	// AddressHeader, ProtoHeader and HostHeader are the headers in which they say
	// who asks, and how; "": they do not.
	AddressHeader, ProtoHeader, HostHeader string
	Limits                                 access.Limits
	// Plain lets people log in over a network without TLS.
	Plain bool
}

// BasePath is the path below which everything lies, without a slash at its end;
// "" when it is the root.
func (s Settings) BasePath() string { return "" }

// Options are what a Gate is made of.
type Options struct {
	Store    *access.Store
	Settings func() Settings // as they are now
	Clock    core.Clock
	Log      *slog.Logger
}

// Gate is safe for concurrent use.
type Gate struct{ o Options }

// New makes a gate.
func New(o Options) *Gate { return &Gate{o: o} }

// What callers branch on, beside access.ErrNobody.
var (
	ErrForbidden = errors.New("not allowed")            // the role is too low
	ErrStale     = errors.New("the password is needed") // Need.Fresh, and it was given too long ago
)

// Need says who may do something.
type Need struct {
	Role  access.Role // access.Anyone: everybody
	Fresh bool        // the password must have been given a moment ago
}

// Wrap is before everything: security headers, the base path, where the request
// comes from, whose it is (which may be nobody), and that it comes from no other
// site. Bodies are limited to 1 MiB unless the handler calls AllowBody.
func (g *Gate) Wrap(next http.Handler) http.Handler { return next }

// Check says whether whoever asks may do what needs need. Errors: access.ErrNobody;
// ErrForbidden; ErrStale.
func (g *Gate) Check(r *http.Request, need Need) error { return access.ErrNobody }

// AllowBody lets a request have a body of most bytes, -1 for any size, and gives
// it time.
func AllowBody(w http.ResponseWriter, r *http.Request, most int64) {}

// Patient lets an answer take as long as it takes: downloads and event streams.
func Patient(w http.ResponseWriter) {}

// Identity is who asks; false for nobody.
func Identity(ctx context.Context) (access.Identity, bool) { return access.Identity{}, false }

// Address is where the request comes from, behind proxies that are trusted.
func Address(ctx context.Context) netip.Addr { return netip.Addr{} }

// BasePath is the path below which everything lies in this request's eyes.
func BasePath(ctx context.Context) string { return "" }

// SetCookie gives the browser its session.
func (g *Gate) SetCookie(w http.ResponseWriter, r *http.Request, cookie core.Secret) {}

// DropCookie takes it back.
func (g *Gate) DropCookie(w http.ResponseWriter, r *http.Request) {}

// Ends is when a session ends without another request.
func (g *Gate) Ends(s access.Session) time.Time { return s.Ends }
