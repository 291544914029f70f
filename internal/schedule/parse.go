package schedule

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	dayHint   = `write days as "monday, tuesday", "mon, tue" or "mon-fri"; leave week_days out for all seven`
	clockHint = `write a time as "23:30", from 00:00 to 23:59`
)

// ParseDays reads days of the week as iTop's settings have them: English names
// in any case with commas between them. It also takes their first three letters,
// and ranges: "mon-fri", "fri-mon". The days come without repetition, Monday
// first. An empty text is an error: no days, which mean all, are not written at
// all.
func ParseDays(text string) ([]time.Weekday, error) {
	return ParseDayList(strings.Split(text, ","))
}

// ParseDayList is ParseDays for a list. An empty list is an error.
func ParseDayList(names []string) ([]time.Weekday, error) {
	mask := uint8(0)
	for _, name := range names {
		days, err := parseDayRange(name, len(names) == 1)
		if err != nil {
			return nil, err
		}
		mask |= days
	}
	var days []time.Weekday
	for i := range 7 {
		if d := weekOrder(i); mask&(1<<d) != 0 {
			days = append(days, d)
		}
	}
	if len(days) == 0 {
		return nil, invalid("no day is named", dayHint)
	}
	return days, nil
}

func parseDayRange(text string, alone bool) (uint8, error) {
	text = strings.TrimSpace(text)
	if text == "" && alone {
		return 0, invalid("no day is named", dayHint)
	}
	if text == "" {
		return 0, invalid("between two commas, or after the last, no day is named", dayHint)
	}
	first, last, ranged := strings.Cut(text, "-")
	from, err := parseDay(first)
	if err != nil || !ranged {
		return 1 << from, err
	}
	to, err := parseDay(last)
	if err != nil {
		return 0, err
	}
	mask := uint8(1 << to)
	for d := from; d != to; d = (d + 1) % 7 {
		mask |= 1 << d
	}
	return mask, nil
}

func parseDay(text string) (time.Weekday, error) {
	name := strings.ToLower(strings.TrimSpace(text))
	for d := time.Sunday; d <= time.Saturday; d++ {
		full := strings.ToLower(d.String())
		if name == full || name == full[:3] {
			return d, nil
		}
	}
	message := fmt.Sprintf("%q is not a day of the week", text)
	if near, ok := nearestDay(name); ok {
		message += fmt.Sprintf(": is it %s?", near)
	}
	return 0, invalid(message, dayHint)
}

// nearestDay returns the day that name was most likely meant to be, if any is
// near: fewer than half of its letters differ.
func nearestDay(name string) (string, bool) {
	if len(name) > 40 {
		return "", false
	}
	best, least := "", 5
	for i := range 7 {
		full := strings.ToLower(weekOrder(i).String())
		if d := distance(name, full); d < least && d*2 < len(full) {
			best, least = full, d
		}
	}
	return best, best != ""
}

// distance counts the letters to add, to drop, to replace or to swap with their
// neighbour to make a of b.
func distance(a, b string) int {
	before, row := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		earlier := before
		before, row = row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(before[j]+1, row[j-1]+1, before[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], earlier[j-2]+1)
			}
		}
	}
	return row[len(b)]
}

// ParseClockTime reads a time of day, "23:30" or "7:05".
func ParseClockTime(text string) (ClockTime, error) {
	hour, minute, ok := strings.Cut(strings.TrimSpace(text), ":")
	h, okHour := parseDigits(hour, 1, 2)
	m, okMinute := parseDigits(minute, 2, 2)
	c := ClockTime{h, m}
	if !ok || !okHour || !okMinute || c.check() != nil {
		return ClockTime{}, invalid(fmt.Sprintf("%q is not a time of day", text), clockHint)
	}
	return c, nil
}

func parseDigits(text string, least, most int) (int, bool) {
	if len(text) < least || len(text) > most || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(text)
	return n, err == nil
}

// ParsePause reads a pause: "08:00-18:00", "mon-fri 08:00-18:00",
// "saturday, sunday 22:00-24:00".
func ParsePause(text string) (Pause, error) {
	days, times := "", strings.TrimSpace(text)
	if i := strings.LastIndexAny(times, " \t"); i >= 0 {
		days, times = times[:i], times[i+1:]
	}
	const hint = `write a pause as "08:00-18:00" or "mon-fri 08:00-18:00"`
	from, to, ok := strings.Cut(times, "-")
	if !ok {
		return Pause{}, invalid(fmt.Sprintf("%q is not a pause", text), hint)
	}
	var p Pause
	var err error
	if days != "" {
		if p.Days, err = ParseDays(days); err != nil {
			return Pause{}, err
		}
	}
	if p.From, err = ParseClockTime(from); err != nil {
		return Pause{}, err
	}
	if to == "24:00" {
		p.To = ClockTime{24, 0}
		return p, nil
	}
	if p.To, err = ParseClockTime(to); err != nil {
		return Pause{}, err
	}
	if p.From == p.To {
		return Pause{}, p.check() // it is empty
	}
	return p, nil
}
