package sqlcheck_test

import (
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

func TestMessagesOfPrograms(t *testing.T) {
	const dump = "-- MariaDB dump 10.19\nCREATE TABLE a (a int);\n-- Dump completed on 2024-07-01 12:00:00\n"
	for message, harmless := range map[string]bool{
		"mysqldump: [Warning] Using a password on the command line interface can be insecure.":                            true,
		"mysqldump: Deprecated program name. It will be removed in a future release, use '/usr/bin/mariadb-dump' instead": true,
		"/usr/bin/mysqldump: Deprecated program name. It will be removed in a future release":                             true,
		"WARNING: Forcing protocol to  TCP  due to option specification.":                                                 true,
		"mysqldump: Got error: 1045: Access denied":                                                                       false,
		"mariadb-dump: Error 2013: Lost connection to server during query when dumping table `a` at row: 1":               false,
		"mysqldump: [ERROR] something": false,
	} {
		for where, text := range map[string]string{"top": message + "\n" + dump, "end": dump + message + "\n"} {
			report, err := sqlcheck.Check(t.Context(), strings.NewReader(text), sqlread.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if (len(report.Problems) == 0) != harmless || harmless && (report.Whole != sqlcheck.WholeYes || len(report.Notes) != 1) {
				t.Errorf("%s at the %s: %s, %+v, %q", message, where, report.Whole, report.Problems, report.Notes)
			}
		}
	}
}

func TestTimeOfDump(t *testing.T) {
	zone := time.Local
	defer func() { time.Local = zone }()
	time.Local = time.FixedZone("there", 2*3600)
	for head, utc := range map[string]bool{"MariaDB dump 10.19": false, "backstay dump 1": true} {
		report, err := sqlcheck.Check(t.Context(), strings.NewReader("-- "+head+"\nCREATE TABLE a (a int);\n-- Dump completed on 2024-07-01 12:00:00\n"), sqlread.Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := time.Date(2024, 7, 1, 10, 0, 0, 0, time.UTC)
		if utc {
			want = want.Add(2 * time.Hour)
		}
		if !report.Time.Equal(want) || report.TimeHasZone != utc {
			t.Errorf("%s: %s, zone %v", head, report.Time, report.TimeHasZone)
		}
	}
}
