package itop

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// TestAfterRestore: what only a person can do.
func TestAfterRestore(t *testing.T) {
	backup := map[string]string{VersionApplication: "3.2.1"}
	for name, c := range map[string]struct {
		code    bool
		version string
		want    []string // what each step but the last holds
	}{
		"same code":            {false, "3.2.1", nil},
		"code newer":           {false, "3.3.0", []string{"the code here is iTop 3.3.0 and the backup is of iTop 3.2.1"}},
		"code older, restored": {true, "3.1.0", nil},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, map[string]string{"core/config.class.inc.php": "<?php define('ITOP_VERSION', '" + c.version + "');"})
			got := Profile{}.AfterRestore(profile.Restored{Root: root, Code: c.code, Versions: backup})
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

// TestPostSteps: iTop is compiled where the compiled code may not belong to what
// was restored, or is not there.
func TestPostSteps(t *testing.T) {
	for name, c := range map[string]struct {
		code, files, database, compiled bool
		want                            string
	}{
		"all of it":        {true, true, true, true, ""},
		"database alone":   {false, false, true, true, "came back"},
		"code kept":        {false, true, true, true, "came back"},
		"configuration":    {false, false, false, true, ""},
		"never compiled":   {true, true, true, false, "answers with an error until it is"},
		"nothing compiled": {false, false, false, false, "answers with an error until it is"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, map[string]string{"data/": ""})
			if c.compiled {
				write(t, root, map[string]string{"env-production/": ""})
			}
			got := Profile{}.PostSteps(profile.Restored{Root: root, Code: c.code, Files: c.files, Database: c.database})
			if c.want == "" {
				if len(got) > 0 {
					t.Errorf("got %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Name != "compile" || !got[0].Required || !strings.Contains(got[0].Why, c.want) {
				t.Errorf("got %+v", got)
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
	write(t, root, map[string]string{
		"approot.inc.php":                        "<?php if (!$bBypassMaintenance) { exit(0); } define('APPROOT', __DIR__.'/');",
		"application/application.inc.php":        "<?php define('ITOP_APPLICATION', 'iTop');",
		"setup/runtimeenv.class.inc.php":         "<?php class RunTimeEnvironment { function __construct($e) { $this->e = $e; } public $e; function CompileFrom($s) { mkdir(APPROOT.'env-'.$this->e.'/'.$s, 0755, true); } }",
		"data/the web server's user writes here": "",
	})
	const environment = `te"st$x`
	compile := func() profile.PostStep {
		steps := Profile{}.PostSteps(profile.Restored{Root: root, Settings: map[string]string{SettingEnvironment: environment}})
		if len(steps) != 1 {
			t.Fatalf("got %+v", steps)
		}
		return steps[0]
	}
	step := compile()
	out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", step.ByHand()).CombinedOutput()
	if err != nil || string(out) != compiled+"\n" {
		t.Fatalf("by hand: %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(root, "env-"+environment, environment)); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(filepath.Join(root, "env-"+environment)); err != nil {
		t.Fatal(err)
	}
	if result, err := profile.RunPostStep(t.Context(), step, nil, nil); err != nil || result.Exit != 0 || result.Output != compiled+"\n" {
		t.Errorf("%+v, %v", result, err)
	}
	if _, err := os.Stat(filepath.Join(root, "env-"+environment, environment)); err != nil {
		t.Error(err)
	}
	// A script that ends before its work is done ends with success.
	write(t, root, map[string]string{"application/application.inc.php": "<?php echo 'Maintenance'; exit(0);"})
	result, err := profile.RunPostStep(t.Context(), step, nil, nil)
	if err == nil || result.Exit != 0 || !strings.Contains(err.Error(), "Maintenance") || !strings.Contains(core.HintOf(err), "by hand: cd ") {
		t.Errorf("%+v, %v (hint %q)", result, err, core.HintOf(err))
	}
}
