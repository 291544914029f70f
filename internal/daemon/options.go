package daemon

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

// Options is what the service is given. Load, StateDir, and Command here or in
// the plan are needed.
type Options struct {
	// Load makes the plan from the configuration as it is now. It is called at
	// the start, on SIGHUP, when one of Plan.WatchFiles changes, and every
	// Plan.RefreshEvery; never twice at once. Its error names file, setting and
	// remedy: the service goes on with the plan that it has.
	Load func(ctx context.Context) (Plan, error)
	// Command returns the arguments, without the program's name, of the process
	// that is to do the job, where Plan.Command does not. It is called while Load
	// may run.
	Command func(job Job, start agenda.Start) []string
	// Executable is the program that is run; "": this one.
	Executable string
	// Environment is that of the processes; nil: this process's. NOTIFY_SOCKET
	// and what else is meant for the service alone is taken out of it.
	Environment []string
	StateDir    string
	// Listen is the address of /metrics and /healthz, whatever the plan says;
	// "": as the plan says.
	Listen string
	Clock  core.Clock   // nil: the machine's
	Log    *slog.Logger // nil: nothing is logged
	// Version and Revision stand in the metrics.
	Version, Revision string
	// Problems is told what is wrong with the service itself, and an empty list
	// when it is over: once at the start, and then when it changes. It is called
	// from a goroutine of its own, and may take its time; nil: nobody is told.
	Problems func(ctx context.Context, problems []core.Problem)
	// Handler answers for every path but /metrics and /healthz, which are the
	// service's; nil: there are none. It has no time limits, and sets its own with
	// http.ResponseController. The context of a request ends when the service
	// does, or no longer listens there.
	Handler http.Handler
	// Launcher starts what people want; nil: nobody can.
	Launcher *Launcher
	// Ready is called once, when the service is up, with the address that it
	// listens on, "" for none; nil: nobody is told.
	Ready func(address string)
}

// Plan is what is to be done, by the configuration of the moment.
type Plan struct {
	Jobs []Job
	// Command is as Options.Command, for the jobs of this plan; nil: that is asked.
	Command func(job Job, start agenda.Start) []string
	// Digest tells plans apart: two with the same one are the same.
	Digest string
	// WatchFiles are the files that the plan was made from: the configuration,
	// and those of applications that say themselves when they want to be backed
	// up. They need not exist.
	WatchFiles []string
	// RefreshEvery is how often the plan is made anew without a reason; 0: never.
	// It is for schedules that come out of a database.
	RefreshEvery time.Duration
	// Repository is what the state database calls the repository, for the
	// metrics about it; "": there are none.
	Repository string
	// Problems are what else the plan's making found out about the machine or
	// single apps; Options.Problems is told of them with those of the service.
	Problems []core.Problem
	Service  Service
}

// Service are the settings of the service.
type Service struct {
	Listen   string        // host:port; "": no HTTP
	TLS      TLS           // of what is served there
	Parallel int           // jobs at a time; 0: one
	Grace    time.Duration // a run that begins later than this was missed; 0: as agenda has it
	Nice     int           // of the processes, 0 to 19
	IOClass  IOClass
	// Cancel says that runs are cancelled when the service ends, and not waited
	// for.
	Cancel bool
	// StopTimeout is how long the end of the service may take: after it running
	// jobs are cancelled; 0: half an hour.
	StopTimeout time.Duration
}

// IOClass is the class of a process for the scheduler of the disk.
type IOClass = process.IOClass

// The classes.
const (
	IOUnchanged  = process.IOUnchanged  // as the service's own; "" too
	IOBestEffort = process.IOBestEffort // at its lowest priority
	IOIdle       = process.IOIdle       // when nobody else wants the disk
)

// Job is something that is to be done again and again. One with Err is shown as
// it is, and never runs.
type Job struct {
	agenda.Job
	// Timeout ends a run that takes longer; 0: no limit.
	Timeout time.Duration
	// Then is the key of the job that begins at once when a run of this one was
	// killed, hung or could not be started: it could not look after itself; and
	// when its schedule cannot be understood any more, or can be again.
	Then string
}
