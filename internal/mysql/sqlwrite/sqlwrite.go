// Package sqlwrite turns the stored database of a backup into SQL text that
// other tools load: the mysql and mariadb clients, iTop's restore, ITFlow's
// importer. It is for the engine, which exports backups as archives. It
// promises that the text, loaded, gives the same tables bit for bit, that what
// a dialect cannot carry is a warning, and that the same backup is the same
// bytes at each call, so that their number can be told first.
package sqlwrite

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Source opens the files of a backup by their path in it. Safe for concurrent
// use; a path may be opened again.
type Source interface {
	Open(ctx context.Context, path string) (io.ReadCloser, error)
}

// Dialect is the kind of SQL text that a reader understands. Its values are
// those of archive.Dialect.
type Dialect string

// The dialects.
const (
	DialectMySQL  Dialect = "mysql"  // what the mysql and mariadb clients read, with all objects
	DialectITop   Dialect = "itop"   // the same, as iTop's restore passes it on
	DialectITFlow Dialect = "itflow" // one statement a line, for ITFlow's line-wise importer
)

// Input is the stored database.
type Input struct {
	Index    core.DatabaseIndex
	Database core.Database // its name, defaults and server
	Source   Source
	// Warnings are the backup's: a view that was broken when it was made is left out.
	Warnings []core.Warning
}

// Options of a writing.
type Options struct {
	Dialect Dialect
	// Workers convert chunks at the same time; 0: one for each processor, at most 4.
	Workers int
	// NoDefiner leaves out as whom views, triggers, routines and events run: whoever loads them.
	NoDefiner bool
	// Progress hears tables and the bytes of their chunks, and no stage; nil: none.
	Progress core.Progress
	Version  string    // backstay's, for the header
	Time     time.Time // the instant that the backup shows, for the header and the trailer
}

// CodeDefiner is the code of a warning about what the text carries, and not every
// account may load.
const CodeDefiner = "definer"

// Write writes the database as SQL text. The same input and options, but for
// Workers and Progress, give the same bytes at each call. On error what was
// written has no trailer, so that no reader takes it for whole. Stored rows
// that are not as they were written are an error with core.CodeDamage. Memory
// is below 100 MiB whatever the size of a table or a row.
func Write(ctx context.Context, w io.Writer, in Input, opt Options) ([]core.Warning, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := compose(ctx, in, opt)
	if err != nil {
		return nil, err
	}
	p := pipeline{w: w, source: in.Source, opt: opt}
	return d.warnings, p.run(ctx, d.items)
}

// Size returns how many bytes Write writes. It reads all rows, and costs less
// than writing them; damage may go unseen.
func Size(ctx context.Context, in Input, opt Options) (int64, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return 0, err
	}
	d, err := compose(ctx, in, opt)
	if err != nil {
		return 0, err
	}
	return measureAll(ctx, in.Source, opt, d.items)
}

func (o Options) withDefaults() (Options, error) {
	switch o.Dialect {
	case DialectMySQL, DialectITop, DialectITFlow:
	default:
		return o, fmt.Errorf("write database as SQL: there is no dialect %q", o.Dialect)
	}
	if o.Workers <= 0 {
		o.Workers = min(runtime.NumCPU(), 4)
	}
	if o.Progress == nil {
		o.Progress = core.NoProgress{}
	}
	return o, nil
}
