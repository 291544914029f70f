package mail_test

import (
	"context"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/mail"
)

const password = "S3cret&pass word"

type fixedClock struct{ now time.Time }

func (c *fixedClock) Now() time.Time { return c.now }

func message(part core.AlarmPart) notify.Message {
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)
	return notify.Message{
		Part: part, Host: "web1", Marker: "backstay:7:web1", Subject: "helpdesk: backups fail",
		Text: "no backup since Monday\n.a line with a dot\n", HTML: "<p>no backup since <b>Monday</b></p>",
		Alarm: core.Alarm{ID: 7, App: "helpdesk", Topic: core.TopicBackup, Opened: at, Updated: at},
	}
}

func options(t *testing.T, s *server, ca string) mail.Options {
	return mail.Options{
		Host: "127.0.0.1", Port: s.port(t), CA: ca, From: "Backstay <backstay@example.org>", To: []string{"ann@example.org", "Bob <bob@example.org>"},
		Clock: &fixedClock{time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)}, Timeout: 10 * time.Second,
	}
}

func open(t *testing.T, opt mail.Options) *mail.Mail {
	t.Helper()
	m, err := mail.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func deliver(t *testing.T, m *mail.Mail, ref string, msg notify.Message) string {
	t.Helper()
	got, err := m.Deliver(t.Context(), ref, msg)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func parse(t *testing.T, r received) *netmail.Message {
	t.Helper()
	m, err := netmail.ReadMessage(strings.NewReader(r.data))
	if err != nil {
		t.Fatalf("%v in\n%s", err, r.data)
	}
	return m
}

// parts returns the decoded bodies by content type.
func parts(t *testing.T, m *netmail.Message) map[string]string {
	t.Helper()
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil {
		t.Fatal(err)
	}
	if kind != "multipart/alternative" {
		text, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil {
			t.Fatal(err)
		}
		return map[string]string{kind: string(text)}
	}
	found := map[string]string{}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		part, err := r.NextPart() // decodes quoted-printable
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(part)
		if err != nil {
			t.Fatal(err)
		}
		found[kind] = strings.ReplaceAll(string(text), "\r\n", "\n")
	}
}

// TestThread: an alarm's mails are encrypted, whole, and one thread.
func TestThread(t *testing.T) {
	s, ca := secured(t)
	s.start(t)
	m := open(t, options(t, s, ca))
	ref := deliver(t, m, "", message(core.AlarmOpened))
	if again := deliver(t, m, ref, message(core.AlarmUpdated)); again != ref {
		t.Errorf("ref changed from %s to %s", ref, again)
	}
	if lost := deliver(t, m, "", message(core.AlarmClosed)); lost != ref {
		t.Errorf("a lost ref became %s, want %s", lost, ref)
	}
	deliver(t, m, "", message(core.AlarmOpened)) // its answer was lost, and it is sent again

	got := s.mails()
	if len(got) != 4 {
		t.Fatalf("%d mails, want 4", len(got))
	}
	ids := map[string]int{}
	for i, r := range got {
		if !r.encrypted {
			t.Errorf("mail %d was not encrypted", i)
		}
		if diff := cmp.Diff([]string{"ann@example.org", "bob@example.org"}, r.to); diff != "" {
			t.Errorf("recipients (-want +got):\n%s", diff)
		}
		h := parse(t, r).Header
		ids[h.Get("Message-ID")]++
		reply := ""
		if i == 1 || i == 2 {
			reply = ref
		}
		if h.Get("In-Reply-To") != reply || h.Get("References") != reply {
			t.Errorf("mail %d replies to %q and refers to %q, want %q", i, h.Get("In-Reply-To"), h.Get("References"), reply)
		}
		if h.Get("Auto-Submitted") != "auto-generated" || h.Get("Date") != "Mon, 01 Mar 2027 12:00:00 +0000" || h.Get("X-Backstay-App") != "helpdesk" {
			t.Errorf("mail %d has headers %v", i, h)
		}
	}
	if ids[ref] != 2 || len(ids) != 3 {
		t.Errorf("message ids %v: the first is sent twice and the others have their own", ids)
	}
	want := map[string]string{"text/plain": message("").Text, "text/html": message("").HTML}
	if diff := cmp.Diff(want, parts(t, parse(t, got[0]))); diff != "" {
		t.Errorf("bodies (-want +got):\n%s", diff)
	}
}

// TestTestsAreApart: a mailbox does not take a second test for the first.
func TestTestsAreApart(t *testing.T) {
	s, ca := secured(t)
	s.start(t)
	opt := options(t, s, ca)
	clock := &fixedClock{time.Unix(1, 0)}
	opt.Clock = clock
	m := open(t, opt)
	a := deliver(t, m, "", message(core.AlarmTest))
	clock.now = clock.now.Add(time.Second)
	if b := deliver(t, m, "", message(core.AlarmTest)); a == b {
		t.Errorf("two tests have the Message-ID %s", a)
	}
}

// TestAlarmsAreApart: a mailbox does not take the mail of a new alarm for that
// of an earlier one of the same app and topic.
func TestAlarmsAreApart(t *testing.T) {
	s, ca := secured(t)
	s.start(t)
	m := open(t, options(t, s, ca))
	msg := message(core.AlarmOpened)
	a := deliver(t, m, "", msg)
	msg.Alarm.Opened = msg.Alarm.Opened.Add(time.Hour)
	if b := deliver(t, m, "", msg); a == b {
		t.Errorf("two alarms have the Message-ID %s", a)
	}
}

// TestLogin: each way to log in works, and the password never leaves where
// others could read it.
func TestLogin(t *testing.T) {
	for _, c := range []struct {
		name, tls, auth, offered, used, problem string
		host                                    string
	}{
		{name: "plain", auth: mail.AuthPlain, offered: "PLAIN LOGIN CRAM-MD5", used: "PLAIN"},
		{name: "login", auth: mail.AuthLogin, offered: "PLAIN LOGIN CRAM-MD5", used: "LOGIN"},
		{name: "cram", auth: mail.AuthCRAM, offered: "PLAIN LOGIN CRAM-MD5", used: "CRAM-MD5"},
		{name: "auto", offered: "XOAUTH2 LOGIN", used: "LOGIN"},
		{name: "implicit", tls: mail.Implicit, offered: "PLAIN", used: "PLAIN"},
		{name: "none offered", offered: "", problem: "offers no login"},
		{name: "unknown", offered: "GSSAPI", problem: "it offers GSSAPI"},
		{name: "other than wanted", auth: mail.AuthCRAM, offered: "PLAIN", problem: "not what auth: cram wants"},
		{name: "in the clear, same machine", tls: mail.NoTLS, offered: "PLAIN", used: "PLAIN"},
		{name: "in the clear, elsewhere", tls: mail.NoTLS, host: "mail.example.org", offered: "PLAIN LOGIN", problem: "would not show the password"},
		{name: "in the clear, elsewhere, wanted", tls: mail.NoTLS, host: "mail.example.org", auth: mail.AuthPlain, offered: "PLAIN LOGIN", problem: "would show the password"},
		{name: "in the clear, elsewhere, cram", tls: mail.NoTLS, host: "mail.example.org", offered: "PLAIN CRAM-MD5", used: "CRAM-MD5"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, ca := secured(t)
			s.auth, s.user, s.password = c.offered, "relay", password
			s.implicit, s.startTLS = c.tls == mail.Implicit, c.tls == ""
			s.start(t)
			opt := options(t, s, ca)
			opt.TLS, opt.Auth, opt.User, opt.Password = c.tls, c.auth, "relay", core.NewSecret(password)
			if c.host != "" {
				opt.Host = c.host
				opt.Dial = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, s.addr)
				}
			}
			_, err := open(t, opt).Deliver(t.Context(), "", message(core.AlarmOpened))
			if c.problem != "" {
				wantError(t, err, c.problem, "")
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := s.mails(); len(got) != 1 || got[0].login != c.used || got[0].encrypted == (c.tls == mail.NoTLS) {
				t.Errorf("got %v", got)
			}
		})
	}
}

// wantError checks an error's text, that there is a hint, and that no secret is
// in either.
func wantError(t *testing.T, err error, text, hint string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	if !strings.Contains(err.Error(), text) {
		t.Errorf("error %q lacks %q", err, text)
	}
	if h := core.HintOf(err); h == "" || !strings.Contains(h, hint) {
		t.Errorf("hint %q of %q lacks %q", h, err, hint)
	}
	for _, secret := range []string{password, "AHJlbGF5AF", "UzNjcmV0J", "S3cret"} {
		if strings.Contains(err.Error()+core.HintOf(err), secret) {
			t.Errorf("a secret is in %q", err)
		}
	}
}

// TestWrongPassword: a server that sends back what it was sent does not bring
// the password into the error.
func TestWrongPassword(t *testing.T) {
	for _, auth := range []string{mail.AuthPlain, mail.AuthLogin, mail.AuthCRAM} {
		s, ca := secured(t)
		s.auth, s.user, s.password = "PLAIN LOGIN CRAM-MD5", "relay", "another"
		s.start(t)
		opt := options(t, s, ca)
		opt.Auth, opt.User, opt.Password = auth, "relay", core.NewSecret(password)
		_, err := open(t, opt).Deliver(t.Context(), "", message(core.AlarmOpened))
		wantError(t, err, "535 5.7.8 bad credentials", "password")
		if len(s.mails()) != 0 {
			t.Error("the mail was sent")
		}
	}
}

// TestCertificates: no mail to a server that cannot prove who it is, and the
// error says what to do.
func TestCertificates(t *testing.T) {
	good, ca := certificate(t, "127.0.0.1", tomorrow())
	other, otherCA := certificate(t, "mail.example.org", tomorrow())
	old, oldCA := certificate(t, "127.0.0.1", time.Now().Add(-24*time.Hour))
	for _, c := range []struct {
		name, text, hint string
		server           *server
		ca               string
	}{
		{"unknown authority", "signed by nobody", "ca:", &server{behaviour: behaviour{startTLS: true, cert: good}}, ""},
		{"another's authority", "signed by nobody", "ca:", &server{behaviour: behaviour{startTLS: true, cert: good}}, otherCA},
		{"another name", "is for another name", "name", &server{behaviour: behaviour{startTLS: true, cert: other}}, otherCA},
		{"expired", "expired", "renew", &server{behaviour: behaviour{startTLS: true, cert: old}}, oldCA},
		{"no STARTTLS", "offers no STARTTLS", "implicit", &server{}, ca},
		{"STARTTLS refused", "454 not now", "tried again", &server{behaviour: behaviour{startTLS: true, cert: good, replies: map[string]string{"STARTTLS": "454 not now"}}}, ca},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.start(t)
			_, err := open(t, options(t, s, c.ca)).Deliver(t.Context(), "", message(core.AlarmOpened))
			wantError(t, err, c.text, c.hint)
			if len(s.mails()) != 0 {
				t.Error("the mail was sent")
			}
		})
	}
	t.Run("implicit to a server that speaks first", func(t *testing.T) {
		s := new(server).start(t)
		opt := options(t, s, ca)
		opt.TLS = mail.Implicit
		_, err := open(t, opt).Deliver(t.Context(), "", message(core.AlarmOpened))
		wantError(t, err, "does not speak TLS", "port")
	})
}

// TestRefusals: what the server does not take is an error with its words.
func TestRefusals(t *testing.T) {
	all := func(reply string) func(string) string { return func(string) string { return reply } }
	for _, c := range []struct {
		name, text, hint string
		server           *server
	}{
		{"all recipients for good", "ann@example.org: 550 5.1.1 no such user; bob@example.org: 550", "addresses in to:", &server{behaviour: behaviour{rcpt: all("550 5.1.1 no such user")}}},
		{"all recipients for now", "451 4.7.1 greylisted", "tried again", &server{behaviour: behaviour{rcpt: all("451 4.7.1 greylisted")}}},
		{"it goes away", "421 shutting down", "tried again", &server{behaviour: behaviour{rcpt: all("421 shutting down")}}},
		{"sender", "553 not you", "log", &server{behaviour: behaviour{replies: map[string]string{"MAIL": "553 not you"}}}},
		{"greeting", "554 go away", "log", &server{behaviour: behaviour{replies: map[string]string{"greeting": "554 go away"}}}},
		{"the mail", "552 too long", "log", &server{behaviour: behaviour{replies: map[string]string{"data": "552 too long"}}}},
		{"the mail, before it", "503 no", "log", &server{behaviour: behaviour{replies: map[string]string{"DATA": "503 no"}}}},
		{"closes before", "closed the connection without an answer", "log", &server{behaviour: behaviour{closeAt: "greeting"}}},
		{"closes after the mail", "closed the connection without an answer", "log", &server{behaviour: behaviour{closeAt: "data"}}},
		{"many lines", "do not end", "", &server{behaviour: behaviour{babblesAt: "MAIL"}}},
		{"not a mail server", "greet", "", &server{behaviour: behaviour{replies: map[string]string{"greeting": "HTTP/1.1 400 Bad Request"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := c.server.start(t)
			opt := options(t, s, "")
			opt.TLS = mail.NoTLS
			ref, err := open(t, opt).Deliver(t.Context(), "", message(core.AlarmOpened))
			if c.hint != "" {
				wantError(t, err, c.text, c.hint)
			} else if err == nil || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want %q", err, c.text)
			}
			if ref != "" {
				t.Errorf("there is a ref %q of what was not taken", ref)
			}
			if len(s.mails()) != 0 {
				t.Error("the server took the mail")
			}
		})
	}
}

// TestOneRefused: one wrong address does not keep the mail from the others, who
// read of it; a test says so.
func TestOneRefused(t *testing.T) {
	s := new(server)
	s.rcpt = func(addr string) string {
		if addr == "ann@example.org" {
			return "550 no such user"
		}
		return ""
	}
	s.start(t)
	opt := options(t, s, "")
	opt.TLS = mail.NoTLS
	m := open(t, opt)
	deliver(t, m, "", message(core.AlarmOpened))
	got := s.mails()
	if len(got) != 1 {
		t.Fatalf("%d mails", len(got))
	}
	if diff := cmp.Diff([]string{"bob@example.org"}, got[0].to); diff != "" {
		t.Errorf("recipients (-want +got):\n%s", diff)
	}
	for kind, text := range parts(t, parse(t, got[0])) {
		if !strings.Contains(text, "did not take this mail for ann@example.org") {
			t.Errorf("%s does not say who was left out: %s", kind, text)
		}
	}
	_, err := m.Deliver(t.Context(), "", message(core.AlarmTest))
	wantError(t, err, "ann@example.org: 550 no such user", "to:")
}

// TestSilence: a server that says nothing costs no more than the time that it
// is given, wherever it falls silent, and the connection is closed.
func TestSilence(t *testing.T) {
	for _, at := range []string{"greeting", "EHLO", "STARTTLS", "MAIL", "RCPT", "DATA", "data"} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			s, ca := secured(t)
			s.silentAt = at
			s.start(t)
			opt := options(t, s, ca)
			opt.Timeout = 300 * time.Millisecond
			began := time.Now()
			_, err := open(t, opt).Deliver(t.Context(), "", message(core.AlarmOpened))
			wantError(t, err, "did not answer in time", "firewall")
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			<-s.ended
		})
	}
}

// TestSilentGoodbye: a mail that was taken is delivered, whatever comes after.
func TestSilentGoodbye(t *testing.T) {
	s := (&server{behaviour: behaviour{closeAt: "QUIT"}}).start(t)
	opt := options(t, s, "")
	opt.TLS = mail.NoTLS
	deliver(t, open(t, opt), "", message(core.AlarmOpened))
	if len(s.mails()) != 1 {
		t.Error("no mail")
	}
}

// TestCancelled: the caller can stop a delivery.
func TestCancelled(t *testing.T) {
	s := (&server{behaviour: behaviour{silentAt: "MAIL"}}).start(t)
	opt := options(t, s, "")
	opt.TLS, opt.Timeout = mail.NoTLS, time.Minute
	ctx, cancel := context.WithCancel(t.Context())
	opt.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := new(net.Dialer).DialContext(ctx, network, address)
		time.AfterFunc(50*time.Millisecond, cancel)
		return conn, err
	}
	_, err := open(t, opt).Deliver(ctx, "", message(core.AlarmOpened))
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	<-s.ended
}

// TestNobodyThere: a server that is not running is an error with a hint.
func TestNobodyThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String()}
	l.Close()
	_, err = open(t, options(t, s, "")).Deliver(t.Context(), "", message(core.AlarmOpened))
	wantError(t, err, "nothing listens there", "running")
}

// TestHostileText: nothing in an alarm adds a header, a recipient or a mail.
func TestHostileText(t *testing.T) {
	s := new(server).start(t)
	opt := options(t, s, "")
	opt.TLS = mail.NoTLS
	m := open(t, opt)
	msg := message(core.AlarmOpened)
	msg.Subject = "table x\r\nBcc: eve@example.org\r\n\r\nbody ☃ \x00\x1b[31m" + strings.Repeat("long ", 500)
	msg.Host = "web1\r\nX-Evil: 1"
	msg.Alarm.App = "a\nX-Evil: 2"
	msg.Marker = "m\r\nX-Evil: 3"
	msg.Text = "first\r\n.\r\nMAIL FROM:<eve@example.org>\r\nRCPT TO:<eve@example.org>\r\nDATA\r\n" + strings.Repeat("y", 5000) + "\n\x00"
	msg.HTML = "<p>.\r\n.\r\nQUIT</p>"
	deliver(t, m, "<x@y>\r\nX-Evil: 4", func() notify.Message { u := msg; u.Part = core.AlarmUpdated; return u }())
	deliver(t, m, "", msg)
	got := s.mails()
	if len(got) != 2 {
		t.Fatalf("%d mails, want 2", len(got))
	}
	for _, r := range got {
		parsed := parse(t, r)
		for _, name := range []string{"Bcc", "X-Evil"} {
			if parsed.Header.Get(name) != "" {
				t.Errorf("there is a header %s: %s", name, parsed.Header.Get(name))
			}
		}
		if len(r.to) != 2 {
			t.Errorf("it went to %v", r.to)
		}
		subject, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
		if err != nil || !strings.HasPrefix(subject, "table x Bcc: eve@example.org body ☃ [31mlong") || len(subject) > 210 {
			t.Errorf("subject %q, %v", subject, err)
		}
		for line := range strings.SplitSeq(r.data, "\r\n") {
			if len(line) > 998 {
				t.Errorf("a line of %d bytes", len(line))
			}
		}
		if text := parts(t, parsed)["text/plain"]; !strings.HasPrefix(text, "first\n.\nMAIL FROM:") {
			t.Errorf("text %.60q", text)
		}
	}
}

// TestOptions: what cannot work is said when it is configured.
func TestOptions(t *testing.T) {
	good := mail.Options{Host: "mail.example.org", From: "a@example.org", To: []string{"b@example.org"}}
	if _, err := mail.New(good); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text   string
		change func(*mail.Options)
	}{
		{"no mail server", func(o *mail.Options) { o.Host = "" }},
		{"not the name of a mail server", func(o *mail.Options) { o.Host = "smtp://mail.example.org" }},
		{"no tls", func(o *mail.Options) { o.TLS = "yes" }},
		{"no auth", func(o *mail.Options) { o.Auth = "ntlm" }},
		{"no port", func(o *mail.Options) { o.Port = 70000 }},
		{"no user", func(o *mail.Options) { o.Password = core.NewSecret(password) }},
		{"no password", func(o *mail.Options) { o.User = "relay" }},
		{"to nobody", func(o *mail.Options) { o.To = nil }},
		{"from", func(o *mail.Options) { o.From = "" }},
		{"from", func(o *mail.Options) { o.From = "a@example.org\r\nBcc: b@example.org" }},
		{"to", func(o *mail.Options) { o.To = []string{"b@example.org", "not an address"} }},
		{"read authorities", func(o *mail.Options) { o.CA = "/nonexistent/ca.pem" }},
		{"holds no certificate", func(o *mail.Options) { o.CA = "mail_test.go" }},
	} {
		opt := good
		c.change(&opt)
		_, err := mail.New(opt)
		wantError(t, err, c.text, "")
		if core.CodeOf(err) != core.CodeConfig {
			t.Errorf("code of %q is %s", err, core.CodeOf(err))
		}
	}
}
