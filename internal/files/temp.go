package files

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// CodeLeftover is the code of the warning that temporary files of a restore
// were left out of a backup.
const CodeLeftover = "leftover"

const (
	tempPrefix = ".backstay-"
	tempSuffix = ".tmp"
	tempSum    = 12 // bytes of the sum in a temporary name
)

// TempName returns the name under which a restore writes a file before it takes
// its place. It depends on the name only, so that what a killed restore left is
// overwritten by the next one.
func TempName(name string) string {
	sum := sha256.Sum256([]byte(name))
	return tempPrefix + hex.EncodeToString(sum[:tempSum]) + tempSuffix
}

// IsTempName says whether a name has the form of those that TempName returns.
func IsTempName(name string) bool {
	sum, first := strings.CutPrefix(name, tempPrefix)
	sum, last := strings.CutSuffix(sum, tempSuffix)
	return first && last && len(sum) == 2*tempSum && strings.Trim(sum, "0123456789abcdef") == ""
}

// StagingName returns the name of the folder in which a restore puts together what
// is to come into the place of something else, and keeps what was there. name is
// made of lower-case letters, digits and dashes.
func StagingName(name string) string { return tempPrefix + name }

// IsStagingName says whether a name has the form of those that StagingName returns.
// A folder of such a name is part of no backup, and no restore takes it away.
func IsStagingName(name string) bool {
	rest, ok := strings.CutPrefix(name, tempPrefix)
	return ok && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}
