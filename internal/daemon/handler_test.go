package daemon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// TestHandler: it gets every path but two, without limits of time, and its
// streams end with the service.
func TestHandler(t *testing.T) {
	h := newHarness(t)
	ended := make(chan error, 1)
	h.o.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "handler "+r.Method+" "+r.URL.Path)
		if r.URL.Path == "/stream" {
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
			ended <- r.Context().Err()
		}
	})
	h.start()
	for path, want := range map[string]string{"/": "handler GET /", "/metrics/": "handler GET /metrics/", "/api/v1/x": "handler GET /api/v1/x", "/healthz": "ok\n"} {
		if body, status := h.get(path); status != 200 || body != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if body, status := h.get("/metrics"); status != 200 || !strings.Contains(body, "backstay_config_ok") {
		t.Errorf("%d %s", status, body)
	}
	if _, status, _ := h.ask(http.MethodPost, "/metrics"); status != 405 {
		t.Errorf("POST /metrics: %d", status)
	}
	res, err := http.Get("http://" + h.address + "/stream")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.end(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err == nil {
		t.Error("the stream did not hear that the service ends")
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
}

// TestNoLimitsForTheHandler: what /metrics is limited to does not hold for the
// request after it on the same connection.
func TestNoLimitsForTheHandler(t *testing.T) {
	h := newHarness(t)
	s := newService(h.o, h.wait, h.polite)
	s.o.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "handler")
	})
	limits := &limited{}
	w := newWeb(s)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/healthz", nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, limited := range map[string]bool{"/healthz": true, "/download": false} {
		r.URL.Path = path
		w.handler.ServeHTTP(limits, r)
		if limits.read.IsZero() == limited || limits.write.IsZero() == limited {
			t.Errorf("%s: until %s and %s", path, limits.read, limits.write)
		}
	}
}

// limited remembers the limits of a connection.
type limited struct {
	http.ResponseWriter
	read, write time.Time
}

func (l *limited) Header() http.Header                { return http.Header{} }
func (l *limited) WriteHeader(int)                    {}
func (l *limited) Write(p []byte) (int, error)        { return len(p), nil }
func (l *limited) SetReadDeadline(t time.Time) error  { l.read = t; return nil }
func (l *limited) SetWriteDeadline(t time.Time) error { l.write = t; return nil }

// certificate writes a certificate with a serial number, and its key.
func certificate(t *testing.T, files TLS, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{files.Certificate: {Type: "CERTIFICATE", Bytes: der}, files.Key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// serial connects and returns the serial number of the certificate; 0: none.
func (h *harness) serial(version uint16) int64 {
	h.t.Helper()
	conn, err := tls.Dial("tcp", h.address, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
	if err != nil {
		return 0
	}
	defer func() { _ = conn.Close() }()
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64()
}

// TestTLS: the service is served with a certificate, which is read anew when it
// changes; one that cannot be used changes nothing.
func TestTLS(t *testing.T) {
	h := newHarness(t)
	dir := t.TempDir()
	files := TLS{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	certificate(t, files, 1)
	put := func(digest string, seal TLS) func() (Plan, error) {
		return func() (Plan, error) {
			return Plan{Digest: digest, WatchFiles: []string{h.config}, Service: Service{Listen: "127.0.0.1:0", TLS: seal}}, nil
		}
	}
	h.plan = put("1", files)
	h.start()
	if got := h.serial(tls.VersionTLS13); got != 1 {
		t.Errorf("certificate %d", got)
	}
	if got := h.serial(tls.VersionTLS12); got != 1 {
		t.Errorf("TLS 1.2: certificate %d", got)
	}
	if got := h.serial(tls.VersionTLS11); got != 0 {
		t.Errorf("TLS 1.1: certificate %d", got)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	res, err := client.Get("https://" + h.address + "/healthz")
	if err != nil || res.StatusCode != 200 {
		t.Fatal(res, err)
	}
	if err := res.Body.Close(); err != nil {
		t.Error(err)
	}
	certificate(t, files, 2)
	h.until("the new certificate", func() bool { return h.serial(tls.VersionTLS13) == 2 })
	if err := os.WriteFile(files.Certificate, []byte("half of i"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := h.serial(tls.VersionTLS13); got != 2 {
		t.Errorf("with a broken one: certificate %d", got)
	}
	h.says("the changed certificate cannot be used; the former one stays in use")
	certificate(t, files, 3)
	h.until("the right certificate", func() bool { return h.serial(tls.VersionTLS13) == 3 })

	// It can be switched off and on while the service runs.
	h.setPlan(put("2", TLS{}))
	h.replace(h.config, "2")
	h.says("metrics moved")
	h.until("no TLS", func() bool {
		conn, err := net.Dial("tcp", h.address)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil || h.serial(tls.VersionTLS13) == 0
	})
	h.setPlan(put("3", TLS{Certificate: files.Certificate, Key: filepath.Join(dir, "gone.pem")}))
	h.replace(h.config, "3")
	h.until("the problem", func() bool { return h.problem("listen") })
}

// TestCertificates: what cannot be used keeps the service from starting, and says
// what to do.
func TestCertificates(t *testing.T) {
	dir := t.TempDir()
	one, two := TLS{filepath.Join(dir, "1.pem"), filepath.Join(dir, "1.key")}, TLS{filepath.Join(dir, "2.pem"), filepath.Join(dir, "2.key")}
	certificate(t, one, 1)
	certificate(t, two, 2)
	for name, files := range map[string]TLS{
		"only one is given": {Certificate: one.Certificate}, "private key does not match": {one.Certificate, two.Key}, "no such file": {one.Certificate, filepath.Join(dir, "none")},
		"failed to find any PEM data": {"/dev/null", one.Key},
	} {
		h := newHarness(t)
		h.plan = func() (Plan, error) { return Plan{Service: Service{Listen: "127.0.0.1:0", TLS: files}}, nil }
		err := Run(t.Context(), h.o)
		if core.CodeOf(err) != core.CodeConfig || !strings.Contains(err.Error(), name) && name != "only one is given" || core.HintOf(err) == "" {
			t.Errorf("%s: %v (hint: %s)", name, err, core.HintOf(err))
		}
	}
}
