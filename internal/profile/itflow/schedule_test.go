package itflow

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/profile"
)

// scheduleTables are the columns that db.sql and the updates up to 2.6.4 make,
// as far as the schedule is in them.
func scheduleTables() []string {
	return []string{
		"CREATE TABLE settings (company_id int NOT NULL PRIMARY KEY, config_enable_cron tinyint(1) NOT NULL DEFAULT 0, config_timezone varchar(200) NOT NULL DEFAULT 'America/New_York'," +
			"config_backup_retention_days int(11) NOT NULL DEFAULT 30, config_backup_retention_count int(11) NOT NULL DEFAULT 5, config_backup_cron_type varchar(20) NOT NULL DEFAULT 'full')",
		"CREATE TABLE cron_jobs (cron_job_id int(11) NOT NULL AUTO_INCREMENT PRIMARY KEY, cron_job_name varchar(200) NOT NULL UNIQUE, cron_job_enabled tinyint(1) NOT NULL DEFAULT 1," +
			"cron_job_schedule varchar(200) NOT NULL DEFAULT 'Interval', cron_job_interval_minutes int(11) NOT NULL DEFAULT 1, cron_job_daily_at time DEFAULT NULL)",
		"INSERT INTO settings SET company_id = 1, config_enable_cron = 1",
		"INSERT INTO cron_jobs SET cron_job_name = 'nightly_tasks', cron_job_schedule = 'Daily', cron_job_daily_at = '03:00'",
		"INSERT INTO cron_jobs SET cron_job_name = 'backup', cron_job_enabled = 1, cron_job_schedule = 'Daily', cron_job_daily_at = '02:00'",
	}
}

func TestAppSchedule(t *testing.T) {
	const newYork, source = "America/New_York", "tables settings and cron_jobs, backup"
	daily := profile.AppSchedule{Enabled: true, Hour: 2, TimeZone: newYork, Count: 5, Source: source}
	off := profile.AppSchedule{TimeZone: newYork, Count: 5, Source: source}
	with := func(change func(*profile.AppSchedule)) profile.AppSchedule {
		out := daily
		change(&out)
		return out
	}
	const job = " WHERE cron_job_name = 'backup'"
	for name, c := range map[string]struct {
		change  string
		want    profile.AppSchedule
		refused []string // parts of the error
	}{
		"as shipped, switched on": {want: daily},
		"another time":            {change: "UPDATE cron_jobs SET cron_job_daily_at = '23:45:00'" + job, want: with(func(s *profile.AppSchedule) { s.Hour, s.Minute = 23, 45 })},
		"database only":           {change: "UPDATE settings SET config_backup_cron_type = 'database'", want: with(func(s *profile.AppSchedule) { s.Only = []core.Component{core.ComponentDatabase} })},
		"a type of tomorrow":      {change: "UPDATE settings SET config_backup_cron_type = 'everything'", want: daily},
		"job off":                 {change: "UPDATE cron_jobs SET cron_job_enabled = 0, cron_job_daily_at = NULL" + job, want: off},
		"no job":                  {change: "DELETE FROM cron_jobs" + job, want: off},
		"cron off":                {change: "UPDATE settings SET config_enable_cron = 0", want: off},
		"each minute":             {change: "UPDATE cron_jobs SET cron_job_schedule = 'Interval'" + job, want: with(func(s *profile.AppSchedule) { s.Hour, s.Every = 0, 24*time.Hour })},
		"each week":               {change: "UPDATE cron_jobs SET cron_job_schedule = 'Interval', cron_job_interval_minutes = 10080" + job, want: with(func(s *profile.AppSchedule) { s.Hour, s.Every = 0, 7*24*time.Hour })},
		"days only":               {change: "UPDATE settings SET config_backup_retention_count = 0", want: with(func(s *profile.AppSchedule) { s.Count, s.KeepDays = 0, 30 })},
		"all are kept":            {change: "UPDATE settings SET config_backup_retention_count = 0, config_backup_retention_days = 0", want: with(func(s *profile.AppSchedule) { s.Count = 0 })},
		"no time":                 {change: "UPDATE cron_jobs SET cron_job_daily_at = NULL" + job, refused: []string{"cron_jobs.cron_job_daily_at", "00:00 to 23:59", "Maintenance > Cron"}},
		"25 o'clock":              {change: "UPDATE cron_jobs SET cron_job_daily_at = '25:00:00'" + job, refused: []string{"cron_jobs.cron_job_daily_at", "25:00:00"}},
		"before midnight":         {change: "UPDATE cron_jobs SET cron_job_daily_at = '-02:00:00'" + job, refused: []string{"cron_jobs.cron_job_daily_at"}},
		"a typo":                  {change: "UPDATE cron_jobs SET cron_job_schedule = 'Dayly'" + job, refused: []string{"cron_jobs.cron_job_schedule", "Dayly", "Daily or Interval"}},
		"no zone":                 {change: "UPDATE settings SET config_timezone = ''", refused: []string{"settings.config_timezone", "Localization"}},
		"wrong zone":              {change: "UPDATE settings SET config_timezone = 'Mars/Base'", refused: []string{"settings.config_timezone", "Mars/Base"}},
		"not set up":              {change: "DELETE FROM settings", refused: []string{"no row for company 1"}},
		"before 26.08.1":          {change: "ALTER TABLE settings DROP COLUMN config_backup_cron_type", refused: []string{"settings.config_backup_cron_type", "since 26.08.1", "2.6.4", "docs"}},
		"before 26.08":            {change: "DROP TABLE cron_jobs", refused: []string{"cron_jobs.", "since 26.08.1"}},
		"long ago":                {change: "DROP TABLE settings", refused: []string{"since 26.08.1"}},
	} {
		t.Run(name, func(t *testing.T) {
			database := mysqltest.Database(t)
			mysqltest.ExecIn(t, database, changed(c.change)...)
			q := server{mysqltest.Connect(t, mysqltest.Config(t, database))}
			got, err := Profile{}.AppSchedule(t.Context(), q, profile.App{Name: "docs"})
			if c.refused == nil {
				if err != nil {
					t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
				}
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Error(diff)
				}
				return
			}
			checkRefused(t, got, err, c.refused)
		})
	}
}

func checkRefused(t *testing.T, got profile.AppSchedule, err error, parts []string) {
	t.Helper()
	if err == nil || core.HintOf(err) == "" {
		t.Fatalf("got %+v, %v", got, err)
	}
	got.Count, got.KeepDays, got.RetentionErr = 0, 0, nil
	if diff := cmp.Diff(profile.AppSchedule{}, got); diff != "" {
		t.Error("a schedule beside the error:", diff)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error()+" "+core.HintOf(err), part) {
			t.Errorf("%q is not in: %v (hint: %s)", part, err, core.HintOf(err))
		}
	}
}

// TestRetentionUnknown: numbers that cannot be understood keep no backup from
// being made, and are told with what is wrong with the schedule too.
func TestRetentionUnknown(t *testing.T) {
	for name, c := range map[string]struct {
		changes []string
		enabled bool
		err     bool
		refused string // a part of the retention's error; "": it is known
		count   int
	}{
		"count":                    {changes: []string{"UPDATE settings SET config_backup_retention_count = 2000000"}, enabled: true, refused: "config_backup_retention_count"},
		"days":                     {changes: []string{"UPDATE settings SET config_backup_retention_count = 0, config_backup_retention_days = 2000000"}, enabled: true, refused: "config_backup_retention_days"},
		"days that decide nothing": {changes: []string{"UPDATE settings SET config_backup_retention_days = 2000000"}, enabled: true, count: 5},
		"switched off":             {changes: []string{"UPDATE settings SET config_enable_cron = 0, config_backup_retention_count = 2000000"}, refused: "config_backup_retention_count"},
		"schedule":                 {changes: []string{"UPDATE cron_jobs SET cron_job_schedule = 'Dayly' WHERE cron_job_name = 'backup'"}, err: true, count: 5},
		"both":                     {changes: []string{"UPDATE settings SET config_backup_retention_count = 2000000, config_timezone = 'Mars'"}, err: true, refused: "config_backup_retention_count"},
	} {
		t.Run(name, func(t *testing.T) {
			database := mysqltest.Database(t)
			mysqltest.ExecIn(t, database, append(scheduleTables(), c.changes...)...)
			got, err := Profile{}.AppSchedule(t.Context(), server{mysqltest.Connect(t, mysqltest.Config(t, database))}, profile.App{Name: "docs"})
			if (err != nil) != c.err || got.Enabled != c.enabled || got.Count != c.count || (got.RetentionErr != nil) != (c.refused != "") {
				t.Fatalf("got %+v, %v", got, err)
			}
			if c.refused == "" {
				return
			}
			for _, part := range []string{c.refused, "Maintenance > Backup", "no backup is removed", "docs"} {
				if said := got.RetentionErr.Error() + core.HintOf(got.RetentionErr); !strings.Contains(said, part) {
					t.Errorf("%q is not in: %s", part, said)
				}
			}
		})
	}
}

type answer func(statement string) ([][]*string, error)

func (a answer) Query(_ context.Context, statement string) ([][]*string, error) { return a(statement) }

// TestAppScheduleWithoutAnswer: a database that is gone, or answers what nobody
// asked, is no schedule.
func TestAppScheduleWithoutAnswer(t *testing.T) {
	app := profile.App{Name: "docs"}
	got, err := Profile{}.AppSchedule(t.Context(), nil, app)
	checkRefused(t, got, err, []string{"no database to ask"})
	gone := answer(func(string) ([][]*string, error) { return nil, errors.New("gone away") })
	if got, err := (Profile{}).AppSchedule(t.Context(), gone, app); core.CodeOf(err) != core.CodeDatabase || got.Enabled {
		t.Errorf("got %+v, %v", got, err)
	}
	nulls := answer(func(statement string) ([][]*string, error) {
		if !strings.Contains(statement, "information_schema") {
			return [][]*string{{nil, nil, nil, nil, nil}}, nil
		}
		var rows [][]*string
		for table, columns := range map[string][]string{"settings": settingColumns(), "cron_jobs": jobColumns()} {
			for _, c := range columns {
				name := table + "." + c
				rows = append(rows, []*string{&name})
			}
		}
		return rows, nil
	})
	got, err = Profile{}.AppSchedule(t.Context(), nulls, app)
	checkRefused(t, got, err, []string{"settings.config_timezone"})
}

func changed(statement string) []string {
	if statement == "" {
		return scheduleTables()
	}
	return append(scheduleTables(), statement)
}
