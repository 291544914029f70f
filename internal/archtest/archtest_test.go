package archtest

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// TestHouseRules checks the project itself.
func TestHouseRules(t *testing.T) {
	breaches, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, breach := range breaches {
		t.Error(breach)
	}
}

// TestRoomsExist keeps the rules from outliving what they are about.
func TestRoomsExist(t *testing.T) {
	for name := range rooms() {
		info, err := os.Stat("../" + name)
		if err != nil || !info.IsDir() {
			t.Errorf("rules.go has the room %s, and there is no folder internal/%s: %v", name, name, err)
		}
	}
}

// TestRulesAreSound checks that what the rules speak of is there to speak of.
func TestRulesAreSound(t *testing.T) {
	for name, r := range rooms() {
		for _, target := range r.mayImport {
			if _, known := rooms()[target]; !known && target != "*" {
				t.Errorf("the room %s may import %s, which is no room", name, target)
			}
		}
		if r.reason == "" {
			t.Errorf("the room %s gives no reason", name)
		}
	}
}

func TestCheck(t *testing.T) {
	const comment = "// Package x is described.\npackage x\n"
	long := func(lines int) string { return comment + strings.Repeat("//\n", lines-3) + "\n" }
	tests := []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"nothing wrong", map[string]string{
			"internal/files/a.go": comment + "import _ \"github.com/backstay/backstay/internal/core\"\n",
			"internal/files/b.go": "package x\nimport \"time\"\nvar later = time.Second\nfunc (t) init() {}\ntype t struct{}\n",
			"cmd/backstay/m.go":   "// Command backstay is described.\npackage main\nimport \"os\"\nfunc main() { os.Exit(0) }\n",
		}, nil},
		{"core imports a library", map[string]string{"internal/core/a.go": comment + "import _ \"example.org/x\"\n"}, []string{
			"internal/core/a.go imports example.org/x: core imports the standard library only, so that every package can import core",
		}},
		{"core imports a leaf", map[string]string{"internal/core/a.go": comment + "import _ \"github.com/backstay/backstay/internal/files\"\n"}, []string{
			"internal/core/a.go imports github.com/backstay/backstay/internal/files: core imports the standard library only, so that every package can import core",
			"internal/core/a.go imports internal/files: internal/core may import none of the project's packages only: it is what all others speak in",
		}},
		{"a leaf imports a leaf", map[string]string{
			"internal/files/deep/a.go":   comment + "import _ \"github.com/backstay/backstay/internal/mysql/dump\"\n",
			"internal/files/a_test.go":   "package x\nimport _ \"github.com/backstay/backstay/internal/mysql/dump\"\n",
			"internal/profile/itop/a.go": comment + "import _ \"github.com/backstay/backstay/internal/phpconf\"\n",
		}, []string{
			"internal/files/deep/a.go imports internal/mysql/dump: internal/files may import core only: it walks trees and knows of no application; what needs two leaves belongs in engine",
		}},
		{"ui is a room of its own", map[string]string{
			"internal/cli/ui/a.go": comment + "import _ \"github.com/backstay/backstay/internal/engine\"\n",
			"internal/cli/a.go":    comment + "import _ \"github.com/backstay/backstay/internal/engine\"\nimport _ \"github.com/backstay/backstay/internal/cli/ui\"\n",
		}, []string{
			"internal/cli/ui/a.go imports internal/engine: internal/cli/ui may import core only: it knows how things look, not what they are",
		}},
		{"kopia elsewhere, a test too", map[string]string{
			"internal/engine/a.go":      comment + "import _ \"github.com/backstay/backstay/internal/repository/kopia\"\n",
			"internal/engine/a_test.go": "package x\nimport _ \"github.com/kopia/kopia/repo\"\n",
		}, []string{
			"internal/engine/a.go imports internal/repository/kopia: the engine sees repository.Store; which one it is is decided in cli",
			"internal/engine/a_test.go imports github.com/kopia/kopia/repo: kopia is behind the Store seam; see its hazards in docs/adr",
		}},
		{"test packages in the program", map[string]string{
			"internal/engine/a.go":          comment + "import (\n_ \"github.com/backstay/backstay/internal/mysql/mysqltest\"\n_ \"github.com/google/go-cmp/cmp\"\n_ \"testing\"\n)\n",
			"internal/mysql/mysqltest/a.go": comment + "import (\n_ \"github.com/google/go-cmp/cmp\"\n_ \"testing\"\n)\n",
		}, []string{
			"internal/engine/a.go imports github.com/google/go-cmp/cmp: go-cmp panics on what it does not know and is for tests",
			"internal/engine/a.go imports internal/mysql/mysqltest: what is for tests is not part of the program",
			"internal/engine/a.go imports testing: what is for tests is not part of the program",
		}},
		{"clock, exit, logger, init", map[string]string{
			"internal/files/a.go": comment + "import (\n\"os\"\nclock \"time\"\n\"log/slog\"\n)\nfunc init() {\nos.Exit(1)\nslog.SetDefault(nil)\n_ = clock.Now\nclock.Since(x)\n}\n",
			// A test may; no one may set the default logger.
			"internal/files/a_test.go": "package x\nimport (\n\"os\"\n\"time\"\n\"log/slog\"\n)\nfunc f() {\nos.Exit(1)\nslog.SetDefault(nil)\ntime.Now()\n}\n",
		}, []string{
			"internal/files/a.go:10 uses log/slog.SetDefault: take a *slog.Logger: the default is a global",
			"internal/files/a.go:11 uses time.Now: take a core.Clock, so that tests can choose the time",
			"internal/files/a.go:12 uses time.Since: take a core.Clock, so that tests can choose the time",
			"internal/files/a.go:8 has an init function: what runs is wired in internal/cli, in sight",
			"internal/files/a.go:9 uses os.Exit: only main may end the process: elsewhere it skips what is deferred",
			"internal/files/a_test.go:9 uses log/slog.SetDefault: take a *slog.Logger: the default is a global",
		}},
		{"sizes", map[string]string{
			"internal/files/a.go":      long(maxFileLines),
			"internal/files/b.go":      "package x\n" + strings.Repeat("//\n", maxFileLines),
			"internal/files/c.go":      "package x\n" + strings.Repeat("//\n", maxFileLines-1),
			"internal/files/d.go":      "package x\n" + strings.Repeat("//\n", maxFileLines-1),
			"internal/files/e.go":      "package x\n" + strings.Repeat("//\n", maxFileLines-1),
			"internal/files/a_test.go": "package x\n" + strings.Repeat("//\n", maxTestFileLines),
			"internal/mysql/gen.go":    "// Code generated by x. DO NOT EDIT.\n\n" + long(maxFileLines),
		}, []string{
			"internal/files has 3001 lines without its tests, more than 3000: split it by noun",
			"internal/files/a_test.go has 1001 lines, more than 1000: split it by what its parts are about",
			"internal/files/b.go has 601 lines, more than 600: split it by what its parts are about",
		}},
		{"package comments", map[string]string{
			"internal/files/a.go":       "package x\n",
			"internal/mysql/a.go":       comment,
			"internal/mysql/b.go":       comment,
			"internal/phpconf/a.go":     "// This is it.\npackage x\n",
			"internal/config/a_test.go": "package x\n",
		}, []string{
			"internal/files has no package comment: say what it is for, for whom, and what it promises",
			"internal/mysql has 2 package comments, in internal/mysql/a.go, internal/mysql/b.go: keep one",
			"internal/phpconf/a.go: the package comment must begin with \"Package x \"",
		}},
		{"names and rooms", map[string]string{
			"internal/attic/a.go":       comment,
			"internal/files/utils/a.go": comment,
		}, []string{
			"internal/attic is not in the list of rooms: add it to internal/archtest/rules.go with what it may import and why",
			"internal/files/utils: a package is named by the noun it owns, not utils",
		}},
		{"fuzz targets without seeds", map[string]string{
			"internal/files/a_test.go":                   "package x\nfunc FuzzNone(f *testing.F) { f.Fuzz(nil) }\nfunc FuzzCode(f *testing.F) { f.Add(1) }\nfunc FuzzFiles(f *testing.F) {}\n",
			"internal/files/testdata/fuzz/FuzzFiles/one": "go test fuzz v1\n",
			"internal/files/testdata/bad.go":             "not Go",
		}, []string{
			"internal/files/a_test.go:2 has no seeds: add some with f.Add or in testdata/fuzz/FuzzNone",
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tree := fstest.MapFS{}
			for name, content := range tt.files {
				tree[name] = &fstest.MapFile{Data: []byte(content)}
			}
			got, err := Check(tree)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCheckReportsWhatIsNotGo(t *testing.T) {
	_, err := Check(fstest.MapFS{"internal/files/a.go": {Data: []byte("packet x")}})
	if err == nil || !strings.HasPrefix(err.Error(), "read the module: internal/files/a.go:1:1") {
		t.Errorf("got %v", err)
	}
}

// TestEveryLibraryRuleBites guards against a rule that is misspelt.
func TestEveryLibraryRuleBites(t *testing.T) {
	for _, rule := range libraries() {
		source := fmt.Sprintf("// Package x is described.\npackage x\nimport _ %q\n", rule.library)
		got, err := Check(fstest.MapFS{"internal/engine/a.go": {Data: []byte(source)}})
		want := fmt.Sprintf("internal/engine/a.go imports %s: %s", rule.library, rule.reason)
		if err != nil || !slices.Contains(got, want) {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
}
