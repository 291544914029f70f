// Package wire sends requests to other systems on behalf of the destinations
// of package notify. It promises that a request ends when its context does,
// that no redirect is followed, that answers are bounded, that an answer that
// says no is an error whatever its status, and that errors say in words what
// stood in the way, and hold none of the secrets that they were told of.
package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/backstay/backstay/internal/core"
)

// Timeout is how long a destination may take where nothing else is said.
const Timeout = 30 * time.Second

// answerLimit is how much of an answer is read. Nothing that a destination has
// to say is that long.
const answerLimit = 1 << 20

// Answer is what the other side said to a request that it took.
type Answer struct {
	Status int
	Body   []byte // at most 1 MiB
}

// TLSConfig returns a configuration that trusts the authorities of the PEM file
// ca and no other, or the system's where ca is "".
func TLSConfig(ca string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return config, nil
	}
	text, err := os.ReadFile(ca)
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: "read authorities", Err: err,
			Hint: "ca: names a PEM file that the account that backstay runs as can read",
		}
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(text) {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: "read authorities", Message: fmt.Sprintf("%s holds no certificate", ca),
			Hint: "ca: names a PEM file, with BEGIN CERTIFICATE in it",
		}
	}
	return config, nil
}

// Client returns a client that trusts as TLSConfig says, uses the proxy that
// the environment names, and keeps no connection.
func Client(ca string) (*http.Client, error) {
	config, err := TLSConfig(ca)
	if err != nil {
		return nil, err
	}
	return &http.Client{Transport: &http.Transport{
		Proxy:             http.ProxyFromEnvironment,
		TLSClientConfig:   config,
		DisableKeepAlives: true, // a message is rare, and a connection that waits for the next is in the way
	}}, nil
}

// ParseURL returns the http or https address in secret. op is what it is for.
func ParseURL(op string, secret core.Secret) (*url.URL, error) {
	bad := func(message string) error {
		return &core.Error{Code: core.CodeConfig, Op: op, Message: message, Hint: "give an address such as https://host.example.org/path"}
	}
	if secret.Empty() {
		return nil, bad("there is no address")
	}
	u, err := url.Parse(strings.TrimSpace(secret.Reveal()))
	switch {
	case err != nil: // its text holds the address
		return nil, bad("the address is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, bad("the address does not begin with https:// or http://")
	case u.Hostname() == "":
		return nil, bad("the address names no host")
	}
	u.Fragment, u.RawFragment = "", ""
	return u, nil
}

// Post sends body and returns the answer. The error is one where the status is
// not 2xx, or where the answer says no in JSON; it is a *core.Error with the
// host in it, and holds nothing that veil covers. client's own policy on
// redirects does not count: none is followed. timeout 0 is Timeout.
func Post(ctx context.Context, client *http.Client, to *url.URL, header http.Header, body []byte, timeout time.Duration, veil Veil) (Answer, error) {
	return Send(ctx, client, http.MethodPost, to, header, body, timeout, veil)
}

// Send is Post with another method. With the error of an answer that says no
// comes the answer.
func Send(ctx context.Context, client *http.Client, method string, to *url.URL, header http.Header, body []byte, timeout time.Duration, veil Veil) (Answer, error) {
	if timeout <= 0 {
		timeout = Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, to.String(), strings.NewReader(string(body)))
	if err != nil {
		return Answer{}, failed(to, veil.Cover(reason(err)), "", nil)
	}
	req.Header = header.Clone()
	if req.Header == nil {
		req.Header = http.Header{}
	}
	req.Header.Set("User-Agent", "backstay")
	once := *client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	once.Jar = nil

	res, err := once.Do(req)
	if err != nil {
		return Answer{}, Failure(ctx, "post to "+to.Host, err, veil)
	}
	defer func() { _ = res.Body.Close() }() // the answer was read as far as anyone wanted
	text, err := io.ReadAll(io.LimitReader(res.Body, answerLimit+1))
	if err != nil {
		return Answer{}, Failure(ctx, "post to "+to.Host, err, veil)
	}
	answer := Answer{Status: res.StatusCode, Body: text}
	switch {
	case res.StatusCode >= 300 && res.StatusCode < 400:
		message := "it answered " + status(res.StatusCode)
		if target, err := res.Location(); err == nil {
			message += ", which leads to " + target.Scheme + "://" + target.Host
		}
		return answer, failed(to, veil.Cover(message), "redirects are not followed; configure the address that it leads to", nil)
	case res.StatusCode < 200 || res.StatusCode > 299:
		message := "it answered " + status(res.StatusCode)
		if said := said(res.Header.Get("Content-Type"), text); said != "" {
			message += ": " + said
		}
		return answer, failed(to, veil.Cover(message), statusHint(res.StatusCode), nil)
	case len(text) > answerLimit:
		return answer, failed(to, fmt.Sprintf("its answer is longer than %d bytes, and was not read to its end", answerLimit),
			"is it the address of a program that takes messages, or of a page?", nil)
	}
	if no := refusal(text); no != "" {
		return answer, failed(to, veil.Cover(fmt.Sprintf("it answered %s, and in it: %s", status(res.StatusCode), no)), "the other side's log says more", nil)
	}
	return answer, nil
}

func failed(to *url.URL, message, hint string, err error) error {
	return &core.Error{Code: core.CodeFailed, Op: "post to " + to.Host, Message: message, Hint: hint, Err: err}
}

// status returns "404 Not Found": what the other side calls it is not repeated.
func status(code int) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, http.StatusText(code)))
}

func statusHint(code int) string {
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return "look at the secret, and at what it may do there"
	case code == http.StatusNotFound || code == http.StatusGone:
		return "look at the address: the other side does not know it"
	case code == http.StatusTooManyRequests || code >= 500:
		return "the other side cannot take it now; it is tried again"
	default:
		return "the other side's log says more"
	}
}

// refusal returns what an answer says against the request: {"ok":false},
// {"success":false} (also as text, as ITFlow writes it) or an "error" that is
// not empty. It returns "" for all else: an answer need not be JSON.
func refusal(body []byte) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(body, &fields) != nil {
		return ""
	}
	why := ""
	for _, name := range []string{"error", "errors", "message", "msg", "reason"} {
		if text := scalar(fields[name]); text != "" {
			why = shorten(text)
			break
		}
	}
	for _, name := range []string{"ok", "success"} {
		if raw, ok := fields[name]; ok {
			switch strings.ToLower(scalar(raw)) {
			case "false", "0", "no":
				if why == "" {
					why = name + " is false"
				}
				return why
			}
		}
	}
	for _, name := range []string{"error", "errors"} {
		switch text := scalar(fields[name]); strings.ToLower(text) {
		case "", "false", "0", "[]", "{}":
		default:
			return shorten(text)
		}
	}
	return ""
}

// scalar returns the text of a JSON value, "" for null and for none.
func scalar(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	if s := strings.TrimSpace(string(raw)); s != "null" {
		return s
	}
	return ""
}

// said returns the beginning of an answer that a person can read.
func said(contentType string, body []byte) string {
	if no := refusal(body); no != "" {
		return no
	}
	if strings.HasPrefix(contentType, "text/plain") || strings.HasPrefix(contentType, "application/json") {
		return shorten(string(body))
	}
	return ""
}

func shorten(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > 200 {
		return string(runes[:200]) + " …"
	}
	return text
}

// Shorten returns at most n bytes of text, whole characters. What it leaves out
// is before the last quarter: messages end with what to do. n is at least 40.
func Shorten(text string, n int) string {
	if len(text) <= n {
		return text
	}
	const gap = "\n…\n"
	head, tail := n-n/4-len(gap), len(text)-n/4
	for head > 0 && !utf8.RuneStart(text[head]) {
		head--
	}
	for tail < len(text) && !utf8.RuneStart(text[tail]) {
		tail++
	}
	return strings.TrimSpace(text[:head]) + gap + strings.TrimSpace(text[tail:])
}

// reason returns the text of err without the address that net/http puts first.
func reason(err error) string {
	var address *url.Error
	if errors.As(err, &address) {
		err = address.Err
	}
	return err.Error()
}
