package importing

import (
	"context"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

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
