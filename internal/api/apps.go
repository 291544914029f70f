package api

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/internal/console"
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/gate"
)

// OfApp is a request about an app.
type OfApp struct {
	App string `path:"app" maxLength:"63" doc:"Its name."`
}

// nothing is an object without members.
type nothing struct{}

// Empty is a request that needs no body; one without members may be there.
type Empty struct {
	Body *nothing `required:"false"`
}

// ofAppOnly is a request about an app that needs no body.
type ofAppOnly struct {
	OfApp
	Empty
}

type appsAnswer struct {
	Schema int           `json:"schema"`
	Apps   []console.App `json:"apps"`
}

type appAnswer struct {
	Schema int         `json:"schema"`
	App    console.App `json:"app"`
}

type settingsAnswer struct {
	Schema   int               `json:"schema"`
	Settings []console.Setting `json:"settings"`
}

type healthAnswer struct {
	Schema int             `json:"schema"`
	Health string          `json:"health" enum:"ok,warning,failed" doc:"The worst of the checks."`
	Checks []console.Check `json:"checks"`
}

// backupOrder is what POST /apps/{app}/backups takes.
type backupOrder struct {
	Only []core.Component `json:"only,omitempty" enum:"config,database,files,code" maxItems:"4" doc:"None: all."`
	Note string           `json:"note,omitempty" maxLength:"500"`
	Pin  bool             `json:"pin,omitempty" doc:"Keep it from retention and deletion."`
}

// RestoreOrder is what to restore.
type RestoreOrder struct {
	Backup string           `json:"backup" minLength:"1" maxLength:"100" doc:"The whole id of a backup."`
	Only   []core.Component `json:"only,omitempty" enum:"config,database,files,code" maxItems:"4" doc:"None: all but code."`
	Tables []string         `json:"tables,omitempty" maxItems:"1000" doc:"Only these tables."`
	Paths  []string         `json:"paths,omitempty" maxItems:"1000" doc:"Only these paths of the backup."`
	Force  []string         `json:"force,omitempty" maxItems:"100" doc:"Names of findings of the plan that somebody agreed to."`
}

func (o RestoreOrder) of(app string) console.RestoreOrder {
	return console.RestoreOrder{App: app, Backup: o.Backup, Only: o.Only, Tables: o.Tables, Paths: o.Paths, Force: o.Force}
}

// confirmedRestore is a RestoreOrder that somebody means.
type confirmedRestore struct {
	RestoreOrder
	Confirm string `json:"confirm" doc:"The app's name once more: its present state will be replaced."`
}

// importOrder is what POST /apps/{app}/imports takes.
type importOrder struct {
	Upload   string `json:"upload" minLength:"1" maxLength:"100" doc:"The id of an upload that is whole."`
	Format   string `json:"format,omitempty" enum:"itop,itflow,sql,backstay" doc:"None: it is found out."`
	Password string `json:"password,omitempty" format:"password" maxLength:"1024" writeOnly:"true" doc:"Opens an archive that is encrypted."`
}

func (a *API) registerApps() {
	get := func(path, id, summary string) operation {
		return operation{method: http.MethodGet, path: path, id: id, tag: "apps", need: viewer, summary: summary}
	}
	add(a, get("/apps", "list-apps", "All apps at a glance"), a.apps)
	add(a, get("/apps/{app}", "get-app", "An app at a glance"), a.app)
	add(a, get("/apps/{app}/settings", "get-app-settings", "An app's settings in effect, and where each comes from"), a.settings)
	health := get("/apps/{app}/health", "get-app-health", "Look whether an app can be backed up and restored")
	health.need, health.text = operator, "It looks now, which takes some seconds: database, rights, files, free space, versions."
	add(a, health, a.health)

	a.begins("/apps/{app}/check", "check-app", "check", operator, "Begin to check an app's newest backup, and tell of alarms", a.o.Console.StartCheck)
	a.begins("/apps/{app}/prune", "prune-app", "prune", afresh, "Begin to remove backups that retention does not keep", a.o.Console.StartPrune)
	a.begins("/apps/{app}/notify-test", "test-notify", "notify test", operator, "Begin to try the destinations of an app's alarms", a.o.Console.StartNotifyTest)
	a.begins("/apps/{app}/resume", "resume-restore", "restore", afresh, "Begin to finish a restore that was cut short", a.o.Console.StartResume)
	undo := func(drop bool) func(context.Context, string, console.Who) (int64, error) {
		return func(ctx context.Context, app string, w console.Who) (int64, error) {
			return a.o.Console.StartUndo(ctx, app, drop, w)
		}
	}
	a.begins("/apps/{app}/undo", "undo-restore", "undo", afresh, "Begin to put back what the last restore replaced", undo(false))
	a.begins("/apps/{app}/drop", "drop-undo", "undo", afresh, "Begin to give up what the last restore replaced, which frees its space", undo(true))

	add(a, operation{method: http.MethodPost, path: "/apps/{app}/accept", id: "accept-backup", tag: "apps", need: admin, action: "accept", status: http.StatusNoContent,
		summary: "Say that an app's newest backup is right as it is", text: "What checks found implausible in it is what is usual from then on."},
		func(ctx context.Context, in *ofAppOnly) (*struct{}, error) {
			return nil, a.o.Console.Accept(ctx, in.App)
		})
	order := func(path, id, summary string) operation {
		return operation{method: http.MethodPost, path: path, id: id, tag: "apps", need: admin, status: http.StatusAccepted, summary: summary}
	}
	backup := order("/apps/{app}/backups", "create-backup", "Begin a backup now")
	backup.need, backup.action = operator, "backup"
	add(a, backup, a.backupNow)
	plan := order("/apps/{app}/plans", "plan-restore", "Begin to find out what a restore would do")
	plan.text = "It changes nothing. The run's result is the plan, as `backstay restore --dry-run --json` prints it."
	add(a, plan, a.plan)
	restore := order("/apps/{app}/restores", "restore-app", "Begin a restore")
	restore.need, restore.action = afresh, "restore"
	restore.text = "It ends before it changes anything when there is a finding that needs a decision and is not named in `force`: ask for a plan first."
	add(a, restore, a.restore)
	imported := order("/apps/{app}/imports", "import-archive", "Begin to make a backup of an archive that was uploaded")
	imported.action = "import"
	add(a, imported, a.imports)
}

// begins adds an operation that needs nothing but an app and begins a run.
func (a *API) begins(path, id, action string, need gate.Need, summary string, begin func(context.Context, string, console.Who) (int64, error)) {
	add(a, operation{method: http.MethodPost, path: path, id: id, tag: "apps", need: need, action: action, status: http.StatusAccepted, summary: summary},
		func(ctx context.Context, in *ofAppOnly) (*started, error) {
			if _, err := a.o.Console.App(ctx, in.App); err != nil { // "" would be all apps
				return nil, err
			}
			run, err := begin(ctx, in.App, asker(ctx))
			return a.begun(ctx, run, err)
		})
}

func (a *API) apps(ctx context.Context, _ *none) (*body[appsAnswer], error) {
	o, err := a.o.Console.Overview(ctx)
	return answerOf(appsAnswer{Schema, o.Apps}), err
}

func (a *API) app(ctx context.Context, in *OfApp) (*body[appAnswer], error) {
	app, err := a.o.Console.App(ctx, in.App)
	return answerOf(appAnswer{Schema, app}), err
}

func (a *API) settings(ctx context.Context, in *OfApp) (*body[settingsAnswer], error) {
	found, err := a.o.Console.Settings(ctx, in.App)
	return answerOf(settingsAnswer{Schema, found}), err
}

func (a *API) health(ctx context.Context, in *OfApp) (*body[healthAnswer], error) {
	checks, err := a.o.Console.Doctor(ctx, in.App)
	return answerOf(healthAnswer{Schema, worst(checks), checks}), err
}

func worst(checks []console.Check) string {
	out := "ok"
	for _, c := range checks {
		if c.Health == "failed" || c.Health == "warning" && out == "ok" {
			out = c.Health
		}
	}
	return out
}

func (a *API) backupNow(ctx context.Context, in *struct {
	OfApp
	Body *backupOrder `required:"false"`
}) (*started, error) {
	var o console.BackupOrder
	if in.Body != nil {
		o = console.BackupOrder{Only: in.Body.Only, Note: in.Body.Note, Pin: in.Body.Pin}
	}
	run, err := a.o.Console.StartBackup(ctx, in.App, o, asker(ctx))
	return a.begun(ctx, run, err)
}

func (a *API) plan(ctx context.Context, in *struct {
	OfApp
	Body RestoreOrder
}) (*started, error) {
	run, err := a.o.Console.StartPlan(ctx, in.Body.of(in.App), asker(ctx))
	return a.begun(ctx, run, err)
}

func (a *API) restore(ctx context.Context, in *struct {
	OfApp
	Body confirmedRestore
}) (*started, error) {
	callOf(ctx).object = in.App + " " + in.Body.Backup
	if in.Body.Confirm != in.App {
		return nil, &core.Error{
			Code: core.CodeUsage, Op: "restore " + in.App, Message: "this replaces the app's present state, and nobody has confirmed it",
			Hint: `write the app's name as "confirm"`,
		}
	}
	run, err := a.o.Console.StartRestore(ctx, in.Body.of(in.App), asker(ctx))
	return a.begun(ctx, run, err)
}

func (a *API) imports(ctx context.Context, in *struct {
	OfApp
	Body importOrder
}) (*started, error) {
	run, err := a.o.Console.StartImport(ctx, in.App, in.Body.Upload, in.Body.Format, core.NewSecret(in.Body.Password), asker(ctx))
	return a.begun(ctx, run, err)
}
