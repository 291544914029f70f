package retention

import (
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// most bounds the backups that Until looks at one by one.
const most = 100_000

// Until says, by id, when each backup of one app that is kept at opt.Now will
// first be removed, if whole backups of its components go on being made at the
// times that next gives and Decide is asked after each of them, nothing fails,
// and nothing is pinned, verified, drilled or found damaged anew. next returns
// the first time after the one given, the zero time for none. One that is missing
// is kept beyond horizon, or is not kept now.
//
// Where backups of several sets of components are made at different times, ask
// for each set by itself.
//
// It is as exact as next: when the times that next gives do not hang on the one
// that it is given, each answer is the time of the backup after which Decide
// removes. Otherwise it is right to the day, since of days that only rules in
// days and longer periods are left to decide on it looks at the first backup
// alone. What a count or hours still keep after 100,000 more backups is missing.
func Until(backups []core.Backup, policies []Policy, next func(after time.Time) time.Time, opt Options, horizon time.Time) map[string]time.Time {
	if opt.Location == nil {
		opt.Location = time.UTC
	}
	out := map[string]time.Time{}
	if opt.Hold != "" {
		return out
	}
	groups := map[string][]core.Backup{}
	for _, b := range backups {
		groups[setOf(b)] = append(groups[setOf(b)], b)
	}
	for set, members := range groups {
		g := &group{set: set, members: members, opt: opt}
		if own := g.policiesFor(policies); len(own) > 0 && !slices.ContainsFunc(own, Policy.keepsAll) {
			g.foresee(own, next, horizon).tell(out)
		}
	}
	return out
}

// keepsAll says whether p removes nothing whatever comes.
func (p Policy) keepsAll() bool {
	return p.Hold || p.FromApp || max(p.Count, p.Days, p.Hourly, p.Daily, p.Weekly, p.Monthly, p.Yearly) <= 0
}

// future is what will be of a group.
type future struct {
	*group
	rules []foreseen // of its policies
	// counted are those that rules count, now or then, and what will be made, the
	// oldest first. What is removed from among them changes nothing of the rest.
	counted []core.Backup
	made    []time.Time // when Decide is asked
	buckets map[string][]bucketed
}

// foreseen is a policy's rules.
type foreseen struct {
	count   int
	days    *period // nil: none
	periods []*period
}

// bucketed is where one of the counted lies among the periods of a rule.
type bucketed struct {
	name   string
	number int // of the period, from the oldest that has one
}

func (g *group) foresee(policies []Policy, next func(time.Time) time.Time, horizon time.Time) *future {
	f := &future{group: g, buckets: map[string][]bucketed{}}
	count, hours := 0, 0
	for _, p := range policies {
		rules := foreseen{count: p.Count, periods: g.periods(p)}
		if p.Days > 0 {
			rules.days = g.days(p.Days)
		}
		f.rules = append(f.rules, rules)
		count, hours = max(count, p.Count), max(hours, p.Hourly)
	}
	last := g.opt.Now
	for _, b := range g.members {
		if b.Damaged == nil && !b.Aside() && b.Origin == nil {
			f.counted = append(f.counted, b)
		}
		if b.Time.After(last) {
			last = b.Time
		}
	}
	f.make(next, count, hours, last, horizon)
	for _, at := range f.made {
		f.counted = append(f.counted, core.Backup{Time: at})
	}
	slices.SortFunc(f.counted, func(a, b core.Backup) int { return newestFirst(b, a) })
	return f
}

// make finds the times at which backups will be made: all, until count of them
// and all those of so many hours are newer than any that there is, the last of
// which is of last; and then the first of each day.
func (f *future) make(next func(time.Time) time.Time, count, hours int, last, horizon time.Time) {
	hour := last.In(f.opt.Location).Format(hourly)
	for at := f.opt.Now; len(f.made) < most; {
		after := at
		if count <= 0 && hours <= 0 && at.After(last) {
			local := at.In(f.opt.Location)
			// The day's last instant: at the beginning of the next a backup may be due.
			// It is not of the past, whatever a change of the clocks makes of midnight.
			if end := time.Date(local.Year(), local.Month(), local.Day()+1, 0, 0, 0, -1, f.opt.Location); end.After(at) {
				after = end
			}
		}
		if at = next(after); !at.After(after) || at.After(horizon) { // the zero time is before all
			return
		}
		f.made = append(f.made, at)
		if !at.After(last) {
			continue
		}
		count--
		if in := at.In(f.opt.Location).Format(hourly); in != hour {
			hours, hour = hours-1, in
		}
	}
}

const hourly = "2006-01-02 15"

// tell adds when each that is kept now will be removed.
func (f *future) tell(out map[string]time.Time) {
	complete, verified, drilled := f.following(complete), f.following(isVerified), f.following(isDrilled)
	for _, b := range f.members {
		if b.Pinned || b.Origin != nil {
			continue
		}
		newer, place := slices.BinarySearchFunc(f.counted, b, func(a, b core.Backup) int { return newestFirst(b, a) })
		end := newer // the one of the counted after which nothing keeps it
		if place {
			newer++
			end = max(newer, complete[newer-1], verified[newer-1], drilled[newer-1])
		}
		for _, rules := range f.rules {
			end = max(end, f.end(rules, b, newer, place))
		}
		if end >= len(f.counted) || !f.counted[end].Time.After(f.opt.Now) {
			continue
		}
		// What is dated in the future is of no account before its time, and then is
		// looked at with the next that is made.
		if i, _ := slices.BinarySearchFunc(f.made, f.counted[end].Time, time.Time.Compare); i < len(f.made) {
			out[b.ID] = f.made[i]
		}
	}
}

func isVerified(b core.Backup) bool { return b.Verified != nil }
func isDrilled(b core.Backup) bool  { return b.Drilled != nil }

// following returns of each of the counted which next one takes over what the
// newest of its kind is protected by; 0 for one that is not of the kind.
func (f *future) following(is func(core.Backup) bool) []int {
	out, after := make([]int, len(f.counted)), len(f.counted)
	for i, b := range slices.Backward(f.counted) {
		if is(b) {
			out[i], after = after, i
		}
	}
	return out
}

// end returns which of the counted ends what rules keep b by; newer is the first
// that is newer than b, and place says that b is one of them.
func (f *future) end(rules foreseen, b core.Backup, newer int, place bool) int {
	end := 0
	if rules.count > 0 {
		end = newer + rules.count - 1
	}
	if rules.days != nil {
		end = max(end, f.endOf(rules.days, b, newer, false, true))
	}
	for i, per := range rules.periods {
		if !place && (i > 0 || rules.count > 0 || rules.days != nil) {
			break
		}
		end = max(end, f.endOf(per, b, newer, place, false))
	}
	return end
}

// endOf returns which of the counted is the first of the period with which there
// are as many as the rule keeps: newest says that it keeps the newest of each
// only, and aside that the period of b itself does not count.
func (f *future) endOf(per *period, b core.Backup, newer int, newest, aside bool) int {
	list := f.bucketsOf(per)
	if newer >= len(list) {
		return newer
	}
	from := list[newer].number
	if list[newer].name == per.bucket(b.Time) {
		switch {
		case newest:
			return newer
		case aside:
			from++
		}
	}
	end, _ := slices.BinarySearchFunc(list, from+per.keep-1, func(a bucketed, number int) int { return a.number - number })
	return end
}

// bucketsOf returns where the counted lie.
func (f *future) bucketsOf(per *period) []bucketed {
	list, known := f.buckets[per.name]
	if known {
		return list
	}
	for i, b := range f.counted {
		in := bucketed{name: per.bucket(b.Time)}
		if i > 0 {
			if in.number = list[i-1].number; list[i-1].name != in.name {
				in.number++
			}
		}
		list = append(list, in)
	}
	f.buckets[per.name] = list
	return list
}
