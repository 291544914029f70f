package kopia

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/sharded"

	"github.com/backstay/backstay/internal/repository/kopia/pack"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// storageType is the name under which fileStorage is known to kopia inside
// this process. The folder is the one that kopia calls "filesystem".
const storageType = "backstay-file"

// fileStorage keeps blobs in a folder, laid out as kopia's own "filesystem"
// storage lays them out, so that kopia's command line can use the folder too.
// It differs from it in three ways. The folder is synced after a file was
// renamed into it, without which a power cut can take back a finished PutBlob.
// Errors come back at once: kopia's storage tries a permission error again for
// minutes. And a folder that cannot be listed ends the operation (see guard)
// where kopia would try for ever.
type fileStorage struct {
	sharded.Storage
	blob.DefaultProviderImplementation
	*folder
}

// fileConfig is what the connection file says about the storage.
type fileConfig struct {
	Path string `json:"path"`
}

func newFileStorage(root string, now func() time.Time) *fileStorage {
	f := &folder{root: root, now: now}
	return &fileStorage{
		Storage: sharded.New(f, root, sharded.Options{DirectoryShards: []int{1, 3}}, false),
		folder:  f,
	}
}

// ConnectionInfo implements blob.Reader.
func (s *fileStorage) ConnectionInfo() blob.ConnectionInfo {
	return blob.ConnectionInfo{Type: storageType, Config: &fileConfig{Path: s.root}}
}

// DisplayName implements blob.Reader.
func (s *fileStorage) DisplayName() string { return s.root }

type storageKey struct{}

// withStorage hands st to kopia's Open, which makes storages by type name only.
func withStorage(ctx context.Context, st blob.Storage) context.Context {
	registerStorage()
	return context.WithValue(ctx, storageKey{}, st)
}

// registerStorage tells kopia of storageType, once: its registry is a plain map.
var registerStorage = sync.OnceFunc(func() {
	blob.AddSupportedStorage(storageType, fileConfig{},
		func(ctx context.Context, c *fileConfig, _ bool) (blob.Storage, error) {
			if st, ok := ctx.Value(storageKey{}).(blob.Storage); ok && st.DisplayName() == c.Path {
				return st, nil
			}
			return nil, fmt.Errorf("storage %s was not opened by this package", c.Path)
		})
})

// folder implements sharded.Impl on a local folder.
type folder struct {
	root  string
	packs pack.Files
	// now, when set, is what tells the time of blobs in place of the file
	// system, and onChange is asked before a blob is written or removed. Tests
	// use them to let days pass, and to break things where no small file
	// system can be mounted.
	now      func() time.Time
	onChange func(context.Context, change) error
}

// change is what is about to happen to a blob.
type change struct {
	path   string
	remove bool
}

var _ sharded.Impl = (*folder)(nil)

// GetBlobFromPath implements sharded.Impl.
func (f *folder) GetBlobFromPath(ctx context.Context, _, path string, offset, length int64, output blob.OutputBuffer) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	output.Reset()
	if length < 0 {
		in, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return blob.ErrBlobNotFound
		}
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, in.Close()) }()
		_, err = io.Copy(output, in)
		return err
	}
	switch err := f.packs.Copy(output, path, offset, length); {
	case errors.Is(err, fs.ErrNotExist):
		return blob.ErrBlobNotFound
	case errors.Is(err, pack.ErrShort):
		return fmt.Errorf("%w: %w", err, blob.ErrInvalidRange)
	default:
		return err
	}
}

// GetMetadataFromPath implements sharded.Impl.
func (f *folder) GetMetadataFromPath(ctx context.Context, _, path string) (blob.Metadata, error) {
	if err := ctx.Err(); err != nil {
		return blob.Metadata{}, err
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return blob.Metadata{}, blob.ErrBlobNotFound
	}
	if err != nil {
		return blob.Metadata{}, err
	}
	return blob.Metadata{Length: fi.Size(), Timestamp: fi.ModTime()}, nil
}

// PutBlobInPath implements sharded.Impl. When it returns nil the blob survives
// a power cut; when it fails nothing is left of it.
func (f *folder) PutBlobInPath(ctx context.Context, dir, path string, data blob.Bytes, opts blob.PutOptions) (err error) {
	u := upkeepOf(ctx)
	defer func() { u.note(err) }()
	if opts.HasRetentionOptions() || opts.DoNotRecreate {
		return blob.ErrUnsupportedPutBlobOption
	}
	if f.onChange != nil {
		if err := f.onChange(ctx, change{path: path}); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := f.makeDir(dir); err != nil {
		return err
	}
	before, err := u.sizeOf(path)
	if err != nil {
		return err
	}
	if err := place.WriteFile(path, func(w io.Writer) error { _, err := data.WriteTo(w); return err }); err != nil {
		return err
	}
	u.wrote(int64(data.Length()) - before)
	t := opts.SetModTime
	if t.IsZero() && f.now != nil {
		t = f.now()
	}
	if !t.IsZero() {
		if err := os.Chtimes(path, t, t); err != nil {
			return err
		}
	}
	if opts.GetModTime != nil {
		fi, err := os.Stat(path)
		if err != nil {
			return err
		}
		*opts.GetModTime = fi.ModTime()
	}
	return nil
}

// makeDir makes dir and what is missing above it, but never the root: when
// that is gone, so is the repository.
func (f *folder) makeDir(dir string) error {
	if _, err := os.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) || dir == f.root {
		return err
	}
	parent := filepath.Dir(dir)
	if err := f.makeDir(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return place.SyncDir(parent)
}

// DeleteBlobInPath implements sharded.Impl. A blob that is not there is no error.
func (f *folder) DeleteBlobInPath(ctx context.Context, _, path string) (err error) {
	u := upkeepOf(ctx)
	defer func() { u.note(err) }()
	if f.onChange != nil {
		if err := f.onChange(ctx, change{path: path, remove: true}); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := u.mayRemove(); err != nil {
		return err
	}
	size, err := u.sizeOf(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	u.removed(size)
	return nil
}

// ReadDir implements sharded.Impl.
func (f *folder) ReadDir(ctx context.Context, dir string) ([]os.FileInfo, error) {
	infos, err := readDir(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) && dir != f.root {
		return nil, nil
	}
	if err != nil {
		giveUp(ctx, err)
	}
	return infos, err
}

func readDir(ctx context.Context, dir string) ([]os.FileInfo, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	infos := make([]os.FileInfo, 0, len(entries))
	for _, e := range entries {
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since the folder was read
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, fi)
	}
	return infos, nil
}
