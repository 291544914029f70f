package itop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/profile"
)

// compiled is what the compilation prints at its end: exit code 0 alone proves
// nothing, for in maintenance mode approot.inc.php ends a script with it.
const compiled = "compiled by backstay"

// PostSteps compiles iTop where what was restored may not fit the compiled
// environment: without the code component, which holds one, files and the
// database bring other modules and customizations; and where there is none.
func (p Profile) PostSteps(r profile.Restored) []profile.PostStep {
	var steps []profile.PostStep
	environment := environmentOf(r.Settings)
	_, err := os.Stat(filepath.Join(r.Root, "env-"+environment))
	missing := os.IsNotExist(err)
	if missing || !r.Code && (r.Files || r.Database) {
		why := "modules and customizations came back, and iTop runs what it compiled before"
		if missing {
			why = "iTop is not compiled and answers with an error until it is"
		}
		steps = append(steps, p.compileStep(r.Root, environment, why))
	}
	return append(steps, profile.HookSteps(r.App)...)
}

// compileStep is what iTop's toolkit does to compile an environment. With
// $bBypassMaintenance it works in maintenance mode too.
func (p Profile) compileStep(root, environment, why string) profile.PostStep {
	php := p.PHP
	if php == "" {
		php = "php"
	}
	name := phpText(environment)
	script := `$bBypassMaintenance = true; require "approot.inc.php"; require APPROOT."application/application.inc.php"; ` +
		`require APPROOT."setup/runtimeenv.class.inc.php"; (new RunTimeEnvironment("` + name + `"))->CompileFrom("` + name + `"); echo "` + compiled + `\n";`
	return profile.PostStep{
		Name: "compile", Why: why, Argv: []string{php, "-r", script}, Dir: root, As: filepath.Join(root, "data"), Required: true, Shows: compiled,
	}
}

// AfterRestore says what PostSteps cannot do: the setup's upgrade, and making
// the web server's PHP forget what it has cached (APCu outlives a compilation).
func (Profile) AfterRestore(r profile.Restored) []string {
	var steps []string
	here, _ := codeVersions(r.Root)
	if code, then := here[VersionApplication], r.Versions[VersionApplication]; !r.Code && code != "" && then != "" && code != then {
		steps = append(steps, fmt.Sprintf("the code here is iTop %s and the backup is of iTop %s: run iTop's setup (/setup/ in the browser) to bring the database up to it, or restore the code too (--only code)", code, then))
	}
	return append(steps, "restart php-fpm, or the web server where PHP is a module of it, so that PHP forgets what it has cached")
}

// phpText escapes text for PHP's double quotes.
func phpText(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(s) }
