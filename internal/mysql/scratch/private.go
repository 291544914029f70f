package scratch

import (
	"context"
	"errors"
)

// Private starts a server for the import alone, the installed one that fits the
// dump best, and makes a database on it. Where no program is installed, or none
// that can take the dump, the error has core.CodeUnsupported and says what to
// install. ctx ends the wait for the start, not the server.
func Private(ctx context.Context, opt Options) (*Database, error) {
	return nil, errors.New("make a private database server: not built yet")
}
