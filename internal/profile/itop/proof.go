package itop

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/phpconf"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itop/proof"
)

var (
	_ profile.Prover  = Profile{}
	_ profile.Visitor = Profile{}
)

// Prove looks at versions, administrators, modules and secrets.
func (p Profile) Prove(ctx context.Context, c profile.RestoredCopy) ([]core.Proof, error) {
	of, err := p.proven(ctx, c)
	if err != nil {
		return nil, err
	}
	return proof.Prove(ctx, of)
}

// Site serves the copy's folder.
func (p Profile) Site(c profile.RestoredCopy) profile.Site {
	return proof.Site(c.Root, environmentOf(c.Manifest.Settings))
}

// Visit asks for pages that need no login, and logs in.
func (p Profile) Visit(ctx context.Context, client *http.Client, base string, c profile.RestoredCopy) ([]core.Proof, error) {
	of, err := p.proven(ctx, c)
	if err != nil {
		return nil, err
	}
	return proof.Visit(ctx, client, base, of)
}

// proven reads what the proofs need of the copy.
func (p Profile) proven(ctx context.Context, c profile.RestoredCopy) (proof.Copy, error) {
	environment := environmentOf(c.Manifest.Settings)
	out := proof.Copy{RestoredCopy: c, Environment: environment, CodeThen: full(c.Manifest.Versions), Schema: VersionSchema}
	if c.Manifest.Database != nil {
		out.Prefix = c.Manifest.Database.Prefix
	}
	out.Rows = &core.Application{Database: &core.DatabaseSource{Prefix: out.Prefix}, Versions: map[string]string{}}
	if err := p.Versions(ctx, c.Query, out.Rows); err != nil {
		return out, err
	}
	if c.Root == "" {
		out.ConfigErr = errors.New("no files were restored")
	} else {
		versions, _ := codeVersions(c.Root)
		out.Code = full(versions)
		path := filepath.Join(c.Root, configPath(environment))
		s := &settings{profile: p, app: c.App, root: c.Root, path: path}
		var err error
		if s.parsed, err = phpconf.ReadFile(path); err != nil {
			out.ConfigErr = err
		} else {
			read := func(name string) proof.Setting {
				text, set, err := s.text(ctx, name, "")
				return proof.Setting{Value: core.NewSecret(text), Set: set, Err: err}
			}
			out.Key, out.Library = read("encryption_key"), read("encryption_library")
		}
	}
	out.PHP, out.HasPHP = profile.AskPHP(ctx, p.PHP)
	return out, ctx.Err()
}
