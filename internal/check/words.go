package check

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/backstay/backstay/internal/core"
)

// most is how many problems of one name are listed.
const most = 10

// atMost leaves the first of many problems of one name, and says how many more
// there are of what.
func atMost(list []core.Problem, what string) []core.Problem {
	if len(list) <= most {
		return list
	}
	last := list[most]
	last.Object = fmt.Sprintf("%d more", len(list)-most)
	last.Message = fmt.Sprintf("and %s more %s", count(int64(len(list)-most)), what)
	for _, p := range list[most:] {
		if p.Level == core.LevelAlarm {
			last.Level = core.LevelAlarm
		}
	}
	return append(list[:most:most], last)
}

// count writes a number with its thousands apart: 10,240.
func count(n int64) string {
	text := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(text) - 3; i > start; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size writes bytes as people read them: 17.7 MB.
func size(n int64) string {
	value, unit := float64(n), -1
	for math.Abs(value) >= 999.5 && unit < 4 {
		value, unit = value/1000, unit+1
	}
	switch {
	case unit < 0:
		return strconv.FormatInt(n, 10) + " bytes"
	case math.Abs(value) < 99.95:
		return fmt.Sprintf("%.1f %cB", value, "kMGTP"[unit])
	default:
		return fmt.Sprintf("%.0f %cB", value, "kMGTP"[unit])
	}
}

// span writes a duration as people say it: 8 days, 26 hours.
func span(d time.Duration) string {
	one := func(n int64, unit string) string {
		if n == 1 {
			return "1 " + unit
		}
		return fmt.Sprintf("%d %ss", n, unit)
	}
	const day = 24 * time.Hour
	switch {
	case d >= 2*day:
		return one(int64((d+day/2)/day), "day")
	case d >= 2*time.Hour:
		return one(int64((d+time.Hour/2)/time.Hour), "hour")
	default:
		return one(int64((d+time.Minute/2)/time.Minute), "minute")
	}
}

// shellWord writes a name that an application chose so that it can be pasted into
// a shell as one word. A name for which that is not safe, be it for the eye, has
// none.
func shellWord(name string) (word string, ok bool) {
	plain := name != "" && name[0] != '-'
	for _, c := range name {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.ContainsRune("_-.", c):
		case c == unicode.ReplacementChar, strings.ContainsRune("'\"`\\", c), !unicode.IsPrint(c):
			return "", false
		default:
			plain = false
		}
	}
	switch {
	case plain:
		return name, true
	case name == "" || name[0] == '-':
		return "", false
	}
	return "'" + name + "'", true
}

// brief is as much of an id as lists show.
func brief(id string) string { return id[:min(8, len(id))] }

// judge collects what is wrong with one app.
type judge struct {
	in       Input
	limits   Limits
	location *time.Location
	later    []core.Backup // those that are dated in the future; in has none of them
	problems []core.Problem
}

func (j *judge) when(t time.Time) string { return t.In(j.location).Format("2006-01-02 15:04 MST") }

func (j *judge) add(topic core.Topic, level core.ProblemLevel, name, object, message, hint string) {
	j.problems = append(j.problems, core.Problem{App: j.in.App, Topic: topic, Name: name, Object: object, Message: message, Hint: hint, Level: level})
}
