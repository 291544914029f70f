package itflow

import (
	"fmt"
	"path/filepath"

	"github.com/backstay/backstay/internal/profile"
)

// AfterRestore compares the code that is there now with the database that came
// back: ITFlow brings an older database up to its code, and has no way back.
func (Profile) AfterRestore(r profile.Restored) []string {
	code, database := codeSchema(r.Root), r.Versions[VersionSchema]
	if code == "" || database == "" {
		return nil
	}
	switch order := compareVersions(database, code); {
	case order < 0:
		script := filepath.Join(r.Root, "scripts/update_cli.php")
		return []string{fmt.Sprintf("the database is of version %s and the code here expects %s: cd %s && %s", database, code,
			profile.ShellQuote(r.Root), profile.AsOwner(script, "php scripts/update_cli.php --update_db"))}
	case order > 0:
		return []string{fmt.Sprintf("the database is of version %s and the code here knows only %s: restore the code too (--only code), or update ITFlow's code", database, code)}
	}
	return nil
}
