package importing

import (
	"context"
	"fmt"
	"maps"
	"slices"
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
		return repository.Record{}, &core.Error{Code: core.CodeDamage, Op: "import " + i.file.shown(), Message: "there is nothing in it", Hint: "take another archive"}
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
		at := now
		if written := i.file.info.ModTime(); written.Before(now) {
			at, says = written, "the file"
		}
		m.Warnings = append(m.Warnings, core.Warning{
			Code: "clock", Object: i.file.base(), Message: fmt.Sprintf("it says that it was made at %s, which is to come; the backup is dated %s", m.Time.UTC().Format(time.RFC3339), at.UTC().Format(time.RFC3339)),
		})
		m.Time = at
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
