package shadow_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// measureVariable names the environment variable that gives the number of
// tables to measure a switch with.
const measureVariable = "BACKSTAY_MEASURE_TABLES"

// TestMeasureSwitch tells how long a switch takes; it is no test.
func TestMeasureSwitch(t *testing.T) {
	tables, err := strconv.Atoi(os.Getenv(measureVariable))
	if err != nil {
		t.Skip(measureVariable + " gives the number of tables to measure with")
	}
	for _, mode := range []shadow.Mode{shadow.ModeNames, shadow.ModeDatabase} {
		for _, keys := range []int{0, 88} {
			origin, live := mysqltest.Database(t), mysqltest.Database(t)
			for _, db := range []string{origin, live} {
				sql := []string{"SET foreign_key_checks=0"}
				for i := range tables {
					key := ""
					if i > 0 && i <= keys {
						key = fmt.Sprintf(", CONSTRAINT custom%d FOREIGN KEY (p) REFERENCES t%d (id)", i, i/2)
					}
					sql = append(sql, fmt.Sprintf("CREATE TABLE t%d (id INT PRIMARY KEY, p INT, v VARCHAR(9), KEY p (p)%s)", i, key), fmt.Sprintf("INSERT INTO t%d VALUES (1,1,'x')", i))
				}
				mysqltest.ExecIn(t, db, sql...)
			}
			r := newRig(t, origin, mysqltest.Config(t, live))
			took := func(do func()) time.Duration {
				start := time.Now()
				do()
				return time.Since(start).Round(time.Millisecond)
			}
			build := took(func() { r.build(shadow.Options{Mode: mode}) })
			there := took(func() { r.fatal(r.turn(true)) })
			prove := took(func() { r.fatal(r.s.Prove(t.Context(), r.config)) })
			settle := took(func() { r.settle() })
			back := took(func() { r.fatal(r.turn(false)) })
			t.Logf("%d tables, %d foreign keys, %s: build %v, switch %v, prove %v, settle %v, revert %v, journal %d bytes", tables, keys, mode, build, there, prove, settle, back, len(r.journal))
			r.fatal(r.s.DropNew(t.Context(), r.config))
		}
	}
}
