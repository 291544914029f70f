package transfer

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// DownloadKept is how long a download is kept after it was made, unless
// Downloads.Limits says otherwise.
const DownloadKept = 24 * time.Hour

// What lies beside the archive in a download's folder.
const (
	noteFile   = ".download.json"
	tempPrefix = ".backstay-" // of an archive that is being written
)

// Download is an archive that was made to be downloaded.
type Download struct {
	Run    int64 // that made it
	Name   string
	Size   int64 // bytes
	SHA256 string
	Made   time.Time
	Until  time.Time
	By     string
}

type note struct {
	SHA256 string `json:"sha256,omitempty"`
	By     string `json:"by,omitempty"`
}

// Downloads are those in one state folder. It is safe for concurrent use.
type Downloads struct {
	dir   string
	clock core.Clock
	free  func(dir string) (int64, error)
	// Limits are how long a download is kept, 0 for DownloadKept, and how many
	// bytes all may have together, 0 for as many as fit; nil: those.
	Limits func() (keep time.Duration, most int64)
}

func (d *Downloads) limits() (keep time.Duration, most int64) {
	if d.Limits != nil {
		keep, most = d.Limits()
	}
	return cmp.Or(keep, DownloadKept), most
}

// NewDownloads keeps downloads in stateDir/console/downloads, which is made when it is needed.
func NewDownloads(stateDir string, clock core.Clock) *Downloads {
	return &Downloads{dir: filepath.Join(stateDir, "console", "downloads"), clock: clock, free: freeBelow}
}

func (d *Downloads) folder(run int64) string {
	return filepath.Join(d.dir, strconv.FormatInt(run, 10))
}

// Room says whether an archive of about size bytes fits; CodeDisk.
func (d *Downloads) Room(size int64) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return diskError("make download", d.dir, err)
	}
	free, err := d.free(d.dir)
	if err != nil {
		return err
	}
	if size > free-reserve {
		return full("make download", d.dir, free)
	}
	_, most := d.limits()
	if most == 0 {
		return nil
	}
	there, err := d.List()
	if err != nil {
		return err
	}
	for _, one := range there {
		size += one.Size
	}
	if size > most {
		return &core.Error{
			Code: core.CodeDisk, Op: "make download", Message: fmt.Sprintf("downloads may have %d bytes together, and this would make them about %d", most, size),
			Hint: "remove downloads that are no longer needed, or raise console.downloads.max in backstay.yaml",
		}
	}
	return nil
}

// Dir makes the folder in which a run is to write its archive, empty. Only its
// owner can look into it.
func (d *Downloads) Dir(run int64) (string, error) {
	if run <= 0 {
		return "", &core.Error{Code: core.CodeUsage, Op: "make download", Message: fmt.Sprintf("%d is not a run", run)}
	}
	dir := d.folder(run)
	// Runs are counted anew after the records were lost.
	if err := os.RemoveAll(dir); err != nil {
		return "", fmt.Errorf("make download: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", diskError("make download", d.dir, err)
	}
	return dir, nil
}

// Note keeps who wanted a download and what its sum is, as far as known.
func (d *Downloads) Note(run int64, by, sha256 string) error {
	if err := writeJSON(d.folder(run), noteFile, note{SHA256: sha256, By: by}); err != nil {
		return diskError("note download", d.dir, err)
	}
	return nil
}

func noDownload() error {
	return &core.Error{Code: core.CodeNotFound, Op: "open download", Message: "there is no such download", Hint: "downloads are kept for a day; make it again"}
}

// Get looks at a download; CodeNotFound when the run made none, or is not done.
func (d *Downloads) Get(run int64) (Download, error) {
	entries, err := os.ReadDir(d.folder(run))
	if errors.Is(err, fs.ErrNotExist) {
		return Download{}, noDownload()
	}
	if err != nil {
		return Download{}, fmt.Errorf("look at download: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		if !e.Type().IsRegular() || name == noteFile || strings.HasPrefix(name, tempPrefix) || strings.HasPrefix(name, ".new-") || strings.HasSuffix(name, ".sha256") {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return Download{}, fmt.Errorf("look at download: %w", err)
		}
		var n note
		if err := readJSON(d.folder(run), noteFile, &n); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Download{}, fmt.Errorf("look at download: %w", err)
		}
		made := info.ModTime()
		keep, _ := d.limits()
		return Download{Run: run, Name: name, Size: info.Size(), SHA256: n.SHA256, Made: made, Until: made.Add(keep), By: n.By}, nil
	}
	return Download{}, noDownload()
}

// List lists downloads, the newest first. One whose folder is damaged is left out.
func (d *Downloads) List() ([]Download, error) {
	names, err := folders(d.dir)
	if err != nil {
		return nil, err
	}
	var all []Download
	for _, name := range names {
		run, err := strconv.ParseInt(name, 10, 64)
		if err != nil || run <= 0 {
			continue
		}
		if one, err := d.Get(run); err == nil {
			all = append(all, one)
		}
	}
	slices.SortFunc(all, func(a, b Download) int { return cmp.Or(b.Made.Compare(a.Made), cmp.Compare(b.Run, a.Run)) })
	return all, nil
}

// Open opens the archive of a download, which the caller closes. It stays
// readable for who has it open when it is removed. CodeNotFound.
func (d *Downloads) Open(run int64) (Download, *os.File, error) {
	one, err := d.Get(run)
	if err != nil {
		return Download{}, nil, err
	}
	f, err := os.OpenFile(filepath.Join(d.folder(run), one.Name), os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return Download{}, nil, noDownload()
	}
	if err != nil {
		return Download{}, nil, fmt.Errorf("open download: %w", err)
	}
	return one, f, nil
}

// Remove removes a download; CodeNotFound.
func (d *Downloads) Remove(run int64) error {
	if _, err := os.Lstat(d.folder(run)); run <= 0 || errors.Is(err, fs.ErrNotExist) {
		return noDownload()
	}
	if err := os.RemoveAll(d.folder(run)); err != nil {
		return fmt.Errorf("remove download: %w", err)
	}
	return nil
}

// Clean removes downloads whose time is over, and folders without one that
// nobody fills: running says whether a run goes on.
func (d *Downloads) Clean(running func(run int64) bool) error {
	names, err := folders(d.dir)
	if err != nil {
		return err
	}
	now := d.clock.Now()
	keep, _ := d.limits()
	var failures []error
	for _, name := range names {
		run, err := strconv.ParseInt(name, 10, 64)
		if err != nil || run <= 0 || name != strconv.FormatInt(run, 10) || running != nil && running(run) {
			continue
		}
		one, err := d.Get(run)
		if over := err == nil && now.After(one.Until); over || err != nil && olderThan(d.folder(run), now, keep) {
			if err := d.Remove(run); err != nil && core.CodeOf(err) != core.CodeNotFound {
				failures = append(failures, err)
			}
		}
	}
	return errors.Join(failures...)
}
