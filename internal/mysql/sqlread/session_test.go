package sqlread_test

import (
	"io"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

const headOf = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: shop\n-- ------------------------------------------------------\n-- Server version\t8.0.36\n\n"

// firstRefusal reads on to the first statement that is not taken.
func firstRefusal(t *testing.T, text string, opt sqlread.Options) error {
	t.Helper()
	r := sqlread.New(strings.NewReader(text), opt)
	for {
		st, err := r.Next()
		for err == nil && st.Kind == sqlread.KindInsert {
			if _, err = r.NextRow(); err == io.EOF {
				err = nil
				break
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// TestBytesOfCharsets: bytes that some server takes for a space, a control
// character or half of another character are not taken where it is one.
func TestBytesOfCharsets(t *testing.T) {
	for _, sql := range []string{
		"SET NAMES latin1; CREATE TABLE t (a int --\xa0'\n) SELECT 1 #');",
		"SET NAMES latin1; CREATE TABLE t (a int)\xa0SELECT 1;",
		"SET NAMES latin1; INSERT INTO t VALUES (1 --\xa0'\n,(SELECT 1))#');",
		"SET NAMES latin1; INSERT INTO t VALUES (_x\xa0,1);",
		"SET NAMES latin1; INSERT INTO t VALUES (CONVERT('a' USING x\xa0),1);",
		"SET NAMES latin1; INSERT INTO t VALUES (1\xa0,1);",
		"SET NAMES latin1; --\xa0 GRANT;",
		"SET NAMES binary; CREATE TABLE t (\xe9 int);",
		"SET NAMES gbk; CREATE TABLE t (a int, x\xbf` text) SELECT 1 #` int);",
		"SET NAMES gbk; CREATE TABLE t (a int COMMENT '\xbf\\');",
		"SET NAMES gbk; CREATE TABLE t (a int) /* \xbf */;",
		"SET NAMES sjis; CREATE TABLE t (a int, x\x83` text) SELECT 1 #` int);",
		"SET NAMES big5; INSERT INTO t VALUES ('\xa5\\','x');",
		"SET NAMES cp932; INSERT INTO t VALUES (1 /* \x83\x5c */);",
		"SET NAMES gb18030; INSERT INTO t (`\x81\x40`) VALUES (1);",
	} {
		for _, one := range []bool{false, true} {
			text := sql
			if one {
				text = strings.ReplaceAll(sql, "SET NAMES ", "SET character_set_client=")
			}
			if err := firstRefusal(t, text+"\n", sqlread.Options{}); core.CodeOf(err) != core.CodeUnsupported {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
	for _, sql := range []string{
		"SET NAMES sjis; CREATE TABLE t (a int COMMENT 'x'); INSERT INTO t VALUES ('a\\'b');\n",
		"SET NAMES utf8; CREATE TABLE t (été int); INSERT INTO t VALUES ('\xa0');\n-- \xa0\n",
		"SET NAMES latin1; CREATE TABLE t (`\xe9` int COMMENT '--\xa0' /* \xa0 */);\n",
		"SET NAMES gbk;\n-- Table structure for table `中`\nSET NAMES utf8mb4; CREATE TABLE `中` (a int);",
	} {
		if err := firstRefusal(t, sql, sqlread.Options{}); err != nil {
			t.Errorf("%q: %v", sql, err)
		}
	}
}

// TestLeftOut: rows, tables and columns in versioned comments that the reading
// server skips and the dump's own would not are not lost without a word.
func TestLeftOut(t *testing.T) {
	maria := sqlread.Options{MariaDB: true, ServerVersion: 101106}
	for _, sql := range []string{
		"/*!50710 INSERT INTO `item` VALUES (2,'b'),(3,'c') */;",
		"/*!80000 CREATE TABLE `t2` (a int) */;",
		"/*!80000 /* c */ ALTER TABLE `t2` ADD a int */;",
		"CREATE TABLE t (a int /*!80023 , x int */);",
		"/*!80000 REPLACE INTO t VALUES (1) */ /*!40000 COMMIT */;",
	} {
		err := firstRefusal(t, headOf+sql, maria)
		if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "10.11.6") {
			t.Errorf("%s: %v", sql, err)
		}
	}
	newer := strings.ReplaceAll(headOf, "MySQL dump 10.13  Distrib 8.0.36", "MariaDB dump 10.19  Distrib 12.1.2-MariaDB")
	newer = strings.ReplaceAll(newer, "Server version\t8.0.36", "Server version\t12.1.2-MariaDB")
	if err := firstRefusal(t, newer+"/*M!120000 INSERT INTO `item` VALUES (2,'b') */;", maria); err == nil {
		t.Error("rows for a newer server are left out")
	}
	if err := firstRefusal(t, "/*!80000 CREATE TABLE t (a int) */;", maria); err == nil {
		t.Error("a table is left out of a dump that does not say who wrote it")
	}
	for _, sql := range []string{
		"CREATE TABLE t (a int /*!80023 INVISIBLE */ COMMENT ',') /*!80016 ENCRYPTION='N,' */;", "/*!99999 CREATE TABLE t (a int) */;", "/*!80000 SET @@SESSION.x=1 */;",
		"/*!90200 CREATE TABLE t (a int) */;", "/*M!999999\\- enable the sandbox mode */ \nCOMMIT;", "/*!80013 SET x='INSERT' */;",
	} {
		if err := firstRefusal(t, headOf+sql, maria); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
}

// TestSwitches: a dump is of the database that its head names, and does not
// come to another one behind tables.
func TestSwitches(t *testing.T) {
	tables := "CREATE TABLE a (b int); INSERT INTO a VALUES (1);\n"
	for _, c := range []struct {
		text  string
		taken bool
	}{
		{headOf + tables + "USE `other`; CREATE TABLE c (d int);", false},
		{headOf + "USE `other`;" + tables, false},
		{tables + "USE `other`;" + tables, false},
		{"DROP TABLE IF EXISTS a; CREATE DATABASE `other`;" + tables, false},
		{"INSERT INTO a VALUES (1); USE other;", false},
		{headOf + "CREATE DATABASE shop; USE shop;" + tables + "USE shop;", true},
		{headOf + tables + "USE shop;" + tables, true},
		{"SET NAMES utf8; USE shop;" + tables, true},
	} {
		if err := firstRefusal(t, c.text, sqlread.Options{}); (err == nil) != c.taken {
			t.Errorf("%.200q: %v", c.text, err)
		}
	}
}

// TestNothingArises: where the dump's database is left out, what stood around
// it becomes no word that nobody judged.
func TestNothingArises(t *testing.T) {
	for _, sql := range []string{
		"CREATE TABLE t (a int CHECK (a IN (SE`shop`.LECT 1)));",
		"CREATE TABLE t (a int) PARTITION BY HASH(a) (PARTITION p DATA DIREC`shop`.TORY='/tmp/x');",
		"CREATE TABLE t (a int CHECK (a /`shop`.* '*/ > 1) '));",
		"CREATE TABLE t (a int CHECK (a -`shop`.- 1));",
		"CREATE TABLE t (a int COMMENT 'x'`shop`.'y');",
		"CREATE TABLE t (a int, b int REFERENCES`shop`.u(a));",
		"ALTER DATABASE`shop`CHARACTER SET utf8mb4;",
		"DROP TABLE IF EXISTS`shop`.t;",
		"SET sql_log_bin=0,foreign_key_checks=1;",
	} {
		r := sqlread.New(strings.NewReader(sql), sqlread.Options{Database: "shop"})
		st, err := r.Next()
		if err != nil {
			t.Errorf("%s: %v", sql, err)
			continue
		}
		for _, word := range []string{"/*", "--", "''", "DIRECTORY", "SELECT 1)", "REFERENCESu", "DATABASECHARACTER", "EXISTSt"} {
			if strings.Contains(st.Text, word) {
				t.Errorf("%s became %s", sql, st.Text)
			}
		}
	}
	for _, sql := range []string{
		"CREATE TABLE t (a int REFERENCES shop.shop.u (a));",
		"CREATE TABLE t (a int CHECK (shop.shop.a > 1));",
	} {
		if err := firstRefusal(t, sql, sqlread.Options{Database: "shop"}); core.CodeOf(err) != core.CodeUnsupported {
			t.Errorf("%s: %v", sql, err)
		}
	}
}
