package importing

import (
	"context"
	"errors"
	"fmt"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql/scratch"
	"github.com/backstay/backstay/internal/mysql/sqlload"
)

// Salvaged is what could be loaded of an archive that is not whole.
type Salvaged struct {
	File     string          `json:"file"`
	Database string          `json:"database"`
	Server   string          `json:"server"`
	Address  string          `json:"address"` // of Server
	Flaws    []archive.Flaw  `json:"flaws"`   // of the archive and its dump
	Loaded   *sqlload.Loaded `json:"loaded"`
}

// Salvage loads what there is of an archive's dump into a database called
// name, on the configured server or else the app's, and nothing into anything
// else. The database is made, or must be empty; it stays.
func Salvage(ctx context.Context, e *engine.Engine, req Request, name string) (_ *Salvaged, err error) {
	i, err := newImporter(e, req)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, i.close()) }()
	if err := i.open(ctx); err != nil {
		return nil, err
	}
	out := &Salvaged{File: i.out.File, Database: name}
	if out.Flaws, err = i.archive.Check(ctx); err != nil {
		return nil, fmt.Errorf("read %s: %w", i.file.shown(), err)
	}
	i.out.Flaws = out.Flaws
	if err := i.examineDump(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, err
		}
		i.out.Flaws = append(i.out.Flaws, archive.Flaw{Where: "the dump", Message: err.Error()})
	}
	out.Flaws = i.out.Flaws
	server := i.server()
	if server == nil {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: "salvage " + i.file.shown(), Message: "no server is known to make database " + name + " on",
			Hint: "name one in backstay.yaml under scratch:",
		}
	}
	text, err := i.archive.OpenDump(ctx)
	if err != nil {
		return nil, err
	}
	if text == nil {
		return nil, &core.Error{Code: core.CodeDamage, Op: "salvage " + i.file.shown(), Message: "no SQL dump can be found in it", Hint: "take another archive"}
	}
	defer func() { _ = text.Close() }() // it is damaged: what closing says of it is known
	db, err := scratch.Named(ctx, *server, name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close(context.WithoutCancel(ctx))) }()
	out.Server, out.Address = db.Server.Vendor+" "+db.Server.Version, db.Config.Address()
	e.Progress.Stage("salvage "+i.file.base(), 0)
	if out.Loaded, err = sqlload.Load(ctx, text, sqlload.Options{Config: db.Config, Salvage: true, Progress: e.Progress}); err != nil {
		return out, fmt.Errorf("salvage %s: %w", i.file.shown(), err)
	}
	return out, nil
}
