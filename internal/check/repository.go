package check

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const (
	growthOver   = 30 * 24 * time.Hour
	growthMin    = 7 * 24 * time.Hour // less says nothing of how it grows
	growthPoints = 5
	slopePoints  = 60  // so many of the known sizes are compared with one another
	onceOnly     = 3.0 // a day on which more was added than so many usual ones counts as so many
)

// JudgeRepository says what is wrong with the repository. Its problems have no
// app.
func JudgeRepository(in Repository) []core.Problem {
	if in.Limits.Off {
		return nil
	}
	r := &repositoryJudge{in: in, limits: in.Limits.filled()}
	if in.Err != nil {
		r.unusable()
		return r.problems
	}
	if in.Space != nil {
		r.space(*in.Space)
		r.maintenance(*in.Space)
	}
	r.coverage()
	r.kits()
	return r.problems
}

type repositoryJudge struct {
	in       Repository
	limits   Limits
	problems []core.Problem
}

func (r *repositoryJudge) add(name, message, hint string) {
	r.problems = append(r.problems, core.Problem{Topic: core.TopicRepository, Name: name, Message: message, Hint: hint, Level: core.LevelAlarm})
}

func (r *repositoryJudge) unusable() {
	hint := core.HintOf(r.in.Err)
	if core.CodeOf(r.in.Err) == core.CodeDamage {
		if hint == "" {
			hint = "backstay verify --all shows which backups are whole"
		}
		r.add("repository-damaged", "not all of the repository can be read: "+r.in.Err.Error(), hint)
		return
	}
	if hint == "" {
		hint = "backstay doctor looks what is wrong with it"
	}
	r.add("repository-unusable", "the repository cannot be used: "+r.in.Err.Error(), hint)
}

func (r *repositoryJudge) space(s core.Space) {
	if s.Free < 0 {
		return
	}
	const more = "make room there, or keep fewer backups (retention:) and run backstay prune and backstay maintain"
	free := size(s.Free) + " are free where the repository is"
	share := math.Inf(1)
	if s.Total > 0 {
		share = 100 * float64(s.Free) / float64(s.Total)
		free = fmt.Sprintf("%s (%.0f %%) of %s are free where the repository is", size(s.Free), share, size(s.Total))
	}
	low := false
	switch {
	case r.limits.FreeMin > 0 && share < r.limits.FreeMin:
		r.add("space-low", fmt.Sprintf("%s; there should be %g %%", free, r.limits.FreeMin), more)
		low = true
	case r.limits.FreeMinBytes > 0 && s.Free < r.limits.FreeMinBytes:
		r.add("space-low", fmt.Sprintf("%s; there should be %s", free, size(r.limits.FreeMinBytes)), more)
		low = true
	}
	growth, known := r.growth()
	if !known || growth <= 0 || r.limits.FullWithin <= 0 {
		return
	}
	days := float64(s.Free) / growth
	if days >= r.limits.FullWithin.Hours()/24 {
		return
	}
	full := r.in.Now.Add(time.Duration(days * float64(24*time.Hour))).UTC().Format(time.DateOnly)
	if !low {
		free += "; "
	} else {
		free = ""
	}
	r.add("space-forecast", fmt.Sprintf("%sat %s a day, as over the last weeks, the repository is full about %s", free, size(round(growth)), full), more)
}

// growth is by how many bytes a day the repository grows: by its own size where
// that is known of earlier times, else by what backups added, which is too much
// where others are removed.
func (r *repositoryJudge) growth() (bytesPerDay float64, known bool) {
	begin := r.in.Now.Add(-growthOver)
	lately := func(list []Stored) []Stored {
		list = slices.DeleteFunc(slices.Clone(list), func(s Stored) bool { return s.Time.Before(begin) || s.Time.After(r.in.Now) })
		slices.SortStableFunc(list, func(a, b Stored) int { return a.Time.Compare(b.Time) })
		return list
	}
	enough := func(list []Stored) bool {
		return len(list) >= growthPoints && list[len(list)-1].Time.Sub(list[0].Time) >= growthMin
	}
	if used := lately(r.in.Used); enough(used) {
		return slope(used), true
	}
	added := lately(r.in.Stored)
	if !enough(added) {
		return 0, false
	}
	return addedPerDay(added, r.in.Now), true
}

// slope is the median of the slopes between any two of the sizes: neither a
// maintenance that frees much at once nor a new app bends it for long.
func slope(used []Stored) float64 {
	if n := len(used); n > slopePoints {
		var some []Stored
		for i := range slopePoints {
			some = append(some, used[i*(n-1)/(slopePoints-1)])
		}
		used = some
	}
	var slopes []float64
	for i, a := range used {
		for _, b := range used[i+1:] {
			if days := b.Time.Sub(a.Time).Hours() / 24; days > 0 {
				slopes = append(slopes, float64(b.Bytes-a.Bytes)/days)
			}
		}
	}
	return median(slopes)
}

// addedPerDay is what backups added a day. The first backup of a new app is
// much, and does not come again.
func addedPerDay(added []Stored, now time.Time) float64 {
	days := map[int]float64{}
	for _, s := range added {
		days[int(now.Sub(s.Time)/(24*time.Hour))] += float64(s.Bytes)
	}
	var some []float64
	for _, n := range days {
		if n > 0 {
			some = append(some, n)
		}
	}
	usually := median(some)
	total := 0.0
	for _, n := range some {
		total += min(n, onceOnly*usually)
	}
	return total / max(1, now.Sub(added[0].Time).Hours()/24)
}

func (r *repositoryJudge) maintenance(s core.Space) {
	limit := r.limits.MaintenanceAge
	if limit <= 0 {
		return
	}
	begun := ""
	if s.Attempted != nil && (s.Maintained == nil || s.Attempted.After(*s.Maintained)) {
		begun = fmt.Sprintf("; it was begun on %s and did not complete", s.Attempted.UTC().Format(time.DateOnly))
	}
	const hint = "backstay maintain runs it, and says what keeps it from completing"
	switch {
	case s.Maintained != nil && r.in.Now.Sub(*s.Maintained) > limit:
		r.add("maintenance-age", fmt.Sprintf("maintenance of the repository last completed on %s, and should every %s: no space is given back%s", s.Maintained.UTC().Format(time.DateOnly), span(limit), begun), hint)
	case s.Maintained == nil && slices.ContainsFunc(r.in.Stored, func(b Stored) bool { return r.in.Now.Sub(b.Time) > limit }):
		r.add("maintenance-age", fmt.Sprintf("maintenance of the repository never completed, and should every %s: no space is given back%s", span(limit), begun), hint)
	}
}
