package corpus

func keys() []Case {
	return []Case{
		{
			Name:   "tables without a key",
			Guards: "no order, equal rows, rows of NULL only",
			SQL: []string{
				"CREATE TABLE nokey (a INT, b TEXT)", "INSERT INTO nokey VALUES (1,'x'),(1,'x'),(NULL,NULL),(NULL,NULL),(NULL,'')",
				"CREATE TABLE nulluniq (a INT NULL UNIQUE, b INT)", "INSERT INTO nulluniq VALUES (NULL,1),(NULL,2),(NULL,2),(3,3)",
				"CREATE TABLE plainkey (a INT, KEY (a))", "INSERT INTO plainkey VALUES (2),(1),(2),(NULL)",
				"CREATE TABLE one (a INT)", "INSERT INTO one VALUES (NULL)",
			},
		},
		{
			Name:   "string keys",
			Guards: "equal and order as the collation has it, trailing spaces, prefixes",
			SQL: []string{
				"CREATE TABLE strkey (k VARCHAR(50) COLLATE utf8mb4_general_ci, v INT, PRIMARY KEY(k))", "INSERT INTO strkey VALUES ('b',1),('A',2),('ä2',3),('\\t',4),('',5),('\\\\N',6),('%',7)",
				"CREATE TABLE binstr (k VARCHAR(50) COLLATE utf8mb4_bin PRIMARY KEY)", "INSERT INTO binstr VALUES ('b'),('B'),('🔐'),('z')",
				"CREATE TABLE charkey (k CHAR(5) CHARACTER SET latin1 PRIMARY KEY)", "INSERT INTO charkey VALUES ('a'),('é'),('')",
				"CREATE TABLE prefixkey (t TEXT, PRIMARY KEY (t(5)))", "INSERT INTO prefixkey VALUES ('abcdefgh'),('abc')",
				"CREATE TABLE prefixes (a VARCHAR(100), b BLOB, c TEXT, KEY (a(3),b(7)), UNIQUE (c(20)))", "INSERT INTO prefixes VALUES ('abcdef','x','same'),('abcxyz',NULL,'other')",
				"CREATE TABLE wide (k VARCHAR(190) CHARACTER SET ucs2, PRIMARY KEY (k))", "INSERT INTO wide VALUES (repeat('ж',190)),('a')",
			},
		},
		{
			Name:   "binary keys",
			Guards: "bytes that are no text, in a condition or an order",
			SQL: []string{
				"CREATE TABLE binkey (k VARBINARY(20) PRIMARY KEY)", "INSERT INTO binkey VALUES (''),(0x00),(0x5c6e),(0xff),(0x0000)",
				"CREATE TABLE bin16 (k BINARY(16) PRIMARY KEY, v INT)", "INSERT INTO bin16 VALUES (unhex('00'),1),(unhex('0A095C4E27220000FFFFFFFFFFFFFFFF'),2)",
				"CREATE TABLE blobkey (b BLOB, PRIMARY KEY (b(4)))", "INSERT INTO blobkey VALUES (0xff00ff00ff),(0x00)",
			},
		},
		{
			Name:   "composite keys",
			Guards: "an order of several columns, and one that is not that of the columns",
			SQL: []string{
				"CREATE TABLE comp (a INT, b VARCHAR(10), c DATETIME, PRIMARY KEY(b,a,c))", "INSERT INTO comp VALUES (1,'x','2020-01-01'),(2,'x','2020-01-01'),(1,'a','2021-01-01')",
				"CREATE TABLE c16 (c1 INT, c2 INT, c3 INT, c4 INT, c5 INT, c6 INT, c7 INT, c8 INT, c9 INT, c10 INT, c11 INT, c12 INT, c13 INT, c14 INT, c15 INT, c16 INT, PRIMARY KEY (c16,c15,c14,c13,c12,c11,c10,c9,c8,c7,c6,c5,c4,c3,c2,c1))", "INSERT INTO c16 VALUES (1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16),(0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0)",
				"/*mysql 80000*/ CREATE TABLE descending (id INT, b INT, PRIMARY KEY (id DESC), KEY x (b DESC, id))", "/*mariadb 100800*/ CREATE TABLE descending (id INT, b INT, PRIMARY KEY (id DESC), KEY x (b DESC, id))",
				"/*mysql 80000*/ INSERT INTO descending VALUES (1,1),(2,2)", "/*mariadb 100800*/ INSERT INTO descending VALUES (1,1),(2,2)",
			},
		},
		{
			Name:   "keys over the full range of integers",
			Guards: "arithmetic on keys that overflows 64 bits",
			SQL: []string{
				"CREATE TABLE uk (id BIGINT UNSIGNED PRIMARY KEY)", "INSERT INTO uk VALUES (0),(1),(9223372036854775807),(9223372036854775808),(18446744073709551614),(18446744073709551615)",
				"CREATE TABLE sk (id BIGINT PRIMARY KEY)", "INSERT INTO sk VALUES (-9223372036854775808),(-1),(0),(9223372036854775807)",
				"CREATE TABLE tk (id TINYINT UNSIGNED ZEROFILL PRIMARY KEY)", "INSERT INTO tk VALUES (0),(7),(255)",
			},
		},
		{
			Name:   "keys of other types",
			Guards: "values whose text is no literal of them: times, zero dates, bits, ENUM, floats",
			SQL: []string{
				"SET SESSION sql_mode='ALLOW_INVALID_DATES'",
				"CREATE TABLE kt (k TIMESTAMP(6) NOT NULL PRIMARY KEY)", "INSERT INTO kt VALUES ('0000-00-00'),('2026-03-29 01:30:00.000001'),('2038-01-19 03:14:07')",
				"CREATE TABLE kd (k DATE PRIMARY KEY)", "INSERT INTO kd VALUES ('0000-00-00'),('2024-02-31'),('9999-12-31')",
				"CREATE TABLE ktime (k TIME(3) PRIMARY KEY)", "INSERT INTO ktime VALUES ('-838:59:59'),('-00:00:00.001'),('00:00:00')",
				"CREATE TABLE ke (k ENUM('b','a','') PRIMARY KEY)", "INSERT INTO ke VALUES ('a'),('b'),('')",
				"CREATE TABLE kset (k SET('b','a') PRIMARY KEY)", "INSERT INTO kset VALUES ('a'),('a,b'),('')",
				"CREATE TABLE kbit (k BIT(17) PRIMARY KEY)", "INSERT INTO kbit VALUES (b'0'),(92),(65536)",
				"CREATE TABLE kf (k DOUBLE PRIMARY KEY)", "INSERT INTO kf VALUES (0.1),(1e300),(-1e-300)",
				"CREATE TABLE kfl (k FLOAT PRIMARY KEY)", "INSERT INTO kfl VALUES (0.1),(16777217),(3.4e38)",
				"CREATE TABLE kdec (k DECIMAL(65,30) PRIMARY KEY)", "INSERT INTO kdec VALUES (0.000000000000000000000000000001),(-1)",
				"CREATE TABLE ky (k YEAR PRIMARY KEY)", "INSERT INTO ky VALUES (0),(1901),(2155)",
			},
		},
		{
			Name:   "keys of expressions, hidden and ignored ones",
			Guards: "keys that are more than a list of columns",
			SQL: []string{
				"CREATE TABLE base (id INT PRIMARY KEY, a INT, b VARCHAR(20), UNIQUE KEY `u` (a) USING BTREE COMMENT 'it''s', KEY h (b) USING HASH)", "INSERT INTO base VALUES (1,2,'x'),(2,NULL,NULL)",
				"/*mysql*/ CREATE TABLE fi (id INT PRIMARY KEY, a INT, b VARCHAR(20), KEY ((a+1)), UNIQUE KEY e ((concat(b,'it''s'))), KEY x (b) INVISIBLE)", "/*mysql*/ INSERT INTO fi VALUES (1,2,'x'),(2,NULL,NULL)",
				"/*mysql*/ CREATE TABLE mv (id INT PRIMARY KEY, j JSON, KEY z ((CAST(j->'$.a' AS UNSIGNED ARRAY))))", `/*mysql*/ INSERT INTO mv VALUES (1,'{"a":[1,2]}'),(2,NULL)`,
				"/*mariadb 100600*/ CREATE TABLE ig (id INT PRIMARY KEY, a INT, KEY x (a) IGNORED)", "/*mariadb 100600*/ INSERT INTO ig VALUES (1,1)",
				"/*mariadb*/ CREATE TABLE lh (id INT PRIMARY KEY, t TEXT, UNIQUE (t) USING HASH)", "/*mariadb*/ INSERT INTO lh VALUES (1,'long'),(2,NULL)",
				"/*mariadb*/ CREATE TABLE pe (id INT, a DATE, b DATE, PERIOD FOR p (a,b), UNIQUE (id, p WITHOUT OVERLAPS))", "/*mariadb*/ INSERT INTO pe VALUES (1,'2020-01-01','2020-02-01'),(1,'2020-02-01','2020-03-01')",
			},
		},
		{
			Name:   "keys that are built after the rows",
			Guards: "every kind of key must come back as it was, in its place, when a load takes it off and adds it later",
			SQL: []string{
				"CREATE TABLE ka (id INT PRIMARY KEY, a INT, b VARCHAR(50), c TEXT, d INT NOT NULL, `KEY ``x` INT, UNIQUE KEY u (a), KEY `k(1` (b(10), a) COMMENT 'it''s, KEY `y` (`b`)', UNIQUE KEY un (d), FULLTEXT KEY f (b), KEY (`KEY ``x`), FULLTEXT KEY f2 (b, c), KEY c (c(3)), KEY h (a) USING BTREE)",
				"INSERT INTO ka VALUES (1,1,'one','uno',4,9),(2,NULL,'two','due',3,9),(3,NULL,NULL,NULL,2,NULL)",
				"CREATE TABLE kc (id INT AUTO_INCREMENT, p INT, a INT, KEY x (a), PRIMARY KEY (p, id), KEY counter (id), KEY y (a, p), UNIQUE KEY z (a)) AUTO_INCREMENT=77", "INSERT INTO kc VALUES (5,1,1),(6,1,2)",
				"CREATE TABLE kn (a INT NOT NULL, b INT, UNIQUE KEY first (a), UNIQUE KEY second (b), KEY third (b, a))", "INSERT INTO kn VALUES (2,2),(1,1)",
				"CREATE TABLE kg (id INT PRIMARY KEY, a INT, v INT AS (a*2) VIRTUAL, s INT AS (a*3) STORED, KEY first (a), KEY v (v), KEY s (s), KEY last (a, id))", "INSERT INTO kg (id, a) VALUES (1,1),(2,NULL)",
				"CREATE TABLE ks (id INT PRIMARY KEY, a INT, g GEOMETRY NOT NULL, KEY first (a), SPATIAL KEY g (g), KEY last (id, a))", "INSERT INTO ks VALUES (1,1,ST_GeomFromText('POINT(1 2)'))",
				"CREATE TABLE kp (id INT, y INT, a INT, PRIMARY KEY (id, y), KEY a (a), UNIQUE KEY u (a, y)) PARTITION BY HASH (y) PARTITIONS 3", "INSERT INTO kp VALUES (1,1,1),(2,2,2),(3,3,3),(4,4,4)",
				"CREATE TABLE parent (id INT PRIMARY KEY, u INT, n INT, UNIQUE KEY u (u), KEY n (n))", "INSERT INTO parent VALUES (1,1,1),(2,2,2)",
				"CREATE TABLE child (id INT PRIMARY KEY, u INT, p INT, KEY u (u), KEY p (p), CONSTRAINT cu FOREIGN KEY (u) REFERENCES parent (u), CONSTRAINT cp FOREIGN KEY (p) REFERENCES parent (id) ON DELETE CASCADE)", "INSERT INTO child VALUES (1,2,1),(2,1,NULL)",
				"CREATE TABLE km (id INT PRIMARY KEY, a INT, t TEXT, KEY a (a), UNIQUE KEY u (id, a), FULLTEXT KEY t (t)) ENGINE=MyISAM", "INSERT INTO km VALUES (1,1,'x'),(2,1,NULL)",
				"/*mariadb*/ CREATE TABLE kr (id INT PRIMARY KEY, a INT, KEY a (a) IGNORED, t TEXT, UNIQUE KEY u (t(9)), KEY b (a, id)) ENGINE=Aria PAGE_CHECKSUM=1 TRANSACTIONAL=1", "/*mariadb*/ INSERT INTO kr VALUES (1,1,'x'),(2,1,NULL)",
				"/*mariadb*/ CREATE TABLE kl (id INT PRIMARY KEY, a INT, t TEXT, KEY a (a), UNIQUE KEY long_key (t), KEY b (a, id))", "/*mariadb*/ INSERT INTO kl VALUES (1,1,'x'),(2,1,NULL)",
				"CREATE TABLE kw (id INT PRIMARY KEY, a INT, KEY a (a)) COMMENT 'WITH SYSTEM VERSIONING'", "INSERT INTO kw VALUES (1,1)",
			},
		},
		{
			Name:   "foreign keys in a circle",
			Guards: "no order of tables satisfies them; rows that point at themselves, at later rows or nowhere",
			SQL: []string{
				"SET foreign_key_checks=0",
				"CREATE TABLE fa (id INT PRIMARY KEY, b INT, CONSTRAINT fka FOREIGN KEY (b) REFERENCES fb(id) ON DELETE SET NULL)", "CREATE TABLE fb (id INT PRIMARY KEY, a INT, parent INT, CONSTRAINT fkb FOREIGN KEY (a) REFERENCES fa(id) ON DELETE CASCADE ON UPDATE RESTRICT, CONSTRAINT `it's ``fks` FOREIGN KEY (parent) REFERENCES fb(id))",
				"INSERT INTO fa VALUES (1,1),(2,NULL)", "INSERT INTO fb VALUES (1,1,3),(2,2,2),(3,1,1),(4,99,NULL)",
				"/*mysql 80400*/ SET SESSION restrict_fk_on_non_standard_key=0", "CREATE TABLE fc (x INT, y VARCHAR(5), px INT, py VARCHAR(5), UNIQUE (y,x), FOREIGN KEY (py,px) REFERENCES fc (y,x))", "INSERT INTO fc VALUES (1,'a',1,'a'),(2,NULL,3,'b')",
			},
		},
	}
}
