package profile

import (
	"os"
	"os/exec"
	"path/filepath"
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

func TestAsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if got := AsOwner(path, "php x"); got != "php x" {
		t.Errorf("of a path that is not there: %q", got)
	}
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := AsOwner(path, "php x"); got != "php x" {
		t.Errorf("of one's own: %q", got)
	}
	if os.Geteuid() != 0 {
		if got := AsOwner("/etc", "php x"); got != "sudo -u root php x" {
			t.Errorf("of root's: %q", got)
		}
		return
	}
	for uid, want := range map[int]string{65534: "runuser -u nobody -- php x", 54321: "sudo -u '#54321' php x"} {
		if err := os.Chown(path, uid, uid); err != nil {
			t.Fatal(err)
		}
		if got := AsOwner(path, "php x"); got != want {
			t.Errorf("of user %d: %q, want %q", uid, got, want)
		}
	}
}
