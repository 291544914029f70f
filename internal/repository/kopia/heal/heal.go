// Package heal finds contents of a kopia repository that cannot be read, and has
// kopia forget that it has them: it stores nothing that its index names already.
// It is for package kopia. It promises to touch no content that can be read.
package heal

import (
	"context"
	"errors"
	"fmt"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/content"
	"github.com/kopia/kopia/repo/object"

	"github.com/backstay/backstay/internal/core"
)

// Contents marks those contents of the objects as deleted that cannot be read,
// and returns how many.
func Contents(ctx context.Context, rep kopiarepo.DirectRepository, objects []core.ObjectID) (n int, err error) {
	err = kopiarepo.DirectWriteSession(ctx, rep, kopiarepo.WriteSessionOptions{Purpose: "heal"}, func(ctx context.Context, w kopiarepo.DirectRepositoryWriter) error {
		n, err = mark(ctx, w, objects)
		return err
	})
	return n, err
}

func mark(ctx context.Context, w kopiarepo.DirectRepositoryWriter, objects []core.ObjectID) (n int, err error) {
	seen := map[content.ID]bool{}
	for _, o := range objects {
		id, err := object.ParseID(string(o))
		if err != nil {
			return n, fmt.Errorf("object %q: %w", o, err)
		}
		for _, c := range backing(ctx, w, id) {
			if seen[c] {
				continue
			}
			seen[c] = true
			if _, err := w.ContentManager().GetContent(ctx, c); err == nil || ctx.Err() != nil {
				continue
			}
			err := w.ContentManager().DeleteContent(ctx, c)
			if errors.Is(err, content.ErrContentNotFound) {
				continue // the index does not name it: it will be stored anyway
			}
			if err != nil {
				return n, fmt.Errorf("forget damaged content %s: %w", c, err)
			}
			n++
		}
	}
	return n, ctx.Err()
}

// backing lists the contents of an object, as far as it can be told: what lists
// them can itself be damaged, and is then one of them.
func backing(ctx context.Context, w kopiarepo.DirectRepositoryWriter, id object.ID) []content.ID {
	all, err := w.VerifyObject(ctx, id)
	if err == nil {
		return all
	}
	if index, ok := id.IndexObjectID(); ok {
		return append(all, backing(ctx, w, index)...)
	}
	if c, _, ok := id.ContentID(); ok {
		all = append(all, c)
	}
	return all
}
