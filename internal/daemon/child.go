package daemon

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

// child is a run of a job: a process of its own.
type child struct {
	*process.Process
	job   Job
	start agenda.Start
	began time.Time
	log   *slog.Logger
	// result is what it printed, nil when that is not known or too much.
	result func() []byte
	// launched is what somebody wanted of a Launcher; nil: it is the schedule's.
	launched *launched
}

// ending is how a run ended.
type ending struct {
	child  *child
	err    error // it could not be started, or not be watched
	exit   int   // -1: a signal ended it
	signal syscall.Signal
	asked  string // why the service ended it; "": it did not
	late   bool   // that was because it took too long
	at     time.Time
}

// outcome says how a run ended, in the terms of the record.
func (e ending) outcome() core.Outcome {
	switch {
	case e.err == nil && e.signal == 0 && e.exit == 0:
		return core.OutcomeOK
	case e.err == nil && e.exit == core.CodeWarnings.ExitCode(), e.exit == core.CodeDamage.ExitCode() && e.child.job.Kind == core.RunCheck:
		return core.OutcomeWarnings // a check that found something did its work
	case e.err == nil && e.exit == core.CodeLocked.ExitCode() && e.child.launched == nil:
		return core.OutcomeMissed // something else works on the app
	case e.late:
		return core.OutcomeFailed
	case e.err == nil && (e.exit == core.CodeCancelled.ExitCode() || e.asked != ""):
		return core.OutcomeCancelled
	}
	return core.OutcomeFailed
}

// said is the error that a run ended with, as it printed it; nil when it
// printed none.
func (c *child) said() *core.Error {
	var out struct {
		Error *struct {
			Code    core.Code `json:"code"`
			Message string    `json:"message"`
			Hint    string    `json:"hint"`
		} `json:"error"`
	}
	if err := json.Unmarshal(c.result(), &out); err != nil || out.Error == nil || out.Error.Message == "" {
		return nil // a run that crashed, or something else, printed something else
	}
	return &core.Error{Code: out.Error.Code, Message: process.Short(out.Error.Message), Hint: process.Short(out.Error.Hint)}
}

// message says what happened, for the record of a run that wrote none itself.
func (e ending) message() string {
	said := e.child.said()
	if said != nil && e.err == nil && e.signal == 0 {
		return said.Message
	}
	tail := ""
	if last := e.child.Last(); last != "" {
		tail = "; the last it said: " + last
	}
	switch {
	case e.err != nil:
		return "the run could not be started: " + e.err.Error()
	case e.asked != "" && e.signal != 0:
		return fmt.Sprintf("%s, and the run did not end by itself (%s)%s", e.asked, signalName(e.signal), tail)
	case e.asked != "":
		return e.asked
	case e.signal != 0:
		return fmt.Sprintf("the run was ended by %s%s", signalName(e.signal), tail)
	}
	return fmt.Sprintf("the run ended with code %d%s", e.exit, tail)
}

// hint says what to do about it.
func (e ending) hint() string {
	said := e.child.said()
	switch {
	case said != nil && e.err == nil && e.signal == 0:
		return said.Hint
	case e.err != nil:
		return "see that backstay is installed and that the machine has memory and processes left; after an upgrade restart the service: systemctl restart backstay"
	case e.signal == unix.SIGKILL && e.asked == "":
		return "see whether the machine ran out of memory: journalctl -k -g 'out of memory'"
	case e.late:
		return "see what it waited for: journalctl -u backstay; or give it more time"
	case e.signal != 0 && e.asked == "":
		return "see what the run said: journalctl -u backstay"
	}
	return ""
}

func signalName(s syscall.Signal) string {
	if name := unix.SignalName(s); name != "" {
		return name
	}
	return s.String()
}
