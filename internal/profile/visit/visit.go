// Package visit asks a restored application for its pages, the way a browser
// would: with cookies, redirects and forms. It is for the profiles' visits in
// drills. It promises to follow redirects to the copy only, to keep bounded
// parts of what it is sent, and to put nothing of a page into a proof but where
// in the code a fault is.
package visit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Limits on what a copy may send.
const (
	maxBody      = 16 << 20
	maxRedirects = 10
	maxCookies   = 100
)

// agent is what the application writes into its log of logins.
const agent = "backstay drill"

// Session is one visitor with cookies. It is not safe for concurrent use.
type Session struct {
	client  *http.Client
	base    *url.URL
	header  http.Header
	cookies map[string]string
	root    string
}

// New returns a session with the copy at base (http://127.0.0.1:PORT), whose
// code lies in root. client must follow no redirects. header is sent with
// each request.
func New(client *http.Client, base, root string, header map[string]string) (*Session, error) {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("visit %q: it is no address", base)
	}
	s := &Session{client: client, base: u, header: http.Header{}, cookies: map[string]string{}, root: root}
	for k, v := range header {
		s.header.Set(k, v)
	}
	s.header.Set("User-Agent", agent)
	return s, nil
}

// Page is what the copy answered, after redirects.
type Page struct {
	Path   string // of the page, with its query, below the copy's address
	Status int
	Type   string // its media type
	Body   string // its beginning, up to 16 MiB
	// Away is the host that it sent the visitor to, when that is not the copy;
	// it was not followed.
	Away string
	root string
}

// Get asks for the page at path ("/login.php?x=y").
func (s *Session) Get(ctx context.Context, path string) (*Page, error) {
	return s.ask(ctx, http.MethodGet, path, nil)
}

// Post sends a form.
func (s *Session) Post(ctx context.Context, path string, form url.Values) (*Page, error) {
	return s.ask(ctx, http.MethodPost, path, form)
}

func (s *Session) ask(ctx context.Context, method, path string, form url.Values) (*Page, error) {
	ref, err := url.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("%q is no page's address", path)
	}
	at := s.base.ResolveReference(ref)
	for range maxRedirects {
		page, next, err := s.once(ctx, method, at, form)
		if err != nil || next == nil {
			return page, err
		}
		if next.Host != s.base.Host {
			page.Away = next.Host
			return page, nil
		}
		if next.Scheme == "https" { // it is behind a proxy that speaks https, as far as it can tell
			s.header.Set("X-Forwarded-Proto", "https")
		}
		next.Scheme = s.base.Scheme
		at = next
		if page.Status != http.StatusTemporaryRedirect && page.Status != http.StatusPermanentRedirect {
			method, form = http.MethodGet, nil
		}
	}
	return nil, fmt.Errorf("it redirects more than %d times, at last to %s", maxRedirects, at.Path)
}

// once asks one time; next is where the answer sends the visitor, nil: nowhere.
func (s *Session) once(ctx context.Context, method string, at *url.URL, form url.Values) (page *Page, next *url.URL, err error) {
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, nil, withoutAddress(err)
	}
	req.Header = s.header.Clone()
	if body != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range s.cookies {
		req.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return nil, nil, withoutAddress(err)
	}
	content, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	err = errors.Join(err, resp.Body.Close())
	if err != nil {
		return nil, nil, withoutAddress(err)
	}
	s.keep(resp)
	media, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	page = &Page{Path: at.RequestURI(), Status: resp.StatusCode, Type: strings.ToLower(strings.TrimSpace(media)), Body: string(content), root: s.root}
	if resp.StatusCode < 300 || resp.StatusCode > 399 || resp.Header.Get("Location") == "" {
		return page, nil, nil
	}
	ref, err := url.Parse(resp.Header.Get("Location"))
	if err != nil {
		return nil, nil, errors.New("it redirects to something that is no address")
	}
	return page, at.ResolveReference(ref), nil
}

// keep takes the cookies of an answer. All go to the one copy, whatever paths
// and domains they are for, and Secure ones too, though loopback has no TLS.
func (s *Session) keep(resp *http.Response) {
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 || c.Value == "" {
			delete(s.cookies, c.Name)
		} else if len(s.cookies) < maxCookies {
			s.cookies[c.Name] = c.Value
		}
	}
}

// withoutAddress drops the address from an error: its query may be a secret.
func withoutAddress(err error) error {
	var e *url.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// Wrong says what is wrong with a page: what it sends elsewhere, its status, or
// a fault of PHP in it; "" when nothing is.
func (p *Page) Wrong() string {
	if place := p.fault(true); place != "" {
		return place
	}
	switch {
	case p.Away != "":
		return "it sends the visitor to " + p.Away + ", which is not the copy"
	case p.Status != http.StatusOK:
		return fmt.Sprintf("it answers with status %d %s", p.Status, http.StatusText(p.Status))
	case strings.TrimSpace(p.Body) == "":
		return "it is empty"
	}
	return ""
}

// Look asks for a page and says whether it is right: the proof called name.
// object is how the page is called, and want says what it lacks, "" for
// nothing. The error is that of a cancelled ctx.
func (s *Session) Look(ctx context.Context, name, object, path string, want func(*Page) string) (*Page, core.Proof, error) {
	page, err := s.Get(ctx, path)
	if ctx.Err() != nil {
		return nil, core.Proof{}, ctx.Err()
	}
	return page, Judge(name, object, page, err, want), nil
}

// Judge says whether a page that was asked for is right; err is what asking
// gave.
func Judge(name, object string, page *Page, err error, want func(*Page) string) core.Proof {
	p := core.Proof{Name: name, Outcome: core.ProofFailed, Object: object, Count: 1}
	if err != nil {
		p.Message = "the page did not come: " + err.Error()
		return p
	}
	if p.Message = page.Wrong(); p.Message != "" {
		return p
	}
	if want != nil {
		if p.Message = want(page); p.Message != "" {
			return p
		}
	}
	p.Outcome, p.Message = core.ProofOK, fmt.Sprintf("the page came, and is what it should be (%d bytes)", len(page.Body))
	if note := page.fault(false); note != "" {
		p.Message += "; " + note
	}
	return p
}
