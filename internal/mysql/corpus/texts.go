package corpus

import (
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/mysql"
)

func texts() []Case {
	return []Case{
		{
			Name:   "character sets keep their bytes",
			Guards: "a conversion to utf8mb4 and back is not the identity",
			SQL: []string{
				"CREATE TABLE cs (id INT PRIMARY KEY, u4 TEXT CHARACTER SET utf8mb4, u3 TEXT CHARACTER SET utf8mb3, l1 TEXT CHARACTER SET latin1, u2 TEXT CHARACTER SET ucs2, u16 TEXT CHARACTER SET utf16, sj TEXT CHARACTER SET sjis, gb TEXT CHARACTER SET gbk, k8 TEXT CHARACTER SET koi8r, b5 TEXT CHARACTER SET big5)",
				"INSERT INTO cs VALUES (1,'Zürich 🔐 データ','Zürich データ','Zürich','データ\\t','🔐\\n',_sjis 0x835C8140,_gbk 0xD55C,'привет',_big5 0xA55C), (2,'','','','','','','','','')",
				"CREATE TABLE cs2 (id INT PRIMARY KEY, u32 VARCHAR(20) CHARACTER SET utf32, le VARCHAR(20) CHARACTER SET utf16le, cp VARCHAR(20) CHARACTER SET cp932, ej VARCHAR(20) CHARACTER SET eucjpms, ek CHAR(20) CHARACTER SET euckr, c1 CHAR(20) CHARACTER SET cp1251, a CHAR(20) CHARACTER SET ascii, c CHAR(5) CHARACTER SET ucs2, b VARCHAR(20) COLLATE utf8mb4_bin)",
				"INSERT INTO cs2 VALUES (1,'🔐\\\\','🔐\\n\\t','データ','データ','한국','привет','ascii','é','B '),(2,'','','','','','','','','')",
			},
		},
		{
			Name:   "bytes that no character has",
			Guards: "bytes without a mapping to Unicode become '?' when converted",
			SQL: []string{
				"CREATE TABLE um (id INT PRIMARY KEY, l1 VARCHAR(300) CHARACTER SET latin1, k8 VARCHAR(300) CHARACTER SET koi8r, c1 VARCHAR(300) CHARACTER SET cp1251, h VARCHAR(300) CHARACTER SET hebrew, gr VARCHAR(300) CHARACTER SET greek)",
				"INSERT INTO um VALUES (1," + strings.Join([]string{allBytes, allBytes, allBytes, allBytes, allBytes}, ",") + ")",
				// Well-formed, but assigned to nothing.
				"CREATE TABLE um2 (id INT PRIMARY KEY, sj VARCHAR(10) CHARACTER SET sjis, gb VARCHAR(10) CHARACTER SET gbk, b5 VARCHAR(10) CHARACTER SET big5, u2 VARCHAR(10) CHARACTER SET ucs2, ej VARCHAR(10) CHARACTER SET ujis)",
				"INSERT INTO um2 VALUES (1,unhex('85408541'),unhex('A2A1FEFE'),unhex('C8FEF9FE'),unhex('D800FFFFDC00'),unhex('A9A9F4FE')),(2,unhex('835C'),unhex('815C'),unhex('A15C'),unhex('005C0009000A'),unhex('8FA2B5'))",
			},
		},
		{
			Name:   "text encoded twice",
			Guards: "utf8 stored as latin1, and text that was encoded twice, must not be repaired",
			SQL: []string{
				"CREATE TABLE tw (id INT PRIMARY KEY, l1 TEXT CHARACTER SET latin1, u4 TEXT)",
				"INSERT INTO tw VALUES (1,unhex('5AC3BC72696368'),'ZÃ¼rich'),(2,unhex('C383C2BC'),'ÃƒÂ¼'),(3,unhex('E28098'),'â€˜'),(4,unhex('EFBBBF'),unhex('EFBBBF'))",
			},
		},
		{
			Name:   "characters at the edge of Unicode",
			Guards: "NUL, the last code point, non-characters, combining marks, right to left, line separators, trailing spaces",
			SQL: []string{
				"CREATE TABLE ed (id INT PRIMARY KEY, v VARCHAR(50), c CHAR(10))",
				"INSERT INTO ed VALUES (1,unhex('00'),unhex('00')),(2,unhex('F48FBFBF'),'x'),(3,unhex('EFBFBF'),''),(4,unhex('65CC81'),' x'),(5,unhex('D7A9D79CD795D79D'),'x'),(6,unhex('E280A8E280A9C285'),''),(7,'a  ','a'),(8,'\\r\\n','\\r\\n\\t'),(9,'\\Z\\b','\\\\N'),(10,'\\\\','\\\\\\\\')",
			},
		},
		{
			Name:   "collations",
			Guards: "a column's collation decides which keys are equal; a database's own is taken by what names none",
			SQL: []string{
				"ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_german2_ci",
				"CREATE TABLE co (a VARCHAR(20) COLLATE utf8mb4_bin, b VARCHAR(20), c VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_swedish_ci, d VARCHAR(20) CHARACTER SET utf8mb3, UNIQUE (a), UNIQUE (c))",
				"INSERT INTO co VALUES ('a','x','ä','é'),('A','X','ö','É'),('á','ß','z','ß')",
				"CREATE TABLE cb (a VARCHAR(20)) COLLATE utf8mb3_bin", "INSERT INTO cb VALUES ('x ')",
				"/*mysql*/ CREATE TABLE c9 (a VARCHAR(20) COLLATE utf8mb4_0900_ai_ci PRIMARY KEY, b VARCHAR(20) COLLATE utf8mb4_0900_bin, c VARCHAR(20) COLLATE utf8mb4_ja_0900_as_cs_ks)", "/*mysql*/ INSERT INTO c9 VALUES ('a','b','か'),('a ','b ','カ')",
				"/*mariadb 101000*/ CREATE TABLE cu (a VARCHAR(20) COLLATE utf8mb4_uca1400_ai_ci PRIMARY KEY, b VARCHAR(20) CHARACTER SET utf8mb3 COLLATE utf8mb3_uca1400_swedish_as_cs)", "/*mariadb 101000*/ INSERT INTO cu VALUES ('a','å')",
				"/*mariadb*/ CREATE TABLE cn (a VARCHAR(20) COLLATE utf8mb4_nopad_bin PRIMARY KEY)", "/*mariadb*/ INSERT INTO cn VALUES ('a'),('a '),('a  ')",
				"CREATE FUNCTION fc(p VARCHAR(10)) RETURNS VARCHAR(10) DETERMINISTIC RETURN p",
				"CREATE VIEW vc AS SELECT 'x' AS lit, b FROM co",
			},
		},
		{
			Name:   "members that servers print as a question mark",
			Guards: "members of ENUM and SET, and defaults, beyond the first 65,536 characters: the printed definition has \"?\" for them, and their rows would be lost",
			SQL: []string{
				"CREATE TABLE mq (id INT PRIMARY KEY AUTO_INCREMENT, e ENUM('x','ä','😀','?','''🔐\\\\') CHARACTER SET utf16 COLLATE utf16_bin DEFAULT '😀', s SET('a','🔐','😀?','b') CHARACTER SET utf32 COLLATE utf32_bin, v VARCHAR(10) CHARACTER SET utf16 NOT NULL DEFAULT '😀?', le ENUM('🔐') CHARACTER SET utf16le) COMMENT='?'",
				"INSERT INTO mq (e,s) VALUES ('x','a'),('😀','a,🔐,😀?,b'),('?','🔐,b'),('''🔐\\\\',''),(NULL,NULL)", "UPDATE mq SET le='🔐'",
				"CREATE TABLE mt (e ENUM('😀','b') COMMENT '?', s SET('b','😀')) CHARACTER SET utf16", "INSERT INTO mt VALUES ('😀','😀'),('b','b')",
				"CREATE TABLE m4 (e ENUM('😀','?'), s SET('?','😀'))", "INSERT INTO m4 VALUES ('😀','😀'),('?','?')",
				"CREATE TABLE md (v VARCHAR(10) CHARACTER SET utf32 DEFAULT '😀')",
			},
		},
		{
			Name:   "every character set",
			Guards: "a set that was forgotten",
			SQL: []string{
				"CREATE TABLE " + eachSet("armscii8", "ascii", "big5", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "cp932", "dec8", "eucjpms", "euckr", "gb2312", "gbk", "geostd8", "greek", "hebrew", "hp8",
					"keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "sjis", "swe7", "tis620", "ucs2", "ujis", "utf16", "utf16le", "utf32", "utf8mb3", "utf8mb4"),
				"INSERT INTO sets (id) VALUES (1)",
				"UPDATE sets SET cp1251='привет', greek='αβγ', latin2='ž', tis620='ก', hebrew='ש', ujis='日本', euckr='한국', gb2312='中', ucs2='中\\n', utf32='\\\\🔐', swe7='[\\\\]', latin7='ž'",
				"/*mysql*/ CREATE TABLE gb (a VARCHAR(20) CHARACTER SET gb18030 PRIMARY KEY)", "/*mysql*/ INSERT INTO gb VALUES ('🔐中'),(unhex('81308130'))",
			},
		},
		{
			Name:   "JSON of other types than text has",
			Guards: "MySQL's JSON may hold dates, decimals and bytes; as text, which is all that a client gets, they are strings and doubles",
			SQL: []string{
				"CREATE TABLE jt (id INT PRIMARY KEY, j JSON)",
				"INSERT INTO jt VALUES (1,'\"2026-01-01\"'),(2,'[1, 2.5, -3, 1.0]'),(3,'\"base64:type252:AQI=\"')",
			},
			Unfit: only(mysql.MySQL, 50708, "its JSON is text"),
		},
	}
}

// eachSet makes a table with a column of each character set.
func eachSet(sets ...string) string {
	var defs []string
	for _, set := range sets {
		defs = append(defs, fmt.Sprintf("%s VARCHAR(30) CHARACTER SET %s DEFAULT 'a'", set, set))
	}
	return "sets (id INT PRIMARY KEY, " + strings.Join(defs, ", ") + ")"
}
