package edit

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/google/go-cmp/cmp"
)

const sample = `# the desk's backups
repository:
    url: file:///r   # a disk of its own
    password_file: /k

# for all
defaults:
    # keep enough
    retention: {daily: 7}    # a week

    schedule:  # at night
        # not earlier
        time: 23:30
        # jitter: 5m
    # the end of the defaults

# the applications
apps:
  - name: "docs"
    profile: itflow
    root: /b
    notify:
    - type: mail   # to the desk
      host: mail

      from: a@b
      to: [c@d]
      user: u
      password: "hunter2" # secret
    - {type: ping, url: https://hc/abc}
  - check: {size_min: 1MB,
            max_age: 26h}
    name: desk
    profile: itop
    root: /a
# the end
`

func written(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "backstay.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) *Document {
	t.Helper()
	d, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSections(t *testing.T) {
	d := read(t, written(t, sample))
	for _, c := range []struct {
		scope, name string
		want        Section
	}{
		{"", "retention", Section{true, "{daily: 7}    # a week", 9}},
		{"", "schedule", Section{true, "# not earlier\ntime: 23:30\n# jitter: 5m", 11}},
		{"", "check", Section{}},
		{"", "service", Section{}},
		{"desk", "check", Section{true, "{size_min: 1MB,\nmax_age: 26h}", 31}},
		{"desk", "schedule", Section{}},
		{"docs", "notify", Section{true, `- type: mail   # to the desk
  host: mail

  from: a@b
  to: [c@d]
  user: u
  password: "(secret 1 is kept)" # secret
- {type: ping, url: "(secret 2 is kept)"}`, 22}},
	} {
		got, err := d.Section(c.scope, c.name)
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
			t.Errorf("%s %s: %v %s", c.scope, c.name, err, diff)
		}
	}
	for _, c := range [][2]string{{"none", "check"}, {"", "apps"}, {"desk", "service"}, {"desk", "root"}} {
		if _, err := d.Section(c[0], c[1]); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("%v: error %v", c, err)
		}
	}
}

// replaced gives the lines that a proposal takes away and adds.
func replaced(p *Proposal) string {
	var b strings.Builder
	for _, l := range p.Diff {
		if l.Kind == '+' || l.Kind == '-' {
			b.WriteString(string(l.Kind) + l.Text + "\n")
		}
	}
	return b.String()
}

func TestReplace(t *testing.T) {
	for _, c := range []struct{ scope, name, text, want string }{
		{"", "retention", "{daily: 8}    # a week", "-    retention: {daily: 7}    # a week\n+    retention: {daily: 8}    # a week\n"},
		{"", "retention", "daily: 8\r\nweekly: 2\r\n", "-    retention: {daily: 7}    # a week\n+    retention:\n+        daily: 8\n+        weekly: 2\n"},
		{"", "schedule", "# not earlier\ntime: 23:45\n# jitter: 5m", "-        time: 23:30\n+        time: 23:45\n"},
		{"", "schedule", "", "-    schedule:  # at night\n-        # not earlier\n-        time: 23:30\n-        # jitter: 5m\n"},
		{"", "check", "{max_age: 26h}", "+    check: {max_age: 26h}\n"},
		{"", "service", "parallel: 2", "+service:\n+    parallel: 2\n"},
		{"desk", "check", "", "-  - check: {size_min: 1MB,\n-            max_age: 26h}\n-    name: desk\n+  - name: desk\n"},
		{"desk", "check", "{size_min: 2MB}", "-  - check: {size_min: 1MB,\n-            max_age: 26h}\n+  - check: {size_min: 2MB}\n"},
		{"desk", "schedule", "- {name: a, time: 1:00}\n- {name: b, every: 6h}", "+    schedule:\n+        - {name: a, time: 1:00}\n+        - {name: b, every: 6h}\n"},
		{"docs", "retention", "count: 5", "+    retention:\n+        count: 5\n"},
		{"docs", "notify", "- {type: ping, url: \"(secret 2 is kept)\", name: hc}", `-    - type: mail   # to the desk
-      host: mail
-
-      from: a@b
-      to: [c@d]
-      user: u
-      password: "*****" # secret
-    - {type: ping, url: "*****"}
+    - {type: ping, url: "*****", name: hc}
`},
		{"docs", "notify", "- {type: ping, url: \"https://other/token\"}", `-    - type: mail   # to the desk
-      host: mail
-
-      from: a@b
-      to: [c@d]
-      user: u
-      password: "*****" # secret
-    - {type: ping, url: "*****"}
+    - {type: ping, url: "***** (new)"}
`},
	} {
		d := read(t, written(t, sample))
		p, err := d.Replace(c.scope, c.name, c.text)
		if err != nil {
			t.Errorf("%s %s: %v %s", c.scope, c.name, err, core.HintOf(err))
			continue
		}
		if diff := cmp.Diff(c.want, replaced(p)); diff != "" || len(p.Problems) > 0 {
			t.Errorf("%s %s: %v %s", c.scope, c.name, p.Problems, diff)
		}
		if strings.Contains(string(p.After), "is kept") {
			t.Errorf("%s %s: what stands for a secret was written:\n%s", c.scope, c.name, p.After)
		}
	}
}

// TestMissing: `defaults` is made where it is missing, in the file's own way.
func TestMissing(t *testing.T) {
	const head = "repository: {url: \"file:///r\", password_file: /k}\n"
	for in, want := range map[string]string{
		head:                                              head + "defaults:\n  check: {max_age: 1d}\n",
		strings.TrimSuffix(head, "\n"):                    head + "defaults:\n  check: {max_age: 1d}\n",
		head + "defaults:\napps: []":                      head + "defaults:\n  check: {max_age: 1d}\napps: []",
		head + "\n# all of them\napps: []\n":              head + "\ndefaults:\n  check: {max_age: 1d}\n\n# all of them\napps: []\n",
		"---\n" + head + "...\n":                          "---\n" + head + "defaults:\n  check: {max_age: 1d}\n...\n",
		"\ufeff" + strings.ReplaceAll(head, "\n", "\r\n"): "\ufeff" + strings.ReplaceAll(head+"defaults:\n  check: {max_age: 1d}\n", "\n", "\r\n"),
	} {
		d := read(t, written(t, in))
		p, err := d.Replace("", "check", "{max_age: 1d}")
		if err != nil {
			t.Errorf("%q: %v", in, err)
			continue
		}
		if diff := cmp.Diff(want, string(p.After)); diff != "" || len(p.Problems) > 0 {
			t.Errorf("%q: %v %s", in, p.Problems, diff)
		}
		// And away again: nothing that was there is lost.
		back, err := read(t, written(t, want)).Replace("", "check", "")
		if err != nil || len(back.Problems) > 0 {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestProblems(t *testing.T) {
	d := read(t, written(t, sample))
	p, err := d.Replace("", "schedule", "# x\ntimee: 23:30\nevery: 1s")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Problems) < 2 || p.Problems[0].Typed != 2 || p.Problems[1].Typed != 3 || p.Problems[0].Line != 13 || p.Problems[0].Hint != `did you mean "time"?` {
		t.Errorf("problems %+v", p.Problems)
	}
	if p, err = d.Replace("", "schedule", "{time: 23:30"); err != nil || len(p.Problems) != 1 || p.Problems[0].Typed != 1 || p.Changed() {
		t.Errorf("not YAML: %v %+v", err, p)
	}
	if err := p.Apply(time.Unix(0, 0), t.TempDir(), "me"); core.CodeOf(err) != core.CodeConfig {
		t.Errorf("a wrong file was written: %v", err)
	}
	if p, err = d.Replace("", "service", "listen: 0.0.0.0:8484"); err != nil || len(p.Warnings) == 0 || len(p.Problems) != 0 {
		t.Errorf("no warning: %v %+v", err, p)
	}
	open := written(t, strings.ReplaceAll(strings.ReplaceAll(sample, `password: "hunter2"`, "password_file: /f"), "url: https://hc/abc", "url_file: /u"))
	if err := os.Chmod(open, 0o644); err != nil {
		t.Fatal(err)
	}
	if p, err = read(t, open).Replace("", "notify", "- {type: ping, url: https://hc/abc}"); err != nil || len(p.Problems) != 1 {
		t.Errorf("a secret for all to read: %v %+v", err, p)
	}
}

// TestHostile: a text is one section's value, whatever it looks like.
func TestHostile(t *testing.T) {
	d := read(t, written(t, sample))
	for _, text := range []string{
		"{daily: 1}\nschedule: {}", "{daily: 1}\n---\na: b", "daily: 1\n...\n", "&x {daily: 1}\n", "*x", "!!map {daily: 1}", "# only this",
		"{daily: 1}\r    schedule: []", "{daily: 1}\u2028apps: []", "{daily: 1}\x00", "{daily: 1}\u0085apps: []", "|\n  x\ny: z", "{daily: 1} }", "\tdaily: 1",
		"daily: 1\n  weekly: 2", "? a\n: b", "%YAML 1.2\n---\ndaily: 1", strings.Repeat("[", 2000), strings.Repeat("a", MaxBytes+1),
	} {
		for _, c := range [][2]string{{"", "retention"}, {"", "check"}, {"desk", "retention"}, {"desk", "check"}} {
			p, err := d.Replace(c[0], c[1], text)
			if err == nil && len(p.Problems) == 0 && !harmless(t, d, p, c[0], c[1]) {
				t.Errorf("%v took %.60q:\n%s", c, text, p.After)
			}
		}
	}
	for _, text := range []string{
		`- {type: itop, url: "(secret 1 is kept)", user: a, customer: b, password_file: /c}`,
		`- {type: mail, host: "(secret 1 is kept)", from: a@b, to: [c@d]}`,
		`- {type: ping, url_file: /x} # (secret 1 is kept)`,
	} {
		if p, err := d.Replace("docs", "notify", text); core.CodeOf(err) != core.CodeUsage {
			t.Errorf("%s would show a secret: %v %v", text, err, p)
		}
	}
}

// harmless says whether all but the section is as it was.
func harmless(t testing.TB, d *Document, p *Proposal, scope, name string) bool {
	t.Helper()
	next, err := parse(d.path, p.After)
	if err != nil {
		t.Error(err)
		return false
	}
	before, _ := d.others(scope, name)
	after, ok := next.others(scope, name)
	return ok && cmp.Equal(before, after)
}

// TestRefused: what cannot be changed without risk is left to an editor.
func TestRefused(t *testing.T) {
	const head = "repository: {url: \"file:///r\", password_file: /k}\n"
	for _, in := range []string{
		head + "defaults: {check: {enabled: false}}\n",
		head + "defaults: &d\n  check: &c {max_age: 1d}\napps:\n  - name: a\n    profile: itop\n    root: /a\n    check: *c\n",
		"{repository: {url: \"file:///r\"}}\n",
		head + "defaults:\n  check: {max_age: 1d,\nmin_backups: 3}\n",
		head + "defaults:\n  ? check\n  : {max_age: 1d}\n",
		head + "defaults:\n  check: {max_age: 1d}\n  check: {max_age: 2d}\n",
	} {
		d, err := Read(written(t, in))
		if err != nil {
			continue
		}
		p, err := d.Replace("", "check", "{max_age: 3d}")
		if err == nil && len(p.Problems) == 0 {
			t.Errorf("%q: changed:\n%s", in, p.After)
		}
	}
	for _, in := range []string{head + "a: b\r\n", head + "scratch:\n  password: >-\n    two\n    lines\n", "a: [", head + "---\na: b\n"} {
		if _, err := Read(written(t, in)); err == nil {
			t.Errorf("%q was read", in)
		}
	}
}

func TestApply(t *testing.T) {
	path, state := written(t, sample), t.TempDir()
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.yaml")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(strings.ReplaceAll(sample, `password: "hunter2"`, "password_file: /f"), "url: https://hc/abc", "url_file: /u")
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
	p, err := read(t, link).Replace("", "retention", "{daily: 9}")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	if err := p.Apply(now, state, "ann"); err != nil {
		t.Fatal(err)
	}
	want := strings.ReplaceAll(text, "{daily: 7}    # a week", "{daily: 9}")
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%v: %s", err, cmp.Diff(want, string(got)))
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	list, err := Versions(state)
	if err != nil || len(list) != 1 || list[0].By != "ann" || !list[0].Until.Equal(now) {
		t.Fatalf("versions %+v, %v", list, err)
	}
	kept := filepath.Join(versionsFolder(state), list[0].ID+".yaml")
	if got, err := os.ReadFile(kept); err != nil || string(got) != text {
		t.Error("the former version is not what it was")
	}
	if info, err := os.Stat(kept); err != nil || info.Mode() != 0o600 {
		t.Error("others can read the former version")
	}

	// The same proposal a second time is of a file that is no longer there.
	if err := p.Apply(now, state, "bob"); !errors.Is(err, ErrChanged) || core.CodeOf(err) != core.CodeLocked {
		t.Errorf("error %v", err)
	}
	if list, err := Versions(state); err != nil || len(list) != 1 {
		t.Error("a refused change left a version")
	}

	back, err := read(t, link).PutBack(state, list[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	if got := replaced(back); got != "-    retention: {daily: 9}\n+    retention: {daily: 7}    # a week\n" {
		t.Errorf("difference:\n%s", got)
	}
	if err := back.Apply(now.Add(time.Second), state, "ann"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Error("it was not put back")
	}
	for _, id := range []string{"../../x", "", "20261123T120000.000000000Z-0123456789ab", list[0].ID + "/../x"} {
		if _, err := read(t, path).PutBack(state, id); core.CodeOf(err) != core.CodeNotFound {
			t.Errorf("%q: error %v", id, err)
		}
	}
}

// TestApplyOwner: the file goes on belonging to whom it belongs.
func TestApplyOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file to somebody else")
	}
	path := written(t, "repository: {url: \"file:///r\", password_file: /k}\n")
	if err := os.Chown(path, 12345, 23456); err != nil {
		t.Fatal(err)
	}
	p, err := read(t, path).Replace("", "check", "{enabled: false}")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Apply(time.Unix(1, 0), t.TempDir(), "me"); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid != 12345 || s.Gid != 23456 {
		t.Errorf("owner %d:%d", s.Uid, s.Gid)
	}
}

func TestVersionsAreBounded(t *testing.T) {
	path, state := written(t, "repository: {url: \"file:///r\", password_file: /k}\n"), t.TempDir()
	for i := range keptVersions + 3 {
		text := map[bool]string{true: "{enabled: false}", false: ""}[i%2 == 0]
		p, err := read(t, path).Replace("", "check", text)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Apply(time.Unix(int64(i), 0), state, "me"); err != nil {
			t.Fatal(err)
		}
	}
	list, err := Versions(state)
	if err != nil || len(list) != keptVersions || list[0].Until.Unix() != keptVersions+2 {
		t.Errorf("%d versions, %v", len(list), err)
	}
	entries, err := os.ReadDir(versionsFolder(state))
	if err != nil || len(entries) != 2*keptVersions+1 {
		t.Errorf("%d files are left, %v", len(entries), err)
	}
}

// FuzzReplace: a section that is put back as it was shown changes nothing, and
// whatever is typed changes nothing else.
func FuzzReplace(f *testing.F) {
	for _, text := range []string{"{daily: 1}", "daily: 1\n# x", "- a\n- b: c", "{a: 1}\nschedule: 2", "|\n x", "&a b", "*b", "? x", "\"a\nb\"", "", "- {type: ping, url: (secret 1 is kept)}"} {
		f.Add(sample, text, uint8(0))
		f.Add("repository: {url: \"file:///r\"}\napps:\n- name: desk\n  profile: itop\n", text, uint8(3))
	}
	f.Add("repository:\n  url: x\ndefaults: &d\n  check: {a: 1} # b\n  # c\n", "{}", uint8(2))
	f.Fuzz(func(t *testing.T, file, text string, which uint8) {
		d, err := parse("f", []byte(file))
		if err != nil {
			return
		}
		scope := []string{"", "desk", "docs"}[int(which/4)%3]
		name := Sections()[which%4]
		section, err := d.Section(scope, name)
		if err != nil {
			return
		}
		if section.Set && strings.TrimSpace(section.Text) != "" {
			p, err := d.Replace(scope, name, section.Text)
			if err != nil || p.Changed() {
				t.Fatalf("%q as it was is a change: %v\n%s", section.Text, err, file)
			}
		}
		p, err := d.Replace(scope, name, text)
		if err != nil || !p.Changed() {
			return
		}
		if !harmless(t, d, p, scope, name) {
			t.Fatalf("%q changed something else:\n%s\n---\n%s", text, file, p.After)
		}
	})
}
