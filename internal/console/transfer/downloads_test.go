package transfer

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func newDownloads(t *testing.T) (*Downloads, *at) {
	t.Helper()
	clock := &at{now: time.Now().Truncate(time.Second)}
	return NewDownloads(t.TempDir(), clock), clock
}

// export writes what an export would.
func export(t *testing.T, d *Downloads, run int64, made time.Time, files map[string]string) string {
	t.Helper()
	dir, err := d.Dir(run)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(filepath.Join(dir, name), made, made); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestDownload(t *testing.T) {
	d, clock := newDownloads(t)
	if all, err := d.List(); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	dir := export(t, d, 7, clock.now, map[string]string{".backstay-0123456789abcdef01234567.tmp": "half"})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
	_, err := d.Get(7)
	wantCode(t, err, core.CodeNotFound) // it is not done
	export(t, d, 7, clock.now, map[string]string{"shop.tar.zst": "content", "shop.tar.zst.sha256": "sum"})
	if err := d.Note(7, "anna", "abcd"); err != nil {
		t.Fatal(err)
	}
	got, f, err := d.Open(7)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	want := Download{Run: 7, Name: "shop.tar.zst", Size: 7, SHA256: "abcd", Made: clock.now, Until: clock.now.Add(DownloadKept), By: "anna"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := d.Remove(7); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(f); string(text) != "content" || err != nil {
		t.Errorf("who has it open cannot read on: %q, %v", text, err)
	}
	wantCode(t, d.Remove(7), core.CodeNotFound)
	_, _, err = d.Open(7)
	wantCode(t, err, core.CodeNotFound)
}

func TestRunsFromOutside(t *testing.T) {
	d, clock := newDownloads(t)
	export(t, d, 1, clock.now, map[string]string{"a.zip": "x"})
	for _, run := range []int64{0, -1, 2, 1 << 62} {
		_, _, err := d.Open(run)
		wantCode(t, err, core.CodeNotFound)
		wantCode(t, d.Remove(run), core.CodeNotFound)
	}
	_, err := d.Dir(0)
	wantCode(t, err, core.CodeUsage)
}

func TestLinksAreNoDownloads(t *testing.T) {
	d, clock := newDownloads(t)
	dir := export(t, d, 1, clock.now, nil)
	if err := os.Symlink("/etc/passwd", filepath.Join(dir, "a.zip")); err != nil {
		t.Fatal(err)
	}
	_, _, err := d.Open(1)
	wantCode(t, err, core.CodeNotFound)
}

func TestRunsThatAreCountedAnew(t *testing.T) {
	d, clock := newDownloads(t)
	export(t, d, 1, clock.now, map[string]string{"old.zip": "x"})
	if err := d.Note(1, "bob", "old"); err != nil {
		t.Fatal(err)
	}
	export(t, d, 1, clock.now, map[string]string{"new.zip": "x"})
	got, err := d.Get(1)
	if err != nil || got.Name != "new.zip" || got.By != "" || got.SHA256 != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestCleanDownloads(t *testing.T) {
	d, clock := newDownloads(t)
	old := clock.now.Add(-DownloadKept - time.Minute)
	export(t, d, 1, old, map[string]string{"old.zip": "x"})
	export(t, d, 2, clock.now.Add(-time.Hour), map[string]string{"young.zip": "x"})
	for run := range int64(2) {
		dir := export(t, d, 3+run, old, map[string]string{".backstay-0123456789abcdef01234567.tmp": "half"})
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Clean(func(run int64) bool { return run == 4 }); err != nil {
		t.Fatal(err)
	}
	names, err := folders(d.dir)
	if diff := cmp.Diff([]string{"2", "4"}, names); diff != "" || err != nil {
		t.Error(diff, err)
	}
	all, err := d.List()
	if err != nil || len(all) != 1 || all[0].Run != 2 {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestRoomForDownloads(t *testing.T) {
	d, _ := newDownloads(t)
	d.free = func(string) (int64, error) { return reserve + 10, nil }
	if err := d.Room(10); err != nil {
		t.Error(err)
	}
	wantCode(t, d.Room(11), core.CodeDisk)
}

func TestFreeSpaceOfTheDisk(t *testing.T) {
	free, err := freeBelow(t.TempDir())
	if err != nil || free <= 0 {
		t.Errorf("%d, %v", free, err)
	}
	if _, err := freeBelow("/nowhere/at/all"); err == nil {
		t.Error("no error for a folder that is not there")
	}
}

func TestDownloadLimits(t *testing.T) {
	clock := &at{now: time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)}
	d := NewDownloads(t.TempDir(), clock)
	d.Limits = func() (time.Duration, int64) { return time.Hour, 100 }
	dir, err := d.Dir(7)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "shop.sql")
	if err := os.WriteFile(file, make([]byte, 60), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, clock.now, clock.now); err != nil {
		t.Fatal(err)
	}
	got, err := d.Get(7)
	if err != nil || !got.Until.Equal(clock.now.Add(time.Hour)) {
		t.Fatalf("%+v, %v", got, err)
	}
	if err := d.Room(40); err != nil {
		t.Errorf("100 bytes are allowed together: %v", err)
	}
	if err := d.Room(41); core.CodeOf(err) != core.CodeDisk || core.HintOf(err) == "" {
		t.Errorf("101 bytes: %v", err)
	}
	clock.now = clock.now.Add(61 * time.Minute)
	if err := d.Clean(nil); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Get(7); core.CodeOf(err) != core.CodeNotFound {
		t.Errorf("it is there after its time: %v", err)
	}
}
