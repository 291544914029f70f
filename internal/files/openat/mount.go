package openat

import "golang.org/x/sys/unix"

// Mount tells apart where a rename can go: one file system, and one mount of it.
// Numbers do not outlive a reboot.
type Mount struct{ dev, id uint64 }

// MountOf returns where an open folder lies.
func MountOf(fd int) (Mount, error) {
	m, _, err := lookMount(fd, "")
	return m, err
}

// IsMounted says whether what has a name in an open folder lies elsewhere than the folder.
func IsMounted(dir int, name string, on Mount) (bool, error) {
	m, kind, err := lookMount(dir, name)
	if kind != unix.S_IFDIR && m.id != 0 {
		m.dev = on.dev // overlayfs numbers files by the layer that they are in
	}
	return err == nil && m != on, err
}

func lookMount(dir int, name string) (Mount, uint32, error) {
	var st unix.Statx_t
	err := Retry(func() error {
		return unix.Statx(dir, name, unix.AT_EMPTY_PATH|unix.AT_SYMLINK_NOFOLLOW|unix.AT_NO_AUTOMOUNT, unix.STATX_BASIC_STATS|unix.STATX_MNT_ID, &st)
	})
	if err != nil {
		return Mount{}, 0, err
	}
	m := Mount{dev: unix.Mkdev(st.Dev_major, st.Dev_minor)}
	if st.Mask&unix.STATX_MNT_ID != 0 { // since Linux 5.8
		m.id = st.Mnt_id
	}
	return m, uint32(st.Mode) & unix.S_IFMT, nil
}
