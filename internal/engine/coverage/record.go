package coverage

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// A record is a file of what was read when, in STATE_DIR/coverage: a line that
// says what it is, then for each object 16 bytes, big endian: 8 of the key, 4
// when it was first seen and 4 when it was last read, both in seconds since 1970,
// 0 for never. What comes later in the file counts. A tail that is not whole is
// of a run that was killed, and left out. Losing it loses nothing but history.

const header = "backstay coverage 1\n"

const recordSize = 16

type times struct{ first, last uint32 }

type record struct {
	path    string
	lock    *os.File
	fresh   bool // nothing was known
	seen    map[key]times
	changed map[key]bool // since it was saved
}

func files(stateDir, repo string) string {
	return filepath.Join(stateDir, "coverage", fmt.Sprintf("%x", sha256.Sum256([]byte(repo)))[:32])
}

// open reads the record of a repository, for this process alone.
func open(stateDir, repo string) (_ *record, err error) {
	r := &record{path: files(stateDir, repo), seen: map[key]times{}, changed: map[key]bool{}}
	disk := func(err error) error {
		return &core.Error{Code: core.CodeDisk, Op: "read what was read back when", Err: err, Hint: "run as who may write " + filepath.Dir(r.path)}
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o700); err != nil {
		return nil, disk(err)
	}
	if r.lock, err = os.OpenFile(r.path+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, disk(err)
	}
	if err := syscall.Flock(int(r.lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = r.lock.Close() // only opened for its lock
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, &core.Error{Code: core.CodeLocked, Op: "read back a part of the repository", Message: "another run does that already", Hint: "wait until it is done: backstay runs"}
		}
		return nil, disk(err)
	}
	text, err := os.ReadFile(r.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, errors.Join(disk(err), r.lock.Close())
	}
	body, ok := bytes.CutPrefix(text, []byte(header))
	if r.fresh = !ok; !ok {
		return r, nil
	}
	for len(body) >= recordSize {
		r.seen[key(binary.BigEndian.Uint64(body))] = times{binary.BigEndian.Uint32(body[8:]), binary.BigEndian.Uint32(body[12:])}
		body = body[recordSize:]
	}
	return r, nil
}

func (r *record) close() error { return r.lock.Close() }

// see notes that an object is there.
func (r *record) see(k key, now time.Time) {
	if _, known := r.seen[k]; !known {
		r.seen[k], r.changed[k] = times{first: uint32(now.Unix())}, true
	}
}

// read notes that an object was read.
func (r *record) read(k key, now time.Time) {
	t := r.seen[k]
	t.last = uint32(now.Unix())
	r.seen[k], r.changed[k] = t, true
}

func (r *record) append(b []byte, k key) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(k))
	b = binary.BigEndian.AppendUint32(b, r.seen[k].first)
	return binary.BigEndian.AppendUint32(b, r.seen[k].last)
}

// save adds what changed to the file, durably.
func (r *record) save() error {
	if len(r.changed) == 0 {
		return nil
	}
	info, err := os.Stat(r.path)
	if err != nil || r.fresh {
		r.fresh = false
		return r.rewrite()
	}
	var b []byte
	for k := range r.changed {
		b = r.append(b, k)
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY, 0o600)
	if err != nil {
		return r.failed(err)
	}
	// After the last whole entry: a killed run may have left a part of one.
	end := info.Size() - (info.Size()-int64(len(header)))%recordSize
	if _, err = f.WriteAt(b, end); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return r.failed(err)
	}
	clear(r.changed)
	return nil
}

// rewrite writes the whole file anew.
func (r *record) rewrite() error {
	b := []byte(header)
	for k := range r.seen {
		b = r.append(b, k)
	}
	if err := replace(r.path, b); err != nil {
		return r.failed(err)
	}
	clear(r.changed)
	return nil
}

func (r *record) failed(err error) error {
	return &core.Error{Code: core.CodeDisk, Op: "remember what was read back", Err: err, Hint: "make room in " + filepath.Dir(r.path)}
}

// keepOnly forgets what is not there any more.
func (r *record) keepOnly(there map[key]int64) {
	for k := range r.seen {
		if _, ok := there[k]; !ok {
			delete(r.seen, k)
		}
	}
}

// oldest is since when some object was not read, and how many never were.
func (r *record) oldest() (oldest time.Time, unread int64) {
	var least uint32
	for _, t := range r.seen {
		at := t.last
		if at == 0 {
			at, unread = t.first, unread+1
		}
		if least == 0 || at < least {
			least = at
		}
	}
	if least == 0 {
		return time.Time{}, 0
	}
	return time.Unix(int64(least), 0).UTC(), unread
}

// Summary is how far the reading of a repository is.
type Summary struct {
	At      time.Time `json:"at"`
	Oldest  time.Time `json:"oldest"` // since when some object was not read
	Unread  int64     `json:"unread"` // objects that never were
	Objects int64     `json:"objects"`
	Bytes   int64     `json:"bytes"`
}

// finish writes what is known, and its summary.
func (r *record) finish(s Summary) error {
	if err := r.rewrite(); err != nil {
		return err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return err
	}
	if err := replace(r.path+".json", append(text, '\n')); err != nil {
		return r.failed(err)
	}
	return nil
}

// Known returns how far the reading of a repository is, by the last run that
// came to its end; false when there was none.
func Known(stateDir, repo string) (Summary, bool) {
	var s Summary
	text, err := os.ReadFile(files(stateDir, repo) + ".json")
	return s, err == nil && json.Unmarshal(text, &s) == nil
}

// replace writes a file whole or not at all, and durably.
func replace(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after the rename it is not there
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
