// Package proof looks at a restored copy of iTop and says whether iTop would
// work with it: versions, administrators, modules, secrets, pages. It is for
// iTop's profile. It promises to change nothing but what a login does, to take
// what it reads as hostile, and to put no secret into a proof.
package proof

import (
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
	Version         = "version"
	Administrator   = "administrator"
	Modules         = "modules"
	Encryption      = "encryption"
	EncryptedFields = "encrypted-fields"
	Page            = "page"
	LoginForm       = "login-form"
	Login           = "login"
)

// Copy is a restored copy, with what the profile has read of it.
type Copy struct {
	profile.RestoredCopy
	Environment string
	Prefix      string // of the tables
	// Rows is what the copy's database says of versions and modules.
	Rows *core.Application
	// Code is the full version of the copy's code (ITOP_VERSION_FULL), CodeThen
	// that of the code captured, Schema the name of the database's version in
	// Rows.Versions; "": unknown.
	Code, CodeThen string
	Schema         string
	ConfigErr      error   // the copy's configuration cannot be read
	Key            Setting // encryption_key
	Library        Setting // encryption_library
	PHP            profile.PHP
	HasPHP         bool // PHP could be asked
}

// Setting is a setting of the copy's configuration.
type Setting struct {
	Value core.Secret
	Set   bool
	Err   error // it could not be read
}

// Prove looks at rows, files and secrets. The error is that of a cancelled ctx.
func Prove(ctx context.Context, c Copy) ([]core.Proof, error) {
	p := &prover{Copy: c}
	p.version()
	p.administrator(ctx)
	p.modules(ctx)
	if err := p.encryption(ctx); err != nil {
		return p.out, err
	}
	return p.out, ctx.Err()
}

type prover struct {
	Copy
	out []core.Proof
}

func (p *prover) say(outcome core.ProofOutcome, name, object string, count int64, format string, args ...any) {
	p.out = append(p.out, core.Proof{Name: name, Outcome: outcome, Object: object, Message: fmt.Sprintf(format, args...), Count: count})
}

// hint adds what to do to the proof said last.
func (p *prover) hint(text string) { p.out[len(p.out)-1].Hint = text }

func (p *prover) table(name string) string { return profile.QuoteName(p.Prefix + name) }

// noDatabase says that there are no rows to look at.
func (p *prover) noDatabase(name string) bool {
	if p.Query == nil {
		p.say(core.ProofSkipped, name, "", 0, "the backup has no database to look at")
	}
	return p.Query == nil
}

// version compares what iTop's setup wrote into the database with the manifest
// and with the code.
func (p *prover) version() {
	if p.noDatabase(Version) {
		return
	}
	rows := p.Prefix + "priv_module_install"
	now, then := p.Rows.Versions[p.Schema], p.Manifest.Versions[p.Schema]
	switch {
	case now == "" && p.Partly:
		p.say(core.ProofSkipped, Version, rows, 0, "the row with iTop's version is not among the rows that were sampled")
		return
	case now == "":
		why := "the database does not say which version of iTop it belongs to"
		if len(p.Rows.Warnings) > 0 {
			why = p.Rows.Warnings[0].Message
		}
		p.say(core.ProofFailed, Version, rows, 0, "%s", why)
		return
	case then != "" && now != then:
		p.say(core.ProofFailed, Version, rows, 1, "the database is of iTop %s, and was of iTop %s when it was captured", now, then)
		return
	}
	code := p.Code
	switch {
	case code == "":
		p.say(core.ProofOK, Version, rows, 1, "the database is of iTop %s, as when it was captured; the copy has no code to compare it with", now)
	case code == now:
		p.say(core.ProofOK, Version, rows, 1, "database and code are both of iTop %s, as when they were captured", now)
	case p.CodeThen != "" && code != p.CodeThen:
		p.say(core.ProofFailed, Version, rows, 1, "the code is iTop %s, and was iTop %s when it was captured", code, p.CodeThen)
	default:
		p.say(core.ProofNote, Version, rows, 1, "the code is iTop %s and the database of iTop %s, as when they were captured: iTop's setup was not run after the code was replaced", code, now)
		p.hint("run iTop's setup on the running application")
	}
}

// administrators is the id of iTop's profile Administrator (ADMIN_PROFILE_ID).
const administrators = "1"

// administrator looks for a user who can manage the application. Of the users
// whose password iTop keeps itself, the password must be there.
func (p *prover) administrator(ctx context.Context) {
	if p.noDatabase(Administrator) {
		return
	}
	users := p.Prefix + "priv_user"
	enabled := p.table("priv_user") + " u JOIN " + p.table("priv_urp_userprofile") + " p ON p.userid = u.id WHERE p.profileid = " + administrators + " AND u.status = 'enabled'"
	all, err := p.count(ctx, "SELECT COUNT(DISTINCT u.id) FROM "+enabled)
	if err != nil {
		p.say(core.ProofFailed, Administrator, users, 0, "the administrators could not be counted: %v", err)
		return
	}
	if all == 0 && p.Partly {
		p.say(core.ProofSkipped, Administrator, users, 0, "only some rows were sampled, and no administrator is among them")
		return
	}
	if all == 0 {
		p.say(core.ProofFailed, Administrator, users, 0, "no user who is enabled has the profile Administrator: nobody could manage the application")
		return
	}
	without, err := p.count(ctx, "SELECT COUNT(DISTINCT u.id) FROM "+p.table("priv_user")+" u JOIN "+p.table("priv_urp_userprofile")+" p ON p.userid = u.id LEFT JOIN "+p.table("priv_user_local")+
		" l ON l.id = u.id WHERE p.profileid = "+administrators+" AND u.status = 'enabled' AND u.finalclass = 'UserLocal' AND (l.id IS NULL OR COALESCE(LENGTH(l.password_hash), 0) = 0)")
	switch {
	case err != nil: // an iTop without local users
		p.say(core.ProofOK, Administrator, users, all, "%s enabled", administratorsAre(all))
	case without == all && !p.Partly:
		p.say(core.ProofFailed, Administrator, p.Prefix+"priv_user_local", all, "no administrator who is enabled has a password: nobody could log in and manage the application")
	case without > 0:
		p.say(core.ProofOK, Administrator, users, all, "%s enabled; %d without a password", administratorsAre(all), without)
	default:
		p.say(core.ProofOK, Administrator, users, all, "%s enabled", administratorsAre(all))
	}
}

func administratorsAre(n int64) string {
	if n == 1 {
		return "1 administrator is"
	}
	return fmt.Sprintf("%d administrators are", n)
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

// extensions are what PHP needs for a library of SimpleCrypt's; nil for one
// that iTop does not know.
func extensions(library string) (any []string, known bool) {
	switch library {
	case "Sodium":
		return []string{"sodium"}, true
	case "OpenSSL", "OpenSSLMcryptCompatibility":
		return []string{"openssl"}, true
	case "Mcrypt":
		return []string{"mcrypt", "openssl"}, true
	case "Simple":
		return nil, true
	}
	return nil, false
}

// encryption looks for the key and the library of encrypted fields, which are
// in the configuration, and opens what is encrypted.
func (p *prover) encryption(ctx context.Context) error {
	switch {
	case p.ConfigErr != nil && slices.Contains(p.Manifest.Components, core.ComponentConfig):
		p.say(core.ProofFailed, Encryption, "encryption_key", 0, "the restored configuration cannot be read: %v", p.ConfigErr)
		return p.encryptedFields(ctx, false)
	case p.ConfigErr != nil:
		p.say(core.ProofSkipped, Encryption, "encryption_key", 0, "the backup has no configuration, where the key is")
		p.hint("back up the component config too: without its key, encrypted fields cannot be read")
		return p.encryptedFields(ctx, false)
	}
	for _, s := range []Setting{p.Key, p.Library} {
		if s.Err != nil {
			p.say(core.ProofSkipped, Encryption, "", 0, "what the restored configuration says could not be found out: %v", s.Err)
			return p.encryptedFields(ctx, false)
		}
	}
	usable, library := false, p.Library.Value.Reveal()
	switch any, known := extensions(library); {
	case !p.Key.Set || p.Key.Value.Empty():
		p.say(core.ProofFailed, Encryption, "encryption_key", 0, "the restored configuration has no encryption key: encrypted fields could never be read again")
	case !p.Library.Set || library == "":
		p.say(core.ProofFailed, Encryption, "encryption_library", 0, "the restored configuration does not say with which library fields were encrypted: iTop would take the best that PHP offers there")
	case !known:
		p.say(core.ProofFailed, Encryption, "encryption_library", 0, "iTop knows no library %q", library)
	case p.HasPHP && any != nil && !p.PHP.Has(any...):
		usable = true
		p.say(core.ProofOK, Encryption, "", 2, "key and library (%s) are in the restored configuration", library)
		p.say(core.ProofNote, Encryption, library, 0, "PHP %s here has no %s, without which iTop does not read encrypted fields", p.PHP.Version, strings.Join(any, " or "))
		p.hint("where iTop is restored for good, install the extension first")
	default:
		usable = true
		p.say(core.ProofOK, Encryption, "", 2, "key and library (%s) are in the restored configuration", library)
	}
	return p.encryptedFields(ctx, usable)
}
