package cli

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
)

// TestCommandsAreDocumented holds docs/commands.md against the commands that
// there are.
func TestCommandsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/commands.md")
	if err != nil {
		t.Fatal(err)
	}
	s := session.New(Environment{Stdin: strings.NewReader(""), Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}, Getenv: os.Getenv, Clock: core.SystemClock{}})
	root := rootCommand(s, io.Discard)
	commands := root.Commands()
	if len(commands) < 15 {
		t.Fatalf("only %d commands", len(commands))
	}
	check := func(flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) {
			if !f.Hidden && !bytes.Contains(text, []byte("--"+f.Name)) {
				t.Errorf("docs/commands.md does not mention --%s", f.Name)
			}
		})
	}
	check(root.PersistentFlags())
	for _, c := range commands {
		if !bytes.Contains(text, []byte("`"+c.Name())) {
			t.Errorf("docs/commands.md does not mention the command %s", c.Name())
		}
		if !strings.Contains(c.Long, "Exit codes:") {
			t.Errorf("the help of %s does not state the exit codes", c.Name())
		}
		if c.Name() != "completion" {
			check(c.LocalNonPersistentFlags())
		}
	}
}
