package process

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// IOClass is the class of a process for the scheduler of the disk.
type IOClass string

// The classes.
const (
	IOUnchanged  IOClass = "none"        // as the service's own; "" too
	IOBestEffort IOClass = "best-effort" // at its lowest priority
	IOIdle       IOClass = "idle"        // when nobody else wants the disk
)

// The numbers of linux/ioprio.h.
const (
	ioWhoProcess      = 1
	ioClassShift      = 13
	ioClassBestEffort = 2
	ioClassIdle       = 3
	ioLowest          = 7
)

// Polite gives the calling thread, and with it what it starts, these
// priorities.
func Polite(nice int, class IOClass) error {
	var problems []error
	if nice != 0 {
		if err := unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), nice); err != nil {
			problems = append(problems, fmt.Errorf("set nice %d: %w", nice, err))
		}
	}
	priority := 0
	switch class {
	case IOBestEffort:
		priority = ioClassBestEffort<<ioClassShift | ioLowest
	case IOIdle:
		priority = ioClassIdle << ioClassShift
	}
	if priority != 0 {
		if _, _, errno := unix.Syscall(unix.SYS_IOPRIO_SET, ioWhoProcess, uintptr(unix.Gettid()), uintptr(priority)); errno != 0 {
			problems = append(problems, fmt.Errorf("set ionice %s: %w", class, errno))
		}
	}
	return errors.Join(problems...)
}

// childAttributes: a group of its own, so that a signal for the service's group
// does not reach it, and SIGTERM when the service dies, so that no run goes on
// that nobody sees.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}

// expendable makes the kernel choose the run before the service, and before the
// servers of the applications, when memory runs out. Where it cannot be said, it
// is left unsaid.
func expendable(pid int) {
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
}
