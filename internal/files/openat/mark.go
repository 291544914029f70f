package openat

import "golang.org/x/sys/unix"

// Mark tells a file or folder from all others that its file system has, or had before: inode
// numbers are given again at once, the time at which an inode was made is set by the kernel
// alone. Unlike an ID it outlives a restart. The zero Mark is one that is not known.
type Mark struct {
	Inode uint64 `json:"inode,omitempty"`
	Birth int64  `json:"birth,omitempty"` // nanoseconds; 0 where the file system does not say
}

// MarkOf looks at a name in an open folder; "" is the folder itself.
func MarkOf(dir int, name string) (Mark, error) {
	m, _, err := StatMark(dir, name)
	return m, err
}

// StatMark is MarkOf, with what else was seen in the same look.
func StatMark(dir int, name string) (Mark, unix.Statx_t, error) {
	var st unix.Statx_t
	err := Retry(func() error {
		return unix.Statx(dir, name, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_BTIME, &st)
	})
	if err != nil {
		return Mark{}, st, err
	}
	m := Mark{Inode: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 && !layered(dir) {
		m.Birth = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return m, st, nil
}

// layered says whether a folder is on overlayfs, where what is changed for the first time is
// copied, and made anew by that.
func layered(fd int) bool {
	var st unix.Statfs_t
	return Retry(func() error { return unix.Fstatfs(fd, &st) }) == nil && st.Type == unix.OVERLAYFS_SUPER_MAGIC
}

// Known says whether it is a mark of something.
func (m Mark) Known() bool { return m.Inode != 0 }

// Is says whether both are marks of the same, as far as the file system tells.
func (m Mark) Is(other Mark) bool {
	return m.Inode == other.Inode && (m.Birth == 0 || other.Birth == 0 || m.Birth == other.Birth)
}
