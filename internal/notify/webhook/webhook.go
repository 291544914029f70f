// Package webhook tells a program of alarms: it posts them as signed JSON to an
// address. It is a destination of package notify. It promises that what it
// sends is the documented form (docs/notify.md), that the receiver can tell
// that it comes from here and when, and that only an answer that takes it
// counts.
package webhook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// SignatureHeader is the header with the signature.
const SignatureHeader = "X-Backstay-Signature"

// Options say where to post.
type Options struct {
	URL     core.Secret            // http or https; its path may be a secret
	Secret  core.Secret            // to sign with; empty: not signed
	Headers map[string]core.Secret // more headers, such as Authorization
	CA      string                 // PEM file with the authorities to trust; "": the system's
	Timeout time.Duration          // of one delivery; 0: wire.Timeout
	Clock   core.Clock             // nil: the machine's
	Client  *http.Client           // nil: one that trusts CA
}

// Webhook is a destination. It is safe for concurrent use.
type Webhook struct {
	opt     Options
	url     *url.URL
	headers http.Header
	veil    wire.Veil
}

var _ notify.Destination = (*Webhook)(nil)

// New returns a destination. It connects to nobody. Errors are about options.
func New(opt Options) (*Webhook, error) {
	const op = "configure webhook"
	u, err := wire.ParseURL(op, opt.URL)
	if err != nil {
		return nil, err
	}
	if opt.Clock == nil {
		opt.Clock = core.SystemClock{}
	}
	if opt.Client == nil {
		if opt.Client, err = wire.Client(opt.CA); err != nil {
			return nil, err
		}
	}
	w := &Webhook{opt: opt, url: u, headers: http.Header{}}
	hidden := []core.Secret{opt.Secret}
	for name, value := range opt.Headers {
		if err := checkHeader(op, name, value); err != nil {
			return nil, err
		}
		w.headers.Set(name, value.Reveal())
		hidden = append(hidden, value)
		if _, credentials, ok := strings.Cut(value.Reveal(), " "); ok { // "Bearer …"
			hidden = append(hidden, core.NewSecret(credentials))
		}
	}
	w.headers.Set("Content-Type", "application/json")
	w.veil = wire.VeilURL(opt.URL, hidden...)
	return w, nil
}

// reserved are the headers that the configuration cannot set.
func reserved() []string {
	return []string{"Connection", "Content-Length", "Content-Type", "Host", "Transfer-Encoding", "Upgrade", "User-Agent", SignatureHeader}
}

func checkHeader(op, name string, value core.Secret) error {
	bad := func(message, hint string) error {
		return &core.Error{Code: core.CodeConfig, Op: op, Message: message, Hint: hint}
	}
	isToken := func(r rune) bool {
		return r > ' ' && r < 0x7f && !strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	}
	switch {
	case name == "" || strings.ContainsFunc(name, func(r rune) bool { return !isToken(r) }):
		return bad(fmt.Sprintf("%q is not the name of a header", name), "names have letters, digits and dashes")
	case slices.Contains(reserved(), textproto.CanonicalMIMEHeaderKey(name)):
		return bad(fmt.Sprintf("the header %s is not for the configuration to set", name), "backstay sets it itself")
	case strings.ContainsFunc(value.Reveal(), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return bad(fmt.Sprintf("the value of header %s has more than one line, or other control characters", name), "a value is one line of text")
	}
	return nil
}

// payload is the body of a request.
type payload struct {
	Schema  int            `json:"schema"`
	Part    core.AlarmPart `json:"part"`
	Alarm   alarm          `json:"alarm"`
	Host    string         `json:"host"`
	Subject string         `json:"subject"`
	Text    string         `json:"text"`
	Matter  string         `json:"matter"`
	Marker  string         `json:"marker"`
	Ref     string         `json:"ref,omitempty"` // what the receiver answered to an earlier part
}

// alarm is core.Alarm without what other destinations were told.
type alarm struct {
	ID       int64          `json:"id"`
	App      string         `json:"app"`
	Topic    core.Topic     `json:"topic"`
	Opened   time.Time      `json:"opened"`
	Updated  time.Time      `json:"updated"`
	Closed   *time.Time     `json:"closed"`
	Problems []core.Problem `json:"problems"`
}

// Deliver posts one part of an alarm's life. The ref is what the receiver calls
// it, where its answer is JSON with a "ref", and else the one that was given.
func (w *Webhook) Deliver(ctx context.Context, ref string, m notify.Message) (string, error) {
	problems := m.Alarm.Problems
	if problems == nil {
		problems = []core.Problem{}
	}
	body, err := json.Marshal(payload{
		Schema: 1, Part: m.Part, Host: m.Host, Subject: m.Subject, Text: m.Text, Matter: m.Matter, Marker: m.Marker, Ref: ref,
		Alarm: alarm{
			ID: m.Alarm.ID, App: m.Alarm.App, Topic: m.Alarm.Topic,
			Opened: m.Alarm.Opened.UTC(), Updated: m.Alarm.Updated.UTC(), Closed: m.Alarm.Closed, Problems: problems,
		},
	})
	if err != nil {
		return "", fmt.Errorf("write alarm %d as JSON: %w", m.Alarm.ID, err)
	}
	headers := w.headers.Clone()
	if !w.opt.Secret.Empty() {
		headers.Set(SignatureHeader, Sign(w.opt.Secret, w.opt.Clock.Now(), body))
	}
	answer, err := wire.Post(ctx, w.opt.Client, w.url, headers, body, w.opt.Timeout, w.veil)
	if err != nil {
		return "", err
	}
	var said struct {
		Ref string `json:"ref"`
	}
	if json.Unmarshal(answer.Body, &said) == nil && said.Ref != "" && len(said.Ref) <= 200 {
		ref = said.Ref
	}
	return ref, nil
}

// Sign returns the value of SignatureHeader for a body that is sent at a time:
// "t=UNIX,v1=HEX", where HEX is the HMAC-SHA256 of UNIX, a dot and the body.
func Sign(secret core.Secret, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret.Reveal()))
	mac.Write([]byte(t + "."))
	mac.Write(body)
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
