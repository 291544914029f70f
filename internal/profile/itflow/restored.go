package itflow

import (
	"fmt"

	"github.com/backstay/backstay/internal/profile"
)

// AfterRestore says what PostSteps cannot do: ITFlow brings an older database
// up to its code, and has no way back.
func (Profile) AfterRestore(r profile.Restored) []string {
	code, database := codeSchema(r.Root), r.Versions[VersionSchema]
	if code == "" || database == "" || compareVersions(database, code) <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("the database is of version %s and the code here knows only %s: restore the code too (--only code), or update ITFlow's code", database, code)}
}
