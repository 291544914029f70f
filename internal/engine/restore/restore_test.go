package restore_test

import (
	"os"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/engine/restore"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

// said is all that the plan's findings say.
func said(r *restore.Restore) string {
	var lines []string
	for _, f := range r.Plan.Findings {
		lines = append(lines, string(f.Kind)+": "+f.Object+": "+f.Message+" ("+f.Hint+")")
	}
	return strings.Join(lines, "\n")
}
