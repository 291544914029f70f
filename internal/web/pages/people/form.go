package people

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

// form is a form as it is shown again: never with the passwords that were typed.
type form struct {
	Values   map[string]string
	Problems []page.Problem
	Note     string // of the program, in English; "": none
	status   int
}

func newForm(q *page.Request, names ...string) *form {
	f := &form{Values: map[string]string{}, status: http.StatusUnprocessableEntity}
	for _, name := range names {
		f.Values[name] = q.Field(name)
	}
	return f
}

// Value is what was typed into a field.
func (f *form) Value(name string) string { return f.Values[name] }

// Wrong is what is wrong with a field; "": nothing.
func (f *form) Wrong(name string) string {
	for _, p := range f.Problems {
		if p.Field == name {
			return p.Text
		}
	}
	return ""
}

func (f *form) wrong(q *page.Request, field, key string, args ...any) {
	f.Problems = append(f.Problems, page.Problem{Field: field, Text: q.Text.T(key, args...)})
}

// refused adds what is wrong by an error of package access, and returns errors
// that the person cannot mend by typing something else.
func (f *form) refused(q *page.Request, err error, name, password string) error {
	var wait *access.RetryAfter
	switch {
	case err == nil:
	case errors.As(err, &wait):
		f.status = http.StatusTooManyRequests
		q.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(wait.Wait.Seconds())))))
		f.wrong(q, "", "people.slow", q.Text.Duration(wait.Wait.Round(time.Second)))
	case errors.Is(err, access.ErrSlowDown):
		f.status = http.StatusTooManyRequests
		q.Header().Set("Retry-After", "60")
		f.wrong(q, "", "people.slow", q.Text.Duration(time.Minute))
	case errors.Is(err, access.ErrNameTaken):
		f.wrong(q, name, "people.taken")
	case errors.Is(err, access.ErrWeak):
		f.wrong(q, password, "people.weak", access.PasswordRunes)
		f.Note = note(err)
	case errors.Is(err, access.ErrLastAdmin):
		f.wrong(q, "", "people.last")
	case errors.Is(err, access.ErrRefused):
		f.wrong(q, "", "people.refused")
	case errors.Is(err, access.ErrElsewhere):
		f.wrong(q, "", "people.elsewhere")
	case errors.Is(err, access.ErrSecond):
		f.wrong(q, "code", "people.code.wrong")
	case core.CodeOf(err) == core.CodeUsage:
		f.wrong(q, name, "people.name.wrong")
		f.Note = note(err)
	default:
		return err
	}
	return nil
}

func note(err error) string {
	text := err.Error()
	if hint := core.HintOf(err); hint != "" {
		text += ": " + hint
	}
	return text
}

// chosen reads a new password that was typed twice.
func (f *form) chosen(q *page.Request) core.Secret {
	password := q.Secret("password")
	switch {
	case password.Empty():
		f.wrong(q, "password", "people.password.missing")
	case password != q.Secret("again"):
		f.wrong(q, "again", "people.password.differs")
	}
	return password
}

// role reads a role that people can have.
func (f *form) role(q *page.Request) access.Role {
	for _, r := range access.Roles() {
		if string(r) == q.Field("role") {
			return r
		}
	}
	f.wrong(q, "role", "people.role.wrong")
	return access.Anyone
}

func (f *form) ok() bool { return len(f.Problems) == 0 }

func credentials(q *page.Request, name string, password core.Secret, code string) access.Credentials {
	agent := q.UserAgent()
	if runes := []rune(agent); len(runes) > 200 {
		agent = string(runes[:200])
	}
	return access.Credentials{Name: name, Password: password, Code: code, Address: gate.Address(q.Context()), Agent: agent}
}

// quiet keeps wrong logins from filling the audit log: one a name and minute.
type quiet struct {
	mu   sync.Mutex
	last map[string]time.Time
}

// most is how many names are remembered.
const most = 1000

// first says whether a wrong login of name is the first within a minute.
func (k *quiet) first(name string, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.last == nil {
		k.last = map[string]time.Time{}
	}
	if at, known := k.last[name]; known && now.Sub(at) < time.Minute && !now.Before(at) {
		return false
	}
	if len(k.last) >= most {
		for old, at := range k.last {
			if now.Sub(at) >= time.Minute || now.Before(at) {
				delete(k.last, old)
			}
		}
		if len(k.last) >= most {
			return false
		}
	}
	k.last[name] = now
	return true
}

// wrongly notes a wrong login, without what may be a password typed into the
// field for the name.
func (p *people) wrongly(q *page.Request, name string, reason error) {
	user, err := p.o.Store.User(q.Context(), name)
	object := "somebody unknown"
	if err == nil {
		object = user.Name
	}
	q.Concerns(object)
	q.Detail(reason.Error())
	if !p.quiet.first(object, q.Now) {
		q.Unnoted()
	}
}
