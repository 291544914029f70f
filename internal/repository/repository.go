// Package repository is the seam between backstay and the place where backups
// live. It is for the engine, which writes and reads backups through a Store
// and never sees what is behind it: kopia (package kopia, the real one), a map
// (package memory, for tests), or either with faults (package faulty). The
// conformance suite in package repositorytest says what all of them promise.
package repository

import (
	"context"
	"regexp"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// Store is an open repository. All methods are safe for concurrent use, by
// several processes too.
//
// A Store MUST authenticate what it reads: bytes that are not the bytes that
// were written give an error with core.CodeDamage, never wrong data. An error
// because the repository itself is gone has core.CodeNoRepository.
type Store interface {
	core.TreeReader

	// Begin starts writing a backup. Nothing of it is visible before Commit.
	Begin(ctx context.Context) (Session, error)
	// List returns all committed backups, oldest first, of all apps. It MUST
	// see every backup whose Commit returned nil before the call.
	//
	// When backups were committed that it cannot find or read any more, the
	// error has core.CodeDamage and names them, and the records found are
	// returned with it: each of them can be used, but a caller MUST NOT take
	// them for all that there are. With any other error there are no records.
	List(ctx context.Context) ([]Record, error)
	// Delete removes a backup from the list; its space comes back with
	// maintenance, not at once (see Maintain). A backup that List names as lost can be deleted too, by its
	// whole id: then List misses it no longer. An unknown id gives
	// core.CodeNotFound.
	Delete(ctx context.Context, id string) error
	// Mark changes what is recorded about a backup after its commit. The
	// backup's content never changes. Unknown ids give core.CodeNotFound.
	Mark(ctx context.Context, id string, mark Mark) error
	// Maintain gives back space that no backup uses, in as many calls over as
	// many days as the store needs to be safe while backups are written, which
	// it MUST be: a call right after Delete need not free anything. It takes
	// the repository's maintenance lease first; core.CodeLocked when another
	// process has it. With an error it returns what was done until then.
	Maintain(ctx context.Context) (Maintained, error)
	// Space says how full the repository is, and when it was maintained, by
	// whatever machine. It MUST be cheap enough to be asked every few minutes.
	Space(ctx context.Context) (core.Space, error)
	// Close releases the store. It MUST be called; its error is a data error.
	Close(ctx context.Context) error
}

// Session writes one backup.
type Session interface {
	core.TreeWriter

	// StoredBytes is how much the session has added to the repository so far,
	// after deduplication and compression. Complete only after Commit.
	StoredBytes() int64
	// Commit makes the backup exist: when it returns nil, every object below
	// root and the record are durable and listed. It is the last call of a
	// session. backup.ID MUST be unique; backup.StoredBytes is filled in by
	// the store. On error there is no backup.
	Commit(ctx context.Context, root core.Object, backup core.Backup) (Record, error)
	// Abort ends the session without a backup. After Commit it does nothing,
	// so that it can be deferred.
	Abort()
}

// Record is a committed backup.
type Record struct {
	core.Backup
	Root core.Object // the backup's root folder
}

// Mark is a change to what is recorded about a backup; nil fields change nothing.
//
// Damaged is when a verification found damage. It stands until Verified is set
// by a later Mark; a Mark that has both leaves the backup damaged. Damaged
// leaves Verified as it is: when the backup was last found whole.
type Mark struct {
	Pinned   *bool
	Verified *time.Time
	Damaged  *time.Time
	Drilled  *time.Time
}

// Maintained is what a call of Maintain did.
type Maintained struct {
	// Full says that it did all steps by which space comes back. A call soon
	// after such a one only tidies up, which costs little.
	Full    bool      `json:"full"`
	Began   time.Time `json:"began"`
	Ended   time.Time `json:"ended"`   // zero: it did not get to its end
	Removed int64     `json:"removed"` // bytes in the objects that it removed
	Written int64     `json:"written"` // bytes in the objects that it wrote in their place
}

// Freed is by how many bytes the repository became smaller. It is negative
// where data was moved together and what it was moved from may not go yet.
func (m Maintained) Freed() int64 { return m.Removed - m.Written }

// ManifestName is the name of the manifest in a backup's root folder.
const ManifestName = "manifest.json"

var validID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

// ValidID says whether id can name a backup: letters, digits, dot, dash and
// underscore, at most 128, the first a letter or digit.
func ValidID(id string) bool { return validID.MatchString(id) }
