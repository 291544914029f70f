package exchange

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/compare"
	"github.com/backstay/backstay/internal/files/openat"
	"github.com/backstay/backstay/internal/files/xattr"
)

// What lies in a staging folder beside the slots. A web server that can see
// the folder must not hand out what is in it.
const (
	htaccessName = ".htaccess"
	htaccess     = "Require all denied\n"
	readmeName   = "README"
	readme       = `backstay keeps here what a restore puts into place, and what it replaced.
Do not move or change anything: see "backstay undo --help". To free the space, use "backstay undo APP --drop".
`
)

// staging is a staging folder while it is filled.
type staging struct {
	path    string
	mount   openat.Mount
	in      unix.Stat_t // the folder that it is in
	mark    openat.Mark
	fd      int
	changes []*compare.Change
}

// builder is the state of one Build.
type builder struct {
	c       *compare.Result
	opt     Options
	file    string
	w       *lineWriter
	name    string
	stages  []*staging
	made    []string
	stageOf map[*compare.Folder]*staging // for what comes into a folder
	slots   map[*compare.Change]string
	h       hooks
}

// put writes lines that must be on disk before what they announce is done.
func (b *builder) announce(l line) error {
	err := b.w.put(l)
	if err == nil {
		err = b.w.sync()
	}
	return files.Failed("write", b.file, err)
}

// makeRoot makes a target folder and those above it.
func (b *builder) makeRoot(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	above := filepath.Dir(path)
	if err := b.makeRoot(above); err != nil {
		return err
	}
	if err := b.announce(line{Made: rawPath(path)}); err != nil {
		return err
	}
	b.made = append(b.made, path)
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return openat.SyncPath(above)
}

// stageFor returns the staging folder for what comes into a folder. It is beside the
// target where that can be, or in the target, or as high in a mounted folder as can be;
// where the target is "/", beside what the backup owns. It is never in the hands of somebody who
// is not trusted with the folder anyway.
func (b *builder) stageFor(f *compare.Folder) (*staging, error) {
	if s := b.stageOf[f]; s != nil {
		return s, nil
	}
	var way []*compare.Folder
	for at := f; at != nil; at = at.Parent {
		way = append(way, at)
	}
	slices.Reverse(way)
	if way[0].Real == "" {
		beside := 0
		for beside+1 < len(way) && !way[beside+1].Owned {
			beside++
		}
		above := slices.Clone(way[:beside])
		slices.Reverse(above)
		way = slices.Concat(way[beside:], above)
	}
	var denied error
	for _, at := range way {
		if at.Mount != f.Mount {
			continue
		}
		fd, err := at.Open()
		if err != nil {
			return nil, files.Failed("open folder", at.Real, err)
		}
		s, err := b.stageNear(fd, at, f)
		if cerr := unix.Close(fd); err == nil {
			err = cerr
		}
		if openat.IsErrno(err, unix.EACCES, unix.EPERM) {
			if denied == nil {
				denied = files.Failed("make a staging folder in", at.Real, err)
			}
			continue
		}
		if err != nil {
			return nil, err
		}
		if s != nil {
			b.stageOf[f] = s
			return s, nil
		}
	}
	if denied == nil {
		denied = &core.Error{
			Code: core.CodeFailed, Op: "make a staging folder for " + files.Quote(f.Real), Message: "its owner or mode changed meanwhile",
			Hint: "restore again; nothing was changed",
		}
	}
	return nil, denied
}

// trusted says whether what is to come into a folder may be staged in another one: nobody may be
// able to rename the staging folder who cannot do so with what is in the folder.
func trusted(in *unix.Stat_t, f *compare.Folder) bool {
	if in.Ino == f.Stat.Ino && in.Dev == f.Stat.Dev {
		return true
	}
	if compare.RootsAlone(&f.Stat) {
		return compare.RootsAlone(in)
	}
	return in.Uid == 0 || in.Uid == f.Stat.Uid || int(in.Uid) == os.Geteuid()
}

// stageNear makes a staging folder for a folder beside the root that is open, or else in the open
// folder: nil, where neither is trusted.
func (b *builder) stageNear(fd int, at, f *compare.Folder) (*staging, error) {
	if at.Parent == nil {
		above, err := openat.DirThroughLinks(fd, "..")
		if err == nil {
			m, merr := openat.MountOf(above)
			here, herr := openat.Fstat(above)
			var s *staging
			err = errors.Join(merr, herr)
			// The folder above "/" is "/".
			if err == nil && m == at.Mount && here.Ino != at.Stat.Ino {
				s, err = b.makeStage(above, m, f)
			}
			err = errors.Join(err, unix.Close(above))
			if s != nil && err == nil {
				return s, nil
			}
		}
		if err != nil && !openat.IsErrno(err, unix.EACCES, unix.EPERM) {
			return nil, err
		}
	}
	return b.makeStage(fd, at.Mount, f)
}

// makeStage makes a staging folder in an open folder, whose time stays what it was, or returns the one that is
// there: nil, where the folder is not trusted.
func (b *builder) makeStage(in int, on openat.Mount, f *compare.Folder) (s *staging, err error) {
	real, err := os.Readlink(openat.Path(in))
	if err != nil {
		return nil, err
	}
	path := filepath.Join(real, b.name)
	st, err := openat.Fstat(in)
	if err != nil {
		return nil, err
	}
	if !trusted(&st, f) {
		return nil, nil
	}
	for _, s := range b.stages {
		if s.mount == on && s.in.Ino == st.Ino && s.in.Dev == st.Dev {
			return s, nil
		}
	}
	if _, err := openat.Lstat(in, b.name); err == nil {
		return nil, &core.Error{
			Code: core.CodeLocked, Op: "make staging folder", Message: files.Quote(path) + " is there already: it belongs to another restore",
			Hint: "undo that with `backstay undo`, or free what it keeps with `backstay undo APP --drop`",
		}
	}
	if err := unix.Faccessat(in, ".", unix.W_OK|unix.X_OK, unix.AT_EACCESS); err != nil {
		return nil, err
	}
	if err := b.announce(line{Stage: rawPath(path)}); err != nil {
		return nil, err
	}
	if err := unix.Mkdirat(in, b.name, 0o700); err != nil {
		return nil, err
	}
	if err := b.h.at("staging folder made at " + path); err != nil {
		return nil, err
	}
	fd, err := openat.Dir(in, b.name)
	if err != nil {
		return nil, files.Failed("open folder", path, err)
	}
	s = &staging{path: path, mount: on, in: st, fd: fd}
	defer func() {
		if err != nil {
			err = errors.Join(files.Failed("make staging folder", path, err), unix.Close(fd))
			s = nil
		}
	}()
	if err := ownEmpty(fd, path); err != nil {
		return nil, err
	}
	if s.mark, err = openat.MarkOf(fd, ""); err != nil {
		return nil, err
	}
	// It is on disk before there is anything in the folder: what is not marked is not removed.
	if err := b.announce(line{StageIs: &stageLine{len(b.stages), s.mark}}); err != nil {
		return nil, err
	}
	// Nothing in it is to inherit a group or an access control list.
	if err := unix.Fchmod(fd, 0o700); err != nil {
		return nil, err
	}
	xattr.Write(fd, nil, func(string, error) {})
	for name, text := range map[string]string{htaccessName: htaccess, readmeName: readme} {
		w, err := openat.Open(fd, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(openat.WriteAt(w, []byte(text), 0), unix.Fsync(w), unix.Close(w)); err != nil {
			return nil, err
		}
	}
	if err := openat.Sync(fd); err != nil {
		return nil, err
	}
	if err := b.keepTime(in, &st); err != nil {
		return nil, err
	}
	b.stages = append(b.stages, s)
	return s, nil
}

// ownEmpty makes sure that an open folder is one that this user has just made: who owns the folder above
// can have put another one into its place. Nobody else can make one of this user's.
func ownEmpty(fd int, path string) error {
	st, err := openat.Fstat(fd)
	if err != nil {
		return err
	}
	names, err := openat.List(fd)
	if err != nil {
		return err
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o777&^0o700 != 0 || len(names) > 0 {
		return anotherStage(path)
	}
	return nil
}

// anotherStage says that somebody put another folder into the place of a staging folder.
func anotherStage(path string) error {
	return &core.Error{
		Code: core.CodeLocked, Op: "open staging folder " + files.Quote(path), Message: "it is another folder than the one that the restore made: somebody put it there",
		Hint: "find out who did: the owner of the folder above can; move it away, and put back the folder that was there, or restore again; what is live stays as it is",
	}
}

// keepTime gives an open folder its time back, where this user may, and syncs it.
func (b *builder) keepTime(fd int, st *unix.Stat_t) error {
	if err := openat.SetTime(fd, openat.ModTime(st)); err != nil && !openat.IsErrno(err, unix.EPERM) {
		return err
	}
	return openat.Sync(fd)
}

// assign gives each change a slot in a staging folder.
func (b *builder) assign() error {
	for _, ch := range b.c.Changes {
		s, err := b.stageFor(ch.In)
		if err != nil {
			return err
		}
		// Names of one length, so that their order is that of the walk: a file
		// comes before its other names.
		b.slots[ch] = fmt.Sprintf("%08d", len(s.changes))
		s.changes = append(s.changes, ch)
	}
	return nil
}

func placeOf(stage int) string { return fmt.Sprintf("s%d", stage) }

// tree makes up the folder that is to be written to the staging folders: a place for
// each, in which each slot is an entry. It returns the object of its extra.jsonl too.
func (b *builder) tree(ctx context.Context, component string) (core.Entry, core.ObjectID, error) {
	o := b.c.Reader
	var places []core.Entry
	at := map[string]string{} // path in the component → path in the tree made up
	for i, s := range b.stages {
		var entries []core.Entry
		for _, ch := range s.changes {
			if ch.Take {
				continue
			}
			e := ch.Entry
			e.Name = b.slots[ch]
			entries = append(entries, e)
			at[ch.Path] = placeOf(i) + "/" + e.Name
		}
		places = append(places, o.Folder(placeOf(i), entries))
	}
	extra, err := b.extras(ctx, at)
	if err != nil {
		return core.Entry{}, "", err
	}
	return o.Folder(component, places), extra, nil
}

// staged returns where a path of the component is in the tree made up, "" when it is not in it.
func staged(at map[string]string, path string) string {
	for dir, rest := path, ""; ; {
		if slot, ok := at[dir]; ok {
			return slot + rest
		}
		cut := strings.LastIndexByte(dir, '/')
		if cut < 0 {
			return ""
		}
		dir, rest = dir[:cut], dir[cut:]+rest
	}
}

// extras makes up the extra.jsonl of the tree made up.
func (b *builder) extras(ctx context.Context, at map[string]string) (core.ObjectID, error) {
	if len(b.c.Extras) == 0 {
		return "", nil
	}
	// Of each file with several names that are staged together, the first one is the
	// file and the others are links to it.
	type group struct{ link, place string }
	first := map[group]string{}
	join := func(link, path string) {
		to := staged(at, path)
		if to == "" {
			return
		}
		place, _, _ := strings.Cut(to, "/")
		g := group{link, place}
		if have, there := first[g]; !there || before(to, have) {
			first[g] = to
		}
	}
	for path, x := range b.c.Extras {
		if x.Link != "" {
			join(x.Link, path)
			join(x.Link, x.Link)
		}
	}
	lines := map[string]files.Extra{}
	for path, x := range b.c.Extras {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		to := staged(at, path)
		if to == "" {
			continue
		}
		link := x.Link
		if link == "" && b.c.Linked[path] {
			link = path
		}
		x.Path, x.Link = to, ""
		if _, itself := at[path]; itself {
			x.Name = nil // its name there is the slot's
		}
		if link != "" {
			place, _, _ := strings.Cut(to, "/")
			if f := first[group{link, place}]; f != to {
				x.Link = f
			}
		}
		lines[to] = x
	}
	for path := range b.c.Linked { // which need not have a line of their own
		to := staged(at, path)
		if to == "" {
			continue
		}
		if _, there := lines[to]; there {
			continue
		}
		place, _, _ := strings.Cut(to, "/")
		if f := first[group{path, place}]; f != to && f != "" {
			lines[to] = files.Extra{Path: to, Link: f}
		}
	}
	var text []byte
	for _, x := range lines {
		if x.Empty() {
			continue
		}
		line, err := x.Encode()
		if err != nil {
			return "", err
		}
		text = append(text, line...)
	}
	return b.c.Reader.File(text).ID, nil
}

// before says whether a walk that goes through folders in byte order comes to a before b.
func before(a, b string) bool {
	for {
		x, restA, moreA := strings.Cut(a, "/")
		y, restB, moreB := strings.Cut(b, "/")
		if x != y || !moreA || !moreB {
			return x < y
		}
		a, b = restA, restB
	}
}
