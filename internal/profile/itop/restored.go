package itop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/backstay/backstay/internal/profile"
)

// AfterRestore says how to bring the compiled code in line with what was
// restored. The code component holds the compiled environment, so that after
// a restore with it iTop works at once; without it the environment that was
// there before stays, which knows nothing of the modules and the customization
// that came back.
func (Profile) AfterRestore(r profile.Restored) []string {
	environment := r.Settings[SettingEnvironment]
	if environment == "" {
		environment = defaultEnvironment
	}
	var steps []string
	here, _ := codeVersions(r.Root)
	if code, then := here[VersionApplication], r.Versions[VersionApplication]; !r.Code && code != "" && then != "" && code != then {
		steps = append(steps, fmt.Sprintf("the code here is iTop %s and the backup is of iTop %s: run iTop's setup (/setup/ in the browser) to bring the database up to it, or restore the code too (--only code)", code, then))
	}
	_, err := os.Stat(filepath.Join(r.Root, "env-"+environment))
	switch {
	case os.IsNotExist(err):
		steps = append(steps, "iTop is not compiled and answers with an error until it is: "+compileCommand(r.Root, environment))
	case r.Files && !r.Code:
		steps = append(steps, "compile iTop again, for the extensions and the customization that came back: "+compileCommand(r.Root, environment))
	}
	return append(steps, "restart php-fpm, or the web server where PHP is a module of it, so that PHP forgets what it has cached")
}

// compileCommand is what iTop's toolkit does to compile an environment. With
// $bBypassMaintenance it works in maintenance mode too, where approot.inc.php
// otherwise ends the script with success.
func compileCommand(root, environment string) string {
	script := `$bBypassMaintenance = true; require "approot.inc.php"; require APPROOT."application/application.inc.php"; ` +
		`require APPROOT."setup/runtimeenv.class.inc.php"; (new RunTimeEnvironment("` + phpText(environment) + `"))->CompileFrom("` + phpText(environment) + `"); echo "compiled\n";`
	return "cd " + profile.ShellQuote(root) + " && " + profile.AsOwner(filepath.Join(root, "data"), "php -r "+profile.ShellQuote(script))
}

// phpText escapes text for PHP's double quotes.
func phpText(s string) string { return strings.NewReplacer(`\`, `\\`, `"`, `\"`, `$`, `\$`).Replace(s) }
