package corpus

import "strings"

func names() []Case {
	long := strings.Repeat("1234567890", 6) + "1234"
	return []Case{
		{
			Name:   "identifiers",
			Guards: "names with quotes, backquotes, spaces, percent, underscore, slashes and Unicode, of 64 characters, and reserved words",
			SQL: []string{
				"CREATE TABLE `a ``b` (`select` INT PRIMARY KEY, `q'\"uote` INT, `per%cent_` INT, `Ünïcode` INT, `sp ace` INT, `back\\slash` INT, `n\n\tx` INT, KEY `it's; --` (`q'\"uote`), UNIQUE `per%` (`Ünïcode`,`sp ace`))", "INSERT INTO `a ``b` VALUES (1,2,3,4,5,6,7)",
				"CREATE TABLE `order` (`" + long + "` INT, CONSTRAINT `" + long + "` CHECK (`" + long + "` > 0))", "INSERT INTO `order` VALUES (1)",
				"CREATE TABLE `../x/y.z` (a INT)", "INSERT INTO `../x/y.z` VALUES (9)",
				"CREATE TABLE `" + strings.Repeat("ü", 64) + "` (`ж` INT PRIMARY KEY, `数` TEXT)", "INSERT INTO `" + strings.Repeat("ü", 64) + "` VALUES (1,'x')",
				"CREATE TABLE `per%cent_` (a INT)", "CREATE TABLE `per1centx` (a INT)", "INSERT INTO `per%cent_` VALUES (1)", "INSERT INTO `per1centx` VALUES (2)",
				"CREATE TABLE `it's \"so\"; -- /* \\` (`*/` INT, `#` INT, `@v` INT, `1` INT, `NULL` INT)", "INSERT INTO `it's \"so\"; -- /* \\` VALUES (1,2,3,4,5)",
				"CREATE TABLE `Case` (a INT)", "CREATE TABLE `case` (a INT)", "INSERT INTO `Case` VALUES (1)",
				"CREATE TABLE `group` (`key` INT PRIMARY KEY, `index` INT, `values` TEXT, `table` INT, KEY `primary_` (`index`))", "INSERT INTO `group` VALUES (1,1,'x',1)",
				"CREATE TABLE `-` (`.` INT)", "INSERT INTO `-` VALUES (1)",
				"CREATE VIEW `v ``'\"; --%` AS SELECT `a ``b`.`q'\"uote` AS `al``ias 'x'` FROM `a ``b`",
				"CREATE TRIGGER `t ``'\"; --%` BEFORE INSERT ON `a ``b` FOR EACH ROW SET NEW.`sp ace` = 1",
				"CREATE PROCEDURE `p ``'\"; --%`(`select` INT, OUT `o ``x` TEXT) SELECT `select`",
				"CREATE FUNCTION `" + long + "`(`ü` INT) RETURNS INT DETERMINISTIC RETURN `ü`",
				"CREATE EVENT `e ``'\"; --%` ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' DISABLE DO SELECT 1",
				"/*mariadb*/ CREATE SEQUENCE `s ``'\"; --%` START WITH 5", "/*mariadb*/ SELECT NEXTVAL(`s ``'\"; --%`)",
			},
		},
		{
			Name:   "names and comments in other character sets",
			Guards: "SHOW CREATE mixes the client's character set with UTF-8: names and comments get encoded twice",
			SQL: []string{
				"CREATE TABLE `té` (`é` INT)",
				"SET NAMES latin1",
				"CREATE EVENT `e\xe9` ON SCHEDULE EVERY 1 WEEK STARTS '2035-01-01 00:00:00' COMMENT 'it''s \xe9\\\\ \\n' DO SELECT '\xe9 COMMENT \xe9'",
				"CREATE DEFINER=`nobody\xe9`@`%` PROCEDURE `p\xe9`(`a\xe9` INT) COMMENT 'it''s \xe9\\\\ \\n' SELECT '\xe9'", "CREATE FUNCTION `f\xe9`(a INT) RETURNS INT DETERMINISTIC COMMENT '\xe9' RETURN 'p\xe9'",
				"CREATE TRIGGER `g\xe9` BEFORE INSERT ON `t\xe9` FOR EACH ROW SET NEW.`\xe9` = LENGTH('\xe9')", "CREATE VIEW `v\xe9` AS SELECT `\xe9` AS `x\xe9`, '\xe9' AS y, 'z' AS `z\xe9` FROM `t\xe9`",
				"SET NAMES cp1251", "CREATE PROCEDURE `\xe6`() COMMENT '\xe6' SELECT '\xe6'", "SET NAMES sjis", "CREATE PROCEDURE `s\x83\x5c`() COMMENT '\x83\x5c' SELECT '\x83\x5c'",
				"SET NAMES utf8mb4", "SET SESSION sql_mode='NO_BACKSLASH_ESCAPES'",
				"CREATE PROCEDURE nb() COMMENT 'it''s \\' SELECT '\\'", "CREATE EVENT nb ON SCHEDULE EVERY 1 WEEK STARTS '2035-01-01 00:00:00' COMMENT 'it''s \\ \n' DO SELECT '\\'", "CREATE TABLE nb (a INT COMMENT '\\', b VARCHAR(5) DEFAULT '\\') COMMENT='it''s \\'",
			},
		},
		{
			Name:   "comments with anything",
			Guards: "text in a definition that looks like the definition",
			SQL: []string{
				`CREATE TABLE co (a INT COMMENT 'it''s; -- /* \\ */ "x" \n\t AUTO_INCREMENT=5', b INT COMMENT ') ENGINE=MyISAM', KEY k (b) COMMENT 'AUTO_INCREMENT=7; # Ünïcode') COMMENT='DEFINER=` + "`x`@`y`" + ` AUTO_INCREMENT=9 \\'' ` + strings.Repeat("x", 1000) + `'`, "INSERT INTO co VALUES (1,2)",
				"CREATE TABLE ai (id INT AUTO_INCREMENT PRIMARY KEY COMMENT ' AUTO_INCREMENT=3') COMMENT=' AUTO_INCREMENT=4 '", "INSERT INTO ai VALUES (NULL),(NULL),(NULL)", "DELETE FROM ai",
				"CREATE PROCEDURE p() COMMENT 'it''s; DEFINER=`x`@`y` \\\\' BEGIN /* DEFINER=`x`@`y` */ SELECT '-- no comment' /*!50000 , 1 */; # it's\n -- ;\n END",
				"CREATE EVENT e ON SCHEDULE EVERY 1 DAY STARTS '2035-01-01 00:00:00' ON COMPLETION PRESERVE DISABLE COMMENT 'ENABLE ON COMPLETION PRESERVE ENABLE; it''s' DO /* ENABLE */ SELECT 1",
				"CREATE VIEW v AS SELECT '/* DEFINER=`x`@`y` */ -- ;' AS c /* gone */",
				"/*mariadb*/ CREATE SEQUENCE s COMMENT='it''s \\\\;'",
				"/*mariadb 100500*/ ALTER DATABASE COMMENT 'it''s; -- \\\\ Ünïcode'",
			},
		},
	}
}
