package profile

import (
	"context"
	"net/http"

	"github.com/backstay/backstay/internal/core"
)

// RestoredCopy is a whole application that a drill restored into a scratch
// place, for its profile to look at. Nobody uses it, and it is thrown away.
type RestoredCopy struct {
	App      App               // of the copy: its root is the scratch folder
	Found    *core.Application // what Discover said of the copy; nil: it could not be understood
	Manifest *core.Manifest    // of the backup
	Query    Querier           // asks the copy's database, as it is after Quiet; nil: there is none
	Root     string            // the copy's folder; "": no files were restored
	// Partly says that only some of the rows, or of the files, are there.
	Partly bool
	// Account is whom the drill may log in as; User "" when none is given.
	Account Account
}

// Account is a user of the application itself.
type Account struct {
	User     string
	Password core.Secret
}

// Prover is a profile that can prove more of a restored copy than that it is
// what was captured: that the application would work with it.
type Prover interface {
	// Prove looks at the copy's rows and files, and whether its secrets can be
	// read. It changes nothing. What cannot be looked at is a proof that was
	// skipped; the error is that of a cancelled ctx.
	Prove(ctx context.Context, c RestoredCopy) ([]core.Proof, error)
}

// Visitor is a profile whose application can be asked for its pages when PHP's
// built-in server runs it.
type Visitor interface {
	// Site says how PHP is to serve the copy.
	Site(c RestoredCopy) Site
	// Visit asks the copy, which answers at base (http://127.0.0.1:PORT), for its
	// pages through client, and logs in with c.Account, or looks at the login
	// form where that is empty. client has a time limit for each request, follows
	// no redirects, and reaches nothing but the copy. The error is that of a
	// cancelled ctx.
	Visit(ctx context.Context, client *http.Client, base string, c RestoredCopy) ([]core.Proof, error)
}

// Site says how PHP serves a copy.
type Site struct {
	DocumentRoot string            // absolute; "": the copy's folder
	Settings     map[string]string // of php.ini, beyond what keeps PHP off the world
	Writable     []string          // folders, absolute, that the application must be able to write
}
