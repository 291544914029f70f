package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// unseenMax is how long a run counts as running whose process cannot be looked
// at from here, because it runs, or ran, in another container.
const unseenMax = 24 * time.Hour

// process tells a process from all others that have, had and will have its
// number: proc(5) has the start time in field 22 of /proc/PID/stat, in ticks
// since the machine's start. Parts that are not known are "-".
type process struct {
	boot  string // of the machine's start
	space string // the namespace that the number is of
	start string
}

func (p process) String() string { return p.boot + " " + p.space + " " + p.start }

func parseProcess(s string) process {
	p := process{"-", "-", "-"}
	_, _ = fmt.Sscan(s, &p.boot, &p.space, &p.start) // what is missing stays unknown
	return p
}

// processOf describes the process with a number in our namespace.
func processOf(pid int) process {
	p := process{"-", "-", "-"}
	if b, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err == nil && len(bytes.TrimSpace(b)) > 0 {
		p.boot = string(bytes.TrimSpace(b))
	}
	if link, err := os.Readlink("/proc/self/ns/pid"); err == nil {
		p.space = link
	}
	if start, _, err := procStat(pid); err == nil {
		p.start = start
	}
	return p
}

// procStat returns when a process started and its state's letter.
func procStat(pid int) (start, state string, err error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "", "", err
	}
	// Field 2 is the program's name in parentheses, and may hold both spaces and parentheses.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return "", "", fmt.Errorf("read /proc/%d/stat: too short", pid)
	}
	return fields[19], fields[0], nil
}

// gone says whether the process pid, which was p when it began a run that long
// ago, has ended. In doubt it has not.
func gone(pid int, p process, ago time.Duration) bool {
	here := processOf(os.Getpid())
	switch {
	case p.boot != "-" && here.boot != "-" && p.boot != here.boot:
		return true
	case p.space != here.space:
		return ago > unseenMax
	case errors.Is(unix.Kill(pid, 0), unix.ESRCH): // EPERM: it is there, and another's
		return true
	}
	start, state, err := procStat(pid)
	if err != nil {
		return false // it is there, and hidden (hidepid)
	}
	return state == "Z" || state == "X" || p.start != "-" && p.start != start
}
