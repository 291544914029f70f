package profile

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
)

func mkdir(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(t *testing.T, path, content string) {
	t.Helper()
	mkdir(t, filepath.Dir(path))
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func TestParseAddress(t *testing.T) {
	for text, want := range map[string]Address{
		"":                     {},
		"localhost":            {Host: "localhost"},
		"db":                   {Host: "db"},
		"db:3307":              {Host: "db", Port: 3307},
		"p:db":                 {Host: "db"},
		"P:db:3307":            {Host: "db", Port: 3307},
		"localhost:/run/x.s":   {Host: "localhost", Socket: "/run/x.s"},
		"p:localhost:/run/x.s": {Host: "localhost", Socket: "/run/x.s"},
		"/run/x.s":             {Socket: "/run/x.s"},
		"[::1]:3307":           {Host: "::1", Port: 3307},
		"[::1]":                {Host: "::1"},
		"::1":                  {Host: "::1"},
		" db ":                 {Host: "db"},
	} {
		got, err := ParseAddress(text)
		if err != nil || got != want {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"db:0", "db:65536", "db:x", "[::1", "db:-1"} {
		if got, err := ParseAddress(text); err == nil {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

func TestResolve(t *testing.T) {
	dir, err := os.MkdirTemp("", "s") // t.TempDir can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "s")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := listener.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	file := filepath.Join(t.TempDir(), "no-socket")
	write(t, file, "x")
	for name, c := range map[string]struct {
		address Address
		given   Database
		sockets []string
		want    core.DatabaseSource
		notes   int
	}{
		"socket found":       {Address{Host: "LocalHost"}, Database{}, []string{file, socket}, core.DatabaseSource{Socket: socket}, 0},
		"no socket":          {Address{Port: 3307}, Database{}, []string{file}, core.DatabaseSource{Host: "127.0.0.1", Port: 3307}, 1},
		"socket in setting":  {Address{Host: "localhost", Socket: "/x"}, Database{}, nil, core.DatabaseSource{Socket: "/x"}, 0},
		"far":                {Address{Host: "db", Port: 1}, Database{}, []string{socket}, core.DatabaseSource{Host: "db", Port: 1}, 0},
		"given host":         {Address{Host: "db", Port: 1}, Database{Host: "x"}, []string{socket}, core.DatabaseSource{Host: "x"}, 0},
		"given localhost":    {Address{Host: "db", Port: 1}, Database{Host: "localhost"}, []string{socket}, core.DatabaseSource{Socket: socket}, 0},
		"given socket":       {Address{Host: "db", Port: 1}, Database{Socket: "/y", Host: "x"}, nil, core.DatabaseSource{Socket: "/y"}, 0},
		"given port":         {Address{Host: "db", Port: 1}, Database{Port: 2}, nil, core.DatabaseSource{Host: "db", Port: 2}, 0},
		"given name, prefix": {Address{Host: "db"}, Database{Name: "n", Prefix: "p"}, nil, core.DatabaseSource{Host: "db", Name: "n", Prefix: "p"}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			found, got := &core.Application{}, core.DatabaseSource{}
			Resolve(found, &got, c.address, c.given, c.sockets)
			if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(core.Secret{})); diff != "" || len(found.Notes) != c.notes {
				t.Errorf("%snotes %v", diff, found.Notes)
			}
		})
	}
}

func TestRelative(t *testing.T) {
	for given, want := range map[string]string{"a": "a", "a/./b/": "a/b", ".": ".", "a//b": "a/b", "..a/b..": "..a/b.."} {
		if got, err := Relative(given); err != nil || got != want {
			t.Errorf("%q: got %q, %v", given, got, err)
		}
	}
	for _, given := range []string{"", "/", "/etc", "..", "a/..", "a/../b", "../a", "a\x00"} {
		if got, err := Relative(given); err == nil {
			t.Errorf("%q: got %q", given, got)
		}
	}
}

func TestLayoutNamedPathsInsideExclusions(t *testing.T) {
	l := NewLayout("/app")
	l.Take(core.ComponentFiles, core.Path{Path: "data"})
	l.Take(core.ComponentCode, core.Path{Path: "."})
	l.Exclude(core.ComponentFiles, "data/cache", "**/*.tmp")
	err := l.Add(App{
		Root: "/app", Exclude: []string{"**/*.bak", "/app/x[1]", "/srv/y"},
		Files:  []Files{{Path: "/app/data/cache/keep", Exclude: []string{"*.o"}}, {Path: "data/plain"}, {Path: "data/{a}.tmp"}},
		Config: []string{"data/conf.ini"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []core.FileSet{
		{Component: core.ComponentConfig, Place: "app", Root: "/app", Include: []core.Path{{Path: "data/conf.ini", Follow: true}}, Exclude: []string{"**/*.bak", "x[1]"}},
		{
			Component: core.ComponentFiles, Place: "app", Root: "/app", Include: []core.Path{{Path: "data"}, {Path: "data/plain", Follow: true}},
			Exclude: []string{"data/conf.ini", "data/cache", "**/*.tmp", "data/cache/keep/*.o", "**/*.bak", "x[1]"},
		},
		{
			Component: core.ComponentFiles, Place: "app", Root: "/app", Include: []core.Path{{Path: "data/cache/keep", Follow: true}},
			Exclude: []string{"**/*.tmp", "data/cache/keep/*.o", "**/*.bak", "x[1]"},
		},
		{
			Component: core.ComponentFiles, Place: "app", Root: "/app", Include: []core.Path{{Path: "data/{a}.tmp", Follow: true}},
			Exclude: []string{"data/cache", "data/cache/keep/*.o", "**/*.bak", "x[1]"},
		},
		{
			Component: core.ComponentCode, Place: "app", Root: "/app", Include: []core.Path{{Path: "."}},
			Exclude: []string{"data", "**/*.bak", "x[1]"},
		},
	}
	if diff := cmp.Diff(want, l.FileSets()); diff != "" {
		t.Error(diff)
	}
}

// TestLayoutExcludingAllOfAFolder: the folder's own exclusion is no reason to
// take it whole.
func TestLayoutExcludingAllOfAFolder(t *testing.T) {
	l := NewLayout("/app/")
	if err := l.Add(App{Root: "/app/", Files: []Files{{Path: "images", Exclude: []string{"**"}}}}); err != nil {
		t.Fatal(err)
	}
	want := []core.FileSet{
		{Component: core.ComponentFiles, Place: "app", Root: "/app", Include: []core.Path{{Path: "images", Follow: true}}, Exclude: []string{"images/**"}},
	}
	if diff := cmp.Diff(want, l.FileSets()); diff != "" {
		t.Error(diff)
	}
}

// TestLayoutNamedInsideAnothersExclusion: a file that a person named lies in
// the folder of a component that leaves it out.
func TestLayoutNamedInsideAnothersExclusion(t *testing.T) {
	l := NewLayout("/app")
	l.Take(core.ComponentConfig, core.Path{Path: "conf"})
	l.Exclude(core.ComponentConfig, "conf/*-build")
	l.TakeNamed(core.ComponentFiles, core.Path{Path: "conf/x-build/keep"})
	l.TakeNamed(core.ComponentFiles, core.Path{Path: "conf/x/config"})
	want := []core.FileSet{
		{Component: core.ComponentConfig, Place: "app", Root: "/app", Include: []core.Path{{Path: "conf"}}, Exclude: []string{"conf/*-build"}},
		{Component: core.ComponentFiles, Place: "app", Root: "/app", Include: []core.Path{{Path: "conf/x-build/keep"}}},
	}
	if diff := cmp.Diff(want, l.FileSets()); diff != "" {
		t.Error(diff)
	}
}

func TestLayoutOfSystemPathsAroundTheRoot(t *testing.T) {
	l := NewLayout("/srv/app")
	l.Take(core.ComponentCode, core.Path{Path: "."})
	if err := l.Add(App{Root: "/srv/app", Files: []Files{{Path: "/srv"}}}); err != nil {
		t.Fatal(err)
	}
	sets := l.FileSets()
	if len(sets) != 2 || sets[1].Root != "/" || sets[1].Include[0].Path != "srv" {
		t.Fatalf("got %+v", sets)
	}
	if diff := cmp.Diff([]string{"srv/app"}, sets[1].Exclude); diff != "" {
		t.Error(diff)
	}
}

func TestFollowLinks(t *testing.T) {
	root, outside := mkdir(t, t.TempDir()+"/app"), mkdir(t, t.TempDir()+"/big")
	write(t, outside+"/1/a", "x")
	write(t, outside+"/file", "x")
	mkdir(t, root+"/uploads/clients")
	mkdir(t, root+"/code")
	symlink(t, outside+"/1", root+"/uploads/clients/1")
	symlink(t, "../../code", root+"/uploads/clients/inside")
	symlink(t, "..", root+"/uploads/up")
	symlink(t, outside+"/file", root+"/uploads/file")
	symlink(t, "nowhere", root+"/uploads/dangling")
	symlink(t, "self", root+"/uploads/self")
	symlink(t, outside, root+"/uploads/clients/too")
	got, err := FollowLinks(root, "uploads", 2)
	if err != nil {
		t.Fatal(err)
	}
	found := &core.Application{}
	want := []core.Path{{Path: "uploads/clients/1", Optional: true, Follow: true}, {Path: "uploads/clients/too", Optional: true, Follow: true}}
	if diff := cmp.Diff(want, got.Report(App{Root: root}, found)); diff != "" {
		t.Error(diff)
	}
	if len(found.Warnings) != 1 || found.Warnings[0].Object != "uploads/up" || len(found.Notes) != 1 {
		t.Errorf("warnings %v, notes %v", found.Warnings, found.Notes)
	}
	if got, err := FollowLinks(root, "missing", 2); err != nil || len(got.Followed)+len(got.Refused) != 0 {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestFollowLinksOfOthers: a link that the web server's user made must not make
// backstay, as root, read what that user may not.
func TestFollowLinksOfOthers(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	root, outside := t.TempDir(), t.TempDir()
	mkdir(t, root+"/uploads")
	symlink(t, outside, root+"/uploads/theirs")
	if err := os.Lchown(root+"/uploads/theirs", 12345, 12345); err != nil {
		t.Fatal(err)
	}
	got, err := FollowLinks(root, "uploads", 1)
	if err != nil || len(got.Followed) != 0 || len(got.Refused) != 1 {
		t.Errorf("got %+v, %v", got, err)
	}
	found := &core.Application{}
	if got.Report(App{Root: root}, found); len(found.Warnings) != 1 || !strings.Contains(found.Warnings[0].Message, "files:") {
		t.Errorf("warnings %v", found.Warnings)
	}
}

func TestHooks(t *testing.T) {
	root := t.TempDir()
	app := App{Name: "wiki", Root: root}
	if err := RunHooks(t.Context(), app, "before", []string{`printf '%s %s' "$BACKSTAY_APP" "$BACKSTAY_ROOT" > seen`, "exit 0"}); err != nil {
		t.Fatal(err)
	}
	seen, err := os.ReadFile(root + "/seen")
	if err != nil || string(seen) != "wiki "+root {
		t.Errorf("got %q, %v", seen, err)
	}
	err = RunHooks(t.Context(), app, "before", []string{"true", "echo out; echo why >&2; exit 7", "touch later"})
	for _, part := range []string{"hooks.before[1]", "wiki", "exit status 7", "out\nwhy"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	if core.HintOf(err) == "" {
		t.Error("no hint")
	}
	if _, err := os.Stat(root + "/later"); err == nil {
		t.Error("the hook after the failed one ran")
	}
	err = RunHooks(t.Context(), app, "after", []string{"yes | head -c 200000; echo the end; exit 1"})
	if err == nil || len(err.Error()) > 2*hookOutput || !strings.HasSuffix(err.Error(), "the end") {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestHookIsCancelledWithItsChildren(t *testing.T) {
	root := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if err := syscall.Mkfifo(root+"/ready", 0o600); err != nil {
		t.Fatal(err)
	}
	go func() {
		if _, err := os.ReadFile(root + "/ready"); err == nil { // until the hook has written
			cancel()
		}
	}()
	err := RunHooks(ctx, App{Name: "wiki", Root: root}, "before", []string{`sleep 600 & echo $! > pid; echo > ready; wait`})
	if core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(root + "/pid")
	if err != nil {
		t.Fatal(err)
	}
	status, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/cmdline")
	if err == nil && strings.Contains(string(status), "sleep") {
		t.Errorf("process %s still runs", pid)
	}
}

func TestHookTimeout(t *testing.T) {
	err := runHook(t.Context(), App{Root: t.TempDir()}, "sleep 600", 10*time.Millisecond)
	if err == nil || !strings.Contains(err.Error(), "did not end within 10ms") {
		t.Errorf("got %v", err)
	}
	// What it started ends with it.
	root := t.TempDir()
	err = runHook(t.Context(), App{Root: root}, "sleep 600 & echo $! >pid; wait", time.Second)
	if err == nil || !strings.Contains(err.Error(), "did not end within") {
		t.Errorf("got %v", err)
	}
	pid, err := os.ReadFile(filepath.Join(root, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	ended(t, strings.TrimSpace(string(pid)))
	// What a hook leaves in the background does not hold the backup up.
	if err := runHook(t.Context(), App{Root: t.TempDir()}, "sleep 5 >/dev/null 2>&1 &", time.Minute); err != nil {
		t.Error(err)
	}
}

// ended waits until a process has ended; whoever adopted it may not have
// noticed yet.
func ended(t *testing.T, pid string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		state, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(state), ") Z ") {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("process %s still runs", pid)
		}
	}
}

func TestReadOnlyHooks(t *testing.T) {
	root := t.TempDir()
	app := App{Name: "wiki", Root: root, Hooks: Hooks{ReadonlyOn: []string{"touch on"}, ReadonlyOff: []string{"rm on", "echo x >> off"}}}
	ctx, cancel := context.WithCancel(t.Context())
	leave, err := ReadOnlyHooks(ctx, app)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(root + "/on"); err != nil {
		t.Error(err)
	}
	cancel() // the run is cancelled; the app must become writable all the same
	for range 2 {
		if err := leave(); err != nil {
			t.Error(err)
		}
	}
	if off, err := os.ReadFile(root + "/off"); err != nil || string(off) != "x\n" {
		t.Errorf("readonly_off ran otherwise than once: %q, %v", off, err)
	}
	app.Hooks.ReadonlyOn = []string{"touch on", "false"}
	leave, err = ReadOnlyHooks(t.Context(), app)
	if err == nil {
		t.Error("there is no error")
	}
	if err := leave(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(root + "/on"); err == nil {
		t.Error("readonly_off did not run after half a readonly_on")
	}
	app.Hooks = Hooks{ReadonlyOn: []string{"touch on"}}
	if _, err := ReadOnlyHooks(t.Context(), app); core.CodeOf(err) != core.CodeUnsupported {
		t.Errorf("got %v", err)
	}
}

// marked finds folders that hold a file called app.
type marked struct{ Profile }

func (marked) Name() string { return "marked" }

func (marked) Detect(root string) (Installation, bool) {
	_, err := os.Stat(root + "/app")
	return Installation{Profile: "marked", Root: root}, err == nil
}

func TestDetect(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"www/Help Desk", "www/nested", "www/nested/inner", "a/b/c/d", "a/b/c/d2/e", "x/html", "y/html", ".hidden", "linked-from-elsewhere", "x/helpdesk", "help/desk/v1"} {
		mkdir(t, base+"/"+dir)
	}
	for _, dir := range []string{"www/Help Desk", "www/nested", "www/nested/inner", "a/b/c/d", "a/b/c/d2/e", "x/html", "y/html", ".hidden"} {
		write(t, base+"/"+dir+"/app", "")
	}
	other := t.TempDir()
	write(t, other+"/target/app", "")
	symlink(t, other+"/target", base+"/www/link")
	symlink(t, other+"/target", base+"/www/link2")
	symlink(t, base, base+"/www/loop")
	symlink(t, "nowhere", base+"/www/dangling")
	got, warnings, err := NewRegistry(marked{}).Detect(t.Context(), []string{base, base + "/www"})
	if err != nil || len(warnings) != 0 {
		t.Fatalf("%v %v", warnings, err)
	}
	var lines []string
	for _, in := range got {
		if !core.ValidAppName(in.Name) {
			t.Errorf("%q is no name", in.Name)
		}
		lines = append(lines, strings.TrimPrefix(in.Root, base)+" "+in.Name)
	}
	want := []string{"/a/b/c/d d", "/www/Help Desk help-desk", "/www/link link", "/www/nested nested", "/x/html x", "/y/html y"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if _, _, err := NewRegistry(marked{}).Detect(t.Context(), []string{base + "/missing"}); core.CodeOf(err) != core.CodeNotFound || core.HintOf(err) == "" {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := NewRegistry(marked{}).Detect(ctx, []string{base}); core.CodeOf(err) != core.CodeCancelled {
		t.Errorf("got %v", err)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 80)
	found := []Installation{
		{Profile: "itop", Root: "/var/www/html"}, {Profile: "itflow", Root: "/srv/www"}, {Profile: "itop", Root: "/opt/Ünï"}, {Profile: "itop", Root: "/opt/" + long},
		{Profile: "itop", Root: "/mnt/" + long}, {Profile: "itop", Root: "/"}, {Profile: "itop", Root: "/x/---"},
	}
	nameAll(found)
	seen := map[string]bool{}
	for _, in := range found {
		if !core.ValidAppName(in.Name) || seen[in.Name] {
			t.Errorf("%s: %q", in.Root, in.Name)
		}
		seen[in.Name] = true
	}
	if found[0].Name != "itop" || found[1].Name != "itflow" {
		t.Errorf("got %q and %q", found[0].Name, found[1].Name)
	}
}

func TestRegistry(t *testing.T) {
	r := NewRegistry(marked{})
	if p, err := r.Get("marked"); err != nil || p.Name() != "marked" {
		t.Errorf("got %v, %v", p, err)
	}
	if _, err := r.Get("itpo"); core.CodeOf(err) != core.CodeConfig || !strings.Contains(core.HintOf(err), "marked") {
		t.Errorf("got %v", err)
	}
	if got := QuoteName("a`b"); got != "`a``b`" {
		t.Error(got)
	}
}
