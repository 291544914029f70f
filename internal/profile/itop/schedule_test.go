package itop

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

func scheduleConfig(settings, module string) string {
	return "<?php\n$MySettings = array(" + settings + ");\n$MyModuleSettings = array('itop-backup' => array(" + module + "));\n"
}

func TestAppSchedule(t *testing.T) {
	const source = "conf/production/config-itop.php, itop-backup"
	workdays := []time.Weekday{time.Monday, time.Tuesday, time.Wednesday, time.Thursday, time.Friday}
	paris := profile.AppSchedule{Enabled: true, Hour: 23, Minute: 30, TimeZone: "Europe/Paris", Count: 5, Source: source}
	with := func(change func(*profile.AppSchedule)) profile.AppSchedule {
		out := paris
		change(&out)
		return out
	}
	for name, c := range map[string]struct {
		config string
		want   profile.AppSchedule
	}{
		"no module":   {"<?php $MySettings = array(); $MyModuleSettings = array();", paris},
		"no settings": {scheduleConfig("", ""), paris},
		"nulls":       {scheduleConfig("'timezone' => null", "'week_days' => null, 'time' => null, 'enabled' => null, 'retention_count' => null"), paris},
		"as the setup writes it": {
			scheduleConfig("'timezone' => 'Europe/Paris'", "'mysql_bindir' => '', 'week_days' => 'monday, tuesday, wednesday, thursday, friday', 'time' => '23:30', 'retention_count' => 5, 'enabled' => true"),
			with(func(s *profile.AppSchedule) { s.Days = workdays }),
		},
		"case, blanks, order, twice": {
			scheduleConfig("", "'week_days' => '  WEDnESdAY ,\tsunday,Sunday'"),
			with(func(s *profile.AppSchedule) { s.Days = []time.Weekday{time.Sunday, time.Wednesday} }),
		},
		"time with blanks":                  {scheduleConfig("", "'time' => '  02:05  '"), with(func(s *profile.AppSchedule) { s.Hour, s.Minute = 2, 5 })},
		"seconds":                           {scheduleConfig("", "'time' => '22:33:44.123'"), with(func(s *profile.AppSchedule) { s.Hour, s.Minute = 22, 33 })},
		"off":                               {scheduleConfig("", "'enabled' => false"), profile.AppSchedule{Count: 5, Source: source}},
		"off, with typos":                   {scheduleConfig("", "'enabled' => 0, 'week_days' => 'mercredi', 'time' => '12am'"), profile.AppSchedule{Count: 5, Source: source}},
		"on, as PHP has it":                 {scheduleConfig("", "'enabled' => 'false'"), paris},
		"off, with a typo in the retention": {scheduleConfig("", "'enabled' => false, 'retention_count' => 'five'"), profile.AppSchedule{Source: source}},
		"retention":                         {scheduleConfig("", "'retention_count' => 'five'"), with(func(s *profile.AppSchedule) { s.Count = 0 })},
		"less than none":                    {scheduleConfig("", "'retention_count' => -1"), with(func(s *profile.AppSchedule) { s.Count = 0 })},
		"all are kept":                      {scheduleConfig("", "'retention_count' => 0"), with(func(s *profile.AppSchedule) { s.Count = 0 })},
		"a number as text":                  {scheduleConfig("", "'retention_count' => ' 14 '"), with(func(s *profile.AppSchedule) { s.Count = 14 })},
		"another zone":                      {scheduleConfig("'timezone' => 'America/Sao_Paulo'", ""), with(func(s *profile.AppSchedule) { s.TimeZone = "America/Sao_Paulo" })},
		"PHP's zone":                        {scheduleConfig("'timezone' => ''", ""), with(func(s *profile.AppSchedule) { s.TimeZone = "" })},
		"computed": {
			"<?php $h = '04'; $MySettings = array(); $MyModuleSettings = array('itop-backup' => array('time' => $h.':15'));",
			with(func(s *profile.AppSchedule) { s.Hour, s.Minute = 4, 15 }),
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := install(t, c.config)
			got, err := newProfile().AppSchedule(t.Context(), nil, profile.App{Name: "desk", Root: root})
			if err != nil {
				t.Fatalf("%v (hint: %s)", err, core.HintOf(err))
			}
			c.want.File = filepath.Join(root, settingsFile)
			checkRetention(t, &got, strings.Contains(c.config, "'five'") || strings.Contains(c.config, "-1"))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestAppScheduleIsReadLive: what was changed counts at once.
func TestAppScheduleIsReadLive(t *testing.T) {
	root := install(t, scheduleConfig("", "'time' => '01:00'"))
	app := profile.App{Name: "desk", Root: root}
	for _, hour := range []int{1, 4} {
		got, err := newProfile().AppSchedule(t.Context(), nil, app)
		if err != nil || got.Hour != hour {
			t.Fatalf("got %+v, %v", got, err)
		}
		write(t, root, map[string]string{settingsFile: scheduleConfig("", "'time' => '04:00'")})
	}
}

// TestAppScheduleRefuses: what cannot be understood is an error that says where
// and what to write, never a schedule.
func TestAppScheduleRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		config string
		parts  []string
	}{
		"typo in a day":   {scheduleConfig("", "'week_days' => 'monday, mercredi'"), []string{"['week_days']", "line 3", "mercredi", "'monday, wednesday, friday'"}},
		"a short day":     {scheduleConfig("", "'week_days' => 'mon'"), []string{"['week_days']", `"mon"`}},
		"comma at end":    {scheduleConfig("", "'week_days' => 'monday,'"), []string{"['week_days']", `""`}},
		"no day":          {scheduleConfig("", "'week_days' => ''"), []string{"['week_days']", "names no day"}},
		"an array":        {scheduleConfig("", "'week_days' => array('monday')"), []string{"['week_days']", "is an array"}},
		"no time":         {scheduleConfig("", "'time' => ''"), []string{"['time']", "'00:00' to '23:59'"}},
		"12am":            {scheduleConfig("", "'time' => '12am'"), []string{"['time']", "12am"}},
		"one digit":       {scheduleConfig("", "'time' => '9:30'"), []string{"['time']", "two digits"}},
		"29:30":           {scheduleConfig("", "'time' => '29:30'"), []string{"['time']", "29:30"}},
		"24:00":           {scheduleConfig("", "'time' => '24:00'"), []string{"['time']"}},
		"text around":     {scheduleConfig("", "'time' => 'at 22:30'"), []string{"['time']"}},
		"retention too":   {scheduleConfig("", "'retention_count' => 'five', 'time' => '12am'"), []string{"['time']", "nothing is backed up"}},
		"enabled":         {scheduleConfig("", "'enabled' => array()"), []string{"['enabled']", "is an array"}},
		"zone":            {scheduleConfig("'timezone' => 'Europe/Pari'", ""), []string{"['timezone']", "Europe/Pari", "'Europe/Paris'"}},
		"zone of Go":      {scheduleConfig("'timezone' => 'Local'", ""), []string{"['timezone']"}},
		"a path":          {scheduleConfig("'timezone' => '../../etc/passwd'", ""), []string{"['timezone']"}},
		"another file":    {"<?php $x = 1;", []string{"$MySettings"}},
		"an emptied file": {"", []string{settingsFile}},
		"half a file":     {"<?php $MySettings = array('timezone' => 'Eur", []string{settingsFile}},
	} {
		t.Run(name, func(t *testing.T) {
			root := install(t, c.config)
			got, err := newProfile().AppSchedule(t.Context(), nil, profile.App{Name: "desk", Root: root})
			if err == nil || core.HintOf(err) == "" {
				t.Fatalf("got %+v, %v", got, err)
			}
			want := profile.AppSchedule{File: filepath.Join(root, settingsFile)}
			wrong := strings.Contains(c.config, "'five'")
			if !wrong && strings.Contains(c.config, module) {
				want.Count = defaultRetention // is known all the same
			}
			checkRetention(t, &got, wrong)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error("a schedule beside the error:", diff)
			}
			for _, part := range append(c.parts, settingsFile) {
				if !strings.Contains(err.Error()+" "+core.HintOf(err), part) {
					t.Errorf("%q is not in: %v (hint: %s)", part, err, core.HintOf(err))
				}
			}
		})
	}
}

// checkRetention looks at why the retention is not known, and takes it away.
func checkRetention(t *testing.T, got *profile.AppSchedule, wrong bool) {
	t.Helper()
	err := got.RetentionErr
	if (err != nil) != wrong {
		t.Fatalf("the retention: %v", err)
	}
	if said := fmt.Sprint(err, core.HintOf(err)); wrong && (!strings.Contains(said, "['retention_count']") || !strings.Contains(said, "no backup is removed") || strings.Contains(said, "schedule")) {
		t.Error(said)
	}
	got.RetentionErr = nil
}
