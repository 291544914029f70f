package proof

import (
	"context"
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/keys"
	"github.com/backstay/backstay/internal/keys/itop"
)

// mostFields is how many values that do not open have a proof of their own.
const mostFields = 200

// encryptedFields opens what is encrypted in the rows, and what history keeps of
// it, with the restored key. usable says whether there is a key to do it with.
func (p *prover) encryptedFields(ctx context.Context, usable bool) error {
	if p.noDatabase(EncryptedFields) {
		return nil
	}
	if !usable {
		p.say(core.ProofSkipped, EncryptedFields, "", 0, "encrypted fields were not opened: there is no key in the copy to do it with")
		return nil
	}
	key, err := itop.NewKey(p.Library.Value.Reveal(), p.Key.Value)
	if err != nil {
		p.say(core.ProofFailed, EncryptedFields, "", 0, "the restored key opens nothing: %v", err)
		return nil
	}
	v, err := itop.Check(ctx, key, p.Prefix, keys.AskColumns(p.Query, p.Prefix), keys.Ask(p.Query))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		p.say(core.ProofFailed, EncryptedFields, "", 0, "the encrypted fields cannot be read: %v", err)
		return nil
	}
	for i, f := range v.Failures {
		if i == mostFields {
			break
		}
		p.say(core.ProofFailed, EncryptedFields, f.Table+" "+f.ID, 0, "%s: %s", f.Column, f.Why)
	}
	for _, c := range v.Columns {
		if c.Unread != "" {
			p.say(core.ProofNote, EncryptedFields, c.Table+"."+c.Column, 0, "its values were not opened: %s", c.Unread)
		}
	}
	of := ""
	if p.Partly {
		of = " of the rows that were sampled"
	}
	switch {
	case v.Failed > 0:
		p.say(core.ProofFailed, EncryptedFields, "", v.Values, "the restored key opens %d of %d encrypted values%s", v.Opened, v.Values, of)
	case v.None():
		p.say(core.ProofOK, EncryptedFields, "", 0, "there are no encrypted values%s; columns that could hold some: %d", of, len(v.Columns))
	default:
		p.say(core.ProofOK, EncryptedFields, "", v.Values, "the restored key opens all %d encrypted values%s, %s", v.Values, of, means(v))
	}
	return nil
}

// means says where the values were, and how much it proves that they opened.
func means(v *itop.Verdict) string {
	history := int64(0)
	for _, c := range v.Columns {
		if c.History {
			history += c.Values
		}
	}
	text := fmt.Sprintf("%d of them in the history", history)
	switch v.Proof {
	case itop.Sealed:
		return text + "; no other key would"
	case itop.Padded:
		return text + "; another key would open one in some hundred"
	}
	return text + "; the library has no check of its own, and what came out is text"
}
