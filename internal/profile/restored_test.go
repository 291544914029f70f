package profile

import (
	"os/exec"
	"testing"
)

func TestShellQuote(t *testing.T) {
	for _, text := range []string{"", "a", "/var/www/itop", "it's", "$HOME `id` \\", "a b", "-n", "é", "#0", "a\nb"} {
		out, err := exec.CommandContext(t.Context(), "/bin/sh", "-c", "printf %s "+ShellQuote(text)).Output()
		if err != nil || string(out) != text {
			t.Errorf("%q became %q (%v)", text, out, err)
		}
	}
}
