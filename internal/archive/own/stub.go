package own

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/backstay/backstay/internal/archive"
)

const (
	defaultWorkFactor = 18
	maxWindow         = 8 << 20
	blockSize         = 512
	readmeName        = "README.txt"
	readmeTitle       = "backstay archive, version 1\n"
)

func sealed(opt archive.WriteOptions) bool { return len(opt.Recipients) > 0 || !opt.Password.Empty() }
func open(context.Context, *os.File, archive.OpenOptions) (archive.Native, error) {
	return nil, errors.New("not built yet")
}
func (f Format) write(context.Context, io.Writer, archive.Content, archive.WriteOptions) error {
	return errors.New("not built yet")
}
