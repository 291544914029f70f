package kopia

import (
	"fmt"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/repository"
	"github.com/backstay/backstay/internal/repository/kopia/place"
)

// ErrExists is the cause of Create's error when there is a repository already.
var ErrExists = place.ErrExists

// LocalPath returns the folder of a file:// repository.
func LocalPath(rawURL string) (string, bool) {
	loc, err := parseURL(rawURL)
	return loc.path, err == nil
}

// Vacant returns nil when Create could make a repository at the URL, and what
// Create would say when it could not. It changes nothing.
func Vacant(rawURL string) error {
	loc, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	return place.Vacant(loc.path)
}

// Writable returns nil when this process may write into the repository's
// folder.
func Writable(rawURL string) error {
	loc, err := parseURL(rawURL)
	if err != nil {
		return err
	}
	if !place.Writable(loc.path) {
		return repository.StorageError(&core.Error{
			Code: core.CodeDisk, Op: "look at repository folder", Message: fmt.Sprintf("%s cannot be written", loc.path),
			Hint: "run as the user who owns it, or mount it read-write",
		})
	}
	return nil
}
