package own

import (
	"archive/tar"
	"bufio"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

func (f Format) write(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) error {
	if opt.Progress == nil {
		opt.Progress = core.NoProgress{}
	}
	if sealed(opt) {
		seal, err := f.seal(w, opt)
		if err != nil {
			return err
		}
		if err := f.pack(ctx, seal, content, opt); err != nil {
			return err
		}
		if err := seal.Close(); err != nil {
			return fmt.Errorf("write archive: %w", err)
		}
		return nil
	}
	return f.pack(ctx, w, content, opt)
}

// pack writes all that is in the seal.
func (f Format) pack(ctx context.Context, w io.Writer, content archive.Content, opt archive.WriteOptions) error {
	packed, err := zstd.NewWriter(w, zstd.WithEncoderLevel(level(opt.Level)), zstd.WithWindowSize(maxWindow),
		zstd.WithEncoderConcurrency(2), zstd.WithEncoderCRC(true))
	if err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	out := &writer{
		content: content, progress: opt.Progress, tar: tar.NewWriter(packed), buf: make([]byte, 256<<10),
		order: newOrder(), time: time.Unix(content.Manifest.Time.Unix(), 0),
	}
	if content.Manifest.Time.IsZero() {
		out.time = time.Unix(0, 0)
	}
	if err := out.all(ctx); err != nil {
		packed.Reset(io.Discard) // ends its goroutines; nothing more is wanted of it
		return fmt.Errorf("write archive: %w", err)
	}
	if err := packed.Close(); err != nil {
		return fmt.Errorf("write archive: %w", err)
	}
	return nil
}

// level turns 1 to 9 into what this packer has; 0 is its default.
func level(n int) zstd.EncoderLevel {
	switch {
	case n == 0:
		return zstd.SpeedDefault
	case n <= 2:
		return zstd.SpeedFastest
	case n <= 5:
		return zstd.SpeedDefault
	}
	return zstd.SpeedBetterCompression // the best there is takes three times as long and gains next to nothing
}

// writer writes the tar.
type writer struct {
	content  archive.Content
	progress core.Progress
	tar      *tar.Writer
	order    *order
	time     time.Time // of what is no part of the backup's trees
	buf      []byte

	sums        [][sha256.Size]byte // of the files, in the order of the archive
	entries     int
	entriesSize int64 // of their lines
	sumsSize    int64
}

// all writes all entries. The lists at the end come from a second walk over the
// backup's folders, so that only sums are held until then.
func (w *writer) all(ctx context.Context) error {
	put := func(i item) error { return w.put(ctx, i) }
	if err := w.walk(ctx, put); err != nil {
		return err
	}
	w.entriesSize += int64(len(entriesEnd(w.entries)))
	err := w.list(entriesName, w.entriesSize, func(out io.Writer) error {
		err := w.walk(ctx, func(i item) error {
			_, err := out.Write(entryLine(i.path, i.entry, i.link))
			return err
		})
		if err == nil {
			_, err = out.Write(entriesEnd(w.entries))
		}
		return err
	})
	if err != nil {
		return err
	}
	w.sumsSize += int64(len(sumsEnd(len(w.sums))))
	return errors.Join(w.list(sumsName, w.sumsSize, func(out io.Writer) error {
		n := 0
		line := func(p string) error {
			n++
			_, err := out.Write(sumLine(p, w.sums[n-1]))
			return err
		}
		err := w.walk(ctx, func(i item) error {
			if i.entry.Type != core.TypeFile {
				return nil
			}
			return line(i.path)
		})
		if err == nil {
			err = line(entriesName)
		}
		if err == nil {
			_, err = out.Write(sumsEnd(n))
		}
		return err
	}), w.tar.Close())
}

// file is the entry of a file that is no part of the backup's trees.
func (w *writer) file(name string, size int64) item {
	return item{path: name, entry: core.Entry{
		Name: name, Type: core.TypeFile, Mode: 0o600, ModTime: w.time, Object: core.Object{Size: size},
	}}
}

// walk calls fn for each entry of the archive but the lists at its end. The
// object of README.txt has no id.
func (w *writer) walk(ctx context.Context, fn func(i item) error) error {
	if err := fn(w.file(readmeName, int64(len(w.readme())))); err != nil {
		return err
	}
	return w.folder(ctx, "", w.content.Root, func(i item) error {
		if i.path == manifestName {
			obj := i.entry.Object
			i = w.file(manifestName, obj.Size)
			i.entry.Object = obj
		}
		return fn(i)
	})
}

func (w *writer) folder(ctx context.Context, at string, dir core.Entry, fn func(i item) error) error {
	entries, err := w.content.Tree.ReadDir(ctx, dir.Object.ID)
	if err != nil {
		return fmt.Errorf("read folder %q: %w", at, err)
	}
	slices.SortFunc(entries, func(a, b core.Entry) int {
		return cmp.Or(w.order.compare(at, a.Name, b.Name), cmp.Compare(a.Name, b.Name))
	})
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return err
		}
		if e.ModTime.IsZero() {
			e.ModTime = time.Unix(0, 0) // what a tar makes of it
		}
		i := item{path: e.Name, entry: e}
		if at != "" {
			i.path = at + "/" + e.Name
		}
		if e.Type == core.TypeSymlink {
			if i.link, err = w.link(ctx, e); err != nil {
				return fmt.Errorf("read link %s: %w", i.path, err)
			}
		}
		if err := fn(i); err != nil {
			return err
		}
		if e.Type == core.TypeDir {
			if err := w.folder(ctx, i.path, e, fn); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) link(ctx context.Context, e core.Entry) (_ string, err error) {
	if e.Object.Size > maxPath {
		return "", files.Damage("read link", fmt.Sprintf("its target has %d bytes", e.Object.Size))
	}
	f, err := w.content.Tree.Open(ctx, e.Object.ID)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	target, err := io.ReadAll(f)
	return string(target), err
}

// put writes an entry and notes its lines.
func (w *writer) put(ctx context.Context, i item) error {
	if err := w.order.next(i.path, i.entry.Type); err != nil {
		return files.Damage("write archive", fmt.Sprintf("the backup holds %q, which its layout does not know", i.path))
	}
	line := entryLine(i.path, i.entry, i.link)
	w.entries++
	w.entriesSize += int64(len(line))
	if i.entry.Type != core.TypeFile {
		return w.header(i)
	}
	w.progress.Item(i.path)
	body := io.NopCloser(strings.NewReader(w.readme()))
	limit := int64(-1)
	switch i.path {
	case readmeName:
	case manifestName:
		limit = maxManifest
	case indexName:
		limit = maxIndex
	}
	if limit >= 0 && i.entry.Object.Size > limit {
		return &core.Error{
			Code: core.CodeUnsupported, Message: fmt.Sprintf("%s has %d bytes, more than a backstay archive takes (%d)", i.path, i.entry.Object.Size, limit),
			Hint: "export it in another format",
		}
	}
	if i.path != readmeName {
		f, err := w.content.Tree.Open(ctx, i.entry.Object.ID)
		if err != nil {
			return fmt.Errorf("read %s: %w", i.path, err)
		}
		body = f
	}
	err := w.body(ctx, i, body)
	if cerr := body.Close(); err == nil && cerr != nil {
		err = fmt.Errorf("read %s: %w", i.path, cerr)
	}
	return err
}

// body writes a file and notes its sum.
func (w *writer) body(ctx context.Context, i item, body io.Reader) error {
	if err := w.header(i); err != nil {
		return err
	}
	hash := sha256.New()
	left := i.entry.Object.Size
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := body.Read(w.buf)
		if left -= int64(n); left < 0 || err == io.EOF && left > 0 {
			return files.Damage("read "+i.path, "it is not as long as its folder says")
		}
		hash.Write(w.buf[:n])
		if _, werr := w.tar.Write(w.buf[:n]); werr != nil {
			return werr
		}
		w.progress.Add(int64(n))
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", i.path, err)
		}
	}
	w.noted(i.path, [sha256.Size]byte(hash.Sum(nil)))
	return nil
}

func (w *writer) noted(p string, sum [sha256.Size]byte) {
	w.sums = append(w.sums, sum)
	w.sumsSize += int64(len(sumLine(p, sum)))
}

func (w *writer) header(i item) error {
	h := &tar.Header{
		Name: i.path, Linkname: i.link, Mode: int64(files.UnixMode(i.entry.Mode)), Uid: int(i.entry.UID), Gid: int(i.entry.GID),
		ModTime: i.entry.ModTime, Format: tar.FormatPAX,
	}
	switch i.entry.Type {
	case core.TypeFile:
		h.Typeflag, h.Size = tar.TypeReg, i.entry.Object.Size
	case core.TypeDir:
		h.Typeflag, h.Name = tar.TypeDir, h.Name+"/"
	case core.TypeSymlink:
		h.Typeflag = tar.TypeSymlink
	default:
		return files.Damage("write archive", fmt.Sprintf("%q is of the unknown type %q", i.path, i.entry.Type))
	}
	return w.tar.WriteHeader(h)
}

// list writes one of the lists at the end, of which the size is known.
func (w *writer) list(name string, size int64, write func(io.Writer) error) error {
	if err := w.header(w.file(name, size)); err != nil {
		return err
	}
	hash := sha256.New()
	out := bufio.NewWriterSize(io.MultiWriter(w.tar, hash), 64<<10)
	if err := write(out); err != nil {
		return err
	}
	if err := out.Flush(); err != nil {
		return err
	}
	if name == entriesName {
		w.noted(name, [sha256.Size]byte(hash.Sum(nil)))
	}
	return nil
}
