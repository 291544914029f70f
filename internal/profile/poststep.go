package profile

import (
	"context"
	"io"
	"time"
)

// PostStep is a command that a restore runs at its end.
type PostStep struct {
	Name     string   // short, for lists and the journal: "compile"
	Why      string   // what it is for, in a sentence without a full stop
	Argv     []string // program and arguments; no secrets
	Dir      string   // it runs here
	Stdin    string
	Env      []string      // added to the environment
	As       string        // the owner of this path runs it; "": the user of this process
	Required bool          // without it the application does not work
	Timeout  time.Duration // 0: HookTimeout
	// Shows is text that the output holds when it worked: some scripts end with
	// success though they did nothing. "": the exit code is enough.
	Shows string
	// Prove asks the database whether it worked; nil: there is nothing to ask.
	Prove func(ctx context.Context, q Querier) error
}

// StepResult is how a step went.
type StepResult struct {
	Exit   int    // of the command; -1 when it did not end by itself
	Output string // the end of what it printed, at most 64 KiB
}

// ByHand is the step as a line to be typed by the user of this process.
func (s PostStep) ByHand() string { return "" }

// CannotRun says why this process cannot run the step itself, "" when it can:
// its program is missing, or only root could become its user.
func (s PostStep) CannotRun() string { return "" }

// RunPostStep runs the step, with q for Prove (nil: it is not asked), and
// writes what it prints to out as well. An error says what went wrong, with the
// line to type by hand in its hint; what a person must run has
// core.CodeUnsupported.
func RunPostStep(ctx context.Context, s PostStep, q Querier, out io.Writer) (StepResult, error) {
	return StepResult{}, nil
}
