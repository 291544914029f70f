package corpus

import (
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
)

func tables() []Case {
	return []Case{
		{
			Name:   "an empty database",
			Guards: "nothing to do is not a failure",
		},
		{
			Name:   "partitions",
			Guards: "the kinds of partitions, and rows of each",
			SQL: []string{
				"CREATE TABLE pr (id INT, y INT, PRIMARY KEY(id,y)) PARTITION BY RANGE(y) (PARTITION p0 VALUES LESS THAN (2000) COMMENT='it''s', PARTITION `p 1` VALUES LESS THAN MAXVALUE)", "INSERT INTO pr VALUES (1,1999),(2,2020)",
				"CREATE TABLE prc (a DATE, b VARCHAR(10)) PARTITION BY RANGE COLUMNS(a,b) (PARTITION p0 VALUES LESS THAN ('2020-01-01','m'), PARTITION p1 VALUES LESS THAN (MAXVALUE,MAXVALUE))", "INSERT INTO prc VALUES ('2019-01-01','z'),('2021-01-01',NULL)",
				"CREATE TABLE pl (a INT) PARTITION BY LIST(a) (PARTITION p0 VALUES IN (1,NULL), PARTITION p1 VALUES IN (2,3))", "INSERT INTO pl VALUES (1),(NULL),(3)",
				"CREATE TABLE plc (a VARCHAR(10) CHARACTER SET latin1) PARTITION BY LIST COLUMNS(a) (PARTITION p0 VALUES IN ('it''s','\\\\'), PARTITION p1 VALUES IN ('é',''))", "INSERT INTO plc VALUES ('it''s'),(''),('é')",
				"CREATE TABLE ph (id INT PRIMARY KEY, v INT) PARTITION BY HASH(id) PARTITIONS 4", "INSERT INTO ph VALUES (1,1),(2,2),(-7,3)",
				"CREATE TABLE plh (id INT PRIMARY KEY) PARTITION BY LINEAR HASH(id) PARTITIONS 3", "INSERT INTO plh VALUES (1),(2)",
				"CREATE TABLE pk (id VARCHAR(10) PRIMARY KEY) PARTITION BY KEY(id) PARTITIONS 3", "INSERT INTO pk VALUES ('a'),('b')",
				"CREATE TABLE ps (id INT, d DATE) PARTITION BY RANGE(YEAR(d)) SUBPARTITION BY HASH(id) SUBPARTITIONS 2 (PARTITION p0 VALUES LESS THAN (2020), PARTITION p1 VALUES LESS THAN MAXVALUE)", "INSERT INTO ps VALUES (1,'2019-01-01'),(2,'2024-01-01')",
				"/*mariadb*/ CREATE TABLE pd (a INT) PARTITION BY LIST(a) (PARTITION p0 VALUES IN (1), PARTITION pd DEFAULT)", "/*mariadb*/ INSERT INTO pd VALUES (1),(9),(NULL)",
				"/*mariadb*/ CREATE TABLE pm (a INT) ENGINE=MyISAM PARTITION BY HASH(a) PARTITIONS 2", "/*mariadb*/ INSERT INTO pm VALUES (1),(2)",
			},
		},
		{
			Name:   "FULLTEXT and SPATIAL keys",
			Guards: "keys that are built from values, and the hidden column of one",
			SQL: []string{
				"CREATE TABLE ft (id INT PRIMARY KEY, t TEXT, u VARCHAR(100), g GEOMETRY NOT NULL, FULLTEXT(t), FULLTEXT both_ (t,u), SPATIAL KEY(g))", "INSERT INTO ft VALUES (1,'hello world','x', ST_GeomFromText('POINT(1 2)',4326)), (2,NULL,NULL,ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'))",
				"CREATE TABLE fd (FTS_DOC_ID BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY, t TEXT, FULLTEXT(t))", "INSERT INTO fd (t) VALUES ('one'),('two')", "DELETE FROM fd WHERE t='two'",
				"CREATE TABLE fm (t TEXT, FULLTEXT(t)) ENGINE=MyISAM", "INSERT INTO fm VALUES ('hello')",
				"/*mysql*/ CREATE TABLE fn (id INT PRIMARY KEY, t TEXT, FULLTEXT (t) WITH PARSER ngram)", "/*mysql*/ INSERT INTO fn VALUES (1,'日本語')",
			},
		},
		{
			Name:   "MyISAM, Aria, MEMORY, ARCHIVE and CSV",
			Guards: "engines without transactions, and without keys or NULL",
			SQL: []string{
				"CREATE TABLE my (id INT, t TEXT) ENGINE=MyISAM", "INSERT INTO my VALUES (1,'x'),(2,NULL)",
				"CREATE TABLE myf (id INT PRIMARY KEY, t CHAR(20)) ENGINE=MyISAM ROW_FORMAT=FIXED CHECKSUM=1 DELAY_KEY_WRITE=1 MAX_ROWS=1000 PACK_KEYS=1", "INSERT INTO myf VALUES (1,'x'),(2,NULL)",
				"CREATE TABLE mem (id INT PRIMARY KEY, t VARCHAR(20), KEY (t) USING BTREE) ENGINE=MEMORY", "INSERT INTO mem VALUES (1,'x'),(2,NULL)",
				"CREATE TABLE arc (id INT, t TEXT) ENGINE=ARCHIVE", "INSERT INTO arc VALUES (1,'x'),(2,NULL)",
				"CREATE TABLE csv (id INT NOT NULL, t TEXT NOT NULL) ENGINE=CSV", "INSERT INTO csv VALUES (1,'x\"y,\\n\\\\'),(2,'')",
				"/*mariadb*/ CREATE TABLE ar (id INT, t TEXT) ENGINE=Aria TRANSACTIONAL=1 PAGE_CHECKSUM=1", "/*mariadb*/ INSERT INTO ar VALUES (1,'x'),(NULL,NULL)",
				"/*mariadb*/ CREATE TABLE ard (id INT AUTO_INCREMENT PRIMARY KEY, t TEXT, FULLTEXT (t)) ENGINE=Aria TRANSACTIONAL=0 ROW_FORMAT=DYNAMIC PAGE_CHECKSUM=0", "/*mariadb*/ INSERT INTO ard (t) VALUES ('x'),('y')",
			},
		},
		{
			Name:   "tables that show the rows of others",
			Guards: "rows that would be stored twice, or belong elsewhere",
			SQL: []string{
				"CREATE TABLE m1 (id INT) ENGINE=MyISAM", "CREATE TABLE m2 (id INT) ENGINE=MyISAM", "INSERT INTO m1 VALUES (1)", "INSERT INTO m2 VALUES (2),(3)",
				"CREATE TABLE merged (id INT) ENGINE=MERGE UNION=(m1,m2) INSERT_METHOD=LAST", "CREATE TABLE hole (id INT) ENGINE=BLACKHOLE",
			},
		},
		{
			Name:   "options of tables",
			Guards: "what stands behind the closing parenthesis",
			SQL: []string{
				"CREATE TABLE o (id INT PRIMARY KEY) AVG_ROW_LENGTH=100 MIN_ROWS=3 MAX_ROWS=9 STATS_PERSISTENT=0 STATS_AUTO_RECALC=1 STATS_SAMPLE_PAGES=7 ROW_FORMAT=DYNAMIC COMMENT='o'", "INSERT INTO o VALUES (1)",
				"CREATE TABLE `empty` (id INT PRIMARY KEY)", "CREATE TABLE onecol (a CHAR(0))", "INSERT INTO onecol VALUES (''),(NULL)",
				"CREATE TABLE " + manyColumns(600),
				"INSERT INTO many (c0,c599) VALUES (1,2)",
			},
		},
		{
			Name:   "system-versioned tables with their history",
			Guards: "former rows, and when each was true",
			SQL: []string{
				"SET SESSION timestamp=1700000000.123456",
				"CREATE TABLE sv (id INT PRIMARY KEY, v VARCHAR(20)) WITH SYSTEM VERSIONING", "INSERT INTO sv VALUES (1,'a'),(2,'b'),(3,'c')",
				"CREATE TABLE ex (id INT PRIMARY KEY AUTO_INCREMENT, v TEXT, begun TIMESTAMP(6) GENERATED ALWAYS AS ROW START, `en``ded` TIMESTAMP(6) GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (begun,`en``ded`)) WITH SYSTEM VERSIONING", "INSERT INTO ex (v) VALUES ('x'),('y\\t')",
				"CREATE TABLE nk (a INT, b INT WITHOUT SYSTEM VERSIONING, g INT AS (a+1) VIRTUAL, h INT INVISIBLE DEFAULT 4) WITH SYSTEM VERSIONING", "INSERT INTO nk (a,b) VALUES (1,1),(1,1),(NULL,NULL)",
				"CREATE TABLE gone (id INT PRIMARY KEY) WITH SYSTEM VERSIONING", "INSERT INTO gone VALUES (1)",
				"SET SESSION sql_mode=CONCAT(@@sql_mode,',NO_AUTO_VALUE_ON_ZERO')", "CREATE TABLE az (id INT PRIMARY KEY AUTO_INCREMENT, v INT) WITH SYSTEM VERSIONING", "INSERT INTO az VALUES (0,1),(5,2)",
				"CREATE TABLE never (id INT PRIMARY KEY) WITH SYSTEM VERSIONING",
				"SET SESSION timestamp=1710000000.5", "UPDATE az SET v=3", "UPDATE sv SET v='a2' WHERE id=1", "DELETE FROM sv WHERE id=2", "UPDATE ex SET v=NULL WHERE id=1", "UPDATE nk SET a=2", "DELETE FROM gone",
				"SET SESSION timestamp=1720000000.999999", "UPDATE sv SET v='a3' WHERE id=1", "INSERT INTO sv VALUES (2,'b again')", "DELETE FROM ex WHERE id=2", "UPDATE nk SET a=3 WHERE b=1", "INSERT INTO gone VALUES (1)", "SET SESSION timestamp=1720000001", "DELETE FROM gone",
				"CREATE VIEW svv AS SELECT id, v FROM sv FOR SYSTEM_TIME ALL",
			},
			Unfit: only(mysql.MariaDB, 101100, "it has no system-versioned tables whose history can be loaded"),
		},
		{
			Name:   "system-versioned tables by partitions",
			Guards: "history in partitions of its own",
			SQL: []string{
				"SET SESSION timestamp=1700000000",
				"CREATE TABLE pt (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME (PARTITION p0 HISTORY, PARTITION p1 HISTORY, PARTITION pn CURRENT)", "INSERT INTO pt VALUES (1,1),(2,2)",
				"CREATE TABLE pi (id INT PRIMARY KEY, v INT) WITH SYSTEM VERSIONING PARTITION BY SYSTEM_TIME INTERVAL 100 DAY STARTS '2023-11-01 00:00:00' (PARTITION p0 HISTORY, PARTITION p1 HISTORY, PARTITION p2 HISTORY, PARTITION pn CURRENT)", "INSERT INTO pi VALUES (1,1),(2,2)",
				"SET SESSION timestamp=1706000000", "UPDATE pt SET v=3", "UPDATE pi SET v=3",
				"SET SESSION timestamp=1712000000", "UPDATE pt SET v=4 WHERE id=1", "DELETE FROM pi WHERE id=2",
			},
			Unfit: only(mysql.MariaDB, 101100, "it has no system-versioned tables whose history can be loaded"),
		},
		{
			Name:   "tables versioned by transaction",
			Guards: "history that is told by numbers of transactions, which no other server knows: the present rows are exact, and a warning says so",
			SQL: []string{
				"CREATE TABLE tx (id INT PRIMARY KEY, v INT, s BIGINT UNSIGNED GENERATED ALWAYS AS ROW START INVISIBLE, e BIGINT UNSIGNED GENERATED ALWAYS AS ROW END INVISIBLE, PERIOD FOR SYSTEM_TIME (s,e)) WITH SYSTEM VERSIONING",
				"CREATE TABLE plain (id INT PRIMARY KEY)",
			},
			Warnings: []string{"history"},
			Unfit:    only(mysql.MariaDB, 100300, "it has no system-versioned tables"),
		},
		{
			Name:   "5,000 tables",
			Guards: "time and memory for each table, and what a server keeps open",
			SQL:    manyTables(5000),
			Slow:   true,
		},
	}
}

func manyColumns(n int) string {
	defs := make([]string, n)
	for i := range defs {
		defs[i] = fmt.Sprintf("c%d INT", i)
	}
	return "many (" + strings.Join(defs, ", ") + ")"
}

func manyTables(n int) []string {
	var statements []string
	for i := range n {
		name := fmt.Sprintf("t%04d", i)
		statements = append(statements, "CREATE TABLE "+name+" (id INT PRIMARY KEY, v VARCHAR(20))")
		if i%10 == 0 {
			statements = append(statements, "INSERT INTO "+name+" VALUES ("+fmt.Sprint(i)+",'x')")
		}
	}
	return statements
}
