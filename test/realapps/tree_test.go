package realapps

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// treeState describes every path below root: type, mode, owner, group,
// modification time and content. Of folders the time is left out: it is that
// of their last entry, also of one that no backup takes.
func treeState(t *testing.T, root string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		info, err := os.Lstat(path)
		if err != nil {
			return err
		}
		owner := info.Sys().(*syscall.Stat_t)
		text := fmt.Sprintf("%s %d:%d", info.Mode(), owner.Uid, owner.Gid)
		if !d.IsDir() {
			text += " " + info.ModTime().UTC().Format(time.RFC3339Nano)
		}
		switch info.Mode().Type() {
		case 0:
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %x", sha256.Sum256(data))
		case fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " → " + target
		}
		rel, err := filepath.Rel(root, path)
		out[rel] = text
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// makeOdd gives the files below root modes, times and, for root, owners that no
// restore produces by chance, in the order of their paths. Folders stay
// readable for an ordinary user.
func makeOdd(t *testing.T, root string) {
	t.Helper()
	fileModes := []fs.FileMode{0o440, 0o600, 0o644, 0o664, 0o755 | fs.ModeSetgid, 0o400, 0o751}
	dirModes := []fs.FileMode{0o755, 0o775 | fs.ModeSetgid, 0o700, 0o777 | fs.ModeSticky, 0o710}
	owners := [][2]int{{33, 33}, {0, 33}, {12345, 54321}, {65534, 0}}
	n := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == root {
			return err
		}
		n++
		if os.Geteuid() == 0 {
			// Before the mode: a change of owner takes setgid away.
			if err := os.Lchown(path, owners[n%len(owners)][0], owners[n%len(owners)][1]); err != nil {
				return err
			}
		}
		if d.Type()&fs.ModeSymlink != 0 {
			return nil
		}
		mode := fileModes[n%len(fileModes)]
		if d.IsDir() {
			mode = dirModes[n%len(dirModes)]
		}
		if err := os.Chmod(path, mode); err != nil {
			return err
		}
		at := time.Date(2019, 2, 3, 4, 5, n%60, 123456000+n, time.UTC)
		return os.Chtimes(path, at, at)
	})
	if err != nil {
		t.Fatal(err)
	}
}
