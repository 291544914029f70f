package assemble_test

import (
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files/assemble"
	"github.com/backstay/backstay/internal/files/treetest"
)

// TestLikeLive: what has no owner gets that of what lies there.
func TestLikeLive(t *testing.T) {
	root := t.TempDir() + "/app"
	outside := t.TempDir()
	web, other := uint32(os.Geteuid()), uint32(os.Getegid())
	own := func(path string, mode fs.FileMode) {
		t.Helper()
		treetest.OK(t, os.Chmod(root+"/"+path, mode))
	}
	treetest.Mkdir(t, root+"/uploads/clients/7")
	treetest.Write(t, root+"/conf/app.php", "x")
	treetest.Write(t, root+"/uploads/suid", "x")
	treetest.Mkdir(t, root+"/uploads/sticky")
	treetest.Write(t, outside+"/secret/file", "x")
	treetest.Symlink(t, outside+"/secret", root+"/uploads/out")
	treetest.Symlink(t, outside+"/secret/file", root+"/uploads/file-out")
	treetest.Symlink(t, outside+"/secret", root+"/uploads/wanted")
	treetest.OK(t, os.Chmod(outside+"/secret", 0o711))
	treetest.OK(t, os.Chmod(outside+"/secret/file", 0o604))
	own("conf", 0o750)
	own("conf/app.php", 0o440)
	own("uploads", 0o2770&0o777|fs.ModeSetgid)
	own("uploads/clients", 0o700)
	own("uploads/clients/7", 0o755)
	own("uploads/suid", 0o755|fs.ModeSetuid|fs.ModeSetgid)
	own("uploads/sticky", 0o777|fs.ModeSticky)
	own("", 0o755)
	if treetest.IsRoot() {
		web, other = 54321, 12345
		for _, path := range []string{"/uploads", "/uploads/clients", "/uploads/suid", "/conf/app.php"} {
			treetest.OK(t, os.Lchown(root+path, int(web), int(other)))
		}
		own("uploads", 0o770|fs.ModeSetgid)
		own("uploads/suid", 0o755|fs.ModeSetuid|fs.ModeSetgid) // chown takes them away
		own("conf/app.php", 0o440)
		for _, path := range []string{"/secret", "/secret/file"} {
			treetest.OK(t, os.Lchown(outside+path, 33, 33))
		}
	}
	me := fmt.Sprintf("%d:%d", os.Geteuid(), os.Getegid())
	theirs := fmt.Sprintf("%d:%d", web, other)
	linked := me
	if treetest.IsRoot() {
		linked = "33:33"
	}
	l, err := assemble.LikeLive(root, []core.FileSet{{Include: []core.Path{{Path: "."}, {Path: "uploads/wanted", Follow: true}}}})
	treetest.OK(t, err)
	open := treetest.OpenFiles(t)
	for _, c := range []struct {
		path string
		kind core.EntryType
		want string
	}{
		{"", core.TypeDir, "-rwxr-xr-x " + me},
		{"index.php", core.TypeFile, "-rw-r--r-- " + me},
		{"conf/app.php", core.TypeFile, "-r--r----- " + theirs},
		{"conf/app.php", core.TypeDir, "-rwxr-x--- " + me}, // a file lies there
		{"conf/new.php", core.TypeFile, "-rw-r--r-- " + me},
		{"conf", core.TypeDir, "-rwxr-x--- " + me},
		{"conf", core.TypeFile, "-rw-r--r-- " + me}, // a folder lies there
		{"uploads", core.TypeDir, "grwxrwx--- " + theirs},
		{"uploads/clients", core.TypeDir, "-rwx------ " + theirs},
		{"uploads/clients/7", core.TypeDir, "-rwxr-xr-x " + me},
		{"uploads/clients/8/9", core.TypeDir, "-rwx------ " + theirs},
		{"uploads/clients/8/9/a.pdf", core.TypeFile, "-rw-r--r-- " + theirs},
		{"uploads/users/1/a.pdf", core.TypeFile, "-rw-r--r-- " + theirs},
		{"uploads/suid", core.TypeFile, "-rwxr-xr-x " + theirs},
		{"uploads/sticky", core.TypeDir, "trwxrwxrwx " + me},
		{"uploads/sticky/new", core.TypeDir, "-rwxrwxrwx " + me},
		{"uploads/out/file", core.TypeFile, "-rw-r--r-- " + theirs},
		{"uploads/out", core.TypeDir, "grwxrwx--- " + theirs},
		{"uploads/file-out", core.TypeFile, "-rw-r--r-- " + theirs},
		{"uploads/file-out", core.TypeSymlink, "-rwxrwxrwx " + me},
		{"uploads/wanted/file", core.TypeFile, "-rw----r-- " + linked},
		{"uploads/wanted/new", core.TypeDir, "-rwx--x--x " + linked},
		{"uploads/../../etc/shadow", core.TypeFile, "-rw-r--r-- " + theirs},
		{"../x", core.TypeFile, "-rw-r--r-- " + me},
	} {
		a := l.Attributes(c.path, c.kind)
		if diff := cmp.Diff(c.want, fmt.Sprintf("%v %d:%d", a.Mode, a.UID, a.GID)); diff != "" {
			t.Errorf("%s as %s: %s", c.path, c.kind, diff)
		}
	}
	deep := strings.TrimSuffix(strings.Repeat("d/", 300), "/")
	treetest.Mkdir(t, root+"/"+deep)
	if got := l.Attributes(deep+"/f", core.TypeFile); got.Mode != 0o644 {
		t.Errorf("deep: %+v", got)
	}
	l.Close()
	if now := treetest.OpenFiles(t); now != open-1 {
		t.Errorf("%d files are open", now)
	}
}

// TestLikeNobody: without a live application everything is this user's.
func TestLikeNobody(t *testing.T) {
	for _, root := range []string{"", t.TempDir() + "/missing", treetest.Write(t, t.TempDir()+"/file", "x")} {
		l, err := assemble.LikeLive(root, nil)
		treetest.OK(t, err)
		for kind, mode := range map[core.EntryType]fs.FileMode{core.TypeDir: 0o755, core.TypeFile: 0o644, core.TypeSymlink: 0o777} {
			if a := l.Attributes("a/b", kind); a.Mode != mode || int(a.UID) != os.Geteuid() || int(a.GID) != os.Getegid() {
				t.Errorf("%q, %s: %+v", root, kind, a)
			}
		}
		l.Close()
	}
}
