package kopia

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	kopiarepo "github.com/kopia/kopia/repo"
	"github.com/kopia/kopia/repo/blob"
	"github.com/kopia/kopia/repo/blob/throttling"
	"github.com/kopia/kopia/repo/content"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// connection is the file from which kopia opens a repository. It holds the
// place and the name under which we write, never the key. No caches are kept
// for file://: they would double what the disk's own cache does.
type connection struct {
	file string
	temp string // folder to remove on close; "" when the file is kept
}

func newConnection(opts Options, loc location) (*connection, error) {
	const op = "prepare repository connection"
	c := &connection{}
	dir := opts.StateDir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "backstay-connection-*"); err != nil {
			return nil, &core.Error{
				Code: core.CodeDisk, Op: op, Message: fmt.Sprintf("no folder can be made in %s", os.TempDir()), Err: err,
				Hint: "make space or rights for it there, or set state_dir",
			}
		}
		c.temp = dir
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%t\n%d\n%d", loc.url, opts.Hostname, opts.ReadOnly, opts.UploadLimit, opts.DownloadLimit))
	c.file = filepath.Join(dir, "connections", hex.EncodeToString(sum[:8])+".json")
	config, err := json.MarshalIndent(kopiarepo.LocalConfig{
		Storage: &blob.ConnectionInfo{Type: storageType, Config: &fileConfig{Path: loc.path}},
		Caching: &content.CachingOptions{},
		ClientOptions: kopiarepo.ClientOptions{
			Hostname: opts.Hostname, Username: userName, ReadOnly: opts.ReadOnly,
			Description: "backstay repository", FormatBlobCacheDuration: 15 * time.Minute, Throttling: limits(opts),
		},
	}, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	if have, err := os.ReadFile(c.file); err == nil && bytes.Equal(have, config) {
		return c, nil
	}
	if err := os.MkdirAll(filepath.Dir(c.file), 0o700); err != nil {
		return nil, stateError(op, dir, err)
	}
	err = place.WriteFile(c.file, func(w io.Writer) error { _, err := w.Write(config); return err })
	if err != nil {
		return nil, stateError(op, dir, err)
	}
	return c, nil
}

// limits returns what kopia's throttler is told; nil for no limits.
func limits(opts Options) *throttling.Limits {
	if opts.UploadLimit == 0 && opts.DownloadLimit == 0 {
		return nil
	}
	return &throttling.Limits{UploadBytesPerSecond: float64(opts.UploadLimit), DownloadBytesPerSecond: float64(opts.DownloadLimit)}
}

// stateError is about the state folder, not the repository.
func stateError(op, dir string, err error) error {
	return &core.Error{
		Code: core.CodeDisk, Op: op, Message: fmt.Sprintf("state folder %s cannot be written", dir), Err: err,
		Hint: "check state_dir and its owner",
	}
}

func (c *connection) close() error {
	if c.temp == "" {
		return nil
	}
	return os.RemoveAll(c.temp)
}
