package rights

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/files/compare"
	"github.com/backstay/backstay/internal/files/restore"
)

// OwnerCommands returns lines for a shell, to be run by root in this order, that
// set the owners and modes which a restore into the folders could not set: one
// for a whole folder where all in it, as it is there now, is to have the same
// owner.
func OwnerCommands(folders []string, denied []restore.Denied) ([]string, error) {
	if len(denied) == 0 {
		return nil, nil
	}
	tree := NewTree(true)
	for _, folder := range folders {
		if folder == "/" || slices.ContainsFunc(folders, func(other string) bool { return other != folder && inside(folder, other) }) {
			continue // too much to look through, or looked through with the other
		}
		err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrPermission) && e != nil && e.IsDir() {
				return fs.SkipDir
			}
			if err != nil {
				return err
			}
			var st unix.Stat_t
			if err := unix.Lstat(path, &st); err != nil {
				return &fs.PathError{Op: "lstat", Path: path, Err: err}
			}
			tree.See(path, &st)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	all := make([]compare.Denied, len(denied))
	for i, d := range denied {
		all[i] = compare.Denied{Denied: d}
	}
	return tree.Commands(all), nil
}

func inside(path, folder string) bool {
	return len(path) > len(folder) && path[:len(folder)] == folder && path[len(folder)] == '/'
}
