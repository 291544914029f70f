package config

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/config/proving"
	"github.com/backstay/backstay/internal/config/strict"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/retention"
	"github.com/backstay/backstay/internal/schedule"
	"github.com/goccy/go-yaml/ast"
)

// Parse reads a configuration. name, the file's path, stands in errors, which
// have CodeConfig, begin with name:line:column and list up to ten problems, one
// a line. It reads no file: passwords stay where they are.
func Parse(name string, data []byte) (*Config, error) { return parse(name, data, false) }

// parse is Parse. excusing takes schedules that cannot be read for what they
// are: a reason not to run anything by them, and none to refuse a restore.
func parse(name string, data []byte, excusing bool) (*Config, error) {
	r := strict.New(name)
	r.Excusing = excusing
	r.Examples = map[string]string{
		"files": "[{path: /path}]", "schedule": "{time: 23:30}", "retention": "{count: 5}", "check": "{max_age: 26h}; to switch checks off: {enabled: false}",
		"notify": "[{type: mail, …}]", "pause": "[{from: 08:00, to: 18:00}]",
	}
	body := r.Parse(data)
	if err := r.Err(); err != nil {
		return nil, err
	}
	c := &Config{StateDir: DefaultStateDir(), Service: DefaultService(), Console: DefaultConsole(),
		Verify: proving.DefaultVerify(), Kit: proving.DefaultKit(),
		Defaults: App{Restore: DefaultRestore(), CheckSchedule: DefaultCheckSchedule(), Drill: Drill{Drill: proving.DefaultDrill()}}}
	var defaults, apps *strict.Entry
	top := topFields(c, &defaults, &apps)
	at := map[string]strict.Position{}
	if body != nil {
		at, _ = r.Section(body, "", top)
	}
	if _, ok := at["repository"]; !ok {
		r.Problem(strict.Position{Line: 1, Column: 1}, "add it, or let `backstay init` write a configuration", "the section %q is missing", "repository")
	}
	// After the rest, so that it does not matter where in the file they stand.
	if defaults != nil {
		r.Section(defaults.Value, "defaults", appFields(&c.Defaults, false))
	}
	if apps != nil {
		readApps(r, apps.Value, c)
	}
	if err := r.Err(); err != nil {
		return nil, err
	}
	warnOfExposure(r, c)
	c.Warnings, c.inlineSecret = r.Warnings, r.InlineSecret
	return c, nil
}

func topFields(c *Config, defaults, apps **strict.Entry) []strict.Field {
	keep := func(into **strict.Entry) func(*strict.Reader, strict.Position, ast.Node) {
		return func(_ *strict.Reader, at strict.Position, n ast.Node) { *into = &strict.Entry{At: at, Value: n} }
	}
	repository := strict.SectionField("repository", repositoryFields(&c.Repository),
		func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
			if _, ok := at["url"]; !ok {
				r.Problem(own, "add url: file:///var/lib/backstay/repository, or where the backups are to live", "%q has no %q", "repository", "url")
			}
			oneSecret(r, own, at, "password", "the repository's password", "add password_file: with the absolute path of the key that `backstay init` made")
		})
	repository.Nested = func() map[string]any {
		s := strict.ObjectSchema(repositoryFields(&c.Repository))
		s["required"] = []string{"url"}
		return s
	}
	return []strict.Field{
		repository.Describe("where the backups live"),
		strict.PathField("state_dir", &c.StateDir, false).Describe("folder for locks, caches and the run history"),
		strict.SectionField("archives", archivesFields(&c.Archives), nil).Describe("what an archive that is imported may unpack to"),
		strict.SectionField("scratch", scratchFields(&c.Scratch), checkScratch(&c.Scratch)).Describe("a server on which imports may make databases of their own, for machines on which none can be started"),
		strict.SectionField("service", serviceFields(&c.Service), func(_ *strict.Reader, _ strict.Position, at map[string]strict.Position) {
			c.listenAt = at["listen"]
		}).Describe("how backstay serve works"),
		strict.SectionField("console", consoleFields(&c.Console), checkConsole(&c.Console)).Describe("the pages and the API that backstay serve shows"),
		strict.SectionField("verify", proving.VerifyFields(&c.Verify, oneScheduleField("schedule", &c.Verify.Schedule)), nil).Describe("how the repository is read back, a part each time"),
		strict.SectionField("secrets", proving.SecretsFields(&c.Secrets), nil).Describe("who can open the secrets of backups"),
		strict.SectionField("kit", proving.KitFields(&c.Kit), nil).Describe("reminders of recovery kits"),
		strict.Field{
			Key: "defaults", Nested: func() map[string]any { return strict.ObjectSchema(appFields(&App{}, false)) }, Read: keep(defaults),
		}.Describe("what holds for every app that does not say otherwise"),
		strict.Field{
			Key: "apps", Read: keep(apps), Nested: func() map[string]any {
				app := strict.ObjectSchema(appFields(&App{}, true))
				app["required"] = []string{"name", "profile"}
				return map[string]any{"type": "array", "items": app}
			},
		}.Describe("the applications to protect"),
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
func appFields(app *App, whole bool) []strict.Field {
	var fields []strict.Field
	if whole {
		name := strict.TextField("name", &app.Name, func(s string) (string, string) {
			if core.ValidAppName(s) {
				return "", ""
			}
			hint := "a name has lower-case letters, digits and dashes, at most 63, and begins with a letter or digit"
			if better := appNameOf(s); better != "" {
				hint = fmt.Sprintf("did you mean %q?", better)
			}
			return fmt.Sprintf("cannot be %q", strict.Shown(s)), hint
		})
		name.Schema["pattern"] = "^[a-z0-9][a-z0-9-]{0,62}$"
		address := strict.TextField("url", &app.URL, webAddress)
		address.Schema["pattern"] = "^(https?://|$)"
		fields = append(fields,
			name.Describe("how the app is called in commands and in the repository"),
			strict.OneOf("profile", &app.Profile, "profiles", Profiles()...).Describe("the kind of application"),
			strict.PathField("root", &app.Root, false).Describe("the folder that the application is installed in"),
			address.Describe("where the application answers; wins over what the profile finds"),
		)
	}
	fields = append(fields,
		strict.TextField("environment", &app.Environment, func(s string) (string, string) {
			if s == "" || strings.ContainsAny(s, "/\\\x00") || s == "." || s == ".." {
				return fmt.Sprintf("cannot be %q", strict.Shown(s)), "it is the name of a folder below conf/, such as production"
			}
			return "", ""
		}).Describe("iTop's environment; production when not given"),
		strict.SectionField("database", databaseFields(&app.Database), checkDatabase(&app.Database)).Describe("how to reach the database; wins over what the profile finds"),
		filesField(&app.Files).Describe("folders and files beyond those that the profile takes"),
		strict.ListField("config", &app.Config, true, strict.Absolute).Describe("configuration files beyond those that the profile takes"),
		strict.ListField("exclude", &app.Exclude, true, glob).Describe("globs relative to root that are left out"),
		strict.OneOf("consistency", &app.Consistency, "values", Online, Readonly).Describe("online never stops users; readonly makes the application read-only during the backup"),
		strict.SectionField("hooks", []strict.Field{
			strict.ListField("before", &app.Hooks.Before, false, strict.NotEmpty).Describe("run before the backup"),
			strict.ListField("after", &app.Hooks.After, false, strict.NotEmpty).Describe("run after it, whatever its outcome"),
			strict.ListField("readonly_on", &app.Hooks.ReadonlyOn, false, strict.NotEmpty).Describe("makes the application read-only"),
			strict.ListField("readonly_off", &app.Hooks.ReadonlyOff, false, strict.NotEmpty).Describe("undoes readonly_on"),
			strict.ListField("maintenance_on", &app.Hooks.MaintenanceOn, false, strict.NotEmpty).Describe("keeps users out during the switch of a restore"),
			strict.ListField("maintenance_off", &app.Hooks.MaintenanceOff, false, strict.NotEmpty).Describe("undoes maintenance_on; also run when there is nothing to undo"),
			strict.ListField("after_restore", &app.Hooks.AfterRestore, false, strict.NotEmpty).Describe("run at the end of a restore"),
		}, nil).Describe("command lines for /bin/sh"),
		strict.SectionField("restore", restoreFields(&app.Restore), nil).Describe("how a restore goes about it"),
		strict.SectionField("export", exportFields(&app.Export), nil).Describe("how archives are written and called"),
		schedulesField(&app.Schedules).Describe("when backups are made: one schedule or a list"),
		retentionField(&app.Retention).Describe("which backups are kept: one policy or a list, each for other components; all are kept when not given"),
		strict.SectionField("check", checkFields(&app.Check, &app.CheckSchedule), nil).Describe("when a backup is not as it should be"),
		notifyField(&app.Notify).Describe("where people are told of alarms"),
		strict.SectionField("drill", proving.DrillFields(&app.Drill.Drill, oneScheduleField("schedule", &app.Drill.Schedule), secretFields(&app.Drill.Login, "password", "the user's password", nil), func(r *strict.Reader, own strict.Position, at map[string]strict.Position) {
			oneSecret(r, own, at, "password", "the user's password", "")
		}), nil).Describe("how backups are restored on trial"),
		strict.SectionField("targets", proving.TargetFields(&app.Targets), nil).Describe("the times that are promised, against which drills are measured"),
	)
	return fields
}

func readApps(r *strict.Reader, n ast.Node, c *Config) {
	first := map[string]strict.Position{}
	for _, item := range r.Items(n, "apps") {
		app := clone(c.Defaults)
		start := r.StartOf(item)
		at, ok := r.Section(item, "apps", appFields(&app, true))
		if !ok {
			continue
		}
		if app.Consistency == "" {
			app.Consistency = Online
		}
		checkApp(r, &app, start, at)
		if app.Name != "" {
			if earlier, twice := first[app.Name]; twice {
				r.Problem(at["name"], "give each app a name of its own", "there are two apps called %q, the first on line %d", app.Name, earlier.Line)
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
func checkApp(r *strict.Reader, app *App, start strict.Position, at map[string]strict.Position) {
	missing := func(key, hint string) {
		if _, given := at[key]; !given {
			r.Problem(start, hint, "the app%s has no %q", called(app.Name), key)
		}
	}
	missing("name", "add name: with lower-case letters, digits and dashes")
	missing("profile", "add profile: itop, itflow or generic")
	switch app.Profile {
	case "itop", "itflow":
		missing("root", "add root: with the folder that the application is installed in")
	case "generic":
		checkGeneric(r, app, start, at)
	}
	if own, given := at["environment"]; given && app.Profile != "" && app.Profile != "itop" {
		r.Problem(own, "remove it; only iTop has environments", "an app with the profile %s has no %q", app.Profile, "environment")
	}
	if own, given := at["exclude"]; given && app.Root == "" && app.Profile == "generic" {
		r.Problem(own, "add root:, or put the exclusions below files:", "%q is relative to %q, which is missing", "exclude", "root")
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
		r.Problem(own, pair.why, "the hooks have one of %q and %q; they go together", pair.onKey, pair.offKey)
	}
}

func checkGeneric(r *strict.Reader, app *App, start strict.Position, at map[string]strict.Position) {
	for key, asked := range map[string]bool{
		"schedule":  slices.ContainsFunc(app.Schedules, func(s schedule.Spec) bool { return s.FromApp }),
		"retention": slices.ContainsFunc(app.Retention, func(p retention.Policy) bool { return p.FromApp }),
	} {
		if own, given := at[key]; asked && !given {
			r.Problem(start, "give it a "+key+": of its own", "a generic app has no settings for %q", "from_app")
		} else if asked {
			r.Problem(own, "write it out here", "a generic app has no settings for %q", "from_app")
		}
	}
	hasDatabase := app.Database.Given()
	if !hasDatabase && len(app.Files) == 0 && len(app.Config) == 0 && app.Root == "" && len(at) > 0 {
		r.Problem(start, "add database:, files: or root:", "there is nothing to back up in the app%s", called(app.Name))
	}
	if hasDatabase {
		own, given := at["database"]
		if !given {
			own = start
		}
		if app.Database.Name == "" {
			r.Problem(own, "add name: with the name of the database", "%q has no %q", "database", "name")
		}
		if app.Database.User == "" {
			r.Problem(own, "add user: with the account to log in with", "%q has no %q", "database", "user")
		}
	}
	readonly := app.Consistency == Readonly
	if readonly && len(app.Hooks.ReadonlyOn) == 0 && len(app.Hooks.ReadonlyOff) == 0 {
		own, given := at["consistency"]
		if !given {
			own = start
		}
		r.Problem(own, "add hooks: {readonly_on: [command], readonly_off: [command]}", "a generic app cannot be made read-only without hooks")
	}
}

func called(name string) string {
	if name == "" {
		return ""
	}
	return fmt.Sprintf(" %q", name)
}
