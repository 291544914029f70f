package archive

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// Formats are the formats that a program knows, the most particular first. They
// are put together by the caller and then only read.
type Formats []Format

// Names returns the names of the formats.
func (fs Formats) Names() []string {
	names := make([]string, len(fs))
	for i, f := range fs {
		names[i] = f.Name()
	}
	return names
}

// Get returns the format called name.
func (fs Formats) Get(name string) (Format, error) {
	for _, f := range fs {
		if f.Name() == name {
			return f, nil
		}
	}
	return nil, &core.Error{
		Code: core.CodeUsage, Op: "choose archive format", Message: fmt.Sprintf("there is no format %q", name),
		Hint: "formats are " + strings.Join(fs.Names(), ", "),
	}
}

// Named is a format whose archives have names that no other file has, so that
// one is known by its name where nothing can be read of it.
type Named interface {
	HasName(name string) bool
}

// ErrUnknown is in the chain of Recognize's error.
var ErrUnknown = errors.New("it looks like no archive that backstay reads")

// Recognize returns the first format that f looks like, or else is called like:
// a cut archive must not pass for a file that is none.
func (fs Formats) Recognize(f *os.File) (Format, error) {
	name := filepath.Base(f.Name())
	for _, format := range fs {
		if format.Recognizes(f, name) {
			return format, nil
		}
	}
	for _, format := range fs {
		if named, ok := format.(Named); ok && named.HasName(name) {
			return format, nil
		}
	}
	return nil, &core.Error{
		Code: core.CodeUnsupported, Op: "read " + files.Quote(f.Name()), Err: ErrUnknown,
		Hint: "say what it is with --format " + strings.Join(fs.Names(), ", --format "),
	}
}
