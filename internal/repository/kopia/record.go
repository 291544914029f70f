package kopia

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	kopiafs "github.com/kopia/kopia/fs"
	"github.com/kopia/kopia/repo/object"
	"github.com/kopia/kopia/snapshot"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
)

// The tags of our snapshots. A tag survives every change that kopia's command
// line makes to a snapshot's manifest (pins, descriptions, fixes), which a
// field of our own in it would not. With "tag:" before it kopia's command line
// can search for it.
const (
	tagID     = "tag:backstay-id"
	tagRecord = "backstay-record"
)

func checkBackup(b core.Backup) error {
	switch {
	case !repository.ValidID(b.ID):
		return fmt.Errorf("%q cannot be a backup's id: letters, digits, dot, dash and underscore, at most 128", b.ID)
	case b.App == "":
		return errors.New("backup names no app")
	}
	return nil
}

// newSnapshot returns the kopia snapshot that is the backup. The manifest
// alone is enough for List.
func newSnapshot(root core.Object, sum *kopiafs.DirectorySummary, b core.Backup) (*snapshot.Manifest, error) {
	oid, err := object.ParseID(string(root.ID))
	if err != nil {
		return nil, fmt.Errorf("root %q: %w", root.ID, err)
	}
	record, err := json.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("write record: %w", err)
	}
	start := kopiafs.UTCTimestampFromTime(b.Time)
	host := b.Host
	if host == "" {
		host = "unknown"
	}
	return &snapshot.Manifest{
		Source:      snapshot.SourceInfo{Host: host, UserName: userName, Path: "/" + b.App},
		Description: describe(b),
		StartTime:   start,
		EndTime:     start.Add(time.Duration(b.DurationMS) * time.Millisecond),
		Stats: snapshot.Stats{
			TotalFileSize:       sum.TotalFileSize,
			TotalFileCount:      clamp(sum.TotalFileCount),
			NonCachedFiles:      clamp(sum.TotalFileCount),
			TotalDirectoryCount: clamp(sum.TotalDirCount),
		},
		RootEntry: &snapshot.DirEntry{
			Name: b.App, Type: snapshot.EntryTypeDirectory, Permissions: 0o700,
			ModTime: start, ObjectID: oid, DirSummary: sum,
		},
		Tags: map[string]string{tagID: b.ID, tagRecord: string(record)},
	}, nil
}

// describe is the line that kopia's command line shows.
func describe(b core.Backup) string {
	s := fmt.Sprintf("backstay backup %s of %s", b.ID, b.App)
	if b.Profile != "" {
		s += " (" + b.Profile + ")"
	}
	if b.Note != "" {
		s += ": " + b.Note
	}
	return s
}

func clamp(n int64) int32 { return int32(min(n, math.MaxInt32)) }

// recordOf reads what newSnapshot wrote.
func recordOf(m *snapshot.Manifest) (repository.Record, error) {
	var r repository.Record
	if err := json.Unmarshal([]byte(m.Tags[tagRecord]), &r.Backup); err != nil {
		return r, fmt.Errorf("record of backup %s: %w", m.Tags[tagID], err)
	}
	if r.ID != m.Tags[tagID] || m.RootEntry == nil {
		return r, fmt.Errorf("record of backup %s is incomplete", m.Tags[tagID])
	}
	r.Root = core.Object{ID: core.ObjectID(m.RootEntry.ObjectID.String())}
	if m.RootEntry.DirSummary != nil {
		r.Root.Size = m.RootEntry.DirSummary.TotalFileSize
	}
	return r, nil
}
