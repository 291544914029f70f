package importing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql/sqlcheck"
	"github.com/backstay/backstay/internal/profile"
)

// doubt asks for somebody's word where a whole dump looks like no backup of the
// app, by what the app's newest backup has: hardly a table of it, or no row.
func (i *importer) doubt(ctx context.Context, report *sqlcheck.Report) error {
	last, err := i.newest(ctx)
	if err != nil || last == nil {
		return err
	}
	known := map[string]bool{}
	for _, t := range last.Index.Tables {
		known[strings.ToLower(t.Name)] = true
	}
	same := 0
	for _, t := range report.Tables {
		if known[strings.ToLower(t.Name)] {
			same++
		}
	}
	if i.out.Info.Format == "sql" && (same == 0 || same*10 < min(len(report.Tables), len(known))) {
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{
			Where: "the dump", Name: archive.FlawStranger,
			Message: fmt.Sprintf("only %d of its %d tables are in the app's backup %s: it seems to be of another application", same, len(report.Tables), last.Record.ID),
		})
	}
	if report.Rows == 0 && last.Manifest.Database.Rows > 0 {
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{
			Where: "the dump", Name: archive.FlawNoRows,
			Message: fmt.Sprintf("it has tables and not a single row, and the app's backup %s has %d: it seems to be of the definitions alone", last.Record.ID, last.Manifest.Database.Rows),
		})
	}
	return nil
}

// newest is the app's newest backup that has a database; nil: there is none.
func (i *importer) newest(ctx context.Context) (*engine.Open, error) {
	all, err := i.e.List(ctx, i.out.App)
	if err != nil && core.CodeOf(err) != core.CodeDamage {
		return nil, err
	}
	for _, r := range slices.Backward(all) {
		if r.Components[core.ComponentDatabase].Tables == 0 {
			continue
		}
		open, err := i.e.OpenBackup(ctx, r)
		if err == nil && open.IndexDamage == nil {
			return open, nil
		}
		if err != nil && core.CodeOf(err) != core.CodeDamage {
			return nil, err
		}
	}
	return nil, nil
}

// bringsCode says which objects of an imported database a server runs by itself
// or when somebody writes to a table: code that came with the archive.
func bringsCode(objects []core.SchemaObject) []core.Warning {
	var code some
	for _, o := range objects {
		if o.Kind != "view" && o.Kind != "sequence" {
			code.add(o.Kind + " " + o.Name)
		}
	}
	if code.count == 0 {
		return nil
	}
	return []core.Warning{{
		Code: engine.WarnBringsCode, Object: code.String(),
		Message: "the archive brings code that the database server runs, so a restore asks first; backstay cat shows its text",
	}}
}

// knowsApplication fails where the database that was loaded is none of the
// profile's application: it tells no version.
func (i *importer) knowsApplication(m *core.Manifest) error {
	if profile.ArchiveFormat(i.profile) == "" || m.Versions["schema"] != "" || slices.Contains(i.req.Force, archive.FlawStranger) {
		return nil
	}
	return &core.Error{
		Code: core.CodeDamage, Op: "import " + i.file.shown(), Message: fmt.Sprintf("its database tells no version of %s: it seems to be of another application, or a part of a database", i.profile.Name()),
		Hint: "no backup was made; if you know that it is right, agree with --force " + archive.FlawStranger,
	}
}
