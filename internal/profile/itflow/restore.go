package itflow

import (
	"context"
	"crypto/md5" //nolint:gosec // ITFlow's choice, for names
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// defaultCronWait is how long running jobs of ITFlow's cron are waited for.
const defaultCronWait = 10 * time.Minute

// Maintenance runs the app's hooks maintenance_on and, in leave,
// maintenance_off: ITFlow has no such mode. Its cron is kept out by the file
// locks that its jobs run under since 26.08 (cronLockAcquire); older ones have
// none. Jobs charge cards and send mail: they are waited for, not broken off.
func (p Profile) Maintenance(ctx context.Context, _ profile.Querier, app profile.App, found *core.Application, opt profile.MaintenanceOptions) (func() error, error) {
	m := &maintenance{}
	if len(app.Hooks.MaintenanceOn) == 0 {
		profile.Note(found, "ITFlow has no maintenance mode, so users are not kept out while data are exchanged; hooks: {maintenance_on: […], maintenance_off: […]} in backstay.yaml can")
	}
	if err := p.takeJobs(ctx, m, app, found, opt); err != nil {
		return m.leave, err
	}
	leaveHooks, err := profile.MaintenanceHooks(ctx, app)
	m.hooks = leaveHooks
	return m.leave, err
}

// LiftMaintenance runs maintenance_off. File locks went with the killed
// restore.
func (Profile) LiftMaintenance(ctx context.Context, app profile.App) (bool, error) {
	return profile.LiftHooks(ctx, app)
}

type maintenance struct {
	mu    sync.Mutex
	locks []*os.File
	hooks func() error
}

func (m *maintenance) leave() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var errs []error
	if m.hooks != nil {
		errs = append(errs, m.hooks())
	}
	for _, f := range m.locks {
		errs = append(errs, f.Close())
	}
	m.locks = nil
	return errors.Join(errs...)
}

// takeJobs takes the locks of all jobs that have ever run: a lock that does not
// exist is not made, for ITFlow's user could not open root's.
func (p Profile) takeJobs(ctx context.Context, m *maintenance, app profile.App, found *core.Application, opt profile.MaintenanceOptions) error {
	scripts, err := filepath.Glob(filepath.Join(resolved(app.Root), "cron", "*.php"))
	if err != nil {
		return fmt.Errorf("look for ITFlow's jobs: %w", err)
	}
	dir := p.LockDir
	if dir == "" {
		dir = os.TempDir()
	}
	wait := p.CronWait
	if wait <= 0 {
		wait = defaultCronWait
	}
	over := time.NewTimer(wait)
	defer over.Stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for _, script := range scripts {
		for last := false; ; {
			f, taken, err := lockJob(filepath.Join(dir, lockName(script)))
			if err != nil {
				profile.Warn(found, "cron", filepath.Base(script), "the lock of this job could not be taken, so it may run during the switch: %v", err)
				break
			}
			if taken {
				if f != nil {
					m.locks = append(m.locks, f)
				}
				break
			}
			if opt.WithoutCron {
				profile.Warn(found, "cron", filepath.Base(script), "this job runs during the switch, as --force %s allows: what it writes may be lost or refer to what is no longer there", profile.FindingCronRunning)
				break
			}
			if last {
				return &core.Error{
					Code: core.CodeLocked, Op: "wait for ITFlow's cron to end", Message: fmt.Sprintf("%s still runs after %s", filepath.Base(script), wait),
					Hint: "stop cron for the time of the restore, or go on beside it with --force " + profile.FindingCronRunning,
				}
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait for ITFlow's cron to end: %w", ctx.Err())
			case <-over.C:
				last = true
			case <-tick.C:
			}
		}
	}
	return nil
}

// lockName is how cronLockAcquire calls the lock of a script.
func lockName(script string) string {
	sum := md5.Sum([]byte(script)) //nolint:gosec // see the import
	return "itflow_cron_" + hex.EncodeToString(sum[:]) + ".lock"
}

// lockJob takes a job's lock; a nil file and true when there is none. The
// folder is open to everyone: links are not followed.
func lockJob(path string) (*os.File, bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, os.ErrNotExist) {
		return nil, true, nil
	}
	if err != nil {
		return nil, false, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	if err == nil {
		return f, true, nil
	}
	closeErr := f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil, false, closeErr
	}
	return nil, false, errors.Join(err, closeErr)
}

// PostSteps brings an older database up to the code. The script refuses to run
// as anybody but its owner, and says nothing of what it left undone: the
// database's version is asked for again.
func (p Profile) PostSteps(r profile.Restored) []profile.PostStep {
	var steps []profile.PostStep
	code, database := codeSchema(r.Root), r.Versions[VersionSchema]
	if r.Database && code != "" && database != "" && compareVersions(database, code) < 0 {
		php := p.PHP
		if php == "" {
			php = "php"
		}
		steps = append(steps, profile.PostStep{
			Name: "update-database", Why: fmt.Sprintf("the database is of version %s and the code here expects %s", database, code),
			Argv: []string{php, "scripts/update_cli.php", "--update_db"}, Dir: r.Root, As: filepath.Join(r.Root, "scripts/update_cli.php"), Required: true,
			Data: []string{"uploads", "backups"},
			Prove: func(ctx context.Context, q profile.Querier) error {
				now := &core.Application{Database: &core.DatabaseSource{Prefix: r.Prefix}, Versions: map[string]string{}}
				if err := p.Versions(ctx, q, now); err != nil {
					return err
				}
				if v := now.Versions[VersionSchema]; v != code {
					return fmt.Errorf("the database is of version %q after it, and the code here expects %s", v, code)
				}
				return nil
			},
		})
	}
	return append(steps, profile.HookSteps(r.App)...)
}
