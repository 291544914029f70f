package generic

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Maintenance runs the app's hooks maintenance_on and, in leave,
// maintenance_off.
func (Profile) Maintenance(ctx context.Context, _ profile.Querier, app profile.App, found *core.Application, _ profile.MaintenanceOptions) (func() error, error) {
	if len(app.Hooks.MaintenanceOn) == 0 {
		profile.Note(found, "users are not kept out while data are exchanged; hooks: {maintenance_on: […], maintenance_off: […]} in backstay.yaml can")
	}
	return profile.MaintenanceHooks(ctx, app)
}

// LiftMaintenance runs maintenance_off.
func (Profile) LiftMaintenance(ctx context.Context, app profile.App) (bool, error) {
	return profile.LiftHooks(ctx, app)
}

// Compare says whether users are kept out; it knows nothing else of the
// application.
func (Profile) Compare(_ context.Context, c profile.Comparison) []core.Finding {
	return profile.CompareMaintenance(c)
}

// Configure knows no configuration file.
func (Profile) Configure(_ context.Context, content []byte, _ profile.Configuration) ([]byte, []profile.Change, error) {
	return content, nil, nil
}

// Quiet knows nothing of the application.
func (Profile) Quiet(string) []profile.Statement { return nil }

// PostSteps runs the app's hooks after_restore.
func (Profile) PostSteps(r profile.Restored) []profile.PostStep { return profile.HookSteps(r.App) }

// URL returns what backstay.yaml says.
func (Profile) URL(app profile.App, _ *core.Application) string { return app.URL }

// Check knows nothing of the application.
func (Profile) Check(context.Context, profile.Querier, *core.Application, profile.Restored) []core.Finding {
	return nil
}

// AfterRestore knows nothing of the application.
func (Profile) AfterRestore(profile.Restored) []string { return nil }
