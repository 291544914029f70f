package itop

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

var _ profile.Scheduler = Profile{}

// module is the one whose settings say when iTop backs itself up.
const module = "itop-backup"

// retentionCount is the setting of how many backups are kept.
const retentionCount = "retention_count"

// What iTop takes when a setting is not there: BackupExec and
// AbstractWeeklyScheduledProcess, for the time zone Config. The setup writes
// Monday to Friday into the file; without that line it is every day.
const (
	defaultTime      = "23:30"
	defaultTimeZone  = "Europe/Paris"
	defaultRetention = 5
)

// ScheduleNeedsDatabase is false: the settings are in the configuration file.
func (Profile) ScheduleNeedsDatabase() bool { return false }

// AppSchedule reads the settings of iTop's module itop-backup, as
// AbstractWeeklyScheduledProcess and BackupExec understand them, where they can
// be understood: iTop itself makes a backup at each run of cron when week_days
// has a typo, and takes 29:30 for 05:30.
func (p Profile) AppSchedule(ctx context.Context, _ profile.Querier, app profile.App) (profile.AppSchedule, error) {
	environment := app.Environment
	if environment == "" {
		environment = defaultEnvironment
	}
	if err := check(app, environment); err != nil {
		return profile.AppSchedule{}, err
	}
	root := filepath.Clean(app.Root)
	path := filepath.Join(root, configPath(environment))
	config, err := phpconf.ReadFile(path)
	if err != nil {
		return profile.AppSchedule{File: path}, err
	}
	s := scheduled{&settings{profile: p, app: app, root: root, path: path, parsed: config}}
	if !slices.Contains(config.Variables(), "MySettings") {
		// iTop refuses such a file too; defaults would hide that it is empty or cut
		return profile.AppSchedule{File: path}, &core.Error{
			Code: core.CodeApplication, Op: "read " + path, Message: "the file sets no $MySettings, so it is not iTop's configuration, or not the whole of it",
			Hint: "put the file right, or write a schedule for app " + app.Name + " in backstay.yaml in place of from_app",
		}
	}
	out := profile.AppSchedule{Enabled: true, File: path, Source: configPath(environment) + ", " + module}
	out.Count, out.RetentionErr = s.retention(ctx)
	nothing := profile.AppSchedule{File: path, Count: out.Count, RetentionErr: out.RetentionErr}
	enabled, given, err := s.value(ctx, "enabled", "true or false")
	if err != nil {
		return nothing, err
	}
	if given {
		out.Enabled = enabled.Bool() // as PHP takes it: the text 'false' is true
	}
	if !out.Enabled {
		return out, nil // iTop reads no further either: a typo in what is off does no harm
	}
	if out.Days, err = s.weekDays(ctx); err != nil {
		return nothing, err
	}
	if out.Hour, out.Minute, err = s.time(ctx); err != nil {
		return nothing, err
	}
	if out.TimeZone, err = s.timeZone(ctx); err != nil {
		return nothing, err
	}
	return out, nil
}

// scheduled reads the settings of the module.
type scheduled struct{ *settings }

// value returns a setting of the module; given is false when it is not set.
// The placeholders of $MySettings mean nothing there (Config::Load).
func (s scheduled) value(ctx context.Context, name, forms string) (v phpconf.Value, given bool, err error) {
	v, given, err = s.settings.value(ctx, "MyModuleSettings", module, name)
	switch {
	case err != nil:
		return v, given, s.refused(settingOf(name), v, "could not be read", forms, err)
	case given && v.Kind() == phpconf.Array:
		return v, given, s.refused(settingOf(name), v, "is an array", forms, nil)
	}
	return v, given, nil
}

func settingOf(name string) string { return "$MyModuleSettings['" + module + "']['" + name + "']" }

// refused is the error for a setting that cannot be understood.
func (s scheduled) refused(setting string, v phpconf.Value, is, forms string, cause error) error {
	where := ""
	if v.Line() > 0 {
		where = fmt.Sprintf(" (line %d)", v.Line())
	}
	what, until := "schedule", "nothing is backed up on this schedule"
	if setting == settingOf(retentionCount) {
		what, until = "retention", "no backup is removed by it"
	}
	return &core.Error{
		Code: core.CodeApplication, Op: "read the " + what + " in " + s.path, Message: setting + where + " " + is, Err: cause,
		Hint: "write " + forms + " there, or a " + what + " for app " + s.app.Name + " in backstay.yaml in place of from_app; until then " + until,
	}
}

func (s scheduled) retention(ctx context.Context) (int, error) {
	const forms = "a whole number of backups, 0 to keep all,"
	v, given, err := s.value(ctx, retentionCount, forms)
	if err != nil {
		return 0, err
	}
	if !given {
		return defaultRetention, nil
	}
	n, ok := v.Int()
	if !ok || n < 0 || n > 1_000_000 {
		return 0, s.refused(settingOf(retentionCount), v, fmt.Sprintf("is %q, which is no number of backups", v.Text()), forms, nil)
	}
	return int(n), nil
}

// weekDays follows AbstractWeeklyScheduledProcess::InterpretWeekDays.
func (s scheduled) weekDays(ctx context.Context) ([]time.Weekday, error) {
	const name = "week_days"
	const forms = "days in English with commas between them, as 'monday, wednesday, friday',"
	v, given, err := s.value(ctx, name, forms)
	if err != nil || !given {
		return nil, err
	}
	if v.Text() == "" {
		return nil, s.refused(settingOf(name), v, "names no day", forms, nil)
	}
	var days []time.Weekday
	for word := range strings.SplitSeq(v.Text(), ",") {
		day := slices.IndexFunc(weekdayNames(), func(name string) bool { return strings.EqualFold(name, trim(word)) })
		if day < 0 {
			return nil, s.refused(settingOf(name), v, fmt.Sprintf("is %q, in which %q is no day", v.Text(), trim(word)), forms, nil)
		}
		days = append(days, time.Weekday(day))
	}
	slices.Sort(days)
	return slices.Compact(days), nil
}

func weekdayNames() []string {
	var names []string
	for d := time.Sunday; d <= time.Saturday; d++ {
		names = append(names, d.String())
	}
	return names
}

// clock is what iTop takes: it ignores seconds.
var clock = regexp.MustCompile(`^([01]\d|2[0-3]):([0-5]\d)(?::[0-5]\d(?:\.\d+)?)?$`)

func (s scheduled) time(ctx context.Context) (hour, minute int, err error) {
	const name, forms = "time", "a time from '00:00' to '23:59', with two digits each,"
	v, given, err := s.value(ctx, name, forms)
	if err != nil {
		return 0, 0, err
	}
	text := defaultTime
	if given {
		text = trim(v.Text())
	}
	m := clock.FindStringSubmatch(text)
	if m == nil {
		return 0, 0, s.refused(settingOf(name), v, fmt.Sprintf("is %q, which is no time of day", text), forms, nil)
	}
	if hour, err = strconv.Atoi(m[1]); err != nil {
		return 0, 0, err
	}
	minute, err = strconv.Atoi(m[2])
	return hour, minute, err
}

// timeZone follows utils::InitTimeZone: an empty setting leaves PHP's own time
// zone, which is taken to be the machine's.
func (s scheduled) timeZone(ctx context.Context) (string, error) {
	const name, forms = "timezone", "a name as 'Europe/Paris'"
	zone, given, err := s.text(ctx, name, "")
	if err != nil {
		return "", err
	}
	if !given {
		return defaultTimeZone, nil
	}
	if _, err := time.LoadLocation(zone); err != nil || zone == "Local" {
		v, _ := find(s.parsed, "MySettings", []string{name})
		return "", s.refused("$MySettings['"+name+"']", v, fmt.Sprintf("is %q, which is no time zone", zone), forms, nil)
	}
	return zone, nil
}
