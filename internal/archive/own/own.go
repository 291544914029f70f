// Package own is the backstay archive: a whole backup in one file, as it is
// stored, in a tar that zstd packs and age may seal. It is for the engine,
// behind archive.Format and archive.Native. It promises that what it reads
// without a flaw makes the same files and folders as the backup that was
// written, and that the file can be read with tar, zstd and age alone, as
// docs/spec/archive.md says.
package own

import (
	"bytes"
	"context"
	"io"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// How the names of archives end.
const (
	extension       = ".tar.zst"
	sealedExtension = ".tar.zst.age"
)

// Format is the format "backstay".
type Format struct {
	workFactor int // of scrypt, as a power of two
}

var _ archive.Format = Format{}

// New returns the format.
func New() Format { return Format{workFactor: defaultWorkFactor} }

// Name is "backstay".
func (Format) Name() string { return "backstay" }

// Extension is that of an archive that is not sealed; see ExtensionFor.
func (Format) Extension() string { return extension }

// ExtensionFor is how the name of an archive ends that is written with opt.
func ExtensionFor(opt archive.WriteOptions) string {
	if sealed(opt) {
		return sealedExtension
	}
	return extension
}

const zstdMagic = "\x28\xb5\x2f\xfd"

// Recognizes says yes to what begins as a backstay archive does, and to any
// file that age sealed: no other format is.
func (Format) Recognizes(f *os.File, _ string) bool {
	head := make([]byte, len(ageMagic))
	if n, _ := f.ReadAt(head, 0); string(head[:n]) == ageMagic {
		return true
	}
	if !strings.HasPrefix(string(head), zstdMagic) {
		return false
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return false
	}
	d, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderLowmem(true))
	if err != nil {
		return false
	}
	defer d.Close()
	first := make([]byte, blockSize+len(readmeTitle))
	if _, err := io.ReadFull(d, first); err != nil {
		return false
	}
	name, _, _ := bytes.Cut(first[:100], []byte{0})
	return string(name) == readmeName && string(first[blockSize:]) == readmeTitle
}

// HasName says yes to .tar.zst, and to that with .age.
func (Format) HasName(name string) bool {
	return strings.HasSuffix(name, extension) || strings.HasSuffix(name, sealedExtension)
}

// Open implements archive.Format. The archive is an archive.Native.
func (Format) Open(ctx context.Context, f *os.File, opt archive.OpenOptions) (archive.Archive, error) {
	return open(ctx, f, opt)
}

// Write implements archive.Format. It gives no warnings: the format carries
// everything.
func (f Format) Write(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) ([]core.Warning, error) {
	return nil, f.write(ctx, w, content, opt)
}
