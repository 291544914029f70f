package own

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"math"
	"strings"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

const (
	titleBegin  = "backstay archive, version "
	readmeTitle = titleBegin + "1\n"

	blockSize = 512 // of a tar

	// What is held in memory while it is read.
	maxReadme   = 64 << 10
	maxManifest = 128 << 20
	maxIndex    = 128 << 20
	maxExtra    = 1 << 30 // a restore holds all of it
)

// item is an entry of an archive.
type item struct {
	path  string
	entry core.Entry // without Object.ID and Files
	link  string
}

// reader reads an archive once, from begin to end, and holds it against all
// that a whole one is: docs/spec/archive.md. It is used by one goroutine.
type reader struct {
	in    *unpacked
	tar   *tar.Reader
	order *order
	item  item // the entry under way; path "": none yet

	hash   hash.Hash // of the body under way
	stream io.Reader // the body as it comes; nil: there is none, or it was read to its end
	whole  io.Reader // the body where it had to be read at once; nil: stream is it
	buf    []byte

	entries, sums     list
	manifest          *core.Manifest // after its entry
	named             named
	readmeCame        bool
	entriesCame, last bool // last: SHA256SUMS came
	over              bool
	flaws             []archive.Flaw
}

func newReader(in *unpacked) *reader {
	return &reader{in: in, tar: tar.NewReader(in), order: newOrder(), hash: sha256.New(), buf: make([]byte, 128<<10)}
}

func (r *reader) flaw(where, format string, args ...any) {
	const most = 100
	if len(r.flaws) == most {
		return
	}
	if len(r.flaws) == most-1 {
		where, format, args = "the archive", "there are more flaws than these", nil
	}
	r.flaws = append(r.flaws, archive.Flaw{Where: where, Message: fmt.Sprintf(format, args...)})
}

// broken ends the reading at damage, which it notes, or at what is no damage.
func (r *reader) broken(err error) error {
	if cause := r.in.cause(); cause != nil {
		return cause
	}
	r.over = true
	where := "the archive"
	if r.item.path != "" {
		where = "the archive after " + r.item.path
	}
	if r.stream != nil {
		where = r.item.path
	}
	r.flaw(where, "%s", says(err))
	return io.EOF
}

// next goes on to the next entry. It returns io.EOF at the end, be it the right
// one or where damage ends the reading, which is then a flaw; any other error
// means that nothing of the archive may be used, or that it could not be read.
func (r *reader) next(ctx context.Context) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.over {
			return io.EOF
		}
		if err := r.drain(); err != nil {
			return err
		}
		r.whole = nil
		if r.last {
			return r.finish()
		}
		h, err := r.tar.Next()
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF // SHA256SUMS did not come
			}
			return r.broken(err)
		}
		if err := r.in.meter.Entry(); err != nil {
			return err
		}
		if r.item, err = entryOf(h); err != nil {
			return err
		}
		if err := r.order.next(r.item.path, r.item.entry.Type); err != nil {
			return err
		}
		if r.item.entry.Type == core.TypeFile {
			r.hash.Reset()
			r.stream = io.TeeReader(r.tar, r.hash)
		}
		if own, err := r.take(); err != nil || !own {
			return err
		}
	}
}

// body is the body of the entry under way, a file. It need not be read to its end.
func (r *reader) body() io.Reader {
	if r.whole != nil {
		return r.whole
	}
	return bodyReader{r}
}

// bodyReader passes a body on, and says of an error what it is.
type bodyReader struct{ r *reader }

func (b bodyReader) Read(p []byte) (int, error) {
	if b.r.stream == nil {
		return 0, io.EOF
	}
	n, err := b.r.stream.Read(p)
	if err != nil && err != io.EOF {
		if cause := b.r.in.cause(); cause != nil {
			return n, cause
		}
		err = damaged("read "+b.r.item.path, says(err), nil)
	}
	return n, err
}

// take does what the entry under way asks for. own says that it is no part of
// the backup, and was read.
func (r *reader) take() (own bool, err error) {
	p := r.item.path
	switch {
	case !r.readmeCame && p != readmeName:
		return false, notOurs()
	case r.manifest == nil && p != readmeName && p != manifestName:
		return false, archive.Hostile(p, "it comes before "+manifestName)
	}
	if p != entriesName && p != sumsName {
		r.entries.expect(entryLine(p, r.item.entry, r.item.link))
	}
	switch p {
	case readmeName:
		r.readmeCame = true
		return true, r.readme()
	case manifestName:
		return false, r.readManifest()
	case entriesName:
		r.entriesCame = true
		r.entries.expect(entriesEnd(len(r.entries.marks)))
		return true, r.compare(&r.entries)
	case sumsName:
		r.last = true
		if !r.entriesCame {
			r.flaw(entriesName, "it is missing")
		}
		r.sums.expect(sumsEnd(len(r.sums.marks)))
		return true, r.compare(&r.sums)
	}
	if err := r.named.take(r.item); err != nil || p != indexName {
		return false, err
	}
	b, err := r.small(maxIndex)
	if err != nil {
		return false, err
	}
	r.named.read(b, r.flaw)
	r.whole = bytes.NewReader(b)
	return false, nil
}

// small reads the body of the entry under way whole.
func (r *reader) small(limit int64) ([]byte, error) {
	if r.item.entry.Object.Size > limit {
		return nil, archive.Hostile(r.item.path, fmt.Sprintf("it has %d bytes, more than %d", r.item.entry.Object.Size, limit))
	}
	b, err := io.ReadAll(r.stream)
	if err != nil {
		return nil, r.broken(err)
	}
	r.ended()
	return b, nil
}

func (r *reader) readme() error {
	b, err := r.small(maxReadme)
	if err != nil {
		return err
	}
	if title, _, _ := bytes.Cut(b, []byte("\n")); string(title)+"\n" != readmeTitle {
		if bytes.HasPrefix(title, []byte(titleBegin)) {
			return tooNew("the archive is of a newer version of the format")
		}
		return notOurs()
	}
	return nil
}

func (r *reader) readManifest() error {
	b, err := r.small(maxManifest)
	if err != nil {
		return err
	}
	var version struct {
		Schema int `json:"schema"`
	}
	if json.Unmarshal(b, &version) == nil && version.Schema > core.ManifestSchema {
		return tooNew(fmt.Sprintf("the backup in it has layout version %d, and this backstay knows %d", version.Schema, core.ManifestSchema))
	}
	m := &core.Manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		r.flaw(manifestName, "it cannot be read: %s", err)
		r.over = true
		return io.EOF
	}
	r.manifest = m
	r.named.begin(m)
	return nil
}

// compare holds a list against the entries that came.
func (r *reader) compare(l *list) error {
	if _, err := io.CopyBuffer(l, r.stream, r.buf); err != nil {
		return r.broken(err)
	}
	if wrong := l.end(); wrong != "" {
		r.flaw(r.item.path, "%s", wrong)
	}
	r.ended()
	return nil
}

// drain reads what is left of the body under way.
func (r *reader) drain() error {
	if r.stream == nil {
		return nil
	}
	if _, err := io.CopyBuffer(io.Discard, r.stream, r.buf); err != nil {
		return r.broken(err)
	}
	r.ended()
	return nil
}

// ended notes the sum of a body that was read to its end.
func (r *reader) ended() {
	r.sums.expect(sumLine(r.item.path, [sha256.Size]byte(r.hash.Sum(nil))))
	r.stream = nil
}

// finish looks at what comes after the last entry: its padding and two blocks
// of zeros, which the tar reader would not insist on, and nothing else.
func (r *reader) finish() error {
	r.over = true
	size := (blockSize-r.in.offset%blockSize)%blockSize + 2*blockSize
	end := make([]byte, size+1)
	n, err := io.ReadFull(r.in, end)
	switch {
	case err == nil:
		r.flaw("the archive", "something comes after its end")
	case !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) || !r.in.end:
		return r.broken(err)
	case int64(n) < size:
		r.flaw("the archive", "it ends too early: the blocks at the end of the tar are missing")
	}
	if err != nil && r.in.frames.skippable {
		r.flaw("the archive", "there is something in it that is no part of it, or something follows it (a skippable frame of zstd)")
	}
	if len(bytes.Trim(end[:n], "\x00")) > 0 {
		r.flaw("the archive", "something is where the tar ends")
	}
	r.named.end(r.flaw)
	return io.EOF
}

// entryOf turns a tar's header into an entry, and refuses what this format has not.
func entryOf(h *tar.Header) (item, error) {
	i := item{path: h.Name, link: h.Linkname}
	i.entry = core.Entry{ModTime: h.ModTime.UTC(), UID: uint32(h.Uid), GID: uint32(h.Gid)}
	i.entry.Mode = fs.FileMode(h.Mode & 0o777)
	for bit, mode := range map[int64]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if h.Mode&bit != 0 {
			i.entry.Mode |= mode
		}
	}
	problem := ""
	for key := range h.PAXRecords {
		switch key {
		case "path", "linkpath", "mtime", "size", "uid", "gid":
		default:
			problem = fmt.Sprintf("its extended header has %q", key)
		}
	}
	switch {
	case problem != "":
	case h.Uid < 0 || h.Gid < 0 || int64(h.Uid) >= math.MaxUint32 || int64(h.Gid) >= math.MaxUint32:
		problem = "its owner or group is none"
	case h.Mode&^0o7777 != 0:
		problem = "its mode is none"
	case h.Uname != "" || h.Gname != "":
		problem = "its owner has a name"
	case h.Typeflag != tar.TypeSymlink && h.Linkname != "":
		problem = "it has a target and is no link"
	}
	switch h.Typeflag {
	case tar.TypeReg:
		i.entry.Type = core.TypeFile
		i.entry.Object.Size = h.Size
	case tar.TypeDir:
		i.entry.Type = core.TypeDir
		trimmed, ok := strings.CutSuffix(h.Name, "/")
		if !ok {
			problem = "it is a folder without a slash at its end"
		}
		i.path = trimmed
	case tar.TypeSymlink:
		i.entry.Type = core.TypeSymlink
		i.entry.Object.Size = int64(len(h.Linkname))
		if h.Linkname == "" || len(h.Linkname) > maxPath || strings.ContainsRune(h.Linkname, 0) {
			problem = "its target is none"
		}
	default:
		problem = fmt.Sprintf("it is of type %q, neither file nor folder nor symbolic link", h.Typeflag)
	}
	if i.entry.Type != core.TypeFile && h.Size != 0 {
		problem = "it has bytes and is no file"
	}
	if problem != "" {
		return item{}, archive.Hostile(h.Name, problem)
	}
	_, i.entry.Name = split(i.path)
	return i, nil
}

func tooNew(message string) error {
	return &core.Error{
		Code: core.CodeUnsupported, Op: "open archive", Message: message,
		Hint: "take a backstay at least as new as the one that wrote it",
	}
}

func notOurs() error {
	return &core.Error{
		Code: core.CodeUnsupported, Op: "open archive", Message: "it is no backstay archive: " + readmeName + " is not its first entry",
		Hint: "a backstay archive is what `backstay export --format backstay` writes",
	}
}
