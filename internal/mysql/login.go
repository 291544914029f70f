package mysql

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
)

// The connection phase of the protocol:
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_connection_phase.html
// https://mariadb.com/kb/en/connection/

// Capabilities that a client and a server agree on.
const (
	capLongPassword  = 1 << 0
	capLongFlag      = 1 << 2
	capWithDatabase  = 1 << 3
	capLocalFiles    = 1 << 7
	capProtocol41    = 1 << 9
	capTLS           = 1 << 11
	capTransactions  = 1 << 13
	capSecure        = 1 << 15
	capPluginAuth    = 1 << 19
	capLongAuthReply = 1 << 21

	capWanted = capLongPassword | capLongFlag | capLocalFiles | capProtocol41 | capTransactions | capSecure | capPluginAuth | capLongAuthReply
	capNeeded = capProtocol41 | capSecure | capPluginAuth

	// utf8mb4_general_ci, which all versions of both vendors know.
	collationUTF8MB4 = 45

	// No answer during a login is longer; a peer that claims otherwise is not
	// a database server.
	maxLoginAnswer = 64 << 10

	// A server may try several plugins for one account (MariaDB's VIA … OR …).
	maxLoginSteps = 16
)

const (
	pluginNative      = "mysql_native_password"
	pluginCachingSHA2 = "caching_sha2_password"
	pluginSHA256      = "sha256_password"
	pluginED25519     = "client_ed25519"

	headerMoreData = 0x01

	cachingSHA2Done = 3
	cachingSHA2Full = 4
	askCachingKey   = 2
	askSHA256Key    = 1
)

var (
	errNoTLS        = errors.New("the server does not offer TLS")
	errNotAServer   = errors.New("what answers there does not speak the protocol of MariaDB and MySQL")
	errCutByServer  = errors.New("the server closed the connection")
	errMalformedRow = errors.New("malformed row")
)

// greeting is what a server says first.
type greeting struct {
	version      string
	id           uint32
	capabilities uint32
	salt         []byte
	plugin       string
}

func parseGreeting(p []byte) (greeting, error) {
	var g greeting
	if len(p) == 0 || p[0] != 10 {
		return g, errNotAServer
	}
	version, rest, ok := bytes.Cut(p[1:], []byte{0})
	// id 4, salt 8, zero, capabilities 2, collation, status 2, capabilities 2, salt's length, 10 unused
	if !ok || len(rest) < 31 {
		return g, errNotAServer
	}
	g.version = string(version)
	g.id = binary.LittleEndian.Uint32(rest)
	g.capabilities = uint32(binary.LittleEndian.Uint16(rest[13:])) | uint32(binary.LittleEndian.Uint16(rest[18:]))<<16
	if g.capabilities&capNeeded != capNeeded {
		return g, errors.New("the server is too old: it does not know authentication plugins")
	}
	more := max(13, int(rest[20])-8)
	g.salt = append(g.salt, rest[4:12]...)
	rest = rest[31:]
	if len(rest) < more {
		return g, errNotAServer
	}
	g.salt = append(g.salt, rest[:more]...) // with a NUL at its end, which no plugin uses
	plugin, _, _ := bytes.Cut(rest[more:], []byte{0})
	g.plugin = string(plugin)
	return g, nil
}

// authenticator answers what the server asks during one login.
type authenticator struct {
	plugin   string
	salt     []byte
	password string
	tls      bool
	secure   bool // nobody else hears: a socket or TLS
}

// first is the answer that begins a plugin's conversation. known is false when
// the plugin is not one of those that are understood.
func (a *authenticator) first() (answer []byte, known bool, err error) {
	if len(a.salt) < 20 {
		return nil, false, errNotAServer
	}
	switch a.plugin {
	case pluginNative:
		return gomysql.CalcNativePassword(a.salt[:20], []byte(a.password)), true, nil
	case pluginCachingSHA2:
		return gomysql.CalcCachingSha2Password(a.salt[:20], []byte(a.password)), true, nil
	case pluginSHA256:
		switch {
		case a.password == "":
			return []byte{0}, true, nil
		case a.tls: // this plugin does not trust a socket
			return a.clear(), true, nil
		}
		return []byte{askSHA256Key}, true, nil
	case pluginED25519:
		if len(a.salt) < 32 {
			return nil, false, errNotAServer
		}
		answer, err := gomysql.CalcEd25519Password(a.salt[:32], a.password)
		return answer, true, err
	case "unix_socket", "auth_socket":
		return nil, true, nil // the server asks the kernel, not us
	}
	return nil, false, nil
}

func (a *authenticator) clear() []byte { return append([]byte(a.password), 0) }

// more answers what the server says between the first answer and the result;
// nil when it needs no answer.
func (a *authenticator) more(data []byte) ([]byte, error) {
	switch {
	case len(data) == 0:
		return nil, errNotAServer
	case a.plugin == pluginCachingSHA2 && data[0] == cachingSHA2Done:
		return nil, nil
	case a.plugin == pluginCachingSHA2 && data[0] == cachingSHA2Full:
		if a.secure {
			return a.clear(), nil
		}
		return []byte{askCachingKey}, nil
	case a.plugin == pluginCachingSHA2 && !a.secure, a.plugin == pluginSHA256 && !a.tls:
		return a.encrypt(data)
	}
	return nil, errNotAServer
}

// encrypt answers the server's RSA key with the password.
func (a *authenticator) encrypt(data []byte) ([]byte, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errNotAServer
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the server's key for passwords: %w", err)
	}
	public, ok := key.(*rsa.PublicKey)
	if !ok {
		return nil, errNotAServer
	}
	return gomysql.EncryptPassword(a.password, a.salt[:20], public)
}

// login dials and goes through the connection phase.
func (c Config) login(ctx context.Context, tlsConfig *tls.Config) (_ *Conn, err error) {
	network := "tcp"
	if c.usesSocket() {
		network = "unix"
		tlsConfig = nil // a socket is private already
	}
	raw, err := (&net.Dialer{}).DialContext(ctx, network, c.Address())
	if err != nil {
		return nil, err
	}
	conn := newConn(raw)
	// Nothing below looks at ctx while it waits for the peer: the deadline does.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	err = c.handshake(ctx, conn, tlsConfig)
	if !stop() {
		err = errors.Join(ctx.Err(), err)
	}
	if err != nil {
		_ = conn.net.Close() // nothing was sent that could be lost
		return nil, err
	}
	return conn, nil
}

func (c Config) handshake(ctx context.Context, conn *Conn, tlsConfig *tls.Config) error {
	p, err := conn.readPacket(maxLoginAnswer)
	if err != nil {
		return err
	}
	if len(p) > 0 && p[0] == headerERR {
		return parseError(p)
	}
	g, err := parseGreeting(p)
	if err != nil {
		return err
	}
	conn.id, conn.version = g.id, g.version
	caps := uint32(capWanted) & g.capabilities
	if c.Database != "" {
		caps |= capWithDatabase
	}
	if tlsConfig != nil {
		if g.capabilities&capTLS == 0 {
			return errNoTLS
		}
		caps |= capTLS
		if err := conn.startTLS(ctx, loginHead(caps), tlsConfig); err != nil {
			return err
		}
	}
	a := &authenticator{
		plugin: g.plugin, salt: g.salt, password: c.Password.Reveal(),
		tls: tlsConfig != nil, secure: tlsConfig != nil || c.usesSocket(),
	}
	answer, known, err := a.first()
	if err != nil {
		return err
	}
	if !known { // the server will ask for the account's own plugin then
		a.plugin = pluginNative
		if answer, _, err = a.first(); err != nil {
			return err
		}
	}
	if err := conn.sendLogin(c, caps, a.plugin, answer); err != nil {
		return err
	}
	return conn.authenticate(a)
}

// loginHead is the part of the client's answer that also asks for TLS.
func loginHead(caps uint32) []byte {
	head := make([]byte, 32)
	binary.LittleEndian.PutUint32(head, caps)
	binary.LittleEndian.PutUint32(head[4:], 1<<30) // longest packet
	head[8] = collationUTF8MB4
	return head
}

func (c *Conn) startTLS(ctx context.Context, head []byte, config *tls.Config) error {
	if c.r.Buffered() > 0 {
		return errNotAServer // bytes from before TLS must not pass for bytes from within
	}
	if err := c.sendPacket(head); err != nil {
		return err
	}
	t := tls.Client(c.net, config)
	if err := t.HandshakeContext(ctx); err != nil {
		return &tlsError{err}
	}
	c.net, c.r = t, bufio.NewReaderSize(t, wholeRow+4)
	return nil
}

// tlsError tells a TLS handshake that did not succeed from other errors.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

func (c *Conn) sendLogin(config Config, caps uint32, plugin string, answer []byte) error {
	for _, text := range []string{config.User, config.Database} {
		if bytes.IndexByte([]byte(text), 0) >= 0 {
			return fmt.Errorf("the name %q has a NUL byte", text)
		}
	}
	p := append(loginHead(caps), config.User...)
	p = append(p, 0)
	if len(answer) > 250 {
		return errors.New("the password is too long")
	}
	p = append(p, byte(len(answer))) // also the length-encoded form, up to 250
	p = append(p, answer...)
	if config.Database != "" {
		p = append(p, config.Database...)
		p = append(p, 0)
	}
	p = append(p, plugin...)
	return c.sendPacket(append(p, 0))
}

// authenticate answers the server until it accepts or refuses.
func (c *Conn) authenticate(a *authenticator) error {
	for range maxLoginSteps {
		p, err := c.readPacket(maxLoginAnswer)
		if err != nil {
			return err
		}
		if len(p) == 0 {
			return errNotAServer
		}
		var answer []byte
		switch p[0] {
		case headerOK:
			_, err := parseOK(p)
			return err
		case headerERR:
			return parseError(p)
		case headerEOF:
			plugin, salt, ok := bytes.Cut(p[1:], []byte{0})
			if !ok {
				return &pluginError{"mysql_old_password"}
			}
			a.plugin, a.salt = string(plugin), salt
			if len(salt) == 0 {
				a.salt = make([]byte, 20) // plugins without one, such as unix_socket
			}
			known := false
			if answer, known, err = a.first(); err != nil {
				return err
			}
			if !known {
				return &pluginError{a.plugin}
			}
			if answer == nil {
				answer = []byte{}
			}
		case headerMoreData:
			if answer, err = a.more(p[1:]); err != nil {
				return err
			}
		default:
			return errNotAServer
		}
		if answer == nil {
			continue
		}
		if err := c.sendPacket(answer); err != nil {
			return err
		}
	}
	return errNotAServer
}

// pluginError says that the account's authentication plugin is not supported.
// Among them is mysql_clear_password on purpose: whoever can pose as the
// server could ask for the password with it.
type pluginError struct{ plugin string }

func (e *pluginError) Error() string {
	return fmt.Sprintf("the account uses the authentication plugin %q, which backstay does not know", e.plugin)
}

// sendPacket sends one packet of less than maxPacket bytes.
func (c *Conn) sendPacket(payload []byte) error {
	buf := make([]byte, 4, 4+len(payload))
	return c.writePacket(append(buf, payload...), len(payload))
}
