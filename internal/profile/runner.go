package profile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// runner is the user who runs a step, by numbers. It is decided once for a run:
// what the web server's user can rename or replace between the decision and the
// run makes no difference to who runs.
type runner struct {
	uid uint32
	gid uint32 // where the system does not know the user
	dir string // the step's Dir without links
}

// runner decides who runs a step that has As. The application's code runs with
// root's rights only when nobody else can write it: otherwise whoever can write
// it would be root. A link below the step's folder is refused, since its
// maker chooses whose file it leads to.
func (s PostStep) runner() (runner, error) {
	dir, links, err := s.folder()
	if err != nil {
		return runner{}, err
	}
	path, info, err := s.ownerPath(dir)
	if err != nil {
		return runner{}, err
	}
	uid, gid, err := ownerOf(path, info)
	if err != nil {
		return runner{}, err
	}
	if uid == 0 {
		why := trusted(links, 0)
		if why == nil {
			why = s.rootsAlone(dir, path)
		}
		if why == nil {
			return runner{dir: dir}, nil
		}
		if r, err := s.appOwner(); err == nil {
			return r, nil
		}
		return runner{}, fmt.Errorf("it would run as root, and %w", why)
	}
	return runner{uid: uid, gid: gid, dir: dir}, trusted(links, uid)
}

// appOwner is the owner of the application's folder, where that is not root.
func (s PostStep) appOwner() (runner, error) {
	dir, links, err := s.folder()
	if err != nil {
		return runner{}, err
	}
	if dir == "" {
		return runner{}, errors.New("the application has no folder")
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return runner{}, err
	}
	uid, gid, err := ownerOf(dir, info)
	if err == nil && uid == 0 {
		err = fmt.Errorf("%s belongs to root", dir)
	}
	if err == nil {
		err = trusted(links, uid)
	}
	return runner{uid: uid, gid: gid, dir: dir}, err
}

// folder is Dir without links, and the links that led to it.
func (s PostStep) folder() (string, []ownedLink, error) {
	if s.Dir == "" {
		return "", nil, nil
	}
	return follow(s.Dir)
}

// ownerPath is As without links, where dir is the step's folder.
func (s PostStep) ownerPath(dir string) (string, fs.FileInfo, error) {
	path, elements := "", []string{filepath.Base(s.As)}
	if rel, err := filepath.Rel(s.Dir, s.As); dir != "" && err == nil && filepath.IsLocal(rel) {
		path, elements = dir, strings.Split(rel, "/")
	} else if path, _, err = follow(filepath.Dir(s.As)); err != nil {
		return "", nil, notThere(s.As, err)
	}
	var info fs.FileInfo
	for _, e := range elements {
		path = filepath.Join(path, e)
		var err error
		if info, err = os.Lstat(path); err != nil {
			return "", nil, notThere(s.As, err)
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			return "", nil, fmt.Errorf("%s is a link, and whoever made it would choose the user who runs it", path)
		}
	}
	return path, info, nil
}

func notThere(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s is not there, whose owner would run it", path)
	}
	return err
}

// rootsAlone returns an error that names what of the step's code, or of the
// folders above it, others than root can write.
func (s PostStep) rootsAlone(dir, path string) error {
	for _, p := range []string{path, dir} {
		for above := false; p != "" && p != "."; above = true {
			info, err := os.Lstat(p)
			if err == nil {
				err = rootsOwn(p, info, above)
			}
			if err != nil {
				return err
			}
			if p == "/" {
				break
			}
			p = filepath.Dir(p)
		}
	}
	if dir == "" {
		return nil
	}
	isData := func(path string) bool {
		return slices.ContainsFunc(s.Data, func(data string) bool { return within(filepath.Join(dir, data), path) })
	}
	return filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case isData(p) && d.IsDir():
			return fs.SkipDir
		case isData(p):
			return nil
		case d.Type()&fs.ModeSymlink != 0: // in a folder of root's, so nobody else can turn it
			if target, err := filepath.EvalSymlinks(p); err != nil || !within(dir, target) || isData(target) {
				return fmt.Errorf("%s leads out of what is looked at", p)
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return rootsOwn(p, info, false)
	})
}

// rootsOwn says what lets others than root change path. In a folder above it
// that is sticky, as /tmp, they cannot replace what is root's.
func rootsOwn(path string, info fs.FileInfo, above bool) error {
	uid, _, err := ownerOf(path, info)
	switch {
	case err != nil:
		return err
	case uid != 0:
		return fmt.Errorf("%s belongs to %s", path, userName(uid))
	case info.Mode().Perm()&0o022 != 0 && (!above || info.Mode()&fs.ModeSticky == 0):
		return fmt.Errorf("%s can be written by others (mode %04o)", path, info.Mode().Perm())
	}
	return nil
}

func within(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

func ownerOf(path string, info fs.FileInfo) (uid, gid uint32, err error) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, 0, fmt.Errorf("the owner of %s is not known on this system", path)
	}
	return stat.Uid, stat.Gid, nil
}

// ownedLink is a link on the way to a folder.
type ownedLink struct {
	path string
	uid  uint32
}

// trusted returns an error when one of links was made by somebody else than
// root and the user it would choose.
func trusted(links []ownedLink, uid uint32) error {
	for _, l := range links {
		if l.uid != 0 && l.uid != uid {
			return fmt.Errorf("%s is a link that %s made, and what it leads to belongs to %s", l.path, userName(l.uid), userName(uid))
		}
	}
	return nil
}

// maxLinks is how many links may lie on the way to a folder, as on Linux.
const maxLinks = 40

// follow returns path without links, and those that it led through.
func follow(path string) (string, []ownedLink, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", nil, err
	}
	var links []ownedLink
	for range maxLinks {
		link, err := firstLink(path)
		if err != nil || link.path == "" {
			return path, links, err
		}
		links = append(links, link)
		target, err := os.Readlink(link.path)
		if err != nil {
			return "", nil, err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link.path), target)
		}
		path = filepath.Join(target, path[len(link.path):])
	}
	return "", nil, fmt.Errorf("%s leads through more than %d links", path, maxLinks)
}

// firstLink is the first link on the way to path, with path "" when there is
// none.
func firstLink(path string) (ownedLink, error) {
	for end := 1; end <= len(path); end++ {
		if end < len(path) && path[end] != '/' {
			continue
		}
		info, err := os.Lstat(path[:end])
		if err != nil {
			return ownedLink{}, err
		}
		if info.Mode()&fs.ModeSymlink != 0 {
			uid, _, err := ownerOf(path[:end], info)
			return ownedLink{path: path[:end], uid: uid}, err
		}
	}
	return ownedLink{}, nil
}

// attributes start a command as this user.
func (r runner) attributes() (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if r.own() {
		return attr, nil
	}
	attr.Credential = &syscall.Credential{Uid: r.uid, Gid: r.gid}
	found, err := user.LookupId(strconv.Itoa(int(r.uid)))
	if err != nil { // a number without a name, whose files may be of root's group
		if r.gid == 0 {
			attr.Credential.Gid = nobody
		}
		return attr, nil
	}
	if gid, err := strconv.ParseUint(found.Gid, 10, 32); err == nil {
		attr.Credential.Gid = uint32(gid)
	}
	ids, err := found.GroupIds()
	if err != nil {
		return nil, fmt.Errorf("learn the groups of %s: %w", found.Username, err)
	}
	for _, id := range ids {
		if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
			attr.Credential.Groups = append(attr.Credential.Groups, uint32(gid))
		}
	}
	return attr, nil
}

// nobody is the group of those who have none.
const nobody = 65534

func (r runner) own() bool { return int(r.uid) == os.Geteuid() }

// line is command as the user of this process types it, so that r runs it.
func (r runner) line(command string) string {
	if r.own() {
		return command
	}
	id := strconv.Itoa(int(r.uid))
	found, err := user.LookupId(id)
	switch {
	case err != nil:
		return "sudo -u " + ShellQuote("#"+id) + " " + command
	case os.Geteuid() == 0:
		return "runuser -u " + ShellQuote(found.Username) + " -- " + command
	default:
		return "sudo -u " + ShellQuote(found.Username) + " " + command
	}
}

// somebody stands in a line to type for the user to put in. No user has such a
// name, so the line as it is does nothing.
const somebody = "WEB-SERVER-USER"

// lineForSomebody is command for a user whom the person who types it knows.
func lineForSomebody(command string) string {
	who := "sudo -u " + somebody + " "
	if os.Geteuid() == 0 {
		who = "runuser -u " + somebody + " -- "
	}
	return who + command + " # put in the user of the web server, not root: others may be able to write what this runs"
}

func userName(uid uint32) string {
	id := strconv.Itoa(int(uid))
	if found, err := user.LookupId(id); err == nil {
		return found.Username
	}
	return "user " + id
}
