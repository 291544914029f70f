package itflow

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// extensions are those that ITFlow's setup asks for.
func extensions() []string { return []string{"mysqli", "intl", "curl", "mbstring", "gd", "xml"} }

// Compare looks at the database's version, PHP and maintenance. The key of
// ITFlow's credentials is in the database, wrapped with the agents' passwords.
func (p Profile) Compare(ctx context.Context, c profile.Comparison) []core.Finding {
	php, there := profile.AskPHP(ctx, p.PHP)
	var out []core.Finding
	out = append(out, compareCode(c)...)
	out = append(out, profile.ComparePHP(php, there, c.Live != nil, extensions()))
	return append(out, profile.CompareMaintenance(c)...)
}

func compareCode(c profile.Comparison) []core.Finding {
	if c.Target == nil {
		return nil
	}
	database, code := c.Manifest.Versions[VersionSchema], codeSchema(c.Root)
	if c.Code {
		code = c.Manifest.Versions[VersionCodeSchema]
	}
	if code == "" && !c.Code && !isThere(c.Root, "functions.php") {
		return []core.Finding{{
			Kind: core.FindingDecision, Name: profile.FindingNoCode, Object: c.Root, Message: "there is no code of ITFlow, and none is restored",
			Hint: "restore the code too (--only with code), or install ITFlow's code there first",
		}}
	}
	f := core.Finding{Kind: core.FindingFine, Name: profile.FindingVersion}
	switch {
	case database == "" || code == "":
		f.Message = "backup or code do not say a database version, so they were not compared"
	case compareVersions(database, code) == 0:
		f.Message = "code and database are both of database version " + database
	case compareVersions(database, code) < 0:
		f.Name = profile.FindingOlderBackup
		f.Message = fmt.Sprintf("the database is of version %s and the code here of %s: ITFlow's database update is run after the restore", database, code)
	default:
		f.Kind, f.Name = core.FindingDecision, profile.FindingNewerBackup
		f.Message = fmt.Sprintf("the database is of version %s and the code here knows only %s; ITFlow has no way back", database, code)
		f.Hint = "restore the code too (--only with code), or update ITFlow's code first; --force " + profile.FindingNewerBackup + " goes on"
	}
	return []core.Finding{f}
}

// Check compares the database's version with the backup's, or with the code's
// when that was newer and the update has been run, and looks for an agent who
// may log in.
func (p Profile) Check(ctx context.Context, q profile.Querier, found *core.Application, r profile.Restored) []core.Finding {
	now := &core.Application{Database: &core.DatabaseSource{Prefix: r.Prefix}, Versions: map[string]string{}}
	if found != nil && found.Database != nil {
		now.Database.Name = found.Database.Name
	}
	err := p.Versions(ctx, q, now)
	want := r.Versions[VersionSchema]
	if code := codeSchema(r.Root); code != "" && now.Versions[VersionSchema] == code && want != "" && compareVersions(want, code) < 0 {
		want = code
	}
	return []core.Finding{
		profile.CheckSchema(now, want, err, VersionSchema),
		profile.CheckSome(ctx, q, profile.FindingAdministrators, "users who may log in",
			"SELECT COUNT(*) FROM "+profile.QuoteName(r.Prefix+"users")+" WHERE user_archived_at IS NULL AND user_password <> ''"),
	}
}
