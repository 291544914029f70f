package itflow

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/winzip"
	"github.com/backstay/backstay/internal/core"
)

// uploadsDir is what the names in uploads.zip are below.
const uploadsDir = "uploads"

const emptyUploads = "it is empty: ITFlow writes an empty one, and reports success, when it could not read one of the files, and restoring it would delete all uploads; " +
	"the archive does not show whether the application really had none"

// checkUploads reads each file in uploads.zip to its end.
func (a *reader) checkUploads(ctx context.Context, meter *archive.Meter) (string, error) {
	if a.uploads.Size > 0 {
		var err error
		if a.inner, err = winzip.Open(a.spool, a.uploads.Size); err != nil {
			return flaw(err)
		}
	}
	if a.inner == nil || a.inner.Len() == 0 {
		return emptyUploads, nil
	}
	buf := make([]byte, 256<<10)
	return flaw(a.eachUpload(ctx, meter, func(_ archive.Entry, body io.Reader) error {
		if body == nil {
			return nil
		}
		_, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, body, buf)
		return err
	}))
}

// Files passes on what is in uploads.zip.
func (a *reader) Files(ctx context.Context, fn func(e archive.Entry, body io.Reader) error) error {
	if a.inner == nil {
		if a.spool == nil && a.uploads != nil {
			return winzip.Damaged("%s cannot be read", uploadsName)
		}
		return nil
	}
	return a.eachUpload(ctx, archive.NewMeter(a.opt.Limits, a.size), fn)
}

func (a *reader) eachUpload(ctx context.Context, meter *archive.Meter, fn func(archive.Entry, io.Reader) error) error {
	names := newNames()
	return a.inner.Each(ctx, func(z *winzip.Entry) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := meter.Entry(); err != nil {
			return err
		}
		e, err := upload(z)
		if err != nil {
			return err
		}
		if !names.add(strings.TrimSuffix(z.Name, "/"), z.Dir()) {
			return archive.Hostile(z.Name, "the name stands there twice, as a file and as a folder, or as a folder behind what it holds")
		}
		if e.Type == core.TypeDir {
			return fn(e, nil)
		}
		return a.passOn(ctx, meter, z, e, fn)
	})
}

func (a *reader) passOn(ctx context.Context, meter *archive.Meter, z *winzip.Entry, e archive.Entry, fn func(archive.Entry, io.Reader) error) (err error) {
	r := a.inner.Open(ctx, z, nil)
	defer func() { err = errors.Join(err, r.Close()) }()
	return fn(e, meter.Reader(r))
}

// upload checks an entry of uploads.zip.
func upload(z *winzip.Entry) (archive.Entry, error) {
	path, err := archive.CheckPath(z.Name)
	if err != nil {
		return archive.Entry{}, err
	}
	path = uploadsDir + "/" + path
	if len(path) > archive.MaxPath {
		return archive.Entry{}, archive.Hostile(z.Name, "below uploads/ it is longer than a path may be")
	}
	e := archive.Entry{
		Component: core.ComponentFiles, Place: "app", Path: path, Type: core.TypeFile,
		ModTime: z.Modified(time.Local), Size: z.Size,
	}
	mode, ok := z.Mode()
	// libzip before 1.7 gives every file the mode 0666 and every folder 0777.
	if ok && mode.Perm()&0o002 == 0 {
		e.Mode, e.HasMode = mode.Perm(), true
	}
	switch {
	case z.AES != 0:
		return e, archive.Hostile(z.Name, "it is encrypted once more, which ITFlow does not do")
	case mode&fs.ModeSymlink != 0:
		return e, archive.Hostile(z.Name, "it is a symbolic link, which ITFlow leaves out")
	case mode&fs.ModeIrregular != 0:
		return e, archive.Hostile(z.Name, "it is no file and no folder")
	case ok && mode.IsDir() != z.Dir():
		return e, archive.Hostile(z.Name, "its name and its attributes disagree on whether it is a folder")
	case z.Dir() && (z.Size != 0 || z.Packed != 0 || z.CRC32 != 0):
		return e, archive.Hostile(z.Name, "it is a folder with a content")
	case z.Dir():
		e.Type = core.TypeDir
	}
	return e, nil
}

// names remembers which names an archive used, in some 20 bytes each. Names
// that only look alike to it are taken for the same, which for a million files
// happens once in ten million archives.
type names struct {
	seed  maphash.Seed
	files map[uint64]bool // false: a folder, or what another entry lies in
}

func newNames() *names { return &names{maphash.MakeSeed(), map[uint64]bool{}} }

// add says whether a path can stand behind those before it: it is new, and
// what it lies in is no file. A folder must stand before what it holds.
func (n *names) add(path string, dir bool) bool {
	hash := maphash.String(n.seed, path)
	if _, used := n.files[hash]; used {
		return false
	}
	n.files[hash] = !dir
	for i := strings.LastIndexByte(path, '/'); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		parent := maphash.String(n.seed, path[:i])
		switch file, used := n.files[parent]; {
		case file:
			return false
		case used:
			return true // so are its own parents
		}
		n.files[parent] = false
	}
	return true
}
