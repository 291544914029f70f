// Package assemble stores a file tree that comes as a stream of entries from
// elsewhere than a file system: from an archive. It is for the engine, which
// imports archives. It promises that the stored tree is one that capture could
// have stored, and that nothing of it touches the file system.
package assemble

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
)

// Attributes are whose a file, folder or link is. Mode has permission bits with
// setuid, setgid and sticky; other bits are ignored, and so is the mode of a
// link. User and Group are the names behind the ids where they come from; "":
// unknown. A zero ModTime is the time of Options.
type Attributes struct {
	Mode        fs.FileMode
	UID, GID    uint32
	User, Group string
	ModTime     time.Time
}

// File is one file, folder or link of a stream.
type File struct {
	Place string // one of Options.Trees
	Path  string // below the place's root, with "/", of any bytes; "": the root itself, a folder
	Type  core.EntryType
	Attributes
	Size int64  // of a file; negative: unknown
	Link string // the target of a symbolic link: stored as it is
}

// Tree is a place of the component.
type Tree struct {
	Place string // "app" or "system"
	Root  string // the absolute folder that paths are below; it need not exist
	// Include and Exclude say, as in core.Tree, what the tree owns: an entry
	// elsewhere is an error. Without Include nothing is checked, and the caller
	// completes Result.Trees.
	Include []string
	Exclude []string
	// Folder gives the attributes of a folder that no entry gives: "" is the
	// place's root. It is called by Finish. nil: 0755 of user and group 0.
	Folder func(path string) Attributes
}

// Options say what is assembled.
type Options struct {
	Component core.Component
	Trees     []Tree
	// FoldCase refuses two names in a folder that differ in case only.
	FoldCase bool
	// MaxEntries bounds the entries, with the folders that no entry gives: an
	// entry takes some 200 bytes of memory, and a path can imply two thousand
	// folders. 0: 10 million.
	MaxEntries int64
	Time       time.Time     // of entries that have none; zero: 1970
	Progress   core.Progress // nil: none; hears stored bytes and paths
	Workers    int           // small files stored at the same time; 0: 4
}

const (
	defaultMaxEntries = 10_000_000
	defaultWorkers    = 4
	maxName           = 255     // bytes; what file systems take
	maxPath           = 4096    //
	smallFile         = 1 << 17 // up to so many bytes a file is read into memory and stored beside others
	bufferSize        = 1 << 20 // of what is stored as it is read
	// maxOwners bounds the names of owners, which go into the manifest.
	maxOwners = 10_000
)

// Codes of warnings.
const (
	CodeTime   = "time"   // an entry's time is none that can be stored
	CodeOwners = "owners" // not all names of owners were kept
)

// Result is a component, stored: what capture.Result is for a live tree.
type Result struct {
	Entry    core.Entry   // the component's folder, with a folder for each place in it
	Extra    *core.Object // COMPONENT.extra.jsonl; nil when there is nothing to say
	Trees    []core.Tree  // one for each place, by name; counts include the place's own folder
	Owners   core.Owners  // the names that were given
	Warnings []core.Warning
}

// Builder stores one component. It is used by one goroutine.
type Builder struct {
	w        core.TreeWriter
	opt      Options
	places   []*place // by name
	entries  int64
	warnings files.Warnings
	owners   owners
	large    []byte      // for files that are stored as they are read
	small    chan []byte // one buffer for each small file that may be stored at the same time
	storing  sync.WaitGroup
	extra    core.FileWriter
	closed   bool

	mu  sync.Mutex // for err and what storing sets of records
	err error      // the first, after which nothing is done any more
}

// place is a tree as it grows.
type place struct {
	Tree
	root   *folder
	counts core.Tree
	last   *folder // where the last entry went, and its path
	lastAt string
}

// New begins a component. Close must be called.
func New(w core.TreeWriter, opt Options) (*Builder, error) {
	b := &Builder{w: w, opt: opt}
	b.opt.MaxEntries = cmp.Or(opt.MaxEntries, defaultMaxEntries)
	if b.opt.Workers <= 0 {
		b.opt.Workers = defaultWorkers
	}
	if b.opt.Progress == nil {
		b.opt.Progress = core.NoProgress{}
	}
	if opt.Time.IsZero() {
		b.opt.Time = time.Unix(0, 0)
	}
	for _, t := range opt.Trees {
		if err := b.addPlace(t); err != nil {
			return nil, err
		}
	}
	if len(b.places) == 0 {
		return nil, errors.New("assemble files: no trees")
	}
	slices.SortFunc(b.places, func(p, q *place) int { return strings.Compare(p.Place, q.Place) })
	b.small = make(chan []byte, b.opt.Workers)
	for range b.opt.Workers {
		b.small <- nil
	}
	return b, nil
}

func (b *Builder) addPlace(t Tree) error {
	if err := files.CheckName(t.Place); err != nil {
		return fmt.Errorf("assemble files: place: %w", err)
	}
	if b.place(t.Place) != nil {
		return fmt.Errorf("assemble files: place %q is there twice", t.Place)
	}
	if !filepath.IsAbs(t.Root) {
		return fmt.Errorf("assemble files: the folder %q is not an absolute path", t.Root)
	}
	p := &place{Tree: t}
	p.Root = filepath.Clean(t.Root)
	p.Include, p.Exclude = sortedSet(t.Include), sortedSet(t.Exclude)
	set := core.FileSet{Exclude: p.Exclude}
	for _, path := range p.Include {
		set.Include = append(set.Include, core.Path{Path: path})
	}
	if len(p.Include) == 0 {
		set.Include = []core.Path{{Path: "."}}
		set.Exclude = nil
	}
	scope, err := files.NewScope(set)
	if err != nil {
		return err
	}
	p.root = &folder{scope: scope, self: record{name: t.Place, mode: fs.ModeDir}}
	p.counts = core.Tree{Component: b.opt.Component, Place: t.Place, Root: p.Root, Include: p.Include, Exclude: p.Exclude}
	b.places = append(b.places, p)
	return nil
}

func sortedSet(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

func (b *Builder) place(name string) *place {
	for _, p := range b.places {
		if p.Place == name {
			return p
		}
	}
	return nil
}

// Add stores an entry. Folders may come before or after what is in them, or not
// at all. The body of a file is read before Add returns; it is nil for all
// else. A body that is shorter or longer than Size, a path that was there, lies
// below a file or is none, is an error with core.CodeDamage. After an error the
// builder is of no more use. What capture would leave out, as it is part of a
// restore under way, is left out with a warning.
func (b *Builder) Add(ctx context.Context, f File, body io.Reader) error {
	if err := b.failed(ctx); err != nil {
		return err
	}
	if err := b.add(ctx, f, body); err != nil {
		return b.fail(err)
	}
	return nil
}

func (b *Builder) add(ctx context.Context, f File, body io.Reader) error {
	p := b.place(f.Place)
	if p == nil {
		return fmt.Errorf("assemble files: there is no place %q", f.Place)
	}
	if f.Path == "" {
		if f.Type != core.TypeDir {
			return refused(p.Root, "the root is no folder")
		}
		return b.give(p, p.root, f)
	}
	if err := checkPath(f); err != nil {
		return err
	}
	if leftOut(f) {
		b.warnings.Add(files.CodeLeftover, p.real(f.Path), "not stored: it is what a restore of backstay keeps while it runs")
		return nil
	}
	b.opt.Progress.Item(p.real(f.Path))
	in, name, err := b.folderOf(p, f.Path)
	if err != nil {
		return err
	}
	if f.Type == core.TypeDir {
		d, err := b.subfolder(p, in, name, f.Path)
		if err != nil {
			return err
		}
		return b.give(p, d, f)
	}
	scope := in.scope.Child(name, f.Path)
	if !scope.Whole() {
		return outside(p, f.Path)
	}
	if at, ok := in.find(name, b.opt.FoldCase); ok {
		return b.conflict(in.records[at].name, name, f.Path)
	}
	r := record{name: strings.Clone(name), mode: modeBits(f.Mode), uid: f.UID, gid: f.GID}
	if f.Type == core.TypeSymlink {
		r.mode = fs.ModeSymlink | 0o777
		p.counts.Symlinks++
	} else {
		p.counts.Files++
	}
	r.setTime(b.timeOf(p, f.Path, f.ModTime))
	at, err := b.append(in, r)
	if err != nil {
		return err
	}
	b.own(f.Attributes)
	if f.Type == core.TypeSymlink {
		return b.storeSmall(ctx, in, at, p.real(f.Path), int64(len(f.Link)), strings.NewReader(f.Link), nil)
	}
	return b.storeFile(ctx, p, in, at, f, body)
}

// checkPath refuses what no file system holds.
func checkPath(f File) error {
	if len(f.Path) > maxPath {
		return refused(f.Path[:maxName]+"…", fmt.Sprintf("it is longer than %d bytes", maxPath))
	}
	for element := range strings.SplitSeq(f.Path, "/") {
		if err := files.CheckName(element); err != nil {
			return refused(f.Path, "it is no plain path")
		}
		if len(element) > maxName {
			return refused(f.Path, fmt.Sprintf("a name in it is longer than %d bytes", maxName))
		}
	}
	switch f.Type {
	case core.TypeFile, core.TypeDir:
	case core.TypeSymlink:
		if f.Link == "" || len(f.Link) >= maxPath || strings.ContainsRune(f.Link, 0) {
			return refused(f.Path, "it is a link to nothing that can be")
		}
	default:
		return fmt.Errorf("assemble files: %s is of the unknown kind %q", files.Quote(f.Path), f.Type)
	}
	return nil
}

// leftOut says whether capture would take the path for a restore's own.
func leftOut(f File) bool {
	way, name := filepath.Split(f.Path)
	if f.Type == core.TypeDir {
		way = f.Path
	} else if files.IsTempName(name) {
		return true
	}
	for element := range strings.SplitSeq(way, "/") {
		if files.IsStagingName(element) {
			return true
		}
	}
	return false
}

// give sets the attributes of a folder that an entry gives.
func (b *Builder) give(p *place, d *folder, f File) error {
	if d.given {
		return refused(f.Path, "it is there twice")
	}
	d.given = true
	b.setAttributes(p, d, f.Path, f.Attributes)
	return nil
}

func (b *Builder) setAttributes(p *place, d *folder, path string, a Attributes) {
	d.self.mode, d.self.uid, d.self.gid = fs.ModeDir|modeBits(a.Mode), a.UID, a.GID
	d.self.setTime(b.timeOf(p, path, a.ModTime))
	b.own(a)
}

func modeBits(m fs.FileMode) fs.FileMode {
	return m & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
}

// timeOf returns a time that can be stored: nanoseconds since 1970 in 64 bits.
func (b *Builder) timeOf(p *place, path string, t time.Time) time.Time {
	if t.IsZero() {
		return b.opt.Time
	}
	if year := t.UTC().Year(); year < 1678 || year > 2261 {
		b.warnings.Add(CodeTime, p.real(path), fmt.Sprintf("its time is in the year %d, which no file system keeps; it was stored with the archive's", year))
		return b.opt.Time
	}
	return t
}

func (p *place) real(path string) string { return filepath.Join(p.Root, path) }

// refused is the error for an entry that no file system could have given.
func refused(path, problem string) error {
	return &core.Error{
		Code: core.CodeDamage, Op: "store " + files.Quote(path), Message: problem,
		Hint: "the archive does not hold a file tree as a backup writes it; nothing of it was used",
	}
}

func outside(p *place, path string) error {
	return &core.Error{
		Code: core.CodeUnsupported, Op: "store " + files.Quote(path), Message: "it lies outside of what is to be taken of " + files.Quote(p.Root),
		Hint: "the archive holds more than the application's backup writes; nothing of it was used",
	}
}

func (b *Builder) conflict(was, name, path string) error {
	if was != name {
		return refused(path, fmt.Sprintf("it differs from %s in the same folder by case only", files.Quote(was)))
	}
	return refused(path, "it is there twice, or as two things")
}

// failed returns why nothing is done any more.
func (b *Builder) failed(ctx context.Context) error {
	b.mu.Lock()
	err := b.err
	b.mu.Unlock()
	if err != nil {
		return err
	}
	if b.closed {
		return errors.New("assemble files: it has ended")
	}
	return ctx.Err()
}

// fail remembers the first error and returns it.
func (b *Builder) fail(err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil {
		b.err = err
	}
	return b.err
}

// Close waits for what is being stored. It may be called more than once.
func (b *Builder) Close() {
	b.storing.Wait()
	b.closed = true
}
