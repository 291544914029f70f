package people

import (
	"encoding/base64"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
	"github.com/backstay/backstay/internal/web/text"
)

type accountData struct {
	*form
	Part      string // of the page, whose form was filled in wrong
	User      access.User
	Sessions  []sessionRow
	Tokens    []access.Token
	Roles     []access.Role // that a token can have
	Languages []*text.Language
	Zones     []string
	Local     bool // the password and the second factor are looked after here
	Least     int  // runes of a password
}

type sessionRow struct {
	access.Session
	Ends time.Time
	Own  bool // the one that asks
}

// account shows what somebody can change about themselves.
func (p *people) account(q *page.Request) error {
	return p.renderAccount(q, http.StatusOK, newForm(q), "")
}

func (p *people) renderAccount(q *page.Request, status int, f *form, part string) error {
	user := q.Who.User
	data := accountData{form: f, Part: part, User: user, Languages: text.Languages(), Zones: zones(), Local: user.Provider == "", Least: access.PasswordRunes}
	var err error
	if data.Sessions, err = p.sessions(q, user); err != nil {
		return err
	}
	if data.Tokens, err = p.o.Store.Tokens(q.Context(), user.Name); err != nil {
		return err
	}
	for _, r := range access.Roles() {
		if q.Who.Role.May(r) {
			data.Roles = append(data.Roles, r)
		}
	}
	return q.RenderStatus(status, "account.html", data)
}

func (p *people) sessions(q *page.Request, user access.User) ([]sessionRow, error) {
	list, err := p.o.Store.Sessions(q.Context(), user.ID)
	if err != nil {
		return nil, err
	}
	rows := make([]sessionRow, 0, len(list))
	for _, s := range list {
		rows = append(rows, sessionRow{s, p.o.Gate.Ends(s), q.Who.Session != nil && q.Who.Session.ID == s.ID})
	}
	return rows, nil
}

// display changes the language, the theme and the zone.
func (p *people) display(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	f := newForm(q, "language", "theme", "zone")
	language, theme, zone := q.Field("language"), q.Field("theme"), q.Field("zone")
	if language != "" && !slices.ContainsFunc(text.Languages(), func(l *text.Language) bool { return l.Tag == language }) {
		f.wrong(q, "language", "people.language.wrong")
	}
	if theme != "" && theme != "light" && theme != "dark" {
		f.wrong(q, "theme", "people.theme.wrong")
	}
	if zone != "" {
		if _, err := time.LoadLocation(zone); err != nil || zone == "Local" || len(zone) > 64 {
			f.wrong(q, "zone", "people.zone.wrong")
		}
	}
	if !f.ok() {
		return p.renderAccount(q, f.status, f, "display")
	}
	if _, err := p.o.Store.ChangeUser(q.Context(), q.Who.User.Name, access.Change{Language: &language, Theme: &theme, Zone: &zone}); err != nil {
		return err
	}
	q.Say("people.saved")
	return q.Go("/account")
}

// password changes one's own.
func (p *people) password(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	f := newForm(q)
	password := f.chosen(q)
	if f.ok() {
		err := p.o.Store.SetPassword(q.Context(), q.Who.User.Name, password, q.Who.Session.ID)
		if err == nil {
			q.Say("people.password.done")
			return q.Go("/account")
		}
		if err := f.refused(q, err, "", "password"); err != nil {
			return err
		}
	}
	return p.renderAccount(q, f.status, f, "password")
}

type secondData struct {
	*form
	Picture template.URL // empty: it was shown already
	Secret  string
	Codes   []string // recovery codes, once it is in use
}

func (p *people) offerSecond(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	offered, err := p.o.Store.OfferSecond(q.Context(), q.Who.User.Name)
	if err != nil {
		return err
	}
	// The picture was made here, of nothing but letters and digits.
	picture := template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(offered.PNG))
	return q.Render("second.html", secondData{form: newForm(q), Picture: picture, Secret: offered.Secret.Reveal()})
}

func (p *people) confirmSecond(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	f := newForm(q)
	codes, err := p.o.Store.ConfirmSecond(q.Context(), q.Who.User.Name, q.Field("code"))
	switch {
	case errors.Is(err, access.ErrNoSuchItem):
		q.Unnoted()
		q.Warn("people.second.late")
		return q.Go("/account")
	case err != nil:
		if err := f.refused(q, err, "", ""); err != nil {
			return err
		}
		return q.RenderStatus(f.status, "second.html", secondData{form: f})
	}
	data := secondData{form: f}
	for _, c := range codes {
		data.Codes = append(data.Codes, c.Reveal())
	}
	return q.Render("second.html", data)
}

func (p *people) dropSecond(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	if _, err := p.o.Store.ChangeUser(q.Context(), q.Who.User.Name, access.Change{DropTOTP: true}); err != nil {
		return err
	}
	q.Say("people.second.dropped")
	return q.Go("/account")
}

// endSessions ends one of one's own sessions, or all others.
func (p *people) endSessions(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	id, err := number(q, "session")
	if err != nil {
		return missed(q, err)
	}
	if err := p.o.Store.Logout(q.Context(), q.Who.User.ID, id, q.Who.Session.ID); err != nil {
		return missed(q, err)
	}
	if id == q.Who.Session.ID {
		p.o.Gate.DropCookie(q.ResponseWriter, q.Request)
		return q.Go("/login")
	}
	q.Say("people.sessions.ended")
	return q.Go("/account")
}

// missed keeps out of the audit log what was asked about a session or token that
// there is not: nothing was done, and anybody can ask for any number.
func missed(q *page.Request, err error) error {
	if errors.Is(err, access.ErrNoSuchItem) {
		q.Unnoted()
	}
	return err
}

// number is a field with the number of a session or token; 0 when it is missing.
func number(q *page.Request, field string) (int64, error) {
	given := q.Field(field)
	if given == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(given, 10, 64)
	if err != nil || n <= 0 {
		return 0, access.ErrNoSuchItem
	}
	return n, nil
}

type tokenData struct {
	Token  access.Token
	Secret string
	URL    string
}

// addToken makes a token and shows it, this once.
func (p *people) addToken(q *page.Request) error {
	q.Concerns(q.Who.User.Name)
	f := newForm(q, "token", "role", "days")
	name, role := q.Field("token"), f.role(q)
	if name == "" {
		f.wrong(q, "token", "people.token.name.missing")
	}
	if role != access.Anyone && !q.Who.Role.May(role) {
		return gate.ErrForbidden
	}
	days, err := strconv.Atoi(q.Field("days"))
	if q.Field("days") == "" {
		days, err = 0, nil
	}
	if err != nil || days < 0 || days > 3650 {
		f.wrong(q, "days", "people.token.days.wrong")
	}
	if f.ok() {
		secret, token, err := p.o.Store.AddToken(q.Context(), q.Who.User.Name, name, role, time.Duration(days)*24*time.Hour)
		if err == nil {
			q.Detail(token.Name + " (" + string(token.Role) + ")")
			return q.Render("token.html", tokenData{token, secret.Reveal(), gate.External(q.Context())})
		}
		if errors.Is(err, access.ErrNameTaken) {
			f.wrong(q, "token", "people.token.taken")
		} else if err := f.refused(q, err, "token", ""); err != nil {
			return err
		}
	}
	return p.renderAccount(q, f.status, f, "token")
}

func (p *people) removeToken(q *page.Request) error {
	return p.removeTokenOf(q, q.Who.User.Name, "/account")
}

func (p *people) removeTokenOf(q *page.Request, user string, next string, values ...string) error {
	q.Concerns(user)
	id, err := number(q, "token")
	if err != nil {
		return missed(q, err)
	}
	if id == 0 {
		return missed(q, access.ErrNoSuchItem)
	}
	if err := p.o.Store.RemoveToken(q.Context(), user, id); err != nil {
		return missed(q, err)
	}
	q.Say("people.token.removed")
	return q.Go(next, values...)
}

// zones are those that are offered; every other can be typed.
func zones() []string {
	return []string{
		"UTC", "Africa/Cairo", "Africa/Casablanca", "Africa/Johannesburg", "Africa/Lagos", "Africa/Nairobi", "Africa/Tunis",
		"America/Bogota", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Mexico_City", "America/Montreal", "America/New_York",
		"America/Sao_Paulo", "America/Toronto", "Asia/Bangkok", "Asia/Dubai", "Asia/Hong_Kong", "Asia/Jakarta", "Asia/Kolkata", "Asia/Seoul",
		"Asia/Shanghai", "Asia/Singapore", "Asia/Tokyo", "Australia/Melbourne", "Australia/Perth", "Australia/Sydney", "Europe/Amsterdam", "Europe/Athens",
		"Europe/Berlin", "Europe/Brussels", "Europe/Bucharest", "Europe/Copenhagen", "Europe/Dublin", "Europe/Helsinki", "Europe/Istanbul",
		"Europe/Kyiv", "Europe/Lisbon", "Europe/London", "Europe/Luxembourg", "Europe/Madrid", "Europe/Moscow", "Europe/Oslo", "Europe/Paris", "Europe/Prague",
		"Europe/Rome", "Europe/Stockholm", "Europe/Vienna", "Europe/Warsaw", "Europe/Zurich", "Indian/Reunion", "Pacific/Auckland", "Pacific/Noumea",
	}
}
