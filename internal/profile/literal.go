package profile

import "fmt"

// Literal returns text as an SQL literal, whatever the connection's modes say of
// backslashes and quotes. It compares with columns of any collation of utf8mb4.
func Literal(text string) string {
	return fmt.Sprintf("_utf8mb4 x'%x'", text)
}
