package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/goccy/go-yaml/ast"
)

// Parse reads a configuration. name, the file's path, stands in errors, which
// have CodeConfig, begin with name:line:column and list up to ten problems, one
// a line. It reads no file: passwords stay where they are.
func Parse(name string, data []byte) (*Config, error) {
	r := &reader{name: name, anchors: map[string]ast.Node{}}
	body := r.parse(data)
	if err := r.err(); err != nil {
		return nil, err
	}
	c := &Config{StateDir: DefaultStateDir(), Service: DefaultService(),
		Defaults: App{Restore: DefaultRestore(), CheckSchedule: DefaultCheckSchedule()}}
	var defaults, apps *entry
	top := topFields(c, &defaults, &apps)
	at := map[string]position{}
	if body != nil {
		at, _ = r.section(body, "", top)
	}
	if _, ok := at["repository"]; !ok {
		r.problem(position{1, 1}, "add it, or let `backstay init` write a configuration", "the section %q is missing", "repository")
	}
	// After the rest, so that it does not matter where in the file they stand.
	if defaults != nil {
		r.section(defaults.value, "defaults", appFields(&c.Defaults, false))
	}
	if apps != nil {
		r.apps(apps.value, c)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	c.Warnings, c.inlineSecret = r.warnings, r.inlineSecret
	return c, nil
}

func topFields(c *Config, defaults, apps **entry) []field {
	keep := func(into **entry) func(*reader, position, ast.Node) {
		return func(_ *reader, at position, n ast.Node) { *into = &entry{at: at, value: n} }
	}
	app := objectSchema(appFields(&App{}, true))
	app["required"] = []string{"name", "profile"}
	repository := sectionField("repository", repositoryFields(&c.Repository),
		func(r *reader, own position, at map[string]position) {
			if _, ok := at["url"]; !ok {
				r.problem(own, "add url: file:///var/lib/backstay/repository, or where the backups are to live", "%q has no %q", "repository", "url")
			}
			oneSecret(r, own, at, "password", "the repository's password", "add password_file: with the absolute path of the key that `backstay init` made")
		})
	repository.schema["required"] = []string{"url"}
	return []field{
		repository.describe("where the backups live"),
		pathField("state_dir", &c.StateDir, false).describe("folder for locks, caches and the run history"),
		sectionField("archives", archivesFields(&c.Archives), nil).describe("what an archive that is imported may unpack to"),
		sectionField("scratch", scratchFields(&c.Scratch), checkScratch(&c.Scratch)).describe("a server on which imports may make databases of their own, for machines on which none can be started"),
		sectionField("service", serviceFields(&c.Service), nil).describe("how backstay serve works"),
		field{
			key: "defaults", schema: objectSchema(appFields(&App{}, false)), read: keep(defaults),
		}.describe("what holds for every app that does not say otherwise"),
		field{
			key: "apps", schema: map[string]any{"type": "array", "items": app}, read: keep(apps),
		}.describe("the applications to protect"),
	}
}

// DefaultStateDir is where root, and where an ordinary user, may write.
func DefaultStateDir() string {
	if os.Geteuid() != 0 {
		if home, err := os.UserHomeDir(); err == nil && strings.HasPrefix(home, "/") {
			return home + "/.local/state/backstay"
		}
	}
	return "/var/lib/backstay"
}

// appFields are the keys of an entry of `apps`, and without the ones that make
// it what it is, of `defaults`.
func appFields(app *App, whole bool) []field {
	var fields []field
	if whole {
		name := textField("name", &app.Name, func(s string) (string, string) {
			if core.ValidAppName(s) {
				return "", ""
			}
			hint := "a name has lower-case letters, digits and dashes, at most 63, and begins with a letter or digit"
			if better := appNameOf(s); better != "" {
				hint = fmt.Sprintf("did you mean %q?", better)
			}
			return fmt.Sprintf("cannot be %q", shown(s)), hint
		})
		name.schema["pattern"] = "^[a-z0-9][a-z0-9-]{0,62}$"
		address := textField("url", &app.URL, webAddress)
		address.schema["pattern"] = "^(https?://|$)"
		fields = append(fields,
			name.describe("how the app is called in commands and in the repository"),
			oneOf("profile", &app.Profile, "profiles", Profiles()...).describe("the kind of application"),
			pathField("root", &app.Root, false).describe("the folder that the application is installed in"),
			address.describe("where the application answers; wins over what the profile finds"),
		)
	}
	fields = append(fields,
		textField("environment", &app.Environment, func(s string) (string, string) {
			if s == "" || strings.ContainsAny(s, "/\\\x00") || s == "." || s == ".." {
				return fmt.Sprintf("cannot be %q", shown(s)), "it is the name of a folder below conf/, such as production"
			}
			return "", ""
		}).describe("iTop's environment; production when not given"),
		sectionField("database", databaseFields(&app.Database), checkDatabase(&app.Database)).describe("how to reach the database; wins over what the profile finds"),
		filesField(&app.Files).describe("folders and files beyond those that the profile takes"),
		listField("config", &app.Config, true, absolute).describe("configuration files beyond those that the profile takes"),
		listField("exclude", &app.Exclude, true, glob).describe("globs relative to root that are left out"),
		oneOf("consistency", &app.Consistency, "values", Online, Readonly).describe("online never stops users; readonly makes the application read-only during the backup"),
		sectionField("hooks", []field{
			listField("before", &app.Hooks.Before, false, notEmpty).describe("run before the backup"),
			listField("after", &app.Hooks.After, false, notEmpty).describe("run after it, whatever its outcome"),
			listField("readonly_on", &app.Hooks.ReadonlyOn, false, notEmpty).describe("makes the application read-only"),
			listField("readonly_off", &app.Hooks.ReadonlyOff, false, notEmpty).describe("undoes readonly_on"),
			listField("maintenance_on", &app.Hooks.MaintenanceOn, false, notEmpty).describe("keeps users out during the switch of a restore"),
			listField("maintenance_off", &app.Hooks.MaintenanceOff, false, notEmpty).describe("undoes maintenance_on; also run when there is nothing to undo"),
			listField("after_restore", &app.Hooks.AfterRestore, false, notEmpty).describe("run at the end of a restore"),
		}, nil).describe("command lines for /bin/sh"),
		sectionField("restore", restoreFields(&app.Restore), nil).describe("how a restore goes about it"),
		sectionField("export", exportFields(&app.Export), nil).describe("how archives are written and called"),
		schedulesField(&app.Schedules).describe("when backups are made: one schedule or a list"),
		retentionField(&app.Retention).describe("which backups are kept: one policy or a list, each for other components; all are kept when not given"),
		sectionField("check", checkFields(&app.Check, &app.CheckSchedule), nil).describe("when a backup is not as it should be"),
		notifyField(&app.Notify).describe("where people are told of alarms"),
	)
	return fields
}

func (r *reader) apps(n ast.Node, c *Config) {
	first := map[string]position{}
	for _, item := range r.items(n, "apps") {
		app := clone(c.Defaults)
		start := r.startOf(item)
		at, ok := r.section(item, "apps", appFields(&app, true))
		if !ok {
			continue
		}
		if app.Consistency == "" {
			app.Consistency = Online
		}
		r.checkApp(&app, start, at)
		if app.Name != "" {
			if earlier, twice := first[app.Name]; twice {
				r.problem(at["name"], "give each app a name of its own", "there are two apps called %q, the first on line %d", app.Name, earlier.line)
			} else {
				first[app.Name] = at["name"]
			}
		}
		c.Apps = append(c.Apps, app)
	}
}

// clone copies an app so deeply that reading over the copy leaves the original.
func clone(a App) App {
	a.Files = slices.Clone(a.Files)
	a.Config, a.Exclude = slices.Clone(a.Config), slices.Clone(a.Exclude)
	a.Schedules = slices.Clone(a.Schedules)
	return a
}

// checkApp reports what is missing in an app, and what its profile has no use
// for. Keys that are there with a wrong value were reported already.
func (r *reader) checkApp(app *App, start position, at map[string]position) {
	missing := func(key, hint string) {
		if _, given := at[key]; !given {
			r.problem(start, hint, "the app%s has no %q", called(app.Name), key)
		}
	}
	missing("name", "add name: with lower-case letters, digits and dashes")
	missing("profile", "add profile: itop, itflow or generic")
	switch app.Profile {
	case "itop", "itflow":
		missing("root", "add root: with the folder that the application is installed in")
	case "generic":
		r.checkGeneric(app, start, at)
	}
	if own, given := at["environment"]; given && app.Profile != "" && app.Profile != "itop" {
		r.problem(own, "remove it; only iTop has environments", "an app with the profile %s has no %q", app.Profile, "environment")
	}
	if own, given := at["exclude"]; given && app.Root == "" && app.Profile == "generic" {
		r.problem(own, "add root:, or put the exclusions below files:", "%q is relative to %q, which is missing", "exclude", "root")
	}
	for _, pair := range []struct {
		on, off       []string
		onKey, offKey string
		why           string
	}{
		{app.Hooks.ReadonlyOn, app.Hooks.ReadonlyOff, "readonly_on", "readonly_off", "an application that is made read-only must be made writable again"},
		{app.Hooks.MaintenanceOn, app.Hooks.MaintenanceOff, "maintenance_on", "maintenance_off", "users that are kept out must be let in again"},
	} {
		if (len(pair.on) > 0) == (len(pair.off) > 0) {
			continue
		}
		own, given := at["hooks"]
		if !given {
			own = start
		}
		r.problem(own, pair.why, "the hooks have one of %q and %q; they go together", pair.onKey, pair.offKey)
	}
}

func (r *reader) checkGeneric(app *App, start position, at map[string]position) {
	for key, asked := range map[string]bool{
		"schedule":  slices.ContainsFunc(app.Schedules, func(s schedule.Spec) bool { return s.FromApp }),
		"retention": slices.ContainsFunc(app.Retention, func(p retention.Policy) bool { return p.FromApp }),
	} {
		if own, given := at[key]; asked && !given {
			r.problem(start, "give it a "+key+": of its own", "a generic app has no settings for %q", "from_app")
		} else if asked {
			r.problem(own, "write it out here", "a generic app has no settings for %q", "from_app")
		}
	}
	hasDatabase := app.Database.Given()
	if !hasDatabase && len(app.Files) == 0 && len(app.Config) == 0 && app.Root == "" && len(at) > 0 {
		r.problem(start, "add database:, files: or root:", "there is nothing to back up in the app%s", called(app.Name))
	}
	if hasDatabase {
		own, given := at["database"]
		if !given {
			own = start
		}
		if app.Database.Name == "" {
			r.problem(own, "add name: with the name of the database", "%q has no %q", "database", "name")
		}
		if app.Database.User == "" {
			r.problem(own, "add user: with the account to log in with", "%q has no %q", "database", "user")
		}
	}
	readonly := app.Consistency == Readonly
	if readonly && len(app.Hooks.ReadonlyOn) == 0 && len(app.Hooks.ReadonlyOff) == 0 {
		own, given := at["consistency"]
		if !given {
			own = start
		}
		r.problem(own, "add hooks: {readonly_on: [command], readonly_off: [command]}", "a generic app cannot be made read-only without hooks")
	}
}

func called(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}
