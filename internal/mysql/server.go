package mysql

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
)

// Error numbers that callers tell apart.
// https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	erDBAccessDenied     = 1044
	erAccessDenied       = 1045
	erUnknownDatabase    = 1049
	erTooManyConnections = 1040

	erTooManyUserConnections = 1203
	erUserLimitReached       = 1226
	erHostBlocked            = 1129
	erHostNotPrivileged      = 1130
	erAccessDeniedNoPassword = 1698
	erMustChangePassword     = 1820
	erPasswordExpired        = 1862
	erAccountLockedMySQL     = 3118
	erSecureTransport        = 3159
	erAccountLockedMariaDB   = 4151

	erServerShutdown       = 1053
	erQueryInterrupted     = 1317
	erConnectionKilled     = 1927
	erStatementTimeMariaDB = 1969
	erStatementTimeMySQL   = 3024

	erTableAccessDenied    = 1142
	erColumnAccessDenied   = 1143
	erSpecificAccessDenied = 1227
	erRoutineAccessDenied  = 1370

	ErNoSuchTable         = 1146
	ErNoSuchTableInEngine = 1932
	ErLockWaitTimeout     = 1205
	ErDeadlock            = 1213
	ErTableDefChanged     = 1412
	ErViewInvalid         = 1356

	erDiskFull           = 1021
	erErrorWriting       = 1026
	erTableFull          = 1114
	erTableCorrupt       = 1034
	erTableCrashed       = 1194
	erTableCrashedRepair = 1195
	erCorrupt            = 1877
	erPacketTooLarge     = 1153

	erParse               = 1064
	erUnknownVariable     = 1193
	erLoadInfileDisabled  = 1148
	erLocalInfileDisabled = 3948
	erLoadLocalForbidden  = 4166
)

// Number returns the server's error number in err's chain, or 0.
func Number(err error) int {
	var e *ServerError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// ServerText returns what the server said, without number and state, or err's
// own text when it is not the server's.
func ServerText(err error) string {
	var e *ServerError
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// AccessDenied says whether err is the server's word that the account lacks a right.
func AccessDenied(err error) bool {
	switch Number(err) {
	case erDBAccessDenied, erAccessDenied, erTableAccessDenied, erColumnAccessDenied, erSpecificAccessDenied, erRoutineAccessDenied:
		return true
	}
	return false
}

// Interrupted says whether err means that a KILL ended the statement or the
// session.
func Interrupted(err error) bool {
	n := Number(err)
	return n == erQueryInterrupted || n == erConnectionKilled
}

// LocalDisabled says whether err means that LOAD DATA LOCAL is switched off on
// the server.
func LocalDisabled(err error) bool {
	switch Number(err) {
	case erLoadInfileDisabled, erLocalInfileDisabled, erLoadLocalForbidden:
		return true
	}
	return false
}

// NotUnderstood says whether err means that the server does not know the
// statement or variable: an older version, or the other vendor.
func NotUnderstood(err error) bool {
	n := Number(err)
	return n == erParse || n == erUnknownVariable
}

// Vendors of servers.
const (
	MariaDB = "mariadb"
	MySQL   = "mysql"
)

// prepareSession puts the session into the state that dump and load rely on,
// whatever the server's defaults are.
func (c *Conn) prepareSession(ctx context.Context) error {
	if _, err := c.Exec(ctx, "SET NAMES utf8mb4, SESSION sql_mode='', SESSION time_zone='+00:00', SESSION autocommit=1,"+
		" SESSION wait_timeout=86400, SESSION net_read_timeout=3600, SESSION net_write_timeout=3600,"+
		// Not DEFAULT, which is the global value: a limit there would cut every table short.
		" SESSION sql_select_limit=18446744073709551615, SESSION sql_big_selects=1,"+
		// By default a session waits a day for a table that somebody alters.
		" SESSION sql_quote_show_create=1, SESSION lock_wait_timeout=300"); err != nil {
		return fmt.Errorf("prepare database session: %w", err)
	}
	for _, set := range []string{
		// A limit on statements would cut a long table short. Each vendor has its own.
		"max_statement_time=0", "max_execution_time=0",
		// MySQL can hide the primary keys that it made by itself.
		"show_gipk_in_create_table_and_information_schema=1",
	} {
		if _, err := c.Exec(ctx, "SET SESSION "+set); err != nil && !NotUnderstood(err) {
			return fmt.Errorf("prepare database session: %w", err)
		}
	}
	return nil
}

// Server is what a session can learn of its server.
type Server struct {
	core.DatabaseServer
	VersionNumber int  // 101106 for 10.11.6, 80036 for 8.0.36
	LocalInfile   bool // LOAD DATA LOCAL is allowed
	ID            string
}

// MariaDB says whether the server is MariaDB.
func (s Server) MariaDB() bool { return s.Vendor == MariaDB }

// Server asks the server about itself.
func (c *Conn) Server(ctx context.Context) (Server, error) {
	rows, err := c.Query(ctx, "SELECT @@version, @@version_comment, @@global.sql_mode, @@global.time_zone, @@lower_case_table_names, @@max_allowed_packet, @@local_infile, @@hostname, @@port")
	if err != nil {
		return Server{}, fmt.Errorf("ask the server about itself: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 9 {
		return Server{}, errors.New("ask the server about itself: unexpected answer")
	}
	r := rows[0]
	s := Server{}
	s.Version, s.SQLMode, s.TimeZone = r[0].Text, r[2].Text, r[3].Text
	s.Vendor = MySQL
	if strings.Contains(strings.ToLower(r[0].Text+r[1].Text), "mariadb") {
		s.Vendor = MariaDB
	}
	if s.LowerCaseTableNames, err = strconv.Atoi(r[4].Text); err != nil {
		return Server{}, fmt.Errorf("ask the server about itself: %w", err)
	}
	if s.MaxAllowedPacket, err = strconv.ParseInt(r[5].Text, 10, 64); err != nil {
		return Server{}, fmt.Errorf("ask the server about itself: %w", err)
	}
	s.LocalInfile = r[6].Text == "1" || strings.EqualFold(r[6].Text, "ON")
	s.VersionNumber = VersionNumber(s.Version)
	s.ID = r[7].Text + ":" + r[8].Text
	return s, nil
}

// VersionNumber reads "10.11.6-MariaDB-…" as 101106. What is not a number counts as 0.
func VersionNumber(version string) int {
	head, _, _ := strings.Cut(version, "-")
	n := 0
	parts := strings.SplitN(head, ".", 3)
	for i := range 3 {
		n *= 100
		if i < len(parts) {
			digits := strings.TrimRight(strings.TrimLeftFunc(parts[i], func(r rune) bool { return r < '0' || r > '9' }), "+abcdefghijklmnopqrstuvwxyz~")
			v, err := strconv.Atoi(digits)
			if err != nil {
				v = 0
			}
			n += v
		}
	}
	return n
}

// QuoteName quotes an identifier.
func QuoteName(name string) string {
	return "`" + strings.ReplaceAll(name, "`", "``") + "`"
}

// QuoteNames quotes identifiers and joins them with ", ".
func QuoteNames(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = QuoteName(n)
	}
	return strings.Join(quoted, ", ")
}

// QuoteText makes a string literal. It holds under every sql_mode: it uses no
// backslash and doubles single quotes; text with a backslash becomes
// hexadecimal, which NO_BACKSLASH_ESCAPES reads alike.
func QuoteText(text string) string {
	if strings.ContainsRune(text, '\\') {
		return fmt.Sprintf("CONVERT(0x%x USING utf8mb4)", text)
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}
