package proof

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// stepBack makes this process, and what it starts, stand back for others. On
// Linux each thread has a priority of its own; those to come take that of the
// one that makes them. One that stands back further already stays.
func stepBack(nice int) {
	if nice <= 0 {
		return
	}
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return // another system: the drill is as good, and others feel it
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		if now, err := unix.Getpriority(unix.PRIO_PROCESS, id); err == nil && 20-now < nice { // the call gives 20 - nice
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, nice) // a thread may be gone
		}
	}
}
