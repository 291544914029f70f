// Package people has the console's pages about who may use it: the set-up link,
// the login with its second step and by a provider, giving the password again,
// one's own account, and the users. It is for package web. It promises that no
// password, code or token is shown again once it was given, that what is said of
// a wrong login does not say what was wrong with it, and that only a person who
// is logged in, never a script with a token, changes what somebody logs in with.
package people

import (
	"embed"
	"io/fs"
	"net/http"

	"github.com/backstay/backstay/internal/access"
	"github.com/backstay/backstay/internal/access/oidc"
	"github.com/backstay/backstay/internal/access/seal"
	"github.com/backstay/backstay/internal/gate"
	"github.com/backstay/backstay/internal/web/page"
)

//go:embed templates/*.html
var files embed.FS

// Options are what the pages work on.
type Options struct {
	Store *access.Store
	Gate  *gate.Gate
	OIDC  *oidc.Provider // nil: people log in with passwords only
	Label func() string  // of the button that leads to the provider; nil or "": that of the language
}

type people struct {
	o      Options
	seal   *seal.Sealer
	quiet  quiet
	routes []page.Route
}

// Pages are the pages. They are to be made once for a console.
func Pages(o Options) page.Pages {
	p := &people{o: o, seal: seal.New()}
	anyone, known := gate.Need{}, gate.Need{Role: access.Viewer}
	proved := gate.Need{Role: access.Viewer, Fresh: true}

	p.get("/setup", anyone, p.setup)
	p.post("/setup", anyone, "set up", p.setUp)
	p.get("/login", anyone, p.loginPage)
	p.post("/login", anyone, "login", p.login)
	p.post("/logout", anyone, "logout", p.logout)
	p.get("/prove", known, p.provePage)
	p.post("/prove", known, "prove", p.prove)
	p.get("/oidc/start", anyone, p.start)
	p.routes = append(p.routes, page.Route{Method: http.MethodGet, Pattern: "/oidc/callback", Need: anyone, Action: "login", Handle: p.callback})

	p.get("/account", known, p.account)
	p.post("/account/display", known, "change account", p.display)
	p.post("/account/password", proved, "change password", p.password)
	p.post("/account/second", proved, "offer second factor", p.offerSecond)
	p.post("/account/second/confirm", proved, "add second factor", p.confirmSecond)
	p.post("/account/second/drop", proved, "drop second factor", p.dropSecond)
	p.post("/account/sessions/end", known, "end sessions", p.endSessions)
	p.post("/account/tokens", proved, "add token", p.addToken)
	p.post("/account/tokens/remove", known, "remove token", p.removeToken)

	admin, change := gate.Need{Role: access.Admin}, gate.Need{Role: access.Admin, Fresh: true}
	p.get("/users", admin, p.users)
	p.post("/users", change, "add user", p.addUser)
	p.get("/users/{name}", admin, p.user)
	p.post("/users/{name}/role", change, "change role", p.userRole)
	p.post("/users/{name}/disable", change, "disable user", p.userDisable)
	p.post("/users/{name}/enable", change, "enable user", p.userEnable)
	p.post("/users/{name}/unlock", change, "unlock user", p.userUnlock)
	p.post("/users/{name}/password", change, "reset password", p.userPassword)
	p.post("/users/{name}/second/drop", change, "drop second factor", p.userSecond)
	p.post("/users/{name}/sessions/end", change, "end sessions", p.userSessions)
	p.post("/users/{name}/tokens/remove", change, "remove token", p.userToken)
	p.post("/users/{name}/remove", change, "remove user", p.userRemove)

	templates, err := fs.Sub(files, "templates")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	return page.Pages{Routes: p.routes, Templates: templates}
}

func (p *people) get(pattern string, need gate.Need, handle func(*page.Request) error) {
	p.routes = append(p.routes, page.Route{Method: http.MethodGet, Pattern: pattern, Need: need, Handle: handle})
}

func (p *people) post(pattern string, need gate.Need, action string, handle func(*page.Request) error) {
	p.routes = append(p.routes, page.Route{Method: http.MethodPost, Pattern: pattern, Need: need, Action: action, Handle: handle})
}
