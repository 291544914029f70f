package itop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// readonlyFile is READONLY_MODE_FILE: while it exists iTop's access_mode is 0.
const readonlyFile = "data/.readonly"

// readonlyMark is the content of the file when backstay made it. iTop only
// looks whether the file exists; the mark tells a file that a killed backup
// left from one that somebody else made.
const readonlyMark = "made by backstay for the time of a backup; when none runs, remove this file to make iTop writable again\n"

func readonlyMode(root string) modeFile {
	return modeFile{filepath.Join(root, readonlyFile), readonlyMark, "read-only", "nobody can write in iTop"}
}

// defaultCronLimit is iTop's default for cron_max_execution_time.
const defaultCronLimit = 600 * time.Second

// ReadOnly does what SetupUtils::EnterReadOnlyMode does: it makes the file
// data/.readonly, then waits until cron, which sees the file at its next task,
// has ended. Unlike iTop it gives up with an error when cron does not end in
// time. A file that is there already stays, but for one that a killed backup
// left. When q is nil, cron is not waited for. Not for two at once on one app.
func (p Profile) ReadOnly(ctx context.Context, q profile.Querier, app profile.App, found *core.Application) (func() error, error) {
	mode := readonlyMode(app.Root)
	ours, err := mode.enter()
	if err != nil {
		return func() error { return nil }, &core.Error{
			Code: core.CodeApplication, Op: "make iTop read-only", Err: err,
			Hint: "let backstay's account write in " + filepath.Dir(mode.path) + ", or write consistency: online for app " + app.Name,
		}
	}
	if !ours {
		profile.Note(found, "iTop was in its read-only mode already (%s exists) and stays in it", readonlyFile)
	}
	leave := mode.leave(ours)
	if q == nil || found.Settings[SettingCronLock] == "" {
		return leave, nil
	}
	return leave, p.waitForCron(ctx, q, app, found)
}

// modeFile is a file that puts iTop into a mode while it exists. What it holds
// tells one that backstay made.
type modeFile struct {
	path, mark string
	name       string // of the mode
	until      string // what is so while the file exists
}

// enter makes the file; ours says whether it is to be removed: also when a
// killed run of backstay left it.
func (m modeFile) enter() (ours bool, err error) {
	f, err := os.OpenFile(m.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return m.isOurs()
	}
	if err != nil {
		return false, err
	}
	_, err = io.WriteString(f, m.mark)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, errors.Join(err, os.Remove(m.path)) // as on a full disk
	}
	return true, nil
}

// isOurs says whether the file is there and backstay made it.
func (m modeFile) isOurs() (bool, error) {
	info, err := os.Lstat(m.path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(m.mark)) {
		return false, err
	}
	f, err := os.OpenFile(m.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	content, err := io.ReadAll(io.LimitReader(f, int64(len(m.mark))+1))
	return string(content) == m.mark, errors.Join(err, f.Close())
}

// lift removes the file if backstay made it; lifted says whether it did.
func (m modeFile) lift() (lifted bool, err error) {
	ours, err := m.isOurs()
	if err == nil && ours {
		err = os.Remove(m.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, &core.Error{
			Code: core.CodeApplication, Op: "end iTop's " + m.name + " mode", Err: err, Hint: "remove " + m.path + " by hand: until then " + m.until,
		}
	}
	return ours && err == nil, nil
}

// leave returns the function that removes the file, if it is ours and still the
// one that we made.
func (m modeFile) leave(ours bool) func() error {
	var mu sync.Mutex
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if !ours {
			return nil
		}
		_, err := m.lift()
		ours = err != nil
		return err
	}
}

// cronLimit is how long cron may run.
func cronLimit(found *core.Application) time.Duration {
	if s, err := strconv.Atoi(found.Settings[SettingCronLimit]); err == nil && s >= 0 && s <= 24*60*60 {
		return time.Duration(s) * time.Second
	}
	return defaultCronLimit
}

func (p Profile) waitForCron(ctx context.Context, q profile.Querier, app profile.App, found *core.Application) error {
	limit := cronLimit(found)
	poll := p.Poll
	if poll <= 0 {
		poll = time.Second
	}
	over := time.NewTimer(limit)
	defer over.Stop()
	tick := time.NewTicker(poll)
	defer tick.Stop()
	for last := false; ; {
		locked, err := isLocked(ctx, q, found.Settings[SettingCronLock])
		if err != nil {
			return &core.Error{Code: core.CodeDatabase, Op: "wait for iTop's cron to end", Err: err}
		}
		if !locked {
			return nil
		}
		if last {
			return &core.Error{
				Code: core.CodeLocked, Op: "wait for iTop's cron to end", Message: fmt.Sprintf("it still runs after %s (cron_max_execution_time)", limit),
				Hint: "stop cron.php for the time of the backup, or write consistency: online for app " + app.Name + " in backstay.yaml",
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for iTop's cron to end: %w", ctx.Err())
		case <-over.C:
			last = true // one more look: a query may have taken long
		case <-tick.C:
		}
	}
}
