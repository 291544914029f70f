package proof

import (
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/visit"
)

// Site says how PHP serves a copy.
func Site(root, environment string) profile.Site {
	s := profile.Site{Settings: map[string]string{"memory_limit": "512M"}}
	for _, dir := range []string{"conf", "data", "env-" + environment, "env-" + environment + "-build", "log"} {
		s.Writable = append(s.Writable, filepath.Join(root, dir))
	}
	return s
}

// Visit asks for iTop's pages and logs in. The error is that of a cancelled
// ctx.
func Visit(ctx context.Context, client *http.Client, base string, c Copy) ([]core.Proof, error) {
	v := &visitor{prover: prover{Copy: c}}
	for _, look := range []func(context.Context) error{v.static, v.status, v.rest, v.login} {
		// iTop keeps in its session how somebody tried to log in, and takes no form
		// from who came to a service before.
		s, err := visit.New(client, base, c.Root, nil)
		if err != nil {
			return nil, err
		}
		v.session = s
		if err := look(ctx); err != nil {
			return v.out, err
		}
	}
	return v.out, nil
}

type visitor struct {
	prover
	session *visit.Session
}

func (v *visitor) has(file string) bool {
	info, err := os.Stat(filepath.Join(v.Root, filepath.FromSlash(file)))
	return err == nil && info.Mode().IsRegular()
}

// look asks for a page whose file the code has.
func (v *visitor) look(ctx context.Context, file, query string, want func(*visit.Page) string) error {
	if !v.has(file) {
		return nil // this iTop has no such page
	}
	_, proof, err := v.session.Look(ctx, Page, "/"+file, "/"+file+query, want)
	if err != nil {
		return err
	}
	v.out = append(v.out, proof)
	return nil
}

// static asks for a file that the web server delivers without iTop.
func (v *visitor) static(ctx context.Context) error {
	for _, file := range []string{"images/itop-logo-external.png", "images/itop-logo.png", "images/favicon.ico"} {
		if !v.has(file) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(v.Root, file))
		if err != nil {
			continue
		}
		return v.look(ctx, file, "", func(p *visit.Page) string {
			if p.Body != string(content) {
				return "what came is not the file"
			}
			return ""
		})
	}
	return nil
}

// status asks the page that iTop has for monitoring: it connects to the
// database and loads the data model.
func (v *visitor) status(ctx context.Context) error {
	return v.look(ctx, "webservices/status.php", "", func(p *visit.Page) string {
		var answer struct {
			Status string `json:"status"`
		}
		if err := json.Unmarshal([]byte(p.Body), &answer); err != nil || answer.Status != "RUNNING" {
			return "iTop does not say that it is running"
		}
		return ""
	})
}

// rest asks the REST service, which refuses a visitor without a login in its
// own words.
func (v *visitor) rest(ctx context.Context) error {
	return v.look(ctx, "webservices/rest.php", "?version=1.3", func(p *visit.Page) string {
		var answer struct {
			Code *int `json:"code"`
		}
		if err := json.Unmarshal([]byte(p.Body), &answer); err != nil || answer.Code == nil {
			return "the service does not answer as iTop's does"
		}
		return ""
	})
}

const start = "/pages/UI.php"

// login looks at the login form, and logs in where there is an account.
func (v *visitor) login(ctx context.Context) error {
	page, proof, err := v.session.Look(ctx, LoginForm, start, start, func(p *visit.Page) string {
		if missing := p.Lacks("auth_user", "auth_pwd", "loginop"); missing != "" {
			return "it is not iTop's login form: there is no field " + missing
		}
		return ""
	})
	if err != nil {
		return err
	}
	if page != nil && page.Away != "" {
		v.say(core.ProofSkipped, LoginForm, start, 0, "people log in at %s, which the copy cannot reach", page.Away)
		return nil
	}
	v.out = append(v.out, proof)
	account := v.Account
	switch {
	case account.User == "":
		v.say(core.ProofSkipped, Login, "", 0, "nobody logged in: no account is given for drills")
		v.hint("give the drill an account of iTop's (drill: login: in backstay.yaml)")
		return nil
	case proof.Outcome != core.ProofOK:
		v.say(core.ProofSkipped, Login, account.User, 0, "nobody logged in: the login form is not right")
		return nil
	}
	form := page.Hidden()
	form.Set("auth_user", account.User)
	form.Set("auth_pwd", account.Password.Reveal())
	form.Set("loginop", "login")
	return v.loggedIn(ctx, form)
}

// loggedIn sends the form and looks whether it opened the door.
func (v *visitor) loggedIn(ctx context.Context, form url.Values) error {
	user := v.Account.User
	page, err := v.session.Post(ctx, start, form)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	names := append([]string{user}, v.contact(ctx, user)...)
	proof := visit.Judge(Login, user, page, err, func(p *visit.Page) string {
		switch {
		case p.Lacks("auth_pwd") == "":
			return "the account did not log in: iTop shows its login form again"
		case !strings.Contains(p.Body, "logoff.php"):
			return "the account did not log in: the page has no way to log off"
		}
		for _, name := range names {
			if p.Shows(name) {
				return ""
			}
		}
		if p.Lacks("new_pwd") == "" {
			return ""
		}
		return "the page does not say who is logged in"
	})
	if proof.Outcome != core.ProofOK {
		if err == nil && page.Lacks("auth_pwd") == "" {
			proof.Hint = v.whyNot(ctx, user)
		}
		v.out = append(v.out, proof)
		return nil
	}
	proof.Message = "the account logged in, and the page shows what only it sees"
	if page.Lacks("new_pwd") == "" {
		proof.Message = "the account logged in; iTop asks it for a new password before all else"
		v.out = append(v.out, proof)
		return nil
	}
	v.out = append(v.out, proof)
	return v.counted(ctx)
}

// contact returns how iTop may call the person behind a login.
func (v *visitor) contact(ctx context.Context, user string) (names []string) {
	if v.Query == nil {
		return nil
	}
	rows, err := v.Query.Query(ctx, "SELECT c.name, p.first_name FROM "+v.table("priv_user")+" u JOIN "+v.table("contact")+" c ON c.id = u.contactid JOIN "+v.table("person")+
		" p ON p.id = c.id WHERE u.login = "+profile.Literal(user))
	if err != nil || len(rows) == 0 {
		return nil
	}
	return []string{strings.TrimSpace(profile.Text(rows[0], 1) + " " + profile.Text(rows[0], 0))}
}

// whyNot says what the database knows of an account that did not log in.
func (v *visitor) whyNot(ctx context.Context, user string) string {
	if v.Query == nil {
		return ""
	}
	rows, err := v.Query.Query(ctx, "SELECT status, finalclass FROM "+v.table("priv_user")+" WHERE login = "+profile.Literal(user))
	switch {
	case err != nil:
		return ""
	case len(rows) == 0:
		return "the backup has no user of this login: correct drill: login: in backstay.yaml"
	case profile.Text(rows[0], 0) != "enabled":
		return "the user is disabled in the backup"
	case profile.Text(rows[0], 1) != "UserLocal":
		return "the user's password is kept elsewhere (" + profile.Text(rows[0], 1) + "): take a user of class UserLocal for drills"
	}
	return "the password is not the one that the user had when the backup was made: correct drill: login: in backstay.yaml"
}

// counted compares a number that iTop tells the account with the database's.
// Others than administrators see some organizations only.
func (v *visitor) counted(ctx context.Context) error {
	const file = "webservices/export-v2.php"
	if v.Query == nil || !v.has(file) || v.Partly {
		return nil
	}
	all, err := v.count(ctx, "SELECT COUNT(*) FROM "+v.table("organization"))
	if err != nil {
		return nil //nolint:nilerr // a data model without organizations
	}
	admin, err := v.count(ctx, "SELECT COUNT(*) FROM "+v.table("priv_user")+" u JOIN "+v.table("priv_urp_userprofile")+" p ON p.userid = u.id LEFT JOIN "+v.table("priv_urp_userorg")+
		" o ON o.userid = u.id WHERE o.id IS NULL AND p.profileid = "+administrators+" AND u.login = "+profile.Literal(v.Account.User))
	if err != nil {
		admin = 0
	}
	page, err := v.session.Get(ctx, "/"+file+"?expression=SELECT+Organization&format=csv&fields=id")
	if ctx.Err() != nil {
		return ctx.Err()
	}
	told := int64(-1)
	proof := visit.Judge(Page, "/"+file, page, err, func(p *visit.Page) string {
		if p.Type != "text/csv" {
			if admin == 0 {
				return ""
			}
			return "no list came"
		}
		r := csv.NewReader(strings.NewReader(p.Body))
		lines, err := r.ReadAll()
		if err != nil || len(lines) == 0 {
			return "what came is no list"
		}
		told = int64(len(lines)) - 1
		if admin > 0 && told != all || told > all {
			return fmt.Sprintf("iTop lists %d organizations, and the database has %d", told, all)
		}
		return ""
	})
	if proof.Outcome == core.ProofOK {
		switch {
		case told < 0:
			return nil // the account may not export
		case admin > 0:
			proof.Message = fmt.Sprintf("iTop lists %d organizations to the account, as the database has", told)
		default:
			proof.Message = fmt.Sprintf("iTop lists %d of the database's %d organizations to the account", told, all)
		}
		proof.Count = told
	}
	v.out = append(v.out, proof)
	return nil
}
