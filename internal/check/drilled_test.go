package check

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func TestDrills(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2030, 3, 1, 3, 0, 0, 0, time.UTC)
	backup := core.Backup{ID: "0123456789abcdef", App: "docs", Time: now.Add(-90 * day)}
	for name, c := range map[string]struct {
		in   Input
		want []string
		says string
	}{
		"nothing asked": {Input{}, nil, ""},
		"failed": {Input{Drill: &Drill{Backup: backup.ID, Time: now.Add(-day), Failed: []string{"table a: it is missing", "b"}, RTO: day, RTOTarget: 1}},
			[]string{"drill-failed alarm"}, "table a: it is missing"},
		"missed": {Input{Drill: &Drill{Time: now, Passed: true, RTO: 90 * time.Second, RTOTarget: time.Minute, RPO: 3 * time.Hour, RPOTarget: 2 * time.Hour}},
			[]string{"rto-missed notice", "rpo-missed notice"}, "1m30s"},
		"met":                 {Input{Drill: &Drill{Time: now, Passed: true, RTO: time.Minute, RTOTarget: time.Minute, RPO: day}}, nil, ""},
		"limit, never":        {Input{Limits: Limits{DrillAge: 30 * day}}, []string{"drill-age alarm"}, "30 days"},
		"policy, never":       {Input{DrillPolicy: DrillPolicy{Within: 15 * day, Since: now.Add(-16 * day)}}, []string{"drill-age alarm"}, "15 days"},
		"policy, just made":   {Input{DrillPolicy: DrillPolicy{Within: 15 * day, Since: now.Add(-day)}}, nil, ""},
		"policy, long ago":    {Input{Drilled: now.Add(-16 * day), DrillPolicy: DrillPolicy{Within: 15 * day, Since: now.Add(-80 * day)}}, []string{"drill-age alarm"}, "backstay drill docs"},
		"policy, kept":        {Input{Drilled: now.Add(-14 * day), DrillPolicy: DrillPolicy{Within: 15 * day}}, nil, ""},
		"policy, limit off":   {Input{Limits: Limits{DrillAge: -1}, DrillPolicy: DrillPolicy{Within: day}}, nil, ""},
		"limit before policy": {Input{Drilled: now.Add(-20 * day), Limits: Limits{DrillAge: 30 * day}, DrillPolicy: DrillPolicy{Within: day}}, nil, ""},
	} {
		c.in.App, c.in.Now, c.in.Backups, c.in.Limits.MaxAge = "docs", now, []core.Backup{backup}, -1
		var got []string
		text := ""
		for _, p := range Judge(c.in) {
			if p.Topic == core.TopicProof {
				got = append(got, p.Name+" "+string(p.Level))
				text += p.Message + p.Hint
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" || !strings.Contains(text, c.says) {
			t.Errorf("%s: %s\n%s", name, diff, text)
		}
	}
}

func TestKitsAndCoverage(t *testing.T) {
	const day = 24 * time.Hour
	now := time.Date(2030, 3, 1, 3, 0, 0, 0, time.UTC)
	ago := func(days int) *time.Time { at := now.Add(-time.Duration(days) * day); return &at }
	stored := []Stored{{Time: now.Add(-day), Bytes: 1}}
	for name, c := range map[string]struct {
		in   Repository
		want []string
	}{
		"off":            {Repository{Stored: stored, Kits: &Kits{Within: -1}}, nil},
		"no backups yet": {Repository{Kits: &Kits{Within: 180 * day}}, nil},
		"missing":        {Repository{Stored: stored, Kits: &Kits{Within: 180 * day}}, []string{"kit-missing notice"}},
		"stale":          {Repository{Stored: stored, Kits: &Kits{Made: ago(1), Stale: true, Within: 180 * day}}, []string{"kit-stale notice"}},
		"made lately":    {Repository{Stored: stored, Kits: &Kits{Made: ago(179), Within: 180 * day}}, nil},
		"never proven":   {Repository{Stored: stored, Kits: &Kits{Made: ago(181), Within: 180 * day}}, []string{"kit-unproven notice"}},
		"proven lately":  {Repository{Stored: stored, Kits: &Kits{Made: ago(400), Proven: ago(10), Within: 180 * day}}, nil},
		"unread":         {Repository{Unread: *ago(40), Cover: 30 * day}, []string{"verify-coverage alarm"}},
		"within slack":   {Repository{Unread: *ago(32), Cover: 30 * day}, nil},
		"not asked":      {Repository{Unread: *ago(400)}, nil},
	} {
		c.in.Now = now
		var got []string
		for _, p := range JudgeRepository(c.in) {
			got = append(got, p.Name+" "+string(p.Level))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
