package profile

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

// Users that no passwd file knows.
const (
	webUser = 54321
	alice   = 54322
)

func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away and become somebody else")
	}
}

func give(t *testing.T, uid int, paths ...string) {
	t.Helper()
	for _, p := range paths {
		if err := os.Lchown(p, uid, uid); err != nil {
			t.Fatal(err)
		}
	}
}

// installed makes an application of the user's, in a folder that everybody can
// enter, with a folder data and a script that says who runs it.
func installed(t *testing.T, uid int) (root string, step PostStep) {
	t.Helper()
	base, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for p := base; p != "/"; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			t.Fatal(err)
		}
		if mode := info.Mode().Perm(); mode&0o001 == 0 {
			if err := os.Chmod(p, mode|0o011); err != nil {
				t.Fatal(err)
			}
		}
	}
	root = mkdir(t, filepath.Join(base, "www", "app"))
	mkdir(t, filepath.Join(root, "data"))
	write(t, filepath.Join(root, "run"), "id -u\n")
	give(t, uid, root, filepath.Join(root, "data"), filepath.Join(root, "run"))
	return root, PostStep{Name: "try", Why: "to see", Argv: []string{"/bin/sh", "run"}, Dir: root, As: filepath.Join(root, "data"), Data: []string{"uploads"}}
}

// ran is the user that the step ran as; why it did not run otherwise.
func ran(t *testing.T, step PostStep) (uid int, why string) {
	t.Helper()
	result, err := RunPostStep(t.Context(), step, nil, nil)
	if err != nil {
		if core.CodeOf(err) != core.CodeUnsupported || result.Output != "" {
			t.Errorf("it ran and failed: %+v, %v", result, err)
		}
		if got := step.CannotRun(); got == "" || !strings.Contains(err.Error(), got) {
			t.Errorf("CannotRun says %q and RunPostStep %v", got, err)
		}
		return -1, err.Error()
	}
	uid, err = strconv.Atoi(strings.TrimSpace(result.Output))
	if err != nil {
		t.Fatal(err)
	}
	return uid, ""
}

// byHand is the user that the line to type runs as, -1 for none.
func byHand(t *testing.T, step PostStep) int {
	t.Helper()
	line := step.ByHand()
	if strings.Contains(line, "sudo -u '#") && !strings.Contains(line, "'#0'") { // sudo need not be here
		uid, err := strconv.Atoi(strings.SplitN(strings.SplitN(line, "'#", 2)[1], "'", 2)[0])
		if err != nil {
			t.Fatal(err)
		}
		return uid
	}
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", line).Output()
	if err != nil {
		return -1
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return uid
}

// TestNobodyBecomesRoot: whoever can write the application's code cannot choose
// that root runs it.
func TestNobodyBecomesRoot(t *testing.T) {
	asRoot(t)
	const refused = -1
	for name, c := range map[string]struct {
		owner  int // of the application
		change func(t *testing.T, root string, s *PostStep)
		runs   int
		byHand int
		why    string
	}{
		"the web server's": {webUser, nil, webUser, webUser, ""},
		"root's alone":     {0, nil, 0, 0, ""},
		"data is a link to root's": {webUser, func(t *testing.T, root string, _ *PostStep) {
			replaceByLink(t, "/root", filepath.Join(root, "data"))
		}, refused, webUser, "data is a link"},
		"data is a link to root's, in a folder of root's": {0, func(t *testing.T, root string, _ *PostStep) {
			replaceByLink(t, "/root", filepath.Join(root, "data"))
		}, refused, refused, "data is a link"},
		"a folder on the way is a link": {webUser, func(t *testing.T, root string, s *PostStep) {
			symlink(t, "/", filepath.Join(root, "scripts"))
			s.As = filepath.Join(root, "scripts", "etc")
		}, refused, webUser, "scripts is a link"},
		"a folder of root's was renamed to data": {webUser, func(t *testing.T, root string, _ *PostStep) {
			give(t, 0, filepath.Join(root, "data"))
		}, webUser, webUser, ""},
		"the script is the web server's": {0, func(t *testing.T, root string, _ *PostStep) {
			give(t, webUser, filepath.Join(root, "run"))
		}, refused, refused, "run belongs to user 54321"},
		"code that the script loads is the web server's": {0, func(t *testing.T, root string, _ *PostStep) {
			write(t, filepath.Join(root, "conf", "config.php"), "")
			give(t, webUser, filepath.Join(root, "conf", "config.php"))
		}, refused, refused, "config.php belongs to user 54321"},
		"the group writes": {0, func(t *testing.T, root string, _ *PostStep) {
			chmod(t, 0o664, filepath.Join(root, "run"))
		}, refused, refused, "run can be written by others (mode 0664)"},
		"everybody writes in the folder": {0, func(t *testing.T, root string, _ *PostStep) {
			chmod(t, 0o777|os.ModeSticky, root)
		}, refused, refused, "app can be written by others"},
		"everybody writes in data": {0, func(t *testing.T, root string, _ *PostStep) {
			chmod(t, 0o777, filepath.Join(root, "data"))
		}, refused, refused, "data can be written by others"},
		"the folder above is the web server's": {0, func(t *testing.T, root string, _ *PostStep) {
			give(t, webUser, filepath.Dir(root))
		}, refused, refused, "www belongs to user 54321"},
		"a link leads to what others write": {0, func(t *testing.T, root string, _ *PostStep) {
			symlink(t, t.TempDir(), filepath.Join(root, "extensions"))
		}, refused, refused, "extensions leads out"},
		"a link leads to uploads": {0, func(t *testing.T, root string, _ *PostStep) {
			mkdir(t, filepath.Join(root, "uploads"))
			symlink(t, "uploads", filepath.Join(root, "extensions"))
		}, refused, refused, "extensions leads out"},
		"a link leads to code": {0, func(t *testing.T, root string, _ *PostStep) {
			symlink(t, "data", filepath.Join(root, "env"))
		}, 0, 0, ""},
		"uploads are the web server's": {0, func(t *testing.T, root string, _ *PostStep) {
			write(t, filepath.Join(root, "uploads", "x.php"), "")
			give(t, webUser, filepath.Join(root, "uploads"), filepath.Join(root, "uploads", "x.php"))
		}, 0, 0, ""},
		"data is missing": {webUser, func(t *testing.T, root string, _ *PostStep) {
			if err := os.Remove(filepath.Join(root, "data")); err != nil {
				t.Fatal(err)
			}
		}, refused, webUser, "data is not there"},
		"all is missing": {webUser, func(_ *testing.T, root string, s *PostStep) {
			s.Dir, s.As = filepath.Join(root, "missing"), filepath.Join(root, "missing", "data")
		}, refused, refused, "missing"},
		"the root is root's link": {webUser, func(t *testing.T, root string, s *PostStep) {
			s.Dir = filepath.Join(t.TempDir(), "current")
			s.As = filepath.Join(s.Dir, "data")
			symlink(t, root, s.Dir)
		}, webUser, webUser, ""},
		"the root is a link of somebody else's": {webUser, func(t *testing.T, root string, s *PostStep) {
			s.Dir = filepath.Join(t.TempDir(), "current")
			s.As = filepath.Join(s.Dir, "data")
			symlink(t, root, s.Dir)
			give(t, alice, s.Dir)
		}, refused, refused, "is a link that user 54322 made"},
		"the root is a link to root's": {0, func(t *testing.T, root string, s *PostStep) {
			s.Dir = filepath.Join(t.TempDir(), "current")
			s.As = filepath.Join(s.Dir, "data")
			symlink(t, root, s.Dir)
			give(t, webUser, s.Dir)
		}, refused, refused, "is a link that user 54321 made"},
	} {
		t.Run(name, func(t *testing.T) {
			root, step := installed(t, c.owner)
			if c.change != nil {
				c.change(t, root, &step)
			}
			if uid, why := ran(t, step); uid != c.runs || !strings.Contains(why, c.why) || c.why == "" && why != "" {
				t.Errorf("it ran as %d (%s), want %d (%s)", uid, why, c.runs, c.why)
			}
			if uid := byHand(t, step); uid != c.byHand {
				t.Errorf("by hand as %d, want %d: %s", uid, c.byHand, step.ByHand())
			}
			if c.byHand == refused && !strings.Contains(step.ByHand(), "not root") {
				t.Errorf("the line does not say why: %s", step.ByHand())
			}
		})
	}
}

func replaceByLink(t *testing.T, target, path string) {
	t.Helper()
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	symlink(t, target, path)
	uid, _, err := ownerOf(path, info)
	if err != nil {
		t.Fatal(err)
	}
	give(t, int(uid), path)
}

func chmod(t *testing.T, mode os.FileMode, path string) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// TestFlippedLink: a link that changes all the time never makes root run it.
func TestFlippedLink(t *testing.T) {
	asRoot(t)
	root, step := installed(t, webUser)
	data, link := filepath.Join(root, "data"), filepath.Join(root, "link")
	symlink(t, "/root", link)
	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() {
		for {
			select {
			case <-stop:
				stopped <- nil
				return
			default:
			}
			if err := swap(data, link); err != nil {
				stopped <- err
				return
			}
		}
	}()
	for range 200 {
		if uid, why := ranAmidst(t, step); uid != webUser && why == "" {
			t.Errorf("it ran as %d", uid)
		}
	}
	close(stop)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// ranAmidst is ran where two looks may see two things.
func ranAmidst(t *testing.T, step PostStep) (uid int, why string) {
	t.Helper()
	result, err := RunPostStep(t.Context(), step, nil, nil)
	if err != nil {
		return -1, err.Error()
	}
	uid, err = strconv.Atoi(strings.TrimSpace(result.Output))
	if err != nil {
		t.Fatal(err)
	}
	return uid, ""
}

// swap lets two paths change places by way of a third.
func swap(a, b string) error {
	for _, r := range [][2]string{{a, a + ".away"}, {b, a}, {a + ".away", b}} {
		if err := os.Rename(r[0], r[1]); err != nil {
			return err
		}
	}
	return nil
}

// TestRunnerOfOrdinaryUser: who is not root runs what is one's own and says the
// rest.
func TestRunnerOfOrdinaryUser(t *testing.T) {
	root, step := installed(t, os.Geteuid())
	if uid, why := ran(t, step); uid != os.Geteuid() {
		t.Errorf("as %d (%s)", uid, why)
	}
	if err := os.Remove(filepath.Join(root, "data")); err != nil {
		t.Fatal(err)
	}
	symlink(t, root, filepath.Join(root, "data"))
	if uid, why := ran(t, step); uid != -1 || !strings.Contains(why, "data is a link") {
		t.Errorf("a link: as %d (%s)", uid, why)
	}
	if os.Geteuid() == 0 {
		return
	}
	step = PostStep{Name: "try", Argv: []string{"/bin/sh", "-c", "id -u"}, As: "/etc"}
	if _, why := ran(t, step); !strings.Contains(why, "it is for root to run") || step.ByHand() != "sudo -u root /bin/sh -c 'id -u'" {
		t.Errorf("root's: %s; by hand %s", why, step.ByHand())
	}
}

// TestRunnersGroup: files of root's group do not bring it.
func TestRunnersGroup(t *testing.T) {
	asRoot(t)
	root, step := installed(t, webUser)
	if err := os.Chown(filepath.Join(root, "data"), webUser, 0); err != nil {
		t.Fatal(err)
	}
	step.Argv = []string{"/bin/sh", "-c", "id -G"}
	result, err := RunPostStep(t.Context(), step, nil, nil)
	if err != nil || result.Output != strconv.Itoa(nobody)+"\n" {
		t.Errorf("%+v, %v", result, err)
	}
}

// TestStepEnvironment: what the application's code gets is a short list, and
// hooks get all but passwords.
func TestStepEnvironment(t *testing.T) {
	t.Setenv("REPO_PW", "secret-of-the-repository")
	t.Setenv("SOME_TOKEN", "token")
	t.Setenv("BACKSTAY_PASSWORD", "secret-too")
	t.Setenv("LC_TIME", "C")
	t.Setenv("TZ", "UTC")
	t.Setenv("TMPDIR", t.TempDir())
	_, step := installed(t, os.Geteuid())
	step.Argv, step.Env = []string{"/usr/bin/env"}, []string{"STEP=1"}
	names := func(step PostStep) map[string]string {
		t.Helper()
		result, err := RunPostStep(t.Context(), step, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, line := range strings.Split(result.Output, "\n") {
			name, value, _ := strings.Cut(line, "=")
			got[name] = value
		}
		return got
	}
	check := func(who string, got map[string]string, there, missing []string) {
		t.Helper()
		for _, name := range there {
			if _, ok := got[name]; !ok {
				t.Errorf("%s: %s is missing", who, name)
			}
		}
		for _, name := range missing {
			if value, ok := got[name]; ok {
				t.Errorf("%s: got %s=%s", who, name, value)
			}
		}
	}
	check("one's own", names(step), []string{"PATH", "LC_TIME", "TZ", "TMPDIR", "STEP"}, []string{"REPO_PW", "SOME_TOKEN", "BACKSTAY_PASSWORD"})
	app := App{Name: "wiki", Root: t.TempDir(), PasswordEnv: []string{"REPO_PW"}, Hooks: Hooks{AfterRestore: []string{"env"}}}
	check("after_restore", names(HookSteps(app)[0]), []string{"PATH", "SOME_TOKEN", "TMPDIR", "BACKSTAY_APP", "BACKSTAY_ROOT"}, []string{"REPO_PW", "BACKSTAY_PASSWORD"})
	t.Setenv("BACKSTAY_CONFIG", "/etc/other.yaml")
	app.PasswordEnv = append(app.PasswordEnv, "BACKSTAY_PASSWORD")
	err := RunHooks(t.Context(), app, "before", []string{
		`test "$SOME_TOKEN" = token && test "$BACKSTAY_APP" = wiki && test "$BACKSTAY_CONFIG" = /etc/other.yaml && test -z "${REPO_PW+x}${BACKSTAY_PASSWORD+x}"`,
	})
	if err != nil {
		t.Error(err)
	}
	if os.Geteuid() != 0 {
		return
	}
	_, step = installed(t, webUser)
	step.Argv = []string{"/usr/bin/env"}
	check("somebody else", names(step), []string{"PATH", "LC_TIME", "TZ"}, []string{"HOME", "USER", "TMPDIR", "REPO_PW", "SOME_TOKEN", "BACKSTAY_PASSWORD"})
}

// TestLastWords: an error quotes a few lines of what the journal holds.
func TestLastWords(t *testing.T) {
	step := shell("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done; exit 1")
	result, err := RunPostStep(t.Context(), step, nil, nil)
	if err == nil || strings.Count(err.Error(), "line ") != quotedLines || !strings.Contains(err.Error(), "line 2999") || !strings.Contains(result.Output, "line 2000\n") {
		t.Errorf("%v", err)
	}
	step = shell("yes é | tr -d '\\n' | head -c 80000; exit 1")
	if _, err = RunPostStep(t.Context(), step, nil, nil); err == nil || len(err.Error()) > quotedBytes+200 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}
