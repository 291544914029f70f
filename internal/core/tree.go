package core

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// ObjectID names stored bytes in a repository. Equal bytes may have equal ids.
// It means something only to the repository that gave it.
type ObjectID string

// Object is a stored file or folder.
type Object struct {
	ID   ObjectID
	Size int64 // bytes of a file; total bytes of the files below a folder
}

// EntryType is the kind of a directory entry.
type EntryType string

// The kinds of entry that a backup can hold.
const (
	TypeFile    EntryType = "f"
	TypeDir     EntryType = "d"
	TypeSymlink EntryType = "s" // the object's bytes are the link's target
)

// Entry is one name in a stored folder.
type Entry struct {
	Name    string // one path element, valid UTF-8, no "/" (EscapeName makes it so)
	Type    EntryType
	Mode    fs.FileMode // permission bits with setuid, setgid and sticky; no type bits
	UID     uint32
	GID     uint32
	ModTime time.Time // to the nanosecond
	Object  Object
	Files   int64 // of a folder: how many files lie below it
}

// MaxBlock is the most bytes that a Write of a FileWriter made by CreateBlocks
// may have.
const MaxBlock = 4 << 20

// FileWriter takes the bytes of one file. Close must always be called; Close
// without Finish throws the file away.
type FileWriter interface {
	io.Writer
	// Finish ends the file and returns it. The bytes are durable when the
	// backup they belong to is committed, not before.
	Finish() (Object, error)
	Close() error
}

// TreeWriter takes files and folders, children first. It is safe for
// concurrent use; each FileWriter is used by one goroutine.
type TreeWriter interface {
	// Create begins a file. hint, a path, is for messages and logs only.
	Create(ctx context.Context, hint string) (FileWriter, error)
	// CreateBlocks begins a file that is written in blocks: each Write, of at
	// most MaxBlock bytes, is what this file can share with others, and
	// nothing looks for better places. It is for those who know where their
	// data begins and ends.
	CreateBlocks(ctx context.Context, hint string) (FileWriter, error)
	// WriteDir stores a folder. Order does not matter; two entries of one name
	// are an error.
	WriteDir(ctx context.Context, entries []Entry) (Object, error)
}

// TreeReader reads what a TreeWriter wrote. Safe for concurrent use. An object
// that is missing or fails its authentication gives an Error with CodeDamage.
type TreeReader interface {
	ReadDir(ctx context.Context, dir ObjectID) ([]Entry, error)
	Open(ctx context.Context, file ObjectID) (io.ReadSeekCloser, error)
}
