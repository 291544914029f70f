// Package remarks reads what the comments of an SQL dump say of it: who wrote
// it, of which server and database, and what comes next. It is for packages
// sqlread and sqlcheck.
package remarks

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/mysql/sqlread/lexer"
)

// Dialect is the program that wrote a dump.
type Dialect string

// The dialects.
const (
	DialectUnknown    Dialect = ""
	DialectMySQLDump  Dialect = "mysqldump"
	DialectMariaDB    Dialect = "mariadb-dump"
	DialectMySQLPump  Dialect = "mysqlpump"
	DialectPHPMyAdmin Dialect = "phpmyadmin"
	DialectAdminer    Dialect = "adminer"
	DialectHeidiSQL   Dialect = "heidisql"
	DialectITFlow     Dialect = "itflow"
	DialectBackstay   Dialect = "backstay"
)

// The vendors of servers.
const (
	VendorMySQL   = "mysql"
	VendorMariaDB = "mariadb"
)

// Head is what comments of a dump say of it.
type Head struct {
	Dialect  Dialect
	Vendor   string
	Version  string
	Number   int
	Database string
	Time     time.Time
	TimeText string
	Zoned    bool // the dump says in which zone Time is; otherwise it is taken for this machine's

	Ended bool // the marker of the end was seen
}

var (
	versionNumber  = regexp.MustCompile(`(\d{1,2})\.(\d{1,2})\.(\d{1,2})`)
	adminerHead    = regexp.MustCompile(`^Adminer(?:Evo)? \S+ (\S+) (\S+) dump`)
	adminerEnd     = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: UTC)?$`)
	generationTime = regexp.MustCompile(`^Generation Time: (.+)$`)
)

// Hear reads a comment between statements.
func (h *Head) Hear(text []byte) {
	if len(text) > 1000 || len(text) < 4 || text[0] != '-' && text[0] != '#' {
		return
	}
	line := strings.TrimSpace(strings.TrimLeft(string(text), "-# "))
	said := func(d Dialect) {
		if h.Dialect == DialectUnknown {
			h.Dialect = d
		}
	}
	after := func(prefix string) (string, bool) {
		rest, ok := strings.CutPrefix(line, prefix)
		return strings.TrimSpace(rest), ok
	}
	if _, ok := after("MariaDB dump "); ok {
		said(DialectMariaDB)
	} else if _, ok := after("MySQL dump "); ok {
		said(DialectMySQLDump)
	} else if _, ok := after("Dump created by MySQL pump utility"); ok {
		said(DialectMySQLPump)
	} else if _, ok := after("phpMyAdmin SQL Dump"); ok {
		said(DialectPHPMyAdmin)
	} else if _, ok := after("HeidiSQL Version:"); ok {
		said(DialectHeidiSQL)
	} else if _, ok := after("ITFlow database backup"); ok {
		said(DialectITFlow)
	} else if _, ok := after("backstay dump"); ok {
		said(DialectBackstay)
	} else if m := adminerHead.FindStringSubmatch(line); m != nil {
		said(DialectAdminer)
		h.server(m[2], m[1])
	} else if v, ok := after("Server version"); ok {
		h.server(strings.TrimSpace(strings.TrimPrefix(v, ":")), "")
	} else if _, rest, ok := strings.Cut(line, "    Database: "); ok && strings.HasPrefix(line, "Host: ") {
		h.named(rest)
	} else if v, ok := after("Database: "); ok {
		h.named(lexer.Unquote(v, false))
	} else if v, ok := after("Dumping database structure for "); ok {
		h.named(v)
	} else if v, ok := after("Dump completed"); ok {
		h.Ended = true
		h.made(strings.TrimPrefix(v, "on "), "2006-01-02 15:04:05")
	} else if v, ok := after("Dump start time: "); ok {
		h.made(v, "Mon Jan 2 15:04:05 2006")
	} else if _, ok := after("Dump end time: "); ok {
		h.Ended = true
	} else if v, ok := after("Generated "); ok && h.Dialect == DialectITFlow {
		h.made(v, "2006-01-02 15:04:05")
	} else if m := generationTime.FindStringSubmatch(line); m != nil {
		h.made(m[1], "Jan 2, 2006 at 03:04 PM")
	} else if h.Dialect == DialectAdminer && adminerEnd.MatchString(line) {
		h.Ended = true
		text, utc := strings.CutSuffix(line, " UTC")
		h.Zoned = utc
		h.made(text, "2006-01-02 15:04:05")
	}
}

func (h *Head) named(database string) {
	if h.Database == "" && len(database) <= 256 && h.Dialect != DialectITFlow {
		h.Database = database
	}
}

func (h *Head) server(version, vendor string) {
	if h.Version != "" || version == "" {
		return
	}
	h.Version = lexer.Clean([]byte(version), 100)
	if m := versionNumber.FindStringSubmatch(version); m != nil {
		for _, part := range m[1:] {
			n, _ := strconv.Atoi(part) // two digits
			h.Number = h.Number*100 + n
		}
	}
	h.Vendor = VendorMySQL
	if strings.Contains(strings.ToLower(version+vendor), "mariadb") || h.Dialect == DialectMariaDB || h.Number >= 100000 {
		h.Vendor = VendorMariaDB
	}
}

func (h *Head) made(text, layout string) {
	if text == "" {
		return
	}
	h.TimeText = lexer.Clean([]byte(text), 100)
	zone := time.Local // programs write what the clock on the wall says
	if h.Zoned = h.Zoned || h.Dialect == DialectBackstay; h.Zoned {
		zone = time.UTC
	}
	if t, err := time.ParseInLocation(layout, strings.Join(strings.Fields(text), " "), zone); err == nil {
		h.Time = t
	}
}

// announced are the words with which a dump says that an object follows.
var announced = []struct {
	prefix string
	kind   Announcement
}{
	{"Table structure for table ", Table},
	{"Dumping structure for table ", Table},
	{"Temporary table structure for view ", StandIn},
	{"Temporary view structure for view ", StandIn},
	{"Stand-in structure for view ", StandIn},
	{"Final view structure for view ", View},
	{"Structure for view ", View},
	{"Dumping structure for view ", View},
	{"Table structure for ", Table},
	{"Dumping data for table ", Rows},
	{"Table ", Table},
	{"View ", View},
}

// Announcement is what a comment says that follows.
type Announcement int

// The announcements.
const (
	Nothing Announcement = iota
	Table
	StandIn
	View
	Rows
)

// Announces returns what a comment says that follows.
func Announces(text []byte) (Announcement, string) {
	if len(text) > 1000 || !bytes.HasPrefix(text, []byte("--")) {
		return Nothing, ""
	}
	line := strings.TrimSpace(strings.TrimLeft(string(text), "- "))
	for _, a := range announced {
		name, ok := strings.CutPrefix(line, a.prefix)
		if !ok || name == "" {
			continue
		}
		if name[0] == '`' || name[0] == '"' || name[0] == '\'' {
			if end := strings.LastIndexByte(name, name[0]); end > 0 {
				return a.kind, lexer.Unquote(name[:end+1], false)
			}
			return Nothing, ""
		}
		// HeidiSQL writes database.table, without quotes.
		if _, table, ok := strings.Cut(name, "."); ok && strings.HasPrefix(a.prefix, "Dumping") {
			return a.kind, table
		}
		return Nothing, ""
	}
	return Nothing, ""
}
