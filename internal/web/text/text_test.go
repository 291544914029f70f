package text

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func language(t *testing.T, tag string) *Language {
	t.Helper()
	for _, l := range Languages() {
		if l.Tag == tag {
			return l
		}
	}
	t.Fatalf("no language %q", tag)
	return nil
}

func TestEveryLanguageHasEveryText(t *testing.T) {
	placeholder := regexp.MustCompile(`\{\d+\}`)
	places := func(text string) []string {
		found := placeholder.FindAllString(text, -1)
		slices.Sort(found)
		return slices.Compact(found)
	}
	english := language(t, "en")
	for _, l := range Languages() {
		for key, text := range english.texts {
			other, ok := l.texts[key]
			if !ok {
				t.Errorf("%s has no text of %q", l.Tag, key)
				continue
			}
			// One thing needs no number.
			if strings.HasSuffix(key, ".one") {
				continue
			}
			if d := cmp.Diff(places(text), places(other)); d != "" {
				t.Errorf("%s of %q names other values than English (-en +%s):\n%s", l.Tag, key, l.Tag, d)
			}
			if strings.TrimSpace(other) != other || other == "" {
				t.Errorf("%s of %q is %q", l.Tag, key, other)
			}
		}
		for key := range l.texts {
			if _, ok := english.texts[key]; !ok {
				t.Errorf("%s has a text of %q, which English has not", l.Tag, key)
			}
		}
	}
}

func TestAreasDoNotMix(t *testing.T) {
	names, err := fs.Glob(catalogue, "catalogue/*.json")
	if err != nil || len(names) == 0 {
		t.Fatalf("found %d files: %v", len(names), err)
	}
	owner := map[string]string{} // of what keys begin with
	for _, name := range names {
		content, err := catalogue.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts := map[string]string{}
		if err := json.Unmarshal(content, &texts); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		area, rest, _ := strings.Cut(filepath.Base(name), ".")
		if !slices.Contains([]string{"en.json", "de.json", "fr.json"}, rest) {
			t.Errorf("%s is of no language", name)
		}
		for key := range texts {
			first, _, _ := strings.Cut(key, ".")
			if other, ok := owner[first]; ok && other != area {
				t.Errorf("%s has %q, of %s", name, key, other)
			}
			owner[first] = area
		}
	}
}

func TestATextTwiceIsAMistake(t *testing.T) {
	_, err := load(fstest.MapFS{
		"catalogue/a.en.json": {Data: []byte(`{"a.x": "one"}`)},
		"catalogue/b.en.json": {Data: []byte(`{"a.x": "two"}`)},
	})
	if err == nil || !strings.Contains(err.Error(), `b.en.json: another file has "a.x" too`) {
		t.Errorf("load: %v", err)
	}
	if _, err := load(fstest.MapFS{"catalogue/a.en.json": {Data: []byte(`{`)}}); err == nil || !strings.Contains(err.Error(), "a.en.json") {
		t.Errorf("load: %v", err)
	}
}

// Source speaks by literals: whole keys, or the beginning of one that is put
// together, which ends with a point.
var (
	literal = regexp.MustCompile("[\"`]([a-z][a-z0-9_]*(?:\\.[A-Za-z0-9_-]+)*\\.?)(%[sdvq])?(\\.[a-z.]+)?[\"`]")
	asked   = regexp.MustCompile("(?:\\{\\{-?|\\(|\\||=)\\s*(t|n)\\s+[\"`]([^\"`]+)[\"`]|\\.(T|N|Say|Warn)\\([\"`]([^\"`]+)[\"`]")
)

func TestSourcesAskForTextsThatThereAre(t *testing.T) {
	english := language(t, "en")
	whole, begun := map[string]bool{}, map[string]bool{}
	sources := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, "_test.go") || !(strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".html")) {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		sources++
		source := string(content)
		for _, m := range asked.FindAllStringSubmatch(source, -1) {
			kind, key := m[1]+m[3], m[2]+m[4]
			switch {
			case strings.HasSuffix(key, "."), strings.Contains(key, " "), strings.Contains(key, "%"): // the beginning of one, or a line of the log
			case strings.EqualFold(kind, "n"):
				if !english.Has(key+".one") || !english.Has(key+".other") {
					t.Errorf("%s counts with %q, of which there is no text", path, key)
				}
			case !english.Has(key) && !english.Has(key+".one"):
				t.Errorf("%s says %q, of which there is no text", path, key)
			}
		}
		for _, m := range literal.FindAllStringSubmatch(source, -1) {
			if strings.HasSuffix(m[1], ".") {
				begun[m[1]] = true
			} else {
				whole[m[1]] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if sources < 8 {
		t.Fatalf("looked at %d sources only", sources)
	}
	for key := range english.texts {
		name := strings.TrimSuffix(strings.TrimSuffix(key, ".one"), ".other")
		used := whole[key] || whole[name]
		for i, c := range key {
			used = used || c == '.' && begun[key[:i+1]]
		}
		if !used && !whole[strings.TrimSuffix(name, ".text")] {
			t.Errorf("no page says %q", key)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct{ tag, accept, want string }{
		{"", "", "en"},
		{"de", "fr", "de"},
		{"xx", "fr", "fr"},
		{"", "de-AT,de;q=0.9,en;q=0.8", "de"},
		{"", "it, fr-CH;q=0.5, en;q=0.4", "fr"},
		{"", "en;q=0.1, DE;q=0.2", "de"},
		{"", "de;q=0", "en"},
		{"", "de;q=x, fr;q=0.1", "fr"},
		{"", "it,*", "en"},
		{"", strings.Repeat("it,", 100_000) + "de", "en"},
	} {
		if got := Choose(c.tag, c.accept).Tag; got != c.want {
			t.Errorf("Choose(%q, %.40q) = %s, want %s", c.tag, c.accept, got, c.want)
		}
	}
}

func TestValuesAreTakenAsTheyAre(t *testing.T) {
	l := &Language{texts: map[string]string{"a": "{1} before {0}", "b.one": "a file in {1}", "b.other": "{0} files in {1}"}, style: english()}
	if got, want := l.T("a", "{1}", 7), "7 before {1}"; got != want {
		t.Errorf("T = %q, want %q", got, want)
	}
	if got, want := l.N("b", 1, "x"), "a file in x"; got != want {
		t.Errorf("N = %q, want %q", got, want)
	}
	if got, want := l.N("b", 12345, "x"), "12,345 files in x"; got != want {
		t.Errorf("N = %q, want %q", got, want)
	}
	if got := l.T("there.is.none"); got != "there.is.none" {
		t.Errorf("T = %q", got)
	}
}

func TestNumbersAndTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 23, 13, 5, 7, 0, time.UTC)
	summer := time.Date(2026, 7, 1, 10, 0, 0, 0, time.UTC)
	got := map[string][]string{}
	for _, l := range Languages() {
		got[l.Tag] = []string{
			l.Size(999), l.Size(1_310_000_000), l.Size(999_600), l.Size(-1500), l.Size(9_223_372_036_854_775_807), l.Size(-9_223_372_036_854_775_808),
			l.Count(1234567), l.Count(-1000), l.Count(999),
			l.Duration(340 * time.Millisecond), l.Duration(2300 * time.Millisecond), l.Duration(250 * time.Second), l.Duration(184 * time.Minute), l.Duration(51 * time.Hour),
			l.Ago(now.Add(-3*time.Second), now), l.Ago(now.Add(-42*time.Second), now), l.Ago(now.Add(-3*time.Hour), now), l.Ago(now.Add(-5*24*time.Hour), now), l.Ago(now.Add(49*time.Hour), now), l.Ago(now.Add(-400*24*time.Hour), now), l.Ago(now.Add(-800*24*time.Hour), now),
			l.Time(now, berlin), l.Time(summer, berlin), l.Time(now, time.FixedZone("+0530", 19800)), l.Date(now, berlin), l.Exactly(now, time.UTC),
		}
	}
	want := map[string][]string{
		"en": {
			"999 B", "1.3 GB", "1.0 MB", "-1.5 kB", "9.2 EB", "-9.2 EB", "1,234,567", "-1,000", "999",
			"340 ms", "2.3 s", "4 min 10 s", "3 h 4 min", "2 d 3 h",
			"just now", "42 s ago", "3 h ago", "5 days ago", "in 2 days", "13 months ago", "2 years ago",
			"2026-11-23 14:05 CET", "2026-07-01 12:00 CEST", "2026-11-23 18:35 UTC+0530", "2026-11-23", "2026-11-23 13:05:07 UTC",
		},
		"de": {
			"999 B", "1,3 GB", "1,0 MB", "-1,5 kB", "9,2 EB", "-9,2 EB", "1.234.567", "-1.000", "999",
			"340 ms", "2,3 s", "4 min 10 s", "3 h 4 min", "2 T 3 h",
			"gerade eben", "vor 42 Sek.", "vor 3 Std.", "vor 5 Tagen", "in 2 Tagen", "vor 13 Monaten", "vor 2 Jahren",
			"23.11.2026 14:05 MEZ", "01.07.2026 12:00 MESZ", "23.11.2026 18:35 UTC+0530", "23.11.2026", "23.11.2026 13:05:07 UTC",
		},
		"fr": {
			"999 o", "1,3 Go", "1,0 Mo", "-1,5 ko", "9,2 Eo", "-9,2 Eo", "1\u202f234\u202f567", "-1\u202f000", "999",
			"340 ms", "2,3 s", "4 min 10 s", "3 h 4 min", "2 j 3 h",
			"à l’instant", "il y a 42 s", "il y a 3 h", "il y a 5 jours", "dans 2 jours", "il y a 13 mois", "il y a 2 ans",
			"23/11/2026 14:05 CET", "01/07/2026 12:00 CEST", "23/11/2026 18:35 UTC+0530", "23/11/2026", "23/11/2026 13:05:07 UTC",
		},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}
