package itflow

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/winzip"
	"github.com/backstay/backstay/internal/core"
)

// Write writes a full archive, or a database archive when the backup has no
// files in uploads/: an empty uploads.zip would tell ITFlow to delete them all.
func (Format) Write(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) ([]core.Warning, error) {
	const op = "write ITFlow archive"
	if opt.Password.Empty() {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: op, Message: "it needs a password, with which it is encrypted",
			Hint: "give --password-file FILE; ITFlow's restore_cli.php asks for the same with --key",
		}
	}
	if content.Dump == nil {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: op, Message: "the backup has no database, and ITFlow reads no archive without one",
			Hint: "choose a backup with the component database, or the format backstay",
		}
	}
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	x := &exporter{ctx: ctx, content: content, opt: opt, zip: winzip.NewWriter(w), lost: newLost()}
	if err := x.write(); err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	return append(x.warnings, x.lost.warnings()...), nil
}

// exporter writes one archive.
type exporter struct {
	ctx      context.Context
	content  archive.Content
	opt      archive.WriteOptions
	zip      *winzip.Writer
	sums     []sum
	warnings []core.Warning
	lost     *lost
}

func (x *exporter) write() error {
	uploads, err := x.hasUploads()
	if err != nil {
		return err
	}
	x.opt.Progress.Item(dumpName)
	err = x.entry(dumpName, winzip.Deflate, func(w io.Writer) error {
		warnings, err := x.content.Dump(x.ctx, progressWriter{w, x.opt.Progress}, archive.DialectITFlow)
		x.warnings = append(x.warnings, warnings...)
		return err
	})
	if err != nil {
		return err
	}
	kind := kindDatabase
	if uploads {
		kind = kindFull
		if err := x.entry(uploadsName, winzip.Store, x.uploads); err != nil {
			return err
		}
	} else if slices.Contains(x.content.Manifest.Components, core.ComponentFiles) {
		x.warnings = append(x.warnings, core.Warning{
			Code: notCarried, Object: uploadsDir, Message: "it holds no file, so the archive is one of the database alone: an empty uploads.zip would make ITFlow delete all uploads",
		})
	}
	if uploads {
		x.lost.all("owners are not carried: what ITFlow restores belongs to the account that runs its restore", uploadsDir)
	}
	for _, c := range []core.Component{core.ComponentConfig, core.ComponentCode} {
		if err := x.leaveOut(c); err != nil {
			return err
		}
	}
	text := []byte(formatVersion(kind, x.content.Manifest, time.Local, x.sums))
	h := x.header(versionName)
	var packed winzip.Packed
	if h.Method, packed, err = winzip.NewCompressor(x.opt.Level).Compress(text); err != nil {
		return err
	}
	return errors.Join(x.zip.Add(h, packed), x.zip.Close())
}

func (x *exporter) header(name string) winzip.Header {
	return winzip.Header{
		Name: name, Level: x.opt.Level, Mode: 0o600, Password: x.opt.Password,
		Modified: x.content.Manifest.Time.In(time.Local),
	}
}

// entry writes an encrypted entry and keeps its checksum.
func (x *exporter) entry(name string, method uint16, fill func(w io.Writer) error) error {
	h := x.header(name)
	h.Method = method
	e, err := x.zip.Create(h)
	if err != nil {
		return err
	}
	hash := sha256.New()
	if err := fill(io.MultiWriter(hash, e)); err != nil {
		return err
	}
	x.sums = append(x.sums, sum{name, hash.Sum(nil)})
	return e.Close()
}

type progressWriter struct {
	w io.Writer
	p core.Progress
}

func (w progressWriter) Write(p []byte) (int, error) {
	n, err := w.w.Write(p)
	w.p.Add(int64(n))
	return n, err
}

var errFound = errors.New("found")

// hasUploads says whether there is anything for uploads.zip. If not, it has
// counted what there is elsewhere.
func (x *exporter) hasUploads() (bool, error) {
	elsewhere := newLost()
	err := x.content.Walk(x.ctx, core.ComponentFiles, func(item archive.Item) error {
		name, why := uploadName(item)
		if item.Type == core.TypeFile && name != "" {
			return errFound
		}
		if item.Type != core.TypeDir && why != "" {
			elsewhere.add(why, item)
		}
		return nil
	})
	if errors.Is(err, errFound) {
		return true, nil
	}
	x.lost = elsewhere
	return false, err
}

// uploadName returns the name that an entry of the backup has in uploads.zip,
// or why it has none. Both are "" where there is nothing to say.
func uploadName(item archive.Item) (name, why string) {
	name, below := strings.CutPrefix(item.Path, uploadsDir+"/")
	switch {
	case item.Path == "" || item.Type == core.TypeDir && item.Place == "app" && item.Path == uploadsDir:
		return "", ""
	case item.Place != "app" || !below:
		return "", notUploads
	case name == "backups" || strings.HasPrefix(name, "backups/"):
		return "", "" // ITFlow's own archives, which its archives do not hold either
	case strings.Contains(name, ".."):
		return "", "ITFlow's restore refuses an archive with two dots in a name"
	case item.Type == core.TypeSymlink:
		return "", "ITFlow's archive carries no links"
	}
	if _, err := archive.CheckPath(name); err != nil {
		return "", "its name is one that readers of zip files refuse"
	}
	if item.Type == core.TypeDir {
		name += "/"
	}
	return name, ""
}

// leaveOut counts what is in a component that the format does not carry.
func (x *exporter) leaveOut(c core.Component) error {
	return x.content.Walk(x.ctx, c, func(item archive.Item) error {
		if item.Type != core.TypeDir {
			why := "ITFlow's archive carries no " + string(c)
			x.lost.add(why, item)
			x.lost.never[why] = true
		}
		return nil
	})
}
