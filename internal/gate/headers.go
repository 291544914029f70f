package gate

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// policy is the Content-Security-Policy: everything comes from the console
// itself, and nothing stands within a page's text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

func (v *visit) headers(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), payment=(), usb=()")
	h.Set("Cache-Control", "no-store") // what serves assets says otherwise
	h.Set("X-Request-Id", v.id)
	// Strict-Transport-Security is about a name with all its ports: from a port of
	// our own it would cut off an application that the same name serves without TLS.
	if _, port := splitHost(v.origin.host); v.origin.secure && (port == "" || port == "443") && !loopbackName(v.origin.host) {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// cookieName is what this request's browser knows the session by. A browser
// lets nobody but this very host set the first.
func (v *visit) cookieName() string {
	if v.origin.secure && v.settings.BasePath() == "" {
		return "__Host-backstay"
	}
	return "backstay"
}

// SetCookie gives the browser its session.
func (g *Gate) SetCookie(w http.ResponseWriter, r *http.Request, cookie core.Secret) {
	v := visitOf(r.Context())
	http.SetCookie(w, v.cookie(v.cookieName(), cookie.Reveal(), 0))
}

// DropCookie takes it back.
func (g *Gate) DropCookie(w http.ResponseWriter, r *http.Request) {
	v := visitOf(r.Context())
	http.SetCookie(w, v.cookie(v.cookieName(), "", -1))
}

// KeepCookie gives the browser a value of no weight that only this console sees,
// for maxAge seconds; -1 takes it back. The name is made the console's own.
func KeepCookie(w http.ResponseWriter, r *http.Request, name, value string, maxAge int) {
	v := visitOf(r.Context())
	http.SetCookie(w, v.cookie("backstay-"+name, value, maxAge))
}

// KeptCookie is the value that KeepCookie gave; "" when there is none.
func KeptCookie(r *http.Request, name string) string {
	c, err := r.Cookie("backstay-" + name)
	if err != nil {
		return ""
	}
	return c.Value
}

func (v *visit) cookie(name, value string, maxAge int) *http.Cookie {
	path := v.settings.BasePath()
	if path == "" {
		path = "/"
	}
	return &http.Cookie{
		Name: name, Value: value, Path: path, MaxAge: maxAge,
		HttpOnly: true, Secure: v.origin.secure, SameSite: http.SameSiteLaxMode,
	}
}

// stripBase makes a request's path that below the base path. A proxy may have
// taken it away already. It answers a request for the base path itself, and then
// returns false.
func stripBase(w http.ResponseWriter, r *http.Request, base string) bool {
	if base == "" {
		return true
	}
	if r.URL.Path == base && r.URL.RawPath == "" {
		to := base + "/"
		if r.URL.RawQuery != "" {
			to += "?" + r.URL.RawQuery
		}
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusPermanentRedirect)
		return false
	}
	path, ok := strings.CutPrefix(r.URL.Path, base+"/")
	if !ok {
		return true
	}
	if raw := r.URL.RawPath; raw != "" {
		rest, ok := strings.CutPrefix(raw, base+"/")
		if !ok {
			return true // the base itself came escaped: no browser of ours does that
		}
		r.URL.RawPath = "/" + rest
	}
	r.URL.Path = "/" + path
	return true
}
