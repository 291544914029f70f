package corpus

import (
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
)

// allBytes is every byte value, and every pair that an escape could be taken for.
const allBytes = "unhex('000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F" +
	"303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F" +
	"707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAF" +
	"B0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEF" +
	"F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF5C4E5C6E5C745C5C090A5C')"

func values() []Case {
	return []Case{
		{
			Name:   "floats to the last bit",
			Guards: "the text protocol rounds FLOAT to 6 digits; extremes, subnormal numbers and the sign of zero",
			SQL: []string{
				"CREATE TABLE f (id INT PRIMARY KEY, f FLOAT, d DOUBLE, fm FLOAT(7,2), dm DOUBLE(20,4), fu FLOAT UNSIGNED)",
				"INSERT INTO f VALUES (1, 0.1, 0.1, 0.1, 0.1, 0.1), (2, 3.40282347e38, 1.7976931348623157e308, 12345.67, 1e15, 3e38), (3, 1.17549435e-38, 2.2250738585072014e-308, 0, 0, 0), (4, -0.0, -0.0, -0.0, -0.0, 0)," +
					"(5, 16777217, 9007199254740993, 16777.21, 0.0001, 1), (6, 1.4e-45, 4.9e-324, NULL, NULL, NULL), (7, 1/3, 1/3, 1/3, 1/3, 1/3), (8, 123456789, 123456789.123456789, 99999.99, 1234567890123456.7891, 8388609)," +
					"(9, -3.40282347e38, -1.7976931348623157e308, -99999.99, -0.0001, 0)",
				"INSERT INTO f (id,f,d) WITH RECURSIVE n (n) AS (SELECT 10 UNION ALL SELECT n+1 FROM n WHERE n < 600) SELECT n, EXP((n-300)/7.1e0), EXP((n-300)*2.3e0) FROM n",
				"INSERT INTO f (id,f,d) SELECT -id, -f, -d FROM f",
			},
		},
		{
			Name:   "integers at their edges",
			Guards: "BIGINT UNSIGNED above 2^63, ZEROFILL, YEAR 0",
			SQL: []string{
				"CREATE TABLE i (id BIGINT UNSIGNED PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d BIGINT, e INT(8) ZEROFILL, y YEAR, t BOOL)",
				"INSERT INTO i VALUES (0,-128,65535,-8388608,-9223372036854775808,42,1901,1), (18446744073709551615,127,0,8388607,9223372036854775807,0,2155,0), (9223372036854775808,NULL,NULL,NULL,NULL,NULL,0,NULL)",
			},
		},
		{
			Name:   "decimals of 65 digits",
			Guards: "DECIMAL is exact and longer than any number type of a client",
			SQL: []string{
				"CREATE TABLE m (id INT PRIMARY KEY, a DECIMAL(65,30), b DECIMAL(65,0), c DECIMAL(30,30), d DECIMAL(1,0) UNSIGNED)",
				"INSERT INTO m VALUES (1,99999999999999999999999999999999999.999999999999999999999999999999,99999999999999999999999999999999999999999999999999999999999999999,0.999999999999999999999999999999,9)," +
					"(2,-99999999999999999999999999999999999.999999999999999999999999999999,-99999999999999999999999999999999999999999999999999999999999999999,-0.000000000000000000000000000001,0),(3,-0.000000000000000000000000000001,0,0,NULL)",
			},
		},
		{
			Name:   "bits of every width",
			Guards: "BIT is sent as bytes, which may be a tab, a backslash or a digit",
			SQL:    bits(),
		},
		{
			Name:   "all bytes in blobs of every size",
			Guards: "binary values with NUL, escapes and newlines; empty is not NULL",
			SQL: []string{
				"CREATE TABLE bytes (id INT PRIMARY KEY, v VARBINARY(600), bi BINARY(10), tb TINYBLOB, b BLOB, mb MEDIUMBLOB, lb LONGBLOB, l1 VARCHAR(600) CHARACTER SET latin1)",
				"INSERT INTO bytes VALUES (1," + allBytes + ",'a','',''," + allBytes + "," + allBytes + "," + allBytes + "), (2,'','\\0','\\0','\\0','\\0',repeat(" + allBytes + ",9000),''), (3,NULL,NULL,NULL,NULL,NULL,NULL,NULL), (4,'\\\\N','\\\\','N','\\\\N','\\\\n','\\n\\t','\\\\N')," +
					"(5,repeat('\\\\',600),'','',repeat(0xff,65535),repeat('\\n',65536),'\\t','\\t')",
				"INSERT INTO bytes (id,tb,b,mb,lb) VALUES (6,repeat(0x00,255),repeat(0x00,65535),repeat('\\\\',16777215),repeat('x',16777216))",
				"CREATE TABLE single (b BINARY(1) PRIMARY KEY)",
				"INSERT INTO single WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n+1 FROM n WHERE n < 255) SELECT unhex(lpad(hex(n),2,'0')) FROM n",
			},
			Packets: true,
		},
		{
			Name:   "rows larger than a packet",
			Guards: "a row is sent in packets of 16 MB, of which the last may be empty",
			SQL: []string{
				"CREATE TABLE large (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB, c INT)",
				"INSERT INTO large VALUES (1, repeat('x\\t\\n\\\\', 4500000), repeat('y', 16777215-5), 7), (2, '', repeat(" + allBytes + ",5000), 8), (3, repeat('z', 16777200), NULL, NULL)",
				"INSERT INTO large VALUES (4, repeat(char(0), 40*1024*1024), 'x', 9)",
			},
			Packets: true,
		},
		{
			Name:   "JSON as stored",
			Guards: "MySQL's JSON is loaded as text of a set; MariaDB's keeps spaces, order and doubles as written",
			SQL: []string{
				"CREATE TABLE j (id INT PRIMARY KEY, j JSON)",
				`INSERT INTO j VALUES (1,'{"a": "é\\n\\t\\\\", "b": [1, 2.50, null, true], "🔐": {}}'),(2,NULL),(3,'null'),(4,'"x"'),(5,'12345678901234567890'),(6,'[]'),(7,'{}'),(8,'1e300'),(9,'-0.1'),(10,'"\\u0000\\u001f\\ud83d\\udd10"')`,
				`/*mariadb*/ INSERT INTO j VALUES (20,'{ "b":1 ,"a":  2,"b":3}'),(21,' [1,2]\n')`,
				"INSERT INTO j VALUES (30, CONCAT('[', REPEAT('1,', 100000), '1]'))",
			},
		},
		{
			Name:   "geometry with SRID",
			Guards: "the SRID is part of the value, and text forms of it lose bits",
			SQL: []string{
				"CREATE TABLE geo (id INT PRIMARY KEY, g GEOMETRY, p POINT, l LINESTRING, a POLYGON, mp MULTIPOINT, c GEOMETRYCOLLECTION)",
				"INSERT INTO geo VALUES (1,ST_GeomFromText('POINT(1 2)',4326),ST_GeomFromText('POINT(0.1 1e-300)'),ST_GeomFromText('LINESTRING(0 0,1 1,2 2.5)',4326),ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'),ST_GeomFromText('MULTIPOINT(1 1,2 2)'),ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))',3857)),(2,NULL,NULL,NULL,NULL,NULL,NULL)," +
					"(3,ST_GeomFromText('MULTIPOLYGON(((0 0,3 0,3 3,0 3,0 0),(1 1,1 2,2 2,2 1,1 1)))'),ST_GeomFromText('POINT(-0 0)',0),NULL,NULL,NULL,ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'))",
				"/*mysql*/ CREATE TABLE srid (id INT PRIMARY KEY, g POINT NOT NULL SRID 4326, SPATIAL KEY(g))", "/*mysql*/ INSERT INTO srid VALUES (1,ST_GeomFromText('POINT(1 2)',4326))",
				"/*mariadb*/ CREATE TABLE srid (id INT PRIMARY KEY, g POINT NOT NULL, SPATIAL KEY(g))", "/*mariadb*/ INSERT INTO srid VALUES (1,ST_GeomFromText('POINT(1 2)',4326))",
			},
		},
		{
			Name:   "dates that strict modes refuse",
			Guards: "zero dates, days that no month has, negative and fractional TIME",
			SQL: []string{
				"SET SESSION sql_mode='ALLOW_INVALID_DATES'",
				"CREATE TABLE dt (id INT PRIMARY KEY, d DATE, dt DATETIME(6), ts TIMESTAMP(3) NULL, t TIME(6), y YEAR)",
				"INSERT INTO dt VALUES (1,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00','-838:59:59',0), (2,'2024-02-31','2024-00-00 00:00:00.123456','2027-03-28 01:30:00.5','838:59:59',1901), (3,'9999-12-31','9999-12-31 23:59:59.999999','1970-01-01 00:00:01','-00:00:00.000001',2155)," +
					"(4,'0001-01-01','0000-01-01 00:00:00','2038-01-19 03:14:07.999','00:00:00',2000),(5,'2023-00-15','2023-02-31 12:00:00','2001-09-09 01:46:40','100:00:00.5',NULL)",
				"CREATE TABLE zd (d DATE NOT NULL DEFAULT '0000-00-00', t DATETIME(3) NOT NULL DEFAULT '0000-00-00 00:00:00', PRIMARY KEY (d,t))", "INSERT INTO zd VALUES ('0000-00-00','0000-00-00'),('2024-02-30','0000-00-00')",
			},
		},
		{
			Name:   "TIMESTAMP across a change of the clock",
			Guards: "one hour of autumn is there twice, one of spring not at all, unless rows and defaults travel in UTC",
			SQL: []string{
				// MySQL's catalogue keeps the text of a default in the zone of the session that made it.
				"/*mariadb*/ SET SESSION time_zone='-09:30'",
				"CREATE TABLE ts (id INT PRIMARY KEY, ts TIMESTAMP NOT NULL DEFAULT '2020-02-29 12:00:00' ON UPDATE CURRENT_TIMESTAMP, f TIMESTAMP(6) NULL DEFAULT CURRENT_TIMESTAMP(6), dt DATETIME)",
				"SET SESSION time_zone='-09:30'",
				"INSERT INTO ts VALUES (1,'2026-10-24 14:30:00','2026-10-24 15:30:00.123456','2026-10-25 02:30:00'),(2,'2026-10-24 15:30:00','2026-10-24 16:30:00','2026-10-25 02:30:00'),(3,'2026-03-28 16:30:00','2026-03-28 15:29:59.999999','2026-03-29 02:30:00')",
				"INSERT INTO ts (id) VALUES (4)",
				"CREATE TABLE tskey (ts TIMESTAMP(6) NOT NULL PRIMARY KEY, v INT)",
				"INSERT INTO tskey WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n+1 FROM n WHERE n < 240) SELECT TIMESTAMPADD(MINUTE, 30*n, '2026-10-22 00:00:00.5'), n FROM n",
				"CREATE TABLE tspart (ts TIMESTAMP NOT NULL, v INT) PARTITION BY RANGE (UNIX_TIMESTAMP(ts)) (PARTITION p0 VALUES LESS THAN (UNIX_TIMESTAMP('2026-10-24 15:00:00')), PARTITION p1 VALUES LESS THAN (MAXVALUE))",
				"INSERT INTO tspart SELECT ts, v FROM tskey",
			},
		},
		{
			Name:   "ENUM and SET",
			Guards: "members with quotes, commas and backslashes, the empty member, a number that is a member's name",
			SQL: []string{
				"CREATE TABLE es (id INT PRIMARY KEY, e ENUM('a','it''s','','1','x,y','\\\\','\"','`','%_'), s SET('a','b\"','c\\\\d','é','it''s',''), n ENUM('a') NOT NULL)",
				"INSERT INTO es VALUES (1,'a','a,é','a'),(2,'it''s','b\"','a'),(3,'','','a'),(4,'1','c\\\\d','a'),(5,'x,y','a,b\",c\\\\d,é,it''s','a'),(6,NULL,NULL,'a'),(7,'\\\\',63,'a'),(8,'%_',32,'a')",
				"CREATE TABLE s64 (s " + wideSet(64) + ", e " + strings.Replace(wideSet(300), "SET", "ENUM", 1) + ")",
				"INSERT INTO s64 VALUES (18446744073709551615,300),(9223372036854775808,256),(1,255),(0,1)",
			},
		},
		{
			Name:   "ENUM with an empty member and no value",
			Guards: "index 0, which the server writes for what it could not take, reads as '' too",
			SQL: []string{
				"CREATE TABLE ee (id INT PRIMARY KEY, e ENUM('a','','0'), u ENUM('','b') CHARACTER SET ucs2, l ENUM('ü','') CHARACTER SET latin1, n ENUM('a','b'), z ENUM('','0','00','000'))",
				"INSERT INTO ee VALUES (1,'','','','a',''),(2,'a','b','ü','b','0'),(3,NULL,NULL,NULL,NULL,NULL),(4,'0','b','ü','a','000')", "INSERT INTO ee VALUES (5,99,99,99,99,99),(6,'x','x','x','x','x')",
			},
		},
		{
			Name:   "UUID, INET6 and INET4",
			Guards: "types of MariaDB that take text, not their bytes",
			SQL: []string{
				"CREATE TABLE ty (id INT PRIMARY KEY, u UUID, i6 INET6, KEY(u))",
				"INSERT INTO ty VALUES (1,'123e4567-e89b-12d3-a456-426614174000','::1'),(2,NULL,NULL),(3,'ffffffff-ffff-ffff-ffff-ffffffffffff','ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff'),(4,'00000000-0000-0000-0000-000000000000','::'),(5,'123e4567-e89b-72d3-a456-426614174000','::ffff:1.2.3.4')",
				"CREATE TABLE uk (u UUID PRIMARY KEY DEFAULT UUID(), n INT)", "INSERT INTO uk (n) VALUES (1),(2),(3)",
				"CREATE TABLE ik (i INET6 PRIMARY KEY)", "INSERT INTO ik VALUES ('::1'),('fe80::1'),('::ffff:10.0.0.1')",
				"/*mariadb 101000*/ CREATE TABLE i4 (i INET4 PRIMARY KEY)", "/*mariadb 101000*/ INSERT INTO i4 VALUES ('0.0.0.0'),('10.0.0.1'),('255.255.255.255')",
			},
			Unfit: only(mysql.MariaDB, 100700, "it has no UUID and INET6"),
		},
		{
			Name:   "vectors",
			Guards: "packed floats, which are no text",
			SQL: []string{
				"/*mysql*/ CREATE TABLE vec (id INT PRIMARY KEY, v VECTOR(3))", "/*mysql*/ INSERT INTO vec VALUES (1,TO_VECTOR('[1,0.1,-3e38]')),(2,NULL)",
				"/*mariadb*/ CREATE TABLE vec (id INT PRIMARY KEY, v VECTOR(3) NOT NULL, VECTOR KEY (v))", "/*mariadb*/ INSERT INTO vec VALUES (1,VEC_FromText('[1,0.1,-3e38]')),(2,VEC_FromText('[0,0,0]'))",
			},
			Unfit: func(s mysql.Server) string {
				if s.MariaDB() && s.VersionNumber < 110700 || !s.MariaDB() && s.VersionNumber < 90000 {
					return "it has no VECTOR before MariaDB 11.7 and MySQL 9"
				}
				return ""
			},
		},
	}
}

// bits makes a table with a BIT column of each width.
func bits() []string {
	var defs, zero, one, mixed, pattern []string
	for n := 1; n <= 64; n++ {
		defs = append(defs, fmt.Sprintf("b%d BIT(%d)", n, n))
		zero = append(zero, "b'0'")
		one = append(one, "b'"+strings.Repeat("1", n)+"'")
		mixed = append(mixed, "b'"+strings.Repeat("01", 32)[64-n:]+"'")
		// Backslash, 'N', tab, newline and digits, as far as they fit.
		pattern = append(pattern, fmt.Sprintf("b'%b'", uint64(0x5C4E090A5C303139)>>(64-(n+7)/8*8)&(1<<n-1)))
	}
	return []string{
		"CREATE TABLE b (id INT PRIMARY KEY, " + strings.Join(defs, ", ") + ")",
		"INSERT INTO b VALUES (1, " + strings.Join(zero, ",") + "), (2, " + strings.Join(one, ",") + "), (3, " + strings.Join(mixed, ",") + ")",
		"INSERT INTO b (id) VALUES (4)",
		"INSERT INTO b VALUES (5, " + strings.Join(pattern, ",") + ")",
		"CREATE TABLE bk (b BIT(40) PRIMARY KEY, d BIT(8) DEFAULT b'1011100')",
		"INSERT INTO bk (b) VALUES (b'0'),(0x5c6e5c6e09),(0xffffffffff),(9),(10),(92)",
	}
}

func wideSet(n int) string {
	members := make([]string, n)
	for i := range members {
		members[i] = fmt.Sprintf("'m%d'", i)
	}
	return "SET(" + strings.Join(members, ",") + ")"
}
