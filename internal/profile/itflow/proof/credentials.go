package proof

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/keys/itflow"
)

// mostCredentials is how many credentials that do not open have a proof of
// their own.
const mostCredentials = 200

// credentials opens what is encrypted under the master key, with the password
// of the drill's account.
func (p *prover) credentials(ctx context.Context) error {
	if p.noDatabase(Credentials) {
		return nil
	}
	if p.Account.User == "" {
		return p.wellFormed(ctx)
	}
	wrappings, err := itflow.Wrappings(ctx, keys.Ask(p.Query))
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, keys.ErrAbsent):
		p.say(core.ProofSkipped, Credentials, "", 0, "this version's tables hold no master keys")
		return nil
	case err != nil:
		p.say(core.ProofFailed, Credentials, "", 0, "the users cannot be read: %v", err)
		return nil
	}
	user := p.Account.User
	own := slices.DeleteFunc(wrappings, func(w itflow.Wrapping) bool {
		return w.Kind != itflow.OfUser || !strings.EqualFold(w.Name, user) || w.Archived
	})
	if len(own) == 0 {
		outcome, where := core.ProofFailed, ""
		if p.Partly {
			outcome, where = core.ProofSkipped, " among the rows that were sampled"
		}
		p.say(outcome, Credentials, user, 0, "no credential was opened: there is no active user of this e-mail address%s", where)
		p.hint("correct drill: login: in backstay.yaml")
		return nil
	}
	found, refused, err := itflow.Find(ctx, own, p.Account.Password)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		p.closed(user, refused)
		return nil
	}
	return p.open(ctx, found[0])
}

// closed says why the account opened no master key.
func (p *prover) closed(user string, refused []itflow.Refusal) {
	// Somebody may be an agent and a client: the one that has a key counts.
	err := itflow.ErrNoWrapping
	for _, r := range refused {
		if !errors.Is(r.Err, itflow.ErrNoWrapping) {
			err = r.Err
		}
	}
	if errors.Is(err, itflow.ErrNoWrapping) {
		p.say(core.ProofSkipped, Credentials, user, 0, "no credential was opened: this user has no way to the master key")
		p.hint("give the drill an agent who reads credentials (drill: login: in backstay.yaml)")
		return
	}
	p.say(core.ProofFailed, Credentials, user, 0, "the account opens no master key: %v", err)
	if errors.Is(err, itflow.ErrWrongPassword) {
		p.hint("correct drill: login: in backstay.yaml: it must be the password that the user had when the backup was made")
	} else {
		p.hint("let the user set the password anew in ITFlow, as somebody who reads credentials")
	}
}

// open tries the key on every credential, and names those that it does not open.
func (p *prover) open(ctx context.Context, found itflow.Found) error {
	verdicts, err := itflow.Check(ctx, keys.Ask(p.Query), found.Key)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil || len(verdicts) != 1 {
		p.say(core.ProofFailed, Credentials, "", 0, "the credentials cannot be read: %v", err)
		return nil
	}
	v := verdicts[0]
	sampled := ""
	if p.Partly {
		sampled = " of the rows that were sampled"
	}
	p.failures(core.ProofFailed, v)
	if v.Failed > 0 {
		p.say(core.ProofFailed, Credentials, "", v.Credentials, "the master key opens %d of %d encrypted values in %d credentials%s", v.Opened, v.Fields, v.Credentials, sampled)
		return nil
	}
	p.say(core.ProofOK, Credentials, "", v.Credentials, "the account's password opens the master key, and that all %d encrypted values in %d credentials%s", v.Fields, v.Credentials, sampled)
	return nil
}

// failures names what does not open.
func (p *prover) failures(outcome core.ProofOutcome, v itflow.Verdict) {
	for i, f := range v.Failures {
		if i == mostCredentials {
			break
		}
		p.say(outcome, Credentials, fmt.Sprintf("%s %s (%s)", f.Table, f.ID, f.Name), 0, "%s: %s", f.Column, f.Why)
	}
}

// wellFormed says what can be said without a password.
func (p *prover) wellFormed(ctx context.Context) error {
	verdicts, err := itflow.Check(ctx, keys.Ask(p.Query))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	said := ""
	if err == nil && len(verdicts) == 1 {
		v := verdicts[0]
		p.failures(core.ProofNote, v)
		said = fmt.Sprintf("; of %d encrypted values in %d credentials, %d are of the form that ITFlow stores", v.Fields, v.Credentials, v.Opened)
	}
	p.say(core.ProofSkipped, Credentials, "", 0, "no credential was opened: no account is given for drills, and its password is what opens the master key%s", said)
	p.hint("give the drill an account of ITFlow's (drill: login: in backstay.yaml)")
	return nil
}
