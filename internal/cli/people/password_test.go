package people

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/backstay/backstay/internal/cli/session"
	"github.com/backstay/backstay/internal/core"
)

// terminal opens a terminal and what a person in front of it holds.
func terminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	t.Cleanup(func() {
		for _, f := range []*os.File{program, person} {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	return person, program
}

// typist types the next line when it is asked for one.
type typist struct {
	terminal *os.File
	lines    []string
	stop     func() // called when there is no line left
	prompts  bytes.Buffer
}

func (y *typist) Write(p []byte) (int, error) {
	y.prompts.Write(p)
	if !strings.HasSuffix(string(p), ": ") {
		return len(p), nil
	}
	if len(y.lines) == 0 {
		y.stop()
		return len(p), nil
	}
	_, err := y.terminal.WriteString(y.lines[0] + "\n")
	y.lines = y.lines[1:]
	return len(p), err
}

func TestPasswordIsAskedTwice(t *testing.T) {
	const good = "four words and more"
	for name, tt := range map[string]struct {
		lines []string
		code  core.Code
	}{
		"same":    {[]string{good, good}, ""},
		"other":   {[]string{good, good + " "}, core.CodeUsage},
		"weak":    {[]string{"short"}, core.CodeUsage},
		"stopped": {[]string{good}, core.CodeCancelled},
	} {
		t.Run(name, func(t *testing.T) {
			person, program := terminal(t)
			before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			y := &typist{terminal: person, lines: tt.lines, stop: cancel}
			s := commands{session.New(session.Environment{Stdin: program, Stderr: y})}
			got, err := s.password(ctx, "anna", "")
			if core.CodeOf(err) != tt.code {
				t.Fatalf("got %v", err)
			}
			if tt.code == "" && got.Reveal() != good {
				t.Errorf("got %q", got.Reveal())
			}
			if strings.Contains(y.prompts.String(), "four") {
				t.Errorf("it was shown: %q", y.prompts.String())
			}
			if after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || tt.code != core.CodeCancelled && *after != *before {
				t.Errorf("the terminal is left as %+v, %v", after, err)
			}
		})
	}
}

func TestNobodyCanBeAsked(t *testing.T) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = null.Close() }()
	if term.IsTerminal(int(null.Fd())) {
		t.Fatal("/dev/null is a terminal")
	}
	for _, in := range []session.Environment{{Stdin: null}, {Stdin: strings.NewReader("four words and more\n")}} {
		in.Stderr = &bytes.Buffer{}
		if _, err := (commands{session.New(in)}).password(t.Context(), "anna", ""); core.CodeOf(err) != core.CodeUsage || core.HintOf(err) == "" {
			t.Errorf("got %v", err)
		}
	}
}
