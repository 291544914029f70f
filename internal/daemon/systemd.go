package daemon

import (
	"fmt"
	"log/slog"
	"strings"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// manager tells systemd how the service does (sd_notify(3)). Without systemd it
// does nothing.
type manager struct {
	log   *slog.Logger
	told  bool // that it cannot be told
	every time.Duration
}

// newManager reads what systemd gave the service. Its watchdog is to be told
// twice in its time.
func newManager(log *slog.Logger) *manager {
	m := &manager{log: log}
	limit, err := systemd.SdWatchdogEnabled(false)
	if err != nil {
		log.Warn("the watchdog of systemd stays unanswered", "err", err)
	}
	m.every = limit / 2
	return m
}

func (m *manager) tell(states ...string) {
	if _, err := systemd.SdNotify(false, strings.Join(states, "\n")); err != nil && !m.told {
		m.told = true
		m.log.Warn("tell systemd how the service does", "err", err)
	}
}

func (m *manager) ready(status string) { m.tell(systemd.SdNotifyReady, m.line(status)) }

func (m *manager) status(status string) { m.tell(m.line(status)) }

func (m *manager) stopping(status string) { m.tell(systemd.SdNotifyStopping, m.line(status)) }

func (m *manager) alive() { m.tell(systemd.SdNotifyWatchdog) }

// reloading begins what ready ends. systemd wants the time of its own clock.
func (m *manager) reloading() {
	m.tell(systemd.SdNotifyReloading, fmt.Sprintf("MONOTONIC_USEC=%d", monotonic().Microseconds()))
}

// monotonic is the time of a clock that nobody sets, 0 where there is none.
func monotonic() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return 0
	}
	return time.Duration(now.Nano())
}

// extend asks for more time to end in.
func (m *manager) extend(by time.Duration, status string) {
	m.tell(fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", by.Microseconds()), m.line(status))
}

func (m *manager) line(status string) string {
	return "STATUS=" + strings.ReplaceAll(status, "\n", " ")
}

// ownVariables are for the service alone: a run that answered for it would keep a
// service alive that hangs. Those of a launched run are each run's own.
func ownVariables() []string {
	return []string{EnvRun, EnvBy, EnvVia, "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "MAINPID", "FDSTORE"}
}

// forChildren returns the environment without what is the service's.
func forChildren(env []string) []string {
	var out []string
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		mine := false
		for _, v := range ownVariables() {
			mine = mine || v == name
		}
		if !mine {
			out = append(out, e)
		}
	}
	return out
}
