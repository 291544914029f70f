package mysql

import (
	"regexp"
	"strings"
)

// reservedPrefix begins the names of what a restore builds or keeps beside the
// live tables, in the same database.
const reservedPrefix = "_backstay_"

var (
	runShape      = regexp.MustCompile(`^[a-z2-7]{10}$`)
	reservedShape = regexp.MustCompile(`^` + reservedPrefix + `([a-z2-7]{10})_(?:[nkc][0-9]{4,6}|probe)$`)
)

// ValidRun says whether a restore's run may be called so.
func ValidRun(run string) bool { return runShape.MatchString(run) }

// ReservedName returns the name of something of a restore's run that lies
// beside live tables. kind tells names of a run apart: "n", "k" or "c" with a
// number of at least four digits, or "probe".
func ReservedName(run, kind string) string { return reservedPrefix + run + "_" + kind }

// Reserved says whether a table, view or trigger is one that a restore put
// beside live ones. A backup never takes them. The shape is exact: an app's own
// table may begin with the same letters.
func Reserved(name string) bool { return reservedShape.MatchString(name) }

// ReservedRun returns the run of a reserved name, "" for any other name.
func ReservedRun(name string) string {
	if m := reservedShape.FindStringSubmatch(name); m != nil {
		return m[1]
	}
	return ""
}

// BesideNames returns what the databases are called that a restore's run makes
// beside one: that of the new tables and that of the kept ones.
func BesideNames(live, run string) (built, kept string) {
	beside := func(suffix string) string {
		const longest = 64 // characters of an identifier
		name := []rune(live)
		return string(name[:min(len(name), longest-len(suffix))]) + suffix
	}
	return beside(reservedPrefix + run), beside(reservedPrefix + run + keptSuffix)
}

const keptSuffix = "_kept"

// BesideRun returns the run whose database beside live is called so, "" for any
// other name.
func BesideRun(live, name string) string {
	text := strings.TrimSuffix(name, keptSuffix)
	run := text[strings.LastIndexByte(text, '_')+1:]
	if !ValidRun(run) {
		return ""
	}
	if built, kept := BesideNames(live, run); name != built && name != kept {
		return ""
	}
	return run
}

// ImportName returns what the scratch database of an import's run is called.
func ImportName(run string) string { return reservedPrefix + run + importSuffix }

// ImportRun returns the run whose scratch database is called so, "" for any
// other name.
func ImportRun(name string) string {
	text, ok := strings.CutPrefix(name, reservedPrefix)
	run, ends := strings.CutSuffix(text, importSuffix)
	if !ok || !ends || !ValidRun(run) {
		return ""
	}
	return run
}

const importSuffix = "_import"
