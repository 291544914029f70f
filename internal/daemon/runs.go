package daemon

import (
	"maps"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon/process"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

// begin starts a run.
func (s *service) begin(start agenda.Start, now time.Time) {
	job, ok := s.jobs[start.Job.Key]
	if !ok {
		job = Job{Job: start.Job}
	}
	job.Job = start.Job
	log := s.log.With("app", job.App, "kind", job.Kind)
	if job.Name != "" {
		log = log.With("schedule", job.Name)
	}
	out := &process.Limited{}
	c := &child{Process: process.New(log, out), job: job, start: start, began: now, log: log, result: out.Result}
	s.running[job.Key] = c
	arguments := s.o.Command
	if s.plan.Command != nil {
		arguments = s.plan.Command
	}
	how := process.Command{
		Path: s.path, Spare: s.spare, Args: arguments(job, start), Env: s.env,
		Nice: s.plan.Service.Nice, IO: s.plan.Service.IOClass, Pipes: s.wait.pipes,
	}
	log.Info("the run begins", "due", start.Due, "trigger", start.Trigger)
	go func() {
		timeout := c.Limit(job.Timeout, s.wait.kill)
		exit, signal, err := c.Run(how, s.politely, func(error) {})
		timeout()
		asked, late := c.Asked()
		s.ended <- ending{child: c, err: err, exit: exit, signal: signal, asked: asked, late: late, at: s.clock.Now()}
	}()
}

// politely says once that priorities cannot be set; runs go on without.
func (s *service) politely(nice int, io IOClass) error {
	err := s.polite(nice, io)
	if err != nil {
		s.impolite.Do(func() { s.log.Warn("runs have the service's own priority", "err", err) })
	}
	return err
}

// finished records the end of a run.
func (s *service) finished(e ending) {
	c, now := e.child, e.at
	delete(s.running, c.job.Key)
	s.agenda.Done(c.job.Key, now)
	took := now.Sub(c.began)
	outcome := e.outcome()
	if c.job.Kind == core.RunBackup && outcome != core.OutcomeMissed {
		s.ran = maps.Clone(s.ran)
		s.ran[c.job.App] = &core.Run{App: c.job.App, Kind: c.job.Kind, Started: c.began, Finished: &now, Outcome: outcome}
	}
	attrs := []any{"outcome", outcome, "exit", e.exit, "took", took.Round(time.Millisecond).String()}
	switch {
	case e.err != nil:
		c.log.Error("the run could not be started", "err", e.err)
		s.problems["cannot-start"] = core.Problem{
			Topic: core.TopicService, Name: "cannot-start", Level: core.LevelAlarm, Message: e.message(), Hint: e.hint(),
		}
	case outcome == core.OutcomeFailed:
		c.log.Error("the run failed: "+e.message(), append(attrs, "hint", e.hint())...)
	default:
		c.log.Info("the run has ended", attrs...)
	}
	if e.err == nil {
		delete(s.problems, "cannot-start")
	}
	s.again(e)
	s.keeper.settle(e)
	if c.job.Then != "" && outcome == core.OutcomeFailed && (e.err != nil || e.signal != 0 || e.asked != "") {
		s.agenda.Ask(c.job.Then, now)
	}
}
