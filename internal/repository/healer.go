package repository

import (
	"context"

	"github.com/backstay/backstay/internal/core"
)

// Healer is a store that can be made to store anew what it holds damaged:
// otherwise what is written again is taken for what is there.
type Healer interface {
	// Heal looks at everything that the objects are made of, and has each part
	// that cannot be read be stored anew when it is written next. What can be
	// read stays as it is. It returns how many parts those are.
	Heal(ctx context.Context, objects []core.ObjectID) (parts int, err error)
}
