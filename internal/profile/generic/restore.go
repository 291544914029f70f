package generic

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Maintenance is not built yet.
func (Profile) Maintenance(_ context.Context, _ profile.Querier, _ profile.App, _ *core.Application, _ profile.MaintenanceOptions) (func() error, error) {
	return func() error { return nil }, nil
}

// LiftMaintenance is not built yet.
func (Profile) LiftMaintenance(context.Context, profile.App) (bool, error) { return false, nil }

// Compare is not built yet.
func (Profile) Compare(context.Context, profile.Comparison) []core.Finding { return nil }

// Configure is not built yet.
func (Profile) Configure(_ context.Context, content []byte, _ profile.Configuration) ([]byte, []profile.Change, error) {
	return content, nil, nil
}

// Quiet is not built yet.
func (Profile) Quiet(string) []profile.Statement { return nil }

// PostSteps is not built yet.
func (Profile) PostSteps(profile.Restored) []profile.PostStep { return nil }

// URL returns what backstay.yaml says.
func (Profile) URL(app profile.App, _ *core.Application) string { return app.URL }

// Check is not built yet.
func (Profile) Check(context.Context, profile.Querier, *core.Application, profile.Restored) []core.Finding {
	return nil
}
