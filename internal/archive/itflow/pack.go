package itflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/winzip"
	"github.com/backstay/backstay/internal/core"
)

// inMemory is up to which size a file is compressed in memory, several at a
// time. Its headers are then as PHP's zip library writes them; larger files
// are streamed, with their sizes behind them.
const inMemory = 512 << 10

// job is one entry of uploads.zip on its way from the tree to the archive.
type job struct {
	item   archive.Item
	header winzip.Header
	packed winzip.Packed
	done   chan error // the work on packed ended; nil: the file is to be streamed
}

// uploads writes uploads.zip to w: folders and files, in the tree's order.
func (x *exporter) uploads(w io.Writer) error {
	zip := winzip.NewWriter(w)
	workers := min(runtime.GOMAXPROCS(0), 8)
	g, ctx := errgroup.WithContext(x.ctx)
	queue, work := make(chan *job, workers), make(chan *job)
	g.Go(func() error {
		defer close(queue)
		defer close(work)
		return x.list(ctx, queue, work)
	})
	for range workers {
		g.Go(func() error {
			c := winzip.NewCompressor(x.opt.Level)
			for j := range work {
				j.done <- x.compress(ctx, c, j)
			}
			return nil
		})
	}
	g.Go(func() error {
		for j := range queue {
			if err := x.put(ctx, zip, j); err != nil {
				return err
			}
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		return err
	}
	return zip.Close()
}

// list queues the entries. What is small is worked on at the same time.
func (x *exporter) list(ctx context.Context, queue, work chan<- *job) error {
	return x.content.Walk(ctx, core.ComponentFiles, func(item archive.Item) error {
		name, why := uploadName(item)
		if why != "" && item.Type != core.TypeDir {
			x.lost.add(why, item)
		}
		if name == "" {
			return nil
		}
		x.lost.attributes(item)
		if !utf8.ValidString(name) {
			x.lost.add("its name is not UTF-8, and ITFlow's restore will give it another", item)
		}
		j := &job{item: item, header: winzip.Header{
			Name: name, Level: x.opt.Level, Mode: item.Mode.Perm(), Modified: item.ModTime.In(time.Local),
		}}
		send := []chan<- *job{queue}
		if item.Type == core.TypeDir || item.Size <= inMemory {
			j.done = make(chan error, 1)
			send = append(send, work)
		}
		if item.Type == core.TypeDir {
			j.done <- nil
			send = send[:1]
		}
		for _, to := range send {
			select {
			case to <- j:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
}

// compress reads a small file and packs it.
func (x *exporter) compress(ctx context.Context, c *winzip.Compressor, j *job) (err error) {
	f, err := x.content.Tree.Open(ctx, j.item.Stored.Object.ID)
	if err != nil {
		return x.unreadable(j, err)
	}
	plain := make([]byte, j.item.Size)
	_, err = io.ReadFull(f, plain)
	if err = errors.Join(err, f.Close()); err != nil {
		return x.unreadable(j, err)
	}
	j.header.Method, j.packed, err = c.Compress(plain)
	return err
}

func (x *exporter) unreadable(j *job, err error) error {
	return fmt.Errorf("read files/%s: %w", j.item.Extra.Path, err)
}

// put writes an entry.
func (x *exporter) put(ctx context.Context, zip *winzip.Writer, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x.opt.Progress.Item(j.item.Path)
	if j.done == nil {
		return x.stream(ctx, zip, j)
	}
	select {
	case err := <-j.done:
		if err != nil {
			return err
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	x.opt.Progress.Add(j.item.Size)
	return zip.Add(j.header, j.packed)
}

// stream reads a large file as it is written.
func (x *exporter) stream(ctx context.Context, zip *winzip.Writer, j *job) (err error) {
	f, err := x.content.Tree.Open(ctx, j.item.Stored.Object.ID)
	if err != nil {
		return x.unreadable(j, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	head := make([]byte, min(inMemory, j.item.Size))
	if _, err := io.ReadFull(f, head); err != nil {
		return x.unreadable(j, err)
	}
	// Most large uploads are compressed already; the first bytes tell.
	method, packed, err := winzip.NewCompressor(1).Compress(head)
	if err != nil {
		return err
	}
	j.header.Method = winzip.Deflate
	if method == winzip.Store || len(packed.Data) > len(head)/50*49 {
		j.header.Method = winzip.Store
	}
	w, err := zip.Create(j.header)
	if err != nil {
		return err
	}
	to := progressWriter{w, x.opt.Progress}
	if _, err := to.Write(head); err != nil {
		return err
	}
	n, err := io.CopyBuffer(to, cancellable{ctx, f}, make([]byte, 256<<10))
	if err != nil {
		return x.unreadable(j, err)
	}
	if n+int64(len(head)) != j.item.Size {
		return x.unreadable(j, winzip.Damaged("it has %d bytes instead of %d", n+int64(len(head)), j.item.Size))
	}
	return w.Close()
}

// cancellable ends with its context.
type cancellable struct {
	ctx context.Context
	r   io.Reader
}

func (r cancellable) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
