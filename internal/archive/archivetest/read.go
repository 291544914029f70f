package archivetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/core"
)

// sandbox is where a test runs: its working folder, its temporary folder and
// its scratch folder are its own, so that it sees all that an archive could
// have written.
type sandbox struct {
	root, scratch string
}

func newSandbox(t *testing.T) sandbox {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"scratch", "tmp", "far/below/work"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("TMPDIR", filepath.Join(root, "tmp"))
	t.Chdir(filepath.Join(root, "far/below/work"))
	b := sandbox{root, filepath.Join(root, "scratch")}
	before := b.listing(t)
	t.Cleanup(func() {
		if diff := cmp.Diff(before, b.listing(t)); diff != "" {
			t.Errorf("the file system was changed (-before +after):\n%s", diff)
		}
	})
	return b
}

func (b sandbox) listing(t testing.TB) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(b.root, func(path string, _ fs.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(path, b.root))
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return names
}

// store puts data into a file outside the sandbox.
func store(t testing.TB, name string, data []byte) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() }) // it is only read, and may be closed already
	if _, err := f.Write(data); err != nil {
		t.Fatal(err)
	}
	return f
}

// result is what reading an archive gave.
type result struct {
	Entries []archive.Entry
	Bodies  map[string][sha256.Size]byte // of files, by component, place and path
	Dump    *[sha256.Size]byte           // nil: there is none
	Info    archive.Info
}

func key(e archive.Entry) string { return string(e.Component) + "/" + e.Place + "/" + e.Path }

// refusal is why an archive was not read.
type refusal struct {
	err   error
	flaws []archive.Flaw
}

func (r *refusal) String() string {
	if r.err != nil {
		return r.err.Error()
	}
	var all []string
	for _, f := range r.flaws {
		all = append(all, f.Where+": "+f.Message)
	}
	return strings.Join(all, "; ")
}

// read opens f and reads all of it. A refusal is what Open and Check say; an
// error is one after a clean Check, which must not happen.
func read(ctx context.Context, format archive.Format, f *os.File, opt archive.OpenOptions) (_ *result, _ *refusal, err error) {
	a, err := format.Open(ctx, f, opt)
	if err != nil {
		return nil, &refusal{err: err}, nil
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	flaws, err := a.Check(ctx)
	if err != nil || len(flaws) > 0 {
		return nil, &refusal{err, flaws}, nil
	}
	r, err := readChecked(ctx, a)
	return r, nil, err
}

func readChecked(ctx context.Context, a archive.Archive) (*result, error) {
	r := &result{Bodies: map[string][sha256.Size]byte{}, Info: a.Info()}
	err := a.Files(ctx, func(e archive.Entry, body io.Reader) error {
		if _, err := archive.CheckPath(e.Path); err != nil || strings.HasSuffix(e.Path, "/") {
			return fmt.Errorf("the path %q is given", e.Path)
		}
		r.Entries = append(r.Entries, e)
		if (body != nil) != (e.Type == core.TypeFile) {
			return fmt.Errorf("%s is of type %q; has a body: %t", e.Path, e.Type, body != nil)
		}
		if body == nil {
			return nil
		}
		if _, twice := r.Bodies[key(e)]; twice {
			return fmt.Errorf("%s is given twice", e.Path)
		}
		h := sha256.New()
		n, err := io.Copy(h, body)
		if err != nil {
			return fmt.Errorf("read %s: %w", e.Path, err)
		}
		if n != e.Size {
			return fmt.Errorf("%s has %d bytes, its entry says %d", e.Path, n, e.Size)
		}
		r.Bodies[key(e)] = [sha256.Size]byte(h.Sum(nil))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("files: %w", err)
	}
	dump, err := a.OpenDump(ctx)
	if err != nil {
		return nil, fmt.Errorf("open dump: %w", err)
	}
	if dump == nil {
		return r, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, dump); err != nil {
		return nil, fmt.Errorf("read dump: %w", err)
	}
	if err := dump.Close(); err != nil {
		return nil, fmt.Errorf("close dump: %w", err)
	}
	r.Dump = (*[sha256.Size]byte)(h.Sum(nil))
	return r, nil
}

// Try reads data as format does and fails the test where that panics or where
// an archive that Check found whole cannot be read. It is for fuzz targets.
func Try(t *testing.T, format archive.Format, name string, data []byte, opt archive.OpenOptions) {
	t.Helper()
	f := store(t, name, data)
	format.Recognizes(f, name)
	if _, _, err := read(t.Context(), format, f, opt); err != nil {
		t.Error(err)
	}
}

// write makes an archive of content.
func write(t testing.TB, c Case, content archive.Content) ([]byte, []core.Warning) {
	t.Helper()
	var b bytes.Buffer
	warnings, err := c.Format.Write(t.Context(), &b, content, c.writeOptions())
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	return b.Bytes(), warnings
}

func (c Case) writeOptions() archive.WriteOptions {
	opt := c.Write
	opt.Clock = fixedClock{}
	return opt
}

func (c Case) openOptions(b sandbox) archive.OpenOptions {
	opt := c.Open
	opt.ScratchDir = b.scratch
	return opt
}

func (c Case) fileName() string { return "backup" + c.Format.Extension() }

// mustRead reads an archive that is whole.
func mustRead(t *testing.T, c Case, f *os.File, opt archive.OpenOptions) *result {
	t.Helper()
	r, refused, err := read(t.Context(), c.Format, f, opt)
	if refused != nil {
		t.Fatalf("refused: %s", refused)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func sorted(entries []archive.Entry) []archive.Entry {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b archive.Entry) int { return strings.Compare(key(a), key(b)) })
	return entries
}
