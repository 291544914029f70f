package readme

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestConsoleGuide opens the console for the first time as docs/console.md says.
func TestConsoleGuide(t *testing.T) {
	g := newGuide(t, "console.md")
	g.serve("--listen", "127.0.0.1:0")
	log := filepath.Join(g.dir, "service.log")
	// The service of a test writes a file, not the journal.
	g.ok(os.WriteFile(filepath.Join(g.dir, "bin/journalctl"), []byte("#!/bin/sh\nexec cat '"+log+"'\n"), 0o700))
	text, err := os.ReadFile(log)
	g.ok(err)
	address := regexp.MustCompile(`listen=(127\.0\.0\.1:\d+)`).FindSubmatch(text)
	if address == nil {
		t.Fatalf("the service does not say where it listens:\n%s", text)
	}
	g.here = strings.NewReplacer("localhost:8484", string(address[1]))
	g.there = strings.NewReplacer(string(address[1]), "127.0.0.1:8484")
	g.follow(3)
}
