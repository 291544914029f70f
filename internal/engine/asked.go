package engine

import (
	"slices"

	"github.com/backstay/backstay/internal/core"
)

// Warnings of an imported backup that its restore asks about: somebody else may
// have written it.
const (
	WarnOutsideFiles = "outside-files" // files outside the app's folder that its configuration does not name
	WarnPrivileged   = "setuid"        // files that run with the rights of their owner, or have capabilities
	WarnLinksOutside = "links-outside" // symbolic links that lead outside the app's folder
	WarnAmongCode    = "among-code"    // files where the application's code is
	WarnBringsCode   = "brings-code"   // triggers, events and routines, which the server runs
)

// Asked returns the warnings of a backup that its restore asks about, and the
// number of the others.
func Asked(m core.Manifest) (asked []core.Warning, others int) {
	for _, w := range m.Warnings {
		if m.Origin != nil && IsAsked(w.Code) {
			asked = append(asked, w)
		} else {
			others++
		}
	}
	return asked, others
}

// IsAsked says whether a warning's code is one of those.
func IsAsked(code string) bool {
	return slices.Contains([]string{WarnOutsideFiles, WarnPrivileged, WarnLinksOutside, WarnAmongCode, WarnBringsCode}, code)
}
