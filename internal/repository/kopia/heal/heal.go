// Package heal writes objects into a kopia repository so that they can be read:
// what kopia would share with what is there is read first, and stored anew where
// that is damaged. It is for package kopia. It promises to touch no content that
// can be read, and none that is not written at that moment: a content that is
// only forgotten, and still used, would keep kopia from ever maintaining the
// repository, because its maintenance stores such contents anew.
package heal

import (
	"context"
	"fmt"
	"sync"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"
)

// Objects writes objects. It is safe for concurrent use.
type Objects struct {
	manager *object.Manager

	mu     sync.Mutex // held while a content is stored anew
	healed int
}

// New returns the writer of objects of a session. damaged says of an error of
// reading a content that the content is to blame, and not the way to it.
func New(ctx context.Context, w kopiarepo.DirectRepositoryWriter, damaged func(error) bool) (*Objects, error) {
	o := &Objects{}
	manager, err := object.NewObjectManager(ctx, newContents(o, w, w.ContentManager().WriteContent, damaged), w.ObjectFormat(), nil)
	if err != nil {
		return nil, fmt.Errorf("write objects: %w", err)
	}
	o.manager = manager
	return o, nil
}

// NewWriter is kopia's NewObjectWriter.
func (o *Objects) NewWriter(ctx context.Context, opt object.WriterOptions) object.Writer {
	return o.manager.NewWriter(ctx, opt)
}

// Healed is how many contents were stored anew.
func (o *Objects) Healed() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.healed
}

// writeContent is kopia's WriteContent. Bytes is a type of kopia's own that
// cannot be named here.
type writeContent[Bytes any] func(context.Context, Bytes, content.IDPrefix, compression.HeaderID) (content.ID, error)

// contents is what kopia writes objects to.
type contents[Bytes any] struct {
	*content.WriteManager
	objects *Objects
	write   writeContent[Bytes]
	refresh func(context.Context) error // the index
	damaged func(error) bool
}

func newContents[Bytes any](o *Objects, w kopiarepo.DirectRepositoryWriter, write writeContent[Bytes], damaged func(error) bool) *contents[Bytes] {
	return &contents[Bytes]{WriteManager: w.ContentManager(), objects: o, write: write, refresh: w.Refresh, damaged: damaged}
}

// WriteContent writes a content and makes sure that it can be read.
func (c *contents[Bytes]) WriteContent(ctx context.Context, data Bytes, prefix content.IDPrefix, comp compression.HeaderID) (content.ID, error) {
	id, err := c.write(ctx, data, prefix, comp)
	if err != nil {
		return id, err
	}
	if _, err := c.GetContent(ctx, id); err == nil {
		return id, nil
	}
	// One at a time: two that wrote the same would forget each other's.
	c.objects.mu.Lock()
	defer c.objects.mu.Unlock()
	// Maintenance elsewhere may have moved it, or another writer stored it anew.
	if err := c.refresh(ctx); err != nil {
		return id, err
	}
	_, err = c.GetContent(ctx, id)
	if err == nil {
		return id, nil
	}
	if ctx.Err() != nil {
		return id, ctx.Err()
	}
	if !c.damaged(err) {
		return id, fmt.Errorf("read what is there already: %w", err)
	}
	// kopia writes nothing that its index names, but what it names as deleted.
	// Between the two nothing is written: both are in one pack that is not full.
	if err := c.DeleteContent(ctx, id); err != nil {
		return id, fmt.Errorf("forget damaged content %s: %w", id, err)
	}
	again, err := c.write(ctx, data, prefix, comp)
	if err != nil {
		return id, fmt.Errorf("store damaged content %s anew: %w", id, err)
	}
	if _, err := c.GetContent(ctx, again); err != nil {
		return id, fmt.Errorf("content %s was stored anew and cannot be read: %w", id, err)
	}
	c.objects.healed++
	return again, nil
}
