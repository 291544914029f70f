package kopia

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/kopia/kopia/repo/blob"

	"github.com/backstay/backstay/internal/core"
)

// The ledger is a small blob beside kopia's for each backup, under a name that
// kopia ignores. kopia takes the index blobs that it finds for all there are:
// when one is lost, so are the snapshots in it, without an error, and its next
// maintenance removes their data as unused. The ledger makes that loss known:
// List and Maintain compare the two.
//
// An entry is made after its backup was committed. If that fails, the backup
// stands; it is entered at the next opportunity (reconcile).
//
// A pin has an empty blob of its own too, so that it does not go with an index
// blob: what somebody wanted kept must not be pruned because the wish was lost.
const (
	ledgerPrefix = "backstay.backup."
	pinPrefix    = "backstay.pinned."
)

func ledgerBlob(id string) blob.ID { return blob.ID(ledgerPrefix + id) }
func pinBlob(id string) blob.ID    { return blob.ID(pinPrefix + id) }

// ledgerEntry is what a ledger blob holds, encrypted.
type ledgerEntry struct {
	ID   string    `json:"id"`
	App  string    `json:"app"`
	Time time.Time `json:"time"`
}

// ledgerIDs returns the ids of the backups in the ledger.
func (s *Store) ledgerIDs(ctx context.Context) (map[string]bool, error) {
	return s.idsOf(ctx, ledgerPrefix)
}

// idsOf returns what follows prefix in the names of the blobs that have it.
func (s *Store) idsOf(ctx context.Context, prefix blob.ID) (map[string]bool, error) {
	if err := mustBeRepository(s.files.root); err != nil {
		return nil, err
	}
	ids := map[string]bool{}
	err := s.files.ListBlobs(ctx, prefix, func(m blob.Metadata) error {
		ids[strings.TrimPrefix(string(m.BlobID), string(prefix))] = true
		return nil
	})
	return ids, err
}

// enterInLedger is called when nothing may fail any more, so it only tells.
func (s *Store) enterInLedger(ctx context.Context, b core.Backup) {
	if err := s.putLedger(ctx, b); err != nil {
		s.opts.Logger.WarnContext(ctx, "backup is stored, but not entered in the ledger yet", "backup", b.ID, "error", err)
	}
}

func (s *Store) putLedger(ctx context.Context, b core.Backup) error {
	plain, err := json.Marshal(ledgerEntry{ID: b.ID, App: b.App, Time: b.Time})
	if err != nil {
		return err
	}
	aead, err := s.ledgerCipher()
	if err != nil {
		return err
	}
	nonce := make([]byte, aead.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	return s.files.PutBlob(ctx, ledgerBlob(b.ID), byteBlob(aead.Seal(nonce, nonce, plain, []byte(b.ID))), blob.PutOptions{})
}

func (s *Store) getLedger(ctx context.Context, id string) (ledgerEntry, error) {
	var (
		buf blobBuffer
		e   ledgerEntry
	)
	if err := s.files.GetBlob(ctx, ledgerBlob(id), 0, -1, &buf); err != nil {
		return e, err
	}
	aead, err := s.ledgerCipher()
	if err != nil {
		return e, err
	}
	sealed := buf.Bytes()
	if len(sealed) < aead.NonceSize() {
		return e, errors.New("ledger entry is cut short")
	}
	plain, err := aead.Open(nil, sealed[:aead.NonceSize()], sealed[aead.NonceSize():], []byte(id))
	if err != nil {
		return e, err
	}
	return e, json.Unmarshal(plain, &e)
}

func (s *Store) ledgerCipher() (cipher.AEAD, error) {
	key, err := s.rep.DeriveKey("backstay-ledger", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// describeLost says which backup id was, as far as the ledger can be read.
func (s *Store) describeLost(ctx context.Context, id string) string {
	e, err := s.getLedger(ctx, id)
	if err != nil {
		return id
	}
	return fmt.Sprintf("%s (%s, %s)", id, e.App, e.Time.UTC().Format(time.RFC3339))
}

// reconcile enters the backups that are missing in the ledger.
func (s *Store) reconcile(ctx context.Context) error {
	records, err := s.List(ctx)
	if err != nil {
		return err
	}
	entered, err := s.ledgerIDs(ctx)
	if err != nil {
		return err
	}
	for _, r := range records {
		if entered[r.ID] {
			continue
		}
		if err := s.putLedger(ctx, r.Backup); err != nil {
			return err
		}
		// Deleted meanwhile? Delete removes the entry before and after the
		// snapshot, so one of the two of us sees the other.
		left, err := s.manifestsOf(ctx, r.ID)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			if err := s.files.DeleteBlob(ctx, ledgerBlob(r.ID)); err != nil {
				return err
			}
		}
	}
	return nil
}
