// Package sqlfile is an SQL dump as a file: plain, or packed with gzip, zstd
// or bzip2. It is for the engine, behind archive.Format. It promises that a
// dump that Check finds nothing wrong with was unpacked to its last byte with
// every checksum right; what its statements say is read by others.
package sqlfile

import (
	"context"
	"io"
	"os"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// Compressions are the extensions of what New writes, the default first.
func Compressions() []string { return []string{".sql.gz", ".sql", ".sql.zst"} }

// Format is the format "sql". It reads all compressions, whatever it writes.
type Format struct{ extension string }

var _ archive.Format = Format{}

// New returns the format, which writes with the compression that extension, one of Compressions, says.
func New(extension string) Format { return Format{extension: extension} }

// Name is "sql".
func (Format) Name() string { return "sql" }

// Extension is as New was told.
func (f Format) Extension() string { return f.extension }

// Recognizes says yes to what unpacks to text that begins as SQL does.
func (Format) Recognizes(f *os.File, name string) bool { return recognizes(f) }

// HasName says yes to .sql, and to that with the ending of a packing.
func (Format) HasName(name string) bool {
	for _, packing := range []string{"", ".gz", ".zst", ".bz2"} {
		if strings.HasSuffix(name, ".sql"+packing) {
			return true
		}
	}
	return false
}

// Open implements archive.Format.
func (Format) Open(ctx context.Context, f *os.File, opt archive.OpenOptions) (archive.Archive, error) {
	return open(ctx, f, opt)
}

// Write implements archive.Format.
func (f Format) Write(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) ([]core.Warning, error) {
	return f.write(ctx, w, content, opt)
}
