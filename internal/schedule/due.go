package schedule

import (
	"math"
	"time"
)

// lookBack bounds what Due counts.
const lookBack = 3653 * daySeconds

// Next returns the first due time after after, or the zero time when there is none.
func (s *Schedule) Next(after time.Time) time.Time {
	t := after.Unix()
	if s.jitter > 0 {
		if due, ok := s.last(t); ok && s.putOff(due) > t {
			return s.time(s.putOff(due))
		}
	}
	due, ok := s.next(t)
	if !ok {
		return time.Time{}
	}
	return s.time(s.putOff(due))
}

// Last returns the last due time at or before now, or the zero time when there is none.
func (s *Schedule) Last(now time.Time) time.Time {
	due, ok := s.lastPutOff(now.Unix())
	if !ok {
		return time.Time{}
	}
	return s.time(s.putOff(due))
}

// Due returns the latest due time after since and not after now, and how many
// there are. It looks back ten years at most.
func (s *Schedule) Due(since, now time.Time) (latest time.Time, count int) {
	from, to := max(since.Unix(), now.Unix()-lookBack), now.Unix()
	if to <= from {
		return time.Time{}, 0
	}
	last, ok := s.lastPutOff(to)
	if !ok || s.putOff(last) <= from {
		return time.Time{}, 0
	}
	handled, ok := s.lastPutOff(from)
	if !ok {
		handled = from
	}
	return s.time(s.putOff(last)), s.count(handled, last)
}

// Interval returns the longest time between two due times, looked at over five
// weeks from the last one before from on, or over three of them when they are
// rarer, with the whole jitter added: a backup is overdue when the newest is
// older than this and the time that a run takes. 0: never due.
func (s *Schedule) Interval(from time.Time) time.Duration {
	const weeks = 5 * 7 * daySeconds
	last, ok := s.last(from.Unix())
	if !ok {
		if last, ok = s.next(from.Unix()); !ok {
			return 0
		}
	}
	begin, longest := last, int64(0)
	for n := 0; n < 3 || last-begin < weeks; n++ {
		next, ok := s.next(last)
		if !ok {
			break
		}
		longest = max(longest, next-last)
		last = next
		if s.every > 0 {
			break
		}
	}
	return time.Duration(longest+s.jitter) * time.Second
}

func (s *Schedule) time(instant int64) time.Time { return time.Unix(instant, 0).In(s.zone) }

// lastPutOff returns the last due time that, put off by its jitter, is not after
// instant; without its jitter.
func (s *Schedule) lastPutOff(instant int64) (int64, bool) {
	due, ok := s.last(instant)
	if ok && s.jitter > 0 && s.putOff(due) > instant {
		return s.last(due - 1)
	}
	return due, ok
}

// putOff adds a due time's jitter. It stays before the next due time, so that
// due times keep their order however large the jitter is.
func (s *Schedule) putOff(due int64) int64 {
	if s.jitter == 0 {
		return due
	}
	span := s.jitter
	if next, ok := s.next(due); ok {
		span = min(span, next-due)
	}
	return due + int64(mix(s.seed^mix(uint64(due)))%uint64(span))
}

// seedOf and mix draw numbers that are the same in every process and release:
// FNV-1a, and the finalizer of splitmix64.
func seedOf(key string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(key) {
		h = (h ^ uint64(key[i])) * 1099511628211
	}
	return h
}

func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// next returns the first due time after instant, without jitter.
//
// Within a period of one offset, due times are the wall times that fit. The
// first part of a period, as long as the clocks were moved by, is another
// matter: after they were moved on, what the skipped hour had is due too, by the
// old offset; after they were moved back, the hour is shown a second time, and
// only patterns that are due by the hour go on in it.
func (s *Schedule) next(instant int64) (int64, bool) {
	if s.never() {
		return 0, false
	}
	instant = max(instant, minInstant)
	if s.every > 0 {
		return s.found(s.anchor + (floorDiv(instant-s.anchor, s.every)+1)*s.every)
	}
	for instant < maxInstant {
		p := periodAt(s.zone, instant+1)
		if changed := p.changed(); instant+1 < changed {
			if due, ok := s.nextInChange(p, instant, changed); ok {
				return s.found(due)
			}
			instant = changed - 1
			continue
		}
		limit := min(p.end, maxInstant+1)
		if wall, ok := s.pattern.next(s.pattern.hours, instant+p.offset, limit+p.offset); ok {
			return s.found(wall - p.offset)
		}
		instant = limit - 1
	}
	return 0, false
}

func (s *Schedule) nextInChange(p period, instant, changed int64) (int64, bool) {
	if p.offset < p.before {
		wall, ok := s.pattern.next(s.ongoing, instant+p.offset, changed+p.offset)
		return wall - p.offset, ok
	}
	wall, ok := s.pattern.next(s.pattern.hours, instant+p.offset, changed+p.offset)
	skipped, okSkipped := s.pattern.next(s.pattern.hours, instant+p.before, changed+p.before)
	switch {
	case ok && okSkipped:
		return min(wall-p.offset, skipped-p.before), true
	case okSkipped:
		return skipped - p.before, true
	}
	return wall - p.offset, ok
}

// last returns the last due time at or before instant, without jitter.
func (s *Schedule) last(instant int64) (int64, bool) {
	if s.never() {
		return 0, false
	}
	instant = min(instant, maxInstant)
	if s.every > 0 {
		return s.found(s.anchor + floorDiv(instant-s.anchor, s.every)*s.every)
	}
	for instant >= minInstant {
		p := periodAt(s.zone, instant)
		changed := p.changed()
		if instant < changed {
			if due, ok := s.lastInChange(p, instant); ok {
				return s.found(due)
			}
			instant = p.start - 1
			continue
		}
		limit := max(changed, minInstant)
		if wall, ok := s.pattern.last(s.pattern.hours, instant+p.offset, limit+p.offset); ok {
			return s.found(wall - p.offset)
		}
		instant = limit - 1
	}
	return 0, false
}

func (s *Schedule) lastInChange(p period, instant int64) (int64, bool) {
	if p.offset < p.before {
		wall, ok := s.pattern.last(s.ongoing, instant+p.offset, p.start+p.offset)
		return wall - p.offset, ok
	}
	wall, ok := s.pattern.last(s.pattern.hours, instant+p.offset, p.start+p.offset)
	skipped, okSkipped := s.pattern.last(s.pattern.hours, instant+p.before, p.start+p.before)
	switch {
	case ok && okSkipped:
		return max(wall-p.offset, skipped-p.before), true
	case okSkipped:
		return skipped - p.before, true
	}
	return wall - p.offset, ok
}

// count returns how many due times there are after from and not after to,
// without jitter.
func (s *Schedule) count(from, to int64) int {
	if s.every > 0 {
		return int(floorDiv(to-s.anchor, s.every) - floorDiv(from-s.anchor, s.every))
	}
	total := 0
	for from < to {
		p := periodAt(s.zone, from+1)
		changed := p.changed()
		switch {
		case from+1 >= changed:
			end := min(p.end-1, to)
			total += s.pattern.count(s.pattern.hours, from+p.offset, end+p.offset)
			from = end
		case p.offset < p.before:
			end := min(changed-1, to)
			total += s.pattern.count(s.ongoing, from+p.offset, end+p.offset)
			from = end
		default: // two sets of due times that may have some in common
			end := min(changed-1, to)
			for {
				due, ok := s.nextInChange(p, from, end+1)
				if !ok {
					break
				}
				from = due
				total++
			}
			from = end
		}
	}
	return total
}

func (s *Schedule) found(instant int64) (int64, bool) {
	return instant, instant >= minInstant && instant <= maxInstant
}

// PausedUntil returns the end of the pause in which now lies, or the zero time.
// Pauses that touch are one.
func (s *Schedule) PausedUntil(now time.Time) time.Time {
	until, paused := now.Unix(), false
	for range 7 * 24 * 60 { // Check sees to it that pauses end
		end := s.pauseEnd(until)
		if end == math.MinInt64 {
			break
		}
		until, paused = end, true
	}
	if !paused {
		return time.Time{}
	}
	return s.time(until)
}

// Begins returns when the next run may begin, as far as the schedule says: at the
// end of the pause that now is, when something has become due in it; else when
// it is due next, or at the end of the pause in which that lies. The zero time:
// never. What was due before the pause and still waits it does not know.
func (s *Schedule) Begins(now time.Time) time.Time {
	if until := s.PausedUntil(now); !until.IsZero() {
		if due := s.Last(now); !due.IsZero() && s.PausedUntil(due).Equal(until) {
			return until
		}
	}
	next := s.Next(now)
	if next.IsZero() {
		return next
	}
	if until := s.PausedUntil(next); !until.IsZero() {
		return until
	}
	return next
}

// pauseEnd returns the latest end of the pauses in which instant lies.
func (s *Schedule) pauseEnd(instant int64) int64 {
	latest := int64(math.MinInt64)
	if len(s.spec.Pauses) == 0 {
		return latest
	}
	_, offset := time.Unix(instant, 0).In(s.zone).Zone()
	today := floorDiv(instant+int64(offset), daySeconds)
	for day := today - 2; day <= today+1; day++ { // a change of the clocks may have moved the date
		for _, p := range s.spec.Pauses {
			if dayMask(p.Days)&(1<<weekday(day)) == 0 {
				continue
			}
			from, to := p.From.seconds(), p.To.seconds()
			if to <= from {
				to += daySeconds
			}
			start, end := instantOf(s.zone, day*daySeconds+from), instantOf(s.zone, day*daySeconds+to)
			if start <= instant && instant < end {
				latest = max(latest, end)
			}
		}
	}
	return latest
}

func (c ClockTime) seconds() int64 { return int64(c.Hour)*3600 + int64(c.Minute)*60 }

// dayMask returns the set of days; none are all.
func dayMask(days []time.Weekday) uint8 {
	if len(days) == 0 {
		return allDays
	}
	mask := uint8(0)
	for _, d := range days {
		mask |= 1 << d
	}
	return mask
}
