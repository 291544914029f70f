package itflow

import (
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

var _ profile.Expecter = Profile{}

// ExpectedSchema compares the newest migration of the code with the database's
// version.
func (Profile) ExpectedSchema(found *core.Application) (want, is string) {
	return found.Versions[VersionCodeSchema], found.Versions[VersionSchema]
}
