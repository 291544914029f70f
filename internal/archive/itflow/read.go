package itflow

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/winzip"
	"github.com/backstay/backstay/internal/core"
)

// part is an entry with the key that opens it.
type part struct {
	*winzip.Entry
	key *winzip.Key // nil: not encrypted
}

// reader is an open archive.
type reader struct {
	opt      archive.OpenOptions
	size     int64
	fileTime time.Time
	zip      *winzip.Zip
	info     archive.Info
	says     version

	dump, about, masterKey *part
	uploads                *part // nil: a database archive

	spool *os.File    // uploads.zip unpacked; it has no name; nil before Check
	inner *winzip.Zip // in spool; nil: there is none, or it is empty
}

var _ archive.Archive = (*reader)(nil)

// parts returns the entries in the archive's order.
func (a *reader) parts() []*part {
	if a.uploads == nil {
		return []*part{a.dump, a.about}
	}
	return []*part{a.dump, a.uploads, a.about}
}

// Info is complete from Open on.
func (a *reader) Info() archive.Info { return a.info }

// Check authenticates and reads each entry, compares the checksums of
// version.txt and reads all files in uploads.zip.
func (a *reader) Check(ctx context.Context) ([]archive.Flaw, error) {
	meter := archive.NewMeter(a.opt.Limits, a.size)
	var flaws []archive.Flaw
	for _, p := range a.parts() {
		if err := meter.Entry(); err != nil {
			return flaws, err
		}
		message, err := a.check(ctx, p, meter)
		if err != nil {
			return flaws, err
		}
		if message != "" {
			flaws = append(flaws, archive.Flaw{Where: p.Name, Message: message})
		}
	}
	return flaws, nil
}

// check reads one entry and says what is wrong with it.
func (a *reader) check(ctx context.Context, p *part, meter *archive.Meter) (string, error) {
	a.opt.Progress.Item(p.Name)
	if p.key != nil {
		if err := a.zip.Verify(ctx, p.Entry, p.key, a.progress); err != nil {
			return flaw(err)
		}
	} else {
		a.opt.Progress.Add(p.Packed)
	}
	to := io.Discard
	if p == a.uploads {
		if err := a.makeSpool(); err != nil {
			return "", err
		}
		to = a.spool
	}
	hash := sha256.New()
	if err := a.copy(ctx, io.MultiWriter(hash, diskWriter{to}), p, meter); err != nil {
		return flaw(err)
	}
	if p == a.about {
		return "", nil // it has no checksum of itself
	}
	if message := a.says.compare(p.Name, hash.Sum(nil)); message != "" {
		return message, nil
	}
	if p == a.uploads {
		return a.checkUploads(ctx, meter)
	}
	return "", nil
}

func (a *reader) progress(n int64) error {
	a.opt.Progress.Add(n)
	return nil
}

func (a *reader) copy(ctx context.Context, to io.Writer, p *part, meter *archive.Meter) (err error) {
	r := a.zip.Open(ctx, p.Entry, p.key)
	defer func() { err = errors.Join(err, r.Close()) }()
	_, err = io.CopyBuffer(to, meter.Reader(r), make([]byte, 256<<10))
	return err
}

// flaw tells damage from what keeps an archive from being read.
func flaw(err error) (string, error) {
	var e *core.Error
	if errors.As(err, &e) && e.Code == core.CodeDamage {
		return e.Message, nil
	}
	return "", err
}

// makeSpool makes a file without a name for uploads.zip, which must be read
// from its end. Without a name nothing of it stays behind, whatever happens.
func (a *reader) makeSpool() error {
	if err := a.dropSpool(); err != nil {
		return err
	}
	f, err := os.CreateTemp(a.opt.ScratchDir, "backstay-itflow-*")
	if err != nil {
		return diskError(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return diskError(errors.Join(err, f.Close()))
	}
	a.spool = f
	return nil
}

func (a *reader) dropSpool() error {
	if a.spool == nil {
		return nil
	}
	err := a.spool.Close()
	a.spool, a.inner = nil, nil
	return err
}

// diskWriter says of what it cannot write that it is the scratch folder's fault.
type diskWriter struct{ w io.Writer }

func (w diskWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	if err != nil {
		err = diskError(err)
	}
	return n, err
}

func diskError(err error) error {
	e := &core.Error{Code: core.CodeDisk, Op: "unpack " + uploadsName, Message: "the scratch folder cannot take it", Err: err}
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		e.Hint = "make room there, or set TMPDIR to a folder with more room"
	}
	return e
}

// OpenDump opens db.sql. Bytes of an entry that Check found to be damaged are
// given until the damage shows, at the latest at its end.
func (a *reader) OpenDump(ctx context.Context) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	r := a.zip.Open(ctx, a.dump.Entry, a.dump.key)
	return struct {
		io.Reader
		io.Closer
	}{archive.NewMeter(a.opt.Limits, a.size).Reader(r), r}, nil
}

// Close frees the disk space of what was unpacked.
func (a *reader) Close() error {
	if err := a.dropSpool(); err != nil {
		return fmt.Errorf("close ITFlow archive: %w", err)
	}
	return nil
}
