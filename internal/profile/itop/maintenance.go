package itop

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// maintenanceFile is MAINTENANCE_MODE_FILE: while it exists pages, REST and
// SOAP answer 503, and cron ends at its next task.
const maintenanceFile = "data/.maintenance"

const maintenanceMark = "made by backstay for the time of a restore; when none runs, remove this file to let users in again\n"

func maintenanceMode(root string) modeFile {
	return modeFile{filepath.Join(root, maintenanceFile), maintenanceMark, "maintenance", "nobody can use iTop"}
}

const defaultBackupWait = 5 * time.Second

// lockPoll is how long one GET_LOCK waits: short enough that the server and
// whatever lies between do not take the connection for dead.
const lockPoll = 10 * time.Second

// Maintenance waits for cron by taking its lock, so that no other run begins;
// then it takes the locks of iTop's own backup and restore, and makes the file
// data/.maintenance. Cron loops for cron_max_execution_time (ten minutes) and
// gives its lock back only then, or when it sees a mode file: where it runs,
// iTop is made read-only while it is waited for, and it ends with its current
// task. With q nil there are no locks.
func (p Profile) Maintenance(ctx context.Context, q profile.Querier, app profile.App, found *core.Application, opt profile.MaintenanceOptions) (func() error, error) {
	m := &maintenance{profile: p, ctx: ctx, q: q, app: app, found: found}
	return m.leave, m.enter(ctx, opt)
}

// LiftMaintenance removes data/.maintenance and data/.readonly where backstay
// made them. Named locks went with the connection of the killed restore.
func (Profile) LiftMaintenance(ctx context.Context, app profile.App) (bool, error) {
	var errs []error
	ran, err := profile.LiftHooks(ctx, app)
	errs = append(errs, err)
	lifted := false
	for _, mode := range []modeFile{maintenanceMode(app.Root), readonlyMode(app.Root)} {
		was, err := mode.lift()
		lifted = lifted || was
		errs = append(errs, err)
	}
	return lifted || ran, errors.Join(errs...)
}

type maintenance struct {
	profile Profile
	ctx     context.Context // of Maintenance; leave works without its end
	q       profile.Querier
	app     profile.App
	found   *core.Application

	mu    sync.Mutex
	undo  []func() error // in the order in which they were done
	locks []string
}

func (m *maintenance) enter(ctx context.Context, opt profile.MaintenanceOptions) error {
	wait := m.profile.BackupWait
	if wait <= 0 {
		wait = defaultBackupWait
	}
	if m.q != nil {
		if err := m.takeCron(ctx, opt); err != nil {
			return err
		}
		for _, l := range []struct{ setting, what string }{{SettingBackupLock, "makes"}, {SettingRestoreLock, "restores"}} {
			lock := m.found.Settings[l.setting]
			if lock == "" {
				continue
			}
			taken, err := m.take(ctx, lock, wait)
			if err != nil {
				return err
			}
			if !taken {
				return &core.Error{
					Code: core.CodeLocked, Op: "keep iTop's own jobs out", Message: "iTop " + l.what + " a backup of its own right now",
					Hint: "try again when it has ended; iTop's backup page shows it",
				}
			}
		}
	}
	mode := maintenanceMode(m.app.Root)
	ours, err := mode.enter()
	if err != nil {
		return &core.Error{
			Code: core.CodeApplication, Op: "put iTop into maintenance mode", Err: err, Hint: "let backstay's account write in " + filepath.Dir(mode.path),
		}
	}
	if !ours {
		profile.Note(m.found, "iTop was in its maintenance mode already (%s exists) and stays in it", maintenanceFile)
	}
	m.undo = append(m.undo, mode.leave(ours))
	leaveHooks, err := profile.MaintenanceHooks(ctx, m.app)
	m.undo = append(m.undo, leaveHooks)
	return err
}

// takeCron takes the lock that a run of cron holds.
func (m *maintenance) takeCron(ctx context.Context, opt profile.MaintenanceOptions) error {
	lock := m.found.Settings[SettingCronLock]
	if lock == "" {
		return nil
	}
	taken, err := m.take(ctx, lock, 0)
	if err != nil || taken {
		return err
	}
	if opt.WithoutCron {
		profile.Warn(m.found, "cron", "", "iTop's cron runs during the switch, as --force %s allows: what it writes may be lost or refer to what is no longer there", profile.FindingCronRunning)
		return nil
	}
	mode := readonlyMode(m.app.Root)
	ours, err := mode.enter()
	if err != nil {
		return &core.Error{
			Code: core.CodeApplication, Op: "make iTop read-only while its cron ends", Err: err, Hint: "let backstay's account write in " + filepath.Dir(mode.path),
		}
	}
	m.undo = append(m.undo, mode.leave(ours))
	limit := cronLimit(m.found)
	if taken, err = m.take(ctx, lock, limit); err != nil || taken {
		return err
	}
	return &core.Error{
		Code: core.CodeLocked, Op: "wait for iTop's cron to end", Message: fmt.Sprintf("it still runs after %s (cron_max_execution_time)", limit),
		Hint: "stop cron.php for the time of the restore, or go on beside it with --force " + profile.FindingCronRunning,
	}
}

// take takes a named lock on the connection, which since MariaDB 10.0.2 and
// MySQL 5.7.5 can hold several.
func (m *maintenance) take(ctx context.Context, lock string, wait time.Duration) (bool, error) {
	for {
		slice := min(wait, lockPoll)
		seconds := strconv.FormatFloat(slice.Seconds(), 'f', 3, 64)
		answer, err := m.ask(ctx, "SELECT GET_LOCK('"+lock+"', "+seconds+")")
		if err != nil {
			return false, err
		}
		if answer == "1" {
			m.mu.Lock()
			m.locks = append(m.locks, lock)
			m.mu.Unlock()
			return true, nil
		}
		if wait -= slice; wait <= 0 {
			return false, nil
		}
	}
}

func (m *maintenance) ask(ctx context.Context, statement string) (string, error) {
	rows, err := m.q.Query(ctx, statement)
	if ctx.Err() != nil {
		return "", fmt.Errorf("take iTop's lock: %w", ctx.Err())
	}
	if err == nil && (len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] == nil) {
		err = errors.New("the server gave no answer")
	}
	if err != nil {
		return "", &core.Error{Code: core.CodeDatabase, Op: "take iTop's lock", Err: err}
	}
	return *rows[0][0], nil
}

// leave gives the locks back before users are let in: while the restore lock is
// held, iTop is read-only for them. A lock that cannot be given back goes with
// the connection, which ended or is about to be closed.
func (m *maintenance) leave() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(m.ctx), lockPoll)
	defer cancel()
	for _, lock := range m.locks {
		if _, err := m.ask(ctx, "SELECT RELEASE_LOCK('"+lock+"')"); err != nil {
			break
		}
	}
	m.locks = nil
	var errs []error
	for i := len(m.undo) - 1; i >= 0; i-- {
		errs = append(errs, m.undo[i]())
	}
	return errors.Join(errs...)
}
