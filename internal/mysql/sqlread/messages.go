package sqlread

import "bytes"

// atMessage says whether a message of a program begins here that writes dumps:
// whoever kept its errors beside the dump put them into it.
func (r *Reader) atMessage() bool {
	for _, program := range []string{"mysqldump", "mariadb-dump", "mysqlpump"} {
		if r.lex.Has(program+": ") || r.lex.Has("/usr/bin/"+program+": ") || r.lex.Has("/usr/local/bin/"+program+": ") {
			return true
		}
	}
	return false
}

// harmlessMessage says whether a message takes nothing away from the dump.
func harmlessMessage(text []byte) bool {
	if bytes.Contains(bytes.ToLower(text), []byte("error")) {
		return false
	}
	for _, known := range []string{"[Warning]", "[Note]", "Deprecated program name", "WARNING: Forcing protocol to", "Warning: "} {
		if bytes.Contains(text, []byte(known)) {
			return true
		}
	}
	return false
}
