package sqlload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/load"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// What a dump sets for its session decides what its statements mean. Its SET
// statements run on a session of their own, so that none can undo what a load
// relies on (no checks of foreign keys, warnings counted), and what matters of
// it is set on the sessions that run the rest.

// settings are the values of tracked variables, "name=value" each, joined by
// commas, but for sql_mode.
type settings struct {
	values string
	mode   string
}

// exact are the settings as the dump has them: stored objects keep their sql_mode.
func (s settings) exact() settings { return s }

// forRows are settings under which every definition and value comes in as it
// is. Values that do not fit are counted from the server's warnings: under a
// strict mode old data with zero dates or empty ENUM values would not come in at all.
func (s settings) forRows() settings {
	var modes []string
	for mode := range strings.SplitSeq(s.mode, ",") {
		switch mode {
		case "", "STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "NO_ZERO_DATE", "NO_ZERO_IN_DATE", "ERROR_FOR_DIVISION_BY_ZERO",
			"TRADITIONAL", "NO_AUTO_CREATE_USER", "ONLY_FULL_GROUP_BY", "NO_AUTO_VALUE_ON_ZERO", "ALLOW_INVALID_DATES", "NO_ENGINE_SUBSTITUTION":
		default:
			modes = append(modes, mode)
		}
	}
	// A 0 in a dump is a 0, and an engine that is not there must not become another.
	// Files of a table must not get to another place.
	s.mode = strings.Join(append(modes, "NO_AUTO_VALUE_ON_ZERO", "ALLOW_INVALID_DATES", "NO_ENGINE_SUBSTITUTION", "NO_DIR_IN_CREATE"), ",")
	return s
}

// hand is a session that runs statements under given settings.
type hand struct {
	conn  *mysql.Conn
	now   settings
	limit time.Duration // of a statement; 0: none
}

func (h *hand) exec(ctx context.Context, want settings, statement string) (mysql.Result, error) {
	if h.now != want {
		if _, err := h.conn.Exec(ctx, "SET "+want.values+", sql_mode='"+want.mode+"'"); err != nil {
			return mysql.Result{}, fmt.Errorf("set what the dump sets: %w", err)
		}
		h.now = want
	}
	return h.conn.Exec(ctx, statement)
}

func (l *loader) connect(ctx context.Context) (err error) {
	if l.state, err = mysql.Connect(ctx, l.opt.Config); err != nil {
		return err
	}
	if l.server, err = l.state.Server(ctx); err != nil {
		return err
	}
	zone := "DEFAULT"
	if l.opt.TimeZone != "" {
		zone = mysql.QuoteText(l.opt.TimeZone)
	}
	// A dump that names no zone was written in that of its server.
	if _, err := l.state.Exec(ctx, "SET time_zone="+zone); err != nil {
		return fmt.Errorf("prepare database session: %w", err)
	}
	l.tracked = []string{"character_set_client", "collation_connection", "time_zone", "default_storage_engine"}
	for _, optional := range []string{
		// A definition without a collation is of a server on which utf8mb4 meant
		// utf8mb4_general_ci: newer ones always name it.
		"character_set_collations=''", "default_collation_for_utf8mb4='utf8mb4_general_ci'",
		"system_versioning_insert_history=0",
	} {
		_, err := l.state.Exec(ctx, "SET SESSION "+optional)
		if err == nil {
			name, _, _ := strings.Cut(optional, "=")
			l.tracked = append(l.tracked, name)
		} else if mysql.Number(err) == 0 {
			return fmt.Errorf("prepare database session: %w", err)
		}
	}
	n := l.opt.Connections
	if n <= 0 {
		n = connections(l.opt.Config)
	}
	for range n {
		c, err := load.Session(ctx, l.opt.Config)
		if err != nil {
			return err
		}
		l.hands = append(l.hands, &hand{conn: c})
		// Every change of a value is to be heard of, in words that can be read.
		if _, err := c.Exec(ctx, "SET SESSION sql_notes=1"); err != nil {
			return fmt.Errorf("prepare database session: %w", err)
		}
		if _, err := c.Exec(ctx, "SET SESSION lc_messages='en_US'"); err != nil && mysql.Number(err) == 0 {
			return fmt.Errorf("prepare database session: %w", err)
		}
		l.batchRows = batchRows
		if _, err := c.Exec(ctx, "SET SESSION max_error_count=65535"); err != nil {
			if mysql.Number(err) == 0 {
				return fmt.Errorf("prepare database session: %w", err)
			}
			l.batchRows = fewRows // not every account of MySQL may
		}
	}
	if err := l.setLimit(ctx); err != nil {
		return err
	}
	l.changed = true
	l.room = newRoom()
	if err := l.askAround(ctx); err != nil {
		return err
	}
	return l.refresh(ctx)
}

// connections is how many sessions take rows when nobody says: see package load.
func connections(c mysql.Config) int {
	if _, _, err := net.SplitHostPort(c.Address()); err != nil { // a socket
		return min(max(runtime.NumCPU(), 2), 8)
	}
	return 4
}

// askAround asks what else is on the server.
func (l *loader) askAround(ctx context.Context) error {
	rows, err := l.hands[0].conn.Query(ctx, "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA")
	if err != nil {
		return fmt.Errorf("list databases: %w", err)
	}
	l.others = map[string]bool{"mysql": true, "sys": true, "performance_schema": true}
	for _, r := range rows {
		if name := r[0].Text; name != l.opt.Config.Database && !strings.EqualFold(name, "information_schema") {
			l.others[strings.ToLower(name)] = true
		}
	}
	if rows, err = l.hands[0].conn.Query(ctx, "SELECT @@event_scheduler"); err != nil {
		return fmt.Errorf("ask for the event scheduler: %w", err)
	}
	l.scheduler = len(rows) == 1 && (rows[0][0].Text == "ON" || rows[0][0].Text == "1")
	return l.askCollation(ctx)
}

func (l *loader) askCollation(ctx context.Context) error {
	rows, err := l.hands[0].conn.Query(ctx, "SELECT @@collation_database")
	if err != nil || len(rows) != 1 {
		return fmt.Errorf("ask for the database's collation: %w", errors.Join(err))
	}
	l.collation = rows[0][0].Text
	return nil
}

func (l *loader) close() error {
	var errs []error
	if l.state != nil {
		errs = append(errs, l.state.Close())
	}
	for _, h := range l.hands {
		errs = append(errs, h.conn.Close())
	}
	return errors.Join(errs...)
}

var (
	meaningful    = regexp.MustCompile(`(?i)\b(names|character_set\w*|character|charset|collation\w*|sql_mode|time_zone|default_storage_engine|storage_engine|system_versioning\w*)\b`)
	namesZone     = regexp.MustCompile(`(?i)\btime_zone\b\s*:?=`)
	obsoleteModes = regexp.MustCompile(`(?i)\bNO_AUTO_CREATE_USER\b,?`)
)

// set runs a SET statement of the dump. What decides how the next one is read is
// compared at once.
func (l *loader) set(ctx context.Context, s *sqlread.Statement) error {
	l.changed = true
	if err := l.runSet(ctx, s); err != nil || !meaningful.MatchString(s.Text) {
		return err
	}
	return l.refresh(ctx)
}

func (l *loader) runSet(ctx context.Context, s *sqlread.Statement) error {
	if namesZone.MatchString(s.Text) {
		l.zoneSaid = true
	}
	_, err := l.state.Exec(ctx, s.Text)
	const erWrongValue = 1231
	if mysql.Number(err) == erWrongValue {
		if other := strings.ReplaceAll(obsoleteModes.ReplaceAllString(s.Text, ""), ",'", "'"); other != s.Text {
			if _, err = l.state.Exec(ctx, other); err == nil {
				l.warn(core.Warning{Code: "sql-mode", Object: "database", Message: "the sql_mode NO_AUTO_CREATE_USER of the dump means nothing to this server, and was left out"})
			}
		}
	}
	if err == nil {
		return nil
	}
	if mysql.Number(err) == 0 || ofTheServer(err) {
		return fmt.Errorf("line %d: %w", s.Line, err)
	}
	if meaningful.MatchString(s.Text) {
		return l.refusedByServer(s, err)
	}
	return nil // it has a say in how fast the dump comes in, or in what the server logs
}

// refresh reads what the dump has set, if it has set anything.
func (l *loader) refresh(ctx context.Context) error {
	if !l.changed {
		return nil
	}
	rows, err := l.state.Query(ctx, "SELECT @@sql_mode, @@"+strings.Join(l.tracked, ", @@"))
	if err != nil {
		return fmt.Errorf("ask for what the dump sets: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1+len(l.tracked) {
		return errors.New("ask for what the dump sets: unexpected answer")
	}
	believed := sqlread.Session{Charset: "utf8mb4"}
	if l.reader != nil {
		believed = l.reader.Session()
	}
	if err := agree(believed, rows[0][0].Text, rows[0][1].Text); err != nil { // character_set_client is the first that is tracked
		return err
	}
	sets := make([]string, len(l.tracked))
	for i, name := range l.tracked {
		v := rows[0][i+1].Text
		if v != "0" && v != "1" {
			v = mysql.QuoteText(v)
		}
		sets[i] = name + "=" + v
	}
	l.settings = settings{values: strings.Join(sets, ", "), mode: rows[0][0].Text}
	if strings.ContainsAny(l.settings.mode, `'\`) {
		return errors.New("ask for what the dump sets: a mode that is none")
	}
	l.changed = false
	return nil
}

var (
	ofCharset   = regexp.MustCompile(`(?i)\b(?:CHARACTER\s+SET|CHARSET)\s*=?\s*['"` + "`" + `]?(\w+)`)
	ofComment   = regexp.MustCompile(`(?is)\bCOMMENT\s*=?\s*('(?:[^'\\]|''|\\.)*')`)
	ofCollation = regexp.MustCompile(`(?i)\bCOLLATE\s*=?\s*['"` + "`" + `]?(\w+)`)
)

// useDefaults gives the scratch database the character set that the dump's
// CREATE DATABASE names.
func (l *loader) useDefaults(ctx context.Context, s *sqlread.Statement) error {
	text := s.Text
	if at := strings.Index(text, s.Name); at >= 0 {
		text = text[at+len(s.Name):]
	}
	clause := ""
	if m := ofCharset.FindStringSubmatch(text); m != nil {
		clause += " CHARACTER SET " + m[1]
	}
	if m := ofCollation.FindStringSubmatch(text); m != nil {
		clause += " COLLATE " + m[1]
	}
	if m := ofComment.FindStringSubmatch(text); m != nil && l.server.MariaDB() && l.server.VersionNumber >= 100500 {
		clause += " COMMENT " + m[1]
	}
	if clause == "" {
		return nil
	}
	if err := l.drain(ctx); err != nil {
		return err
	}
	if err := l.refresh(ctx); err != nil {
		return err
	}
	if _, err := l.hands[0].exec(ctx, l.settings.forRows(), "ALTER DATABASE "+mysql.QuoteName(l.opt.Config.Database)+clause); err != nil {
		return l.refusedByServer(s, err)
	}
	return l.askCollation(ctx)
}

// warnZone says in which zone TIMESTAMPs were taken, of a dump that names none.
func (l *loader) warnZone(ctx context.Context) error {
	var names []string
	for _, t := range l.tables {
		if t.zoned {
			names = append(names, t.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	rows, err := l.hands[0].conn.Query(ctx, "SELECT @@global.time_zone, @@system_time_zone")
	if err != nil || len(rows) != 1 {
		return fmt.Errorf("ask for the server's time zone: %w", errors.Join(err))
	}
	zone := rows[0][0].Text
	if zone == "SYSTEM" {
		zone = rows[0][1].Text
	}
	if l.opt.TimeZone != "" {
		zone = l.opt.TimeZone
	}
	l.warn(core.Warning{
		Code: "time-zone", Object: "database",
		Message: fmt.Sprintf("the dump does not say in which time zone its TIMESTAMPs are; they were read as %s (tables %s)", zone, core.Some(names, 3)),
	})
	return nil
}
