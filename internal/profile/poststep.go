package profile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// PostStep is a command that a restore runs at its end.
type PostStep struct {
	Name     string        // short, for lists and the journal: "compile"
	Why      string        // what it is for, in a sentence without a full stop
	Argv     []string      // program and arguments; no secrets
	Dir      string        // it runs here
	Env      []string      // "NAME=value", added to the environment
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
	Output string // the end of what it printed, at most MaxStepOutput bytes
}

// MaxStepOutput is how many bytes of a step's output are kept, from its end.
const MaxStepOutput = 64 << 10

// ByHand is the step as a line to be typed by the user of this process.
func (s PostStep) ByHand() string {
	words := make([]string, 0, len(s.Argv)+len(s.Env)+1)
	if len(s.Env) > 0 {
		words = append(words, "env")
	}
	for _, w := range append(append([]string{}, s.Env...), s.Argv...) {
		words = append(words, ShellQuote(w))
	}
	line := strings.Join(words, " ")
	if s.As != "" {
		line = AsOwner(s.As, line)
	}
	if s.Dir != "" {
		line = "cd " + ShellQuote(s.Dir) + " && " + line
	}
	return line
}

// CannotRun says why this process cannot run the step itself, "" when it can:
// its program is missing, or only root could become its user.
func (s PostStep) CannotRun() string {
	if len(s.Argv) == 0 {
		return "there is no command"
	}
	if _, err := exec.LookPath(s.Argv[0]); err != nil {
		return "there is no program " + s.Argv[0] + " here"
	}
	if _, err := s.identity(); err != nil {
		return err.Error()
	}
	return ""
}

// identity is who runs the step; nil: the user of this process.
func (s PostStep) identity() (*syscall.SysProcAttr, error) {
	own := &syscall.SysProcAttr{Setpgid: true}
	if s.As == "" {
		return own, nil
	}
	info, err := os.Stat(s.As)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s is not there, whose owner would run it", s.As)
	}
	if err != nil {
		return nil, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return nil, fmt.Errorf("the owner of %s is not known on this system", s.As)
	case int(stat.Uid) == os.Geteuid():
		return own, nil
	case os.Geteuid() != 0:
		return nil, fmt.Errorf("it is for %s to run, the owner of %s", userName(stat.Uid), s.As)
	}
	own.Credential = &syscall.Credential{Uid: stat.Uid, Gid: stat.Gid}
	if found, err := user.LookupId(strconv.Itoa(int(stat.Uid))); err == nil {
		if gid, err := strconv.ParseUint(found.Gid, 10, 32); err == nil {
			own.Credential.Gid = uint32(gid)
		}
		ids, err := found.GroupIds()
		if err != nil {
			return nil, fmt.Errorf("learn the groups of %s: %w", found.Username, err)
		}
		for _, id := range ids {
			if gid, err := strconv.ParseUint(id, 10, 32); err == nil {
				own.Credential.Groups = append(own.Credential.Groups, uint32(gid))
			}
		}
	}
	return own, nil
}

func userName(uid uint32) string {
	id := strconv.Itoa(int(uid))
	if found, err := user.LookupId(id); err == nil {
		return found.Username
	}
	return "user " + id
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
	if why := s.CannotRun(); why != "" {
		return fail(core.CodeUnsupported, why, nil)
	}
	attr, err := s.identity()
	if err != nil {
		return fail(core.CodeUnsupported, "", err)
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = HookTimeout
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, s.Argv[0], s.Argv[1:]...)
	cmd.Dir, cmd.Env, cmd.SysProcAttr = s.Dir, stepEnvironment(s, attr), attr
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

// lastWords is the end of what a command printed, for a message.
func lastWords(output string) string {
	text := strings.TrimSpace(output)
	if len(text) > hookOutput {
		text = strings.ToValidUTF8(text[len(text)-hookOutput:], "?")
	}
	if text == "" {
		return "it printed nothing"
	}
	return text
}

// stepEnvironment leaves out what may hold backstay's own passwords, and says
// who runs the command where that is somebody else.
func stepEnvironment(s PostStep, attr *syscall.SysProcAttr) []string {
	var env []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "BACKSTAY_") {
			env = append(env, e)
		}
	}
	if attr.Credential != nil {
		if found, err := user.LookupId(strconv.Itoa(int(attr.Credential.Uid))); err == nil {
			env = append(env, "HOME="+found.HomeDir, "USER="+found.Username, "LOGNAME="+found.Username)
		}
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

// HookSteps makes steps of the app's hooks after_restore.
func HookSteps(app App) []PostStep {
	var steps []PostStep
	for i, command := range app.Hooks.AfterRestore {
		steps = append(steps, PostStep{
			Name: fmt.Sprintf("hooks.after_restore[%d]", i), Why: "backstay.yaml asks for it", Argv: []string{"/bin/sh", "-c", command},
			Dir: app.Root, Env: []string{"BACKSTAY_APP=" + app.Name, "BACKSTAY_ROOT=" + app.Root}, Required: true,
		})
	}
	return steps
}
