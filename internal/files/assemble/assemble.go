// Package assemble stores a file tree that comes as a stream of entries from
// elsewhere than a file system: from an archive. It is for the engine, which
// imports archives. It promises that the stored tree is one that capture could
// have stored, and that nothing of it touches the file system.
package assemble

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"time"

	"github.com/backstay/backstay/internal/core"
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
	// place's root. nil: 0755 of user and group 0.
	Folder func(path string) Attributes
}

// Options say what is assembled.
type Options struct {
	Component core.Component
	Trees     []Tree
	// FoldCase refuses two names in a folder that differ in case only.
	FoldCase bool
	// MaxEntries bounds the entries, with the folders that no entry gives: an
	// entry takes some 200 bytes of memory, and a path implies a thousand
	// folders. 0: 10 million.
	MaxEntries int64
	Time       time.Time     // of entries that have none; zero: 1970
	Progress   core.Progress // nil: none; hears stored bytes and paths
	Workers    int           // small files stored at the same time; 0: 4
}

// Result is a component, stored: what capture.Result is for a live tree.
type Result struct {
	Entry    core.Entry   // the component's folder, with a folder for each place in it
	Extra    *core.Object // COMPONENT.extra.jsonl; nil when there is nothing to say
	Trees    []core.Tree  // one for each place, by name; counts include the place's own folder
	Owners   core.Owners  // the names that entries gave
	Warnings []core.Warning
}

// Builder stores one component. It is used by one goroutine.
type Builder struct{}

// New begins a component. Close must be called.
func New(w core.TreeWriter, opt Options) (*Builder, error) {
	return nil, errors.New("assemble files: not there yet")
}

// Add stores an entry. Folders may come before or after what is in them, or not
// at all. The body of a file is read before Add returns; it is nil for all
// else. A body that is shorter or longer than Size, a path that was there, lies
// below a file or is none, is an error with core.CodeDamage. After an error the
// builder is of no more use.
func (b *Builder) Add(ctx context.Context, f File, body io.Reader) error {
	return errors.New("assemble files: not there yet")
}

// Finish stores the folders.
func (b *Builder) Finish(ctx context.Context) (*Result, error) {
	return nil, errors.New("assemble files: not there yet")
}

// Close waits for what is being stored. It may be called more than once.
func (b *Builder) Close() {}
