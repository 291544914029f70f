package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"strings"

	"github.com/wneessen/go-mail/smtp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// refusal is what the server said of one recipient.
type refusal struct {
	address string
	reply   *textproto.Error
}

// send connects and sends msg to those whom the server takes it for. It returns
// those whom it does not, and an error when it takes it for nobody. It speaks
// SMTP itself in place of the library's client: that one sends to nobody when
// one address is refused, leaves connections open, and does not end with ctx.
func (m *Mail) send(ctx context.Context, msg notify.Message, ref, id string) (refused []refusal, err error) {
	conn, err := m.opt.Dial(ctx, "tcp", m.server())
	if err != nil {
		return nil, m.failure(ctx, "connect to", err)
	}
	defer func() { _ = conn.Close() }() // what counts was answered before
	conn = &bounded{Conn: conn, left: repliesLimit}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	client, err := m.begin(ctx, conn)
	if err != nil {
		return nil, err
	}
	if err := client.Mail(angled(m.from.Address)); err != nil {
		return nil, m.failure(ctx, "name the sender to", err)
	}
	for _, to := range m.to {
		err := client.Rcpt(angled(to.Address))
		var reply *textproto.Error
		switch {
		case err == nil:
		case errors.As(err, &reply) && reply.Code != 421: // 421: the server goes away
			refused = append(refused, refusal{to.Address, reply})
		default:
			return nil, m.failure(ctx, "name the recipients to", err)
		}
	}
	if len(refused) == len(m.to) {
		return nil, m.refusedBy(refused)
	}
	text, err := m.compose(msg, ref, id, refused)
	if err != nil {
		return nil, m.failure(ctx, "write mail for", err)
	}
	data, err := client.Data()
	if err != nil {
		return nil, m.failure(ctx, "send mail to", err)
	}
	if _, err := data.Write(text); err != nil {
		return nil, m.failure(ctx, "send mail to", err)
	}
	if err := data.Close(); err != nil { // reads the server's word for it
		return nil, m.failure(ctx, "send mail to", err)
	}
	_ = client.Quit() // the server has the mail; how it says goodbye is nothing to us
	return refused, nil
}

// repliesLimit is how much a server may say in one delivery. Its replies are
// lines, and a few kilobytes.
const repliesLimit = 1 << 20

// bounded is a connection that ends when it has been read too much from.
type bounded struct {
	net.Conn
	left int
}

// Read reads until the limit.
func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("its replies do not end")
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// begin greets the server, encrypts and authenticates.
func (m *Mail) begin(ctx context.Context, conn net.Conn) (*smtp.Client, error) {
	if m.opt.TLS == Implicit {
		secure := tls.Client(conn, m.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, m.failure(ctx, "encrypt the connection to", err)
		}
		conn = secure
	}
	client, err := smtp.NewClient(conn, m.opt.Host)
	if err != nil {
		return nil, m.failure(ctx, "greet", err)
	}
	client.SkipSMTPUTF8(m.plainASCII())
	if err := client.Hello(helloName()); err != nil {
		return nil, m.failure(ctx, "greet", err)
	}
	if m.opt.TLS == StartTLS {
		if offered, _ := client.Extension("STARTTLS"); !offered {
			return nil, m.problem("encrypt the connection to", "it offers no STARTTLS",
				"where it wants TLS from the start, set tls: implicit; where it is on this machine, or the network is trusted, tls: none")
		}
		if err := client.StartTLS(m.tls); err != nil {
			return nil, m.failure(ctx, "encrypt the connection to", err)
		}
	}
	if m.opt.User == "" {
		return client, nil
	}
	auth, err := m.auth(client)
	if err != nil {
		return nil, err
	}
	if err := client.Auth(auth); err != nil {
		return nil, m.failure(ctx, "log in to", err)
	}
	return client, nil
}

// auth chooses how to log in: never so that the password could be read on the
// way to another machine.
func (m *Mail) auth(client *smtp.Client) (smtp.Auth, error) {
	const op = "log in to"
	_, line := client.Extension("AUTH")
	offered := map[string]bool{}
	for name := range strings.FieldsSeq(strings.ToUpper(line)) {
		offered[name] = true
	}
	open := m.opt.TLS == NoTLS && !loopback(m.opt.Host)
	ways := []struct {
		name, mechanism string
		readable        bool
		auth            func() smtp.Auth
	}{
		{AuthPlain, "PLAIN", true, func() smtp.Auth {
			return smtp.PlainAuth("", m.opt.User, m.opt.Password.Reveal(), m.opt.Host, !open)
		}},
		{AuthLogin, "LOGIN", true, func() smtp.Auth {
			return smtp.LoginAuth(m.opt.User, m.opt.Password.Reveal(), m.opt.Host, !open)
		}},
		{AuthCRAM, "CRAM-MD5", false, func() smtp.Auth { return smtp.CRAMMD5Auth(m.opt.User, m.opt.Password.Reveal()) }},
	}
	for _, way := range ways {
		if m.opt.Auth == way.name && way.readable && open {
			return nil, m.problem(op, fmt.Sprintf("auth %s without TLS would show the password to the network", way.name), "set tls: starttls or implicit")
		}
		if offered[way.mechanism] && (m.opt.Auth == way.name || m.opt.Auth == AuthAuto && !(way.readable && open)) {
			return way.auth(), nil
		}
	}
	switch {
	case len(offered) == 0:
		return nil, m.problem(op, "it offers no login", "leave out user: and the password, or use the port where users send mail: 587 or 465")
	case m.opt.Auth == AuthAuto && open:
		return nil, m.problem(op, "without TLS it offers no login that would not show the password to the network", "set tls: starttls or implicit")
	default:
		return nil, m.problem(op, fmt.Sprintf("it offers %s, and not what auth: %s wants", m.veil.Cover(line), m.opt.Auth), "backstay knows plain, login and cram")
	}
}

// failure returns err, which ended what was done (op, "send mail to"), with the
// server's own words where it said any.
func (m *Mail) failure(ctx context.Context, op string, err error) error {
	var reply *textproto.Error
	if ctx.Err() != nil || !errors.As(err, &reply) {
		return wire.Failure(ctx, op+" "+m.server(), err, m.veil)
	}
	hint := "the mail server's log says more"
	switch {
	case reply.Code == 535 || reply.Code == 534 || reply.Code == 530:
		hint = "look at user: and the password; some servers want one that is made for programs"
	case reply.Code/100 == 4:
		hint = "the mail server cannot take it now; it is tried again"
	}
	return m.problem(op, "it answered "+m.said(reply), hint)
}

func (m *Mail) problem(op, message, hint string) error {
	return &core.Error{Code: core.CodeFailed, Op: op + " " + m.server(), Message: message, Hint: hint}
}

// refusedBy is the error for recipients that were refused.
func (m *Mail) refusedBy(refused []refusal) error {
	var said []string
	for i, r := range refused {
		if i == 5 {
			said = append(said, fmt.Sprintf("and %d more", len(refused)-i))
			break
		}
		said = append(said, fmt.Sprintf("%s: %s", r.address, m.said(r.reply)))
	}
	hint := "look at the addresses in to:, and whether the server sends mail on for this user and machine"
	if refused[0].reply.Code/100 == 4 {
		hint = "the mail server cannot take it now; it is tried again"
	}
	return m.problem("name the recipients to", "it refuses "+strings.Join(said, "; "), hint)
}

// said returns a server's reply in one line, without secrets: some repeat what
// they were sent.
func (m *Mail) said(reply *textproto.Error) string {
	return oneLine(m.veil.Cover(fmt.Sprintf("%d %s", reply.Code, reply.Msg)), 200)
}

func list(refused []refusal) string {
	var names []string
	for _, r := range refused {
		names = append(names, r.address)
	}
	return core.Some(names, 10)
}

// angled returns an address as MAIL FROM and RCPT TO take it.
func angled(address string) string { return (&mail.Address{Address: address}).String() }

// plainASCII says whether the mail needs no server that knows SMTPUTF8.
func (m *Mail) plainASCII() bool {
	for _, a := range append([]*mail.Address{m.from}, m.to...) {
		for i := range len(a.Address) {
			if a.Address[i] >= 0x80 {
				return false
			}
		}
	}
	return true
}

// helloName is what this machine calls itself. Servers on the way ask for a
// name without odd signs, and for little else.
func helloName() string {
	name, err := os.Hostname()
	if err != nil || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return "localhost"
	}
	return name
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
