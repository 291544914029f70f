package paramfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/backstay/backstay/internal/core"
)

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "params")
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	a := write(t, "# iTop backup\r\ncheck_size_min = 100000\r\ncheck_ticket_title=Backup # failed\nnonsense\ncheck_ticket_pwd = pass#word\n\tcheck_ticket_login =  robot \nfrobnicate = 1\ncheck_ticket_service = a = b\n", 0o600)
	b := write(t, "check_size_min=5\n", 0o600)
	p, err := Read(a + " , " + b + ",")
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"check_size_min": "5", "check_ticket_title": "Backup", "check_ticket_pwd": "pass", "check_ticket_login": "robot", "check_ticket_service": "a = b", "frobnicate": "",
	} {
		if got, _ := p.Get(key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
	var said []string
	for _, w := range p.Warnings {
		said = append(said, strings.TrimPrefix(w.String(), a))
	}
	want := []string{":3: the value of check_ticket_title ends at the #", ":4: this line", ":5: the value of check_ticket_pwd ends at the #", ":7: iTop's backup has no parameter"}
	if len(said) != len(want) {
		t.Fatalf("warnings %q, want %q", said, want)
	}
	for i := range want {
		if !strings.HasPrefix(said[i], want[i]) {
			t.Errorf("warning %q, want %q…", said[i], want[i])
		}
		if strings.Contains(said[i], "word") {
			t.Errorf("a password is in %q", said[i])
		}
	}
	p.Set("check_size_min", "7")
	if got, _ := p.Get("check_size_min"); got != "7" {
		t.Errorf("an argument does not win: %q", got)
	}
}

func TestPasswordsThatOthersCanRead(t *testing.T) {
	p, err := Read(write(t, "check_ticket_pwd = secret\n", 0o644))
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0].Message, "chmod 600") {
		t.Errorf("warnings: %v", p.Warnings)
	}
}

func TestRefused(t *testing.T) {
	for name, list := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "none"), "a folder": t.TempDir(), "nothing": " , ", "an empty file": write(t, "# nothing\n", 0o600),
	} {
		if _, err := Read(list); core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}
