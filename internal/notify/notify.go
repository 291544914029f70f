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

// Message is what a destination is told of an alarm. All texts are valid UTF-8
// without control characters, and bounded.
type Message struct {
	Part    core.AlarmPart
	Alarm   core.Alarm // its ID is 0 where the ledger could not be written; its texts are clean and redacted
	Host    string     // the machine that it comes from
	Subject string     // one line of plain text
	Text    string     // plain text: what failed, since when, what is still safe, what to do
	HTML    string     // the same, a fragment: p, ul, li, b, code, br and nothing else
	// Marker is unique to the alarm, in Text and HTML, and consists of letters,
	// digits and dashes. It begins with Matter, which all alarms of one topic of
	// one app of one machine share: only one of them is open at a time, and
	// whatever was forgotten, the ticket that is open and holds Matter is theirs.
	Matter string
	Marker string
}

// IsTest says whether the message is of a test and of no alarm: nothing that
// watches backups may take it for one.
func (m Message) IsTest() bool { return m.Part == core.AlarmTest || m.Alarm.Topic == topicTest }

// Destination is where people are told. Package notifytest holds the tests that
// all must pass. It is safe for concurrent use.
type Destination interface {
	// Deliver tells of one part of an alarm's life. ref is what an earlier
	// Deliver of this alarm returned, "" when there was none or it was lost.
	//
	// It MUST return an error unless the other side said that it took it: an
	// answer with status 200 that says otherwise inside is an error. It MUST be
	// safe to repeat: when a ticket for Message.Matter is open already, and ref
	// is "", it is used and not opened again, where the other side can be asked;
	// closing what is closed already, or was never opened, is no error. An update
	// of what is not open any more opens it again. AlarmTest is told of, and
	// leaves nothing open. It ends when ctx does. Errors hold no secrets.
	Deliver(ctx context.Context, ref string, m Message) (newRef string, err error)
}

// Borrowed is the name of a post that is in no configuration, but comes with a
// command line: what it was told of stays open with it until it is there again.
const Borrowed = "param_file"

// Post is a destination of an app, in the order of the configuration.
type Post struct {
	Name string // unique in the configuration
	Destination
	// Fallback: only told of what none of those before it took.
	Fallback bool
}

// Ledger keeps alarms. OpenAlarms MUST return those too that are closed and
// whose closing some destination has not been told of: one that has
// Delivery.Told other than "" and AlarmClosed.
type Ledger interface {
	OpenAlarms(ctx context.Context) ([]core.Alarm, error)
	// SaveAlarm keeps an alarm; one without an ID is new, and is given one.
	SaveAlarm(ctx context.Context, a *core.Alarm) error
}
