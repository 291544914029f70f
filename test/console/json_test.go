package console

import "encoding/json"

// codeOf is the code of an error of the API; "" for what is none.
func codeOf(body []byte) string {
	var v struct {
		Schema int
		Error  struct{ Code, Message string }
	}
	if json.Unmarshal(body, &v) != nil || v.Schema != 1 || v.Error.Message == "" {
		return ""
	}
	return v.Error.Code
}
