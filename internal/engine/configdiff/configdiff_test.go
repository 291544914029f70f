package configdiff

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestLines: lines that differ are shown, secrets are not.
func TestLines(t *testing.T) {
	live := "a = 1\n\t'db_pwd' => 'geheim',\n'url' => 'mysql://me:word@host/x',\nsame\nid = 0123456789abcdef0123456789abcdef\n$config_smtp = \"alt\";\n"
	then := "a = 2\n\t'db_pwd' => 'other, and: more = true',\n'url' => 'mysql://me:else@host/x',\nsame\nid = fedcba9876543210fedcba9876543210\n$config_smtp = \"neu\";\nPASSWORD\n"
	want := []string{
		"- a = 1", "- 'db_pwd' => *****", "- 'url' => 'mysql://*****@host/x',", "- id = *****", `- $config_smtp = "alt";`,
		"+ a = 2", "+ 'db_pwd' => *****", "+ 'url' => 'mysql://*****@host/x',", "+ id = *****", `+ $config_smtp = "neu";`, "+ *****",
	}
	if diff := cmp.Diff(want, Lines([]byte(live), []byte(then))); diff != "" {
		t.Error(diff)
	}
	if got := Lines([]byte(live), []byte(live)); got != nil {
		t.Errorf("the same: %v", got)
	}
	if got := Lines([]byte("\xff\xfe"), []byte("x")); got != nil {
		t.Errorf("no text: %v", got)
	}
}
