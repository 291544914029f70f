package retention

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Options is what Decide needs beyond backups and policies.
type Options struct {
	Now      time.Time
	Location *time.Location // whose hours, days, weeks, months and years are counted; nil: UTC
	Hold     string         // why nothing may be removed at present; "": no hold
}

// Decide says of each backup of one app whether it is kept, and why, newest
// first. Backups that hold the same components are decided on together, apart
// from others. What is decided once and removed does not change what is
// decided of the rest. The order of the backups and policies does not matter.
// Of two policies for the same components only what both remove is removed.
func Decide(backups []core.Backup, policies []Policy, opt Options) []Decision {
	if opt.Location == nil {
		opt.Location = time.UTC
	}
	groups := map[string][]core.Backup{}
	for _, b := range backups {
		groups[setOf(b)] = append(groups[setOf(b)], b)
	}
	out := make([]Decision, 0, len(backups))
	for set, members := range groups {
		slices.SortFunc(members, newestFirst)
		out = append(out, (&group{set: set, members: members, opt: opt}).decide(policies)...)
	}
	slices.SortFunc(out, func(a, b Decision) int { return newestFirst(a.Backup, b.Backup) })
	return out
}

func newestFirst(a, b core.Backup) int {
	return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(b.ID, a.ID))
}

func setOf(b core.Backup) string {
	names := make([]core.Component, 0, len(b.Components))
	for c := range b.Components {
		names = append(names, c)
	}
	return setText(names)
}

func setText(list []core.Component) string {
	names := make([]string, len(list))
	for i, c := range list {
		names[i] = string(c)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), ", ")
}

// group is the backups of one set of components, newest first.
type group struct {
	set     string
	members []core.Backup
	opt     Options
	// counted are those that rules count and that take a place: whole, of the
	// app as it was to be, captured and not imported, and not of the future.
	counted []core.Backup
}

func (g *group) decide(policies []Policy) []Decision {
	for _, b := range g.members {
		if b.Damaged == nil && !b.Aside() && b.Origin == nil && !b.Time.After(g.opt.Now) {
			g.counted = append(g.counted, b)
		}
	}
	keeping := make([]func(core.Backup) (kept, gone []string), 0, 1)
	for _, p := range g.policiesFor(policies) {
		keeping = append(keeping, g.rules(p))
	}
	protecting := g.protections()
	out := make([]Decision, len(g.members))
	for i, b := range g.members {
		d := Decision{Backup: b, ID: b.ID, Time: b.Time, Reasons: protecting(b)}
		var gone []string
		for _, rules := range keeping {
			if b.Origin != nil || b.Time.After(g.opt.Now) {
				break
			}
			kept, no := rules(b)
			d.Reasons, gone = append(d.Reasons, kept...), append(gone, no...)
		}
		if len(keeping) == 0 {
			d.Reasons = append(d.Reasons, "no policy is for it")
		}
		if d.Keep = len(d.Reasons) > 0; !d.Keep {
			d.Reasons = gone
		}
		out[i] = d
	}
	return out
}

// policiesFor returns the policies of the group: those for just its components,
// else those for all that no other is for.
func (g *group) policiesFor(all []Policy) []Policy {
	var own, rest []Policy
	for _, p := range all {
		switch {
		case len(p.Components) == 0:
			rest = append(rest, p)
		case setText(p.Components) == g.set:
			own = append(own, p)
		}
	}
	if len(own) > 0 {
		return own
	}
	return rest
}

// protections returns what says why a backup is kept whatever the rules say.
func (g *group) protections() func(core.Backup) []string {
	newest := map[string][]string{} // by id
	protect := func(what string, is func(core.Backup) bool) {
		if i := slices.IndexFunc(g.counted, is); i >= 0 {
			id := g.counted[i].ID
			newest[id] = append(newest[id], "the newest "+what+" backup of "+g.set)
		}
	}
	protect("whole", func(core.Backup) bool { return true })
	if len(g.counted) > 0 && !complete(g.counted[0]) {
		protect("complete", complete)
	}
	protect("verified", func(b core.Backup) bool { return b.Verified != nil })
	protect("drilled", func(b core.Backup) bool { return b.Drilled != nil })
	return func(b core.Backup) []string {
		var why []string
		if g.opt.Hold != "" {
			why = append(why, "on hold: "+g.opt.Hold)
		}
		if b.Pinned {
			why = append(why, "pinned")
		}
		why = append(why, newest[b.ID]...)
		switch {
		case b.Origin != nil:
			why = append(why, "imported: only removed by hand")
		case b.Time.After(g.opt.Now):
			why = append(why, "dated in the future: a clock is wrong")
		case g.newer(b) == 0 && (b.Damaged != nil || b.Aside()):
			why = append(why, standing(b)+", and no whole one is newer")
		}
		return why
	}
}

// complete says whether a backup has all that it was to hold.
func complete(b core.Backup) bool {
	return !slices.ContainsFunc(b.Warnings, func(w core.Warning) bool { return w.Code == "missing" || w.Code == "unreadable" })
}

// newer counts the counted backups that are newer than b.
func (g *group) newer(b core.Backup) int {
	n, _ := slices.BinarySearchFunc(g.counted, b, newestFirst)
	return n
}

// standing says what is wrong with a backup that takes no place.
func standing(b core.Backup) string {
	if b.Damaged != nil {
		return "damaged"
	}
	return "made of a state that was to be left"
}

// rules returns what says by which rules of p a backup is kept, and which of
// them keep it no longer. One that takes no place is kept for as long as one
// that does would be, by the count, the days, or where there is neither, by the
// shortest period.
func (g *group) rules(p Policy) func(core.Backup) (kept, gone []string) {
	periods := g.periods(p)
	switch {
	case p.Hold:
		return always("on hold: the configuration says so")
	case p.FromApp:
		return always("the application's own settings are not known")
	case p.Count <= 0 && p.Days <= 0 && len(periods) == 0:
		return always("the policy has no rule, which keeps everything")
	}
	days := g.days(p.Days)
	return func(b core.Backup) (kept, gone []string) {
		newer := g.newer(b)
		place := newer < len(g.counted) && g.counted[newer].ID == b.ID
		if !place {
			gone = append(gone, standing(b))
		}
		switch {
		case p.Count <= 0:
		case newer >= p.Count:
			gone = append(gone, fmt.Sprintf("older than the newest %d", p.Count))
		case place:
			kept = append(kept, fmt.Sprintf("number %d of the newest %d", newer+1, p.Count))
		default:
			kept = append(kept, fmt.Sprintf("%s, but not older than the newest %d", standing(b), p.Count))
		}
		if p.Days > 0 {
			yes, no := days.judgeAll(b, place)
			kept, gone = append(kept, yes...), append(gone, no...)
		}
		for i, per := range periods {
			if !place && (i > 0 || p.Count > 0 || p.Days > 0) {
				break
			}
			yes, no := per.judge(b, place)
			kept, gone = append(kept, yes...), append(gone, no...)
		}
		return kept, gone
	}
}

func always(reason string) func(core.Backup) (kept, gone []string) {
	return func(core.Backup) ([]string, []string) { return []string{reason}, nil }
}

// period is a rule that keeps the newest of each of the last keep hours, days,
// weeks, months or years that have one.
type period struct {
	name   string // "day"
	keep   int
	bucket func(time.Time) string
	newest []core.Backup // of each bucket, newest first, at most keep
}

// periods returns those of p, the shortest first.
func (g *group) periods(p Policy) []*period {
	var out []*period
	for _, per := range []*period{
		// With the offset: of the hour that comes twice when clocks are set back,
		// each is an hour.
		{name: "hour", keep: p.Hourly, bucket: func(t time.Time) string { return t.Format("2006-01-02 15:00 -07:00") }},
		{name: "day", keep: p.Daily, bucket: dayOf},
		{name: "week", keep: p.Weekly, bucket: func(t time.Time) string {
			year, week := t.ISOWeek()
			return fmt.Sprintf("%d-W%02d", year, week)
		}},
		{name: "month", keep: p.Monthly, bucket: func(t time.Time) string { return t.Format("2006-01") }},
		{name: "year", keep: p.Yearly, bucket: func(t time.Time) string { return t.Format("2006") }},
	} {
		if per.keep <= 0 {
			continue
		}
		g.fill(per)
		out = append(out, per)
	}
	return out
}

func dayOf(t time.Time) string { return t.Format(time.DateOnly) }

// days are the last keep days that have a backup. They are not counted from now:
// a clock that is months ahead for one run, or an outage, makes no backup old.
func (g *group) days(keep int) *period {
	per := &period{name: "day", keep: max(keep, 0), bucket: dayOf}
	g.fill(per)
	return per
}

// fill finds the newest backup of each of the last periods that have one.
func (g *group) fill(per *period) {
	local := per.bucket
	per.bucket = func(t time.Time) string { return local(t.In(g.opt.Location)) }
	seen := map[string]bool{} // of a zone that is set back over midnight, a day can come twice
	for _, b := range g.counted {
		if in := per.bucket(b.Time); !seen[in] && len(seen) < per.keep {
			seen[in] = true
			per.newest = append(per.newest, b)
		}
	}
}

// judgeAll says whether b is kept by a rule that keeps all backups of each of
// its periods. One that takes no place is where another of its time would be.
func (per *period) judgeAll(b core.Backup, place bool) (kept, gone []string) {
	in := per.bucket(b.Time)
	i := slices.IndexFunc(per.newest, func(n core.Backup) bool { return per.bucket(n.Time) == in })
	newer, _ := slices.BinarySearchFunc(per.newest, b, newestFirst)
	last := per.those("that has backups", "that have backups")
	switch {
	case i < 0 && (place || newer >= per.keep):
		return nil, []string{"older than the " + last}
	case !place:
		return []string{standing(b) + ", but not older than the " + last}, nil
	case per.keep == 1:
		return []string{"of the " + last}, nil
	default:
		return []string{fmt.Sprintf("%s %d of the last %d that have backups", per.name, i+1, per.keep)}, nil
	}
}

// judge says whether the rule keeps b. One that takes no place is kept while
// fewer than keep periods with a newer backup lie after it.
func (per *period) judge(b core.Backup, place bool) (kept, gone []string) {
	in := per.bucket(b.Time)
	if !place {
		newer, _ := slices.BinarySearchFunc(per.newest, b, newestFirst)
		if newer < per.keep {
			return []string{fmt.Sprintf("%s, but not older than %s", standing(b), per.last())}, nil
		}
		return nil, []string{"older than " + per.last()}
	}
	i := slices.IndexFunc(per.newest, func(n core.Backup) bool { return per.bucket(n.Time) == in })
	switch {
	case i < 0:
		return nil, []string{"older than " + per.last()}
	case per.newest[i].ID == b.ID:
		return []string{fmt.Sprintf("newest of the %s %s, %d of %d", per.name, in, i+1, per.keep)}, nil
	default:
		return nil, []string{fmt.Sprintf("not the newest of the %s %s", per.name, in)}
	}
}

// last describes the periods that the rule keeps.
func (per *period) last() string { return "the " + per.those("that has one", "that have one") }

func (per *period) those(one, more string) string {
	if per.keep == 1 {
		return fmt.Sprintf("last %s %s", per.name, one)
	}
	return fmt.Sprintf("last %d %ss %s", per.keep, per.name, more)
}
