package state

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// untoldMax is how long a closed alarm is offered to destinations that were not
// told of its end. One that was taken out of the configuration never is.
const untoldMax = 30 * 24 * time.Hour

const alarmColumns = "id, app, topic, opened, updated, closed, problems, deliveries"

// OpenAlarms returns the alarms that are open, and those closed in the last 30
// days whose closing some destination among their Deliveries has not been told
// of; the oldest first.
func (db *DB) OpenAlarms(ctx context.Context) ([]core.Alarm, error) {
	return db.alarms(ctx, "SELECT "+alarmColumns+" FROM alarms WHERE live = 1 AND (closed IS NULL OR closed > ?) ORDER BY id", nanos(db.now().Add(-untoldMax)))
}

// Alarms returns the newest alarms, open and closed, the newest first. limit 0
// means all.
func (db *DB) Alarms(ctx context.Context, max int) ([]core.Alarm, error) {
	return db.alarms(ctx, "SELECT "+alarmColumns+" FROM alarms ORDER BY id DESC"+limit(max))
}

// SaveAlarm keeps an alarm, and gives one without an ID its ID. An app has at
// most one open alarm of a topic: when another process opened it first, a is
// that alarm afterwards (ID and Opened), with a's problems. What other processes
// saved meanwhile is not lost, and is in a afterwards: a closed alarm stays
// closed, and a delivery is replaced only by one that is as far on (nothing,
// opened, updated, closed), and loses no Ref to an empty one.
//
// It does not keep two processes from telling the same destination at the same
// time: whoever delivers needs a lock for that.
func (db *DB) SaveAlarm(ctx context.Context, a *core.Alarm) error {
	given := *a
	return db.write(ctx, "record alarm", func(tx *sql.Tx) error {
		*a = given // when this runs twice
		stored, err := storedAlarm(ctx, tx, a)
		if err != nil {
			return err
		}
		if stored != nil {
			mergeAlarm(a, stored)
		} else if a.ID != 0 {
			var taken bool
			if err := tx.QueryRowContext(ctx, "SELECT EXISTS (SELECT 1 FROM alarms WHERE id = ?)", a.ID).Scan(&taken); err != nil {
				return err
			}
			if taken {
				a.ID = 0
			}
		}
		problems, err := json.Marshal(a.Problems)
		if err != nil {
			return err
		}
		deliveries, err := json.Marshal(a.Deliveries)
		if err != nil {
			return err
		}
		res, err := tx.ExecContext(ctx, "INSERT INTO alarms ("+alarmColumns+", live) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"+
			" ON CONFLICT (id) DO UPDATE SET updated = excluded.updated, closed = excluded.closed, problems = excluded.problems, deliveries = excluded.deliveries, live = excluded.live",
			sql.NullInt64{Int64: a.ID, Valid: a.ID != 0}, a.App, a.Topic, nanos(a.Opened), nanos(a.Updated), timeOrNil(a.Closed), string(problems), string(deliveries), live(a))
		if err != nil || a.ID != 0 {
			return err
		}
		a.ID, err = res.LastInsertId()
		return err
	})
}

// storedAlarm returns what is kept of a: by its ID, or the open one of its app
// and topic; nil when there is neither. After the database was begun anew
// another alarm can have a's ID.
func storedAlarm(ctx context.Context, tx *sql.Tx, a *core.Alarm) (*core.Alarm, error) {
	found, err := queryAlarms(ctx, tx, "SELECT "+alarmColumns+" FROM alarms WHERE id = ? AND app = ? AND topic = ? AND opened = ?", a.ID, a.App, a.Topic, nanos(a.Opened))
	if err == nil && len(found) == 0 && a.Closed == nil {
		found, err = queryAlarms(ctx, tx, "SELECT "+alarmColumns+" FROM alarms WHERE app = ? AND topic = ? AND closed IS NULL", a.App, a.Topic)
	}
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return &found[0], nil
}

// mergeAlarm brings into a what others saved.
func mergeAlarm(a, stored *core.Alarm) {
	a.ID, a.Opened = stored.ID, stored.Opened
	if stored.Closed != nil {
		a.Closed = stored.Closed
	}
	merged := map[string]core.Delivery{}
	for name, d := range a.Deliveries {
		merged[name] = d
	}
	for name, old := range stored.Deliveries {
		d, given := merged[name]
		switch {
		case !given, progress(d.Told) < progress(old.Told):
			merged[name] = old
		case d.Ref == "":
			d.Ref = old.Ref
			merged[name] = d
		}
	}
	if len(merged) > 0 {
		a.Deliveries = merged
	}
}

func progress(told core.AlarmPart) int {
	switch told {
	case core.AlarmOpened:
		return 1
	case core.AlarmUpdated:
		return 2
	case core.AlarmClosed:
		return 3
	default:
		return 0
	}
}

// live says whether OpenAlarms has to return it.
func live(a *core.Alarm) bool {
	if a.Closed == nil {
		return true
	}
	for _, d := range a.Deliveries {
		if d.Told != core.AlarmClosed {
			return true
		}
	}
	return false
}

func (db *DB) alarms(ctx context.Context, query string, args ...any) (found []core.Alarm, err error) {
	err = db.read(ctx, "read alarms", func(pool *sql.DB) (err error) {
		found, err = queryAlarms(ctx, pool, query, args...)
		return err
	})
	return found, err
}

type rowsQuerier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

func queryAlarms(ctx context.Context, q rowsQuerier, query string, args ...any) (found []core.Alarm, err error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var a core.Alarm
		var opened, updated int64
		var closed sql.NullInt64
		var problems, deliveries []byte
		if err := rows.Scan(&a.ID, &a.App, &a.Topic, &opened, &updated, &closed, &problems, &deliveries); err != nil {
			return nil, err
		}
		a.Opened, a.Updated, a.Closed = timeOf(opened), timeOf(updated), timeIfSet(closed)
		if err := errors.Join(json.Unmarshal(problems, &a.Problems), json.Unmarshal(deliveries, &a.Deliveries)); err != nil {
			return nil, err
		}
		found = append(found, a)
	}
	return found, rows.Err()
}
