// Package rights reads what SHOW GRANTS prints. It is for package dump, which
// must know what an account does not see, and for package preflight, which must
// know what it may do.
package rights

import (
	"regexp"
	"slices"
	"strings"
)

// A grant on everything, on a database, or on parts of it such as one table;
// the parts' names are quoted as sql_mode has it.
var grantLine = regexp.MustCompile("(?is)^(GRANT|REVOKE) (.*?) ON (?:TABLE )?(\\*|`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")\\.\\* (?:TO|FROM) ")

// On reads an account's grants, as SHOW GRANTS lists them. The function that it
// returns says whether the account has any of some rights on the whole database.
func On(database string, grants []string) func(anyOf ...string) bool {
	return among(grants, func(pattern string) bool { return pattern == "*" || covers(pattern, database) })
}

// Everywhere is like On for rights on everything, such as SUPER.
func Everywhere(grants []string) func(anyOf ...string) bool {
	return among(grants, func(pattern string) bool { return pattern == "*" })
}

// Roles says whether one of the grants is that of a role, whose rights are not
// among them where the role is not active.
func Roles(grants []string) bool {
	return slices.ContainsFunc(grants, func(line string) bool { return roleLine.MatchString(line) })
}

var roleLine = regexp.MustCompile("(?is)^GRANT (?:[`'\"]|[^ ]+ TO )")

func among(grants []string, counts func(pattern string) bool) func(anyOf ...string) bool {
	rights := map[string]bool{}
	for _, line := range grants {
		m := grantLine.FindStringSubmatch(line)
		if m == nil || !counts(m[3]) {
			continue
		}
		for _, right := range strings.Split(m[2], ",") {
			// MySQL takes single databases out of a grant on all by a REVOKE,
			// which SHOW GRANTS lists last.
			rights[strings.ToUpper(strings.TrimSpace(right))] = !strings.EqualFold(m[1], "REVOKE")
		}
	}
	return func(anyOf ...string) bool {
		return rights["ALL PRIVILEGES"] || slices.ContainsFunc(anyOf, func(right string) bool { return rights[right] })
	}
}

// covers says whether the pattern of a grant, a quoted name with LIKE
// wildcards, covers the database.
func covers(pattern, database string) bool {
	if len(pattern) < 2 {
		return false
	}
	quote := pattern[:1]
	pattern = strings.ReplaceAll(pattern[1:len(pattern)-1], quote+quote, quote)
	var re strings.Builder
	re.WriteString("(?is)^")
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\' && i+1 < len(pattern):
			i++
			re.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		case c == '%':
			re.WriteString(".*")
		case c == '_':
			re.WriteString(".")
		case c < 0x80:
			re.WriteString(regexp.QuoteMeta(string(c)))
		default:
			re.WriteByte(c)
		}
	}
	re.WriteString("$")
	compiled, err := regexp.Compile(re.String())
	return err == nil && compiled.MatchString(database)
}
