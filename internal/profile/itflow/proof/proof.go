// Package proof looks at a restored copy of ITFlow and says whether ITFlow would
// work with it: settings, administrators, the files that rows name, credentials,
// pages. It is for ITFlow's profile. It promises to change nothing but what a
// login does, to take what it reads as hostile, to need bounded memory however
// many files there are, and to put no secret into a proof.
package proof

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Names of proofs.
const (
	Settings      = "settings"
	SchemaVersion = "schema-version"
	Administrator = "administrator"
	RowFiles      = "row-files"
	ExtraFiles    = "extra-files"
	Credentials   = "credentials"
	Page          = "page"
	LoginForm     = "login-form"
	Login         = "login"
)

// Copy is a restored copy, with what the profile has read of it.
type Copy struct {
	profile.RestoredCopy
	Schema     string // the database's version in the copy; "": it does not say
	SchemaWhy  string // why not
	SchemaThen string // when it was captured
	CodeSchema string // the newest that the copy's code knows; "": unknown
}

// Prove looks at rows, files and secrets. The error is that of a cancelled ctx.
func Prove(ctx context.Context, c Copy) ([]core.Proof, error) {
	p := &prover{Copy: c}
	if err := p.readColumns(ctx); err != nil {
		return p.out, err
	}
	for _, look := range []func(context.Context) error{p.settings, p.schemaVersion, p.administrator, p.files, p.credentials} {
		if err := look(ctx); err != nil {
			return p.out, err
		}
	}
	return p.out, ctx.Err()
}

type prover struct {
	Copy
	columns map[string]bool // "table.column", lower case
	out     []core.Proof
}

func (p *prover) say(outcome core.ProofOutcome, name, object string, count int64, format string, args ...any) {
	p.out = append(p.out, core.Proof{Name: name, Outcome: outcome, Object: object, Message: fmt.Sprintf(format, args...), Count: count})
}

// hint adds what to do to the proof said last.
func (p *prover) hint(text string) { p.out[len(p.out)-1].Hint = text }

// noDatabase says that there are no rows to look at.
func (p *prover) noDatabase(name string) bool {
	if p.Query == nil {
		p.say(core.ProofSkipped, name, "", 0, "the backup has no database to look at")
	}
	return p.Query == nil
}

// readColumns finds out what this version's tables are like.
func (p *prover) readColumns(ctx context.Context) error {
	p.columns = map[string]bool{}
	if p.Query == nil {
		return nil
	}
	rows, err := p.Query.Query(ctx, "SELECT CONCAT(table_name, '.', column_name) FROM information_schema.columns WHERE table_schema = DATABASE()")
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		p.say(core.ProofFailed, Settings, "", 0, "the copy's database cannot be asked: %v", err)
		p.Query = nil
		return nil
	}
	for _, r := range rows {
		p.columns[strings.ToLower(profile.Text(r, 0))] = true
	}
	return nil
}

func (p *prover) has(table string, columns ...string) bool {
	return !slices.ContainsFunc(columns, func(c string) bool { return !p.columns[table+"."+c] })
}

// count asks for one number.
func (p *prover) count(ctx context.Context, statement string) (int64, error) {
	rows, err := p.Query.Query(ctx, statement)
	if err != nil {
		return 0, err
	}
	if len(rows) != 1 {
		return 0, fmt.Errorf("the server gave %d rows", len(rows))
	}
	return strconv.ParseInt(profile.Text(rows[0], 0), 10, 64)
}

// settings looks for the row that every page of ITFlow begins with.
func (p *prover) settings(ctx context.Context) error {
	if p.noDatabase(Settings) {
		return nil
	}
	n, err := p.count(ctx, "SELECT COUNT(*) FROM settings WHERE company_id = 1")
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		p.say(core.ProofFailed, Settings, "settings", 0, "ITFlow's settings cannot be read: %v", err)
	case n == 0 && p.Partly:
		p.say(core.ProofSkipped, Settings, "settings", 0, "only some rows were sampled, and ITFlow's settings are not among them")
	case n == 0:
		p.say(core.ProofFailed, Settings, "settings", 0, "the row of ITFlow's settings (company_id 1) is not there: no page would work")
	default:
		p.say(core.ProofOK, Settings, "settings", n, "the row of ITFlow's settings is there")
	}
	return nil
}

// schemaVersion compares the database's version with the manifest and the code.
func (p *prover) schemaVersion(context.Context) error {
	if p.noDatabase(SchemaVersion) {
		return nil
	}
	const object = "settings.config_current_database_version"
	now, then, code := p.Schema, p.SchemaThen, p.CodeSchema
	order := profile.CompareVersions(now, code)
	switch {
	case now == "" && p.Partly:
		p.say(core.ProofSkipped, SchemaVersion, object, 0, "the database's version is not among the rows that were sampled")
	case now == "":
		p.say(core.ProofFailed, SchemaVersion, object, 0, "%s", cmp.Or(p.SchemaWhy, "the database does not say its version"))
	case then != "" && now != then && now == code:
		p.say(core.ProofOK, SchemaVersion, object, 1, "the database was of version %s when it was captured, and ITFlow's update brought it to the code's, %s", then, code)
	case then != "" && now != then:
		p.say(core.ProofFailed, SchemaVersion, object, 1, "the database is of version %s, and was of version %s when it was captured", now, then)
	case code == "":
		p.say(core.ProofOK, SchemaVersion, object, 1, "the database is of version %s, as when it was captured; the copy has no code to compare it with", now)
	case order == 0:
		p.say(core.ProofOK, SchemaVersion, object, 1, "the database is of version %s, as when it was captured, which is the newest that the code knows", now)
	case order < 0:
		p.say(core.ProofNote, SchemaVersion, object, 1, "the database is of version %s, as when it was captured, and the code expects %s: ITFlow's update of the database was not run", now, code)
		p.hint("run ITFlow's update (Administration > Update) on the running application")
	default:
		p.say(core.ProofFailed, SchemaVersion, object, 1, "the database is of version %s, and the code knows only %s", now, code)
		p.hint("update the code of the running application, or find out why it is older than its database")
	}
	return nil
}

// administrator looks for an agent who can manage ITFlow: by role, and before
// there were tables of roles by number.
func (p *prover) administrator(ctx context.Context) error {
	if p.noDatabase(Administrator) {
		return nil
	}
	from, where := "users", []string{"COALESCE(user_password, '') <> ''"}
	add := func(table, column, condition string) {
		if p.has(table, column) {
			where = append(where, condition)
		}
	}
	add("users", "user_type", "user_type = 1")
	add("users", "user_status", "user_status = 1")
	add("users", "user_archived_at", "user_archived_at IS NULL")
	switch {
	case p.has("user_roles", "role_is_admin") && p.has("users", "user_role_id"):
		from += " JOIN user_roles ON role_id = user_role_id"
		where = append(where, "role_is_admin = 1")
	case p.has("user_settings", "user_role"):
		from += " JOIN user_settings ON user_settings.user_id = users.user_id"
		where = append(where, "user_role = 3")
	default:
		p.say(core.ProofSkipped, Administrator, "users", 0, "this version's tables do not say who is an administrator in a way that is known here")
		return nil
	}
	wrapped := "0"
	if p.has("users", "user_specific_encryption_ciphertext") {
		wrapped = "COALESCE(user_specific_encryption_ciphertext, '') <> ''"
	}
	rows, err := p.Query.Query(ctx, "SELECT COUNT(*), COALESCE(SUM("+wrapped+"), 0) FROM "+from+" WHERE "+strings.Join(where, " AND "))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || len(rows) != 1 {
		p.say(core.ProofFailed, Administrator, "users", 0, "the administrators cannot be counted: %v", err)
		return nil
	}
	n, err := strconv.ParseInt(profile.Text(rows[0], 0), 10, 64)
	keys := profile.Text(rows[0], 1)
	switch {
	case err != nil:
		p.say(core.ProofFailed, Administrator, "users", 0, "the administrators cannot be counted: %v", err)
	case n == 0 && p.Partly:
		p.say(core.ProofSkipped, Administrator, "users", 0, "only some rows were sampled, and no administrator is among them")
	case n == 0:
		p.say(core.ProofFailed, Administrator, "users", 0, "no agent who is active is an administrator with a password: nobody could manage ITFlow")
	default:
		p.say(core.ProofOK, Administrator, "users", n, "administrators who are active: %d; with a way to the master key: %s", n, keys)
	}
	return nil
}
