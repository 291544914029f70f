package itflow

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

var _ profile.Scheduler = Profile{}

// scheduleSince is the version that brought scheduled backups, and the one of
// its database (admin/database_updates/2.6.4.php).
const scheduleSince = "26.08.1 (database version 2.6.4)"

// leastInterval is how often the job runs at most, whatever its row says:
// includes/cron_jobs.php marks it as not interval_safe, for cronJobClaim.
const leastInterval = 24 * time.Hour

// ScheduleNeedsDatabase is true: the settings are in tables.
func (Profile) ScheduleNeedsDatabase() bool { return true }

// AppSchedule reads what Maintenance > Backup and Maintenance > Cron of ITFlow
// show, as cron/cron.php and cron/backup.php understand it. The schedule is off
// when the job is, and when cron is (config_enable_cron): then ITFlow makes no
// backup either.
func (Profile) AppSchedule(ctx context.Context, q profile.Querier, app profile.App) (profile.AppSchedule, error) {
	r := scheduleReader{app: app.Name, q: q}
	if q == nil {
		return profile.AppSchedule{}, r.refused("", errors.New("there is no database to ask"), "let app "+app.Name+" have its database: ITFlow keeps its schedule there")
	}
	if err := r.hasColumns(ctx); err != nil {
		return profile.AppSchedule{}, err
	}
	settings, err := r.row(ctx, "settings", "SELECT "+strings.Join(settingColumns(), ", ")+" FROM settings WHERE company_id = 1", len(settingColumns()))
	if err != nil {
		return profile.AppSchedule{}, err
	}
	if settings == nil {
		return profile.AppSchedule{}, r.refused("the table settings has no row for company 1", nil, "finish ITFlow's setup first")
	}
	out := profile.AppSchedule{Source: "tables settings and cron_jobs, backup"}
	cron, kind := profile.Text(settings, 0) != "0", profile.Text(settings, 1)
	out.Count, out.KeepDays, out.RetentionErr = r.retention(profile.Text(settings, 3), profile.Text(settings, 4))
	nothing := profile.AppSchedule{Count: out.Count, KeepDays: out.KeepDays, RetentionErr: out.RetentionErr}
	if out.TimeZone, err = r.timeZone(profile.Text(settings, 2)); err != nil {
		return nothing, err
	}
	if kind == "database" {
		out.Only = []core.Component{core.ComponentDatabase} // anything else is a full backup to cron/backup.php
	}
	job, err := r.row(ctx, "cron_jobs", "SELECT "+strings.Join(jobColumns(), ", ")+" FROM cron_jobs WHERE cron_job_name = 'backup'", len(jobColumns()))
	if err != nil {
		return nothing, err
	}
	// Without a row the dispatcher makes one that is off.
	out.Enabled = cron && job != nil && profile.Text(job, 0) != "0"
	if !out.Enabled {
		return out, nil
	}
	if err := r.when(&out, job); err != nil {
		return nothing, err
	}
	return out, nil
}

func settingColumns() []string {
	return []string{"config_enable_cron", "config_backup_cron_type", "config_timezone", "config_backup_retention_count", "config_backup_retention_days"}
}

func jobColumns() []string {
	return []string{"cron_job_enabled", "cron_job_schedule", "cron_job_daily_at", "cron_job_interval_minutes"}
}

type scheduleReader struct {
	app string
	q   profile.Querier
}

func (r scheduleReader) refused(message string, cause error, hint string) error {
	return &core.Error{Code: core.CodeApplication, Op: "read ITFlow's schedule", Message: message, Err: cause, Hint: hint}
}

// wrong is the error for a setting that cannot be understood.
func (r scheduleReader) wrong(setting, is, do string) error {
	return r.refused(setting+" "+is, nil, do+", or write a schedule for app "+r.app+" in backstay.yaml in place of from_app; until then nothing is backed up on this schedule")
}

// hasColumns says whether this ITFlow has scheduled backups.
func (r scheduleReader) hasColumns(ctx context.Context) error {
	rows, err := r.q.Query(ctx, "SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name IN ('settings', 'cron_jobs')")
	if err != nil {
		return &core.Error{Code: core.CodeDatabase, Op: "read ITFlow's schedule", Err: err, Hint: "see that the database of app " + r.app + " answers: backstay doctor " + r.app}
	}
	var there []string
	for _, row := range rows {
		there = append(there, strings.ToLower(profile.Text(row, 0)))
	}
	var missing []string
	for table, columns := range map[string][]string{"settings": settingColumns(), "cron_jobs": jobColumns()} {
		for _, column := range columns {
			if !slices.Contains(there, table+"."+column) {
				missing = append(missing, table+"."+column)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	return r.refused("the database has no "+core.Some(missing, 2)+": this ITFlow has no scheduled backups; ITFlow has them since "+scheduleSince, nil,
		"write a schedule for app "+r.app+" in backstay.yaml in place of from_app, or update ITFlow (Administration > Maintenance > Update)")
}

// row returns the first row, nil when there is none.
func (r scheduleReader) row(ctx context.Context, table, statement string, columns int) ([]*string, error) {
	rows, err := r.q.Query(ctx, statement)
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeDatabase, Op: "read ITFlow's schedule", Err: err, Hint: "let the account of app " + r.app + " read the table " + table,
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	if len(rows[0]) != columns {
		return nil, r.refused("the server's answer for the table "+table+" has another form than was asked for", nil, "run backstay doctor "+r.app)
	}
	return rows[0], nil
}

func (r scheduleReader) timeZone(zone string) (string, error) {
	if _, err := time.LoadLocation(zone); err != nil || zone == "" || zone == "Local" {
		return "", r.wrong("settings.config_timezone", fmt.Sprintf("is %q, which is no time zone", zone), "choose one in ITFlow (Administration > Localization)")
	}
	return zone, nil
}

// retention follows backupRunRetention: with a count it keeps that many of the
// newest backups whatever their age, and the days decide nothing; without one,
// those of the last days.
func (r scheduleReader) retention(count, days string) (keep, keepDays int, err error) {
	wrong := func(setting, value, what string) error {
		return &core.Error{
			Code: core.CodeApplication, Op: "read ITFlow's retention", Message: fmt.Sprintf("%s is %q, which is no number of %s", setting, value, what),
			Hint: "correct it in ITFlow (Administration > Maintenance > Backup), or write a retention for app " + r.app + " in backstay.yaml in place of from_app; until then no backup is removed by it",
		}
	}
	c, err := strconv.Atoi(count)
	if err != nil || c > 1_000_000 {
		return 0, 0, wrong("settings.config_backup_retention_count", count, "backups")
	}
	if c > 0 {
		return c, 0, nil
	}
	d, err := strconv.Atoi(days)
	if err != nil || d > 1_000_000 {
		return 0, 0, wrong("settings.config_backup_retention_days", days, "days")
	}
	return 0, max(d, 0), nil
}

// dailyAt is what the server writes for a TIME; it knows hours up to 838.
var dailyAt = regexp.MustCompile(`^([01]\d|2[0-3]):([0-5]\d)(?::[0-5]\d(?:\.\d+)?)?$`)

// when follows cronJobClaim.
func (r scheduleReader) when(out *profile.AppSchedule, job []*string) error {
	const do = "set the job Backup in ITFlow (Administration > Maintenance > Cron)"
	switch schedule := profile.Text(job, 1); schedule {
	case "Daily":
		m := dailyAt.FindStringSubmatch(profile.Text(job, 2))
		if m == nil {
			return r.wrong("cron_jobs.cron_job_daily_at of the job backup", fmt.Sprintf("is %q, which is no time of day", profile.Text(job, 2)), do+" to a time from 00:00 to 23:59")
		}
		var err error
		if out.Hour, err = strconv.Atoi(m[1]); err != nil {
			return err
		}
		out.Minute, err = strconv.Atoi(m[2])
		return err
	case "Interval":
		minutes, err := strconv.Atoi(profile.Text(job, 3))
		if err != nil || minutes > 60*24*366 {
			return r.wrong("cron_jobs.cron_job_interval_minutes of the job backup", fmt.Sprintf("is %q, which is no number of minutes", profile.Text(job, 3)), do+" to a daily time")
		}
		out.Every = max(time.Duration(minutes)*time.Minute, leastInterval)
		return nil
	default:
		return r.wrong("cron_jobs.cron_job_schedule of the job backup", fmt.Sprintf("is %q and can be Daily or Interval", schedule), do)
	}
}
