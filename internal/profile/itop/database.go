package itop

import (
	"context"
	"crypto/md5" //nolint:gosec // iTop's choice, for names
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/profile"
)

// database reads the account. A setting that backstay.yaml gives is not needed
// from iTop.
func (p Profile) database(ctx context.Context, app profile.App, found *core.Application, s *settings) (*core.DatabaseSource, error) {
	given := app.Database
	source := &core.DatabaseSource{}
	password := ""
	var problems []error
	read := func(into *string, name, yaml string, isGiven bool) {
		if isGiven {
			return
		}
		text, _, err := s.text(ctx, name, yaml)
		if err != nil {
			problems = append(problems, err)
			return
		}
		*into = text
	}
	host := ""
	read(&host, "db_host", "host", given.Host != "" || given.Socket != "")
	read(&source.User, "db_user", "user", given.User != "")
	read(&password, "db_pwd", "password_file", !given.Password.Empty())
	read(&source.Name, "db_name", "name", given.Name != "")
	read(&source.Prefix, "db_subname", "prefix", given.Prefix != "")
	if len(problems) > 0 {
		return nil, problems[0]
	}
	source.Password = core.NewSecret(password)
	if err := p.tls(ctx, source, s, given); err != nil {
		return nil, err
	}
	if err := profile.Complete(found, app, source, host, s.path, "db_host", p.Sockets); err != nil {
		return nil, err
	}
	return source, nil
}

// tls follows CMDBSource::GetMysqliInstance: encrypted without a check of the
// server's certificate when no CA is given, with it when there is one.
func (p Profile) tls(ctx context.Context, source *core.DatabaseSource, s *settings, given profile.Database) error {
	if given.TLS.Mode != "" {
		return nil
	}
	enabled, _, err := s.text(ctx, "db_tls.enabled", "tls")
	if err != nil {
		return err
	}
	if enabled == "" || enabled == "0" {
		return nil
	}
	if source.TLS.CA, _, err = s.text(ctx, "db_tls.ca", "tls"); err != nil {
		return err
	}
	source.TLS.Mode = "required"
	if source.TLS.CA != "" || given.TLS.CA != "" {
		source.TLS.Mode = "verify-full"
	}
	return nil
}

type locks struct{ cron, backup, restore string }

// locksOf returns the names of iTop's named locks. Of these only the backup
// lock can be held during a backup: while restore is held, iTop is read-only
// for its users (BackupHandler::OnMetaModelStarted), and while cron is held,
// nothing is sent or escalated.
func locksOf(environment string, db *core.DatabaseSource) locks {
	return locks{
		cron:    LockName("cron", db.Name, db.Prefix),
		backup:  LockName("backup."+environment, db.Name, db.Prefix),
		restore: LockName("restore."+environment, db.Name, db.Prefix),
	}
}

// LockName returns the name that iTop gives GET_LOCK for its mutex name
// (iTopMutex::__construct): the database and the table prefix are appended
// unless the name ends with them already, and the MD5 of that follows "itop.".
func LockName(name, database, prefix string) string {
	if suffix := database + prefix; !strings.HasSuffix(name, suffix) {
		name += suffix
	}
	sum := md5.Sum([]byte(name)) //nolint:gosec // see the import
	return "itop." + hex.EncodeToString(sum[:])
}

// isLocked asks whether anyone holds a named lock.
func isLocked(ctx context.Context, q profile.Querier, lock string) (bool, error) {
	rows, err := q.Query(ctx, "SELECT IS_FREE_LOCK('"+lock+"')")
	if err != nil {
		return false, fmt.Errorf("ask for iTop's lock: %w", err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] == nil {
		return false, errors.New("ask for iTop's lock: the server gave no answer")
	}
	return *rows[0][0] != "1", nil
}

// Busy says whether iTop restores a backup of its own right now. Its backup is
// kept away by the lock in core.DatabaseSource.Locks.
func (Profile) Busy(ctx context.Context, q profile.Querier, found *core.Application) error {
	lock := found.Settings[SettingRestoreLock]
	if q == nil || lock == "" {
		return nil
	}
	locked, err := isLocked(ctx, q, lock)
	if err != nil {
		return &core.Error{Code: core.CodeDatabase, Op: "look whether iTop is being restored", Err: err}
	}
	if locked {
		return &core.Error{
			Code: core.CodeLocked, Op: "look whether iTop is being restored", Message: "iTop restores one of its own backups right now",
			Hint: "try again when it has ended; iTop's backup page shows it",
		}
	}
	return nil
}
