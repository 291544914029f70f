package drill

import (
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/evidence"
)

// TestDamagedFileIsNamed: bytes of the repository are changed. The drill fails,
// names the files, marks the backup, and opens an alarm.
func TestDamagedFileIsNamed(t *testing.T) {
	s := newFiles(t)
	s.run(0, nil, "backup", "wiki")
	s.run(0, nil, "drill", "wiki", "--dir", s.scratch)
	for _, p := range s.packs() {
		s.spoil(p)
	}
	var got struct{ Drills []evidence.Drill }
	s.run(4, &got, "drill", "wiki", "--dir", s.scratch)
	s.empty()
	if len(got.Drills) != 1 || got.Drills[0].Passed {
		t.Fatalf("the drill says %+v", got)
	}
	named := ""
	for _, p := range got.Drills[0].Failed() {
		named += p.Object + " "
	}
	if !strings.Contains(named, ".bin") && !strings.Contains(named, "manifest.json") {
		t.Errorf("it names %q", named)
	}
	var listed struct{ Backups []core.Backup }
	s.run(0, &listed, "list")
	if listed.Backups[0].Damaged == nil {
		t.Error("the backup is not marked as damaged")
	}
	var checked struct{ Problems []core.Problem }
	s.run(4, &checked, "check")
	found := false
	for _, p := range checked.Problems {
		found = found || p.Name == "drill-failed" && p.Level == core.LevelAlarm
	}
	if !found {
		t.Errorf("check says %+v", checked.Problems)
	}
}
