package visit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// copyOf serves pages as a restored application would.
func copyOf(t *testing.T, pages map[string]http.HandlerFunc) *Session {
	t.Helper()
	mux := http.NewServeMux()
	for path, page := range pages {
		mux.HandleFunc(path, page)
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	client := server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s, err := New(client, server.URL, "/srv/www", map[string]string{"X-Given": "yes"})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestVisitor(t *testing.T) {
	s := copyOf(t, map[string]http.HandlerFunc{
		"GET /form": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Given") != "yes" || r.UserAgent() != agent {
				http.Error(w, "no header", http.StatusBadRequest)
			}
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "first", Secure: true, HttpOnly: true, Path: "/elsewhere"})
			http.SetCookie(w, &http.Cookie{Name: "old", Value: "x"})
			fmt.Fprint(w, `<form><input type="text" placeholder="a > b" name='user' value="x"><input TYPE=hidden name=token value="a&amp;b"><button name="login">`)
		},
		"POST /form": func(w http.ResponseWriter, r *http.Request) {
			if c, err := r.Cookie("session"); err != nil || c.Value != "first" || r.FormValue("token") != "a&b" {
				http.Error(w, "no session", http.StatusForbidden)
				return
			}
			http.SetCookie(w, &http.Cookie{Name: "old", MaxAge: -1})
			w.Header().Set("Location", "/again")
			w.WriteHeader(http.StatusTemporaryRedirect)
		},
		"POST /again": func(w http.ResponseWriter, r *http.Request) {
			http.SetCookie(w, &http.Cookie{Name: "session", Value: "second"})
			w.Header().Set("Location", "https://"+r.Host+"/inside?token="+url.QueryEscape(r.FormValue("token")))
			w.WriteHeader(http.StatusFound)
		},
		"GET /inside": func(w http.ResponseWriter, r *http.Request) {
			_, err := r.Cookie("old")
			c, sessionErr := r.Cookie("session")
			if err == nil || sessionErr != nil || r.Header.Get("X-Forwarded-Proto") != "https" {
				http.Error(w, "wrong", http.StatusForbidden)
				return
			}
			fmt.Fprintf(w, "hello &quot;%s&quot; \n %s", c.Value, r.FormValue("token"))
		},
		"GET /elsewhere": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://login.example.test/sso?secret=1", http.StatusFound)
		},
		"GET /loop": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/loop", http.StatusFound) },
	})
	page, err := s.Get(t.Context(), "/form")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(url.Values{"user": {"x"}, "token": {"a&b"}, "login": {""}}, page.Fields()); diff != "" {
		t.Error(diff)
	}
	if page.Lacks("user", "login") != "" || page.Lacks("user", "password") != "password" {
		t.Error("the fields that the page lacks")
	}
	page, err = s.Post(t.Context(), "/form", page.Hidden())
	if err != nil {
		t.Fatal(err)
	}
	if page.Path != "/inside?token=a%26b" || page.Wrong() != "" || !page.Shows(`hello "second" a&b`) || page.Shows("hello first") {
		t.Errorf("%+v", page)
	}
	if page, err = s.Get(t.Context(), "/elsewhere"); err != nil || page.Away != "login.example.test" || !strings.Contains(page.Wrong(), "login.example.test") {
		t.Errorf("%+v, %v", page, err)
	}
	if _, err = s.Get(t.Context(), "/loop"); err == nil || !strings.Contains(err.Error(), "redirects more than") {
		t.Error(err)
	}
	_, proof, err := s.Look(t.Context(), "page", "/gone", "/gone", nil)
	if err != nil || proof.Outcome != core.ProofFailed || !strings.Contains(proof.Message, "404") {
		t.Errorf("%+v, %v", proof, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err = s.Look(ctx, "page", "/form", "/form", nil); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestGone: a copy that does not answer is a proof that failed, without the
// address, whose query may be a secret.
func TestGone(t *testing.T) {
	s := copyOf(t, map[string]http.HandlerFunc{"/": func(w http.ResponseWriter, _ *http.Request) {
		c, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			_ = c.Close()
		}
	}})
	_, proof, err := s.Look(t.Context(), "page", "/x", "/x?key=hush", nil)
	if err != nil || proof.Outcome != core.ProofFailed || strings.Contains(fmt.Sprint(proof), "hush") {
		t.Errorf("%+v, %v", proof, err)
	}
}

// TestPHP: what PHP says in a page, in its forms of 5 to 8, and words that are
// none of its.
func TestPHP(t *testing.T) {
	for name, c := range map[string]struct{ body, want string }{
		"html":        {"<br />\n<b>Warning</b>:  Undefined variable $x in <b>/srv/www/agent/a.php</b> on line <b>12</b><br />", "PHP says in it: Warning in agent/a.php, line 12"},
		"text":        {"x\nFatal error: Cannot redeclare f() in /usr/share/php/x.php on line 7\n", "PHP says in it: Fatal error in x.php, line 7"},
		"exception":   {"\nFatal error: Uncaught mysqli_sql_exception: Access denied for user 'hush' in /srv/www/config.php:9\nStack trace:\n#0 /srv/www/config.php(9): mysqli_connect('hush')\n  thrown in /srv/www/config.php on line 9", "PHP says in it: Fatal error (mysqli_sql_exception) in config.php, line 9"},
		"parse":       {"PHP Parse error:  syntax error, unexpected token in /srv/www/i.php on line 1", "PHP says in it: Parse error in i.php, line 1"},
		"trace":       {"<pre>Stack trace:\n#0 {main}</pre>", "it shows a stack trace of PHP's"},
		"own words":   {"<p>Warning: do not switch off the line on line 3 of the rack</p>", ""},
		"a sentence":  {"<b>Security Warning</b>: the file should be read-only.", ""},
		"a notice":    {"<b>Notice</b>: Undefined index in <b>/srv/www/a.php</b> on line <b>3</b>", ""},
		"empty":       {" \n", "it is empty"},
		"not in code": {"\nWarning: x in ../../a.php on line 4", "PHP says in it: Warning in a.php, line 4"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &Page{Status: http.StatusOK, Body: c.body, root: "/srv/www"}
			if got := p.Wrong(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	p := &Page{Status: http.StatusOK, Body: "<b>Deprecated</b>: x in <b>/srv/www/a.php</b> on line <b>3</b>", root: "/srv/www"}
	if got := Judge("page", "/", p, nil, nil); got.Outcome != core.ProofOK || !strings.Contains(got.Message, "Deprecated in a.php, line 3") {
		t.Errorf("%+v", got)
	}
}

func FuzzPage(f *testing.F) {
	f.Add(`<input name="a" value='b'><b>Warning</b>: x in <b>y</b> on line <b>1</b>`, "b")
	f.Add("<input <input name=\"", "")
	f.Fuzz(func(t *testing.T, body, text string) {
		p := &Page{Status: http.StatusOK, Body: body, root: "/srv"}
		if fields := p.Fields(); len(fields) == 0 && p.Lacks("x") == "" {
			t.Error("a page without fields has one")
		}
		_, _, _ = p.Wrong(), p.Shows(text), p.Hidden()
	})
}
