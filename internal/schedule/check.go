package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const (
	minEvery  = time.Minute
	maxJitter = 24 * time.Hour
)

// Told is what an application's own settings say of when to back it up.
type Told struct {
	Off      bool
	Weekly   *Weekly // nil: by Every
	Every    time.Duration
	TimeZone string // "": the machine's
	Only     []core.Component
}

// Resolve returns s with the application's own settings in the place of
// from_app. What s itself says of time zone and components wins. Compile checks
// what comes of it.
func (s Spec) Resolve(t Told) Spec {
	s.FromApp = false
	s.Off = s.Off || t.Off
	s.Weekly, s.Every, s.Cron = t.Weekly, t.Every, ""
	if s.TimeZone == "" {
		s.TimeZone = t.TimeZone
	}
	if len(s.Only) == 0 {
		s.Only = t.Only
	}
	return s
}

// Check says why a schedule cannot be, as a core.Error with CodeConfig and a
// hint, or nil. A schedule that is the application's is checked as far as it is
// known.
func (s Spec) Check() error {
	if s.Broken != "" {
		return &core.Error{Code: core.CodeConfig, Op: "read the schedule", Message: s.Broken, Hint: "correct it in backstay.yaml; until then nothing is backed up by it"}
	}
	for _, check := range []func() error{s.checkWhen, s.checkZone, s.checkJitter, s.checkPauses} {
		if err := check(); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

func (s Spec) checkWhen() error {
	var given []string
	for _, w := range []struct {
		name  string
		given bool
	}{{"week_days and time", s.Weekly != nil}, {"cron", s.Cron != ""}, {"every", s.Every != 0}, {"from_app", s.FromApp}} {
		if w.given {
			given = append(given, w.name)
		}
	}
	switch {
	case len(given) == 0 && s.Off:
		return nil
	case len(given) == 0:
		return invalid("it does not say when", "give one of time (with week_days), cron, every and from_app: true")
	case len(given) > 1:
		return invalid(fmt.Sprintf("it says when more than once: %s", strings.Join(given, ", ")), "keep one of them, and make the others schedules of their own")
	case s.Weekly != nil:
		return s.Weekly.check()
	case s.Cron != "":
		_, _, err := parseCron(s.Cron)
		return err
	case s.Every != 0 && s.Every < minEvery:
		return invalid(fmt.Sprintf("every %s is too often", formatDuration(s.Every)), "give a minute or more: every: 6h")
	case s.Every%time.Second != 0:
		return invalid(fmt.Sprintf("every %s is not a number of whole seconds", s.Every), "write it in hours, minutes and seconds: every: 1h30m")
	}
	return nil
}

func (w *Weekly) check() error {
	if err := checkDays(w.Days); err != nil {
		return err
	}
	return w.At.check()
}

func checkDays(days []time.Weekday) error {
	for _, d := range days {
		if d < time.Sunday || d > time.Saturday {
			return invalid(fmt.Sprintf("there is no day %d of the week", int(d)), dayHint)
		}
	}
	return nil
}

func (c ClockTime) check() error {
	if c.Hour < 0 || c.Hour > 23 || c.Minute < 0 || c.Minute > 59 {
		return invalid(fmt.Sprintf("there is no time %s", c), clockHint)
	}
	return nil
}

func (s Spec) checkZone() error {
	_, err := loadZone(s.TimeZone)
	return err
}

// loadZone returns the zone of that name, and the machine's for "".
func loadZone(name string) (*time.Location, error) {
	if name == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" {
		return nil, invalid(fmt.Sprintf("time zone %q is not known", name),
			`write it as "Europe/Paris" or "UTC" (timedatectl list-timezones shows them all); leave it out for the application's or the machine's`)
	}
	return zone, nil
}

func (s Spec) checkJitter() error {
	switch {
	case s.Jitter < 0:
		return invalid(fmt.Sprintf("jitter %s is negative", formatDuration(s.Jitter)), "due times are put off by up to jitter: jitter: 10m")
	case s.Jitter > maxJitter:
		return invalid(fmt.Sprintf("jitter %s is longer than a day", formatDuration(s.Jitter)), "give less: jitter: 10m")
	case s.Jitter%time.Second != 0:
		return invalid(fmt.Sprintf("jitter %s is not a number of whole seconds", s.Jitter), "give it in minutes: jitter: 10m")
	}
	return nil
}

func (s Spec) checkPauses() error {
	var week [7 * 24 * 60]bool // by minute, from Sunday on
	paused := 0
	for _, p := range s.Pauses {
		if err := p.check(); err != nil {
			return err
		}
		from, to := int(p.From.seconds()/60), int(p.To.seconds()/60)
		if to < from {
			to += 24 * 60
		}
		mask := dayMask(p.Days)
		for day := range 7 {
			if mask&(1<<day) == 0 {
				continue
			}
			for m := from; m < to; m++ {
				at := (day*24*60 + m) % len(week)
				if !week[at] {
					week[at] = true
					paused++
				}
			}
		}
	}
	if paused == len(week) {
		return invalid("its pauses leave no minute of the week", "leave time between them, or set enabled: false")
	}
	return nil
}

func (p Pause) check() error {
	if err := checkDays(p.Days); err != nil {
		return err
	}
	if err := p.From.check(); err != nil {
		return err
	}
	if p.From == p.To {
		return invalid(fmt.Sprintf("the pause %s-%s is empty", p.From, p.To), `give its first minute and the one after its last: {from: "08:00", to: "18:00"}`)
	}
	if (p.To == ClockTime{24, 0}) {
		return nil
	}
	return p.To.check()
}

// invalid is what is wrong with a schedule, and what to write instead.
func invalid(message, hint string) error {
	return &core.Error{Code: core.CodeConfig, Message: message, Hint: hint}
}

// fail says which schedule err is about.
func (s Spec) fail(err error) error {
	return &core.Error{Code: core.CodeConfig, Op: s.op(), Hint: core.HintOf(err), Err: err}
}

func (s Spec) op() string {
	if s.Name == "" {
		return "read schedule"
	}
	return "read schedule " + s.Name
}
