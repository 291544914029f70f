package corpus

import "github.com/backstay/backstay/internal/mysql"

// nobody is an account that does not exist.
const nobody = "DEFINER=`nobo'dy`@`no\"where.example`"

func objects() []Case {
	return []Case{
		{
			Name:   "views on views in adverse order",
			Guards: "a view needs what it reads to be there; neither names nor times tell the order",
			SQL: []string{
				"CREATE TABLE base (id INT PRIMARY KEY, n INT)", "INSERT INTO base VALUES (1,2),(2,3)",
				"CREATE VIEW zz AS SELECT id, n FROM base", "CREATE VIEW yy AS SELECT * FROM zz WHERE n > 1 WITH CASCADED CHECK OPTION", "CREATE VIEW xx AS SELECT * FROM yy WITH LOCAL CHECK OPTION", "CREATE VIEW aa AS SELECT xx.id FROM xx JOIN zz USING (id)",
				"CREATE FUNCTION fn(a INT) RETURNS INT READS SQL DATA RETURN (SELECT COUNT(*) FROM aa)", "CREATE VIEW a0 AS SELECT fn(n) AS d FROM base",
				"CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW me AS SELECT id FROM base", "CREATE ALGORITHM=TEMPTABLE VIEW te (`x y`,`select`) AS SELECT id, n FROM base UNION ALL SELECT 1, 'it''s; -- \\\\'",
				"CREATE VIEW ct AS WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n+1 FROM n WHERE n < 5) SELECT n FROM n", "CREATE VIEW lit AS SELECT _latin1 0xE9 AS l, x'00FF' AS h, b'101' AS b, DATE'2020-01-01' AS d, 1e10 AS e, 'é🔐' AS u, _binary 'x' AS bi",
				"CREATE VIEW su AS SELECT (SELECT MAX(id) FROM yy) AS m, EXISTS (SELECT 1 FROM aa) AS e, b.* FROM base b LEFT JOIN xx ON b.id = xx.id AND b.n <=> xx.n",
			},
		},
		{
			Name:   "views in other modes and sets",
			Guards: "a view's text depends on sql_mode, character set and definer",
			SQL: []string{
				"CREATE TABLE t (a VARCHAR(20), b INT)", "INSERT INTO t VALUES ('x',1)",
				"SET SESSION sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'", "CREATE VIEW v1 AS SELECT \"a\" || 'it''s' AS \"c\" FROM \"t\"",
				"SET SESSION sql_mode='NO_BACKSLASH_ESCAPES'", "CREATE VIEW v2 AS SELECT 'x\\' AS c, a LIKE '\\%' ESCAPE '|' AS l FROM t",
				"SET SESSION sql_mode='HIGH_NOT_PRECEDENCE'", "CREATE VIEW v3 AS SELECT NOT b BETWEEN 0 AND 5 AS c FROM t",
				"SET SESSION sql_mode=''", "CREATE " + nobody + " VIEW v4 AS SELECT a FROM t", "CREATE " + nobody + " SQL SECURITY INVOKER VIEW v5 AS SELECT a FROM t",
				"SET NAMES latin1", "CREATE VIEW v6 AS SELECT '\xe9' AS c", "SET NAMES cp1251 COLLATE cp1251_bin", "CREATE VIEW v7 AS SELECT '\xe9' AS c, '\xff' < a AS d FROM t",
				"SET NAMES utf8mb4 COLLATE utf8mb4_polish_ci", "CREATE VIEW v8 AS SELECT 'ł' AS c, a = 'ł' AS d FROM t",
			},
			// Nobody may see what v4 shows.
		},
		{
			Name:   "triggers",
			Guards: "they must not fire while rows are loaded; order, text, modes, sets and definers",
			SQL: []string{
				"CREATE TABLE base (id INT PRIMARY KEY AUTO_INCREMENT, n INT)", "CREATE TABLE log (t TEXT)", "INSERT INTO base (n) VALUES (1),(2)",
				"CREATE TRIGGER zz BEFORE INSERT ON base FOR EACH ROW BEGIN SET NEW.n = NEW.n + 1; -- it's; //\n /* ; */ INSERT INTO log VALUES ('a;b//'); END",
				"CREATE TRIGGER aa BEFORE INSERT ON base FOR EACH ROW FOLLOWS zz SET NEW.n = NEW.n * 2",
				"CREATE TRIGGER mm BEFORE INSERT ON base FOR EACH ROW PRECEDES aa SET NEW.n = NEW.n - 1",
				"CREATE TRIGGER ai AFTER INSERT ON base FOR EACH ROW INSERT INTO log VALUES (CONCAT('it''s \\\\', NEW.id))", "CREATE TRIGGER bu BEFORE UPDATE ON base FOR EACH ROW SET NEW.n = OLD.n", "CREATE TRIGGER au AFTER UPDATE ON base FOR EACH ROW INSERT INTO log VALUES ('u')",
				"CREATE TRIGGER bd BEFORE DELETE ON base FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT='no;'", "CREATE " + nobody + " TRIGGER ad AFTER DELETE ON base FOR EACH ROW DELETE FROM log",
				"SET SESSION sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "CREATE TRIGGER an BEFORE INSERT ON \"log\" FOR EACH ROW SET NEW.\"t\" = CONCAT(NEW.\"t\", '\\')",
				"SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO'", "CREATE TRIGGER st BEFORE UPDATE ON log FOR EACH ROW SET NEW.t = 1/0",
				"SET SESSION sql_mode=''", "SET NAMES latin1 COLLATE latin1_german2_ci", "CREATE TRIGGER la AFTER INSERT ON log FOR EACH ROW SET @x = '\xe9; --'",
			},
		},
		{
			Name:   "routines",
			Guards: "text, parameters, modes, sets, definers and rights of procedures and functions",
			SQL: []string{
				"CREATE TABLE base (id INT PRIMARY KEY)",
				"CREATE PROCEDURE pr() BEGIN SELECT 'é; it''s'; SELECT \"//\"; -- ;\n # '\n END",
				"CREATE PROCEDURE pa(IN a INT UNSIGNED, OUT `b c` DECIMAL(10,2), INOUT d VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_bin, e ENUM('it''s','x'), f JSON, g DATETIME(6)) MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'it''s' BEGIN DECLARE EXIT HANDLER FOR SQLEXCEPTION BEGIN END; l: LOOP LEAVE l; END LOOP; END",
				"CREATE FUNCTION fn(a INT) RETURNS VARCHAR(100) CHARACTER SET utf8mb4 DETERMINISTIC NO SQL RETURN CONCAT(a, '; //')", "CREATE FUNCTION fr(a TEXT) RETURNS TEXT READS SQL DATA BEGIN RETURN (SELECT MAX(id) FROM base WHERE a <> ';'); END",
				"CREATE PROCEDURE fn() SELECT 'a procedure with the name of a function'",
				"CREATE " + nobody + " PROCEDURE pd() SELECT 1", "CREATE " + nobody + " FUNCTION fd() RETURNS INT DETERMINISTIC SQL SECURITY INVOKER RETURN 1",
				"SET SESSION sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES'", "CREATE PROCEDURE p2(\"a b\" INT) SELECT \"id\" || 'x\\' FROM \"base\"",
				"SET SESSION sql_mode='IGNORE_SPACE,STRICT_TRANS_TABLES'", "CREATE PROCEDURE p3() SELECT count (*) FROM base",
				"SET SESSION sql_mode=''", "SET NAMES latin1", "CREATE PROCEDURE p4() SELECT '\xe9\xfc'", "CREATE FUNCTION f4(a VARCHAR(20)) RETURNS VARCHAR(20) DETERMINISTIC RETURN '\xe9'",
				"SET NAMES sjis", "CREATE PROCEDURE p5() SELECT '\x83\x5c'", "SET NAMES utf8mb4 COLLATE utf8mb4_bin", "CREATE PROCEDURE p6() SELECT '🔐' = 'x'",
				"/*mariadb*/ CREATE AGGREGATE FUNCTION ag(x INT) RETURNS INT BEGIN DECLARE s INT DEFAULT 0; DECLARE CONTINUE HANDLER FOR NOT FOUND RETURN s; LOOP FETCH GROUP NEXT ROW; SET s = s + x; END LOOP; END",
				"/*mariadb*/ SET SESSION sql_mode=ORACLE", "/*mariadb*/ CREATE PROCEDURE po(a IN INT, b OUT VARCHAR2) AS x INT := 5; BEGIN b := 'it''s' || x; END;",
				"/*mariadb*/ CREATE PACKAGE pk AS FUNCTION f RETURN INT; PROCEDURE p; END", "/*mariadb*/ CREATE PACKAGE BODY pk AS v INT := 1; FUNCTION f RETURN INT AS BEGIN RETURN v; END; PROCEDURE p AS BEGIN SELECT f(); END; END",
				"/*mariadb*/ SET SESSION sql_mode=''",
				"/*mariadb 110801*/ CREATE PROCEDURE pdef(a INT DEFAULT 5, b VARCHAR(10) DEFAULT 'it''s') SELECT a",
			},
		},
		{
			Name:   "events",
			Guards: "schedules in their time zone, whether they run, what happens when they are over",
			SQL: []string{
				"CREATE TABLE base (id INT)",
				"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DISABLE DO DELETE FROM base WHERE id < 0",
				"CREATE EVENT en ON SCHEDULE EVERY '1:30' HOUR_MINUTE STARTS '2035-01-01 00:00:00' ENDS '2036-01-01 00:00:00' ON COMPLETION PRESERVE ENABLE COMMENT 'it''s' DO BEGIN SELECT ';'; -- //\n END",
				"SET SESSION time_zone='+05:30'", "CREATE EVENT at ON SCHEDULE AT '2035-06-01 12:00:00' ON COMPLETION PRESERVE DO INSERT INTO base VALUES (1)",
				"SET SESSION time_zone='SYSTEM'", "CREATE EVENT sy ON SCHEDULE EVERY 3 MONTH STARTS '2035-01-01 00:00:00' DISABLE ON SLAVE DO SELECT 1",
				"CREATE " + nobody + " EVENT nd ON SCHEDULE EVERY 1 YEAR STARTS '2035-01-01 00:00:00' DO SELECT 1",
				"SET SESSION sql_mode='ANSI_QUOTES,NO_BACKSLASH_ESCAPES'", "CREATE EVENT \"a n\" ON SCHEDULE EVERY 1 WEEK STARTS '2035-01-01 00:00:00' DO SELECT '\\', \"id\" FROM \"base\"",
				"SET SESSION sql_mode=''", "SET NAMES latin1", "CREATE EVENT la ON SCHEDULE EVERY 1 WEEK STARTS '2035-01-01 00:00:00' COMMENT '\xe9' DO SELECT '\xe9'",
			},
		},
		{
			Name:   "sequences",
			Guards: "the next number, and defaults that take it",
			SQL: []string{
				"CREATE SEQUENCE sq START WITH 10 INCREMENT BY 5", "SELECT NEXTVAL(sq)", "SELECT NEXTVAL(sq)",
				"CREATE TABLE usesq (id INT PRIMARY KEY DEFAULT NEXTVAL(sq))", "INSERT INTO usesq VALUES ()",
				"CREATE SEQUENCE down START WITH -1 INCREMENT BY -3 MINVALUE -100 MAXVALUE -1 NOCACHE CYCLE", "SELECT NEXTVAL(down), NEXTVAL(down)",
				"CREATE SEQUENCE cyc MINVALUE 1 MAXVALUE 3 CACHE 2 CYCLE", "SELECT NEXTVAL(cyc), NEXTVAL(cyc), NEXTVAL(cyc), NEXTVAL(cyc)",
				"CREATE SEQUENCE used_up MINVALUE 1 MAXVALUE 2 NOCYCLE", "SELECT NEXTVAL(used_up), NEXTVAL(used_up)", "CREATE SEQUENCE fresh", "CREATE SEQUENCE my ENGINE=MyISAM", "SELECT NEXTVAL(my)",
				"CREATE SEQUENCE zero INCREMENT BY 0 START WITH 9", "CREATE SEQUENCE high START WITH 9223372036854775805 MAXVALUE 9223372036854775806 NOCACHE", "SELECT NEXTVAL(high)",
				"/*mariadb 110500*/ CREATE SEQUENCE typed AS BIGINT UNSIGNED START WITH 18446744073709551610", "/*mariadb 110500*/ SELECT NEXTVAL(typed)", "/*mariadb 110500*/ CREATE SEQUENCE tiny AS TINYINT",
			},
			Unfit: only(mysql.MariaDB, 100300, "it has no sequences"),
		},
		{
			Name:   "views in a set that lacks letters of theirs",
			Guards: "the server prints '?' for a letter that the client's character set lacks; there is no other way to ask, so a warning says so",
			SQL: []string{
				"CREATE TABLE t (a INT, `数` INT)", "INSERT INTO t VALUES (1,2)", "SET NAMES latin1",
				"CREATE VIEW lacking AS SELECT * FROM t", "CREATE VIEW fine AS SELECT a, '?' AS q FROM t",
			},
			Warnings: []string{"invalid-view"},
			Lost:     []string{"lacking"},
		},
		{
			Name:   "invalid views",
			Guards: "a view whose tables are gone must cost neither the backup nor the restore",
			SQL: []string{
				"CREATE TABLE t (a INT, b INT)", "INSERT INTO t VALUES (1,2)", "CREATE TABLE x (a INT)",
				"CREATE VIEW no_table AS SELECT a FROM x", "CREATE VIEW no_column AS SELECT b FROM t", "CREATE VIEW on_it AS SELECT a FROM no_table", "CREATE VIEW fine AS SELECT a FROM t",
				"CREATE FUNCTION f() RETURNS INT DETERMINISTIC RETURN 1", "CREATE VIEW no_function AS SELECT f() AS a",
				"DROP TABLE x", "ALTER TABLE t DROP COLUMN b", "DROP FUNCTION f",
			},
			Warnings: []string{"invalid-view", "invalid-view", "invalid-view", "invalid-view"},
			Lost:     []string{"no_column", "no_function", "no_table", "on_it"},
		},
	}
}
