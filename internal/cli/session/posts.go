package session

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/config"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
	"github.com/backstay/backstay/internal/notify/chat"
	"github.com/backstay/backstay/internal/notify/itflow"
	"github.com/backstay/backstay/internal/notify/itop"
	"github.com/backstay/backstay/internal/notify/mail"
	"github.com/backstay/backstay/internal/notify/ping"
	"github.com/backstay/backstay/internal/notify/webhook"
	"github.com/backstay/backstay/internal/operation"
)

// posts wires the destinations of an app. One that cannot be used does not keep
// the others from being told: it takes their place with its error.
func (s *Session) posts(app string, list []config.Destination) []notify.Post {
	var out []notify.Post
	for _, d := range list {
		made, err := s.destination(app, d)
		if err != nil {
			made = unusable{fmt.Errorf("destination %s of app %s: %w", d.Name, app, err)}
		}
		out = append(out, notify.Post{Name: d.Name, Destination: made, Fallback: d.Fallback})
	}
	return out
}

// unusable is a destination whose settings or secret cannot be used.
type unusable struct{ err error }

func (u unusable) Deliver(context.Context, string, notify.Message) (string, error) {
	return "", u.err
}

var _ notify.Destination = unusable{}

func (s *Session) destination(app string, d config.Destination) (notify.Destination, error) {
	secret, err := s.secretOf(d, d.Secret)
	if err != nil {
		return nil, err
	}
	address, err := s.secretOf(d, d.Address)
	if err != nil {
		return nil, err
	}
	clock := s.Env.Clock
	switch d.Type {
	case config.NotifyITop:
		protocol := itop.REST
		if d.ITop.SOAP {
			protocol = itop.SOAP
		}
		return itop.New(itop.Options{
			URL: d.URL, User: d.User, Password: secret, CA: d.CA, Protocol: protocol, Title: d.ITop.Title, Organization: d.ITop.Customer,
			Service: d.ITop.Service, Subcategory: d.ITop.ServiceSubcategory, Team: d.ITop.Workgroup, Server: d.ITop.ImpactedServer, Caller: d.ITop.Caller, Agent: d.ITop.Agent,
		})
	case config.NotifyITFlow:
		return itflow.New(itflow.Options{
			URL: d.URL, Key: secret, CA: d.CA, ClientID: d.ITFlow.ClientID, ContactID: d.ITFlow.ContactID, Priority: d.ITFlow.Priority, AssignedTo: d.ITFlow.AssignedTo,
		})
	case config.NotifyMail:
		return mail.New(mail.Options{
			Host: d.Mail.Host, Port: d.Mail.Port, TLS: d.Mail.TLS, CA: d.CA, User: d.User, Password: secret, From: d.Mail.From, To: d.Mail.To, Clock: clock,
		})
	case config.NotifyWebhook:
		return webhook.New(webhook.Options{URL: address, Secret: secret, Headers: d.Headers, CA: d.CA, Clock: clock})
	case config.NotifyChat:
		return chat.New(chat.Options{URL: address})
	case config.NotifyPing:
		return ping.New(ping.Options{URL: address, CA: d.CA})
	}
	return nil, fmt.Errorf("there is no destination of type %q", d.Type)
}

// TryDestination says why a destination cannot be used as it is configured. It
// tells nobody anything.
func (s *Session) TryDestination(app string, d config.Destination) error {
	_, err := s.destination(app, d)
	return err
}

func (s *Session) secretOf(d config.Destination, source config.SecretSource) (core.Secret, error) {
	if !source.Given() {
		return core.Secret{}, nil
	}
	return config.ResolveSecret(source, "the destination "+d.Name, s.LookupEnv)
}

// pings wires the monitors of an app that hear of its runs. One that cannot be
// used is told of by notify.
func (s *Session) pings(list []config.Destination) []operation.Pinger {
	var out []operation.Pinger
	for _, d := range list {
		if d.Type != config.NotifyPing {
			continue
		}
		address, err := s.secretOf(d, d.Address)
		var p *ping.Pinger
		if err == nil {
			p, err = ping.New(ping.Options{URL: address, CA: d.CA})
		}
		if err != nil {
			s.Printer.Warn(core.Warning{Object: "destination " + d.Name, Message: err.Error()})
			continue
		}
		out = append(out, runPinger{p})
	}
	return out
}

// runPinger pings as a run begins and ends.
type runPinger struct{ *ping.Pinger }

func (p runPinger) Ping(ctx context.Context, run core.Run) error {
	return p.Pinger.Ping(ctx, ping.EventOf(run.Outcome), run)
}

var _ operation.Pinger = runPinger{}
