package importing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// source is the archive's file.
type source struct {
	*os.File
	info os.FileInfo
}

func openSource(path string) (*source, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", files.Quote(path), err)
	}
	// A FIFO would keep us waiting for a writer.
	f, err := os.OpenFile(abs, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &core.Error{Code: core.CodeNotFound, Op: "read " + files.Quote(abs), Message: "there is no such file", Hint: "give the path of an archive"}
	}
	if err != nil {
		return nil, &core.Error{Code: core.CodeDisk, Op: "read " + files.Quote(abs), Err: err, Hint: "run as a user who may read it"}
	}
	s := &source{File: f}
	if s.info, err = f.Stat(); err == nil && !s.info.Mode().IsRegular() {
		err = &core.Error{Code: core.CodeUsage, Op: "read " + files.Quote(abs), Message: "it is not a plain file", Hint: "an archive is read more than once: write it to a file first"}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return s, nil
}

func (s *source) size() int64 { return s.info.Size() }

// shown is the file's path as messages have it, on one line.
func (s *source) shown() string { return files.Quote(s.Name()) }
func (s *source) base() string  { return filepath.Base(s.Name()) }

// sum is the SHA-256 of the file, in hex.
func (s *source) sum(ctx context.Context, p core.Progress) (string, error) {
	h := sha256.New()
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		n, err := s.ReadAt(buf, at)
		h.Write(buf[:n])
		at += int64(n)
		p.Add(int64(n))
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), nil
		}
		if err != nil {
			return "", &core.Error{Code: core.CodeDisk, Op: "read " + s.shown(), Err: err}
		}
	}
}

// stated is the SHA-256 that FILE.sha256 beside the file gives for it, in hex;
// "" where there is none.
func (s *source) stated() (string, error) {
	f, err := os.Open(s.Name() + ".sha256")
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", &core.Error{Code: core.CodeDisk, Op: "read " + s.shown() + ".sha256", Err: err, Hint: "run as a user who may read it"}
	}
	text, err := io.ReadAll(io.LimitReader(f, 64<<10))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read %s.sha256: %w", s.shown(), err)
	}
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name = strings.TrimLeft(name, " *"); name == "" || filepath.Base(name) == s.base() {
			return strings.ToLower(sum), nil
		}
	}
	return "", nil
}

// unchanged fails when the file was written to since it was opened: then what
// was found whole is not what was read afterwards.
func (s *source) unchanged() error {
	now, err := s.Stat()
	if err != nil {
		return fmt.Errorf("read %s: %w", s.shown(), err)
	}
	if now.Size() != s.info.Size() || !now.ModTime().Equal(s.info.ModTime()) {
		return &core.Error{
			Code: core.CodeFailed, Op: "read " + s.shown(), Message: "it was written to while it was read",
			Hint: "wait until whatever writes it is done, then try again; nothing was stored",
		}
	}
	return nil
}

// explain prefers to say that the file changed, which is the cause of whatever
// else went wrong then.
func (s *source) explain(err error) error {
	if changed := s.unchanged(); changed != nil && core.CodeOf(err) != core.CodeCancelled {
		return changed
	}
	return err
}
