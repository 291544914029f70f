package repository

import (
	"context"

	"github.com/backstay/backstay/internal/core"
)

// Escrow is a store whose key can be kept elsewhere, and changed.
type Escrow interface {
	// ID tells the repository from others, whatever its address and key. It is
	// no secret.
	ID() string
	// Format returns the small objects without which the key opens nothing, by
	// name. They are encrypted with the key.
	Format(ctx context.Context) (map[string][]byte, error)
	// ChangeKey makes another key open the repository, and the present one no
	// longer. Stores that are open stay so. When it does not return nil, or is
	// killed, it may be that no key does, until what Format returned before is
	// put back.
	ChangeKey(ctx context.Context, key core.Secret) error
}
