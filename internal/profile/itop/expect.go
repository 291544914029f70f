package itop

import (
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

var _ profile.Expecter = Profile{}

// ExpectedSchema compares the code's ITOP_VERSION_FULL with what the last run
// of the setup wrote into the database.
func (Profile) ExpectedSchema(found *core.Application) (want, is string) {
	code, revision := found.Versions[VersionApplication], found.Versions[VersionRevision]
	if code == "" || revision == "" {
		return "", found.Versions[VersionSchema]
	}
	return code + "-" + revision, found.Versions[VersionSchema]
}
