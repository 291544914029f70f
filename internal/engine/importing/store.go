package importing

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/repository"
)

// MethodArchive stands in a manifest where the archive decided how consistent
// its content is.
const MethodArchive = "archive"

// store makes the backup.
func (i *importer) store(ctx context.Context) (_ repository.Record, err error) {
	session, err := i.e.Store.Begin(ctx)
	if err != nil {
		return repository.Record{}, err
	}
	defer session.Abort()
	if native, ok := i.archive.(archive.Native); ok {
		return i.storeNative(ctx, session, native)
	}
	i.e.Progress.Stage("import "+i.file.base(), 0)
	m := i.manifest()
	entries, err := i.storeTrees(ctx, session, &m)
	if err != nil {
		return repository.Record{}, err
	}
	if i.out.Dump != nil {
		entry, err := i.storeDatabase(ctx, session, &m)
		if err != nil {
			return repository.Record{}, err
		}
		entries = append(entries, entry)
	}
	m.Components = slices.DeleteFunc(core.Components(), func(c core.Component) bool {
		return !slices.ContainsFunc(entries, func(e core.Entry) bool { return e.Name == string(c) })
	})
	if len(entries) == 0 {
		return repository.Record{}, &core.Error{Code: core.CodeDamage, Op: "import " + i.file.Name(), Message: "there is nothing in it", Hint: "take another archive"}
	}
	if err := i.file.unchanged(); err != nil {
		return repository.Record{}, err
	}
	return i.e.Commit(ctx, session, m, entries, i.req.Pin)
}

// manifest is what is known of the backup before its components are.
func (i *importer) manifest() core.Manifest {
	info, now := i.out.Info, i.e.Clock.Now()
	m := core.Manifest{
		Schema: core.ManifestSchema, ID: engine.NewID(), App: i.out.App, Profile: i.profile.Name(), Host: info.Host, Root: i.root(),
		Started: now, Trigger: engine.TriggerImport, Note: i.req.Note, BackstayVersion: i.e.Version,
		Versions: maps.Clone(info.Versions), Settings: map[string]string{},
		Consistency: core.Consistency{Mode: "online", Method: MethodArchive, Why: "as consistent as the " + info.Format + " archive is"},
		Owners:      core.Owners{Users: map[string]string{}, Groups: map[string]string{}},
		Notes:       slices.Clone(info.Notes),
	}
	if m.Versions == nil {
		m.Versions = map[string]string{}
	}
	i.setTime(&m)
	for _, f := range i.out.Flaws { // those that somebody agreed to
		m.Warnings = append(m.Warnings, core.Warning{Code: f.Name, Object: f.Where, Message: f.Message})
	}
	if i.out.Dump != nil {
		m.Notes = append(m.Notes, i.out.Dump.Notes...)
	}
	return m
}

// setTime says when the archive was made and what tells so. A time to come
// would make the backup the latest one for as long as it is to come.
func (i *importer) setTime(m *core.Manifest) {
	m.Time = i.out.Info.Time
	says := i.out.Info.TimeSays
	if d := i.out.Dump; d != nil && !d.Time.IsZero() && (m.Time.IsZero() || i.out.Info.Format == "sql") {
		m.Time, says = d.Time, "the dump: "+d.TimeText
	}
	if m.Time.IsZero() {
		m.Time, says = i.file.info.ModTime(), "the file"
	}
	if now := i.e.Clock.Now(); m.Time.After(now) {
		m.Warnings = append(m.Warnings, core.Warning{
			Code: "clock", Object: i.file.base(), Message: fmt.Sprintf("it says that it was made at %s, which is to come; the backup is dated now", m.Time.UTC().Format(time.RFC3339)),
		})
		m.Time = now
	}
	m.Time = m.Time.UTC()
	m.Origin = &core.Origin{
		Format: i.out.Info.Format, File: i.file.base(), SHA256: i.out.SHA256, Bytes: i.out.Bytes,
		Imported: i.e.Clock.Now().UTC(), TimeSays: says,
	}
}

func (i *importer) root() string {
	if i.live != nil {
		return i.live.Root
	}
	return i.req.Target.App.Root
}

// storeNative stores the backup that the archive holds, and reads it back: what
// the archive says of its rows has not been compared with them yet.
func (i *importer) storeNative(ctx context.Context, session repository.Session, native archive.Native) (_ repository.Record, err error) {
	i.e.Progress.Stage("import "+i.file.base(), i.file.size())
	entries, err := native.Copy(ctx, session)
	if err != nil {
		return repository.Record{}, err
	}
	m := native.Manifest()
	now := i.manifest()
	now.Origin.Backup = m.ID
	m.ID, m.App, m.Trigger, m.Origin, m.Started, m.Time = now.ID, now.App, now.Trigger, now.Origin, now.Started, now.Time
	m.Warnings = append(m.Warnings, now.Warnings...)
	if i.req.Note != "" {
		m.Note = i.req.Note
	}
	if outside := placesOutside(m); outside != "" {
		m.Warnings = append(m.Warnings, core.Warning{Code: "outside", Object: outside, Message: "files outside the app's folder are in the archive, and a restore of the whole app puts them there"})
	}
	if err := i.file.unchanged(); err != nil {
		return repository.Record{}, err
	}
	rec, err := i.e.Commit(ctx, session, m, entries, i.req.Pin)
	if err != nil {
		return repository.Record{}, err
	}
	damaged, err := i.e.Inspect(ctx, rec)
	if err == nil && len(damaged) > 0 {
		err = &core.Error{
			Code: core.CodeDamage, Op: "import " + i.file.Name(), Message: fmt.Sprintf("what it says of itself is not so: %s: %s", damaged[0].Path, damaged[0].Message),
			Hint: "the archive was not written by backstay as it is; nothing of it was kept",
		}
	}
	if err != nil {
		if derr := i.e.Store.Delete(context.WithoutCancel(ctx), rec.ID); derr != nil {
			return repository.Record{}, fmt.Errorf("%w; and its backup %s could not be deleted: %w", err, rec.ID, derr)
		}
		return repository.Record{}, err
	}
	return rec, nil
}

// placesOutside names what a backup includes from outside its app's folder.
func placesOutside(m core.Manifest) string {
	var paths []string
	for _, t := range m.Trees {
		if t.Place == "app" {
			continue
		}
		for _, p := range t.Include {
			paths = append(paths, "/"+strings.TrimPrefix(p, "/"))
		}
	}
	return core.Some(paths, 5)
}
