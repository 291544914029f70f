package profile

import "github.com/backstay/backstay/internal/core"

// Expecter is a profile that can tell whether code and database belong
// together, as they do not between the exchange of the code and the end of the
// application's own update.
type Expecter interface {
	// ExpectedSchema returns the database version that the code expects, and
	// the database's own, from what Discover and Versions found; "" for what is
	// not known.
	ExpectedSchema(found *core.Application) (want, is string)
}
