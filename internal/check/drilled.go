package check

import (
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Drill is how an app's newest drill went.
type Drill struct {
	Backup               string // its id
	Time                 time.Time
	Passed               bool
	Failed               []string      // the first items that failed, or why it could not go on
	RTO, RPO             time.Duration // as measured
	RTOTarget, RPOTarget time.Duration // 0: none is set
}

// DrillPolicy is what the configuration asks of an app's drills.
type DrillPolicy struct {
	Within time.Duration // a drill that passes at least so often, the schedule's interval and slack in it; 0: nothing is asked
	Since  time.Time     // when that was asked first
}

// drill judges the newest drill. That it failed holds until a later one passes,
// whatever became of the backup.
func (j *judge) drill() {
	d := j.in.Drill
	if d == nil {
		return
	}
	again := "backstay drill " + j.in.App
	if !d.Passed {
		why := "it could not be carried out"
		if len(d.Failed) > 0 {
			why = core.Some(d.Failed, 3)
		}
		j.add(core.TopicProof, core.LevelAlarm, "drill-failed", brief(d.Backup), fmt.Sprintf("the drill of backup %s on %s failed: %s", brief(d.Backup), j.when(d.Time), why),
			again+" "+brief(d.Backup)+" tries again; the report of the drill says what was looked at")
		return // what was measured until then says nothing
	}
	j.missed("rto-missed", "a recovery took", d.RTO, d.RTOTarget, "targets.rto is what is promised; the report of the drill says how long each step took")
	j.missed("rpo-missed", "the newest backup was", d.RPO, d.RPOTarget, "targets.rpo is what is promised; more frequent backups (schedule:) meet it")
}

func (j *judge) missed(name, what string, measured, target time.Duration, hint string) {
	if target <= 0 || measured <= target {
		return
	}
	old := map[bool]string{true: " old"}[name == "rpo-missed"]
	j.add(core.TopicProof, core.LevelNotice, name, "", fmt.Sprintf("%s %s%s in the drill of %s; the target is %s", what, measured.Round(time.Second), old, j.when(j.in.Drill.Time), target), hint)
}

// drillAge judges when a backup was last drilled, by the limit of the check or,
// without one, by what the app's drills are asked for.
func (j *judge) drillAge(drilled, first time.Time) {
	limit, hint := j.limits.DrillAge, "check.drill_age is the limit, and off where none is asked for"
	if limit == 0 {
		p := j.in.DrillPolicy
		limit, hint = p.Within, "drill.schedule and drill.newest ask for it"
		if p.Since.After(first) {
			first = p.Since // one that was only just asked for is still to come
		}
	}
	j.proven("drill-age", "drilled", "backstay drill "+j.in.App+" does it now; "+hint, limit, drilled, first)
}
