// Package chat tells people of alarms in chats and on phones: everything that
// the shoutrrr library has an address for. It is a destination of package
// notify. It promises that the address, which is a secret as a whole, stands in
// no error, that a delivery ends when its context does, although the library
// knows of none, and that what the library leaves running is bounded.
package chat

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/wire"
)

// abandoned is how many sends that did not end in time may be left running: a
// service that takes connections and says nothing holds one each.
const abandoned = 4

// Options say where to send.
type Options struct {
	URL     core.Secret   // the library's address of a service: "ntfy://…", "slack://…"
	Timeout time.Duration // of one delivery; 0: wire.Timeout
}

// Chat is a destination. It is safe for concurrent use.
type Chat struct {
	opt    Options
	scheme string // of the service: "ntfy"
	query  url.Values
	veil   wire.Veil
	slots  chan struct{} // one for each send that runs
}

var _ notify.Destination = (*Chat)(nil)

// New returns a destination. It connects to nobody. Errors are about options.
func New(opt Options) (*Chat, error) {
	scheme, u, err := parse(opt.URL)
	if err != nil {
		return nil, err
	}
	if opt.Timeout <= 0 {
		opt.Timeout = wire.Timeout
	}
	return &Chat{opt: opt, scheme: scheme, query: u.Query(), veil: wire.VeilURL(opt.URL), slots: make(chan struct{}, abandoned)}, nil
}

// CheckURL says whether address is one that New takes, and what is wrong with
// it if not, without connecting to anybody.
func CheckURL(address core.Secret) error {
	_, _, err := parse(address)
	return err
}

func parse(address core.Secret) (scheme string, u *url.URL, err error) {
	const op = "configure chat"
	bad := func(message, hint string) error {
		return &core.Error{Code: core.CodeConfig, Op: op, Message: message, Hint: hint}
	}
	if address.Empty() {
		return "", nil, bad("there is no address", "give one such as ntfy://ntfy.sh/topic or slack://hook:TOKEN@webhook")
	}
	var r router.ServiceRouter
	scheme, u, err = r.ExtractServiceName(address.Reveal())
	scheme = strings.ToLower(scheme)
	services := r.ListServices()
	services = slices.DeleteFunc(services, func(name string) bool { return name == "logger" || name == "smtp" })
	slices.Sort(services)
	known := "services are " + strings.Join(services, ", ")
	switch {
	case err != nil || scheme == "": // the error's text is the address
		return "", nil, bad("the address is not a URL", "give one such as ntfy://ntfy.sh/topic; special characters in passwords are written as %40 and the like")
	case scheme == "smtp":
		return "", nil, bad("mail is not sent this way", "use the destination type mail: it encrypts, and makes threads")
	case !slices.Contains(services, scheme):
		return "", nil, bad(fmt.Sprintf("there is no service %q", scheme), known)
	case scheme == "matrix":
		// The library logs in where it should only read the address.
		if u.Hostname() == "" {
			return "", nil, bad("the address of matrix names no host", "give one such as matrix://user:password@host/?rooms=!id:host")
		}
		if _, ok := u.User.Password(); !ok {
			return "", nil, bad("the address of matrix has no password or token", "give one such as matrix://user:password@host/?rooms=!id:host")
		}
		return scheme, u, nil
	}
	if _, err := locate(address); err != nil {
		return "", nil, bad(fmt.Sprintf("%s does not take the address: %s", scheme, wire.VeilURL(address).Cover(deepest(err))), "the documentation of shoutrrr has the form of the address of each service")
	}
	return scheme, u, nil
}

// locate returns the service of an address, as the library's router does, whose
// error does not say what is wrong with it. The library's readers of addresses
// index what they split; a panic there is a wrong address, and not our end.
func locate(address core.Secret) (service types.Service, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("it cannot be read")
		}
	}()
	var r router.ServiceRouter
	scheme, u, err := r.ExtractServiceName(address.Reveal())
	if err != nil {
		return nil, err
	}
	if service, err = r.NewService(scheme); err != nil {
		return nil, err
	}
	if u.Scheme != scheme { // "generic+https": made of another program's address
		custom, ok := service.(types.CustomURLService)
		if !ok {
			return nil, router.ErrCustomURLsNotSupported
		}
		if u, err = custom.GetConfigURLFromCustom(u); err != nil {
			return nil, err
		}
	}
	// No logger: what the library would say there are the messages and answers.
	return service, service.Initialize(u, nil)
}

// deepest returns the text of the innermost error, or of all where there is
// none.
func deepest(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// Deliver sends one message. There is no ref: what was said in a chat is not
// changed later, each part of an alarm's life is a message of its own.
func (c *Chat) Deliver(ctx context.Context, ref string, m notify.Message) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.opt.Timeout)
	defer cancel()
	op := "send to " + c.scheme
	if err := ctx.Err(); err != nil {
		return "", wire.Failure(ctx, op, err, c.veil)
	}
	select {
	case c.slots <- struct{}{}:
	case <-ctx.Done():
		return "", &core.Error{
			Code: core.CodeFailed, Op: op, Message: fmt.Sprintf("%d earlier messages are still under way", abandoned),
			Hint: "the service takes connections and does not answer: is it well?", Err: ctx.Err(),
		}
	}
	text, params := c.compose(m)
	done := make(chan error, 1)
	go func() {
		defer func() { <-c.slots }()
		done <- send(c.opt.URL, text, params)
	}()
	select {
	case err := <-done:
		if err != nil {
			return "", c.failure(ctx, op, err)
		}
		return ref, nil
	case <-ctx.Done():
		return "", wire.Failure(ctx, op, ctx.Err(), c.veil)
	}
}

// failure is wire.Failure, with a hint.
func (c *Chat) failure(ctx context.Context, op string, err error) error {
	err = wire.Failure(ctx, op, err, c.veil)
	var e *core.Error
	if errors.As(err, &e) && e.Hint == "" && ctx.Err() == nil {
		e.Hint = "look at the address, and at what the service says of it; `backstay notify test` tries again"
	}
	return err
}

// send sends in one go with a service of its own: those of the library keep
// what they are told for the next message.
func send(address core.Secret, text string, params types.Params) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("the library does not understand the service's answer")
		}
	}()
	service, err := locate(address)
	if err != nil {
		return err
	}
	return service.Send(text, &params)
}

// titled says whether a service shows a title beside the text.
func (c *Chat) titled() bool {
	switch c.scheme {
	case "bark", "discord", "gotify", "join", "lark", "notifiarr", "ntfy", "opsgenie", "pushbullet", "pushover", "slack", "teams", "telegram":
		return true
	case "generic":
		return c.query.Get("template") != ""
	}
	return false
}

// limit returns how many bytes a service takes. Some refuse what is longer, and
// others cut it where the end is what counts.
func (c *Chat) limit() int {
	switch c.scheme {
	case "pushover", "pagerduty":
		return 1000
	case "discord":
		return 1900
	default:
		return 3500
	}
}

// compose returns the text and the title as the service takes them.
func (c *Chat) compose(m notify.Message) (string, types.Params) {
	subject := tame(strings.Join(strings.Fields(m.Subject), " "))
	text := strings.TrimSpace(tame(m.Text))
	params := types.Params{}
	if c.titled() {
		params.SetTitle(strings.Join(strings.Fields(wire.Shorten(subject, 120)), " ")) // a line: it may be sent as a header
	} else {
		text = strings.TrimSpace(subject + "\n\n" + text)
	}
	if text == "" {
		text = subject
	}
	return wire.Shorten(text, c.limit()), params
}

// tame returns text without what services act on: control characters, and what
// would call everybody in a room because a table is named so.
func tame(text string) string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.In(r, unicode.Cc, unicode.Bidi_Control) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	return strings.NewReplacer("@everyone", "@\u200beveryone", "@here", "@\u200bhere", "@channel", "@\u200bchannel", "@all", "@\u200ball", "@room", "@\u200broom", "<!", "<\u200b!", "<@", "<\u200b@").Replace(text)
}
