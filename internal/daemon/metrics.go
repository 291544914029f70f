package daemon

import (
	"context"
	"encoding/json"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/state"
)

// lastBackup is the prefix of the values in the state database that hold the
// newest backup of each app, as JSON of core.Backup.
const lastBackup = "last-backup/"

const (
	figuresFresh = 10 * time.Second // how old figures may be that are shown again
	figuresWait  = 3 * time.Second  // at most for the state database
)

// metrics collects what /metrics shows when it is asked: how the loop stands,
// and what the state database holds.
type metrics struct {
	s *service

	mu   sync.Mutex // guards what follows; one collects at a time
	last figures    // what the state database held when it could last be read
	at   time.Time

	lastSuccess, lastRun, lastOutcome, lastDuration, logical, stored, freeze, verified, duration    *prometheus.Desc
	problems, next, enabled, broken, running, used, free, total, maintained, config, configAt, down *prometheus.Desc
	stateOK, build                                                                                  *prometheus.Desc
}

// figures are what the state database holds for the metrics.
type figures struct {
	backups map[string]core.Backup // the newest by app
	runs    map[string]*core.Run   // the last backup run by app that is over
	success map[string]time.Time   // when the last good one ended
	alarms  map[alarmKey]int       // problems of open alarms
	space   *state.SpaceSample
}

type alarmKey struct {
	app   string
	topic core.Topic
}

func newMetrics(s *service) *metrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("backstay_"+name, help, labels, nil)
	}
	return &metrics{
		s:            s,
		lastSuccess:  desc("last_success_timestamp_seconds", "When the last backup that succeeded, with or without warnings, ended; 0: none did.", "app"),
		lastRun:      desc("last_run_timestamp_seconds", "When the last backup run that is over ended, however it did.", "app"),
		lastOutcome:  desc("last_run_outcome", "1 for the outcome of the last backup run that is over, 0 for the others.", "app", "outcome"),
		lastDuration: desc("last_run_duration_seconds", "How long the last backup run that is over took.", "app"),
		duration:     desc("last_backup_duration_seconds", "How long the newest backup took.", "app"),
		logical:      desc("last_backup_logical_bytes", "Size of the newest backup's content.", "app"),
		stored:       desc("last_backup_stored_bytes", "What the newest backup added to the repository.", "app"),
		freeze:       desc("last_backup_freeze_seconds", "How long writes had to wait during the newest backup.", "app"),
		verified:     desc("last_backup_verified_timestamp_seconds", "When the newest backup was last read back and found whole.", "app"),
		problems:     desc("problems", "Problems of the open alarms.", "app", "topic"),
		next:         desc("next_run_timestamp_seconds", "When the next run by the schedule may begin: what is due in a pause at its end.", "app", "kind", "schedule"),
		enabled:      desc("schedule_enabled", "0 when the schedule is switched off.", "app", "kind", "schedule"),
		broken:       desc("schedule_broken", "1 when the schedule cannot be understood, so that nothing runs by it.", "app", "kind", "schedule"),
		running:      desc("run_running", "1 while a run of the schedule runs.", "app", "kind", "schedule"),
		used:         desc("repository_used_bytes", "Size of the repository."),
		free:         desc("repository_free_bytes", "What can still be written where the repository is."),
		total:        desc("repository_total_bytes", "Size of the storage that the repository is on."),
		maintained:   desc("repository_maintained_timestamp_seconds", "When maintenance of the repository last completed."),
		config:       desc("config_ok", "0 while the configuration cannot be used and the one before it is in effect."),
		configAt:     desc("config_timestamp_seconds", "When the configuration was last read, or broke."),
		stateOK:      desc("state_ok", "0 while the state database cannot be used; runs go on, and are recorded later."),
		down:         desc("stopping", "1 while the service ends."),
		build:        desc("build_info", "1, with the version.", "version", "revision"),
	}
}

var _ prometheus.Collector = (*metrics)(nil)

// Describe names no metrics: which there are depends on the configuration.
func (m *metrics) Describe(chan<- *prometheus.Desc) {}

// Collect shows how things stand.
func (m *metrics) Collect(out chan<- prometheus.Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := m.s.seen()
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, valid(labels)...)
	}
	f, readable := m.figures()
	gauge(m.build, 1, m.s.o.Version, m.s.o.Revision)
	gauge(m.stateOK, number(readable && m.s.keeper.trouble() == nil))
	gauge(m.config, number(!v.has("config-broken")))
	gauge(m.configAt, seconds(v.configAt))
	gauge(m.down, number(v.stopping))
	m.schedules(v, gauge)
	for key, n := range withOwn(f.alarms, v) {
		gauge(m.problems, float64(n), key.app, string(key.topic))
	}
	for app, b := range f.backups {
		gauge(m.duration, float64(b.DurationMS)/1000, app)
		gauge(m.logical, float64(b.LogicalBytes), app)
		gauge(m.stored, float64(b.StoredBytes), app)
		gauge(m.freeze, float64(b.FreezeMS)/1000, app)
		if b.Verified != nil {
			gauge(m.verified, seconds(*b.Verified), app)
		}
	}
	known := f.success != nil
	f = f.with(v.runs)
	for app := range v.apps() {
		// 0 is never: nobody can be alarmed by what is not shown. What could not
		// be read is not never.
		if at := f.success[app]; at.IsZero() && known {
			gauge(m.lastSuccess, 0, app)
		}
	}
	for app, at := range f.success {
		gauge(m.lastSuccess, seconds(at), app)
	}
	for app, r := range f.runs {
		for _, o := range []core.Outcome{core.OutcomeOK, core.OutcomeWarnings, core.OutcomeFailed, core.OutcomeCancelled} {
			gauge(m.lastOutcome, number(o == r.Outcome), app, string(o))
		}
		if r.Finished != nil {
			gauge(m.lastRun, seconds(*r.Finished), app)
			gauge(m.lastDuration, r.Finished.Sub(r.Started).Seconds(), app)
		}
	}
	m.repository(f, gauge)
}

// with returns the figures with runs that the state database does not know of,
// because it cannot be written.
func (f figures) with(runs map[string]*core.Run) figures {
	all, success := maps.Clone(f.runs), maps.Clone(f.success)
	if all == nil {
		all, success = map[string]*core.Run{}, map[string]time.Time{}
	}
	for app, r := range runs {
		if known := all[app]; known == nil || known.Finished == nil || r.Finished.After(*known.Finished) {
			all[app] = r
		}
		if (r.Outcome == core.OutcomeOK || r.Outcome == core.OutcomeWarnings) && r.Finished.After(success[app]) {
			success[app] = *r.Finished
		}
	}
	f.runs, f.success = all, success
	return f
}

type gaugeFunc func(d *prometheus.Desc, value float64, labels ...string)

func (m *metrics) schedules(v view, gauge gaugeFunc) {
	for _, st := range v.states {
		labels := []string{st.Job.App, st.Job.Kind, st.Job.Name}
		gauge(m.broken, number(st.Job.Err != nil), labels...)
		gauge(m.running, number(st.Running != nil), labels...)
		if st.Gone || st.Job.Err != nil {
			continue
		}
		gauge(m.enabled, number(!st.Job.Off), labels...)
		if !st.Next.IsZero() {
			gauge(m.next, seconds(st.Next), labels...)
		}
	}
}

func (m *metrics) repository(f figures, gauge gaugeFunc) {
	if f.space == nil {
		return
	}
	for _, c := range []struct {
		d *prometheus.Desc
		n int64
	}{{m.used, f.space.Used}, {m.free, f.space.Free}, {m.total, f.space.Total}} {
		if c.n >= 0 {
			gauge(c.d, float64(c.n))
		}
	}
	if f.space.Maintained != nil {
		gauge(m.maintained, seconds(*f.space.Maintained))
	}
}

// figures reads the state database; when that cannot be read, it returns what
// was read last and false.
func (m *metrics) figures() (figures, bool) {
	now := m.s.clock.Now()
	if age := now.Sub(m.at); !m.at.IsZero() && age >= 0 && age < figuresFresh {
		return m.last, true
	}
	db := m.s.keeper.usable()
	if db == nil {
		return m.last, false
	}
	ctx, cancel := context.WithTimeout(context.Background(), figuresWait)
	defer cancel()
	f, err := m.read(ctx, db)
	if err != nil {
		m.s.log.Debug("read figures for the metrics", "err", err)
		return m.last, false
	}
	m.last, m.at = f, now
	return f, true
}

func (m *metrics) read(ctx context.Context, db *state.DB) (figures, error) {
	f := figures{backups: map[string]core.Backup{}, runs: map[string]*core.Run{}, success: map[string]time.Time{}, alarms: map[alarmKey]int{}}
	bodies, err := db.Values(ctx, lastBackup)
	if err != nil {
		return f, err
	}
	v := m.s.seen()
	apps := v.apps()
	for key, body := range bodies {
		var b core.Backup
		if app := strings.TrimPrefix(key, lastBackup); apps[app] && json.Unmarshal(body, &b) == nil {
			f.backups[app] = b
			f.success[app] = b.Time
		}
	}
	for app := range apps {
		last, err := db.LastRun(ctx, app, core.RunBackup)
		if err != nil {
			return f, err
		}
		good := last
		if last != nil && last.Outcome != core.OutcomeOK && last.Outcome != core.OutcomeWarnings {
			if good, err = db.LastRun(ctx, app, core.RunBackup, core.OutcomeOK, core.OutcomeWarnings); err != nil {
				return f, err
			}
		}
		if last != nil {
			f.runs[app] = last
		}
		if good != nil && good.Finished != nil && good.Finished.After(f.success[app]) {
			f.success[app] = *good.Finished
		}
	}
	alarms, err := db.OpenAlarms(ctx)
	if err != nil {
		return f, err
	}
	for _, a := range alarms {
		f.alarms[alarmKey{a.App, a.Topic}] += len(a.Problems)
	}
	if v.repository == "" {
		return f, nil
	}
	samples, err := db.Space(ctx, v.repository, m.s.clock.Now().Add(-7*24*time.Hour))
	if err != nil || len(samples) == 0 {
		return f, err
	}
	f.space = &samples[len(samples)-1]
	return f, nil
}

// withOwn adds what is wrong with the service now, of which there may be no
// alarm yet, and a 0 for all that there is no alarm of.
func withOwn(alarms map[alarmKey]int, v view) map[alarmKey]int {
	out := map[alarmKey]int{}
	if alarms != nil { // else they could not be read yet
		out[alarmKey{"", core.TopicRepository}] = 0
		for app := range v.apps() {
			for _, topic := range []core.Topic{core.TopicBackup, core.TopicContent, core.TopicProof} {
				out[alarmKey{app, topic}] = 0
			}
		}
	}
	maps.Copy(out, alarms)
	key := alarmKey{"", core.TopicService}
	out[key] = max(out[key], len(v.problems))
	return out
}

// apps are those that are to be backed up.
func (v view) apps() map[string]bool {
	apps := map[string]bool{}
	for _, st := range v.states {
		if st.Job.App != "" && st.Job.Kind == core.RunBackup {
			apps[st.Job.App] = true
		}
	}
	return apps
}

func (v view) has(problem string) bool {
	for _, p := range v.problems {
		if p.Name == problem {
			return true
		}
	}
	return false
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// valid makes labels that the format can carry.
func valid(labels []string) []string {
	out := make([]string, len(labels))
	for i, l := range labels {
		out[i] = strings.ToValidUTF8(l, "�")
	}
	return out
}
