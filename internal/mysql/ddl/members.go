package ddl

import (
	"strconv"
	"strings"
)

// Ambiguous returns the value of an ENUM or SET whose text is not its own, where
// the empty string is a member: both the member and no member read as the empty
// string. The value 0 of an ENUM is what the server writes in place of what it
// could not take; the empty SET is what the empty string is taken for. So 0 of an
// ENUM, and of a SET the empty member alone, need another text: a number that is
// no member's name, which the server takes for the value's index or bits.
func Ambiguous(dataType, columnType string) (value, text string, ok bool) {
	list := strings.TrimSuffix(strings.TrimPrefix(columnType, dataType+"("), ")")
	members := "," + list + ","
	empty := strings.Index(members, ",'',")
	if empty < 0 {
		return "", "", false
	}
	value = "0"
	if dataType == "set" { // its members have no commas
		value = strconv.FormatUint(1<<strings.Count(members[1:empty+1], ","), 10)
	}
	for text = value; len(text) < len(value)+6; text = "0" + text {
		if !strings.Contains(members, ",'"+text+"',") {
			return value, text, true
		}
	}
	return "", "", false
}
