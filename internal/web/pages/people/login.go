package people

import (
	"errors"
	"net/http"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

type setupData struct {
	*form
	Key  string
	Done bool // there are users
	Void bool // the link is not, or not any more, one that can be used
}

// setup shows the form of the set-up link.
func (p *people) setup(q *page.Request) error {
	return p.renderSetup(q, http.StatusOK, newForm(q), core.NewSecret(q.Field("key")))
}

func (p *people) renderSetup(q *page.Request, status int, f *form, key core.Secret) error {
	done, err := p.anybody(q)
	if err != nil {
		return err
	}
	data := setupData{form: f, Key: key.Reveal(), Done: done}
	if err := p.o.Store.Offered(q.Context(), key); errors.Is(err, access.ErrSetUpDone) {
		data.Void = true
	} else if err != nil {
		return err
	}
	if data.Void && status == http.StatusOK && !key.Empty() {
		status = http.StatusGone
	}
	return q.RenderStatus(status, "setup.html", data)
}

// anybody says whether there are users.
func (p *people) anybody(q *page.Request) (bool, error) {
	users, err := p.o.Store.Users(q.Context())
	return len(users) > 0, err
}

// setUp makes the first admin.
func (p *people) setUp(q *page.Request) error {
	f := newForm(q, "name")
	key := q.Secret("key")
	q.Concerns(q.Field("name"))
	if q.Field("name") == "" {
		f.wrong(q, "name", "people.name.missing")
	}
	password := f.chosen(q)
	if f.ok() {
		cookie, who, err := p.o.Store.SetUp(q.Context(), key, credentials(q, q.Field("name"), password, ""), p.o.Gate.Limits())
		switch {
		case err == nil:
			q.Say("people.setup.done", who.User.Name)
			return p.enter(q, cookie, who, "/")
		case errors.Is(err, access.ErrSetUpDone), errors.Is(err, access.ErrRefused):
			f.wrong(q, "", "people.setup.void")
			q.Detail(err.Error())
		default:
			if err := f.refused(q, err, "name", "password"); err != nil {
				return err
			}
		}
	}
	if !p.quiet.first("\x00setup", q.Now) {
		q.Unnoted()
	}
	return p.renderSetup(q, f.status, f, key)
}

type loginData struct {
	*form
	Next  string
	Pass  string // the sealed name and password, for the second step; "": the first
	OIDC  bool
	Label string
}

// pass is what the first step of a login got right.
type pass struct {
	Name     string    `json:"name"`
	Password string    `json:"password"`
	Until    time.Time `json:"until"`
}

const passPurpose = "the first step of a login"

func (p *people) loginPage(q *page.Request) error {
	if q.Who.Session != nil {
		return q.Go(q.Next())
	}
	known, err := p.anybody(q)
	if err != nil {
		return err
	}
	if !known && !p.o.OIDC.Configured() {
		return q.Go("/setup")
	}
	return p.renderLogin(q, http.StatusOK, newForm(q), "")
}

func (p *people) renderLogin(q *page.Request, status int, f *form, pass string) error {
	data := loginData{form: f, Next: q.Next(), Pass: pass, OIDC: p.o.OIDC.Configured(), Label: p.label(q)}
	return q.RenderStatus(status, "login.html", data)
}

func (p *people) label(q *page.Request) string {
	if p.o.Label != nil {
		if label := p.o.Label(); label != "" {
			return label
		}
	}
	return q.Text.T("people.oidc.button")
}

func (p *people) login(q *page.Request) error {
	f := newForm(q, "name")
	name, password, code := q.Field("name"), q.Secret("password"), q.Field("code")
	step := q.PostForm.Get("pass")
	if step != "" {
		var given pass
		if err := p.seal.Open(passPurpose, step, &given); err != nil || q.Now.After(given.Until) {
			q.Unnoted()
			f.wrong(q, "", "people.login.late")
			return p.renderLogin(q, f.status, f, "")
		}
		name, password = given.Name, core.NewSecret(given.Password)
		f.Values["name"] = name
		if code == "" {
			q.Unnoted()
			f.wrong(q, "code", "people.code.missing")
			return p.renderLogin(q, f.status, f, step)
		}
	}
	if name == "" {
		f.wrong(q, "name", "people.name.missing")
	}
	if password.Empty() {
		f.wrong(q, "password", "people.password.missing")
	}
	if !f.ok() {
		q.Unnoted()
		return p.renderLogin(q, f.status, f, "")
	}
	cookie, who, err := p.o.Store.Login(q.Context(), credentials(q, name, password, code), p.o.Gate.Limits())
	switch {
	case err == nil:
		q.Concerns(who.User.Name)
		return p.enter(q, cookie, who, q.Next())
	case errors.Is(err, access.ErrSecond) && step == "":
		// The password was right. It goes on to the second step sealed, so that it
		// is in no page and no history.
		q.Unnoted()
		sealed, err := p.seal.Close(passPurpose, pass{name, password.Reveal(), q.Now.Add(5 * time.Minute)})
		if err != nil {
			return err
		}
		return p.renderLogin(q, http.StatusOK, f, sealed)
	case step != "" && (errors.Is(err, access.ErrRefused) || errors.Is(err, access.ErrSecond)):
		p.wrongly(q, name, errors.New("the second factor is wrong"))
		f.wrong(q, "code", "people.code.wrong")
		return p.renderLogin(q, f.status, f, step)
	}
	p.wrongly(q, name, err)
	if err := f.refused(q, err, "name", "password"); err != nil {
		return err
	}
	if f.status == http.StatusTooManyRequests {
		return p.renderLogin(q, f.status, f, step)
	}
	return p.renderLogin(q, f.status, f, "")
}

// enter gives the browser a session in the place of the one that it had.
func (p *people) enter(q *page.Request, cookie core.Secret, who access.Identity, next string) error {
	if old := q.Who; old.Session != nil && who.Session != nil && old.Session.ID != who.Session.ID {
		// A role that the provider has lowered has ended it already.
		if err := p.o.Store.Logout(q.Context(), old.User.ID, old.Session.ID, 0); err != nil && !errors.Is(err, access.ErrNoSuchItem) {
			return err
		}
	}
	p.o.Gate.SetCookie(q.ResponseWriter, q.Request, cookie)
	q.Who = who
	return q.Go(next)
}

func (p *people) logout(q *page.Request) error {
	if q.Who.Session == nil {
		q.Unnoted()
	} else {
		q.Concerns(q.Who.User.Name)
		if err := p.o.Store.Logout(q.Context(), q.Who.User.ID, q.Who.Session.ID, 0); err != nil && !errors.Is(err, access.ErrNoSuchItem) {
			return err
		}
	}
	p.o.Gate.DropCookie(q.ResponseWriter, q.Request)
	q.Say("people.logout.done")
	return q.Go("/login")
}

type proveData struct {
	*form
	Next     string
	User     access.User
	Provider bool // the provider must ask
	Label    string
}

func (p *people) proveData(q *page.Request, f *form) proveData {
	user := q.Who.User
	return proveData{f, q.Next(), user, !user.Password && p.o.OIDC.Configured(), p.label(q)}
}

func (p *people) provePage(q *page.Request) error {
	return q.Render("prove.html", p.proveData(q, newForm(q)))
}

func (p *people) prove(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	f := newForm(q)
	if q.Secret("password").Empty() {
		f.wrong(q, "password", "people.password.missing")
	}
	if q.Who.User.TOTP && q.Field("code") == "" {
		f.wrong(q, "code", "people.code.missing")
	}
	if f.ok() {
		cookie, err := p.o.Store.Prove(q.Context(), q.Who, credentials(q, q.Who.User.Name, q.Secret("password"), q.Field("code")))
		if err == nil {
			p.o.Gate.SetCookie(q.ResponseWriter, q.Request, cookie)
			return q.Go(q.Next())
		}
		p.wrongly(q, q.Who.User.Name, err)
		if err := f.refused(q, err, "", "password"); err != nil {
			return err
		}
	} else {
		q.Unnoted()
	}
	return q.RenderStatus(f.status, "prove.html", p.proveData(q, f))
}

// Refuse shows why the gate lets a request not in, in the language of the
// browser. It is for gate.Options.
func Refuse(w http.ResponseWriter, r *http.Request, refusal gate.Refusal) {
	language := languageOf(r)
	if key := "gate." + refusal.Code; language.Has(key) {
		refusal.Message = language.T(key)
		if language.Has(key + ".hint") {
			refusal.Hint = language.T(key + ".hint")
		}
	}
	gate.WritePage(w, refusal, language.Tag, language.T("gate.title"))
}
