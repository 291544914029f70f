package generic

import (
	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// Partly knows nothing of the application.
func (Profile) Partly(profile.Part) []core.Finding { return nil }
