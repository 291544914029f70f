package itop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/profile"
)

// TestAfterRestore: what is said depends on whether the compiled code is there
// and belongs to what was restored.
func TestAfterRestore(t *testing.T) {
	backup := map[string]string{VersionApplication: "3.2.1"}
	for name, c := range map[string]struct {
		code, files, compiled bool
		version               string
		want                  []string // what each step but the last holds
	}{
		"all of it":            {true, true, true, "3.2.1", nil},
		"database alone":       {false, false, true, "3.2.1", nil},
		"code kept":            {false, true, true, "3.2.1", []string{"compile iTop again"}},
		"never compiled":       {true, true, false, "3.2.1", []string{"answers with an error until it is"}},
		"code newer":           {false, true, true, "3.3.0", []string{"the code here is iTop 3.3.0 and the backup is of iTop 3.2.1", "compile"}},
		"code older, restored": {true, true, true, "3.1.0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			for _, dir := range []string{"core", "data"} {
				if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(filepath.Join(root, "core/config.class.inc.php"), []byte("<?php define('ITOP_VERSION', '"+c.version+"');"), 0o644); err != nil {
				t.Fatal(err)
			}
			if c.compiled {
				if err := os.Mkdir(filepath.Join(root, "env-production"), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			got := Profile{}.AfterRestore(profile.Restored{Root: root, Code: c.code, Files: c.files, Versions: backup, Settings: map[string]string{SettingEnvironment: "production"}})
			if len(got) != len(c.want)+1 || !strings.Contains(got[len(got)-1], "restart php-fpm") {
				t.Fatalf("got %q, want steps with %q and a restart", got, c.want)
			}
			for i, want := range c.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("step %q lacks %q", got[i], want)
				}
			}
		})
	}
}

// TestCompileCommand runs the command as a person would type it, in a folder
// with stubs of iTop's files and a name that needs quoting.
func TestCompileCommand(t *testing.T) {
	if _, err := exec.LookPath("php"); err != nil {
		t.Skip("the command is one for PHP, and there is no php:", err)
	}
	root := filepath.Join(t.TempDir(), "it's my $iTop")
	profileFiles := map[string]string{
		"approot.inc.php":                        "<?php if (!$bBypassMaintenance) { exit(1); } define('APPROOT', __DIR__.'/');",
		"application/application.inc.php":        "<?php define('ITOP_APPLICATION', 'iTop');",
		"setup/runtimeenv.class.inc.php":         "<?php class RunTimeEnvironment { function __construct($e) { $this->e = $e; } public $e; function CompileFrom($s) { mkdir(APPROOT.'env-'.$this->e.'/'.$s, 0755, true); } }",
		"data/the web server's user writes here": "",
	}
	for path, text := range profileFiles {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", compileCommand(root, `te"st$x`)).CombinedOutput()
	if err != nil || string(out) != "compiled\n" {
		t.Fatalf("%v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, `env-te"st$x/te"st$x`)); err != nil {
		t.Error(err)
	}
}
