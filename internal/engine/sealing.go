package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/altered"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/repository"
)

// With Engine.SealTo, the configuration files of applications are stored with
// their secrets masked, and whole and sealed beside that, so that who can read
// backups cannot read the secrets (docs/secrets.md).

// mask stands for a secret in a stored configuration.
const mask = "*****"

// secretSetting are names of settings whose values are masked. One too many
// harms nobody: the sealed file has all.
var secretSetting = regexp.MustCompile(`(?i)pass|pwd|secret|key|token|salt|credential|private|dsn`)

// elsewhere is a value that comes from another place, which holds the secret.
var elsewhere = regexp.MustCompile(`^(getenv|file_get_contents)\s*\(\s*['"][^'"]*['"]\s*\)$`)

// maxConfig bounds a configuration file that is sealed.
const maxConfig = 8 << 20

// maskSecrets returns a PHP configuration with the values of secret settings
// masked, and their names; nil of one that cannot be understood.
func maskSecrets(content []byte) (masked []byte, names []string) {
	f, err := phpconf.Parse(content)
	if err != nil {
		return nil, nil
	}
	var all []phpconf.Assignment
	computed := false
	var below func(variable string, keys []string, v phpconf.Value)
	below = func(variable string, keys []string, v phpconf.Value) {
		for _, item := range v.Items() {
			below(variable, append(slices.Clone(keys), item.Key), item.Value)
		}
		name := variable
		if len(keys) > 0 {
			name = keys[len(keys)-1]
		}
		if !secretSetting.MatchString(name) {
			return
		}
		if !v.IsLiteral() && len(v.Items()) == 0 && !elsewhere.MatchString(v.Source()) {
			computed = true // the secret may stand anywhere in it, or before it
		}
		if v.Kind() == phpconf.String && v.Text() != "" {
			all = append(all, phpconf.Assignment{Variable: variable, Keys: keys, Value: phpconf.Text(mask)})
			names = append(names, strings.Join(append([]string{"$" + variable}, keys...), "."))
		}
	}
	for _, variable := range f.Variables() {
		if v, ok := f.Variable(variable); ok {
			below(variable, nil, v)
		}
	}
	if masked, err = phpconf.Edit(content, all); err != nil || computed {
		return nil, nil
	}
	return masked, names
}

// hidden is what is stored of a file whose secrets cannot be masked one by one.
func hidden(path string) (content []byte, names []string) {
	return fmt.Appendf(nil, "<?php // %q is sealed whole by backstay\n", path), []string{"(the whole file)"}
}

// sealer stores the files of the configuration component; those of PHP masked.
type sealer struct {
	core.TreeWriter
	mu     sync.Mutex
	sealed map[string]core.Secret // by path in the component: the file as it is
	names  map[string][]string
	paths  map[core.ObjectID]string // of what is stored masked
}

func newSealer(w core.TreeWriter) *sealer {
	return &sealer{TreeWriter: w, sealed: map[string]core.Secret{}, names: map[string][]string{}, paths: map[core.ObjectID]string{}}
}

func (s *sealer) Create(ctx context.Context, hint string) (core.FileWriter, error) {
	w, err := s.TreeWriter.Create(ctx, hint)
	if err != nil || !strings.HasSuffix(hint, ".php") {
		return w, err
	}
	return &sealedWriter{FileWriter: w, ctx: ctx, of: s, path: hint}, nil
}

// sealedWriter holds a file back until all of it is there.
type sealedWriter struct {
	core.FileWriter
	ctx  context.Context
	of   *sealer
	path string
	text bytes.Buffer
}

func (w *sealedWriter) Write(p []byte) (int, error) {
	if w.text.Len()+len(p) > maxConfig {
		return 0, fmt.Errorf("seal %s: a configuration cannot be so large", w.path)
	}
	return w.text.Write(p)
}

func (w *sealedWriter) Finish() (core.Object, error) {
	masked, names := maskSecrets(w.text.Bytes())
	if masked == nil {
		masked, names = hidden(w.path)
	}
	if _, err := w.FileWriter.Write(masked); err != nil {
		return core.Object{}, err
	}
	object, err := w.FileWriter.Finish()
	if err != nil || len(names) == 0 {
		return object, err
	}
	content := core.NewSecret(w.text.String())
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	// Objects stand for files when they are unsealed: two files that are alike but
	// for their secrets must not be one object.
	if other, taken := w.of.paths[object.ID]; taken && w.of.sealed[other].Reveal() != content.Reveal() {
		masked, names = hidden(w.path)
		if object, err = w.of.write(w.ctx, w.path, masked); err != nil {
			return object, err
		}
	}
	w.of.paths[object.ID], w.of.sealed[w.path], w.of.names[w.path] = w.path, content, names
	return object, nil
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
		name := strings.ReplaceAll(p, "/", "%2F") + ".age"
		object, err := s.write(ctx, path.Join(folder.Name, name), []byte(text))
		if err != nil {
			return nil, nil, err
		}
		inside = append(inside, core.Entry{Name: name, Type: core.TypeFile, Mode: 0o600, ModTime: at, Object: object})
		list = append(list, core.SealedFile{Path: path.Join(string(core.ComponentConfig), p), File: path.Join(folder.Name, name), Settings: s.names[p]})
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
