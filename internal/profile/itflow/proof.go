package itflow

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
	"github.com/backstay/backstay/internal/profile/itflow/proof"
)

var (
	_ profile.Prover  = Profile{}
	_ profile.Visitor = Profile{}
)

// Prove looks at settings, administrators, the files that rows name, and
// credentials.
func (p Profile) Prove(ctx context.Context, c profile.RestoredCopy) ([]core.Proof, error) {
	out := proof.Copy{RestoredCopy: c, SchemaThen: c.Manifest.Versions[VersionSchema]}
	if c.Root != "" {
		out.CodeSchema = codeSchema(c.Root)
	}
	now := &core.Application{Database: &core.DatabaseSource{}, Versions: map[string]string{}}
	if err := p.Versions(ctx, c.Query, now); err != nil {
		return nil, err
	}
	out.Schema = now.Versions[VersionSchema]
	if len(now.Warnings) > 0 {
		out.SchemaWhy = now.Warnings[0].Message
	}
	return proof.Prove(ctx, out)
}

// Site serves the copy's folder.
func (Profile) Site(c profile.RestoredCopy) profile.Site { return proof.Site(c.Root) }

// Visit asks for pages that need no login, and logs in.
func (Profile) Visit(ctx context.Context, client *http.Client, base string, c profile.RestoredCopy) ([]core.Proof, error) {
	return proof.Visit(ctx, client, base, proof.Copy{RestoredCopy: c})
}
