package preflight_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/backstay/backstay/internal/mysql/preflight"
)

// TestMeanings: every name that a finding can have is listed, and no other.
func TestMeanings(t *testing.T) {
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	pattern := regexp.MustCompile(`(?:a|p)\.(?:find\([^,]+, |fine\(|compare\()"([a-z-]+)"|Name: "([a-z-]+)"|const name = "([a-z-]+)"`)
	given := map[string]bool{}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") || source == "names.go" {
			continue
		}
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range pattern.FindAllStringSubmatch(string(text), -1) {
			given[m[1]+m[2]+m[3]] = true
		}
	}
	var got, want []string
	for name := range given {
		got = append(got, name)
	}
	for _, m := range preflight.Meanings() {
		want = append(want, m.Name)
		if len(m.Kinds) == 0 || !strings.HasSuffix(m.What, ".") {
			t.Errorf("%+v", m)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("listed (-), given (+):\n%s", diff)
	}
}
