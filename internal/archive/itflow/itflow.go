// Package itflow reads and writes the archives that ITFlow's own backup code
// makes: a zip file with WinZip's AES encryption, in which stand db.sql, for a
// full backup uploads.zip, and version.txt with their checksums. It is for
// whoever holds the seam in package archive.
//
// ITFlow writes checksums and never compares them, and its restore passes
// over most damage; here every byte of an archive is accounted for before
// anything of it is passed on.
package itflow

import (
	"context"
	"io"
	"os"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// Format is ITFlow's archive. The zero value is ready, immutable and safe for
// concurrent use.
type Format struct{}

// New returns the format.
func New() archive.Format { return Format{} }

var _ archive.Format = Format{}

// Name returns "itflow".
func (Format) Name() string { return "itflow" }

// Extension returns ".zip".
func (Format) Extension() string { return ".zip" }

// Recognizes says whether f is a zip file with ITFlow's entries.
func (Format) Recognizes(*os.File, string) bool { return false }

// Open is not built yet.
func (Format) Open(context.Context, *os.File, archive.OpenOptions) (archive.Archive, error) {
	return nil, notBuilt()
}

// Write is not built yet.
func (Format) Write(context.Context, io.Writer, archive.Content, archive.WriteOptions) ([]core.Warning, error) {
	return nil, notBuilt()
}

func notBuilt() error {
	return &core.Error{Code: core.CodeUnsupported, Op: "itflow archive", Message: "not built yet"}
}
