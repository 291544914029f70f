package schedule

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

const cronHint = `write minute, hour, day of the month, month and day of the week: "30 23 * * 1-5", or @hourly, @daily, @weekly, @monthly, @yearly`

// ParseCron checks a cron expression and returns it with single blanks between
// its fields. Five fields are read as crontab(5) does: 7 is Sunday too, and when
// the day of the month and the day of the week are both restricted (neither
// begins with *), either is enough. An expression that is never due is an error.
func ParseCron(expr string) (string, error) {
	_, normal, err := parseCron(expr)
	return normal, err
}

// cronField is a field of a cron expression.
type cronField struct {
	name  string
	place int
	size  int // how many values there are
	allow string
}

func cronFields() [5]cronField {
	return [5]cronField{
		{"minute", 0, 60, "0 to 59"},
		{"hour", 1, 24, "0 to 23"},
		{"day of the month", 2, 31, "1 to 31"},
		{"month", 3, 12, "1 to 12, or jan to dec"},
		{"day of the week", 4, 7, "0 to 7, or sun to sat; 0 and 7 are Sunday"},
	}
}

func parseCron(expr string) (pattern, string, error) {
	fields := strings.Fields(expr)
	bad := func(why string) (pattern, string, error) {
		return pattern{}, "", invalid(fmt.Sprintf("cron expression %q: %s", expr, why), cronHint)
	}
	if len(fields) == 1 && strings.HasPrefix(fields[0], "@") {
		short, ok := cronShort(fields[0])
		if !ok {
			return bad("it is not one of the short forms")
		}
		p, _, err := parseCron(short)
		return p, fields[0], err
	}
	if len(fields) > 0 && strings.Contains(fields[0], "TZ=") {
		return pattern{}, "", invalid(fmt.Sprintf("cron expression %q names a time zone", expr), "give the zone as time_zone")
	}
	if len(fields) > 0 && strings.EqualFold(fields[0], "@every") {
		return pattern{}, "", invalid(fmt.Sprintf("cron expression %q is not a cron expression", expr), "give it as every: 6h")
	}
	if len(fields) != 5 {
		return bad(fmt.Sprintf("it has %d fields, not 5", len(fields)))
	}
	var sets [5]uint64
	for i, f := range cronFields() {
		var err error
		if sets[i], err = f.parse(fields[i]); err != nil {
			return bad(err.Error())
		}
	}
	p := pattern{
		minutes: sets[0] & allMinutes, hours: uint32(sets[1] & allHours), dates: uint32(sets[2] & allDates),
		months: uint16(sets[3] & allMonths), days: uint8(sets[4] & allDays),
		either: !isStar(fields[2]) && !isStar(fields[4]),
	}
	// The calendar repeats itself after 400 years.
	const century = 36525 * daySeconds
	if _, ok := p.next(p.hours, 0, 4*century); !ok {
		return bad("no day of any year is like that, so it would never be due")
	}
	return p, strings.Join(fields, " "), nil
}

func cronShort(name string) (string, bool) {
	switch strings.ToLower(name) {
	case "@hourly":
		return "0 * * * *", true
	case "@daily", "@midnight":
		return "0 0 * * *", true
	case "@weekly":
		return "0 0 * * 0", true
	case "@monthly":
		return "0 0 1 * *", true
	case "@yearly", "@annually":
		return "0 0 1 1 *", true
	}
	return "", false
}

// isStar says whether a field leaves its day free, as crontab(5) sees it.
func isStar(field string) bool { return field[0] == '*' || field[0] == '?' }

// parse returns the values of a field as a bit set. What the library would take
// in silence (an empty list, "*-5", a step past the end) is an error.
func (f cronField) parse(text string) (uint64, error) {
	bad := fmt.Errorf("%q is not a %s (%s)", text, f.name, f.allow)
	var set uint64
	for part := range strings.SplitSeq(text, ",") {
		if part == "" || strings.Trim(strings.ToLower(part), "abcdefghijklmnopqrstuvwxyz0123456789-/*?") != "" ||
			strings.ContainsAny(strings.TrimLeft(part, "*?"), "*?") || strings.HasPrefix(part, "**") || isStar(part) && strings.Contains(part, "-") {
			return 0, bad
		}
		if _, step, ok := strings.Cut(part, "/"); ok {
			if n, err := strconv.Atoi(step); err != nil || n < 1 {
				return 0, bad
			} else if n > f.size {
				return 0, fmt.Errorf("%s goes past the %s, so that only its first value is due; for long steps there is every", part, f.name)
			}
		}
		one, err := f.parsePart(part)
		if err != nil {
			return 0, bad
		}
		set |= one
	}
	return set, nil
}

func (f cronField) parsePart(part string) (uint64, error) {
	if f.place == 4 {
		return parseDayPart(part)
	}
	return f.bits(part)
}

// parseDayPart reads a part of the day of the week. The library knows of no 7.
func parseDayPart(part string) (uint64, error) {
	day := cronFields()[4]
	values, step, stepped := strings.Cut(part, "/")
	first, last, ranged := strings.Cut(values, "-")
	if first == "7" && (!ranged || last == "7") {
		return 1, nil
	}
	if last != "7" && !(ranged && strings.EqualFold(last, "sun") && !strings.EqualFold(first, "sun") && first != "0") {
		return day.bits(part)
	}
	// A range that ends with Sunday: up to Saturday, and Sunday when a step falls on it.
	set, err := day.bits(first)
	if err != nil {
		return 0, err
	}
	n := 1
	if stepped {
		if n, err = strconv.Atoi(step); err != nil {
			return 0, fmt.Errorf("read step: %w", err)
		}
	}
	from := 0
	for set&(1<<from) == 0 {
		from++
	}
	set = 0
	for d := from; d <= 7; d += n {
		set |= 1 << (d % 7)
	}
	return set, nil
}

// bits lets the library read a field.
func (f cronField) bits(part string) (uint64, error) {
	fields := [5]string{"*", "*", "*", "*", "*"}
	fields[f.place] = part
	parser := cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
	parsed, err := parser.Parse(strings.Join(fields[:], " "))
	if err != nil {
		return 0, fmt.Errorf("read %s: %w", f.name, err)
	}
	spec, ok := parsed.(*cron.SpecSchedule)
	if !ok {
		return 0, fmt.Errorf("read %s: it has no values", f.name)
	}
	return [5]uint64{spec.Minute, spec.Hour, spec.Dom, spec.Month, spec.Dow}[f.place], nil
}
