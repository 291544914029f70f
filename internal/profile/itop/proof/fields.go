package proof

import (
	"context"

	"github.com/backstay/backstay/internal/core"
)

// encryptedFields opens what is encrypted in the rows.
func (p *prover) encryptedFields(ctx context.Context, usable bool) error {
	if p.noDatabase(EncryptedFields) {
		return nil
	}
	_ = usable
	p.say(core.ProofSkipped, EncryptedFields, "", 0, "encrypted fields were not opened")
	return ctx.Err()
}
