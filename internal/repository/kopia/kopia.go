// Package kopia keeps backups in a kopia repository: content-defined chunks,
// deduplicated, compressed, encrypted and authenticated. It is for the engine,
// through the repository.Store seam, and is the only package that knows kopia.
//
// It promises that a backup is a kopia snapshot that kopia's own command line
// can list and restore (docs/kopia-cli.md), that Commit returns only when the
// backup would survive a power cut, and that a lost or damaged part of the
// repository is reported as core.CodeDamage, never as a shorter list or as
// other bytes.
//
// Objects and folders are written directly, not through kopia's uploader, so
// that its checkpoints, ignore files and caching by modification time play no
// part (docs/adr/0001-repository-engine.md).
package kopia

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"sync"
	"time"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/compression"
	"github.com/kopia/kopia/repo/encryption"
	"github.com/kopia/kopia/repo/format"
	"github.com/kopia/kopia/repo/maintenance"
	"github.com/kopia/kopia/repo/manifest"
	"github.com/kopia/kopia/snapshot/policy"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/escrow"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// How repositories are written. Chosen by measurement:
// docs/adr/0001-repository-engine.md.
const (
	hashAlgorithm                          = "BLAKE3-256"
	encryptionAlgorithm                    = encryption.DefaultAlgorithm // AES256-GCM-HMAC-SHA256
	splitterAlgorithm                      = "DYNAMIC-1M-BUZHASH"
	dataCompressor        compression.Name = "zstd-fastest"
	metadataCompressor    compression.Name = "zstd-fastest"
	userName                               = "backstay" // the user that snapshots belong to, whoever runs backstay
	manifestCompactionOff                  = math.MaxInt
)

// Options say which repository is meant and how to work with it.
type Options struct {
	URL      string      // file:///absolute/path
	Password core.Secret // the repository key
	// StateDir is where the connection's settings are kept (never the
	// password). "" uses a temporary folder that Close removes.
	StateDir string
	// Clock times leases and marks. nil is the machine's clock, which kopia
	// always uses for itself: it compares its time with the storage's.
	Clock    core.Clock
	Logger   *slog.Logger // nil discards
	Hostname string       // "" asks the system
	ReadOnly bool         // refuse every change; a folder that cannot be written is opened so by itself
	// How much is written to and read from the storage in a second, in bytes,
	// in the long run: what was not used of a minute can be used at once. 0: no
	// limit.
	UploadLimit, DownloadLimit int64

	// For tests: the clock of kopia and the storage, nil for their own, and how
	// often the maintenance lease is renewed, 0 for as often as is good.
	days         func() time.Time
	leaseRenewal time.Duration
	now          func() time.Time // days, or the machine's clock
}

func (o Options) withDefaults() (Options, error) {
	if o.Clock == nil {
		o.Clock = core.SystemClock{}
	}
	if o.UploadLimit < 0 || o.DownloadLimit < 0 {
		return o, &core.Error{
			Code: core.CodeUsage, Op: "open repository", Message: "a limit on the bytes per second cannot be negative", Hint: "0 means no limit",
		}
	}
	if o.now = o.days; o.now == nil {
		o.now = core.SystemClock{}.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Hostname == "" {
		h, err := os.Hostname()
		if err != nil {
			return o, fmt.Errorf("ask for the host name: %w", err)
		}
		o.Hostname = h
	}
	return o, nil
}

// Store is an open kopia repository. All methods are safe for concurrent use.
type Store struct {
	opts  Options
	files *fileStorage
	conn  *connection

	rep kopiarepo.DirectRepository
	// reader reads what is committed. It is a write session that is never
	// flushed, because only such a one gives access to its content manager:
	// manifests is built on that with automatic compaction turned off, so that
	// listing writes nothing, not even to a full disk.
	reader    kopiarepo.DirectRepositoryWriter
	manifests *manifest.Manager

	closeOnce sync.Once
	closeErr  error
}

var _ repository.Store = (*Store)(nil)

// Create makes a new repository in a folder that is missing or empty, and
// refuses to touch any other. When it fails it leaves what was there before.
func Create(ctx context.Context, opts Options) (err error) {
	const op = "create repository"
	opts, err = opts.withDefaults()
	if err != nil {
		return err
	}
	loc, err := parseURL(opts.URL)
	if err != nil {
		return err
	}
	if opts.Password.Empty() {
		return &core.Error{Code: core.CodeUsage, Op: op, Message: "no repository key given"}
	}
	claim, err := place.Take(loc.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, claim.Finish(err == nil)) }()

	ctx = withLog(ctx, opts.Logger)
	st := newFileStorage(loc.path, opts.days)
	err = kopiarepo.Initialize(ctx, st, &kopiarepo.NewRepositoryOptions{
		BlockFormat: format.ContentFormat{
			Hash:                 hashAlgorithm,
			Encryption:           encryptionAlgorithm,
			EnablePasswordChange: true,
		},
		ObjectFormat: format.ObjectFormat{Splitter: splitterAlgorithm},
	}, opts.Password.Reveal())
	if err != nil {
		return storageError(op, loc.path, err)
	}
	s, err := open(ctx, opts, loc, st)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close(context.WithoutCancel(ctx))) }()
	err = kopiarepo.WriteSession(ctx, s.rep, kopiarepo.WriteSessionOptions{Purpose: "create"},
		func(ctx context.Context, w kopiarepo.RepositoryWriter) error {
			if err := policy.SetPolicy(ctx, w, policy.GlobalPolicySourceInfo, keepEverything()); err != nil {
				return err
			}
			p := maintenance.DefaultParams()
			p.Owner = userName + "@" + opts.Hostname
			return maintenance.SetParams(ctx, w, &p)
		})
	return storageError(op, loc.path, err)
}

// keepEverything is the policy for all of kopia's own tools: backups are
// expired by backstay alone, and if somebody runs kopia's uploader into this
// repository it drops no files because of an ignore file found among them.
func keepEverything() *policy.Policy {
	all := func() *policy.OptionalInt { n := policy.OptionalInt(math.MaxInt32); return &n }
	no := policy.NewOptionalBool(false)
	return &policy.Policy{
		RetentionPolicy: policy.RetentionPolicy{
			KeepLatest: all(), KeepHourly: all(), KeepDaily: all(),
			KeepWeekly: all(), KeepMonthly: all(), KeepAnnual: all(),
			IgnoreIdenticalSnapshots: no,
		},
		FilesPolicy: policy.FilesPolicy{
			NoParentIgnoreRules:    true,
			NoParentDotIgnoreFiles: true,
			IgnoreCacheDirectories: no,
		},
		SchedulingPolicy:  policy.SchedulingPolicy{Manual: true},
		CompressionPolicy: policy.CompressionPolicy{CompressorName: dataCompressor},
	}
}

// Open opens an existing repository.
func Open(ctx context.Context, opts Options) (*Store, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	loc, err := parseURL(opts.URL)
	if err != nil {
		return nil, err
	}
	if err := place.MustBeRepository(loc.path); err != nil {
		return nil, err
	}
	if !opts.ReadOnly && !place.Writable(loc.path) {
		opts.Logger.InfoContext(ctx, "repository folder is not writable: opened for reading only", "path", loc.path)
		opts.ReadOnly = true
	}
	return open(withLog(ctx, opts.Logger), opts, loc, newFileStorage(loc.path, opts.days))
}

func open(ctx context.Context, opts Options, loc location, st *fileStorage) (s *Store, err error) {
	const op = "open repository"
	conn, err := newConnection(opts, loc)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			st.packs.Close()
			err = errors.Join(err, conn.close())
		}
	}()
	ctx, done := guard(ctx)
	defer done(nil)
	rep, err := kopiarepo.Open(withStorage(ctx, escrow.Hold(st, opts.Password, opts.now)), conn.file, opts.Password.Reveal(), &kopiarepo.Options{
		DisableRepositoryLog: true, // its log blobs are of no use to us and never deduplicate
		DoNotWaitForUpgrade:  true,
		TimeNowFunc:          opts.now,
		// The default ends the process.
		OnFatalError: func(err error) { opts.Logger.Error("repository is no longer usable", "error", err) },
	})
	if err != nil {
		if errors.Is(err, kopiarepo.ErrInvalidPassword) {
			return nil, wrongKey(op, loc.path)
		}
		return nil, readError(ctx, op, st, done(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, rep.Close(context.WithoutCancel(ctx)))
		}
	}()
	direct, ok := rep.(kopiarepo.DirectRepository)
	if !ok {
		return nil, fmt.Errorf("open repository: %T gives no direct access", rep)
	}
	_, reader, err := direct.NewDirectWriter(ctx, kopiarepo.WriteSessionOptions{Purpose: "read"})
	if err != nil {
		return nil, readError(ctx, op, st, err)
	}
	manifests, err := newManifests(ctx, reader, opts.now)
	if err != nil {
		return nil, errors.Join(err, reader.Close(ctx))
	}
	return &Store{opts: opts, files: st, conn: conn, rep: direct, reader: reader, manifests: manifests}, nil
}

// newManifests returns a manifest manager over w that never compacts by itself.
func newManifests(ctx context.Context, w kopiarepo.DirectRepositoryWriter, now func() time.Time) (*manifest.Manager, error) {
	m, err := manifest.NewManager(ctx, w.ContentManager(), manifest.ManagerOptions{
		TimeNow:                 now,
		AutoCompactionThreshold: manifestCompactionOff,
	}, nil)
	if err != nil {
		return nil, fmt.Errorf("open repository manifests: %w", err)
	}
	return m, nil
}

// Close releases the store. Sessions that are still open keep working.
func (s *Store) Close(ctx context.Context) error {
	s.closeOnce.Do(func() {
		ctx := withLog(context.WithoutCancel(ctx), s.opts.Logger)
		s.closeErr = errors.Join(s.reader.Close(ctx), s.rep.Close(ctx), s.conn.close())
		s.files.packs.Close()
	})
	if s.closeErr != nil {
		return fmt.Errorf("close repository: %w", s.closeErr)
	}
	return nil
}

// mustWrite refuses changes to a store that was opened for reading only.
func (s *Store) mustWrite(op string) error {
	if !s.opts.ReadOnly {
		return nil
	}
	return repository.StorageError(&core.Error{
		Code: core.CodeDisk, Op: op,
		Message: fmt.Sprintf("repository folder %s is read-only", s.files.root),
		Hint:    "run as the user who owns the repository folder, or mount it writable",
	})
}
