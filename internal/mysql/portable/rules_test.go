package portable

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
)

func set(names ...string) map[string]bool {
	out := map[string]bool{}
	for _, n := range names {
		out[n] = true
	}
	return out
}

func targetMariaDB() Target {
	return Target{
		Server:   mysql.Server{DatabaseServer: core.DatabaseServer{Vendor: mysql.MariaDB, Version: "10.11.6-MariaDB", MaxAllowedPacket: 1 << 24}, VersionNumber: 101106, LocalInfile: true},
		Charsets: set("utf8mb4", "utf8mb3", "latin1", "ascii", "binary"), Engines: set("innodb", "aria", "myisam"),
		Collations: set("utf8mb4_general_ci", "utf8mb4_bin", "utf8mb4_unicode_ci", "utf8mb4_unicode_520_nopad_ci", "utf8mb4_nopad_bin", "utf8mb4_uca1400_nopad_ai_ci", "utf8mb4_uca1400_nopad_as_cs",
			"utf8mb4_uca1400_ai_ci", "utf8mb4_uca1400_swedish_nopad_ai_ci", "utf8mb3_general_ci", "latin1_swedish_ci", "latin1_bin", "latin1_nopad_bin", "ascii_general_ci"),
		Accounts: set("app@localhost", "root@localhost"), AnyDefiner: true, Zones: map[string]bool{"Europe/Zurich": true, "No/Where": false},
	}
}

func targetMySQL() Target {
	return Target{
		Server:   mysql.Server{DatabaseServer: core.DatabaseServer{Vendor: mysql.MySQL, Version: "9.7.4", MaxAllowedPacket: 1 << 26}, VersionNumber: 90704, LocalInfile: true},
		Charsets: set("utf8mb4", "utf8mb3", "latin1", "ascii", "binary", "gb18030"), Engines: set("innodb", "myisam"),
		Collations: set("utf8mb4_general_ci", "utf8mb4_bin", "utf8mb4_unicode_ci", "utf8mb4_unicode_520_ci", "utf8mb4_0900_ai_ci", "utf8mb4_0900_as_cs", "utf8mb4_0900_bin", "utf8mb4_sv_0900_ai_ci",
			"utf8mb3_general_ci", "utf8mb3_unicode_520_ci", "latin1_swedish_ci", "latin1_bin", "ascii_general_ci"),
		Accounts: set("app@localhost", "root@localhost"), AnyDefiner: true, Zones: map[string]bool{"Europe/Zurich": true, "No/Where": false},
	}
}

// translate makes the plan for one statement, of a table when kind is "table".
func translate(t *testing.T, from dialect, to Target, sql, kind string) (*Plan, string) {
	t.Helper()
	origin := core.DatabaseServer{Vendor: mysql.MySQL, Version: "9.7.4"}
	if from.mariaDB {
		origin = core.DatabaseServer{Vendor: mysql.MariaDB, Version: "10.11.6-MariaDB"}
	}
	mode := ""
	if from.ansiQuotes {
		mode = "ANSI_QUOTES,NO_BACKSLASH_ESCAPES"
	}
	in := Input{Origin: origin, Read: func(context.Context, string) ([]byte, error) { return []byte(sql), nil }}
	engine := "InnoDB"
	if strings.Contains(sql, "ENGINE=Aria") {
		engine = "Aria"
	}
	if kind == "table" {
		in.Index.Tables = []core.Table{{Name: "t", Engine: engine, Schema: "s"}}
	} else {
		o := core.SchemaObject{Kind: kind, Name: "o", File: "s", SQLMode: mode, Charset: "utf8mb4", Collation: "utf8mb4_general_ci"}
		if kind == "view" {
			o.SQLMode = ""
		}
		in.Index.Objects = []core.SchemaObject{o}
	}
	p, err := Make(t.Context(), in, to)
	if err != nil {
		t.Fatal(err)
	}
	return p, string(p.Statement("s", []byte(sql)))
}

// TestTables: what becomes of each thing that a table may have. A case's sql is
// what stands in the brackets, and behind them after a bar.
func TestTables(t *testing.T) {
	toMySQL, toMariaDB := targetMySQL(), targetMariaDB()
	old := targetMariaDB()
	old.Server.Version, old.Server.VersionNumber = "10.3.1-MariaDB", 100301
	for c := range old.Collations {
		if strings.Contains(c, "uca1400") {
			delete(old.Collations, c)
		}
	}
	for _, c := range []struct {
		name string
		from dialect
		to   Target
		sql  string
		want string // the statement; "" when it is refused
		said string // a part of the refusal, or the rule of the first rewrite; "" when nothing is said
	}{
		{"nothing to do", onMariaDB, toMySQL, "`a` int(11) DEFAULT NULL,\n  PRIMARY KEY (`a`)|ENGINE=InnoDB", "`a` int(11) DEFAULT NULL,\n  PRIMARY KEY (`a`)|ENGINE=InnoDB", ""},
		{"0900", onMySQL, toMariaDB, "`a` char(1) COLLATE utf8mb4_0900_as_cs|DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci", "`a` char(1) COLLATE utf8mb4_uca1400_nopad_as_cs|DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_nopad_ai_ci", ruleCollation},
		{"0900 with a language", onMySQL, toMariaDB, "`a` char(1) COLLATE utf8mb4_sv_0900_ai_ci|", "`a` char(1) COLLATE utf8mb4_uca1400_swedish_nopad_ai_ci|", ruleCollation},
		{"0900 to an old server", onMySQL, old, "`a` char(1) COLLATE utf8mb4_0900_ai_ci|", "`a` char(1) COLLATE utf8mb4_unicode_520_nopad_ci|", ruleCollation},
		{"uca1400", onMariaDB, toMySQL, "`a` char(1) CHARACTER SET utf8mb3 COLLATE utf8mb3_uca1400_ai_ci, `b` char(1) COLLATE utf8mb4_uca1400_swedish_nopad_ai_ci|", "`a` char(1) CHARACTER SET utf8mb3 COLLATE utf8mb3_unicode_520_ci, `b` char(1) COLLATE utf8mb4_sv_0900_ai_ci|", ruleCollation},
		{"uca1400 that pads", onMariaDB, toMySQL, "`a` char(1) COLLATE utf8mb4_uca1400_ai_ci, `b` char(1) COLLATE utf8mb4_uca1400_as_cs, UNIQUE KEY `a` (`a`), UNIQUE KEY `b` (`b`)|DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_uca1400_ai_ci", "`a` char(1) COLLATE utf8mb4_unicode_520_ci, `b` char(1) COLLATE utf8mb4_bin, UNIQUE KEY `a` (`a`), UNIQUE KEY `b` (`b`)|DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_520_ci", ruleCollation},
		{"accents that pad", onMariaDB, toMySQL, "`a` char(1) COLLATE utf8mb4_uca1400_as_ci, UNIQUE KEY `a` (`a`)|", "", "lets accents count"},
		{"uca1400 that does not pad", onMariaDB, toMySQL, "`a` char(1) COLLATE utf8mb4_uca1400_nopad_ai_ci, UNIQUE KEY `a` (`a`)|", "`a` char(1) COLLATE utf8mb4_0900_ai_ci, UNIQUE KEY `a` (`a`)|", ruleCollation},
		{"a language to an old server", onMySQL, old, "`a` char(1) COLLATE utf8mb4_sv_0900_ai_ci|", "`a` char(1) COLLATE utf8mb4_unicode_520_nopad_ci|", ruleCollation},
		{"a default collation that differs", onMySQL, toMariaDB, "`a` char(1) CHARACTER SET utf8mb4|", "`a` char(1) CHARACTER SET utf8mb4 COLLATE utf8mb4_uca1400_nopad_ai_ci|", ruleCollation},
		{"a coarser collation", onMariaDB, toMySQL, "`a` char(1) COLLATE latin1_nopad_bin|", "`a` char(1) COLLATE latin1_bin|", ruleCollation},
		{"a coarser collation in a unique key", onMariaDB, toMySQL, "`a` char(1) COLLATE latin1_nopad_bin, UNIQUE KEY `u` (`a`)|", "", "column a is in a unique key"},
		{"utf8", onMySQL, toMariaDB, "`a` char(1) CHARACTER SET utf8 COLLATE utf8_general_ci|", "`a` char(1) CHARACTER SET utf8mb3 COLLATE utf8mb3_general_ci|", ruleCharset},
		{"gb18030", onMySQL, toMariaDB, "`a` char(1) CHARACTER SET gb18030|", "", "character set gb18030"},
		{"strings are left alone", onMySQL, toMariaDB, "`COLLATE` int COMMENT 'COLLATE utf8mb4_0900_ai_ci /*!80023 INVISIBLE */ ENGINE=x'|COMMENT='COLLATE=utf8mb4_0900_ai_ci'", "`COLLATE` int COMMENT 'COLLATE utf8mb4_0900_ai_ci /*!80023 INVISIBLE */ ENGINE=x'|COMMENT='COLLATE=utf8mb4_0900_ai_ci'", ""},
		{"Aria", onMariaDB, toMySQL, "`a` int|ENGINE=Aria PAGE_CHECKSUM=1 TRANSACTIONAL=1 ROW_FORMAT=PAGE COMMENT='x'", "`a` int|ENGINE=InnoDB COMMENT='x'", ruleEngine},
		{"an engine of others' rows", onMariaDB, toMySQL, "`a` int|ENGINE=SPIDER", "", "engine SPIDER"},
		{"options in quotes", onMariaDB, toMySQL, "`a` int|ENGINE=InnoDB `page_compressed`='1' `encrypted`='no'", "`a` int|ENGINE=InnoDB", ruleOption},
		{"MySQL's options", onMySQL, toMariaDB, "`a` int|/*!50100 TABLESPACE `x` */ ENGINE=InnoDB COMPRESSION='zlib' KEY_BLOCK_SIZE=8", "`a` int|  ENGINE=InnoDB KEY_BLOCK_SIZE=8", ruleOption},
		{"compressed columns", onMariaDB, toMySQL, "`a` text /*M!100301 COMPRESSED*/ DEFAULT NULL|", "`a` text  DEFAULT NULL|", ruleColumn},
		{"JSON to MariaDB", onMySQL, toMariaDB, "`j` json DEFAULT NULL COMMENT 'c'|", "`j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL COMMENT 'c' CHECK (json_valid(`j`))|", ruleType},
		{"JSON to MySQL", onMariaDB, toMySQL, "`j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`j`))|", "`j` longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin DEFAULT NULL CHECK (json_valid(`j`))|", ""},
		{"UUID and INET", onMariaDB, toMySQL, "`u` uuid NOT NULL, `i` inet6, `j` inet4|", "`u` char(36) CHARACTER SET ascii COLLATE ascii_general_ci NOT NULL, `i` varchar(39) CHARACTER SET ascii COLLATE ascii_general_ci, `j` varchar(15) CHARACTER SET ascii COLLATE ascii_general_ci|", ruleType},
		{"VECTOR", onMySQL, toMariaDB, "`v` vector(3) DEFAULT NULL|", "`v` varbinary(12) DEFAULT NULL|", ruleType},
		{"decimals", onMariaDB, toMySQL, "`d` decimal(38,38)|", "", "30 at most"},
		{"defaults", onMariaDB, toMySQL, "`a` date DEFAULT curdate(), `b` text DEFAULT 'x', `c` int DEFAULT -1, `d` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp(), `e` bit(3) DEFAULT b'101', `f` int DEFAULT (1 + 2)|", "`a` date DEFAULT (curdate()), `b` text DEFAULT ('x'), `c` int DEFAULT -1, `d` datetime DEFAULT current_timestamp() ON UPDATE current_timestamp(), `e` bit(3) DEFAULT b'101', `f` int DEFAULT (1 + 2)|", ruleDefault},
		{"a default from a sequence", onMariaDB, toMySQL, "`a` int DEFAULT nextval(`d`.`s`)|", "", "NEXTVAL"},
		{"generated", onMySQL, toMariaDB, "`a` int GENERATED ALWAYS AS ((`b` * 2)) STORED NOT NULL /*!80023 INVISIBLE */, `b` int|", "`a` int GENERATED ALWAYS AS ((`b` * 2)) STORED  INVISIBLE , `b` int|", ruleGenerated},
		{"quotes behind a character set", onMySQL, toMariaDB, "`a` char(9) GENERATED ALWAYS AS (concat(_utf8mb4'it\\'s',_latin1'\\\\',_utf8mb4'x')) VIRTUAL|", "`a` char(9) GENERATED ALWAYS AS (concat('it\\'s',convert(x'5c' using latin1),_utf8mb4'x')) VIRTUAL|", ruleSyntax},
		{"an invisible column without a default", onMySQL, toMariaDB, "`a` int NOT NULL /*!80023 INVISIBLE */, `b` int|", "", "invisible column a"},
		{"NOT ENFORCED", onMySQL, toMariaDB, "`a` int, CONSTRAINT `c` CHECK ((`a` > 0)) /*!80016 NOT ENFORCED */|", "`a` int |", ruleCheck},
		{"a CHECK of a column on another", onMariaDB, toMySQL, "`a` int CHECK (`a` > `b`), `b` int CHECK (`b` > 0)|", "`a` int, `b` int CHECK (`b` > 0),\n  CHECK (`a` > `b`)|", ruleCheck},
		{"names that MariaDB made", onMariaDB, toMySQL, "`a` int, CONSTRAINT `CONSTRAINT_1` CHECK (`a` > 0), CONSTRAINT `mine` CHECK (`a` < 9)|", "`a` int, CHECK (`a` > 0), CONSTRAINT `mine` CHECK (`a` < 9)|", ruleCheck},
		{"keys", onMySQL, toMariaDB, "`a` int, KEY `e` ((`a` + 1)), KEY `i` (`a`) /*!80000 INVISIBLE */, FULLTEXT KEY `f` (`a`) /*!50100 WITH PARSER `ngram` */|", "`a` int, KEY `i` (`a`)  IGNORED , FULLTEXT KEY `f` (`a`)  |", ruleIndex},
		{"the last keys", onMySQL, toMariaDB, "`a` int, KEY `e` ((`a` + 1)), KEY `f` ((`a` + 2))|", "`a` int|", ruleIndex},
		{"a unique key on an expression", onMySQL, toMariaDB, "`a` int, UNIQUE KEY `e` ((`a` + 1))|", "", "UNIQUE KEY e is on an expression"},
		{"ignored and vector keys", onMariaDB, toMySQL, "`a` int, KEY `i` (`a`) IGNORED, VECTOR KEY `v` (`a`)|", "`a` int, KEY `i` (`a`) INVISIBLE|", ruleIndex},
		{"a unique key on a text", onMariaDB, toMySQL, "`a` text, UNIQUE KEY `u` (`a`) USING HASH|", "", "UNIQUE KEY u is on the whole"},
		{"SRID", onMySQL, toMariaDB, "`g` point NOT NULL /*!80003 SRID 4326 */, `h` geomcollection|", "`g` point NOT NULL  , `h` geometrycollection|", ruleColumn},
		{"system versioning", onMariaDB, toMySQL, "`a` int|WITH SYSTEM VERSIONING", "", "system-versioned"},
		{"periods", onMariaDB, toMySQL, "`a` date, `b` date, PERIOD FOR `p` (`a`, `b`)|", "", "application-time period"},
		{"partitions", onMySQL, toMariaDB, "`a` int|ENGINE=InnoDB\n/*!50100 PARTITION BY RANGE (`a`)\n(PARTITION p0 VALUES LESS THAN (10) ENGINE = InnoDB) */", "`a` int|ENGINE=InnoDB\n PARTITION BY RANGE (`a`)\n(PARTITION p0 VALUES LESS THAN (10) ENGINE = InnoDB) ", ""},
		{"partitions of MyISAM", onMariaDB, toMySQL, "`a` int|ENGINE=MyISAM\n PARTITION BY HASH (`a`)\n(PARTITION `p0` ENGINE = MyISAM)", "`a` int|ENGINE=InnoDB\n PARTITION BY HASH (`a`)\n(PARTITION `p0` ENGINE = InnoDB)", ruleEngine},
		{"a default partition", onMariaDB, toMySQL, "`a` int|PARTITION BY LIST (`a`)\n(PARTITION `p` DEFAULT ENGINE = InnoDB)", "", "DEFAULT partition"},
		{"a foreign key to its own columns", onMariaDB, toMySQL, "`a` int, `b` int, UNIQUE KEY `u` (`a`,`b`), CONSTRAINT `f` FOREIGN KEY (`a`, `b`) REFERENCES `t` (`a`, `b`)|", "`a` int, `b` int, UNIQUE KEY `u` (`a`,`b`)|", ruleForeignKey},
		{"AUTO_INCREMENT behind another column", onMariaDB, toMySQL, "`a` int, `b` int AUTO_INCREMENT, PRIMARY KEY (`a`,`b`)|ENGINE=Aria", "", "comes second"},
		{"functions", onMySQL, toMariaDB, "`a` binary(16) DEFAULT (uuid_to_bin(uuid()))|", "", "UUID_TO_BIN"},
		{"the sandbox line", onMariaDB, toMySQL, "`a` int|", "`a` int|", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			items, options, _ := strings.Cut(c.sql, "|")
			sql := "CREATE TABLE `t` (" + items + ") " + options
			p, got := translate(t, c.from, c.to, sql, "table")
			if c.want == "" {
				if len(p.Refusals) == 0 || !strings.Contains(p.Refusals[0].Reason, c.said) || p.Refusals[0].Object != "table t" {
					t.Errorf("refusals %+v, want one that says %q", p.Refusals, c.said)
				}
				return
			}
			items, options, _ = strings.Cut(c.want, "|")
			want := "CREATE TABLE `t` (" + items + ") " + options
			if diff := cmp.Diff(strings.TrimSpace(want), strings.TrimSpace(got)); diff != "" {
				t.Error(diff)
			}
			if len(p.Refusals) > 0 {
				t.Errorf("refused: %+v", p.Refusals)
			}
			if said := len(p.Rewrites) > 0; said != (c.said != "") || said && p.Rewrites[0].Rule != c.said {
				t.Errorf("rewrites %+v, want first one by rule %q", p.Rewrites, c.said)
			}
		})
	}
}

func TestObjects(t *testing.T) {
	toMySQL, toMariaDB := targetMySQL(), targetMariaDB()
	wary := targetMySQL()
	wary.FunctionsDeclared = true
	for _, c := range []struct {
		name, kind string
		from       dialect
		to         Target
		sql        string
		want       string // "": it is refused
		said       string // what a refusal says
	}{
		{"REGEXP_LIKE", "view", onMySQL, toMariaDB, "CREATE VIEW `o` AS select regexp_like(`t`.`a`,'x,\\'(') AS `r` from `t`", "CREATE VIEW `o` AS select (`t`.`a` regexp 'x,\\'(') AS `r` from `t`", ""},
		{"a definer that is there", "view", onMySQL, toMariaDB, "CREATE DEFINER=`app`@`localhost` VIEW `o` AS select 'DEFINER=`x`@`y`'", "CREATE DEFINER=`app`@`localhost` VIEW `o` AS select 'DEFINER=`x`@`y`'", ""},
		{"a definer that is not", "view", onMySQL, toMariaDB, "CREATE DEFINER=`x`@`%` SQL SECURITY DEFINER VIEW `o` AS select 1", "CREATE SQL SECURITY DEFINER VIEW `o` AS select 1", ""},
		{"events", "event", onMariaDB, toMySQL, "CREATE EVENT `o` ON SCHEDULE EVERY 1 DAY DISABLE ON SLAVE DO select 'DISABLE ON SLAVE'", "CREATE EVENT `o` ON SCHEDULE EVERY 1 DAY DISABLE ON REPLICA DO select 'DISABLE ON SLAVE'", ""},
		{"renamed functions", "procedure", onMariaDB, toMySQL, "CREATE PROCEDURE `o`() select nvl(a, 'nvl(1)') from t -- nvl(1)", "CREATE PROCEDURE `o`() select ifnull(a, 'nvl(1)') from t -- nvl(1)", ""},
		{"a column of a function's name", "procedure", onMariaDB, toMySQL, "CREATE PROCEDURE `o`() select t.chr from t", "CREATE PROCEDURE `o`() select t.chr from t", ""},
		{"arrows", "procedure", onMySQL, toMariaDB, "CREATE PROCEDURE `o`() select j->>'$.a' from t", "", "->>"},
		{"sequences", "sequence", onMariaDB, toMySQL, "CREATE SEQUENCE `o` start with 1", "", "no sequences"},
		{"packages", "package", onMariaDB, toMySQL, "CREATE PACKAGE `o` AS END", "", "no packages"},
		{"values of sequences", "trigger", onMariaDB, toMySQL, "CREATE TRIGGER o BEFORE INSERT ON t FOR EACH ROW SET NEW.a = NEXT VALUE FOR s", "", "sequence"},
		{"collations of bodies", "procedure", onMySQL, toMariaDB, "CREATE PROCEDURE o() select 'COLLATE utf8mb4_0900_ai_ci' COLLATE utf8mb4_0900_ai_ci", "CREATE PROCEDURE o() select 'COLLATE utf8mb4_0900_ai_ci' COLLATE utf8mb4_uca1400_nopad_ai_ci", ""},
		{"undeclared functions", "function", onMariaDB, wary, "CREATE FUNCTION `o`() RETURNS int NOT DETERMINISTIC RETURN 1", "", "declare"},
		{"declared functions", "function", onMariaDB, wary, "CREATE FUNCTION `o`() RETURNS int READS SQL DATA RETURN 1", "CREATE FUNCTION `o`() RETURNS int READS SQL DATA RETURN 1", ""},
		{"versioned comments of others", "procedure", onMySQL, toMariaDB, "CREATE PROCEDURE o() select 1 /*!100100 + 1 */", "CREATE PROCEDURE o() select 1  ", ""},
		{"the sandbox line", "view", onMariaDB, toMySQL, "/*M!999999\\- enable the sandbox mode */ CREATE VIEW o AS select 1", " CREATE VIEW o AS select 1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, got := translate(t, c.from, c.to, c.sql, c.kind)
			if c.want == "" {
				if len(p.Refusals) == 0 || !strings.Contains(p.Refusals[0].Reason, c.said) || p.Refusals[0].Object != c.kind+" o" {
					t.Errorf("refusals %+v, want one that says %q", p.Refusals, c.said)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if len(p.Refusals) > 0 {
				t.Errorf("refused: %+v", p.Refusals)
			}
		})
	}
}

// TestPadding: whether trailing spaces count stays as it is, wherever the
// target has a collation for that.
func TestPadding(t *testing.T) {
	pads := func(collation string) bool {
		return !strings.Contains(collation, "nopad") && !strings.Contains(collation, "0900")
	}
	for _, end := range []string{"ai_ci", "as_ci", "as_cs", "ai_cs"} {
		for _, c := range []string{"utf8mb4_0900_" + end, "utf8mb4_sv_0900_" + end, "utf8mb4_uca1400_" + end, "uca1400_swedish_" + end, "utf8mb4_uca1400_nopad_" + end, "utf8mb3_uca1400_" + end} {
			choices := nearest(c)
			if strings.Contains(c, "0900_ai_cs") {
				continue // there is none
			}
			if len(choices) == 0 || pads(choices[0].name) != pads(c) {
				t.Errorf("%s gives way to %+v", c, choices)
			}
			for _, n := range choices {
				if pads(n.name) != pads(c) && !n.coarser {
					t.Errorf("%s may give way to %s in a unique key", c, n.name)
				}
			}
		}
	}
}

// TestDiffering: functions that each vendor has in its own way are noted, and
// names and texts that look like them are not.
func TestDiffering(t *testing.T) {
	p, _ := translate(t, onMariaDB, targetMySQL(), "CREATE TABLE `t` (`a` char(9), `b` char(9) GENERATED ALWAYS AS (regexp_replace(regexp_replace(`a`,'x','y'),'x','json_extract(1)')) VIRTUAL, CHECK (json_extract(`a`,'$') > 1))", "table")
	want := []Notice{
		{"table t", ruleFunction, `uses REGEXP_REPLACE, whose back references are \1 on MariaDB and $1 on MySQL`},
		{"table t", ruleFunction, "uses JSON_EXTRACT, whose result is compared as text on MariaDB and as JSON on MySQL"},
	}
	if diff := cmp.Diff(want, p.Notices); diff != "" {
		t.Error(diff)
	}
	p, _ = translate(t, onMySQL, targetMariaDB(), "CREATE PROCEDURE `o`() select regexp_substr('a','b'), t.json_extract from t", "procedure")
	if len(p.Notices) != 1 || p.Notices[0].Object != "procedure o" {
		t.Errorf("notices %+v", p.Notices)
	}
}

// TestModes: sql_mode is translated so that the object does the same.
func TestModes(t *testing.T) {
	for _, c := range []struct {
		to         Target
		mariaDB    bool
		mode, want string
		refused    bool
	}{
		{targetMySQL(), true, "STRICT_TRANS_TABLES,NO_AUTO_CREATE_USER", "STRICT_TRANS_TABLES,TIME_TRUNCATE_FRACTIONAL", false},
		{targetMySQL(), true, "TIME_ROUND_FRACTIONAL", "", false},
		{targetMariaDB(), false, "ANSI_QUOTES", "ANSI_QUOTES,TIME_ROUND_FRACTIONAL", false},
		{targetMariaDB(), false, "TIME_TRUNCATE_FRACTIONAL", "", false},
		{targetMariaDB(), true, "NO_AUTO_CREATE_USER", "NO_AUTO_CREATE_USER", false},
		{targetMySQL(), true, "EMPTY_STRING_IS_NULL", "EMPTY_STRING_IS_NULL,TIME_TRUNCATE_FRACTIONAL", true},
	} {
		b := &builder{plan: &Plan{}, target: c.to, from: dialect{mariaDB: c.mariaDB}, toMariaDB: c.to.Server.MariaDB(), toVersion: c.to.Server.VersionNumber}
		if got := b.modes("o", c.mode); got != c.want && !c.refused || (len(b.plan.Refusals) > 0) != c.refused {
			t.Errorf("%q becomes %q, want %q; refused %v", c.mode, got, c.want, b.plan.Refusals)
		}
	}
}

// TestNames: names that a server folds.
func TestNames(t *testing.T) {
	to := targetMariaDB()
	to.Server.LowerCaseTableNames = 1
	in := Input{Origin: core.DatabaseServer{Vendor: mysql.MariaDB, Version: "10.11.6"}, Index: core.DatabaseIndex{Tables: []core.Table{{Name: "T", Engine: "InnoDB"}, {Name: "t", Engine: "InnoDB"}, {Name: "Other", Engine: "InnoDB"}}}}
	p, err := Make(t.Context(), in, to)
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Refusals) != 1 || p.Refusals[0].Object != "table t" || len(p.Notices) != 2 {
		t.Errorf("refusals %+v, notices %+v", p.Refusals, p.Notices)
	}
	in.Tables = []string{"T"}
	if p, err = Make(t.Context(), in, to); err != nil || len(p.Refusals) != 0 {
		t.Errorf("one of the two alone: %v, %+v", err, p.Refusals)
	}
}

// TestZones: an event in a zone that the server does not know.
func TestZones(t *testing.T) {
	in := Input{Origin: core.DatabaseServer{Vendor: mysql.MariaDB, Version: "10.11.6"}, Index: core.DatabaseIndex{Objects: []core.SchemaObject{{Kind: "event", Name: "here", TimeZone: "Europe/Zurich"}, {Kind: "event", Name: "e", TimeZone: "No/Where"}}}}
	p, err := Make(t.Context(), in, targetMariaDB())
	if err != nil || len(p.Refusals) != 1 || p.Refusals[0].Object != "event e" || !strings.Contains(p.Refusals[0].Hint, "tzinfo") {
		t.Errorf("%v, %+v", err, p.Refusals)
	}
}

// TestSameServerChangesNothing: not even a file is read.
func TestSameServerChangesNothing(t *testing.T) {
	in := Input{
		Origin: core.DatabaseServer{Vendor: mysql.MariaDB, Version: "10.11.6-MariaDB"},
		Index:  core.DatabaseIndex{Collation: "utf8mb4_bin", Charset: "utf8mb4", Tables: []core.Table{{Name: "t", Engine: "InnoDB"}}, Objects: []core.SchemaObject{{Kind: "sequence", Name: "s"}}},
		Read:   func(context.Context, string) ([]byte, error) { return nil, os.ErrNotExist },
	}
	p, err := Make(t.Context(), in, targetMariaDB())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&Plan{Charset: "utf8mb4", Collation: "utf8mb4_bin"}, &Plan{Rewrites: p.Rewrites, Refusals: p.Refusals, Notices: p.Notices, Charset: p.Charset, Collation: p.Collation}, cmp.AllowUnexported(Plan{})); diff != "" {
		t.Error(diff)
	}
}

// TestDocumentation: docs/cross-restore.md lists the rules as they are here.
func TestDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../../docs/cross-restore.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, r := range Rules() {
		table.WriteString("| " + r.Name + " | " + r.To + " | " + r.What + " |\n")
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/cross-restore.md does not list the rules as they are:\n%s", table.String())
	}
}
