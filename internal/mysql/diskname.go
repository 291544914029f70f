package mysql

import (
	"fmt"
	"strings"
)

// DiskName writes a name in the server's file-name encoding, by which InnoDB
// lists databases and tables, as far as it is ASCII. A name that comes out
// otherwise than the server writes it is not found there.
func DiskName(name string) string {
	var out strings.Builder
	for _, r := range name {
		if r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			out.WriteRune(r)
		} else {
			fmt.Fprintf(&out, "@%04x", r)
		}
	}
	return out.String()
}
