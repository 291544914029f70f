package people

import (
	"errors"
	"net/http"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/oidc"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/text"
)

// flowCookie keeps a login at the provider in the browser that began it.
const flowCookie = "oidc"

func redirect(q *page.Request) string { return gate.External(q.Context()) + "/oidc/callback" }

// start sends the browser to the provider.
func (p *people) start(q *page.Request) error {
	if !p.o.OIDC.Configured() {
		return &core.Error{Code: core.CodeNotFound, Message: "no provider of logins is configured", Hint: "write it into console.oidc of backstay.yaml"}
	}
	var again int64
	if q.Field("again") != "" && q.Who.Session != nil {
		again = q.Who.User.ID
	}
	address, cookie, err := p.o.OIDC.Start(q.Context(), redirect(q), q.Next(), again)
	if err != nil {
		return p.astray(q, err)
	}
	gate.KeepCookie(q.ResponseWriter, q.Request, flowCookie, cookie.Reveal(), int(oidc.FlowFor/time.Second))
	q.Header().Set("Location", address)
	q.WriteHeader(http.StatusSeeOther)
	return nil
}

// callback is where the provider sends the browser back to.
func (p *people) callback(q *page.Request) error {
	if !p.o.OIDC.Configured() {
		q.Unnoted()
		return q.Go("/login")
	}
	cookie := core.NewSecret(gate.KeptCookie(q.Request, flowCookie))
	gate.KeepCookie(q.ResponseWriter, q.Request, flowCookie, "", -1)
	found, err := p.o.OIDC.Finish(q.Context(), redirect(q), cookie, q.URL.Query())
	if err != nil {
		return p.astray(q, err)
	}
	next := found.Flow.Next
	if next == "" {
		next = "/"
	}
	again := found.Flow.Again
	if again != 0 && (q.Who.Session == nil || q.Who.User.ID != again || !found.Asked.IsZero() && found.Asked.Before(found.Flow.Began.Add(-time.Minute))) {
		return p.astray(q, errStranger)
	}
	session, who, err := p.o.Store.Enter(q.Context(), found.Issuer, found.Subject, found.Name, found.Role, credentials(q, found.Name, core.Secret{}, ""), p.o.Gate.Limits())
	if err != nil {
		return p.astray(q, err)
	}
	if again != 0 && who.User.ID != again {
		if err := p.o.Store.Logout(q.Context(), who.User.ID, who.Session.ID, 0); err != nil {
			return err
		}
		return p.astray(q, errStranger)
	}
	q.Concerns(who.User.Name)
	q.Detail("by " + found.Issuer)
	return p.enter(q, session, who, next)
}

var errStranger = errors.New("the provider did not ask the person who is logged in here")

// astray shows the login page with what went wrong at the provider: people with
// a password go on from there.
func (p *people) astray(q *page.Request, err error) error {
	f := newForm(q)
	q.Concerns("somebody at the provider")
	q.Detail(err.Error())
	if !p.quiet.first("\x00provider", q.Now) {
		q.Unnoted()
	}
	switch {
	case errors.Is(err, oidc.ErrExpired):
		f.wrong(q, "", "people.oidc.late")
	case errors.Is(err, oidc.ErrNoRole):
		f.status = http.StatusForbidden
		f.wrong(q, "", "people.oidc.role")
	case errors.Is(err, oidc.ErrDeclined):
		f.wrong(q, "", "people.oidc.declined")
	case errors.Is(err, errStranger):
		f.status = http.StatusForbidden
		f.wrong(q, "", "people.oidc.stranger")
	case errors.Is(err, access.ErrNameTaken):
		f.status = http.StatusConflict
		f.wrong(q, "", "people.oidc.taken")
	case errors.Is(err, access.ErrRefused), errors.Is(err, access.ErrNobody):
		f.status = http.StatusForbidden
		f.wrong(q, "", "people.oidc.disabled")
	case errors.Is(err, access.ErrSlowDown):
		if err := f.refused(q, err, "", ""); err != nil {
			return err
		}
	case core.CodeOf(err) == core.CodeUsage:
		f.status = http.StatusForbidden
		f.wrong(q, "", "people.oidc.name")
	default:
		var known *core.Error
		if !errors.As(err, &known) || known.Code == core.CodeDisk || known.Code == core.CodeLocked {
			return err
		}
		f.status = http.StatusBadGateway
		f.wrong(q, "", "people.oidc.down")
		// What the provider says is for whoever looks after it: the audit log has it.
	}
	return p.renderLogin(q, f.status, f, "")
}

// languageOf is the language of a browser that is nobody's yet.
func languageOf(r *http.Request) *text.Language {
	tag := ""
	if c, err := r.Cookie("backstay_language"); err == nil {
		tag = c.Value
	}
	return text.Choose(tag, r.Header.Get("Accept-Language"))
}
