// Package corpus holds hostile databases: small ones, each full of one thing
// that tools of this kind have lost, changed or choked on. It is for tests of
// whatever dumps, loads or compares databases. Each case says what it guards;
// docs/exactness.md lists them all, and a test keeps the two alike.
package corpus

import (
	"fmt"
	"regexp"
	"strconv"

	"github.com/backstay/backstay/internal/mysql"
)

// Case is a database that is made by running SQL, in order, in one session in
// an empty utf8mb4 database. A statement that begins with one of the marks runs
// only where the mark says:
//
//	/*mariadb*/            on MariaDB
//	/*mariadb 110801*/     on MariaDB 11.8.1 and later
//	/*mysql 90000*/        on MySQL 9.0.0 and later
type Case struct {
	Name   string // what is in it; unique
	Guards string // what a tool that does not take care does to it
	SQL    []string

	// Unfit says why the case means nothing to a server; "" where it does. nil
	// is for all servers.
	Unfit func(mysql.Server) string
	// Packets says that rows do not fit into max_allowed_packet as the text of
	// an INSERT, so that they can be loaded by LOAD DATA only.
	Packets bool
	// Warnings are the codes of the warnings that a dump of it gives, in order.
	Warnings []string
	// Lost are the views that no copy can have: they do not work.
	Lost []string
	// Slow cases take many seconds.
	Slow bool
}

var mark = regexp.MustCompile(`^/\*(mariadb|mysql)(?: (\d+))?\*/ `)

// Statements returns what makes the case on a server.
func (c Case) Statements(s mysql.Server) []string {
	var statements []string
	for _, statement := range c.SQL {
		m := mark.FindStringSubmatch(statement)
		if m == nil {
			statements = append(statements, statement)
			continue
		}
		from := 0
		if m[2] != "" {
			from, _ = strconv.Atoi(m[2]) // digits, as the pattern has it
		}
		if m[1] == s.Vendor && s.VersionNumber >= from {
			statements = append(statements, statement[len(m[0]):])
		}
	}
	return statements
}

// Cases returns all cases, in the order of docs/exactness.md.
func Cases() []Case {
	var cases []Case
	for _, group := range Groups() {
		cases = append(cases, group.Cases...)
	}
	return cases
}

// Group is the cases of one kind.
type Group struct {
	Name  string
	Cases []Case
}

// Groups returns the cases by kind.
func Groups() []Group {
	return []Group{
		{"Values", values()},
		{"Texts", texts()},
		{"Columns", columns()},
		{"Keys", keys()},
		{"Tables", tables()},
		{"Names and comments", names()},
		{"Views, triggers, routines, events, sequences", objects()},
	}
}

// only makes an Unfit for what one vendor has, from a version on.
func only(vendor string, version int, what string) func(mysql.Server) string {
	return func(s mysql.Server) string {
		if s.Vendor != vendor {
			return what
		}
		if s.VersionNumber < version {
			return fmt.Sprintf("%s before version %d.%d", what, version/10000, version/100%100)
		}
		return ""
	}
}
