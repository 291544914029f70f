package sqlload_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// While rows come in no code of the dump's exists that they could run.
func TestNoCodeUnderRows(t *testing.T) {
	const function = "CREATE TABLE t (id INT, v TEXT);\nDELIMITER ;;\nCREATE FUNCTION `f`(x INT) RETURNS INT DETERMINISTIC BEGIN RETURN 1; END;;\nDELIMITER ;\n"
	for name, text := range map[string]string{
		"view with a check": function + "CREATE VIEW v AS SELECT id FROM t WHERE f(id) WITH CHECK OPTION;\nINSERT INTO v VALUES (1);\n",
		"view":              function + "CREATE VIEW v AS SELECT id FROM t;\nREPLACE INTO v VALUES (1);\n",
		"view that stays":   function + "CREATE VIEW v AS SELECT id FROM t;\nDROP TABLE IF EXISTS v;\nINSERT INTO v VALUES (1);\n",
		"nothing":           "CREATE TABLE t (id INT);\nINSERT INTO v VALUES (1);\n",
		"table that went":   "CREATE TABLE t (id INT);\nCREATE TABLE v (id INT);\nDROP TABLE v;\nINSERT INTO v VALUES (1);\n",
	} {
		config := into(t)
		_, err := load(t, config, text)
		if core.CodeOf(err) != core.CodeDamage || !strings.Contains(err.Error(), "rows of table v are refused") {
			t.Errorf("%s: %v", name, err)
		}
		config = into(t)
		saved := salvage(t, config, text+"INSERT INTO v VALUES (2),(3);\nINSERT INTO t (id) VALUES (4);\n")
		told := 0
		for _, f := range saved.Flaws {
			if strings.Contains(f.Message, "its rows were not loaded") && f.Object == "table v" {
				told++
			}
		}
		if told != 1 || saved.Rows != 1 {
			t.Errorf("%s: salvaged %+v", name, saved)
		}
		if got := values(t, config, "SELECT id FROM t"); !slices.Equal(got, []string{"4"}) {
			t.Errorf("%s: t has %v", name, got)
		}
	}
	for _, call := range []string{"UUID_TO_BIN('x')", "POINT('x')"} {
		name, _, _ := strings.Cut(call, "(")
		config := into(t)
		saved := salvage(t, config, "CREATE TABLE t (v TEXT);\nCREATE TABLE ran (v INT);\nDELIMITER ;;\nCREATE FUNCTION `"+name+"`(x TEXT) RETURNS TEXT BEGIN INSERT INTO ran VALUES (1); RETURN 'x'; END;;\nDELIMITER ;\n"+
			"INSERT INTO t VALUES ("+call+");\n")
		if got := values(t, config, "SELECT v FROM ran"); len(got) > 0 || saved.Rows > 0 {
			t.Errorf("%s ran: %+v", call, saved)
		}
	}
}

// Of what is made and dropped again only the last counts, and stand-ins are never made.
func TestLastDefinitionCounts(t *testing.T) {
	config := into(t)
	loaded := mustLoad(t, config, `SET NAMES utf8mb4;
CREATE VIEW v AS SELECT 1 AS a;
CREATE TABLE w (a INT);
CREATE TABLE t (a INT);
INSERT INTO t VALUES (7);
DROP VIEW IF EXISTS v;
DROP TABLE IF EXISTS w;
DROP VIEW IF EXISTS w;
CREATE VIEW v AS SELECT a FROM w;
CREATE VIEW w AS SELECT g() AS a FROM t;
DROP FUNCTION IF EXISTS g;
CREATE FUNCTION g() RETURNS INT DETERMINISTIC RETURN 1;
DROP FUNCTION G;
CREATE FUNCTION g() RETURNS INT DETERMINISTIC RETURN 2;
DROP PROCEDURE p;
CREATE PROCEDURE p() SELECT 1;
DROP PROCEDURE p;
CREATE OR REPLACE VIEW r AS SELECT a FROM t;
CREATE OR REPLACE VIEW r AS SELECT a + 1 AS a FROM t;
`)
	if loaded.Views != 3 || loaded.Objects != 1 || len(loaded.Warnings) > 0 || len(loaded.Tables) != 1 {
		t.Errorf("loaded %+v", loaded)
	}
	for view, want := range map[string]string{"v": "2", "r": "8"} {
		if got := values(t, config, "SELECT a FROM "+view); !slices.Equal(got, []string{want}) {
			t.Errorf("%s gives %v", view, got)
		}
	}
}

// No object runs as an account that a server has for itself.
func TestServersOwnDefiners(t *testing.T) {
	for _, account := range []string{"`mariadb.sys`@`localhost`", "`mysql.sys`@`localhost`", "`MySQL.session`@`%`"} {
		for _, object := range []string{
			"VIEW x AS SELECT 1 AS a FROM t", "FUNCTION x() RETURNS INT DETERMINISTIC RETURN 1", "PROCEDURE x() SELECT 1",
			"TRIGGER x BEFORE INSERT ON t FOR EACH ROW SET NEW.a=1", "EVENT x ON SCHEDULE EVERY 1 DAY DO DELETE FROM t",
		} {
			text := "CREATE TABLE t (a INT);\nCREATE DEFINER=" + account + " " + object + ";\n"
			_, err := load(t, into(t), text)
			if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "belongs to the server itself") {
				t.Errorf("%s: %s: %v", account, object, err)
			}
		}
	}
	saved := salvage(t, into(t), "CREATE TABLE t (a INT);\nCREATE DEFINER=`mariadb.sys`@`localhost` VIEW x AS SELECT a FROM t;\n")
	if len(saved.Flaws) != 1 || !saved.Flaws[0].Refused || saved.Views != 0 {
		t.Errorf("salvaged %+v", saved)
	}
}
