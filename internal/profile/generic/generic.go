// Package generic is the profile of any application on MySQL or MariaDB: all
// that there is to know comes from backstay.yaml. It promises to take what is
// written there and nothing else.
package generic

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Name is the profile's name in backstay.yaml.
const Name = "generic"

// Profile is the generic profile. The zero value is ready for use.
type Profile struct {
	// Sockets are the places to look for the server's socket; nil: the usual.
	Sockets []string
}

var _ profile.Profile = Profile{}

// Name returns "generic".
func (Profile) Name() string { return Name }

// Detect finds nothing: a generic app is only what someone declares it to be.
func (Profile) Detect(string) (profile.Installation, bool) { return profile.Installation{}, false }

// Discover returns what the app declares.
func (p Profile) Discover(_ context.Context, app profile.App) (*core.Application, error) {
	if app.Root != "" {
		if err := profile.CheckRoot(app); err != nil {
			return nil, err
		}
		app.Root = filepath.Clean(app.Root)
	}
	found := &core.Application{Name: app.Name, Profile: Name, Root: app.Root, Versions: map[string]string{}, Settings: map[string]string{}}
	if app.Database != (profile.Database{}) {
		source := &core.DatabaseSource{}
		profile.Resolve(found, source, profile.Address{}, app.Database, p.Sockets)
		if err := profile.CheckDatabase(app, source); err != nil {
			return nil, err
		}
		found.Database = source
	}
	layout := profile.NewLayout(app.Root)
	if err := layout.Add(app); err != nil {
		return nil, err
	}
	found.FileSets = layout.FileSets()
	if found.Database == nil && len(found.FileSets) == 0 {
		return nil, &core.Error{
			Code: core.CodeConfig, Op: "read app " + app.Name, Message: "there is nothing to back up: it has neither a database nor files",
			Hint: "write database:, files: or config: for app " + app.Name + " in backstay.yaml",
		}
	}
	return found, nil
}

// Versions knows nothing of the application.
func (Profile) Versions(context.Context, profile.Querier, *core.Application) error { return nil }

// Busy knows nothing of the application.
func (Profile) Busy(context.Context, profile.Querier, *core.Application) error { return nil }

// ReadOnly runs the app's hooks readonly_on and, in leave, readonly_off.
func (Profile) ReadOnly(ctx context.Context, _ profile.Querier, app profile.App, _ *core.Application) (func() error, error) {
	return profile.ReadOnlyHooks(ctx, app)
}
