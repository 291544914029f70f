package state

import (
	"database/sql"
	"strconv"
	"strings"
	"time"
)

// Times are kept as nanoseconds since 1970, and 0 for the zero time.

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n).UTC()
}

func timeOrNil(t *time.Time) sql.NullInt64 {
	if t == nil {
		return sql.NullInt64{}
	}
	return sql.NullInt64{Int64: nanos(*t), Valid: true}
}

func timeIfSet(n sql.NullInt64) *time.Time {
	if !n.Valid {
		return nil
	}
	t := timeOf(n.Int64)
	return &t
}

// now is the clock's time as it is kept; that of a DB that is none is zero.
func (db *DB) now() time.Time {
	if db == nil || db.clock == nil {
		return time.Time{}
	}
	return timeOf(nanos(db.clock.Now()))
}

func whereAll(conditions []string) string {
	if len(conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(conditions, " AND ")
}

// part is limit with how many of the first are left out.
func part(offset, most int) string {
	if offset <= 0 {
		return limit(most)
	}
	if most <= 0 {
		most = -1 // SQLite has no offset without a limit
	}
	return " LIMIT " + strconv.Itoa(most) + " OFFSET " + strconv.Itoa(offset)
}

func limit(n int) string {
	if n <= 0 {
		return ""
	}
	return " LIMIT " + strconv.Itoa(n)
}
