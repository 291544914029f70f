package portable_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

// TestTrailingSpaces: where they did not count, a row finds its parent on the
// other vendor's server too; where they counted, a unique key still tells such
// values apart.
func TestTrailingSpaces(t *testing.T) {
	database := mysqltest.Database(t)
	pads, counts := "utf8mb4_unicode_520_ci", "utf8mb4_0900_ai_ci"
	if mysqltest.OnMariaDB(t) {
		counts = "utf8mb4_unicode_520_nopad_ci"
		if has := mysqltest.Query(t, database, "SELECT COUNT(*) FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE FULL_COLLATION_NAME='utf8mb4_uca1400_ai_ci'"); has[0][0].Text != "0" {
			pads, counts = "utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_nopad_ai_ci"
		}
	}
	mysqltest.ExecIn(t, database, "CREATE TABLE parent (code VARCHAR(9) PRIMARY KEY) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE "+pads,
		"CREATE TABLE child (id INT PRIMARY KEY, code VARCHAR(9) CHARACTER SET utf8mb4 COLLATE "+pads+", CONSTRAINT fk FOREIGN KEY (code) REFERENCES parent (code)) ENGINE=InnoDB",
		"CREATE TABLE apart (code VARCHAR(9) CHARACTER SET utf8mb4 COLLATE "+counts+" PRIMARY KEY) ENGINE=InnoDB",
		"INSERT INTO parent VALUES ('a'),('b ')", "INSERT INTO child VALUES (1,'a  '),(2,'b')", "INSERT INTO apart VALUES ('a'),('a ')")
	d := dumpOf(t, database)
	for _, target := range others(t) {
		mysqltest.ExecOn(t, mysqltest.ConfigOf(target, ""), "CREATE DATABASE copy")
		to := mysqltest.ConfigOf(target, "copy")
		p := d.plan(t, to, nil)
		if len(p.Refusals) > 0 {
			t.Fatalf("refused: %+v", p.Refusals)
		}
		if _, err := d.load(t, to, p, nil); err != nil {
			t.Fatal(err)
		}
		ask := func(query string) string {
			t.Helper()
			rows, err := mysqltest.Connect(t, to).Query(t.Context(), query)
			if err != nil {
				t.Fatal(err)
			}
			return rows[0][0].Text
		}
		if diff := cmp.Diff([]string{"2", "1"}, []string{ask("SELECT COUNT(*) FROM child c JOIN parent p ON c.code=p.code"), ask("SELECT COUNT(*) FROM apart WHERE code='a'")}); diff != "" {
			t.Errorf("on %s (-want +found):\n%s", target.Vendor, diff)
		}
		if _, err := mysqltest.Connect(t, to).Exec(t.Context(), "INSERT INTO parent VALUES ('a ')"); mysql.Number(err) == 0 {
			t.Errorf("on %s the key takes 'a' twice: %v", target.Vendor, err)
		}
	}
}
