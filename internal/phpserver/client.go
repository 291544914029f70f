package phpserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	requestTime = 2 * time.Minute
	answerBytes = 64 << 20
)

func newClient(s *Server) *http.Client {
	return &http.Client{
		Timeout:       requestTime,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &onlyTo{host: s.Base[len("http://"):], transport: &http.Transport{
			// No proxy of the environment, and a connection for each request: PHP's
			// server closes them.
			Proxy:                  nil,
			DisableKeepAlives:      true,
			MaxConnsPerHost:        4,
			MaxResponseHeaderBytes: 1 << 20,
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				if how, ended := s.process.ended(); ended {
					return nil, fmt.Errorf("php has ended: %s: %s", how, s.printed.last())
				}
				return s.room.dial(ctx, s.process.port)
			},
		}},
	}
}

// onlyTo refuses requests to other hosts, so that an application's links are
// never followed out of the copy.
type onlyTo struct {
	host      string
	transport http.RoundTripper
}

var _ http.RoundTripper = (*onlyTo)(nil)

func (o *onlyTo) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "http" || r.URL.Host != o.host {
		if r.Body != nil {
			_ = r.Body.Close() // RoundTrip must, and the request goes nowhere
		}
		return nil, fmt.Errorf("%s is not the copy at %s, and is not asked", (&url.URL{Scheme: r.URL.Scheme, Host: r.URL.Host}).String(), o.host)
	}
	resp, err := o.transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &bounded{resp.Body, answerBytes}
	return resp, nil
}

// bounded is a body that has an error where it gets too long.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, fmt.Errorf("the answer is longer than %d bytes", int64(answerBytes))
	}
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, fmt.Errorf("the answer is longer than %d bytes", int64(answerBytes))
	}
	return n, err
}
