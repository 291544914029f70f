package daemon

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
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
	if len(s.running) == 0 {
		return
	}
	s.log.Info("the service ends when its runs have", "running", len(s.running), "cancelled_after", limit)
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
	for len(s.running) > 0 {
		select {
		case e := <-s.ended:
			s.finished(e)
			s.show(s.clock.Now())
		case <-ask.C:
			for _, c := range s.running {
				c.ask("the service ended", false)
			}
		case <-kill.C:
			for _, c := range s.running {
				c.log.Error("the run does not end by itself and is killed")
				c.kill()
			}
		case <-leave.C: // as processes do that wait for a disk or a network that is gone
			for _, c := range s.running {
				c.log.Error("the run cannot even be killed and is left behind")
				s.keeper.settle(ending{child: c, exit: -1, signal: unix.SIGKILL, asked: "the service ended", at: s.clock.Now()})
			}
			return
		case <-extend.C:
			s.manager.extend(3*s.wait.extend, s.stopStatus(limit))
		case <-alive:
			s.manager.alive()
		case <-hup: // nothing is begun any more
		}
	}
}

// usualStop is how long runs are waited for when nothing is said.
const usualStop = 30 * time.Minute

func (s *service) stopStatus(limit time.Duration) string {
	if len(s.running) == 0 {
		return "ending"
	}
	return fmt.Sprintf("ending; %d runs are waited for, at most %s", len(s.running), limit+s.wait.kill)
}
