package sqlload

import (
	"context"
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/mysql/sqlread"
)

// A statement of a dump must not hold an import for ever. Only MariaDB has a
// limit for statements that write, and a server of others has its own rules.

const (
	// statementLimit is that of a batch of rows or a definition: seconds are usual.
	statementLimit = 30 * time.Minute
	// longLimit is that of what goes through a whole table, such as making an index.
	longLimit = 48 * time.Hour
)

// limits says whether statements have a limit.
func (l *loader) limits() bool { return l.limit > 0 && l.opt.Dir != "" && l.server.MariaDB() }

// setLimit gives every session the limit of a statement.
func (l *loader) setLimit(ctx context.Context) error {
	if !l.limits() {
		return nil
	}
	for _, h := range append([]*hand{{conn: l.state}}, l.hands...) {
		if err := h.allow(ctx, l.limit); err != nil {
			return err
		}
	}
	return nil
}

// allow gives the first session, which no worker uses meanwhile, another limit.
func (l *loader) allow(ctx context.Context, limit time.Duration) error {
	if !l.limits() {
		return nil
	}
	return l.hands[0].allow(ctx, limit)
}

func (h *hand) allow(ctx context.Context, limit time.Duration) error {
	if h.limit == limit {
		return nil
	}
	if _, err := h.conn.Exec(ctx, fmt.Sprintf("SET SESSION max_statement_time=%f", limit.Seconds())); err != nil {
		return fmt.Errorf("limit how long a statement takes: %w", err)
	}
	h.limit = limit
	return nil
}

// limitOf says how long a statement may take.
func (l *loader) limitOf(s *sqlread.Statement) time.Duration {
	if s.Kind == sqlread.KindAlter || s.Object == sqlread.ObjectIndex {
		return longLimit
	}
	return l.limit
}

// explainLimit says whose limit it was that ended a statement.
func (l *loader) explainLimit(err error) error {
	const erStatementTime = 1969
	if mysql.Number(err) != erStatementTime || !l.limits() {
		return err
	}
	return &core.Error{
		Code: core.CodeUnsupported, Op: op, Message: fmt.Sprintf("a statement of the dump ran for longer than the %s that it may", l.limit), Err: err,
		Hint: "no dump has statements that take so long, unless this machine's disk hangs: look at the dump around the line that is named",
	}
}
