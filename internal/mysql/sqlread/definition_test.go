package sqlread_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// definitions are what servers print, and the database is shop.
var definitions = []struct {
	name string
	d    sqlread.Definition
	text string
	want sqlread.Defined
}{
	{"table", sqlread.Definition{Kind: "table", Name: "item"}, "CREATE TABLE `item` (\n  `id` int NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4\n/*!50100 PARTITION BY HASH (`id`)\nPARTITIONS 2 */", sqlread.Defined{}},
	{"hidden column", sqlread.Definition{Kind: "table", Name: "item"}, "CREATE TABLE `item` (\n  `id` int /*!80023 INVISIBLE */,\n `z` blob /*M!100301 COMPRESSED*/) ENGINE=InnoDB", sqlread.Defined{}},
	{"default of a sequence", sqlread.Definition{Kind: "table", Name: "item"}, "CREATE TABLE `item` (\n  `id` int DEFAULT nextval(`shop`.`s`)\n)", sqlread.Defined{Databases: []string{"shop"}}},
	{"sequence", sqlread.Definition{Kind: "sequence", Name: "s"}, "CREATE SEQUENCE `s` start with 1 minvalue 1 maxvalue 9223372036854775806 increment by 1 cache 1000 nocycle ENGINE=InnoDB", sqlread.Defined{}},
	{
		"view", sqlread.Definition{Kind: "view", Name: "v"},
		"CREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW `v` AS select `a`.`id` AS `id`,trim(leading 'x' from `a`.`t`) AS `t`,replace(`a`.`t`,'x',`b`.`t`) AS `r` from (`item` `a` join `item` `b` on(`a`.`id` = `b`.`id` and extract(year from `b`.`d`) > 1)) where `a`.`id` in (select `c`.`id` from `item` `c`)",
		sqlread.Defined{},
	},
	{"view of another database", sqlread.Definition{Kind: "view", Name: "v"}, "CREATE VIEW `v` AS select 1 AS `victim` from `item`,`victim`.`secret`", sqlread.Defined{Databases: []string{"victim"}}},
	{"view of another database's column", sqlread.Definition{Kind: "view", Name: "v"}, "CREATE VIEW `v` AS select `victim`.`secret`.`id` AS `id` from (`item` join `victim`.`secret`)", sqlread.Defined{Databases: []string{"victim"}}},
	{"view with an alias like a word", sqlread.Definition{Kind: "view", Name: "v"}, "CREATE VIEW `v` AS select victim.id AS id from item as value, victim.secret as victim", sqlread.Defined{Databases: []string{"victim"}}},
	{"view that is a table of another database", sqlread.Definition{Kind: "view", Name: "v"}, "CREATE VIEW `v` AS TABLE victim.secret UNION SELECT 1,2 FROM item victim", sqlread.Defined{Databases: []string{"victim"}}},
	{"view of a latin1 database", sqlread.Definition{Kind: "view", Name: "v", Charset: "latin1"}, "CREATE VIEW `v` AS select 1 from `donn\xe9es`.secret", sqlread.Defined{Databases: []string{"donn\u00e9es"}}},
	{"rename into another database", sqlread.Definition{Kind: "procedure", Name: "p"}, "CREATE PROCEDURE p() BEGIN DECLARE victim INT; RENAME TABLE item TO victim.item; END", sqlread.Defined{Databases: []string{"victim"}}},
	{"trigger", sqlread.Definition{Kind: "trigger", Name: "tr", Table: "item"}, "CREATE DEFINER=`root`@`localhost` TRIGGER tr BEFORE INSERT ON item FOR EACH ROW BEGIN IF NEW.id > 3 THEN SET NEW.id = 3; END IF; INSERT INTO log VALUES (NEW.id); END", sqlread.Defined{}},
	{"trigger of its database", sqlread.Definition{Kind: "trigger", Name: "tr", Table: "item"}, "CREATE TRIGGER shop.tr BEFORE INSERT ON `shop`.`item` FOR EACH ROW SET @x = 1", sqlread.Defined{Databases: []string{"shop"}, Placed: true}},
	{"function", sqlread.Definition{Kind: "function", Name: "f"}, "CREATE DEFINER=`root`@`localhost` FUNCTION `f`() RETURNS int(11)\nRETURN 1", sqlread.Defined{}},
	{"function of another database", sqlread.Definition{Kind: "function", Name: "f"}, "CREATE FUNCTION `f`() RETURNS int RETURN victim.g(1)", sqlread.Defined{Databases: []string{"victim"}}},
	{"procedure", sqlread.Definition{Kind: "procedure", Name: "p"}, "CREATE PROCEDURE `p`(IN a INT)\nIF a THEN UPDATE item SET id = 1; DELETE FROM item USING item JOIN other o ON o.id = item.id; END IF", sqlread.Defined{}},
	{"procedure that drops the database", sqlread.Definition{Kind: "procedure", Name: "p"}, "CREATE PROCEDURE `p`()\nBEGIN DROP DATABASE shop; DELETE FROM victim.secret; END", sqlread.Defined{Databases: []string{"victim"}, Reaches: []string{"DROP DATABASE"}}},
	{"procedure that puts statements together", sqlread.Definition{Kind: "procedure", Name: "p"}, "CREATE PROCEDURE `p`() EXECUTE IMMEDIATE CONCAT('DROP DATA','BASE x')", sqlread.Defined{Reaches: []string{"EXECUTE IMMEDIATE"}}},
	{"event", sqlread.Definition{Kind: "event", Name: "e"}, "CREATE DEFINER=`root`@`localhost` EVENT `e` ON SCHEDULE EVERY 1 DAY STARTS '2026-01-01 00:00:00' ON COMPLETION NOT PRESERVE ENABLE DO DELETE FROM item", sqlread.Defined{}},
	{"event in another database", sqlread.Definition{Kind: "event", Name: "e"}, "CREATE EVENT `e` ON SCHEDULE EVERY 1 SECOND DO INSERT INTO victim.secret SELECT max(id)+1,'event' FROM victim.secret", sqlread.Defined{Databases: []string{"victim"}}},
	{"package", sqlread.Definition{Kind: "package", Name: "pk", SQLMode: "ORACLE"}, "CREATE DEFINER=\"root\"@\"localhost\" PACKAGE \"pk\" AS FUNCTION f RETURN INT; END", sqlread.Defined{}},
	{"package body", sqlread.Definition{Kind: "package body", Name: "pk", SQLMode: "ORACLE"}, "CREATE PACKAGE BODY \"pk\" AS FUNCTION f RETURN INT AS BEGIN RETURN 1; END; END", sqlread.Defined{}},
	{"quotes of a mode", sqlread.Definition{Kind: "function", Name: "f", SQLMode: "NO_BACKSLASH_ESCAPES"}, `CREATE FUNCTION f() RETURNS TEXT RETURN '\'`, sqlread.Defined{}},
	{"latin1", sqlread.Definition{Kind: "function", Name: "fü", Charset: "latin1"}, "CREATE FUNCTION `f\xfc`() RETURNS INT RETURN 1", sqlread.Defined{}},
	{"gbk without its characters", sqlread.Definition{Kind: "function", Name: "f", Charset: "gbk"}, "CREATE FUNCTION `f`() RETURNS INT RETURN 1", sqlread.Defined{}},
}

func TestReadDefinition(t *testing.T) {
	for _, c := range definitions {
		t.Run(c.name, func(t *testing.T) {
			c.d.Database = "shop"
			got, err := sqlread.ReadDefinition([]byte(c.text), c.d)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReadDefinitionRefuses: what would do anything else than make the object.
func TestReadDefinitionRefuses(t *testing.T) {
	function := sqlread.Definition{Kind: "function", Name: "f"}
	table := sqlread.Definition{Kind: "table", Name: "item"}
	for _, c := range []struct {
		d    sqlread.Definition
		text string
		part string
	}{
		{function, "DROP DATABASE shop", "no CREATE"},
		{function, "", "no CREATE"},
		{function, "/*!DROP TABLE item */", "no CREATE"},
		{function, "DELETE FROM item", "no CREATE"},
		{function, "CREATE FUNCTION f() RETURNS INT RETURN 1; DROP DATABASE shop", "more than one"},
		{function, "CREATE FUNCTION f RETURNS INT SONAME 'x.so'", "library"},
		{function, "CREATE FUNCTION g() RETURNS INT RETURN 1", `makes "g"`},
		{function, "CREATE FUNCTION victim.f() RETURNS INT RETURN 1", "another database"},
		{function, "CREATE PROCEDURE f() SELECT 1", "does not make a function"},
		{function, "CREATE DATABASE f", ""},
		{function, "CREATE USER f", ""},
		{function, "CREATE FUNCTION f() RETURNS INT RETURN 1\x00", "no CREATE"},
		{function, "CREATE /*!100000 FUNCTION f() RETURNS INT RETURN 1 */ /*!999999 USER x */", ""},
		{table, "CREATE TABLE `item` (`id` int) SELECT 1 AS id FROM victim.secret", "a query within"},
		{table, "CREATE TABLE `item` LIKE victim.secret", "made from another"},
		{table, "CREATE TABLE `item` (`id` int) DATA DIRECTORY='/tmp'", "DIRECTORY"},
		{table, "CREATE TABLE `item` (`id` int) ENGINE=MyISAM /*!50800 DATA DIRECTORY='/tmp' */", "DIRECTORY"},
		{table, "CREATE TABLE `item` (`id` int) ENGINE=MyISAM /*M!100600 DATA DIRECTORY='/tmp' */", "DIRECTORY"},
		{table, "CREATE TABLE `item` (`id` int) ENGINE=FEDERATED CONNECTION='mysql://h/d/t'", ""},
		{table, "CREATE TABLE `victim`.`item` (`id` int)", "another database"},
		{sqlread.Definition{Kind: "trigger", Name: "tr", Table: "item"}, "CREATE TRIGGER tr BEFORE INSERT ON other FOR EACH ROW SET @x=1", `table "other"`},
		{sqlread.Definition{Kind: "view", Name: "v"}, "CREATE VIEW v AS SELECT LOAD_FILE('/etc/passwd')", "LOAD_FILE"},
		{sqlread.Definition{Kind: "function", Name: "f", SQLMode: "7"}, "CREATE FUNCTION f() RETURNS INT RETURN 1", "sql_mode"},
		{sqlread.Definition{Kind: "function", Name: "f", Charset: "utf16"}, "CREATE FUNCTION f() RETURNS INT RETURN 1", "character set"},
	} {
		t.Run(c.text, func(t *testing.T) {
			c.d.Database = "shop"
			got, err := sqlread.ReadDefinition([]byte(c.text), c.d)
			if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), c.part) {
				t.Errorf("%+v, %v", got, err)
			}
			if errors.Is(err, sqlread.ErrUnread) {
				t.Error("somebody may agree to it")
			}
		})
	}
	for text, unread := range map[string]bool{
		"CREATE DEFINER=`root`@`localhost` FUNCTION `f`() RETURNS TEXT RETURN '\xbf\x5c'": true,
		"CREATE FUNCTION f() RETURNS TEXT RETURN '\xbf'":                                  true,
		"CREATE USER x IDENTIFIED BY '\xbf'":                                              false,
		"CREATE DEFINER=`\xbf\x60` USER x":                                                false,
		"DROP DATABASE shop -- \xbf":                                                      false,
	} {
		_, err := sqlread.ReadDefinition([]byte(text), sqlread.Definition{Kind: "function", Name: "f", Charset: "gbk"})
		if core.CodeOf(err) != core.CodeUnsupported || errors.Is(err, sqlread.ErrUnread) != unread {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func FuzzReadDefinition(f *testing.F) {
	for _, c := range definitions {
		f.Add([]byte(c.text), string(c.d.Kind), c.d.Name, c.d.SQLMode, c.d.Charset)
	}
	f.Fuzz(func(t *testing.T, text []byte, kind, name, mode, charset string) {
		d := sqlread.Definition{Kind: sqlread.Object(kind), Name: name, SQLMode: mode, Charset: charset, Database: "shop"}
		_, err := sqlread.ReadDefinition(text, d)
		if err == nil && !strings.EqualFold(string(text[:6]), "CREATE") {
			t.Errorf("%q was taken", text)
		}
		if err != nil && core.CodeOf(err) != core.CodeUnsupported {
			t.Errorf("%q: %v", text, err)
		}
	})
}
