package check

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// moment is what is known of one backup.
type moment struct {
	backup     string
	at         time.Time
	trigger    string
	bytes      int64
	components core.ComponentSizes
	tables     map[string]core.RowCount // nil: not known
	sample     *core.Sample
	there      bool // the backup is still in the repository
}

func (m moment) imported() bool { return m.trigger == core.TriggerImport }

// aside says whether a backup is of a state that somebody wanted to leave.
func aside(trigger string) bool {
	return trigger == core.TriggerBeforeRestore || trigger == core.TriggerFailedCommand
}

// withoutCode is what iTop's rules on sizes are about: the application's code,
// which its own archives do not have, would hide that the rest is gone.
func withoutCode(bytes int64, components core.ComponentSizes) int64 {
	return bytes - components[core.ComponentCode].Bytes
}

// history puts together what is known of backups that are there and of those
// that are gone, oldest first. Only like is compared with like: what was
// imported counts where nothing was captured.
func history(in Input) []moment {
	byID := map[string]moment{}
	for _, f := range in.Facts {
		m := moment{backup: f.Backup, at: f.Time, trigger: f.Trigger, bytes: withoutCode(f.Bytes, f.Components), components: f.Components, tables: f.Tables, sample: f.Sample}
		if db, has := f.Components[core.ComponentDatabase]; m.tables == nil && has && db.Tables == 0 {
			m.tables = map[string]core.RowCount{} // a database without tables, which JSON cannot tell from none
		}
		byID[f.Backup] = m
	}
	for _, b := range in.Backups {
		m := byID[b.ID]
		m.backup, m.at, m.trigger, m.bytes, m.components, m.there = b.ID, b.Time, b.Trigger, withoutCode(b.LogicalBytes, b.Components), b.Components, true
		if b.Origin != nil {
			m.trigger = core.TriggerImport
		}
		byID[b.ID] = m
	}
	all := slices.SortedFunc(maps.Values(byID), func(a, b moment) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.backup, b.backup))
	})
	all = slices.DeleteFunc(all, func(m moment) bool { return aside(m.trigger) })
	captured := slices.DeleteFunc(slices.Clone(all), moment.imported)
	if len(captured) > 0 {
		return captured
	}
	return all
}

// ahead is by how much another machine's clock may be ahead.
const ahead = 10 * time.Minute

// present is what is known without what is dated in the future, and the backups
// that are: a clock was wrong, and they would hide for as long as it was ahead
// that no backup is made and what the others hold.
func present(in Input) (Input, []core.Backup) {
	limit := in.Now.Add(ahead)
	later := slices.DeleteFunc(slices.Clone(in.Backups), func(b core.Backup) bool { return !b.Time.After(limit) })
	in.Backups = slices.DeleteFunc(slices.Clone(in.Backups), func(b core.Backup) bool { return b.Time.After(limit) })
	in.Facts = slices.DeleteFunc(slices.Clone(in.Facts), func(f core.Facts) bool { return f.Time.After(limit) })
	if in.Added.After(limit) {
		in.Added = time.Time{}
	}
	if in.Accepted != nil && in.Accepted.Time.After(limit) &&
		!slices.ContainsFunc(in.Facts, func(f core.Facts) bool { return f.Backup == in.Accepted.Backup }) &&
		!slices.ContainsFunc(in.Backups, func(b core.Backup) bool { return b.ID == in.Accepted.Backup }) {
		in.Accepted = nil // it would accept all that is still to come
	}
	return in, later
}

// acceptedUntil is the time up to which somebody said that backups are right;
// zero: nobody did.
func acceptedUntil(in Input, moments []moment) time.Time {
	if in.Accepted == nil {
		return time.Time{}
	}
	for _, m := range moments {
		if m.backup == in.Accepted.Backup {
			return m.at
		}
	}
	return in.Accepted.Time
}

// captured are the backups that were made of the app as it was to be, oldest
// first.
func captured(backups []core.Backup) []core.Backup {
	out := slices.DeleteFunc(slices.Clone(backups), func(b core.Backup) bool {
		return b.Origin != nil || b.Trigger == core.TriggerImport || aside(b.Trigger)
	})
	slices.SortStableFunc(out, func(a, b core.Backup) int { return a.Time.Compare(b.Time) })
	return out
}

// lookedBack is how many backups say which components the app's backups have.
const lookedBack = 10

// complete are those of the captured backups that have all the components that
// most of the last ones have. Those that nobody started by hand say what these
// are, where there are any.
func complete(captured []core.Backup) []core.Backup {
	regular := slices.DeleteFunc(slices.Clone(captured), func(b core.Backup) bool { return b.Trigger == "manual" })
	if len(regular) == 0 {
		regular = captured
	}
	regular = regular[max(0, len(regular)-lookedBack):]
	count := map[core.Component]int{}
	for _, b := range regular {
		for c := range b.Components {
			count[c]++
		}
	}
	return slices.DeleteFunc(slices.Clone(captured), func(b core.Backup) bool {
		for c, n := range count {
			if _, has := b.Components[c]; !has && 2*n > len(regular) {
				return true
			}
		}
		return false
	})
}

// What of an app's history is worth being kept.
const (
	keptAll  = 100 // so many of the newest
	keptDays = 400 // and before these the last of each of so many days that have one
)

// Worth returns those of an app's facts that are worth being kept and handed to
// Judge, oldest first. Facts of backups that are gone are: what is usual, and
// that it is not so any more, is known from them.
func Worth(facts []core.Facts) []core.Facts {
	all := slices.Clone(facts)
	slices.SortFunc(all, func(a, b core.Facts) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Backup, b.Backup)) })
	var out []core.Facts
	days := 0
	for i, f := range slices.Backward(all) {
		last := i == len(all)-1 || f.Time.UTC().Format(time.DateOnly) != all[i+1].Time.UTC().Format(time.DateOnly)
		if last {
			days++
		}
		if len(all)-i <= keptAll || last && days <= keptDays {
			out = append(out, f)
		}
	}
	slices.Reverse(out)
	return out
}
