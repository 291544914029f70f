package kopia

import (
	"context"
	"errors"
	"fmt"

	"github.com/kopia/kopia/repo/object"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/tree"
)

// oneBlock is a splitter that leaves whole what is at most core.MaxBlock long.
const oneBlock = "FIXED-8M"

// CreateBlocks implements core.TreeWriter. kopia's own writer looks at every
// byte for places to cut, which costs a quarter of a backup's time, and cannot
// be told where to; so each block becomes an object of its own, and the file an
// object that lists them, as kopia's writer would have written it.
func (ss *session) CreateBlocks(ctx context.Context, hint string) (core.FileWriter, error) {
	if err := ss.enter(ctx, "store "+hint); err != nil {
		return nil, err
	}
	defer ss.leave()
	gctx, done := ss.context(ctx)
	return &blockWriter{session: ss, hint: hint, ctx: ctx, kopia: gctx, done: done}, nil
}

// blockWriter implements core.FileWriter.
type blockWriter struct {
	session *session
	hint    string
	ctx     context.Context
	kopia   context.Context
	done    func(error) error
	blocks  []object.IndirectObjectEntry
	size    int64
	closed  bool
	err     error // the first; nothing is written after it
}

func (f *blockWriter) Write(p []byte) (int, error) {
	switch {
	case f.err != nil:
		return 0, f.err
	case f.closed:
		f.err = fmt.Errorf("store %s: file is closed", f.hint)
	case len(p) > core.MaxBlock:
		f.err = fmt.Errorf("store %s: a block of %d bytes, more than %d", f.hint, len(p), core.MaxBlock)
	case len(p) == 0:
	default:
		var id object.ID
		if id, f.err = f.store(p, object.WriterOptions{Description: f.hint, Splitter: oneBlock, Compressor: dataCompressor}); f.err == nil {
			f.blocks = append(f.blocks, object.IndirectObjectEntry{Start: f.size, Length: int64(len(p)), Object: id})
			f.size += int64(len(p))
		}
	}
	if f.err != nil {
		return 0, f.err
	}
	return len(p), nil
}

// store stores data as one object.
func (f *blockWriter) store(data []byte, opt object.WriterOptions) (_ object.ID, err error) {
	op := "store " + f.hint
	if err := f.session.enter(f.ctx, op); err != nil {
		return object.EmptyID, err
	}
	defer f.session.leave()
	f.session.slots <- struct{}{}
	defer func() { <-f.session.slots }()
	opt.MetadataCompressor = metadataCompressor
	w := f.session.newWriter(f.kopia, opt)
	defer func() { err = errors.Join(err, w.Close()) }()
	if _, err := w.Write(data); err != nil {
		return object.EmptyID, storageError(op, f.session.store.files.root, err)
	}
	id, err := w.Result()
	if err != nil {
		return object.EmptyID, storageError(op, f.session.store.files.root, err)
	}
	return id, nil
}

func (f *blockWriter) Finish() (core.Object, error) {
	if f.err == nil && f.closed {
		f.err = fmt.Errorf("store %s: file is closed", f.hint)
	}
	if f.err != nil {
		return core.Object{}, f.err
	}
	id, err := f.list()
	if err != nil {
		f.err = err
		return core.Object{}, err
	}
	f.err = fmt.Errorf("store %s: file is finished", f.hint)
	return core.Object{ID: core.ObjectID(id.String()), Size: f.size}, nil
}

// list returns the object that is all blocks one after the other.
func (f *blockWriter) list() (object.ID, error) {
	switch len(f.blocks) {
	case 0:
		return f.store(nil, object.WriterOptions{Description: f.hint, Compressor: dataCompressor})
	case 1:
		return f.blocks[0].Object, nil
	}
	text, err := tree.BlockList(f.blocks)
	if err != nil {
		return object.EmptyID, fmt.Errorf("store %s: %w", f.hint, err)
	}
	id, err := f.store(text, object.WriterOptions{Description: "blocks of " + f.hint, Prefix: tree.BlockListPrefix, Compressor: metadataCompressor})
	if err != nil {
		return object.EmptyID, err
	}
	return object.ParseID("I" + id.String())
}

// Close ends the file; without Finish it is thrown away.
func (f *blockWriter) Close() error {
	if !f.closed {
		f.closed = true
		f.done(nil)
	}
	return nil
}
