package sqlread_test

import (
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// TestRefused: nothing that reaches beyond the database comes out, and what
// follows is still read.
func TestRefused(t *testing.T) {
	for _, sql := range []string{
		"LOAD DATA INFILE '/etc/passwd' INTO TABLE t",
		"LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t",
		"SELECT 1 INTO OUTFILE '/tmp/x'",
		"SELECT * FROM mysql.user INTO DUMPFILE '/tmp/x'",
		"SELECT SLEEP(10)",
		"SELECT SETVAL(s, (SELECT 1))",
		"DO SLEEP(10)",
		"GRANT ALL ON *.* TO x",
		"REVOKE ALL ON *.* FROM x",
		"CREATE USER x IDENTIFIED BY 'secret'",
		"ALTER USER root IDENTIFIED BY 'secret'",
		"DROP USER root",
		"RENAME USER a TO b",
		"SET PASSWORD = 'secret'",
		"SET PASSWORD FOR root = 'secret'",
		"SET ROLE admin",
		"SET DEFAULT ROLE admin",
		"SET GLOBAL general_log = 1",
		"SET @@GLOBAL.general_log = 1",
		"SET @@global . general_log = 1",
		"SET PERSIST general_log = 1",
		"SET @a = 1, GLOBAL general_log = 1",
		"SET sql_mode = '', @@PERSIST_ONLY.x = 1",
		"SET /*!40101 GLOBAL */ foreign_key_checks = 1",
		"SET general_log = 1",
		"SET @a = (SELECT 1)",
		"SET @a = LOAD_FILE('/etc/passwd')",
		"SET @a = 1 + 1",
		"SET sql_mode = @@global.sql_mode",
		`SET sql_mode = 'ANSI\_QUOTES'`,
		"SET @a='NO_BACKSLASH_ESCAPES'",
		"SET @a='', sql_mode=@a",
		"SET @a=@@sql_mode, sql_mode=@a",
		"SET sql_mode=@a, @a=@@sql_mode",
		"SET sql_mode='', @a=@@sql_mode",
		"SET sql_mode=@never",
		"SET character_set_client=@never",
		"SET character_set_client=NULL",
		"SET sql_mode=NULL",
		"SET sql_mode=DEFAULT",
		"SET sql_mode='NO_BACK'",
		"SET sql_mode=' ANSI_QUOTES'",
		"SET sql_mode='\u017ftrict_trans_tables'",
		"SET sql_mode=0x414E5349",
		"SET sql_mode=CONCAT(@@sql_mode,',ANSI_QUOTES')",
		"SET @a=CONCAT('a','a')",
		"SET @a=@b",
		"SET @a=1",
		"SET @'a'=@@sql_mode",
		"SET @\u00e9=@@sql_mode",
		"SET sql_log_bin=0, @@global.max_connections=44",
		"SET sql_log_bin=0, GLOBAL max_connections=44",
		"SET sql_log_bin=0, general_log=1",
		"SET @@GLOBAL.GTID_PURGED='a:1-2', GLOBAL general_log=1",
		"SET GLOBAL TRANSACTION ISOLATION LEVEL SERIALIZABLE",
		"SET @x=@@rocksdb_bulk_load, sql_mode='NO_BACKSLASH_ESCAPES'",
		"SET NAMES swe7",
		"SET NAMES nonsense",
		"SET NAMES utf8mb4, sql_mode='ANSI_QUOTES'",
		"CREATE TABLE t (a int) MAX_ROWS=1e5SELECT s FROM x",
		"CREATE TABLE t (a int DEFAULT 1.5SELECT)",
		"CREATE TABLE t (a int DEFAULT 1e-5SELECT)",
		"CREATE TABLE t (a int DEFAULT 1.e5SELECT)",
		"CREATE TABLE t (a int) COMMENT=$$ ' $$ ENGINE=FEDERATED ' $$",
		"CREATE TABLE t (a int) ENG\u0131NE=InnoDB",
		"INSERT INTO t VALUES (1a.concat(1))",
		"INSERT INTO t VALUES (1e5.now())",
		"INSERT INTO t VALUES (1 --\x7f2\n)",
		"CREATE TABLE t (a int --\x7f, b int\n)",
		"SET sql_mode = 4",
		"SET NAMES utf16",
		"SET STATEMENT max_statement_time=1 FOR SELECT 1",
		"CREATE FUNCTION f RETURNS STRING SONAME 'evil.so'",
		"CREATE AGGREGATE FUNCTION f RETURNS STRING SONAME 'evil.so'",
		"CREATE FUNCTION IF NOT EXISTS f RETURNS STRING SONAME 'evil.so'",
		"CREATE SERVER s FOREIGN DATA WRAPPER mysql OPTIONS (HOST 'x')",
		"CREATE TABLESPACE ts ADD DATAFILE 'x.ibd'",
		"CREATE TEMPORARY TABLE t (a int)",
		"CREATE ROLE r",
		"INSTALL PLUGIN x SONAME 'y'",
		"INSTALL SONAME 'y'",
		"UNINSTALL PLUGIN x",
		"HANDLER t OPEN",
		"PREPARE s FROM 'SELECT 1'",
		"EXECUTE s",
		"EXECUTE IMMEDIATE 'SELECT 1'",
		"CALL p()",
		"KILL 1",
		"SHUTDOWN",
		"BEGIN NOT ATOMIC SELECT 1",
		"ROLLBACK",
		"DELETE FROM t",
		"UPDATE t SET a = 1",
		"TRUNCATE TABLE t",
		"RENAME TABLE t TO other.t",
		"CREATE TABLE t SELECT 1",
		"CREATE TABLE t AS SELECT 1",
		"CREATE TABLE t (a int) SELECT 1",
		"CREATE TABLE t (a int) AS SELECT * FROM mysql.user",
		"CREATE TABLE t (a int) IGNORE SELECT 1",
		"CREATE TABLE t (a int) ENGINE=InnoDB REPLACE SELECT 1",
		"CREATE TABLE t (a int) TABLE other",
		"CREATE TABLE t (a int) VALUES ROW(1)",
		"CREATE TABLE t (a int) WITH x AS (SELECT 1) SELECT * FROM x",
		"CREATE TABLE t (SELECT 1)",
		"CREATE TABLE t LIKE other",
		"CREATE TABLE t (LIKE other)",
		"CREATE TABLE mysql.t (a int)",
		"CREATE TABLE `mysql`.`t` (a int)",
		"CREATE TABLE t (a int) DATA DIRECTORY='/tmp'",
		"CREATE TABLE t (a int) ENGINE=InnoDB INDEX DIRECTORY='/tmp'",
		"CREATE TABLE t (a int) PARTITION BY HASH(a) (PARTITION p DATA DIRECTORY='/tmp')",
		"CREATE TABLE t (a int) PARTITION BY HASH(a) (PARTITION p ENGINE=FEDERATED)",
		"CREATE TABLE t (a int) ENGINE=FEDERATED CONNECTION='mysql://u:secret@h/d/t'",
		"CREATE TABLE t (a int) CONNECTION='mysql://u:secret@h/d/t'",
		"CREATE TABLE t (a int) ENGINE=CONNECT TABLE_TYPE=CSV FILE_NAME='/etc/passwd'",
		"CREATE TABLE t (a int) ENGINE 'CONNECT'",
		"CREATE TABLE t (a int) ENGINE=`CONNECT`",
		"CREATE TABLE t (a int) TYPE=SPIDER",
		"CREATE TABLE t (a int) ENGINE=S3",
		"CREATE TABLE t (a int) ENGINE=/*!99999 InnoDB */ /*!40101 SPIDER */",
		"CREATE TABLE t (a int) ENGINE=MERGE UNION=(mysql.user)",
		"CREATE TABLE t (a int) TABLESPACE ts",
		"CREATE TABLE t (a int DEFAULT (LOAD_FILE('/etc/passwd')))",
		"CREATE TABLE t (a int DEFAULT (SLEEP(10)))",
		"CREATE TABLE t (a int, CHECK (a IN (SELECT 1)))",
		"CREATE TABLE t (a int REFERENCES mysql.user(a))",
		"CREATE TABLE t (a int DEFAULT nextval(`other`.`s`))",
		"CREATE TABLE t (a int); GRANT ALL ON *.* TO x",
		"CREATE SEQUENCE s ENGINE=SPIDER",
		"CREATE VIEW v AS SELECT LOAD_FILE('/etc/passwd')",
		"CREATE VIEW mysql.v AS SELECT 1",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET NEW.a = LOAD_FILE('/etc/passwd')",
		"CREATE TRIGGER g BEFORE INSERT ON mysql.t FOR EACH ROW SET NEW.a = 1",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SET GLOBAL general_log = 1; END",
		"CREATE INDEX i ON mysql.t (a)",
		"DROP TABLE mysql.user",
		"DROP TABLE t, mysql.user",
		"DROP DATABASE other",
		"ALTER TABLE t RENAME TO other.t",
		"ALTER TABLE t DISCARD TABLESPACE",
		"ALTER TABLE t IMPORT TABLESPACE",
		"ALTER TABLE t ENGINE=SPIDER",
		"ALTER TABLE t ADD COLUMN a int, RENAME TO x",
		"ALTER TABLE t EXCHANGE PARTITION p WITH TABLE x",
		"ALTER TABLE mysql.user ADD KEY (a)",
		"ALTER DATABASE mysql CHARACTER SET utf8mb4",
		"ALTER INSTANCE ROTATE INNODB MASTER KEY",
		"LOCK TABLES mysql.user WRITE",
		"USE other",
		"CREATE DATABASE other",
		"INSERT INTO t SELECT * FROM mysql.user",
		"INSERT INTO t (a) SELECT 1",
		"INSERT INTO t SET a = 1",
		"INSERT INTO t TABLE other",
		"INSERT INTO mysql.user VALUES (1)",
		"INSERT INTO t PARTITION (p) VALUES (1)",
		"INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE a = LOAD_FILE('/etc/passwd')",
		"INSERT INTO t VALUES (1) AS new",
		"INSERT INTO t VALUES (1) RETURNING a",
		"INSERT INTO t VALUES (1) (2)",
		"INSERT INTO t VALUES ROW(1)",
		"INSERT INTO t VALUES (LOAD_FILE('/etc/passwd'))",
		"INSERT INTO t VALUES (1,(SELECT 1))",
		"INSERT INTO t VALUES (SLEEP(10))",
		"INSERT INTO t VALUES (@@version)",
		"INSERT INTO t VALUES (@a)",
		"INSERT INTO t VALUES (`a`)",
		"INSERT INTO t VALUES (1 + mysql.f())",
		"INSERT INTO t VALUES (f(1))",
		"INSERT INTO t VALUES (1f(1))",
		"INSERT INTO t VALUES (_f(1))",
		"INSERT INTO t VALUES (NOW.f(1))",
		"INSERT INTO t VALUES (1) /*! ON DUPLICATE KEY UPDATE a = 1 */",
		"INSERT INTO t VALUES (1, /*!40000 LOAD_FILE('/etc/passwd') */)",
		"INSERT INTO t VALUES (CASE WHEN 1 THEN 2 END)",
		"INSERT INTO t VALUES (1*2)",
		"INSERT INTO t VALUES (" + strings.Repeat("(", 100) + "1" + strings.Repeat(")", 101),
		"INSERT INTO t VALUES (UNKNOWN . JSON_ARRAY('x'))",
		"INSERT INTO t VALUES (NULL . now('x'))",
		"INSERT INTO t VALUES (UUID_TO_BIN('x'))",
		"INSERT INTO t VALUES (VEC_FROMTEXT('x'))",
		"INSERT INTO t VALUES (POINT('x'))",
		"INSERT INTO t VALUES (NOW ())",
		"INSERT INTO t VALUES (CAST ('x'))",
		"INSERT INTO t VALUES (CURDATE/**/())",
		"INSERT INTO t VALUES (SIGNED('x'))",
		"INSERT INTO t VALUES (LOCALTIME ('x'))",
		"SET sql_mode='MSSQL'",
		"CREATE TABLE p (a int) PARTITION BY HASH(a) PARTITIONS 2 AS VALUES (f('x'))",
		"CREATE TABLE p (a int) PARTITION BY HASH(a) VALUES (f('x'))",
		"CREATE TABLE p (a int) PARTITION BY HASH(a) AS (VALUES (f('x')))",
		"CREATE TABLE p (a int) PARTITION BY HASH(a) PARTITIONS 2 (VALUES (f('x')))",
		"CREATE TABLE p (VALUES (f('x')))",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @a=1, GLOBAL max_connections=88",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN SHUTDOWN; END",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW CREATE OR REPLACE USER x",
		"CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN DECLARE EXIT HANDLER FOR `c` GRANT ALL ON *.* TO x; END",
		"REPLACE INTO t SELECT 1",
		"/*!40101 GRANT ALL ON *.* TO x */",
		"/*!40101 GRANT*/ /*!40102 ALL ON *.* TO x */",
		"/*M!100100 GRANT ALL ON *.* TO x */",
		"/*! /*! SELECT 1 */ */",
		`\! id`,
		`SELECT 1 \! id`,
		"source /etc/passwd",
		"system id",
		"tee /tmp/x",
		"pager id",
		"CREATE TABLE " + strings.Repeat("x", 65) + " (a int)",
	} {
		t.Run(sql[:min(len(sql), 60)], func(t *testing.T) {
			r := sqlread.New(strings.NewReader("SET NAMES utf8mb4;\n\n"+sql+";\nUSE app;\nDROP TABLE after;\n"), sqlread.Options{Database: "app"})
			if _, err := r.Next(); err != nil {
				t.Fatal(err)
			}
			var refusals []error
			for {
				st, err := r.Next()
				for err == nil && st.Kind == sqlread.KindInsert {
					if _, err = r.NextRow(); err == io.EOF {
						err = nil
						break
					}
				}
				if err == io.EOF {
					t.Fatal("what follows a refused statement is lost")
				}
				if err != nil {
					refusals = append(refusals, err)
					var e *core.Error
					if !errors.As(err, &e) || e.Code != core.CodeUnsupported || e.Hint == "" || !strings.HasPrefix(e.Message, "line 3: ") || strings.Contains(err.Error(), "secret") {
						t.Fatalf("%v (code %s)", err, core.CodeOf(err))
					}
					continue
				}
				if st.Kind == sqlread.KindDrop && st.Name == "after" {
					break
				}
				if len(refusals) == 0 && st.Kind != sqlread.KindInsert && st.Kind != sqlread.KindCreate {
					t.Errorf("taken: %s", st.Text)
				}
			}
			if len(refusals) == 0 {
				t.Error("it is not refused")
			}
		})
	}
}

var spaces = regexp.MustCompile(`\s+`)

// TestTaken: what dumps consist of, and what is sent of it.
func TestTaken(t *testing.T) {
	for _, c := range []struct{ sql, want string }{
		{"/*!40101 SET NAMES utf8 */;", "set||SET NAMES utf8"},
		{"/*M!999999\\- enable the sandbox mode */ \nSET NAMES utf8;", "set||SET NAMES utf8"},
		{"\xEF\xBB\xBFSET NAMES utf8;\r\n", "set||SET NAMES utf8"},
		{"/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;", "set||SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0"},
		{"/*!40101 SET SQL_MODE=IFNULL(@OLD_SQL_MODE, '') */;", "set||SET SQL_MODE=IFNULL(@OLD_SQL_MODE, '')"},
		{"SET @@SESSION.SQL_LOG_BIN= 0;", "skip||SET @@SESSION.SQL_LOG_BIN= 0"},
		{"SET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ 'a:1-2';", "skip||SET @@GLOBAL.GTID_PURGED=  'a:1-2'"},
		{"CREATE TABLE `a``b` (`x;y` int COMMENT 'it''s; \\'ok\\'' /*!80023 INVISIBLE */) ENGINE=InnoDB /* c */ DEFAULT CHARSET=utf8mb4;", "create|a`b|CREATE TABLE `a``b` (`x;y` int COMMENT 'it''s; \\'ok\\''  ) ENGINE=InnoDB /* c */ DEFAULT CHARSET=utf8mb4"},
		{"CREATE TABLE `app`.`t` (a int REFERENCES `app`.`u` (a));", "create|t|CREATE TABLE `t` (a int REFERENCES `u` (a))"},
		{"CREATE TABLE t (a int) ENGINE=MRG_MyISAM UNION=(`x`,`app`.`y`);", "create|t|CREATE TABLE t (a int) ENGINE=MRG_MyISAM UNION=(`x`,`y`)"},
		{"CREATE TABLE t (a int) WITH SYSTEM VERSIONING PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (1) ENGINE = InnoDB);", "create|t|CREATE TABLE t (a int) WITH SYSTEM VERSIONING PARTITION BY RANGE (a) (PARTITION p VALUES LESS THAN (1) ENGINE = InnoDB)"},
		{"ALTER TABLE `t`\n  ADD PRIMARY KEY (`id`),\n  ADD KEY `k` (`a`,`b`);", "alter|t|ALTER TABLE `t`\n  ADD PRIMARY KEY (`id`),\n  ADD KEY `k` (`a`,`b`)"},
		{"ALTER TABLE `t`\n  MODIFY `id` int(11) NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=12;", "alter|t|ALTER TABLE `t`\n  MODIFY `id` int(11) NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=12"},
		{"ALTER TABLE `t` ADD CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `u` (`a`) ON DELETE CASCADE;", "alter|t|ALTER TABLE `t` ADD CONSTRAINT `c` FOREIGN KEY (`a`) REFERENCES `u` (`a`) ON DELETE CASCADE"},
		{"/*!40000 ALTER TABLE `t` DISABLE KEYS */;", "alter|t|ALTER TABLE `t` DISABLE KEYS"},
		{"ALTER DATABASE `app` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;", "alter|app|ALTER DATABASE  CHARACTER SET latin1 COLLATE latin1_swedish_ci"},
		{"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `app` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci */;", "use|app|CREATE DATABASE  IF NOT EXISTS  `app`  DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci"},
		{"DO SETVAL(`s`, 1, 0);", "setsequence|s|DO SETVAL(`s`, 1, 0)"},
		{"CREATE SEQUENCE `s` start with 1 minvalue -5 maxvalue 9 increment by 1 cache 10 nocycle ENGINE=InnoDB;", "create|s|CREATE SEQUENCE `s` start with 1 minvalue -5 maxvalue 9 increment by 1 cache 10 nocycle ENGINE=InnoDB"},
		{"DELIMITER ;;\n/*!50003 CREATE*/ /*!50017 DEFINER=`x`@`y`*/ /*!50003 TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN /* a */ SET NEW.a = 1; END */;;\nDELIMITER ;\n", "create|g|CREATE   DEFINER=`x`@`y`   TRIGGER g BEFORE INSERT ON t FOR EACH ROW BEGIN /* a */ SET NEW.a = 1; END"},
		{"DELIMITER $$\nCREATE DEFINER=`a`@`%` PROCEDURE `p` () BEGIN SELECT 1; END$$\nDELIMITER ;", "create|p|CREATE DEFINER=`a`@`%` PROCEDURE `p` () BEGIN SELECT 1; END"},
		{"CREATE PROCEDURE p () BEGIN IF 1 THEN SELECT CASE 1 WHEN 1 THEN 2 END; END IF; CASE 1 WHEN 1 THEN SELECT 1; END CASE; BEGIN END; END;", "create|p|CREATE PROCEDURE p () BEGIN IF 1 THEN SELECT CASE 1 WHEN 1 THEN 2 END; END IF; CASE 1 WHEN 1 THEN SELECT 1; END CASE; BEGIN END; END"},
		{"/*!50001 CREATE VIEW `v` AS SELECT \n 1 AS `a`,\n 1 AS `b`*/;", "create|v|CREATE VIEW `v` AS SELECT \n 1 AS `a`,\n 1 AS `b`"},
		{"INSERT INTO `t` (`a`, `b`) VALUES (1,'x'),(-2.5e-3,NULL);", "insert|t|INSERT INTO `t` (`a`,`b`) VALUES |(1,'x')|(-2.5e-3,NULL)"},
		{"INSERT  IGNORE INTO t VALUES\n(0xAB, x'AB', b'1', _binary 'a\\'b', _utf8mb4'c'),\n('it''s',\"d\"\"q\");", "insert|t|INSERT IGNORE INTO `t` VALUES |(0xAB, x'AB', b'1', _binary 'a\\'b', _utf8mb4'c')|('it''s',\"d\"\"q\")"},
		{"REPLACE INTO t VALUES (CONVERT('{}' USING utf8mb4), CAST('1' AS DECIMAL(10,2)), ST_GeomFromText('POINT(1 1)', 0), NOW(), DEFAULT, CURRENT_TIMESTAMP);", "insert|t|REPLACE INTO `t` VALUES |(CONVERT('{}' USING utf8mb4), CAST('1' AS DECIMAL(10,2)), ST_GeomFromText('POINT(1 1)', 0), NOW(), DEFAULT, CURRENT_TIMESTAMP)"},
		{"/*!40000 INSERT INTO t VALUES (1) */;", "insert|t|INSERT INTO `t` VALUES |(1)"},
		{"SET sql_mode='ANSI_QUOTES';\nCREATE TABLE \"a;b\" (\"c\" int);", "set||SET sql_mode='ANSI_QUOTES'\ncreate|a;b|CREATE TABLE \"a;b\" (\"c\" int)"},
		{"SET sql_mode='NO_BACKSLASH_ESCAPES';\nINSERT INTO t VALUES ('\\'),('b');", "set||SET sql_mode='NO_BACKSLASH_ESCAPES'\ninsert|t|INSERT INTO `t` VALUES |('\\')|('b')"},
		{"SET @o=@@sql_mode, sql_mode='NO_BACKSLASH_ESCAPES'; SET sql_mode=@o;\nINSERT INTO t VALUES ('\\'','b');", "set||SET @o=@@sql_mode, sql_mode='NO_BACKSLASH_ESCAPES'\nset||SET sql_mode=@o\ninsert|t|INSERT INTO `t` VALUES |('\\'','b')"},
		{"SET NAMES gbk; INSERT INTO t VALUES ('a',1);", "set||SET NAMES gbk\ninsert|t|INSERT INTO `t` VALUES |('a',1)"},
		{"SET sql_log_bin=0, sql_mode='NO_BACKSLASH_ESCAPES'; INSERT INTO t VALUES ('\\');", "set||SET  sql_mode='NO_BACKSLASH_ESCAPES'\ninsert|t|INSERT INTO `t` VALUES |('\\')"},
		{"SET @a=@@sql_log_bin, foreign_key_checks=0, @@session.sql_log_bin=0, unique_checks=0;", "set||SET foreign_key_checks=0 , unique_checks=0"},
		{"SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;", "skip||SET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN"},
		{"/*!40014 SET FOREIGN_KEY_CHECKS=IF(@OLD_FOREIGN_KEY_CHECKS IS NULL, 1, @OLD_FOREIGN_KEY_CHECKS) */;", "set||SET FOREIGN_KEY_CHECKS=IF(@OLD_FOREIGN_KEY_CHECKS IS NULL, 1, @OLD_FOREIGN_KEY_CHECKS)"},
		{"SET NAMES latin1; INSERT INTO t VALUES ('\xa0--\xa0',1);", "set||SET NAMES latin1\ninsert|t|INSERT INTO `t` VALUES |('\xa0--\xa0',1)"},
		{"CREATE TABLE été (a int);", "create|été|CREATE TABLE été (a int)"},
		{"INSERT INTO t VALUES (1.5,.5,-.5e-3,1.,0xAf,0b10,1E+10,007);", "insert|t|INSERT INTO `t` VALUES |(1.5,.5,-.5e-3,1.,0xAf,0b10,1E+10,007)"},
		{"CREATE TABLE t (a int DEFAULT 1.5e3, 2fa int, CHECK (a < 0xFF+1e-5));", "create|t|CREATE TABLE t (a int DEFAULT 1.5e3, 2fa int, CHECK (a < 0xFF+1e-5))"},
		{"# c\n-- c\n--\n/* ; */ UNLOCK TABLES;", "unlock||UNLOCK TABLES"},
		{"/*!99999 GRANT ALL ON *.* TO x */;\n/*!70000 GRANT */;\nCOMMIT;", "commit||COMMIT"},
		{"mysqldump: [Warning] Using a password on the command line interface can be insecure.\nCOMMIT;", "commit||COMMIT"},
	} {
		t.Run(c.sql[:min(len(c.sql), 60)], func(t *testing.T) {
			r := sqlread.New(strings.NewReader(c.sql), sqlread.Options{Database: "app", MariaDB: true, ServerVersion: 101100})
			var got []string
			for {
				st, err := r.Next()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				text := string(st.Kind) + "|" + st.Name + "|" + spaces.ReplaceAllString(st.Text, " ")
				for st.Kind == sqlread.KindInsert {
					row, err := r.NextRow()
					if err == io.EOF {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
					text += "|" + string(row)
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(spaces.ReplaceAllString(c.want, " "), spaces.ReplaceAllString(strings.Join(got, "\n"), " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestDefiner: who an object runs as can be read and replaced.
func TestDefiner(t *testing.T) {
	for _, c := range []struct{ sql, user, host, without string }{
		{"/*!50001 CREATE ALGORITHM=UNDEFINED */\n/*!50013 DEFINER=`ro``ot`@`local host` SQL SECURITY DEFINER */\n/*!50001 VIEW `v` AS select 1 AS `x` from `a`.`b` */;", "ro`ot", "local host", "CREATE ALGORITHM=UNDEFINED  \n SQL SECURITY DEFINER  \n VIEW `v` AS select 1 AS `x` from `a`.`b`"},
		{"CREATE DEFINER = CURRENT_USER() VIEW v AS select 1 from a.b;", "CURRENT_USER", "", "CREATE  VIEW v AS select 1 from a.b"},
		{"CREATE DEFINER='u'@'%' VIEW v AS select 1 from a.b;", "u", "%", "CREATE  VIEW v AS select 1 from a.b"},
	} {
		st, err := sqlread.New(strings.NewReader(c.sql), sqlread.Options{}).Next()
		if err != nil {
			t.Fatal(err)
		}
		if st.DefinerUser != c.user || st.DefinerHost != c.host || !cmp.Equal(st.Qualifiers, []string{"a"}) {
			t.Errorf("%q@%q, %q", st.DefinerUser, st.DefinerHost, st.Qualifiers)
		}
		if got := strings.Join(strings.Fields(st.WithDefiner("")), " "); got != strings.Join(strings.Fields(c.without), " ") {
			t.Errorf("got  %s\nwant %s", got, c.without)
		}
	}
}
