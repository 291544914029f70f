// Package ui decides how output looks. It is for the commands, which hand it
// results, errors, warnings and progress. It promises that the result goes to
// stdout and all else to stderr, that --json gives JSON objects with
// "schema":1, and that text from outside - file names, table names, notes,
// server messages - cannot move the cursor, change colours or forge a line of
// a person's terminal.
package ui

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"golang.org/x/term"
)

// Options says where output goes and how much of it there is. Stdout, Stderr,
// Stdin and Clock must be set.
type Options struct {
	Stdout io.Writer
	Stderr io.Writer
	Stdin  io.Reader
	Clock  core.Clock

	JSON       bool // --json
	Quiet      bool // --quiet: no notes and no progress; warnings and errors stay
	Verbose    bool // --verbose: debug messages too
	NoProgress bool // --no-progress

	Location   *time.Location      // zone for times; nil means the machine's
	IsTerminal func(file any) bool // nil means asking the operating system
}

// Printer prints for one command. It is safe for concurrent use. The error of
// a write to stdout is kept: the command must ask Err for it at its end.
type Printer struct {
	options Options

	mu       sync.Mutex
	stderr   io.Writer // through the live bars while there are any
	progress *Progress // nil: none is shown
	failed   error
	location *time.Location
}

// New returns a printer.
func New(options Options) *Printer {
	if options.IsTerminal == nil {
		options.IsTerminal = isTerminal
	}
	location := options.Location
	if location == nil {
		location = time.Local
	}
	return &Printer{options: options, stderr: options.Stderr, location: location}
}

func isTerminal(file any) bool {
	f, ok := file.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Watched says whether a person sees the result as it comes.
func (p *Printer) Watched() bool {
	return !p.options.JSON && p.options.IsTerminal(p.options.Stdout)
}

// JSON says whether the result is to be JSON.
func (p *Printer) JSON() bool { return p.options.JSON }

// Err returns the first error of writing to stdout: a full disk, a reader that
// went away.
func (p *Printer) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}

func (p *Printer) out(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return
	}
	if _, err := io.WriteString(p.options.Stdout, text); err != nil {
		p.failed = fmt.Errorf("write the result: %w", err)
	}
}

// note writes to stderr. When that fails there is nobody left to tell.
func (p *Printer) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.stderr, text); err != nil && p.stderr != p.options.Stderr {
		// The bars ended in this moment.
		io.WriteString(p.options.Stderr, text)
	}
}

// Printf writes a part of the result to stdout. format is trusted; strings,
// errors and Stringers among args are made harmless with Clean.
func (p *Printer) Printf(format string, args ...any) {
	p.out(fmt.Sprintf(format, cleanArgs(args)...))
}

// Infof writes a line for people to stderr, unless --quiet.
func (p *Printer) Infof(format string, args ...any) {
	if !p.options.Quiet {
		p.note("backstay: " + fmt.Sprintf(format, cleanArgs(args)...) + "\n")
	}
}

// Verbosef writes a line to stderr with --verbose.
func (p *Printer) Verbosef(format string, args ...any) {
	if p.options.Verbose {
		p.Infof(format, args...)
	}
}

// Warn writes a warning to stderr.
func (p *Printer) Warn(w core.Warning) {
	p.note(lines("backstay: warning: ", w.String()))
}

// Error reports why the command failed: to stderr for people, as an object on
// stdout with --json. A nil err is nothing.
func (p *Printer) Error(err error) {
	if err == nil {
		return
	}
	if p.options.JSON {
		p.out(errorObject(err))
		return
	}
	p.Failure(err)
}

// Failure reports to stderr, with --json too, that a part of the work failed
// while the rest goes on.
func (p *Printer) Failure(err error) {
	hint := core.HintOf(err)
	text := lines("backstay: error: ", err.Error())
	if hint != "" {
		text += lines("backstay: hint: ", hint)
	}
	p.note(text)
}

// Failure is an error in JSON.
type Failure struct {
	Code    core.Code `json:"code"`
	Message string    `json:"message"`
	Hint    string    `json:"hint"`
}

// FailureOf returns err as it stands in JSON.
func FailureOf(err error) *Failure {
	return &Failure{core.CodeOf(err), err.Error(), core.HintOf(err)}
}

func errorObject(err error) string {
	object, marshalErr := Object(map[string]any{"error": FailureOf(err)})
	if marshalErr != nil {
		// Three strings can always be written.
		panic(marshalErr)
	}
	return string(object)
}

// Result prints what the command found: v as a JSON object with --json, else
// what text prints.
func (p *Printer) Result(v any, text func()) error {
	p.mu.Lock()
	progress := p.progress
	p.mu.Unlock()
	if progress != nil {
		progress.Close(true) // bars that move on would write over it
	}
	if !p.options.JSON {
		text()
		return p.Err()
	}
	object, err := Object(v)
	if err != nil {
		return err
	}
	p.out(string(object))
	return p.Err()
}

// EndStage ends the stage of work that is shown, before a part of the result is
// printed; complete says whether it was finished.
func (p *Printer) EndStage(complete bool) {
	p.mu.Lock()
	progress := p.progress
	p.mu.Unlock()
	if progress != nil {
		progress.EndStage(complete)
	}
}

// Object returns v, which must be a struct or map, as a JSON object on one
// line, with "schema":1 in front.
func Object(v any) ([]byte, error) {
	var b strings.Builder
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	text := b.String()
	if !strings.HasPrefix(text, "{") {
		return nil, errors.New("write JSON: the result is not an object")
	}
	if text == "{}\n" {
		return []byte("{\"schema\":1}\n"), nil
	}
	return []byte(`{"schema":1,` + text[1:]), nil
}

// lines puts prefix before every line of text, and makes each harmless.
func lines(prefix, text string) string {
	var b strings.Builder
	for line := range strings.SplitSeq(strings.TrimRight(text, "\n"), "\n") {
		b.WriteString(prefix + Clean(line) + "\n")
	}
	return b.String()
}
