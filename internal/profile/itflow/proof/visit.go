package proof

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/visit"
)

// Site says how PHP serves a copy.
func Site(root string) profile.Site {
	return profile.Site{Settings: map[string]string{"memory_limit": "512M"}, Writable: []string{filepath.Join(root, "uploads")}}
}

// Visit asks for ITFlow's pages and logs in. The error is that of a cancelled
// ctx.
func Visit(ctx context.Context, client *http.Client, base string, c Copy) ([]core.Proof, error) {
	// What a proxy that speaks https says: without it, ITFlow lets nobody log in
	// unless $config_https_only is off.
	s, err := visit.New(client, base, c.Root, map[string]string{"X-Forwarded-Proto": "https"})
	if err != nil {
		return nil, err
	}
	v := &visitor{prover: &prover{Copy: c}, session: s}
	if err := v.readColumns(ctx); err != nil {
		return v.out, err
	}
	for _, look := range []func(context.Context) error{v.static, v.guest, v.login} {
		if err := look(ctx); err != nil {
			return v.out, err
		}
	}
	return v.out, nil
}

type visitor struct {
	*prover
	session *visit.Session
}

func (v *visitor) there(file string) bool {
	info, err := os.Stat(filepath.Join(v.Root, filepath.FromSlash(file)))
	return err == nil && info.Mode().IsRegular()
}

func (v *visitor) look(ctx context.Context, path string, want func(*visit.Page) string) error {
	_, proof, err := v.session.Look(ctx, Page, path, path, want)
	if err != nil {
		return err
	}
	v.out = append(v.out, proof)
	return nil
}

// static asks for a file that the web server delivers without ITFlow.
func (v *visitor) static(ctx context.Context) error {
	for _, file := range []string{"css/itflow_custom.css", "libs/adminlte/css/adminlte.min.css", "dist/css/adminlte.min.css", "favicon.ico"} {
		if !v.there(file) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(v.Root, filepath.FromSlash(file)))
		if err != nil {
			continue
		}
		return v.look(ctx, "/"+file, func(p *visit.Page) string {
			if p.Body != string(content) {
				return "what came is not the file"
			}
			return ""
		})
	}
	return nil
}

// guest asks for pages for people without a login.
func (v *visitor) guest(ctx context.Context) error {
	for _, file := range []string{"guest/guest_view_ticket.php", "guest_view_ticket.php"} {
		if v.there(file) {
			return v.look(ctx, "/"+file, func(p *visit.Page) string {
				if !strings.Contains(p.Body, "<html") {
					return "it is not the page for guests" + unreachable(p)
				}
				return ""
			})
		}
	}
	return nil
}

// unreachable says whether ITFlow could not reach its database, in its own
// words (config.php).
func unreachable(p *visit.Page) string {
	if strings.Contains(p.Body, "Database Connection Failed") {
		return ": ITFlow does not reach its database"
	}
	return ""
}

const door = "/login.php"

// person is what the database knows of the drill's account.
type person struct {
	id, name, contact string
	client            bool // and no agent
	second            bool // has a second factor
	key               bool // agents log in with a link that holds a key
	known             bool
}

// login looks at the login form, and logs in where there is an account.
func (v *visitor) login(ctx context.Context) error {
	page, proof, err := v.session.Look(ctx, LoginForm, door, door, func(p *visit.Page) string {
		if missing := p.Lacks("email", "password", "login"); missing != "" {
			return "it is not ITFlow's login form: there is no field " + missing + unreachable(p)
		}
		return ""
	})
	if err != nil {
		return err
	}
	v.out = append(v.out, proof)
	account := v.Account
	switch {
	case account.User == "":
		v.say(core.ProofSkipped, Login, "", 0, "nobody logged in: no account is given for drills")
		v.hint("give the drill an account of ITFlow's (drill: login: in backstay.yaml)")
		return nil
	case proof.Outcome != core.ProofOK:
		v.say(core.ProofSkipped, Login, account.User, 0, "nobody logged in: the login form is not right")
		return nil
	}
	who, err := v.person(ctx)
	if err != nil {
		return err
	}
	if who.key && !who.client {
		v.say(core.ProofSkipped, Login, account.User, 0, "nobody logged in: agents of this ITFlow log in with a link that holds a key (config_login_key_required), which a drill does not use")
		return nil
	}
	form := page.Hidden()
	form.Set("email", account.User)
	form.Set("password", account.Password.Reveal())
	form.Set("login", "")
	page, err = v.session.Post(ctx, door, form)
	if err == nil && page.Lacks("role_choice") == "" { // an agent and a client at once
		form = page.Hidden()
		form.Set("role_choice", "agent")
		page, err = v.session.Post(ctx, door, form)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return v.loggedIn(ctx, who, page, err)
}

// person asks the copy's database for the account. What it does not know is
// left out.
func (v *visitor) person(ctx context.Context) (person, error) {
	var who person
	if v.Query == nil || !v.has("users", "user_id", "user_email", "user_name") {
		return who, nil
	}
	column := func(name, otherwise string) string {
		if v.has("users", name) {
			return name
		}
		return otherwise
	}
	// Agents first.
	rows, err := v.Query.Query(ctx, "SELECT user_id, user_name, "+column("user_type", "1")+", COALESCE("+column("user_token", "''")+", '') FROM users WHERE user_email = "+profile.Literal(v.Account.User)+
		" AND "+column("user_archived_at", "NULL")+" IS NULL ORDER BY 3, 1 LIMIT 1")
	if err != nil || len(rows) == 0 {
		return who, ctx.Err()
	}
	r := rows[0]
	who = person{id: profile.Text(r, 0), name: profile.Text(r, 1), client: profile.Text(r, 2) == "2", second: profile.Text(r, 3) != "", known: true}
	if v.has("contacts", "contact_user_id", "contact_name") {
		if rows, err = v.Query.Query(ctx, "SELECT contact_name FROM contacts WHERE contact_user_id = "+profile.Literal(who.id)+" LIMIT 1"); err == nil && len(rows) > 0 {
			who.contact = profile.Text(rows[0], 0)
		}
	}
	if v.has("settings", "config_login_key_required") {
		n, err := v.count(ctx, "SELECT COUNT(*) FROM settings WHERE company_id = 1 AND config_login_key_required <> 0")
		who.key = err == nil && n > 0
	}
	return who, ctx.Err()
}

// loggedIn looks whether the form opened the door.
func (v *visitor) loggedIn(ctx context.Context, who person, page *visit.Page, err error) error {
	user := v.Account.User
	if err == nil {
		wrongPassword := page.Status == http.StatusUnauthorized || page.Status == http.StatusOK && page.Lacks("email", "password") == ""
		switch {
		case page.Wrong() == "" && page.Lacks("current_code") == "":
			v.say(core.ProofSkipped, Login, user, 1, "the password is right, and ITFlow asks for the second factor, which a drill does not have")
			v.hint("give the drill an account without a second factor (drill: login: in backstay.yaml)")
			return nil
		case wrongPassword && page.Away == "":
			v.say(core.ProofFailed, Login, user, 1, "the account did not log in: ITFlow says that user or password are wrong")
			switch {
			case v.Query != nil && !who.known:
				v.hint("the backup has no active user of this e-mail address: correct drill: login: in backstay.yaml")
			default:
				v.hint("the password is not the one that the user had when the backup was made, or the user may not log in: correct drill: login: in backstay.yaml")
			}
			return nil
		}
	}
	proof := visit.Judge(Login, user, page, err, func(p *visit.Page) string {
		if !strings.Contains(p.Body, "logout") {
			if strings.Contains(p.Path, "mfa_enforcement") {
				return ""
			}
			return "the account did not log in: the page has no way to log out" + unreachable(p)
		}
		if who.known && !p.Shows(who.name) && !p.Shows(who.contact) {
			return "the page does not say who is logged in"
		}
		return ""
	})
	if proof.Outcome == core.ProofOK {
		proof.Message = "the account logged in, and the page shows what only it sees"
		if strings.Contains(page.Path, "mfa_enforcement") {
			proof.Message = "the account logged in; ITFlow asks it to set up a second factor before all else"
		}
	}
	v.out = append(v.out, proof)
	if proof.Outcome != core.ProofOK || who.client || strings.Contains(page.Path, "mfa_enforcement") {
		return nil
	}
	return v.counted(ctx, who)
}

// total is what ITFlow writes under a list (includes/filter_footer.php).
var total = regexp.MustCompile(`of\s*<strong>\s*(\d{1,18})\s*</strong>\s*records`)

// counted compares the number of clients that ITFlow tells the account with the
// database's. Others than administrators may see some only.
func (v *visitor) counted(ctx context.Context, who person) error {
	file := ""
	for _, f := range []string{"agent/clients.php", "clients.php"} {
		if file == "" && v.there(f) {
			file = f
		}
	}
	if file == "" || v.Query == nil || v.Partly || !v.has("clients", "client_archived_at", "client_lead") {
		return nil
	}
	all, err := v.count(ctx, "SELECT COUNT(*) FROM clients WHERE client_archived_at IS NULL AND client_lead = 0")
	if err != nil {
		return ctx.Err()
	}
	admin := false
	if v.has("user_roles", "role_is_admin") && v.has("users", "user_role_id") {
		n, err := v.count(ctx, "SELECT COUNT(*) FROM users JOIN user_roles ON role_id = user_role_id WHERE role_is_admin = 1 AND user_id = "+profile.Literal(who.id))
		admin = err == nil && n > 0
	}
	told := int64(-1)
	page, err := v.session.Get(ctx, "/"+file)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	proof := visit.Judge(Page, "/"+file, page, err, func(p *visit.Page) string {
		m := total.FindStringSubmatch(p.Body)
		if m == nil {
			return "" // no list, or a list of another form
		}
		n, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			return ""
		}
		told = n
		if admin && told != all || told > all {
			return fmt.Sprintf("ITFlow shows %d clients, and the database has %d", told, all)
		}
		return ""
	})
	if proof.Outcome == core.ProofOK && told >= 0 {
		proof.Count = told
		if admin {
			proof.Message = fmt.Sprintf("ITFlow shows the account %d clients, as the database has", told)
		} else {
			proof.Message = fmt.Sprintf("ITFlow shows the account %d of the database's %d clients", told, all)
		}
	}
	v.out = append(v.out, proof)
	return nil
}
