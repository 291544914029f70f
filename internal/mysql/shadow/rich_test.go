package shadow_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/shadow"
)

// long is a name as long as names may be.
var long = strings.Repeat("lång", 16)

// richOrigin is a database with everything that is hard to exchange. %s is
// another database.
func richOrigin(t *testing.T, abroad string) []string {
	t.Helper()
	sql := []string{
		"SET foreign_key_checks=0",
		"CREATE TABLE person (id INT PRIMARY KEY AUTO_INCREMENT, boss INT, home INT, UNIQUE KEY home (home), FOREIGN KEY (boss) REFERENCES person (id), CONSTRAINT lives_in FOREIGN KEY (home) REFERENCES house (id) ON DELETE SET NULL) AUTO_INCREMENT=70",
		"CREATE TABLE house (id INT PRIMARY KEY, owner INT, CONSTRAINT `it's \"mine\"` FOREIGN KEY (owner) REFERENCES person (id) ON DELETE CASCADE ON UPDATE CASCADE, CONSTRAINT house_ibfk_7 FOREIGN KEY (owner) REFERENCES person (home), CHECK (id > 0), CONSTRAINT positive CHECK (id < 1000))",
		"CREATE TABLE `" + long + "` (id INT PRIMARY KEY, p INT, CONSTRAINT of_long FOREIGN KEY (p) REFERENCES person (id), CONSTRAINT abroad FOREIGN KEY (id) REFERENCES " + abroad + ".country (id))",
		"CREATE TABLE `we``ird \"'<>/.~é` (id INT PRIMARY KEY, FOREIGN KEY (id) REFERENCES `" + long + "` (id) ON DELETE CASCADE)",
		"CREATE TABLE log (t VARCHAR(100), v INT)", "CREATE TABLE kind (a INT)", "CREATE VIEW other_kind AS SELECT 7 AS a",
		"INSERT INTO person VALUES (1,1,1),(2,1,NULL),(3,9,NULL)", "INSERT INTO house VALUES (1,2),(2,1)", "INSERT INTO `" + long + "` VALUES (1,1),(2,2)", "INSERT INTO `we``ird \"'<>/.~é` VALUES (1)", "INSERT INTO log VALUES ('new',1)",
		"CREATE TRIGGER born BEFORE INSERT ON person FOR EACH ROW SET NEW.boss = 1", "CREATE TRIGGER born2 before insert on person for each row INSERT INTO log VALUES ('born2 on person', NEW.id)", "CREATE TRIGGER built AFTER UPDATE ON house FOR EACH ROW INSERT INTO log VALUES ('it''s on', 1)",
		"CREATE VIEW people AS SELECT id, boss FROM person", "CREATE VIEW bosses AS SELECT DISTINCT boss FROM people", "CREATE VIEW alike AS SELECT 1 AS one",
		"CREATE FUNCTION f(a VARCHAR(10)) RETURNS INT DETERMINISTIC RETURN 1", "CREATE PROCEDURE p() SELECT 'new'", "CREATE PROCEDURE alike() SELECT 1",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DO SELECT 'new'",
	}
	if mysqltest.OnMariaDB(t) {
		sql = append(sql, "ALTER DATABASE COMMENT 'new'", "CREATE SEQUENCE sq START WITH 5", "SELECT NEXTVAL(sq)", "CREATE TABLE numbered (id INT PRIMARY KEY DEFAULT (NEXTVAL(sq) + 1) COMMENT 'nextval(`sq`)')", "INSERT INTO numbered VALUES ()",
			"CREATE TABLE past (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING", "INSERT INTO past VALUES (1,1)", "UPDATE past SET v=2")
	}
	return sql
}

// richLive is what is there before, with the same names for other things.
func richLive(t *testing.T, live, abroad string) []string {
	t.Helper()
	sql := []string{
		"ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_german1_ci", "SET foreign_key_checks=0, NAMES utf8mb4",
		"CREATE TABLE person (id INT PRIMARY KEY AUTO_INCREMENT, boss INT, home INT, UNIQUE KEY home (home), CONSTRAINT lives_in FOREIGN KEY (boss) REFERENCES person (id), CONSTRAINT of_long FOREIGN KEY (home) REFERENCES extra (id), FOREIGN KEY (home) REFERENCES " + abroad + ".country (id)) AUTO_INCREMENT=123",
		"CREATE TABLE house (id INT PRIMARY KEY, owner INT, v INT, CONSTRAINT `it's \"mine\"` FOREIGN KEY (owner) REFERENCES person (id), CONSTRAINT positive CHECK (id < 2000))",
		"CREATE TABLE extra (id INT PRIMARY KEY, p INT, q INT, CONSTRAINT of_extra FOREIGN KEY (p) REFERENCES person (id) ON DELETE CASCADE, FOREIGN KEY (q) REFERENCES house (id) ON UPDATE SET NULL, FOREIGN KEY (q) REFERENCES extra (id))",
		"CREATE TABLE other_kind (a INT)", "INSERT INTO other_kind VALUES (8)", "CREATE VIEW kind AS SELECT a FROM other_kind", "CREATE TABLE log (t VARCHAR(100)) ENGINE=MyISAM",
		"INSERT INTO person VALUES (11,11,NULL),(12,11,NULL)", "INSERT INTO house VALUES (5,11,1)", "INSERT INTO extra VALUES (1,11,NULL),(2,NULL,NULL)", "INSERT INTO log VALUES ('old')",
		"CREATE TRIGGER born AFTER DELETE ON house FOR EACH ROW SET @x = 'old'", "create trigger t1 before update on house for each row set @x = 1", "create trigger t2 before update on house for each row set @x = 2", "CREATE TRIGGER on_extra BEFORE INSERT ON extra FOR EACH ROW SET @y = 1",
		"CREATE VIEW people AS SELECT boss FROM person", "CREATE VIEW old_view AS SELECT * FROM people", "CREATE VIEW alike AS SELECT 1 AS one",
		"CREATE FUNCTION f(a VARCHAR(10)) RETURNS INT DETERMINISTIC RETURN 1", "CREATE PROCEDURE p() SELECT 'old'", "CREATE PROCEDURE alike() SELECT 1", "CREATE PROCEDURE old_p() SELECT 1",
		"CREATE EVENT ev ON SCHEDULE EVERY 2 DAY STARTS '2035-01-01 00:00:00' DISABLE DO SELECT 'old'",
		"CREATE TABLE " + abroad + ".visitor (id INT PRIMARY KEY, p INT, CONSTRAINT of_visitor FOREIGN KEY (p) REFERENCES " + live + ".person (id))", "INSERT INTO " + abroad + ".visitor VALUES (1,12)",
	}
	if mysqltest.OnMariaDB(t) {
		sql = append(sql, "ALTER DATABASE COMMENT 'it''s \\\\ old'", "CREATE SEQUENCE numbered", "SELECT NEXTVAL(numbered)", "CREATE TABLE sq (id INT DEFAULT NEXTVAL(numbered))")
	}
	return sql
}

// dismantle drops databases that have keys to each other, which go in no order.
func (r *rig) dismantle(abroad string) {
	r.t.Helper()
	mysqltest.ExecOn(r.t, mysqltest.Config(r.t, ""), "SET foreign_key_checks=0", "DROP DATABASE "+abroad, "DROP DATABASE "+r.root.Database, "DROP DATABASE "+r.origin)
}

// newRich makes both databases, and a third one that has to do with them.
func newRich(t *testing.T) (*rig, string) {
	t.Helper()
	origin, live, abroad := mysqltest.Database(t), mysqltest.Database(t), mysqltest.Database(t)
	mysqltest.ExecIn(t, abroad, "CREATE TABLE country (id INT PRIMARY KEY)", "INSERT INTO country VALUES (1),(2)")
	mysqltest.ExecIn(t, live, richLive(t, live, abroad)...)
	mysqltest.ExecIn(t, origin, richOrigin(t, abroad)...)
	return newRig(t, origin, mysqltest.Config(t, live)), abroad
}

// without gives what a picture shows, but for what it shows of some names.
func without(picture map[string]any, names ...string) map[string]any {
	out := map[string]any{}
	for key, value := range picture {
		lines, isList := value.([]string)
		if isList {
			var kept []string
			for _, line := range lines {
				if !slices.ContainsFunc(names, func(n string) bool { return strings.Contains(line, n) }) {
					kept = append(kept, line)
				}
			}
			value = kept
		}
		if !slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(key, " "+n) }) {
			out[key] = value
		}
	}
	return out
}

// foreignKeysOf lists all foreign keys of a database, and of those that lead into it.
func foreignKeysOf(t *testing.T, database string) []string {
	t.Helper()
	var out []string
	for _, r := range mysqltest.Query(t, database, "SELECT CONCAT_WS(' ', TABLE_SCHEMA=DATABASE(), TABLE_NAME, CONSTRAINT_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA=DATABASE(), REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME) FROM information_schema.KEY_COLUMN_USAGE"+
		" WHERE REFERENCED_TABLE_NAME IS NOT NULL AND (TABLE_SCHEMA=DATABASE() OR REFERENCED_TABLE_SCHEMA=DATABASE()) ORDER BY 1") {
		if !strings.HasPrefix(r[0].Text, "1 _backstay_") { // among themselves
			out = append(out, r[0].Text)
		}
	}
	return out
}

func TestRichThereAndBack(t *testing.T) {
	for _, clean := range []bool{false, true} {
		t.Run(fmt.Sprintf("clean %v", clean), func(t *testing.T) {
			r, abroad := newRich(t)
			defer r.dismantle(abroad)
			beyond := r.config
			beyond.Database = abroad
			before, beforeAbroad := r.picture(r.config), r.picture(beyond)
			r.build(shadow.Options{Mode: shadow.ModeNames, Clean: clean})
			r.same("the live database after the build", before, r.picture(r.config))
			for range 2 {
				warnings := r.doSwitch()
				t.Log(warnings)
				got := r.picture(r.config)
				want := r.picture(mysqltest.Config(t, r.origin))
				extras := []string{"extra", "old_view", "old_p", "on_extra", "of_extra", "person_ibfk"}
				if !clean {
					r.same("what both have", without(want, extras...), without(got, extras...))
					if diff := strings.Join(foreignKeysOf(t, r.config.Database), "\n"); strings.Contains(diff, "_backstay_") || !strings.Contains(diff, "extra of_extra p 1 person id") || !strings.Contains(diff, "0 visitor of_visitor p 1 person id") {
						t.Errorf("foreign keys:\n%s", diff)
					}
				} else {
					r.same("the live database after the switch", want, got)
				}
				r.revert()
				r.same("the live database after going back", before, r.picture(r.config))
				r.same("the other database after going back", beforeAbroad, r.picture(beyond))
			}
			r.doSwitch()
			r.fatal(r.s.DropKept(t.Context(), r.config))
			if names := mysqltest.Query(t, r.config.Database, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA=DATABASE() AND TABLE_NAME LIKE '\\_backstay%'"); len(names) > 0 {
				t.Errorf("there is still %v", names)
			}
			mysqltest.ExecIn(t, r.config.Database, "INSERT INTO person (home) VALUES (NULL)", "UPDATE house SET owner=1")
		})
	}
}
