package access

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"net/netip"
	"time"
)

// How guessing is slowed down; see docs/spec/access.md.
const (
	freeFailures    = 5                // wrong ones of a name before there are waits
	longestWait     = 15 * time.Minute // of a name, and the window of an address
	addressFailures = 50               // wrong ones of an address within the window
	forgetFailures  = 24 * time.Hour   // after the last wrong one
	knownFor        = 90 * 24 * time.Hour
	maxStrangers    = 10_000 // rows that are no user's
)

// The addresses of rows that are about something else than logins.
const (
	withinSession = "session"
	tokenPrefix   = "token "
)

// placeOf is what an address counts as: somebody has all of an IPv6 /64.
func placeOf(a netip.Addr) string {
	if !a.IsValid() {
		return "unknown"
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}

func nameKey(folded string) []byte {
	sum := sha256.Sum256([]byte(folded))
	return sum[:]
}

// counter counts wrong attempts at one thing. It is used by one goroutine.
type counter struct {
	name    []byte // empty: of an address
	address string
	user    int64 // 0: no user's
	until   int64 // the wait that this attempt began; nanoseconds
}

// wait is how long this counter keeps everybody waiting.
func (c *counter) wait(ctx context.Context, q querier, now time.Time) (time.Duration, error) {
	var until int64
	err := q.QueryRowContext(ctx, "SELECT until FROM attempts WHERE name = ? AND address = ?", c.name, c.address).Scan(&until)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	wait := time.Unix(0, until).Sub(now)
	if err != nil || wait <= 0 || wait > longestWait { // a clock that was wrong is to keep nobody out for days
		return 0, err
	}
	return wait, nil
}

// note counts an attempt, before it is known to be wrong.
func (c *counter) note(ctx context.Context, tx *sql.Tx, now time.Time) error {
	var failures, since, last int64
	err := tx.QueryRowContext(ctx, "SELECT failures, since, last FROM attempts WHERE name = ? AND address = ?", c.name, c.address).Scan(&failures, &since, &last)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	began := time.Unix(0, since)
	over := now.Sub(time.Unix(0, last)) >= forgetFailures
	if len(c.name) == 0 {
		over = now.Sub(began) >= longestWait
	}
	if over || began.After(now) {
		failures, began = 0, now
	}
	failures++
	c.until = 0
	switch {
	case len(c.name) > 0 && failures >= freeFailures:
		wait := longestWait
		if doubled := failures - freeFailures; doubled < 10 { // 512 s is the last below it
			wait = time.Second << doubled
		}
		c.until = now.Add(wait).UnixNano()
	case len(c.name) == 0 && failures >= addressFailures:
		c.until = began.Add(longestWait).UnixNano()
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO attempts (name, address, user, failures, since, last, until) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (name, address) DO UPDATE SET user = excluded.user, failures = excluded.failures, since = excluded.since, last = excluded.last, until = excluded.until`,
		c.name, c.address, c.user, failures, began.UnixNano(), now.UnixNano(), c.until)
	return err
}

// takeBack forgets this attempt, and no other.
func (c *counter) takeBack(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "UPDATE attempts SET failures = max(failures - 1, 0), until = iif(until = ?, 0, until) WHERE name = ? AND address = ?", c.until, c.name, c.address)
	return err
}

// attempt is one attempt to get in, which counts as wrong until it is known to
// be right.
type attempt struct{ counters []*counter }

// begin counts the attempt, or says how long to wait: a RetryAfter.
func (a *attempt) begin(ctx context.Context, tx *sql.Tx, now time.Time, most int) error {
	var longest time.Duration
	for _, c := range a.counters {
		wait, err := c.wait(ctx, tx, now)
		if err != nil {
			return err
		}
		longest = max(longest, wait)
	}
	if longest > 0 {
		return &RetryAfter{Wait: longest}
	}
	for _, c := range a.counters {
		if err := c.note(ctx, tx, now); err != nil {
			return err
		}
	}
	return dropStrangers(ctx, tx, most)
}

// dropStrangers keeps rows that are no user's from filling the database.
func dropStrangers(ctx context.Context, tx *sql.Tx, most int) error {
	var rows int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM attempts WHERE user = 0").Scan(&rows); err != nil || rows <= most {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM attempts WHERE (name, address) IN (SELECT name, address FROM attempts WHERE user = 0 ORDER BY last, address LIMIT ?)", rows-most)
	return err
}

// half takes the attempt back: it was right, and something more is asked for.
func (a *attempt) half(ctx context.Context, tx *sql.Tx) error {
	for _, c := range a.counters {
		if err := c.takeBack(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// right forgets what the name got wrong, and takes the attempt off the address.
func (a *attempt) right(ctx context.Context, tx *sql.Tx) error {
	for _, c := range a.counters {
		if len(c.name) == 0 {
			if err := c.takeBack(ctx, tx); err != nil {
				return err
			}
			continue
		}
		if _, err := tx.ExecContext(ctx, "DELETE FROM attempts WHERE name = ? AND address IN (?, '')", c.name, c.address); err != nil {
			return err
		}
	}
	return nil
}

// unlock forgets all that a name got wrong.
func unlock(ctx context.Context, tx *sql.Tx, folded string) error {
	_, err := tx.ExecContext(ctx, "DELETE FROM attempts WHERE name = ?", nameKey(folded))
	return err
}

// atLogin are the counters of a login: of the name, or where the person was
// before, of the name there; and of the address.
func atLogin(ctx context.Context, tx *sql.Tx, folded string, user int64, from netip.Addr, now time.Time) (*attempt, error) {
	place := placeOf(from)
	name := &counter{name: nameKey(folded), user: user}
	if user != 0 && from.IsValid() {
		var known bool
		err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM known WHERE user = ? AND address = ? AND last > ?)", user, place, now.Add(-knownFor).UnixNano()).Scan(&known)
		if err != nil {
			return nil, err
		}
		if known {
			name.address = place
		}
	}
	return &attempt{[]*counter{name, {name: []byte{}, address: place}}}, nil
}
