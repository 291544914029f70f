// Package readme runs the commands of README.md and of guides in docs
// and compares what they print with what is shown there.
package readme

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// step is a command of a console block with what README says it prints.
type step struct{ command, output string }

func steps(t *testing.T, readme string) []step {
	t.Helper()
	var out []step
	for _, block := range regexp.MustCompile("(?ms)^```console\n(.*?)^```$").FindAllStringSubmatch(readme, -1) {
		for _, line := range strings.SplitAfter(block[1], "\n") {
			if command, ok := strings.CutPrefix(line, "$ "); ok {
				out = append(out, step{command: strings.TrimSpace(command)})
			} else if len(out) > 0 {
				out[len(out)-1].output += line
			}
		}
	}
	return out
}

var (
	ids     = regexp.MustCompile(`\b[0-9a-f]{8}(?:[0-9a-f]{8})?\b`)
	zone    = regexp.MustCompile(`(\d\d:\d\d(?::\d\d)?) [A-Z+][A-Z0-9:+-]*\b`)
	numbers = regexp.MustCompile(`\d(?:[\d .,:-]*\d)?`)
	units   = regexp.MustCompile(`N (?:B|[kKMG]B|ms|s|min|h)\b(?:/s)?(?: N (?:ms|s|min)\b)?`)
	server  = regexp.MustCompile(`on (?:mariadb|mysql) \S+`)
	host    = regexp.MustCompile(`(\(generic\) on) \S+`)
	place   = regexp.MustCompile(`(into|to) /\S*/(out|helpdesk\.tar\.zst)`)
	sum     = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
	person  = regexp.MustCompile(`\b[a-z_][a-z0-9_-]*:[a-z_][a-z0-9_-]*  `)
	blanks  = regexp.MustCompile(`[ \t]+`)
	// A table that was made seconds before a backup may or may not be proven unchanged after it.
	reused = regexp.MustCompile(` \(\d+ tables unchanged, not read again\)`)
)

// normal leaves of an output what does not differ between two machines.
func normal(s string) string {
	s = strings.ReplaceAll(s, "\u00a0", " ")
	s = reused.ReplaceAllString(s, "")
	s = server.ReplaceAllString(s, "on SERVER")
	s = host.ReplaceAllString(s, "$1 HOST")
	s = sum.ReplaceAllString(s, "SUM")
	s = place.ReplaceAllString(s, "$1 $2")
	s = person.ReplaceAllString(s, "OWNER  ")
	s = ids.ReplaceAllString(s, "ID")
	s = zone.ReplaceAllString(s, "$1")
	s = numbers.ReplaceAllString(s, "N")
	s = units.ReplaceAllString(s, "N")
	s = blanks.ReplaceAllString(s, " ")
	var lines []string
	for _, line := range strings.Split(s, "\n") {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	repository, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	env := append(os.Environ(), "TZ=UTC")
	before, _, after := sectionOf(t, string(text), everyNight) // TestEveryNight runs that
	all := steps(t, before+after)
	if len(all) < 5 {
		t.Fatalf("README.md has only %d commands in console blocks", len(all))
	}
	for _, s := range all {
		command := s.command
		if command == "make build" { // into the test's folder
			command = "cd " + repository + " && go build -o " + dir + "/bin/backstay ./cmd/backstay"
		}
		if name, value, ok := strings.Cut(strings.TrimPrefix(command, "export "), "="); ok && command != name+"="+value {
			env = append(env, name+"="+strings.ReplaceAll(value, "$PWD", dir))
			continue
		}
		cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
		cmd.Dir, cmd.Env = dir, env
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		if err := cmd.Run(); err != nil {
			t.Fatalf("$ %s\n%v\n%s%s", s.command, err, stdout.String(), stderr.String())
		}
		if diff := cmp.Diff(normal(s.output), normal(stdout.String())); diff != "" {
			t.Errorf("$ %s\nprints something else than README.md shows (-README +now, numbers as N):\n%s", s.command, diff)
		}
	}
}
