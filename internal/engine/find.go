package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// List returns the backups of an app, or of all when app is "", oldest first.
// When the repository knows of backups that it cannot show any more, it returns
// those that it can show together with an error with core.CodeDamage.
func (e *Engine) List(ctx context.Context, app string) ([]repository.Record, error) {
	all, err := e.Store.List(ctx)
	if app != "" {
		all = slices.DeleteFunc(all, func(r repository.Record) bool { return r.App != app })
	}
	return all, err
}

// visible returns the backups that can be seen. One that the repository has
// lost must not keep the others from being used: lost says what is wrong, and
// is also logged as a warning.
func (e *Engine) visible(ctx context.Context) (all []repository.Record, lost, err error) {
	all, err = e.Store.List(ctx)
	if core.CodeOf(err) == core.CodeDamage {
		e.Log.Warn(err.Error(), "hint", core.HintOf(err))
		return all, err, nil
	}
	return all, nil, err
}

// Find returns the backup that ref names: an id or a unique prefix of one,
// APP@latest, or APP@TIME, the newest at or before it.
func (e *Engine) Find(ctx context.Context, ref string) (repository.Record, error) {
	all, lost, err := e.visible(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	rec, err := find(all, ref)
	if lost != nil && core.CodeOf(err) == core.CodeNotFound {
		return rec, lost // it may be the one that is lost
	}
	return rec, err
}

func find(all []repository.Record, ref string) (repository.Record, error) {
	if app, when, isApp := strings.Cut(ref, "@"); isApp {
		return findByTime(slices.DeleteFunc(slices.Clone(all), func(r repository.Record) bool { return r.App != app }), app, when)
	}
	var found []repository.Record
	for _, r := range all {
		if r.ID == ref {
			return r, nil
		}
		if ref != "" && strings.HasPrefix(r.ID, ref) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		return repository.Record{}, &core.Error{
			Code: core.CodeNotFound, Op: "find backup", Message: fmt.Sprintf("there is no backup %q", ref),
			Hint: "backstay list shows all backups; APP@latest names the newest one of an app",
		}
	}
	ids := make([]string, len(found))
	for i, r := range found {
		ids[i] = r.ID
	}
	return repository.Record{}, &core.Error{
		Code: core.CodeAmbiguous, Op: "find backup", Message: fmt.Sprintf("%q could be any of %s", ref, strings.Join(ids, ", ")),
		Hint: "give more of the id",
	}
}

// Triggers of backups that are not of what the app is to be, or not captured.
const (
	TriggerBeforeRestore = core.TriggerBeforeRestore
	TriggerFailedCommand = core.TriggerFailedCommand
	TriggerImport        = core.TriggerImport
)

func findByTime(list []repository.Record, app, when string) (repository.Record, error) {
	list = slices.DeleteFunc(slices.Clone(list), func(r repository.Record) bool { return r.Aside() })
	// An export that was imported again is of the same time as what was captured.
	slices.SortStableFunc(list, func(a, b repository.Record) int {
		captured := func(r repository.Record) int {
			if r.Origin == nil {
				return 1
			}
			return 0
		}
		return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(captured(a), captured(b)))
	})
	if len(list) == 0 {
		return repository.Record{}, &core.Error{
			Code: core.CodeNotFound, Op: "find backup", Message: fmt.Sprintf("there is no backup of app %q", app),
			Hint: "backstay list shows all backups",
		}
	}
	if when == "latest" {
		return list[len(list)-1], nil
	}
	t, err := parseTime(when)
	if err != nil {
		return repository.Record{}, err
	}
	for _, r := range slices.Backward(list) {
		if !r.Time.After(t) {
			return r, nil
		}
	}
	return repository.Record{}, &core.Error{
		Code: core.CodeNotFound, Op: "find backup",
		Message: fmt.Sprintf("the oldest backup of %s is of %s, after %s", app, list[0].Time.Format(time.RFC3339), t.Format(time.RFC3339)),
		Hint:    "backstay list " + app + " shows them all",
	}
}

// parseTime reads RFC 3339, or a date with or without a time in local time. A
// date alone means its end.
func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		if t, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("2006-01-02", s, time.Local); err == nil {
		return t.AddDate(0, 0, 1).Add(-time.Nanosecond), nil
	}
	return time.Time{}, &core.Error{
		Code: core.CodeUsage, Op: "find backup", Message: fmt.Sprintf("%q is not a time", s),
		Hint: "write APP@latest, APP@2026-11-23, APP@2026-11-23T08:30 (local time) or APP@2026-11-23T08:30:00Z",
	}
}

// Choose returns the backups that ref means: one backup, the newest of an app
// (or with all every one of it), or with "" the newest of each app (or all).
func (e *Engine) Choose(ctx context.Context, ref string, all bool) ([]repository.Record, error) {
	records, lost, err := e.visible(ctx)
	if err != nil {
		return nil, err
	}
	newest := map[string]repository.Record{}
	var matching []repository.Record
	for _, r := range records {
		if ref == "" || r.App == ref {
			matching = append(matching, r)
			newest[r.App] = r
		}
	}
	if len(matching) == 0 && ref != "" {
		rec, err := find(records, ref)
		if lost != nil && core.CodeOf(err) == core.CodeNotFound {
			err = lost
		}
		return []repository.Record{rec}, err
	}
	if len(matching) == 0 && lost != nil {
		return nil, lost
	}
	if len(matching) == 0 {
		return nil, &core.Error{Code: core.CodeNotFound, Op: "choose backups", Message: "there is no backup yet", Hint: "backstay backup makes one"}
	}
	if all {
		return matching, nil
	}
	return slices.DeleteFunc(matching, func(r repository.Record) bool { return newest[r.App].ID != r.ID }), nil
}
