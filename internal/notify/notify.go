// Package notify tells people of alarms where they look: tickets, mail, chat.
// It decides which alarms to open, update and close from the problems that are
// there now, and what each destination still has to be told. The packages below
// it are the destinations. It is for package operation. It promises that a
// condition is one alarm for as long as it lasts, that a destination that was
// down is told later, that another takes its place meanwhile, and that no
// message holds a secret.
package notify

import (
	"context"

	"github.com/backstay/backstay/internal/core"
)

// Message is what a destination is told of an alarm.
type Message struct {
	Part    core.AlarmPart
	Alarm   core.Alarm
	Host    string // the machine that it comes from
	Subject string // one line of plain text
	Text    string // plain text: what failed, since when, what is still safe, what to do
	HTML    string // the same
	Marker  string // unique to the alarm, and in Text and HTML: finds a ticket whose number was lost
}

// Destination is where people are told. Package notifytest holds the tests that
// all must pass.
type Destination interface {
	// Deliver tells of one part of an alarm's life. ref is what an earlier
	// Deliver of this alarm returned, "" when there was none or it was lost.
	//
	// It MUST return an error unless the other side said that it took it: an
	// answer with status 200 that says otherwise inside is an error. It MUST be
	// safe to repeat: when a ticket for Message.Marker is open already, and ref
	// is "", it is used and not opened again, where the other side can be asked.
	// It ends when ctx does. Errors hold no secrets.
	Deliver(ctx context.Context, ref string, m Message) (newRef string, err error)
}

// Post is a destination of an app, in the order of the configuration.
type Post struct {
	Name string // unique in the configuration
	Destination
	// Fallback: only told of what none of those before it took.
	Fallback bool
}

// Ledger keeps alarms. OpenAlarms MUST return those too that are closed and
// whose closing some destination has not been told of.
type Ledger interface {
	OpenAlarms(ctx context.Context) ([]core.Alarm, error)
	// SaveAlarm keeps an alarm; one without an ID is new, and is given one.
	SaveAlarm(ctx context.Context, a *core.Alarm) error
}
