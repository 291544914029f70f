package wire_test

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/wire"
)

const token = "T0k3n-of-the-Path"

func post(t *testing.T, address string, timeout time.Duration, ca string) (wire.Answer, error) {
	t.Helper()
	secret := core.NewSecret(address)
	u, err := wire.ParseURL("test", secret)
	if err != nil {
		t.Fatal(err)
	}
	client, err := wire.Client(ca)
	if err != nil {
		t.Fatal(err)
	}
	return wire.Post(t.Context(), client, u, http.Header{}, []byte("hello"), timeout, wire.VeilURL(secret))
}

func wantError(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q lacks %q", err, text)
	}
	if all := err.Error() + core.HintOf(err); strings.Contains(all, token) || strings.ContainsAny(all, "\n\x1b") {
		t.Errorf("a secret or a control character is in %q", all)
	}
}

// TestAnswers: only an answer that takes the message is one.
func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name   string
		status int
		kind   string
		body   string
		text   string // "": it is taken
	}{
		{"empty", 204, "", "", ""},
		{"text", 200, "text/plain", "ok", ""},
		{"json", 201, "application/json", `{"ok":true,"success":"True","error":null,"errors":[]}`, ""},
		{"a page", 200, "text/html", "<html>error</html>", ""},
		{"a list", 200, "application/json", `[{"ok":false}]`, ""},
		{"ok is false", 200, "application/json", `{"ok":false}`, "it answered 200 OK, and in it: ok is false"},
		{"success is text", 200, "text/html", `{"success":"False","message":"no such client"}`, "no such client"},
		{"error", 200, "application/json", `{"error":"invalid_token"}`, "invalid_token"},
		{"error with parts", 200, "application/json", `{"error":{"code":3}}`, `{"code":3}`},
		{"errors", 200, "application/json", `{"errors":["a","b"]}`, `["a","b"]`},
		{"it repeats the address", 400, "text/plain", "no such path /hook/" + token + "\x1b[2J", "it answered 400 Bad Request: no such path"},
		{"forbidden", 403, "application/json", `{"message":"` + token + `"}`, "403 Forbidden"},
		{"down", 503, "text/html", "<h1>maintenance</h1>", "it answered 503 Service Unavailable"},
		{"unknown", 299, "text/plain", "", ""},
		{"too long", 200, "text/plain", strings.Repeat("x", 1<<20+1), "longer than 1048576 bytes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if body, err := io.ReadAll(r.Body); err != nil || string(body) != "hello" || r.Method != http.MethodPost {
					t.Errorf("got %s %q, %v", r.Method, body, err)
				}
				if c.kind != "" {
					w.Header().Set("Content-Type", c.kind)
				}
				w.WriteHeader(c.status)
				io.WriteString(w, c.body)
			}))
			defer srv.Close()
			answer, err := post(t, srv.URL+"/hook/"+token, 0, "")
			if c.text != "" {
				wantError(t, err, c.text)
				if core.HintOf(err) == "" {
					t.Errorf("%q has no hint", err)
				}
				return
			}
			if err != nil || answer.Status != c.status || string(answer.Body) != c.body {
				t.Errorf("got %v, %v", answer, err)
			}
		})
	}
}

// TestRedirects: none is followed, not even to the same host.
func TestRedirects(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		mux := http.NewServeMux()
		mux.HandleFunc("/hook", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/login?next="+token, status)
		})
		mux.HandleFunc("/login", func(http.ResponseWriter, *http.Request) { t.Error("it was followed") })
		srv := httptest.NewServer(mux)
		_, err := post(t, srv.URL+"/hook", 0, "")
		wantError(t, err, "which leads to "+srv.URL)
		srv.Close()
	}
}

// TestFaults: what goes wrong on the way is an error in words, in time.
func TestFaults(t *testing.T) {
	serve := func(t *testing.T, handle func(net.Conn)) string {
		t.Helper()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go handle(conn)
			}
		}()
		return "http://" + l.Addr().String() + "/hook/" + token
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	// asked reads a request: an answer that comes before one is another fault.
	asked := func(conn net.Conn) {
		var b []byte
		for one := make([]byte, 100); !strings.HasSuffix(string(b), "hello"); {
			n, err := conn.Read(one)
			if err != nil {
				return
			}
			b = append(b, one[:n]...)
		}
	}
	silent := func(conn net.Conn) { io.Copy(io.Discard, conn); conn.Close() }
	for _, c := range []struct{ name, address, text, hint string }{
		{"nobody", "http://" + gone.Addr().String() + "/" + token, "nothing listens there", "running"},
		{"no such host", "http://nowhere.invalid/" + token, "nowhere.invalid", "name server"},
		{"silence", serve(t, silent), "did not answer in time", "firewall"},
		{"silence in the answer", serve(t, func(conn net.Conn) {
			asked(conn)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":")
			silent(conn)
		}), "did not answer in time", "firewall"},
		{"closed", serve(t, func(conn net.Conn) { asked(conn); conn.Close() }), "closed the connection", "log"},
		{"cut short", serve(t, func(conn net.Conn) {
			asked(conn)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"ok\":tr")
			conn.Close()
		}), "closed the connection", "log"},
		{"not HTTP", serve(t, func(conn net.Conn) { asked(conn); io.WriteString(conn, "220 mail ESMTP\r\n"); silent(conn) }), "malformed HTTP", ""},
		{"not TLS", "https" + strings.TrimPrefix(serve(t, func(conn net.Conn) { io.WriteString(conn, "220 mail ESMTP\r\n"); silent(conn) }), "http"), "does not speak TLS", "port"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := post(t, c.address, 500*time.Millisecond, "")
			wantError(t, err, c.text)
			if !strings.Contains(core.HintOf(err), c.hint) {
				t.Errorf("hint %q lacks %q", core.HintOf(err), c.hint)
			}
		})
	}
	t.Run("stopped", func(t *testing.T) {
		t.Parallel()
		u, _ := url.Parse(serve(t, silent))
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		_, err := wire.Post(ctx, http.DefaultClient, u, nil, nil, time.Minute, wire.Veil{})
		if core.CodeOf(err) != core.CodeCancelled {
			t.Errorf("got %v", err)
		}
	})
}

// TestAuthorities: a server is trusted for the configured authority only.
func TestAuthorities(t *testing.T) {
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	srv.Config.ErrorLog = nil
	srv.StartTLS()
	defer srv.Close()
	_, err := post(t, srv.URL, 0, "")
	wantError(t, err, "signed by nobody")
	ca := filepath.Join(t.TempDir(), "ca.pem")
	text := "-----BEGIN CERTIFICATE-----\n" + base64.StdEncoding.EncodeToString(srv.Certificate().Raw) + "\n-----END CERTIFICATE-----\n"
	if err := os.WriteFile(ca, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := post(t, srv.URL, 0, ca); err != nil {
		t.Error(err)
	}
	_, port, _ := net.SplitHostPort(srv.Listener.Addr().String())
	_, err = post(t, "https://localhost:"+port, 0, ca)
	wantError(t, err, "is for another name")
}

// TestVeil: a secret is covered in each form in which it may come back.
func TestVeil(t *testing.T) {
	cases := []struct{ address, text, want string }{
		{"slack://hook:WNA3PBYV6-F20DUQND3RQ-Webc4MAvoacrpPakR8phF0zi@webhook", "post https://hooks.slack.com/services/WNA3PBYV6/F20DUQND3RQ/Webc4MAvoacrpPakR8phF0zi: bad", "post https://hooks.slack.com/… bad"},
		{"slack://hook:WNA3PBYV6-F20DUQND3RQ-Webc4MAvoacrpPakR8phF0zi@webhook", "token webc4mavoacrppakr8phf0zi is wrong", "token ***** is wrong"},
		{"telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@ops", "bot110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw", "bot*****"},
		{"gotify://push.example.org/AzyoeNS.D4iJLVa", "token=AzyoeNS.D4iJLVa on push.example.org", "token=*****.***** on push.example.org"},
		{"pushbullet://o.abcdefabcdefabcdefabcdefabcdefab", "no o.ABCDEFabcdefabcdefabcdefabcdefab", "no o.*****"},
		{"https://u:p%40ss+w@host.example.org/x", "Basic dTpwQHNzK3c= and p@ss+w and p%40ss%2Bw", "Basic ***** and ***** and *****"},
		{"https://host.example.org/hc/9a3f1b52-0c4e-4b8e-8f2e-0d9d6a7f1c11?key=abcd1234", "9a3f1b52-0c4e-4b8e-8f2e-0d9d6a7f1c11 with abcd1234", "***** with *****"},
		{"http://127.0.0.1:1/\x7fsecretsecret", "secretsecret", "*****"},
	}
	for _, c := range cases {
		got := wire.VeilURL(core.NewSecret(c.address)).Cover(c.text)
		if got != c.want {
			t.Errorf("got  %s\nwant %s", got, c.want)
		}
	}
	latin := "p\xe4ssw\xf6rd"
	if got := wire.NewVeil(core.NewSecret(latin)).Cover("no " + latin + " here"); got != "no ***** here" {
		t.Errorf("a password that is no UTF-8: %q", got)
	}
	if got := (wire.Veil{}).Cover("get https://u:p@host/path?q=1\nnow"); got != "get https://host/… now" {
		t.Errorf("got %s", got)
	}
}

// FuzzShorten: what is left fits, is text, and begins and ends as it did.
func FuzzShorten(f *testing.F) {
	for _, s := range []string{"", "short", strings.Repeat("é", 100), strings.Repeat("名前🔐", 50) + " do this"} {
		f.Add(s, 40)
	}
	f.Fuzz(func(t *testing.T, text string, n int) {
		if n < 40 || n > 10000 {
			return
		}
		got := wire.Shorten(text, n)
		if len(got) > n {
			t.Errorf("%d bytes, want at most %d", len(got), n)
		}
		if utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("%q is no text", got)
		}
		if len(text) <= n && got != text {
			t.Errorf("it fits and was changed to %q", got)
		}
	})
}
