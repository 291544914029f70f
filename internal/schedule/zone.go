package schedule

import (
	"math"
	"time"
	_ "time/tzdata" // for machines that have no zone files
)

// Times are counted here in seconds of 1970 (an instant) or in the seconds that
// a clock on the wall shows since the same date (a wall time): whole numbers are
// compared and added without allocating, and cannot be mixed up with a zone.

const (
	daySeconds = 24 * 60 * 60
	// Instants beyond these are not looked for: the years 1 and 9999.
	minInstant = -62135596800
	maxInstant = 253402300799
	// No clock on earth is further than this from UTC, with room to spare.
	maxOffset = 26 * 60 * 60
)

// period is a stretch of time in which a zone keeps one offset.
type period struct {
	start, end int64 // end is not part of it; MinInt64 and MaxInt64 when it is open
	offset     int64 // seconds east of UTC
	before     int64 // the offset until start; offset when it is open
}

// periodAt returns the period in which instant lies.
func periodAt(zone *time.Location, instant int64) period {
	at := time.Unix(instant, 0).In(zone)
	_, offset := at.Zone()
	p := period{start: math.MinInt64, end: math.MaxInt64, offset: int64(offset), before: int64(offset)}
	start, end := at.ZoneBounds()
	if !start.IsZero() {
		p.start = start.Unix()
		_, before := time.Unix(p.start-1, 0).In(zone).Zone()
		p.before = int64(before)
	}
	if !end.IsZero() {
		p.end = end.Unix()
	}
	if p.end <= instant {
		// Beyond the last change that a zone's file lists, ZoneBounds takes every
		// year for one of 365 days, and on the 31st of December of a leap year
		// returns an end that is past. No clocks are changed on that day.
		p.end = (floorDiv(instant, daySeconds) + 1) * daySeconds
	}
	return p
}

// changed returns the end of the first part of the period, in which the change
// of the clocks that began it is felt: as long as the clocks were moved by. It
// is start when they were not moved.
func (p period) changed() int64 {
	moved := p.offset - p.before
	if moved < 0 {
		moved = -moved
	}
	if moved == 0 {
		return p.start
	}
	return min(p.start+moved, p.end)
}

// instantOf returns when the clocks in zone show wall: the first time when they
// do so twice, and where they skip it, as long after the change as wall is after
// the skipped part's beginning.
func instantOf(zone *time.Location, wall int64) int64 {
	p := periodAt(zone, wall-maxOffset)
	for {
		instant := wall - p.offset
		if instant < p.end {
			return instant
		}
		next := periodAt(zone, p.end)
		if wall-next.offset < next.start {
			return instant
		}
		p = next
	}
}

// civil returns the date of a day that is counted from 1970-01-01 on.
// The algorithm counts in eras of 400 years that begin on a 1st of March.
func civil(day int64) (year int64, month, date int) {
	z := day + 719468
	era := floorDiv(z, 146097)
	dayOfEra := z - era*146097
	yearOfEra := (dayOfEra - dayOfEra/1460 + dayOfEra/36524 - dayOfEra/146096) / 365
	dayOfYear := dayOfEra - (365*yearOfEra + yearOfEra/4 - yearOfEra/100)
	shifted := (5*dayOfYear + 2) / 153 // March is 0
	date = int(dayOfYear-(153*shifted+2)/5) + 1
	month = int(shifted) + 3
	if month > 12 {
		month -= 12
	}
	year = yearOfEra + era*400
	if month <= 2 {
		year++
	}
	return year, month, date
}

// daysIn returns the length of a month.
func daysIn(year int64, month int) int {
	switch month {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if year%4 == 0 && (year%100 != 0 || year%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// weekday returns the day of the week of a day that is counted from 1970-01-01 on.
func weekday(day int64) time.Weekday {
	return time.Weekday(day + 4 - 7*floorDiv(day+4, 7))
}

// floorDiv divides towards minus infinity.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}
