package corpus

import "github.com/backstay/backstay/internal/mysql"

func columns() []Case {
	return []Case{
		{
			Name:   "generated columns",
			Guards: "values of generated columns cannot be inserted; indexed, stored and virtual ones, and those of others",
			SQL: []string{
				"CREATE TABLE g (id INT PRIMARY KEY, a INT, v INT AS (a*2) VIRTUAL, st VARCHAR(20) AS (concat('x',a)) STORED, w INT AS (v+1) VIRTUAL, c VARCHAR(60) AS (concat(st,'-',id)) VIRTUAL, KEY(v), UNIQUE(c), KEY m (a,w))",
				"INSERT INTO g(id,a) VALUES (1,10),(2,NULL),(3,-5)",
				"CREATE TABLE gj (id INT PRIMARY KEY, j JSON, n VARCHAR(40) AS (JSON_UNQUOTE(JSON_EXTRACT(j,'$.\"na''me\"'))) STORED, KEY (n))", `INSERT INTO gj (id,j) VALUES (1,'{"na''me":"x\\\\y"}'),(2,'{}')`,
				"/*mysql*/ CREATE TABLE first (v INT AS (b+1) STORED, b INT, PRIMARY KEY (v))", "/*mysql*/ INSERT INTO first (b) VALUES (3),(1),(2)",
				"CREATE TABLE gfk (id INT PRIMARY KEY, p INT AS (id DIV 2) STORED, KEY (p), CONSTRAINT gfk1 FOREIGN KEY (p) REFERENCES g (id))", "INSERT INTO gfk (id) VALUES (2),(4)",
			},
		},
		{
			Name:   "invisible columns",
			Guards: "SELECT * does not show them",
			SQL: []string{
				"CREATE TABLE inv (id INT PRIMARY KEY, h INT INVISIBLE DEFAULT 5, t TEXT INVISIBLE)",
				"INSERT INTO inv(id) VALUES (1),(2)", "INSERT INTO inv(id,h,t) VALUES (3,77,'hidden')",
				"CREATE TABLE invkey (k INT INVISIBLE AUTO_INCREMENT PRIMARY KEY, v INT)", "INSERT INTO invkey (v) VALUES (5),(5)",
				"/*mysql*/ SET SESSION sql_generate_invisible_primary_key=1", "/*mysql*/ CREATE TABLE gi (a INT)", "/*mysql*/ INSERT INTO gi VALUES (5),(5)",
			},
		},
		{
			Name:   "compressed columns and tables",
			Guards: "compression is a part of the definition and none of the values",
			SQL: []string{
				"CREATE TABLE rc (id INT PRIMARY KEY, t TEXT) ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8", "INSERT INTO rc VALUES (1,repeat('compress',900))",
				"CREATE TABLE rr (id INT PRIMARY KEY, t TEXT) ROW_FORMAT=REDUNDANT", "INSERT INTO rr VALUES (1,'x')",
				"/*mariadb*/ CREATE TABLE cc (id INT PRIMARY KEY, t TEXT COMPRESSED, b VARBINARY(5000) COMPRESSED DEFAULT '', c VARCHAR(5000) COMPRESSED CHARACTER SET latin1)",
				"/*mariadb*/ INSERT INTO cc VALUES (1,repeat('ü',20000),repeat(0x00,4000),repeat('x',4000)),(2,'','',''),(3,NULL,NULL,NULL),(4,'short',0x00,'\\\\')",
				"/*mariadb*/ CREATE TABLE pc (id INT PRIMARY KEY) PAGE_COMPRESSED=1", "/*mariadb*/ INSERT INTO pc VALUES (1)",
				"/*mysql*/ CREATE TABLE pc (id INT PRIMARY KEY) COMPRESSION='zlib'", "/*mysql*/ INSERT INTO pc VALUES (1)",
			},
		},
		{
			Name:   "defaults by expression",
			Guards: "a default is kept as written and must not be taken for a value",
			SQL: []string{
				"CREATE TABLE de (id INT PRIMARY KEY AUTO_INCREMENT, d DATE DEFAULT (CURRENT_DATE), e VARCHAR(40) DEFAULT (concat('it''s; -- ','\\\\')), n INT DEFAULT (1+2), b BLOB DEFAULT ('x'), u CHAR(36) DEFAULT (UUID()), ts TIMESTAMP(2) NOT NULL DEFAULT CURRENT_TIMESTAMP(2) ON UPDATE CURRENT_TIMESTAMP(2))",
				"INSERT INTO de VALUES ()", "INSERT INTO de (e,b,u) VALUES (NULL,NULL,NULL)",
				"CREATE TABLE dl (a VARCHAR(20) DEFAULT 'it''s', b VARCHAR(20) DEFAULT 'NULL', c VARCHAR(20) DEFAULT NULL, d VARCHAR(20) NOT NULL DEFAULT '', e BIT(3) DEFAULT b'101', f ENUM('a','it''s') DEFAULT 'it''s', g BINARY(3) DEFAULT 'a', h DOUBLE DEFAULT 1e10, i VARCHAR(20) DEFAULT 'current_timestamp()', j DECIMAL(5,2) DEFAULT '-1.50', k VARCHAR(20) DEFAULT 'é\\\\🔐', l TIMESTAMP NULL)",
				"INSERT INTO dl VALUES ()",
				"/*mysql*/ CREATE TABLE dm (id BINARY(16) DEFAULT (UUID_TO_BIN(UUID())) PRIMARY KEY, j JSON DEFAULT (JSON_ARRAY()))", "/*mysql*/ INSERT INTO dm VALUES (),()",
			},
		},
		{
			Name:   "CHECK",
			Guards: "constraints of columns and tables, with names and quotes",
			SQL: []string{
				"CREATE TABLE ch (a INT CHECK (a < 100), b VARCHAR(20), CONSTRAINT `it's` CHECK (b <> 'x''; --\\\\'), CHECK (a + LENGTH(b) > 0))", "INSERT INTO ch VALUES (1,'y'),(NULL,NULL)",
				"/*mysql*/ CREATE TABLE cn (a INT, CHECK (a < 100) NOT ENFORCED)", "/*mysql*/ INSERT INTO cn VALUES (200)",
			},
		},
		{
			Name:   "rows that break their own rules",
			Guards: "rows that came in before their CHECK, or past it",
			SQL: []string{
				"CREATE TABLE chk (id INT PRIMARY KEY, a INT, j JSON, CHECK (a > 0))", "SET check_constraint_checks=0",
				"INSERT INTO chk VALUES (1,-5,'not json'),(2,5,'{}')",
			},
			Unfit: only(mysql.MariaDB, 0, "its CHECK lets no such row in"),
		},
		{
			Name:   "automatic numbers",
			Guards: "AUTO_INCREMENT: a row with 0 becomes the next number; the next value after rows were deleted, in empty tables and at the end of the range",
			SQL: []string{
				"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'",
				"CREATE TABLE ai (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, x INT) AUTO_INCREMENT=5000", "INSERT INTO ai VALUES (0,1),(7,2)",
				"CREATE TABLE gone (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, x INT)", "INSERT INTO gone VALUES (NULL,1),(NULL,2),(NULL,3)", "DELETE FROM gone WHERE id > 1",
				"CREATE TABLE none (id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY) AUTO_INCREMENT=77",
				"CREATE TABLE neg (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO neg VALUES (-5),(-1),(0)",
				"CREATE TABLE full (id TINYINT NOT NULL AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO full VALUES (127),(126)",
				"CREATE TABLE huge (id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO huge VALUES (18446744073709551613)",
				"CREATE TABLE my (a INT, id INT NOT NULL AUTO_INCREMENT, PRIMARY KEY (a,id)) ENGINE=MyISAM", "INSERT INTO my VALUES (1,NULL),(1,NULL),(2,NULL),(2,0)",
				"CREATE TABLE sec (u INT, id INT NOT NULL AUTO_INCREMENT UNIQUE) AUTO_INCREMENT=10", "INSERT INTO sec (u) VALUES (1)",
				// Beside values that are converted when they are loaded.
				"CREATE TABLE cj (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, j JSON)", "INSERT INTO cj (id,j) VALUES (0,'{}'),(5,NULL),(-3,'[]')",
				"CREATE TABLE cg (j JSON, f FLOAT, g DOUBLE AS (f*2) STORED, id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT, UNIQUE KEY (id))", "INSERT INTO cg (id,j,f) VALUES (0,'1',0.1),(18446744073709551613,'2',NULL)",
				"/*mariadb 101100*/ CREATE TABLE cu (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, u UUID, a INET6)", "/*mariadb 101100*/ INSERT INTO cu (id,a) VALUES (0,'::1'),(5,NULL)",
				"/*mariadb 101100*/ CREATE TABLE cf (id FLOAT NOT NULL AUTO_INCREMENT PRIMARY KEY, u UUID)", "/*mariadb 101100*/ INSERT INTO cf (id) VALUES (0),(0.1),(12345)",
			},
		},
	}
}
