package sqlfile

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

func recognizes(f *os.File) bool { return false }
func open(context.Context, *os.File, archive.OpenOptions) (archive.Archive, error) {
	return nil, errors.New("not built yet")
}
func (f Format) write(context.Context, io.Writer, archive.Content, archive.WriteOptions) ([]core.Warning, error) {
	return nil, errors.New("not built yet")
}
