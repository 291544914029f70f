package mail_test

import (
	"mime"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify/notifytest"
)

// TestConformance: mail keeps what every destination promises.
func TestConformance(t *testing.T) {
	notifytest.Run(t, func(t *testing.T) notifytest.Harness {
		s, ca := secured(t)
		s.auth, s.user, s.password = "PLAIN", "relay", password
		s.start(t)
		opt := options(t, s, ca)
		opt.User, opt.Password = "relay", core.NewSecret(password)
		reply := func(command, text string) func() {
			return func() { s.become(func(b *behaviour) { b.replies = map[string]string{command: text} }) }
		}
		return notifytest.Harness{
			Destination: open(t, opt),
			Taken: func() []string {
				var texts []string
				for _, r := range s.mails() {
					texts = append(texts, readable(t, r))
				}
				return texts
			},
			Faults: map[string]func(){
				"refuses the sender":      reply("MAIL", "550 5.7.1 not you"),
				"refuses the recipients":  reply("RCPT", "550 no such user"),
				"wants them later":        reply("RCPT", "451 greylisted"),
				"refuses the mail":        reply("data", "554 spam "+strings.Repeat("x", 3000)),
				"is full":                 reply("MAIL", "452 insufficient system storage"),
				"breaks off":              func() { s.become(func(b *behaviour) { b.closeAt = "data" }) },
				"has another password":    func() { s.become(func(b *behaviour) { b.password = "another" }) },
				"has lost its TLS":        func() { s.become(func(b *behaviour) { b.startTLS = false }) },
				"is gone":                 func() { s.listen.Close() },
				"is no mail server":       reply("greeting", "HTTP/1.1 400 Bad Request\n\n\x1b[2J"),
				"has another certificate": func() { s.become(func(b *behaviour) { b.cert, _ = certificate(t, "x.example.org", tomorrow()) }) },
			},
			Hang:    func() { s.become(func(b *behaviour) { b.silentAt = "greeting" }) },
			Secrets: []string{password, "AHJlbGF5AF"},
		}
	})
}

// readable returns a mail as it is shown, with the header as it was sent.
func readable(t *testing.T, r received) string {
	t.Helper()
	m := parse(t, r)
	head, _, _ := strings.Cut(r.data, "\r\n\r\n")
	subject, err := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
	if err != nil {
		t.Fatal(err)
	}
	all := []string{strings.ReplaceAll(head, "\r\n", "\n"), subject}
	bodies := parts(t, m)
	return strings.Join(append(all, bodies["text/plain"], bodies["text/html"]), "\n\n")
}
