package assemble

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// maxIdle is how often a reader may give nothing.
const maxIdle = 100

// storeFile stores the body of a file: a small one beside others.
func (b *Builder) storeFile(ctx context.Context, p *place, in *folder, at int32, f File, body io.Reader) error {
	real := p.real(f.Path)
	if body == nil {
		if f.Size < 0 {
			return fmt.Errorf("assemble files: %s has neither size nor body", files.Quote(f.Path))
		}
		body = bytes.NewReader(nil)
	}
	if f.Size >= 0 && f.Size <= smallFile {
		p.counts.Bytes += f.Size
		return b.storeSmall(ctx, in, at, real, f.Size, body, b.opt.Progress)
	}
	object, err := b.storeLarge(ctx, real, f.Size, body)
	if err != nil {
		return err
	}
	p.counts.Bytes += object.Size
	b.set(in, at, object)
	return nil
}

func (b *Builder) set(in *folder, at int32, object core.Object) {
	b.mu.Lock()
	in.records[at].id, in.records[at].size = object.ID, object.Size
	b.mu.Unlock()
}

// storeSmall reads the body, and stores it while the caller goes on.
func (b *Builder) storeSmall(ctx context.Context, in *folder, at int32, real string, size int64, body io.Reader, progress core.Progress) error {
	var buf []byte
	select {
	case buf = <-b.small:
	case <-ctx.Done():
		return ctx.Err()
	}
	if buf == nil {
		buf = make([]byte, smallFile+1)
	}
	n, ended, err := fill(body, buf[:size+1])
	switch {
	case err != nil:
		err = unread(real, err)
	case !ended:
		err = wrongSize(real, size, "more")
	case int64(n) < size:
		err = wrongSize(real, size, "less")
	}
	if err != nil {
		b.small <- buf
		return err
	}
	b.storing.Go(func() {
		defer func() { b.small <- buf }()
		object, err := b.storeBytes(ctx, real, buf[:n])
		if err != nil {
			_ = b.fail(err) // the next call returns it
			return
		}
		b.set(in, at, object)
		if progress != nil {
			progress.Add(int64(n))
		}
	})
	return nil
}

func (b *Builder) storeBytes(ctx context.Context, real string, data []byte) (object core.Object, err error) {
	w, err := b.w.Create(ctx, real)
	if err != nil {
		return object, unstored(real, err)
	}
	defer func() {
		if cerr := w.Close(); err == nil && cerr != nil {
			err = unstored(real, cerr)
		}
	}()
	if _, err := w.Write(data); err != nil {
		return object, unstored(real, err)
	}
	if object, err = w.Finish(); err != nil {
		return object, unstored(real, err)
	}
	return object, nil
}

// storeLarge stores the body as it is read.
func (b *Builder) storeLarge(ctx context.Context, real string, size int64, body io.Reader) (object core.Object, err error) {
	w, err := b.w.Create(ctx, real)
	if err != nil {
		return object, unstored(real, err)
	}
	defer func() {
		if cerr := w.Close(); err == nil && cerr != nil {
			err = unstored(real, cerr)
		}
	}()
	if b.large == nil {
		b.large = make([]byte, bufferSize)
	}
	total := int64(0)
	for {
		if err := b.failed(ctx); err != nil {
			return object, err
		}
		n, ended, err := fill(body, b.large)
		if err != nil {
			return object, unread(real, err)
		}
		if total += int64(n); size >= 0 && total > size {
			return object, wrongSize(real, size, "more")
		}
		if _, err := w.Write(b.large[:n]); err != nil {
			return object, unstored(real, err)
		}
		b.opt.Progress.Add(int64(n))
		if ended {
			break
		}
	}
	if size >= 0 && total < size {
		return object, wrongSize(real, size, "less")
	}
	if object, err = w.Finish(); err != nil {
		return object, unstored(real, err)
	}
	return object, nil
}

// fill reads until buf is full, or the body has ended as it should: an
// unexpected end, as of a cut gzip file, is an error.
func fill(body io.Reader, buf []byte) (n int, ended bool, err error) {
	for idle := 0; n < len(buf); {
		k, err := body.Read(buf[n:])
		n += k
		if err == io.EOF {
			return n, true, nil
		}
		if err != nil {
			return n, false, err
		}
		if idle++; k > 0 {
			idle = 0
		} else if idle > maxIdle {
			return n, false, io.ErrNoProgress
		}
	}
	return n, false, nil
}

func unstored(real string, err error) error {
	return fmt.Errorf("store %s: %w", files.Quote(real), err)
}

func unread(real string, err error) error { return fmt.Errorf("read %s: %w", files.Quote(real), err) }

func wrongSize(real string, size int64, than string) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "read " + files.Quote(real), Message: fmt.Sprintf("it has %s than the %d bytes that it is said to have", than, size),
		Hint: "the archive is damaged; use another one, or see what is left of it with --salvage",
	}
}
