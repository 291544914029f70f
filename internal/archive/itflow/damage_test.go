package itflow_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/backstay/backstay/internal/archive"
	"github.com/backstay/backstay/internal/archive/itflow"
	"github.com/backstay/backstay/internal/core"
)

// refused says why an archive is refused, or "" when it is not.
func refused(t *testing.T, f *os.File, scratch string) string {
	opt := options()
	opt.ScratchDir = scratch
	a, err := itflow.New().Open(t.Context(), f, opt)
	if err != nil {
		return err.Error()
	}
	flaws, err := a.Check(t.Context())
	if cerr := a.Close(); cerr != nil {
		t.Error(cerr)
	}
	switch {
	case err != nil:
		return err.Error()
	case len(flaws) > 0:
		return flaws[0].Where + ": " + flaws[0].Message
	}
	return ""
}

// tampered refuses all that n changes make of data.
func tampered(t *testing.T, data []byte, n int, change func(i int, data []byte) (undo func())) {
	t.Helper()
	scratch := t.TempDir()
	var wg sync.WaitGroup
	const workers = 4
	for w := range workers {
		own := bytes.Clone(data)
		f, err := os.Create(filepath.Join(t.TempDir(), "itflow.zip"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }() // it is of no use any more
		wg.Go(func() {
			for i := w; i < n; i += workers {
				undo := change(i, own)
				if _, err := f.WriteAt(own, 0); err != nil {
					t.Error(err)
					return
				}
				if refused(t, f, scratch) == "" {
					t.Errorf("change %d is not found", i)
				}
				undo()
			}
			if _, err := f.WriteAt(own, 0); err != nil {
				t.Error(err)
			}
			if why := refused(t, f, scratch); why != "" {
				t.Errorf("the archive itself is refused: %s", why)
			}
		})
	}
	wg.Wait()
	left, err := os.ReadDir(scratch)
	if err != nil || len(left) > 0 {
		t.Errorf("left in the scratch folder: %v %v", left, err)
	}
}

// small is a full archive of few bytes, and written, streamed, one of backstay.
func small(t *testing.T) map[string][]byte {
	t.Helper()
	up := inner(t, member{name: "a", body: []byte("x")})
	return map[string][]byte{"as ITFlow writes": full(t, up), "streamed": streamed(t)}
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	t.Parallel()
	for name, data := range small(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			t.Logf("%d bytes", len(data))
			tampered(t, data, len(data)*8, func(i int, data []byte) func() {
				data[i/8] ^= 1 << (i % 8)
				return func() { data[i/8] ^= 1 << (i % 8) }
			})
		})
	}
}

func TestThreeChangedBytesAreFound(t *testing.T) {
	t.Parallel()
	for name, data := range small(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tampered(t, data, 1000, func(i int, data []byte) func() {
				r := rand.New(rand.NewPCG(1, uint64(i)))
				before := bytes.Clone(data)
				for bytes.Equal(before, data) {
					near := r.IntN(len(data) - 2)
					for n := range 3 {
						at := near + n
						if i%2 == 0 {
							at = r.IntN(len(data))
						}
						data[at] = byte(r.Uint32())
					}
				}
				return func() { copy(data, before) }
			})
		})
	}
}

func TestWrongPassword(t *testing.T) {
	data := full(t, inner(t, member{name: "a", body: []byte("x")}))
	for name, passwords := range map[string][]core.Secret{
		"none": nil, "wrong": {core.NewSecret("wrong"), core.NewSecret("")},
	} {
		_, err := open(t, data, archive.OpenOptions{Passwords: passwords})
		if core.CodeOf(err) != core.CodeWrongKey || core.HintOf(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, core.HintOf(err))
		}
	}
	opt := options()
	opt.Passwords = append([]core.Secret{core.NewSecret("an older one")}, opt.Passwords...)
	readAll(t, mustOpen(t, data, opt))
}
