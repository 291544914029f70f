// Package treetest is for the tests of packages that capture or restore file
// trees: it makes a tree with everything that is hard about files, describes
// trees without using the code that is tested, keeps what is captured in
// memory, where a test can act or fail in the middle of things, and runs a
// test as an ordinary user.
package treetest

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
)

// Describe returns everything about every path below root that a backup must
// bring back, as text: path → description. It walks without this package's code.
func Describe(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	inodes := map[uint64][]string{}
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		d := fmt.Sprintf("mode=%o owner=%d:%d mtime=%d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			d += fmt.Sprintf(" size=%d sha256=%x", len(b), sha256.Sum256(b))
			if st.Nlink > 1 {
				inodes[st.Ino] = append(inodes[st.Ino], rel)
			}
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			all[rel] = d + fmt.Sprintf(" -> %q", target)
			return nil
		}
		d += xattrsText(t, path)
		all[rel] = d
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range inodes {
		sort.Strings(names)
		for _, n := range names {
			all[n] += fmt.Sprintf(" links=%q", names)
		}
	}
	return all
}

func xattrsText(t *testing.T, path string) string {
	t.Helper()
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err == unix.ENOTSUP {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	var text []string
	for name := range strings.SplitSeq(string(buf[:n]), "\x00") {
		if name == "" || name == "security.selinux" {
			continue
		}
		value := make([]byte, 65536)
		k, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, fmt.Sprintf(" %s=%q", name, value[:k]))
	}
	sort.Strings(text)
	return strings.Join(text, "")
}

// Write makes a file and the folders above it.
func Write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func Mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func Symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func OK(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func SetTime(t *testing.T, path string, when time.Time) {
	t.Helper()
	ts := unix.NsecToTimespec(when.UnixNano())
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		t.Fatal(err)
	}
}

func IsRoot() bool { return os.Geteuid() == 0 }

// sparseFile makes a file of size bytes with data only at its begin and middle.
func sparseFile(t *testing.T, path string, size int64) {
	t.Helper()
	f, err := os.Create(path)
	OK(t, err)
	_, err = f.WriteAt([]byte("begin"), 0)
	OK(t, err)
	_, err = f.WriteAt([]byte("middle"), size/2)
	OK(t, err)
	OK(t, f.Truncate(size))
	OK(t, f.Close())
}

func Blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	OK(t, unix.Lstat(path, &st))
	return st.Blocks * 512
}

// HostileTree makes a folder with everything that is hard about files. What
// needs root is there only when the test is root.
func HostileTree(t *testing.T, root string) {
	t.Helper()
	Mkdir(t, root)
	Write(t, root+"/plain.txt", "plain")
	Write(t, root+"/empty", "")
	Mkdir(t, root+"/empty folder/inner")
	Write(t, root+"/.hidden/.htaccess", "deny")
	Write(t, root+"/newline\nname", "n")
	Write(t, root+"/ leading and trailing ", "s")
	Write(t, root+"/quote'\"$(rm -rf)`;&|", "q")
	Write(t, root+"/-rf", "dash")
	Write(t, root+"/.kopiaignore", "*")
	Write(t, root+"/back\\slash", "b")
	Write(t, root+"/ünïcödé/日本語/🎫", "u")
	Write(t, root+"/decomposed-u\u0308", "nfd")
	Write(t, root+"/decomposed-\u00fc", "nfc")
	Write(t, root+"/bad\xff\xfename", "invalid")
	Write(t, root+"/bad%FF%FEname", "collides with the escaped one")
	Write(t, root+"/latin1-\xe9/inside-\xe9", "in an invalid folder")
	Write(t, root+"/latin1-\xe9/valid", "v")
	Symlink(t, "to-\xff", root+"/link-\xe9")
	Write(t, root+"/"+strings.Repeat("x", 255), "long")
	Write(t, root+"/"+strings.Repeat("\xe9", 255), "long and invalid")
	Write(t, root+"/"+strings.Repeat("\xe9", 254)+"f", "long and invalid too")
	deep := root + "/deep"
	for range 60 {
		deep += "/" + strings.Repeat("d", 50)
	}
	Write(t, deep+"/bottom", "deep") // a path of over 3,000 bytes
	big := strings.Repeat("0123456789abcdef", 200_000)
	Write(t, root+"/big.bin", big)
	Write(t, root+"/zeros.bin", strings.Repeat("\x00", 100_000)) // zeros, but no holes
	sparseFile(t, root+"/sparse.img", 64<<20)
	Symlink(t, "plain.txt", root+"/link")
	Symlink(t, "../../../../etc/passwd", root+"/link-out")
	Symlink(t, "/etc", root+"/link-etc")
	Symlink(t, "nowhere", root+"/link-dangling")
	Symlink(t, "link-loop", root+"/link-loop")
	Write(t, root+"/hard/one", "hard")
	OK(t, os.Link(root+"/hard/one", root+"/hard/two"))
	Mkdir(t, root+"/another")
	OK(t, os.Link(root+"/hard/one", root+"/another/three"))
	OK(t, os.Link(root+"/sparse.img", root+"/another/sparse-too"))
	OK(t, os.Link(root+"/bad\xff\xfename", root+"/another/bad\xfflink"))
	OK(t, os.Chmod(Write(t, root+"/readonly", "r"), 0o444))
	OK(t, os.Chmod(Write(t, root+"/secret", "s"), 0o600))
	OK(t, os.Chmod(Write(t, root+"/suid", "s"), 0o755|fs.ModeSetuid))
	OK(t, os.Chmod(Write(t, root+"/sgid", "s"), 0o755|fs.ModeSetgid))
	OK(t, os.Chmod(Mkdir(t, root+"/sticky"), 0o777|fs.ModeSticky))
	OK(t, os.Chmod(Mkdir(t, root+"/sgid folder"), 0o775|fs.ModeSetgid))
	for _, x := range []struct{ path, name, value string }{
		{"/plain.txt", "user.origin", "somewhere\x00else"},
		{"/plain.txt", "user.empty", ""},
		{"/sticky", "user.folder", "yes"},
		{"/hard/one", "user.hard", "yes"},
		{"/bad\xff\xfename", "user.invalid", "yes"},
	} {
		if err := unix.Setxattr(root+x.path, x.name, []byte(x.value), 0); err != nil && err != unix.ENOTSUP {
			t.Fatal(err)
		}
	}
	// An ACL: user::rw-, user:33:rw-, group::r--, mask::rw-, other::---
	acl := "\x02\x00\x00\x00" +
		"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\x21\x00\x00\x00" + "\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"
	Write(t, root+"/acl/inherits-later", "i")
	Write(t, root+"/with-acl", "a")
	if err := unix.Setxattr(root+"/with-acl", "system.posix_acl_access", []byte(acl), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	// A default ACL, which what is made in the folder must not inherit on restore.
	if err := unix.Setxattr(root+"/acl", "system.posix_acl_default", []byte(acl), 0); err != nil && err != unix.ENOTSUP {
		t.Fatal(err)
	}
	Mkdir(t, root+"/acl/made-after")
	if IsRoot() {
		OK(t, os.Lchown(root+"/plain.txt", 54321, 12345))
		OK(t, os.Lchown(root+"/link", 54321, 12345))
		OK(t, os.Lchown(root+"/sticky", 33, 4294967294))
		OK(t, os.Lchown(root+"/suid", 54321, 12345)) // chown takes setuid away
		OK(t, os.Chmod(root+"/suid", 0o755|fs.ModeSetuid))
		OK(t, os.Lchown(root+"/readonly", 33, 33))
		// cap_net_bind_service=ep, which chown would take away as well
		OK(t, os.Lchown(Write(t, root+"/capable", "c"), 33, 33))
		cap := "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
		if err := unix.Setxattr(root+"/capable", "security.capability", []byte(cap), 0); err != nil && err != unix.ENOTSUP && err != unix.EPERM {
			t.Fatal(err)
		}
	}
	Write(t, root+"/closed/inside", "c")
	OK(t, os.Chmod(root+"/closed", 0o555))
	t.Cleanup(func() {
		if err := os.Chmod(root+"/closed", 0o755); err != nil && !os.IsNotExist(err) {
			t.Error(err)
		}
	})
	// Last, because everything above changes folders' times.
	SetTime(t, root+"/plain.txt", time.Unix(1, 1))
	SetTime(t, root+"/empty", time.Unix(-86400*365*10, 5)) // 1960
	SetTime(t, root+"/secret", time.Date(2100, 2, 3, 4, 5, 6, 789, time.UTC))
	SetTime(t, root+"/link-dangling", time.Unix(1_000_000_000, 123456789))
	SetTime(t, root+"/empty folder/inner", time.Unix(1_111_111_111, 1))
	SetTime(t, root+"/closed", time.Unix(1_222_222_222, 2))
	SetTime(t, root+"/hard", time.Unix(1_333_333_333, 3))
	SetTime(t, root+"/another", time.Unix(1_333_333_333, 4))
	SetTime(t, root, time.Unix(1_444_444_444, 4))
}

// Paths returns the paths of what was stored, sorted.
func Paths(all map[string]core.Entry) []string { return slices.Sorted(maps.Keys(all)) }

// Codes returns the code and the object of each warning.
func Codes(warnings []core.Warning) []string {
	var c []string
	for _, w := range warnings {
		c = append(c, w.Code+" "+w.Object)
	}
	return c
}

// OpenFiles returns how many files this process has open.
func OpenFiles(t *testing.T) int {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	OK(t, err)
	return len(names)
}
