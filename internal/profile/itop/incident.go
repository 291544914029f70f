package itop

import (
	"context"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
)

var _ profile.Incidents = Profile{}

// IncidentURL is what check-backup.php takes: the module's setting
// itop_backup_incident, and where that is empty app_root_url, this iTop itself.
func (p Profile) IncidentURL(ctx context.Context, app profile.App) (string, error) {
	environment := app.Environment
	if environment == "" {
		environment = defaultEnvironment
	}
	if err := check(app, environment); err != nil {
		return "", err
	}
	root := filepath.Clean(app.Root)
	path := filepath.Join(root, configPath(environment))
	parsed, err := phpconf.ReadFile(path)
	if err != nil {
		return "", err
	}
	s := &settings{profile: p, app: app, root: root, path: path, parsed: parsed}
	v, given, err := s.value(ctx, "MyModuleSettings", module, "itop_backup_incident")
	if err != nil {
		return "", s.unreadable("itop_backup_incident", "", v, err)
	}
	url := ""
	if given {
		url = v.Text()
	}
	if url == "" {
		if url, _, err = s.text(ctx, "app_root_url", ""); err != nil {
			return "", err
		}
	}
	if err := profile.CheckURL(url); err != nil || url == "" {
		return "", &core.Error{
			Code: core.CodeApplication, Op: "find the iTop that gets the ticket", Message: "neither itop_backup_incident nor app_root_url in " + path + " is an address that can be used", Err: err,
			Hint: "set itop_backup_incident there, or configure the ticket under notify: in backstay.yaml",
		}
	}
	return url, nil
}
