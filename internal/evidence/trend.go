package evidence

import (
	"slices"
	"time"
)

// Point is one drill of an app in a trend.
type Point struct {
	Time        time.Time `json:"time"` // when the drill began
	Report      string    `json:"report"`
	Passed      bool      `json:"passed"`
	Sample      bool      `json:"sample"` // only a part was restored: its RTO is not that of the whole
	RTOMS       int64     `json:"rto_ms"` // 0: it did not come back
	RTOTargetMS int64     `json:"rto_target_ms"`
	RPOMS       int64     `json:"rpo_ms"`
	RPOTargetMS int64     `json:"rpo_target_ms"`
	DurationMS  int64     `json:"duration_ms"` // of the whole drill
	Bytes       int64     `json:"bytes"`       // of the backup
}

// Trend returns what drills measured over time, by app, the oldest first. The
// order of drills does not matter. A drill that did not pass has no RTO.
func Trend(drills []Drill) map[string][]Point {
	out := map[string][]Point{}
	for _, d := range drills {
		p := Point{
			Time: d.Started, Report: d.ID, Passed: d.Passed, Sample: d.Mode == DrillSample,
			RTOTargetMS: d.RTO.TargetMS, RPOMS: d.RPO.MeasuredMS, RPOTargetMS: d.RPO.TargetMS,
			DurationMS: max(0, d.Finished.Sub(d.Started).Milliseconds()), Bytes: d.Backup.Bytes,
		}
		if d.Passed {
			p.RTOMS = d.RTO.MeasuredMS
		}
		out[d.App] = append(out[d.App], p)
	}
	for _, points := range out {
		slices.SortStableFunc(points, func(a, b Point) int { return a.Time.Compare(b.Time) })
	}
	return out
}
