package engine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/mysql"
	"github.com/backstay/backstay/internal/repository"
)

// Damage is something of a backup that cannot be read back as it was written.
type Damage struct {
	Path    string `json:"path"`
	Table   string `json:"table,omitempty"`
	Message string `json:"message"`
}

// Verified is the outcome of reading a backup back.
type Verified struct {
	ID      string   `json:"id"`
	App     string   `json:"app"`
	Files   int64    `json:"files"` // all objects, chunks of rows too
	Rows    int64    `json:"rows"`
	Bytes   int64    `json:"bytes"`
	Damaged []Damage `json:"damaged"`
}

// verifyWorkers read at the same time.
const verifyWorkers = 4

// Verify reads back every object of a backup and compares every checksum and
// count. Damage is in the result; it is not an error, so that all of it is
// found. A whole backup is marked as verified.
func (e *Engine) Verify(ctx context.Context, rec repository.Record) (*Verified, error) {
	v := newVerifier(e, rec, func(string) bool { return true })
	o, err := e.openManifest(ctx, rec)
	if core.CodeOf(err) == core.CodeDamage {
		v.damage(repository.ManifestName, err.Error())
		// What else is lost is not known by it, but what can be read is.
		o = &Open{Record: rec, store: e.Store, root: core.Entry{Type: core.TypeDir, Object: rec.Root}}
		if _, err := o.ReadDir(ctx, o.root); core.CodeOf(err) == core.CodeDamage {
			return v.conclude(ctx)
		}
		if err := v.run(ctx, o); err != nil {
			return nil, err
		}
		return v.conclude(ctx)
	}
	if err != nil {
		return nil, err
	}
	// Without the index it is not known what the rows should be; all else can be
	// looked at.
	if err := e.readIndex(ctx, o); core.CodeOf(err) == core.CodeDamage {
		v.damage(o.Manifest.Database.Index, err.Error())
		o.Manifest.Database, o.Index = nil, core.DatabaseIndex{}
	} else if err != nil {
		return nil, err
	}
	if err := v.run(ctx, o); err != nil {
		return nil, err
	}
	v.compareCounts(o)
	return v.conclude(ctx)
}

// conclude records in the repository what was found. The finding stands
// whether or not it can be recorded.
func (v *verifier) conclude(ctx context.Context) (*Verified, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	now := v.e.Clock.Now()
	if len(v.result.Damaged) > 0 {
		v.e.NoteDamage(ctx, v.result.ID)
		return &v.result, nil
	}
	if err := v.e.Store.Mark(ctx, v.result.ID, repository.Mark{Verified: &now}); err != nil && ctx.Err() == nil {
		v.e.Log.Warn("the verification could not be recorded in the repository", "backup", v.result.ID, "err", err)
	}
	return &v.result, nil
}

// Inspect is Verify, but records nothing: for a backup that is deleted when it
// is damaged.
func (e *Engine) Inspect(ctx context.Context, rec repository.Record) ([]Damage, error) {
	v := newVerifier(e, rec, func(string) bool { return true })
	o, err := e.OpenBackup(ctx, rec)
	if err == nil {
		err = o.IndexDamage
	}
	if core.CodeOf(err) == core.CodeDamage {
		return []Damage{{Path: repository.ManifestName, Message: err.Error()}}, nil
	}
	if err != nil {
		return nil, err
	}
	if err := v.run(ctx, o); err != nil {
		return nil, err
	}
	v.compareCounts(o)
	return v.result.Damaged, nil
}

// ReadBack reads back the objects of a backup that want names and returns
// what is damaged.
func (e *Engine) ReadBack(ctx context.Context, o *Open, want func(path string) bool) ([]Damage, error) {
	v := newVerifier(e, o.Record, want)
	if err := v.run(ctx, o); err != nil {
		return nil, err
	}
	return v.result.Damaged, nil
}

func newVerifier(e *Engine, rec repository.Record, want func(string) bool) *verifier {
	return &verifier{
		e: e, want: want, result: Verified{ID: rec.ID, App: rec.App, Damaged: []Damage{}},
		chunks: map[string]core.Chunk{}, tables: map[string]string{}, counts: map[string]*core.Tree{}, extras: map[string]bool{}, named: map[string]bool{},
	}
}

type verifier struct {
	e      *Engine
	want   func(path string) bool
	counts map[string]*core.Tree // component/place → what is there
	extras map[string]bool       // what is in the root folder
	named  map[string]bool       // paths of result.Damaged
	mu     sync.Mutex
	result Verified
	chunks map[string]core.Chunk // by path
	tables map[string]string     // path of a chunk or definition → table
}

func (v *verifier) damage(p, message string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.named[p] {
		return // the first thing that is wrong with it will do
	}
	v.named[p] = true
	v.result.Damaged = append(v.result.Damaged, Damage{Path: p, Table: v.tables[p], Message: message})
}

// expected is what the manifest and the index say must be there.
func (v *verifier) expect(o *Open) (paths map[string]bool) {
	paths = map[string]bool{}
	for _, t := range o.Index.Tables {
		paths[t.Schema], v.tables[t.Schema] = true, t.Name
		for _, c := range t.Files() {
			paths[c.File], v.tables[c.File], v.chunks[c.File] = true, t.Name, c
		}
	}
	for _, s := range o.Index.Objects {
		paths[s.File] = true
	}
	return paths
}

func (v *verifier) run(ctx context.Context, o *Open) error {
	v.e.Progress.Stage("verify "+o.Record.ID, o.Record.LogicalBytes)
	missing := v.expect(o)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(verifyWorkers)
	err := v.walk(ctx, o, func(p string, entry core.Entry) error {
		if gctx.Err() != nil {
			return gctx.Err()
		}
		delete(missing, p)
		v.count(p, entry)
		if entry.Type != core.TypeDir {
			g.Go(func() error { return v.check(gctx, p, entry) })
		}
		return nil
	})
	// The readers' error comes first: a walk that they ended is only cancelled.
	if gerr := g.Wait(); gerr != nil {
		return gerr
	}
	if err != nil {
		return err
	}
	for p := range missing {
		if v.want(p) {
			v.damage(p, "it is missing")
		}
	}
	v.sort()
	return nil
}

// walk visits everything below the backup's root. A folder that cannot be read
// is damage, and the walk goes on beside it.
func (v *verifier) walk(ctx context.Context, o *Open, visit func(string, core.Entry) error) error {
	var below func(at string, dir core.Entry) error
	below = func(at string, dir core.Entry) error {
		entries, err := o.ReadDir(ctx, dir)
		if core.CodeOf(err) == core.CodeDamage {
			v.damage(at, "the folder cannot be read: "+err.Error())
			return nil
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			p := path.Join(at, entry.Name)
			if !v.want(p) {
				continue
			}
			if err := visit(p, entry); err != nil {
				return err
			}
			if entry.Type == core.TypeDir {
				if err := below(p, entry); err != nil {
					return err
				}
			}
		}
		return nil
	}
	return below("", o.root)
}

// ComponentOf says to which component a name in the root folder belongs.
func ComponentOf(name string) core.Component {
	c, _, _ := strings.Cut(name, ".")
	return core.Component(c)
}

// check reads one object to its end.
func (v *verifier) check(ctx context.Context, p string, entry core.Entry) error {
	v.e.Progress.Item(p)
	r, err := v.e.Store.Open(ctx, entry.Object.ID)
	var rows int64
	var n int64
	if err == nil {
		in := &countingReader{r: r, add: v.e.Progress.Add}
		if c, ok := v.chunks[p]; ok {
			rows, err = checkChunk(in, c)
		} else {
			_, err = io.Copy(io.Discard, in)
		}
		n = in.n
		if cerr := r.Close(); err == nil {
			err = cerr
		}
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && (core.CodeOf(err) == core.CodeDamage || errors.Is(err, errChunk)):
		v.damage(p, err.Error())
	case err != nil:
		return fmt.Errorf("verify %s: %w", p, err)
	case n != entry.Object.Size:
		v.damage(p, fmt.Sprintf("it has %d bytes, its folder says %d", n, entry.Object.Size))
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.result.Files++
	v.result.Bytes += n
	v.result.Rows += rows
	return nil
}

// CheckObject reads an object to its end, and compares its rows where it is a
// chunk of them. It returns how many bytes it has; what is damaged is an error
// with core.CodeDamage.
func (e *Engine) CheckObject(ctx context.Context, entry core.Entry, chunk *core.Chunk) (n int64, err error) {
	r, err := e.Store.Open(ctx, entry.Object.ID)
	if err != nil {
		return 0, err
	}
	in := &countingReader{r: r, add: e.Progress.Add}
	if chunk != nil {
		_, err = checkChunk(in, *chunk)
	} else {
		_, err = io.Copy(io.Discard, in)
	}
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	switch {
	case errors.Is(err, errChunk):
		err = damaged("read object", err.Error(), nil)
	case err == nil && in.n != entry.Object.Size:
		err = damaged("read object", fmt.Sprintf("it has %d bytes, its folder says %d", in.n, entry.Object.Size), nil)
	}
	return in.n, err
}

var errChunk = errors.New("its rows are not those that were written")

// checkChunk recomputes a chunk's checksum from its lines.
func checkChunk(r io.Reader, c core.Chunk) (int64, error) {
	in := bufio.NewReaderSize(r, 1<<20)
	var sum mysql.RowSummer
	for {
		piece, err := in.ReadSlice('\n')
		if len(piece) > 0 {
			sum.Write(piece, err == nil)
		}
		if err == io.EOF {
			break
		}
		if err != nil && err != bufio.ErrBufferFull {
			return sum.Rows(), err
		}
	}
	if sum.Rows() != c.Rows || sum.Sum().String() != c.Checksum {
		return sum.Rows(), fmt.Errorf("%w: %d rows with checksum %s, expected %d with %s", errChunk, sum.Rows(), sum.Sum(), c.Rows, c.Checksum)
	}
	return sum.Rows(), nil
}

type countingReader struct {
	r   io.Reader
	n   int64
	add func(int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.add(int64(n))
	return n, err
}

// count counts a tree's entries as its capture did.
func (v *verifier) count(p string, entry core.Entry) {
	component, rest, _ := strings.Cut(p, "/")
	place, _, _ := strings.Cut(rest, "/")
	if rest == "" {
		v.extras[p] = true // or the manifest, or a component's folder
	}
	if place == "" || component == string(core.ComponentDatabase) {
		return
	}
	t := v.counts[component+"/"+place]
	if t == nil {
		t = &core.Tree{}
		v.counts[component+"/"+place] = t
	}
	switch entry.Type {
	case core.TypeDir:
		t.Dirs++
	case core.TypeSymlink:
		t.Symlinks++
	default:
		t.Files++
		t.Bytes += entry.Object.Size
	}
}

func (v *verifier) compareCounts(o *Open) {
	v.compareDatabase(o)
	for _, want := range o.Manifest.Trees {
		if want.Extra != "" && !v.extras[want.Extra] {
			v.damage(want.Extra, "it is missing")
		}
		at := string(want.Component) + "/" + want.Place
		have := v.counts[at]
		if have == nil {
			have = &core.Tree{}
		}
		if have.Files != want.Files || have.Dirs != want.Dirs || have.Symlinks != want.Symlinks || have.Bytes != want.Bytes {
			v.damage(at, fmt.Sprintf("it has %d files with %d bytes, %d folders and %d links, the manifest says %d with %d, %d and %d",
				have.Files, have.Bytes, have.Dirs, have.Symlinks, want.Files, want.Bytes, want.Dirs, want.Symlinks))
		}
	}
	v.sort()
}

// compareDatabase compares what the manifest says of the database with its
// index, whose every chunk has been read.
func (v *verifier) compareDatabase(o *Open) {
	want := o.Manifest.Database
	if want == nil {
		return
	}
	var have core.Database
	for _, t := range o.Index.Tables {
		have.Tables++
		have.Rows += t.Rows
		have.Bytes += t.Bytes
	}
	if have.Tables != want.Tables || have.Rows != want.Rows || have.Bytes != want.Bytes {
		v.damage(string(core.ComponentDatabase), fmt.Sprintf("its index has %d tables with %d rows and %d bytes, the manifest says %d, %d and %d",
			have.Tables, have.Rows, have.Bytes, want.Tables, want.Rows, want.Bytes))
	}
}

func (v *verifier) sort() {
	slices.SortFunc(v.result.Damaged, func(a, b Damage) int { return strings.Compare(a.Path, b.Path) })
}
