package operation

import (
	"context"
	"slices"
	"sync"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/notify"
)

// Unsaved remembers the alarms that the state database could not keep, for a
// process that lives on: so their end is told too. The zero value is ready, and
// safe for concurrent use.
type Unsaved struct {
	mu     sync.Mutex
	alarms []core.Alarm
}

// unsavedLedger keeps in a ledger, and in u what that cannot keep.
type unsavedLedger struct {
	notify.Ledger
	u *Unsaved
}

var _ notify.Ledger = unsavedLedger{}

func sameAlarm(a, b core.Alarm) bool {
	return a.App == b.App && a.Topic == b.Topic && a.Opened.Equal(b.Opened)
}

// OpenAlarms returns what is known of alarms, as it is known last.
func (l unsavedLedger) OpenAlarms(ctx context.Context) ([]core.Alarm, error) {
	known, err := l.Ledger.OpenAlarms(ctx)
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	if err != nil && len(l.u.alarms) == 0 {
		return nil, err
	}
	known = slices.DeleteFunc(known, func(a core.Alarm) bool {
		return slices.ContainsFunc(l.u.alarms, func(b core.Alarm) bool { return sameAlarm(a, b) })
	})
	return append(known, l.u.alarms...), nil
}

// SaveAlarm keeps an alarm in any case; an error says that it is not in the
// database.
func (l unsavedLedger) SaveAlarm(ctx context.Context, a *core.Alarm) error {
	err := l.Ledger.SaveAlarm(ctx, a)
	l.u.mu.Lock()
	defer l.u.mu.Unlock()
	l.u.alarms = slices.DeleteFunc(l.u.alarms, func(b core.Alarm) bool { return sameAlarm(*a, b) })
	if err != nil {
		l.u.alarms = append(l.u.alarms, *a)
	}
	return err
}
