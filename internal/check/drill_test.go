package check

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
)

func TestLastDrill(t *testing.T) {
	now := time.Date(2026, 11, 24, 3, 0, 0, 0, time.UTC)
	judged := func(d *LastDrill, limit time.Duration, drilled time.Time) map[string]core.Problem {
		in := Input{App: "docs", Now: now, Limits: Limits{DrillAge: limit, VerifyAge: -1}, Location: time.UTC, Backups: []core.Backup{{ID: "0123456789abcdef", App: "docs", Time: now.Add(-90 * 24 * time.Hour)}}, Drill: d, Drilled: drilled}
		found := map[string]core.Problem{}
		for _, p := range Judge(in) {
			if strings.HasPrefix(p.Name, "drill-") || strings.HasSuffix(p.Name, "-missed") {
				found[p.Name] = p
			}
		}
		return found
	}
	if got := judged(nil, 0, time.Time{}); len(got) > 0 {
		t.Errorf("without a drill, and none asked for: %v", got)
	}
	if got := judged(nil, 24*time.Hour, time.Time{}); got["drill-age"].Level != core.LevelAlarm {
		t.Errorf("no drill, and one is asked for: %v", got)
	}
	if got := judged(nil, 24*time.Hour, now.Add(-time.Hour)); len(got) > 0 {
		t.Errorf("a drill not long ago: %v", got)
	}
	failed := judged(&LastDrill{Backup: "0123456789abcdef", Time: now.Add(-time.Hour), Failed: []string{"table tickets, database/data/tickets/1.tsv: it is missing.", "b", "c"}}, 0, time.Time{})
	if p := failed["drill-failed"]; p.Level != core.LevelAlarm || p.Topic != core.TopicProof || !strings.Contains(p.Message, "table tickets, database/data/tickets/1.tsv: it is missing, and 2 more") || p.Hint == "" {
		t.Errorf("a failed drill: %+v", p)
	}
	passed := judged(&LastDrill{Time: now, Passed: true, RTO: 90 * time.Second, RTOTarget: time.Minute, RPO: time.Hour, RPOTarget: 2 * time.Hour}, 0, time.Time{})
	if p := passed["rto-missed"]; p.Level != core.LevelNotice || !strings.Contains(p.Message, "1 min 30 s") || len(passed) != 1 {
		t.Errorf("a missed target: %v", passed)
	}
}
