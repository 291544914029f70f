package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// web answers for /metrics and /healthz, which tell names of apps and numbers and
// no secrets, and change nothing, and hands every other path on.
type web struct {
	s       *service
	handler http.Handler

	mu     sync.Mutex // guards what follows
	server *http.Server
	bound  string
	end    context.CancelFunc // of the requests
}

func newWeb(s *service) *web {
	// A registry of its own: the library's is a global that others write into.
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), newMetrics(s))
	w := &web{s: s}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: promLog{s.log}, ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4, Timeout: 20 * time.Second,
	}))
	mux.HandleFunc("GET /healthz", w.health)
	w.handler = http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		var read, write time.Time // none, and not those of the request before on this connection
		own := s.o.Handler == nil || r.URL.Path == "/metrics" || r.URL.Path == "/healthz"
		if own {
			now := core.SystemClock{}.Now() // the kernel's, whatever the service is told
			read, write = now.Add(10*time.Second), now.Add(30*time.Second)
		}
		limits := http.NewResponseController(out)
		if err := errors.Join(limits.SetReadDeadline(read), limits.SetWriteDeadline(write)); err != nil {
			s.log.Debug("limit the time of a request", "err", err)
		}
		if !own {
			s.o.Handler.ServeHTTP(out, r)
			return
		}
		out.Header().Set("X-Content-Type-Options", "nosniff")
		out.Header().Set("Cache-Control", "no-store")
		mux.ServeHTTP(out, r)
	})
	return w
}

// promLog is what the library says of what it could not collect.
type promLog struct{ log *slog.Logger }

func (l promLog) Println(v ...any) { l.log.Warn("collect metrics", "err", fmt.Sprint(v...)) }

// listen moves to an address, "" for none. When it cannot be used, or what is
// served there cannot be sealed, the former one goes on.
func (w *web) listen(address string, seal TLS) error {
	if address == "" {
		w.close()
		return nil
	}
	var sealed *tls.Config
	if seal.given() {
		pair, err := newKeyPair(seal, w.s.log)
		if err != nil {
			return err
		}
		sealed = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: pair.get}
	}
	if w.address() == address { // only its seal is another
		w.close()
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return listenError(address, err)
	}
	requests, end := context.WithCancel(context.Background())
	server := &http.Server{
		Handler: w.handler, TLSConfig: sealed, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute,
		BaseContext:    func(net.Listener) context.Context { return requests },
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(w.s.log.Handler(), slog.LevelDebug),
	}
	w.close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.server, w.bound, w.end = server, listener.Addr().String(), end
	go func() {
		serve := func() error { return server.Serve(listener) }
		if sealed != nil {
			serve = func() error { return server.ServeTLS(listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			w.s.log.Error("metrics, health and console are no longer served", "err", err)
		}
	}()
	return nil
}

func listenError(address string, err error) error {
	e := &core.Error{Code: core.CodeConfig, Op: "listen on " + address, Err: err, Hint: "write host:port in service.listen of backstay.yaml, as 127.0.0.1:8484"}
	var dns *net.DNSError
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		e.Message, e.Err = "another program listens there", nil
		e.Hint = "stop it (ss -ltnp shows which it is), or write another port in service.listen of backstay.yaml"
	case errors.Is(err, unix.EADDRNOTAVAIL):
		e.Message, e.Err = "this machine has no such address", nil
		e.Hint = "write one of its own in service.listen of backstay.yaml (ip address shows them)"
	case errors.Is(err, unix.EACCES):
		e.Message, e.Err = "ports below 1024 are for root", nil
		e.Hint = "write a port above in service.listen of backstay.yaml"
	case errors.As(err, &dns):
		e.Message, e.Err = "there is no host of that name", nil
	}
	return e
}

func (w *web) address() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.bound
}

func (w *web) close() {
	w.mu.Lock()
	server, end := w.server, w.end
	w.server, w.bound, w.end = nil, "", nil
	w.mu.Unlock()
	if server == nil {
		return
	}
	end() // streams of events would go on for ever
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := server.Shutdown(ctx); err != nil {
		_ = server.Close() // it has waited long enough for whoever reads so slowly
	}
}

// hangs is how long the loop may stand still: it turns each minute.
const hangs = 3 * time.Minute

// health answers 200 while all is well with the service itself, and 503 with
// the reasons, one a line, when it is not. What is wrong with backups is in the
// metrics and the alarms.
func (w *web) health(out http.ResponseWriter, _ *http.Request) {
	v := w.s.seen()
	var reasons []string
	for _, p := range v.problems {
		reasons = append(reasons, p.Name+": "+p.Message)
	}
	if v.stopping {
		reasons = append(reasons, "stopping: the service ends")
	}
	if w.s.stands() {
		reasons = append(reasons, "hangs: the service has stood still for minutes")
	}
	out.Header().Set("Content-Type", "text/plain; charset=utf-8")
	text := "ok\n"
	if len(reasons) > 0 {
		out.WriteHeader(http.StatusServiceUnavailable)
		text = ""
		for _, r := range reasons {
			text += r + "\n"
		}
	}
	// Whoever asked may have gone.
	_, _ = io.WriteString(out, text)
}
