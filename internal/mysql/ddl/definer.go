package ddl

import "regexp"

// A definer is an account or a role, quoted as the object's sql_mode has it.
var definer = regexp.MustCompile("(?i)\\bDEFINER\\s*=\\s*" + quotedName + "(?:\\s*@\\s*" + quotedName + ")?")

const quotedName = "(?:`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\")"

// WithoutDefiner returns the statement of an object that has a definer without
// it, so that whoever runs it becomes the definer. ok is false when none is found.
func WithoutDefiner(statement string) (without string, ok bool) {
	place := definer.FindStringIndex(statement)
	if place == nil {
		return statement, false
	}
	return statement[:place[0]] + statement[place[1]:], true
}
