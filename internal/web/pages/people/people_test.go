package people_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pquerna/otp/totp"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/pages/people"
)

const good = "four words nobody guesses 77"

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.now }

func (c *clock) pass(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }

type console struct {
	t     *testing.T
	store *access.Store
	clock *clock
	url   string
	mu    sync.Mutex
	audit []string
}

func (c *console) noted() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.audit, "\n")
}

func start(t *testing.T) *console {
	t.Helper()
	c := &console{t: t, clock: &clock{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}}
	store, err := access.Open(t.Context(), t.TempDir(), c.clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	c.store = store
	log := slog.New(slog.DiscardHandler)
	g := gate.New(gate.Options{Store: store, Settings: func() gate.Settings { return gate.Settings{} }, Clock: c.clock, Log: log, Refuse: people.Refuse})
	site, err := page.New(page.Options{
		Gate: g, Clock: c.clock, Log: log, Version: "test",
		Pages: []page.Pages{people.Pages(people.Options{Store: store, Gate: g})},
		Audit: func(q *page.Request, action, object, outcome, _ string) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.audit = append(c.audit, q.Who.User.Name+": "+action+" "+object+" "+outcome)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(g.Wrap(site))
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

type browser struct {
	c      *console
	client *http.Client
}

func (c *console) browser() *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return &browser{c, &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}}
}

type answer struct {
	status int
	to     string
	text   string
	header http.Header
}

func (b *browser) do(method, path string, form url.Values, header ...string) answer {
	b.c.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(context.Background(), method, b.c.url+path, body)
	if err != nil {
		b.c.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	out, err := b.client.Do(r)
	if err != nil {
		b.c.t.Fatal(err)
	}
	text, err := io.ReadAll(out.Body)
	if err != nil {
		b.c.t.Fatal(err)
	}
	if err := out.Body.Close(); err != nil {
		b.c.t.Fatal(err)
	}
	return answer{out.StatusCode, out.Header.Get("Location"), string(text), out.Header}
}

func (b *browser) get(path string) answer { b.c.t.Helper(); return b.do("GET", path, nil) }

func (b *browser) post(path string, pairs ...string) answer {
	b.c.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	return b.do("POST", path, form)
}

func (b *browser) cookie() string {
	u, err := url.Parse(b.c.url)
	if err != nil {
		b.c.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(u) {
		if c.Name == "backstay" {
			return c.Value
		}
	}
	return ""
}

func (a answer) want(t *testing.T, status int, to string, texts ...string) answer {
	t.Helper()
	if a.status != status || a.to != to {
		t.Fatalf("got %d to %q, want %d to %q:\n%s", a.status, a.to, status, to, a.text)
	}
	for _, text := range texts {
		if !strings.Contains(a.text, text) {
			t.Errorf("the page lacks %q:\n%s", text, a.text)
		}
	}
	return a
}

// content is what a page says, without what stands around it.
func content(page string) string {
	_, after, _ := strings.Cut(page, "<main")
	inner, _, _ := strings.Cut(after, "</main>")
	return inner
}

func (c *console) add(name string, role access.Role) {
	c.t.Helper()
	if _, err := c.store.AddUser(c.t.Context(), name, role, core.NewSecret(good)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *console) loggedIn(name string) *browser {
	c.t.Helper()
	b := c.browser()
	b.post("/login", "name", name, "password", good).want(c.t, 303, "/")
	return b
}

func TestSetUpOnce(t *testing.T) {
	c := start(t)
	b := c.browser()
	b.get("/login").want(t, 303, "/setup")
	b.get("/setup").want(t, 200, "", "backstay user link")
	b.get("/setup?key=wrong").want(t, 410, "", "backstay user link")
	key, err := c.store.Offer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.get("/setup?key="+key.Reveal()).want(t, 200, "", `name="key" value="`+key.Reveal(), `autocomplete="new-password"`)
	b.post("/setup", "key", key.Reveal(), "name", "ada", "password", good, "again", "x").want(t, 422, "", `aria-invalid="true"`, `aria-describedby="again-wrong"`, `value="ada"`)
	b.post("/setup", "key", key.Reveal(), "name", "ada", "password", "a", "again", "a").want(t, 422, "", "too easy")
	b.post("/setup", "key", key.Reveal(), "name", "", "password", good, "again", good).want(t, 422, "", `id="name-wrong"`)
	b.post("/setup", "key", key.Reveal(), "name", "ada", "password", good, "again", good).want(t, 303, "/")
	b.get("/users").want(t, 200, "", "ada", "Welcome, ada")
	other := c.browser()
	other.post("/setup", "key", key.Reveal(), "name", "eve", "password", good, "again", good).want(t, 422, "", "set up already")
	other.get("/setup?key="+key.Reveal()).want(t, 410, "", "set up already")
	if users, err := c.store.Users(t.Context()); err != nil || len(users) != 1 {
		t.Errorf("users: %v, %v", users, err)
	}
	if !strings.Contains(c.noted(), "ada: set up ada ok") {
		t.Errorf("audit log:\n%s", c.noted())
	}
}

func TestLogin(t *testing.T) {
	c := start(t)
	c.add("ada", access.Admin)
	b := c.browser()
	b.get("/account").want(t, 303, "/login?next=%2Faccount")
	b.get("/login?next=/account").want(t, 200, "", `name="next" value="/account"`, `autocomplete="username"`, `autocomplete="current-password"`)
	wrong := b.post("/login", "name", "ada", "password", "not this one")
	wrong.want(t, 422, "", "The name or the password is wrong.", `value="ada"`)
	if strings.Contains(wrong.text, "not this one") {
		t.Error("the page shows the password that was typed")
	}
	unknown := b.post("/login", "name", "hunter2", "password", "not this one").want(t, 422, "", "The name or the password is wrong.")
	if diff := cmp.Diff(content(wrong.text), strings.ReplaceAll(content(unknown.text), "hunter2", "ada")); diff != "" {
		t.Errorf("the page says whether there is such a user: %s", diff)
	}
	b.post("/login", "name", "", "password", "").want(t, 422, "", `id="name-wrong"`, `id="password-wrong"`)
	b.post("/login", "name", "ada", "password", "still not").want(t, 422, "")
	if got := strings.Count(c.noted(), "login ada invalid"); got != 1 {
		t.Errorf("%d wrong logins of a minute are in the audit log, want 1:\n%s", got, c.noted())
	}
	if strings.Contains(c.noted(), "hunter2") {
		t.Error("what was typed as a name is in the audit log")
	}
	c.clock.pass(2 * time.Minute)

	for _, next := range []string{"//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "\t//evil.example", "/\t/evil.example", "evil", ""} {
		c.browser().post("/login", "name", "ada", "password", good, "next", next).want(t, 303, "/")
	}
	b.post("/login", "name", "ada", "password", good, "next", "/account?x=1").want(t, 303, "/account?x=1")

	before := b.cookie()
	b.post("/login", "name", "ada", "password", good).want(t, 303, "/")
	after := b.cookie()
	if before == after || after == "" {
		t.Error("the cookie is the same after the login")
	}
	if _, err := c.store.BySession(t.Context(), core.NewSecret(before), access.Limits{}); err == nil {
		t.Error("the session before the login goes on")
	}
	b.get("/login").want(t, 303, "/")
	b.post("/logout").want(t, 303, "/login")
	b.get("/account").want(t, 303, "/login?next=%2Faccount")
	if _, err := c.store.BySession(t.Context(), core.NewSecret(after), access.Limits{}); err == nil {
		t.Error("the session goes on after logging out")
	}
	b.post("/logout").want(t, 303, "/login")
}

func TestSessionOfAnotherIsNotTaken(t *testing.T) {
	c := start(t)
	c.add("ada", access.Admin)
	b := c.browser()
	u, err := url.Parse(c.url)
	if err != nil {
		t.Fatal(err)
	}
	b.client.Jar.SetCookies(u, []*http.Cookie{{Name: "backstay", Value: "chosen-by-somebody-else", Path: "/"}})
	b.post("/login", "name", "ada", "password", good).want(t, 303, "/")
	if b.cookie() == "chosen-by-somebody-else" {
		t.Error("the login keeps a cookie that was there before")
	}
}

func TestOtherSitesAreRefused(t *testing.T) {
	c := start(t)
	c.add("ada", access.Admin)
	b := c.loggedIn("ada")
	for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Origin", "https://evil.example"}, {"Origin", "null"}} {
		for _, path := range []string{"/users", "/login", "/logout", "/account/display"} {
			b.do("POST", path, url.Values{"name": {"eve"}, "role": {"admin"}, "password": {good}, "again": {good}}, header...).want(t, 403, "", "another site")
		}
	}
	if users, err := c.store.Users(t.Context()); err != nil || len(users) != 1 {
		t.Errorf("users: %v, %v", users, err)
	}
	b.get("/account").want(t, 200, "")
}

func TestLockOutSaysHowLong(t *testing.T) {
	c := start(t)
	c.add("ada", access.Admin)
	b := c.browser()
	var last answer
	for range 8 {
		last = b.post("/login", "name", "ada", "password", "wrong")
	}
	last.want(t, 429, "", "Too many attempts. Please wait ")
	if last.header.Get("Retry-After") == "" {
		t.Error("there is no Retry-After")
	}
	b.post("/login", "name", "ada", "password", good).want(t, 429, "", "Please wait")
	c.clock.pass(time.Hour)
	b.post("/login", "name", "ada", "password", good).want(t, 303, "/")
}

var base32Key = regexp.MustCompile(`<p class="mono">([A-Z2-7]{16,})</p>`)

func TestSecondFactor(t *testing.T) {
	c := start(t)
	c.add("ada", access.Admin)
	b := c.loggedIn("ada")
	offered := b.post("/account/second").want(t, 200, "", `src="data:image/png;base64,`)
	found := base32Key.FindStringSubmatch(offered.text)
	if found == nil {
		t.Fatalf("no key on the page:\n%s", offered.text)
	}
	code := func() string {
		s, err := totp.GenerateCode(found[1], c.clock.Now())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	b.post("/account/second/confirm", "code", "12").want(t, 422, "", "The code is wrong")
	done := b.post("/account/second/confirm", "code", code()).want(t, 200, "", "recovery codes")
	recovery := regexp.MustCompile(`<li>([a-z0-9]{4}(-[a-z0-9]{4})+)</li>`).FindStringSubmatch(done.text)
	if recovery == nil {
		t.Fatalf("no recovery code on the page:\n%s", done.text)
	}

	c.clock.pass(time.Minute)
	other := c.browser()
	step := other.post("/login", "name", "ada", "password", good, "next", "/account").want(t, 200, "", `name="pass"`, `autocomplete="one-time-code"`)
	if strings.Contains(step.text, good) {
		t.Error("the second step's page holds the password")
	}
	other.get("/account").want(t, 303, "/login?next=%2Faccount")
	pass := regexp.MustCompile(`name="pass" value="([^"]+)"`).FindStringSubmatch(step.text)[1]
	other.post("/login", "pass", pass, "code", "000").want(t, 422, "", "The code is wrong")
	other.post("/login", "pass", pass, "code", "").want(t, 422, "", "Please give the code")
	other.post("/login", "pass", "x"+pass, "code", code()).want(t, 422, "", "took too long")
	other.post("/login", "pass", pass, "code", code(), "next", "/account").want(t, 303, "/account")
	c.browser().post("/login", "pass", pass, "code", recovery[1]).want(t, 303, "/")
	c.browser().post("/login", "pass", pass, "code", recovery[1]).want(t, 422, "", "The code is wrong")
	c.clock.pass(6 * time.Minute)
	c.browser().post("/login", "pass", pass, "code", code()).want(t, 422, "", "took too long")
}

func TestProve(t *testing.T) {
	c := start(t)
	c.add("ada", access.Admin)
	b := c.loggedIn("ada")
	c.clock.pass(access.FreshFor + time.Second)
	b.get("/users").want(t, 200, "")
	b.do("POST", "/users", url.Values{"name": {"eve"}, "role": {"admin"}, "password": {good}, "again": {good}}, "Referer", c.url+"/users").want(t, 303, "/prove?next=%2Fusers")
	b.get("/prove?next=/users").want(t, 200, "", `autocomplete="current-password"`)
	b.post("/prove", "password", "", "next", "/users").want(t, 422, "", `id="password-wrong"`)
	b.post("/prove", "password", "wrong", "next", "/users").want(t, 422, "", "wrong")
	before := b.cookie()
	b.post("/prove", "password", good, "next", "/users").want(t, 303, "/users")
	if b.cookie() == before {
		t.Error("the cookie is the same after the proof")
	}
	b.post("/users", "name", "eve", "role", "viewer", "password", good, "again", good).want(t, 303, "/users/eve")
	b.post("/prove", "password", good, "next", "//evil.example").want(t, 303, "/")
}

func TestRoles(t *testing.T) {
	c := start(t)
	c.add("root", access.Admin)
	for _, role := range []access.Role{access.Viewer, access.Operator} {
		c.add(string(role), role)
		b := c.loggedIn(string(role))
		b.get("/account").want(t, 200, "")
		b.get("/users").want(t, 403, "")
		b.get("/users/root").want(t, 403, "")
		for _, path := range []string{"", "/root/role", "/root/disable", "/root/enable", "/root/unlock", "/root/password", "/root/second/drop", "/root/sessions/end", "/root/tokens/remove", "/root/remove"} {
			b.post("/users"+path, "name", "x", "role", "admin", "password", good, "again", good, "confirm", "root").want(t, 403, "")
		}
		b.post("/account/tokens", "token", "x", "role", "admin").want(t, 403, "")
	}
	if !strings.Contains(c.noted(), "viewer: remove user root forbidden") {
		t.Errorf("audit log:\n%s", c.noted())
	}
}

func TestUsers(t *testing.T) {
	c := start(t)
	c.add("root", access.Admin)
	b := c.loggedIn("root")
	b.post("/users", "name", "Root", "role", "viewer", "password", good, "again", good).want(t, 422, "", "already")
	b.post("/users", "name", "eve", "role", "emperor", "password", good, "again", good).want(t, 422, "", "choose a role")
	b.post("/users", "name", "eve", "role", "operator", "password", good, "again", good).want(t, 303, "/users/eve")
	eve := c.loggedIn("eve")
	eve.get("/account").want(t, 200, "")
	b.post("/users/eve/role", "role", "viewer").want(t, 303, "/users/eve")
	eve.get("/account").want(t, 303, "/login?next=%2Faccount")
	eve = c.loggedIn("eve")
	b.post("/users/eve/sessions/end").want(t, 303, "/users/eve")
	eve.get("/account").want(t, 303, "/login?next=%2Faccount")
	b.post("/users/eve/disable").want(t, 303, "/users/eve")
	c.browser().post("/login", "name", "eve", "password", good).want(t, 422, "", "wrong")
	b.get("/users/eve").want(t, 200, "", "disabled")
	b.post("/users/eve/enable").want(t, 303, "/users/eve")
	b.post("/users/eve/password", "password", good+"!", "again", good+"?").want(t, 422, "", "different")
	b.post("/users/eve/password", "password", good+"!", "again", good+"!").want(t, 303, "/users/eve")
	c.browser().post("/login", "name", "eve", "password", good+"!").want(t, 303, "/")
	b.post("/users/eve/remove", "confirm", "").want(t, 422, "", "This is not eve")
	for _, path := range []string{"role", "disable", "remove"} {
		b.post("/users/root/"+path, "role", "viewer", "confirm", "root").want(t, 422, "", "That would be you")
	}
	b.post("/users/eve/remove", "confirm", "eve").want(t, 303, "/users")
	b.get("/users/eve").want(t, 404, "")
	b.get("/users/..%2f..%2fetc").want(t, 404, "")
	b.post("/users/%3Cscript%3E/remove", "confirm", "x").want(t, 404, "")
}

func TestAccount(t *testing.T) {
	c := start(t)
	c.add("ada", access.Operator)
	b := c.loggedIn("ada")
	b.post("/account/display", "language", "de", "theme", "dark", "zone", "Europe/Berlin").want(t, 303, "/account")
	b.get("/account").want(t, 200, "", "Mein Konto", `lang="de"`, `data-theme="dark"`)
	for field, value := range map[string]string{"language": "tlh", "theme": "pink", "zone": "../../etc/passwd"} {
		b.post("/account/display", field, value).want(t, 422, "")
	}
	b.post("/account/display", "language", "", "theme", "", "zone", "").want(t, 303, "/account")
	other := c.loggedIn("ada")
	b.post("/account/sessions/end").want(t, 303, "/account")
	other.get("/account").want(t, 303, "/login?next=%2Faccount")
	before := c.noted()
	b.post("/account/sessions/end", "session", "99999").want(t, 404, "")
	b.post("/account/sessions/end", "session", "-1").want(t, 404, "")
	b.post("/account/tokens/remove", "token", "99999").want(t, 404, "")
	b.post("/account/tokens/remove", "token", "x").want(t, 404, "")
	b.post("/account/tokens/remove").want(t, 404, "")
	if after := c.noted(); after != before {
		t.Errorf("what there is not is in the audit log:\n%s\nbefore:\n%s", after, before)
	}

	made := b.post("/account/tokens", "token", "nightly", "role", "viewer", "days", "30").want(t, 200, "", "not shown again")
	secret := regexp.MustCompile(`bst_[A-Za-z0-9_-]+`).FindString(made.text)
	if secret == "" {
		t.Fatal("no token on the page")
	}
	list := b.get("/account").want(t, 200, "", "nightly")
	if strings.Contains(list.text, secret) {
		t.Error("the token is shown again")
	}
	b.post("/account/tokens", "token", "nightly", "role", "viewer").want(t, 422, "", "already")
	b.post("/account/tokens", "token", "x", "role", "viewer", "days", "-4").want(t, 422, "", "3650")

	// A token is no way to what its owner logs in with.
	script := c.browser()
	for _, path := range []string{"/account/password", "/account/second", "/account/second/confirm", "/account/second/drop", "/account/tokens", "/account/tokens/remove", "/account/sessions/end", "/prove"} {
		script.do("POST", path, url.Values{"password": {good}, "again": {good}}, "Authorization", "Bearer "+secret).want(t, 403, "")
	}
	script.do("GET", "/account", nil, "Authorization", "Bearer wrong").want(t, 401, "")
	tokens, err := c.store.Tokens(t.Context(), "ada")
	if err != nil || len(tokens) != 1 {
		t.Fatalf("tokens: %v, %v", tokens, err)
	}
	other = c.loggedIn("ada")
	b.post("/account/password", "password", "x", "again", "x").want(t, 422, "", "too easy")
	b.post("/account/password", "password", good+"2", "again", good+"2").want(t, 303, "/account")
	b.get("/account").want(t, 200, "")
	other.get("/account").want(t, 303, "/login?next=%2Faccount")
}
