package sqlread_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql/mysqltest"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

func check(t *testing.T, dump string) *sqlread.Report {
	t.Helper()
	report, err := sqlread.Check(t.Context(), strings.NewReader(dump), sqlread.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

const itflowDump = "-- ITFlow database backup\n-- Generated 2026-11-23 05:08:51\nSET NAMES 'utf8mb4';\nSET FOREIGN_KEY_CHECKS = 0;\nSET UNIQUE_CHECKS = 0;\n\n" +
	"-- Table `a`\nDROP TABLE IF EXISTS `a`;\nCREATE TABLE `a` (\n  `x` int\n) ENGINE=InnoDB;\n\nINSERT INTO `a` (`x`) VALUES ('1');\nINSERT INTO `a` (`x`) VALUES (NULL);\n\n" +
	"-- View `v`\nDROP VIEW IF EXISTS `v`;\nCREATE ALGORITHM=UNDEFINED DEFINER=`r`@`h` SQL SECURITY DEFINER VIEW `v` AS select `a`.`x` AS `x` from `a`;\n\n" +
	"SET FOREIGN_KEY_CHECKS = 1;\nSET UNIQUE_CHECKS = 1;\n"

const phpMyAdminDump = "-- phpMyAdmin SQL Dump\n-- version 5.2.1\n-- https://www.phpmyadmin.net/\n--\n-- Host: localhost\n-- Generation Time: Nov 23, 2026 at 04:16 PM\n-- Server version: 10.4.32-MariaDB\n-- PHP Version: 8.2.12\n\n" +
	"SET SQL_MODE = \"NO_AUTO_VALUE_ON_ZERO\";\nSTART TRANSACTION;\nSET time_zone = \"+00:00\";\n\n" +
	"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!40101 SET @OLD_CHARACTER_SET_RESULTS=@@CHARACTER_SET_RESULTS */;\n/*!40101 SET @OLD_COLLATION_CONNECTION=@@COLLATION_CONNECTION */;\n/*!40101 SET NAMES utf8mb4 */;\n\n" +
	"--\n-- Database: `shop`\n--\n\nDELIMITER $$\n--\n-- Procedures\n--\nCREATE DEFINER=`root`@`localhost` PROCEDURE `p` ()   BEGIN SELECT ';'; END$$\n\nDELIMITER ;\n\n" +
	"-- --------------------------------------------------------\n\n--\n-- Table structure for table `a`\n--\n\nCREATE TABLE `a` (\n  `id` int(11) NOT NULL\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4;\n\n--\n-- Dumping data for table `a`\n--\n\nINSERT INTO `a` (`id`) VALUES\n(1),\n(2);\n\n" +
	"--\n-- Stand-in structure for view `v`\n-- (See below for the actual view)\n--\nCREATE TABLE `v` (\n`id` int(11)\n);\n\n--\n-- Structure for view `v`\n--\nDROP TABLE IF EXISTS `v`;\n\nCREATE ALGORITHM=UNDEFINED DEFINER=`root`@`localhost` SQL SECURITY DEFINER VIEW `v`  AS SELECT `a`.`id` AS `id` FROM `a` ;\n\n" +
	"--\n-- Indexes for table `a`\n--\nALTER TABLE `a`\n  ADD PRIMARY KEY (`id`);\n\n--\n-- AUTO_INCREMENT for table `a`\n--\nALTER TABLE `a`\n  MODIFY `id` int(11) NOT NULL AUTO_INCREMENT, AUTO_INCREMENT=3;\nCOMMIT;\n\n" +
	"/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n/*!40101 SET CHARACTER_SET_RESULTS=@OLD_CHARACTER_SET_RESULTS */;\n/*!40101 SET COLLATION_CONNECTION=@OLD_COLLATION_CONNECTION */;\n"

const heidiDump = "-- --------------------------------------------------------\n-- Host:                         127.0.0.1\n-- Server version:               10.11.2-MariaDB - mariadb.org binary distribution\n-- Server OS:                    Win64\n-- HeidiSQL Version:             12.3.0.6589\n-- --------------------------------------------------------\n\n" +
	"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!40101 SET NAMES utf8 */;\n/*!50503 SET NAMES utf8mb4 */;\n/*!40103 SET @OLD_TIME_ZONE=@@TIME_ZONE */;\n/*!40103 SET TIME_ZONE='+00:00' */;\n/*!40014 SET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0 */;\n/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\n/*!40111 SET @OLD_SQL_NOTES=@@SQL_NOTES, SQL_NOTES=0 */;\n\n\n" +
	"-- Dumping database structure for shop\nCREATE DATABASE IF NOT EXISTS `shop` /*!40100 DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci */;\nUSE `shop`;\n\n-- Dumping structure for table shop.a\nCREATE TABLE IF NOT EXISTS `a` (\n  `id` int(11)\n) ENGINE=InnoDB;\n\n-- Dumping data for table shop.a: ~2 rows (approximately)\nINSERT INTO `a` (`id`) VALUES\n\t(1),\n\t(2);\n\n" +
	"/*!40103 SET TIME_ZONE=IFNULL(@OLD_TIME_ZONE, 'system') */;\n/*!40101 SET SQL_MODE=IFNULL(@OLD_SQL_MODE, '') */;\n/*!40014 SET FOREIGN_KEY_CHECKS=IFNULL(@OLD_FOREIGN_KEY_CHECKS, 1) */;\n/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n/*!40111 SET SQL_NOTES=IFNULL(@OLD_SQL_NOTES, 1) */;\n"

const adminerDump = "-- Adminer 4.8.1 MySQL 10.11.6-MariaDB dump\n\nSET NAMES utf8;\nSET time_zone = '+00:00';\nSET foreign_key_checks = 0;\nSET sql_mode = 'NO_AUTO_VALUE_ON_ZERO';\n\nSET NAMES utf8mb4;\n\nDROP TABLE IF EXISTS `a`;\nCREATE TABLE `a` (\n  `id` int(11)\n) ENGINE=InnoDB;\n\nTRUNCATED" +
	"INSERT INTO `a` (`id`) VALUES\n(1),\n(2);\n\n-- 2026-11-23 04:16:20\n"

const pumpDump = "-- Dump created by MySQL pump utility, version: 5.7.44, Linux (x86_64)\n-- Dump start time: Mon Nov 23 04:16:20 2026\n-- Server version: 5.7.44\n\nSET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0;\nSET @OLD_FOREIGN_KEY_CHECKS=@@FOREIGN_KEY_CHECKS, FOREIGN_KEY_CHECKS=0;\nSET @OLD_SQL_MODE=@@SQL_MODE;\nSET SQL_MODE=\"NO_AUTO_VALUE_ON_ZERO\";\nSET @@SESSION.SQL_LOG_BIN= 0;\nSET @OLD_TIME_ZONE=@@TIME_ZONE;\nSET TIME_ZONE='+00:00';\nSET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT;\nSET NAMES utf8mb4;\n" +
	"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `shop` /*!40100 DEFAULT CHARACTER SET latin1 */;\nCREATE TABLE `shop`.`a` (\n`id` int(11)\n) ENGINE=InnoDB DEFAULT CHARSET=latin1\n;\nINSERT INTO `shop`.`a` VALUES (1),(2);\nSET TIME_ZONE=@OLD_TIME_ZONE;\nSET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT;\nSET SQL_MODE=@OLD_SQL_MODE;\nSET FOREIGN_KEY_CHECKS=@OLD_FOREIGN_KEY_CHECKS;\nSET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS;\n-- Dump end time: Mon Nov 23 04:16:21 2026\n"

const mysqlDump = "-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Host: localhost    Database: shop\n-- ------------------------------------------------------\n-- Server version\t8.0.36\n\n" +
	"/*!40101 SET @OLD_CHARACTER_SET_CLIENT=@@CHARACTER_SET_CLIENT */;\n/*!50503 SET NAMES utf8mb4 */;\n/*!40014 SET @OLD_UNIQUE_CHECKS=@@UNIQUE_CHECKS, UNIQUE_CHECKS=0 */;\n/*!40101 SET @OLD_SQL_MODE=@@SQL_MODE, SQL_MODE='NO_AUTO_VALUE_ON_ZERO' */;\nSET @MYSQLDUMP_TEMP_LOG_BIN = @@SESSION.SQL_LOG_BIN;\nSET @@SESSION.SQL_LOG_BIN= 0;\n\n--\n-- GTID state at the beginning of the backup \n--\n\nSET @@GLOBAL.GTID_PURGED=/*!80000 '+'*/ '3e11fa47-71ca-11e1-9e33-c80aa9429562:1-5';\n\n" +
	"/*!50717 SELECT COUNT(*) INTO @rocksdb_has_p_s_session_variables FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'performance_schema' AND TABLE_NAME = 'session_variables' */;\n/*!50717 SET @rocksdb_get_is_supported = IF (@rocksdb_has_p_s_session_variables, 'SELECT 1', 'SELECT 0') */;\n/*!50717 PREPARE s FROM @rocksdb_get_is_supported */;\n/*!50717 EXECUTE s */;\n/*!50717 DEALLOCATE PREPARE s */;\n" +
	"--\n-- Table structure for table `a`\n--\n\nDROP TABLE IF EXISTS `a`;\n/*!40101 SET @saved_cs_client     = @@character_set_client */;\n/*!50503 SET character_set_client = utf8mb4 */;\nCREATE TABLE `a` (\n  `id` int NOT NULL AUTO_INCREMENT,\n  `j` json DEFAULT (json_array()) /*!80023 INVISIBLE */,\n  PRIMARY KEY (`id`),\n  KEY `f` ((lower(`id`)))\n) ENGINE=InnoDB AUTO_INCREMENT=3 DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci /*!80016 ENCRYPTION='N' */;\n/*!40101 SET character_set_client = @saved_cs_client */;\n\n--\n-- Dumping data for table `a`\n--\n\nLOCK TABLES `a` WRITE;\n/*!40000 ALTER TABLE `a` DISABLE KEYS */;\nINSERT INTO `a` (`id`, `j`) VALUES (1,_binary '\\0x'),(2,NULL);\n/*!40000 ALTER TABLE `a` ENABLE KEYS */;\nUNLOCK TABLES;\nSET @@SESSION.SQL_LOG_BIN = @MYSQLDUMP_TEMP_LOG_BIN;\n\n/*!40101 SET SQL_MODE=@OLD_SQL_MODE */;\n/*!40014 SET UNIQUE_CHECKS=@OLD_UNIQUE_CHECKS */;\n/*!40101 SET CHARACTER_SET_CLIENT=@OLD_CHARACTER_SET_CLIENT */;\n\n-- Dump completed on 2026-11-23  4:16:20\n"

func dialects() map[sqlread.Dialect]string {
	return map[sqlread.Dialect]string{
		sqlread.DialectITFlow: itflowDump, sqlread.DialectPHPMyAdmin: phpMyAdminDump, sqlread.DialectHeidiSQL: heidiDump,
		sqlread.DialectAdminer: strings.Replace(adminerDump, "TRUNCATED", "", 1), sqlread.DialectMySQLPump: pumpDump, sqlread.DialectMySQLDump: mysqlDump,
	}
}

// TestDialects: dumps of each program are known, whole, and described.
func TestDialects(t *testing.T) {
	for dialect, dump := range dialects() {
		t.Run(string(dialect), func(t *testing.T) {
			r := check(t, dump)
			if r.Dialect != dialect || r.Whole != sqlread.WholeYes || len(r.Problems) > 0 {
				t.Errorf("%s, whole is %s, problems %+v", r.Dialect, r.Whole, r.Problems)
			}
			if len(r.Tables) != 1 || r.Tables[0].Name != "a" || r.Tables[0].Rows != 2 || !r.Tables[0].Created || r.Rows != 2 {
				t.Errorf("tables: %+v", r.Tables)
			}
			if dialect != sqlread.DialectHeidiSQL && r.Time.Format(time.DateOnly) != "2026-11-23" {
				t.Errorf("made at %s (%s)", r.Time, r.TimeText)
			}
			if dialect != sqlread.DialectITFlow && r.VersionNumber == 0 {
				t.Error("the server's version is not known")
			}
			if dialect == sqlread.DialectITFlow && (r.Objects["view"] != 1 || len(r.Definers) != 1 || r.Definers[0] != "r@h") {
				t.Errorf("objects %v of %v", r.Objects, r.Definers)
			}
		})
	}
}

// TestCutDialects: wherever a dump is cut off before its last statement or
// mark has ended, it is not whole.
func TestCutDialects(t *testing.T) {
	for dialect, dump := range dialects() {
		end := len(strings.TrimRight(dump, "\n"))
		if at := strings.Index(dump, "-- Dump end time: "); at >= 0 {
			end = at + len("-- Dump end time:") // the rest is the time
		}
		if at := strings.Index(dump, "-- Dump completed"); at >= 0 {
			end = at + len("-- Dump completed")
		}
		for n := range end {
			r := check(t, dump[:n])
			// Before the head there is nothing to know it by, and older versions of Adminer write no end.
			if r.Whole == sqlread.WholeYes || r.Whole == sqlread.WholeUnknown && r.Dialect != sqlread.DialectUnknown && r.Dialect != sqlread.DialectAdminer && strings.Contains(dump[:n], "CREATE TABLE") {
				t.Errorf("%s cut at %d: whole is %s: …%q", dialect, n, r.Whole, dump[max(0, n-60):n])
			}
		}
	}
}

// TestCutRealDump: a dump of the dump program that is cut off anywhere is not whole.
func TestCutRealDump(t *testing.T) {
	database := mysqltest.Database(t)
	mysqltest.ExecIn(t, database,
		"CREATE TABLE a (id int PRIMARY KEY, x text)", "CREATE TABLE b (id int PRIMARY KEY)", "CREATE VIEW v AS SELECT * FROM a",
		"INSERT INTO a VALUES (1,'it''s; -- \\\\'),(2,'/* '),(3,REPEAT('x\\n',1000))",
		"CREATE TRIGGER g BEFORE INSERT ON b FOR EACH ROW BEGIN SET NEW.id = 1; END", "CREATE PROCEDURE p () BEGIN SELECT 1; END")
	for _, options := range [][]string{{"--opt", "--routines"}, {"--opt", "--routines", "--skip-comments"}, {"--skip-opt", "--no-create-info"}} {
		dump := string(dumpOf(t, database, options...))
		end := len(strings.TrimRight(dump, "\n"))
		if at := strings.LastIndex(dump, "-- Dump completed"); at >= 0 {
			end = at + len("-- Dump completed") // the rest is the time
		}
		places := []int{}
		for i := range end {
			if dump[i] == ';' || dump[i] == '\n' {
				places = append(places, i, i+1)
			}
		}
		rng := rand.New(rand.NewPCG(5, 5))
		for range 300 {
			places = append(places, rng.IntN(end))
		}
		for _, n := range places {
			if n >= end {
				continue
			}
			if r := check(t, dump[:n]); r.Whole == sqlread.WholeYes || r.Whole == sqlread.WholeUnknown && n > 500 {
				t.Errorf("%v cut at %d of %d: whole is %s: …%q", options, n, len(dump), r.Whole, dump[max(0, n-60):n])
			}
		}
		if r := check(t, dump); r.Whole != sqlread.WholeYes || len(r.Problems) > 0 {
			t.Errorf("%v: whole is %s, %+v", options, r.Whole, r.Problems)
		}
	}
}

// TestProblems: what is missing or does not belong there is named, with its line.
func TestProblems(t *testing.T) {
	begin := "-- MariaDB dump 10.19  Distrib 10.11.6-MariaDB\n-- Server version\t10.11.6-MariaDB\nCREATE TABLE a (x int);\n"
	end := "-- Dump completed on 2026-11-23  4:16:20\n"
	for _, c := range []struct {
		dump, want string
		line       int64
	}{
		{begin + "INSERT INTO b VALUES (1);\n" + end, "never created before them", 4},
		{begin + "DROP TABLE IF EXISTS b;\n" + end, "table b is dropped and never created", 4},
		{begin + "-- Table structure for table `b`\n" + end, "table b is announced and never created", 4},
		{begin + "/*!50001 CREATE VIEW `v` AS SELECT\n 1 AS `a` */;\n" + end, "view v has a stand-in", 4},
		{begin + "LOCK TABLES a WRITE;\n" + end, "tables are locked", 4},
		{begin + "START TRANSACTION;\n" + end, "is not committed", 4},
		{begin + "INSERT INTO a VALUES (1);\nDROP TABLE a;\n" + end, "dropped after it was filled", 5},
		{begin + "mysqldump: Error 2013: Lost connection to MySQL server during query when dumping table `b` at row: 5\n" + end, "a message of the program that wrote the dump", 4},
		{begin + "<br />\n<b>Fatal error</b>: Allowed memory size exhausted\n", "text of a web page", 4},
		{begin + end + "\x00\x00\x00\x00", "zero bytes", 5},
		{begin + end + "DROP TABLE IF EXISTS a;\nCREATE TABLE a (x int);\n", "more after the end", 5},
		{begin + "INSERT INTO a VALUES ('x", "ends inside a text", 4},
		{begin + "INSERT INTO a VALUES ('x'", "ends inside an INSERT", 4},
		{begin + "INSERT INTO a VALUES ('x')", "ends inside an INSERT", 4},
		{begin + "INSERT INTO a VALUES ('x'),", "ends inside an INSERT", 4},
		{begin + "INSERT INTO a VALUES", "ends inside", 4},
		{begin + "CREATE TABLE `b", "ends inside a quoted name", 4},
		{begin + "CREATE TABLE b (y int)", "ends inside a statement", 4},
		{begin + "/*!50001 CREATE TABLE b (y int)", "ends inside a versioned comment", 4},
		{begin + "/* x", "ends inside a comment", 4},
		{begin + "CREATE PROCEDURE p () BEGIN SELECT 1;\n", "ends inside a statement", 4},
		{begin, "the end of the dump is missing", 0},
		{"", "there is no statement", 0},
		{begin + "GRANT ALL ON *.* TO x;\n" + end, "a statement that dumps do not have: GRANT ALL ON", 4},
	} {
		r := check(t, c.dump)
		found := false
		for _, p := range r.Problems {
			found = found || strings.Contains(p.Message, c.want) && (p.Line == c.line || strings.Contains(p.Message, fmt.Sprintf("line %d", c.line)))
		}
		if !found || r.Whole == sqlread.WholeYes && !r.Problems[0].Refused {
			t.Errorf("%q: whole is %s, problems %+v, want %q at line %d", c.dump[max(0, len(c.dump)-80):], r.Whole, r.Problems, c.want, c.line)
		}
	}
}

// TestCheckEndsWithItsContext: a cancelled check ends with that, and an error of reading is no damage.
func TestCheckEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sqlread.Check(ctx, strings.NewReader(itflowDump), sqlread.Options{}); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	broken := errors.New("the disk is gone")
	_, err := sqlread.Check(t.Context(), &failing{[]byte(itflowDump[:len(itflowDump)/2]), broken}, sqlread.Options{})
	if !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

type failing struct {
	data []byte
	err  error
}

func (f *failing) Read(p []byte) (int, error) {
	if len(f.data) == 0 {
		return 0, f.err
	}
	n := copy(p, f.data)
	f.data = f.data[n:]
	return n, nil
}

// TestLimits: rows and statements that are too long end the reading; long INSERTs of short rows do not.
func TestLimits(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, sql := range []string{"INSERT INTO t VALUES (1),('" + long + "');", "CREATE TABLE t (a int COMMENT '" + long + "');"} {
		_, err := everything(strings.NewReader(sql), sqlread.Options{MaxRow: 1 << 16, MaxStatement: 1 << 16})
		if core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("got %v", err)
		}
	}
	var many bytes.Buffer
	many.WriteString("INSERT INTO t VALUES ('x')")
	for range 1 << 18 {
		many.WriteString(",('it\\'s')")
	}
	many.WriteString(";")
	r := sqlread.New(&many, sqlread.Options{MaxRow: 100, MaxStatement: 100})
	if _, err := r.Next(); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for {
		if _, err := r.NextRow(); err != nil {
			break
		}
		rows++
	}
	if rows != 1<<18+1 {
		t.Errorf("%d rows", rows)
	}
}
