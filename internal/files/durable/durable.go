// Package durable brings what was written to disk. It is for those that put
// files into place, and promises that what it reports as on disk is there, or that
// the caller is told that it must ask for each file (docs/adr/0006-durable-restores.md).
package durable

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files/openat"
)

// Singly is how many files or folders are synced one by one: to bring a whole
// file system to disk for less means to wait for what others wrote.
const Singly = 32

// Syncer brings what was written to disk. Tests put in one that fails.
type Syncer interface {
	// File is fsync.
	File(fd int) error
	// Folder is fsync, where the file system has it for folders.
	Folder(fd int) error
	// Disk is syncfs: an error that came up since fd was opened is reported.
	Disk(fd int) error
	// Trusted says whether Disk reports every error.
	Trusted(fd int) bool
}

// System is the kernel. It is safe for concurrent use.
type System struct {
	recent bool // the kernel is one whose syncfs returns what went wrong
}

var _ Syncer = System{}

// New asks the kernel what it can do.
func New() (System, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return System{}, fmt.Errorf("ask for the kernel's version: %w", err)
	}
	return System{recent: reportsAll(unix.ByteSliceToString(name.Release[:]))}, nil
}

// reportsAll says whether syncfs of a kernel reports failed writes of data
// (Linux 5.8, commit 735e4ae5ba28) and of the file system's own (Linux 5.17,
// commit 5623eb1ed035).
func reportsAll(release string) bool {
	first, rest, _ := strings.Cut(release, ".")
	major, err := strconv.Atoi(first)
	if err != nil {
		return false
	}
	end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(rest)
	}
	minor, err := strconv.Atoi(rest[:end])
	if err != nil {
		return false
	}
	return major > 5 || major == 5 && minor >= 17
}

// File is fsync.
func (System) File(fd int) error { return openat.Retry(func() error { return unix.Fsync(fd) }) }

// Folder is fsync, where the file system has it for folders.
func (System) Folder(fd int) error { return openat.Sync(fd) }

// Disk is syncfs.
func (System) Disk(fd int) error { return openat.Retry(func() error { return unix.Syncfs(fd) }) }

// Trusted returns false for file systems that pass writes on to another one or to
// a server (overlayfs, FUSE, NFS), which has errors of its own that a syncfs here may
// not see.
func (s System) Trusted(fd int) bool {
	var st unix.Statfs_t
	if !s.recent || openat.Retry(func() error { return unix.Fstatfs(fd, &st) }) != nil {
		return false
	}
	switch uint32(st.Type) {
	case unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC:
		return true
	}
	return false
}
