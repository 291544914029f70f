package itflow

import (
	"context"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// database reads the account. A setting that backstay.yaml gives is not needed
// from ITFlow.
func (p Profile) database(ctx context.Context, app profile.App, found *core.Application, s *settings) (*core.DatabaseSource, error) {
	given := app.Database
	source := &core.DatabaseSource{}
	host, password := "", ""
	for _, field := range []struct {
		into           *string
		variable, yaml string
		given          bool
	}{
		{&host, "dbhost", "host", given.Host != "" || given.Socket != ""},
		{&source.User, "dbusername", "user", given.User != ""},
		{&password, "dbpassword", "password_file", !given.Password.Empty()},
		{&source.Name, "database", "name", given.Name != ""},
	} {
		if field.given {
			continue
		}
		text, err := s.text(ctx, field.variable, field.yaml)
		if err != nil {
			return nil, err
		}
		*field.into = text
	}
	source.Password = core.NewSecret(password)
	if err := profile.Complete(found, app, source, host, s.path, "$dbhost", p.Sockets); err != nil {
		return nil, err
	}
	return source, nil
}
