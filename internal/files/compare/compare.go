// Package compare finds out how a live file tree differs from a captured one. It is
// for package exchange, and for plans of a restore.
//
// It promises to change nothing, to follow no symbolic link out of the targets, and, when it reads
// contents, to have read every file of the backup that it calls the same.
package compare

import (
	"context"
	"errors"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/restore"
)

// Options says what to compare with what. See exchange.Options, whose fields of the same
// names mean the same.
type Options struct {
	Targets   map[string]string
	Paths     []string
	Owners    core.Owners
	Trees     []core.Tree
	Kept      []core.Warning
	Follow    []string
	Clean     bool
	Transform map[string]func(content []byte) ([]byte, error)
	Damaged   *restore.Damaged
	Progress  core.Progress
	Workers   int

	// MakeRoot makes a target that is missing. nil: it is compared as an empty folder.
	MakeRoot func(path string) error
}

// MovedTarget is the code of a target, or of a link that is followed, which leads to a folder of
// another owner than at the backup; and of a folder of root's own that would be given away.
const MovedTarget = "moved-target"

// MaxListed is how many paths a List holds.
const MaxListed = 200

// List counts paths, and names the first of them.
type List struct {
	Files   int64 `json:"files"`   // files and symbolic links, those in whole folders too
	Folders int64 `json:"folders"` // folders that are wholly so, each counted once with all below it
	// Paths are absolute, at most MaxListed, and quoted where they are not
	// printable; a folder that is wholly so stands for all that is in it, and ends with "/".
	Paths []string `json:"paths,omitempty"`
}

// Space is what a file system must have room for.
type Space struct {
	Path       string `json:"path"`        // a folder on it
	Bytes      int64  `json:"bytes"`       // needed for what is staged, in whole blocks
	Free       int64  `json:"free"`        // for this user
	Inodes     int64  `json:"inodes"`      // files, links and folders needed
	FreeInodes int64  `json:"free_inodes"` // -1: the file system does not say, or has no limit
}

// Enough says whether it fits.
func (s Space) Enough() bool {
	return s.Bytes <= s.Free && (s.FreeInodes < 0 || s.Inodes <= s.FreeInodes)
}

// Difference is what a restore would do to the live tree.
type Difference struct {
	Added   List `json:"added"`   // in the backup only
	Changed List `json:"changed"` // in both, and not the same
	Removed List `json:"removed"` // on the live side only, and taken away: with Clean
	Extra   List `json:"extra"`   // on the live side only, and staying: without Clean
	// Metadata counts folders that are in both and whose owner, mode, time or attributes differ.
	Metadata  int64   `json:"metadata"`
	Unchanged int64   `json:"unchanged"` // files and symbolic links
	Bytes     int64   `json:"bytes"`     // of the files to be staged
	Space     []Space `json:"space,omitempty"`
	// Obstacles keep a restore from succeeding; code "mounted", "immutable", "denied",
	// "not_owned" or "no_folder"; the message has what to do.
	Obstacles []core.Warning `json:"obstacles,omitempty"`
	// Decisions keep a restore from succeeding until somebody agrees; code MovedTarget.
	Decisions []core.Warning `json:"decisions,omitempty"`
}

// Denied is what only root could set of a path that stays.
type Denied struct {
	restore.Denied
	ModeOnly bool // the owner is right
}

// Partly is a live folder that the backup does not have, of which only parts can be taken
// away.
type Partly struct {
	Place, Rel string // as in Folder
	Stat       unix.Stat_t
	Mark       openat.Mark
}

// Quick compares without reading contents: by type, size, modification time, mode and
// owner. extra is the object of the component's extra.jsonl, "" when it has none.
func Quick(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*Difference, error) {
	c, err := start(ctx, r, entry, extra, opt)
	if err != nil {
		return nil, err
	}
	c.quick = true
	if err := c.run(ctx, entry); err != nil {
		return nil, err
	}
	return &c.Difference, nil
}

// Contents compares everything, contents too. Errors have core.CodeDamage when the backup
// is damaged.
func Contents(ctx context.Context, r core.TreeReader, entry core.Entry, extra core.ObjectID, opt Options) (*Result, error) {
	c, err := start(ctx, r, entry, extra, opt)
	if err != nil {
		return nil, err
	}
	if err := c.run(ctx, entry); err != nil {
		return nil, err
	}
	return c, nil
}

// Folder is a folder that is on both sides.
type Folder struct {
	Parent   *Folder // nil for a target
	Place    string
	Root     string // the target, absolute
	Rel      string // real path below the target, "" for the target itself
	Path     string // in the component, as stored
	Real     string // absolute, "" for "/"
	Shown    string // where that really lies, when a link led there; else as Real
	Followed bool   // it was reached through a link
	Mount    openat.Mount
	Entry    core.Entry
	Extra    files.Extra
	Owned    bool // all in it is the backup's, and not only something below
	Set      bool // its owner, mode, time and attributes are the backup's
	Meta     bool // they differ
	Stat     unix.Stat_t
	Mark     openat.Mark
	Xattrs   map[string][]byte
	Same     []string // names of files and links that are the same
	Ctimes   []int64  // when each was last changed in any way, in nanoseconds
	Touched  bool     // something in it, or in an extra folder in it, is a Change

	*filling
}

// Open opens the folder again, from its target down and through no link but those that
// are followed.
//
// It fails when another folder lies there than the one that was compared.
func (f *Folder) Open() (int, error) {
	fd, err := f.open()
	if err != nil {
		return -1, err
	}
	is, err := openat.MarkOf(fd, "")
	if err == nil && !is.Is(f.Mark) {
		err = errors.New("another folder was put there after the restore looked; restore again")
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

func (f *Folder) open() (int, error) {
	if f.Parent == nil {
		return openat.DirThroughLinks(unix.AT_FDCWD, f.Root)
	}
	above, err := f.Parent.Open()
	if err != nil {
		return -1, err
	}
	name := filepath.Base(f.Rel)
	fd := -1
	if f.Followed {
		fd, err = openat.DirThroughLinks(above, name)
	} else {
		fd, err = openat.Dir(above, name)
	}
	return fd, errors.Join(err, unix.Close(above))
}

// Change is a path at which the live tree is not as the backup.
type Change struct {
	Seq   int     // its position in the walk
	In    *Folder // the folder it is in, or, when it is in an extra one, that it is below
	Dir   string  // real path of its folder below the root
	Name  string  // real
	Path  string  // in the component, as stored; "" with Take
	Entry core.Entry
	Extra files.Extra
	Take  bool        // the backup does not have it
	Had   bool        // something is there
	Was   openat.Mark // what is there
	IsDir bool        // what comes, or is taken, is a folder
	Real  string
}
