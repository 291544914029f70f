package profiletest

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// archives tests what an import and an export ask a profile.
func (s Subject) archives(t *testing.T) {
	t.Run("without a live app", s.withoutLive)
	a, ok := s.Profile.(profile.Archiver)
	if ok != (profile.ArchiveFormat(s.Profile) != "") {
		t.Errorf("its format is %q", profile.ArchiveFormat(s.Profile))
	}
	if !ok {
		return
	}
	t.Run("naming", func(t *testing.T) { s.naming(t, a) })
	t.Run("configuration in an archive", func(t *testing.T) { s.fromConfig(t, a) })
	t.Run("hostile configuration in an archive", func(t *testing.T) { s.hostileConfig(t, a) })
}

// withoutLive: a database that an archive brought has no application yet.
func (s Subject) withoutLive(t *testing.T) {
	odd := "\x1b[2J\n" + strings.Repeat("9", 10_000)
	for name, answer := range map[string]queryFunc{
		"nothing":  func() ([][]*string, error) { return nil, nil },
		"odd text": func() ([][]*string, error) { return [][]*string{{&odd, &odd, &odd}}, nil },
		"a number": func() ([][]*string, error) {
			one := "1"
			return [][]*string{{&one, &one, &one}, {&odd, &odd, &odd}}, nil
		},
	} {
		for _, root := range []string{"", filepath.Join(t.TempDir(), "missing")} {
			found := profile.Found(s.Profile, "subject", root, "scratch_1", profile.Configured{Prefix: "p_"})
			if name == "a number" {
				found.Versions, found.Settings = nil, nil
			}
			if err := s.Profile.Versions(t.Context(), answer, found); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			for key, v := range found.Versions {
				if !profile.ValidVersion(v) {
					t.Errorf("%s: %s is %q", name, key, v)
				}
			}
			for _, m := range found.Modules {
				if !profile.ValidVersion(m.Name) || m.Version != "" && !profile.ValidVersion(m.Version) || strings.Contains(m.Source, odd) {
					t.Errorf("%s: module %q", name, m)
				}
			}
			if err := s.Profile.Busy(t.Context(), nil, found); err != nil {
				t.Errorf("busy: %v", err)
			}
		}
	}
}

func (s Subject) naming(t *testing.T, a profile.Archiver) {
	account := PlainAccount()
	root, app := s.install(t, account)
	naming, err := a.ArchiveNaming(t.Context(), app)
	if err != nil || naming.Format == "" {
		t.Errorf("%+v, %v", naming, err)
	}
	if strings.Contains(naming.Format, profile.NamingDB) && naming.Database != account.Name {
		t.Errorf("%+v", naming)
	}
	if err := os.Remove(filepath.Join(root, s.Config)); err != nil {
		t.Fatal(err)
	}
	without, err := a.ArchiveNaming(t.Context(), app)
	if without.Format == "" {
		t.Error("there is no name without a configuration")
	}
	if err != nil {
		refused(t, err)
	}
}

// fromConfig: the file says in an archive what it says where it lies.
func (s Subject) fromConfig(t *testing.T, a profile.Archiver) {
	account := PlainAccount()
	if s.Prefix {
		account.Prefix = "p_"
	}
	root, app := s.install(t, account)
	c, err := a.FromConfig(s.config(t, root), app.Environment)
	if err != nil || len(c.Problems) > 0 {
		t.Fatalf("%v, problems %v", err, c.Problems)
	}
	if c.Database != account.Name || c.Prefix != account.Prefix {
		t.Errorf("database %q, prefix %q", c.Database, c.Prefix)
	}
	want := map[string]string{}
	for key, value := range s.discover(t, app).Settings {
		if value != "" {
			want[key] = value
		}
	}
	if diff := cmp.Diff(want, c.Settings); diff != "" {
		t.Errorf("(-live +archive)\n%s", diff)
	}
	for _, text := range slices.Collect(maps.Values(c.Settings)) {
		if strings.Contains(text, account.Password) {
			t.Errorf("the password is in %q", text)
		}
	}
}

func (s Subject) config(t *testing.T, root string) []byte {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, s.Config))
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// hostileConfig: nothing in it runs, nothing of this machine gets into it, and
// what cannot be read is said.
func (s Subject) hostileConfig(t *testing.T, a profile.Archiver) {
	marker := filepath.Join(t.TempDir(), "marker")
	t.Setenv("BACKSTAY_TEST_SECRET", "of-this-machine")
	t.Setenv("ITOP_CONFIG_PLACEHOLDERS", "1")
	account := PlainAccount()
	calls := func(text string) string { return "' . " + text + " . '" }
	for name, value := range map[string]string{
		"runs": calls("system('touch " + marker + "')"), "asks": calls("getenv('BACKSTAY_TEST_SECRET')"),
		"reads": calls("file_get_contents('/etc/passwd')"),
	} {
		t.Run(name, func(t *testing.T) {
			hostile := account
			hostile.Name = "@@"
			root, app := s.install(t, hostile)
			content := strings.ReplaceAll(string(s.config(t, root)), "'@@'", "'"+value+"'")
			c, err := a.FromConfig([]byte(content), app.Environment)
			if err != nil || c.Database != "" || len(c.Problems) == 0 {
				t.Errorf("%+v, %v", c, err)
			}
			s.checkHarmless(t, c)
		})
	}
	for name, text := range map[string]string{
		"placeholder": "%env(BACKSTAY_TEST_SECRET)%", "escape": "a\x1b[2Jb", "long": strings.Repeat("x", 100_000), "bytes": "\xff\xfe", "quote": "a`b'\"",
	} {
		t.Run(name, func(t *testing.T) {
			hostile := account
			hostile.Name = text
			root, app := s.install(t, hostile)
			c, err := a.FromConfig(s.config(t, root), app.Environment)
			if err != nil {
				t.Error(err)
			}
			s.checkHarmless(t, c)
		})
	}
	for name, content := range map[string]string{"empty": "", "none": "no PHP", "broken": "<?php $MySettings = array(", "binary": "\x00\xff<?php\x00", "large": "<?php " + strings.Repeat("$a=1;", 1<<20)} {
		c, err := a.FromConfig([]byte(content), "")
		refused(t, err)
		if c.Settings == nil || c.Database != "" {
			t.Errorf("%s: %+v", name, c)
		}
	}
	if _, err := os.Stat(marker); !os.IsNotExist(err) {
		t.Errorf("it ran: %v", err)
	}
}

func (s Subject) checkHarmless(t *testing.T, c profile.Configured) {
	t.Helper()
	texts := []string{c.Database, c.Prefix}
	for key, text := range c.Settings {
		texts = append(texts, key, text)
	}
	for _, p := range c.Problems {
		texts = append(texts, p.Object, p.Message)
	}
	for _, text := range texts {
		if text != "" && !profile.ValidVersion(text) && len(text) < 100 || len(text) > 1000 || strings.Contains(text, "of-this-machine") || strings.Contains(text, PlainAccount().Password) {
			t.Errorf("there is %q", text)
		}
	}
	found := profile.Found(s.Profile, "subject", "", "scratch_1", c)
	if found.Database.Name != "scratch_1" || found.Profile != s.Profile.Name() || !slices.EqualFunc(found.Warnings, c.Problems, func(a, b core.Warning) bool { return a == b }) {
		t.Errorf("%+v", found)
	}
}
