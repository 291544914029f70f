package transfer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

// at is a clock that stands still until it is moved.
type at struct{ now time.Time }

func (a *at) Now() time.Time { return a.now }

func newUploads(t *testing.T) (*Uploads, *at) {
	t.Helper()
	clock := &at{now: time.Now().Truncate(time.Second)}
	u := NewUploads(t.TempDir(), clock)
	u.free = func(string) (int64, error) { return 1 << 40, nil }
	return u, clock
}

func begin(t *testing.T, u *Uploads, name string, size int64) Upload {
	t.Helper()
	up, err := u.Begin(name, size, "anna")
	if err != nil {
		t.Fatal(err)
	}
	return up
}

func wantCode(t *testing.T, err error, want core.Code) {
	t.Helper()
	if got := core.CodeOf(err); got != want {
		t.Errorf("code %q, want %q: %v", got, want, err)
	}
}

func TestUploadInParts(t *testing.T) {
	u, clock := newUploads(t)
	content := bytes.Repeat([]byte("backstay"), 100_000)
	up := begin(t, u, "Sicherung März.tar.gz", int64(len(content)))
	want := Upload{ID: up.ID, Name: "Sicherung März.tar.gz", Size: int64(len(content)), Begun: clock.now, Until: clock.now.Add(UploadKept), By: "anna"}
	if diff := cmp.Diff(want, up); diff != "" {
		t.Error(diff)
	}
	for _, end := range []int{1, 4096, 300_001, len(content)} {
		if _, err := u.Path(up.ID); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("an upload that is not whole has a path: %v", err)
		}
		clock.now = clock.now.Add(time.Hour)
		var err error
		up, err = u.Append(t.Context(), up.ID, up.Received, bytes.NewReader(content[up.Received:end]))
		if err != nil {
			t.Fatal(err)
		}
		if up.Received != int64(end) || !up.Until.Equal(clock.now.Add(UploadKept)) {
			t.Errorf("after byte %d: %+v", end, up)
		}
		u = &Uploads{dir: u.dir, clock: clock, free: u.free, wrap: u.wrap} // a restart
	}
	path, err := u.Path(up.ID)
	if err != nil {
		t.Fatal(err)
	}
	if filepath.Base(path) != "Sicherung März.tar.gz" {
		t.Errorf("imports would record the name %s", path)
	}
	got, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("read %d bytes of %d, %v", len(got), len(content), err)
	}
	for _, p := range []string{path, filepath.Dir(path), filepath.Join(u.dir, up.ID)} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others can read %s: %v, %v", p, info, err)
		}
	}
	if err := u.Remove(up.ID); err != nil {
		t.Fatal(err)
	}
	wantCode(t, u.Remove(up.ID), core.CodeNotFound)
	if left, err := os.ReadDir(u.dir); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

func TestUploadOfUnknownSize(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "dump.sql", Unknown)
	if _, err := u.Append(t.Context(), up.ID, 0, strings.NewReader("SELECT 1;")); err != nil {
		t.Fatal(err)
	}
	_, err := u.Path(up.ID)
	wantCode(t, err, core.CodeUsage)
	up, err = u.Finish(up.ID)
	if err != nil || !up.Complete() || up.Size != 9 {
		t.Fatalf("%+v, %v", up, err)
	}
	if _, err := u.Path(up.ID); err != nil {
		t.Error(err)
	}
	if _, err := u.Finish(up.ID); err != nil {
		t.Errorf("finish it twice: %v", err)
	}
	short := begin(t, u, "dump.sql", 3)
	_, err = u.Finish(short.ID)
	wantCode(t, err, core.CodeUsage)
}

func TestUploadOfNothing(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "empty.sql", 0)
	if _, err := u.Path(up.ID); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	u, _ := newUploads(t)
	for _, bad := range []string{
		"", ".", "..", "a/b", "/etc/passwd", "../x", `..\x`, `C:\a.zip`, "a\x00b", "a\nb", "a\x7fb", "a\u0085b", "a\u202eb", "\xff",
		strings.Repeat("x", 256), strings.Repeat("ä", 128),
	} {
		if _, err := u.Begin(bad, 1, "anna"); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%q: %v", bad, err)
		}
	}
	_, err := u.Begin("x", -2, "anna")
	wantCode(t, err, core.CodeUsage)
	for _, good := range []string{"meta.json", "file", "a b.zip", "-rf", ".hidden", "...", "ünï.sql", strings.Repeat("x", 255)} {
		up := begin(t, u, good, 1)
		if up, err := u.Append(t.Context(), up.ID, 0, strings.NewReader("x")); err != nil || !up.Complete() {
			t.Errorf("%q: %+v, %v", good, up, err)
		}
	}
}

func TestIDsFromOutside(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "a.zip", 1)
	outside := filepath.Join(filepath.Dir(u.dir), up.ID[1:]+"a")
	if err := os.MkdirAll(filepath.Join(outside, fileFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writeJSON(outside, metaFile, meta{Name: "x"}); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{
		"", ".", "..", "../" + filepath.Base(outside), up.ID + "/", up.ID + "\n", strings.ToUpper(up.ID) + " ", "%2e%2e", up.ID + "\x00", up.ID[:31], strings.Repeat("a", 32), strings.Repeat("0", 1<<16),
	} {
		_, err := u.Get(id)
		wantCode(t, err, core.CodeNotFound)
		_, err = u.Append(t.Context(), id, 0, strings.NewReader("x"))
		wantCode(t, err, core.CodeNotFound)
		_, err = u.Path(id)
		wantCode(t, err, core.CodeNotFound)
		_, err = u.Finish(id)
		wantCode(t, err, core.CodeNotFound)
		wantCode(t, u.Remove(id), core.CodeNotFound)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Error(err)
	}
}

func TestOffset(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "a.zip", 10)
	up, err := u.Append(t.Context(), up.ID, 0, strings.NewReader("0123"))
	if err != nil {
		t.Fatal(err)
	}
	for _, offset := range []int64{-1, 0, 3, 5, 10, 1 << 62} {
		now, err := u.Append(t.Context(), up.ID, offset, strings.NewReader("xx"))
		wantCode(t, err, core.CodeUsage)
		if now.Received != 4 {
			t.Errorf("offset %d: the upload is not told as it is: %+v", offset, now)
		}
	}
	now, err := u.Append(t.Context(), up.ID, 4, strings.NewReader("456789+more"))
	wantCode(t, err, core.CodeUsage)
	if now.Received != 10 {
		t.Errorf("%+v", now)
	}
	now, err = u.Append(t.Context(), up.ID, 10, strings.NewReader(""))
	if err != nil || !now.Complete() {
		t.Errorf("%+v, %v", now, err)
	}
	path, err := u.Path(up.ID)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := os.ReadFile(path); string(text) != "0123456789" {
		t.Errorf("%q, %v", text, err)
	}
}

func TestConnectionEnds(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "a.zip", 10)
	gone := errors.New("connection reset")
	now, err := u.Append(t.Context(), up.ID, 0, io.MultiReader(strings.NewReader("0123"), iotest.ErrReader(gone)))
	if !errors.Is(err, gone) || core.HintOf(err) == "" || now.Received != 4 {
		t.Errorf("%+v, %v", now, err)
	}
	now, err = u.Append(t.Context(), up.ID, 4, io.MultiReader(strings.NewReader("45"), iotest.ErrReader(io.ErrUnexpectedEOF)))
	if !errors.Is(err, io.ErrUnexpectedEOF) || now.Received != 6 {
		t.Errorf("%+v, %v", now, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	now, err = u.Append(ctx, up.ID, 6, strings.NewReader("6789"))
	if wantCode(t, err, core.CodeCancelled); now.Received != 6 {
		t.Errorf("%+v", now)
	}
	if now, err = u.Append(t.Context(), up.ID, 6, strings.NewReader("6789")); err != nil || !now.Complete() {
		t.Errorf("%+v, %v", now, err)
	}
}

// fullAfter is a disk with room for n bytes more.
type fullAfter struct {
	w io.Writer
	n int
}

func (f *fullAfter) Write(p []byte) (int, error) {
	if len(p) <= f.n {
		f.n -= len(p)
		return f.w.Write(p)
	}
	n, err := f.w.Write(p[:f.n])
	f.n -= n
	return n, errors.Join(err, &os.PathError{Op: "write", Path: "a.zip", Err: syscall.ENOSPC})
}

func TestDiskFull(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "a.zip", 10)
	u.wrap = func(w io.Writer) io.Writer { return &fullAfter{w, 4} }
	now, err := u.Append(t.Context(), up.ID, 0, strings.NewReader("0123456789"))
	if wantCode(t, err, core.CodeDisk); now.Received != 4 || core.HintOf(err) == "" {
		t.Errorf("%+v, %v", now, err)
	}
	u.wrap = func(w io.Writer) io.Writer { return w }
	if now, err = u.Append(t.Context(), up.ID, 4, strings.NewReader("456789")); err != nil || !now.Complete() {
		t.Errorf("after room was made: %+v, %v", now, err)
	}
}

func TestRoom(t *testing.T) {
	u, _ := newUploads(t)
	free := int64(reserve + 100)
	u.free = func(string) (int64, error) { return free, nil }
	first := begin(t, u, "a.zip", 60)
	_, err := u.Begin("b.zip", 41, "anna")
	wantCode(t, err, core.CodeDisk)
	if _, err := u.Append(t.Context(), first.ID, 0, strings.NewReader(strings.Repeat("x", 60))); err != nil {
		t.Fatal(err)
	}
	begin(t, u, "b.zip", 41) // what arrived is not wanted any more
	free = reserve - 1
	second := begin2(t, u, "c.sql")
	now, err := u.Append(t.Context(), second, 0, strings.NewReader("x"))
	if wantCode(t, err, core.CodeDisk); now.Received != 0 || core.HintOf(err) == "" {
		t.Errorf("%+v, %v", now, err)
	}
}

// begin2 begins an upload of unknown size while there was still room.
func begin2(t *testing.T, u *Uploads, name string) string {
	t.Helper()
	now := u.free
	u.free = func(string) (int64, error) { return 1 << 40, nil }
	defer func() { u.free = now }()
	return begin(t, u, name, Unknown).ID
}

func TestTooManyUploads(t *testing.T) {
	u, _ := newUploads(t)
	for range MaxUploads {
		begin(t, u, "a.zip", 1)
	}
	_, err := u.Begin("a.zip", 1, "anna")
	wantCode(t, err, core.CodeUsage)
	all, err := u.List()
	if err != nil || len(all) != MaxUploads {
		t.Fatalf("%d, %v", len(all), err)
	}
	if err := u.Remove(all[3].ID); err != nil {
		t.Fatal(err)
	}
	begin(t, u, "a.zip", 1)
}

func TestTwoPartsAtOnce(t *testing.T) {
	u, clock := newUploads(t)
	up := begin(t, u, "a.zip", 4)
	slow, sender := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := u.Append(t.Context(), up.ID, 0, slow)
		done <- err
	}()
	if _, err := sender.Write([]byte("01")); err != nil { // it is being read
		t.Fatal(err)
	}
	other := NewUploads(filepath.Dir(filepath.Dir(u.dir)), clock) // as another process would be
	for _, u := range []*Uploads{u, other} {
		_, err := u.Append(t.Context(), up.ID, 0, strings.NewReader("abcd"))
		wantCode(t, err, core.CodeLocked)
		wantCode(t, u.Remove(up.ID), core.CodeLocked)
		_, err = u.Finish(up.ID)
		wantCode(t, err, core.CodeLocked)
	}
	clock.now = clock.now.Add(100 * time.Hour)
	if err := u.Clean(nil); err != nil {
		t.Error(err)
	}
	if _, err := sender.Write([]byte("23")); err != nil {
		t.Fatal(err)
	}
	if err := sender.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if up, err := u.Get(up.ID); err != nil || !up.Complete() {
		t.Errorf("%+v, %v", up, err)
	}
}

func TestCleanUploads(t *testing.T) {
	u, clock := newUploads(t)
	old, used := begin(t, u, "old.zip", 4), begin(t, u, "used.zip", 4)
	clock.now = clock.now.Add(UploadKept - time.Hour)
	young := begin(t, u, "young.zip", 4)
	clock.now = clock.now.Add(2 * time.Hour)
	crashed := filepath.Join(u.dir, strings.Repeat("c", 32))
	foreign := filepath.Join(u.dir, "somebody's")
	for _, dir := range []string{crashed, foreign} {
		if err := os.MkdirAll(filepath.Join(dir, fileFolder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Clean(func(id string) bool { return id == used.ID }); err != nil {
		t.Fatal(err)
	}
	_, err := u.Get(old.ID)
	wantCode(t, err, core.CodeNotFound)
	for _, id := range []string{used.ID, young.ID} {
		if _, err := u.Get(id); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(crashed); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a crash left is still there: %v", err)
	}
	if _, err := os.Stat(foreign); err != nil {
		t.Error(err)
	}
}

func TestDamagedMeta(t *testing.T) {
	u, _ := newUploads(t)
	up := begin(t, u, "a.zip", 4)
	secret := filepath.Join(filepath.Dir(u.dir), "secret")
	if err := os.WriteFile(secret, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "{", `{"name":"../../../secret","size":6}`, `{"name":""}`} {
		if err := os.WriteFile(filepath.Join(u.dir, up.ID, metaFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if path, err := u.Path(up.ID); err == nil {
			t.Errorf("%q: %s", text, path)
		}
		if all, err := u.List(); err != nil || len(all) != 0 {
			t.Errorf("%q: %v, %v", text, all, err)
		}
	}
}
