package mysql

import "strings"

// reservedPrefix begins the names of what a restore builds or keeps beside the
// live tables, in the same database.
const reservedPrefix = "_backstay_"

// ReservedName returns the name of something of a restore's run that lies
// beside live tables. kind tells names of a run apart.
func ReservedName(run, kind string) string { return reservedPrefix + run + "_" + kind }

// Reserved says whether a table or view is one that a restore put beside live
// ones. A backup never takes them.
func Reserved(name string) bool {
	return len(name) >= len(reservedPrefix) && strings.EqualFold(name[:len(reservedPrefix)], reservedPrefix)
}

// ReservedRun returns the run of a reserved name, "" for any other name.
func ReservedRun(name string) string {
	if !Reserved(name) {
		return ""
	}
	run, _, _ := strings.Cut(name[len(reservedPrefix):], "_")
	return run
}
