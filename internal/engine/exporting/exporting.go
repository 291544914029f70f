// Package exporting writes a backup as a portable archive: a single file that
// an application's own restore, the mysql client or tar can read. It is for the
// commands, and later the console. It promises that a file under the name that
// was asked for is a whole archive, readable by its owner only; that memory does
// not depend on the size of the backup; and that what the format could not carry
// is named.
package exporting

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/engine"
	"github.com/backstay/backstay/internal/mysql/sqlwrite"
	"github.com/backstay/backstay/internal/repository"
)

// Request says what to export and how.
type Request struct {
	Record  repository.Record
	Format  archive.Format
	Options archive.WriteOptions // Clock and Progress are the engine's
	// File is where the archive goes; it must not be there yet, unless Replace.
	// "" writes to Writer.
	File    string
	Replace bool
	Writer  io.Writer
	// NoDefiner leaves out of SQL as whom views, triggers, routines and events run.
	NoDefiner bool
	// Sum writes File.sha256 beside the archive, as sha256sum reads it.
	Sum bool
	// Check reads the archive back and compares it with itself before it gets
	// its name. Only with File.
	Check bool
}

// Exported is an archive that was written.
type Exported struct {
	Backup   string         `json:"backup"`
	App      string         `json:"app"`
	Format   string         `json:"format"`
	File     string         `json:"file,omitempty"` // "": it went to the standard output
	Bytes    int64          `json:"bytes"`
	SHA256   string         `json:"sha256"`
	SumFile  string         `json:"sha256_file,omitempty"`
	Checked  bool           `json:"checked"`
	Warnings []core.Warning `json:"warnings"` // what the archive does not carry
}

// Export writes a backup as an archive. On an error there is no file of that
// name that was not there before.
func Export(ctx context.Context, e *engine.Engine, req Request) (*Exported, error) {
	if req.Check && len(req.Options.Recipients) > 0 {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: "read the archive back", Message: "it is sealed for recipients whose keys are not here",
			Hint: "leave out --check, and check it with backstay import --dry-run where the key is",
		}
	}
	e, sealed, err := e.Unsealed(ctx, req.Record)
	if err != nil {
		return nil, err
	}
	if sealed && e.Identities.Empty() {
		return nil, &core.Error{
			Code: core.CodeWrongKey, Op: "export backup " + req.Record.ID, Message: "the secrets of its configuration are sealed, and no identity is here that opens them",
			Hint: "name the identity file in secrets.identity_file; recovery kits hold it",
		}
	}
	open, err := e.OpenBackup(ctx, req.Record)
	if err != nil {
		return nil, err
	}
	if open.IndexDamage != nil {
		return nil, open.IndexDamage
	}
	out := &Exported{Backup: req.Record.ID, App: req.Record.App, Format: req.Format.Name(), Warnings: []core.Warning{}}
	req.Options.Clock, req.Options.Progress = e.Clock, e.Progress
	e.Progress.Stage("export "+req.Record.App, req.Record.LogicalBytes)
	content, err := contentOf(ctx, e, open, req.NoDefiner)
	if err != nil {
		return nil, err
	}
	write := func(w io.Writer) error {
		sum := &summedWriter{w: w, hash: sha256.New()}
		warnings, err := req.Format.Write(ctx, sum, content, req.Options)
		if err != nil {
			return err
		}
		out.Warnings = append(out.Warnings, warnings...)
		out.Bytes, out.SHA256 = sum.bytes, hex.EncodeToString(sum.hash.Sum(nil))
		return nil
	}
	if req.File == "" {
		return out, write(req.Writer)
	}
	if out.File, err = filepath.Abs(req.File); err != nil {
		return nil, fmt.Errorf("export to %s: %w", req.File, err)
	}
	if err := req.intoFile(ctx, out, write); err != nil {
		return nil, err
	}
	return out, nil
}

// contentOf makes a backup the content of an archive.
func contentOf(ctx context.Context, e *engine.Engine, open *engine.Open, noDefiner bool) (archive.Content, error) {
	root, err := open.Lookup(ctx, "")
	if err != nil {
		return archive.Content{}, err
	}
	c := archive.Content{Manifest: open.Manifest, Tree: e.Store, Root: root}
	if open.Manifest.Database == nil {
		return c, nil
	}
	in := sqlwrite.Input{Index: open.Index, Database: *open.Manifest.Database, Source: engine.NewSource(open), Warnings: open.Manifest.Warnings}
	options := func(d archive.Dialect, p core.Progress) sqlwrite.Options {
		return sqlwrite.Options{Dialect: sqlwrite.Dialect(d), Progress: p, Version: e.Version, Time: open.Manifest.Time, NoDefiner: noDefiner}
	}
	c.DumpSize = func(ctx context.Context, d archive.Dialect) (int64, error) {
		return sqlwrite.Size(ctx, in, options(d, core.NoProgress{}))
	}
	c.Dump = func(ctx context.Context, w io.Writer, d archive.Dialect) ([]core.Warning, error) {
		return sqlwrite.Write(ctx, w, in, options(d, engine.QuietStage(e.Progress)))
	}
	return c, nil
}

type summedWriter struct {
	w     io.Writer
	hash  hash.Hash
	bytes int64
}

func (s *summedWriter) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	s.hash.Write(p[:n])
	s.bytes += int64(n)
	return n, err
}

// intoFile writes the archive under a temporary name, brings it to disk and
// then gives it its own.
func (req Request) intoFile(ctx context.Context, out *Exported, write func(w io.Writer) error) error {
	if err := refuseTarget(out.File, req.Replace); err != nil {
		return err
	}
	f, err := newTarget(out.File)
	if err != nil {
		return err
	}
	defer func() { _ = f.discard() }() // after place it does nothing
	if err := write(f); err != nil {
		return f.explain(err)
	}
	if req.Check {
		if err := readBack(ctx, req, f.File); err != nil {
			return err
		}
		out.Checked = true
	}
	if err := f.place(req.Replace); err != nil {
		return err
	}
	if !req.Sum {
		return nil
	}
	out.SumFile = out.File + ".sha256"
	return writeSum(out.SumFile, out.SHA256, filepath.Base(out.File))
}

// readBack reads the archive as an import would.
func readBack(ctx context.Context, req Request, f *os.File) (err error) {
	opt := archive.OpenOptions{
		Environment: req.Options.Environment,
		// What was just written need not be bounded against bombs.
		Limits: archive.Limits{MaxBytes: 1 << 62, MaxRatio: 1 << 40, MaxEntries: 1 << 62},
	}
	if !req.Options.Password.Empty() {
		opt.Passwords = []core.Secret{req.Options.Password}
	}
	a, err := req.Format.Open(ctx, f, opt)
	if err != nil {
		return fmt.Errorf("read the archive back: %w", err)
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	flaws, err := a.Check(ctx)
	if err != nil {
		return fmt.Errorf("read the archive back: %w", err)
	}
	if len(flaws) > 0 {
		return &core.Error{
			Code: core.CodeDamage, Op: "read the archive back", Message: flaws[0].Where + ": " + flaws[0].Message,
			Hint: "the disk may be failing; export to another one",
		}
	}
	return nil
}
