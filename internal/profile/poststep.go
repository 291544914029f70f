package profile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// PostStep is a command that a restore runs at its end.
type PostStep struct {
	Name string   // short, for lists and the journal: "compile"
	Why  string   // what it is for, in a sentence without a full stop
	Argv []string // program and arguments; no secrets
	Dir  string   // it runs here
	Env  []string // "NAME=value", added to the environment; no secrets
	// As is a path below Dir: its owner runs the step, which is the application's
	// own code. Where that is root, and others than root can write the code, it
	// is the owner of Dir, and where that is root too, nobody. "": the user of
	// this process.
	As string
	// Data are paths below Dir, relative to it, of which nothing is executed:
	// the code is root's alone also where others can write there.
	Data []string
	// Withhold are names of environment variables that the step does not get.
	// One with As gets a few names only.
	Withhold []string
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
	Output string // the end of what it printed, at most MaxStepOutput bytes
}

// MaxStepOutput is how many bytes of a step's output are kept, from its end.
const MaxStepOutput = 64 << 10

// ByHand is the step as a line to be typed by the user of this process. A line
// that runs the application's code as root is there only where nobody else can
// write that code; who runs it otherwise, and is not known, is left to be put
// in.
func (s PostStep) ByHand() string {
	words := make([]string, 0, len(s.Argv)+len(s.Env)+1)
	if len(s.Env) > 0 {
		words = append(words, "env")
	}
	for _, w := range append(append([]string{}, s.Env...), s.Argv...) {
		words = append(words, ShellQuote(w))
	}
	line, dir := strings.Join(words, " "), s.Dir
	if s.As != "" {
		r, err := s.runner()
		if err != nil {
			r, err = s.appOwner()
		}
		switch {
		case err != nil:
			line = lineForSomebody(line)
		case r.uid == 0: // the folder that was looked at, whatever becomes of links to it
			line, dir = r.line(line), r.dir
		default:
			line = r.line(line)
		}
	}
	if dir != "" {
		line = "cd " + ShellQuote(dir) + " && " + line
	}
	return line
}

// CannotRun says why this process cannot run the step itself, "" when it can:
// its program is missing, only root could become its user, or it is not clear
// who may run it.
func (s PostStep) CannotRun() string {
	if _, _, err := s.prepare(); err != nil {
		return err.Error()
	}
	return ""
}

// prepare decides who runs the step, and where.
func (s PostStep) prepare() (attr *syscall.SysProcAttr, dir string, err error) {
	if len(s.Argv) == 0 {
		return nil, "", errors.New("there is no command")
	}
	if _, err := exec.LookPath(s.Argv[0]); err != nil {
		return nil, "", fmt.Errorf("there is no program %s here", s.Argv[0])
	}
	if s.As == "" {
		return &syscall.SysProcAttr{Setpgid: true}, s.Dir, nil
	}
	r, err := s.runner()
	switch {
	case err != nil:
		return nil, "", err
	case !r.own() && os.Geteuid() != 0:
		return nil, "", fmt.Errorf("it is for %s to run, the owner of %s", userName(r.uid), s.As)
	}
	attr, err = r.attributes()
	return attr, r.dir, err
}

// RunPostStep runs the step, with q for Prove (nil: it is not asked), and
// writes what it prints to out as well (nil: nowhere). It ends the command with
// all that it started when ctx ends or the time is over. An error says what
// went wrong, with the line to type by hand in its hint; one that a person must
// run has core.CodeUnsupported.
func RunPostStep(ctx context.Context, s PostStep, q Querier, out io.Writer) (StepResult, error) {
	result := StepResult{Exit: -1}
	fail := func(code core.Code, message string, err error) (StepResult, error) {
		return result, &core.Error{Code: code, Op: "run " + s.Name, Message: message, Err: err, Hint: "by hand: " + s.ByHand()}
	}
	attr, dir, err := s.prepare()
	if err != nil {
		return fail(core.CodeUnsupported, err.Error(), nil)
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = HookTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, s.Argv[0], s.Argv[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, s.environment(attr.Credential), attr
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	printed := &tail{limit: MaxStepOutput}
	w := &shown{kept: printed, out: out}
	cmd.Stdout, cmd.Stderr = w, w
	runErr := cmd.Run()
	result.Output = printed.String()
	if cmd.ProcessState != nil {
		result.Exit = cmd.ProcessState.ExitCode()
	}
	switch {
	case ctx.Err() != nil:
		return result, fmt.Errorf("run %s: %w", s.Name, ctx.Err())
	case limited.Err() != nil:
		return fail(core.CodeFailed, fmt.Sprintf("it did not end within %s", timeout), nil)
	case errors.Is(runErr, exec.ErrWaitDelay): // it left something running in the background, which is its right
	case runErr != nil:
		return fail(core.CodeFailed, lastWords(result.Output), runErr)
	}
	if s.Shows != "" && !strings.Contains(result.Output, s.Shows) {
		return fail(core.CodeFailed, fmt.Sprintf("it ended with success and without the word %q, so it did not do its work: %s", s.Shows, lastWords(result.Output)), nil)
	}
	if s.Prove != nil && q != nil {
		if err := s.Prove(ctx, q); err != nil {
			return fail(core.CodeFailed, "", err)
		}
	}
	return result, nil
}

// What an error quotes of a step's output; StepResult has more of it.
const (
	quotedBytes = 500
	quotedLines = 5
)

// lastWords is the end of what a command printed, for a message.
func lastWords(output string) string {
	text := strings.TrimSpace(output)
	if len(text) > quotedBytes {
		text = strings.ToValidUTF8(text[len(text)-quotedBytes:], "?")
	}
	lines := strings.Split(text, "\n")
	text = strings.Join(lines[max(0, len(lines)-quotedLines):], "\n")
	if text == "" {
		return "it printed nothing"
	}
	return text
}

// environment is what the command gets of this process's environment. An
// application's own code gets a few names and nothing else: others can write
// it, and what else there is may be the password of the repository, under
// whatever name.
func (s PostStep) environment(other *syscall.Credential) []string {
	if s.As == "" {
		env := slices.DeleteFunc(without(os.Environ(), s.Withhold), func(e string) bool { return strings.HasPrefix(e, "BACKSTAY_") })
		return append(env, s.Env...)
	}
	uid := os.Geteuid()
	if other != nil {
		uid = int(other.Uid)
	}
	var env []string
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		switch {
		case name == "PATH", name == "LANG", name == "LANGUAGE", strings.HasPrefix(name, "LC_"), name == "TZ":
			env = append(env, e)
		case name == "TMPDIR" && other == nil: // it may be one's own
			env = append(env, e)
		}
	}
	if found, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		env = append(env, "HOME="+found.HomeDir, "USER="+found.Username, "LOGNAME="+found.Username)
	}
	return append(env, s.Env...)
}

// shown keeps the end of what is printed and shows all of it. A terminal that
// went away does not end the command.
type shown struct {
	mu   sync.Mutex
	kept *tail
	out  io.Writer
}

func (w *shown) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out != nil {
		if _, err := w.out.Write(p); err != nil {
			w.out = nil
		}
	}
	return w.kept.Write(p)
}

// HookSteps makes steps of the app's hooks after_restore. As all hooks they run
// as the user of this process.
func HookSteps(app App) []PostStep {
	var steps []PostStep
	for i, command := range app.Hooks.AfterRestore {
		steps = append(steps, PostStep{
			Name: fmt.Sprintf("hooks.after_restore[%d]", i), Why: "backstay.yaml asks for it", Argv: []string{"/bin/sh", "-c", command},
			Dir: app.Root, Env: []string{"BACKSTAY_APP=" + app.Name, "BACKSTAY_ROOT=" + app.Root}, Required: true, Withhold: app.PasswordEnv,
		})
	}
	return steps
}
