package config

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/schedule"
)

// DefaultCheckSchedule is when an app is checked where the file says nothing:
// every hour, and after every backup.
func DefaultCheckSchedule() schedule.Spec {
	return schedule.Spec{Name: "check", Every: time.Hour}
}

// checkFields are those of `check`. 0 and off switch a rule off, which is a
// negative limit where 0 is the default.
func checkFields(l *check.Limits, when *schedule.Spec) []strict.Field {
	return []strict.Field{
		strict.NotField("enabled", &l.Off).Describe("false: no check at all; true when not given"),
		oneScheduleField("schedule", when).Describe("when the app is checked, beside after every backup; every hour when not given"),
		limitField("size_min", func(s string) (wrong, hint string) { return sizeLimit(s, &l.SizeMin) }, func() { l.SizeMin = -1 }).
			Describe("a backup must have more bytes than this: 10MB; iTop's check_size_min"),
		numberLimit("size_reduction_max", &l.SizeReductionMax, 100, 0).Describe("percent that a backup may be smaller than the one before; iTop's check_size_reduction_max; off when not given"),
		ageLimit("max_age", &l.MaxAge, -1).Describe("how old the newest backup may be: 26h; what the schedule asks for when not given"),
		limitField("min_backups", func(s string) (wrong, hint string) { return wholeLimit(s, &l.MinBackups, 1000) }, func() { l.MinBackups = -1 }).
			Describe("how many usual backups there must be before a new one is compared with them"),
		numberLimit("deviations", &l.Deviations, 1000, -1).Describe("how many robust deviations from the median are too many"),
		numberLimit("rows_drop", &l.RowsDrop, 100, -1).Describe("percent of its usual rows that a table may lose"),
		limitField("rows_min", func(s string) (wrong, hint string) { return wholeLimit(s, &l.RowsMin, 1<<40) }, func() { l.RowsMin = -1 }).
			Describe("tables with fewer rows are not judged by rows_drop"),
		numberLimit("size_drop", &l.SizeDrop, 100, -1).Describe("percent of its usual size that a backup, or a component, may lose"),
		numberLimit("noise_rise", &l.NoiseRise, 100, -1).Describe("percentage points by which the share of files that look encrypted may rise"),
		ageLimit("verify_age", &l.VerifyAge, 0).Describe("how long ago the last verification may be: 30d; not asked for when not given"),
		ageLimit("drill_age", &l.DrillAge, -1).Describe("how long ago the last drill may be: 90d; what drill: asks for when not given"),
		limitField("free_min", func(s string) (wrong, hint string) { return freeLimit(s, l) }, func() { l.FreeMin, l.FreeMinBytes = -1, -1 }).
			Describe("how much of the repository's storage must be free: 10%, or 50GB"),
		ageLimit("full_within", &l.FullWithin, -1).Describe("alarm when the repository will be full so soon: 14d"),
		ageLimit("maintenance_age", &l.MaintenanceAge, -1).Describe("how long ago maintenance may have completed: 3d"),
		strict.ListField("ignore_tables", &l.IgnoreTables, false, tableGlob).Describe("globs of tables whose rows are not judged"),
	}
}

// limitField is a limit that parse reads, and that off or 0 switch off.
func limitField(key string, parse func(string) (wrong, hint string), off func()) strict.Field {
	return strict.ScalarField(key, func(s string) (wrong, hint string) {
		if s == "off" || s == "0" {
			off()
			return "", ""
		}
		return parse(s)
	})
}

// ageLimit is a length of time, or off.
func ageLimit(key string, into *time.Duration, off time.Duration) strict.Field {
	return limitField(key, func(s string) (wrong, hint string) {
		d, wrong, hint := strict.ParseDuration(s)
		if wrong != "" {
			return wrong, strings.TrimSuffix(hint, "; or 0") + "; or off"
		}
		if *into = d; d == 0 {
			*into = off
		}
		return "", ""
	}, func() { *into = off })
}

// numberLimit is a number up to most, with or without a percent sign where that
// is 100; or off.
func numberLimit(key string, into *float64, most, off float64) strict.Field {
	return limitField(key, func(s string) (wrong, hint string) {
		if most == 100 {
			s = strings.TrimSpace(strings.TrimSuffix(s, "%"))
		}
		return plainNumber(s, into, most)
	}, func() { *into = off })
}

func plainNumber(s string, into *float64, most float64) (wrong, hint string) {
	n, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789.") != "" || n > most || n <= 0 {
		return fmt.Sprintf("cannot be %q", strict.Shown(s)), fmt.Sprintf("write a number up to %g, or off", most)
	}
	*into = n
	return "", ""
}

func wholeLimit[T int | int64](s string, into *T, most int64) (wrong, hint string) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || n > most {
		return fmt.Sprintf("cannot be %q", strict.Shown(s)), fmt.Sprintf("write a whole number up to %d, or off", most)
	}
	*into = T(n)
	return "", ""
}

func sizeLimit(s string, into *int64) (wrong, hint string) {
	n, wrong, hint := strict.ParseSize(s)
	if wrong == "" {
		*into = n
	}
	return wrong, hint
}

// freeLimit is a share of the storage or a size: the one that is given replaces
// the other.
func freeLimit(s string, l *check.Limits) (wrong, hint string) {
	if share, ok := strings.CutSuffix(s, "%"); ok {
		l.FreeMinBytes = -1
		return plainNumber(strings.TrimSpace(share), &l.FreeMin, 100)
	}
	if size, err := strconv.ParseInt(s, 10, 64); err == nil && size <= 100 {
		return fmt.Sprintf("cannot be %q", strict.Shown(s)), fmt.Sprintf("write %s%% for a share of the storage, or a size such as 50GB", s)
	}
	l.FreeMin = -1
	if wrong, _ = sizeLimit(s, &l.FreeMinBytes); wrong != "" {
		hint = "write a share of the storage, such as 10%, or a size, such as 50GB; or off"
	}
	return wrong, hint
}

func tableGlob(s string) (wrong, hint string) {
	if strings.Contains(s, "/") {
		return fmt.Sprintf("cannot be %q", strict.Shown(s)), "write the name of a table: * is anything in it"
	}
	return glob(s)
}
