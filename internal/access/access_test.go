package access

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"github.com/backstay/backstay/internal/core"
)

// testClock is a clock that a test moves.
type testClock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// world is a state folder with a store, and what opens another on it.
type world struct {
	*testing.T
	*Store
	clock *testClock
	dir   string
}

func cheap() cost { return cost{memory: 64, passes: 1, threads: 1} }

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, clock: &testClock{now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}, dir: t.TempDir()}
	w.Store = w.another()
	return w
}

// another opens the database as another process would.
func (w *world) another() *Store {
	w.T.Helper()
	s := newStore(w.dir, w.clock)
	s.cost = cheap()
	s, err := s.opened(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := s.Close(); err != nil {
			w.Error(err)
		}
	})
	return s
}

func (w *world) ok(err error) {
	w.T.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *world) is(err, want error) {
	w.T.Helper()
	if !errors.Is(err, want) {
		w.Fatalf("got %v, want %v", err, want)
	}
}

const good = "four words and more"

var home, away = netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.9")

func (w *world) add(name string, role Role) User {
	w.T.Helper()
	u, err := w.AddUser(w.Context(), name, role, core.NewSecret(good))
	w.ok(err)
	return u
}

func creds(name, password string, from netip.Addr) Credentials {
	return Credentials{Name: name, Password: core.NewSecret(password), Address: from, Agent: "test"}
}

func (w *world) login(name, password string, from netip.Addr) (core.Secret, Identity, error) {
	return w.Login(w.Context(), creds(name, password, from), Limits{})
}

func (w *world) in(name string, from netip.Addr) (core.Secret, Identity) {
	w.T.Helper()
	cookie, who, err := w.login(name, good, from)
	w.ok(err)
	return cookie, who
}

func (w *world) session(cookie core.Secret) (Identity, error) {
	return w.BySession(w.Context(), cookie, Limits{})
}

// waits fails unless err says to wait that long.
func (w *world) waits(err error, want time.Duration) {
	w.T.Helper()
	var retry *RetryAfter
	if !errors.Is(err, ErrSlowDown) || !errors.As(err, &retry) || retry.Wait != want {
		w.Fatalf("got %v, want a wait of %s", err, want)
	}
}

func TestUsers(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("Anna", Admin)
	w.add("bob", Viewer)
	_, err := w.AddUser(ctx, "ANNA", Viewer, core.NewSecret(good))
	w.is(err, ErrNameTaken)
	for _, name := range []string{"", " ", "a b", "a/b", "ä", "аdmin", strings.Repeat("x", 65), "a\n", "a\x00"} {
		if _, err := w.AddUser(ctx, name, Viewer, core.NewSecret(good)); core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "" {
			t.Errorf("%q: got %v", name, err)
		}
	}
	for _, role := range []Role{Anyone, "root", "Admin"} {
		if _, err := w.AddUser(ctx, "x", role, core.NewSecret(good)); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("role %q: got %v", role, err)
		}
	}
	users, err := w.Users(ctx)
	w.ok(err)
	if len(users) != 2 || users[0].Name != "Anna" || users[1].Name != "bob" || !users[0].Password || users[0].LastLogin != nil {
		t.Errorf("got %+v", users)
	}
	language, theme, zone := "de", "dark", "Europe/Berlin"
	u, err := w.ChangeUser(ctx, "BOB", Change{Language: &language, Theme: &theme, Zone: &zone})
	w.ok(err)
	if u.Language != "de" || u.Theme != "dark" || u.Zone != zone {
		t.Errorf("got %+v", u)
	}
	wrong := "../etc"
	for _, c := range []Change{{Language: &wrong}, {Theme: &wrong}, {Zone: &wrong}} {
		if _, err := w.ChangeUser(ctx, "bob", c); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("got %v", err)
		}
	}
	_, err = w.ChangeUser(ctx, "nobody", Change{})
	w.is(err, ErrNoSuchUser)
	w.is(w.RemoveUser(ctx, "nobody"), ErrNoSuchUser)
	w.is(w.SetPassword(ctx, "nobody", core.NewSecret(good), 0), ErrNoSuchUser)
	if _, err := w.User(ctx, "nobody"); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("got %v", err)
	}
	w.ok(w.RemoveUser(ctx, "bob"))
	_, err = w.User(ctx, "bob")
	w.is(err, ErrNoSuchUser)
}

func TestPasswordRule(t *testing.T) {
	for password, reason := range map[string]string{
		"": WeakShort, "ninechars": WeakShort, "äöüßéèêëç": WeakShort, strings.Repeat("x ", 513): WeakLong, "anna.meyer-1": WeakName, "ANNA.meyer-1": WeakName,
		"1234567890": WeakCommon, "qwertyuiop": WeakCommon, "Password123!": WeakCommon, "aaaaaaaaaaaa": WeakCommon, "backstay2026": WeakCommon, "motdepasse1": WeakCommon,
		"correcthorsebatterystaple": WeakCommon,
		"äöüßéèêëçñ":                "", "four words and more": "", "passwordless is my dream": "", strings.Repeat("ab", 512): "", "          a": "", "\x00\x01\x02\x03\x04\x05\x06\x07\x08\x09": "",
	} {
		err := CheckPassword("Anna.Meyer-1", core.NewSecret(password))
		var weak *Weak
		switch {
		case reason == "" && err != nil:
			t.Errorf("%q: %v", password, err)
		case reason != "" && (!errors.Is(err, ErrWeak) || !errors.As(err, &weak) || weak.Reason != reason || core.HintOf(err) == ""):
			t.Errorf("%q: got %v, want %s", password, err, reason)
		case err != nil && password != "" && strings.Contains(err.Error(), password):
			t.Errorf("the error shows %q", password)
		}
	}
}

func TestPasswordHash(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	full := fullCost()
	if full.memory < 19<<10 || full.passes < 2 {
		t.Errorf("%+v is too cheap", full)
	}
	w.add("anna", Admin)
	kept := func() string {
		t.Helper()
		var text string
		w.ok(w.pool.QueryRowContext(ctx, "SELECT password FROM users").Scan(&text))
		return text
	}
	first := kept()
	if !strings.HasPrefix(first, "$argon2id$v=19$m=64,t=1,p=1$") || strings.Contains(first, good) {
		t.Errorf("got %s", first)
	}
	w.in("anna", home)
	if kept() != first {
		t.Error("the hash changed for no reason")
	}
	dearer := w.another()
	dearer.cost.passes = 2
	_, _, err := dearer.Login(ctx, creds("anna", good, home), Limits{})
	w.ok(err)
	if second := kept(); !strings.HasPrefix(second, "$argon2id$v=19$m=64,t=2,p=1$") {
		t.Errorf("it was not hashed anew: %s", second)
	}
	w.in("anna", home) // the cheaper process can read it, and leaves it
	if second := kept(); !strings.Contains(second, "t=2") {
		t.Errorf("a cheaper hash took its place: %s", second)
	}
	for _, text := range []string{"", "x", "$argon2i$v=19$m=64,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=4294967295,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=0,p=1$AAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA", "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAA$"} {
		if _, err := parseHash(text); err == nil {
			t.Errorf("%q passed", text)
		}
	}
}

// A name that does not exist takes a hash as long as one that does: the same
// parameters, and one computation.
func TestUnknownNamesCostTheSame(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.hashing = newTurnstile(0, 0) // whoever needs a hash is turned away
	for _, name := range []string{"anna", "nobody"} {
		if _, _, err := w.Login(ctx, creds(name, "wrong password", home), Limits{}); !errors.Is(err, ErrSlowDown) {
			t.Errorf("%s: got %v, and no hash was wanted", name, err)
		}
	}
	w.hashing = newTurnstile(1, 0)
	for _, password := range []string{"wrong password", "", strings.Repeat("x", PasswordBytes+1), good + strings.Repeat(" ", PasswordBytes)} {
		if right, err := w.matches(ctx, "", core.NewSecret(password)); right || err != nil {
			t.Errorf("got %v, %v", right, err)
		}
	}
	zero, err := w.matches(ctx, "", core.NewSecret(string(make([]byte, hashBytes))))
	if zero || err != nil {
		t.Errorf("no password matched: %v, %v", zero, err)
	}
}

func TestFewHashesAtOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	gate := newTurnstile(hashesAtOnce, 3)
	var leave []func()
	for range hashesAtOnce {
		l, err := gate.enter(ctx)
		w.ok(err)
		leave = append(leave, l)
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	type result struct {
		leave func()
		err   error
	}
	came := make(chan result, 3)
	for range 3 {
		go func() {
			l, err := gate.enter(waiting)
			came <- result{l, err}
		}()
	}
	for len(gate.all) < hashesAtOnce+3 {
		time.Sleep(time.Millisecond)
	}
	if _, err := gate.enter(ctx); !errors.Is(err, ErrSlowDown) {
		t.Errorf("the queue has no end: %v", err)
	}
	leave[0]()
	if r := <-came; r.err != nil {
		t.Errorf("nobody came in after one had left: %v", r.err)
	} else {
		r.leave()
	}
	cancel()
	for range 2 {
		if r := <-came; r.err == nil {
			r.leave() // came in before the end of its context was seen
		} else if !errors.Is(r.err, context.Canceled) {
			t.Errorf("got %v", r.err)
		}
	}
	leave[1]()
	if len(gate.all) != 0 || len(gate.inside) != 0 {
		t.Errorf("%d and %d are left", len(gate.all), len(gate.inside))
	}
}

func TestSetUp(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	former, err := w.Offer(ctx)
	w.ok(err)
	secret, err := w.Offer(ctx)
	w.ok(err)
	w.is(w.Offered(ctx, former), ErrSetUpDone)
	w.ok(w.Offered(ctx, secret))
	_, _, err = w.SetUp(ctx, former, creds("anna", good, home), Limits{})
	w.is(err, ErrSetUpDone)
	_, _, err = w.SetUp(ctx, core.NewSecret(""), creds("anna", good, home), Limits{})
	w.is(err, ErrSetUpDone)
	_, _, err = w.SetUp(ctx, secret, creds("anna", "short", home), Limits{})
	w.is(err, ErrWeak)

	// Two at once, of two processes: exactly one wins.
	stores := []*Store{w.Store, w.another()}
	errs := make([]error, 8)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, _, errs[i] = stores[i%2].SetUp(ctx, secret, creds("anna"+string(rune('a'+i)), good, home), Limits{})
		})
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if !errors.Is(err, ErrSetUpDone) {
			t.Errorf("got %v", err)
		}
	}
	users, err := w.Users(ctx)
	w.ok(err)
	if won != 1 || len(users) != 1 || users[0].Role != Admin || users[0].LastLogin == nil {
		t.Errorf("%d won, and there are %+v", won, users)
	}
	none, err := w.Offer(ctx)
	w.ok(err)
	if !none.Empty() {
		t.Error("there is a link though there is a user")
	}
}

func TestSetUpLinkEnds(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	secret, err := w.Offer(ctx)
	w.ok(err)
	w.clock.pass(offerLasts - time.Second)
	w.ok(w.Offered(ctx, secret))
	w.clock.pass(time.Second)
	_, _, err = w.SetUp(ctx, secret, creds("anna", good, home), Limits{})
	w.is(err, ErrSetUpDone)
	if core.HintOf(err) == "" {
		t.Error("no hint")
	}
	// A user who is made elsewhere ends the link, also when they are gone again.
	secret, err = w.Offer(ctx)
	w.ok(err)
	w.add("anna", Admin)
	w.is(w.Offered(ctx, secret), ErrSetUpDone)
	w.ok(w.ForceRemoveUser(ctx, "anna"))
	w.is(w.Offered(ctx, secret), ErrSetUpDone)
}

func TestLastAdmin(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.add("bob", Operator)
	viewer, admin, yes, no := Viewer, Admin, true, false
	change := func(name string, c Change) error {
		_, err := w.ChangeUser(ctx, name, c)
		return err
	}
	w.is(change("anna", Change{Role: &viewer}), ErrLastAdmin)
	w.is(change("anna", Change{Disabled: &yes}), ErrLastAdmin)
	w.is(w.RemoveUser(ctx, "anna"), ErrLastAdmin)
	if core.HintOf(w.RemoveUser(ctx, "anna")) == "" {
		t.Error("no hint")
	}
	u, err := w.User(ctx, "anna")
	w.ok(err)
	if u.Role != Admin || u.Disabled {
		t.Errorf("a refused change was made: %+v", u)
	}
	w.ok(change("bob", Change{Role: &admin}))
	w.ok(change("bob", Change{Disabled: &yes}))
	w.is(w.RemoveUser(ctx, "anna"), ErrLastAdmin) // bob cannot log in
	w.ok(change("bob", Change{Disabled: &no}))

	// Two who remove each other at once: one remains.
	other := w.another()
	var all sync.WaitGroup
	errs := make([]error, 2)
	all.Go(func() { errs[0] = w.RemoveUser(ctx, "anna") })
	all.Go(func() { _, errs[1] = other.ChangeUser(ctx, "bob", Change{Role: &viewer}) })
	all.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Errorf("got %v and %v", errs[0], errs[1])
	}
	users, err := w.Users(ctx)
	w.ok(err)
	for _, u := range users {
		if u.Role == Admin {
			w.ok(change(u.Name, Change{Role: &viewer, Force: true}))
		}
		w.ok(w.RemoveUser(ctx, u.Name)) // no admin any more, so none is the last
	}
}

func TestSecondFactor(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	code := func(second Second) string {
		t.Helper()
		c, err := totp.GenerateCode(second.Secret.Reveal(), w.clock.Now())
		w.ok(err)
		return c
	}
	_, err := w.ConfirmSecond(ctx, "anna", "123456")
	w.is(err, ErrNoSuchItem)
	second, err := w.OfferSecond(ctx, "anna")
	w.ok(err)
	if !strings.HasPrefix(second.URL.Reveal(), "otpauth://totp/backstay:anna?") || !strings.HasPrefix(string(second.PNG), "\x89PNG") {
		t.Errorf("got %q and %d bytes", second.URL.Reveal(), len(second.PNG))
	}
	w.in("anna", home) // it does not count yet
	_, err = w.ConfirmSecond(ctx, "anna", "000000x")
	w.is(err, ErrCode)
	recovery, err := w.ConfirmSecond(ctx, "anna", code(second))
	w.ok(err)
	if len(recovery) != recoveryCodes {
		t.Fatalf("%d recovery codes", len(recovery))
	}
	with := func(code string) error {
		c := creds("anna", good, home)
		c.Code = code
		_, _, err := w.Login(ctx, c, Limits{})
		return err
	}
	err = with("")
	if !errors.Is(err, ErrSecond) || errors.Is(err, ErrCode) {
		t.Errorf("got %v", err)
	}
	w.is(with(code(second)), ErrCode) // was used to confirm
	w.clock.pass(codeEvery * time.Second)
	early := code(second)
	w.clock.pass(codeEvery * time.Second)
	w.ok(with(early[:3] + " " + early[3:])) // of the step before
	w.is(with(early), ErrCode)
	w.is(with(early), ErrSecond)
	w.ok(with(code(second)))
	w.is(with(early), ErrCode)
	w.clock.pass(-codeEvery * time.Second)
	w.is(with(code(second)), ErrCode) // older than the last, though in time
	w.clock.pass(10 * time.Minute)
	old := code(second)
	w.clock.pass(2 * codeEvery * time.Second)
	w.is(with(old), ErrCode)

	w.ok(with(strings.ToUpper(recovery[0].Reveal())))
	w.is(with(recovery[0].Reveal()), ErrCode)
	w.ok(with(strings.ReplaceAll(recovery[1].Reveal(), "-", " ")))
	u, err := w.User(ctx, "anna")
	w.ok(err)
	if !u.TOTP || u.RecoveryCodes != recoveryCodes-2 {
		t.Errorf("got %+v", u)
	}

	// The same code by two processes at once: one gets in.
	w.clock.pass(time.Hour)
	other, c := w.another(), creds("anna", good, home)
	c.Code = code(second)
	errs := make([]error, 4)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() { _, _, errs[i] = []*Store{w.Store, other}[i%2].Login(ctx, c, Limits{}) })
	}
	all.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d got in: %v", won, errs)
	}

	// A new one replaces the former once it is confirmed; the codes go too.
	w.clock.pass(time.Hour)
	next, err := w.OfferSecond(ctx, "anna")
	w.ok(err)
	w.ok(with(code(second)))
	w.clock.pass(secondOffered)
	_, err = w.ConfirmSecond(ctx, "anna", code(next))
	w.is(err, ErrNoSuchItem)
	_, err = w.ChangeUser(ctx, "anna", Change{DropTOTP: true, Unlock: true})
	w.ok(err)
	w.ok(with(""))
	u, err = w.User(ctx, "anna")
	w.ok(err)
	if u.TOTP || u.RecoveryCodes != 0 {
		t.Errorf("got %+v", u)
	}
}

// What is kept shows no secret, in no form that was given out.
func TestNothingCanBeReadBack(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	offer, err := w.Offer(ctx)
	w.ok(err)
	w.add("anna", Admin)
	cookie, _ := w.in("anna", home)
	token, made, err := w.AddToken(ctx, "anna", "t", Admin, 0)
	w.ok(err)
	_, _, err = w.login("my other password is typed here", "x", home)
	w.is(err, ErrRefused)
	second, err := w.OfferSecond(ctx, "anna")
	w.ok(err)
	code, err := totp.GenerateCode(second.Secret.Reveal(), w.clock.Now())
	w.ok(err)
	recovery, err := w.ConfirmSecond(ctx, "anna", code)
	w.ok(err)
	secrets := []string{good, offer.Reveal(), cookie.Reveal(), token.Reveal()[len(made.Hint):], "my other password", strings.ReplaceAll(recovery[0].Reveal(), "-", ""), recovery[0].Reveal()}
	for _, name := range []string{FileName, FileName + "-wal"} {
		text, err := os.ReadFile(w.dir + "/" + name)
		w.ok(err)
		for _, secret := range secrets {
			if strings.Contains(string(text), secret) {
				t.Errorf("%s holds %q", name, secret)
			}
		}
	}
}
