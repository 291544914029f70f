package assemble_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/files"
	"github.com/backstay/backstay/internal/files/assemble"
	"github.com/backstay/backstay/internal/files/capture"
	"github.com/backstay/backstay/internal/files/restore"
	"github.com/backstay/backstay/internal/files/treetest"
	"github.com/backstay/backstay/internal/repository/kopia"
	"github.com/backstay/backstay/internal/repository/memory"
)

const root = "/srv/app"

func options(edit ...func(*assemble.Options)) assemble.Options {
	opt := assemble.Options{Component: core.ComponentFiles, Trees: []assemble.Tree{{Place: "app", Root: root, Include: []string{"."}}}}
	for _, e := range edit {
		e(&opt)
	}
	return opt
}

func begin(t *testing.T, w core.TreeWriter, opt assemble.Options) *assemble.Builder {
	t.Helper()
	b, err := assemble.New(w, opt)
	treetest.OK(t, err)
	t.Cleanup(b.Close)
	return b
}

func finish(t *testing.T, b *assemble.Builder) *assemble.Result {
	t.Helper()
	r, err := b.Finish(t.Context())
	treetest.OK(t, err)
	return r
}

func file(path, content string) (assemble.File, io.Reader) {
	return assemble.File{Place: "app", Path: path, Type: core.TypeFile, Attributes: assemble.Attributes{Mode: 0o644}, Size: int64(len(content))}, strings.NewReader(content)
}

func dir(path string) assemble.File {
	return assemble.File{Place: "app", Path: path, Type: core.TypeDir, Attributes: assemble.Attributes{Mode: 0o755}}
}

func link(path, target string) assemble.File {
	return assemble.File{Place: "app", Path: path, Type: core.TypeSymlink, Link: target}
}

func add(t *testing.T, b *assemble.Builder, path, content string) {
	t.Helper()
	f, body := file(path, content)
	treetest.OK(t, b.Add(t.Context(), f, body))
}

// stream gives a tree on disk as entries, the deepest first where backwards.
func stream(t *testing.T, at string, backwards bool, give func(assemble.File, io.Reader)) {
	t.Helper()
	var all []string
	treetest.OK(t, filepath.WalkDir(at, func(path string, _ fs.DirEntry, err error) error {
		all = append(all, path)
		return err
	}))
	for i := range all {
		path := all[i]
		if backwards {
			path = all[len(all)-1-i]
		}
		var st unix.Stat_t
		treetest.OK(t, unix.Lstat(path, &st))
		info, err := os.Lstat(path)
		treetest.OK(t, err)
		f := assemble.File{Place: "app", Type: core.TypeFile, Size: info.Size(), Attributes: assemble.Attributes{
			Mode: info.Mode(), UID: st.Uid, GID: st.Gid, ModTime: info.ModTime(),
		}}
		if path != at {
			f.Path = path[len(at)+1:]
		}
		var body io.Reader
		switch {
		case info.IsDir():
			f.Type = core.TypeDir
		case info.Mode()&fs.ModeSymlink != 0:
			f.Type = core.TypeSymlink
			f.Link, err = os.Readlink(path)
			treetest.OK(t, err)
		default:
			data, err := os.ReadFile(path)
			treetest.OK(t, err)
			body = bytes.NewReader(data)
			if backwards {
				f.Size, body = -1, iotest.OneByteReader(bufReader(data))
			}
		}
		give(f, body)
	}
}

// bufReader keeps one byte at a time from taking a minute for large bodies.
func bufReader(data []byte) io.Reader {
	if len(data) > 1000 {
		return struct{ io.Reader }{io.MultiReader(iotest.DataErrReader(bytes.NewReader(data)))}
	}
	return bytes.NewReader(data)
}

// archived makes a tree with all that an archive can hold and is hard.
func archived(t *testing.T) string {
	t.Helper()
	root := t.TempDir() + "/tree"
	treetest.HostileTree(t, root)
	// What no archive of ours holds: extended attributes, hard links, holes.
	for _, path := range []string{"another", "hard", "acl", "with-acl", "sparse.img", "capable", "sticky", "plain.txt", "bad\xff\xfename", "closed"} {
		_ = os.Chmod(root+"/"+path, 0o755)
		treetest.OK(t, os.RemoveAll(root+"/"+path))
	}
	treetest.SetTime(t, root, time.Unix(1_444_444_444, 4))
	return root
}

// TestAsCaptured: what comes as a stream is stored as capture stores the same
// tree: the same folders, contents and lines of extra.jsonl.
func TestAsCaptured(t *testing.T) {
	root := archived(t)
	session, err := memory.New().Begin(t.Context())
	treetest.OK(t, err)
	defer session.Abort()
	c, err := capture.Files(t.Context(), []core.FileSet{treetest.AppSet(root)}, session, capture.Options{})
	treetest.OK(t, err)
	want := treetest.Describe(t, root)
	for _, backwards := range []bool{false, true} {
		opt := options()
		opt.Trees[0].Root = root
		b := begin(t, session, opt)
		stream(t, root, backwards, func(f assemble.File, body io.Reader) { treetest.OK(t, b.Add(t.Context(), f, body)) })
		got := finish(t, b)
		if diff := cmp.Diff(c.Entry, got.Entry); diff != "" {
			t.Errorf("backwards %v: (-captured +assembled)\n%s", backwards, diff)
		}
		if got.Extra == nil || got.Extra.Size != c.Extra.Size {
			t.Errorf("backwards %v: extra %+v, captured %+v", backwards, got.Extra, c.Extra)
		}
		if diff := cmp.Diff(c.Trees, got.Trees); diff != "" {
			t.Errorf("backwards %v: (-captured +assembled)\n%s", backwards, diff)
		}
		if len(got.Warnings) > 0 {
			t.Errorf("warnings: %v", got.Warnings)
		}
	}
	// And through the real repository, to a disk.
	opts := kopia.Options{URL: "file://" + t.TempDir() + "/repository", Password: core.NewSecret("correct horse"), StateDir: t.TempDir()}
	treetest.OK(t, kopia.Create(t.Context(), opts))
	store, err := kopia.Open(t.Context(), opts)
	treetest.OK(t, err)
	defer func() { treetest.OK(t, store.Close(context.WithoutCancel(t.Context()))) }()
	session, err = store.Begin(t.Context())
	treetest.OK(t, err)
	defer session.Abort()
	opt := options()
	opt.Trees[0].Root = root
	b := begin(t, session, opt)
	stream(t, root, false, func(f assemble.File, body io.Reader) { treetest.OK(t, b.Add(t.Context(), f, body)) })
	got := finish(t, b)
	top, err := session.WriteDir(t.Context(), []core.Entry{got.Entry})
	treetest.OK(t, err)
	_, err = session.Commit(t.Context(), top, core.Backup{ID: "first", App: "app", Time: time.Unix(1_700_000_000, 0).UTC()})
	treetest.OK(t, err)
	target := t.TempDir() + "/target"
	r, err := restore.Files(t.Context(), store, got.Entry, got.Extra.ID, restore.Options{Targets: map[string]string{"app": target}, Owners: got.Owners, Trees: got.Trees, Verify: true})
	treetest.OK(t, err)
	if len(r.Warnings) > 0 {
		t.Errorf("warnings: %v", r.Warnings)
	}
	if diff := cmp.Diff(want, treetest.Describe(t, target)); diff != "" {
		t.Errorf("restored (-was +is):\n%s", diff)
	}
}

// TestImpliedFolders: folders that no entry gives, before, after and around
// those that one does; two places in one component.
func TestImpliedFolders(t *testing.T) {
	m := treetest.NewStore()
	at := time.Unix(1_600_000_000, 7).UTC()
	var asked []string
	b := begin(t, m, options(func(o *assemble.Options) {
		o.Time = at
		o.Trees[0].Folder = func(path string) assemble.Attributes {
			asked = append(asked, path)
			return assemble.Attributes{Mode: 0o2770 | fs.ModeSetgid, UID: 33, GID: 34, User: "www", Group: "web"}
		}
		o.Trees = append(o.Trees, assemble.Tree{Place: "system", Root: "/", Include: []string{"etc"}})
	}))
	add(t, b, "a/b/c/file", "1")
	given := dir("a/b")
	given.Mode, given.UID, given.User, given.ModTime = 0o700|fs.ModeSticky, 5, "games", at.Add(time.Hour)
	treetest.OK(t, b.Add(t.Context(), given, nil))
	treetest.OK(t, b.Add(t.Context(), dir("empty"), nil))
	treetest.OK(t, b.Add(t.Context(), link("a/link", "../../etc/passwd"), nil))
	f, body := file("etc/app.conf", "conf")
	f.Place = "system"
	treetest.OK(t, b.Add(t.Context(), f, body))
	r := finish(t, b)
	var got []string
	for _, path := range treetest.Paths(treetest.Stored(t, m, r.Entry)) {
		e := treetest.Stored(t, m, r.Entry)[path]
		got = append(got, fmt.Sprintf("%s %s %v %d:%d %d files=%d size=%d", path, e.Type, e.Mode, e.UID, e.GID, e.ModTime.Sub(at)/time.Second, e.Files, e.Object.Size))
	}
	want := []string{
		"app d grwxrwx--- 33:34 0 files=1 size=17",
		"app/a d grwxrwx--- 33:34 0 files=1 size=17",
		"app/a/b d trwx------ 5:0 3600 files=1 size=1",
		"app/a/b/c d grwxrwx--- 33:34 0 files=1 size=1",
		"app/a/b/c/file f -rw-r--r-- 0:0 0 files=0 size=1",
		"app/a/link s -rwxrwxrwx 0:0 0 files=0 size=16",
		"app/empty d -rwxr-xr-x 0:0 0 files=0 size=0",
		"system d -rwxr-xr-x 0:0 0 files=1 size=4",
		"system/etc d -rwxr-xr-x 0:0 0 files=1 size=4",
		"system/etc/app.conf f -rw-r--r-- 0:0 0 files=0 size=4",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"", "a", "a/b/c"}, asked); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(core.Owners{Users: map[string]string{"5": "games", "33": "www"}, Groups: map[string]string{"34": "web"}}, r.Owners); diff != "" {
		t.Error(diff)
	}
	trees := []core.Tree{
		{Component: core.ComponentFiles, Place: "app", Root: root, Include: []string{"."}, Files: 1, Dirs: 5, Symlinks: 1, Bytes: 1},
		{Component: core.ComponentFiles, Place: "system", Root: "/", Include: []string{"etc"}, Files: 1, Dirs: 2, Bytes: 4},
	}
	if diff := cmp.Diff(trees, r.Trees); diff != "" {
		t.Error(diff)
	}
	if r.Entry.Name != "files" || r.Entry.Files != 2 || r.Entry.Object.Size != 21 || !r.Entry.ModTime.Equal(at) || r.Extra != nil {
		t.Errorf("%+v, extra %v", r.Entry, r.Extra)
	}
}

// TestRefused: entries that no tree on a disk has end it, with words that help.
func TestRefused(t *testing.T) {
	type step func(b *assemble.Builder) error
	put := func(path string) step {
		return func(b *assemble.Builder) error {
			f, body := file(path, "x")
			return b.Add(t.Context(), f, body)
		}
	}
	give := func(f assemble.File) step {
		return func(b *assemble.Builder) error { return b.Add(t.Context(), f, nil) }
	}
	body := func(size int64, r io.Reader) step {
		return func(b *assemble.Builder) error {
			f, _ := file("body", "")
			f.Size = size
			return b.Add(t.Context(), f, r)
		}
	}
	broken := errors.New("the wrong password")
	large := strings.Repeat("x", 3<<20)
	for name, c := range map[string]struct {
		steps []step
		says  string
		code  core.Code
	}{
		"twice":                  {[]step{put("a/b"), put("a/b")}, "a/b: it is there twice", core.CodeDamage},
		"twice among many":       {append(many(put, 40), put("many/f3")), "it is there twice", core.CodeDamage},
		"folder twice":           {[]step{give(dir("a")), give(dir("a"))}, "it is there twice", core.CodeDamage},
		"root twice":             {[]step{give(dir("")), give(dir(""))}, "it is there twice", core.CodeDamage},
		"root is a link":         {[]step{give(link("", "/etc"))}, "the root is no folder", core.CodeDamage},
		"file and folder":        {[]step{put("a"), give(dir("a"))}, "as two things", core.CodeDamage},
		"folder and file":        {[]step{give(dir("a")), put("a")}, "as two things", core.CodeDamage},
		"implied and file":       {[]step{put("a/b"), put("a")}, "as two things", core.CodeDamage},
		"below a file":           {[]step{put("a"), put("a/b/c")}, "as two things", core.CodeDamage},
		"below a link":           {[]step{give(link("a", "/etc")), put("a/passwd")}, "as two things", core.CodeDamage},
		"link and folder":        {[]step{put("a/b"), give(link("a", "/etc"))}, "as two things", core.CodeDamage},
		"case":                   {[]step{put("d/Read.me"), put("d/README")}, "", ""},
		"same letters":           {[]step{put("d/Straße.txt"), put("d/STRAßE.TXT")}, `differs from "Straße.txt"`, core.CodeDamage},
		"case of a folder":       {[]step{put("Dir/a"), put("dir/b")}, `differs from "Dir"`, core.CodeDamage},
		"case of many":           {append(many(put, 40), put("many/F7")), `differs from "f7"`, core.CodeDamage},
		"bytes are not case":     {[]step{put("d/\xff"), put("d/\xfe"), put("d/\ufffd")}, "", ""},
		"up":                     {[]step{put("a/../b")}, "no plain path", core.CodeDamage},
		"absolute":               {[]step{put("/etc/passwd")}, "no plain path", core.CodeDamage},
		"dot":                    {[]step{put("./a")}, "no plain path", core.CodeDamage},
		"slash at the end":       {[]step{put("a/")}, "no plain path", core.CodeDamage},
		"NUL":                    {[]step{put("a\x00b")}, "no plain path", core.CodeDamage},
		"long name":              {[]step{put(strings.Repeat("n", 255)), put(strings.Repeat("n", 256))}, "longer than 255", core.CodeDamage},
		"long path":              {[]step{put(strings.Repeat("a/", 2047) + "ab"), put(strings.Repeat("b/", 2048) + "b")}, "longer than 4096", core.CodeDamage},
		"empty link":             {[]step{give(link("l", ""))}, "link to nothing", core.CodeDamage},
		"link with NUL":          {[]step{give(link("l", "a\x00"))}, "link to nothing", core.CodeDamage},
		"device":                 {[]step{give(assemble.File{Place: "app", Path: "dev", Type: "c"})}, "unknown kind", ""},
		"no such place":          {[]step{give(assemble.File{Place: "elsewhere", Path: "a", Type: core.TypeDir})}, "no place", ""},
		"short":                  {[]step{body(3, strings.NewReader("xx"))}, "it has less than the 3 bytes", core.CodeDamage},
		"long":                   {[]step{body(3, strings.NewReader("xxxx"))}, "it has more than the 3 bytes", core.CodeDamage},
		"short and large":        {[]step{body(5<<20, strings.NewReader(large))}, "it has less than", core.CodeDamage},
		"long and large":         {[]step{body(1<<20, strings.NewReader(large))}, "it has more than", core.CodeDamage},
		"no body":                {[]step{body(3, nil)}, "it has less than", core.CodeDamage},
		"neither":                {[]step{body(-1, nil)}, "neither size nor body", ""},
		"breaks off":             {[]step{body(3, iotest.ErrReader(broken))}, broken.Error(), ""},
		"breaks off large":       {[]step{body(5<<20, io.MultiReader(strings.NewReader(large), iotest.ErrReader(broken)))}, broken.Error(), ""},
		"breaks off at its end":  {[]step{body(3, io.MultiReader(strings.NewReader("xxx"), iotest.ErrReader(broken)))}, broken.Error(), ""},
		"cut":                    {[]step{body(-1, io.MultiReader(strings.NewReader("xx"), iotest.ErrReader(io.ErrUnexpectedEOF)))}, "unexpected EOF", ""},
		"gives nothing for ever": {[]step{body(3, idle{})}, "multiple Read calls", ""},
		"too many":               {many(put, 99), "more than 50 files", core.CodeUnsupported},
		"too many folders":       {[]step{put(strings.Repeat("a/", 60) + "b")}, "more than 50 files", core.CodeUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			b := begin(t, treetest.NewStore(), options(func(o *assemble.Options) {
				o.FoldCase = name != "case"
				o.MaxEntries = 5000
				if strings.HasPrefix(name, "too many") {
					o.MaxEntries = 50
				}
			}))
			var err error
			for i, s := range c.steps {
				if err = s(b); err != nil && i < len(c.steps)-1 && !strings.HasPrefix(name, "too many") {
					t.Fatalf("step %d: %v", i, err)
				}
				if err != nil {
					break
				}
			}
			_, ferr := b.Finish(t.Context())
			if c.says == "" {
				if err != nil || ferr != nil {
					t.Errorf("%v, %v", err, ferr)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(c.says, `"`, "")) || c.code != "" && (core.CodeOf(err) != c.code || core.HintOf(err) == "") {
				t.Errorf("got %v (%s, hint %q), want %q", err, core.CodeOf(err), core.HintOf(err), c.says)
			}
			if !errors.Is(ferr, err) {
				t.Errorf("finish: %v", ferr)
			}
		})
	}
}

func many[S any](put func(string) S, n int) []S {
	var steps []S
	for i := range n {
		steps = append(steps, put(fmt.Sprintf("many/f%d", i)))
	}
	return steps
}

type idle struct{}

func (idle) Read([]byte) (int, error) { return 0, nil }

// TestScope: what the tree does not own is an error, and without Include
// anything goes.
func TestScope(t *testing.T) {
	scoped := func(include ...string) *assemble.Builder {
		return begin(t, treetest.NewStore(), options(func(o *assemble.Options) {
			o.Trees[0].Include, o.Trees[0].Exclude = include, []string{"uploads/backups/**"}
		}))
	}
	for path, allowed := range map[string]bool{
		"uploads/a": true, "uploads/b/c": true, "conf/x.php": true, "conf/y.php": false, "index.php": false, "uploads/backups/x.zip": false, "upload/a": false,
	} {
		f, body := file(path, "x")
		err := scoped("uploads", "conf/x.php").Add(t.Context(), f, body)
		if allowed != (err == nil) || err != nil && (core.CodeOf(err) != core.CodeUnsupported || !strings.Contains(err.Error(), path[:6])) {
			t.Errorf("%s: %v", path, err)
		}
		f, body = file(path, "x")
		if err := scoped().Add(t.Context(), f, body); err != nil {
			t.Errorf("%s without a scope: %v", path, err)
		}
	}
	if err := scoped("uploads").Add(t.Context(), dir("uploads/backups"), nil); err != nil {
		t.Error(err)
	}
}

// TestLeftOut: what a restore keeps while it runs is not stored, as capture
// does not store it.
func TestLeftOut(t *testing.T) {
	m := treetest.NewStore()
	b := begin(t, m, options())
	add(t, b, "a/"+files.TempName("x"), "x")
	add(t, b, files.StagingName("switch")+"/old/x", "x")
	treetest.OK(t, b.Add(t.Context(), dir(files.StagingName("switch")), nil))
	add(t, b, "a/x", "x")
	r := finish(t, b)
	if diff := cmp.Diff([]string{"app", "app/a", "app/a/x"}, treetest.Paths(treetest.Stored(t, m, r.Entry))); diff != "" {
		t.Error(diff)
	}
	if len(r.Warnings) != 3 || r.Warnings[0].Code != files.CodeLeftover {
		t.Error(r.Warnings)
	}
}

// TestTimes: none, and those that no file system keeps.
func TestTimes(t *testing.T) {
	m := treetest.NewStore()
	at := time.Unix(1_600_000_000, 7).UTC()
	b := begin(t, m, options(func(o *assemble.Options) { o.Time = at }))
	for path, when := range map[string]time.Time{"none": {}, "far": time.Unix(1<<60, 0), "past": time.Unix(-1<<60, 0), "old": time.Unix(-1, 5)} {
		f, body := file(path, "x")
		f.ModTime = when
		treetest.OK(t, b.Add(t.Context(), f, body))
	}
	r := finish(t, b)
	all := treetest.Stored(t, m, r.Entry)
	for path, want := range map[string]time.Time{"none": at, "far": at, "past": at, "old": time.Unix(-1, 5)} {
		if got := all["app/"+path].ModTime; !got.Equal(want) {
			t.Errorf("%s: %v", path, got)
		}
	}
	if diff := cmp.Diff([]string{"time /srv/app/far", "time /srv/app/past"}, treetest.Codes(r.Warnings)); diff != "" {
		t.Error(diff)
	}
}

// TestFailingStore: an error of the repository ends it, wherever it happens.
func TestFailingStore(t *testing.T) {
	full := errors.New("no space left")
	for name, fail := range map[string]func(*treetest.Store){
		"create small": func(m *treetest.Store) { m.OnCreate = failFor("small", full) },
		"create large": func(m *treetest.Store) { m.OnCreate = failFor("large", full) },
		"create link":  func(m *treetest.Store) { m.OnCreate = failFor("link", full) },
		"create extra": func(m *treetest.Store) { m.OnCreate = failFor("extra.jsonl", full) },
		"write small": func(m *treetest.Store) {
			m.OnWrite = func(hint string, _ int) error { return failFor("small", full)(hint) }
		},
		"write large": func(m *treetest.Store) {
			m.OnWrite = func(hint string, sofar int) error {
				if sofar > 0 {
					return failFor("large", full)(hint)
				}
				return nil
			}
		},
		"write extra": func(m *treetest.Store) {
			m.OnWrite = func(hint string, _ int) error { return failFor("extra.jsonl", full)(hint) }
		},
		"folder": func(m *treetest.Store) { m.OnDir = func([]core.Entry) error { return full } },
		"last folder": func(m *treetest.Store) {
			m.OnDir = func(entries []core.Entry) error {
				if len(entries) == 1 && entries[0].Name == "app" {
					return full
				}
				return nil
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := treetest.NewStore()
			fail(m)
			b := begin(t, m, options())
			err := func() error {
				for path, size := range map[string]int{"small": 10, "large": 3 << 20, "bad-\xff": 1} {
					f, body := file(path, strings.Repeat("x", size))
					if err := b.Add(t.Context(), f, body); err != nil {
						return err
					}
				}
				return b.Add(t.Context(), link("link", "target"), nil)
			}()
			_, ferr := b.Finish(t.Context())
			if !errors.Is(ferr, full) || err != nil && !errors.Is(err, full) {
				t.Errorf("add: %v; finish: %v", err, ferr)
			}
			f, body := file("later", "x")
			if err := b.Add(t.Context(), f, body); !errors.Is(err, full) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func failFor(suffix string, err error) func(string) error {
	return func(hint string) error {
		if strings.HasSuffix(hint, suffix) {
			return err
		}
		return nil
	}
}

// TestCancelled: it ends between two files and within a large one.
func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	b := begin(t, treetest.NewStore(), options())
	f, body := file("a", "x")
	treetest.OK(t, b.Add(ctx, f, body))
	f, _ = file("large", "")
	f.Size = -1
	endless := readerFunc(func(p []byte) (int, error) {
		cancel()
		return len(p), nil
	})
	if err := b.Add(ctx, f, endless); !errors.Is(err, context.Canceled) {
		t.Errorf("add: %v", err)
	}
	if _, err := b.Finish(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("finish: %v", err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestEnded: there is nothing after the end, and nothing without an end.
func TestEnded(t *testing.T) {
	b := begin(t, treetest.NewStore(), options())
	r := finish(t, b)
	if r.Entry.Files != 0 || r.Trees[0].Dirs != 1 {
		t.Errorf("%+v", r)
	}
	f, body := file("a", "x")
	if b.Add(t.Context(), f, body) == nil {
		t.Error("added after the end")
	}
	if _, err := b.Finish(t.Context()); err == nil {
		t.Error("finished twice")
	}
	for name, opt := range map[string]assemble.Options{
		"no trees":   {Component: core.ComponentFiles},
		"two of one": options(func(o *assemble.Options) { o.Trees = append(o.Trees, o.Trees[0]) }),
		"relative":   options(func(o *assemble.Options) { o.Trees[0].Root = "srv" }),
		"no name":    options(func(o *assemble.Options) { o.Trees[0].Place = "a/b" }),
		"bad glob":   options(func(o *assemble.Options) { o.Trees[0].Exclude = []string{"[a"} }),
	} {
		if _, err := assemble.New(treetest.NewStore(), opt); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
