package people

import (
	"net/http"
	"strings"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/web/page"
)

type usersData struct {
	*form
	Users []access.User
	Roles []access.Role
	Least int // runes of a password
}

// users lists them.
func (p *people) users(q *page.Request) error {
	return p.renderUsers(q, http.StatusOK, newForm(q))
}

func (p *people) renderUsers(q *page.Request, status int, f *form) error {
	users, err := p.o.Store.Users(q.Context())
	if err != nil {
		return err
	}
	return q.RenderStatus(status, "users.html", usersData{f, users, access.Roles(), access.PasswordRunes})
}

func (p *people) addUser(q *page.Request) error {
	f := newForm(q, "name", "role")
	name, role := q.Field("name"), f.role(q)
	q.Concerns(name)
	if name == "" {
		f.wrong(q, "name", "people.name.missing")
	}
	password := f.chosen(q)
	if f.ok() {
		user, err := p.o.Store.AddUser(q.Context(), name, role, password)
		if err == nil {
			q.Detail(string(user.Role))
			q.Say("people.user.added", user.Name)
			return q.Go("/users/{name}", user.Name)
		}
		if err := f.refused(q, err, "name", "password"); err != nil {
			return err
		}
	}
	return p.renderUsers(q, f.status, f)
}

type userData struct {
	*form
	Part     string // of the page, whose form was filled in wrong
	User     access.User
	Sessions []sessionRow
	Tokens   []access.Token
	Roles    []access.Role
	Self     bool
	Local    bool // the password and the second factor are looked after here
	Locked   bool
	Least    int
}

// user shows one.
func (p *people) user(q *page.Request) error {
	return p.renderUser(q, http.StatusOK, newForm(q), "")
}

func (p *people) renderUser(q *page.Request, status int, f *form, part string) error {
	user, err := p.o.Store.User(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	data := userData{form: f, Part: part, User: user, Roles: access.Roles(), Self: user.ID == q.Who.User.ID, Local: user.Provider == "", Least: access.PasswordRunes}
	data.Locked = user.LockedUntil != nil && user.LockedUntil.After(q.Now)
	if data.Sessions, err = p.sessions(q, user); err != nil {
		return err
	}
	if data.Tokens, err = p.o.Store.Tokens(q.Context(), user.Name); err != nil {
		return err
	}
	return q.RenderStatus(status, "user.html", data)
}

// change changes a user, or shows what keeps it from being done. Nobody takes
// their own rights by a slip of the hand.
func (p *people) change(q *page.Request, part string, others bool, done string, do func(user access.User, f *form) error) error {
	user, err := p.o.Store.User(q.Context(), q.PathValue("name"))
	if err != nil {
		return err
	}
	f := newForm(q, "role")
	if others && user.ID == q.Who.User.ID {
		f.wrong(q, "", "people.self")
	}
	if f.ok() {
		err := do(user, f)
		if err == nil && f.ok() {
			q.Say(done, user.Name)
			if part == "remove" {
				return q.Go("/users")
			}
			return q.Go("/users/{name}", user.Name)
		}
		if err := f.refused(q, err, "", "password"); err != nil {
			return err
		}
	}
	return p.renderUser(q, f.status, f, part)
}

// set is change for what ChangeUser does.
func (p *people) set(q *page.Request, part string, others bool, c access.Change, done string) error {
	return p.change(q, part, others, done, func(user access.User, _ *form) error {
		_, err := p.o.Store.ChangeUser(q.Context(), user.Name, c)
		return err
	})
}

func (p *people) userRole(q *page.Request) error {
	return p.change(q, "role", true, "people.user.changed", func(user access.User, f *form) error {
		role := f.role(q)
		if !f.ok() {
			return nil
		}
		q.Detail(string(user.Role) + " to " + string(role))
		_, err := p.o.Store.ChangeUser(q.Context(), user.Name, access.Change{Role: &role})
		return err
	})
}

func (p *people) userDisable(q *page.Request) error {
	yes := true
	return p.set(q, "disable", true, access.Change{Disabled: &yes}, "people.user.disabled")
}

func (p *people) userEnable(q *page.Request) error {
	no := false
	return p.set(q, "disable", true, access.Change{Disabled: &no}, "people.user.enabled")
}

func (p *people) userUnlock(q *page.Request) error {
	return p.set(q, "unlock", false, access.Change{Unlock: true}, "people.user.unlocked")
}

func (p *people) userSecond(q *page.Request) error {
	return p.set(q, "second", false, access.Change{DropTOTP: true}, "people.user.second")
}

func (p *people) userPassword(q *page.Request) error {
	return p.change(q, "password", false, "people.user.password", func(user access.User, f *form) error {
		password := f.chosen(q)
		if !f.ok() {
			return nil
		}
		var keep int64
		if user.ID == q.Who.User.ID {
			keep = q.Who.Session.ID
		}
		return p.o.Store.SetPassword(q.Context(), user.Name, password, keep)
	})
}

func (p *people) userSessions(q *page.Request) error {
	return p.change(q, "sessions", false, "people.sessions.ended", func(user access.User, _ *form) error {
		id, err := number(q, "session")
		if err != nil {
			return err
		}
		var keep int64
		if user.ID == q.Who.User.ID {
			keep = q.Who.Session.ID
		}
		return p.o.Store.Logout(q.Context(), user.ID, id, keep)
	})
}

func (p *people) userToken(q *page.Request) error {
	return p.removeTokenOf(q, q.PathValue("name"), "/users/{name}", q.PathValue("name"))
}

func (p *people) userRemove(q *page.Request) error {
	return p.change(q, "remove", true, "people.user.removed", func(user access.User, f *form) error {
		if !strings.EqualFold(q.Field("confirm"), user.Name) {
			f.wrong(q, "confirm", "people.user.confirm.wrong", user.Name)
			return nil
		}
		return p.o.Store.RemoveUser(q.Context(), user.Name)
	})
}
