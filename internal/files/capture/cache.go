package capture

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"path/filepath"
	"sort"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/openat"
)

// Cache knows the files of a backup well enough to tell which of them have not
// changed since, and which object holds each. It lies on the machine that is
// backed up, never in the repository. A million files take about 130 MB.
//
// A cache may only be used while the backup that it belongs to exists in the
// same repository: it is what keeps the objects alive. A Cache is not safe for
// concurrent changes.
type Cache struct {
	BackupID   string // the backup whose objects it names; set by the caller
	Repository string // the repository that has them; set by the caller

	// Paths are kept as hashes and records in one block, because a map of
	// strings takes several times the memory.
	records []cacheRecord
	values  []byte
	sorted  bool

	// What has not changed is not copied: it stays in the cache before, and kept
	// has a bit for each of its records that is still true.
	old     *Cache
	kept    []uint64
	keeping int // bits in kept
}

// cacheKey stands for a path. No two paths have the same one: it is half a SHA-256.
type cacheKey [16]byte

type cacheRecord struct {
	Key                cacheKey
	Size, Mtime, Ctime int64
	Ino, Dev           uint64
	Value              uint64 // where in values
}

func newCache() *Cache { return &Cache{sorted: true} }

// after returns an empty cache that can keep records of old, which may be nil.
func after(old *Cache) *Cache {
	c := newCache()
	if old == nil {
		return c
	}
	if old.old != nil { // two are enough
		old = old.flat()
	}
	c.old, c.kept = old, make([]uint64, (len(old.records)+63)/64)
	return c
}

// Len returns the number of files.
func (c *Cache) Len() int { return len(c.records) + c.keeping }

// keep takes over a record of the cache before.
func (c *Cache) keep(i int) {
	if bit := uint64(1) << (i % 64); c.kept[i/64]&bit == 0 {
		c.kept[i/64] |= bit
		c.keeping++
	}
}

// each calls fn for every record, by key, with what lies in values for it.
func (c *Cache) each(fn func(r *cacheRecord, value []byte) error) error {
	c.sort()
	mine, next := c.records, 0
	give := func(from *Cache, r *cacheRecord) error {
		if value, ok := from.value(r); ok {
			return fn(r, value)
		}
		return nil
	}
	for i := range c.kept {
		for set := c.kept[i]; set != 0; set &= set - 1 {
			r := &c.old.records[64*i+bits.TrailingZeros64(set)]
			for ; next < len(mine) && bytes.Compare(mine[next].Key[:], r.Key[:]) < 0; next++ {
				if err := give(c, &mine[next]); err != nil {
					return err
				}
			}
			if err := give(c.old, r); err != nil {
				return err
			}
		}
	}
	for ; next < len(mine); next++ {
		if err := give(c, &mine[next]); err != nil {
			return err
		}
	}
	return nil
}

// value returns what lies in values for a record of this cache itself.
func (c *Cache) value(r *cacheRecord) ([]byte, bool) {
	if r.Value > uint64(len(c.values)) {
		return nil, false
	}
	_, rest, ok := cutText(c.values[r.Value:])
	if !ok {
		return nil, false
	}
	if _, rest, ok = cutText(rest); !ok {
		return nil, false
	}
	return c.values[r.Value : len(c.values)-len(rest)], true
}

// flat returns the same cache without one before it.
func (c *Cache) flat() *Cache {
	f := &Cache{BackupID: c.BackupID, Repository: c.Repository, sorted: true, records: make([]cacheRecord, 0, c.Len())}
	_ = c.each(func(r *cacheRecord, value []byte) error { // which fails only when this does
		n := *r
		n.Value = uint64(len(f.values))
		f.records, f.values = append(f.records, n), append(f.values, value...)
		return nil
	})
	return f
}

func (c *capture) cacheKey(j job) cacheKey {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s", c.component, j.in.path, j.name)
	return cacheKey(h.Sum(nil)[:16])
}

// cacheValue is the rarer part of a record: as JSON behind the object's id.
type cacheValue struct {
	Sparse bool              `json:"s,omitempty"`
	Xattrs map[string][]byte `json:"x,omitempty"`
}

func (c *Cache) add(key cacheKey, st *unix.Stat_t, got content) error {
	r := cacheRecord{
		Key: key, Size: st.Size, Mtime: st.Mtim.Nano(), Ctime: st.Ctim.Nano(),
		Ino: st.Ino, Dev: uint64(st.Dev), Value: uint64(len(c.values)),
	}
	if got.object.Size != st.Size {
		return nil
	}
	var more []byte
	if got.sparse || len(got.xattrs) > 0 {
		var err error
		if more, err = json.Marshal(cacheValue{Sparse: got.sparse, Xattrs: got.xattrs}); err != nil {
			return fmt.Errorf("encode cache record: %w", err)
		}
	}
	c.values = appendText(c.values, []byte(got.object.ID))
	c.values = appendText(c.values, more)
	c.records = append(c.records, r)
	c.sorted = false
	return nil
}

// lookup returns what is stored of a file, if nothing about it has changed,
// and which of the records says so. A nil Cache knows nothing; one that was
// not flattened, only its own records.
func (c *Cache) lookup(key cacheKey, st *unix.Stat_t) (content, int, bool) {
	if c == nil || !c.sorted {
		return content{}, 0, false
	}
	i := sort.Search(len(c.records), func(i int) bool { return bytes.Compare(c.records[i].Key[:], key[:]) >= 0 })
	if i == len(c.records) || c.records[i].Key != key {
		return content{}, 0, false
	}
	r := &c.records[i]
	if r.Size != st.Size || r.Mtime != st.Mtim.Nano() || r.Ctime != st.Ctim.Nano() || r.Ino != st.Ino || r.Dev != uint64(st.Dev) {
		return content{}, 0, false
	}
	value, ok := c.value(r)
	if !ok {
		return content{}, 0, false
	}
	id, rest, _ := cutText(value)
	more, _, _ := cutText(rest)
	if len(id) == 0 {
		return content{}, 0, false
	}
	got := content{object: core.Object{ID: core.ObjectID(id), Size: r.Size}}
	if len(more) > 0 {
		var v cacheValue
		if json.Unmarshal(more, &v) != nil {
			return content{}, 0, false
		}
		got.sparse, got.xattrs = v.Sparse, v.Xattrs
	}
	return got, i, true
}

func appendText(to, text []byte) []byte {
	return append(binary.AppendUvarint(to, uint64(len(text))), text...)
}

func cutText(from []byte) (text, rest []byte, ok bool) {
	n, k := binary.Uvarint(from)
	if k <= 0 || n > uint64(len(from)-k) {
		return nil, nil, false
	}
	return from[k : k+int(n)], from[k+int(n):], true
}

func (c *Cache) sort() {
	if !c.sorted {
		sort.Slice(c.records, func(i, k int) bool { return bytes.Compare(c.records[i].Key[:], c.records[k].Key[:]) < 0 })
		c.sorted = true
	}
}

// The file: this line, a header, BackupID and Repository, records, values, and
// the SHA-256 of all that. A change of form is a new line.
const cacheMagic = "backstay file cache 1\n"

type cacheHeader struct {
	BackupID, Repository, Records, Values uint64 // lengths
}

const (
	cacheRecordSize = 16 + 6*8
	maxCacheText    = 1 << 16
)

// LoadCache reads a cache. A cache that is missing, damaged or of another
// version is an empty one: it costs time, not data, so the error is only for
// trouble worth a line in the log, and the Cache is never nil.
func LoadCache(path string) (*Cache, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return newCache(), nil
	}
	if err != nil {
		return newCache(), fmt.Errorf("read file cache: %w", err)
	}
	var c *Cache
	info, err := f.Stat()
	if err == nil {
		c, err = readCache(f, uint64(info.Size()))
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return newCache(), fmt.Errorf("read file cache %s: %w", path, err)
	}
	return c, nil
}

// readCache reads a cache of limit bytes.
func readCache(f io.Reader, limit uint64) (*Cache, error) {
	sum := sha256.New()
	file := bufio.NewReader(f)
	r := io.TeeReader(file, sum)
	magic := make([]byte, len(cacheMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != cacheMagic {
		return nil, errors.Join(errors.New("it is of another version, or damaged"), err)
	}
	var h cacheHeader
	if err := binary.Read(r, binary.LittleEndian, &h); err != nil {
		return nil, err
	}
	if h.BackupID > maxCacheText || h.Repository > maxCacheText || h.Records > limit/cacheRecordSize || h.Values > limit {
		return nil, errors.New("it is damaged: impossible lengths")
	}
	text := make([]byte, h.BackupID+h.Repository)
	if _, err := io.ReadFull(r, text); err != nil {
		return nil, err
	}
	c := &Cache{BackupID: string(text[:h.BackupID]), Repository: string(text[h.BackupID:]), sorted: true}
	c.records = make([]cacheRecord, h.Records)
	buf := make([]byte, cacheRecordSize)
	for i := range c.records {
		if _, err := io.ReadFull(r, buf); err != nil {
			return nil, err
		}
		c.records[i].decode(buf)
	}
	c.values = make([]byte, h.Values)
	if _, err := io.ReadFull(r, c.values); err != nil {
		return nil, err
	}
	want := make([]byte, sha256.Size)
	if _, err := io.ReadFull(file, want); err != nil {
		return nil, err
	}
	if !bytes.Equal(want, sum.Sum(nil)) {
		return nil, errors.New("it is damaged: wrong checksum")
	}
	return c, nil
}

func (r *cacheRecord) append(to []byte) []byte {
	to = append(to, r.Key[:]...)
	for _, n := range [...]uint64{uint64(r.Size), uint64(r.Mtime), uint64(r.Ctime), r.Ino, r.Dev, r.Value} {
		to = binary.LittleEndian.AppendUint64(to, n)
	}
	return to
}

func (r *cacheRecord) decode(b []byte) {
	copy(r.Key[:], b)
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[16+8*i:]) }
	r.Size, r.Mtime, r.Ctime = int64(n(0)), int64(n(1)), int64(n(2))
	r.Ino, r.Dev, r.Value = n(3), n(4), n(5)
}

// Save writes the cache in the place of path, readable by its owner only. The
// old file stays as it is until the new one is whole and on disk.
func (c *Cache) Save(path string) error {
	if len(c.BackupID) > maxCacheText || len(c.Repository) > maxCacheText {
		return errors.New("write file cache: the backup's id or the repository's name is too long")
	}
	c.sort()
	folder := filepath.Dir(path)
	f, err := os.CreateTemp(folder, ".cache-*") // 0600
	if err != nil {
		return fmt.Errorf("write file cache: %w", err)
	}
	err = c.write(f)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write file cache: %w", errors.Join(err, os.Remove(f.Name())))
	}
	if err := openat.SyncPath(folder); err != nil {
		return fmt.Errorf("write file cache: %w", err)
	}
	return nil
}

func (c *Cache) write(f *os.File) error {
	sum := sha256.New()
	file := bufio.NewWriterSize(f, bufferSize)
	w := io.MultiWriter(file, sum)
	if _, err := io.WriteString(w, cacheMagic); err != nil {
		return err
	}
	h := cacheHeader{BackupID: uint64(len(c.BackupID)), Repository: uint64(len(c.Repository))}
	err := c.each(func(_ *cacheRecord, value []byte) error {
		h.Records++
		h.Values += uint64(len(value))
		return nil
	})
	if err != nil {
		return err
	}
	if err := binary.Write(w, binary.LittleEndian, h); err != nil {
		return err
	}
	if _, err := io.WriteString(w, c.BackupID+c.Repository); err != nil {
		return err
	}
	buf, at := make([]byte, 0, cacheRecordSize), uint64(0)
	err = c.each(func(r *cacheRecord, value []byte) error {
		n := *r
		n.Value = at
		at += uint64(len(value))
		_, err := w.Write(n.append(buf[:0]))
		return err
	})
	if err != nil {
		return err
	}
	if err := c.each(func(_ *cacheRecord, value []byte) error { _, err := w.Write(value); return err }); err != nil {
		return err
	}
	if _, err := file.Write(sum.Sum(nil)); err != nil {
		return err
	}
	return file.Flush()
}
