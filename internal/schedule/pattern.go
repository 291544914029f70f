package schedule

import "math/bits"

// pattern says which wall times are due: bit sets of what the clock and the
// calendar have to show.
type pattern struct {
	minutes uint64
	hours   uint32
	dates   uint32 // bits 1 to 31
	months  uint16 // bits 1 to 12
	days    uint8  // bit 0 is Sunday
	// either: the date or the day of the week is enough, as cron has it when
	// both are given. Otherwise both must fit.
	either bool
}

const (
	allMinutes = 1<<60 - 1
	allHours   = 1<<24 - 1
	allDates   = 1<<32 - 2
	allMonths  = 1<<13 - 2
	allDays    = 1<<7 - 1
)

// ongoing returns the hours of a pattern that are due by the hour, that is with
// the hour before or the one after.
func (p *pattern) ongoing() uint32 {
	later := p.hours>>1 | p.hours<<23
	earlier := p.hours<<1 | p.hours>>23
	return p.hours & (later | earlier) & allHours
}

func (p *pattern) dayFits(day int64, month, date int) bool {
	if p.months&(1<<month) == 0 {
		return false
	}
	byDate := p.dates&(1<<date) != 0
	byDay := p.days&(1<<weekday(day)) != 0
	if p.either {
		return byDate || byDay
	}
	return byDate && byDay
}

// next returns the first wall time after wall and before limit that is due in
// one of hours.
func (p *pattern) next(hours uint32, wall, limit int64) (int64, bool) {
	if hours == 0 {
		return 0, false
	}
	minute := floorDiv(wall, 60) + 1
	day := floorDiv(minute, 24*60)
	from := int(minute - day*24*60)
	for day*daySeconds < limit {
		year, month, date := civil(day)
		switch {
		case p.months&(1<<month) == 0:
			day += int64(daysIn(year, month) - date + 1)
		case !p.dayFits(day, month, date):
			day++
		default:
			if m, ok := p.nextInDay(hours, from); ok {
				found := day*daySeconds + int64(m)*60
				return found, found < limit
			}
			day++
		}
		from = 0
	}
	return 0, false
}

// nextInDay returns the first minute of the day that is due, from on.
func (p *pattern) nextInDay(hours uint32, from int) (int, bool) {
	hour := from / 60
	if hours&(1<<hour) != 0 {
		if rest := p.minutes >> (from % 60); rest != 0 {
			return from + bits.TrailingZeros64(rest), true
		}
	}
	rest := hours >> (hour + 1)
	if rest == 0 {
		return 0, false
	}
	return (hour+1+bits.TrailingZeros32(rest))*60 + bits.TrailingZeros64(p.minutes), true
}

// last returns the last wall time not after wall and not before limit that is
// due in one of hours.
func (p *pattern) last(hours uint32, wall, limit int64) (int64, bool) {
	if hours == 0 {
		return 0, false
	}
	minute := floorDiv(wall, 60)
	day := floorDiv(minute, 24*60)
	until := int(minute - day*24*60)
	for (day+1)*daySeconds > limit {
		_, month, date := civil(day)
		switch {
		case p.months&(1<<month) == 0:
			day -= int64(date)
		case !p.dayFits(day, month, date):
			day--
		default:
			if m, ok := p.lastInDay(hours, until); ok {
				found := day*daySeconds + int64(m)*60
				return found, found >= limit
			}
			day--
		}
		until = 24*60 - 1
	}
	return 0, false
}

// lastInDay returns the last minute of the day that is due, up to until.
func (p *pattern) lastInDay(hours uint32, until int) (int, bool) {
	hour := until / 60
	if hours&(1<<hour) != 0 {
		if rest := p.minutes << (63 - until%60); rest != 0 {
			return until - bits.LeadingZeros64(rest), true
		}
	}
	rest := hours & (1<<hour - 1)
	if rest == 0 {
		return 0, false
	}
	return (bits.Len32(rest)-1)*60 + bits.Len64(p.minutes) - 1, true
}

// count returns how many wall times after from and not after to are due in one
// of hours. It takes a step for each day.
func (p *pattern) count(hours uint32, from, to int64) int {
	if to <= from {
		return 0
	}
	total := 0
	first, last := floorDiv(from, daySeconds), floorDiv(to, daySeconds)
	whole := bits.OnesCount32(hours) * bits.OnesCount64(p.minutes)
	for day := first; day <= last; day++ {
		year, month, date := civil(day)
		if p.months&(1<<month) == 0 {
			day += int64(daysIn(year, month) - date)
			continue
		}
		if !p.dayFits(day, month, date) {
			continue
		}
		n := whole
		if day == last {
			n = p.countInDay(hours, int(to-day*daySeconds)/60)
		}
		if day == first {
			n -= p.countInDay(hours, int(from-day*daySeconds)/60)
		}
		total += n
	}
	return total
}

// countInDay counts the minutes of the day that are due, up to until.
func (p *pattern) countInDay(hours uint32, until int) int {
	hour := until / 60
	n := bits.OnesCount32(hours&(1<<hour-1)) * bits.OnesCount64(p.minutes)
	if hours&(1<<hour) != 0 {
		n += bits.OnesCount64(p.minutes << (63 - until%60))
	}
	return n
}
