package daemon

import (
	"crypto/tls"
	"log/slog"
	"sync"

	"github.com/backstay/backstay/internal/core"
)

// TLS names the PEM files of a server's certificate, with those between it and
// its authority, and of its key. Both "" mean no TLS.
type TLS struct{ Certificate, Key string }

func (t TLS) given() bool { return t.Certificate != "" || t.Key != "" }

// keyPair is a certificate that is read anew when its files change. One that
// cannot be used then leaves the former one in use.
type keyPair struct {
	files TLS
	log   *slog.Logger

	mu   sync.Mutex // guards what follows
	pair *tls.Certificate
	seen map[string]string // signatures of the files when they were read last
}

func newKeyPair(files TLS, log *slog.Logger) (*keyPair, error) {
	k := &keyPair{files: files, log: log, seen: signatures(files.list())}
	pair, err := files.load()
	if err != nil {
		return nil, err
	}
	k.pair = pair
	return k, nil
}

func (t TLS) list() []string { return []string{t.Certificate, t.Key} }

func (t TLS) load() (*tls.Certificate, error) {
	const op = "read the certificate of the service"
	if t.Certificate == "" || t.Key == "" {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: op, Message: "a certificate and its key are needed, and only one of them is given",
			Hint: "give both files in backstay.yaml, or neither",
		}
	}
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: op, Message: t.Certificate + " with the key " + t.Key, Err: err,
			Hint: "both are PEM files that the service's account can read, the key is that of the first certificate, and has no password: openssl x509 -noout -pubkey -in " + t.Certificate + "; openssl pkey -pubout -in " + t.Key,
		}
	}
	return &pair, nil
}

// get returns the certificate as the files have it now. The two are replaced one
// after the other, so that a pair that does not match is looked at again when one
// of them has changed.
func (k *keyPair) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := signatures(k.files.list())
	if now[k.files.Certificate] == k.seen[k.files.Certificate] && now[k.files.Key] == k.seen[k.files.Key] {
		return k.pair, nil
	}
	k.seen = now
	pair, err := k.files.load()
	if err != nil {
		k.log.Error("the changed certificate cannot be used; the former one stays in use", "err", err, "hint", core.HintOf(err))
		return k.pair, nil
	}
	k.pair = pair
	k.log.Info("the changed certificate is in use", "certificate", k.files.Certificate)
	return k.pair, nil
}
