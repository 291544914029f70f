package restore

import (
	"fmt"
	"io/fs"
	"sort"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

// setAttributes sets owner, extended attributes and mode of an open file or
// folder, in the order in which none undoes another: chown takes setuid and
// capabilities away, and a mode may forbid to set attributes.
//
// bare says that it is new and has inherited no extended attributes. What is
// returned is what it was before.
func (o *restore) setAttributes(fd int, e core.Entry, x files.Extra, real string, bare bool) (unix.Stat_t, error) {
	st, err := openat.Fstat(fd)
	if err != nil {
		return st, writeFailed("stat", real, err)
	}
	mode, err := o.setOwner(&st, e, real, func(uid, gid int) error { return unix.Fchown(fd, uid, gid) })
	if err != nil {
		return st, err
	}
	if !bare || len(x.Xattrs) > 0 {
		xattr.Write(fd, x.Xattrs, func(name string, err error) {
			if name == "" {
				o.warn("xattr", real, "its extended attributes could not be set: "+openat.Reason(err))
				return
			}
			o.warn("xattr", real, fmt.Sprintf("its extended attribute %q could not be set: %s", name, openat.Reason(err)))
		})
	}
	err = unix.Fchmod(fd, files.UnixMode(mode))
	if openat.IsErrno(err, unix.EPERM) {
		o.warn("mode", real, fmt.Sprintf("its mode could not be set to %#o, because it belongs to another user", files.UnixMode(mode)))
		return st, nil
	}
	if err != nil {
		return st, writeFailed("change mode of", real, err)
	}
	if mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
		// chmod(2): without CAP_FSETID the bit of a group that is not ours is
		// left out, and no error says so.
		now, err := openat.Fstat(fd)
		if err != nil {
			return st, writeFailed("stat", real, err)
		}
		if got, want := now.Mode&0o7777, files.UnixMode(mode); got != want {
			o.warn("mode", real, fmt.Sprintf("its mode could not be set to %#o: the system made it %#o, as this process lacks CAP_FSETID", want, got))
		}
	}
	return st, nil
}

// setOwner changes the owner if need be and returns the mode to set: without
// setuid or setgid when these would speak for somebody else than they did.
func (o *restore) setOwner(st *unix.Stat_t, e core.Entry, real string, chown func(uid, gid int) error) (fs.FileMode, error) {
	uid, gid := o.owners.IDs(e)
	mode := e.Mode
	if st.Uid == uid && st.Gid == gid {
		return mode, nil
	}
	err := chown(int(uid), int(gid))
	if err == nil {
		return mode, nil
	}
	if !openat.IsErrno(err, unix.EPERM, unix.EINVAL) { // EINVAL: an id that this user namespace does not have
		return mode, writeFailed("change owner of", real, err)
	}
	if st.Uid != uid {
		mode &^= fs.ModeSetuid
	}
	if st.Gid != gid {
		// Members of a group may give it without being root.
		if err := chown(-1, int(gid)); err != nil {
			mode &^= fs.ModeSetgid
		} else if st.Uid == uid {
			return mode, nil
		}
	}
	if o.opt.Denied != nil {
		d := Denied{Path: real, UID: uid, GID: gid}
		if e.Mode&(fs.ModeSetuid|fs.ModeSetgid) != 0 {
			d.Mode = files.UnixMode(e.Mode)
		}
		o.opt.Denied(d)
		return mode, nil
	}
	o.mu.Lock()
	o.denied[[2]uint32{uid, gid}]++
	if o.deniedAt == "" || real < o.deniedAt {
		o.deniedAt = real
	}
	o.mu.Unlock()
	return mode, nil
}

// ownerWarning says in one warning that owners could not be set, and how to.
func (o *restore) ownerWarning() (core.Warning, bool) {
	if len(o.denied) == 0 {
		return core.Warning{}, false
	}
	total := 0
	var owners []string
	for ids, n := range o.denied {
		total += n
		owners = append(owners, fmt.Sprintf("%d:%d", ids[0], ids[1]))
	}
	sort.Strings(owners)
	message := fmt.Sprintf("the owner of %d files, links and folders could not be set, because only root may, the first being %s; ", total, files.Quote(o.deniedAt))
	var targets []string
	for _, t := range o.opt.Targets {
		targets = append(targets, files.ShellQuote(t))
	}
	sort.Strings(targets)
	if all := o.result.Files + o.result.Dirs + o.result.Symlinks; len(owners) == 1 && len(targets) == 1 && o.selection.All() && targets[0] != "/" && int64(total) >= all {
		message += fmt.Sprintf("as root, run: chown -hR %s %s", owners[0], targets[0])
	} else {
		if len(owners) > 10 {
			owners = append(owners[:10], "…")
		}
		message += fmt.Sprintf("restore again as root, or run as root, for each path: chown -h OWNER PATH, where OWNER is one of %s", strings.Join(owners, ", "))
	}
	return core.Warning{Code: "owner", Message: message}, true
}

func timespec(e core.Entry) unix.Timespec {
	return unix.Timespec{Sec: e.ModTime.Unix(), Nsec: int64(e.ModTime.Nanosecond())}
}

// writeFailed says what could not be written, and what to do about it.
func writeFailed(op, real string, err error) error {
	e := &core.Error{Code: core.CodeFailed, Op: op + " " + files.Quote(real), Err: err}
	switch {
	case openat.IsErrno(err, unix.ENOSPC, unix.EDQUOT):
		e.Code, e.Hint = core.CodeDisk, "free space on the file system of "+files.Quote(real)+" and restore again; files that were not restored yet are as they were"
	case openat.IsErrno(err, unix.EROFS):
		e.Code, e.Hint = core.CodeDisk, "the file system is mounted read-only; mount it writable, or restore elsewhere with --to-dir"
	case openat.IsErrno(err, unix.EIO):
		e.Code, e.Hint = core.CodeDisk, "the disk reports errors; restore to another one with --to-dir"
	case openat.IsErrno(err, unix.EACCES, unix.EPERM):
		e.Hint = "restore as root or as a user who may write there, or elsewhere with --to-dir"
	case openat.IsErrno(err, unix.ENAMETOOLONG):
		e.Hint = "the target's file system takes only shorter names; restore elsewhere with --to-dir"
	default:
		return fmt.Errorf("%s %s: %w", op, files.Quote(real), err)
	}
	return e
}
