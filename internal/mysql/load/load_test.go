package load_test

import (
	"bytes"
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/dump"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
)

func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }

func dumpDatabase(t *testing.T, cfg mysql.Config, prefix string) (*mysqltest.Tree, *dump.Dumped, *dump.Snapshot) {
	t.Helper()
	s, err := dump.Open(t.Context(), dump.Options{Config: cfg, Prefix: prefix, Clock: core.SystemClock{}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	tr := mysqltest.NewTree()
	d, err := s.Write(t.Context(), tr, core.NoProgress{})
	if err != nil {
		t.Fatal(err)
	}
	return tr, d, s
}

// roundTrip dumps a database, loads it into another one and compares the two
// with the server's own means.
func roundTrip(t *testing.T, from string, keysAfter bool) string {
	t.Helper()
	tr, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	if len(d.Warnings) > 0 {
		t.Errorf("warnings of the dump: %v", d.Warnings)
	}
	to := mysqltest.Database(t)
	options := load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}}
	if keysAfter {
		options = options.KeysAfterRows()
	}
	loaded, err := load.Load(t.Context(), d.Index, tr, options)
	if err != nil {
		t.Fatal(err)
	}
	if len(loaded.Warnings) > 0 {
		t.Errorf("warnings of the load: %v", loaded.Warnings)
	}
	if diff := cmp.Diff(mysqltest.Checksum(t, from), mysqltest.Checksum(t, to)); diff != "" {
		t.Errorf("CHECKSUM TABLE EXTENDED differs (-origin +restored):\n%s", diff)
	}
	if diff := cmp.Diff(mysqltest.ShowCreate(t, from), mysqltest.ShowCreate(t, to)); diff != "" {
		t.Errorf("SHOW CREATE differs (-origin +restored):\n%s", diff)
	}
	return to
}

// allBytes is every byte value, and every pair that an escape could be taken for.
const allBytes = "unhex('000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F202122232425262728292A2B2C2D2E2F" +
	"303132333435363738393A3B3C3D3E3F404142434445464748494A4B4C4D4E4F505152535455565758595A5B5C5D5E5F606162636465666768696A6B6C6D6E6F" +
	"707172737475767778797A7B7C7D7E7F808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9FA0A1A2A3A4A5A6A7A8A9AAABACADAEAF" +
	"B0B1B2B3B4B5B6B7B8B9BABBBCBDBEBFC0C1C2C3C4C5C6C7C8C9CACBCCCDCECFD0D1D2D3D4D5D6D7D8D9DADBDCDDDEDFE0E1E2E3E4E5E6E7E8E9EAEBECEDEEEF" +
	"F0F1F2F3F4F5F6F7F8F9FAFBFCFDFEFF5C4E5C6E5C745C5C090A5C')"

// corpus is schemas and values that tools of this kind have lost, by what each
// case guards. What only one vendor understands begins with its mark.
const (
	onMariaDB = "/*mariadb*/ "
	onMySQL   = "/*mysql*/ "
)

// prepare makes a database from statements of the corpus.
func prepare(t *testing.T, statements []string) string {
	t.Helper()
	name := mysqltest.Database(t)
	other := onMySQL
	if !mysqltest.OnMariaDB(t) {
		other = onMariaDB
	}
	mysqltest.ExecIn(t, name, slices.DeleteFunc(slices.Clone(statements), func(s string) bool { return strings.HasPrefix(s, other) })...)
	return name
}

var corpus = map[string][]string{
	"floats to the last bit": {
		"CREATE TABLE f (id INT PRIMARY KEY, f FLOAT, d DOUBLE, fm FLOAT(7,2), dm DOUBLE(20,4))",
		"INSERT INTO f VALUES (1, 0.1, 0.1, 0.1, 0.1), (2, 3.40282347e38, 1.7976931348623157e308, 12345.67, 1e15), (3, 1.17549435e-38, 2.2250738585072014e-308, 0, 0), (4, -0.0, -0.0, -0.0, -0.0)," +
			"(5, 16777217, 9007199254740993, 16777.21, 0.0001), (6, 1.4e-45, 4.9e-324, NULL, NULL), (7, 1/3, 1/3, 1/3, 1/3), (8, 123456789, 123456789.123456789, 99999.99, 1234567890123456.7891)",
	},
	"integers at their edges": {
		"CREATE TABLE i (id BIGINT UNSIGNED PRIMARY KEY, a TINYINT, b SMALLINT UNSIGNED, c MEDIUMINT, d BIGINT, e INT(8) ZEROFILL, y YEAR, m DECIMAL(65,30))",
		"INSERT INTO i VALUES (0,-128,65535,-8388608,-9223372036854775808,42,1901,99999999999999999999999999999999999.999999999999999999999999999999), (18446744073709551615,127,0,8388607,9223372036854775807,0,2155,-0.000000000000000000000000000001), (9223372036854775808,NULL,NULL,NULL,NULL,NULL,0,NULL)",
	},
	"bits": {
		"CREATE TABLE b (id INT PRIMARY KEY, b1 BIT(1), b8 BIT(8), b9 BIT(9), b64 BIT(64))",
		"INSERT INTO b VALUES (1,b'0',b'0',b'0',b'0'), (2,b'1',0x5c,0x109,0x5c4e090a5c740027), (3,1,9,10,92), (4,NULL,NULL,NULL,NULL), (5,1,255,511,18446744073709551615)",
	},
	"all bytes in blobs and texts": {
		"CREATE TABLE bytes (id INT PRIMARY KEY, v VARBINARY(600), bi BINARY(10), tb TINYBLOB, lb LONGBLOB, l1 VARCHAR(600) CHARACTER SET latin1)",
		"INSERT INTO bytes VALUES (1," + allBytes + ",'a',''," + allBytes + "," + allBytes + "), (2,'','\\0','\\0',repeat(" + allBytes + ",9000),''), (3,NULL,NULL,NULL,NULL,NULL), (4,'\\\\N','\\\\','N','\\n\\t','\\\\N')",
	},
	"rows larger than a packet": {
		"CREATE TABLE large (id INT PRIMARY KEY, a LONGBLOB, b LONGBLOB, c INT)",
		"INSERT INTO large VALUES (1, repeat('x\\t\\n\\\\', 4500000), repeat('y', 16777215-5), 7), (2, '', repeat(" + allBytes + ",5000), 8), (3, repeat('z', 16777200), NULL, NULL)",
	},
	"character sets keep their bytes": {
		"CREATE TABLE cs (id INT PRIMARY KEY, u4 TEXT CHARACTER SET utf8mb4, u3 TEXT CHARACTER SET utf8mb3, l1 TEXT CHARACTER SET latin1, u2 TEXT CHARACTER SET ucs2, u16 TEXT CHARACTER SET utf16, sj TEXT CHARACTER SET sjis, gb TEXT CHARACTER SET gbk, k8 TEXT CHARACTER SET koi8r, b5 TEXT CHARACTER SET big5)",
		"INSERT INTO cs VALUES (1,'Zürich 🔐 データ','Zürich データ','Zürich','データ\\t','🔐\\n',_sjis 0x835C8140,_gbk 0xD55C,'привет',_big5 0xA55C), (2,'','','','','','','','',''), (3,'Ã¼','Ã¼',unhex('C3BC81'),NULL,NULL,NULL,NULL,NULL,NULL)",
	},
	"dates that strict modes refuse": {
		"SET SESSION sql_mode='ALLOW_INVALID_DATES'",
		"CREATE TABLE dt (id INT PRIMARY KEY, d DATE, dt DATETIME(6), ts TIMESTAMP(3) NULL, t TIME(6))",
		"INSERT INTO dt VALUES (1,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00','-838:59:59'), (2,'2024-02-31','2024-00-00 00:00:00.123456','2027-03-28 01:30:00.5','838:59:59'), (3,'9999-12-31','9999-12-31 23:59:59.999999','1970-01-01 00:00:01','-00:00:00.000001')",
	},
	"enums and sets": {
		"CREATE TABLE es (id INT PRIMARY KEY, e ENUM('a','it''s','','1','x,y'), s SET('a','b\"','c\\\\d','é'))",
		"INSERT INTO es VALUES (1,'a','a,é'),(2,'it''s','b\"'),(3,'',''),(4,'1','c\\\\d'),(5,'x,y','a,b\",c\\\\d,é'),(6,NULL,NULL)",
	},
	"generated and invisible columns": {
		"CREATE TABLE g (id INT PRIMARY KEY, a INT, v INT AS (a*2) VIRTUAL, st VARCHAR(20) AS (concat('x',a)) STORED, h INT INVISIBLE DEFAULT 5, KEY(v), CHECK (a < 100))",
		"INSERT INTO g(id,a) VALUES (1,10),(2,NULL)", "INSERT INTO g(id,a,h) VALUES (3,30,77)",
	},
	"auto increment zero and next value": {
		"SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO'",
		"CREATE TABLE ai (id INT NOT NULL AUTO_INCREMENT PRIMARY KEY, x INT) AUTO_INCREMENT=5000", "INSERT INTO ai VALUES (0,1),(7,2)",
	},
	"keys of every kind and none": {
		"CREATE TABLE nokey (a INT, b TEXT)", "INSERT INTO nokey VALUES (1,'x'),(1,'x'),(NULL,NULL)",
		"CREATE TABLE nulluniq (a INT NULL UNIQUE, b INT)", "INSERT INTO nulluniq VALUES (NULL,1),(NULL,2),(3,3)",
		"CREATE TABLE strkey (k VARCHAR(50) COLLATE utf8mb4_general_ci, v INT, PRIMARY KEY(k))", "INSERT INTO strkey VALUES ('b',1),('A',2),('ä2',3),('\\t',4),('',5)",
		"CREATE TABLE binkey (k VARBINARY(20) PRIMARY KEY)", "INSERT INTO binkey VALUES (''),(0x00),(0x5c6e),(0xff)",
		"CREATE TABLE comp (a INT, b VARCHAR(10), c DATETIME, PRIMARY KEY(b,a,c))", "INSERT INTO comp VALUES (1,'x','2020-01-01'),(2,'x','2020-01-01'),(1,'a','2021-01-01')",
		"CREATE TABLE prefixkey (t TEXT, PRIMARY KEY (t(5)))", "INSERT INTO prefixkey VALUES ('abcdefgh'),('abc')",
	},
	"identifiers": {
		"CREATE TABLE `a ``b` (`select` INT PRIMARY KEY, `q'\"uote` INT, `per%cent_` INT, `Ünïcode` INT, `sp ace` INT) COMMENT='it''s; -- /* \\\\ '", "INSERT INTO `a ``b` VALUES (1,2,3,4,5)",
		"CREATE TABLE `order` (`1234567890123456789012345678901234567890123456789012345678901234` INT)", "INSERT INTO `order` VALUES (1)",
		"CREATE TABLE `../x/y.z` (a INT)", "INSERT INTO `../x/y.z` VALUES (9)",
	},
	"foreign keys in a circle": {
		"SET foreign_key_checks=0",
		"CREATE TABLE fa (id INT PRIMARY KEY, b INT, CONSTRAINT fka FOREIGN KEY (b) REFERENCES fb(id))", "CREATE TABLE fb (id INT PRIMARY KEY, a INT, parent INT, CONSTRAINT fkb FOREIGN KEY (a) REFERENCES fa(id), CONSTRAINT fks FOREIGN KEY (parent) REFERENCES fb(id))",
		"INSERT INTO fa VALUES (1,1)", "INSERT INTO fb VALUES (1,1,1)",
	},
	"other engines, partitions, full text": {
		"CREATE TABLE my (id INT, t TEXT) ENGINE=MyISAM", "INSERT INTO my VALUES (1,'x'),(2,NULL)",
		onMariaDB + "CREATE TABLE ar (id INT, t TEXT) ENGINE=Aria", onMariaDB + "INSERT INTO ar VALUES (1,'x')",
		"CREATE TABLE pt (id INT, y INT, PRIMARY KEY(id,y)) PARTITION BY RANGE(y) (PARTITION p0 VALUES LESS THAN (2000), PARTITION p1 VALUES LESS THAN MAXVALUE)", "INSERT INTO pt VALUES (1,1999),(2,2020)",
		"CREATE TABLE ft (id INT PRIMARY KEY, t TEXT, g GEOMETRY NOT NULL, FULLTEXT(t), SPATIAL KEY(g))", "INSERT INTO ft VALUES (1,'hello world', ST_GeomFromText('POINT(1 2)',4326)), (2,NULL,ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'))",
		"CREATE TABLE `empty` (id INT PRIMARY KEY)",
	},
	"types with their own text": {
		onMariaDB + "CREATE TABLE ty (id INT PRIMARY KEY, u UUID, i6 INET6, i4 INET4, j JSON)",
		onMariaDB + "INSERT INTO ty VALUES (1,'123e4567-e89b-12d3-a456-426614174000','::1','10.0.0.1','{\"a\": \"é\\\\n\"}'),(2,NULL,NULL,NULL,NULL)",
	},
	"JSON": {
		"CREATE TABLE j (id INT PRIMARY KEY, j JSON)",
		`INSERT INTO j VALUES (1,'{"a": "é\\n\\t\\\\", "b": [1, 2.50, null, true], "🔐": {}}'),(2,NULL),(3,'null'),(4,'"x"'),(5,'12345678901234567890')`,
	},
	"enums with an empty member and no value": {
		"CREATE TABLE ee (id INT PRIMARY KEY, e ENUM('a','','0'), u ENUM('','b') CHARACTER SET ucs2, l ENUM('ü','') CHARACTER SET latin1, n ENUM('a','b'))",
		"INSERT INTO ee VALUES (1,'','','','a'),(2,'a','b','ü','b'),(3,NULL,NULL,NULL,NULL),(4,'0','b','ü','a')", "INSERT INTO ee VALUES (5,99,99,99,99),(6,'x','x','x','x')",
	},
	"what MySQL 8 and later have": {
		onMySQL + "CREATE TABLE fi (id INT PRIMARY KEY, a INT, b VARCHAR(20), KEY ((a+1)), KEY k (b DESC), CHECK (a < 100) NOT ENFORCED)", onMySQL + "INSERT INTO fi VALUES (1,2,'x'),(2,NULL,NULL)",
		onMySQL + "CREATE TABLE srid (id INT PRIMARY KEY, g POINT NOT NULL SRID 4326, SPATIAL KEY(g))", onMySQL + "INSERT INTO srid VALUES (1,ST_GeomFromText('POINT(1 2)',4326))",
		onMySQL + "CREATE TABLE de (id BINARY(16) DEFAULT (UUID_TO_BIN(UUID())) PRIMARY KEY, d DATE DEFAULT (CURRENT_DATE), j JSON DEFAULT (JSON_ARRAY()))", onMySQL + "INSERT INTO de VALUES (),()",
		onMySQL + "CREATE TABLE mv (id INT, b INT, PRIMARY KEY (id DESC), KEY x (b) INVISIBLE, j JSON)", onMySQL + `INSERT INTO mv VALUES (1,1,'{"a":[1,2]}'),(2,2,NULL)`,
		onMySQL + "SET SESSION sql_generate_invisible_primary_key=1", onMySQL + "CREATE TABLE gi (a INT)", onMySQL + "INSERT INTO gi VALUES (5),(5)",
	},
	"views, triggers, routines, events, sequences": {
		"CREATE TABLE base (id INT PRIMARY KEY AUTO_INCREMENT, n INT)",
		onMariaDB + "CREATE SEQUENCE sq START WITH 10 INCREMENT BY 5", onMariaDB + "SELECT NEXTVAL(sq)", onMariaDB + "SELECT NEXTVAL(sq)",
		onMariaDB + "CREATE TABLE usesq (id INT PRIMARY KEY DEFAULT NEXTVAL(sq))", onMariaDB + "INSERT INTO usesq VALUES ()",
		"CREATE VIEW zz AS SELECT id, n FROM base", "CREATE VIEW aa AS SELECT * FROM zz WHERE n > 1", "CREATE VIEW a1 AS SELECT aa.id FROM aa JOIN zz USING (id)",
		"INSERT INTO base(n) VALUES (1),(2)",
		"CREATE TRIGGER tr BEFORE INSERT ON base FOR EACH ROW BEGIN SET NEW.n = NEW.n + 1; -- it's; //\n END",
		"CREATE TRIGGER tr2 BEFORE INSERT ON base FOR EACH ROW FOLLOWS tr SET NEW.n = NEW.n * 2",
		"CREATE FUNCTION fn(a INT) RETURNS INT DETERMINISTIC RETURN a * 2", "CREATE VIEW vf AS SELECT fn(n) AS d FROM base",
		"CREATE PROCEDURE pr() BEGIN SELECT 'é; it''s'; END", "SET SESSION sql_mode='ANSI_QUOTES,PIPES_AS_CONCAT'", "CREATE PROCEDURE pr2() SELECT \"id\" || 'x' FROM \"base\"",
		"CREATE EVENT ev ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01 00:00:00' DISABLE DO DELETE FROM base WHERE id < 0",
	},
	"rows that break their own rules": {
		"CREATE TABLE chk (id INT PRIMARY KEY, a INT, j JSON, CHECK (a > 0))", "SET check_constraint_checks=0",
		"INSERT INTO chk VALUES (1,-5,'not json'),(2,5,'{}')",
	},
	"tables that show the rows of others": {
		"CREATE TABLE m1 (id INT) ENGINE=MyISAM", "CREATE TABLE m2 (id INT) ENGINE=MyISAM", "INSERT INTO m1 VALUES (1)", "INSERT INTO m2 VALUES (2),(3)",
		"CREATE TABLE merged (id INT) ENGINE=MERGE UNION=(m1,m2)", "CREATE TABLE hole (id INT) ENGINE=BLACKHOLE",
	},
	"keys that are built after the rows": {
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
		onMariaDB + "CREATE TABLE kr (id INT PRIMARY KEY, a INT, KEY a (a) IGNORED, t TEXT, UNIQUE KEY u (t(9)), KEY b (a, id)) ENGINE=Aria", onMariaDB + "INSERT INTO kr VALUES (1,1,'x'),(2,1,NULL)",
		onMariaDB + "CREATE TABLE kl (id INT PRIMARY KEY, a INT, t TEXT, KEY a (a), UNIQUE KEY long_key (t), KEY b (a, id))", onMariaDB + "INSERT INTO kl VALUES (1,1,'x'),(2,1,NULL)",
		"CREATE TABLE kw (id INT PRIMARY KEY, a INT, KEY a (a)) COMMENT 'WITH SYSTEM VERSIONING'", "INSERT INTO kw VALUES (1,1)",
	},
	"empty database": {},
}

func TestRoundTrip(t *testing.T) {
	for name, statements := range corpus {
		t.Run(name, func(t *testing.T) {
			roundTrip(t, prepare(t, statements), true)
		})
	}
}

func TestRoundTripByInsert(t *testing.T) {
	server := mysqltest.Connect(t, mysqltest.Config(t, ""))
	if _, err := server.Exec(t.Context(), "SET GLOBAL local_infile=0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := server.Exec(context.WithoutCancel(t.Context()), "SET GLOBAL local_infile=1"); err != nil {
			t.Error(err)
		}
	})
	for name, statements := range corpus {
		if name == "rows larger than a packet" {
			continue // an INSERT must fit into max_allowed_packet
		}
		t.Run(name, func(t *testing.T) {
			roundTrip(t, prepare(t, statements), false)
		})
	}
}

func TestPrefixIsNotAPattern(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE a_mine (id INT)", "CREATE TABLE abmine (id INT)", "CREATE TABLE a_ (id INT)", "CREATE TABLE other (id INT)",
		"CREATE TRIGGER x1 BEFORE INSERT ON a_mine FOR EACH ROW SET NEW.id=1", "CREATE TRIGGER x2 BEFORE INSERT ON abmine FOR EACH ROW SET NEW.id=1")
	_, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "a_")
	var got []string
	for _, tb := range d.Index.Tables {
		got = append(got, tb.Name)
	}
	for _, o := range d.Index.Objects {
		got = append(got, o.Kind+" "+o.Name)
	}
	if diff := cmp.Diff([]string{"a_", "a_mine", "trigger x1"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestDifferenceNamesTableAndChunk(t *testing.T) {
	from := mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE x (id INT PRIMARY KEY, v VARCHAR(10))", "INSERT INTO x VALUES (1,'a'),(2,'b')")
	tr, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	chunk := d.Index.Tables[0].Chunks[0].File
	tr.SetFile(chunk, bytes.Replace(tr.File(chunk), []byte("b"), []byte("c"), 1))
	to := mysqltest.Database(t)
	_, err := load.Load(t.Context(), d.Index, tr, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}})
	if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "table x") || !strings.Contains(err.Error(), chunk) {
		t.Errorf("got %v", err)
	}
}

func TestEventsOfACopyAreDisabled(t *testing.T) {
	from, to := mysqltest.Database(t), mysqltest.Database(t)
	mysqltest.ExecIn(t, from, "CREATE TABLE base (id INT)", "CREATE EVENT ev ON SCHEDULE EVERY 1 DAY ENABLE COMMENT 'ON COMPLETION PRESERVE ENABLE' DO DELETE FROM base")
	tr, d, _ := dumpDatabase(t, mysqltest.Config(t, from), "")
	if _, err := load.Load(t.Context(), d.Index, tr, load.Options{Config: mysqltest.Config(t, to), Progress: core.NoProgress{}, DisableEvents: true}); err != nil {
		t.Fatal(err)
	}
	rows := mysqltest.Query(t, to, "SELECT STATUS, EVENT_COMMENT FROM information_schema.EVENTS WHERE EVENT_SCHEMA=DATABASE()")
	if len(rows) != 1 || rows[0][0].Text != "DISABLED" || rows[0][1].Text != "ON COMPLETION PRESERVE ENABLE" {
		t.Errorf("got %v", rows)
	}
}
