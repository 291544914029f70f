package archives

import (
	"context"
	"fmt"
	"slices"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/cli/ui"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/engine/importing"
	"github.com/backstay/backstay/internal/mysql/sqlload"
)

// jsonSalvaged is what was salvaged, as JSON.
type jsonSalvaged struct {
	File     string          `json:"file"`
	Database string          `json:"database"`
	Server   string          `json:"server"`
	Address  string          `json:"address"`
	Tables   []sqlload.Table `json:"tables"`
	Rows     int64           `json:"rows"`
	Flaws    []archive.Flaw  `json:"flaws"` // of the archive, then of what was loaded
}

func (s commands) salvage(ctx context.Context, e *engine.Engine, req importing.Request, database string) error {
	done, err := importing.Salvage(ctx, e, req, database)
	if err != nil {
		return err
	}
	out := jsonSalvaged{
		File: done.File, Database: done.Database, Server: done.Server, Address: done.Address,
		Tables: append([]sqlload.Table{}, done.Loaded.Tables...), Rows: done.Loaded.Rows, Flaws: salvageFlaws(done.Flaws, done.Loaded.Flaws),
	}
	err = s.Printer.Result(map[string]any{"salvaged": out}, func() { s.printSalvaged(out) })
	if err != nil || len(out.Flaws) == 0 {
		return err
	}
	return session.Outcome(core.CodeWarnings.ExitCode())
}

// salvageFlaws are the flaws of an archive and of what was loaded of it, each
// once: what ends a dump is found by whoever reads it.
func salvageFlaws(flaws []archive.Flaw, loaded []sqlload.Flaw) []archive.Flaw {
	out := []archive.Flaw{}
	add := func(f archive.Flaw) {
		if !slices.ContainsFunc(out, func(have archive.Flaw) bool {
			return have.Message == f.Message && (have.Where == f.Where || f.Where == dumpItself)
		}) {
			out = append(out, f)
		}
	}
	for _, f := range loaded { // it names the table too
		at := archive.Flaw{Where: f.Object, Message: f.Message, Refused: f.Refused}
		switch {
		case f.Object == "" && f.Line > 0:
			at.Where = fmt.Sprintf("line %d of the dump", f.Line)
		case f.Object == "":
			at.Where = dumpItself
		case f.Line > 0:
			at.Where = fmt.Sprintf("%s (line %d)", f.Object, f.Line)
		}
		add(at)
	}
	for _, f := range flaws {
		add(f)
	}
	return out
}

// dumpItself is where a flaw is that is of no line and no table.
const dumpItself = "the dump"

func (s commands) printSalvaged(out jsonSalvaged) {
	p := s.Printer
	p.Printf("%s: loaded %s with %s into database %s on %s (%s); no backup was made\n",
		out.File, ui.Counted(int64(len(out.Tables)), "table"), ui.Counted(out.Rows, "row"), out.Database, out.Address, out.Server)
	if len(out.Tables) > 0 {
		table := ui.NewTable(ui.Column{Title: "  TABLE"}, ui.Column{Title: "ROWS", Right: true}, ui.Column{Title: "IN THE DUMP", Right: true})
		for _, t := range out.Tables {
			table.Row("  "+t.Name, ui.Count(t.Rows), ui.Count(t.Read))
		}
		p.Table(table)
	}
	for i, f := range out.Flaws {
		if i == flawsShown {
			p.Infof("and %d more (--json lists them)", len(out.Flaws)-flawsShown)
			break
		}
		p.Warn(core.Warning{Object: f.Where, Message: f.Message})
	}
	p.Infof("copy from %s what is missing elsewhere, table by table; nothing removes that database but DROP DATABASE", out.Database)
}
