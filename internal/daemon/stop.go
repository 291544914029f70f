package daemon

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/schedule/agenda"
)

// end lets the runs end, or ends them.
func (s *service) end(hup <-chan os.Signal) {
	s.stopping = true
	limit := s.plan.Service.StopTimeout
	if limit <= 0 {
		limit = usualStop
	}
	if s.plan.Service.Cancel {
		limit = 0
	}
	s.manager.stopping(s.stopStatus(limit))
	s.show(s.clock.Now())
	if s.busy() == 0 {
		return
	}
	s.log.Info("the service ends when its runs have", "running", s.busy(), "cancelled_after", limit)
	alive, endAlive := s.heartbeat()
	defer endAlive()
	ask := time.NewTimer(limit)
	defer ask.Stop()
	kill := time.NewTimer(limit + s.wait.kill)
	defer kill.Stop()
	leave := time.NewTimer(limit + 2*s.wait.kill)
	defer leave.Stop()
	extend := time.NewTicker(s.wait.extend)
	defer extend.Stop()
	s.manager.extend(3*s.wait.extend, s.stopStatus(limit))
	for s.busy() > 0 {
		select {
		case e := <-s.ended:
			s.finished(e)
			s.show(s.clock.Now())
		case <-ask.C:
			for _, c := range s.children() {
				c.Ask(whyEnd, false)
			}
		case <-kill.C:
			for _, c := range s.children() {
				c.log.Error("the run does not end by itself and is killed")
				c.Kill()
			}
		case <-leave.C: // as processes do that wait for a disk or a network that is gone
			for _, c := range s.children() {
				c.log.Error("the run cannot even be killed and is left behind")
				e := ending{child: c, exit: -1, signal: unix.SIGKILL, asked: whyEnd, at: s.clock.Now()}
				if c.launched == nil {
					s.agenda.Done(c.job.Key, e.at)
					s.again(e)
				}
				s.keeper.settle(e)
			}
			return
		case <-extend.C:
			s.manager.extend(3*s.wait.extend, s.stopStatus(limit))
		case <-alive:
			s.manager.alive()
		case <-hup: // nothing is begun any more
		case <-s.poke: // a launched one has ended
		case a := <-s.asks:
			s.askScheduled(a)
		}
	}
}

// children are all processes that run, of schedules and launched.
func (s *service) children() []*child {
	return append(slices.Collect(maps.Values(s.running)), s.o.Launcher.children()...)
}

func (s *service) busy() int { return len(s.running) + s.o.Launcher.count() }

// whyEnd is why runs are ended that the service no longer waits for.
const whyEnd = "the service ended"

// again has what a run was for be due again, when it was the service's end that
// ended it: the next start catches it up.
func (s *service) again(e ending) {
	start := e.child.start
	if e.asked != whyEnd || e.outcome() != core.OutcomeCancelled || start.Trigger == agenda.TriggerAsked || !s.agenda.Undo(e.child.job.Key, start.Due) {
		return
	}
	e.child.log.Info("it is caught up when the service runs again", "due", start.Due)
	s.keeper.remember(s.agenda.Changed())
}

// usualStop is how long runs are waited for when nothing is said.
const usualStop = 30 * time.Minute

func (s *service) stopStatus(limit time.Duration) string {
	n := s.busy()
	if n == 0 {
		return "ending"
	}
	return fmt.Sprintf("ending; %d runs are waited for, at most %s", n, limit+s.wait.kill)
}
