package openat

import (
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLinksAreFollowedOnlyWhereTheNameSaysSo(t *testing.T) {
	root := t.TempDir()
	target := root + "/" + strings.Repeat("long", 60) // longer than Readlink's first buffer
	for _, err := range []error{
		os.Mkdir(target, 0o700), os.Symlink(target, root+"/link"),
		os.WriteFile(target+"/b", nil, 0o600), os.WriteFile(target+"/a", nil, 0o600),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, err := Dir(unix.AT_FDCWD, root)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(t, dir)
	if fd, err := Dir(dir, "link"); !IsErrno(err, unix.ENOTDIR, unix.ELOOP) {
		t.Errorf("Dir opened a link: %d, %v", fd, err)
	}
	if st, err := Lstat(dir, "link"); err != nil || Kind(&st) != unix.S_IFLNK || IsDir(&st) {
		t.Errorf("Lstat: %+v, %v", st, err)
	}
	if got, err := Readlink(dir, "link"); err != nil || got != target {
		t.Errorf("Readlink: %q, %v", got, err)
	}
	through, err := DirThroughLinks(dir, "link")
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(t, through)
	opened, err := Fstat(through)
	if err != nil {
		t.Fatal(err)
	}
	if st, err := Stat(dir, "link"); err != nil || !IsDir(&st) || IDOf(&st) != IDOf(&opened) {
		t.Errorf("Stat: %+v, %v", st, err)
	}
	// Twice, because reading moves a position.
	for range 2 {
		if got, err := List(through); err != nil || !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("List: %q, %v", got, err)
		}
	}
	if err := SyncPath(root + "/link"); err != nil {
		t.Error(err)
	}
	if err := SyncPath(target + "/a"); !IsErrno(err, unix.ENOTDIR) || Reason(err) != "not a directory" {
		t.Errorf("SyncPath of a file: %v", err)
	}
}

func closeFD(t *testing.T, fd int) {
	t.Helper()
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
}
