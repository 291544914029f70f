package mail_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// server is a mail server.
type server struct {
	behaviour
	addr   string
	mu     sync.Mutex
	got    []received
	ended  chan struct{} // one for each connection that ended
	listen net.Listener
}

// behaviour is how it takes mail, or does not. A connection has that which was
// set when it began.
type behaviour struct {
	implicit  bool
	startTLS  bool
	cert      tls.Certificate
	auth      string // mechanisms, "" offers none
	user      string
	password  string
	replies   map[string]string        // by command, in place of the usual one
	rcpt      func(addr string) string // "" takes it
	silentAt  string                   // the command that gets no answer; "greeting", "data" (the mail's end)
	closeAt   string
	babblesAt string
}

// become changes how later connections are served.
func (s *server) become(change func(*behaviour)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.behaviour)
}

// received is a mail that the server took.
type received struct {
	from, data, login string
	to                []string
	encrypted         bool
}

// start runs the server until the test ends.
func (s *server) start(t *testing.T) *server {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr, s.listen = l.Addr().String(), l
	s.ended = make(chan struct{}, 1000)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			b := s.behaviour
			s.mu.Unlock()
			running.Go(func() {
				defer func() { s.ended <- struct{}{} }()
				defer conn.Close()
				if b.implicit {
					conn = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{b.cert}})
				}
				s.serve(conn, b)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		running.Wait() // the client must have let go of each
	})
	return s
}

func (s *server) port(t *testing.T) int {
	t.Helper()
	addr, err := net.ResolveTCPAddr("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	return addr.Port
}

func (s *server) mails() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]received(nil), s.got...)
}

var errDone = errors.New("done")

func (s *server) serve(conn net.Conn, b behaviour) {
	r := bufio.NewReader(conn)
	mail := received{encrypted: b.implicit}
	say := func(command, reply string) error {
		switch command {
		case b.silentAt:
			io.Copy(io.Discard, r) // until the client goes away
			return errDone
		case b.closeAt:
			return errDone
		case b.babblesAt:
			for {
				if _, err := conn.Write([]byte(strings.Repeat("250-more\r\n", 1000))); err != nil {
					return err
				}
			}
		}
		if other, ok := b.replies[command]; ok {
			reply = other
		}
		_, err := conn.Write([]byte(strings.ReplaceAll(reply, "\n", "\r\n") + "\r\n"))
		return err
	}
	ask := func(challenge string) (string, error) {
		if err := say("challenge", "334 "+base64.StdEncoding.EncodeToString([]byte(challenge))); err != nil {
			return "", err
		}
		line, err := r.ReadString('\n')
		if err != nil {
			return "", err
		}
		text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(line))
		return string(text), err
	}
	if say("greeting", "220 test ESMTP") != nil {
		return
	}
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, rest, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		reply := "250 ok"
		switch verb {
		case "EHLO":
			reply = "250-test"
			if b.startTLS && !mail.encrypted {
				reply += "\n250-STARTTLS"
			}
			if b.auth != "" {
				reply += "\n250-AUTH " + b.auth
			}
			reply += "\n250 8BITMIME"
		case "STARTTLS":
			if say(verb, "220 go") != nil {
				return
			}
			secure := tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{b.cert}})
			if secure.Handshake() != nil {
				return
			}
			conn, r, mail.encrypted = secure, bufio.NewReader(secure), true
			continue
		case "AUTH":
			login, err := b.login(rest, ask)
			if err != nil {
				reply = "535 5.7.8 bad credentials: " + line // as some do, with what they were sent
			} else {
				mail.login, reply = login, "235 welcome"
			}
		case "MAIL":
			mail.from = rest
		case "RCPT":
			addr := strings.Trim(strings.TrimPrefix(rest, "TO:"), "<>")
			if b.rcpt != nil {
				if no := b.rcpt(addr); no != "" {
					reply = no
					break
				}
			}
			mail.to = append(mail.to, addr)
		case "DATA":
			if reply, ok := b.replies["DATA"]; ok {
				if say(verb, reply) != nil {
					return
				}
				continue
			}
			if say(verb, "354 go on") != nil {
				return
			}
			var data strings.Builder
			for {
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				if line == ".\r\n" {
					break
				}
				data.WriteString(strings.TrimPrefix(line, "."))
			}
			mail.data = data.String()
			if say("data", "250 queued") != nil {
				return
			}
			if _, ok := b.replies["data"]; ok {
				continue
			}
			s.mu.Lock()
			s.got = append(s.got, mail)
			s.mu.Unlock()
			continue
		case "QUIT":
			say(verb, "221 bye")
			return
		}
		if say(verb, reply) != nil {
			return
		}
	}
}

// login checks who it is and returns the mechanism that was used.
func (b behaviour) login(line string, ask func(string) (string, error)) (string, error) {
	mechanism, initial, _ := strings.Cut(line, " ")
	bad := errors.New("bad credentials")
	switch mechanism {
	case "PLAIN":
		text, err := base64.StdEncoding.DecodeString(initial)
		if err != nil || string(text) != "\x00"+b.user+"\x00"+b.password {
			return "", bad
		}
	case "LOGIN":
		user, err := ask("Username:")
		if err != nil {
			return "", err
		}
		password, err := ask("Password:")
		if err != nil || user != b.user || password != b.password {
			return "", bad
		}
	case "CRAM-MD5":
		const challenge = "<1896.697170952@test>"
		answer, err := ask(challenge)
		mac := hmac.New(md5.New, []byte(b.password))
		mac.Write([]byte(challenge))
		if err != nil || answer != b.user+" "+hex.EncodeToString(mac.Sum(nil)) {
			return "", bad
		}
	default:
		return "", bad
	}
	return mechanism, nil
}

// certificate returns a certificate for name, which is valid until the given
// time, and the PEM file of the authority that signed it.
func certificate(t *testing.T, name string, until time.Time) (tls.Certificate, string) {
	t.Helper()
	newKey := func() *ecdsa.PrivateKey {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	sign := func(template, parent *x509.Certificate, public any, key *ecdsa.PrivateKey) []byte {
		der, err := x509.CreateCertificate(rand.Reader, template, parent, public, key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	begin := until.Add(-48 * time.Hour)
	rootKey, key := newKey(), newKey()
	root := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: begin.Add(-time.Hour), NotAfter: time.Now().Add(72 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: begin, NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{name}
	}
	rootDER := sign(root, root, &rootKey.PublicKey, rootKey)
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rootDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{sign(leaf, root, &key.PublicKey, rootKey)}, PrivateKey: key}, file
}

// secured returns a server that takes mail over STARTTLS, and the file with its
// authority.
func secured(t *testing.T) (*server, string) {
	t.Helper()
	cert, ca := certificate(t, "127.0.0.1", tomorrow())
	return &server{behaviour: behaviour{startTLS: true, cert: cert}}, ca
}

func tomorrow() time.Time { return time.Now().Add(24 * time.Hour) }
