package transfer

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
)

const (
	// MaxUploads is how many uploads there can be at a time.
	MaxUploads = 10
	// UploadKept is how long an upload is kept after its last part.
	UploadKept = 48 * time.Hour
	// Unknown is the size of an upload whose end is not known before it comes.
	Unknown = int64(-1)

	metaFile   = "meta.json"
	fileFolder = "file" // holds the file alone, under its own name: imports record it
	// unbegun is how old the folder of an upload is that a crash kept from beginning.
	unbegun = time.Hour
	// stride is how much is written until the free space is looked at again.
	stride = 64 << 20
)

var validID = regexp.MustCompile(`^[0-9a-f]{32}$`)

// Upload is a file on its way here, in parts.
type Upload struct {
	ID       string
	Name     string    // of the file
	Size     int64     // of the whole file, in bytes; Unknown until Finish
	Received int64     // from its beginning
	Begun    time.Time //
	Until    time.Time // when it is removed if no part comes
	By       string    // whose it is
}

// Complete says whether all of it is here.
func (u Upload) Complete() bool { return u.Size >= 0 && u.Received == u.Size }

// meta is what is kept of an upload beside its file.
type meta struct {
	Name  string    `json:"name"`
	Size  int64     `json:"size"`
	Begun time.Time `json:"begun"`
	By    string    `json:"by"`
}

// Uploads are those in one state folder. It is safe for concurrent use, by
// several processes too.
type Uploads struct {
	dir   string
	clock core.Clock
	begin sync.Mutex // counts and makes one at a time
	// Tests put in disks that are full or fail.
	free func(dir string) (int64, error)
	wrap func(io.Writer) io.Writer
}

// NewUploads keeps uploads in stateDir/console/uploads, which is made when it is needed.
func NewUploads(stateDir string, clock core.Clock) *Uploads {
	return &Uploads{
		dir: filepath.Join(stateDir, "console", "uploads"), clock: clock,
		free: freeBelow, wrap: func(w io.Writer) io.Writer { return w },
	}
}

// Begin makes room for a file of size bytes, or Unknown. Errors: CodeUsage for
// a name that is none and when there are too many uploads, CodeDisk when there
// is too little space for it beside the rest of the others.
func (u *Uploads) Begin(name string, size int64, by string) (Upload, error) {
	const op = "begin upload"
	switch {
	case !ValidName(name):
		return Upload{}, &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf("%.80q is not the name of a file", name), Hint: "give a name without folders and without characters that cannot be seen, of at most 255 bytes"}
	case size < 0 && size != Unknown:
		return Upload{}, &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf("%d is not the size of a file", size)}
	}
	u.begin.Lock()
	defer u.begin.Unlock()
	all, err := u.List()
	if err != nil {
		return Upload{}, err
	}
	if len(all) >= MaxUploads {
		return Upload{}, &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf("there are %d uploads already", len(all)), Hint: "remove those that are not needed any more, or finish them"}
	}
	if err := os.MkdirAll(u.dir, 0o700); err != nil {
		return Upload{}, diskError(op, u.dir, err)
	}
	if err := u.room(op, max(size, 0), all); err != nil {
		return Upload{}, err
	}
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Upload{}, fmt.Errorf("%s: %w", op, err)
	}
	id := hex.EncodeToString(random[:])
	if err := u.create(id, meta{Name: name, Size: size, Begun: u.clock.Now(), By: by}); err != nil {
		return Upload{}, errors.Join(diskError(op, u.dir, err), os.RemoveAll(filepath.Join(u.dir, id)))
	}
	return u.Get(id)
}

// room says whether size bytes fit beside what the other uploads still want.
func (u *Uploads) room(op string, size int64, others []Upload) error {
	free, err := u.free(u.dir)
	if err != nil {
		return err
	}
	for _, o := range others {
		size += max(o.Size-o.Received, 0)
	}
	if size > free-reserve {
		return full(op, u.dir, free)
	}
	return nil
}

// create makes the folder of an upload. It counts from when meta.json is there.
func (u *Uploads) create(id string, m meta) error {
	dir := filepath.Join(u.dir, id)
	if err := os.MkdirAll(filepath.Join(dir, fileFolder), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(u.file(id, m), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Chtimes(u.file(id, m), m.Begun, m.Begun); err != nil {
		return err
	}
	if err := syncDir(filepath.Join(dir, fileFolder)); err != nil {
		return err
	}
	if err := writeJSON(dir, metaFile, m); err != nil {
		return err
	}
	return syncDir(u.dir)
}

func (u *Uploads) file(id string, m meta) string {
	return filepath.Join(u.dir, id, fileFolder, m.Name)
}

func notFound(op string) error {
	return &core.Error{Code: core.CodeNotFound, Op: op, Message: "there is no such upload", Hint: "it may have been removed: uploads are kept for two days after their last part; begin again"}
}

// read looks at an upload. Nothing that is not an id reaches the disk.
func (u *Uploads) read(op, id string) (meta, Upload, error) {
	var m meta
	if !validID.MatchString(id) {
		return m, Upload{}, notFound(op)
	}
	if err := readJSON(filepath.Join(u.dir, id), metaFile, &m); errors.Is(err, fs.ErrNotExist) {
		return m, Upload{}, notFound(op)
	} else if err != nil {
		return m, Upload{}, fmt.Errorf("%s: %w", op, err)
	}
	if !ValidName(m.Name) {
		return m, Upload{}, &core.Error{Code: core.CodeDisk, Op: op, Message: "what is kept of the upload is damaged", Hint: "remove it, and begin again"}
	}
	info, err := os.Lstat(u.file(id, m))
	if errors.Is(err, fs.ErrNotExist) {
		return m, Upload{}, notFound(op)
	}
	if err != nil {
		return m, Upload{}, fmt.Errorf("%s: %w", op, err)
	}
	return m, Upload{ID: id, Name: m.Name, Size: m.Size, Received: info.Size(), Begun: m.Begun, Until: info.ModTime().Add(UploadKept), By: m.By}, nil
}

// Get looks at an upload; CodeNotFound.
func (u *Uploads) Get(id string) (Upload, error) {
	_, up, err := u.read("look at upload", id)
	return up, err
}

// List lists uploads, the newest first. One whose folder is damaged is left out.
func (u *Uploads) List() ([]Upload, error) {
	names, err := folders(u.dir)
	if err != nil {
		return nil, err
	}
	var all []Upload
	for _, id := range names {
		if up, err := u.Get(id); err == nil {
			all = append(all, up)
		}
	}
	slices.SortFunc(all, func(a, b Upload) int { return cmp.Or(b.Begun.Compare(a.Begun), cmp.Compare(a.ID, b.ID)) })
	return all, nil
}

// open opens and locks the file of an upload; CodeLocked while somebody else has it.
func (u *Uploads) open(op, id string) (meta, *os.File, error) {
	m, _, err := u.read(op, id)
	if err != nil {
		return m, nil, err
	}
	f, err := os.OpenFile(u.file(id, m), os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return m, nil, notFound(op)
	}
	if err != nil {
		return m, nil, fmt.Errorf("%s: %w", op, err)
	}
	mine, err := lock(f)
	if err == nil && !mine {
		err = &core.Error{Code: core.CodeLocked, Op: op, Message: "a part of it is arriving now", Hint: "wait for that part, or for its connection to end, and look where the upload stands"}
	}
	if err == nil {
		// Whoever had the lock before may have removed it.
		m, _, err = u.read(op, id)
	}
	if err != nil {
		return m, nil, errors.Join(err, f.Close())
	}
	return m, f, nil
}

// Append adds part at offset, which must be what was received so far (CodeUsage
// otherwise, with the upload as it is), durably. What arrives before an error is
// kept; what goes beyond the size is an error and is not. Two at once:
// CodeLocked for one of them. CodeDisk when the disk is full.
func (u *Uploads) Append(ctx context.Context, id string, offset int64, part io.Reader) (up Upload, err error) {
	const op = "receive upload"
	m, f, err := u.open(op, id)
	if err != nil {
		return Upload{}, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if now, lookErr := u.Get(id); lookErr == nil {
			up = now
		}
	}()
	have, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return up, fmt.Errorf("%s: %w", op, err)
	}
	if offset != have {
		return up, &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf("the part is for byte %d, and %d bytes are here", offset, have), Hint: "go on from there"}
	}
	received := u.copy(ctx, op, f, have, m.Size, part)
	now := u.clock.Now()
	if err := f.Sync(); err != nil {
		return up, diskError(op, u.dir, errors.Join(err, received))
	}
	if err := os.Chtimes(f.Name(), now, now); err != nil {
		return up, errors.Join(received, fmt.Errorf("%s: %w", op, err))
	}
	return up, received
}

// copy writes part to f, up to size bytes in all.
func (u *Uploads) copy(ctx context.Context, op string, f *os.File, have, size int64, part io.Reader) error {
	in, out := &faithful{ctx: ctx, r: part}, u.wrap(f)
	for {
		free, err := u.free(u.dir)
		if err != nil {
			return err
		}
		if free < reserve {
			return full(op, u.dir, free)
		}
		want := min(stride, max(free-reserve, 1))
		if size >= 0 {
			want = min(want, size-have)
		}
		n, err := io.CopyN(out, in, want)
		have += n
		switch {
		case in.failed != nil:
			return &core.Error{Code: core.CodeUsage, Op: op, Message: "the connection ended", Hint: "send the rest: what arrived is kept", Err: in.failed}
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return diskError(op, u.dir, err)
		case have == size:
			return u.atEnd(op, in)
		}
	}
}

// atEnd says whether nothing comes after the last byte of the file.
func (u *Uploads) atEnd(op string, in *faithful) error {
	n, err := io.ReadFull(in, make([]byte, 1))
	if n > 0 {
		return &core.Error{Code: core.CodeUsage, Op: op, Message: "more came than the file's size", Hint: "is it another file, or did it grow? begin again with its size now"}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return &core.Error{Code: core.CodeUsage, Op: op, Message: "the connection ended", Err: err}
	}
	return nil
}

// faithful tells errors of the sender from those of the disk, and ends with ctx.
type faithful struct {
	ctx    context.Context
	r      io.Reader
	failed error
}

func (f *faithful) Read(p []byte) (int, error) {
	if err := f.ctx.Err(); err != nil {
		f.failed = err
		return 0, err
	}
	n, err := f.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		f.failed = err
	}
	return n, err
}

// Finish says that an upload of Unknown size is whole. It is nothing for one
// that is complete, and CodeUsage for one that lacks something.
func (u *Uploads) Finish(id string) (_ Upload, err error) {
	const op = "finish upload"
	m, f, err := u.open(op, id)
	if err != nil {
		return Upload{}, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return Upload{}, fmt.Errorf("%s: %w", op, err)
	}
	if m.Size == Unknown {
		m.Size = info.Size()
		if err := writeJSON(filepath.Join(u.dir, id), metaFile, m); err != nil {
			return Upload{}, diskError(op, u.dir, err)
		}
	}
	if m.Size != info.Size() {
		return Upload{}, incomplete(op, info.Size(), m.Size)
	}
	return u.Get(id)
}

func incomplete(op string, have, size int64) error {
	return &core.Error{Code: core.CodeUsage, Op: op, Message: fmt.Sprintf("%d of its %d bytes are here", have, size), Hint: "send the rest"}
}

// Path is where the file of a complete upload lies, under its own name.
// CodeUsage for one that is not complete.
func (u *Uploads) Path(id string) (string, error) {
	m, up, err := u.read("use upload", id)
	if err != nil {
		return "", err
	}
	if !up.Complete() {
		return "", incomplete("use upload", up.Received, up.Size)
	}
	return u.file(id, m), nil
}

// Remove gives an upload up; CodeNotFound, CodeLocked while a part arrives.
func (u *Uploads) Remove(id string) (err error) {
	_, f, err := u.open("remove upload", id)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return u.remove(id)
}

// remove takes meta.json first: what is left of a crash is no upload any more.
func (u *Uploads) remove(id string) error {
	dir := filepath.Join(u.dir, id)
	if err := os.Remove(filepath.Join(dir, metaFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove upload: %w", err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove upload: %w", err)
	}
	return nil
}

// Clean removes uploads whose time is over, unless inUse (nil: none is) says
// that they are read now, and what crashes left.
func (u *Uploads) Clean(inUse func(id string) bool) error {
	names, err := folders(u.dir)
	if err != nil {
		return err
	}
	u.begin.Lock()
	defer u.begin.Unlock()
	now := u.clock.Now()
	var failures []error
	for _, id := range names {
		if !validID.MatchString(id) { // not ours
			continue
		}
		up, err := u.Get(id)
		switch {
		case inUse != nil && inUse(id):
		case err == nil && now.After(up.Until):
			if err := u.Remove(id); err != nil && core.CodeOf(err) != core.CodeLocked && core.CodeOf(err) != core.CodeNotFound {
				failures = append(failures, err)
			}
		case core.CodeOf(err) == core.CodeNotFound && olderThan(filepath.Join(u.dir, id), now, unbegun),
			err != nil && olderThan(filepath.Join(u.dir, id), now, UploadKept):
			failures = append(failures, u.remove(id))
		}
	}
	return errors.Join(failures...)
}
