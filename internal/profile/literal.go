package profile

import "fmt"

// Literal returns text as an SQL expression of the same characters, whatever
// the connection's modes say of backslashes and quotes.
func Literal(text string) string {
	if text == "" {
		return "''"
	}
	return fmt.Sprintf("CONVERT(0x%x USING utf8mb4)", text)
}
