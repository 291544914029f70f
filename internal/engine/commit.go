package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/repository"
)

// Commit makes a backup exist whose components were stored in s: it writes the
// manifest, whose time of finishing is now, and the root folder with entries.
// Without an error the backup is durable and listed.
func (e *Engine) Commit(ctx context.Context, s repository.Session, m core.Manifest, entries []core.Entry, pin bool) (repository.Record, error) {
	m.Finished = e.Clock.Now()
	text, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return repository.Record{}, fmt.Errorf("write manifest: %w", err)
	}
	obj, err := writeObject(ctx, s, repository.ManifestName, append(text, '\n'))
	if err != nil {
		return repository.Record{}, fmt.Errorf("write manifest: %w", err)
	}
	entries = append(entries, plainFile(repository.ManifestName, obj, m.Time))
	root, err := s.WriteDir(ctx, entries)
	if err != nil {
		return repository.Record{}, fmt.Errorf("write root folder: %w", err)
	}
	backup := summary(m)
	backup.Pinned = pin
	rec, err := s.Commit(ctx, root, backup)
	if err != nil {
		return repository.Record{}, fmt.Errorf("commit backup: %w", err)
	}
	return rec, nil
}

// ComponentEntries are the entries of a backup's root folder that a component's
// trees take.
func ComponentEntries(c core.Component, folder core.Entry, extra *core.Object, at time.Time) []core.Entry {
	folder.Name = string(c)
	entries := []core.Entry{folder}
	if extra != nil {
		entries = append(entries, plainFile(files.ExtraName(c), *extra, at))
	}
	return entries
}

func plainFile(name string, obj core.Object, at time.Time) core.Entry {
	return core.Entry{Name: name, Type: core.TypeFile, Mode: 0o600, ModTime: at, Object: obj}
}

func writeObject(ctx context.Context, w core.TreeWriter, hint string, data []byte) (_ core.Object, err error) {
	f, err := w.Create(ctx, hint)
	if err != nil {
		return core.Object{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if _, err := f.Write(data); err != nil {
		return core.Object{}, err
	}
	return f.Finish()
}

// summary is a backup as lists show it.
func summary(m core.Manifest) core.Backup {
	s := core.Backup{
		ID: m.ID, App: m.App, Profile: m.Profile, Host: m.Host, Time: m.Time.UTC(), Trigger: m.Trigger, Note: m.Note,
		Consistency: m.Consistency, FreezeMS: m.Consistency.FreezeMS,
		DurationMS: m.Finished.Sub(m.Started).Milliseconds(),
		Components: map[core.Component]core.ComponentSize{}, Warnings: m.Warnings, Origin: m.Origin,
	}
	if s.Warnings == nil {
		s.Warnings = []core.Warning{}
	}
	if d := m.Database; d != nil {
		s.Components[core.ComponentDatabase] = core.ComponentSize{Tables: d.Tables, Rows: d.Rows, Bytes: d.Bytes, TablesReused: d.Reused}
		s.LogicalBytes += d.Bytes
	}
	for _, t := range m.Trees {
		size := s.Components[t.Component]
		size.Files += t.Files
		size.FilesReused += t.Reused
		size.Bytes += t.Bytes
		s.Components[t.Component] = size
		s.LogicalBytes += t.Bytes
	}
	return s
}
