// Package sqlwrite turns the stored database of a backup into SQL text that
// other tools load: the mysql and mariadb clients, iTop's restore, ITFlow's
// importer. It is for the engine, which exports backups as archives. It
// promises that the text, loaded, gives the same tables bit for bit, that what
// a dialect cannot carry is a warning, and that the same backup is the same
// bytes at each call, so that their number can be told first.
package sqlwrite

import (
	"context"
	"errors"
	"io"
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
}

// Options of a writing.
type Options struct {
	Dialect Dialect
	// Workers convert chunks at the same time; 0: one for each processor, at most 4.
	Workers int
	// Progress hears the bytes of the chunks; nil: none.
	Progress core.Progress
	Version  string    // backstay's, for the header
	Time     time.Time // the instant that the backup shows, for the header and the trailer
}

// Write writes the database as SQL text. The same input and options, but for
// Workers and Progress, give the same bytes at each call. On error what was
// written has no trailer, so that no reader takes it for whole. Stored rows that are not as they were
// written are an error with core.CodeDamage.
func Write(ctx context.Context, w io.Writer, in Input, opt Options) ([]core.Warning, error) {
	return nil, errors.New("write the database as SQL: not built yet")
}

// Size returns how many bytes Write writes. It reads all rows, and costs less
// than writing them.
func Size(ctx context.Context, in Input, opt Options) (int64, error) {
	return 0, errors.New("write the database as SQL: not built yet")
}
