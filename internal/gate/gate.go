// Package gate stands before the console and the API: it finds out who asks and
// from where, and lets nobody through to what they may not do. It is for both,
// so that there is one place where this is right. It promises that a request
// without a right changes nothing, that no other site can use a person's
// session, and that headers of proxies are believed only where the
// configuration names who sends them.
package gate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
)

// Settings are what the configuration says of it. They may change while it runs.
type Settings struct {
	// External is where people reach the console, when that is not where it
	// listens: scheme, host and path of a proxy; nil: as the request says.
	External *url.URL
	// Hosts are names, with or without a port, by which it may be asked for
	// beside External's and those of the machine itself (localhost, 127.0.0.1,
	// ::1). With neither External nor Hosts, a request that comes over the
	// loopback interface must name the machine itself, and others may name
	// anything.
	Hosts []string
	// Proxies are the addresses whose headers are believed.
	Proxies []netip.Prefix
	// AddressHeader, ProtoHeader and HostHeader are the headers in which they say
	// who asks, and how; "": they do not. AddressHeader may be "Forwarded" (RFC 7239).
	AddressHeader, ProtoHeader, HostHeader string
	Limits                                 access.Limits
	// Plain lets people log in over a network without TLS.
	Plain bool
}

// BasePath is the path below which everything lies, without a slash at its end;
// "" when it is the root.
func (s Settings) BasePath() string {
	if s.External == nil {
		return ""
	}
	path := strings.Trim(s.External.Path, "/")
	if path == "" {
		return ""
	}
	return "/" + path
}

// Options are what a Gate is made of.
type Options struct {
	Store    *access.Store
	Settings func() Settings // as they are now
	Clock    core.Clock
	Log      *slog.Logger
	// Refuse answers a request that does not get in, for one that is not the
	// API's: a page in the person's language. nil: a page in English.
	Refuse func(w http.ResponseWriter, r *http.Request, refusal Refusal)
}

// Gate is safe for concurrent use.
type Gate struct {
	o       Options
	session func(ctx context.Context, cookie core.Secret, l access.Limits) (access.Identity, error)
	token   func(ctx context.Context, token core.Secret, from netip.Addr) (access.Identity, error)
}

// New makes a gate.
func New(o Options) *Gate { return &Gate{o: o, session: o.Store.BySession, token: o.Store.ByToken} }

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

// MaxBody is the most bytes of a request's body unless the handler calls AllowBody.
const MaxBody = 1 << 20

// visit is what is known of a request.
type visit struct {
	id       string
	settings Settings
	origin   origin
	who      access.Identity
	known    bool
	body     *body
}

type visitKey struct{}

func visitOf(ctx context.Context) *visit {
	v, ok := ctx.Value(visitKey{}).(*visit)
	if !ok {
		return &visit{}
	}
	return v
}

// Wrap is before everything: security headers, the base path, where the request
// comes from, whose it is (which may be nobody), and that it comes from no other
// site. Bodies are limited to 1 MiB unless the handler calls AllowBody.
//
// Next sees the path without the base path, and as Host what people ask for.
func (g *Gate) Wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		settings := g.o.Settings()
		v := &visit{id: newID(), settings: settings, origin: originOf(r, settings), body: newBody(out, r)}
		w := &writer{ResponseWriter: out, base: settings.BasePath()}
		r = r.WithContext(context.WithValue(r.Context(), visitKey{}, v))
		r.Body, r.Host = v.body, v.origin.host
		path := *r.URL
		r.URL = &path
		v.headers(w.Header())
		defer g.recover(w, r)
		if !stripBase(w, r, settings.BasePath()) {
			return
		}
		if refusal := g.admit(r, v); refusal != nil {
			g.refuse(w, r, *refusal)
			return
		}
		next.ServeHTTP(w, r)
		w.finish()
	})
}

// admit finds who asks; it returns why they are not let in.
func (g *Gate) admit(r *http.Request, v *visit) *Refusal {
	if refusal := v.origin.refusal(v.settings); refusal != nil {
		return refusal
	}
	if token, ok := bearer(r); ok {
		who, err := g.token(r.Context(), token, v.origin.address)
		if err != nil {
			return g.tokenRefusal(r, err)
		}
		v.who, v.known = who, true
		return nil // no browser sends a token by itself, so no other site can have made it
	}
	if err := crossSite(r, v); err != nil {
		return &Refusal{
			Status: http.StatusForbidden, Code: "cross_site",
			Message: "this request was made by another site, or from another address of the console than " + v.origin.url(),
			Hint:    "open the console at its own address and try again; behind a proxy, console.url in backstay.yaml must be the address that people type",
			Err:     err,
		}
	}
	who, known, err := g.cookieOwner(r, v)
	if err != nil {
		return g.internal(r, "find the session of a request", err)
	}
	v.who, v.known = who, known
	return nil
}

func (g *Gate) cookieOwner(r *http.Request, v *visit) (access.Identity, bool, error) {
	name := v.cookieName()
	tried := 0
	for _, c := range r.Cookies() {
		// Another site of the same domain can add cookies of this name, but not take ours away.
		if c.Name != name || c.Value == "" || len(c.Value) > 512 || tried == 4 {
			continue
		}
		tried++
		who, err := g.session(r.Context(), core.NewSecret(c.Value), v.settings.Limits)
		if err == nil {
			return who, true, nil
		}
		if !errors.Is(err, access.ErrNobody) {
			return access.Identity{}, false, err
		}
	}
	return access.Identity{}, false, nil
}

func (g *Gate) tokenRefusal(r *http.Request, err error) *Refusal {
	var wait *access.RetryAfter
	switch {
	case errors.As(err, &wait):
		return &Refusal{
			Status: http.StatusTooManyRequests, Code: "slow_down", Message: "too many wrong tokens came from this address",
			Hint: "wait, and use a valid token", Wait: wait.Wait,
		}
	case errors.Is(err, access.ErrSlowDown):
		return &Refusal{
			Status: http.StatusTooManyRequests, Code: "slow_down", Message: "too many wrong tokens came from this address",
			Hint: "wait, and use a valid token", Wait: time.Minute,
		}
	case errors.Is(err, access.ErrNobody):
		return &Refusal{
			Status: http.StatusUnauthorized, Code: "unauthenticated", Message: "the token is wrong, has expired or was removed",
			Hint: "make a new one on the page of your account, and send it as: Authorization: Bearer TOKEN",
		}
	}
	return g.internal(r, "find the token of a request", err)
}

// bearer is the token of a request. Other kinds of authorization are those of a
// proxy in front.
func bearer(r *http.Request) (core.Secret, bool) {
	scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return core.Secret{}, false
	}
	return core.NewSecret(strings.TrimSpace(value)), true
}

// crossSite is an error when another site made the browser send a request.
func crossSite(r *http.Request, v *visit) error {
	protection := http.NewCrossOriginProtection()
	if external := v.settings.External; external != nil && external.Host != "" {
		if err := protection.AddTrustedOrigin(external.Scheme + "://" + external.Host); err != nil {
			return fmt.Errorf("trust console.url: %w", err)
		}
	}
	return protection.Check(r)
}

// Check says whether whoever asks may do what needs need. Errors: access.ErrNobody;
// ErrForbidden; ErrStale.
func (g *Gate) Check(r *http.Request, need Need) error {
	if need.Role == access.Anyone && !need.Fresh {
		return nil
	}
	v := visitOf(r.Context())
	switch {
	case !v.known:
		return access.ErrNobody
	case !v.who.Role.May(need.Role):
		return ErrForbidden
	case need.Fresh && !v.who.Fresh(g.o.Clock.Now()):
		return ErrStale
	}
	return nil
}

// Identity is who asks; false for nobody.
func Identity(ctx context.Context) (access.Identity, bool) {
	v := visitOf(ctx)
	return v.who, v.known
}

// Address is where the request comes from, behind proxies that are trusted. It
// is not valid when the request came over no network.
func Address(ctx context.Context) netip.Addr { return visitOf(ctx).origin.address }

// BasePath is the path below which everything lies in this request's eyes.
func BasePath(ctx context.Context) string { return visitOf(ctx).settings.BasePath() }

// External is the address of the console as this request's person types it,
// without a slash at its end: "https://backup.example/backstay".
func External(ctx context.Context) string {
	v := visitOf(ctx)
	return v.origin.url() + v.settings.BasePath()
}

// Secure says whether what is answered reaches the person over TLS.
func Secure(ctx context.Context) bool { return visitOf(ctx).origin.secure }

// RequestID names a request in the log and on the page that shows an internal error.
func RequestID(ctx context.Context) string { return visitOf(ctx).id }

func newID() string {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// Limits are how long sessions last now.
func (g *Gate) Limits() access.Limits { return g.o.Settings().Limits }

// Ends is when a session ends without another request.
func (g *Gate) Ends(s access.Session) time.Time {
	idle := g.Limits().Idle
	if idle <= 0 {
		idle = 30 * time.Minute
	}
	if end := s.Seen.Add(idle); end.Before(s.Ends) {
		return end
	}
	return s.Ends
}

func (g *Gate) recover(w *writer, r *http.Request) {
	problem := recover()
	if problem == nil {
		return
	}
	if err, ok := problem.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(problem) // a handler's way of breaking off an answer
	}
	g.o.Log.Error("a request made the console stumble", "request", RequestID(r.Context()), "path", r.URL.Path,
		"panic", fmt.Sprint(problem), "stack", string(debug.Stack()))
	if w.began {
		panic(http.ErrAbortHandler) // half an answer must not look whole
	}
	g.refuse(w, r, internalRefusal(r))
}
