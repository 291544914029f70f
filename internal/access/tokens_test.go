package access

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func TestTokens(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	w.add("bob", Admin)
	secret, token, err := w.AddToken(ctx, "ANNA", "monitoring", Operator, time.Hour)
	w.ok(err)
	if len(secret.Reveal()) != tokenLength || !strings.HasPrefix(secret.Reveal(), "bst_"+token.Hint[4:]) || token.User != "anna" {
		t.Errorf("got %+v", token)
	}
	by := func() (Identity, error) { return w.ByToken(ctx, secret, home) }
	who, err := by()
	w.ok(err)
	if who.Role != Operator || who.By() != "anna (token monitoring)" || !who.Fresh(w.clock.Now()) || who.Token.Used == nil {
		t.Errorf("got %+v", who)
	}
	used := func() time.Time {
		t.Helper()
		list, err := w.Tokens(ctx, "anna")
		w.ok(err)
		return *list[0].Used
	}
	first := used()
	w.clock.pass(59 * time.Second)
	_, err = by()
	w.ok(err)
	if !used().Equal(first) {
		t.Error("its use was noted within the minute")
	}
	w.clock.pass(time.Second)
	_, err = by()
	w.ok(err)
	if !used().Equal(first.Add(time.Minute)) {
		t.Errorf("its use was noted at %s", used())
	}

	viewer, operator, yes, no := Viewer, Operator, true, false
	_, err = w.ChangeUser(ctx, "anna", Change{Role: &viewer})
	w.ok(err)
	if who, err = by(); err != nil || who.Role != Viewer {
		t.Errorf("a token has more than its user: %+v, %v", who, err)
	}
	_, _, err = w.AddToken(ctx, "anna", "more", Operator, 0)
	if core.CodeOf(err) != core.CodeUsage {
		t.Errorf("got %v", err)
	}
	_, err = w.ChangeUser(ctx, "anna", Change{Role: &operator, Disabled: &yes})
	w.ok(err)
	_, err = by()
	w.is(err, ErrNobody)
	_, err = w.ChangeUser(ctx, "anna", Change{Disabled: &no})
	w.ok(err)
	_, err = by()
	w.ok(err)
	w.clock.pass(time.Hour)
	_, err = by()
	w.is(err, ErrNobody)

	for _, wrong := range []struct {
		name    string
		role    Role
		expires time.Duration
	}{{"", Viewer, 0}, {" x", Viewer, 0}, {"a\nb", Viewer, 0}, {strings.Repeat("x", 65), Viewer, 0}, {"x", Anyone, 0}, {"x", Viewer, -1}, {"monitoring", Viewer, 0}} {
		if _, _, err := w.AddToken(ctx, "anna", wrong.name, wrong.role, wrong.expires); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%+v: got %v", wrong, err)
		}
	}
	w.is(w.RemoveToken(ctx, "bob", token.ID), ErrNoSuchItem)
	w.is(w.RemoveToken(ctx, "nobody", token.ID), ErrNoSuchUser)
	w.ok(w.RemoveToken(ctx, "anna", token.ID))
	w.is(w.RemoveToken(ctx, "", token.ID), ErrNoSuchItem)
	_, err = w.Tokens(ctx, "nobody")
	w.is(err, ErrNoSuchUser)
	secret, _, err = w.AddToken(ctx, "anna", "monitoring", Viewer, 0)
	w.ok(err)
	w.clock.pass(1000 * 24 * time.Hour)
	_, err = by()
	w.ok(err)
	w.ok(w.RemoveUser(ctx, "anna"))
	_, err = by()
	w.is(err, ErrNobody)
}

func TestWrongTokens(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	secret, _, err := w.AddToken(ctx, "anna", "t", Viewer, 0)
	w.ok(err)
	wrong := func(from netip.Addr) error {
		_, err := w.ByToken(ctx, core.NewSecret("bst_"+strings.Repeat("A", 43)), from)
		return err
	}
	for i := range addressFailures {
		if err := wrong(home); !errors.Is(err, ErrNobody) {
			t.Fatalf("the %dth: %v", i, err)
		}
	}
	w.waits(wrong(home), longestWait)
	_, err = w.ByToken(ctx, secret, home)
	w.ok(err) // a right one is right
	w.is(wrong(away), ErrNobody)
	w.in("anna", home) // logins are another thing
	w.clock.pass(longestWait)
	w.is(wrong(home), ErrNobody)
	for _, text := range []string{"", "bst_", "x", strings.Repeat("x", 10000)} {
		if _, err := w.ByToken(ctx, core.NewSecret(text), away); !errors.Is(err, ErrNobody) {
			t.Errorf("%.20q: got %v", text, err)
		}
	}
}

func TestEnter(t *testing.T) {
	w, ctx := newWorld(t), t.Context()
	w.add("anna", Admin)
	const issuer = "https://id.example"
	c := Credentials{Address: home}
	enter := func(subject, name string, role Role) (core.Secret, Identity, error) {
		return w.Enter(ctx, issuer, subject, name, role, c, Limits{})
	}
	_, _, err := enter("1", "Anna", Admin)
	w.is(err, ErrNameTaken)
	if core.HintOf(err) == "" {
		t.Error("no hint")
	}
	cookie, who, err := enter("1", "carl", Operator)
	w.ok(err)
	if who.User.Provider != issuer || who.User.Password || who.Role != Operator || !who.Fresh(w.clock.Now()) {
		t.Errorf("got %+v", who)
	}
	_, err = w.session(cookie)
	w.ok(err)
	_, _, err = w.login("carl", "", home)
	w.is(err, ErrRefused)
	_, err = w.Prove(ctx, who, creds("carl", good, home))
	w.is(err, ErrElsewhere)
	w.is(w.SetPassword(ctx, "carl", core.NewSecret(good), 0), ErrElsewhere)
	_, err = w.OfferSecond(ctx, "carl")
	w.is(err, ErrElsewhere)
	admin := Admin
	if _, err := w.ChangeUser(ctx, "carl", Change{Role: &admin}); core.CodeOf(err) != core.CodeUsage {
		t.Errorf("got %v", err)
	}

	raised, again, err := enter("1", "Carl.S", Admin)
	w.ok(err)
	if again.User.ID != who.User.ID || again.User.Name != "Carl.S" || again.Role != Admin {
		t.Errorf("got %+v", again)
	}
	_, err = w.session(cookie)
	w.ok(err)
	_, again, err = enter("1", "anna", Viewer) // a lower role, and the name of somebody else
	w.ok(err)
	if again.User.Name != "Carl.S" || again.Role != Viewer {
		t.Errorf("got %+v", again)
	}
	_, err = w.session(raised)
	w.is(err, ErrNobody)
	_, other, err := w.Enter(ctx, "https://other.example", "1", "dora", Viewer, c, Limits{})
	w.ok(err)
	if other.User.ID == who.User.ID {
		t.Error("the same subject of another issuer is the same person")
	}
	_, _, err = enter("2", "carl.s", Viewer)
	w.is(err, ErrNameTaken)
	_, _, err = enter("1", "carl", Anyone)
	w.is(err, ErrRefused)
	_, _, err = enter("3", "Jane Doe", Viewer)
	if core.CodeOf(err) != core.CodeUsage {
		t.Errorf("got %v", err)
	}
	if _, _, err = enter("", "x", Viewer); err == nil {
		t.Error("somebody without a subject came in")
	}
	yes := true
	_, err = w.ChangeUser(ctx, "carl.s", Change{Disabled: &yes})
	w.ok(err)
	_, _, err = enter("1", "carl", Admin)
	w.is(err, ErrRefused)
}
