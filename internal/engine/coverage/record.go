package coverage

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// A record is a file of what was read when, in STATE_DIR/coverage: a line that
// says what it is, then for each object 16 bytes, big endian: 8 of its key, 4
// when it was first seen and 4 when it was last read, both in seconds since 1970,
// 0 for never. What comes later in the file counts. A tail that is not whole is
// of a run that was killed, and left out. Losing it loses nothing but history.

const header = "backstay coverage 1\n"

const entrySize = 16

// object is what is known of one.
type object struct {
	key         key
	size        int64  // in bytes; of a folder 0
	first, last uint32 // seconds since 1970: seen and read
	there       bool   // met by this run
	damaged     bool   // found by this run
}

// since is since when an object was not read.
func (o object) since() uint32 { return max(o.first, o.last) }

// key stands for an object: 64 bits of a hash of its id.
type key uint64

func keyOf(id core.ObjectID) key {
	h := fnv.New64a()
	_, _ = io.WriteString(h, string(id)) // it never fails
	return key(h.Sum64())
}

type record struct {
	path    string
	lock    *os.File
	fresh   bool // nothing was known
	objects []object
	index   map[key]uint32 // where they are in objects
	changed []int          // since it was saved
	latest  uint32         // when the runs before this one read something last
}

func files(stateDir, repo string) string {
	return filepath.Join(stateDir, "coverage", fmt.Sprintf("%x", sha256.Sum256([]byte(repo)))[:32])
}

// open reads the record of a repository, for this process alone.
func open(stateDir, repo string, now time.Time) (_ *record, err error) {
	r := &record{path: files(stateDir, repo), index: map[key]uint32{}}
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
	if err := r.load(now); err != nil {
		return nil, errors.Join(disk(err), r.lock.Close())
	}
	return r, nil
}

func (r *record) close() error { return r.lock.Close() }

func (r *record) load(now time.Time) error {
	f, err := os.Open(r.path)
	if errors.Is(err, fs.ErrNotExist) {
		r.fresh = true
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	expected := int(info.Size()/entrySize) * 11 / 10 // a run learns some more
	r.objects, r.index = make([]object, 0, expected), make(map[key]uint32, expected)
	in := bufio.NewReaderSize(f, 1<<20)
	begin := make([]byte, len(header))
	if _, err := io.ReadFull(in, begin); err != nil || string(begin) != header {
		r.fresh = true
		return onlyShort(err)
	}
	// A clock that was ahead would have objects not be read until it is that late.
	latest := uint32(now.Add(clockSlack).Unix())
	var entry [entrySize]byte
	for {
		if _, err := io.ReadFull(in, entry[:]); err != nil {
			return onlyShort(err)
		}
		o := object{key: key(binary.BigEndian.Uint64(entry[:])), first: binary.BigEndian.Uint32(entry[8:]), last: binary.BigEndian.Uint32(entry[12:])}
		if o.last > latest {
			o.last = 0
		}
		o.first = min(o.first, uint32(now.Unix()))
		at := r.at(o.key)
		r.objects[at] = o
		r.latest = max(r.latest, o.last)
	}
}

// clockSlack is how far ahead a time may be that is taken for right.
const clockSlack = time.Hour

// onlyShort is err, but for a file that ends.
func onlyShort(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // io.ReadFull returns them as they are
		return nil
	}
	return err
}

// at is an object's place; it is made when there is none.
func (r *record) at(k key) int {
	at, known := r.index[k]
	if !known {
		at = uint32(len(r.objects))
		r.index[k] = at
		r.objects = append(r.objects, object{key: k})
	}
	return int(at)
}

// see notes that an object is there, and returns its place.
func (r *record) see(k key, now time.Time) int {
	at := r.at(k)
	if o := &r.objects[at]; o.first == 0 {
		o.first = uint32(now.Unix())
	}
	return at
}

// read notes that an object was read: later than all that was read before this
// run, so that a run in the same second goes on with others.
func (r *record) read(at int, now time.Time) {
	r.objects[at].last = max(uint32(now.Unix()), r.latest+1)
	r.changed = append(r.changed, at)
}

// forget forgets what is not there any more.
func (r *record) forget() {
	kept := r.objects[:0]
	for _, o := range r.objects {
		if o.there {
			r.index[o.key] = uint32(len(kept))
			kept = append(kept, o)
		} else {
			delete(r.index, o.key)
		}
	}
	r.objects = kept
}

func (o object) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(o.key))
	b = binary.BigEndian.AppendUint32(b, o.first)
	return binary.BigEndian.AppendUint32(b, o.last)
}

// save adds what changed to the file, durably.
func (r *record) save() error {
	if len(r.changed) == 0 {
		return nil
	}
	info, err := os.Stat(r.path)
	if err != nil {
		return r.rewrite()
	}
	var b []byte
	for _, at := range r.changed {
		b = r.objects[at].append(b)
	}
	f, err := os.OpenFile(r.path, os.O_WRONLY, 0o600)
	if err != nil {
		return r.failed(err)
	}
	// After the last whole entry: a killed run may have left a part of one.
	end := info.Size() - (info.Size()-int64(len(header)))%entrySize
	if _, err = f.WriteAt(b, end); err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return r.failed(err)
	}
	r.changed = r.changed[:0]
	return nil
}

// rewrite writes the whole file anew.
func (r *record) rewrite() error {
	err := replace(r.path, func(w io.Writer) error {
		if _, err := io.WriteString(w, header); err != nil {
			return err
		}
		var b []byte
		for _, o := range r.objects {
			b = o.append(b[:0])
			if _, err := w.Write(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return r.failed(err)
	}
	r.changed = r.changed[:0]
	return nil
}

func (r *record) failed(err error) error {
	return &core.Error{Code: core.CodeDisk, Op: "remember what was read back", Err: err, Hint: "make room in " + filepath.Dir(r.path)}
}

// oldest is since when some object was not read, and how many never were.
func (r *record) oldest() (oldest time.Time, unread int64) {
	var least uint32
	for _, o := range r.objects {
		if !o.there {
			continue
		}
		if o.last == 0 {
			unread++
		}
		if least == 0 || o.since() < least {
			least = o.since()
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
	if err := replace(r.path+".json", func(w io.Writer) error { _, err := w.Write(append(text, '\n')); return err }); err != nil {
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
func replace(path string, write func(io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // after the rename it is not there
	w := bufio.NewWriterSize(f, 1<<20)
	if err = write(w); err == nil {
		err = w.Flush()
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
