package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/config/strict"
	"github.com/goccy/go-yaml/ast"
)

// Console is the `console` section: the pages and the API that `backstay serve`
// shows at service.listen. DefaultConsole holds where the file says nothing.
type Console struct {
	Enabled     bool
	URL         string // where people reach it, without a slash at its end; "": as the request says
	Certificate string // absolute path of a PEM file with the chain; "": no TLS
	Key         string // absolute path of its PEM key; "" with Certificate
	// Proxies are believed what their headers say; none: nobody is.
	Proxies  []netip.Prefix
	Headers  ConsoleHeaders
	Plain    bool          // people may log in over a network without TLS
	Idle     time.Duration // a session without a request ends after it
	Absolute time.Duration // every session ends after it; at least Idle
	Language string        // of the login page: one of ConsoleLanguages; "": as the browser asks for
	Keep     time.Duration // how long archives are kept that were made to be downloaded
	Most     int64         // bytes that they take together; 0: no limit
	OIDC     OIDC
}

// ConsoleHeaders are the names of the headers in which trusted proxies say who
// asks and how; "": they do not say.
type ConsoleHeaders struct {
	Address string // of who asks
	Proto   string // "http" or "https"
	Host    string
}

// OIDC is a provider at which people can log in; there is none without Issuer.
type OIDC struct {
	Issuer     string // its address
	ClientID   string
	Secret     SecretSource // none: a public client
	Scopes     []string
	NameClaim  string // the claim with the person's name
	RolesClaim string // the claim with their groups or roles
	// Admin, Operator and Viewer are the values of RolesClaim that make people so.
	Admin, Operator, Viewer []string
	DefaultRole             string // of people with none of them; "": they are not let in
	Label                   string // of the button; "": that of the language
}

// ConsoleLanguages lists the languages of the console.
func ConsoleLanguages() []string { return []string{"en", "de", "fr"} }

// DefaultConsole is what holds where the file says nothing.
func DefaultConsole() Console {
	return Console{
		Enabled: true, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Keep: 24 * time.Hour,
		OIDC: OIDC{Scopes: []string{"openid", "profile", "email"}, NameClaim: "preferred_username", RolesClaim: "groups"},
	}
}

func consoleFields(c *Console) []strict.Field {
	address := strict.TextField("url", &c.URL, externalAddress)
	address.Schema["pattern"] = "^https?://"
	readAddress := address.Read
	address.Read = func(r *strict.Reader, at strict.Position, n ast.Node) {
		readAddress(r, at, n)
		c.URL = strings.TrimRight(c.URL, "/")
	}
	limits := []strict.Field{
		everyField("idle", &c.Idle).Describe("a session without a request ends after it: 30m when not given"),
		everyField("absolute", &c.Absolute).Describe("every session ends after it: 12h when not given"),
	}
	return []strict.Field{
		strict.BoolField("enabled", &c.Enabled).Describe("whether backstay serve shows the console; true when not given"),
		address.Describe("where people reach the console, with the path below which a proxy shows it: https://desk.example.org/backups"),
		strict.SectionField("tls", []strict.Field{
			strict.PathField("certificate", &c.Certificate, false).Describe("PEM file with the certificate and those between it and its authority"),
			strict.PathField("key", &c.Key, false).Describe("PEM file with its key"),
		}, func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
			if len(at) == 1 {
				r.Problem(own, "give the paths of both", "%q needs %q and %q", "tls", "certificate", "key")
			}
		}).Describe("TLS of the address that the service listens on"),
		strict.NetworksField("proxies", &c.Proxies).Describe("addresses of the proxies whose headers are believed: 127.0.0.1, 10.1.0.0/24"),
		strict.SectionField("headers", []strict.Field{
			strict.TextField("address", &c.Headers.Address, strict.HeaderName).Describe("says who asks: X-Forwarded-For"),
			strict.TextField("proto", &c.Headers.Proto, strict.HeaderName).Describe("says whether by http or https: X-Forwarded-Proto"),
			strict.TextField("host", &c.Headers.Host, strict.HeaderName).Describe("says by what name: X-Forwarded-Host"),
		}, nil).Describe("headers of the proxies that are believed; each must be set by them, whatever the browser sent"),
		strict.BoolField("plain", &c.Plain).Describe("let people log in over a network without TLS; false when not given"),
		strict.SectionField("session", limits, func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
			if _, given := at["idle"]; !given {
				c.Idle = min(c.Idle, c.Absolute)
			} else if _, given := at["absolute"]; !given {
				c.Absolute = max(c.Idle, c.Absolute)
			} else if c.Idle > c.Absolute {
				r.Problem(at["idle"], "make it shorter than absolute", "%q is longer than %q", "idle", "absolute")
			}
		}).Describe("how long somebody stays logged in"),
		strict.OneOf("language", &c.Language, "languages", ConsoleLanguages()...).Describe("language before the login; as the browser asks for when not given"),
		strict.SectionField("downloads", []strict.Field{
			everyField("keep", &c.Keep).Describe("how long archives are kept that were made to be downloaded; 24h when not given"),
			limitField("max", func(s string) (wrong, hint string) { return sizeLimit(s, &c.Most) }, func() { c.Most = 0 }).
				Describe("how much they may take together: 50GB; as much as there is room for when not given"),
		}, nil).Describe("archives that were made to be downloaded"),
		strict.SectionField("oidc", oidcFields(&c.OIDC), checkOIDC(&c.OIDC)).Describe("a provider of OpenID Connect at which people can log in"),
	}
}

func oidcFields(o *OIDC) []strict.Field {
	text := func(key string, into *string, doc string) strict.Field {
		return strict.TextField(key, into, strict.NotEmpty).Describe(doc)
	}
	roles := func(key string, into *[]string) strict.Field {
		return strict.ListField(key, into, false, strict.NotEmpty).Describe("values of roles_claim that make somebody so")
	}
	fields := []strict.Field{
		strict.TextField("issuer", &o.Issuer, neededAddress).Describe("the provider's address, as its tokens name it"),
		text("client_id", &o.ClientID, "what the provider calls this console"),
	}
	fields = append(fields, secretFields(&o.Secret, "client_secret", "the client's secret", nil)...)
	return append(fields,
		strict.ListField("scopes", &o.Scopes, false, strict.OneWord).Describe("what is asked for; openid, profile and email when not given"),
		text("name_claim", &o.NameClaim, "the claim with the person's name; preferred_username when not given"),
		text("roles_claim", &o.RolesClaim, "the claim with the person's groups or roles, a.b within another; groups when not given"),
		strict.SectionField("roles", []strict.Field{roles("admin", &o.Admin), roles("operator", &o.Operator), roles("viewer", &o.Viewer)}, nil).
			Describe("who is what; the highest counts"),
		strict.OneOf("default_role", &o.DefaultRole, "roles", "viewer", "operator", "admin").Describe("of people with none of these; they are not let in when not given"),
		text("label", &o.Label, "what the button says"),
	)
}

func checkOIDC(o *OIDC) func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
	return func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
		if len(at) == 0 {
			return
		}
		for _, key := range []string{"issuer", "client_id"} {
			if _, given := at[key]; !given {
				r.Problem(own, "add "+key+":, as the provider says", "%q has no %q", "oidc", key)
			}
		}
		oneSecret(r, own, at, "client_secret", "the client's secret", "")
		if scopes, given := at["scopes"]; given && !slices.Contains(o.Scopes, "openid") {
			r.Problem(scopes, "add openid", "%q has no %q, without which there is no login", "scopes", "openid")
		}
		if len(o.Admin)+len(o.Operator)+len(o.Viewer) == 0 && o.DefaultRole == "" {
			r.Problem(own, "add roles: {admin: [the name of a group]}, or default_role: viewer", "%q lets nobody in", "oidc")
		}
		if u, err := url.Parse(o.Issuer); err == nil && u.Scheme == "http" && !loopback(u.Hostname()) {
			r.Problem(at["issuer"], "use https", "the answers of %s could be changed on their way", strict.Shown(o.Issuer))
		}
	}
}

// checkConsole reports what does not go together.
func checkConsole(c *Console) func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
	return func(r *strict.Reader, _ strict.Position, at map[string]strict.Position) {
		headers := c.Headers != ConsoleHeaders{}
		if own, given := at["headers"]; given && headers && at["proxies"] == (strict.Position{}) {
			r.Problem(own, "add proxies: with the addresses that they come from", "%q are believed of nobody without %q", "headers", "proxies")
		}
		if own, given := at["proxies"]; given && len(c.Proxies) > 0 && !headers {
			r.Problem(own, "add headers: {address: X-Forwarded-For, proto: X-Forwarded-Proto}, or those that the proxy sets", "there is nothing that %q are believed", "proxies")
		}
		if own, given := at["oidc"]; given && c.OIDC.Issuer != "" && c.URL == "" {
			r.Problem(own, "add url: to console, with the address that the provider sends people back to", "%q needs the %q of the console", "oidc", "url")
		}
	}
}

// warnOfExposure says so where other machines reach the service, and what
// becomes of the console there.
func warnOfExposure(r *strict.Reader, c *Config) {
	host, _, err := net.SplitHostPort(c.Service.Listen)
	if err != nil || loopback(host) {
		return
	}
	warn := func(message string) { r.Warn(c.listenAt, "exposed", message) }
	warn("metrics and health are shown to every machine that reaches " + c.Service.Listen + ", without a password")
	switch {
	case !c.Console.Enabled || c.Console.Certificate != "":
	case c.Console.Plain:
		warn("passwords for the console may cross the network without encryption; add tls: to console:, or put a proxy before it")
	case len(c.Console.Proxies) == 0:
		warn("nobody can log in to the console from other machines without TLS; add tls: to console:, or proxies: and headers:")
	}
}

// externalAddress is where the console is shown.
func externalAddress(s string) (wrong, hint string) {
	if wrong, hint := neededAddress(s); wrong != "" {
		return wrong, hint
	}
	u, err := url.Parse(s)
	if err != nil || u.Path != "" && path.Clean(u.Path) != strings.TrimSuffix(u.Path, "/") && u.Path != "/" || strings.ContainsAny(u.Path, "\\;{}") {
		return fmt.Sprintf("cannot be %q", strict.Shown(s)), "write the path as it is shown in the browser: https://desk.example.org/backups"
	}
	return "", ""
}
