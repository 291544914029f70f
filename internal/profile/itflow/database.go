package itflow

import (
	"context"
	"errors"
	"fmt"

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
	address, err := profile.ParseAddress(host)
	if err != nil {
		return nil, &core.Error{
			Code: core.CodeApplication, Op: "read " + s.path, Message: "the setting $dbhost is not understood", Err: err,
			Hint: fmt.Sprintf("write database: {host: …, port: …} for app %s in backstay.yaml", app.Name),
		}
	}
	profile.Resolve(found, source, address, given, p.Sockets)
	if err := profile.CheckDatabase(app, source); err != nil {
		var e *core.Error
		if errors.As(err, &e) {
			e.Op = "read " + s.path
		}
		return nil, err
	}
	return source, nil
}
