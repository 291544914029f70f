package session

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/backstay/backstay/internal/core"
	"github.com/backstay/backstay/internal/daemon"
	"github.com/backstay/backstay/internal/state"
)

// EnvService tells a command that the service runs it, and the file of the
// service's configuration.
const EnvService = "BACKSTAY_SERVICE"

// audited are the commands that change something, or show what is in backups.
var audited = map[string]bool{
	"backup": true, "restore": true, "undo": true, "guard": true, "delete": true, "pin": true, "unpin": true, "prune": true, "maintain": true,
	"import": true, "export": true, "cat": true, "accept": true, "notify test": true,
	"user add": true, "user role": true, "user password": true, "user disable": true, "user enable": true, "user unlock": true, "user remove": true, "user second": true, "user link": true,
	"token add": true, "token remove": true,
	"key itflow": true, "key itop": true, "key kit": true, "key verify-kit": true, "key rotate": true,
}

// State opens the state database, once. One that cannot be opened can be used
// too: it keeps nothing, and says why each time.
func (s *Session) State(ctx context.Context, stateDir string) *state.DB {
	if s.state != nil && s.state.Path() != "" { // one that could not be opened is tried again: the service lives for months
		return s.state
	}
	db, err := state.Open(ctx, stateDir, s.Env.Clock)
	if err != nil {
		db = state.Without(err)
	}
	for _, w := range db.Warnings() {
		s.Printer.Warn(w)
	}
	s.state = db
	return db
}

// Close lets go of what the session opened.
func (s *Session) Close() error {
	if s.state == nil {
		return nil
	}
	return s.state.Close()
}

// beginAudit notes that a command begins that must be in the audit log. Not
// being able to note it keeps nobody from a restore: that is said loudly.
func (s *Session) beginAudit(ctx context.Context, stateDir string) {
	routine := s.ByService() && !s.Launched() && (s.action == "backup" || s.action == "maintain") // runs are their record
	if !audited[s.action] || s.auditBegun || routine {
		return
	}
	s.auditBegun = true
	s.auditNote(ctx, stateDir, "begun", "")
}

// endAudit notes how it ended.
func (s *Session) endAudit(ctx context.Context, err error) {
	if !s.auditBegun {
		return
	}
	outcome, detail := "ok", ""
	var out Outcome
	switch {
	case err == nil:
	case errors.As(err, &out):
		outcome = "exit " + strconv.Itoa(int(out))
	default:
		outcome, detail = string(core.CodeOf(err)), err.Error()
	}
	s.auditNote(context.WithoutCancel(ctx), "", outcome, detail)
}

func (s *Session) auditNote(ctx context.Context, stateDir, outcome, detail string) {
	via := "command"
	if named := s.Env.Getenv(daemon.EnvVia); s.Launched() && (named == "console" || named == "api") {
		via = named
	}
	err := s.State(ctx, stateDir).Audit(ctx, core.Audited{
		Time: s.Env.Clock.Now(), Who: s.Who(), Via: via, Action: s.action, Object: strings.Join(s.object, " "), Outcome: outcome, Detail: detail,
	})
	if err != nil {
		s.Printer.Logger().Error("this is not in the audit log", "action", s.action, "outcome", outcome, "err", err)
	}
}

// ByService says whether the service runs this command.
func (s *Session) ByService() bool { return s.Env.Getenv(EnvService) != "" }

// Who is the account that runs this, and the one behind sudo; or who asked the
// service for it.
func (s *Session) Who() string {
	if s.Launched() {
		return s.Env.Getenv(daemon.EnvBy)
	}
	name := "uid " + strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if s.ByService() {
		return "service (" + name + ")"
	}
	if behind := s.Env.Getenv("SUDO_USER"); behind != "" && behind != name {
		return fmt.Sprintf("%s (sudo by %s)", name, behind)
	}
	return name
}
