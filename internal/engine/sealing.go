package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/altered"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/repository"
)

// With Engine.SealTo, the files of the configuration component are stored sealed,
// and in their place stands only that they are, so that who can read backups
// cannot read their secrets (docs/secrets.md). Nothing of a file is shown: its
// secrets can stand anywhere in it, in comments and in old copies too.

// maxConfig bounds a configuration file that is sealed, which memory holds whole.
const maxConfig = 64 << 20

// placeholder is what is stored in a file's place. It is another one for each
// path: objects stand for files when they are unsealed.
func placeholder(path string) []byte {
	return fmt.Appendf(nil, "<?php // %q is sealed by backstay: see secrets/ of this backup\n", path)
}

// sealer takes the contents of files, and stores their placeholders.
type sealer struct {
	core.TreeWriter
	mu     sync.Mutex
	sealed map[string]core.Secret // by path in the component: the file as it is
}

func newSealer(w core.TreeWriter) *sealer {
	return &sealer{TreeWriter: w, sealed: map[string]core.Secret{}}
}

func (s *sealer) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	w, err := s.TreeWriter.Create(ctx, hint)
	if err != nil {
		return nil, err
	}
	return &sealedWriter{FileWriter: w, of: s, path: hint}, nil
}

// sealedWriter holds a file back until all of it is there.
type sealedWriter struct {
	core.FileWriter
	of   *sealer
	path string
	text bytes.Buffer
}

func (w *sealedWriter) Write(p []byte) (int, error) {
	if w.text.Len()+len(p) > maxConfig {
		return 0, &core.Error{
			Code: core.CodeUnsupported, Op: "seal " + w.path, Message: fmt.Sprintf("a configuration file of more than %d bytes cannot be sealed", maxConfig),
			Hint: "leave it out of config: or of the application's configuration folder (exclude:)",
		}
	}
	return w.text.Write(p)
}

// Finish stores the placeholder, and keeps the file; of one that is read again
// because it changed, the last reading is the one that is stored.
func (w *sealedWriter) Finish() (core.Object, error) {
	if _, err := w.FileWriter.Write(placeholder(w.path)); err != nil {
		return core.Object{}, err
	}
	object, err := w.FileWriter.Finish()
	if err == nil {
		w.of.mu.Lock()
		w.of.sealed[w.path] = core.NewSecret(w.text.String())
		w.of.mu.Unlock()
	}
	return object, err
}

func (s *sealer) write(ctx context.Context, path string, content []byte) (object core.Object, err error) {
	w, err := s.TreeWriter.Create(ctx, path)
	if err != nil {
		return object, err
	}
	if _, err = w.Write(content); err == nil {
		object, err = w.Finish()
	}
	if cerr := w.Close(); err == nil {
		err = cerr
	}
	return object, err
}

// store writes what was held back into the folder secrets/, sealed, and returns
// its entry; the list says where each file is. at is the backup's time.
func (s *sealer) store(ctx context.Context, recipients []string, at time.Time) (entries []core.Entry, list []core.SealedFile, err error) {
	if len(s.sealed) == 0 {
		return nil, nil, nil
	}
	folder := core.Entry{Name: string(core.ComponentSecrets), Type: core.TypeDir, Mode: 0o700, ModTime: at}
	var inside []core.Entry
	for p, content := range s.sealed {
		text, err := keys.Seal(content, recipients)
		if err != nil {
			return nil, nil, err
		}
		name := strings.NewReplacer("%", "%25", "/", "%2F").Replace(p) + ".age"
		object, err := s.write(ctx, path.Join(folder.Name, name), []byte(text))
		if err != nil {
			return nil, nil, err
		}
		inside = append(inside, core.Entry{Name: name, Type: core.TypeFile, Mode: 0o600, ModTime: at, Object: object})
		list = append(list, core.SealedFile{Path: path.Join(string(core.ComponentConfig), p), File: path.Join(folder.Name, name)})
	}
	slices.SortFunc(list, func(a, b core.SealedFile) int { return strings.Compare(a.Path, b.Path) })
	if folder.Object, err = s.TreeWriter.WriteDir(ctx, inside); err != nil {
		return nil, nil, err
	}
	folder.Files = int64(len(inside))
	return []core.Entry{folder}, list, nil
}

// Unsealed returns an engine that reads the configuration of a backup as it was
// before it was sealed. It is e itself when nothing of the backup is sealed, and
// when e has no identities: then sealed says that it is. Identities that do not
// open it are an error with core.CodeWrongKey.
func (e *Engine) Unsealed(ctx context.Context, rec repository.Record) (_ *Engine, sealed bool, err error) {
	o, err := e.openManifest(ctx, rec)
	if err != nil || len(o.Manifest.Sealed) == 0 {
		return e, false, err
	}
	if e.Identities.Empty() {
		return e, true, nil
	}
	var reader core.TreeReader = e.Store
	for _, s := range o.Manifest.Sealed {
		at, err := o.Lookup(ctx, s.Path)
		if core.CodeOf(err) == core.CodeNotFound {
			continue // it was gone when it was to be stored
		}
		if err != nil {
			return nil, true, err
		}
		var text bytes.Buffer
		if err := o.Cat(ctx, s.File, &text); err != nil {
			return nil, true, err
		}
		content, err := keys.Open(text.Bytes(), e.Identities)
		if err != nil {
			return nil, true, &core.Error{Code: core.CodeOf(err), Op: "open " + s.File + " of backup " + rec.ID, Err: err, Hint: core.HintOf(err)}
		}
		reader = altered.Content(reader, at.Object.ID, []byte(content.Reveal()))
	}
	with := *e
	with.Store = unsealedStore{e.Store, reader}
	with.Narrow = func(o *Open) {
		if o.Manifest.Sealed = nil; e.Narrow != nil { // as it is read nothing is sealed
			e.Narrow(o)
		}
	}
	return &with, true, nil
}

// unsealedStore is a repository as reader shows it.
type unsealedStore struct {
	repository.Store
	reader core.TreeReader
}

func (s unsealedStore) ReadDir(ctx context.Context, dir core.ObjectID) ([]core.Entry, error) {
	return s.reader.ReadDir(ctx, dir)
}

func (s unsealedStore) Open(ctx context.Context, file core.ObjectID) (io.ReadSeekCloser, error) {
	return s.reader.Open(ctx, file)
}
