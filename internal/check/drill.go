package check

import (
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// LastDrill is how an app's newest drill ended.
type LastDrill struct {
	Backup string
	Time   time.Time
	Passed bool
	Failed []string // the first items that failed, or why it could not go on
	// What was measured, and what was promised; a target of 0 is none.
	RTO, RTOTarget, RPO, RPOTarget time.Duration
}

// drill judges the newest drill. One that failed is an alarm until a later one
// passes; a target that was missed is worth knowing.
func (j *judge) drill() {
	d := j.in.Drill
	if d == nil {
		return
	}
	if !d.Passed {
		why := "it does not say why"
		if len(d.Failed) > 0 {
			why = strings.TrimSuffix(d.Failed[0], ".")
		}
		if len(d.Failed) > 1 {
			why += fmt.Sprintf(", and %d more", len(d.Failed)-1)
		}
		j.add(core.TopicProof, core.LevelAlarm, "drill-failed", brief(d.Backup), fmt.Sprintf("the drill of backup %s on %s failed: %s", brief(d.Backup), j.when(d.Time), why),
			"its report says what was looked at; backstay drill "+j.in.App+" drills the newest backup, and closes this when it passes")
		return
	}
	for _, o := range []struct {
		name, what string
		is, target time.Duration
	}{
		{"rto-missed", "the last drill took %s to recover, and the target is %s", d.RTO, d.RTOTarget},
		{"rpo-missed", "at the last drill the newest backup was %s old, and the target is %s", d.RPO, d.RPOTarget},
	} {
		if o.target > 0 && o.is > o.target {
			j.add(core.TopicProof, core.LevelNotice, o.name, "", fmt.Sprintf(o.what, took(o.is), took(o.target)), "targets: in the configuration is what was promised; the drill's report says what took how long")
		}
	}
}

// took writes a time span for people, also a short one.
func took(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
}
