package place

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// creatingName is a file that is there while a repository is made, so that a crash in
// it is recognised and two at once do not mix. Its creator holds a lock on it,
// which ends with the process, and has written its host's name into it.
const creatingName = "backstay.creating"

// creatingTime is how long after its start a creation is taken to be going on
// where its lock cannot be asked for, being held on another machine.
const creatingTime = time.Minute

// Claim is a folder in which a repository is being created, by us alone.
type Claim struct {
	path string
	made bool     // we made the folder
	mark *os.File // creatingName, locked
}

// Take takes a missing or empty folder for a new repository. Finish must be
// called.
func Take(path string) (*Claim, error) {
	const op = "create repository"
	state, found, why, err := inspect(path)
	if err != nil {
		return nil, err
	}
	if err := occupied(path, state, found, why); err != nil {
		return nil, err
	}
	c := &Claim{path: path, made: state == stateMissing}
	if c.made {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return nil, DiskError(op, path, err)
		}
	}
	name := filepath.Join(path, creatingName)
	c.mark, err = os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, creating(op, path)
	}
	if err != nil {
		return nil, DiskError(op, path, err)
	}
	// Since we looked, somebody may have begun and finished. What is in the
	// folder now would be removed if we failed.
	entries, err := c.entries()
	if err != nil || len(entries) > 0 {
		err = errors.Join(err, c.mark.Close(), os.Remove(name))
		if err != nil {
			return nil, failed(op, path, err)
		}
		return Take(path)
	}
	if err := errors.Join(c.sign(), SyncDir(filepath.Dir(path))); err != nil {
		return nil, failed(op, path, errors.Join(err, c.Finish(false)))
	}
	return c, nil
}

// sign locks the mark. Only where that can be done does it name this host:
// see beingCreated.
func (c *Claim) sign() error {
	if unix.Flock(int(c.mark.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // a file system without locks
	}
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("ask for the host name: %w", err)
	}
	_, err = c.mark.WriteString(host)
	return err
}

// beingCreated says whether the creation of the repository in path is going on.
func beingCreated(path string) (_ bool, err error) {
	f, err := os.Open(filepath.Join(path, creatingName))
	if err != nil {
		return false, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK) {
		return true, nil
	}
	where, err := io.ReadAll(f)
	if err != nil {
		return false, err
	}
	if here, err := os.Hostname(); err == nil && string(where) == here {
		return false, nil // its process has ended
	}
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	return core.SystemClock{}.Now().Sub(fi.ModTime()).Abs() < creatingTime, nil
}

func creating(op, path string) error {
	return &core.Error{
		Code: core.CodeLocked, Op: op, Message: fmt.Sprintf("another process is creating a repository in %s", path),
		Hint: "wait until it has finished, then use that repository; if it was interrupted, this is known after a minute",
	}
}

// entries returns what is in the folder beside the mark and what mkfs makes.
func (c *Claim) entries() ([]string, error) {
	all, err := os.ReadDir(c.path)
	var names []string
	for _, e := range all {
		if e.Name() != "lost+found" && e.Name() != creatingName {
			names = append(names, e.Name())
		}
	}
	return names, err
}

// Finish gives the folder up: as a repository, or as it was before. The mark
// goes last, and the lock on it after it.
func (c *Claim) Finish(ok bool) (err error) {
	defer func() { err = errors.Join(err, c.mark.Close()) }()
	if !ok {
		if c.made {
			return os.RemoveAll(c.path)
		}
		names, err := c.entries()
		if err != nil {
			return err
		}
		for _, name := range names {
			if err := os.RemoveAll(filepath.Join(c.path, name)); err != nil {
				return err
			}
		}
	}
	if err := os.Remove(filepath.Join(c.path, creatingName)); err != nil {
		return DiskError("create repository", c.path, err)
	}
	return SyncDir(c.path)
}
