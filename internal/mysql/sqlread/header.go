package sqlread

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	vendorMySQL   = "mysql"
	vendorMariaDB = "mariadb"
)

// head is what the comments of a dump say of it.
type head struct {
	dialect  Dialect
	vendor   string
	version  string
	number   int
	database string
	time     time.Time
	timeText string

	ended bool // the marker of the end was seen
}

var (
	versionNumber  = regexp.MustCompile(`(\d{1,2})\.(\d{1,2})\.(\d{1,2})`)
	adminerHead    = regexp.MustCompile(`^Adminer(?:Evo)? \S+ (\S+) (\S+) dump`)
	adminerEnd     = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?: UTC)?$`)
	generationTime = regexp.MustCompile(`^Generation Time: (.+)$`)
)

// hear reads a comment between statements.
func (h *head) hear(text []byte) {
	if len(text) > 1000 || len(text) < 4 || text[0] != '-' && text[0] != '#' {
		return
	}
	line := strings.TrimSpace(strings.TrimLeft(string(text), "-# "))
	said := func(d Dialect) {
		if h.dialect == DialectUnknown {
			h.dialect = d
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
	} else if m := adminerHead.FindStringSubmatch(line); m != nil {
		said(DialectAdminer)
		h.server(m[2], m[1])
	} else if v, ok := after("Server version"); ok {
		h.server(strings.TrimSpace(strings.TrimPrefix(v, ":")), "")
	} else if _, rest, ok := strings.Cut(line, "    Database: "); ok && strings.HasPrefix(line, "Host: ") {
		h.named(rest)
	} else if v, ok := after("Database: "); ok {
		h.named(unquote(v, false))
	} else if v, ok := after("Dumping database structure for "); ok {
		h.named(v)
	} else if v, ok := after("Dump completed"); ok {
		h.ended = true
		h.made(strings.TrimPrefix(v, "on "), "2006-01-02 15:04:05")
	} else if v, ok := after("Dump start time: "); ok {
		h.made(v, "Mon Jan 2 15:04:05 2006")
	} else if _, ok := after("Dump end time: "); ok {
		h.ended = true
	} else if v, ok := after("Generated "); ok && h.dialect == DialectITFlow {
		h.made(v, "2006-01-02 15:04:05")
	} else if m := generationTime.FindStringSubmatch(line); m != nil {
		h.made(m[1], "Jan 2, 2006 at 03:04 PM")
	} else if h.dialect == DialectAdminer && adminerEnd.MatchString(line) {
		h.ended = true
		h.made(strings.TrimSuffix(line, " UTC"), "2006-01-02 15:04:05")
	}
}

func (h *head) named(database string) {
	if h.database == "" && len(database) <= 4*maxName && h.dialect != DialectITFlow {
		h.database = database
	}
}

func (h *head) server(version, vendor string) {
	if h.version != "" || version == "" {
		return
	}
	h.version = clean([]byte(version), 100)
	if m := versionNumber.FindStringSubmatch(version); m != nil {
		for _, part := range m[1:] {
			n, _ := strconv.Atoi(part) // two digits
			h.number = h.number*100 + n
		}
	}
	h.vendor = vendorMySQL
	if strings.Contains(strings.ToLower(version+vendor), "mariadb") || h.dialect == DialectMariaDB || h.number >= 100000 {
		h.vendor = vendorMariaDB
	}
}

func (h *head) made(text, layout string) {
	if text == "" {
		return
	}
	h.timeText = clean([]byte(text), 100)
	if t, err := time.Parse(layout, strings.Join(strings.Fields(text), " ")); err == nil {
		h.time = t
	}
}

// announced are the words with which a dump says that an object follows.
var announced = []struct {
	prefix string
	kind   announcement
}{
	{"Table structure for table ", announcesTable},
	{"Dumping structure for table ", announcesTable},
	{"Temporary table structure for view ", announcesStandIn},
	{"Temporary view structure for view ", announcesStandIn},
	{"Stand-in structure for view ", announcesStandIn},
	{"Final view structure for view ", announcesView},
	{"Structure for view ", announcesView},
	{"Dumping structure for view ", announcesView},
	{"Table structure for ", announcesTable},
	{"Dumping data for table ", announcesRows},
	{"Table ", announcesTable},
	{"View ", announcesView},
}

type announcement int

const (
	announcesNothing announcement = iota
	announcesTable
	announcesStandIn
	announcesView
	announcesRows
)

// announces returns what a comment says that follows.
func announces(text []byte) (announcement, string) {
	if len(text) > 1000 || !bytes.HasPrefix(text, []byte("--")) {
		return announcesNothing, ""
	}
	line := strings.TrimSpace(strings.TrimLeft(string(text), "- "))
	for _, a := range announced {
		name, ok := strings.CutPrefix(line, a.prefix)
		if !ok || name == "" {
			continue
		}
		if name[0] == '`' || name[0] == '"' || name[0] == '\'' {
			if end := strings.LastIndexByte(name, name[0]); end > 0 {
				return a.kind, unquote(name[:end+1], false)
			}
			return announcesNothing, ""
		}
		// HeidiSQL writes database.table, without quotes.
		if _, table, ok := strings.Cut(name, "."); ok && strings.HasPrefix(a.prefix, "Dumping") {
			return a.kind, table
		}
		return announcesNothing, ""
	}
	return announcesNothing, ""
}
