package session

import "context"

// Audit notes that a command begins that must be in the audit log, and what it
// is about. It is for commands that open no repository; those that do are noted
// as they open it.
func (s *Session) Audit(ctx context.Context, stateDir string, object ...string) {
	s.object = object
	s.beginAudit(ctx, stateDir)
}
