// Package itop reads and writes the archives of iTop's own backup: a .tar.gz
// as its backup.php writes and its restore.php reads it, and for reading the
// .zip of older versions. It is for the engine, through archive.Format. It
// promises to refuse what iTop's backup cannot have written, and to say what
// of a backup iTop's restore will not bring back.
package itop

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// Format is iTop's archive. The zero value is ready to use.
type Format struct{}

var _ archive.Format = Format{}

// New returns the format.
func New() Format { return Format{} }

// Name returns "itop".
func (Format) Name() string { return "itop" }

// Extension returns ".tar.gz".
func (Format) Extension() string { return ".tar.gz" }

// Recognizes says whether f is an archive of iTop.
func (Format) Recognizes(*os.File, string) bool { return false }

var errUnfinished = errors.New("format itop is not finished yet")

// Open opens an archive.
func (Format) Open(context.Context, *os.File, archive.OpenOptions) (archive.Archive, error) {
	return nil, errUnfinished
}

// Write writes a .tar.gz.
func (Format) Write(context.Context, io.Writer, archive.Content, archive.WriteOptions) ([]core.Warning, error) {
	return nil, errUnfinished
}
