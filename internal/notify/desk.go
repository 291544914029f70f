package notify

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Matter is what an alarm is about.
type Matter struct {
	App   string // "": the machine
	Topic core.Topic
}

// Scope says what was looked at. Alarms of other matters stay as they are.
type Scope map[Matter]bool

// Add says that topics of app were looked at.
func (s Scope) Add(app string, topics ...core.Topic) {
	for _, t := range topics {
		s[Matter{app, t}] = true
	}
}

// Desk opens, updates and closes alarms. It is safe for concurrent use where
// Lock is set.
type Desk struct {
	// Posts returns the destinations of an app, in the order of the
	// configuration; "" is for the machine's alarms. An app that is not
	// configured any more may have all of the configuration: only those that were
	// told of its alarm are told of the end.
	Posts    func(app string) []Post
	Ledger   Ledger
	Clock    core.Clock
	Log      *slog.Logger   // nil: none
	Host     string         // the machine's name; tickets are found by it
	Location *time.Location // whose time people read; nil: UTC
	Timeout  time.Duration  // of one delivery; 0: 30 s
	// Known says whether an app is in the configuration: alarms of others are
	// closed. nil: all are.
	Known func(app string) bool
	// Lock keeps others, also other processes, from telling the same at the same
	// time. nil, or an error: without, and then some may be told twice.
	Lock func(ctx context.Context) (unlock func(), err error)
}

// Changes is what Reconcile did.
type Changes struct {
	Opened, Updated, Closed []core.Alarm
	Open                    []core.Alarm // all that are open now, also those of other matters
	Failed                  []Failure    // what could not be delivered; it is tried again at the next Reconcile
	Untold                  []core.Alarm // open, with destinations, none of which was ever told
}

// Failure is a delivery that failed.
type Failure struct {
	Post  string
	Alarm core.Alarm
	Part  core.AlarmPart
	Err   error // without secrets
}

// Problems returns one problem for each alarm that nobody could be told of.
func (c Changes) Problems() []core.Problem {
	var problems []core.Problem
	for _, a := range c.Untold {
		about := a.App
		if about == "" {
			about = "this machine"
		}
		why := ""
		for _, f := range c.Failed {
			if f.Alarm.App == a.App && f.Alarm.Topic == a.Topic {
				why += "; " + f.Post + ": " + f.Err.Error()
			}
		}
		problems = append(problems, core.Problem{
			Topic: core.TopicService, Name: "undeliverable", Object: a.App,
			Message: Line(fmt.Sprintf("nobody could be told of the alarm of %s (%s)%s", about, InWords(a), why), messageMax),
			Hint:    "see to the destinations, then: backstay notify test", Level: core.LevelAlarm,
		})
	}
	return problems
}
