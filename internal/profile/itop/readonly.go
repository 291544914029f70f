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

// defaultCronLimit is iTop's default for cron_max_execution_time.
const defaultCronLimit = 600 * time.Second

// ReadOnly does what SetupUtils::EnterReadOnlyMode does: it makes the file
// data/.readonly, then waits until cron, which sees the file at its next task,
// has ended. Unlike iTop it gives up with an error when cron does not end in
// time. A file that is there already stays, but for one that a killed backup
// left. When q is nil, cron is not waited for. Not for two at once on one app.
func (p Profile) ReadOnly(ctx context.Context, q profile.Querier, app profile.App, found *core.Application) (func() error, error) {
	path := filepath.Join(app.Root, readonlyFile)
	ours, err := enterReadOnly(path)
	if err != nil {
		return func() error { return nil }, &core.Error{
			Code: core.CodeApplication, Op: "make iTop read-only", Err: err,
			Hint: "let backstay's account write in " + filepath.Dir(path) + ", or write consistency: online for app " + app.Name,
		}
	}
	if !ours {
		profile.Note(found, "iTop was in its read-only mode already (%s exists) and stays in it", readonlyFile)
	}
	leave := leaveReadOnly(path, ours)
	if q == nil || found.Settings[SettingCronLock] == "" {
		return leave, nil
	}
	return leave, p.waitForCron(ctx, q, app, found)
}

// enterReadOnly makes the file; ours says whether it is to be removed.
func enterReadOnly(path string) (ours bool, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return isMarked(path)
	}
	if err != nil {
		return false, err
	}
	_, err = io.WriteString(f, readonlyMark)
	if err = errors.Join(err, f.Close()); err != nil {
		return false, errors.Join(err, os.Remove(path)) // as on a full disk
	}
	return true, nil
}

// isMarked says whether the file is one that backstay made.
func isMarked(path string) (bool, error) {
	info, err := os.Lstat(path)
	if err != nil || !info.Mode().IsRegular() || info.Size() != int64(len(readonlyMark)) {
		return false, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return false, err
	}
	content, err := io.ReadAll(io.LimitReader(f, int64(len(readonlyMark))+1))
	return string(content) == readonlyMark, errors.Join(err, f.Close())
}

// leaveReadOnly returns the function that removes the file, if it is ours and
// still the one that we made.
func leaveReadOnly(path string, ours bool) func() error {
	var mu sync.Mutex
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if !ours {
			return nil
		}
		stillOurs, err := isMarked(path)
		if err == nil && stillOurs {
			err = os.Remove(path)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return &core.Error{
				Code: core.CodeApplication, Op: "end iTop's read-only mode", Err: err, Hint: "remove " + path + " by hand: until then nobody can write in iTop",
			}
		}
		ours = false
		return nil
	}
}

func (p Profile) waitForCron(ctx context.Context, q profile.Querier, app profile.App, found *core.Application) error {
	limit := defaultCronLimit
	if s, err := strconv.Atoi(found.Settings[SettingCronLimit]); err == nil && s >= 0 && s <= 24*60*60 {
		limit = time.Duration(s) * time.Second
	}
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
