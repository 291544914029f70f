package operation

import (
	"context"
	"encoding/json"
	"time"

	"github.com/backstay/backstay/internal/check"
	"github.com/backstay/backstay/internal/repository"
)

// KitRecord is what is remembered of a recovery kit: the value of KitKey in the
// state database. It holds no secrets: keys are told apart by fingerprints that
// are slow to compute.
type KitRecord struct {
	ID         string            `json:"id"`
	Made       time.Time         `json:"made"`
	Repository string            `json:"repository"` // which one it opens
	Keys       map[string]string `json:"keys"`       // fingerprints, by name
	By         string            `json:"by"`
	Proven     *time.Time        `json:"proven"` // when it was last shown to open the repository; nil: never
	ProvenBy   string            `json:"proven_by,omitempty"`
	// Stale says that a key in it was changed since, and which.
	Stale string `json:"stale,omitempty"`
}

const kitPrefix = "kits/"

// KitKey is the key of a kit's record.
func KitKey(id string) string { return kitPrefix + id }

// Kits returns the records of all kits.
func (c *Caretaker) Kits(ctx context.Context) ([]KitRecord, error) {
	values, err := c.State.Values(ctx, kitPrefix)
	if err != nil {
		return nil, err
	}
	var kits []KitRecord
	for _, v := range values {
		var k KitRecord
		if json.Unmarshal(v, &k) == nil { // one of another version says nothing
			kits = append(kits, k)
		}
	}
	return kits, nil
}

// kits is what checks judge of them: the newest that opens what there is now,
// or the newest.
func (c *Caretaker) kits(ctx context.Context) *check.Kits {
	if c.KitProof <= 0 {
		return nil
	}
	all, err := c.Kits(ctx)
	if err != nil {
		c.stateFailed(ctx, "read of recovery kits", err)
		return nil
	}
	out := &check.Kits{Within: c.KitProof}
	id := ""
	if store, ok := c.Engine.Store.(repository.Escrow); ok {
		id = store.ID()
	}
	var best *KitRecord
	for i := range all {
		k := &all[i]
		if id != "" && k.Repository != id {
			continue // of another repository
		}
		if best == nil || best.Stale != "" && k.Stale == "" || (best.Stale != "") == (k.Stale != "") && k.Made.After(best.Made) {
			best = k
		}
		if k.Stale == "" && k.Proven != nil && (out.Proven == nil || k.Proven.After(*out.Proven)) {
			out.Proven = k.Proven
		}
	}
	if best != nil {
		out.Made, out.Stale = &best.Made, best.Stale != ""
	}
	return out
}
