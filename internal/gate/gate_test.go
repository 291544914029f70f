package gate

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
)

type fixed time.Time

func (f fixed) Now() time.Time { return time.Time(f) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// people is a gate before a store in which one session and one token exist.
func people(t *testing.T, s Settings, log io.Writer) *Gate {
	t.Helper()
	store, err := access.Open(t.Context(), t.TempDir(), fixed(noon))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	g := New(Options{Store: store, Settings: func() Settings { return s }, Clock: fixed(noon), Log: slog.New(slog.NewTextHandler(log, nil))})
	viewer := access.User{ID: 1, Name: "ada"}
	g.session = func(_ context.Context, cookie core.Secret, _ access.Limits) (access.Identity, error) {
		switch cookie.Reveal() {
		case "good":
			return access.Identity{User: viewer, Role: access.Operator, Session: &access.Session{ID: 7, Proved: noon.Add(-time.Hour)}}, nil
		case "broken":
			return access.Identity{}, errors.New("disk I/O error")
		}
		return access.Identity{}, access.ErrNobody
	}
	g.token = func(_ context.Context, token core.Secret, _ netip.Addr) (access.Identity, error) {
		switch token.Reveal() {
		case "bst_good":
			return access.Identity{User: viewer, Role: access.Viewer, Token: &access.Token{Name: "t"}}, nil
		case "bst_often":
			return access.Identity{}, &access.RetryAfter{Wait: 90 * time.Second}
		}
		return access.Identity{}, access.ErrNobody
	}
	return g
}

func prefixes(t *testing.T, list ...string) []netip.Prefix {
	t.Helper()
	var found []netip.Prefix
	for _, s := range list {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, p)
	}
	return found
}

func external(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func request(method, target, peer string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.RemoteAddr = peer
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	return r
}

func TestAddressOfAClient(t *testing.T) {
	proxies := prefixes(t, "10.0.0.0/8", "fd00::/8")
	for _, c := range []struct {
		name, peer, header string
		values             []string
		want               string
	}{
		{"no proxy is believed", "203.0.113.9:1234", "X-Forwarded-For", []string{"1.2.3.4"}, "203.0.113.9"},
		{"one proxy", "10.0.0.1:80", "X-Forwarded-For", []string{"1.2.3.4"}, "1.2.3.4"},
		{"what the client claims is not believed", "10.0.0.1:80", "X-Forwarded-For", []string{"9.9.9.9, 1.2.3.4"}, "1.2.3.4"},
		{"two proxies", "10.0.0.1:80", "X-Forwarded-For", []string{"9.9.9.9, 1.2.3.4, 10.0.0.2"}, "1.2.3.4"},
		{"several lines", "10.0.0.1:80", "X-Forwarded-For", []string{"9.9.9.9", "1.2.3.4", "10.0.0.2"}, "1.2.3.4"},
		{"a port", "10.0.0.1:80", "X-Forwarded-For", []string{"1.2.3.4:5678"}, "1.2.3.4"},
		{"IPv6 with port", "[fd00::1]:80", "X-Forwarded-For", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"IPv6 with zone", "[fd00::1]:80", "X-Forwarded-For", []string{"fe80::1%eth0"}, "fe80::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", "X-Forwarded-For", []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		{"nonsense", "10.0.0.1:80", "X-Forwarded-For", []string{"unknown"}, "10.0.0.1"},
		{"nonsense behind a proxy", "10.0.0.1:80", "X-Forwarded-For", []string{"1.2.3.4, ☃, 10.0.0.2"}, "10.0.0.2"},
		{"line ends", "10.0.0.1:80", "X-Forwarded-For", []string{"1.2.3.4\r\nSet-Cookie: a=b"}, "10.0.0.1"},
		{"very long", "10.0.0.1:80", "X-Forwarded-For", []string{strings.Repeat("9", 10000)}, "10.0.0.1"},
		{"very many", "10.0.0.1:80", "X-Forwarded-For", []string{strings.Repeat("10.0.0.3,", 2000) + "10.0.0.2"}, "10.0.0.3"},
		{"empty", "10.0.0.1:80", "X-Forwarded-For", []string{""}, "10.0.0.1"},
		{"Forwarded", "10.0.0.1:80", "Forwarded", []string{`for=9.9.9.9, for="[2001:db8::1]:1";proto=https;by=10.0.0.9`}, "2001:db8::1"},
		{"Forwarded that hides", "10.0.0.1:80", "Forwarded", []string{`for=_hidden`}, "10.0.0.1"},
		{"another header", "10.0.0.1:80", "X-Real-Ip", []string{"1.2.3.4"}, "1.2.3.4"},
		{"no network", "@", "X-Forwarded-For", []string{"1.2.3.4"}, "invalid IP"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := request("GET", "/", c.peer)
			r.Header[http.CanonicalHeaderKey(c.header)] = c.values
			if got := originOf(r, Settings{Proxies: proxies, AddressHeader: c.header}).address.String(); got != c.want {
				t.Errorf("address %s, want %s", got, c.want)
			}
		})
	}
}

func TestWhoGetsIn(t *testing.T) {
	proxies := prefixes(t, "127.0.0.1/32", "10.0.0.0/8")
	url := external(t, "https://desk.example/backups")
	behind := Settings{External: url, Proxies: proxies, AddressHeader: "X-Forwarded-For", ProtoHeader: "X-Forwarded-Proto", HostHeader: "X-Forwarded-Host"}
	loopback := func(r *http.Request) *http.Request {
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, net.Addr(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8484})))
	}
	for _, c := range []struct {
		name     string
		settings Settings
		r        *http.Request
		want     int
	}{
		{"here", Settings{}, loopback(request("GET", "http://localhost:8484/", "127.0.0.1:1")), 200},
		{"here, IPv6", Settings{}, loopback(request("GET", "http://[::1]:8484/", "[::1]:1")), 200},
		{"a name bound to here", Settings{}, loopback(request("GET", "http://evil.example:8484/", "127.0.0.1:1")), 421},
		{"a name that begins so", Settings{}, loopback(request("GET", "http://localhost.evil.example/", "127.0.0.1:1")), 421},
		{"a known name", Settings{Hosts: []string{"box.lan"}}, loopback(request("GET", "http://box.lan:8484/", "127.0.0.1:1")), 200},
		{"another name than the known", Settings{Hosts: []string{"box.lan"}, Plain: true}, request("GET", "http://evil.example/", "192.168.0.9:1"), 421},
		{"the network without TLS", Settings{}, request("GET", "http://192.168.0.2/", "192.168.0.9:1"), 403},
		{"the same, allowed", Settings{Plain: true}, request("GET", "http://192.168.0.2/", "192.168.0.9:1"), 200},
		{"an unknown proxy", Settings{}, loopback(request("GET", "http://localhost/", "127.0.0.1:1", "X-Forwarded-For", "1.2.3.4")), 403},
		{"a known proxy with TLS", behind, request("GET", "http://127.0.0.1:8484/backups/", "10.0.0.1:1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "desk.example"), 200},
		{"a known proxy without TLS", behind, request("GET", "http://desk.example/backups/", "10.0.0.1:1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "http"), 403},
		{"who claims to be a proxy", behind, request("GET", "http://desk.example/backups/", "1.2.3.4:1", "X-Forwarded-For", "127.0.0.1", "X-Forwarded-Proto", "https"), 403},
		{"a claim before the proxy's", behind, request("GET", "http://desk.example/backups/", "10.0.0.1:1", "X-Forwarded-For", "127.0.0.1, 1.2.3.4", "X-Forwarded-Proto", "https, http"), 403},
		{"another host of the proxy", behind, request("GET", "http://x/", "10.0.0.1:1", "X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Forwarded-Host", "evil.example"), 421},
		{"a host that is none", Settings{Plain: true}, request("GET", "http://x/", "10.0.0.1:1"), 421},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.name == "a host that is none" {
				c.r.Host = "a\"><b>"
			}
			g := people(t, c.settings, io.Discard)
			w := httptest.NewRecorder()
			g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})).ServeHTTP(w, c.r)
			if w.Code != c.want {
				t.Errorf("status %d, want %d: %s", w.Code, c.want, w.Body)
			}
		})
	}
}

func TestIdentity(t *testing.T) {
	g := people(t, Settings{}, io.Discard)
	for _, c := range []struct {
		name   string
		method string
		header []string
		status int
		who    string
	}{
		{"nobody", "GET", nil, 200, ""},
		{"a session", "GET", []string{"Cookie", "backstay=good"}, 200, "ada"},
		{"one that has ended", "GET", []string{"Cookie", "backstay=old"}, 200, ""},
		{"a cookie planted before it", "GET", []string{"Cookie", "backstay=planted; backstay=good"}, 200, "ada"},
		{"the cookie of TLS without it", "GET", []string{"Cookie", "__Host-backstay=good"}, 200, ""},
		{"a token", "GET", []string{"Authorization", "Bearer bst_good"}, 200, "ada (token t)"},
		{"a token, in other letters", "GET", []string{"Authorization", "bearer bst_good"}, 200, "ada (token t)"},
		{"both: the token counts", "GET", []string{"Authorization", "Bearer bst_good", "Cookie", "backstay=good"}, 200, "ada (token t)"},
		{"a wrong token beside a session", "GET", []string{"Authorization", "Bearer bst_bad", "Cookie", "backstay=good"}, 401, ""},
		{"too many wrong tokens", "GET", []string{"Authorization", "Bearer bst_often"}, 429, ""},
		{"an empty token", "GET", []string{"Authorization", "Bearer "}, 401, ""},
		{"the proxy's own password", "GET", []string{"Authorization", "Basic eDp5", "Cookie", "backstay=good"}, 200, "ada"},
		{"a store that is broken", "GET", []string{"Cookie", "backstay=broken"}, 500, ""},
		{"a form of another site", "POST", []string{"Cookie", "backstay=good", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a form of a sister site", "POST", []string{"Cookie", "backstay=good", "Sec-Fetch-Site", "same-site"}, 403, ""},
		{"a form of another site, old browser", "POST", []string{"Cookie", "backstay=good", "Origin", "https://evil.example"}, 403, ""},
		{"a form of nowhere", "POST", []string{"Cookie", "backstay=good", "Origin", "null"}, 403, ""},
		{"the login from another site", "POST", []string{"Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"a form of ours", "POST", []string{"Cookie", "backstay=good", "Sec-Fetch-Site", "same-origin"}, 200, "ada"},
		{"a token from anywhere", "DELETE", []string{"Authorization", "Bearer bst_good", "Sec-Fetch-Site", "cross-site"}, 200, "ada (token t)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, path := range []string{"/", "/api/v1/apps"} {
				w, who := httptest.NewRecorder(), ""
				g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					if i, ok := Identity(r.Context()); ok {
						who = i.By()
					}
				})).ServeHTTP(w, request(c.method, "http://localhost"+path, "127.0.0.1:1", c.header...))
				if w.Code != c.status || who != c.who {
					t.Errorf("%s: status %d as %q, want %d as %q", path, w.Code, who, c.status, c.who)
				}
				if kind := w.Header().Get("Content-Type"); w.Code != 200 && strings.HasPrefix(kind, "application/json") != (path != "/") {
					t.Errorf("%s: an answer of type %s", path, kind)
				}
			}
		})
	}
}

func TestCheck(t *testing.T) {
	g := people(t, Settings{}, io.Discard)
	for _, c := range []struct {
		cookie string
		need   Need
		want   error
	}{
		{"", Need{}, nil},
		{"", Need{Role: access.Viewer}, access.ErrNobody},
		{"", Need{Fresh: true}, access.ErrNobody},
		{"good", Need{Role: access.Operator}, nil},
		{"good", Need{Role: access.Admin}, ErrForbidden},
		{"good", Need{Role: access.Admin, Fresh: true}, ErrForbidden},
		{"good", Need{Role: access.Viewer, Fresh: true}, ErrStale},
	} {
		var got error
		g.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = g.Check(r, c.need) })).
			ServeHTTP(httptest.NewRecorder(), request("GET", "http://localhost/", "127.0.0.1:1", "Cookie", "backstay="+c.cookie))
		if !errors.Is(got, c.want) {
			t.Errorf("%q, %+v: %v, want %v", c.cookie, c.need, got, c.want)
		}
	}
	// Without Wrap nobody is anybody.
	if err := g.Check(request("GET", "/", "127.0.0.1:1", "Cookie", "backstay=good"), Need{Role: access.Viewer}); !errors.Is(err, access.ErrNobody) {
		t.Errorf("without Wrap: %v", err)
	}
}

func TestHeadersAndCookies(t *testing.T) {
	g := people(t, Settings{}, io.Discard)
	ask := func(g *Gate, r *http.Request) http.Header {
		w := httptest.NewRecorder()
		g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.SetCookie(w, r, core.NewSecret("s")) })).ServeHTTP(w, r)
		return w.Header()
	}
	secure := request("GET", "https://backup.example/", "192.0.2.1:1")
	secure.TLS = &tls.ConnectionState{}
	h := ask(g, secure)
	for name, want := range map[string]string{
		"Content-Security-Policy":      policy,
		"X-Content-Type-Options":       "nosniff",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Cache-Control":                "no-store",
		"Strict-Transport-Security":    "max-age=31536000",
		"Set-Cookie":                   "__Host-backstay=s; Path=/; HttpOnly; Secure; SameSite=Lax",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Error("the policy allows what stands in a page's text")
	}
	h = ask(g, request("GET", "http://localhost/", "127.0.0.1:1"))
	if h.Get("Strict-Transport-Security") != "" || h.Get("Set-Cookie") != "backstay=s; Path=/; HttpOnly; SameSite=Lax" {
		t.Errorf("without TLS: %v", h)
	}
	below := people(t, Settings{External: external(t, "https://desk.example/backups/"), Proxies: prefixes(t, "10.0.0.0/8")}, io.Discard)
	h = ask(below, request("GET", "http://desk.example/backups/", "10.0.0.1:1"))
	if got := h.Get("Set-Cookie"); got != "backstay=s; Path=/backups; HttpOnly; Secure; SameSite=Lax" {
		t.Errorf("below a path: %q", got)
	}
}

func TestBasePath(t *testing.T) {
	g := people(t, Settings{External: external(t, "https://desk.example/backups"), Proxies: prefixes(t, "10.0.0.0/8")}, io.Discard)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /files/{path...}", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.PathValue("path")+" "+BasePath(r.Context())+" "+External(r.Context()))
	})
	mux.HandleFunc("GET /folder/", func(http.ResponseWriter, *http.Request) {})
	for _, c := range []struct{ path, body, to string }{
		{"/backups/files/a", "a /backups https://desk.example/backups", ""},
		{"/files/a", "a /backups https://desk.example/backups", ""},
		{"/backups/files/a%2Fb%20c", "a/b c /backups https://desk.example/backups", ""},
		{"/backups?x=1", "", "/backups/?x=1"},
		{"/backups/folder", "", "/backups/folder/"},
		{"/folder", "", "/backups/folder/"},
	} {
		w := httptest.NewRecorder()
		g.Wrap(mux).ServeHTTP(w, request("GET", "http://desk.example"+c.path, "10.0.0.1:1"))
		body := ""
		if c.to == "" {
			body = w.Body.String()
		}
		if body != c.body || w.Header().Get("Location") != c.to {
			t.Errorf("%s: %d %q to %q, want %q to %q", c.path, w.Code, body, w.Header().Get("Location"), c.body, c.to)
		}
	}
}

func TestBodies(t *testing.T) {
	g := people(t, Settings{}, io.Discard)
	for _, c := range []struct {
		allow int64 // 0: not called
		size  int
		fits  bool
	}{{0, MaxBody, true}, {0, MaxBody + 1, false}, {10, 11, false}, {3 * MaxBody, 3 * MaxBody, true}, {-1, 4 * MaxBody, true}} {
		var n int64
		var err error
		server := httptest.NewServer(g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if c.allow != 0 {
				AllowBody(w, r.WithContext(r.Context()), c.allow) // a copy will do
			}
			n, err = io.Copy(io.Discard, r.Body)
		})))
		out, doErr := http.Post(server.URL, "application/octet-stream", bytes.NewReader(make([]byte, c.size)))
		if doErr == nil {
			if closeErr := out.Body.Close(); closeErr != nil {
				t.Error(closeErr)
			}
		}
		server.Close()
		var large *http.MaxBytesError
		if c.fits && (err != nil || n != int64(c.size)) || !c.fits && !errors.As(err, &large) {
			t.Errorf("%d bytes with %d allowed: %d read, %v", c.size, c.allow, n, err)
		}
	}
}

// What is allowed to take long outlives the server's own limits.
func TestPatience(t *testing.T) {
	g := people(t, Settings{}, io.Discard)
	server := httptest.NewUnstartedServer(g.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/patient" {
			Patient(w)
		}
		timer := time.NewTimer(300 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		}
		_, _ = io.WriteString(w, "done")
	})))
	server.Config.ReadTimeout, server.Config.WriteTimeout = 100*time.Millisecond, 100*time.Millisecond
	server.Start()
	defer server.Close()
	for path, want := range map[string]string{"/patient": "done", "/": ""} {
		got := ""
		if out, err := server.Client().Get(server.URL + path); err == nil {
			text, _ := io.ReadAll(out.Body) // cut off is what is looked for
			got = string(text)
			if err := out.Body.Close(); err != nil {
				t.Error(err)
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
}

func TestStumbling(t *testing.T) {
	var log bytes.Buffer
	g := people(t, Settings{}, &log)
	w := httptest.NewRecorder()
	g.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("oops: secret") })).
		ServeHTTP(w, request("GET", "http://localhost/api/v1/x", "127.0.0.1:1"))
	id := w.Header().Get("X-Request-Id")
	if w.Code != 500 || id == "" || !strings.Contains(w.Body.String(), id) || strings.Contains(w.Body.String(), "oops") {
		t.Errorf("answer %d %s", w.Code, w.Body)
	}
	if !strings.Contains(log.String(), id) || !strings.Contains(log.String(), "oops") {
		t.Errorf("log: %s", &log)
	}
}
