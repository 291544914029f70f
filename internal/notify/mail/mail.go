// Package mail tells people of alarms by mail. It is a destination of package
// notify. It promises that the connection is encrypted unless the configuration
// says otherwise, that the mails of one alarm form one thread, that nothing in
// an alarm can add a header or a recipient, and that one address that is
// refused does not keep the mail from the others.
package mail

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/mail"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// How a connection is protected.
const (
	StartTLS = "starttls" // begins in the clear and turns to TLS, or ends
	Implicit = "implicit" // TLS from the first byte
	NoTLS    = "none"     // never; a password then goes to this machine only
)

// How backstay says who it is.
const (
	AuthAuto  = "auto" // the best of those below that the server offers
	AuthPlain = "plain"
	AuthLogin = "login"
	AuthCRAM  = "cram"
)

// Options say which server sends the mail, and to whom.
type Options struct {
	Host     string
	Port     int    // 0: 587 for starttls, 465 for implicit, 25 for none
	TLS      string // "": starttls
	CA       string // PEM file with the authorities to trust; "": the system's
	Auth     string // "": auto
	User     string // "": the server wants nobody's name
	Password core.Secret
	From     string
	To       []string
	Timeout  time.Duration // of one delivery; 0: wire.Timeout
	Clock    core.Clock    // nil: the machine's
	// Dial connects; nil: net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Mail is a destination. It is safe for concurrent use.
type Mail struct {
	opt  Options
	from *mail.Address
	to   []*mail.Address
	tls  *tls.Config
	veil wire.Veil
}

var _ notify.Destination = (*Mail)(nil)

// New returns a destination. It connects to nobody. Errors are about options.
func New(opt Options) (*Mail, error) {
	bad := func(message, hint string) (*Mail, error) {
		return nil, &core.Error{Code: core.CodeConfig, Op: "configure mail", Message: message, Hint: hint}
	}
	if opt.TLS == "" {
		opt.TLS = StartTLS
	}
	if opt.Auth == "" {
		opt.Auth = AuthAuto
	}
	if opt.Timeout <= 0 {
		opt.Timeout = wire.Timeout
	}
	if opt.Clock == nil {
		opt.Clock = core.SystemClock{}
	}
	if opt.Dial == nil {
		opt.Dial = new(net.Dialer).DialContext
	}
	ports := map[string]int{StartTLS: 587, Implicit: 465, NoTLS: 25}
	switch {
	case opt.Host == "":
		return bad("there is no mail server", "give host:")
	case strings.ContainsAny(opt.Host, " \t\r\n/@"):
		return bad(fmt.Sprintf("%q is not the name of a mail server", opt.Host), "give host: its name or address, and the port in port:")
	case ports[opt.TLS] == 0:
		return bad(fmt.Sprintf("there is no tls %q", opt.TLS), "tls is starttls, implicit or none")
	case !slices.Contains([]string{AuthAuto, AuthPlain, AuthLogin, AuthCRAM}, opt.Auth):
		return bad(fmt.Sprintf("there is no auth %q", opt.Auth), "auth is auto, plain, login or cram")
	case opt.Port < 0 || opt.Port > 65535:
		return bad(fmt.Sprintf("there is no port %d", opt.Port), "ports go from 1 to 65535")
	case opt.User == "" && !opt.Password.Empty():
		return bad("there is a password, and no user", "give user:")
	case opt.User != "" && opt.Password.Empty():
		return bad("there is a user, and no password", "give password_file:")
	case len(opt.To) == 0:
		return bad("the mail would go to nobody", "give to: a list of addresses")
	}
	if opt.Port == 0 {
		opt.Port = ports[opt.TLS]
	}
	m := &Mail{opt: opt, veil: wire.NewVeil(opt.Password, core.NewSecret("\x00"+opt.User+"\x00"+opt.Password.Reveal()))}
	if opt.Password.Empty() {
		m.veil = wire.Veil{}
	}
	var err error
	if m.from, err = mail.ParseAddress(opt.From); err != nil {
		return bad(fmt.Sprintf("from %q is not an address", opt.From), "give from: an address such as backstay@example.org")
	}
	for _, to := range opt.To {
		address, err := mail.ParseAddress(to)
		if err != nil {
			return bad(fmt.Sprintf("to %q is not an address", to), "give to: a list of addresses such as admin@example.org")
		}
		if !slices.ContainsFunc(m.to, func(a *mail.Address) bool { return a.Address == address.Address }) {
			m.to = append(m.to, address)
		}
	}
	if m.tls, err = wire.TLSConfig(opt.CA); err != nil {
		return nil, err
	}
	m.tls.ServerName = opt.Host
	return m, nil
}

// Deliver sends one mail. The ref is the Message-ID of the alarm's first one,
// which the later ones refer to; it follows from the marker and from when the
// alarm was opened, and needs not be remembered. When the server refuses some of the recipients, the others get
// the mail with a line that names them, and the delivery counts; for a test it
// does not.
func (m *Mail) Deliver(ctx context.Context, ref string, msg notify.Message) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, m.opt.Timeout)
	defer cancel()
	first, id := m.messageIDs(msg)
	if !isMessageID(ref) {
		ref = first
	}
	refused, err := m.send(ctx, msg, ref, id)
	if err != nil {
		return "", err
	}
	if len(refused) > 0 && msg.IsTest() {
		return "", m.refusedBy(refused)
	}
	return ref, nil
}

// isMessageID says whether ref may stand in a header.
func isMessageID(ref string) bool {
	return strings.HasPrefix(ref, "<") && strings.HasSuffix(ref, ">") && strings.Contains(ref, "@") && len(ref) < 250 &&
		!strings.ContainsFunc(ref, func(r rune) bool { return r <= ' ' || r >= 0x7f })
}

// messageIDs returns the Message-ID of the alarm's first mail, and that of this
// one. The same mail has the same ID when it is sent again, so that a mailbox
// that got it although the server's answer was lost can tell.
func (m *Mail) messageIDs(msg notify.Message) (first, id string) {
	_, domain, _ := strings.Cut(m.from.Address, "@")
	at := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
		return "<backstay." + hex.EncodeToString(sum[:12]) + "@" + domain + ">"
	}
	// The marker alone is that of an earlier alarm too, whose mail a mailbox would
	// take for this one.
	first = at(msg.Marker, msg.Alarm.Opened.UTC().Format(time.RFC3339Nano))
	switch msg.Part {
	case core.AlarmOpened:
		return first, first
	case core.AlarmTest: // each is one of its own
		test := at("test", msg.Marker, m.opt.Clock.Now().UTC().Format(time.RFC3339Nano))
		return test, test
	default:
		return first, at(first, string(msg.Part), msg.Alarm.Updated.UTC().Format(time.RFC3339Nano), msg.Subject, msg.Text)
	}
}

// server returns "host:port".
func (m *Mail) server() string { return net.JoinHostPort(m.opt.Host, strconv.Itoa(m.opt.Port)) }
