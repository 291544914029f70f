package oidc_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/oidc"
	"github.com/backstay/backstay/internal/core"
)

const redirect = "https://backup.example/oidc/callback"

var key = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// issuer is a provider, over TLS, that lets in whoever comes.
type issuer struct {
	t      *testing.T
	url    string
	client *http.Client
	down   bool
	claims map[string]any // beside those that every token has; nil takes one away
	info   map[string]any
	sign   *rsa.PrivateKey
	asked  url.Values // what the browser brought
}

func begin(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{t: t, claims: map[string]any{}, sign: key()}
	mux := http.NewServeMux()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.down {
			http.Error(w, "<html>"+strings.Repeat("down ", 500), http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	i.url, i.client = server.URL, server.Client()
	write := func(w http.ResponseWriter, v any) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		write(w, map[string]any{
			"issuer": i.url, "authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token", "jwks_uri": i.url + "/keys",
			"userinfo_endpoint": i.url + "/info", "id_token_signing_alg_values_supported": []string{"RS256"},
		})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		write(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: &key().PublicKey, KeyID: "k", Algorithm: "RS256", Use: "sig"}}})
	})
	mux.HandleFunc("/info", func(w http.ResponseWriter, _ *http.Request) {
		all := map[string]any{"sub": "42"}
		for name, value := range i.info {
			all[name] = value
		}
		write(w, all)
	})
	mux.HandleFunc("/token", func(w http.ResponseWriter, r *http.Request) {
		sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
		id, secret, ok := r.BasicAuth()
		if !ok {
			id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
		}
		if id != "backstay" || secret != "s3cret" || r.FormValue("redirect_uri") != redirect || r.FormValue("code") != "the-code" ||
			base64.RawURLEncoding.EncodeToString(sum[:]) != i.asked.Get("code_challenge") || i.asked.Get("code_challenge_method") != "S256" {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			if err := json.NewEncoder(w).Encode(map[string]string{"error": "invalid_client", "error_description": "no"}); err != nil {
				t.Error(err)
			}
			return
		}
		write(w, map[string]any{"access_token": "a", "token_type": "Bearer", "id_token": i.token()})
	})
	return i
}

func (i *issuer) token() string {
	claims := map[string]any{
		"iss": i.url, "aud": "backstay", "sub": "42", "nonce": i.asked.Get("nonce"),
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(), "preferred_username": "ada", "email": "ada@example.org",
	}
	for name, value := range i.claims {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	text, err := json.Marshal(claims)
	if err != nil {
		i.t.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: i.sign, KeyID: "k"}}, nil)
	if err != nil {
		i.t.Fatal(err)
	}
	signed, err := signer.Sign(text)
	if err != nil {
		i.t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		i.t.Fatal(err)
	}
	return compact
}

func (i *issuer) settings() oidc.Settings {
	return oidc.Settings{
		Issuer: i.url, ClientID: "backstay", ClientSecret: core.NewSecret("s3cret"), RolesClaim: "realm_access.roles",
		Roles: map[access.Role][]string{access.Admin: {"backup-admins"}, access.Viewer: {"staff"}},
	}
}

type clock struct{ ahead time.Duration }

func (c *clock) Now() time.Time { return time.Now().Add(c.ahead) }

// login goes the whole way; change may spoil it.
func (i *issuer) login(s oidc.Settings, c core.Clock, change func(answer url.Values)) (oidc.Person, error) {
	i.t.Helper()
	p := oidc.New(oidc.Options{Settings: func() oidc.Settings { return s }, Client: i.client, Clock: c})
	address, cookie, err := p.Start(i.t.Context(), redirect, "/runs", 0)
	if err != nil {
		return oidc.Person{}, err
	}
	u, err := url.Parse(address)
	if err != nil {
		i.t.Fatal(err)
	}
	i.asked = u.Query()
	if strings.Contains(cookie.Reveal(), i.asked.Get("state")) || strings.Contains(address, "s3cret") {
		i.t.Error("what is to be secret can be read")
	}
	answer := url.Values{"code": {"the-code"}, "state": {i.asked.Get("state")}}
	if change != nil {
		change(answer)
	}
	return p.Finish(i.t.Context(), redirect, cookie, answer)
}

func TestNamesAndRoles(t *testing.T) {
	realm := func(roles any) map[string]any { return map[string]any{"realm_access": map[string]any{"roles": roles}} }
	for _, c := range []struct {
		name         string
		claims, info map[string]any
		change       func(*oidc.Settings)
		who          string
		role         access.Role
	}{
		{"the highest counts", realm([]any{"staff", "backup-admins"}), nil, nil, "ada", access.Admin},
		{"a single string", realm("staff"), nil, nil, "ada", access.Viewer},
		{"none", realm([]any{"guests"}), nil, nil, "", ""},
		{"no such claim", nil, nil, nil, "", ""},
		{"letters count", realm("STAFF"), nil, nil, "", ""},
		{"not a list", realm(7), nil, nil, "", ""},
		{"the default", realm([]any{}), nil, func(s *oidc.Settings) { s.Default = access.Operator }, "ada", access.Operator},
		{"a claim with dots in its name", map[string]any{"https://x.example/roles": []any{"staff"}}, nil, func(s *oidc.Settings) { s.RolesClaim = "https://x.example/roles" }, "ada", access.Viewer},
		{"from userinfo", nil, realm("staff"), nil, "ada", access.Viewer},
		{"userinfo overrides nothing", realm("staff"), realm("backup-admins"), nil, "ada", access.Viewer},
		{"by mail", map[string]any{"preferred_username": nil, "realm_access": map[string]any{"roles": "staff"}}, nil, nil, "ada@example.org", access.Viewer},
		{"by number", map[string]any{"preferred_username": nil, "email": nil, "realm_access": map[string]any{"roles": "staff"}}, nil, nil, "42", access.Viewer},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := begin(t)
			i.info = c.info
			for name, value := range c.claims {
				i.claims[name] = value
			}
			s := i.settings()
			if c.change != nil {
				c.change(&s)
			}
			p, err := i.login(s, core.SystemClock{}, nil)
			if c.role == "" {
				if !errors.Is(err, oidc.ErrNoRole) {
					t.Fatalf("got %+v, %v; want no role", p, err)
				}
				return
			}
			if err != nil || p.Name != c.who || p.Role != c.role || p.Subject != "42" || p.Issuer != i.url || p.Flow.Next != "/runs" {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func TestWhatIsNotTrusted(t *testing.T) {
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		spoil  func(i *issuer, s *oidc.Settings)
		answer func(url.Values)
		clock  time.Duration
		want   error // nil: a core.Error
	}{
		{"another state", nil, func(v url.Values) { v.Set("state", "x") }, 0, oidc.ErrExpired},
		{"no state", nil, func(v url.Values) { v.Del("state") }, 0, oidc.ErrExpired},
		{"no code", nil, func(v url.Values) { v.Del("code") }, 0, oidc.ErrExpired},
		{"the person went back", nil, func(v url.Values) { v.Set("error", "access_denied") }, 0, oidc.ErrDeclined},
		{"another nonce", func(i *issuer, _ *oidc.Settings) { i.claims["nonce"] = "x" }, nil, 0, oidc.ErrExpired},
		{"another key", func(i *issuer, _ *oidc.Settings) { i.sign = other }, nil, 0, nil},
		{"for somebody else", func(i *issuer, _ *oidc.Settings) { i.claims["aud"] = "x" }, nil, 0, nil},
		{"by somebody else", func(i *issuer, _ *oidc.Settings) { i.claims["iss"] = "https://evil.example" }, nil, 0, nil},
		{"expired", func(i *issuer, _ *oidc.Settings) { i.claims["exp"] = 1 }, nil, 0, nil},
		{"a wrong secret", func(_ *issuer, s *oidc.Settings) { s.ClientSecret = core.NewSecret("wr0ng") }, nil, 0, nil},
		{"another code", nil, func(v url.Values) { v.Set("code", "x") }, 0, nil},
		{"userinfo of another", func(i *issuer, _ *oidc.Settings) {
			i.claims["realm_access"] = nil
			i.info = map[string]any{"sub": "43"}
		}, nil, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			i := begin(t)
			i.claims["realm_access"] = map[string]any{"roles": "staff"}
			s := i.settings()
			if c.spoil != nil {
				c.spoil(i, &s)
			}
			p, err := i.login(s, core.SystemClock{}, c.answer)
			var known *core.Error
			if c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &known) {
				t.Fatalf("got %+v, %v; want %v", p, err, c.want)
			}
			if p.Role != "" || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("got %+v, %v", p, err)
			}
		})
	}
}

func TestFlowsEnd(t *testing.T) {
	i := begin(t)
	i.claims["realm_access"] = map[string]any{"roles": "staff"}
	c := &clock{}
	s := i.settings()
	if _, err := i.login(s, c, func(url.Values) { c.ahead = oidc.FlowFor + time.Second }); !errors.Is(err, oidc.ErrExpired) {
		t.Errorf("after its time: %v", err)
	}
	// The cookie of another browser, of nobody, and of another process.
	p := oidc.New(oidc.Options{Settings: func() oidc.Settings { return s }, Client: i.client, Clock: core.SystemClock{}})
	q := oidc.New(oidc.Options{Settings: func() oidc.Settings { return s }, Client: i.client, Clock: core.SystemClock{}})
	address, cookie, err := p.Start(t.Context(), redirect, "", 7)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(address, "prompt=login") || !strings.Contains(address, "max_age=0") {
		t.Errorf("the provider is not asked to ask anew: %s", address)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	answer := url.Values{"code": {"the-code"}, "state": {u.Query().Get("state")}}
	for _, bad := range []string{"", "x", strings.Repeat("x", 9000), cookie.Reveal() + "A", "A" + cookie.Reveal()} {
		if _, err := p.Finish(t.Context(), redirect, core.NewSecret(bad), answer); !errors.Is(err, oidc.ErrExpired) {
			t.Errorf("cookie %.20q: %v", bad, err)
		}
	}
	if _, err := q.Finish(t.Context(), redirect, cookie, answer); !errors.Is(err, oidc.ErrExpired) {
		t.Errorf("another process: %v", err)
	}
}

func TestProviderIsDown(t *testing.T) {
	i := begin(t)
	i.claims["realm_access"] = map[string]any{"roles": "staff"}
	s := i.settings()
	p := oidc.New(oidc.Options{Settings: func() oidc.Settings { return s }, Client: i.client, Clock: core.SystemClock{}})
	i.down = true
	_, _, err := p.Start(t.Context(), redirect, "/", 0)
	if core.CodeOf(err) != core.CodeFailed || core.HintOf(err) == "" || len(err.Error()) > 600 {
		t.Errorf("got %v (hint %q)", err, core.HintOf(err))
	}
	i.down = false // it is asked anew, not remembered as down
	if _, _, err := p.Start(t.Context(), redirect, "/", 0); err != nil {
		t.Error(err)
	}
	s.Issuer += "/"
	if _, _, err := p.Start(t.Context(), redirect, "/", 0); core.CodeOf(err) != core.CodeConfig {
		t.Errorf("a slash too many: %v", err)
	}
	s.Issuer = ""
	if _, _, err := p.Start(t.Context(), redirect, "/", 0); !errors.Is(err, oidc.ErrAbsent) || p.Configured() {
		t.Errorf("no provider: %v", err)
	}
	if (*oidc.Provider)(nil).Configured() {
		t.Error("no provider at all is one")
	}
}
