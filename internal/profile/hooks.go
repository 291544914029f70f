package profile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
)

// HookTimeout is how long one hook may take.
const HookTimeout = 10 * time.Minute

// hookOutput is how many bytes of a hook's output an error quotes.
const hookOutput = 2000

// RunHooks runs commands one after the other with /bin/sh -c, in the app's root
// folder where it has one, with BACKSTAY_APP and BACKSTAY_ROOT set and without
// the variables of app.PasswordEnv. setting is the key in backstay.yaml that
// they stand under, for messages. The first that
// fails ends the row. What they print is thrown away but for the end of it in
// an error.
func RunHooks(ctx context.Context, app App, setting string, commands []string) error {
	for i, command := range commands {
		if err := runHook(ctx, app, command, HookTimeout); err != nil {
			return &core.Error{
				Code: core.CodeOf(err), Op: fmt.Sprintf("run hooks.%s[%d] of app %s", setting, i, app.Name), Err: err,
				Hint: "run the command by hand to see what is wrong, then correct hooks: in backstay.yaml",
			}
		}
	}
	return nil
}

func runHook(ctx context.Context, app App, command string, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir = app.Root
	cmd.Env = append(without(os.Environ(), app.PasswordEnv), "BACKSTAY_APP="+app.Name, "BACKSTAY_ROOT="+app.Root)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 2 * time.Second
	out := &tail{limit: hookOutput}
	cmd.Stdout, cmd.Stderr = out, out
	err := cmd.Run()
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("it did not end within %s", timeout)
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, exec.ErrWaitDelay):
		return nil // it left something running in the background, which is its right
	case err != nil:
		if text := strings.TrimSpace(out.String()); text != "" {
			return fmt.Errorf("%w: %s", err, text)
		}
		return err
	}
	return nil
}

// without returns environ without the variables called names.
func without(environ, names []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(names, name)
	})
}

// tail keeps the end of what is written to it.
type tail struct {
	limit int // bytes
	mu    sync.Mutex
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.ToValidUTF8(string(t.data), "?")
}

// leaveTimeout is how long leaving the read-only mode may take.
const leaveTimeout = HookTimeout

// ReadOnlyHooks makes an app read-only with its hooks readonly_on and
// readonly_off. It is ReadOnly for applications that have no such mode of their
// own.
func ReadOnlyHooks(ctx context.Context, app App) (leave func() error, err error) {
	if len(app.Hooks.ReadonlyOn) == 0 || len(app.Hooks.ReadonlyOff) == 0 {
		return func() error { return nil }, &core.Error{
			Code: core.CodeUnsupported, Op: "make app " + app.Name + " read-only", Message: "the application has no read-only mode that backstay knows",
			Hint: "write consistency: online, or give commands under hooks: {readonly_on: […], readonly_off: […]}",
		}
	}
	var once sync.Once
	var leaveErr error
	leave = func() error {
		once.Do(func() {
			// The run may be cancelled; the app must become writable all the same.
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
			defer cancel()
			leaveErr = RunHooks(ctx, app, "readonly_off", app.Hooks.ReadonlyOff)
		})
		return leaveErr
	}
	// readonly_off runs also when readonly_on broke off half-way.
	return leave, RunHooks(ctx, app, "readonly_on", app.Hooks.ReadonlyOn)
}

// MaintenanceHooks keeps users out with the app's hook maintenance_on, and lets
// them in again in leave with maintenance_off. Without such hooks it does
// nothing.
func MaintenanceHooks(ctx context.Context, app App) (leave func() error, err error) {
	if len(app.Hooks.MaintenanceOn) == 0 {
		return func() error { return nil }, nil
	}
	var mu sync.Mutex
	left := false
	leave = func() error {
		mu.Lock()
		defer mu.Unlock()
		if left {
			return nil
		}
		_, err := LiftHooks(ctx, app)
		left = err == nil
		return err
	}
	// maintenance_off runs also when maintenance_on broke off half-way.
	return leave, RunHooks(ctx, app, "maintenance_on", app.Hooks.MaintenanceOn)
}

// LiftHooks runs the app's hook maintenance_off, also when ctx has ended; ran
// says whether there is one.
func LiftHooks(ctx context.Context, app App) (ran bool, err error) {
	if len(app.Hooks.MaintenanceOff) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	return true, RunHooks(ctx, app, "maintenance_off", app.Hooks.MaintenanceOff)
}
