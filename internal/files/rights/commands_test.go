package rights

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// TestShellWords has a shell read them.
func TestShellWords(t *testing.T) {
	for _, path := range []string{"/plain", "/it's", "/a b", "/bad\xff\xfename", "/$(x)`\"'\\%d\xe9", "/new\nline"} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+shellWord(path)).Output()
		if err != nil || string(out) != path {
			t.Errorf("%q is read as %q, %v", path, out, err)
		}
	}
}

// TestManyNames are spread over lines.
func TestManyNames(t *testing.T) {
	var paths []string
	for i := range 1000 {
		paths = append(paths, fmt.Sprintf("/var/www/app/uploads/%04d", i))
	}
	lines := commandLines("chown -h 1:1 --", paths)
	if n := len(lines); n < 2 || n > 3 {
		t.Errorf("%d lines", n)
	}
	if got := strings.Fields(strings.Join(lines, " ")); len(got) != 1000+4*len(lines) {
		t.Errorf("%d words", len(got))
	}
}
