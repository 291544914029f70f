// Package tree is how a folder of a backup is written down: kopia's own form,
// so that kopia's command line can read it, with what that cannot hold beside
// it. It is for package kopia, which stores the bytes. It promises that an
// entry comes back as it was, or is refused.
package tree

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	kopiafs "github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
)

// directoryStream is what kopia writes at the start of a folder object.
const directoryStream = "kopia:directory"

// Folder is a folder object: kopia's snapshot.DirManifest, with what that
// cannot hold in fields that kopia ignores.
type Folder struct {
	Stream  string                    `json:"stream"`
	Entries []Entry                   `json:"entries"`
	Summary *kopiafs.DirectorySummary `json:"summary"`
}

// Entry is an element of a Folder.
type Entry struct {
	*snapshot.DirEntry
	// Seconds and Nanos are the modification time where kopia's count of
	// nanoseconds in 64 bits (1678 to 2262) cannot hold it.
	Seconds *int64 `json:"backstayMtimeSeconds,omitempty"`
	Nanos   int64  `json:"backstayMtimeNanos,omitempty"`
}

var (
	earliest = time.Unix(0, math.MinInt64)
	latest   = time.Unix(0, math.MaxInt64)
)

// checkName refuses what cannot be one element of a path.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..":
		return fmt.Errorf("%q cannot name an entry", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q is not UTF-8", name)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("name %q has a slash or a NUL", name)
	}
	return nil
}

// NewEntry returns e in kopia's form. summary is that of a folder's
// object, nil for others.
func NewEntry(e core.Entry, summary *kopiafs.DirectorySummary) (Entry, error) {
	if err := checkName(e.Name); err != nil {
		return Entry{}, err
	}
	oid, err := object.ParseID(string(e.Object.ID))
	if err != nil || oid == object.EmptyID {
		return Entry{}, fmt.Errorf("entry %q has no valid object: %q", e.Name, e.Object.ID)
	}
	const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky
	if e.Mode&^modeBits != 0 {
		return Entry{}, fmt.Errorf("entry %q has mode %v, which is more than permissions", e.Name, e.Mode)
	}
	if summary != nil {
		// kopia's restore gives a folder this time, not that of its entry.
		sum := *summary
		sum.MaxModTime = timestamp(e.ModTime)
		summary = &sum
	}
	de := &snapshot.DirEntry{
		Name:        e.Name,
		Permissions: snapshot.Permissions(e.Mode),
		UserID:      e.UID,
		GroupID:     e.GID,
		ObjectID:    oid,
		DirSummary:  summary,
	}
	switch e.Type {
	case core.TypeFile:
		de.Type, de.FileSize = snapshot.EntryTypeFile, e.Object.Size
	case core.TypeSymlink:
		de.Type, de.FileSize = snapshot.EntryTypeSymlink, e.Object.Size
	case core.TypeDir:
		de.Type = snapshot.EntryTypeDirectory
	default:
		return Entry{}, fmt.Errorf("entry %q has unknown type %q", e.Name, e.Type)
	}
	de.ModTime = timestamp(e.ModTime)
	out := Entry{DirEntry: de}
	if !de.ModTime.ToTime().Equal(e.ModTime) {
		seconds := e.ModTime.Unix()
		out.Seconds, out.Nanos = &seconds, int64(e.ModTime.Nanosecond())
	}
	return out, nil
}

// timestamp returns t in kopia's form, or what comes nearest.
func timestamp(t time.Time) kopiafs.UTCTimestamp {
	switch {
	case t.Before(earliest):
		return math.MinInt64
	case t.After(latest):
		return math.MaxInt64
	}
	return kopiafs.UTCTimestampFromTime(t)
}

// Core is the reverse of NewEntry.
func (d Entry) Core() core.Entry {
	e := core.Entry{
		Name:    d.Name,
		Mode:    fs.FileMode(d.Permissions),
		UID:     d.UserID,
		GID:     d.GroupID,
		ModTime: d.ModTime.ToTime().UTC(),
		Object:  core.Object{ID: core.ObjectID(d.ObjectID.String()), Size: d.FileSize},
	}
	if d.Seconds != nil {
		e.ModTime = time.Unix(*d.Seconds, d.Nanos).UTC()
	}
	switch d.Type {
	case snapshot.EntryTypeSymlink:
		e.Type = core.TypeSymlink
	case snapshot.EntryTypeDirectory:
		e.Type = core.TypeDir
		if d.DirSummary != nil {
			e.Object.Size, e.Files = d.DirSummary.TotalFileSize, d.DirSummary.TotalFileCount
		}
	default:
		e.Type = core.TypeFile
	}
	return e
}

// NewFolder returns the folder that holds entries, which it sorts as kopia does,
// folders first. Two of one name are an error.
func NewFolder(entries []Entry) (*Folder, error) {
	isFile := func(e Entry) int {
		if e.Type == snapshot.EntryTypeDirectory {
			return 0
		}
		return 1
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(isFile(a), isFile(b)), cmp.Compare(a.Name, b.Name))
	})
	seen := make(map[string]struct{}, len(entries))
	sum := kopiafs.DirectorySummary{TotalDirCount: 1}
	newest := func(t kopiafs.UTCTimestamp) {
		if sum.MaxModTime == 0 || t.After(sum.MaxModTime) {
			sum.MaxModTime = t
		}
	}
	for _, e := range entries {
		if _, twice := seen[e.Name]; twice {
			return nil, fmt.Errorf("two entries are named %q", e.Name)
		}
		seen[e.Name] = struct{}{}
		newest(e.ModTime)
		switch e.Type {
		case snapshot.EntryTypeSymlink:
			sum.TotalSymlinkCount++
		case snapshot.EntryTypeDirectory:
			sum.TotalFileCount += e.DirSummary.TotalFileCount
			sum.TotalFileSize += e.DirSummary.TotalFileSize
			sum.TotalSymlinkCount += e.DirSummary.TotalSymlinkCount
			sum.TotalDirCount += e.DirSummary.TotalDirCount
			newest(e.DirSummary.MaxModTime)
		default:
			sum.TotalFileCount++
			sum.TotalFileSize += e.FileSize
		}
	}
	if entries == nil {
		entries = []Entry{}
	}
	return &Folder{Stream: directoryStream, Entries: entries, Summary: &sum}, nil
}

// ReadFolder decodes a folder object. Its Summary and entries are not nil.
func ReadFolder(r io.Reader) (*Folder, error) {
	var d Folder
	if err := json.NewDecoder(r).Decode(&d); err != nil {
		return nil, err
	}
	if d.Stream != directoryStream {
		return nil, errors.New("object is not a folder")
	}
	if d.Summary == nil {
		d.Summary = &kopiafs.DirectorySummary{}
	}
	for _, e := range d.Entries {
		if e.DirEntry == nil {
			return nil, errors.New("folder has an empty entry")
		}
	}
	return &d, nil
}
