package compare

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
)

// shown returns where a folder that no link led to really lies.
func (f *Folder) shown() string { return f.Parent.Shown + "/" + filepath.Base(f.Rel) }

// show names a path in a folder by where it really lies.
func (f *Folder) show(real string) string { return f.Shown + strings.TrimPrefix(real, f.Real) }

// lead looks where a target, or a link that is followed, leads to: root restores what it finds
// there, and who owns the folder above can put a link to any folder into the way. A folder that has
// the owner which the backup has is theirs to fill; another one is for somebody to decide.
func (c *Result) lead(f *Folder, dir int, name string, made bool) error {
	real, err := os.Readlink(openat.Path(f.fd))
	if err != nil {
		return files.Failed("look where it leads:", f.Real, err)
	}
	f.Shown = strings.TrimSuffix(real, "/")
	if !c.AsRoot {
		return nil // whose own rights are all that can be misused
	}
	st, err := openat.Fstat(f.fd)
	if err != nil {
		return files.Failed("stat", f.Real, err)
	}
	link, err := openat.Lstat(dir, name)
	if err != nil {
		return files.Failed("stat", f.Real, err)
	}
	led := f.Followed || f.Shown != f.Real
	owner, _ := c.Owners.IDs(f.Entry)
	root := owner // of the app
	if f.Followed {
		top := f
		for top.Parent != nil {
			top = top.Parent
		}
		root = top.Stat.Uid
	}
	fine := false
	switch {
	case made:
		fine = !led && st.Uid == 0
	case !led:
		fine, err = c.placed(f, &st, owner)
	case st.Uid == 0:
		// Nobody else can have made a link that is root's.
		fine = owner == 0 && root == 0 && (openat.Kind(&link) != unix.S_IFLNK || link.Uid == 0)
	default:
		fine = st.Uid == owner || st.Uid == root
	}
	if err != nil || fine {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Decisions = append(c.Decisions, core.Warning{Code: MovedTarget, Object: files.Quote(f.Real), Message: fmt.Sprintf(
		"it leads to %s, which belongs to %s and not to %s as in the backup: who owns the link, or a folder above, may have put it there; agreed to, everything is restored into that folder, owners and modes too",
		files.Quote(f.Shown+"/"), userName(st.Uid), userName(owner))})
	return nil
}

// giveAway asks before a folder of root's that others may not look into is given to somebody else who may have
// renamed it: the owner of the folder that it is in.
func (c *Result) giveAway(f *Folder, owner uint32) {
	in := f.Parent
	if !c.AsRoot || in == nil || f.Followed || f.Stat.Uid != 0 || owner == 0 || f.Stat.Mode&0o005 != 0 || in.Stat.Uid == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Decisions = append(c.Decisions, core.Warning{Code: MovedTarget, Object: files.Quote(f.show(f.Real)), Message: fmt.Sprintf(
		"it is a folder of root's here that others may not look into, and belongs to %s in the backup: who owns the folder above may have renamed another one to this name; agreed to, it is filled and gets the owner and mode that the backup has", userName(owner))})
}

func userName(uid uint32) string {
	if uid == 0 {
		return "root"
	}
	return fmt.Sprintf("user %d", uid)
}

// placed says whether a target that no link led to may be filled: root's own folder in the place
// of somebody else's only where nobody but root can have put it.
func (c *Result) placed(f *Folder, st *unix.Stat_t, owner uint32) (fine bool, err error) {
	if st.Uid != 0 || owner == 0 {
		return true, nil
	}
	above, err := openat.DirThroughLinks(f.fd, "..")
	if err != nil {
		return false, files.Failed("open folder above", f.Real, err)
	}
	defer func() { err = errors.Join(err, unix.Close(above)) }()
	up, err := openat.Fstat(above)
	if err != nil {
		return false, files.Failed("stat folder above", f.Real, err)
	}
	return RootsAlone(&up), nil
}

// RootsAlone says whether only root can put something else into the place of what is in a folder
// and belongs to root.
func RootsAlone(st *unix.Stat_t) bool {
	return st.Uid == 0 && (st.Mode&0o022 == 0 || st.Mode&unix.S_ISVTX != 0)
}
