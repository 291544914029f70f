package sqlfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"

	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

func (f Format) write(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) ([]core.Warning, error) {
	if content.Dump == nil {
		return nil, &core.Error{
			Code: core.CodeUnsupported, Op: "write dump", Message: "the backup has no database",
			Hint: "the format sql holds a database alone; --format backstay holds everything",
		}
	}
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	p, err := f.packer(w, opt.Level)
	if err != nil {
		return nil, err
	}
	warnings, err := content.Dump(ctx, &meter{p, opt.Progress}, archive.DialectMySQL)
	if err != nil {
		p.abandon()
		return nil, fmt.Errorf("write dump: %w", err)
	}
	if err := p.Close(); err != nil {
		p.abandon()
		return nil, fmt.Errorf("write dump: %w", err)
	}
	return append(notCarried(content.Manifest), warnings...), nil
}

// notCarried warns of each component that is not in a dump.
func notCarried(m core.Manifest) []core.Warning {
	var warnings []core.Warning
	for _, c := range m.Components {
		if c == core.ComponentDatabase {
			continue
		}
		var files, links int64
		for _, t := range m.Trees {
			if t.Component == c {
				files, links = files+t.Files, links+t.Symlinks
			}
		}
		var left []string
		if files > 0 || links == 0 {
			left = append(left, counted(files, "file"))
		}
		if links > 0 {
			left = append(left, counted(links, "link"))
		}
		warnings = append(warnings, core.Warning{
			Code: archive.NeverCarried, Object: string(c),
			Message: "a dump holds the database alone; left out: " + strings.Join(left, " and "),
		})
	}
	return warnings
}

func counted(n int64, one string) string {
	if n != 1 {
		one += "s"
	}
	return fmt.Sprintf("%d %s", n, one)
}

type meter struct {
	w        io.Writer
	progress core.Progress
}

func (c *meter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.progress.Add(int64(n))
	return n, err
}

// packer packs what is written to it.
type packer struct {
	io.WriteCloser
	abandon func() // ends it after a failure; nothing more is written to the file
}

type unpacked struct{ io.Writer }

func (unpacked) Close() error { return nil }

// gate ends what goes through it once it is shut, so that what packs in
// goroutines can be ended as if all were well.
type gate struct {
	w    io.Writer
	shut atomic.Bool
}

func (g *gate) Write(p []byte) (int, error) {
	if g.shut.Load() {
		return len(p), nil
	}
	return g.w.Write(p)
}

// gzipDefault makes files no larger than gzip -6 does of iTop's dump and of rows
// with numbers, times and hashes, in a fifth of its time on two cores. Prose of few words becomes a tenth
// larger; only level 9 makes that as small, at the price of all the time gained.
const gzipDefault = 7

func (f Format) packer(w io.Writer, level int) (*packer, error) {
	if level < 0 || level > 9 {
		return nil, &core.Error{Code: core.CodeUsage, Op: "write dump", Message: fmt.Sprintf("there is no level %d", level), Hint: "levels are 1 (fast) to 9 (small)"}
	}
	switch f.extension {
	case ".sql":
		return &packer{unpacked{w}, func() {}}, nil
	case ".sql.gz":
		if level == 0 {
			level = gzipDefault
		}
		g := &gate{w: w}
		z, err := pgzip.NewWriterLevel(g, level)
		if err == nil {
			err = z.SetConcurrency(1<<20, 4)
		}
		if err != nil {
			return nil, fmt.Errorf("write dump: %w", err)
		}
		return &packer{z, func() {
			g.shut.Store(true)
			_ = z.Close() // ends its goroutines
		}}, nil
	case ".sql.zst":
		speed := zstd.SpeedDefault
		switch {
		case level >= 6: // the packer's best takes three times as long and gains nothing on SQL
			speed = zstd.SpeedBetterCompression
		case level == 1 || level == 2:
			speed = zstd.SpeedFastest
		}
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(speed), zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(true))
		if err != nil {
			return nil, fmt.Errorf("write dump: %w", err)
		}
		return &packer{z, func() { z.Reset(io.Discard) }}, nil
	}
	return nil, errors.New("write dump: no packing is called " + f.extension)
}
