package access

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func TestWaitsGrow(t *testing.T) {
	for _, name := range []string{"anna", "nobody"} {
		w := newWorld(t)
		w.add("anna", Admin)
		wrong := func(i int) error {
			// From anywhere: the name is what counts.
			_, _, err := w.login(strings.ToUpper(name), "wrong password", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
			return err
		}
		for i := range freeFailures {
			w.is(wrong(i), ErrRefused)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900} {
			want *= time.Second
			w.waits(wrong(100+i), want)
			w.clock.pass(want - 1)
			w.waits(wrong(100+i), 1) // what comes too soon does not prolong it
			w.clock.pass(1)
			w.is(wrong(100+i), ErrRefused)
		}
		w.clock.pass(longestWait)
		if name == "nobody" {
			continue
		}
		u, err := w.User(t.Context(), name)
		w.ok(err)
		if u.LockedUntil != nil {
			t.Errorf("locked until %s", u.LockedUntil)
		}
		w.in(name, home) // the wait is over, and resets it
		for i := range freeFailures {
			w.is(wrong(i), ErrRefused)
		}
		u, err = w.User(t.Context(), name)
		w.ok(err)
		if u.LockedUntil == nil || !u.LockedUntil.Equal(w.clock.Now().Add(time.Second)) {
			t.Errorf("locked until %v", u.LockedUntil)
		}
	}
}

func TestRightPasswordDuringAWait(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	for range freeFailures {
		_, _, err := w.login("anna", "wrong password", away)
		w.is(err, ErrRefused)
	}
	_, _, err := w.login("anna", good, home)
	w.waits(err, time.Second)
	// A restart and another process know it; the commands end it.
	other := w.another()
	_, _, err = other.Login(ctx, creds("anna", good, home), Limits{})
	w.waits(err, time.Second)
	_, err = other.ChangeUser(ctx, "anna", Change{Unlock: true})
	w.ok(err)
	w.in("anna", home)
}

// Who keeps a name waiting keeps neither a session out, nor the person from
// logging in from where they were before.
func TestNobodyIsLockedOutForGood(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	cookie, _ := w.in("anna", home)
	for range 30 { // hours of guessing, as fast as it is allowed
		_, _, err := w.login("anna", "wrong password", away)
		var retry *RetryAfter
		if errors.As(err, &retry) {
			if retry.Wait > longestWait {
				t.Fatalf("a wait of %s", retry.Wait)
			}
			w.clock.pass(retry.Wait)
		}
		_, err = w.session(cookie)
		w.ok(err)
	}
	_, _, err := w.login("anna", "wrong password", away)
	w.is(err, ErrRefused)
	_, _, err = w.login("anna", good, away)
	w.waits(err, longestWait)
	again, who := w.in("anna", home) // their own address
	for range 12 {
		_, _, _ = w.login("anna", "wrong password", away)
	}
	_, err = w.session(again)
	w.ok(err)
	c := creds("anna", good, away)
	if _, err = w.Prove(ctx, who, c); err != nil {
		t.Errorf("the proof within the session: %v", err)
	}
	// At their own address waits are counted too.
	w.clock.pass(time.Hour)
	for range freeFailures {
		_, _, err = w.login("anna", "wrong password", home)
		w.is(err, ErrRefused)
	}
	_, _, err = w.login("anna", good, home)
	w.waits(err, time.Second)
	w.ok(w.SetPassword(ctx, "anna", core.NewSecret("another four words"), 0))
	_, _, err = w.login("anna", "another four words", home)
	w.ok(err)
}

func TestAddressLimit(t *testing.T) {
	for _, pair := range [][2]string{{"192.0.2.7", "::ffff:192.0.2.7"}, {"2001:db8:1:2::1", "2001:db8:1:2:ffff::9"}} {
		w := newWorld(t)
		w.add("anna", Admin)
		one, same := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
		for i := range addressFailures {
			_, _, err := w.login(fmt.Sprintf("user%d", i), "wrong password", []netip.Addr{one, same}[i%2])
			w.is(err, ErrRefused)
			w.clock.pass(time.Second)
		}
		_, _, err := w.login("anna", good, same)
		w.waits(err, longestWait-addressFailures*time.Second)
		w.in("anna", netip.MustParseAddr("2001:db8:1:3::1"))
		w.clock.pass(longestWait - addressFailures*time.Second)
		w.in("anna", one)
	}
	// Logins that succeed are not counted.
	w := newWorld(t)
	w.add("anna", Admin)
	for range addressFailures + 5 {
		w.in("anna", home)
	}
}

// Many at once are counted before the first is known to be wrong.
func TestManyAtOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	stores := []*Store{w.Store, w.another()}
	errs := make([]error, 40)
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			_, _, errs[i] = stores[i%2].Login(ctx, creds("anna", "wrong password", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)})), Limits{})
		})
	}
	all.Wait()
	tried := 0
	for _, err := range errs {
		switch {
		case errors.Is(err, ErrRefused):
			tried++
		case !errors.Is(err, ErrSlowDown):
			t.Errorf("got %v", err)
		}
	}
	if tried != freeFailures {
		t.Errorf("%d passwords were tried, not %d", tried, freeFailures)
	}
}

// The right password without the second factor does not reset the count, so
// that codes cannot be guessed between.
func TestGuessingCodes(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	_, err := w.pool.ExecContext(ctx, "UPDATE users SET totp = 'JBSWY3DPEHPK3PXP'")
	w.ok(err)
	wrong := creds("anna", good, away)
	wrong.Code = "00000x"
	for range freeFailures {
		_, _, err := w.login("anna", good, away)
		w.is(err, ErrSecond)
		_, _, err = w.Login(ctx, wrong, Limits{})
		w.is(err, ErrCode)
	}
	_, _, err = w.login("anna", good, away)
	w.waits(err, time.Second)
}

func TestStrangersDoNotFillTheDatabase(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.most = 20
	_, _, err := w.login("anna", "wrong password", home)
	w.is(err, ErrRefused)
	for i := range 60 {
		w.clock.pass(time.Second)
		_, _, err := w.login(fmt.Sprintf("user%d", i), "wrong password", netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
		w.is(err, ErrRefused)
	}
	var strangers, known int
	w.ok(w.pool.QueryRowContext(ctx, "SELECT count(*) FILTER (WHERE user = 0), count(*) FILTER (WHERE user <> 0) FROM attempts").Scan(&strangers, &known))
	if strangers != 20 || known != 1 {
		t.Errorf("%d rows of strangers and %d of users", strangers, known)
	}
	w.clock.pass(forgetFailures + time.Hour)
	w.in("anna", home)
	w.ok(w.pool.QueryRowContext(ctx, "SELECT count(*) FROM attempts WHERE name <> x''").Scan(&known))
	if known != 0 {
		t.Errorf("%d rows are never forgotten", known)
	}
}

func TestClockThatWasWrong(t *testing.T) {
	w := newWorld(t)
	w.add("anna", Admin)
	w.clock.pass(1000 * time.Hour)
	for range freeFailures {
		_, _, err := w.login("anna", "wrong password", away)
		w.is(err, ErrRefused)
	}
	cookie, _ := func() (core.Secret, Identity) { w.clock.pass(time.Second); return w.in("anna", away) }()
	for range freeFailures {
		_, _, err := w.login("anna", "wrong password", home)
		w.is(err, ErrRefused)
	}
	w.clock.pass(-1000 * time.Hour)
	_, err := w.session(cookie)
	w.is(err, ErrNobody) // begun in the future
	w.in("anna", home)
	proved := Identity{Session: &Session{Proved: w.clock.Now().Add(time.Hour)}}
	if proved.Fresh(w.clock.Now()) {
		t.Error("a proof of the future is fresh")
	}
}

func TestSessions(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	limits := Limits{Idle: 10 * time.Minute, Absolute: time.Hour}
	cookie, who, err := w.Login(ctx, creds("anna", good, netip.MustParseAddr("::ffff:192.0.2.1")), limits)
	w.ok(err)
	if len(cookie.Reveal()) != 43 || who.Session.Address != "192.0.2.1" || !who.Session.Ends.Equal(w.clock.Now().Add(time.Hour)) || who.By() != "anna" {
		t.Errorf("got %+v", who.Session)
	}
	by := func() (Identity, error) { return w.BySession(ctx, cookie, limits) }
	seen := func() time.Time {
		t.Helper()
		list, err := w.Sessions(ctx, who.User.ID)
		w.ok(err)
		if len(list) != 1 {
			t.Fatalf("%d sessions", len(list))
		}
		return list[0].Seen
	}
	began := seen()
	w.clock.pass(59 * time.Second)
	_, err = by()
	w.ok(err)
	if !seen().Equal(began) {
		t.Error("seen was noted within the minute")
	}
	w.clock.pass(time.Second)
	_, err = by()
	w.ok(err)
	if !seen().Equal(began.Add(time.Minute)) {
		t.Errorf("seen is %s", seen())
	}
	for range 5 { // kept up, to the absolute end
		w.clock.pass(9 * time.Minute)
		_, err = by()
		w.ok(err)
	}
	_, err = w.BySession(ctx, cookie, Limits{Idle: 10 * time.Minute, Absolute: 30 * time.Minute})
	w.is(err, ErrNobody) // the setting is another now
	w.clock.pass(14 * time.Minute)
	_, err = by()
	w.is(err, ErrNobody)
	cookie, _, err = w.Login(ctx, creds("anna", good, home), limits)
	w.ok(err)
	w.clock.pass(10*time.Minute - 1)
	_, err = by()
	w.ok(err)
	w.clock.pass(10 * time.Minute)
	_, err = by()
	w.is(err, ErrNobody)
	list, err := w.Sessions(ctx, who.User.ID)
	w.ok(err)
	if len(list) != 0 {
		t.Errorf("%d sessions are listed that are over", len(list))
	}
	for _, text := range []string{"", "x", strings.Repeat("A", 43)} {
		_, err := w.session(core.NewSecret(text))
		w.is(err, ErrNobody)
	}
	// Defaults.
	cookie, who = w.in("anna", home)
	if !who.Session.Ends.Equal(w.clock.Now().Add(12 * time.Hour)) {
		t.Errorf("it ends at %s", who.Session.Ends)
	}
	w.clock.pass(30 * time.Minute)
	_, err = w.session(cookie)
	w.is(err, ErrNobody)
}

func TestSessionsEndAtOnce(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("root", Admin)
	viewer, operator, yes, no := Viewer, Operator, true, false
	for name, end := range map[string]func(u User) error{
		"lowered":  func(u User) error { _, err := w.ChangeUser(ctx, u.Name, Change{Role: &viewer}); return err },
		"disabled": func(u User) error { _, err := w.ChangeUser(ctx, u.Name, Change{Disabled: &yes}); return err },
		"removed":  func(u User) error { return w.RemoveUser(ctx, u.Name) },
		"password": func(u User) error { return w.SetPassword(ctx, u.Name, core.NewSecret("another four words"), 0) },
		"out":      func(u User) error { return w.Logout(ctx, u.ID, 0, 0) },
	} {
		u := w.add(name, Operator)
		cookie, who := w.in(name, home)
		other := w.another()
		_, err := other.BySession(ctx, cookie, Limits{})
		w.ok(err)
		w.ok(end(u))
		if _, err := other.BySession(ctx, cookie, Limits{}); !errors.Is(err, ErrNobody) {
			t.Errorf("%s: got %v", name, err)
		}
		if _, err := w.Prove(ctx, who, creds(name, good, home)); !errors.Is(err, ErrNobody) {
			t.Errorf("%s: got %v", name, err)
		}
		if name == "disabled" {
			_, _, err := w.login(name, good, home)
			w.is(err, ErrRefused)
			_, err = w.ChangeUser(ctx, name, Change{Disabled: &no})
			w.ok(err)
			if _, err := w.session(cookie); !errors.Is(err, ErrNobody) {
				t.Error("the old session is back")
			}
		}
	}
	// Raised: it goes on, with what the user may now.
	w.add("up", Viewer)
	cookie, _ := w.in("up", home)
	_, err := w.ChangeUser(ctx, "up", Change{Role: &operator})
	w.ok(err)
	who, err := w.session(cookie)
	w.ok(err)
	if who.Role != Operator {
		t.Errorf("got %+v", who)
	}
}

func TestLogout(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.add("bob", Viewer)
	first, a := w.in("anna", home)
	second, b := w.in("anna", home)
	_, c := w.in("bob", home)
	w.is(w.Logout(ctx, c.User.ID, a.Session.ID, 0), ErrNoSuchItem) // another's
	w.ok(w.SetPassword(ctx, "anna", core.NewSecret("another four words"), b.Session.ID))
	_, err := w.session(first)
	w.is(err, ErrNobody)
	_, err = w.session(second)
	w.ok(err)
	w.ok(w.Logout(ctx, b.User.ID, b.Session.ID, 0))
	_, err = w.session(second)
	w.is(err, ErrNobody)
	for range maxSessions + 3 {
		w.clock.pass(time.Second)
		w.in("bob", home)
	}
	list, err := w.Sessions(ctx, c.User.ID)
	w.ok(err)
	if len(list) != maxSessions {
		t.Errorf("%d sessions", len(list))
	}
}

func TestProve(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	cookie, _ := w.in("anna", home)
	w.clock.pass(FreshFor)
	who, err := w.session(cookie)
	w.ok(err)
	if who.Fresh(w.clock.Now()) {
		t.Error("it is still fresh")
	}
	_, err = w.Prove(ctx, who, creds("", "wrong password", home))
	w.is(err, ErrRefused)
	next, err := w.Prove(ctx, who, creds("", good, home))
	w.ok(err)
	_, err = w.session(cookie)
	w.is(err, ErrNobody)
	again, err := w.session(next)
	w.ok(err)
	if !again.Fresh(w.clock.Now()) || again.Session.ID != who.Session.ID || !again.Session.Ends.Equal(who.Session.Ends) {
		t.Errorf("got %+v", again.Session)
	}
	for range freeFailures {
		_, err = w.Prove(ctx, again, creds("", "wrong password", home))
		w.is(err, ErrRefused)
	}
	_, err = w.Prove(ctx, again, creds("", good, home))
	w.waits(err, time.Second)
	_, err = w.Prove(ctx, Identity{User: again.User}, creds("", good, home))
	w.is(err, ErrNobody)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err = w.Prove(cancelled, again, creds("", good, home)); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
}
